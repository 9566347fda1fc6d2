from __future__ import annotations

import random

import numpy as np
import pytest

from arena.boards import OVERALL
from arena.categories import UNFILTERED
from arena.leaderboard import Method, compute
from arena.tally import Tally, Vote

KINDS = [(2, "model_a"), (-1, "model_b"), (0, "tie"), (0, "both_bad"), (None, "model_a")]
SLICES = [(), ("en",), ("en", "coding"), ("zh", "coding")]


def votes(count, seed=0, first=1):
    draw = random.Random(seed)  # noqa: S311  reproducible votes
    for seq in range(first, first + count):
        a, b = draw.sample([f"m{i}" for i in range(8)], 2)
        voter = draw.choice([None, "v1", "v2", "v3"])
        yield Vote(seq, a, b, *draw.choice(KINDS), voter, draw.random(), draw.choice(SLICES))


def tally_of(some) -> Tally:
    tally = Tally()
    for vote in some:
        tally.add(vote)
    return tally


def same(one: Tally, other: Tally) -> None:
    assert one.categories() == other.categories()
    for category in one.categories():
        names, counts = one.counted(category)
        others, expected = other.counted(category)
        assert names == others
        assert np.array_equal(counts.counts, expected.counts)
        assert one.votes(category) == other.votes(category)
        assert one.voters(category) == other.voters(category)
        mine, theirs = one.ballots(names, category), other.ballots(names, category)
        assert np.array_equal(mine.model_a, theirs.model_a)
        assert np.array_equal(mine.outcome, theirs.outcome)
        assert np.array_equal(one.propensities(category), other.propensities(category))


def test_one_by_one_or_by_column_the_tally_is_the_same():
    some = list(votes(300))
    by_column = Tally()
    for part in (some[:200], some[200:]):
        by_column.add_columns(**dict(zip(Vote._fields, zip(*part, strict=True), strict=True)))
    same(tally_of(some), by_column)


def test_a_category_has_the_votes_that_are_in_it():
    some = list(votes(200))
    tally = tally_of(some)
    assert tally.categories() == [OVERALL, "coding", "en", "zh"]
    for category in ("coding", "en", "zh"):
        inside = [vote._replace(categories=()) for vote in some if category in vote.categories]
        alone = tally_of(inside)
        assert tally.votes(category) == len(inside)
        assert tally.voters(category) == alone.voters()
        rows = compute(tally, Method(), category=category).rows
        assert rows == compute(alone, Method()).rows


def test_removed_votes_leave_no_trace():
    some = list(votes(200))
    tally, gone = tally_of(some), {3, 77, 200}
    for seq in gone:
        touched = tally.remove(seq)
        assert touched == {OVERALL, *some[seq - 1].categories}
    same(tally, tally_of(vote for vote in some if vote.seq not in gone))
    for vote in votes(50, seed=1, first=500):
        tally.add(vote)
    assert tally.votes() == 247


def test_a_flagged_vote_counts_in_the_board_of_all_votes_alone():
    some = list(votes(200))
    tally, flagged = tally_of(some), {3, 77, 200}
    for seq in flagged:
        assert tally.flag(seq) == {OVERALL, UNFILTERED, *some[seq - 1].categories}
    without = tally_of(vote for vote in some if vote.seq not in flagged)
    assert tally.categories() == [OVERALL, *sorted([*without.categories()[1:], UNFILTERED])]
    for category in without.categories():
        assert compute(tally, Method(), category=category).rows == (
            compute(without, Method(), category=category).rows
        )
        assert tally.votes(category) == without.votes(category)
        assert tally.voters(category) == without.voters(category)
    assert tally.graded() == without.graded()
    whole = tally_of(some)
    assert tally.votes(UNFILTERED) == 200
    assert tally.voters(UNFILTERED) == whole.voters()
    for name in ("bt", "elo", "graded"):
        board = compute(tally, Method(name), category=UNFILTERED)
        assert board.rows == compute(whole, Method(name)).rows
    for vote in votes(50, seed=1, first=500):
        tally.add(vote)
    assert (tally.votes(), tally.votes(UNFILTERED)) == (247, 250)


