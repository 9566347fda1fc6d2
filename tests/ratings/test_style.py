from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, minimize, root
from scipy.special import expit

from ratings import style
from ratings.comparisons import FloatArray, IntArray, Outcome, PairCounts
from ratings.errors import BadComparisons, BadParameter
from ratings.scale import PER_NAT
from ratings.style import contrast

A_WON, TIED, B_WON = Outcome.a_won, Outcome.tied, Outcome.b_won
SEEDS = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Log:
    """Votes with their covariates."""

    a: IntArray
    b: IntArray
    outcome: IntArray
    x: FloatArray
    n_models: int

    @property
    def score(self) -> FloatArray:
        return (B_WON - self.outcome) / 2

    @property
    def design(self) -> FloatArray:
        """One row per vote, one column per parameter."""
        models = np.eye(self.n_models)
        return np.hstack([models[self.a] - models[self.b], self.x])

    def taken(self, rows) -> Log:
        columns = (self.a[rows], self.b[rows], self.outcome[rows], self.x[rows])
        return Log(*columns, self.n_models)

    def swapped(self) -> Log:
        return Log(self.b, self.a, A_WON + B_WON - self.outcome, -self.x, self.n_models)


def drawn(rng: np.random.Generator, n: int, theta, beta, *, tie_share=0.0, x=None) -> Log:
    """Votes of models at `theta` where style counts `beta`, unless `x` says what style was."""
    m, k = len(theta), len(beta)
    a = rng.integers(0, m, n)
    b = (a + rng.integers(1, m, n)) % m
    if x is None:
        habit = rng.normal(0, 0.5, (m, k))  # a model's style is a bit of its own
        x = habit[a] - habit[b] + rng.normal(0, 1, (n, k))
    won = rng.random(n) < expit(theta[a] - theta[b] + x @ beta)
    outcome = np.where(won, A_WON, B_WON)
    outcome[rng.random(n) < tie_share] = TIED
    return Log(a, b, outcome, x, m)


def centred(theta) -> FloatArray:
    return np.asarray(theta) - np.mean(theta)


def some_log(seed: int = 0, n: int = 600, m: int = 6, k: int = 3) -> Log:
    rng = np.random.default_rng(seed)
    return drawn(rng, n, rng.normal(0, 0.6, m), rng.normal(0, 0.4, k), tie_share=0.2)


def fitted(log: Log, **options) -> style.StyleFit:
    return style.fit(log.a, log.b, log.outcome, log.x, log.n_models, **options)


def votes_of(log: Log) -> style._Votes:
    counts = PairCounts(log.n_models)
    counts.add(log.a, log.b, log.outcome)
    return style._votes(log.a, log.b, log.outcome, log.x, counts)


def loss(log: Log, position: FloatArray) -> float:
    log_odds = log.design @ position
    return float(np.sum(np.logaddexp(0, log_odds) - log.score * log_odds))


def by_scipy(log: Log, ridge: float = 0.0) -> FloatArray:
    """The maximum [M + K] by a generic optimiser; `ridge` on the coefficients."""
    z, m = log.design, log.n_models
    gauge = np.zeros((z.shape[1], z.shape[1]))
    gauge[:m, :m] = 1.0
    gauge += ridge * np.diag(np.arange(z.shape[1]) >= m)

    def value(position):
        return loss(log, position) + 0.5 * position @ gauge @ position

    def slope(position):
        return z.T @ (expit(z @ position) - log.score) + gauge @ position

    near = minimize(value, np.zeros(z.shape[1]), jac=slope, method="BFGS").x
    # values of the loss cannot tell positions apart as finely as its slope can
    found = root(slope, near, tol=1e-14).x
    assert np.abs(slope(found)).max() < 1e-9
    return found


