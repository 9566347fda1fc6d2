"""The database that a command works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from arena.addresses import is_shared
from arena.errors import BadSetting, Unavailable
from arena.settings import Settings
from arena.store import SqlStore, open_store


@contextmanager
def reachable(settings: Settings) -> Iterator[None]:
    """Say in one line why the database cannot be opened."""
    try:
        yield
    except Unavailable as error:
        if is_shared(settings.database_url):
            reason = getattr(error.__cause__, "orig", error.__cause__)
            raise BadSetting(f"DATABASE_URL: PostgreSQL cannot be used: {reason}") from error
        raise BadSetting(
            f"The database cannot be opened: is {settings.data} the data folder (ARENA_DATA), "
            "or DATABASE_URL the database? 'arena db upgrade' makes a new one there."
        ) from error


@contextmanager
def opened(settings: Settings) -> Iterator[SqlStore]:
    with reachable(settings):
        store = open_store(settings.database_url)
    try:
        yield store
    finally:
        store.close()
