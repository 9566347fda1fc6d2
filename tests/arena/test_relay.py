"""What a follower receives: the same events in the same places, wherever they come from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import arena.relay
from arena.battle import Answer, Frame, Turn, TurnState
from arena.errors import LiveLost
from arena.interfaces import LiveFrame
from arena.relay import Event, Relay
from tests.fakes import CAMPAIGN, FakeLive, FakeStore, a_battle, a_turn

FRAMES = (Frame("Al", "贝塔"), Frame("pha", "🙂ok"), Frame("", " and more"))
STEPS = tuple((len(frame.a), len(frame.b)) for frame in FRAMES)
ANSWERS = (
    Answer("".join(frame.a for frame in FRAMES), "stop", 9, 0.5, 1.0),
    Answer("".join(frame.b for frame in FRAMES), "length", 9, 0.5, 1.0),
)


def delta(place: int, turn: int = 1) -> Event:
    frame, side = FRAMES[place // 2], "ab"[place % 2]
    text = frame.a if side == "a" else frame.b
    return Event("delta", turn, place, {"turn": turn, "side": side, "text": text})


DELTAS = [delta(place) for place in range(2 * len(FRAMES))]
READY = Event("ready", 1, 6, {"turn": 1, "finish_a": "stop", "finish_b": "length"})
EVERYTHING = [*DELTAS, READY]


class World:
    """A battle that a runner holds, and a relay over it."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.live = FakeLive()
        self.relay = Relay(self.store.battles, self.live)
        self.store.campaigns.add(CAMPAIGN)
        self.store.battles.add(a_battle(), a_turn())
        self.store.battles.claim("b1", "r1")

    def turn(self, number: int = 1) -> Turn:
        turn = self.store.battles.turn("b1", number)
        assert turn is not None
        return turn

    def push(self, *numbers: int) -> None:
        for number in numbers:
            self.live.push([LiveFrame("b1", 1, number, FRAMES[number])])

    def finish(self) -> None:
        assert self.store.battles.finish_turn("b1", 1, ANSWERS, STEPS, "r1")
        self.live.ended("b1", 1)

    def fail(self) -> None:
        assert self.store.battles.fail_turn(
            "b1", 1, reason="endpoint_failed", side="a", error="secret", runner="r1"
        )
        self.live.ended("b1", 1)

    def follow(self, last_event_id: str | None = None) -> Iterator[Event | None]:
        return iter(self.relay.follow(self.turn(), last_event_id))

    def events(self, last_event_id: str | None = None) -> list[Event]:
        """Everything up to the end; nothing if it is over already (the view answers 204)."""
        turn = self.turn()
        if self.relay.is_over(turn, last_event_id):
            return []
        return [event for event in self.relay.follow(turn, last_event_id) if event is not None]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena.relay, "HEARTBEAT_SECONDS", 0.05)


RESUMED = [None, *range(len(EVERYTHING))]


def event_id(place: int | None) -> str | None:
    return None if place is None else f"1-{place}"


def missing_after(place: int | None) -> list[Event]:
    return EVERYTHING if place is None else EVERYTHING[place + 1 :]


# --- a settled turn -----------------------------------------------------------------------------


@pytest.mark.parametrize("place", RESUMED)
def test_a_stored_turn_replays_exactly_the_missing_events(world: World, place: int | None) -> None:
    world.finish()
    assert world.events(event_id(place)) == missing_after(place)


@pytest.mark.parametrize(
    "unknown", ["", "1", "1-", "-1", "2-0", "0-3", "1--1", "1-x", "1-7", "1-999", "1-²", "x" * 999]
)
def test_an_id_that_was_never_given_replays_from_the_start(world: World, unknown: str) -> None:
    world.finish()
    assert world.events(unknown) == EVERYTHING


def test_a_settled_turn_needs_no_redis(world: World) -> None:
    world.live.away = True
    world.finish()
    assert world.events() == EVERYTHING


def test_deltas_come_in_pairs_and_add_up_to_the_answers(world: World) -> None:
    world.finish()
    *deltas, last = world.events()
    assert [event.data["side"] for event in deltas] == ["a", "b"] * len(FRAMES)
    for side, answer in zip("ab", ANSWERS, strict=True):
        text = "".join(event.data["text"] for event in deltas if event.data["side"] == side)
        assert text == answer.text
    assert [event.id for event in (*deltas, last)] == [f"1-{place}" for place in range(7)]


# --- a running turn -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "held"),
    [
        (place, held)
        for held in range(len(FRAMES) + 1)
        for place in (None, *range(2 * held))  # what was seen has been shown
    ],
)
def test_a_running_turn_gives_the_missing_events_whatever_redis_holds_already(
    world: World, place: int | None, held: int
) -> None:
    world.push(*range(held))
    stream = world.follow(event_id(place))
    missing = missing_after(place)
    shown = 2 * held - (0 if place is None else place + 1)
    assert [next(stream) for _ in range(shown)] == missing[:shown]
    assert next(stream) is None  # waiting: the subscription stands, whatever happens now is heard
    world.push(*range(held, len(FRAMES)))
    world.finish()
    assert [event for event in stream if event is not None] == missing[shown:]


def test_silence_is_a_heartbeat(world: World) -> None:
    stream = world.follow()
    assert [next(stream) for _ in range(3)] == [None, None, None]
    world.push(0)
    assert [next(stream), next(stream)] == DELTAS[:2]