def by_hand(log: Log, position: FloatArray, group: IntArray) -> FloatArray:
    """The sandwich [M + K, M + K], one matrix product at a time."""
    z = log.design
    p = expit(z @ position)
    slopes = z * (log.score - p)[:, None]
    summed = np.stack([slopes[group == g].sum(axis=0) for g in np.unique(group)])
    bread = np.linalg.pinv((z.T * (p * (1 - p))) @ z, rcond=1e-10)
    return bread @ summed.T @ summed @ bread


# --- the maximum ----------------------------------------------------------------------------


@given(SEEDS)
@settings(deadline=None, max_examples=25)
def test_strengths_and_coefficients_are_the_maximum_that_scipy_finds(seed):
    log = some_log(seed)
    found, expected = fitted(log), by_scipy(log)
    assert found.converged
    assert np.abs(found.theta - expected[: log.n_models]).max() * PER_NAT < 1e-6
    assert np.abs(found.coefficients - expected[log.n_models :]).max() < 1e-8


def test_slope_and_curvature_are_derivatives_of_the_log_likelihood():
    log = some_log()
    votes = votes_of(log)
    position = np.random.default_rng(1).normal(size=log.n_models + 3)
    here = style._point(votes, position * votes.reach, 0.0)
    slope = approx_fprime(position, lambda at: -loss(log, at), 1e-7)
    assert here.slope * votes.reach == pytest.approx(slope, abs=1e-3)
    curvature = approx_fprime(
        position, lambda at: -style._point(votes, at * votes.reach, 0.0).slope * votes.reach, 1e-7
    )
    scale = np.outer(votes.reach, votes.reach)
    assert here.curvature * scale == pytest.approx(curvature, abs=1e-3)


def test_strengths_are_centred():
    assert abs(fitted(some_log()).theta.sum()) < 1e-12


@given(SEEDS)
@settings(deadline=None, max_examples=10)
def test_swapped_sides_and_signs_leave_everything_as_it_was(seed):
    log = some_log(seed)
    found, swapped = fitted(log), fitted(log.swapped())
    assert swapped.theta == pytest.approx(found.theta, abs=1e-9)
    assert swapped.coefficients == pytest.approx(found.coefficients, abs=1e-9)
    assert swapped.covariance == pytest.approx(found.covariance, abs=1e-9)


def test_the_order_of_votes_does_not_matter():
    log = some_log()
    shuffled = log.taken(np.random.default_rng(1).permutation(len(log.a)))
    assert fitted(shuffled).theta == pytest.approx(fitted(log).theta, abs=1e-10)


def test_without_covariates_it_is_the_plain_fit():
    log = some_log(k=0)
    found = fitted(log)
    assert found.coefficients.shape == (0,)
    assert found.theta == pytest.approx(by_scipy(log), abs=1e-8)


def test_covariates_without_effect_move_strengths_by_far_less_than_their_errors():
    rng = np.random.default_rng(5)
    theta = centred(rng.normal(0, 0.7, 8))
    log = drawn(rng, 20_000, theta, np.zeros(2), x=rng.normal(size=(20_000, 2)))
    plain = fitted(replace(log, x=np.zeros((len(log.a), 0))))
    found = fitted(log)
    assert np.abs(found.theta - plain.theta).max() < 0.05 * plain.se.min()
    assert np.abs(found.coefficients).max() < 4 * found.coefficient_se.max()


def test_a_style_that_voters_like_is_taken_off_the_strength_of_those_who_use_it():
    rng = np.random.default_rng(8)
    habit = np.array([1.0, 0.0, -1.0])
    a = rng.integers(0, 3, 30_000)
    b = (a + rng.integers(1, 3, 30_000)) % 3
    x = (habit[a] - habit[b] + rng.normal(size=30_000))[:, None]
    outcome = np.where(rng.random(30_000) < expit(0.5 * x[:, 0]), A_WON, B_WON)
    found = style.fit(a, b, outcome, x, 3)
    assert np.abs(found.theta).max() < 4 * found.se.max()
    assert np.ptp(style.fit(a, b, outcome, x[:, :0], 3).theta) > 0.7


