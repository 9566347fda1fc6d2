"""Bring a database's schema to the version that this program needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from arena.store.engine import Database
from arena.store.schema import refuse_newer, versions

if TYPE_CHECKING:
    from alembic.config import Config

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(4061729005163307)")


def alembic_config() -> Config:
    """Where Alembic finds the migrations."""
    from alembic.config import Config  # noqa: PLC0415  what is up to date starts without it

    config = Config()
    config.set_main_option("script_location", "arena:store/migrations")
    config.set_main_option("path_separator", "os")
    return config


def upgrade(database: Database) -> None:
    """Bring the schema to this program's version. Does nothing when it is there already.

    Raises `BadSetting` when the database was written by a newer program.
    """
    found, needed = versions(database)
    refuse_newer(found)
    if found == needed:
        return
    from alembic import command  # noqa: PLC0415  as above

    config = alembic_config()
    with database.write() as connection:
        if database.dialect == "postgresql":  # on SQLite writers take turns anyway
            # rebuilding a large table, or waiting for another upgrade, may take its time
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(_ONE_AT_A_TIME)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