def test_frames_that_redis_lost_come_from_the_list_written_anew(world: World) -> None:
    world.push(0)
    stream = world.follow()
    assert [next(stream) for _ in range(3)] == [*DELTAS[:2], None]
    world.live.lose_everything()
    assert world.live.push([LiveFrame("b1", 1, 2, FRAMES[2])]) == {"b1"}
    assert next(stream) is None
    world.live.replace("b1", 1, FRAMES)
    assert [next(stream) for _ in range(4)] == DELTAS[2:]
    world.finish()
    assert [event for event in stream if event is not None] == [READY]


def test_without_redis_the_whole_turn_comes_from_sql_at_its_end(world: World) -> None:
    world.live.away = True
    stream = world.follow()
    assert next(stream) is None
    world.finish()
    assert [event for event in stream if event is not None] == EVERYTHING


def test_losing_redis_in_the_middle_repeats_and_skips_nothing(world: World) -> None:
    world.push(0)
    stream = world.follow()
    assert [next(stream) for _ in range(2)] == DELTAS[:2]
    world.live.away = True
    with pytest.raises(LiveLost):
        world.push(1)
    assert next(stream) is None
    world.live.lose_everything()
    world.live.come_back()
    world.live.replace("b1", 1, FRAMES[:2])
    world.finish()
    assert [event for event in stream if event is not None] == EVERYTHING[2:]


def test_an_unknown_id_of_a_running_turn_is_made_good_at_its_end(world: World) -> None:
    stream = world.follow("1-500")
    world.push(0)
    world.finish()
    assert [event for event in stream if event is not None] == EVERYTHING


def test_a_follower_at_any_moment_sees_every_event_once(world: World) -> None:
    """Followers that come while frames are pushed from another thread."""

    def run() -> None:
        for number in range(len(FRAMES)):
            world.push(number)
            pause.wait(0.005)
        world.finish()

    pause = threading.Event()
    runner = threading.Thread(target=run)
    results: list[list[Event]] = []
    followers = [threading.Thread(target=lambda: results.append(world.events())) for _ in range(12)]
    runner.start()
    for follower in followers:
        follower.start()
        pause.wait(0.001)
    for thread in (runner, *followers):
        thread.join(10)
    assert results == [EVERYTHING] * 12


# --- a void or skipped turn ---------------------------------------------------------------------


def void_data(reason: str | None) -> dict[str, Any]:
    return {"turn": 1, "reason": reason}


@pytest.mark.parametrize("seen", [None, "1-0", "1-1", "1-5"])
def test_a_void_is_told_to_whoever_has_not_seen_it_and_to_nobody_twice(
    world: World, seen: str | None
) -> None:
    """Its frames are not kept, so no id of a frame may be mistaken for the end's."""
    world.push(0, 1, 2)
    world.fail()
    (event,) = world.events(seen)
    assert (event.name, event.data) == ("void", void_data("endpoint_failed"))
    assert world.events(event.id) == []


def test_a_void_in_the_middle_of_a_stream_ends_it(world: World) -> None:
    world.push(0)
    stream = world.follow()
    assert [next(stream) for _ in range(2)] == DELTAS[:2]
    world.fail()
    (event,) = [event for event in stream if event is not None]
    assert event.name == "void"
    assert "secret" not in str(event)


def test_a_skip_ends_the_stream_of_every_follower(world: World) -> None:
    """Another tab of the same voter would hold its connection for ever otherwise."""
    world.push(0)
    stream = world.follow()
    assert next(stream) == DELTAS[0]
    world.store.battles.skip("b1")
    world.live.ended("b1", 1)
    *rest, last = [event for event in stream if event is not None]
    assert rest == [DELTAS[1]]
    assert last is not None and (last.name, last.data) == ("void", void_data("skipped"))
    (again,) = world.events("1-1")
    assert again == last


def test_a_battle_that_is_gone_ends_the_stream_without_an_event(world: World) -> None:
    stream = world.follow()
    assert next(stream) is None
    world.store.battles.rows.clear()
    assert list(stream) == []


def test_a_follow_up_numbers_its_own_events(world: World) -> None:
    world.finish()
    world.store.battles.add_turn(a_turn(number=2))
    world.store.battles.claim("b1", "r1")
    stream = iter(world.relay.follow(world.turn(2), "1-3"))
    world.live.push([LiveFrame("b1", 2, 0, FRAMES[0])])
    assert [next(stream), next(stream)] == [delta(0, turn=2), delta(1, turn=2)]
    assert world.events() == EVERYTHING  # the first turn is as it was


steps = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=6)


@given(steps=steps, place=st.integers(-1, 20))
def test_every_resume_point_continues_the_same_sequence(
    steps: list[tuple[int, int]], place: int
) -> None:
    a, b = ("字" * sum(step[side] for step in steps) for side in (0, 1))
    world = World()
    answers = Answer(a, "stop"), Answer(b, "stop")
    world.store.battles.finish_turn("b1", 1, answers, steps, "r1")
    everything = world.events()
    assert len(everything) == 2 * len(steps) + 1
    known = 0 <= place < len(everything)
    assert world.events(f"1-{place}") == (everything[place + 1 :] if known else everything)
    assert world.turn().state is TurnState.ready
