"""All repositories over one database."""

from __future__ import annotations

import logging

from sqlalchemy import text

from arena.errors import ArenaError, BadSetting, Unavailable
from arena.store.audit import SqlAudit
from arena.store.battles import SqlBattles
from arena.store.circuits import SqlCircuits
from arena.store.engine import Database
from arena.store.figures import SqlFigures
from arena.store.log import SqlVoteLog
from arena.store.pages import SqlPages
from arena.store.registry import SqlCampaigns, SqlLeases, SqlRoster, SqlSnapshots
from arena.store.schema import found_version, require_current
from arena.store.sealed import SqlSealed
from arena.store.trees import SqlTrees
from arena.store.usage import SqlUsage

_log = logging.getLogger(__name__)


class SqlStore:
    """`interfaces.Store` over SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._fitting: str | None = None
        self.battles = SqlBattles(database)
        self.votes = SqlVoteLog(database)
        self.snapshots = SqlSnapshots(database)
        self.figures = SqlFigures(database)
        self.pages = SqlPages(database)
        self.trees = SqlTrees(database)
        self.sealed = SqlSealed(database)
        self.campaigns = SqlCampaigns(database)
        self.roster = SqlRoster(database)
        self.leases = SqlLeases(database)
        self.audit = SqlAudit(database)
        self.usage = SqlUsage(database)
        self.circuits = SqlCircuits(database)

    def ping(self) -> None:
        """Raise `Unavailable` unless the database answers."""
        with self._db.look() as connection:
            connection.execute(text("SELECT 1"))

    def require_current(self) -> None:
        """Raise `BadSetting` unless the schema is the one that this program needs."""
        with self._db.read() as connection:
            found = found_version(connection)
        if found != self._fitting:
            require_current(self._db)
            self._fitting = found

    def require_durable(self) -> None:
        """Raise `BadSetting` when the server may forget, in a power failure, what it confirmed."""
        try:
            unsafe = self._db.unsafe()
        except Unavailable:  # that is what `ping` tells
            return
        if unsafe:
            raise BadSetting(
                f"PostgreSQL runs with {', '.join(unsafe)}: a power failure can lose votes that "
                "were acknowledged. Set it to on in postgresql.conf and restart the server."
            )

    def close(self) -> None:
        self._db.close()


def open_store(url: str) -> SqlStore:
    """Open a database whose schema is current; raises `BadSetting` when it is not.

    Raises `Unavailable` when it cannot be reached.
    """
    database = Database(url)
    try:
        require_current(database)
    except ArenaError:
        database.close()
        raise
    store = SqlStore(database)
    try:
        store.require_durable()
    except BadSetting as danger:  # a server for trials may be so on purpose
        _log.warning("%s", danger)
    return store
