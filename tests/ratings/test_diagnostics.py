from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, ndtri

from ratings import bradley_terry, diagnostics, graded
from ratings.comparisons import MIRROR, Outcome, PairCounts
from ratings.diagnostics import calibration_on, diagnose, win_rates
from ratings.errors import BadParameter
from ratings.pairs import pairs_of
from tests.ratings.rating_helpers import TIE, WIN, counted

METHODS = {
    "bt": bradley_terry.fit,
    "davidson": bradley_terry.davidson,
    "rao-kupper": bradley_terry.rao_kupper,
    "graded": graded.fit,
    "stereotype": graded.stereotype,
}
EVERY_METHOD = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
SCORE = np.array([1.0, 1.0, 0.5, 0.0, 0.0, 1.0, 0.5, 0.0])
WON, TIED, LOST = [0, 1, 5], [2, 6], [3, 4, 7]

VOTES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 4), st.sampled_from(Outcome)).map(
        lambda vote: (vote[0], (vote[0] + vote[1]) % 5, int(vote[2]))
    ),
    max_size=40,
)


def board(
    n_models=8, n_votes=2000, seed=0, *, spread=0.7, ties=True, graded_share=1.0, spin=0.0, side=0.0
):
    """Counts of a simulated log; `spin` is what each pair has of its own, in nats."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(0, spread, n_models)
    own = np.triu(rng.normal(0, spin, (n_models, n_models)), 1)
    a = rng.integers(0, n_models, n_votes)
    b = (a + rng.integers(1, n_models, n_votes)) % n_models
    latent = theta[a] - theta[b] + (own - own.T)[a, b] + side + rng.logistic(size=n_votes)
    cuts = [-1.6, -0.5, 0.5, 1.6] if ties else [-1.6, 0.0, 0.0, 1.6]
    grade = 4 - np.searchsorted(cuts, latent)
    winner = np.array([5, 5, 6, 7, 7])[grade]
    counts = PairCounts(n_models)
    counts.add(a, b, np.where(rng.random(n_votes) < graded_share, grade, winner))
    return counts


def each_vote(counts):
    """(a, b, outcome) of every vote, in no order."""
    for outcome, a, b in zip(*np.nonzero(counts.counts), strict=True):
        for _ in range(int(counts.counts[outcome, a, b])):
            yield int(a), int(b), int(outcome)


def expected_score(found, a, b):
    """Of a against b, a shown first; by the textbook formulas."""
    d = found.theta[a] - found.theta[b] + (found.side or 0.0)
    t = found.local[0, 0] if found.local.size else 0.0
    return (expit(d - t) + expit(d + t)) / 2


def same_figures(one, other):
    return all(
        getattr(one, field.name) == pytest.approx(getattr(other, field.name))
        for field in fields(one)
    )


# --- win rates ----------------------------------------------------------------------------------


def test_bradley_terry_predicts_the_logistic_of_the_difference():
    found = bradley_terry.fit(board())
    predicted = win_rates(found).predicted
    expected = expit(found.theta[:, None] - found.theta)
    np.fill_diagonal(expected, np.nan)
    assert predicted == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_a_foreseen_tie_counts_half_in_the_prediction():
    found = graded.fit(board())
    assert win_rates(found).predicted[2, 5] == pytest.approx(expected_score(found, 2, 5))


def test_the_prediction_is_the_mean_of_both_orders():
    found = graded.fit(board(side=0.5), side=True)
    assert found.side > 0.3
    both = (expected_score(found, 1, 4) + 1 - expected_score(found, 4, 1)) / 2
    assert win_rates(found).predicted[1, 4] == pytest.approx(both)


def test_groups_of_voters_predict_by_their_votes():
    found = graded.fit([board(n_votes=3000), board(n_votes=1000, seed=1)])
    one, other = (
        expected_score(replace(found, local=found.local[:, [group]]), 0, 3) for group in (0, 1)
    )
    assert win_rates(found).predicted[0, 3] == pytest.approx(0.75 * one + 0.25 * other)


def test_nothing_is_predicted_across_components_and_nothing_observed_where_none_met():
    rates = win_rates(bradley_terry.fit(counted(4, [(0, 1, WIN), (1, 2, TIE), (1, 0, TIE)])))
    assert np.isnan(rates.predicted[:3, 3]).all() and np.isnan(rates.predicted[3]).all()
    assert rates.observed[0, 1] == 0.75 and rates.observed[1, 2] == 0.5
    assert np.isnan(rates.observed[0, 2]) and not np.isnan(rates.predicted[0, 2])
    assert rates.votes.tolist() == [[0, 2, 0, 0], [2, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


@given(VOTES, st.sampled_from(list(METHODS)))
@settings(deadline=None, max_examples=30)
def test_both_sides_of_every_rate_make_one(votes, method):
    rates = win_rates(METHODS[method](counted(5, votes)))
    for matrix in (rates.predicted, rates.observed):
        assert (matrix + matrix.T)[np.isfinite(matrix)] == pytest.approx(1.0)
    points = np.zeros((5, 5))
    for a, b, outcome in votes:
        points[a, b] += SCORE[outcome]
        points[b, a] += 1 - SCORE[outcome]
    met = rates.votes > 0
    assert (rates.observed * rates.votes)[met] == pytest.approx(points[met])
    assert not points[~met].any()


# --- calibration --------------------------------------------------------------------------------


def test_the_bins_hold_what_counting_vote_by_vote_puts_in_them():
    counts = board(n_models=12, n_votes=3000, graded_share=0.5)
    found = bradley_terry.rao_kupper(counts)
    votes = []
    for a, b, outcome in each_vote(counts):
        p = expected_score(found, a, b)
        votes.append((p, SCORE[outcome]) if p > 0.5 else (1 - p, 1 - SCORE[outcome]))
    votes = np.array(sorted(votes))
    seen = diagnose(found, bins=5).calibration
    assert len(seen.votes) == 5 and seen.votes.sum() == 3000
    assert np.abs(seen.votes - 600).max() <= 60  # a pair is never parted
    parts = np.split(votes, np.cumsum(seen.votes).astype(int)[:-1])
    assert seen.predicted == pytest.approx([part[:, 0].mean() for part in parts])
    assert seen.observed == pytest.approx([part[:, 1].mean() for part in parts])
    gaps = [len(part) / 3000 * abs(part[:, 1].mean() - part[:, 0].mean()) for part in parts]
    assert seen.error == pytest.approx(sum(gaps))


def test_bounds_without_ties_are_wilsons():
    found = bradley_terry.fit(counted(2, [(0, 1, WIN)] * 30 + [(1, 0, WIN)] * 10))
    seen = diagnose(found).calibration
    z, n, p = -ndtri(0.025), 40, 0.75
    ends = np.roots([1 + z**2 / n, -(2 * p + z**2 / n), p**2])  # (p − x)² = z² x(1 − x)/n
    assert [*seen.lower, *seen.upper] == pytest.approx(sorted(ends))


def test_bounds_with_ties_are_narrower_and_nothing_but_ties_is_no_certainty():
    def width(votes):
        seen = diagnose(bradley_terry.fit(counted(2, votes))).calibration
        return float(seen.upper[0] - seen.lower[0])

    wins, mixed = [(0, 1, WIN), (1, 0, WIN)] * 20, [(0, 1, WIN), (1, 0, WIN), (0, 1, TIE)] * 13
    assert width(mixed) == pytest.approx(width(wins) * math.sqrt(2 / 3), rel=0.1)
    assert width([(0, 1, TIE)] * 40) == pytest.approx(width(wins))


def test_bounds_hold_the_truth_as_often_as_the_level_says():
    held = []
    for seed in range(60):
        found = bradley_terry.rao_kupper(board(n_models=10, n_votes=5000, seed=seed))
        fresh = pairs_of(board(n_models=10, n_votes=5000, seed=seed)).winners()
        seen = calibration_on(found, fresh, level=0.8)
        held.append((seen.lower <= seen.predicted) & (seen.predicted <= seen.upper))
    assert 0.78 <= np.concatenate(held).mean() <= 0.92  # the fit has seen its votes


def test_the_error_of_a_true_model_is_what_chance_brings():
    found = [diagnose(bradley_terry.rao_kupper(board(seed=seed))).calibration for seed in range(40)]
    by_chance = np.mean([one.error_by_chance for one in found])
    assert 0.7 < np.mean([one.error for one in found]) / by_chance < 1.1


@pytest.mark.parametrize(
    ("method", "within"),
    [(bradley_terry.fit, 0.003), (bradley_terry.rao_kupper, 0.01), (graded.fit, 0.01)],
)
def test_the_slope_foretells_each_vote_without_itself(method, within):
    """Against as many fits as there are votes."""
    counts = board(n_models=6, n_votes=150, spread=1.5)
    x, y = [], []
    for a, b, outcome in each_vote(counts):
        rest = counts.resized(6)
        rest.remove([a], [b], [outcome])
        p = expected_score(method(rest), a, b)
        x.append(math.log(p / (1 - p)))
        y.append(SCORE[outcome])
    x, y, b = np.array(x), np.array(y), 1.0
    for _ in range(20):
        p = expit(b * x)
        b += ((y - p) @ x) / ((p * (1 - p)) @ x**2)
    seen = diagnose(method(counts)).calibration
    assert seen.slope == pytest.approx(b, abs=within)
    assert seen.slope < 0.99
    assert seen.slope_se == pytest.approx(
        math.sqrt((((y - p) * x) ** 2).sum()) / ((p * (1 - p)) @ x**2), rel=0.05
    )


def test_on_its_own_votes_the_slope_of_bradley_terry_would_be_one_whatever_the_truth():
    counts = board(n_models=15, n_votes=150)
    found = bradley_terry.fit(counts)
    assert calibration_on(found, pairs_of(counts)).slope == pytest.approx(1.0, abs=1e-6)
    assert diagnose(found).calibration.slope < 0.9


def test_gaps_twice_too_wide_have_a_slope_of_one_half():
    counts = board()
    found = bradley_terry.fit(counts)
    boast = replace(found, theta=2 * found.theta)
    seen = calibration_on(boast, pairs_of(counts))
    assert seen.slope == pytest.approx(0.5, abs=1e-6)
    assert seen.error > 3 * seen.error_by_chance


def test_the_slope_foretells_that_of_fresh_votes():
    own, fresh = [], []
    for seed in range(30):
        counts = board(n_models=20, n_votes=1200, seed=seed)
        half, other = PairCounts(20), PairCounts(20)
        half.counts[:] = np.random.default_rng(seed).binomial(counts.counts, 0.5)
        other.counts[:] = counts.counts - half.counts
        found = graded.fit(half)
        own.append(diagnose(found).calibration.slope)
        fresh.append(calibration_on(found, pairs_of(other)).slope)
    assert np.mean(own) < 0.95
    assert np.mean(own) == pytest.approx(np.mean(fresh), abs=0.05)


def test_one_sided_results_leave_no_finite_slope():
    seen = calibration_on(
        bradley_terry.fit(counted(2, [(0, 1, WIN)] * 3 + [(1, 0, WIN)])),
        pairs_of(counted(2, [(0, 1, WIN)] * 5)),
    )
    assert math.isnan(seen.slope) and math.isnan(seen.slope_se)


def test_votes_of_other_models_are_no_test_of_a_fit():
    with pytest.raises(BadParameter, match="the fit's models"):
        calibration_on(bradley_terry.fit(board()), pairs_of(board(n_models=9)))


# --- goodness of fit ----------------------------------------------------------------------------


def chances(found, a, b):
    """P of the eight outcomes by Rao and Kupper, or by the graded model; a shown first."""
    d = found.theta[a] - found.theta[b] + (found.side or 0.0)
    t1, t2 = [*found.local[:, 0], np.inf][:2]
    much, won, lost, much_lost = expit([d - t2, d - t1, -d - t1, -d - t2])
    tie = 1 - won - lost
    return np.array([much, won - much, tie, lost - much_lost, much_lost, won, tie, lost])


@pytest.mark.parametrize("side", [False, True])
@pytest.mark.parametrize("method", [bradley_terry.rao_kupper, graded.fit])
def test_losses_are_those_of_counting_vote_by_vote(method, side):
    counts = board(n_models=6, n_votes=500, graded_share=0.7, side=0.4)
    found = method(counts, side=side)
    votes = list(each_vote(counts))
    three = [(a, b, next(kind for kind in (WON, TIED, LOST) if o in kind)) for a, b, o in votes]
    loss = [-math.log(chances(found, a, b)[kind[-1]]) for a, b, kind in three]
    keys = [(a, b, kind[-1]) if side or a < b else (b, a, MIRROR[kind[-1]]) for a, b, kind in three]
    frequency = {k: keys.count(k) / sum(k[:2] == other[:2] for other in keys) for k in set(keys)}
    won, tied, lost = (sum(o in kind for *_, o in votes) / 500 for kind in (WON, TIED, LOST))
    constant = (won, tied, lost) if side else ((won + lost) / 2, tied, (won + lost) / 2)
    quality = diagnose(found).goodness
    assert quality.scale == "win, tie or loss"
    assert quality.log_loss == pytest.approx(np.mean(loss))
    assert quality.saturated == pytest.approx(-np.mean([math.log(frequency[k]) for k in keys]))
    assert quality.baseline == pytest.approx(
        -sum(p * math.log(q) for p, q in zip((won, tied, lost), constant, strict=True))
    )
    assert quality.baseline > quality.log_loss > quality.saturated


def test_bradley_terrys_loss_is_of_the_expected_score():
    counts = board(n_models=6, n_votes=500)
    found = bradley_terry.fit(counts)
    loss = 0.0
    for a, b, outcome in each_vote(counts):
        p = expected_score(found, a, b)
        loss -= SCORE[outcome] * math.log(p) + (1 - SCORE[outcome]) * math.log(1 - p)
    quality = diagnose(found).goodness
    assert quality.scale == "expected score"
    assert quality.log_loss == pytest.approx(loss / 500)
    assert quality.log_loss == pytest.approx(-found.log_likelihood() / 500)
    assert quality.baseline == pytest.approx(math.log(2))


@EVERY_METHOD
def test_the_deviance_is_what_the_likelihood_lost_against_every_pairs_frequencies(method):
    counts = board(n_models=6, n_votes=800, graded_share=0.7)
    found = method(counts)
    quality = diagnose(found).goodness
    looks_at_grades = method in (METHODS["graded"], METHODS["stereotype"])
    saturated = 0.0
    folded = counts.counts + counts.counts[MIRROR].transpose(0, 2, 1)
    for a, b in zip(*np.triu_indices(6, 1), strict=True):
        cell = folded[:, a, b]
        three = np.array([cell[kind].sum() for kind in (WON, TIED, LOST)])
        binary = np.array([three[0] + three[1] / 2, three[2] + three[1] / 2])
        kinds = [cell[:5], cell[5:]] if looks_at_grades else [three]
        for kind in [binary] if method is bradley_terry.fit else kinds:
            some = kind[kind > 0]
            saturated += (some * np.log(some / some.sum())).sum()
    assert quality.deviance == pytest.approx(2 * (saturated - found.log_likelihood()))


def test_degrees_are_free_frequencies_less_parameters():
    counts = board(n_models=6, n_votes=2000, graded_share=0.5)
    quality = [diagnose(method(counts)).goodness for method in METHODS.values()]
    assert [one.parameters for one in quality] == [5, 6, 6, 7, 8]
    assert [one.degrees for one in quality] == [15 - 5, 30 - 6, 30 - 6, 90 - 7, 90 - 8]


def test_the_p_value_is_uniform_under_a_true_model():
    found = [
        diagnose(graded.fit(board(n_models=5, n_votes=3000, seed=seed, spread=0.4))).goodness
        for seed in range(150)
    ]
    p = np.array([one.p_value for one in found], dtype=np.float64)
    assert 0.4 < p.mean() < 0.6
    assert (p < 0.1).mean() < 0.18
    assert np.mean([one.deviance / one.degrees for one in found]) == pytest.approx(1.0, abs=0.05)


def test_a_wrong_model_has_a_small_p_value():
    quality = diagnose(graded.fit(board(n_models=5, n_votes=3000, spread=0.4, spin=0.5))).goodness
    assert quality.p_value < 1e-3
    assert quality.p_value_problem is None


def test_where_there_is_no_p_value_it_is_said_why():
    def problem(found):
        quality = diagnose(found).goodness
        assert quality.p_value is None
        return quality.p_value_problem

    weighted = PairCounts(2, weighted=True)
    weighted.add([0, 1], [1, 0], [WIN, WIN], [0.5, 2.0])
    sparse = board(n_models=20, n_votes=300, ties=False, graded_share=0.0)
    assert problem(bradley_terry.fit(weighted)) == diagnostics.WEIGHTED
    assert problem(bradley_terry.fit(board())) == diagnostics.HALF_WINS
    assert problem(bradley_terry.fit(counted(2, [(0, 1, WIN), (1, 0, WIN)]))) == (
        diagnostics.NO_FREEDOM
    )
    assert problem(bradley_terry.fit(sparse)) == diagnostics.TOO_FEW


def test_votes_between_tiers_are_left_out_and_counted():
    counts = board(n_models=5, n_votes=400)
    larger = counts.resized(6)
    larger.add([5] * 7, [0] * 7, [WIN] * 7)
    inner, outer = (diagnose(bradley_terry.fit(one)).goodness for one in (counts, larger))
    assert (outer.votes, outer.left_out) == (400, 7)
    assert same_figures(replace(outer, left_out=0.0), inner)


@given(VOTES, st.sampled_from(list(METHODS)), st.integers(2, 5))
@settings(deadline=None, max_examples=60)
def test_copies_of_all_votes_multiply_the_deviance_and_leave_the_losses(votes, method, times):
    one = diagnose(METHODS[method](counted(5, votes + [(a, b, 6) for a, b, _ in votes])))
    many = diagnose(METHODS[method](counted(5, (votes + [(a, b, 6) for a, b, _ in votes]) * times)))
    if all(diagnose.goodness.votes for diagnose in (one, many)):
        assert many.goodness.saturated == pytest.approx(one.goodness.saturated, abs=1e-9)
        assert many.goodness.baseline == pytest.approx(one.goodness.baseline, abs=1e-9)
    assert many.win_rates.observed == pytest.approx(one.win_rates.observed, nan_ok=True)


# --- dispersion and spin ------------------------------------------------------------------------


def dense_dispersion(found):
    """By numeric derivatives of each pair's expected score, and dense matrices."""
    problem, point, m = found.problem(), found.point(), found.pairs.n_models
    votes = found.pairs.winners()
    n = votes.votes.sum(axis=0)
    low = np.minimum(votes.first, votes.second) * m + np.maximum(votes.first, votes.second)
    cells, pair = np.unique(low, return_inverse=True)
    fold = np.zeros((len(cells), len(n)))
    fold[pair, np.arange(len(n))] = np.where(votes.first < votes.second, 1.0, -1.0)

    def three(at):
        theta, beta, local = problem.parts(at)
        lead = theta[votes.first] - theta[votes.second] + beta
        return found.likelihood.chances(lead, local[:, votes.group])

    def score(at):
        won, tied, _ = three(at)
        return fold @ (n * (won + tied / 2))

    slopes = np.stack(
        [(score(point + h) - score(point - h)) / 2e-6 for h in 1e-6 * np.eye(len(point))], axis=1
    )
    won, tied, _ = three(point)
    variance = np.abs(fold) @ (n * (won + tied / 4 - (won + tied / 2) ** 2))
    own = slopes @ np.linalg.pinv(problem.slopes(point)[1]) @ slopes.T
    points = fold @ (votes.votes[Outcome.a_won] + votes.votes[Outcome.tied] / 2)
    squares = (points - score(point)) ** 2 / variance
    return squares.sum() / (1 - own.diagonal() / variance).sum()


