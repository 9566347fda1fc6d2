"""How a record of the log, or a sealed board, is a row of a table."""

from __future__ import annotations

from typing import Any

from arena.interfaces import SealedBoard
from arena.records import LEAF_FIELDS, Record
from arena.store.encoding import encoded


def record_values(record: Record) -> dict[str, Any]:
    """A record as columns of a table."""
    values = {name: getattr(record, name) for name in LEAF_FIELDS}
    return {**values, "reasons": list(record.reasons), "hash": record.leaf()}


def sealed_values(board: SealedBoard) -> dict[str, Any]:
    """A sealed board as columns of a table."""
    values = {name: getattr(board, name) for name in SealedBoard.__slots__}
    return values | {"document": encoded(board.document)}
