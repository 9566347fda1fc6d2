"""The runner: paced in lockstep, retried only before the first byte, committed whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import arena.runner
from arena.battle import Battle, BattleState, Frame, Leak, Message, Turn, TurnState
from arena.checkup import QUESTION
from arena.errors import (
    EndpointBroken,
    EndpointEmpty,
    EndpointRefused,
    EndpointUnreachable,
    Unavailable,
)
from arena.identity import Lookout, names_of
from arena.interfaces import Deadlines, Finished, LookAgain, ModelEntry
from arena.pacing import next_step
from arena.runner import Runner
from tests.fakes import (
    CAMPAIGN,
    MODELS,
    FakeLive,
    FakeStore,
    Script,
    ScriptedEndpoint,
    a_battle,
    a_turn,
    text_script,
)
from tests.services import wait_until

DEADLINES = Deadlines(connect=1, first_byte=2, stall=2, total=5)
LEASE_SECONDS = 0.6


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits that suit endpoints and people are too long for tests."""
    monkeypatch.setattr(arena.runner, "_SIGNAL_SECONDS", 0.02)
    monkeypatch.setattr(arena.runner, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(arena.runner, "_COMMIT_RETRY_SECONDS", 0.05)


# --- pacing -------------------------------------------------------------------------------------

text = st.text("abc 好🙂", max_size=300)
arrivals = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=15)


def paced(a: str, b: str, amounts: Sequence[tuple[int, int]]) -> Iterator[tuple[Any, ...]]:
    """Each tick's (step, received, shown before, complete) while two answers arrive."""
    received, shown = (0, 0), (0, 0)
    amounts = [*amounts, (len(a), len(b))]  # at last everything is there
    while received != (len(a), len(b)) or shown != received:
        if amounts:
            more = amounts.pop(0)
            received = min(len(a), received[0] + more[0]), min(len(b), received[1] + more[1])
        complete = not amounts
        step = next_step(received, shown, complete)
        yield step, received, shown, complete
        shown = shown[0] + step[0], shown[1] + step[1]


@given(a=text, b=text, amounts=arrivals)
def test_no_step_shows_more_than_was_received_or_less_than_nothing(
    a: str, b: str, amounts: list[tuple[int, int]]
) -> None:
    for step, received, shown, _ in paced(a, b, amounts):
        assert 0 <= step[0] <= received[0] - shown[0]
        assert 0 <= step[1] <= received[1] - shown[1]


@given(a=text, b=text, amounts=arrivals)
def test_until_both_are_complete_both_sides_show_the_same_amount(
    a: str, b: str, amounts: list[tuple[int, int]]
) -> None:
    """So neither speed nor the end of the shorter answer can be seen from outside."""
    for step, received, shown, complete in paced(a, b, amounts):
        if not complete:
            assert step[0] == step[1]
            assert min(received) - 8 < shown[0] + step[0] <= min(received)


