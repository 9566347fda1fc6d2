from __future__ import annotations

import numpy as np
import pytest

from ratings import bradley_terry, graded
from ratings.comparisons import Outcome, PairCounts
from ratings.errors import BadComparisons, BadParameter
from ratings.fitting import fit
from ratings.likelihood import BRADLEY_TERRY, GRADED, RAO_KUPPER
from ratings.pairs import pairs_of
from ratings.scale import PER_NAT
from ratings.update import Warm
from tests.ratings.rating_helpers import TIE, WIN, counted

MODELS, VOTES = 12, 20_000
LIKELIHOODS = pytest.mark.parametrize(
    "likelihood", [BRADLEY_TERRY, RAO_KUPPER, GRADED], ids=["bt", "rao-kupper", "graded"]
)


def cast(n_votes, seed):
    """Columns of votes with a side effect: grades mostly, winners only in every fifth."""
    rng = np.random.default_rng(seed)
    theta = np.linspace(-1, 1, MODELS)
    a = rng.integers(0, MODELS, n_votes)
    b = (a + rng.integers(1, MODELS, n_votes)) % MODELS
    latent = theta[a] - theta[b] + 0.2 + rng.logistic(size=n_votes)
    outcome = 4 - np.searchsorted([-1.6, -0.5, 0.5, 1.6], latent)
    winner = np.array([5, 5, 6, 7, 7])[outcome]
    return a, b, np.where(rng.random(n_votes) < 0.2, winner, outcome)


def log(*parts):
    counts = PairCounts(MODELS)
    for part in parts:
        counts.add(*part)
    return counts


def rows(likelihood, counts, side=False):
    pairs = pairs_of(counts, ordered=side)
    return pairs if likelihood is GRADED else pairs.winners()


@LIKELIHOODS
@pytest.mark.parametrize("side", [False, True])
@pytest.mark.parametrize("outcome", Outcome)
def test_one_more_vote_moves_the_strengths_as_a_refit_does(likelihood, side, outcome):
    old, vote = cast(VOTES, 1), (np.array([2]), np.array([9]), np.array([outcome]))
    before = fit(likelihood, rows(likelihood, log(old), side), side=side)
    after = fit(likelihood, rows(likelihood, log(old, vote), side), side=side)
    warm = Warm(before)
    warm.add(2, 9, outcome)
    moved = np.abs(after.theta - before.theta).max()
    assert moved > 1e-5
    assert np.abs(warm.theta - after.theta).max() < 0.002 * moved
    assert warm.start().side == pytest.approx(after.side or 0.0, abs=1e-7)
    assert np.abs(warm.start().local - after.local).max(initial=0.0) < 1e-6


@LIKELIHOODS
@pytest.mark.parametrize("side", [False, True])
def test_a_thousand_votes_stay_close_to_the_refit(likelihood, side):
    old, new = cast(VOTES, 1), cast(1000, 2)
    before = fit(likelihood, rows(likelihood, log(old), side), side=side)
    after = fit(likelihood, rows(likelihood, log(old, new), side), side=side)
    warm = Warm(before)
    for a, b, outcome in zip(*(column.tolist() for column in new), strict=True):
        warm.add(a, b, outcome)
    assert np.abs(after.theta - before.theta).max() * PER_NAT > 1
    assert np.abs(warm.theta - after.theta).max() * PER_NAT < 0.02


def test_votes_of_several_groups_move_the_thresholds_of_their_own():
    old, other, new = cast(VOTES, 1), cast(VOTES, 3), cast(200, 2)
    before = graded.fit([log(old), log(other)])
    after = graded.fit([log(old), log(other, new)])
    warm = Warm(before)
    for a, b, outcome in zip(*(column.tolist() for column in new), strict=True):
        warm.add(a, b, outcome, group=1)
    assert np.abs(warm.theta - after.theta).max() < 1e-4
    assert np.abs(warm.start().local - after.local).max() < 5e-5
    shift = np.abs(warm.start().local - before.local)
    assert shift[:, 0].max() < 0.5 * shift[:, 1].min()