@pytest.mark.parametrize("side", [False, True])
@pytest.mark.parametrize("method", [bradley_terry.rao_kupper, bradley_terry.davidson, graded.fit])
def test_the_dispersion_is_that_of_dense_matrices(method, side):
    found = method(board(n_models=7, n_votes=600, side=0.3), side=side)
    assert diagnose(found).goodness.dispersion == pytest.approx(dense_dispersion(found), rel=1e-5)


def test_the_dispersion_of_several_groups_is_that_of_dense_matrices():
    found = graded.fit([board(n_votes=500, seed=1), board(n_votes=300, seed=2)], side=True)
    assert diagnose(found).goodness.dispersion == pytest.approx(dense_dispersion(found), rel=1e-5)


@EVERY_METHOD
@pytest.mark.parametrize(("n_models", "n_votes", "spread"), [(20, 1500, 0.7), (8, 3000, 1.5)])
def test_strengths_alone_show_no_spin(method, n_models, n_votes, spread):
    found = []
    for seed in range(40):
        counts = board(n_models, n_votes, seed, spread=spread, ties=method is not METHODS["bt"])
        found.append(diagnose(method(counts)).goodness)
    assert np.mean([one.dispersion for one in found]) == pytest.approx(1.0, abs=0.12)
    if method not in (METHODS["davidson"], METHODS["stereotype"]):  # the truth is not of theirs
        assert np.mean([one.spin_p_value < 0.05 for one in found]) <= 0.15


