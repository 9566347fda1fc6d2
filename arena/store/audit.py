"""The operator's acts: written by whoever commits the deed, read in pages."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import ColumnElement, Connection, insert, select

from arena.interfaces import Act, AuditEntry
from arena.store.engine import Database
from arena.store.tables import audit


def write_act(connection: Connection, act: Act) -> None:
    """Write the audit row of an act inside the transaction that does it."""
    connection.execute(insert(audit).values(asdict(act)))


class SqlAudit:
    """`interfaces.AuditTrail` over SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, act: Act) -> None:
        with self._db.write() as connection:
            write_act(connection, act)

    def page(self, before: int | None, limit: int) -> list[AuditEntry]:
        return self._newest(limit, *([] if before is None else [audit.c.n < before]))

    def last(self, act: str) -> AuditEntry | None:
        found = self._newest(1, audit.c.act == act)
        return found[0] if found else None

    def _newest(self, limit: int, *conditions: ColumnElement[bool]) -> list[AuditEntry]:
        query = select(audit).where(*conditions).order_by(audit.c.n.desc()).limit(limit)
        with self._db.look() as connection:
            return [AuditEntry(row.n, Act(*row[1:])) for row in connection.execute(query)]