def test_a_coefficient_is_not_shrunk_as_by_a_ridge_beside_a_mean_loss():
    """arena-rank adds |coefficients|²/2 to a *mean* loss: a ridge of one per vote."""
    rng = np.random.default_rng(3)
    log = drawn(rng, 40_000, rng.normal(0, 0.5, 6), np.array([0.238]))
    shrunk = by_scipy(log, ridge=len(log.a))[-1]
    found = fitted(log)
    assert shrunk < 0.08
    assert abs(found.coefficients[0] - 0.238) < 3 * found.coefficient_se[0] < 0.04


def test_the_unit_of_a_covariate_only_moves_its_coefficient():
    log = some_log()
    found = fitted(log)
    other = fitted(replace(log, x=log.x * [1e6, 1.0, 1e-6]))
    assert other.theta == pytest.approx(found.theta, abs=1e-9)
    assert other.coefficients * [1e6, 1, 1e-6] == pytest.approx(found.coefficients, abs=1e-9)
    assert other.coefficient_se * [1e6, 1, 1e-6] == pytest.approx(found.coefficient_se, abs=1e-9)


def test_single_precision_and_column_order_are_accepted():
    log = some_log()
    single = log.x.astype(np.float32)
    exact = fitted(replace(log, x=single.astype(np.float64)))
    for x in (single, np.asfortranarray(single), np.hstack([single, single])[:, :3]):
        assert fitted(replace(log, x=x)).theta == pytest.approx(exact.theta, abs=1e-12)


def test_grades_count_by_who_won():
    log = some_log()
    graded = log.outcome.copy()
    for of_winner, of_grade in (
        (A_WON, Outcome.a_much_better),
        (TIED, Outcome.tie),
        (B_WON, Outcome.b_better),
    ):
        graded[log.outcome == of_winner] = of_grade
    assert np.array_equal(
        style.fit(log.a, log.b, graded, log.x, log.n_models).theta, fitted(log).theta
    )


def test_a_rare_upset_is_no_obstacle():
    outcome = np.full(5000, A_WON)
    outcome[0] = B_WON
    x = np.random.default_rng(0).normal(size=(5000, 1))
    found = style.fit(np.zeros(5000, int), np.ones(5000, int), outcome, x, 2)
    assert found.converged
    assert found.theta[0] > 4


def test_a_search_that_begins_far_off_comes_back():
    """There the curvature is next to none, and a full step of Newton's method far too long."""
    votes = votes_of(some_log())
    near = style._newton(votes, np.zeros_like(votes.reach))
    far = style._newton(votes, np.append(np.zeros(6), [30.0, 0.0, 0.0]))
    assert far.converged
    assert far.position == pytest.approx(near.position, abs=1e-9)


def test_values_far_outside_the_rest_are_no_obstacle():
    rng = np.random.default_rng(92)
    log = drawn(rng, 40, np.zeros(2), np.array([1.0, -1.0]), x=rng.standard_t(0.7, (40, 2)))
    found = fitted(log)
    position = np.append(found.theta, found.coefficients)
    slope = log.design.T @ (log.score - expit(log.design @ position))
    assert found.converged
    assert np.abs(slope / np.abs(log.design).max(axis=0)).max() < 1e-12


def test_a_model_that_the_first_sample_leaves_out_is_rated_all_the_same(monkeypatch):
    log = some_log(n=4000)
    log.a[[1, 3, 5]], log.b[[1, 3, 5]] = 6, [0, 1, 2]
    log.outcome[[1, 3, 5]] = [A_WON, B_WON, A_WON]
    rare = replace(log, n_models=7)
    cold = fitted(rare)
    monkeypatch.setattr(style, "SAMPLE", 1000)  # every fourth vote
    assert fitted(rare).theta == pytest.approx(cold.theta, abs=1e-9)