@EVERY_METHOD
def test_spin_is_found_and_measured_in_nats(method):
    found = [diagnose(method(board(20, 20_000, seed, spin=0.3))).goodness for seed in range(8)]
    if method not in (METHODS["davidson"], METHODS["stereotype"]):  # their nats are others
        assert np.mean([one.spin for one in found]) == pytest.approx(0.3, abs=0.05)
    assert max(one.spin_p_value for one in found) < 1e-6
    assert min(one.dispersion for one in found) > 2


def test_a_cycle_is_all_spin():
    votes = [(0, 1, WIN), (1, 2, WIN), (2, 0, WIN)] * 75 + [
        (1, 0, WIN),
        (2, 1, WIN),
        (0, 2, WIN),
    ] * 25
    quality = diagnose(bradley_terry.fit(counted(3, votes))).goodness
    assert quality.spin_p_value < 1e-9
    # a quarter off at equal strength, where p(1 − p) is ¼, is a nat; all of it in one of three
    # dimensions, of which chance has its share in 100 votes
    assert quality.spin == pytest.approx(math.sqrt(3 - 1 / 25), rel=1e-6)


def test_without_a_circle_of_pairs_there_is_no_spin_to_see():
    quality = diagnose(bradley_terry.fit(counted(3, [(0, 1, WIN), (1, 0, WIN), (1, 2, TIE)])))
    assert math.isnan(quality.goodness.spin) and math.isnan(quality.goodness.dispersion)


