"""The log in SQL: append, seal, read, erase.

No record changes after it is written, but for what its leaf does not cover: its `seq`, and the
traces of the request that an erasure removes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from arena import metrics
from arena.battle import SKIPPED, Battle, BattleState, TurnState, sources_of
from arena.clock import now
from arena.interfaces import (
    Act,
    Campaign,
    Columns,
    Counted,
    GivenVote,
    Lease,
    Outcome,
    SealedBoard,
    StoredVote,
)
from arena.records import EVENT_TYPES, LEAF_FIELDS, Content, LogRow, Record, left_out, remark
from arena.store.audit import write_act
from arena.store.battles import BATTLE_COLUMNS, battle_of, in_state
from arena.store.engine import Database, retried
from arena.store.exports import exported
from arena.store.imports import (
    POLITE_SECONDS,
    Imports,
    next_import,
    seal_import,
    waiting_rows,
)
from arena.store.registry import hold
from arena.store.restore import restore
from arena.store.rows import record_values
from arena.store.tables import (
    IS_EVENT,
    battles,
    contents,
    openings,
    pseudonyms,
    records,
    reports,
    turns,
    unindexed,
)
from arena.store.votes import add_votes, content_values

_RECORD_COLUMNS = [records.c[name] for name in LEAF_FIELDS]
_COUNTED_COLUMNS = [records.c[name] for name in Counted.__slots__]
_WHY = (turns.c.void_reason, turns.c.void_side, turns.c.void_error)
_BATCH = 1_000
_HASH_LENGTH = 64
_NOBODY = ""

_VOTE_OF = select(records).where(
    records.c.battle_id == bindparam("battle"), records.c.type == "vote"
)


def record_of(row: Row[Any]) -> Record:
    """The record of a row that has all its columns."""
    values = {name: row._mapping[name] for name in LEAF_FIELDS}
    return Record(**{**values, "reasons": tuple(values["reasons"])})


def _append(connection: Connection, rows: Iterable[tuple[Record, Content | None]]) -> Counter[str]:
    """Insert the records; returns how many there are of each type."""
    rows, types = iter(rows), Counter[str]()
    while batch := list(islice(rows, _BATCH)):
        connection.execute(insert(records), [record_values(record) for record, _ in batch])
        texts = [content_values(record, text) for record, text in batch if text is not None]
        if texts:
            connection.execute(insert(contents), texts)
        types.update(record.type for record, _ in batch)
    return types


def _erase(connection: Connection, battle_ids: Sequence[str], at: str) -> list[str]:
    """Erase the text of these battles; returns those that still had it."""
    here = battles.c.id.in_(battle_ids)
    connection.execute(
        update(battles)
        .where(here, battles.c.state.in_(sources_of(BattleState.skipped)))
        .values(state=BattleState.skipped, ended_at=at)
    )
    statement = update(battles).where(here, battles.c.erased_at.is_(None))
    ids = list(
        connection.execute(
            statement.values(erased_at=at, shared_at=None).returning(battles.c.id)
        ).scalars()
    )
    connection.execute(delete(openings).where(openings.c.battle_id.in_(ids)))
    said = turns.c.battle_id.in_(ids)
    gone: dict[str, Any] = {"prompt": "", "void_error": None, "steps": [], "leaks": None}
    connection.execute(update(turns).where(said).values(gone))
    endings: tuple[tuple[TurnState, dict[str, Any]], ...] = (
        (TurnState.ready, {"text_a": "", "text_b": ""}),
        (TurnState.running, {"state": TurnState.void, "void_reason": SKIPPED}),
    )
    for state, values in endings:
        connection.execute(update(turns).where(said, turns.c.state == state).values(values))
    reported = update(reports).where(reports.c.battle_id.in_(ids))
    handled_at = func.coalesce(reports.c.handled_at, at)
    connection.execute(reported.values(reason="", handled_at=handled_at))
    return ids


def _erase_votes(
    connection: Connection, which: ColumnElement[bool], reason: str, at: str
) -> list[Record]:
    """Erase the text of these votes and append what the log says of it; the votes that had one."""
    voted = which & (records.c.type == "vote")
    # locked in the order of sealing, or the two might wait for each other
    found = select(*_RECORD_COLUMNS).where(voted).order_by(records.c.n).with_for_update()
    votes = [record_of(row) for row in connection.execute(found)]
    erased = delete(contents).where(contents.c.record_id.in_([vote.id for vote in votes]))
    ids = set(connection.execute(erased.returning(contents.c.record_id)).scalars())
    # the request's digest would still confirm a guessed comment
    connection.execute(
        update(records).where(voted).values(idempotency_key=None, request_digest=None)
    )
    votes = [vote for vote in votes if vote.id in ids]
    _append(connection, ((remark("erasure", vote, reason, at), None) for vote in votes))
    return votes


class SqlVoteLog:
    """`interfaces.VoteLog` over SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._imports = Imports(database)

    # --- votes ------------------------------------------------------------------------------

    def add_votes(self, votes: Sequence[GivenVote]) -> list[StoredVote | None]:
        return add_votes(self._db, votes)

    def vote_of(self, battle_id: str) -> StoredVote | None:
        with self._db.look() as connection:
            row = connection.execute(_VOTE_OF, {"battle": battle_id}).first()
        if row is None:
            return None
        return StoredVote(record_of(row), row.hash, row.idempotency_key, row.request_digest)

    def content(self, record_id: str) -> Content | None:
        columns = [contents.c[name] for name in Content.__slots__]
        with self._db.look() as connection:
            row = connection.execute(
                select(*columns).where(contents.c.record_id == record_id)
            ).first()
        return None if row is None else Content(*row)

    def find(self, name: str) -> LogRow | None:
        votes = _with_content().where(records.c.type == "vote")
        columns = [records.c.id, records.c.battle_id]
        if len(name) == _HASH_LENGTH:
            columns.append(records.c.hash)  # it has no index: the whole log is read
        found = (row for column in columns for row in self._votes(votes.where(column == name)))
        return next(found, None)

    def uncounted(self, battle_ids: Sequence[str]) -> dict[str, str | None]:
        votes = records.alias()
        query = (
            select(votes.c.battle_id, records.c.type, records.c.reason)
            .join(votes, votes.c.id == records.c.target)
            .where(votes.c.battle_id.in_(battle_ids), votes.c.type == "vote")
            .order_by(records.c.n)
        )
        with self._db.look() as connection:
            return left_out(connection.execute(query))

    def remarked(self, limit: int) -> list[LogRow]:
        newest = (
            select(records.c.target, func.max(records.c.n).label("n"))
            .where(records.c.target.is_not(None), records.c.type.in_(("flag", "exclusion")))
            .group_by(records.c.target)
            .order_by(func.max(records.c.n).desc())
            .limit(limit)
            .subquery()
        )
        query = _with_content().join(newest, newest.c.target == records.c.id)
        return self._votes(query.order_by(newest.c.n.desc()))

    def _votes(self, query: Select[Any]) -> list[LogRow]:
        with self._db.read() as connection:
            rows = connection.execute(query).all()
            said = _said_of([row.id for row in rows], connection)
        return [_log_row(row, said.get(row.id, [])) for row in rows]

    # --- erasure ----------------------------------------------------------------------------

    @retried
    def erase(
        self,
        battle_ids: Sequence[str],
        reason: str,
        *,
        act: Act | None = None,
        lease: Lease | None = None,
    ) -> list[str]:
        with self._db.write() as connection:
            if lease is not None:
                hold(connection, lease)
            at = now()
            erased = _erase(connection, battle_ids, at)
            votes = _erase_votes(connection, records.c.battle_id.in_(erased), reason, at)
            if erased and act is not None:
                write_act(connection, act)
        metrics.written({"erasure": len(votes)})
        return erased

    def kept(self, until: str, limit: int) -> list[str]:
        query = (
            select(records.c.id)
            .select_from(contents.join(records, records.c.id == contents.c.record_id))
            .outerjoin(battles, battles.c.id == records.c.battle_id)
            .where(
                records.c.type == "vote",
                records.c.battle_id.is_not(None),
                records.c.timestamp < until,
                battles.c.id.is_(None),
            )
            .limit(limit)
        )
        with self._db.look() as connection:
            return list(connection.execute(query).scalars())

    @retried
    def erase_votes(
        self,
        record_ids: Sequence[str],
        reason: str,
        *,
        act: Act | None = None,
        lease: Lease | None = None,
    ) -> list[str]:
        with self._db.write() as connection:
            if lease is not None:
                hold(connection, lease)
            votes = _erase_votes(connection, records.c.id.in_(record_ids), reason, now())
            if votes and act is not None:
                write_act(connection, act)
        metrics.written({"erasure": len(votes)})
        return [vote.id for vote in votes]

    @retried
    def forget(self, voter: str) -> bool:
        own = battles.c.voter == voter
        kept = select(battles.c.id).where(own, battles.c.erased_at.is_(None)).limit(1)
        with self._db.write() as connection:
            if connection.execute(kept).first() is not None:
                return False
            connection.execute(update(battles).where(own).values(voter=_NOBODY))
            connection.execute(
                update(reports).where(reports.c.voter == voter).values(voter=_NOBODY)
            )
            connection.execute(delete(pseudonyms).where(pseudonyms.c.voter == voter))
        return True

    # --- other records ----------------------------------------------------------------------

    def append(
        self,
        rows: Iterable[tuple[Record, Content | None]],
        lease: Lease | None = None,
        act: Act | None = None,
    ) -> int:
        with self._db.write() as connection:
            if lease is not None:
                hold(connection, lease)
            if act is not None:
                write_act(connection, act)
            types = _append(connection, rows)
        metrics.written(types)
        return types["vote"]

    def import_file(
        self, campaign: Campaign, digest: str, rows: Iterable[tuple[Record, Content | None]]
    ) -> int:
        return self._imports.add(campaign, digest, rows)

    # --- the sealed sequence ----------------------------------------------------------------

    def seal(self, lease: Lease, limit: int) -> int:
        """Votes first, then imports, these in short transactions: a voter does not wait for one."""
        sealed, is_all = self._seal_some(lease, limit)
        while sealed < limit and not is_all:
            time.sleep(POLITE_SECONDS)
            more, is_all = self._seal_some(lease, limit - sealed)
            sealed += more
        return sealed

    @retried
    def _seal_some(self, lease: Lease, limit: int) -> tuple[int, bool]:
        """How many were sealed, and whether no finished import is left."""
        with self._db.write() as connection:
            hold(connection, lease)
            last = connection.execute(select(func.max(records.c.seq))).scalar() or 0
            pending = (
                select(records.c.n, func.row_number().over(order_by=records.c.n).label("place"))
                .where(records.c.seq.is_(None))
                .order_by(records.c.n)
                .limit(limit)
                .subquery()
            )
            sealed = connection.execute(
                update(records).where(records.c.n == pending.c.n).values(seq=pending.c.place + last)
            ).rowcount
            imported = seal_import(connection, last + sealed, limit - sealed)
            is_all = next_import(connection) is None
        metrics.written(imported)
        return sealed + imported.total(), is_all

    def position(self) -> int:
        with self._db.look() as connection:
            return connection.execute(select(func.max(records.c.seq))).scalar() or 0

    def unsealed(self) -> int:
        waiting = select(func.count()).select_from(records).where(records.c.seq.is_(None))
        with self._db.read() as connection:
            return connection.execute(waiting).scalar_one() + waiting_rows(connection)

    def votes_after(self, campaign: str, position: int) -> int:
        later = (records.c.campaign == campaign, records.c.seq > position)
        query = select(func.count()).where(*later, records.c.type == "vote")
        with self._db.look() as connection:
            return connection.execute(query).scalar_one()

    def place_of(self, record_id: str) -> int | None:
        with self._db.look() as connection:
            return connection.execute(
                select(records.c.seq).where(records.c.id == record_id)
            ).scalar()

    def places(self, campaigns: Sequence[str], after: int, until: int, limit: int) -> list[int]:
        query = (
            select(records.c.seq)
            .where(records.c.campaign.in_(campaigns), records.c.seq > after, records.c.seq <= until)
            .order_by(records.c.seq)
            .limit(limit)
        )
        with self._db.look() as connection:
            return list(connection.execute(query).scalars())

    def erased_after(self, campaigns: Sequence[str], position: int) -> list[str]:
        erasures = select(records.c.target).where(
            records.c.type == "erasure", records.c.campaign.in_(campaigns)
        )
        later = (records.c.seq > position, records.c.seq.is_(None))
        found: set[str] = set()
        with self._db.read() as connection:
            for when in later:  # an index each
                found.update(connection.execute(erasures.where(when)).scalars())
        return sorted(found)

    def restore(
        self,
        lease: Lease,
        campaigns: Sequence[Campaign],
        rows: Iterable[LogRow],
        sealed: Sequence[SealedBoard] = (),
    ) -> int:
        return restore(self._db, lease, campaigns, rows, sealed)

    def leaves(self, after: int, limit: int) -> list[bytes]:
        query = (
            select(records.c.hash).where(records.c.seq > after).order_by(records.c.seq).limit(limit)
        )
        with self._db.look() as connection:
            return [bytes.fromhex(leaf) for leaf in connection.execute(query).scalars()]

    def counted(self, after: int, limit: int) -> list[Counted]:
        query = (
            select(*_COUNTED_COLUMNS)
            .where(records.c.seq > after)
            .order_by(records.c.seq)
            .limit(limit)
        )
        with self._db.look() as connection:
            return [Counted(*row) for row in connection.execute(query)]

    def counted_record(self, record_id: str) -> Counted | None:
        query = select(*_COUNTED_COLUMNS).where(records.c.id == record_id)
        with self._db.look() as connection:
            row = connection.execute(query).first()
        return None if row is None else Counted(*row)

    def exported(
        self, after: int, until: int, limit: int, campaigns: Sequence[str]
    ) -> Columns | None:
        with self._db.read() as connection:
            return exported(connection, after, until, limit, campaigns)

    def events(
        self,
        campaigns: Iterable[str],
        types: Iterable[str] = EVENT_TYPES,
        *,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[LogRow]:
        query = (
            select(records)
            .where(
                IS_EVENT,
                records.c.type.in_(sorted(types)),
                records.c.campaign.in_(sorted(campaigns)),
                records.c.seq.is_not(None),
            )
            .order_by(unindexed(records.c.seq).desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(records.c.seq < before)
        with self._db.look() as connection:
            return [LogRow(row.seq, record_of(row), row.hash) for row in connection.execute(query)]

    def votes_of(self, model: str, campaigns: Iterable[str], until: str) -> int:
        query = (
            select(func.count())
            .select_from(records)
            .where(
                records.c.type == "vote",
                records.c.campaign.in_(sorted(campaigns)),
                or_(records.c.model_a == model, records.c.model_b == model),
                records.c.timestamp < until,
            )
        )
        with self._db.look() as connection:
            return connection.execute(query).scalar_one()

    def outcomes(self, campaigns: Sequence[str]) -> Iterator[Outcome]:
        place = tuple_(battles.c.ended_at, battles.c.id)
        last_turn = (turns.c.battle_id == battles.c.id) & (turns.c.number == battles.c.turn)
        query = (
            select(*BATTLE_COLUMNS, battles.c.ended_at, *_WHY)
            .select_from(battles.join(turns, last_turn))
            .where(
                battles.c.campaign.in_(campaigns),
                in_state(BattleState.skipped, BattleState.void),
            )
            .order_by(battles.c.ended_at, battles.c.id)
            .limit(_BATCH)
        )
        after = ("", "")
        while True:  # page by page: a slow reader must not keep a connection
            with self._db.look() as connection:
                page = connection.execute(query.where(place > tuple_(*after))).all()
            for row in page:
                battle = battle_of({name: row._mapping[name] for name in Battle.__slots__})
                kind = "skip" if battle.state is BattleState.skipped else "void"
                yield Outcome(battle, kind, row.ended_at, *(row._mapping[why] for why in _WHY))
            if len(page) < _BATCH:
                return
            after = (page[-1].ended_at, page[-1].id)


def _with_content() -> Select[Any]:
    return select(
        records,
        contents.c.salt,
        contents.c.conversation_a,
        contents.c.conversation_b,
        contents.c.comment,
    ).select_from(records.outerjoin(contents, contents.c.record_id == records.c.id))


def _said_of(ids: Sequence[str], connection: Connection) -> dict[str, list[Any]]:
    """Flags and exclusions, sealed or not, by the record that they are about, in log order."""
    query = (
        select(records.c.target, records.c.type, records.c.reason)
        .where(records.c.target.in_(ids))
        .order_by(records.c.n)
    )
    said: dict[str, list[Any]] = {}
    for row in connection.execute(query):
        said.setdefault(row.target, []).append(row)
    return said


def _log_row(row: Row[Any], said: Sequence[Any]) -> LogRow:
    content = None
    if row.salt is not None:
        content = Content(row.salt, row.conversation_a, row.conversation_b, row.comment)
    exclusions = [entry.reason for entry in said if entry.type == "exclusion"]
    return LogRow(
        seq=row.seq,
        record=record_of(row),
        hash=row.hash,
        content=content,
        flags=tuple(entry.reason for entry in said if entry.type == "flag"),
        excluded_reason=exclusions[-1] if exclusions else None,
    )
