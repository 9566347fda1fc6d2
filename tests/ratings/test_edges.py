"""Logs at the edge of what can be rated at all: each has an answer, in time, without a warning."""

from __future__ import annotations

import numpy as np
import pytest

from ratings import bradley_terry, graded
from ratings.comparisons import Outcome, PairCounts
from ratings.intervals import sandwich
from ratings.ranking import rank
from tests.ratings.rating_helpers import TIE, WIN, counted

A_MUCH, A_BETTER, TIED, B_BETTER, B_MUCH = list(Outcome)[:5]
METHODS = {
    "bt": bradley_terry.fit,
    "davidson": bradley_terry.davidson,
    "rao_kupper": bradley_terry.rao_kupper,
    "graded": graded.fit,
    "stereotype": graded.stereotype,
}
EACH = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
EACH_CONCAVE = pytest.mark.parametrize("method", list(METHODS.values())[:4], ids=list(METHODS)[:4])


def cycle(models, outcome, times=1):
    """Each beats the next, and the last the first: one tier."""
    return [(a, b, outcome) for a, b in zip(models, [*models[1:], models[0]], strict=True)] * times


def every_grade(models, times=1):
    return [
        (a, b, outcome)
        for a in models
        for b in models
        if a != b
        for outcome in (A_MUCH, A_BETTER, TIED, B_BETTER, B_MUCH)
    ] * times


@EACH
@pytest.mark.parametrize("side", [False, True])
@pytest.mark.parametrize("n_models", [0, 1, 2])
def test_without_votes_nothing_is_known(method, n_models, side):
    found = method(PairCounts(n_models), side=side)
    intervals = sandwich(found)
    assert found.theta.tolist() == [0.0] * n_models
    assert found.side is None
    assert (intervals.lower == -np.inf).all() and (intervals.upper == np.inf).all()
    assert rank(found, intervals).rank.tolist() == [1] * n_models
    assert found.connectivity.n_components == n_models


@EACH_CONCAVE
@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("votes", [1, 2])
def test_one_or_two_votes_place_two_models_and_prove_nothing(method, outcome, votes):
    found = method(counted(2, [(0, 1, outcome)] * votes))
    intervals = sandwich(found)
    winner = {-1: 1, 0: None, 1: 0}[int(np.sign([1, 1, 0, -1, -1, 1, 0, -1][outcome]))]
    assert found.converged
    if winner is None:
        assert found.theta.tolist() == [0, 0]
    else:
        assert 0.3 < found.theta[winner] == -found.theta[1 - winner] < 2
    assert rank(found, intervals).rank.tolist() == [1, 1]


@EACH_CONCAVE
@pytest.mark.parametrize("tie", [TIE, TIED])
def test_nothing_but_ties_makes_all_equal_and_none_certain(method, tie):
    found = method(counted(4, cycle([0, 1, 2, 3], tie, 10)))
    assert found.converged
    assert found.theta == pytest.approx([0, 0, 0, 0], abs=1e-9)
    assert (sandwich(found).se > 0.1).all()


@EACH_CONCAVE
@pytest.mark.parametrize("outcome", [A_MUCH, WIN])
def test_a_round_of_large_wins_makes_all_equal(method, outcome):
    found = method(counted(3, cycle([0, 1, 2], outcome, 10)))
    assert found.converged
    assert found.theta == pytest.approx([0, 0, 0], abs=1e-9)
    assert (sandwich(found).se > 0.1).all()


@EACH_CONCAVE
def test_several_components_of_several_tiers_do_not_touch_each_other(method):
    one = [*every_grade([0, 1, 2]), (3, 0, A_MUCH), (3, 1, A_MUCH), (2, 4, A_MUCH)]
    two = [*every_grade([5, 6]), *[(7, 5, A_MUCH)] * 3, *[(8, 7, A_MUCH)] * 3]
    found = method(counted(11, [*one, *two, (9, 10, TIED)]))
    joined = found.connectivity
    assert found.converged
    assert joined.component.tolist() == [0] * 5 + [1] * 4 + [2] * 2
    assert joined.n_tiers == 3 + 3 + 1
    core = joined.core[joined.tier]
    assert core.tolist() == [True] * 3 + [False] * 2 + [True] * 2 + [False] * 2 + [True] * 2
    for component in range(3):
        assert abs(found.theta[core & (joined.component == component)].mean()) < 1e-9
    intervals = sandwich(found)
    assert (intervals.upper == np.inf).tolist() == [i in (3, 7, 8) for i in range(11)]
    assert (intervals.lower == -np.inf).tolist() == [i == 4 for i in range(11)]
    assert found.theta[8] > found.theta[7] > found.theta[5]
    ranks = rank(found, intervals)
    assert ranks.rank[9:].tolist() == [1, 1]
    assert ranks.upper.tolist()[9:] == [2, 2]


def test_adding_a_component_moves_no_strength_of_another_where_nothing_is_shared():
    alone = counted(3, [*cycle([0, 1, 2], WIN), (0, 1, WIN)])
    beside = counted(5, [*cycle([0, 1, 2], WIN), (0, 1, WIN), (3, 4, WIN), (4, 3, WIN)])
    one, both = bradley_terry.fit(alone), bradley_terry.fit(beside)
    assert np.abs(one.theta - both.theta[:3]).max() < 1e-12


