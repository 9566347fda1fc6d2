"""How values become JSON in SQL, where need be before the transaction: votes wait for it."""

from __future__ import annotations

import json
from typing import Any


class Encoded(str):
    """The JSON text of a value, made by `encoded`."""

    __slots__ = ()


def encoded(value: object) -> Any:
    """What a JSON column takes for this value."""
    return Encoded(dumps(value))


def dumps(value: object) -> str:
    """The JSON text of a value, as short as can be."""
    return value if isinstance(value, Encoded) else json.dumps(value, separators=(",", ":"))