@LIKELIHOODS
def test_the_exact_fit_from_here_is_the_fit_of_all_votes(likelihood):
    old, new = cast(VOTES, 1), cast(300, 2)
    warm = Warm(fit(likelihood, rows(likelihood, log(old))))
    for a, b, outcome in zip(*(column.tolist() for column in new), strict=True):
        warm.add(a, b, outcome)
    every = rows(likelihood, log(old, new))
    exact, cold = warm.exact(every), fit(likelihood, every)
    assert np.abs(exact.theta - cold.theta).max() < 1e-9
    assert exact.steps < cold.steps


def test_the_exact_fit_keeps_asking_for_a_side_effect_that_was_not_identifiable():
    one_way = counted(2, [(0, 1, WIN), (0, 1, TIE)])
    both = counted(2, [(0, 1, WIN), (0, 1, TIE), (1, 0, WIN), (1, 0, TIE)])
    first = bradley_terry.fit(one_way, side=True)
    assert first.side_problem is not None
    exact = Warm(first).exact(pairs_of(both, ordered=True).winners())
    assert exact.side == pytest.approx(bradley_terry.fit(both, side=True).side)


def test_a_small_log_is_followed_closely_too():
    rounds = [(a, (a + gap) % 5, WIN) for gap in (1, 2, 3, 4) for a in range(5)]
    new = [(0, 1, WIN), (2, 3, TIE), (4, 0, WIN), (0, 1, WIN)] * 3
    warm = Warm(bradley_terry.fit(counted(5, rounds)))
    for vote in new:
        warm.add(*vote)
    assert np.abs(warm.theta - bradley_terry.fit(counted(5, rounds + new)).theta).max() < 0.05


def test_votes_keep_each_tier_centred_and_move_no_other():
    core = [(0, 1, WIN), (1, 0, WIN), (1, 2, WIN), (2, 1, WIN)]
    pair = [(3, 4, WIN), (4, 3, WIN), (3, 0, WIN)]
    before = bradley_terry.fit(counted(5, core + pair))
    warm = Warm(before)
    warm.add(0, 1, WIN)
    assert warm.theta[0] > before.theta[0] and warm.theta[1] < before.theta[1]
    assert warm.theta[:3].mean() == pytest.approx(before.theta[:3].mean(), abs=1e-12)
    assert warm.theta[3:].tolist() == before.theta[3:].tolist()


def test_what_was_read_does_not_move_with_later_votes():
    warm = Warm(bradley_terry.fit(counted(2, [(0, 1, WIN), (1, 0, WIN)])))
    read, start = warm.theta, warm.start()
    warm.add(0, 1, WIN)
    assert read.tolist() == start.theta.tolist() == [0.0, 0.0]


def test_the_fit_itself_is_left_alone():
    before = graded.fit(log(cast(500, 1)))
    theta, local = before.theta.copy(), before.local.copy()
    Warm(before).add(0, 1, WIN)
    assert (before.theta == theta).all() and (before.local == local).all()


@pytest.mark.parametrize(
    ("vote", "problem"),
    [
        ((0, 5, WIN), "from 0 to 4"),
        ((-1, 0, WIN), "from 0 to 4"),
        ((1, 1, WIN), "compared with itself"),
        ((0, 1, 8), "outcome is 8"),
        ((0, 1, WIN, 1), "group is 1"),
        ((0, 2, WIN), "different tiers"),
        ((0, 3, WIN), "different tiers"),
    ],
)
def test_a_vote_that_cannot_be_taken_in_is_refused_and_moves_nothing(vote, problem):
    votes = [(0, 1, WIN), (1, 0, WIN), (2, 0, WIN), (3, 4, TIE)]
    warm = Warm(bradley_terry.fit(counted(5, votes)))
    before = warm.theta
    with pytest.raises(BadComparisons, match=problem):
        warm.add(*vote)
    assert (warm.theta == before).all()


def test_a_likelihood_of_another_family_is_refused():
    with pytest.raises(BadParameter, match="threshold family"):
        Warm(bradley_terry.davidson(counted(2, [(0, 1, WIN), (1, 0, TIE)])))


@pytest.mark.parametrize("method", [bradley_terry.fit, bradley_terry.rao_kupper, graded.fit])
def test_no_models_are_no_trouble(method):
    assert Warm(method(counted(0, []))).theta.tolist() == []
