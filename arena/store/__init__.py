"""SQL, the system of record: SQLite on one machine, PostgreSQL on many, one code path."""

from arena.store.sql import SqlStore, open_store

__all__ = ["SqlStore", "open_store"]
