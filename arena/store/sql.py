"""All repositories over one database."""

from __future__ import annotations

from sqlalchemy import text

from arena.errors import ArenaError
from arena.store.audit import SqlAudit
from arena.store.battles import SqlBattles
from arena.store.engine import Database
from arena.store.figures import SqlFigures
from arena.store.log import SqlVoteLog
from arena.store.migrate import require_current
from arena.store.registry import SqlCampaigns, SqlLeases, SqlRoster, SqlSnapshots
from arena.store.usage import SqlUsage


class SqlStore:
    """`interfaces.Store` over SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self.battles = SqlBattles(database)
        self.votes = SqlVoteLog(database)
        self.snapshots = SqlSnapshots(database)
        self.figures = SqlFigures(database)
        self.campaigns = SqlCampaigns(database)
        self.roster = SqlRoster(database)
        self.leases = SqlLeases(database)
        self.audit = SqlAudit(database)
        self.usage = SqlUsage(database)

    def ping(self) -> None:
        """Raise `Unavailable` unless the database answers."""
        with self._db.read() as connection:
            connection.execute(text("SELECT 1"))

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
    return SqlStore(database)