@given(chunks=st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_steps_do_not_tell_how_the_slower_endpoint_cuts_its_text(chunks: list[int]) -> None:
    """Steps that end where its chunks end would show whole words on one side only."""
    received, shown = 0, 0
    for chunk in chunks:
        received += chunk
        step, _ = next_step((received, 10_000), (shown, shown), False)
        assert step % 8 == 0
        shown += step


@given(a=text, b=text, amounts=arrivals)
def test_pacing_ends_soon_after_both_are_complete_with_all_of_both_shown(
    a: str, b: str, amounts: list[tuple[int, int]]
) -> None:
    ticks = list(paced(a, b, amounts))
    totals = [sum(step[side] for step, *_ in ticks) for side in (0, 1)]
    assert totals == [len(a), len(b)]
    assert sum(complete for *_, complete in ticks) <= 10


@given(left=st.tuples(st.integers(0, 5000), st.integers(0, 5000)))
def test_what_is_left_at_the_end_is_shown_side_by_side(left: tuple[int, int]) -> None:
    step = next_step(left, (0, 0), True)
    assert step[0] == step[1] or min(step) == min(left)


def test_nothing_is_shown_before_both_have_begun() -> None:
    assert next_step((500, 0), (0, 0), False) == (0, 0)
    assert next_step((500, 7), (0, 0), False) == (0, 0)
    assert next_step((500, 19), (0, 0), False) == (16, 16)


# --- the runner at work -------------------------------------------------------------------------


class World:
    """A store with a roster, a live buffer, and endpoints that do as they are told."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.live = FakeLive()
        self.store.campaigns.add(CAMPAIGN)
        self.store.roster.replace(MODELS, "t1")
        self.endpoints: dict[str, ScriptedEndpoint] = {}

    def script(self, *, a: Sequence[Script] | Script, b: Sequence[Script] | Script) -> None:
        for model, scripts in (("m0", a), ("m1", b)):
            several = scripts if isinstance(scripts[0], list) else [scripts]
            self.endpoints[model] = ScriptedEndpoint(*several)

    def endpoint(self, entry: ModelEntry) -> ScriptedEndpoint:
        return self.endpoints[entry.id]

    def runner(self, **changes: Any) -> Runner:
        options = {
            "deadlines": DEADLINES,
            "tick": 0.005,
            "capacity": 10,
            "poll": 0.02,
            "lease_seconds": LEASE_SECONDS,
        }
        return Runner(self.store, self.live, self.endpoint, **{**options, **changes})

    @contextmanager
    def running(self, runner: Runner | None = None, **changes: Any) -> Iterator[Runner]:
        """A runner at work in a thread; at the end it is told to stop, and has."""
        runner = runner or self.runner(**changes)
        stop = threading.Event()
        thread = threading.Thread(target=runner.run, args=(stop,))
        thread.start()
        try:
            yield runner
        finally:
            stop.set()
            thread.join(10)
            assert not thread.is_alive()

    def begin(self, battle_id: str = "b1", **changes: Any) -> None:
        self.store.battles.add(a_battle(battle_id, **changes), a_turn(battle_id))
        self.live.wake_runner(battle_id)

    def battle(self, battle_id: str = "b1") -> Battle:
        battle = self.store.battles.get(battle_id)
        assert battle is not None
        return battle

    def turn(self, battle_id: str = "b1", number: int = 1) -> Turn:
        turn = self.store.battles.turn(battle_id, number)
        assert turn is not None
        return turn

    def wait_for(self, state: BattleState, battle_id: str = "b1") -> None:
        wait_until(
            lambda: self.battle(battle_id).state is state,
            5,
            what=f"{battle_id} to be {state}, it is {self.battle(battle_id).state}",
        )

    def wait_for_end(self, battle_id: str = "b1") -> BattleState:
        over = (BattleState.ready, BattleState.void)
        wait_until(lambda: self.battle(battle_id).state in over, 5, what=f"the end of {battle_id}")
        return self.battle(battle_id).state

    def shown(self, battle_id: str = "b1", turn: int = 1) -> list[Frame]:
        return self.live.frames(battle_id, turn, 0)


@pytest.fixture
def world() -> World:
    return World()


ALPHA = "Alpha says this. " * 4
BETA = "贝塔说得更多一些。🙂" * 9


def test_both_answers_are_streamed_in_lockstep_and_committed_whole(world: World) -> None:
    world.script(
        a=text_script(ALPHA, pieces=20, seconds=0.004, tokens=11),
        b=[*text_script(BETA, seconds=0.01)[:-1], Finished("length", None)],
    )
    with world.live.follow("b1", 1) as follower, world.running():
        world.begin()
        world.wait_for(BattleState.ready)
    turn = world.turn()
    a, b = turn.answers()
    assert (a.text, a.finish, a.tokens) == (ALPHA, "stop", 11)
    assert (b.text, b.finish, b.tokens) == (BETA, "length", None)
    assert turn.frames() == world.shown()
    assert len(turn.steps) > 3
    ends = [number for number, step in enumerate(turn.steps) if step[0] != step[1]]
    assert ends == list(range(len(turn.steps)))[len(turn.steps) - len(ends) :]
    for answer in (a, b):
        assert answer.ttft is not None and answer.duration is not None
        assert 0 <= answer.ttft <= answer.duration < 5
    numbers = [message.number for _ in turn.steps if (message := follower.get(1))]
    assert numbers == list(range(len(turn.steps)))


def test_a_runner_that_was_not_woken_finds_the_battle_by_polling(world: World) -> None:
    world.script(a=text_script(ALPHA), b=text_script(BETA))
    world.live.away = True
    world.begin()
    with world.running():
        assert world.wait_for_end() is BattleState.ready


def a_side(model: ModelEntry) -> arena.runner._Side:
    return arena.runner._Side(model, [], Lookout(names_of(MODELS)))


def test_an_end_that_comes_just_after_a_stop_does_not_tell_which_side_was_nearly_done() -> None:
    sides = tuple(a_side(model) for model in MODELS[:2])
    sides[0].finished = Finished("stop", 3)
    arena.runner._RunningTurn(a_battle(), 1, sides).stop()
    sides[1].finished = Finished("length", 9)  # its reader was not waited for
    assert [side.answer().finish for side in sides] == ["stopped", "stopped"]
    assert [side.answer().tokens for side in sides] == [None, None]


def test_short_answers_whose_ends_come_late_hold_up_no_later_turn(world: World) -> None:
    """Three times "OK", the end 0.3 s after it: the next answers are no slower for it."""
    late: Script = ["OK", 0.3, Finished("stop", None)]
    world.script(
        a=[late, late, late, text_script("x" * 900)], b=[late, late, late, text_script("y" * 1500)]
    )
    with world.running(deadlines=replace(DEADLINES, total=60)):
        for number in range(4):
            world.begin(f"b{number}")
            assert world.wait_for_end(f"b{number}") is BattleState.ready


def test_a_stop_ends_a_wait_at_once_and_leaves_both_alike(world: World) -> None:
    slow: Script = [*(piece for _ in range(6) for piece in ("so slow ", 0.1)), Finished("stop")]
    world.script(a=slow, b=text_script("quick and long " * 200))
    with world.running(deadlines=replace(DEADLINES, total=60)):
        world.begin()
        wait_until(lambda: sum(len(frame.a) for frame in world.shown()) == 48, what="the wait")
        assert world.store.battles.request_stop("b1")
        world.wait_for(BattleState.ready)
    a, b = world.turn().answers()
    assert a.finish == b.finish == "stopped"
    assert len(a.text) == 48 <= len(b.text) < 1_000


def test_a_stop_before_anything_could_be_judged_lets_what_is_there_be_shown() -> None:
    """Blanks were shown of one side, and its text waits for the rest."""
    sides = tuple(a_side(model) for model in MODELS[:2])
    turn = arena.runner._RunningTurn(a_battle(), 1, sides, taken_in=0.0)
    for side, text in zip(sides, ("\n" * 8 + "OK", "long " * 300), strict=True):
        side.arrived.append(text)
        side.finished = Finished("stop")
    for second in (5.0, 5.1):
        turn.tick(second)
    assert not sides[0].shows_text
    turn.stopping = True
    turn.tick(5.2)
    assert turn.stoppable


def test_a_piece_that_comes_just_after_a_tick_is_not_cut_off() -> None:
    """Both ended between a tick's reading and its look whether all is shown."""
    sides = tuple(a_side(model) for model in MODELS[:2])
    turn = arena.runner._RunningTurn(a_battle(), 1, sides)
    for side in sides:
        side.arrived.append("same")
    sides[0].finished = Finished("stop")
    turn.tick(time.monotonic())
    sides[1].arrived.append(" and one more word")
    sides[1].finished = Finished("stop")
    assert not turn.complete
    turn.tick(time.monotonic())
    assert turn.complete
    assert [side.answer().text for side in sides] == ["same", "same and one more word"]


def test_an_endpoint_is_asked_again_only_before_its_first_byte(world: World) -> None:
    away: Script = [EndpointUnreachable("refused")]
    world.script(a=[away, away, list(text_script(ALPHA))], b=text_script(BETA))
    with world.running():
        world.begin()
        assert world.wait_for_end() is BattleState.ready
    assert world.turn().answers()[0].text == ALPHA
    assert len(world.endpoints["m0"].asked) == 3
    assert world.endpoints["m0"].asked[0] == world.endpoints["m0"].asked[2]
    assert len(world.endpoints["m1"].asked) == 1


def test_an_endpoint_that_stays_away_voids_the_battle_after_some_tries(world: World) -> None:
    world.script(a=text_script(ALPHA), b=[EndpointUnreachable("refused")])
    with world.running():
        world.begin()
        assert world.wait_for_end() is BattleState.void
    assert 1 < len(world.endpoints["m1"].asked) <= 5
    assert world.store.battles.voids_by_model() == {"m1": 1}


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize(
    "failing",
    [
        ["some text", EndpointUnreachable("gone after the first byte")],
        ["some text", EndpointBroken("ended without finish_reason")],
        [EndpointRefused("401")],
        [EndpointEmpty("no text")],
        ["text", ValueError("a defect of ours")],
    ],
    ids=["after the first byte", "broken", "refused", "empty", "defect"],
)
def test_a_failed_side_voids_the_battle_and_only_that_side_is_blamed(
    world: World, side: str, failing: Script
) -> None:
    gate = threading.Event()  # the other side never gets to its end
    other: Script = ["a beginning", gate]
    world.script(
        a=failing if side == "a" else other,
        b=failing if side == "b" else other,
    )
    with world.running():
        world.begin()
        assert world.wait_for_end() is BattleState.void
    assert world.turn().void_reason == "endpoint_failed"
    assert world.turn().state is TurnState.void
    assert world.store.battles.voids_by_model() == {"m0" if side == "a" else "m1": 1}
    assert all(len(endpoint.asked) == 1 for endpoint in world.endpoints.values())
    for endpoint in world.endpoints.values():
        assert endpoint.streams[0].closed.wait(2)
    (outcome,) = world.store.votes.outcomes(["online"])
    assert outcome.side == side and outcome.error is not None


@pytest.mark.parametrize("first", ["a", "b"])
def test_of_two_sides_that_fail_the_first_one_is_blamed(world: World, first: str) -> None:
    """Both have failed by the time the pacer looks."""
    early: Script = [EndpointRefused("401")]
    late: Script = [0.1, EndpointBroken("broken")]
    world.script(a=early if first == "a" else late, b=early if first == "b" else late)
    with world.running(tick=0.3):
        world.begin()
        assert world.wait_for_end() is BattleState.void
    assert world.store.battles.voids_by_model() == {"m0" if first == "a" else "m1": 1}
    assert set(world.store.circuits.failures().values()) == {1}


def test_a_wait_for_an_endpoint_ends_with_its_battle(world: World) -> None:
    busy: Script = [EndpointUnreachable("busy", retry_after=1.8)]
    world.script(a=busy, b=["text", threading.Event()])
    with world.running():
        world.begin()
        wait_until(
            lambda: "m0" in world.endpoints and world.endpoints["m0"].asked, what="a question"
        )
        time.sleep(0.05)
        world.store.battles.skip("b1")
        wait_until(
            lambda: all(thread.name != "read" for thread in threading.enumerate()),
            1,
            what="the readers to end",
        )
    assert len(world.endpoints["m0"].streams) <= 2
    assert world.store.circuits.failures() == {}


def test_how_long_an_endpoint_asks_to_be_left_alone_is_told_to_its_circuit(world: World) -> None:
    world.script(a=[EndpointUnreachable("busy", retry_after=99.0)], b=["text", threading.Event()])
    with world.running():
        world.begin()
        assert world.wait_for_end() is BattleState.void
    (circuit,) = world.store.circuits.all()
    assert (circuit.model, circuit.state, circuit.rest) == ("m0", "open", 99.0)
    assert (circuit.error, len(world.endpoints["m0"].asked)) == ("EndpointUnreachable", 1)


def test_a_model_that_rests_is_probed_by_the_runner_and_drawn_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.breaker._LOOK_SECONDS", 0.02)
    monkeypatch.setattr("arena.circuit.REST_SECONDS", 0.1)
    away: Script = [EndpointBroken("broken")]
    world.script(a=[away, away, away, away, away, text_script("Hello.")], b=text_script(BETA))
    with world.running():
        for number in range(4):
            world.begin(f"b{number}")
            assert world.wait_for_end(f"b{number}") is BattleState.void
        wait_until(lambda: world.store.circuits.all()[0].state == "closed", what="the probe")
    (circuit,) = world.store.circuits.all()
    assert (circuit.model, circuit.probes) == ("m0", 2)
    assert [asked[-1].text for asked in world.endpoints["m0"].asked[4:]] == [QUESTION, QUESTION]
    assert world.store.battles.voids_by_model() == {"m0": 4}


def test_a_follow_up_goes_to_both_with_the_conversation_each_has_had(world: World) -> None:
    world.script(a=text_script("one"), b=text_script("two"))
    with world.running():
        world.begin()
        world.wait_for(BattleState.ready)
        assert world.store.battles.add_turn(a_turn(number=2, prompt="And now?"))
        world.live.wake_runner("b1")
        world.wait_for(BattleState.ready)
    for model, said in (("m0", "one"), ("m1", "two")):
        assert world.endpoints[model].asked[1] == [
            Message("user", "Why?"),
            Message("assistant", said),
            Message("user", "And now?"),
        ]
    assert world.turn(number=2).state is TurnState.ready


def test_a_battle_that_goes_on_gives_both_the_same_conversation_first(world: World) -> None:
    world.script(a=text_script("one"), b=text_script("two"))
    opening = [Message("user", "Who?"), Message("assistant", "Somebody.")]
    with world.running():
        world.store.battles.add(a_battle(continued_from="b0"), a_turn(), opening)
        world.live.wake_runner("b1")
        world.wait_for(BattleState.ready)
    for model in ("m0", "m1"):
        assert world.endpoints[model].asked == [[*opening, Message("user", "Why?")]]


def test_a_failed_follow_up_is_withdrawn_and_left_out_of_the_next(world: World) -> None:
    broken: Script = [EndpointBroken("broken")]
    world.script(
        a=text_script("one"), b=[list(text_script("two")), broken, list(text_script("three"))]
    )
    with world.running():
        world.begin()
        world.wait_for(BattleState.ready)
        world.store.battles.add_turn(a_turn(number=2, prompt="Fails"))
        world.wait_for(BattleState.ready)
        assert world.turn(number=2).void_reason == "endpoint_failed"
        assert world.turn(number=2).state is TurnState.void
        world.store.battles.add_turn(a_turn(number=3, prompt="Works"))
        world.wait_for(BattleState.ready)
    assert [m.text for m in world.endpoints["m1"].asked[2]] == ["Why?", "two", "Works"]
    assert world.turn(number=3).answers()[1].text == "three"


def test_a_stop_ends_both_answers_where_they_are(world: World) -> None:
    gate = threading.Event()
    world.script(a=["A beginning", gate], b=["Another one, longer", gate])
    with world.running():
        world.begin()
        wait_until(world.shown, what="something to be shown")
        world.store.battles.request_stop("b1")
        world.wait_for(BattleState.ready)
    a, b = world.turn().answers()
    assert (a.finish, b.finish) == ("stopped", "stopped")
    assert a.text == "A beginn" and b.text == "Another "  # in steps of eight
    assert (a.tokens, b.tokens) == (None, None)  # of the whole answers, if they were counted
    assert world.turn().frames() == world.shown()
    for endpoint in world.endpoints.values():
        assert endpoint.streams[0].closed.wait(2)


def test_a_stop_waits_until_there_is_something_of_both_to_judge(world: World) -> None:
    gate, never = threading.Event(), threading.Event()
    world.script(a=["A beginning", never], b=[gate, "At last!", never])
    with world.running():
        world.begin()
        wait_until(lambda: world.endpoints["m1"].streams, what="the stream")
        world.store.battles.request_stop("b1")
        time.sleep(0.15)
        assert world.battle().state is BattleState.running
        gate.set()
        world.wait_for(BattleState.ready)
    assert [answer.text for answer in world.turn().answers()] == ["A beginn", "At last!"]


def test_a_skipped_battle_is_left_and_its_streams_are_closed(world: World) -> None:
    never = threading.Event()
    world.script(a=["A beginning", never], b=["Another beginning", never])
    with world.live.follow("b1", 1) as follower, world.running() as runner:
        world.begin()
        wait_until(world.shown, what="something to be shown")
        world.store.battles.skip("b1")
        for endpoint in world.endpoints.values():
            assert endpoint.streams[0].closed.wait(2)
        wait_until(lambda: not runner._turns, what="the battle to be let go")
        assert world.battle().state is BattleState.skipped
        assert list(iter(lambda: follower.get(0.3), None))[-1] == LookAgain()
        assert world.live.frames("b1", 1, 0) == []


def test_text_that_was_erased_while_it_streamed_does_not_come_back(world: World) -> None:
    never = threading.Event()
    world.script(a=["A beginning", never], b=["Another beginning", never])
    with world.running() as runner:
        world.begin()
        wait_until(world.shown, what="something to be shown")
        world.store.votes.erase(["b1"], "voter")  # as if Redis had been away for a moment
        wait_until(lambda: not runner._turns, what="the battle to be let go")
        assert world.live.frames("b1", 1, 0) == []


def test_no_more_battles_are_taken_in_than_the_runner_can_hold(world: World) -> None:
    gate = threading.Event()
    world.script(a=["a", gate, Finished("stop")], b=["b", gate, Finished("stop")])
    with world.running(capacity=2):
        for battle_id in ("b1", "b2", "b3", "b4"):
            world.begin(battle_id)
        wait_until(lambda: len(world.store.battles.waiting()) == 2, what="two to be taken")
        time.sleep(0.1)
        assert len(world.store.battles.waiting()) == 2
        gate.set()
        for battle_id in ("b1", "b2", "b3", "b4"):
            world.wait_for(BattleState.ready, battle_id)


def test_two_runners_share_the_battles_and_each_is_answered_once(world: World) -> None:
    world.script(a=text_script(ALPHA, seconds=0.002), b=text_script(BETA, seconds=0.002))
    with world.running(), world.running():
        ids = [f"b{number}" for number in range(16)]
        for battle_id in ids:
            world.begin(battle_id)
        for battle_id in ids:
            world.wait_for(BattleState.ready, battle_id)
    assert len(world.endpoints["m0"].asked) == 16
    assert {world.turn(battle_id).answers()[0].text for battle_id in ids} == {ALPHA}


# --- when parts are away ------------------------------------------------------------------------


class LeakyStore(FakeStore):
    """Its battles refuse the first `refusals` calls of one method, as told."""

    def refuse(self, method: str, error: Exception, refusals: int = 1) -> list[int]:
        real, calls = getattr(self.battles, method), [0]

        def refusing(*args: Any, **kwargs: Any) -> Any:
            calls[0] += 1
            if calls[0] <= refusals:
                raise error
            return real(*args, **kwargs)

        setattr(self.battles, method, refusing)
        return calls


@pytest.fixture
def leaky(world: World) -> LeakyStore:
    store = LeakyStore()
    store.campaigns.add(CAMPAIGN)
    store.roster.replace(MODELS, "t1")
    world.store = store
    return store


def test_answers_wait_for_a_database_that_is_away_at_their_commit(
    world: World, leaky: LeakyStore
) -> None:
    calls = leaky.refuse("finish_turn", Unavailable("away"), refusals=20)
    world.script(a=text_script(ALPHA), b=text_script(BETA))
    with world.running(), world.running():  # the other must not take the first for dead
        world.begin()
        world.wait_for(BattleState.ready)
    assert calls[0] == 21
    assert [answer.text for answer in world.turn().answers()] == [ALPHA, BETA]


def test_the_blame_stays_with_the_side_that_failed_while_the_database_is_away(
    world: World, leaky: LeakyStore
) -> None:
    """The other side is cancelled meanwhile, and must not pass for the one that failed."""
    leaky.refuse("fail_turn", Unavailable("away"), refusals=3)
    world.script(a=["text", threading.Event()], b=["text", EndpointBroken("broken")])
    with world.running():
        world.begin()
        world.wait_for(BattleState.void)
    assert leaky.battles.voids_by_model() == {"m1": 1}


def test_answers_that_can_never_be_stored_void_the_battle(world: World, leaky: LeakyStore) -> None:
    leaky.refuse("finish_turn", ValueError("cannot be stored"), refusals=99)
    world.script(a=text_script(ALPHA), b=text_script(BETA))
    with world.running():
        world.begin()
        world.wait_for(BattleState.void)
    assert world.turn().void_reason == "interrupted"
    assert leaky.battles.voids_by_model() == {}


def test_a_battle_whose_conversation_cannot_be_read_after_the_claim_is_not_left_running(
    world: World, leaky: LeakyStore
) -> None:
    leaky.refuse("whole", Unavailable("away"))
    world.script(a=text_script(ALPHA), b=text_script(BETA))
    with world.running():
        world.begin()
        world.begin("b2")
        world.wait_for(BattleState.ready, "b2")
        wait_until(lambda: world.battle().state is not BattleState.running, what="b1 to end")
    assert world.battle().state is BattleState.void
    assert world.turn().void_reason == "interrupted"


def test_frames_that_redis_missed_are_there_once_it_is_back(world: World) -> None:
    gate = threading.Event()
    world.script(
        a=[*text_script(ALPHA, pieces=10, seconds=0.01)[:-1], gate, "end", Finished("stop")],
        b=[*text_script(BETA, pieces=10, seconds=0.01)[:-1], gate, "end", Finished("stop")],
    )
    with world.running():
        world.begin()
        wait_until(lambda: len(world.shown()) >= 2, what="the first frames")
        world.live.away = True
        time.sleep(0.05)
        world.live.lose_everything()
        world.live.come_back()
        gate.set()
        world.wait_for(BattleState.ready)
        wait_until(lambda: world.turn().frames() == world.shown(), what="the whole list")


def test_without_redis_a_battle_still_comes_to_its_end(world: World) -> None:
    world.live.away = True
    world.script(a=text_script(ALPHA, seconds=0.005), b=text_script(BETA, seconds=0.005))
    with world.running():
        world.begin()
        assert world.wait_for_end() is BattleState.ready
    assert [answer.text for answer in world.turn().answers()] == [ALPHA, BETA]


# --- runners that come and go -------------------------------------------------------------------


def hold(world: World, runner: str, battle_id: str) -> None:
    """A battle that some other runner has claimed and a lease it has taken."""
    world.store.leases.take(f"runner:{runner}", runner, None)
    world.store.battles.add(a_battle(battle_id), a_turn(battle_id))
    world.store.battles.claim(battle_id, runner)


def test_a_dead_runners_battles_are_voided_after_its_leases_silence(world: World) -> None:
    hold(world, "dead", "b1")
    started = time.monotonic()
    with world.live.follow("b1", 1) as follower, world.running():
        world.wait_for(BattleState.void)
        assert time.monotonic() - started >= LEASE_SECONDS
        assert follower.get(1) is not None
    assert world.turn().void_reason == "interrupted"
    assert world.store.battles.voids_by_model() == {}


def test_a_dead_runners_follow_up_is_withdrawn(world: World) -> None:
    world.script(a=text_script("one"), b=text_script("two"))
    with world.running():
        world.begin()
        world.wait_for(BattleState.ready)
    world.store.leases.take("runner:dead", "dead", None)
    world.store.battles.add_turn(a_turn(number=2))
    world.store.battles.claim("b1", "dead")
    with world.running():
        world.wait_for(BattleState.ready)
    assert world.turn(number=2).state is TurnState.void


def test_a_slow_but_living_runners_battles_are_left_alone(world: World) -> None:
    gate = threading.Event()
    world.script(
        a=["A begins", gate, "alpha", Finished("stop")],
        b=["B begins", gate, "beta", Finished("stop")],
    )
    with world.running():
        world.begin()
        wait_until(world.shown, what="something to be shown")
        with world.running():
            time.sleep(LEASE_SECONDS * 2.5)
            assert world.battle().state is BattleState.running
            gate.set()
            world.wait_for(BattleState.ready)
    texts = [answer.text for answer in world.turn().answers()]
    assert texts == ["A beginsalpha", "B beginsbeta"]


def test_a_runner_that_was_taken_for_dead_goes_on_with_new_battles(world: World) -> None:
    """It loses what it held, and nothing that it claims afterwards."""
    gate = threading.Event()
    world.script(
        a=["A begins", gate, Finished("stop")],
        b=["B begins", gate, Finished("stop")],
    )
    with world.running() as slow:
        world.begin("lost")
        wait_until(lambda: world.shown("lost"), what="something to be shown")
        assert world.store.battles.fail_turn(
            "lost", 1, reason="interrupted", side=None, error=None, runner=slow.id
        )
        world.begin()
        wait_until(world.shown, what="something to be shown")
        with world.running():
            time.sleep(LEASE_SECONDS * 1.5)
            gate.set()
            assert world.wait_for_end() is BattleState.ready


def test_a_claim_whose_answer_was_lost_is_given_up(world: World, leaky: LeakyStore) -> None:
    """The database has committed it, and the connection died before saying so."""
    real, lost = leaky.battles.claim, []

    def claim(battle_id: str, runner: str) -> Battle | None:
        battle = real(battle_id, runner)
        if battle is not None and not lost:
            lost.append(battle_id)
            raise Unavailable("the connection died")
        return battle

    leaky.battles.claim = claim
    world.script(a=text_script(ALPHA), b=text_script(BETA))
    with world.running():
        world.begin()
        world.wait_for(BattleState.void)
        world.begin("b2")
        world.wait_for(BattleState.ready, "b2")
    assert lost == ["b1"]
    assert world.turn().void_reason == "interrupted"


def test_at_shutdown_running_battles_are_voided_and_nothing_runs_on(world: World) -> None:
    never = threading.Event()
    world.script(a=["A beginning", never], b=["Another beginning", never])
    before = set(threading.enumerate())
    with world.running() as runner:
        world.begin()
        wait_until(world.shown, what="something to be shown")
    assert world.battle().state is BattleState.void
    assert world.turn().void_reason == "interrupted"
    assert world.store.battles.voids_by_model() == {}
    assert world.store.leases.look(f"runner:{runner.id}") is None
    wait_until(lambda: not set(threading.enumerate()) - before, 2, what="all threads to end")


def test_a_model_that_retired_meanwhile_still_answers_its_battle(world: World) -> None:
    world.script(a=text_script(ALPHA), b=text_script(BETA))
    world.begin()
    world.store.roster.replace([replace(MODELS[0], state="retired"), *MODELS[2:]], "t2")
    with world.running():
        assert world.wait_for_end() is BattleState.ready


# --- answers that name themselves ---------------------------------------------------------------

NAMED = (
    replace(MODELS[0], name="Qwen2.5 7B", organization="Alibaba"),
    replace(MODELS[1], name="Gemini 2.5 Flash", organization="Google"),
)


@pytest.mark.parametrize("pieces", [1, 3, 40])
def test_names_in_answers_are_stored_with_the_turn_however_they_come(
    world: World, pieces: int
) -> None:
    world.store.roster.replace(NAMED, "t2")
    world.script(
        a=text_script(f"{ALPHA}我是通义千问。{ALPHA}", pieces=pieces),
        b=text_script(f"{BETA}I am Gemini, trained by Google.", pieces=pieces),
    )
    with world.running():
        world.begin()
        assert world.wait_for_end() is BattleState.ready
    assert world.turn().leaks == (Leak("a", "通义千问"), Leak("b", "gemini"))


def test_an_answer_may_repeat_the_name_that_its_prompt_asks_about(world: World) -> None:
    world.store.roster.replace(NAMED, "t2")
    world.script(a=text_script(f"Qwen is fast. {ALPHA}"), b=text_script(f"I am Qwen. {BETA}"))
    with world.running():
        world.store.battles.add(a_battle("b1"), a_turn("b1", prompt="Is Qwen fast?"))
        world.live.wake_runner("b1")
        assert world.wait_for_end() is BattleState.ready
    assert world.turn().leaks == (Leak("b", "qwen"),)


def test_what_was_not_shown_or_stands_in_the_prompt_gives_nothing_away(world: World) -> None:
    world.store.roster.replace(NAMED, "t2")
    gate = threading.Event()
    world.script(
        a=[*text_script(ALPHA)[:-1], gate, "I am Qwen.", Finished("stop", None)],
        b=[*text_script(ALPHA)[:-1], gate, Finished("stop", None)],
    )
    with world.running():
        turn = replace(a_turn("b1"), prompt="Are you Qwen, ChatGPT or Gemini? I am Qwen.")
        world.store.battles.add(a_battle("b1"), turn)
        world.live.wake_runner("b1")
        wait_until(lambda: len(world.shown()) > 0, 5, what="a beginning")
        assert world.store.battles.request_stop("b1")
        assert world.wait_for_end() is BattleState.ready
    assert world.turn().answers()[0].finish == "stopped"
    assert world.turn().leaks == ()
