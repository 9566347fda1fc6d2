"""Sealing a board (封榜): what an operator seals stays as it is, whatever happens later.

An operator's record of `sealing` gets its place S in the log like any other. The boards of exactly
the first S records are then computed once by the worker, stored whole, and their digests become a
record of `sealed`. Whoever changed such a board afterwards would contradict the log.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785

from arena import roster
from arena.boards import OVERALL, Recent, board_document
from arena.clock import now
from arena.errors import InvalidField, NotFound
from arena.interfaces import Act, Campaign, Head, RosterRevision, SealedBoard, Snapshot, Store
from arena.records import LogRow, Record

LONGEST_STATEMENT = 1_000
"""Characters."""

_TITLES = ("title", "title_zh")
_STATEMENTS = ("statement", "statement_zh")
_TOLD_SECONDS, _LATER_SECONDS = 1.0, 30.0


def sealing_record(campaign: Campaign, statement: str, statement_zh: str = "") -> Record:
    """The record by which an operator seals the boards of a campaign.

    Raises `InvalidField` when there is no statement, or one that is too long.
    """
    texts = {"statement": _plain(statement), "statement_zh": _plain(statement_zh)}
    if not texts["statement"]:
        raise InvalidField("Say in a statement what is sealed here and why.", field="statement")
    for name, text in texts.items():
        if len(text) > LONGEST_STATEMENT:
            raise InvalidField(
                f"A statement has at most {LONGEST_STATEMENT:,} characters.", field=name
            )
    return Record(
        id=secrets.token_hex(16),
        type="sealing",
        campaign=campaign.id,
        timestamp=now(),
        reason=texts["statement"],
        # a title may be changed later, and belongs to what is sealed
        data=texts | {name: getattr(campaign, name) for name in _TITLES},
    )


def _plain(text: str) -> str:
    """One line of what can be seen."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def digest_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of the document's RFC 8785 JSON, hex."""
    return hashlib.sha256(rfc8785.dumps(dict(document))).hexdigest()


def sealed_board(
    row: LogRow, board: Snapshot, history: Sequence[RosterRevision], head: Head
) -> SealedBoard:
    """One board of the sealing in `row`, with the models as the roster had them at that moment.

    It is a pure function of these. Of what lies outside of the log and the roster, such as the
    share of answers that failed, it tells nothing.
    """
    sealing, data = row.record, row.record.data or {}
    models = roster.known(roster.until(history, sealing.timestamp))
    document = board_document(board, models, candidates=(), void_rates={}, head=head)
    document |= {name: data.get(name) or "" for name in (*_TITLES, *_STATEMENTS)}
    document |= {"sealing": sealing.id, "sealed_at": sealing.timestamp}
    return SealedBoard(
        sealing=sealing.id,
        category=board.category,
        campaign=sealing.campaign,
        log_position=board.log_position,
        document=document,
        digest=digest_of(document),
    )


def sealed_record(boards: Sequence[SealedBoard]) -> Record:
    """The record that tells the digests of one sealing's boards, at least one."""
    first = boards[0]
    digests = {board.category: board.digest for board in boards}
    return _result(first.campaign, first.sealing, first.log_position, boards=digests)


def failed_record(row: LogRow, problem: str) -> Record:
    """The record that tells why the sealing in `row` gives no board: it follows from the log."""
    sealing = row.record
    return _result(sealing.campaign, sealing.id, row.seq, boards={}, problem=_plain(problem))


def _result(campaign: str, sealing: str, position: int | None, **told: Any) -> Record:
    return Record(
        id=secrets.token_hex(16),
        type="sealed",
        campaign=campaign,
        timestamp=now(),
        data={"sealing": sealing, "log_position": position, **told},
    )


@dataclass(frozen=True, slots=True)
class Sealing:
    """One sealing as the log tells it; `boards` are digests by category.

    There are none before they are made, and never any where a `problem` says why.
    """

    campaign: str
    position: int
    at: str
    statement: str
    statement_zh: str
    boards: dict[str, str]
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Seal:
    """A sealed board with what the log says of it.

    `body` is the document's RFC 8785 JSON, of which `digest` is the SHA-256, as it is now; `told`
    is the one that the log names. The board `is_intact` when they are one, and the log's record is
    whole and of this very sealing.
    """

    board: SealedBoard
    body: bytes
    digest: str
    told: str | None
    record: LogRow | None
    is_intact: bool
    categories: tuple[str, ...]


def _boards(sealed: Record | None) -> dict[str, str]:
    """The digests that a record tells; another arena's record may be of any form."""
    boards = ((sealed and sealed.data) or {}).get("boards")
    return boards if isinstance(boards, dict) else {}


def _problem(sealed: Record | None) -> str | None:
    problem = ((sealed and sealed.data) or {}).get("problem")
    return None if problem is None else str(problem)


class Sealings:
    """The use-cases: an operator seals, anybody reads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._later = Recent(_LATER_SECONDS, store.votes.votes_after)
        self._told = Recent(_TOLD_SECONDS, self._read)

    def seal(self, campaign: Campaign, statement: str, statement_zh: str = "") -> Record:
        """Seal the campaign's boards at the place that this record gets in the log.

        Raises `InvalidField` as `sealing_record` does.
        """
        record = sealing_record(campaign, statement, statement_zh)
        act = Act(record.timestamp, "campaign.seal", campaign.id, {"statement": record.reason})
        self._store.votes.append([(record, None)], act=act)
        return record

    def told(self, *campaigns: Campaign) -> list[Sealing]:
        """The sealings of these campaigns that have their place, the newest first."""
        return self._told.get(*(campaign.id for campaign in campaigns))

    def _read(self, *campaigns: str) -> list[Sealing]:
        rows = self._store.sealed.records(campaigns)
        results = {
            str((row.record.data or {}).get("sealing")): row.record
            for row in rows
            if row.record.type == "sealed"
        }
        found = [
            Sealing(
                campaign=row.record.campaign,
                position=row.seq,
                at=row.record.timestamp,
                **{name: (row.record.data or {}).get(name) or "" for name in _STATEMENTS},
                boards=_boards(results.get(row.record.id)),
                problem=_problem(results.get(row.record.id)),
            )
            for row in rows
            if row.record.type == "sealing" and row.seq is not None
        ]
        return sorted(found, key=lambda one: one.position, reverse=True)

    def get(self, campaign: Campaign, position: int, category: str = OVERALL) -> Seal:
        """A sealed board, held against the log; raises `NotFound`."""
        board = self._store.sealed.get(campaign.id, position, category)
        if board is None:
            raise NotFound(
                f"No board of campaign '{campaign.id}', category '{category}' was sealed at "
                f"{position}. /api/sealed lists those that were."
            )
        record = next(
            (
                row
                for row in self._store.sealed.records([campaign.id])
                if row.record.type == "sealed"
                and (row.record.data or {}).get("log_position") == position
            ),
            None,
        )
        body = rfc8785.dumps(board.document)
        digest = hashlib.sha256(body).hexdigest()
        data = {} if record is None else (record.record.data or {})
        boards = _boards(None if record is None else record.record)
        told = boards.get(category)
        return Seal(
            board=board,
            body=body,
            digest=digest,
            told=told,
            record=record,
            is_intact=record is not None
            and record.hash == record.record.leaf()
            and data.get("sealing") == board.sealing
            and told == digest,
            categories=tuple(boards),
        )

    def later(self, board: SealedBoard) -> int:
        """How many votes of its campaign came after a sealed board (as of half a minute ago)."""
        return self._later.get(board.campaign, board.log_position)
