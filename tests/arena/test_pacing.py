"""Pacing: what is shown when follows from what is the same with the sides swapped."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.pacing import Lockstep, Pace, Step

Ticks = list[tuple[int, int]]
TICK = 0.1


def course(
    a: Callable[[int], int],
    b: Callable[[int], int],
    lengths: tuple[int, int],
    pace: Lockstep,
    ends: tuple[int, int] = (0, 0),
) -> Ticks:
    """The steps of each tick, until all is shown, of answers that have come so far at a tick.

    `ends`: how many ticks after its last text each side's end comes.
    """
    steps: Ticks = []
    came: list[int | None] = [None, None]
    while pace.shown != lengths:
        tick = len(steps) + 1
        received = min(a(tick), lengths[0]), min(b(tick), lengths[1])
        for side in (0, 1):
            if came[side] is None and received[side] == lengths[side]:
                came[side] = tick + ends[side]
        ended = tuple(at is not None and at <= tick for at in came)
        steps.append(pace.step(tick * TICK, received, (ended[0], ended[1])))
        assert tick < 5_000, "the answers never come to their end"
    return steps


def steady(speed: int) -> Callable[[int], int]:
    return lambda tick: speed * tick


def rest_begins(steps: Ticks) -> int:
    """The tick at which the rest of the longer answer begins to be shown."""
    return 1 + next(number for number, (a, b) in enumerate(steps) if a != b)


SHORT, LONG = 403, 1200


@pytest.mark.parametrize("end", [0, 1, 4])
@pytest.mark.parametrize("fast", [21, 80, 5_000])
@pytest.mark.parametrize("slow", [2, 5, 20])
def test_a_turn_looks_the_same_whichever_model_wrote_the_longer_answer(
    slow: int, fast: int, end: int
) -> None:
    """Only the sides tell it, and so do the lengths in plain sight. The slow model's end comes
    with its last text or ticks later (a count of the tokens comes before it)."""
    slow_is_short = course(steady(slow), steady(fast), (SHORT, LONG), Lockstep(), (end, 0))
    slow_is_long = course(steady(slow), steady(fast), (LONG, SHORT), Lockstep(), (end, 0))
    assert slow_is_short == [(b, a) for a, b in slow_is_long]


def test_without_the_wait_the_same_turns_differ() -> None:
    """The test above could not fail if this one did not pass."""
    lasts = [
        len(course(steady(5), steady(80), lengths, Lockstep(latest=0)))
        for lengths in ((SHORT, LONG), (LONG, SHORT))
    ]
    assert lasts[1] > 2 * lasts[0]


moments = st.lists(st.integers(0, 90), min_size=1, max_size=40)


@given(a=moments, b=moments, ends=st.tuples(st.integers(0, 6), st.integers(0, 6)))
def test_swapping_the_sides_mirrors_every_step(
    a: list[int], b: list[int], ends: tuple[int, int]
) -> None:
    def arrivals(amounts: list[int]) -> Callable[[int], int]:
        return lambda tick: sum(amounts[:tick])

    def paced(one: list[int], other: list[int], ends: tuple[int, int]) -> Ticks:
        lengths = sum(one), sum(other)
        return course(arrivals(one), arrivals(other), lengths, Lockstep(), ends)

    assert paced(a, b, ends) == [(right, left) for left, right in paced(b, a, ends[::-1])]


def test_the_shorter_answer_is_shown_to_the_same_place_whenever_its_end_comes() -> None:
    """A slow model's end may come with its last piece, which a fast one's did long ago; the level
    at which the rest begins, and its moment, must not depend on it."""
    for ended in ((True, False), (False, True), (False, False)):
        pace = Lockstep()
        pace.step(0.1, (100, 100), (False, False))
        assert pace.step(0.2, (123, 999) if ended[0] else (999, 123), ended)[0] == 24
        assert pace.shown == (120, 120)


def test_what_comes_in_a_lump_is_shown_at_once() -> None:
    assert Lockstep().step(0.1, (300, 900), (False, False)) == (296, 296)
    assert Lockstep().step(0.1, (300, 900), (True, True)) == (296, 296)


def test_the_end_of_the_shorter_answer_is_not_shown_before_both_have_ended() -> None:
    """Nor does the longer one go on beyond it meanwhile."""
    pace = Lockstep()
    for tick in range(1, 80):
        received = min(5 * tick, 203), 7 * tick
        pace.step(tick * TICK, received, (received[0] == 203, False))
        assert pace.shown[0] == pace.shown[1] <= 200


def test_nothing_waits_longer_than_an_answer_may_take() -> None:
    steps = course(steady(2), steady(1_000), (200, 900), Lockstep(latest=10.5))
    assert sum(b for _, b in steps[:104]) == 200
    assert len(steps) <= 105 + 16


def test_a_voter_who_stops_the_answers_waits_no_longer() -> None:
    pace = Lockstep()
    for tick in range(1, 30):
        pace.step(tick * TICK, (min(8 * tick, 100), 900), (8 * tick >= 100, True))
    assert pace.shown == (96, 96)
    pace.latest = 0.0
    assert pace.step(3.0, (100, 900), (True, True)) == (4, 101)


@given(
    first=st.floats(0.01, 5),
    short=st.integers(1, 60),
    speed=st.integers(2, 500),
    end=st.integers(0, 20),
)
def test_a_turn_lasts_no_longer_than_a_small_multiple_of_what_it_took_to_come(
    first: float, short: int, speed: int, end: int
) -> None:
    """Whatever was answered before: nothing is learned that anyone could spoil."""

    def slow(tick: int) -> int:
        return max(0, int((tick * TICK - first) * speed))

    steps = course(slow, steady(10_000), (short, 20_000), Lockstep(), (end, 0))
    there = first + short / speed + (end + 1) * TICK
    assert len(steps) * TICK <= max(11 * there, there + 4) + 45 * TICK  # the drain of so much


def test_time_is_told_by_the_clock_and_not_by_the_number_of_ticks() -> None:
    pace = Lockstep(latest=20)
    pace.step(1.0, (8, 800), (False, True))
    pace.step(9.0, (16, 800), (True, True))
    assert pace.step(19.9, (16, 800), (True, True))[1] < 48
    assert pace.step(20.0, (16, 800), (True, True))[1] > 48


def test_answers_of_which_nothing_could_be_shown_yet_do_not_wait() -> None:
    """No pace was seen, so there is none to go on at."""
    pace = Lockstep()
    assert pace.step(9.0, (2, 1_500), (False, True)) == (0, 0)
    assert pace.step(9.1, (2, 1_500), (True, True)) == (2, 188)


@pytest.mark.parametrize("length", [1, 8, 300, 303])
def test_two_answers_of_one_length_that_end_together_are_shown_at_once(length: int) -> None:
    steps = course(steady(10), steady(10), (length, length), Lockstep())
    assert len(steps) <= -(-length // 10) + 1


def test_a_pace_takes_the_mean_the_spread_and_the_longest_gap_of_what_was_shown() -> None:
    even = Pace.of([Step(9, 8), *[Step(2, 8)] * 20])
    assert even.seconds(80) == pytest.approx(80 * 2 / 8 + 2)
    stalling = Pace.of([Step(9, 8), *[Step(1, 8), Step(1, 8), Step(1, 8), Step(5, 8)] * 5])
    assert stalling.seconds(80) > even.seconds(80) + 3
    assert Pace.of([Step(6, 24)]).seconds(48) == pytest.approx(12 + 6)


@given(left=st.integers(1, 2_000), more=st.integers(1, 500))
def test_more_that_is_left_takes_longer(left: int, more: int) -> None:
    pace = Pace.of([Step(4, 8), Step(3, 8), Step(1, 16), Step(6, 8)])
    assert pace.seconds(left + more) > pace.seconds(left)