# --- surprises ----------------------------------------------------------------------------------


@EVERY_METHOD
def test_a_pair_that_goes_its_own_way_is_found_and_named_in_its_direction(method):
    counts = board(n_models=20, n_votes=20_000)
    counts.add([3] * 150, [11] * 150, [Outcome.b_better] * 150)
    found = diagnose(method(counts))
    surprises = found.surprises
    assert (surprises.first[0], surprises.second[0]) == (11, 3)
    assert surprises.residual[0] > surprises.threshold
    assert surprises.votes[0] == found.win_rates.votes[3, 11]
    assert surprises.observed[0] == pytest.approx(found.win_rates.observed[11, 3])
    assert surprises.predicted[0] == pytest.approx(found.win_rates.predicted[11, 3])
    assert (surprises.observed > surprises.predicted).all()
    assert (np.diff(surprises.residual) <= 0).all() and len(surprises.residual) == 10


@pytest.mark.parametrize(("n_models", "n_votes", "spread"), [(20, 300, 0.7), (12, 600, 2.5)])
def test_a_true_model_has_a_pair_beyond_the_threshold_as_rarely_as_the_level_says(
    n_models, n_votes, spread
):
    alarms = []
    for seed in range(120):
        counts = board(n_models, n_votes, seed, spread=spread)
        alarms.append(diagnose(graded.fit(counts), level=0.9).surprises.beyond > 0)
    assert np.mean(alarms) <= 0.1


