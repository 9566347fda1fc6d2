"""The small tables in SQL: campaigns, roster revisions, leases, published snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from arena.errors import LeaseLost
from arena.interfaces import (
    Campaign,
    Lease,
    LeaseSeen,
    ModelEntry,
    Published,
    RosterRevision,
    Snapshot,
)
from arena.store.engine import Database
from arena.store.tables import campaigns, leases, roster_revisions, snapshots

_AT_ONCE = 500


def add_campaign(connection: Connection, campaign: Campaign) -> bool:
    """Add a campaign unless one of this id exists; says whether it was added."""
    try:
        with connection.begin_nested():
            connection.execute(insert(campaigns).values(asdict(campaign)))
    except IntegrityError:  # it is there, or another process added it at the same moment
        return False
    return True


class SqlCampaigns:
    """`interfaces.CampaignStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, campaign: Campaign) -> bool:
        with self._db.write() as connection:
            return add_campaign(connection, campaign)

    def get(self, campaign_id: str) -> Campaign | None:
        query = select(campaigns).where(campaigns.c.id == campaign_id)
        with self._db.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else Campaign(*row)

    def all(self) -> list[Campaign]:
        query = select(campaigns).order_by(campaigns.c.position, campaigns.c.id)
        with self._db.read() as connection:
            return [Campaign(*row) for row in connection.execute(query)]


class SqlRoster:
    """`interfaces.RosterStore` over SQL. Revisions are kept for ever."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def current(self) -> RosterRevision:
        with self._db.read() as connection:
            return _current_roster(connection)

    def at(self, revision: int) -> RosterRevision:
        query = select(roster_revisions).where(roster_revisions.c.revision == revision)
        with self._db.read() as connection:
            row = connection.execute(query).first()
        return _NO_ROSTER if row is None else _roster(row)

    def replace(self, entries: Sequence[ModelEntry], at: str) -> RosterRevision:
        """Make these the roster; a new revision only when something changed."""
        with self._db.write() as connection:
            current = _current_roster(connection)
            if list(current.entries) == list(entries):
                return current
            revision = RosterRevision(current.revision + 1, at, tuple(entries))
            connection.execute(
                insert(roster_revisions).values(
                    revision=revision.revision,
                    at=at,
                    entries=[asdict(entry) for entry in entries],
                )
            )
        return revision

    def history(self) -> list[RosterRevision]:
        query = select(roster_revisions).order_by(roster_revisions.c.revision)
        with self._db.read() as connection:
            return [_roster(row) for row in connection.execute(query)]


_NO_ROSTER = RosterRevision(0, "", ())


def _current_roster(connection: Connection) -> RosterRevision:
    query = select(roster_revisions).order_by(roster_revisions.c.revision.desc()).limit(1)
    row = connection.execute(query).first()
    return _NO_ROSTER if row is None else _roster(row)


def _roster(row: Row[Any]) -> RosterRevision:
    lists = ("modalities", "campaigns")
    return RosterRevision(
        row.revision,
        row.at,
        tuple(ModelEntry(**{**e, **{k: tuple(e[k]) for k in lists}}) for e in row.entries),
    )


def hold(connection: Connection, lease: Lease) -> None:
    """Prove inside this transaction that the lease is still ours, and keep it until the commit.

    Raises `LeaseLost` when its fence moved on.
    """
    kept = connection.execute(
        update(leases)
        .where(
            leases.c.name == lease.name,
            leases.c.holder == lease.holder,
            leases.c.fence == lease.fence,
        )
        .values(beat=leases.c.beat + 1)
    )
    if kept.rowcount != 1:
        raise LeaseLost(f"the lease '{lease.name}' has another holder now")


class SqlLeases:
    """`interfaces.LeaseStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def look(self, name: str) -> LeaseSeen | None:
        query = select(leases.c.holder, leases.c.fence, leases.c.beat).where(leases.c.name == name)
        with self._db.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else LeaseSeen(*row)

    def take(self, name: str, holder: str, seen: LeaseSeen | None) -> Lease | None:
        """Take a lease that is still exactly as it was `seen` (None: never held).

        Returns None when somebody else moved it since.
        """
        if seen is None:
            try:
                with self._db.write() as connection:
                    fresh = {"name": name, "holder": holder, "fence": 1, "beat": 0}
                    connection.execute(insert(leases).values(fresh))
            except IntegrityError:
                return None
            return Lease(name, holder, 1)
        statement = (
            update(leases)
            .where(leases.c.name == name, leases.c.fence == seen.fence, leases.c.beat == seen.beat)
            .values(holder=holder, fence=seen.fence + 1, beat=0)
        )
        with self._db.write() as connection:
            taken = connection.execute(statement).rowcount == 1
        return Lease(name, holder, seen.fence + 1) if taken else None

    def renew(self, lease: Lease) -> None:
        with self._db.write() as connection:
            hold(connection, lease)

    def release(self, lease: Lease) -> None:
        """Give it up, so that the next holder need not wait. Harmless when it is lost already."""
        with self._db.write() as connection:
            connection.execute(
                update(leases)
                .where(leases.c.name == lease.name, leases.c.fence == lease.fence)
                .values(holder=None)
            )

    def forget(self, name: str) -> None:
        """Drop a lease whose name will not be used again."""
        with self._db.write() as connection:
            connection.execute(delete(leases).where(leases.c.name == name))


class SqlSnapshots:
    """`interfaces.SnapshotStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def publish(self, lease: Lease, snapshot: Snapshot) -> None:
        with self._db.write() as connection:
            hold(connection, lease)
            # asdict would copy every cell of the rows
            fields = {name: getattr(snapshot, name) for name in Snapshot.__slots__}
            connection.execute(insert(snapshots).values(fields))

    def latest(self, campaign: str, category: str, method: str | None = None) -> Snapshot | None:
        query = (
            select(snapshots)
            .where(snapshots.c.campaign == campaign, snapshots.c.category == category)
            .order_by(snapshots.c.id.desc())
            .limit(1)
        )
        wanted = snapshots.c.official if method is None else snapshots.c.method == method
        query = query.where(wanted)
        with self._db.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else Snapshot(*row[1:])

    def published(self) -> list[Published]:
        columns = [snapshots.c[name] for name in Published.__slots__]
        with self._db.read() as connection:
            found = connection.execute(select(*columns).order_by(snapshots.c.id))
            return [Published(*row) for row in found]

    def drop(self, lease: Lease, ids: Sequence[int]) -> None:
        with self._db.write() as connection:
            hold(connection, lease)
            for start in range(0, len(ids), _AT_ONCE):
                some = ids[start : start + _AT_ONCE]
                connection.execute(delete(snapshots).where(snapshots.c.id.in_(some)))

    def categories(self, campaign: str) -> list[str]:
        query = select(snapshots.c.category).where(snapshots.c.campaign == campaign).distinct()
        with self._db.read() as connection:
            return sorted(connection.execute(query).scalars())

    def history(self, campaigns: Sequence[str], limit: int) -> list[dict[str, Any]]:
        """What was published, newest first, without the rows."""
        columns = [
            column for column in snapshots.c if column.name not in {"rows", "config", "details"}
        ]
        query = (
            select(*columns)
            .where(snapshots.c.campaign.in_(campaigns))
            .order_by(snapshots.c.id.desc())
            .limit(limit)
        )
        with self._db.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]
