from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from ratings import bradley_terry
from ratings.comparisons import FloatArray, PairCounts
from ratings.errors import BadParameter
from ratings.intervals import sandwich
from tests.ratings.rating_helpers import TIE, WIN, counted, rated

TAIL = 0.025
EVEN = [(0, 1, WIN), (1, 0, WIN)] * 10


def drawn(rng: np.random.Generator, theta: FloatArray, votes: FloatArray, tie_share: float):
    """Counts of one simulated log; `votes` [M, M] in the upper triangle."""
    p = expit(theta[:, None] - theta)
    chances = np.stack([p * (1 - tie_share), p.T * (1 - tie_share), np.full_like(p, tie_share)])
    won, lost, tied = np.moveaxis(
        rng.multinomial(votes.astype(np.int64), np.moveaxis(chances, 0, -1)), -1, 0
    )
    counts = PairCounts(len(theta))
    counts.winner_only[:] = won, tied, lost
    return counts


def coverage(theta: FloatArray, votes: FloatArray, rounds: int, tie_share: float) -> FloatArray:
    """How often each model's 95 % interval holds its true strength."""
    rng = np.random.default_rng(20261122)
    held = np.zeros(len(theta))
    for _ in range(rounds):
        found = sandwich(bradley_terry.fit(drawn(rng, theta, votes, tie_share)))
        held += (found.lower <= theta) & (theta <= found.upper)
    return held / rounds


def test_ordinary_models_are_covered_as_often_as_the_level_says():
    theta = np.random.default_rng(0).normal(0, 0.7, 12)
    covered = coverage(theta - theta.mean(), np.triu(np.full((12, 12), 20.0), 1), 600, 0.0)
    assert 0.93 <= covered.mean() <= 0.97


def test_a_new_model_beside_a_large_log_is_covered_as_often_as_the_level_says():
    theta = np.append(np.linspace(-1, 1, 10), 0.0)
    votes = np.triu(np.full((11, 11), 45_000.0), 1)  # two million, and
    votes[:, 10] = np.append(np.full(10, 10.0), 0.0)  # one hundred of the new model
    covered = coverage(theta, votes, 2500, 0.0)
    assert 0.93 <= covered[10] <= 0.97


def test_models_with_many_ties_are_covered_as_often_as_the_level_says():
    theta = np.zeros(8)  # only among equals are ties as half wins a true model
    votes = np.triu(np.full((8, 8), 20.0), 1)
    assert 0.93 <= coverage(theta, votes, 800, 0.4).mean() <= 0.97


def test_the_interval_of_two_models_is_the_textbook_one():
    found = rated(counted(2, [(0, 1, WIN)] * 30 + [(1, 0, WIN)] * 10))
    of_difference = 1 / 30 + 1 / 10  # variance of a log odds; each model is half a difference away
    assert found.intervals.se == pytest.approx(np.sqrt(of_difference) / 2)


def test_a_difference_of_strengths_has_no_share_in_the_gauge():
    found = rated(counted(3, [*EVEN, (0, 2, WIN), (2, 1, WIN), (2, 0, WIN)]))
    assert np.abs(found.intervals.covariance.sum(axis=1)).max() < 1e-12


def test_one_that_won_everything_has_an_interval_open_above():
    found = rated(counted(3, [*EVEN, *[(2, 0, WIN)] * 20])).intervals
    assert found.upper[2] == np.inf
    assert found.lower[2] == pytest.approx(logit(TAIL ** (1 / 20)))
    assert np.isfinite([*found.lower[:2], *found.upper[:2]]).all()


def test_one_that_lost_everything_has_an_interval_open_below():
    found = rated(counted(3, [*EVEN, *[(0, 2, WIN)] * 20])).intervals
    assert found.lower[2] == -np.inf
    assert found.upper[2] == pytest.approx(-logit(TAIL ** (1 / 20)))


def test_the_closed_end_is_where_the_result_would_be_a_rare_chance():
    votes = [(0, 1, WIN)] * 30 + [(1, 0, WIN)] * 10 + [(2, 0, WIN)] * 3 + [(2, 1, WIN)] * 4
    found = rated(counted(3, votes))
    at_the_end = expit(found.intervals.lower[2] - found.theta[:2])
    assert at_the_end[0] ** 3 * at_the_end[1] ** 4 == pytest.approx(TAIL)


def test_an_undefeated_model_changes_no_interval_but_its_own():
    without = rated(counted(2, EVEN)).intervals
    beside = rated(counted(3, [*EVEN, *[(2, 0, WIN)] * 20])).intervals
    assert np.abs(beside.lower[:2] - without.lower).max() < 1e-12
    assert np.abs(beside.upper[:2] - without.upper).max() < 1e-12


