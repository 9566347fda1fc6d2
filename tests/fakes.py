"""In-memory stand-ins that keep the promises of `arena.interfaces`, and examples to fill them.

The store and the live buffer go through the same contract suites as the real ones. Each has
`away`, which makes it fail as the real one does when its server cannot be reached.
"""

from __future__ import annotations

import itertools
import queue
import secrets
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Generic, TypeVar

import arena.log
from arena.battle import (
    MOVES,
    Answer,
    Battle,
    BattleState,
    Frame,
    Leak,
    Message,
    Turn,
    TurnState,
    WholeBattle,
)
from arena.circuit import Circuit, CircuitState, error_kind, is_trouble
from arena.clock import now, today
from arena.errors import (
    Conflict,
    EndpointBroken,
    Erased,
    ForkedLog,
    LeaseLost,
    LiveLost,
    Unavailable,
)
from arena.events import campaign_record
from arena.interfaces import (
    Act,
    AuditEntry,
    Campaign,
    Columns,
    Counted,
    Deadlines,
    Finished,
    GivenVote,
    Head,
    Invitation,
    Lease,
    LeaseSeen,
    LineShare,
    LiveFrame,
    LookAgain,
    ModelEntry,
    Node,
    Outcome,
    PairTable,
    Published,
    Rated,
    Report,
    Room,
    RosterRevision,
    Running,
    SealedBoard,
    Snapshot,
    StoredVote,
    Summary,
    Usage,
    VoteLog,
)
from arena.notes import Signer
from arena.records import EVENT_TYPES, EXPORT_FIELDS, Content, LogRow, Record, left_out, remark
from arena.store.figures import rated, thinned

T = TypeVar("T")
_OPEN = (BattleState.created, BattleState.running)


# --- the store ----------------------------------------------------------------------------------


