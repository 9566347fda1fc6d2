"""Pages of the counted log in SQL: a cache, in rows of about a megabyte."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from arena.interfaces import Lease
from arena.store.engine import Database
from arena.store.registry import hold
from arena.store.tables import counted_pages


class SqlPages:
    """`interfaces.PageStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def get(self, number: int) -> bytes | None:
        query = select(counted_pages.c.data).where(counted_pages.c.number == number)
        with self._db.look() as connection:
            found: bytes | None = connection.execute(query).scalar()
        return found

    def save(self, lease: Lease, number: int, data: bytes) -> None:
        with self._db.write() as connection:
            hold(connection, lease)
            connection.execute(delete(counted_pages).where(counted_pages.c.number == number))
            connection.execute(insert(counted_pages).values(number=number, data=data))
