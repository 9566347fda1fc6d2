"""The small tables in SQL: campaigns, roster revisions, leases, published snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from arena import metrics
from arena.clock import now
from arena.errors import Conflict, LeaseLost
from arena.events import campaign_record
from arena.interfaces import (
    Act,
    Campaign,
    Head,
    Invitation,
    Lease,
    LeaseSeen,
    ModelEntry,
    Published,
    RosterRevision,
    Snapshot,
)
from arena.store.audit import write_act
from arena.store.encoding import encoded
from arena.store.engine import Database
from arena.store.heads import write_head
from arena.store.rows import record_values
from arena.store.tables import (
    IS_EVENT,
    battles,
    campaigns,
    invitations,
    leases,
    records,
    roster_revisions,
    snapshots,
    unindexed,
)

_AT_ONCE = 500

# Of every battle: made once, since making a statement takes as long as running it.
_CAMPAIGN = select(campaigns).where(campaigns.c.id == bindparam("campaign"))
_CURRENT_ROSTER = select(roster_revisions).order_by(roster_revisions.c.revision.desc()).limit(1)


def add_campaign(connection: Connection, campaign: Campaign) -> bool:
    """Add a campaign unless one of this id exists; says whether it was added."""
    try:
        with connection.begin_nested():
            connection.execute(insert(campaigns).values(asdict(campaign)))
    except IntegrityError:  # it is there, or another process added it at the same moment
        return False
    return True


def _locked(connection: Connection, campaign_id: str) -> Campaign | None:
    """The campaign, which nobody else changes before this transaction ends."""
    query = select(campaigns).where(campaigns.c.id == campaign_id).with_for_update()
    row = connection.execute(query).first()
    return None if row is None else Campaign(*row)


def _tell(connection: Connection, campaign: Campaign, at: str, *, made: bool = False) -> bool:
    """Append the record of what a campaign is unless the log's newest says just that."""
    newest = (
        select(records.c.data)
        .where(IS_EVENT, records.c.type == "campaign", records.c.campaign == campaign.id)
        .order_by(unindexed(records.c.n).desc())
        .limit(1)
    )
    told = connection.execute(newest).scalar()
    record = campaign_record(campaign, told, at, made=made)
    if record is None:
        return False
    connection.execute(insert(records), [record_values(record)])
    metrics.written({record.type: 1})
    return True