def test_one_upset_of_a_favourite_is_no_surprise_among_many_pairs():
    favourites = [(0, i, WIN) for i in range(1, 12)] * 50
    even = [(i, j, WIN) for i in range(1, 12) for j in range(1, 12) if i != j] * 10
    surprises = diagnose(bradley_terry.fit(counted(12, [*favourites, *even, (5, 0, WIN)])))
    assert surprises.surprises.first[0] == 5
    assert surprises.surprises.beyond == 0


def test_the_residual_of_large_counts_is_a_standard_normal():
    """Its standard deviation takes in ties and the pair's pull on its own prediction."""
    first = []
    for seed in range(150):
        surprises = diagnose(graded.fit(board(4, 6000, seed)), most=6).surprises
        place = list(zip(surprises.first, surprises.second, strict=True))
        sign = 1.0 if (0, 1) in place else -1.0
        index = place.index((0, 1) if sign > 0 else (1, 0))
        first.append(sign * surprises.residual[index])
    assert np.std(first) == pytest.approx(1.0, abs=0.15)
    assert abs(np.mean(first)) < 0.25


# --- all of it ----------------------------------------------------------------------------------


def test_weights_of_one_change_nothing_but_the_p_value():
    counts = board(n_models=5, n_votes=3000, spread=0.4)
    weighted = PairCounts(5, weighted=True)
    weighted.counts[:] = weighted.squares[:] = counts.counts
    plain, same = (diagnose(graded.fit(one)) for one in (counts, weighted))
    assert plain.goodness.p_value is not None
    assert same.goodness.p_value_problem == diagnostics.WEIGHTED
    unweighted = replace(same.goodness, p_value=plain.goodness.p_value, p_value_problem=None)
    assert same_figures(unweighted, plain.goodness)
    assert same.calibration.lower == pytest.approx(plain.calibration.lower)
    assert same.calibration.slope_se == pytest.approx(plain.calibration.slope_se)


