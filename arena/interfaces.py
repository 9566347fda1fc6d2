"""What the use-cases need from the outside world. Real parts and test fakes keep these promises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from arena.battle import Answer, Battle, Frame, Leak, Message, Turn, WholeBattle
from arena.circuit import Circuit
from arena.errors import NoRoom, TooMany
from arena.records import EVENT_TYPES, Content, LogRow, Record, consent_digest

T_co = TypeVar("T_co", covariant=True)
_BYTES_OF_A_TOKEN = 4

Columns = dict[str, list[Any]]
"""Rows of an export by column, in the order of `records.EXPORT_FIELDS`."""

# --- models and endpoints -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model of the roster, as `arena.toml` describes it. Keys are named, never held.

    `price` is for a million tokens of answers, in whatever currency the operator thinks in; a
    model that has written `daily_tokens` on a UTC day is not drawn until the next.
    """

    id: str
    name: str
    protocol: str = "openai"
    base_url: str = ""
    model: str = ""
    api_key_env: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    organization: str = ""
    license: str = ""
    link: str = ""
    modalities: tuple[str, ...] = ("text",)
    state: str = "active"
    campaigns: tuple[str, ...] = ()
    price: float | None = None
    daily_tokens: int | None = None

    def plays_in(self, campaign: str) -> bool:
        """Whether it may be drawn there."""
        return self.state == "active" and (not self.campaigns or campaign in self.campaigns)

    def about(self) -> dict[str, Any]:
        """What anyone may know of the model: no address, no parameters."""
        return {
            "name": self.name,
            "organization": self.organization,
            "license": self.license,
            "link": self.link,
        }


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds allowed to one answer, and its cap in characters."""

    connect: float = 5.0
    first_byte: float = 30.0
    stall: float = 20.0
    total: float = 120.0
    max_chars: int = 20_000


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer: `stop`, `length` or `content_filter`; tokens if the endpoint said."""

    reason: str
    tokens: int | None = None


class AnswerStream(Protocol):
    """One answer being written.

    Iterating yields text pieces (never empty) and at last exactly one `Finished`; anything else
    that can happen raises an `EndpointError`. `cancel` may be called from any thread at any
    time: iteration then ends soon, by an `EndpointError`, and the connection is closed.
    """

    def __iter__(self) -> Iterator[str | Finished]: ...

    def cancel(self) -> None: ...


class Endpoint(Protocol):
    """A model that answers conversations over one wire protocol."""

    def ask(self, messages: Sequence[Message], deadlines: Deadlines) -> AnswerStream: ...


class EndpointFactory(Protocol):
    """Builds the endpoint of a roster entry; raises `EndpointRefused` when its key is missing."""

    def __call__(self, entry: ModelEntry) -> Endpoint: ...


# --- storage --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Campaign:
    """A named set of battles with its own roster, rules and board."""

    id: str
    kind: str
    title: str
    title_zh: str
    description: str
    description_zh: str
    consent: str
    consent_zh: str
    credit: str = ""
    license: str = ""
    source: str = ""
    state: str = "open"
    public: bool = True
    publish_text: bool = True
    position: int = 100

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "position"}

    def consent_digest(self) -> str:
        """Of the consent text in force."""
        return consent_digest(self.consent, self.consent_zh)


@dataclass(frozen=True, slots=True)
class Invitation:
    """A link into a campaign. `digest` is the SHA-256 of the link's secret, which nobody keeps."""

    digest: str
    campaign: str
    note: str
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None

    def is_live(self, at: str) -> bool:
        """Whether it opens the campaign at time `at`."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


@dataclass(frozen=True, slots=True)
class Act:
    """What an operator did, to what, and how; it is committed together with the deed."""

    at: str
    act: str
    target: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An act in its place in the audit log."""

    n: int
    act: Act


