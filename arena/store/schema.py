"""Which schema a database has, and which this program needs; to bring it there is `migrate`'s."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from arena.errors import BadSetting
from arena.store.engine import Database

_MIGRATIONS = Path(__file__).parent / "migrations" / "versions"
_TABLE = "alembic_version"
_VERSIONS = text(f"SELECT version_num FROM {_TABLE}")  # noqa: S608  our own name


def versions(database: Database) -> tuple[str | None, str]:
    """The schema version found in the database, and the one this program needs."""
    with database.read() as connection:
        return found_version(connection), known_versions()[0]


def found_version(connection: Connection) -> str | None:
    """The schema version of a database; None for an empty one.

    Raises `BadSetting` when it names several, as after a restore over another database.
    """
    if not inspect(connection).has_table(_TABLE):
        return None
    found = connection.execute(_VERSIONS).scalars().all()
    if len(found) > 1:
        raise BadSetting(f"The database names several schemas ({', '.join(sorted(found))}).")
    return found[0] if found else None


def known_versions() -> list[str]:
    """Every schema version that this program knows, the newest first.

    Told by the names of the migrations: what makes them takes 12 MB, and is not loaded for this.
    """
    names = (file.name for file in _MIGRATIONS.glob("[0-9]*_*.py"))
    return sorted((name.partition("_")[0] for name in names), reverse=True)


def require_current(database: Database) -> None:
    """Raise `BadSetting` unless the schema is exactly the one this program needs."""
    found, needed = versions(database)
    refuse_newer(found)
    if found != needed:
        raise BadSetting(
            f"The database has schema {found or 'none'} and this program needs {needed}: "
            "run 'arena db upgrade'."
        )


def refuse_newer(found: str | None) -> None:
    """Raise `BadSetting` for the schema of a newer program."""
    known = known_versions()
    if found is not None and found not in known:
        raise BadSetting(
            f"The database has schema {found}, which is newer than this program ({known[0]}): "
            "install the newer program, or restore a backup made with this one."
        )