def test_where_the_search_begins_does_not_move_the_result(monkeypatch):
    log = some_log(n=4000)
    cold = fitted(log)
    monkeypatch.setattr(style, "SAMPLE", 1000)
    warm = fitted(log)
    assert warm.passes < cold.passes
    assert warm.theta == pytest.approx(cold.theta, abs=1e-10)
    assert warm.covariance == pytest.approx(cold.covariance, abs=1e-10)


@pytest.mark.parametrize("by_voter", [False, True])
def test_the_size_of_chunks_does_not_move_the_result(monkeypatch, by_voter):
    log = some_log()
    voter = np.random.default_rng(1).integers(0, 40, len(log.a)) if by_voter else None
    whole = fitted(log, voter=voter)
    for size in (1, 7, 599, 600, 601):
        monkeypatch.setattr(style, "_CHUNK", size)
        parts = fitted(log, voter=voter)
        assert parts.theta == pytest.approx(whole.theta, abs=1e-12)
        assert parts.covariance == pytest.approx(whole.covariance, abs=1e-12)
        assert parts.coefficient_se == pytest.approx(whole.coefficient_se, abs=1e-12)


def test_a_search_cut_short_says_so(monkeypatch):
    monkeypatch.setattr(style, "MAX_PASSES", 3)
    found = fitted(some_log())
    assert (found.converged, found.passes) == (False, 3)


def test_a_result_is_frozen():
    with pytest.raises(FrozenInstanceError):
        fitted(some_log()).level = 0.5  # type: ignore[misc]


# --- intervals ------------------------------------------------------------------------------


@given(SEEDS)
@settings(deadline=None, max_examples=10)
def test_the_sandwich_is_the_one_made_by_hand(seed):
    log = some_log(seed)
    found = fitted(log)
    exact = by_hand(log, by_scipy(log), np.arange(len(log.a)))
    assert found.covariance == pytest.approx(exact[:6, :6], abs=1e-9)
    assert found.coefficient_covariance == pytest.approx(exact[6:, 6:], abs=1e-9)
    assert found.se == pytest.approx(np.sqrt(exact.diagonal()[:6]))
    assert found.upper - found.theta == pytest.approx(1.959963984540054 * found.se)
    assert found.theta - found.lower == pytest.approx(1.959963984540054 * found.se)


@pytest.mark.parametrize("models", [6, 40])
@pytest.mark.parametrize("voters", [1, 3, 25, 5000])
def test_the_sandwich_of_voters_is_the_one_made_by_hand(models, voters):
    log = some_log(n=2000, m=models)
    voter = np.random.default_rng(1).integers(-voters, voters, len(log.a))
    found = fitted(log, voter=voter)
    exact = by_hand(log, by_scipy(log), voter)
    assert found.covariance == pytest.approx(exact[:models, :models], abs=1e-9)
    assert found.coefficient_covariance == pytest.approx(exact[models:, models:], abs=1e-9)


