"""A classifier that sees all but the words, and knows the pair, cannot tell the sides.

A small run of `scripts/side_channels.py`, which prints the figures over 10,000 battles.
"""

from __future__ import annotations

import numpy as np
import pytest

from scripts import side_channels
from scripts.side_channels import ARENA, GOAL, NO_WAIT, RELAY, UPSTREAMS, Cost, Share


def guessed(how: str, count: int) -> Share:
    battles = side_channels.simulate(7, count, [how])
    seen, names = battles.seen[how], battles.names[how]
    return Share.of(side_channels.guess(seen, names, battles.truth, seed=7, rounds=60))


def test_the_sides_cannot_be_told_from_what_the_arena_sends() -> None:
    """The goal is of 10,000 battles; so few may miss it by chance, but not by more than that."""
    assert guessed(ARENA, 2_000).lower <= GOAL


def test_turns_do_not_last_much_longer_than_the_answers_need() -> None:
    """The defence costs time; how much is said in SECURITY.md, and no change may hide more."""
    cost = Cost.of(side_channels.simulate(7, 450, [ARENA]), ARENA)
    assert cost.share <= 0.45
    assert np.quantile(cost.shares, 0.9) <= 0.8


@pytest.mark.parametrize("how", [RELAY, NO_WAIT])
def test_the_same_classifier_tells_the_sides_without_the_defence_or_without_its_wait(
    how: str,
) -> None:
    assert guessed(how, 450).lower > 0.8


def test_upstreams_send_whole_answers_at_the_speed_they_are_named_for() -> None:
    rng = np.random.default_rng(3)
    for upstream in UPSTREAMS:
        answers = [upstream.answer(rng, 1_001) for _ in range(40)]
        assert {answer.length for answer in answers} == {1_001}
        for answer in answers:
            assert (np.diff(answer.times) >= 0).all()
            assert answer.end >= answer.times[-1] > 0
        seconds = np.median([answer.end for answer in answers])
        usual = upstream.first + 1_001 / side_channels.TOKEN / upstream.speed
        assert usual * 0.8 < seconds < usual * 1.8, upstream.name
