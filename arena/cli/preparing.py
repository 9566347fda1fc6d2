"""What must be there before anything runs."""

from __future__ import annotations

from arena import roster
from arena.addresses import is_shared
from arena.campaigns import DEFAULT
from arena.cli.stores import reachable
from arena.clock import now
from arena.errors import BadSetting
from arena.interfaces import ModelEntry
from arena.settings import Settings
from arena.store import SqlStore
from arena.store.engine import Database
from arena.store.migrate import upgrade


def prepare(settings: Settings, demo: list[ModelEntry] | None = None) -> None:
    """Bring schema, default campaign and roster up to date."""
    try:
        if not is_shared(settings.database_url):
            settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(
            f"ARENA_DATA: the folder {settings.data} cannot be made: {error.strerror}."
        ) from error
    database = Database(settings.database_url)
    try:
        with reachable(settings):
            upgrade(database)
        store = SqlStore(database)
        store.campaigns.add(DEFAULT)
        roster.refresh(store.roster, settings.config, now(), demo)
    finally:
        database.close()