def test_votes_said_twice_by_one_voter_are_no_news():
    log = some_log()
    twice = log.taken(np.repeat(np.arange(len(log.a)), 2))
    once = fitted(log)
    assert fitted(twice, voter=np.arange(len(twice.a)) // 2).se == pytest.approx(once.se)
    assert fitted(twice).se == pytest.approx(once.se / np.sqrt(2))


def test_a_higher_level_makes_wider_intervals():
    narrow, wide = (fitted(some_log(), level=level) for level in (0.8, 0.99))
    assert (wide.upper - wide.lower > narrow.upper - narrow.lower).all()


def test_strengths_and_coefficients_are_covered_as_often_as_the_level_says():
    rng = np.random.default_rng(20261122)
    theta, beta = centred(rng.normal(0, 0.7, 8)), np.array([0.3, -0.1])
    covered, covered_beta, rounds = np.zeros(8), np.zeros(2), 500
    for _ in range(rounds):
        found = fitted(drawn(rng, 1500, theta, beta))
        covered += (found.lower <= theta) & (theta <= found.upper)
        covered_beta += np.abs(found.coefficients - beta) <= 1.96 * found.coefficient_se
    assert 0.93 <= covered.mean() / rounds <= 0.97
    assert 0.92 <= covered_beta.min() / rounds <= covered_beta.max() / rounds <= 0.98


def test_voters_with_tastes_of_their_own_are_covered_when_they_are_told_apart():
    """Each voter likes some models more than others do, and casts 40 votes."""
    rng = np.random.default_rng(20261122)
    voter = np.repeat(np.arange(100), 40)
    covered = {True: 0.0, False: 0.0}
    for _ in range(150):
        log = drawn(rng, len(voter), np.zeros(4), np.zeros(1))
        taste = rng.normal(0, 0.8, (100, 4))
        won = rng.random(len(voter)) < expit(taste[voter, log.a] - taste[voter, log.b])
        log = replace(log, outcome=np.where(won, A_WON, B_WON))
        for told in covered:
            found = fitted(log, voter=voter if told else None)
            covered[told] += np.mean((found.lower <= 0) & (found.upper >= 0)) / 150
    assert covered[False] < 0.87
    assert 0.92 <= covered[True] <= 0.97


def test_a_model_with_a_few_ties_is_not_taken_for_certain():
    log = some_log()
    with_new = Log(
        a=np.append(log.a, [6, 1]),
        b=np.append(log.b, [0, 6]),
        outcome=np.append(log.outcome, [TIED, TIED]),
        x=np.vstack([log.x, np.zeros((2, 3))]),
        n_models=7,
    )
    assert fitted(with_new).se[6] > 0.8
    assert fitted(with_new, voter=np.arange(602)).se[6] > 0.8


# --- what cannot be rated -------------------------------------------------------------------


def test_a_model_that_won_everything_is_not_rated_and_moves_nobody():
    log = some_log()
    beside = Log(
        a=np.append(log.a, [6] * 9),
        b=np.append(log.b, [0, 1, 2] * 3),
        outcome=np.append(log.outcome, [A_WON] * 9),
        x=np.vstack([log.x, np.ones((9, 3))]),
        n_models=7,
    )
    found, alone = fitted(beside), fitted(log)
    assert np.isnan(found.theta[6]) and np.isnan(found.se[6])
    assert (found.lower[6], found.upper[6]) == (-np.inf, np.inf)
    assert found.theta[:6] == pytest.approx(alone.theta, abs=1e-12)
    assert found.se[:6] == pytest.approx(alone.se, abs=1e-12)
    assert found.coefficients == pytest.approx(alone.coefficients, abs=1e-12)
    by_voter = fitted(beside, voter=np.arange(len(beside.a)))
    assert by_voter.se[:6] == pytest.approx(alone.se, abs=1e-12)


def test_components_are_centred_apart_and_share_the_coefficients():
    one, two = some_log(1), some_log(2)
    both = Log(
        a=np.append(one.a, two.a + 7),
        b=np.append(one.b, two.b + 7),
        outcome=np.append(one.outcome, two.outcome),
        x=np.vstack([one.x, two.x]),
        n_models=13,  # model 6 has no votes
    )
    found = fitted(both)
    assert abs(found.theta[:6].sum()) < 1e-12 and abs(found.theta[7:].sum()) < 1e-12
    assert np.isnan(found.theta[6])
    assert np.abs(found.covariance[:6, :6].sum(axis=1)).max() < 1e-12
    lengths = [log.design[:, 6:] @ found.coefficients for log in (one, two)]
    for log, part, offset in (
        (one, found.theta[:6], lengths[0]),
        (two, found.theta[7:], lengths[1]),
    ):
        residual = log.score - expit(part[log.a] - part[log.b] + offset)
        assert np.abs(np.bincount(log.a, residual) - np.bincount(log.b, residual)).max() < 1e-8


def test_of_two_equal_tiers_neither_is_rated():
    log = some_log()
    beside = Log(
        a=np.append(log.a, [6, 7, 8, 9, 6]),
        b=np.append(log.b, [7, 6, 9, 8, 8]),
        outcome=np.append(log.outcome, [A_WON] * 5),
        x=np.vstack([log.x, np.ones((5, 3))]),
        n_models=10,
    )
    found = fitted(beside)
    assert np.isnan(found.theta[6:]).all()
    assert found.theta[:6] == pytest.approx(fitted(log).theta, abs=1e-12)


@pytest.mark.parametrize(("n", "outcome"), [(0, A_WON), (5, A_WON), (5, B_WON)])
def test_votes_that_all_went_one_way_are_refused(n, outcome):
    with pytest.raises(BadComparisons, match="no two models can be rated"):
        style.fit([0] * n, [1] * n, [outcome] * n, np.zeros((n, 1)), 3)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_covariate_is_refused_by_its_index(value):
    log = some_log()
    log.x[:, 1] = value
    with pytest.raises(BadParameter, match="covariate 1 is constant"):
        fitted(log)


def test_a_covariate_told_by_others_is_refused_by_its_index():
    log = some_log()
    log.x[:, 2] = 2 * log.x[:, 0] - log.x[:, 1]
    single = replace(log, x=log.x.astype(np.float32))
    for collinear in (log, single):
        with pytest.raises(BadParameter, match="covariate 2 has no coefficient of its own"):
            fitted(collinear)


def test_a_covariate_told_by_the_models_is_refused_by_its_index():
    log = some_log()
    size = np.random.default_rng(1).normal(size=log.n_models)
    log.x[:, 0] = size[log.a] - size[log.b]
    with pytest.raises(BadParameter, match="covariate 0 has no coefficient of its own"):
        fitted(log)


def test_a_nearly_collinear_covariate_is_fitted_as_long_as_it_can_be():
    log, other = some_log(), some_log()
    log.x[:, 1] = log.x[:, 0] + 1e-3 * other.x[:, 1]
    assert fitted(log).converged
    log.x[:, 1] = log.x[:, 0] + 1e-5 * other.x[:, 1]
    with pytest.raises(BadParameter, match="covariate 1 has no coefficient of its own"):
        fitted(log)


def test_a_covariate_that_tells_every_winner_is_refused_by_its_index():
    log = some_log()
    won = log.taken(log.outcome != TIED)
    won.x[:, 1] = np.abs(won.x[:, 1]) * np.where(won.outcome == A_WON, 1, -1)
    with pytest.raises(BadParameter, match="covariate 1 has no finite coefficient"):
        fitted(won)


def test_a_covariate_that_is_rare_and_never_lost_is_refused_by_its_index():
    log = some_log()
    log.x[:, 2] = 0.0
    rare = np.flatnonzero(log.outcome == A_WON)[:3]
    log.x[rare, 2] = 1.0
    with pytest.raises(BadParameter, match="covariate 2 has no finite coefficient"):
        fitted(log)


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "row", "words"),
    [
        ({"a": [0, 1, 9]}, 2, "model_a is 9"),
        ({"b": [1, -1, 0]}, 1, "model_b is -1"),
        ({"a": [0, 2, 2]}, 1, "model 2 is compared with itself"),
        ({"outcome": [5, 5, 8]}, 2, "outcome is 8"),
        ({"x": [[0.0], [float("nan")], [1.0]]}, 1, "a covariate is not finite"),
        ({"x": [[0.0], [1.0], [float("-inf")]]}, 2, "a covariate is not finite"),
    ],
)
def test_a_bad_vote_is_refused_with_its_row(change, row, words):
    votes = {"a": [0, 1, 2], "b": [1, 2, 0], "outcome": [5, 5, 5], "x": [[0.0], [0.5], [1.0]]}
    votes |= change
    with pytest.raises(BadComparisons, match=words) as caught:
        style.fit(votes["a"], votes["b"], votes["outcome"], votes["x"], 3)
    assert caught.value.row == row