class SqlCampaigns:
    """`interfaces.CampaignStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, campaign: Campaign, act: Act | None = None) -> bool:
        with self._db.write() as connection:
            added = add_campaign(connection, campaign)
            if added and act is not None:
                write_act(connection, act)
                _tell(connection, campaign, act.at, made=True)
        return added

    def tell(self, lease: Lease, campaign_ids: Iterable[str]) -> int:
        with self._db.write() as connection:
            hold(connection, lease)
            found = (_locked(connection, name) for name in sorted(campaign_ids))
            return sum(_tell(connection, one, now()) for one in found if one is not None)

    def get(self, campaign_id: str) -> Campaign | None:
        with self._db.look() as connection:
            row = connection.execute(_CAMPAIGN, {"campaign": campaign_id}).first()
        return None if row is None else Campaign(*row)

    def all(self) -> list[Campaign]:
        query = select(campaigns).order_by(campaigns.c.position, campaigns.c.id)
        with self._db.look() as connection:
            return [Campaign(*row) for row in connection.execute(query)]

    def change(
        self,
        campaign_id: str,
        changes: Mapping[str, Any],
        act: Act,
        *,
        without_battles: bool = False,
    ) -> bool:
        statement = update(campaigns).where(campaigns.c.id == campaign_id).values(**changes)
        if without_battles:
            statement = statement.where(~exists().where(battles.c.campaign == campaign_id))
        with self._db.write() as connection:
            before = _locked(connection, campaign_id)
            changed = connection.execute(statement).rowcount == 1
            if changed and before is not None:
                write_act(connection, act)
                _tell(connection, before, act.at)  # it may be older than these records
                _tell(connection, replace(before, **changes), act.at)
        return changed

    def invite(self, invitation: Invitation, act: Act) -> None:
        with self._db.write() as connection:
            connection.execute(insert(invitations).values(asdict(invitation)))
            write_act(connection, act)

    def revoke(self, digest: str, at: str, act: Act) -> bool:
        statement = (
            update(invitations)
            .where(invitations.c.digest == digest, invitations.c.revoked_at.is_(None))
            .values(revoked_at=at)
        )
        with self._db.write() as connection:
            revoked = connection.execute(statement).rowcount == 1
            if revoked:
                write_act(connection, act)
        return revoked

    def invitations(self) -> list[Invitation]:
        query = select(invitations).order_by(invitations.c.created_at.desc(), invitations.c.digest)
        with self._db.look() as connection:
            return [Invitation(*row) for row in connection.execute(query)]

    def invited(self, digests: Sequence[str]) -> list[Invitation]:
        query = select(invitations).where(invitations.c.digest.in_(digests))
        with self._db.look() as connection:
            return [Invitation(*row) for row in connection.execute(query)]


class SqlRoster:
    """`interfaces.RosterStore` over SQL. Revisions are kept for ever."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._known: list[RosterRevision] = []

    def current(self) -> RosterRevision:
        with self._db.look() as connection:
            return _current_roster(connection)

    def at(self, revision: int) -> RosterRevision:
        if not self._known or self._known[-1].revision < revision:
            self.history()
        found = (one for one in self._known if one.revision == revision)
        return next(found, _NO_ROSTER)

    def replace(
        self,
        entries: Sequence[ModelEntry],
        at: str,
        *,
        file_digest: str | None = None,
        after: int | None = None,
        act: Act | None = None,
        reason: str | None = None,
    ) -> RosterRevision:
        moved = Conflict("The roster was changed meanwhile. Look at it again.")
        try:
            with self._db.write() as connection:
                current = _current_roster(connection)
                if after is not None and after != current.revision:
                    raise moved
                file_digest = file_digest or current.file_digest
                if list(current.entries) == list(entries):
                    return _remember_file(connection, current, file_digest)
                number = current.revision + 1
                fresh = RosterRevision(number, at, tuple(entries), file_digest, reason)
                _add_revision(connection, fresh)
                if act is not None:
                    write_act(connection, act)
        except IntegrityError as error:  # another process added this revision at the same moment
            raise moved from error
        return fresh

    def history(self) -> list[RosterRevision]:
        # every board and every battle asks for it; what a revision says never changes
        known = self._known
        newest = known[-1].revision if known else 0
        query = select(roster_revisions).where(roster_revisions.c.revision > newest)
        with self._db.look() as connection:
            fresh = connection.execute(query.order_by(roster_revisions.c.revision)).all()
        if fresh:
            self._known = known = [*known, *map(_roster, fresh)]
        return list(known)


_NO_ROSTER = RosterRevision(0, "", ())


def _add_revision(connection: Connection, fresh: RosterRevision) -> None:
    connection.execute(
        insert(roster_revisions).values(
            revision=fresh.revision,
            at=fresh.at,
            entries=[asdict(entry) for entry in fresh.entries],
            file_digest=fresh.file_digest,
            reason=fresh.reason,
        )
    )


def _remember_file(
    connection: Connection, current: RosterRevision, file_digest: str | None
) -> RosterRevision:
    """The file changed to what the roster is already: it has been taken over all the same."""
    if file_digest != current.file_digest:
        connection.execute(
            update(roster_revisions)
            .where(roster_revisions.c.revision == current.revision)
            .values(file_digest=file_digest)
        )
    return replace(current, file_digest=file_digest)


def _current_roster(connection: Connection) -> RosterRevision:
    row = connection.execute(_CURRENT_ROSTER).first()
    return _NO_ROSTER if row is None else _roster(row)