def test_a_second_undefeated_model_is_bounded_through_the_first():
    found = rated(counted(4, [*EVEN, *[(2, 0, WIN)] * 20, *[(3, 2, WIN)] * 20])).intervals
    step = logit(TAIL ** (1 / 20))
    assert found.lower[2:] == pytest.approx([step, 2 * step])
    assert found.upper[2:].tolist() == [np.inf, np.inf]


def test_one_that_only_lost_to_the_undefeated_is_open_at_both_ends():
    found = rated(counted(4, [*EVEN, *[(2, 0, WIN)] * 20, *[(2, 3, WIN)] * 5])).intervals
    assert (found.lower[3], found.upper[3]) == (-np.inf, np.inf)


def test_a_group_that_beat_the_core_keeps_its_inner_uncertainty():
    core = [(i, j, WIN) for i in range(3) for j in range(3) if i != j] * 10
    pair = [(3, 4, TIE), (3, 4, WIN), (4, 3, WIN)]
    found = rated(counted(5, [*core, *pair, *[(3, 0, WIN)] * 6]))
    assert found.intervals.upper[3:].tolist() == [np.inf, np.inf]
    closed = logit(TAIL ** (1 / 6))
    margin = 1.959963984540054 * found.intervals.se[3:]
    assert (margin > 0).all()
    assert found.intervals.lower[3:] == pytest.approx(closed - margin)


def test_two_models_and_one_sided_votes_are_open_on_opposite_sides():
    found = rated(counted(2, [(0, 1, WIN)] * 20))
    assert found.theta[0] == -found.theta[1] > 0
    assert np.isfinite(found.intervals.lower[0]) and found.intervals.upper[0] == np.inf
    assert found.intervals.lower[0] == -found.intervals.upper[1]


def test_two_equal_cores_that_never_met_directly_have_no_bounds():
    votes = [(0, 1, WIN), (1, 0, WIN), (2, 3, WIN), (3, 2, WIN), (4, 0, WIN), (4, 2, WIN)]
    found = rated(counted(5, votes)).intervals
    assert np.isinf(found.lower[:4]).all() and np.isinf(found.upper[:4]).all()
    assert np.isfinite(found.lower[4])


def test_nothing_but_ties_is_not_taken_for_certainty():
    found = rated(counted(2, [(0, 1, TIE), (0, 1, TIE)])).intervals
    half_a_difference = np.sqrt(1 / (2 * 0.25)) / 2
    assert found.se == pytest.approx(half_a_difference)
    hundred = rated(counted(2, [(0, 1, TIE)] * 200)).intervals
    assert hundred.se == pytest.approx(half_a_difference / 10)


def test_ties_alone_between_two_that_beat_a_third_are_not_taken_for_certainty():
    """Once the third is set apart as beaten, nothing but their tie is left between the two."""
    votes = [(0, 2, WIN), (0, 2, WIN), (1, 2, WIN), (1, 2, WIN), (0, 1, TIE)]
    found = rated(counted(3, votes)).intervals
    assert (found.upper[:2] - found.lower[:2] > 2).all()


def test_a_new_model_with_a_few_ties_is_not_taken_for_certain():
    found = rated(counted(3, [*EVEN * 1000, (0, 2, TIE), (1, 2, TIE)])).intervals
    assert found.se[2] > 0.5


@pytest.mark.parametrize("n_models", [1, 2])
def test_a_model_without_votes_may_be_anywhere(n_models):
    found = rated(counted(n_models, [])).intervals
    assert (found.lower == -np.inf).all() and (found.upper == np.inf).all()


def test_every_estimate_lies_in_its_interval_on_sparse_boards():
    rng = np.random.default_rng(3)
    for votes in (5, 20, 40, 80):
        a = rng.integers(0, 30, votes)
        b = (a + rng.integers(1, 30, votes)) % 30
        found = rated(counted(30, zip(a, b, rng.choice([WIN, TIE], votes), strict=True)))
        assert found.fit.converged
        assert (found.intervals.lower <= found.theta).all()
        assert (found.intervals.upper >= found.theta).all()


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5, float("nan")])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(BadParameter, match="between 0 and 1"):
        sandwich(bradley_terry.fit(counted(2, [])), level)


def test_a_higher_level_makes_wider_intervals():
    counts = counted(2, [(0, 1, WIN)] * 30 + [(1, 0, WIN)] * 10)
    narrow, wide = (sandwich(bradley_terry.fit(counts), level) for level in (0.8, 0.99))
    assert (wide.upper - wide.lower > narrow.upper - narrow.lower).all()