def test_votes_of_half_a_weight_are_as_sure_as_votes_of_a_whole_one():
    counts = board(n_models=6, n_votes=900)
    halved = PairCounts(6, weighted=True)
    halved.counts[:], halved.squares[:] = counts.counts / 2, counts.counts / 4
    plain, half = (diagnose(graded.fit(one)) for one in (counts, halved))
    assert half.goodness.dispersion == pytest.approx(plain.goodness.dispersion)
    assert half.goodness.spin_p_value == pytest.approx(plain.goodness.spin_p_value)
    assert half.calibration.upper == pytest.approx(plain.calibration.upper)
    assert half.calibration.slope_se == pytest.approx(plain.calibration.slope_se, rel=0.01)
    assert half.surprises.residual == pytest.approx(plain.surprises.residual)


@EVERY_METHOD
@given(order=st.permutations(range(6)))
@settings(deadline=None, max_examples=5)
def test_swapping_labels_changes_no_figure(method, order):
    counts = board(n_models=6, n_votes=400, graded_share=0.5)
    straight, swapped = diagnose(method(counts)), diagnose(method(counts.selected(order)))
    for name in ("log_loss", "deviance", "dispersion", "spin", "spin_p_value", "degrees"):
        expected = getattr(straight.goodness, name)
        assert getattr(swapped.goodness, name) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert swapped.calibration.slope == pytest.approx(straight.calibration.slope, rel=1e-6)
    assert swapped.calibration.error == pytest.approx(straight.calibration.error, rel=1e-6)
    assert swapped.surprises.residual == pytest.approx(straight.surprises.residual, rel=1e-5)
    assert np.array(order)[swapped.surprises.first[:3]].tolist() == (
        straight.surprises.first[:3].tolist()
    )