@EACH_CONCAVE
def test_turning_every_vote_around_reverses_the_board(method):
    votes = [
        *every_grade([0, 1, 2]),
        (3, 0, A_MUCH),
        (2, 4, A_MUCH),
        (0, 2, A_BETTER),
        (5, 6, A_MUCH),
    ]
    straight = method(counted(7, votes))
    reversed_ = method(counted(7, [(b, a, outcome) for a, b, outcome in votes]))
    assert np.abs(straight.theta + reversed_.theta).max() < 1e-9
    up, down = sandwich(straight), sandwich(reversed_)
    assert up.lower == pytest.approx(-down.upper, abs=1e-8)
    assert up.upper == pytest.approx(-down.lower, abs=1e-8)


@EACH_CONCAVE
def test_ten_votes_beside_five_million_are_rated_as_if_alone_with_the_crowd(method):
    """The new model's interval comes from its ten votes, whatever the number of all others."""
    errors, strengths = [], []
    for crowd in (5_000, 5_000_000):
        counts = counted(6, every_grade(range(5)))
        counts.counts[:] *= crowd // int(counts.votes)
        counts.counts[A_BETTER, 5, :5] += 1
        counts.counts[B_BETTER, 5, :5] += 1
        found = method(counts)
        assert found.converged
        intervals = sandwich(found)
        errors.append(intervals.se[5]), strengths.append(found.theta[5])
    assert strengths == pytest.approx([0, 0], abs=1e-9)
    assert 0.3 < errors[1] < 1
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


def test_a_billion_votes_on_one_pair_are_counted_and_more_are_refused_before_they_wrap_around():
    counts = PairCounts(2)
    counts.counts[WIN, 0, 1] = 2**30 - 2
    counts.counts[WIN, 1, 0] = 2**30 - 2
    counts.add([0], [1], [WIN])
    found = bradley_terry.fit(counts)
    assert found.theta == pytest.approx([0, 0], abs=1e-8)
    assert counts.wins()[0, 1] == 2**30 - 1
    assert counts.votes == 2**31 - 3
    with pytest.raises(ValueError, match="billion"):
        counts.add([0], [1], [WIN])
    assert counts.votes == 2**31 - 3


@pytest.mark.parametrize("n_models", [2, 300])
def test_no_count_wraps_around_whatever_the_size_of_the_batch(n_models):
    counts = PairCounts(n_models)
    counts.counts[TIE, 0, 1] = 2**30 - 10
    many = np.zeros(20, dtype=np.int64)
    with pytest.raises(ValueError, match="billion"):
        counts.add(many, many + 1, many + TIE)
    assert counts.counts[TIE, 0, 1] == 2**30 - 10


@EACH_CONCAVE
def test_a_thousand_models_with_few_votes_each_are_rated(method):
    rng = np.random.default_rng(0)
    a = rng.integers(0, 1000, 3000)
    b = (a + rng.integers(1, 1000, 3000)) % 1000
    counts = PairCounts(1000)
    counts.add(a, b, rng.integers(0, 5, 3000))
    found = method(counts)
    intervals = sandwich(found)
    ranks = rank(found, intervals)
    assert found.converged and found.steps < 30
    assert (intervals.lower <= found.theta).all() and (intervals.upper >= found.theta).all()
    assert (ranks.lower <= ranks.upper).all()


@pytest.mark.parametrize("method", [bradley_terry.fit, graded.fit], ids=["bt", "graded"])
def test_a_chain_of_undefeated_models_is_as_many_tiers_and_still_ends(method):
    chain = np.arange(150)
    counts = PairCounts(151)
    counts.add(chain, chain + 1, np.full(150, A_MUCH))
    found = method(counts)
    intervals = sandwich(found)
    assert found.connectivity.n_tiers == 151
    assert (np.diff(found.theta) < 0).all()
    # all are equally large cores: only the first is above all others, only the last below
    assert np.isfinite(intervals.lower).sum() == 1 and np.isfinite(intervals.lower[0])
    assert np.isfinite(intervals.upper).sum() == 1 and np.isfinite(intervals.upper[-1])


def test_a_model_above_two_cores_only_through_others_is_open_at_both_ends():
    cores = [(0, 1, WIN), (1, 0, WIN), (2, 3, WIN), (3, 2, WIN)]
    found = bradley_terry.fit(
        counted(7, [*cores, (4, 0, WIN), (5, 2, WIN), (6, 4, WIN), (6, 5, WIN)])
    )
    intervals = sandwich(found)
    assert found.connectivity.above[found.connectivity.tier[6]].sum() == 4
    assert (intervals.lower[6], intervals.upper[6]) == (-np.inf, np.inf)


def test_a_group_of_models_that_lost_everything_to_the_rest_is_ordered_among_itself():
    top, low = every_grade([0, 1, 2]), [(3, 4, A_BETTER), (3, 4, B_BETTER), (3, 4, A_BETTER)]
    found = graded.fit(counted(5, [*top, *low, *[(0, 3, A_MUCH)] * 5, *[(1, 4, A_MUCH)] * 5]))
    intervals = sandwich(found)
    assert found.theta[2] > found.theta[3] > found.theta[4]
    assert (intervals.lower[3:] == -np.inf).all() and np.isfinite(intervals.upper[3:]).all()
    assert (intervals.covariance[:3, 3:] == 0).all()
    assert (intervals.se[3:] > 0.1).all()


@pytest.mark.parametrize("winner", [WIN, A_MUCH])
def test_a_landslide_of_a_million_to_one_is_finite(winner):
    counts = counted(2, [(1, 0, winner)])
    counts.counts[winner, 0, 1] = 1_000_000
    for method in list(METHODS.values())[:4]:
        found = method(counts)
        assert found.converged
        assert 10 < found.theta[0] - found.theta[1] < 35
        assert 0.3 < sandwich(found).se[0] < 1.5