@dataclass(frozen=True, slots=True)
class Usage:
    """What a model did in some time; `ttft` and `duration` are sums of seconds over `answers`."""

    answers: int = 0
    failures: int = 0
    tokens: int = 0
    ttft: float = 0.0
    duration: float = 0.0

    @classmethod
    def of(cls, answer: Answer) -> Usage:
        """One answer's. Where the endpoint did not count, four bytes are taken for a token."""
        tokens = answer.tokens
        if tokens is None:
            tokens = -(-len(answer.text.encode()) // _BYTES_OF_A_TOKEN)
        return cls(1, 0, tokens, answer.ttft or 0.0, answer.duration or 0.0)


@dataclass(frozen=True, slots=True)
class GivenVote:
    """A vote on a battle at its `turn`, with `flags` on it; the record has no pseudonym yet."""

    record: Record
    content: Content
    voter: str
    turn: int
    idempotency_key: str | None
    request_digest: str
    flags: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredVote:
    """A committed vote with what makes a repeated request recognisable."""

    record: Record
    hash: str
    idempotency_key: str | None
    request_digest: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """A battle in a list: its first prompt and, once there is a vote, what it says."""

    battle: Battle
    prompt: str
    grade: int | None
    both_bad: bool | None


@dataclass(frozen=True, slots=True)
class Report:
    """What a voter told the operator about a battle, or about one `side` of it."""

    battle_id: str
    side: str | None
    reason: str
    created_at: str
    handled_at: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A battle that ended without a vote: `void` or `skip`."""

    battle: Battle
    type: str
    timestamp: str
    reason: str | None
    side: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Counted:
    """What rating needs of a sealed record, in this order."""

    seq: int
    id: str
    type: str
    campaign: str
    model_a: str | None
    model_b: str | None
    grade: int | None
    winner: str | None
    target: str | None
    voter: str | None
    voter_kind: str | None
    propensity: float | None
    language: str | None
    category_tag: str | None
    turns: int | None
    data: dict[str, Any] | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One published board; `voters` is the number of people behind its votes.

    `official` boards are of the campaign's own method, the others of one that a reader may choose.
    `details` says how well the model fits, and why the method was chosen.
    """

    campaign: str
    category: str
    method: str
    log_position: int
    published_at: str
    config: dict[str, Any]
    config_hash: str
    rows: list[dict[str, Any]]
    voters: int
    official: bool = True
    details: dict[str, Any] = field(default_factory=dict)

    def announcement(self) -> dict[str, Any]:
        """What a publication tells: which board, and up to which record."""
        names = ("campaign", "category", "method", "log_position", "published_at", "config_hash")
        return {name: getattr(self, name) for name in (*names, "official")}


@dataclass(frozen=True, slots=True)
class SealedBoard:
    """A board that was sealed: its `document` whole as it is shown, and the `digest` of that.

    `sealing` is the id of the record by which an operator sealed it, `log_position` its `seq`.
    """

    sealing: str
    category: str
    campaign: str
    log_position: int
    document: dict[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class RosterRevision:
    """The roster from time `at` on; revision 0 is the empty one before the first.

    `file_digest` is of the models in `arena.toml` when they were taken over last, `reason` what
    the operator told the public about the change.
    """

    revision: int
    at: str
    entries: tuple[ModelEntry, ...]
    file_digest: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do a singleton's work; `fence` grows with every change of holder."""

    name: str
    holder: str
    fence: int


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """A lease as anybody sees it. A living holder's `beat` moves; a released one has no holder."""

    holder: str | None
    fence: int
    beat: int


@dataclass(frozen=True, slots=True)
class Room:
    """How many battles may run at once: of one voter, and of all."""

    each: int
    together: int

    def check(self, of_voter: int, of_all: int) -> None:
        """Raises `TooMany` or `NoRoom` when so many that run leave no place for one more."""
        if of_voter >= self.each:
            raise TooMany(
                f"At most {self.each} battles may run at once; wait for one to finish, or skip it.",
                retry_after=5,
            )
        if of_all >= self.together:
            raise NoRoom(
                "All places are taken at this moment. Please try again in a few seconds.",
                retry_after=LINE_RETRY_SECONDS,
            )


class Running(NamedTuple):
    """Battles that are created or running: of one voter, and of all."""

    own: int
    together: int


LINE_RETRY_SECONDS = 3
"""How often whoever waits for a place should ask."""


class BattleStore(Protocol):
    """Battles and turns. Every move is a conditional UPDATE: False or None means it lost.

    With `room`, running battles are counted in the transaction that adds one, and those of the same
    moment one after the other: it raises as `Room.check` does.
    """

    def add(
        self,
        battle: Battle,
        turn: Turn,
        opening: Sequence[Message] = (),
        room: Room | None = None,
    ) -> None:
        """Store a new battle with its first turn.

        Raises `Erased` when what it takes over is erased meanwhile.
        """
        ...

    def get(self, battle_id: str) -> Battle | None: ...
    def turns(self, battle_id: str) -> list[Turn]: ...
    def turn(self, battle_id: str, number: int) -> Turn | None: ...

    def whole(self, battle_id: str) -> WholeBattle | None: ...

    def running(self, voter: str | None = None) -> Running:
        """How many battles are created or running: of this voter, and of all."""
        ...

    def by_state(self) -> dict[str, int]: ...

    def voids_by_model(self) -> dict[str, int]:
        """Turns that each model's failure made void."""
        ...

    def void_rates(self) -> dict[str, dict[str, float]]:
        """The share of its turns that each model's failure made void, by campaign and model.

        Only of battles that are over: while a vote is open, nothing may tell who plays.
        """
        ...

    def waiting(self) -> list[str]:
        """Ids of battles that no runner has claimed, oldest first."""
        ...

    def claim(self, battle_id: str, runner: str) -> Battle | None:
        """Take a waiting battle and make it `running`; None when another runner was first."""
        ...

    def claimed(self) -> dict[str, list[tuple[str, int]]]:
        """Running battles, each with its turn, by the runner that holds them."""
        ...

    def finish_turn(
        self,
        battle_id: str,
        number: int,
        answers: tuple[Answer, Answer],
        steps: Sequence[tuple[int, int]],
        runner: str,
        *,
        leaks: Sequence[Leak] = (),
    ) -> bool: ...

    def fail_turn(
        self,
        battle_id: str,
        number: int,
        *,
        reason: str,
        side: str | None,
        error: str | None,
        runner: str,
        retry_after: float | None = None,
    ) -> bool:
        """End a turn that brought no two answers: the first voids the battle.

        A failed `side` counts against its model. `error` is its kind, a colon and a sentence;
        `retry_after` the seconds for which the endpoint asked to be left alone.
        """
        ...

    def add_turn(
        self,
        turn: Turn,
        language: str | None = None,
        category_tag: str | None = None,
        consent: str | None = None,
        room: Room | None = None,
    ) -> bool:
        """Begin a follow-up: `ready → running` with turn `number` as the next one.

        Language and tag are those of all prompts so far, `consent` the one in force now.
        """
        ...

    def skip(self, battle_id: str) -> bool:
        """Leave a battle that is not over; its running turn (if any) becomes void."""
        ...

    def request_stop(self, battle_id: str) -> bool: ...
    def interrupted(self, battle_ids: Iterable[str]) -> dict[str, str]: ...

    def of_voter(
        self, voter: str, *, before: str | None, limit: int, erased: bool = False
    ) -> list[Summary]:
        """The voter's battles, newest first, from the one after the battle `before` on.

        Erased ones are left out unless they are asked for.
        """
        ...

    def share(self, battle_id: str) -> bool:
        """Let anybody read a battle that has its vote and its text; False for any other."""
        ...

    def unshare(self, battle_id: str) -> None: ...

    def shared_with(self, model: str, campaigns: Sequence[str], limit: int) -> list[Summary]:
        """Battles of this model in these campaigns that their voters share, newest first."""
        ...

    def kept(self, until: str, limit: int) -> list[str]:
        """Ids of battles begun before `until` that are not erased, oldest first."""
        ...

    def kept_of(self, battle_id: str) -> list[str]:
        """Ids of this battle and all that took over from it, at any remove, that are not erased."""
        ...

    def report(self, battle_id: str, voter: str, reason: str, side: str | None = None) -> None:
        """Keep the voter's report about this battle and side; a later one replaces it.

        Of an erased battle nothing is kept.
        """
        ...

    def reports_of(self, voter: str) -> list[Report]: ...

    def open_reports(self, limit: int) -> list[Report]:
        """Reports that no operator has handled, oldest first."""
        ...

    def handle_reports(self, battle_id: str, act: Act) -> bool:
        """Close the battle's open reports; False when there are none."""
        ...


class VoteLog(Protocol):
    """The append-only log: votes and what is said of them later, sealed in one place."""

    def add_votes(self, votes: Sequence[GivenVote]) -> list[StoredVote | None]:
        """Move battles `ready → voted` and append their votes and flags, all in one transaction.

        A record gets the pseudonym of its `voter`, a random name for this campaign's log, made
        with the first vote. Returns what was committed of each; None, with nothing written, where
        the battle is not `ready` at this `turn`. Of two votes on one battle the first counts.
        """
        ...

    def vote_of(self, battle_id: str) -> StoredVote | None: ...
    def content(self, record_id: str) -> Content | None: ...

    def find(self, name: str) -> LogRow | None:
        """The vote with this id, battle or receipt, sealed or not, and what is said of it."""
        ...

    def uncounted(self, battle_ids: Sequence[str]) -> dict[str, str | None]:
        """Of these battles, those whose votes are left out of the boards.

        With the newest exclusion's reason, or None where only an identity leak is the cause.
        """
        ...

    def remarked(self, limit: int) -> list[LogRow]:
        """Votes that were flagged or excluded, by the newest remark first."""
        ...

    def erase(
        self,
        battle_ids: Sequence[str],
        reason: str,
        *,
        act: Act | None = None,
        lease: Lease | None = None,
    ) -> list[str]:
        """Erase for good the text of these battles; returns those that still had it.

        Prompts, answers, conversations, salts, comments and reports go, and a battle that is not
        over is skipped. A vote stays, and an `erasure` record says why its text is gone. All of
        it happens in one transaction. With a lease, raises `LeaseLost`.
        """
        ...

    def kept(self, until: str, limit: int) -> list[str]:
        """Ids of votes from before `until` whose text is here and whose battle is not, at most
        `limit`: those of a log that was restored. Imported votes never had a battle.
        """
        ...

    def erase_votes(
        self,
        record_ids: Sequence[str],
        reason: str,
        *,
        act: Act | None = None,
        lease: Lease | None = None,
    ) -> list[str]:
        """Erase for good the text of these votes, whose battles are not here; as `erase`."""
        ...

    def forget(self, voter: str) -> bool:
        """Cut every tie between a voter and the erased battles, reports and pseudonyms.

        Returns False, with nothing changed, while the voter has a battle that is not erased.
        """
        ...

    def append(
        self,
        rows: Iterable[tuple[Record, Content | None]],
        lease: Lease | None = None,
        act: Act | None = None,
    ) -> int:
        """Append all of these records or none; returns how many of them are votes.

        With a lease, raises `LeaseLost` when somebody else holds it by now.
        """
        ...

    def import_file(
        self, campaign: Campaign, digest: str, rows: Iterable[tuple[Record, Content | None]]
    ) -> int:
        """As `append`, to a campaign that is made if need be.

        Votes go on meanwhile; none of its rows is seen before all of them are there. Raises
        `Conflict` when this very file is in that campaign already, or is imported anew meanwhile.
        """
        ...

    def seal(self, lease: Lease, limit: int) -> int:
        """Give up to `limit` committed records their `seq`; raises `LeaseLost`.

        Those of voters come before imported ones.
        """
        ...

    def position(self) -> int:
        """The last `seq` given; 0 for an empty log."""
        ...

    def unsealed(self) -> int:
        """How many committed records wait for their `seq`."""
        ...

    def votes_after(self, campaign: str, position: int) -> int:
        """How many votes of a campaign have their place after this one."""
        ...

    def place_of(self, record_id: str) -> int | None:
        """The `seq` of a record; None when it is unknown or waits for one."""
        ...

    def places(self, campaigns: Sequence[str], after: int, until: int, limit: int) -> list[int]:
        """Every `seq` of these campaigns with after < seq ≤ until, in order, at most `limit`."""
        ...

    def erased_after(self, campaigns: Sequence[str], position: int) -> list[str]:
        """Ids, sorted, of the records whose `erasure` stands behind this position, or waits."""
        ...

    def restore(
        self,
        lease: Lease,
        campaigns: Sequence[Campaign],
        rows: Iterable[LogRow],
        sealed: Sequence[SealedBoard] = (),
    ) -> int:
        """Make the log of an empty system this one; returns how many records it has then.

        `rows` come in their order, those without a `seq` last; campaigns of the same ids are
        replaced; `sealed` are all boards that were sealed. All of it happens in one transaction.
        Raises `Conflict` where the log has records other than those that tell of unused campaigns,
        and `LeaseLost`.
        """
        ...

    def leaves(self, after: int, limit: int) -> list[bytes]:
        """The leaf hashes of the records behind this `seq`, at most `limit`, in log order."""
        ...

    def counted(self, after: int, limit: int) -> list[Counted]: ...
    def counted_record(self, record_id: str) -> Counted | None: ...

    def exported(
        self, after: int, until: int, limit: int, campaigns: Sequence[str]
    ) -> Columns | None:
        """Records with after < seq ≤ until by column; None at the end.

        Their text comes with them, and what is said of them up to `until`. Where conversations are
        long it gives fewer rows than `limit`.
        """
        ...

    def events(
        self,
        campaigns: Iterable[str],
        types: Iterable[str] = EVENT_TYPES,
        *,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[LogRow]:
        """The sealed records of `types` (of `EVENT_TYPES`) of these campaigns, newest first.

        With `before`, from the newest one that has a smaller `seq` on.
        """
        ...

    def votes_of(self, model: str, campaigns: Iterable[str], until: str) -> int:
        """How many votes before time `until` in these campaigns were about this model."""
        ...

    def outcomes(self, campaigns: Sequence[str]) -> Iterator[Outcome]: ...


@dataclass(frozen=True, slots=True)
class Published:
    """That a board was published, without what it says."""

    id: int
    campaign: str
    category: str
    method: str
    published_at: str
    official: bool = True


class SnapshotStore(Protocol):
    def publish(self, lease: Lease, snapshot: Snapshot, head: Head | None = None) -> None:
        """Store a snapshot, and with it, or not at all, the head of its log position.

        Raises as `TreeStore.add_head` does.
        """
        ...

    def latest(self, campaign: str, category: str, method: str | None = None) -> Snapshot | None:
        """The newest board of this method; without one, the newest official board."""
        ...

    def standing(self, campaigns: Sequence[str], position: int) -> Iterator[Snapshot]:
        """Of each board of these campaigns the newest up to this log position, one at a time."""
        ...

    def published(self) -> list[Published]:
        """Every snapshot that is kept, oldest first."""
        ...

    def get(self, number: int) -> Snapshot | None:
        """The snapshot with this id; None when it was never there, or is kept no more."""
        ...

    def drop(self, lease: Lease, ids: Sequence[int]) -> None:
        """Forget snapshots; raises `LeaseLost`."""
        ...

    def offered(self, campaigns: Sequence[str]) -> dict[str, dict[str, list[str]]]:
        """The boards that there are: by campaign and category, the methods (all sorted)."""
        ...

    def history(
        self, campaigns: Sequence[str], limit: int, category: str | None = None
    ) -> list[dict[str, Any]]:
        """What was published, newest first, without the rows.

        With a category only the official boards of it.
        """
        ...


@dataclass(frozen=True, slots=True)
class PairTable:
    """The pairs behind a board at a log position: `data` is the object of `/api/board/pairs`
    without what these fields say (see `arena.leaderboard.pair_data`)."""

    campaign: str
    category: str
    log_position: int
    published_at: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rated:
    """What one published board says of one model; None: the votes set no bound."""

    model: str
    log_position: int
    published_at: str
    rating: float
    rating_lower: float | None
    rating_upper: float | None
    rank: int


class FigureStore(Protocol):
    """What pictures need beside the newest boards."""

    def save(self, lease: Lease, table: PairTable) -> None:
        """Replace the pair table of its board; raises `LeaseLost`."""
        ...

    def pairs(self, campaign: str, category: str) -> PairTable | None: ...

    def positions(self) -> dict[tuple[str, str], int]:
        """The log position of every pair table, by campaign and category."""
        ...

    def history(
        self, campaign: str, category: str, models: Sequence[str], limit: int
    ) -> list[Rated]:
        """These models on the official boards that are kept, oldest first.

        Of more than `limit` boards some between the first and the newest are left out, evenly.
        """
        ...

    def save_void_rates(self, lease: Lease, rates: Mapping[str, Mapping[str, float]]) -> None:
        """Publish what `BattleStore.void_rates` tells, by campaign; raises `LeaseLost`."""
        ...

    def void_rates(self, campaign: str) -> dict[str, float]:
        """What was published of a campaign last."""
        ...


@dataclass(frozen=True, slots=True)
class Node:
    """The root (32 bytes) over a whole subtree of 256 ** `level` leaves, the `number`th from 0."""

    level: int
    number: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """A signed head of the log's tree: `root` is the hex root over its first `size` records."""

    size: int
    root: str
    timestamp: str
    note: str

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


class TreeStore(Protocol):
    """The log's tree (`arena.tree`): nodes, a cache that may be lost at any time, and its heads."""

    def nodes(self, level: int, first: int, count: int) -> dict[int, bytes]:
        """The roots that are kept of nodes first ≤ number < first + count, by number."""
        ...

    def whole(self) -> dict[int, int]:
        """By level, how many nodes are kept; 0 where one is missing in between."""
        ...

    def save(self, lease: Lease, nodes: Sequence[Node]) -> None:
        """Keep or replace nodes, which follow each other in each level; raises `LeaseLost`."""
        ...

    def head(self, size: int | None = None) -> Head | None:
        """The head of this size; without one, the newest."""
        ...

    def nearest(self, size: int) -> Head | None:
        """The kept head whose size is nearest to this one; the smaller of two."""
        ...

    def keys(self) -> list[str]:
        """The verifier keys that heads were ever signed with, the newest first."""
        ...

    def add_key(self, lease: Lease, verifier_key: str) -> None:
        """Keep one, if it is not kept already; raises `LeaseLost`."""
        ...

    def add_head(self, lease: Lease, head: Head) -> None:
        """Keep a head, instead of the one of its size if there is one.

        Raises `LeaseLost`, and `ForkedLog` when that one has another root.
        """
        ...

    def drop_heads(self, lease: Lease, before: str) -> None:
        """Forget the heads signed `before` a time that are of no board's log position.

        The newest stays. Raises `LeaseLost`.
        """
        ...


class PageStore(Protocol):
    """Whole pages of the counted log (`arena.counting`): a cache that may be lost at any time."""

    def get(self, number: int) -> bytes | None: ...

    def save(self, lease: Lease, number: int, data: bytes) -> None:
        """Keep or replace a page; raises `LeaseLost`."""
        ...


class SealedStore(Protocol):
    """Sealed boards. They are added once and never changed or dropped."""

    def waiting(self) -> list[LogRow]:
        """Records of `sealing` that have their place, and none of `sealed` yet, oldest first."""
        ...

    def add(self, lease: Lease, boards: Sequence[SealedBoard], record: Record) -> bool:
        """Keep the boards of one sealing and append the record that tells their digests, or
        neither.

        False when that sealing has its boards already. Raises `LeaseLost`.
        """
        ...

    def get(self, campaign: str, log_position: int, category: str) -> SealedBoard | None: ...

    def until(self, campaigns: Sequence[str], position: int) -> list[SealedBoard]:
        """The boards that were sealed at this log position or before, oldest first."""
        ...

    def records(self, campaigns: Sequence[str]) -> list[LogRow]:
        """What the log says of sealing, oldest first: records `sealing` and `sealed`, also those
        that wait for their place."""
        ...


class CampaignStore(Protocol):
    """Campaigns and the invitations to them.

    An operator's `act` is written with the change, and so is the log's `campaign` record of it, so
    that no consent text was ever in force that the log does not have. Campaigns that come without
    an act are told by the worker.
    """

    def add(self, campaign: Campaign, act: Act | None = None) -> bool: ...

    def tell(self, lease: Lease, campaign_ids: Iterable[str]) -> int:
        """Append the record of each of these campaigns that the log does not know as it is.

        Returns how many there were; raises `LeaseLost`.
        """
        ...

    def get(self, campaign_id: str) -> Campaign | None: ...
    def all(self) -> list[Campaign]: ...

    def change(
        self,
        campaign_id: str,
        changes: Mapping[str, Any],
        act: Act,
        *,
        without_battles: bool = False,
    ) -> bool:
        """Give some fields new values.

        False when there is no such campaign, or `without_battles` it has one already.
        """
        ...

    def invite(self, invitation: Invitation, act: Act) -> None: ...

    def revoke(self, digest: str, at: str, act: Act) -> bool:
        """End an invitation; False when it is unknown or has been revoked before."""
        ...

    def invitations(self) -> list[Invitation]:
        """All of them, newest first."""
        ...

    def invited(self, digests: Sequence[str]) -> list[Invitation]:
        """Those of these digests that there are."""
        ...


class RosterStore(Protocol):
    def current(self) -> RosterRevision: ...

    def at(self, revision: int) -> RosterRevision:
        """A revision as it was; the empty revision 0 for one that never was."""
        ...

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
        """Make these the roster; a new revision, with its act, only when something changed.

        Without a digest the current one stays. Raises `Conflict` when the current revision is not
        the one that the entries were made `after`.
        """
        ...

    def history(self) -> list[RosterRevision]:
        """Every revision, the first one first; a `file_digest` may be an older one."""
        ...


class AuditTrail(Protocol):
    """What operators did. Acts that change something are written by the change itself."""

    def add(self, act: Act) -> None: ...

    def page(self, before: int | None, limit: int) -> list[AuditEntry]:
        """Entries before the one numbered so (None: the newest ones), newest first."""
        ...

    def last(self, act: str) -> AuditEntry | None:
        """The newest entry of one kind of act."""
        ...


class UsageStore(Protocol):
    """What models did, by UTC day; `BattleStore` counts it in the transaction that ends a turn."""

    def of_day(self, day: str) -> dict[str, Usage]: ...
    def total(self) -> dict[str, Usage]: ...


class CircuitStore(Protocol):
    """How endpoints are doing; `BattleStore` counts it in the transaction that ends a turn."""

    def all(self) -> list[Circuit]:
        """The circuit of every model that ever failed, by id."""
        ...

    def failures(self) -> dict[tuple[str, str], int]:
        """How often it came to what, by model and kind."""
        ...

    def begin_probe(self, seen: Circuit) -> Circuit | None:
        """Be the one that probes this circuit; None when somebody else is or was."""
        ...

    def end_probe(
        self, probe: Circuit, error: str | None, retry_after: float | None = None
    ) -> bool:
        """Say how the probe went: no `error` closes. False when it does not count any more."""
        ...

    def close(self, model: str) -> bool:
        """Draw the model again, because it was seen to answer; False when it rests not."""
        ...


class LeaseStore(Protocol):
    """Leases judged by heartbeats, so that a jumping clock neither keeps nor loses one."""

    def look(self, name: str) -> LeaseSeen | None: ...

    def held(self) -> dict[str, LeaseSeen]:
        """Every lease that has a holder, by name."""
        ...

    def take(self, name: str, holder: str, seen: LeaseSeen | None) -> Lease | None: ...

    def renew(self, lease: Lease) -> None:
        """Move the beat; raises `LeaseLost`."""
        ...

    def release(self, lease: Lease) -> None: ...
    def forget(self, name: str) -> None: ...


class Store(Protocol):
    """SQL, the system of record. Every method may raise `Unavailable`."""

    @property
    def battles(self) -> BattleStore: ...
    @property
    def votes(self) -> VoteLog: ...
    @property
    def snapshots(self) -> SnapshotStore: ...
    @property
    def figures(self) -> FigureStore: ...
    @property
    def pages(self) -> PageStore: ...
    @property
    def trees(self) -> TreeStore: ...
    @property
    def sealed(self) -> SealedStore: ...
    @property
    def campaigns(self) -> CampaignStore: ...
    @property
    def roster(self) -> RosterStore: ...
    @property
    def leases(self) -> LeaseStore: ...
    @property
    def audit(self) -> AuditTrail: ...
    @property
    def usage(self) -> UsageStore: ...
    @property
    def circuits(self) -> CircuitStore: ...
    def ping(self) -> None: ...

    def require_current(self) -> None:
        """Raise `BadSetting` unless the schema is the one that this program needs."""
        ...

    def require_durable(self) -> None:
        """Raise `BadSetting` when the server may forget, in a power failure, what it confirmed."""
        ...


# --- live -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """Frame `number` (from 0) of a running turn."""

    battle_id: str
    turn: int
    number: int
    frame: Frame


class Subscription(Protocol[T_co]):
    """Messages from the moment of subscribing on; None after `timeout` seconds of silence."""

    def get(self, timeout: float) -> T_co | None: ...


@dataclass(frozen=True, slots=True)
class LookAgain:
    """What is followed is over, or messages may have been missed: look at SQL and the buffer."""


@dataclass(frozen=True, slots=True)
class LineShare:
    """How many of one network may wait in line: voters are invented faster than networks."""

    network: str
    most: int


class LiveBuffer(Protocol):
    """Redis: frames of running turns, wake-ups, announcements. All can be lost and rebuilt.

    Wake-ups and announcements are hints: they never raise, because slow polls cover their loss.
    The others raise `LiveLost` when Redis is away.
    """

    def push(self, frames: Sequence[LiveFrame]) -> set[str]:
        """Append one tick's frames. Returns the battles whose earlier frames are gone."""
        ...

    def replace(self, battle_id: str, turn: int, frames: Sequence[Frame]) -> None: ...
    def ended(self, battle_id: str, turn: int) -> None: ...

    def frames(self, battle_id: str, turn: int, start: int) -> list[Frame]:
        """Frames from `start` on, up to the first that was lost."""
        ...

    def follow(
        self, battle_id: str, turn: int
    ) -> AbstractContextManager[Subscription[LiveFrame | LookAgain]]: ...

    def wake_runner(self, battle_id: str) -> None: ...
    def next_battle(self, timeout: float) -> str | None: ...
    def wake_worker(self) -> None: ...
    def wait_for_work(self, timeout: float) -> None: ...
    def announce(self, snapshot: dict[str, Any]) -> None: ...
    def boards(self) -> AbstractContextManager[Subscription[dict[str, Any] | LookAgain]]: ...

    def ahead(self, voter: str, stay: LineShare | None = None) -> int:
        """How many wait for a place before this voter; of one who does not wait, all who do.

        With `stay` the voter waits too, unless too many of the same network do. Whoever has not
        asked for a while has left.
        """
        ...

    def leave_line(self, voter: str) -> None: ...
    def ping(self) -> None: ...