class FakeDatabase:
    """One lock for all tables. The next `away` transactions raise `Unavailable`."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.away = 0
        self.acts: list[Act] = []
        self.played: set[str] = set()  # campaigns that had a battle
        self.usage: dict[tuple[str, str], Usage] = {}
        self.circuits: dict[str, Circuit] = {}
        self.failures: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._lock:
            if self.away:
                self.away -= 1
                raise Unavailable("The database is away.")
            yield

    def use(self, model: str, more: Usage) -> None:
        key = today(), model
        self.usage[key] = added(self.usage.get(key, Usage()), more)


class FakeStore:
    """`interfaces.Store` in memory."""

    def __init__(self) -> None:
        self.database = FakeDatabase()
        self.campaigns = FakeCampaigns(self.database, self)
        self.roster = FakeRoster(self.database)
        self.leases = FakeLeases(self.database)
        self.votes = FakeVotes(self.database, self)
        self.battles = FakeBattles(self.database, self.votes.vote_of)
        heads: dict[int, Head] = {}
        self.snapshots = FakeSnapshots(self.database, self.leases, heads)
        self.figures = FakeFigures(self.database, self.leases, self.snapshots)
        self.pages = FakePages(self.database, self.leases)
        self.trees = FakeTrees(self, heads)
        self.sealed = FakeSealed(self.database, self)
        self.audit = FakeAudit(self.database)
        self.usage = FakeUsage(self.database)
        self.circuits = FakeCircuits(self.database)

    def ping(self) -> None:
        with self.database.transaction():
            pass

    def require_current(self) -> None:
        pass

    def require_durable(self) -> None:
        pass


@dataclass
class _BattleRow:
    battle: Battle
    turns: list[Turn]
    opening: tuple[Message, ...] = ()
    claimed_by: str | None = None
    ended_at: str = ""
    side: str | None = None
    error: str | None = None
    failed_models: list[str] = field(default_factory=list)

    def models(self) -> tuple[str, str]:
        return self.battle.model_a, self.battle.model_b

    def is_free(self) -> bool:
        return self.battle.state in _OPEN and self.claimed_by is None

    def may_become(self, target: BattleState) -> bool:
        return target in MOVES[self.battle.state]

    def is_held(self, number: int, runner: str) -> bool:
        at = self.battle.state, self.battle.turn, self.claimed_by
        return at == (BattleState.running, number, runner)

    def move(self, target: BattleState, **changes: Any) -> None:
        self.battle = replace(self.battle, state=target, **changes)
        if target in (BattleState.skipped, BattleState.void):
            self.ended_at = now()

    def end_turn(self, **changes: Any) -> None:
        self.turns[-1] = replace(self.turns[-1], **changes)


def _without_text(turn: Turn) -> Turn:
    turn = replace(turn, prompt="", steps=(), leaks=())
    if turn.state is TurnState.running:
        return replace(turn, state=TurnState.void, void_reason="skipped")
    if turn.state is TurnState.void:
        return turn
    answer_a, answer_b = turn.answers()
    return replace(turn, answer_a=replace(answer_a, text=""), answer_b=replace(answer_b, text=""))


class FakeBattles:
    def __init__(self, database: FakeDatabase, vote_of: Callable[[str], StoredVote | None]) -> None:
        self._db = database
        self.rows: dict[str, _BattleRow] = {}
        self.reports: dict[tuple[str, str, str | None], Report] = {}
        self.vote_of = vote_of

    def _all(self) -> list[_BattleRow]:
        return sorted(self.rows.values(), key=lambda row: row.battle.created_at)

    def add(
        self,
        battle: Battle,
        turn: Turn,
        opening: Sequence[Message] = (),
        room: Room | None = None,
    ) -> None:
        with self._db.transaction():
            origin = self.rows.get(battle.redrawn_from or battle.continued_from or "")
            if origin is not None and origin.battle.erased_at is not None:
                raise Erased("Erased meanwhile.")
            self._check(room, battle.voter)
            if battle.id in self.rows:
                raise ValueError("there is a battle of this id")
            self.rows[battle.id] = _BattleRow(battle, [turn], tuple(opening))
            self._db.played.add(battle.campaign)

    def get(self, battle_id: str) -> Battle | None:
        with self._db.transaction():
            row = self.rows.get(battle_id)
            return None if row is None else row.battle

    def turns(self, battle_id: str) -> list[Turn]:
        with self._db.transaction():
            return list(self.rows[battle_id].turns) if battle_id in self.rows else []

    def turn(self, battle_id: str, number: int) -> Turn | None:
        return next((turn for turn in self.turns(battle_id) if turn.number == number), None)

    def whole(self, battle_id: str) -> WholeBattle | None:
        with self._db.transaction():
            row = self.rows.get(battle_id)
            return None if row is None else WholeBattle(row.battle, tuple(row.turns), row.opening)

    def running(self, voter: str | None = None) -> Running:
        with self._db.transaction():
            voters = [row.battle.voter for row in self._all() if row.battle.state in _OPEN]
            return Running(voters.count(voter), len(voters))

    def by_state(self) -> dict[str, int]:
        with self._db.transaction():
            return dict(Counter(str(row.battle.state) for row in self._all()))

    def voids_by_model(self) -> dict[str, int]:
        with self._db.transaction():
            return dict(Counter(model for row in self._all() for model in row.failed_models))

    def void_rates(self) -> dict[str, dict[str, float]]:
        asked, failed = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        with self._db.transaction():
            for row in self._all():
                battle = row.battle
                if battle.state not in _OPEN and battle.state is not BattleState.ready:
                    for model in (battle.model_a, battle.model_b):
                        asked[battle.campaign, model] += battle.turn
                    failed.update((battle.campaign, model) for model in row.failed_models)
        rates: dict[str, dict[str, float]] = defaultdict(dict)
        for (campaign, model), number in asked.items():
            rates[campaign][model] = failed[campaign, model] / number
        return dict(rates)

    def waiting(self) -> list[str]:
        with self._db.transaction():
            return [row.battle.id for row in self._all() if row.is_free()]

    def claim(self, battle_id: str, runner: str) -> Battle | None:
        with self._db.transaction():
            row = self.rows.get(battle_id)
            if row is None or not row.is_free():
                return None
            row.move(BattleState.running)
            row.claimed_by = runner
            return row.battle

    def claimed(self) -> dict[str, list[tuple[str, int]]]:
        held = defaultdict(list)
        with self._db.transaction():
            for row in self._all():
                if row.battle.state is BattleState.running and row.claimed_by is not None:
                    held[row.claimed_by].append((row.battle.id, row.battle.turn))
        return dict(held)

    def finish_turn(
        self,
        battle_id: str,
        number: int,
        answers: tuple[Answer, Answer],
        steps: Sequence[tuple[int, int]],
        runner: str,
        *,
        leaks: Sequence[Leak] = (),
    ) -> bool:
        with self._db.transaction():
            row = self.rows.get(battle_id)
            if row is None or not row.is_held(number, runner):
                return False
            row.move(BattleState.ready, stop_requested=False)
            row.claimed_by = None
            row.end_turn(
                state=TurnState.ready,
                answer_a=answers[0],
                answer_b=answers[1],
                steps=tuple((a, b) for a, b in steps),
                leaks=tuple(leaks),
            )
            for model, answer in zip(row.models(), answers, strict=True):
                self._db.use(model, Usage.of(answer))
                if model in self._db.circuits:
                    self._db.circuits[model] = self._db.circuits[model].answered()
            return True

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
        with self._db.transaction():
            row = self.rows.get(battle_id)
            if row is None or not row.is_held(number, runner):
                return False
            target = BattleState.void if number == 1 else BattleState.ready
            row.move(target, stop_requested=False)
            row.claimed_by, row.side, row.error = None, side, error
            if side is not None:
                failed = row.models()["ab".index(side)]
                row.failed_models.append(failed)
                self._db.use(failed, Usage(failures=1))
                kind = error_kind(error or "")
                self._db.failures[failed, kind] += 1
                if is_trouble(kind):
                    circuit = self._db.circuits.get(failed, Circuit(failed))
                    self._db.circuits[failed] = circuit.failed(kind, now(), retry_after)
            row.end_turn(state=TurnState.void, void_reason=reason)
            return True

    def _check(self, room: Room | None, voter: str | None) -> None:
        if room is not None:
            room.check(*self.running(voter))

    def add_turn(
        self,
        turn: Turn,
        language: str | None = None,
        category_tag: str | None = None,
        consent: str | None = None,
        room: Room | None = None,
    ) -> bool:
        with self._db.transaction():
            row = self.rows.get(turn.battle_id)
            if row is None:
                return False
            self._check(room, row.battle.voter)
            if row.battle.state is not BattleState.ready:
                return False
            if row.battle.turn != turn.number - 1:
                return False
            row.move(
                BattleState.running,
                turn=turn.number,
                language=language,
                category_tag=category_tag,
                consent=consent,
            )
            row.side = row.error = None
            row.turns.append(turn)
            return True

    def skip(self, battle_id: str) -> bool:
        with self._db.transaction():
            row = self.rows.get(battle_id)
            if row is None or not row.may_become(BattleState.skipped):
                return False
            row.move(BattleState.skipped)
            if row.turns[-1].state is TurnState.running:
                row.end_turn(state=TurnState.void, void_reason="skipped")
            return True

    def request_stop(self, battle_id: str) -> bool:
        with self._db.transaction():
            row = self.rows.get(battle_id)
            if row is None or row.battle.state not in _OPEN:
                return False
            row.battle = replace(row.battle, stop_requested=True)
            return True

    def interrupted(self, battle_ids: Iterable[str]) -> dict[str, str]:
        with self._db.transaction():
            found = [self.rows[name].battle for name in battle_ids if name in self.rows]
        return {
            battle.id: "stop" if battle.state is BattleState.running else "leave"
            for battle in found
            if battle.stop_requested or battle.state is not BattleState.running
        }

    def of_voter(
        self, voter: str, *, before: str | None, limit: int, erased: bool = False
    ) -> list[Summary]:
        def place(row: _BattleRow) -> tuple[str, str]:
            return row.battle.created_at, row.battle.id

        with self._db.transaction():
            own = {r.battle.id: r for r in self.rows.values() if r.battle.voter == voter}
            newest = sorted(own.values(), key=place, reverse=True)
            if before is not None:
                newest = [r for r in newest if before in own and place(r) < place(own[before])]
            shown = [r for r in newest if erased or r.battle.erased_at is None]
            return [self._summary(row) for row in shown[:limit]]

    def _summary(self, row: _BattleRow) -> Summary:
        vote = self.vote_of(row.battle.id)
        said = (None, None) if vote is None else (vote.record.grade, vote.record.both_bad)
        return Summary(row.battle, row.turns[0].prompt, *said)

    def shared_with(self, model: str, campaigns: Sequence[str], limit: int) -> list[Summary]:
        with self._db.transaction():
            found = [
                row
                for row in self.rows.values()
                if row.battle.shared_at is not None
                and row.battle.campaign in campaigns
                and model in (row.battle.model_a, row.battle.model_b)
            ]
            found.sort(key=lambda row: row.battle.id)
            found.sort(key=lambda row: row.battle.shared_at or "", reverse=True)
            return [self._summary(row) for row in found[:limit]]

    def kept(self, until: str, limit: int) -> list[str]:
        with self._db.transaction():
            kept = [row.battle for row in self._all() if row.battle.erased_at is None]
            return [battle.id for battle in kept if battle.created_at < until][:limit]

    def kept_of(self, battle_id: str) -> list[str]:
        with self._db.transaction():
            found = {battle_id} & self.rows.keys()
            for row in self._all():
                if found & {row.battle.redrawn_from, row.battle.continued_from}:
                    found.add(row.battle.id)
            return [name for name in found if self.rows[name].battle.erased_at is None]

    def share(self, battle_id: str) -> bool:
        with self._db.transaction():
            row = self.rows.get(battle_id)
            if row is None or row.battle.state is not BattleState.voted or row.battle.erased_at:
                return False
            row.battle = replace(row.battle, shared_at=row.battle.shared_at or now())
            return True

    def unshare(self, battle_id: str) -> None:
        with self._db.transaction():
            if row := self.rows.get(battle_id):
                row.battle = replace(row.battle, shared_at=None)

    def report(self, battle_id: str, voter: str, reason: str, side: str | None = None) -> None:
        with self._db.transaction():
            if self.rows[battle_id].battle.erased_at is None:
                report = Report(battle_id, side, reason, now())
                self.reports[battle_id, voter, side] = report

    def reports_of(self, voter: str) -> list[Report]:
        with self._db.transaction():
            return [report for (_, whose, _), report in self.reports.items() if whose == voter]

    def open_reports(self, limit: int) -> list[Report]:
        with self._db.transaction():
            waiting = [report for report in self.reports.values() if report.handled_at is None]
            return sorted(waiting, key=lambda report: report.created_at)[:limit]

    def handle_reports(self, battle_id: str, act: Act) -> bool:
        with self._db.transaction():
            handled = False
            for key, report in self.reports.items():
                if report.battle_id == battle_id and report.handled_at is None:
                    self.reports[key] = replace(report, handled_at=act.at)
                    handled = True
            if handled:
                self._db.acts.append(act)
            return handled

    def erase(self, battle_id: str) -> bool:
        """The battle's part of `FakeVotes.erase`."""
        row = self.rows.get(battle_id)
        if row is None or row.battle.erased_at is not None:
            return False
        if row.may_become(BattleState.skipped):
            row.move(BattleState.skipped)
        row.battle = replace(row.battle, erased_at=now(), shared_at=None)
        row.turns = [_without_text(turn) for turn in row.turns]
        row.opening = ()
        row.error = None
        for key, report in self.reports.items():
            if report.battle_id == battle_id:
                handled_at = report.handled_at or now()
                self.reports[key] = replace(report, reason="", handled_at=handled_at)
        return True

    def forget(self, voter: str) -> bool:
        """The battles' part of `FakeVotes.forget`."""
        own = [row for row in self.rows.values() if row.battle.voter == voter]
        if any(row.battle.erased_at is None for row in own):
            return False
        for row in own:
            row.battle = replace(row.battle, voter="")
        for key in [key for key in self.reports if key[1] == voter]:
            self.reports[key[0], "", key[2]] = self.reports.pop(key)
        return True


