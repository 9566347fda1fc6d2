"""Whatever voters, runners, the worker and operators do in whatever order: the rules hold.

A model of battles that fits on a page says what each step must answer. Everything that a process
keeps in memory is thrown away now and then, as a restart does.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from arena import log
from arena.battle import INTERRUPTED, Answer, Frame, Grade, prompts_of
from arena.battles import Ballot, Battles, Continuation, Limits
from arena.belongings import Belongings
from arena.campaigns import DEFAULT, Campaigns
from arena.errors import (
    AlreadyVoted,
    BattleSkipped,
    BattleVoid,
    Conflict,
    Erased,
    InvalidField,
    LeaseLost,
    NotFound,
    RequestError,
    TooEarly,
)
from arena.events import MODEL_TYPES
from arena.interfaces import Lease, LiveFrame, ModelEntry, Store
from arena.moderation import Moderation
from arena.relay import Relay
from arena.store import SqlStore, open_store
from arena.worker import Worker
from tests.aftermath import expect_recomputed
from tests.arena.test_store_contract import emptied, postgres_store, sqlite_template
from tests.fakes import SIGNER, FakeLive, FakeStore, a_remark, log_rows
from tests.services import wait_until

__all__ = ["postgres_store", "sqlite_template"]  # fixtures

MODELS = [
    ModelEntry(f"hidden-{n}", f"Hidden {n}", base_url="http://nowhere.test", model="x")
    for n in range(4)
]
MOST_TURNS = 3
SECRET_TOKENS, SECRET_TTFT = 918_273, 0.546_372
FRAMES = (Frame("one ", "two "), Frame("more", "text"))
RUNNERS = ("r1", "r2")
REFUSED = {
    "created": TooEarly,
    "running": TooEarly,
    "voted": AlreadyVoted,
    "skipped": BattleSkipped,
    "void": BattleVoid,
}


@dataclass
class Sketch:
    """What we know of a battle."""

    id: str
    voter: str
    state: str = "created"
    turn: int = 1
    holder: str | None = None
    shown: int = 0
    vote: tuple[Ballot, str | None] | None = None
    reveal: dict[str, Any] = field(default_factory=dict)
    vote_id: str = ""
    erased: bool = False
    shared: bool = False
    excluded: bool = False

    def refusal(self) -> type[RequestError] | None:
        """What must be raised when the voter wants something that needs complete answers."""
        return Erased if self.erased else None if self.state == "ready" else REFUSED[self.state]

    def is_free(self) -> bool:
        return self.state in ("created", "running") and self.holder is None


def an_answer(frames: int, side: str) -> Answer:
    text = "".join(getattr(frame, side) for frame in FRAMES[:frames])
    return Answer(text, "stop", SECRET_TOKENS, SECRET_TTFT, SECRET_TTFT)


class Arena(RuleBasedStateMachine):
    """`opened` makes an empty store; `reopened` is the same one as a new process has it."""

    opened: ClassVar[Callable[[], Store]]
    reopened: ClassVar[Callable[[Store], Store]]
    closed: ClassVar[Callable[[Store], None]]

    battles = Bundle("battles")
    voters = st.sampled_from(["ann", "bob"])
    runners = st.sampled_from(RUNNERS)
    ballots = st.builds(Ballot, st.sampled_from(Grade), comment=st.sampled_from([None, "well"]))
    keys = st.sampled_from([None, "k1", "k2"])

    def __init__(self) -> None:
        super().__init__()
        self.store = type(self).opened()
        self.live = FakeLive()
        self.store.campaigns.add(DEFAULT)
        self.store.roster.replace(MODELS, "2026-01-01T00:00:00.000Z")
        self.rng = random.Random(1)  # noqa: S311  examples repeat
        self.sketches: dict[str, Sketch] = {}
        self.touched: set[str] = set()
        self.leaves: list[str] = []  # of the sealed log
        self.written = 0  # records that must be in the log, sealed or not
        self.boards_left = 1
        self.new_web()
        self.lease = self.new_lease()

    def teardown(self) -> None:
        self.touched = set(self.sketches)
        self.battles_are_as_sketched()
        type(self).closed(self.store)

    # --- processes ----------------------------------------------------------------------------

    @rule()
    def new_web(self) -> None:
        """A web process dies, and another one comes."""
        self.store = type(self).reopened(self.store)
        campaigns = Campaigns(self.store.campaigns)
        limits = Limits(
            prompt_chars=100,
            turns=MOST_TURNS,
            running_per_voter=99,
            running=99,
            waiting_per_network=99,
        )
        self.web = Battles(self.store, self.live, campaigns, limits, self.rng, signer=SIGNER)
        self.belongings = Belongings(self.store, self.live, self.web)
        self.moderation = Moderation(self.store, self.live)
        self.relay = Relay(self.store.battles, self.live)

    @rule(runner=runners)
    def runner_dies(self, runner: str) -> None:
        """Another one ends what it held; the dead one's late commits then change nothing."""
        held = self.store.battles.claimed().get(runner, [])
        assert {name for name, _ in held} == self.those(lambda sketch: sketch.holder == runner)
        for battle_id, number in held:
            assert self.end_turn(battle_id, number, runner)
            assert not self.end_turn(battle_id, number, runner)
            self.lost(self.sketches[battle_id])

    def end_turn(self, battle_id: str, number: int, runner: str) -> bool:
        return self.store.battles.fail_turn(
            battle_id, number, reason=INTERRUPTED, side=None, error=None, runner=runner
        )

    def new_lease(self) -> Lease:
        lease = self.store.leases.take("worker", "hand", self.store.leases.look("worker"))
        assert lease is not None
        return lease

    @rule()
    def worker_dies(self) -> None:
        """Another one takes the lease; the dead one's late commits are refused."""
        before, self.lease = self.lease, self.new_lease()
        with pytest.raises(LeaseLost):
            self.store.votes.seal(before, 10)

    @rule()
    def redis_forgets(self) -> None:
        self.live.lose_everything()
        for sketch in self.sketches.values():
            sketch.shown = 0

    # --- the voter ----------------------------------------------------------------------------

    @initialize(target=battles, voter=voters)
    def first(self, voter: str) -> Any:
        return self.started(voter)

    @rule(target=battles, voter=voters)
    def start(self, voter: str) -> Any:
        return self.started(voter) if len(self.sketches) < 3 else multiple()

    def started(self, voter: str, **how: Any) -> str:
        battle = self.web.start(voter, "Why?", **how).battle
        self.sketches[battle.id] = Sketch(battle.id, voter)
        self.touched.add(battle.id)
        return battle.id

    @rule(target=battles, b=battles)
    def redraw(self, b: str) -> Any:
        sketch = self.sketches[b]
        if self.refused(
            Erased if sketch.erased else InvalidField if sketch.state != "void" else None,
            lambda: self.started(sketch.voter, redraw_of=b),
        ):
            return multiple()
        return list(self.sketches)[-1]

    @rule(target=battles, b=battles, side=st.sampled_from(["a", "b"]))
    def go_on(self, b: str, side: Any) -> Any:
        sketch = self.sketches[b]
        goes_on = sketch.state == "voted" and self.prompts(sketch)[0] < MOST_TURNS
        refusal = Erased if sketch.erased else None if goes_on else Conflict
        origin = Continuation(b, side)
        if self.refused(refusal, lambda: self.started(sketch.voter, continue_from=origin)):
            return multiple()
        return list(self.sketches)[-1]

    def those(self, wanted: Callable[[Sketch], bool]) -> set[str]:
        return {sketch.id for sketch in self.sketches.values() if wanted(sketch)}

    def refused(self, error: type[RequestError] | None, act: Callable[[], object]) -> bool:
        """Whether the act is refused, which it must be exactly when there is an `error`."""
        if error is None:
            act()
            return False
        with pytest.raises(error):
            act()
        return True

    def by(self, b: str) -> Sketch:
        self.touched.add(b)
        return self.sketches[b]

    @rule(b=battles, ballot=ballots, key=keys)
    def vote(self, b: str, ballot: Ballot, key: str | None) -> None:
        sketch = self.by(b)
        refusal = sketch.refusal()
        repeats = key is not None and sketch.vote == (ballot, key)
        if refusal is AlreadyVoted and repeats:
            assert self.web.vote(sketch.voter, b, ballot, key).to_json() == sketch.reveal
        elif not self.refused(refusal, lambda: self.acknowledged(sketch, ballot, key)):
            assert sketch.reveal["grade"] == ballot.grade

    def acknowledged(self, sketch: Sketch, ballot: Ballot, key: str | None) -> None:
        sketch.reveal = self.web.vote(sketch.voter, sketch.id, ballot, key).to_json()
        stored = self.store.votes.vote_of(sketch.id)
        assert stored is not None
        sketch.state, sketch.vote, sketch.vote_id = "voted", (ballot, key), stored.record.id
        self.written += 1

    @rule(b=battles, ballot=ballots, key=keys)
    def answer_and_vote(self, b: str, ballot: Ballot, key: str | None) -> None:
        """So that most battles come to their vote."""
        self.answer_at_once(b)
        self.vote(b, ballot, key)

    @rule(b=battles, ballot=ballots)
    def vote_as_somebody_else(self, b: str, ballot: Ballot) -> None:
        with pytest.raises(NotFound):
            self.web.vote("eve", b, ballot)

    @rule(b=battles)
    def skip(self, b: str) -> None:
        sketch = self.by(b)
        over = sketch.state in ("voted", "void")
        refusal = Erased if sketch.erased else REFUSED[sketch.state] if over else None
        if not self.refused(refusal, lambda: self.web.skip(sketch.voter, b)):
            sketch.state, sketch.holder = "skipped", None

    @rule(b=battles)
    def stop(self, b: str) -> None:
        sketch = self.by(b)
        going = sketch.state in ("created", "running", "ready")
        refusal = Erased if sketch.erased else None if going else REFUSED[sketch.state]
        self.refused(refusal, lambda: self.web.stop(sketch.voter, b))

    @rule(b=battles)
    def follow_up(self, b: str) -> None:
        sketch = self.by(b)
        is_long = self.prompts(sketch)[1] + sketch.turn >= MOST_TURNS
        refusal = sketch.refusal() or (Conflict if is_long else None)
        if not self.refused(refusal, lambda: self.web.follow_up(sketch.voter, b, "And?")):
            sketch.state, sketch.turn, sketch.shown = "running", sketch.turn + 1, 0

    def prompts(self, sketch: Sketch) -> tuple[int, int]:
        """How many prompts the conversation has, and how many of them its opening."""
        whole = self.store.battles.whole(sketch.id)
        assert whole is not None
        return len(whole.prompts()), len(prompts_of(whole.opening))

    @rule(b=battles)
    def report(self, b: str) -> None:
        sketch = self.by(b)
        refusal = Erased if sketch.erased else None
        self.refused(refusal, lambda: self.web.report(sketch.voter, b, "odd"))

    @rule(b=battles)
    def share(self, b: str) -> None:
        sketch = self.by(b)
        refusal = Erased if sketch.erased else None if sketch.state == "voted" else Conflict
        if not self.refused(refusal, lambda: self.web.share(sketch.voter, b)):
            sketch.shared = True

    @rule(b=battles)
    def erase(self, b: str) -> None:
        sketch = self.by(b)
        self.belongings.erase(sketch.voter, b)
        if not sketch.erased:
            sketch.erased, sketch.shared, sketch.holder = True, False, None
            self.written += sketch.state == "voted"
            if sketch.state in ("created", "running", "ready"):
                sketch.state = "skipped"

    # --- the runner ---------------------------------------------------------------------------

    @rule(runner=runners, again=st.booleans())
    def hear_a_wake_up(self, runner: str, again: bool) -> None:
        """Wake-ups may come twice, and late."""
        woken = self.live.next_battle(0)
        if woken is not None:
            if again:
                self.live.wake_runner(woken)
            self.claim(woken, runner)

    @rule(runner=runners)
    def poll(self, runner: str) -> None:
        waiting = self.store.battles.waiting()
        assert set(waiting) == self.those(lambda sketch: sketch.is_free())
        for battle_id in waiting:
            self.claim(battle_id, runner)

    def claim(self, b: str, runner: str) -> None:
        sketch = self.by(b)
        free = sketch.is_free()
        claimed = self.store.battles.claim(b, runner)
        assert (claimed is not None) == free
        if free:
            sketch.state, sketch.holder, sketch.shown = "running", runner, 0

    @rule(b=battles, again=st.booleans())
    def frame(self, b: str, again: bool) -> None:
        """The next frame, or the last one once more; what Redis has lost is written anew."""
        sketch = self.sketches[b]
        if sketch.holder is None:
            return
        number = max(0, sketch.shown - again) % len(FRAMES)
        frames = FRAMES[: number + 1]
        if self.live.push([LiveFrame(b, sketch.turn, number, FRAMES[number])]):
            self.live.replace(b, sketch.turn, frames)
        sketch.shown = number + 1
        assert self.live.frames(b, sketch.turn, 0) == list(frames)

    @rule(b=battles, runner=runners)
    def finish(self, b: str, runner: str) -> None:
        sketch = self.by(b)
        answers = an_answer(2, "a"), an_answer(2, "b")
        steps = [(len(frame.a), len(frame.b)) for frame in FRAMES]
        done = self.store.battles.finish_turn(b, sketch.turn, answers, steps, runner)
        assert done == (sketch.holder == runner)
        if done:
            sketch.state, sketch.holder = "ready", None
            assert self.told(sketch) == ("ready", "one more", "two text")

    @rule(b=battles, runner=runners)
    def fail(self, b: str, runner: str) -> None:
        sketch = self.by(b)
        failed = self.end_turn(b, sketch.turn, runner)
        assert failed == (sketch.holder == runner)
        if failed:
            self.lost(sketch)
            assert self.told(sketch) == ("void", "", "")

    @rule(b=battles)
    def answer_at_once(self, b: str) -> None:
        """So that most battles come to be voted on."""
        if self.sketches[b].state in ("created", "running"):
            self.claim(b, "r1")
            self.finish(b, self.sketches[b].holder or "r1")

    def lost(self, sketch: Sketch) -> None:
        """A turn brought nothing: the first one voids the battle, a later one is withdrawn."""
        self.touched.add(sketch.id)
        sketch.holder = None
        sketch.state = "void" if sketch.turn == 1 else "ready"

    def told(self, sketch: Sketch) -> tuple[str, str, str]:
        """What a follower of the settled turn is told: its end, and both texts."""
        turn = self.store.battles.turn(sketch.id, sketch.turn)
        assert turn is not None
        events = [event for event in self.relay.follow(turn, None) if event is not None]
        self.expect_blind(json.dumps([event.data for event in events]))
        texts = {side: "" for side in "ab"}
        for event in events[:-1]:
            texts[event.data["side"]] += event.data["text"]
        return events[-1].name, texts["a"], texts["b"]

    # --- the worker and the operator ------------------------------------------------------------

    @rule(limit=st.integers(1, 3))
    def seal(self, limit: int) -> None:
        waiting = self.store.votes.unsealed()
        assert self.store.votes.seal(self.lease, limit) == min(limit, waiting)

    @rule(b=battles)
    def exclude(self, b: str) -> None:
        sketch = self.sketches[b]
        refusal = NotFound if not sketch.vote else Conflict if sketch.excluded else None
        name = sketch.vote_id or b
        if not self.refused(refusal, lambda: self.moderation.exclude(name, "spam")):
            sketch.excluded = True
            self.written += 1

    @rule(b=battles)
    def correct(self, b: str) -> None:
        """A correction says something of a vote, and changes no board."""
        if self.sketches[b].vote_id:
            remark = a_remark(f"x{self.written}", "correction", self.sketches[b].vote_id, "typo")
            self.store.votes.append([remark])
            self.written += 1

    @precondition(lambda self: self.boards_left and self.written)
    @rule()
    def rate(self) -> None:
        """A whole worker begins, does all its work and ends: the board is a clean recompute."""
        self.boards_left -= 1
        self.store.leases.release(self.lease)
        with at_work(Worker(self.store, FakeLive(), signer=SIGNER, poll=0.02, lease_seconds=3)):
            board = wait_until(self.newest_board, what="the board of the whole log")
        self.lease = self.new_lease()
        sealed = list(log.rows(log.pages(self.store.votes, [DEFAULT])))
        told = [row for row in sealed if row["type"] in ("campaign", *MODEL_TYPES)]
        assert len(told) == 1 + len(MODELS), "the worker tells what the log lacked"
        self.written += len(told)
        assert len(sealed) == self.written
        expect_recomputed({"config": board.config, "rows": board.rows}, sealed)

    def newest_board(self) -> Any:
        board = self.store.snapshots.latest(DEFAULT.id, "overall")
        is_whole = not self.store.votes.unsealed()
        is_newest = board is not None and board.log_position == self.store.votes.position()
        return board if is_whole and is_newest else None

    # --- what holds after every step ------------------------------------------------------------

    @invariant()
    def battles_are_as_sketched(self) -> None:
        for b in self.touched:
            sketch = self.sketches[b]
            battle = self.store.battles.get(b)
            assert battle is not None
            assert (battle.state, battle.turn) == (sketch.state, sketch.turn)
            assert (battle.shared_at is not None) == sketch.shared
            stored = self.store.votes.vote_of(b)
            assert (stored is not None) == (sketch.vote is not None)
            if stored is not None:
                assert (stored.hash, stored.record.leaf()) == (sketch.reveal["receipt"],) * 2
            if not sketch.erased:
                seen = self.web.view(sketch.voter, b)
                told = {name: seen[name] for name in sketch.reveal}
                assert told == sketch.reveal, "names, grade and receipt stay as they were given"
                if sketch.vote is None:
                    self.expect_blind(json.dumps([seen, *self.listed(sketch)]))
        self.touched.clear()

    def listed(self, sketch: Sketch) -> list[dict[str, Any]]:
        found = self.belongings.page(sketch.voter, None, 100)
        return [row for row in found if row["id"] == sketch.id]

    def expect_blind(self, told: str) -> None:
        for secret in ("hidden", "Hidden", str(SECRET_TOKENS), str(SECRET_TTFT), "propensity"):
            assert secret not in told

    @invariant()
    def the_log_only_grows(self) -> None:
        sealed = log_rows(self.store.votes, DEFAULT.id)
        leaves = [row["hash"] for row in sealed]
        assert leaves[: len(self.leaves)] == self.leaves
        assert [row["seq"] for row in sealed] == list(range(1, len(leaves) + 1))
        assert len(leaves) + self.store.votes.unsealed() == self.written
        self.leaves = leaves


