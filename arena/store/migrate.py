"""Schema versions: bring a database up to date, or say why it cannot be used."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from arena.errors import BadSetting
from arena.store.engine import Database


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


def upgrade(database: Database) -> None:
    """Bring the schema to this program's version. Does nothing when it is there already.

    Raises `BadSetting` when the database was written by a newer program.
    """
    config = _config()
    found, needed = versions(database)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise BadSetting(
            f"The database has schema {found}, which is newer than this program ({needed}): "
            "install the newer program, or restore a backup made with this one."
        )
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def require_current(database: Database) -> None:
    """Raise `BadSetting` unless the schema is exactly the one this program needs."""
    found, needed = versions(database)
    if found != needed:
        raise BadSetting(
            f"The database has schema {found or 'none'} and this program needs {needed}: "
            "run 'arena db upgrade'."
        )