@dataclass
class _RecordRow:
    record: Record
    hash: str
    content: Content | None
    seq: int | None = None
    idempotency_key: str | None = None
    request_digest: str | None = None

    def counted(self) -> Counted:
        record = self.record
        fields = {name: getattr(record, name) for name in Counted.__slots__ if name != "seq"}
        return Counted(seq=self.seq or 0, **fields)


class FakeVotes:
    def __init__(self, database: FakeDatabase, store: FakeStore) -> None:
        self._db = database
        self._store = store
        self._rows: list[_RecordRow] = []  # in commit order
        self._pseudonyms: dict[tuple[str, str], str] = {}
        self._imports: set[tuple[str, str]] = set()

    def add_votes(self, votes: Sequence[GivenVote]) -> list[StoredVote | None]:
        with self._db.transaction():
            return list(map(self._add_vote, votes))

    def _add_vote(self, vote: GivenVote) -> StoredVote | None:
        row = self._store.battles.rows.get(vote.record.battle_id or "")
        if row is None or row.battle.turn != vote.turn or not row.may_become(BattleState.voted):
            return None
        row.move(BattleState.voted)
        fresh = secrets.token_hex(16)
        name = self._pseudonyms.setdefault((vote.voter, vote.record.campaign), fresh)
        record = replace(vote.record, voter=name)
        stored = StoredVote(record, record.leaf(), vote.idempotency_key, vote.request_digest)
        request = (stored.idempotency_key, stored.request_digest)
        self._rows.append(_RecordRow(record, stored.hash, vote.content, None, *request))
        self._rows += (_RecordRow(flag, flag.leaf(), None) for flag in vote.flags)
        return stored

    def vote_of(self, battle_id: str) -> StoredVote | None:
        with self._db.transaction():
            for row in self._rows:
                if row.record.battle_id == battle_id and row.record.type == "vote":
                    return StoredVote(row.record, row.hash, row.idempotency_key, row.request_digest)
        return None

    def content(self, record_id: str) -> Content | None:
        with self._db.transaction():
            return next((row.content for row in self._rows if row.record.id == record_id), None)

    def find(self, name: str) -> LogRow | None:
        with self._db.transaction():
            for row in self._rows:
                names = row.record.id, row.record.battle_id, row.hash
                if row.record.type == "vote" and name in names:
                    return self._log_row(row, self._rows)
        return None

    def uncounted(self, battle_ids: Sequence[str]) -> dict[str, str | None]:
        with self._db.transaction():
            votes = {
                row.record.id: row.record.battle_id
                for row in self._rows
                if row.record.type == "vote" and row.record.battle_id in battle_ids
            }
            said = [row.record for row in self._rows if row.record.target in votes]
            return left_out((votes[r.target or ""] or "", r.type, r.reason) for r in said)

    def remarked(self, limit: int) -> list[LogRow]:
        with self._db.transaction():
            said = [r.record for r in self._rows if r.record.type in ("flag", "exclusion")]
            newest = dict.fromkeys(record.target for record in reversed(said))
            rows = {row.record.id: row for row in self._rows}
            return [self._log_row(rows[name or ""], self._rows) for name in newest][:limit]

    def erase(
        self,
        battle_ids: Sequence[str],
        reason: str,
        *,
        act: Act | None = None,
        lease: Lease | None = None,
    ) -> list[str]:
        with self._db.transaction():
            if lease is not None:
                self._store.leases.renew(lease)
            erased = [name for name in battle_ids if self._store.battles.erase(name)]
            self._erase([row for row in self._rows if row.record.battle_id in erased], reason)
            if erased and act is not None:
                self._db.acts.append(act)
            return erased

    def _erase(self, rows: Sequence[_RecordRow], reason: str) -> list[str]:
        kept = [row for row in rows if row.record.type == "vote" and row.content is not None]
        for row in kept:
            row.content = row.idempotency_key = row.request_digest = None
            self.append([(remark("erasure", row.record, reason, now()), None)])
        return [row.record.id for row in kept]

    def kept(self, until: str, limit: int) -> list[str]:
        with self._db.transaction():
            return [
                row.record.id
                for row in self._rows
                if row.record.type == "vote"
                and row.content is not None
                and row.record.battle_id not in (None, *self._store.battles.rows)
                and row.record.timestamp < until
            ][:limit]

    def erase_votes(
        self,
        record_ids: Sequence[str],
        reason: str,
        *,
        act: Act | None = None,
        lease: Lease | None = None,
    ) -> list[str]:
        with self._db.transaction():
            if lease is not None:
                self._store.leases.renew(lease)
            erased = self._erase([r for r in self._rows if r.record.id in record_ids], reason)
            if erased and act is not None:
                self._db.acts.append(act)
            return erased

    def forget(self, voter: str) -> bool:
        with self._db.transaction():
            if not self._store.battles.forget(voter):
                return False
            for key in [key for key in self._pseudonyms if key[0] == voter]:
                del self._pseudonyms[key]
            return True

    def append(
        self,
        rows: Iterable[tuple[Record, Content | None]],
        lease: Lease | None = None,
        act: Act | None = None,
    ) -> int:
        with self._db.transaction():
            if lease is not None:
                self._store.leases.renew(lease)
            if act is not None:
                self._db.acts.append(act)
            fresh = [_RecordRow(record, record.leaf(), content) for record, content in rows]
            self._rows += fresh
            return sum(row.record.type == "vote" for row in fresh)

    def import_file(
        self, campaign: Campaign, digest: str, rows: Iterable[tuple[Record, Content | None]]
    ) -> int:
        with self._db.transaction():
            if (campaign.id, digest) in self._imports:
                raise Conflict("This file has been imported before.")
            count = self.append(list(rows))
            self._store.campaigns.add(campaign)
            self._imports.add((campaign.id, digest))
            return count

    def seal(self, lease: Lease, limit: int) -> int:
        with self._db.transaction():
            self._store.leases.renew(lease)
            last = self.position()
            pending = [row for row in self._rows if row.seq is None][:limit]
            for seq, row in enumerate(pending, last + 1):
                row.seq = seq
            return len(pending)

    def position(self) -> int:
        with self._db.transaction():
            return max((row.seq or 0 for row in self._rows), default=0)

    def unsealed(self) -> int:
        with self._db.transaction():
            return sum(row.seq is None for row in self._rows)

    def votes_after(self, campaign: str, position: int) -> int:
        with self._db.transaction():
            later = [row.record for row in self._rows if (row.seq or 0) > position]
        return sum(one.type == "vote" and one.campaign == campaign for one in later)

    def _sealed_rows(self) -> list[_RecordRow]:
        return sorted((row for row in self._rows if row.seq), key=lambda row: row.seq or 0)

    def place_of(self, record_id: str) -> int | None:
        with self._db.transaction():
            return next((row.seq for row in self._rows if row.record.id == record_id), None)

    def leaves(self, after: int, limit: int) -> list[bytes]:
        with self._db.transaction():
            newer = [row.hash for row in self._sealed_rows() if (row.seq or 0) > after]
        return [bytes.fromhex(leaf) for leaf in newer[:limit]]

    def places(self, campaigns: Sequence[str], after: int, until: int, limit: int) -> list[int]:
        with self._db.transaction():
            found = [
                row.seq or 0 for row in self._sealed_rows() if row.record.campaign in campaigns
            ]
        return [seq for seq in found if after < seq <= until][:limit]

    def erased_after(self, campaigns: Sequence[str], position: int) -> list[str]:
        with self._db.transaction():
            return sorted(
                row.record.target or ""
                for row in self._rows
                if row.record.type == "erasure"
                and row.record.campaign in campaigns
                and (row.seq is None or row.seq > position)
            )

    def restore(
        self,
        lease: Lease,
        campaigns: Sequence[Campaign],
        rows: Iterable[LogRow],
        sealed: Sequence[SealedBoard] = (),
    ) -> int:
        with self._db.transaction():
            self._store.leases.renew(lease)
            if any(row.seq or row.record.type != "campaign" for row in self._rows):
                raise Conflict("The log here has records already.")
            restored = [
                _RecordRow(row.record, row.record.leaf(), row.content, row.seq) for row in rows
            ]
            ids = {campaign.id for campaign in campaigns}
            kept = [row for row in self._rows if row.record.campaign not in ids]
            self._rows = [*restored, *kept]
            self._store.campaigns.restore(campaigns)
            self._store.sealed.restore(sealed)
            return len(restored)

    def counted(self, after: int, limit: int) -> list[Counted]:
        with self._db.transaction():
            newer = [row.counted() for row in self._sealed_rows()]
        return [row for row in newer if row.seq > after][:limit]

    def counted_record(self, record_id: str) -> Counted | None:
        with self._db.transaction():
            return next((r.counted() for r in self._rows if r.record.id == record_id), None)

    def exported(
        self, after: int, until: int, limit: int, campaigns: Sequence[str]
    ) -> Columns | None:
        limit = min(limit, 3)  # as if texts were long
        with self._db.transaction():
            log = [row for row in self._sealed_rows() if (row.seq or 0) <= until]
            page = [r for r in log if (r.seq or 0) > after and r.record.campaign in campaigns]
            rows = [_export_row(self._log_row(row, log)) for row in page[:limit]]
        return {name: [row[name] for row in rows] for name in EXPORT_FIELDS} if rows else None

    def _log_row(self, row: _RecordRow, log: Sequence[_RecordRow]) -> LogRow:
        said = [other.record for other in log if other.record.target == row.record.id]
        exclusions = [record.reason for record in said if record.type == "exclusion"]
        return LogRow(
            seq=row.seq,
            record=row.record,
            hash=row.hash,
            content=row.content,
            flags=tuple(record.reason or "" for record in said if record.type == "flag"),
            excluded_reason=exclusions[-1] if exclusions else None,
        )

    def events(
        self,
        campaigns: Iterable[str],
        types: Iterable[str] = EVENT_TYPES,
        *,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[LogRow]:
        campaigns, types = set(campaigns), set(types)
        with self._db.transaction():
            found = [
                LogRow(row.seq, row.record, row.hash)
                for row in reversed(self._sealed_rows())
                if row.record.type in types
                and row.record.campaign in campaigns
                and (before is None or (row.seq or 0) < before)
            ]
        return found[:limit]

    def newest_data(self, kind: str, campaign: str) -> dict[str, Any] | None:
        """Of such a record, sealed or not."""
        found = [
            r.record for r in self._rows if (r.record.type, r.record.campaign) == (kind, campaign)
        ]
        return found[-1].data if found else None

    def votes_of(self, model: str, campaigns: Iterable[str], until: str) -> int:
        campaigns = set(campaigns)
        with self._db.transaction():
            return sum(
                record.type == "vote"
                and record.campaign in campaigns
                and model in (record.model_a, record.model_b)
                and record.timestamp < until
                for record in (row.record for row in self._rows)
            )

    def outcomes(self, campaigns: Sequence[str]) -> Iterator[Outcome]:
        kinds = {BattleState.skipped: "skip", BattleState.void: "void"}
        with self._db.transaction():
            ended = [
                Outcome(
                    r.battle,
                    kinds[r.battle.state],
                    r.ended_at,
                    r.turns[-1].void_reason,
                    r.side,
                    r.error,
                )
                for r in self._store.battles.rows.values()
                if r.battle.state in kinds and r.battle.campaign in campaigns
            ]
        yield from sorted(ended, key=lambda outcome: (outcome.timestamp, outcome.battle.id))


def _export_row(row: LogRow) -> dict[str, Any]:
    texts = dict.fromkeys(Content.__slots__) if row.content is None else asdict(row.content)
    joined = {
        "seq": row.seq,
        "reasons": list(row.record.reasons),
        "winner": "both_bad" if row.record.both_bad else row.record.winner,
        "flags": list(row.flags),
        "excluded_reason": row.excluded_reason,
        "hash": row.hash,
    }
    return asdict(row.record) | texts | joined


class FakeCampaigns:
    def __init__(self, database: FakeDatabase, store: FakeStore) -> None:
        self._db = database
        self._store = store
        self._rows: dict[str, Campaign] = {}
        self._invitations: dict[str, Invitation] = {}

    def add(self, campaign: Campaign, act: Act | None = None) -> bool:
        with self._db.transaction():
            added = campaign.id not in self._rows
            self._rows.setdefault(campaign.id, campaign)
            if added and act is not None:
                self._tell(campaign, act.at, made=True)
            return self._acted(added, act)

    def tell(self, lease: Lease, campaign_ids: Iterable[str]) -> int:
        with self._db.transaction():
            self._store.leases.renew(lease)
            known = [self._rows[name] for name in sorted(campaign_ids) if name in self._rows]
            return sum(self._tell(campaign, now()) for campaign in known)

    def _tell(self, campaign: Campaign, at: str, *, made: bool = False) -> bool:
        told = self._store.votes.newest_data("campaign", campaign.id)
        record = campaign_record(campaign, told, at, made=made)
        self._store.votes.append([] if record is None else [(record, None)])
        return record is not None

    def _acted(self, done: bool, act: Act | None) -> bool:
        if done and act is not None:
            self._db.acts.append(act)
        return done

    def restore(self, campaigns: Sequence[Campaign]) -> None:
        self._rows.update({campaign.id: campaign for campaign in campaigns})

    def get(self, campaign_id: str) -> Campaign | None:
        with self._db.transaction():
            return self._rows.get(campaign_id)

    def all(self) -> list[Campaign]:
        with self._db.transaction():
            return sorted(
                self._rows.values(), key=lambda campaign: (campaign.position, campaign.id)
            )

    def change(
        self,
        campaign_id: str,
        changes: Mapping[str, Any],
        act: Act,
        *,
        without_battles: bool = False,
    ) -> bool:
        with self._db.transaction():
            before = self._rows.get(campaign_id)
            if before is None or (without_battles and campaign_id in self._db.played):
                return False
            self._tell(before, act.at)
            self._rows[campaign_id] = replace(before, **changes)
            self._tell(self._rows[campaign_id], act.at)
            return self._acted(True, act)

    def invite(self, invitation: Invitation, act: Act) -> None:
        with self._db.transaction():
            self._invitations[invitation.digest] = invitation
            self._acted(True, act)

    def revoke(self, digest: str, at: str, act: Act) -> bool:
        with self._db.transaction():
            before = self._invitations.get(digest)
            revoked = before is not None and before.revoked_at is None
            if before is not None and revoked:
                self._invitations[digest] = replace(before, revoked_at=at)
            return self._acted(revoked, act)

    def invitations(self) -> list[Invitation]:
        with self._db.transaction():
            newest = sorted(self._invitations.values(), key=lambda one: one.digest)
            return sorted(newest, key=lambda one: one.created_at, reverse=True)

    def invited(self, digests: Sequence[str]) -> list[Invitation]:
        with self._db.transaction():
            return [one for one in self._invitations.values() if one.digest in digests]


class FakeRoster:
    def __init__(self, database: FakeDatabase) -> None:
        self._db = database
        self._revisions: list[RosterRevision] = []

    def current(self) -> RosterRevision:
        with self._db.transaction():
            return self._revisions[-1] if self._revisions else RosterRevision(0, "", ())

    def at(self, revision: int) -> RosterRevision:
        found = (one for one in self.history() if one.revision == revision)
        return next(found, RosterRevision(0, "", ()))

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
        with self._db.transaction():
            before = self.current()
            if after not in (None, before.revision):
                raise Conflict("The roster was changed meanwhile.")
            digest = file_digest or before.file_digest
            if before.entries != tuple(entries):
                number = before.revision + 1
                fresh = RosterRevision(number, at, tuple(entries), digest, reason)
                self._revisions.append(fresh)
                self._db.acts += [] if act is None else [act]
            elif self._revisions:
                self._revisions[-1] = replace(before, file_digest=digest)
            return self.current()

    def history(self) -> list[RosterRevision]:
        with self._db.transaction():
            return list(self._revisions)


class FakeAudit:
    def __init__(self, database: FakeDatabase) -> None:
        self._db = database

    def add(self, act: Act) -> None:
        with self._db.transaction():
            self._db.acts.append(act)

    def page(self, before: int | None, limit: int) -> list[AuditEntry]:
        with self._db.transaction():
            entries = [AuditEntry(n, act) for n, act in enumerate(self._db.acts, 1)]
        return [entry for entry in entries[::-1] if before is None or entry.n < before][:limit]

    def last(self, act: str) -> AuditEntry | None:
        with self._db.transaction():
            every = self.page(None, len(self._db.acts))
        return next((entry for entry in every if entry.act.act == act), None)


class FakeUsage:
    def __init__(self, database: FakeDatabase) -> None:
        self._db = database

    def of_day(self, day: str) -> dict[str, Usage]:
        with self._db.transaction():
            return {model: one for (on, model), one in self._db.usage.items() if on == day}

    def total(self) -> dict[str, Usage]:
        sums: dict[str, Usage] = {}
        with self._db.transaction():
            for (_, model), one in self._db.usage.items():
                sums[model] = added(sums.get(model, Usage()), one)
        return sums


def added(one: Usage, other: Usage) -> Usage:
    pairs = zip(asdict(one).values(), asdict(other).values(), strict=True)
    return Usage(*(a + b for a, b in pairs))


class FakeCircuits:
    def __init__(self, database: FakeDatabase) -> None:
        self._db = database

    def all(self) -> list[Circuit]:
        with self._db.transaction():
            return [circuit for _, circuit in sorted(self._db.circuits.items())]

    def failures(self) -> dict[tuple[str, str], int]:
        with self._db.transaction():
            return dict(self._db.failures)

    def begin_probe(self, seen: Circuit) -> Circuit | None:
        return self._change(seen.model, Circuit.probing, seen)

    def end_probe(
        self, probe: Circuit, error: str | None, retry_after: float | None = None
    ) -> bool:
        ended = self._change(
            probe.model, lambda circuit: circuit.probed(error, now(), retry_after), probe
        )
        return ended is not None

    def close(self, model: str) -> bool:
        return self._change(model, Circuit.close) is not None

    def _change(
        self, model: str, change: Callable[[Circuit], Circuit], seen: Circuit | None = None
    ) -> Circuit | None:
        with self._db.transaction():
            found = self._db.circuits.get(model)
            if found is None or found.state is CircuitState.closed:
                return None
            if seen and (found.state, found.probes) != (seen.state, seen.probes):
                return None
            changed = self._db.circuits[model] = change(found)
            return changed


class FakeLeases:
    def __init__(self, database: FakeDatabase) -> None:
        self._db = database
        self._rows: dict[str, LeaseSeen] = {}

    def look(self, name: str) -> LeaseSeen | None:
        with self._db.transaction():
            return self._rows.get(name)

    def held(self) -> dict[str, LeaseSeen]:
        with self._db.transaction():
            return {name: seen for name, seen in self._rows.items() if seen.holder is not None}

    def take(self, name: str, holder: str, seen: LeaseSeen | None) -> Lease | None:
        with self._db.transaction():
            if _beat_of(self._rows.get(name)) != _beat_of(seen):
                return None
            fence = seen.fence + 1 if seen else 1
            self._rows[name] = LeaseSeen(holder, fence, 0)
            return Lease(name, holder, fence)

    def renew(self, lease: Lease) -> None:
        with self._db.transaction():
            there = self._rows.get(lease.name)
            if there is None or (there.holder, there.fence) != (lease.holder, lease.fence):
                raise LeaseLost("the lease has another holder now")
            self._rows[lease.name] = replace(there, beat=there.beat + 1)

    def release(self, lease: Lease) -> None:
        with self._db.transaction():
            there = self._rows.get(lease.name)
            if there is not None and there.fence == lease.fence:
                self._rows[lease.name] = replace(there, holder=None)

    def forget(self, name: str) -> None:
        with self._db.transaction():
            self._rows.pop(name, None)


def _beat_of(seen: LeaseSeen | None) -> tuple[int, int] | None:
    return (seen.fence, seen.beat) if seen else None


class FakeSnapshots:
    def __init__(self, database: FakeDatabase, leases: FakeLeases, heads: dict[int, Head]) -> None:
        self._db = database
        self._leases = leases
        self._heads = heads
        self._rows: dict[int, Snapshot] = {}
        self._ids = itertools.count(1)

    def publish(self, lease: Lease, snapshot: Snapshot, head: Head | None = None) -> None:
        with self._db.transaction():
            self._leases.renew(lease)
            if head is not None:
                write_head(self._heads, head)
            self._rows[next(self._ids)] = snapshot

    def latest(self, campaign: str, category: str, method: str | None = None) -> Snapshot | None:
        with self._db.transaction():
            for row in reversed(self._rows.values()):
                if (row.campaign, row.category) == (campaign, category):
                    if row.official if method is None else row.method == method:
                        return row
        return None

    def standing(self, campaigns: Sequence[str], position: int) -> Iterator[Snapshot]:
        with self._db.transaction():
            newest = {
                (row.campaign, row.category, row.method): row
                for row in self._rows.values()
                if row.campaign in campaigns and row.log_position <= position
            }
        yield from (newest[board] for board in sorted(newest))

    def published(self) -> list[Published]:
        with self._db.transaction():
            return [
                Published(number, *(getattr(row, name) for name in Published.__slots__[1:]))
                for number, row in self._rows.items()
            ]

    def get(self, number: int) -> Snapshot | None:
        with self._db.transaction():
            return self._rows.get(number)

    def drop(self, lease: Lease, ids: Sequence[int]) -> None:
        with self._db.transaction():
            self._leases.renew(lease)
            for number in ids:
                self._rows.pop(number, None)

    def offered(self, campaigns: Sequence[str]) -> dict[str, dict[str, list[str]]]:
        found: dict[str, dict[str, list[str]]] = {campaign: {} for campaign in campaigns}
        with self._db.transaction():
            boards = {(row.campaign, row.category, row.method) for row in self._rows.values()}
        for campaign, category, method in sorted(boards):
            if campaign in found:
                found[campaign].setdefault(category, []).append(method)
        return found

    def history(
        self, campaigns: Sequence[str], limit: int, category: str | None = None
    ) -> list[dict[str, Any]]:
        with self._db.transaction():
            found = [
                {"id": number, **asdict(row)}
                for number, row in self._rows.items()
                if row.campaign in campaigns
                and (category is None or (row.official and row.category == category))
            ]
        for row in found:
            del row["rows"], row["config"], row["details"]
        return found[::-1][:limit]


class FakeFigures:
    def __init__(
        self, database: FakeDatabase, leases: FakeLeases, snapshots: FakeSnapshots
    ) -> None:
        self._db = database
        self._leases = leases
        self._snapshots = snapshots
        self._tables: dict[tuple[str, str], PairTable] = {}
        self._void_rates: dict[str, dict[str, float]] = {}

    def save(self, lease: Lease, table: PairTable) -> None:
        with self._db.transaction():
            self._leases.renew(lease)
            self._tables[table.campaign, table.category] = table

    def pairs(self, campaign: str, category: str) -> PairTable | None:
        with self._db.transaction():
            return self._tables.get((campaign, category))

    def positions(self) -> dict[tuple[str, str], int]:
        with self._db.transaction():
            return {place: table.log_position for place, table in self._tables.items()}

    def history(
        self, campaign: str, category: str, models: Sequence[str], limit: int
    ) -> list[Rated]:
        with self._db.transaction():
            boards = [
                board
                for board in self._snapshots._rows.values()
                if board.official and (board.campaign, board.category) == (campaign, category)
            ]
        return [
            rated(row, board.log_position, board.published_at)
            for board in thinned(boards, limit)
            for row in board.rows
            if row["model"] in models
        ]

    def save_void_rates(self, lease: Lease, rates: Mapping[str, Mapping[str, float]]) -> None:
        with self._db.transaction():
            self._leases.renew(lease)
            self._void_rates |= {campaign: dict(found) for campaign, found in rates.items()}

    def void_rates(self, campaign: str) -> dict[str, float]:
        with self._db.transaction():
            return self._void_rates.get(campaign, {})


class FakePages:
    def __init__(self, database: FakeDatabase, leases: FakeLeases) -> None:
        self._db = database
        self._leases = leases
        self.kept: dict[int, bytes] = {}

    def get(self, number: int) -> bytes | None:
        with self._db.transaction():
            return self.kept.get(number)

    def save(self, lease: Lease, number: int, data: bytes) -> None:
        with self._db.transaction():
            self._leases.renew(lease)
            self.kept[number] = data


class FakeSealed:
    def __init__(self, database: FakeDatabase, store: FakeStore) -> None:
        self._db = database
        self._store = store
        self._boards: dict[tuple[str, str], SealedBoard] = {}

    def waiting(self) -> list[LogRow]:
        with self._db.transaction():
            sealed = [row.record for row in self._rows() if row.record.type == "sealed"]
            made = {str((record.data or {}).get("sealing")) for record in sealed}
            rows = [row for row in self._rows() if row.record.type == "sealing" and row.seq]
            return sorted(
                (row for row in rows if row.record.id not in made), key=lambda row: row.seq or 0
            )

    def add(self, lease: Lease, boards: Sequence[SealedBoard], record: Record) -> bool:
        with self._db.transaction():
            self._store.leases.renew(lease)
            if any(sealing == boards[0].sealing for sealing, _ in self._boards):
                return False
            self._boards |= {(board.sealing, board.category): board for board in boards}
            self._store.votes.append([(record, None)])
            return True

    def restore(self, boards: Sequence[SealedBoard]) -> None:
        self._boards = {(board.sealing, board.category): board for board in boards}

    def get(self, campaign: str, log_position: int, category: str) -> SealedBoard | None:
        found = self.until([campaign], log_position)
        at = log_position, category
        return next((one for one in found if (one.log_position, one.category) == at), None)

    def until(self, campaigns: Sequence[str], position: int) -> list[SealedBoard]:
        with self._db.transaction():
            found = [
                board
                for board in self._boards.values()
                if board.campaign in campaigns and board.log_position <= position
            ]
        return sorted(found, key=lambda board: (board.log_position, board.category))

    def records(self, campaigns: Sequence[str]) -> list[LogRow]:
        with self._db.transaction():
            return [
                row
                for row in self._rows()
                if row.record.type in ("sealing", "sealed") and row.record.campaign in campaigns
            ]

    def _rows(self) -> list[LogRow]:
        rows = self._store.votes._rows
        return [LogRow(row.seq, row.record, row.hash) for row in rows]


class FakeTrees:
    def __init__(self, store: FakeStore, heads: dict[int, Head]) -> None:
        self._db = store.database
        self._store = store
        self._heads = heads
        self._keys: list[str] = []
        self.kept: dict[tuple[int, int], bytes] = {}

    def nodes(self, level: int, first: int, count: int) -> dict[int, bytes]:
        with self._db.transaction():
            places = ((number, (level, number)) for number in range(first, first + count))
            return {number: self.kept[place] for number, place in places if place in self.kept}

    def whole(self) -> dict[int, int]:
        with self._db.transaction():
            levels = {level for level, _ in self.kept}
            numbers = {level: {n for one, n in self.kept if one == level} for level in levels}
        return {
            level: len(found) if len(found) == max(found) + 1 else 0
            for level, found in numbers.items()
        }

    def save(self, lease: Lease, nodes: Sequence[Node]) -> None:
        with self._db.transaction():
            self._store.leases.renew(lease)
            self.kept |= {(node.level, node.number): node.root for node in nodes}

    def head(self, size: int | None = None) -> Head | None:
        with self._db.transaction():
            wanted = max(self._heads, default=0) if size is None else size
            return self._heads.get(wanted)

    def nearest(self, size: int) -> Head | None:
        with self._db.transaction():
            near = sorted(self._heads, key=lambda one: (abs(one - size), one))
            return self._heads[near[0]] if near else None

    def keys(self) -> list[str]:
        with self._db.transaction():
            return self._keys[::-1]

    def add_key(self, lease: Lease, verifier_key: str) -> None:
        with self._db.transaction():
            self._store.leases.renew(lease)
            if verifier_key not in self._keys:
                self._keys.append(verifier_key)

    def add_head(self, lease: Lease, head: Head) -> None:
        with self._db.transaction():
            self._store.leases.renew(lease)
            write_head(self._heads, head)

    def drop_heads(self, lease: Lease, before: str) -> None:
        with self._db.transaction():
            self._store.leases.renew(lease)
            named = {board.log_position for board in self._store.snapshots._rows.values()}
            named |= {board.log_position for board in self._store.sealed._boards.values()}
            for size in sorted(self._heads)[:-1]:
                if size not in named and self._heads[size].timestamp < before:
                    del self._heads[size]


def write_head(heads: dict[int, Head], head: Head) -> None:
    """As `arena.store.heads.write_head`."""
    kept = heads.get(head.size, head)
    if kept.root != head.root:
        raise ForkedLog(head.size, kept.root, head.root)
    heads[head.size] = head


# --- the live buffer ----------------------------------------------------------------------------


class FakeSubscription(Generic[T]):
    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[T] = queue.SimpleQueue()
        self.put = self._queue.put

    def get(self, timeout: float) -> T | None:
        with suppress(queue.Empty):
            return self._queue.get(timeout=timeout)
        return None


class FakeLive:
    """`interfaces.LiveBuffer` in memory. While `away`, frames raise and hints are dropped."""

    def __init__(self) -> None:
        self.away = False
        self.announced: list[dict[str, Any]] = []
        self.line: dict[str, str] = {}  # networks of voters
        self._lock = threading.RLock()
        self._frames: dict[tuple[str, int], list[tuple[int, Frame]]] = defaultdict(list)
        self._followers: dict[tuple[str, int] | str, list[FakeSubscription[Any]]] = defaultdict(
            list
        )
        self._runner_bell: queue.Queue[str] = queue.Queue()
        self._worker_bell: queue.Queue[str] = queue.Queue(maxsize=1)

    def lose_everything(self) -> None:
        """What a Redis without its file has after a restart."""
        with self._lock:
            self._frames.clear()

    def come_back(self) -> None:
        """Reachable again: followers are told to look, because they may have missed something."""
        with self._lock:
            self.away = False
            for topic in self._followers:
                if topic != "boards":
                    self._tell(topic, LookAgain())

    def ahead(self, voter: str, stay: LineShare | None = None) -> int:
        with self._lock:
            self._require()
            if stay and [*self.line.values()].count(stay.network) < stay.most:
                self.line.setdefault(voter, stay.network)
            return [*self.line, voter].index(voter)

    def leave_line(self, voter: str) -> None:
        with self._lock:
            self._require()
            self.line.pop(voter, None)

    def _require(self) -> None:
        if self.away:
            raise LiveLost("Redis is away.")

    def _tell(self, topic: tuple[str, int] | str, message: Any) -> None:
        for follower in self._followers[topic]:
            follower.put(message)

    def push(self, frames: Sequence[LiveFrame]) -> set[str]:
        with self._lock:
            self._require()
            lost = set()
            for live in frames:
                key = live.battle_id, live.turn
                self._frames[key].append((live.number, live.frame))
                if len(self._frames[key]) != live.number + 1:
                    lost.add(live.battle_id)
                self._tell(key, live)
            return lost

    def replace(self, battle_id: str, turn: int, frames: Sequence[Frame]) -> None:
        with self._lock:
            self._require()
            self._frames[battle_id, turn] = list(enumerate(frames))
            self._tell((battle_id, turn), LookAgain())

    def ended(self, battle_id: str, turn: int) -> None:
        with self._lock:
            if not self.away:
                self._tell((battle_id, turn), LookAgain())

    def frames(self, battle_id: str, turn: int, start: int) -> list[Frame]:
        with self._lock:
            self._require()
            held = enumerate(self._frames[battle_id, turn])
            whole = itertools.takewhile(lambda place: place[0] == place[1][0], held)
            return [frame for place, (_, frame) in whole if place >= start]

    def follow(self, battle_id: str, turn: int) -> Any:
        return self._listen((battle_id, turn))

    @contextmanager
    def _listen(self, topic: tuple[str, int] | str) -> Iterator[FakeSubscription[Any]]:
        subscription: FakeSubscription[Any] = FakeSubscription()
        with self._lock:
            self._followers[topic].append(subscription)
        try:
            yield subscription
        finally:
            with self._lock:
                self._followers[topic].remove(subscription)

    def wake_runner(self, battle_id: str) -> None:
        if not self.away:
            self._runner_bell.put(battle_id)

    def next_battle(self, timeout: float) -> str | None:
        with suppress(queue.Empty):
            return self._runner_bell.get(timeout=timeout)
        return None

    def wake_worker(self) -> None:
        if not self.away:
            with suppress(queue.Full):
                self._worker_bell.put_nowait("1")

    def wait_for_work(self, timeout: float) -> None:
        with suppress(queue.Empty):
            self._worker_bell.get(timeout=timeout)

    def announce(self, snapshot: dict[str, Any]) -> None:
        with self._lock:
            if not self.away:
                self.announced.append(snapshot)
                self._tell("boards", snapshot)

    def boards(self) -> Any:
        return self._listen("boards")

    def ping(self) -> None:
        self._require()


# --- endpoints ----------------------------------------------------------------------------------

Script = Sequence[str | float | Finished | Exception | threading.Event]
"""Text to yield, seconds to wait, an end, an error to raise, or an event to wait for."""


class ScriptedEndpoint:
    """Answers its first conversation by the first script and so on; the last one repeats."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.asked: list[list[Message]] = []
        self.streams: list[ScriptedStream] = []

    def ask(self, messages: Sequence[Message], deadlines: Deadlines) -> ScriptedStream:
        script = self._scripts[min(len(self.asked), len(self._scripts) - 1)]
        self.asked.append(list(messages))
        self.streams.append(ScriptedStream(script))
        return self.streams[-1]


class ScriptedStream:
    """`interfaces.AnswerStream` by a script; `closed` once nothing more can come of it."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._cancelled = threading.Event()
        self.closed = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def __iter__(self) -> Iterator[str | Finished]:
        try:
            for step in self._script:
                yield from self._play(step)
        finally:
            self.closed.set()

    def _play(self, step: str | float | Finished | Exception | threading.Event) -> Iterator[Any]:
        match step:
            case int() | float():
                self._cancelled.wait(step)
            case threading.Event():
                self._wait_for(step)
            case Exception():
                raise step
            case _:
                yield step
        if self._cancelled.is_set():
            raise EndpointBroken("cancelled")

    def _wait_for(self, event: threading.Event) -> None:
        while not (event.is_set() or self._cancelled.is_set()):
            time.sleep(0.002)


def text_script(text: str, *, pieces: int = 4, seconds: float = 0.0, tokens: int = 7) -> Script:
    """A whole answer in equal pieces with a pause before each."""
    size = -(-len(text) // pieces)
    script: list[str | float | Finished] = []
    for start in range(0, len(text), size):
        script += [seconds, text[start : start + size]]
    return [*script, Finished("stop", tokens)]


# --- examples -----------------------------------------------------------------------------------

CAMPAIGN = Campaign(
    id="online",
    kind="online",
    title="Open",
    title_zh="公开",
    description="d",
    description_zh="述",
    consent="c",
    consent_zh="同意",
    position=0,
)

SIGNER = Signer(bytes(range(32)))
MODELS = tuple(ModelEntry(f"m{i}", f"Model {i}", base_url="http://x", model="m") for i in range(4))

ANSWERS = (
    Answer("Alpha answers.", "stop", 4, 0.125, 1.5),
    Answer("Beta has more to say.", "length", None, 0.25, 2.0),
)
STEPS = ((5, 5), (9, 9), (0, 7))


def a_battle(battle_id: str = "b1", **changes: Any) -> Battle:
    """A new battle of voter `ann` between `m0` and `m1`."""
    battle = Battle(
        id=battle_id,
        campaign=CAMPAIGN.id,
        voter="ann",
        state=BattleState.created,
        model_a="m0",
        model_b="m1",
        propensity=1 / 12,
        sampling_rule="uniform",
        roster_revision=1,
        created_at=now(),
    )
    return replace(battle, **changes)


def a_turn(battle_id: str = "b1", number: int = 1, prompt: str = "Why?") -> Turn:
    """A running turn."""
    return Turn(battle_id, number, prompt, TurnState.running)


def a_vote(record_id: str, battle_id: str | None = None, **changes: Any) -> tuple[Record, Content]:
    """A vote's record and content; `m0` was better than `m1`."""
    content = changes.pop("content", None) or Content(salt="ab" * 32, comment="well said")
    record = Record(
        id=record_id,
        type="vote",
        campaign=CAMPAIGN.id,
        timestamp="2026-01-02T03:04:05.678Z",
        battle_id=battle_id,
        model_a="m0",
        model_b="m1",
        grade=1,
        winner="model_a",
        both_bad=False,
        voter="p1",
        voter_kind="person",
        content_digest=content.digest(),
    )
    return replace(record, **changes), content


def a_remark(record_id: str, kind: str, target: str, reason: str) -> tuple[Record, None]:
    """A `flag` or `exclusion` of another record."""
    at = "2026-01-02T03:05:00.000Z"
    return Record(record_id, kind, CAMPAIGN.id, at, target=target, reason=reason), None


def an_audit(campaign: str, *models: str, position: int = 7, share: float = 0.63) -> Record:
    """A published audit of blindness; every model was recognised alike."""
    told = {"value": share, "lower": share - 0.05, "upper": share + 0.04}
    data = {
        "log_position": position,
        "method": {"name": "bag-of-words/1"},
        "seed": 0,
        "battles": 100,
        "prompts": 90,
        "told_pair": told,
        "models": [
            {"model": model, "answers": 80, "told_pair": told, "auc": told} for model in models
        ],
        "too_few": [],
        "left_out": {"excluded": 0, "identity_leak": 0, "no_text": 0},
    }
    return Record(
        id=secrets.token_hex(16),
        type="blindness",
        campaign=campaign,
        timestamp="2026-01-02T03:04:05.678Z",
        reason="audit",
        data=data,
    )


def log_rows(
    votes: VoteLog, *campaigns: str, until: int | None = None, limit: int = 4_096
) -> list[dict[str, Any]]:
    """The sealed records of these campaigns as exports tell them, text included."""
    until = votes.position() if until is None else until
    found: list[dict[str, Any]] = []
    while page := votes.exported(found[-1]["seq"] if found else 0, until, limit, campaigns):
        found += arena.log.rows([page])
    return found


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Run all calls in threads that start at the same moment; their results in order."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        barrier.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))