@EVERY_METHOD
@given(votes=VOTES, side=st.booleans())
@settings(deadline=None, max_examples=40)
def test_any_votes_have_figures_without_a_warning(method, votes, side):
    found = diagnose(method(counted(5, votes), side=side))
    quality = found.goodness
    assert quality.votes + quality.left_out == len(votes)
    assert found.calibration.votes.sum() == quality.votes
    assert (found.calibration.lower <= found.calibration.observed + 1e-12).all()
    assert (found.calibration.upper >= found.calibration.observed - 1e-12).all()
    assert quality.deviance >= 0 and not quality.spin < 0
    assert np.isfinite(found.surprises.residual).all()


@EVERY_METHOD
@pytest.mark.parametrize("n_models", [0, 1, 3])
def test_without_votes_there_are_no_figures(method, n_models):
    found = diagnose(method(counted(n_models, [])))
    assert math.isnan(found.goodness.log_loss) and math.isnan(found.calibration.error)
    assert math.isnan(found.calibration.slope) and math.isnan(found.goodness.spin)
    assert not found.calibration.votes.size and not found.surprises.pairs
    assert found.win_rates.votes.shape == (n_models, n_models)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"level": 1.0}, "between 0 and 1"),
        ({"level": math.nan}, "between 0 and 1"),
        ({"bins": 0}, "at least 1 bin"),
        ({"most": -1}, "most surprising"),
    ],
)
def test_options_out_of_range_are_refused(options, problem):
    with pytest.raises(BadParameter, match=problem):
        diagnose(bradley_terry.fit(board()), **options)