@pytest.mark.parametrize("x", [[0.0, 1.0], [["0"], ["1"]], [[True], [False]], [[None], [None]]])
def test_covariates_that_are_no_table_of_numbers_are_refused(x):
    with pytest.raises(BadComparisons, match="covariates must be a table of numbers"):
        style.fit([0, 1], [1, 0], [A_WON, A_WON], x, 2)


def test_covariates_of_other_votes_are_refused():
    with pytest.raises(BadComparisons, match="2 votes have 3 rows of covariates"):
        style.fit([0, 1], [1, 0], [A_WON, A_WON], np.ones((3, 1)), 2)


@pytest.mark.parametrize("voter", [[0], [0.0, 1.0], [[0], [1]]])
def test_voters_that_are_no_ids_of_the_votes_are_refused(voter):
    with pytest.raises(BadComparisons, match="voter must be an array of integers"):
        style.fit([0, 1], [1, 0], [A_WON, A_WON], [[1.0], [0.5]], 2, voter=voter)


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5, float("nan")])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(BadParameter, match="between 0 and 1"):
        fitted(some_log(), level=level)


# --- covariates from counts -----------------------------------------------------------------


def test_a_contrast_is_the_share_of_the_difference_over_its_root_mean_square():
    found = contrast([[300, 2], [100, 0]], [[100, 0], [100, 0]])
    assert found.scale == pytest.approx([0.5 / np.sqrt(2), 1 / np.sqrt(2)])
    assert found.values * found.scale == pytest.approx(np.array([[0.5, 1.0], [0.0, 0.0]]))
    assert np.square(found.values).mean(axis=0) == pytest.approx([1.0, 1.0])


