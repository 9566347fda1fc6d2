"""Sealed boards in SQL: added once, with the record that fixes them, and never changed."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, insert, select

from arena import metrics
from arena.interfaces import Lease, SealedBoard
from arena.records import LogRow, Record
from arena.store.engine import Database
from arena.store.log import record_of
from arena.store.registry import hold
from arena.store.rows import record_values, sealed_values
from arena.store.tables import IS_EVENT, records, sealed_boards, unindexed

_COLUMNS = [sealed_boards.c[name] for name in SealedBoard.__slots__]


class SqlSealed:
    """`interfaces.SealedStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def waiting(self) -> list[LogRow]:
        said = self._said()
        made = {str((row.record.data or {}).get("sealing")) for row in said}
        placed = [row for row in said if row.record.type == "sealing" and row.seq is not None]
        waiting = [row for row in placed if row.record.id not in made]
        return sorted(waiting, key=lambda row: row.seq or 0)

    def add(self, lease: Lease, boards: Sequence[SealedBoard], record: Record) -> bool:
        there = select(sealed_boards.c.sealing).where(sealed_boards.c.sealing == boards[0].sealing)
        with self._db.write() as connection:
            hold(connection, lease)
            if connection.execute(there).first() is not None:
                return False
            connection.execute(insert(sealed_boards), list(map(sealed_values, boards)))
            connection.execute(insert(records), [record_values(record)])
        metrics.written({record.type: 1})
        return True

    def get(self, campaign: str, log_position: int, category: str) -> SealedBoard | None:
        query = select(*_COLUMNS).where(
            sealed_boards.c.campaign == campaign,
            sealed_boards.c.log_position == log_position,
            sealed_boards.c.category == category,
        )
        with self._db.look() as connection:
            row = connection.execute(query).first()
        return None if row is None else SealedBoard(*row)

    def until(self, campaigns: Sequence[str], position: int) -> list[SealedBoard]:
        query = (
            select(*_COLUMNS)
            .where(
                sealed_boards.c.campaign.in_(campaigns), sealed_boards.c.log_position <= position
            )
            .order_by(sealed_boards.c.log_position, sealed_boards.c.category)
        )
        with self._db.look() as connection:
            return [SealedBoard(*row) for row in connection.execute(query)]

    def records(self, campaigns: Sequence[str]) -> list[LogRow]:
        return self._said(records.c.campaign.in_(campaigns))

    def _said(self, *which: ColumnElement[bool]) -> list[LogRow]:
        kinds = records.c.type.in_(("sealing", "sealed"))
        query = select(records).where(IS_EVENT, kinds, *which).order_by(unindexed(records.c.n))
        with self._db.look() as connection:
            found = connection.execute(query).all()
        return [LogRow(row.seq, record_of(row), row.hash) for row in found]
