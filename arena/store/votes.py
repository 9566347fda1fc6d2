"""Writing votes: several share one transaction."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from arena import metrics
from arena.battle import BattleState, sources_of
from arena.interfaces import GivenVote, StoredVote
from arena.records import Content, Record
from arena.store.engine import Database, retried
from arena.store.rows import record_values
from arena.store.tables import battles, contents, pseudonyms, records, unindexed

# Made once: making a statement takes as long as running it. SQLite finds one pair of values by an
# index, but for several it reads the whole table unless one value of each is asked for by itself.
_MOVE = (
    update(battles)
    .where(
        unindexed(battles.c.state).in_(sources_of(BattleState.voted)),
        battles.c.id.in_(bindparam("ids", expanding=True)),
        tuple_(battles.c.id, battles.c.turn).in_(bindparam("at", expanding=True)),
    )
    .values(state=BattleState.voted)
    .returning(battles.c.id, battles.c.turn)
)
_INSERT_RECORD, _INSERT_CONTENT = insert(records), insert(contents)
_NO_REQUEST = {"idempotency_key": None, "request_digest": None}
_KNOWN = select(pseudonyms).where(pseudonyms.c.voter.in_(bindparam("voters", expanding=True)))
_FRESH = {
    "sqlite": sqlite.insert(pseudonyms).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(pseudonyms).on_conflict_do_nothing(),
}

Who = tuple[str, str]
"""A voter and a campaign."""


@retried
def add_votes(database: Database, votes: Sequence[GivenVote]) -> list[StoredVote | None]:
    """What `interfaces.VoteLog.add_votes` promises."""
    # of two votes on one battle the first counts
    firsts = {(vote.record.battle_id, vote.turn): vote for vote in reversed(votes)}
    with database.write() as connection:
        ids = [battle for battle, _ in firsts]
        moved = connection.execute(_MOVE, {"at": list(firsts), "ids": ids})
        won = [firsts[row.id, row.turn] for row in moved]
        stored = _append(connection, won)
    metrics.written({"vote": len(stored), "flag": sum(len(vote.flags) for vote in won)})
    return [stored.get(vote.record.id) for vote in votes]


def _append(connection: Connection, votes: Sequence[GivenVote]) -> dict[str, StoredVote]:
    if not votes:
        return {}
    names = pseudonyms_of(connection, ((vote.voter, vote.record.campaign) for vote in votes))
    rows: list[dict[str, Any]] = []
    stored: dict[str, StoredVote] = {}
    for vote in votes:
        record = replace(vote.record, voter=names[vote.voter, vote.record.campaign])
        values = record_values(record)
        request = (vote.idempotency_key, vote.request_digest)
        rows.append({**values, "idempotency_key": request[0], "request_digest": request[1]})
        rows += ({**record_values(flag), **_NO_REQUEST} for flag in vote.flags)
        stored[record.id] = StoredVote(record, values["hash"], *request)
    connection.execute(_INSERT_RECORD, rows)
    connection.execute(
        _INSERT_CONTENT, [content_values(vote.record, vote.content) for vote in votes]
    )
    return stored


def content_values(record: Record, content: Content) -> dict[str, Any]:
    """A vote's content as columns of a table."""
    values = {name: getattr(content, name) for name in Content.__slots__}
    return {"record_id": record.id, **values}


def pseudonyms_of(connection: Connection, who: Iterable[Who]) -> dict[Who, str]:
    """The voters' names in the campaigns' logs, made where they are missing.

    Two transactions that make one at once make the same: the later waits for the earlier.
    """
    wanted = set(who)
    known = _known(connection, wanted)
    missing = sorted(wanted - known.keys())
    if missing:
        fresh = [
            {"voter": voter, "campaign": campaign, "pseudonym": secrets.token_hex(16)}
            for voter, campaign in missing
        ]
        connection.execute(_FRESH[connection.dialect.name], fresh)
        known |= _known(connection, missing)
    return known


def _known(connection: Connection, who: Iterable[Who]) -> dict[Who, str]:
    """The names that these voters have, in whatever campaigns."""
    rows = connection.execute(_KNOWN, {"voters": sorted({voter for voter, _ in who})})
    return {(row.voter, row.campaign): row.pseudonym for row in rows}
