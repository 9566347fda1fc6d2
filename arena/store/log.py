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
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from arena import metrics
from arena.battle import SKIPPED, Battle, BattleState, TurnState, sources_of
from arena.clock import now
from arena.interfaces import Act, Campaign, Columns, Counted, Lease, Outcome, StoredVote
from arena.records import LEAF_FIELDS, Content, LogRow, Record, remark
from arena.store.audit import write_act
from arena.store.battles import BATTLE_COLUMNS, battle_of, in_state
from arena.store.engine import Database, retried
from arena.store.exports import exported
from arena.store.imports import (
    POLITE_SECONDS,
    Imports,
    next_import,
    record_values,
    seal_import,
    waiting_rows,
)
from arena.store.registry import hold
from arena.store.tables import (
    battles,
    contents,
    openings,
    pseudonyms,
    records,
    reports,
    turns,
)
from arena.store.votes import GivenVote, VoteWriter, content_values

_RECORD_COLUMNS = [records.c[name] for name in LEAF_FIELDS]
_COUNTED_COLUMNS = [records.c[name] for name in Counted.__slots__]
_WHY = (turns.c.void_reason, turns.c.void_side, turns.c.void_error)
_BATCH = 1_000
_HASH_LENGTH = 64
_NOBODY = ""

_VOTE_OF = select(records).where(
    records.c.battle_id == bindparam("battle"), records.c.type == "vote"
)


def _record(row: Row[Any]) -> Record:
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
    connection.execute(update(turns).where(said).values(prompt="", void_error=None, steps=[]))
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
    connection: Connection, battle_ids: Sequence[str], reason: str, at: str
) -> Counter[str]:
    """Erase the text of their votes and append what the log says of it: how many of each type."""
    voted = records.c.battle_id.in_(battle_ids) & (records.c.type == "vote")
    # locked in the order of sealing, or the two might wait for each other
    found = select(*_RECORD_COLUMNS).where(voted).order_by(records.c.n).with_for_update()
    votes = [_record(row) for row in connection.execute(found)]
    ids = [vote.id for vote in votes]
    connection.execute(delete(contents).where(contents.c.record_id.in_(ids)))
    # the request's digest would still confirm a guessed comment
    connection.execute(
        update(records).where(voted).values(idempotency_key=None, request_digest=None)
    )
    return _append(connection, ((remark("erasure", vote, reason, at), None) for vote in votes))


class SqlVoteLog:
    """`interfaces.VoteLog` over SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._imports = Imports(database)
        self._writer = VoteWriter(database)

    # --- votes ------------------------------------------------------------------------------

    def add_vote(
        self,
        record: Record,
        content: Content,
        *,
        voter: str,
        turn: int,
        idempotency_key: str | None,
        request_digest: str,
    ) -> StoredVote | None:
        given = GivenVote(record, content, voter, turn, idempotency_key, request_digest)
        return self._writer.write(given)

    def vote_of(self, battle_id: str) -> StoredVote | None:
        with self._db.read() as connection:
            row = connection.execute(_VOTE_OF, {"battle": battle_id}).first()
        if row is None:
            return None
        return StoredVote(_record(row), row.hash, row.idempotency_key, row.request_digest)

    def content(self, record_id: str) -> Content | None:
        columns = [contents.c[name] for name in Content.__slots__]
        with self._db.read() as connection:
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
            types = _erase_votes(connection, erased, reason, at)
            if erased and act is not None:
                write_act(connection, act)
        metrics.written(types)
        return erased

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
        with self._db.read() as connection:
            return connection.execute(select(func.max(records.c.seq))).scalar() or 0

    def unsealed(self) -> int:
        waiting = select(func.count()).select_from(records).where(records.c.seq.is_(None))
        with self._db.read() as connection:
            return connection.execute(waiting).scalar_one() + waiting_rows(connection)

    def counted(self, after: int, limit: int) -> list[Counted]:
        query = (
            select(*_COUNTED_COLUMNS)
            .where(records.c.seq > after)
            .order_by(records.c.seq)
            .limit(limit)
        )
        with self._db.read() as connection:
            return [Counted(*row) for row in connection.execute(query)]

    def counted_record(self, record_id: str) -> Counted | None:
        query = select(*_COUNTED_COLUMNS).where(records.c.id == record_id)
        with self._db.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else Counted(*row)

    def exported(
        self, after: int, until: int, limit: int, campaigns: Sequence[str]
    ) -> Columns | None:
        with self._db.read() as connection:
            return exported(connection, after, until, limit, campaigns)

    def events(self, campaigns: Sequence[str]) -> list[LogRow]:
        query = (
            select(records)
            .where(
                records.c.type == "method",
                records.c.campaign.in_(campaigns),
                records.c.seq.is_not(None),
            )
            .order_by(records.c.seq)
        )
        with self._db.read() as connection:
            return [LogRow(row.seq, _record(row), row.hash) for row in connection.execute(query)]

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
            with self._db.read() as connection:
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
        record=_record(row),
        hash=row.hash,
        content=content,
        flags=tuple(entry.reason for entry in said if entry.type == "flag"),
        excluded_reason=exclusions[-1] if exclusions else None,
    )
