from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ratings import bradley_terry
from ratings.errors import BadParameter
from ratings.fitting import MAX_STEPS, Start
from ratings.scale import MEAN, PER_NAT
from tests.ratings.rating_helpers import (
    TIE,
    WIN,
    counted,
    crowd_counts,
    of_points,
    rated,
    reference,
    wildbench_counts,
)

POINTS = arrays.arrays(np.float64, (6, 6), elements=st.integers(0, 5).map(lambda n: n / 2)).map(
    lambda points: points * (1 - np.eye(6))
)


def fit(points, start=None):
    return bradley_terry.fit(of_points(points), start=None if start is None else Start(start))


def ring(n_models, seed=0):
    """Points of a random sparse board that is one tier."""
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 4, (n_models, n_models)) * (rng.random((n_models, n_models)) < 0.3)
    points[np.arange(n_models), (np.arange(n_models) + 1) % n_models] += 1
    np.fill_diagonal(points, 0)
    return points.astype(np.float64)


def test_the_crowd_votes_agree_with_the_reference_fit():
    expected = reference("llmfao_bt_half")
    found = rated(crowd_counts(expected["models"]))
    strengths = (np.array(expected["rating"]) - MEAN) / PER_NAT
    assert found.fit.converged
    assert np.abs(found.theta - strengths).max() < 1e-8  # the reference has six decimals
    assert np.abs(PER_NAT * found.intervals.se - expected["se"]).max() < 1e-6
    assert found.fit.log_likelihood() == pytest.approx(expected["loglik"])


def test_the_wildbench_votes_agree_with_the_reference_fit():
    expected = reference("wildbench_bt_half")
    found = rated(wildbench_counts(expected["models"]))
    assert np.abs(found.theta - expected["theta_nats"]).max() < 1e-6
    assert np.abs(found.intervals.se - expected["se_nats"]).max() < 1e-6


@given(POINTS, st.permutations(range(6)))
@settings(deadline=None)
def test_swapping_labels_swaps_the_ratings(points, order):
    straight, swapped = fit(points), fit(points[np.ix_(order, order)])
    assert straight.converged and swapped.converged
    assert np.abs(straight.theta[list(order)] - swapped.theta).max() < 1e-8


@given(POINTS)
@settings(deadline=None)
def test_turning_every_vote_around_turns_the_ratings_around(points):
    assert np.abs(fit(points).theta + fit(points.T).theta).max() < 1e-8


@given(POINTS, arrays.arrays(np.float64, 6, elements=st.floats(-50, 50) | st.just(np.nan)))
@settings(deadline=None)
def test_a_warm_start_changes_nothing(points, start):
    cold, warm = fit(points), fit(points, start)
    assert warm.converged
    assert np.abs(cold.theta - warm.theta).max() < 1e-9


def test_a_shifted_start_changes_nothing():
    points = ring(20)
    cold = fit(points)
    assert np.abs(fit(points, cold.theta + 7.0).theta - cold.theta).max() < 1e-9
    assert fit(points, cold.theta).steps == 1


def test_a_hopeless_start_is_not_used():
    points = ring(20)
    hopeless = np.where(np.arange(20) % 2, 1e6, -1e6)
    assert np.abs(fit(points, hopeless).theta - fit(points).theta).max() < 1e-9


@given(POINTS, st.floats(0.5, 50))
@settings(deadline=None)
def test_repeating_all_votes_inside_a_tier_moves_no_rating(points, times):
    points = points + 0.5 * (1 - np.eye(6))  # one tier
    assert np.abs(fit(points).theta - fit(times * points).theta).max() < 1e-8


@given(POINTS)
@settings(deadline=None)
def test_every_component_is_centred_on_its_core(points):
    found = fit(points)
    joined = found.connectivity
    core = joined.core[joined.tier]
    for component in range(joined.n_components):
        assert abs(found.theta[core & (joined.component == component)].mean()) < 1e-9


@pytest.mark.parametrize("votes", [20, 1])
def test_one_that_won_everything_leaves_all_others_where_they_were(votes):
    points = np.zeros((11, 11))
    points[:10, :10] = ring(10)
    points[10, 3] = votes
    found = fit(points)
    assert np.abs(found.theta[:10] - fit(points[:10, :10]).theta).max() < 1e-12
    lead = np.log((votes + 0.5) / 0.5)  # one virtual tie
    assert found.theta[10] == pytest.approx(found.theta[3] + lead, abs=1e-9)


def test_more_wins_in_a_row_place_a_model_higher():
    core = ring(10)
    places = []
    for wins in (1, 5, 50):
        points = np.zeros((11, 11))
        points[:10, :10] = core
        points[10, :5] = wins
        places.append(fit(points).theta[10])
    assert places == sorted(places)


def test_components_do_not_see_each_other():
    one, two = ring(5, 1), ring(7, 2)
    points = np.zeros((12, 12))
    points[:5, :5], points[5:, 5:] = one, two
    both = fit(points)
    assert np.abs(both.theta[:5] - fit(one).theta).max() < 1e-12
    assert np.abs(both.theta[5:] - fit(two).theta).max() < 1e-12


def test_nothing_but_ties_makes_all_models_equal():
    counts = counted(3, [(0, 1, TIE), (1, 2, TIE), (1, 2, TIE)])
    assert rated(counts).theta.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("n_models", [0, 1, 3])
def test_without_votes_every_strength_is_zero(n_models):
    found = fit(np.zeros((n_models, n_models)))
    assert found.converged
    assert found.theta.tolist() == [0.0] * n_models


def test_two_votes_that_cancel_make_both_models_equal():
    assert rated(counted(2, [(0, 1, WIN), (1, 0, WIN)])).theta.tolist() == [0.0, 0.0]


def test_a_ladder_of_landslides_still_converges():
    points = np.zeros((100, 100))
    rung = np.arange(99)
    points[rung, rung + 1], points[rung + 1, rung] = 1e6, 1
    found = fit(points)
    assert found.converged and found.steps < MAX_STEPS
    assert found.theta[0] - found.theta[-1] == pytest.approx(99 * np.log(1e6))


def test_a_fit_that_runs_out_of_steps_says_so(monkeypatch):
    monkeypatch.setattr("ratings.fitting.MAX_STEPS", 2)
    assert not fit(ring(20)).converged


def test_a_start_of_another_length_is_refused():
    with pytest.raises(BadParameter, match="one value per model, 3"):
        fit(ring(3), np.zeros(2))