def _roster(row: Row[Any]) -> RosterRevision:
    lists = ("modalities", "campaigns")
    return RosterRevision(
        row.revision,
        row.at,
        tuple(ModelEntry(**{**e, **{k: tuple(e[k]) for k in lists}}) for e in row.entries),
        row.file_digest,
        row.reason,
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
        with self._db.look() as connection:
            row = connection.execute(query).first()
        return None if row is None else LeaseSeen(*row)

    def held(self) -> dict[str, LeaseSeen]:
        query = select(leases).where(leases.c.holder.is_not(None))
        with self._db.look() as connection:
            return {
                row.name: LeaseSeen(row.holder, row.fence, row.beat)
                for row in connection.execute(query)
            }

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

    def publish(self, lease: Lease, snapshot: Snapshot, head: Head | None = None) -> None:
        # asdict would copy every cell of the rows
        fields = {name: getattr(snapshot, name) for name in Snapshot.__slots__}
        fields["rows"] = encoded(snapshot.rows)
        with self._db.write() as connection:
            hold(connection, lease)
            connection.execute(insert(snapshots).values(fields))
            if head is not None:
                write_head(connection, head)

    def latest(self, campaign: str, category: str, method: str | None = None) -> Snapshot | None:
        query = (
            select(snapshots)
            .where(snapshots.c.campaign == campaign, snapshots.c.category == category)
            .order_by(snapshots.c.id.desc())
            .limit(1)
        )
        wanted = snapshots.c.official if method is None else snapshots.c.method == method
        query = query.where(wanted)
        with self._db.look() as connection:
            row = connection.execute(query).first()
        return None if row is None else Snapshot(*row[1:])

    def standing(self, campaigns: Sequence[str], position: int) -> Iterator[Snapshot]:
        board = (snapshots.c.campaign, snapshots.c.category, snapshots.c.method)
        newest = (
            select(func.max(snapshots.c.id))
            .where(snapshots.c.campaign.in_(campaigns), snapshots.c.log_position <= position)
            .group_by(*board)
        )
        with self._db.look() as connection:
            ids = list(connection.execute(newest.order_by(*board)).scalars())
        for number in ids:  # one by one: a board may be long, and whoever takes it slow
            board_then = self.get(number)
            if board_then is not None:  # it may have been thinned meanwhile
                yield board_then

    def published(self) -> list[Published]:
        columns = [snapshots.c[name] for name in Published.__slots__]
        with self._db.look() as connection:
            found = connection.execute(select(*columns).order_by(snapshots.c.id))
            return [Published(*row) for row in found]

    def get(self, number: int) -> Snapshot | None:
        with self._db.look() as connection:
            row = connection.execute(select(snapshots).where(snapshots.c.id == number)).first()
        return None if row is None else Snapshot(*row[1:])

    def drop(self, lease: Lease, ids: Sequence[int]) -> None:
        with self._db.write() as connection:
            hold(connection, lease)
            for start in range(0, len(ids), _AT_ONCE):
                some = ids[start : start + _AT_ONCE]
                connection.execute(delete(snapshots).where(snapshots.c.id.in_(some)))

    def offered(self, campaigns: Sequence[str]) -> dict[str, dict[str, list[str]]]:
        board = (snapshots.c.campaign, snapshots.c.category, snapshots.c.method)
        query = select(*board).where(snapshots.c.campaign.in_(campaigns)).distinct()
        found: dict[str, dict[str, list[str]]] = {campaign: {} for campaign in campaigns}
        with self._db.look() as connection:
            for campaign, category, method in sorted(map(tuple, connection.execute(query))):
                found[campaign].setdefault(category, []).append(method)
        return found

    def history(
        self, campaigns: Sequence[str], limit: int, category: str | None = None
    ) -> list[dict[str, Any]]:
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
        if category is not None:
            query = query.where(snapshots.c.official, snapshots.c.category == category)
        with self._db.look() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]