def test_swapped_sides_change_the_sign_of_a_contrast():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, (2, 50, 3))
    assert np.array_equal(contrast(a, b).values, -contrast(b, a).values)


def test_unsigned_counts_do_not_wrap_around():
    few, many = np.array([[1], [3]], dtype=np.uint8), np.array([[3], [1]], dtype=np.uint8)
    assert contrast(few, many).values[:, 0].tolist() == [-1.0, 1.0]


def test_a_coefficient_over_the_scale_is_per_unit_of_the_share():
    rng = np.random.default_rng(2)
    a, b = rng.poisson(4, (2, 4000, 1))
    share = (a - b) / np.maximum(a + b, 1)
    log = drawn(rng, 4000, np.zeros(3), np.array([0.9]), x=share)
    covariates = contrast(a, b)
    found = fitted(replace(log, x=covariates.values))
    assert found.coefficients / covariates.scale == pytest.approx(
        fitted(log).coefficients, abs=1e-6
    )


def test_a_contrast_does_not_depend_on_the_size_of_chunks(monkeypatch):
    a, b = np.random.default_rng(0).poisson(4, (2, 50, 3))
    whole = contrast(a, b)
    monkeypatch.setattr(style, "_CHUNK", 7)
    assert np.array_equal(contrast(a, b).values, whole.values)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_a_count_that_is_none_is_refused_with_its_row(monkeypatch, bad):
    monkeypatch.setattr(style, "_CHUNK", 2)
    with pytest.raises(BadComparisons, match="a count of style_b is negative or not finite") as got:
        contrast([[1.0]] * 4, [[2.0], [2.0], [2.0], [bad]])
    assert got.value.row == 3


def test_an_element_that_all_answers_have_alike_is_refused_by_its_index():
    with pytest.raises(BadParameter, match="covariate 1 is constant"):
        contrast([[1, 0], [2, 3]], [[3, 0], [2, 3]])


def test_contrasts_of_different_shapes_are_refused():
    with pytest.raises(BadComparisons, match=r"style_a has the shape \(1, 2\), style_b \(1, 1\)"):
        contrast([[1, 2]], [[1]])