@contextmanager
def at_work(worker: Worker) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


# --- on each store ------------------------------------------------------------------------------


def play(
    opened: Callable[[], Store],
    reopened: Callable[[Store], Store],
    closed: Callable[[Store], None],
    examples: int,
) -> None:
    parts = {"opened": opened, "reopened": reopened, "closed": closed}
    machine = type("Machine", (Arena,), {name: staticmethod(part) for name, part in parts.items()})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def again(store: Store) -> Store:
    """The same SQL store, by objects that remember nothing."""
    assert isinstance(store, SqlStore)
    return SqlStore(store._db)


def test_every_order_of_events_keeps_the_rules_in_memory() -> None:
    play(FakeStore, lambda store: store, lambda _: None, examples=40)


def test_every_order_of_events_keeps_the_rules_in_sqlite(
    sqlite_template: bytes, tmp_path: Path
) -> None:
    number = itertools.count()

    def opened() -> Store:
        path = tmp_path / f"{next(number)}.db"
        path.write_bytes(sqlite_template)
        return open_store(f"sqlite:///{path}")

    def closed(store: Store) -> None:
        assert isinstance(store, SqlStore)
        store.close()

    play(opened, again, closed, examples=8)


@pytest.mark.postgres
def test_every_order_of_events_keeps_the_rules_in_postgresql(postgres_store: SqlStore) -> None:
    play(lambda: emptied(postgres_store), again, lambda _: None, examples=4)