def test_a_second_flag_changes_nothing():
    tally = tally_of(votes(5))
    tally.flag(3)
    assert tally.flag(3) == frozenset()
    assert (tally.votes(), tally.votes(UNFILTERED)) == (4, 5)


@pytest.mark.parametrize("acts", [("flag", "remove"), ("remove", "flag")])
def test_an_exclusion_wins_over_a_flag_in_either_order(acts):
    tally = tally_of(votes(5))
    for act in acts:
        getattr(tally, act)(3)
    same(tally, tally_of(vote for vote in votes(5) if vote.seq != 3))
    assert tally.votes(UNFILTERED) == 4


def test_without_a_flagged_vote_there_is_no_board_of_all_votes():
    tally = tally_of(votes(5))
    assert UNFILTERED not in tally.categories()
    tally.flag(2)
    assert UNFILTERED in tally.categories()
    assert tally.remove(2) == {UNFILTERED}
    assert UNFILTERED not in tally.categories()


def test_a_vote_that_is_not_there_cannot_be_flagged():
    with pytest.raises(ValueError, match="no vote 6"):
        tally_of(votes(5)).flag(6)


def test_a_vote_that_is_not_there_cannot_be_removed():
    tally = tally_of(votes(5))
    tally.remove(2)
    for seq in (0, 2, 6):
        with pytest.raises(ValueError, match=f"no vote {seq} to remove"):
            tally.remove(seq)
    assert tally.votes() == 4


@pytest.mark.parametrize(
    "vote",
    [
        ("a", "b", 2, "model_b"),
        ("a", "b", 0, "model_a"),
        ("a", "b", 3, "model_a"),
        ("a", "b", None, "nobody"),
        ("a", "a", 1, "model_a"),
    ],
)
def test_a_vote_that_makes_no_sense_is_refused(vote):
    tally = Tally()
    with pytest.raises(ValueError, match=r"do not make a vote|compared with itself"):
        tally.add(Vote(1, *vote))
    assert tally.votes() == 0


def test_an_empty_tally_has_nothing():
    tally = Tally()
    assert (tally.votes(), tally.voters(), tally.graded()) == (0, 0, 0)
    assert tally.categories() == [OVERALL]
    assert tally.counted()[0] == []


def test_numbers_that_outgrow_their_column_are_kept_whole():
    tally = Tally()
    tally.add(Vote(7, "m1", "m2", 2, "model_a", categories=("first",)))
    kinds = [(f"c{number}",) for number in range(40_000)]
    tally.add_columns(
        seq=range(2**33, 2**33 + len(kinds)),
        model_a=["m1"] * len(kinds),
        model_b=["m2"] * len(kinds),
        grade=[1] * len(kinds),
        winner=["model_a"] * len(kinds),
        categories=kinds,
    )
    assert tally.remove(2**33 + 39_999) == {OVERALL, "c39999"}
    assert tally.remove(7) == {OVERALL, "first"}
    assert tally.counted("c39998")[1].votes == 1
    assert tally.counted("c0")[1].votes == 1
    assert tally.counted()[1].votes == len(kinds) - 1


def test_a_vote_takes_19_bytes():
    tally, count = Tally(), 70_000
    tally.add_columns(
        seq=range(count),
        model_a=[f"m{number % 300}" for number in range(count)],
        model_b=["other"] * count,
        grade=[-2] * count,
        winner=["model_b"] * count,
        voter=[f"v{number}" for number in range(count)],
        propensity=[0.5] * count,
        categories=[(f"c{number % 300}",) for number in range(count)],
    )
    tally.flag(7)
    assert sum(column.itemsize for column in tally._columns.values()) == 19
