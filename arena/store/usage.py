"""What every model did on each day, counted where its turns end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from arena.interfaces import Usage
from arena.store.engine import Database
from arena.store.tables import usage

_FIGURES = [usage.c[name] for name in Usage.__slots__]


def add_usage(connection: Connection, day: str, counts: Iterable[tuple[str, Usage]]) -> None:
    """Add to the day's counts inside the transaction that ends a turn."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    # Always in one order, so that two transactions cannot wait for each other.
    for model, more in sorted(counts, key=lambda count: count[0]):
        fresh = dialect.insert(usage).values(
            day=day, model=model, **{name: getattr(more, name) for name in Usage.__slots__}
        )
        sums: dict[str, Any] = {
            column.name: column + fresh.excluded[column.name] for column in _FIGURES
        }
        connection.execute(
            fresh.on_conflict_do_update(index_elements=[usage.c.day, usage.c.model], set_=sums)
        )


class SqlUsage:
    """`interfaces.UsageStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of_day(self, day: str) -> dict[str, Usage]:
        query = select(usage.c.model, *_FIGURES).where(usage.c.day == day)
        with self._db.look() as connection:
            return {row[0]: Usage(*row[1:]) for row in connection.execute(query)}

    def total(self) -> dict[str, Usage]:
        sums = [func.sum(column) for column in _FIGURES]
        query = select(usage.c.model, *sums).group_by(usage.c.model)
        with self._db.look() as connection:
            return {row[0]: Usage(*row[1:]) for row in connection.execute(query)}
