"""Schema versions: bring a database up to date, or say why it cannot be used."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from arena.errors import BadSetting
from arena.store.engine import Database

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(4061729005163307)")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "arena:store/migrations")
    config.set_main_option("path_separator", "os")
    return config


def versions(database: Database) -> tuple[str | None, str | None]:
    """The schema version found in the database, and the one this program needs."""
    with database.read() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    return found, ScriptDirectory.from_config(_config()).get_current_head()


def known_versions() -> list[str]:
    """Every schema version that this program knows, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def upgrade(database: Database) -> None:
    """Bring the schema to this program's version. Does nothing when it is there already.

    Raises `BadSetting` when the database was written by a newer program.
    """
    config = _config()
    _refuse_newer(*versions(database))
    with database.write() as connection:
        if database.dialect == "postgresql":  # on SQLite writers take turns anyway
            # rebuilding a large table, or waiting for another upgrade, may take its time
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(_ONE_AT_A_TIME)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def require_current(database: Database) -> None:
    """Raise `BadSetting` unless the schema is exactly the one this program needs."""
    found, needed = versions(database)
    _refuse_newer(found, needed)
    if found != needed:
        raise BadSetting(
            f"The database has schema {found or 'none'} and this program needs {needed}: "
            "run 'arena db upgrade'."
        )


def _refuse_newer(found: str | None, needed: str | None) -> None:
    if found is not None and found not in known_versions():
        raise BadSetting(
            f"The database has schema {found}, which is newer than this program ({needed}): "
            "install the newer program, or restore a backup made with this one."
        )
