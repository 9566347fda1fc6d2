"""The engine that every model shares: maxima, invariances, what has no maximum, side A."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from ratings import bradley_terry, graded
from ratings.comparisons import MIRROR, Outcome, PairCounts
from ratings.errors import BadParameter
from ratings.fitting import Start, fit
from ratings.intervals import sandwich
from ratings.likelihood import GRADED, RAO_KUPPER
from ratings.names import count_names
from ratings.pairs import pairs_of
from tests.ratings.rating_helpers import (
    DATA,
    LIKELIHOODS,
    LOCAL,
    ONE_MAXIMUM,
    TIE,
    WIN,
    answers,
    chances,
    counted,
    drawn,
    fit_of,
    random_counts,
)

EACH = pytest.mark.parametrize("name", LIKELIHOODS)
EACH_CONCAVE = pytest.mark.parametrize("name", ONE_MAXIMUM)
QUICK = settings(deadline=None, max_examples=40, derandomize=True)
VOTE = st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(Outcome)).filter(
    lambda vote: vote[0] != vote[1]
)
LOG = st.lists(VOTE, min_size=1, max_size=12)


def votes_of(counts):
    """Rows (model_a, model_b, outcome, votes or weight) of counts."""
    outcome, a, b = np.nonzero(counts.counts)
    return zip(a, b, outcome, counts.counts[outcome, a, b], strict=True)


def board(name, seed=0, *, weighted=False):
    counts = random_counts(np.random.default_rng(seed), LIKELIHOODS[name])
    if not weighted:
        return counts
    heavy = PairCounts(counts.n_models, weighted=True)
    a, b, outcome, times = map(np.array, zip(*votes_of(counts), strict=True))
    heavy.add(a, b, outcome, times * np.random.default_rng(seed).uniform(0.5, 3, len(a)))
    return heavy


# --- the exact maximum --------------------------------------------------------------------------


def plain_log_likelihood(name, point, groups, *, side):
    """Of every cell as it was counted; the point holds all strengths but the first, side, ν."""
    m, r = groups[0].n_models, len(LOCAL[name])
    theta, beta = np.append(0.0, point[: m - 1]), point[m - 1] if side else 0.0
    by_group = point[m - 1 + side :].reshape(len(groups), r, 1)
    d, likelihood = (theta[:, None] - theta + beta).ravel(), LIKELIHOODS[name]
    return sum(
        likelihood.values(
            d, local, likelihood.told(counts.counts.reshape(8, m * m).astype(float))
        ).sum()
        for counts, local in zip(groups, by_group, strict=True)
    )


@EACH
@pytest.mark.parametrize(
    ("side", "weighted", "n_groups"),
    [(False, False, 1), (True, False, 1), (False, True, 1), (False, False, 2), (True, True, 2)],
)
def test_the_fit_is_the_maximum_that_a_generic_optimiser_finds(name, side, weighted, n_groups):
    groups = [board(name, seed, weighted=weighted) for seed in range(n_groups)]
    found = fit_of(LIKELIHOODS[name], groups, side=side)
    begin = np.concatenate([np.zeros(4 + side), np.tile(LOCAL[name], n_groups)])

    def loss(point):
        with np.errstate(invalid="ignore"):  # thresholds in the wrong order, on a line search
            value = plain_log_likelihood(name, point, groups, side=side)
        return -value if np.isfinite(value) else 1e9

    best = minimize(loss, begin, method="BFGS", options={"gtol": 1e-4})
    theta = found.theta - found.theta[0]
    ours = np.concatenate([theta[1:], [found.side] if side else [], found.local.T.ravel()])
    assert found.converged and not found.held
    assert ours == pytest.approx(best.x, abs=1e-4)  # forward differences of BFGS
    assert found.log_likelihood() >= -best.fun - 1e-9
    assert found.log_likelihood() == pytest.approx(-loss(ours), abs=1e-9)


@EACH
@pytest.mark.parametrize("side", [False, True])
def test_gradient_and_information_are_those_of_the_value(name, side):
    groups = [board(name, seed) for seed in range(2)]
    found = fit_of(LIKELIHOODS[name], groups, side=side)
    problem, step = found.problem(), 1e-5
    point = found.point() + np.random.default_rng(1).normal(0, 0.1, len(found.point()))
    gradient, information = problem.slopes(point)
    shifts = np.eye(len(point)) * step
    value = [(problem.value(point + s) - problem.value(point - s)) / (2 * step) for s in shifts]
    bend = [
        (problem.gradient(point + s) - problem.gradient(point - s)) / (2 * step) for s in shifts
    ]
    # rounding of a value of 500 over 2e-5, and step² of some hundred votes' third derivatives
    assert gradient == pytest.approx(np.array(value), abs=1e-6)
    assert problem.gradient(point) == pytest.approx(gradient, abs=1e-12)
    assert information == pytest.approx(-np.array(bend), abs=1e-6)
    assert np.abs(information[:5].sum(axis=0)).max() < 1e-9  # only differences are told


# --- what must not matter -----------------------------------------------------------------------


def assert_same(one, other, order=slice(None), theta=1, side=1):
    assert one.converged and other.converged
    assert np.abs(one.theta[order] - theta * other.theta).max(initial=0) < 1e-7
    assert np.abs(one.local - other.local).max(initial=0) < 1e-7
    assert (one.side is None) == (other.side is None)
    if one.side is not None and other.side is not None:
        assert one.side == pytest.approx(side * other.side, abs=1e-7)


@EACH
@pytest.mark.parametrize("side", [False, True])
def test_renaming_the_models_renames_the_strengths(name, side):
    counts, order = board(name), [3, 1, 4, 0, 2]
    one = fit_of(LIKELIHOODS[name], counts, side=side)
    assert_same(one, fit_of(LIKELIHOODS[name], counts.selected(order), side=side), order)


@EACH_CONCAVE
@given(LOG, st.permutations(range(4)))
@QUICK
def test_renaming_the_models_of_a_sparse_log_renames_the_strengths(name, log, order):
    counts = counted(4, log)
    one = fit_of(LIKELIHOODS[name], counts)
    assert_same(one, fit_of(LIKELIHOODS[name], counts.selected(order)), list(order))


@EACH
@pytest.mark.parametrize("side", [False, True])
def test_mirrored_outcomes_turn_strengths_and_side_around(name, side):
    counts = board(name)
    mirrored = counted(5, [])
    mirrored.counts[:] = counts.counts[MIRROR]
    one = fit_of(LIKELIHOODS[name], counts, side=side)
    other = fit_of(LIKELIHOODS[name], mirrored, side=side)
    assert_same(one, other, theta=-1, side=-1)


@EACH
@pytest.mark.parametrize("side", [False, True])
def test_showing_every_pair_the_other_way_round_turns_the_side_around_alone(name, side):
    counts = board(name)
    swapped = counted(5, [])
    swapped.counts[:] = counts.counts[MIRROR].transpose(0, 2, 1)
    one = fit_of(LIKELIHOODS[name], counts, side=side)
    assert_same(one, fit_of(LIKELIHOODS[name], swapped, side=side), side=-1)


@EACH_CONCAVE
@given(LOG, st.randoms(use_true_random=False), st.integers(0, 12))
@QUICK
def test_order_and_parts_of_a_log_do_not_matter(name, log, random, cut):
    shuffled = random.sample(log, len(log))
    parts = counted(4, shuffled[:cut])
    if shuffled[cut:]:
        parts.add(*np.array(shuffled[cut:]).T)
    once = fit_of(LIKELIHOODS[name], counted(4, log))
    again = fit_of(LIKELIHOODS[name], parts)
    assert np.array_equal(once.theta, again.theta)
    assert np.array_equal(once.local, again.local)


@EACH
def test_votes_cast_several_times_move_nothing_and_shrink_errors_by_the_root(name):
    counts = board(name)
    many = counted(5, [])
    many.counts[:] = 9 * counts.counts
    one, nine = fit_of(LIKELIHOODS[name], counts), fit_of(LIKELIHOODS[name], many)
    assert_same(one, nine)
    assert sandwich(nine).se == pytest.approx(sandwich(one).se / 3)
    assert sandwich(nine).local_se == pytest.approx(sandwich(one).local_se / 3)


@EACH
@pytest.mark.parametrize("side", [False, True])
def test_the_order_of_groups_orders_their_local_parameters_alone(name, side):
    groups = [board(name, seed) for seed in range(3)]
    one = fit_of(LIKELIHOODS[name], groups, side=side)
    other = fit_of(LIKELIHOODS[name], [groups[2], groups[0], groups[1]], side=side)
    assert_same(replace(one, local=one.local[:, [2, 0, 1]]), other)
    assert sandwich(one).se == pytest.approx(sandwich(other).se)


@EACH
def test_one_group_is_a_plain_fit(name):
    plain, grouped = (fit_of(LIKELIHOODS[name], c) for c in (board(name), [board(name)]))
    assert np.array_equal(plain.theta, grouped.theta)
    assert np.array_equal(plain.local, grouped.local)


@EACH
@pytest.mark.parametrize("shift", [0.0, 40.0])
def test_a_start_changes_nothing_but_the_steps(name, shift):
    counts = board(name)
    cold = fit_of(LIKELIHOODS[name], counts, side=True)
    start = cold.start()
    warm = fit_of(
        LIKELIHOODS[name], counts, side=True, start=replace(start, theta=start.theta + shift)
    )
    assert_same(cold, warm)
    assert warm.steps < cold.steps


@EACH
@pytest.mark.parametrize(
    "start",
    [
        Start(np.full(5, np.nan)),
        Start(np.array([1e3, -1e3, 0, 1e3, -1e3]), 50.0),
        Start(np.zeros(5), 0.0, np.full((3, 1), 7.0)),
        Start(np.zeros(5), 0.0, np.full((1, 1), -1.0)),
        Start(np.zeros(5), float("nan"), np.full((2, 1), np.nan)),
        Start(np.array([0.1, np.nan, 0.0, np.nan, 0.2]), 0.1, np.zeros((1, 4))),
    ],
    ids=["unknown", "hopeless", "more parameters", "impossible", "not a number", "other groups"],
)
def test_a_bad_start_does_no_harm(name, start):
    cold = fit_of(LIKELIHOODS[name], board(name), side=True)
    assert_same(cold, fit_of(LIKELIHOODS[name], board(name), side=True, start=start))


def test_groups_of_different_models_are_refused():
    with pytest.raises(BadParameter, match="same models"):
        graded.fit([PairCounts(2), PairCounts(3)])
    with pytest.raises(BadParameter, match="same models"):
        graded.fit([])


def test_a_fit_that_ran_out_of_steps_has_no_bounds(monkeypatch):
    monkeypatch.setattr("ratings.fitting.MAX_STEPS", 2)
    found = fit_of(GRADED, board("graded"))
    assert not found.converged and found.steps == 2
    intervals = sandwich(found)
    assert (intervals.lower == -np.inf).all() and (intervals.upper == np.inf).all()


# --- votes without a maximum --------------------------------------------------------------------


def consistent_grades():
    """Strengths 4, 2, 0, 0 and thresholds 1 and 3 explain them all, and twice that even better."""
    a_much, a_better = Outcome.a_much_better, Outcome.a_better
    return counted(4, [(0, 1, a_better), (1, 2, a_better), (2, 3, Outcome.tie), (0, 2, a_much)])


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("davidson", counted(3, [(0, 1, WIN), (1, 2, TIE), (2, 0, TIE)])),
        ("rao_kupper", counted(3, [(0, 1, WIN), (1, 2, TIE), (2, 0, TIE)])),
        ("graded", consistent_grades()),
    ],
)
def test_few_votes_that_agree_too_well_are_held_by_half_a_vote_of_every_kind(name, counts):
    found = fit_of(LIKELIHOODS[name], counts)
    assert found.converged and found.held
    assert np.abs(found.theta).max() < 6 and np.abs(found.local).max() < 6
    intervals = sandwich(found)
    assert (intervals.upper - intervals.lower > 2).all()
    assert np.isfinite([intervals.lower, intervals.upper]).all()
    problem = found.problem()
    assert problem.rows.votes.sum() == counts.votes + len(found.likelihood.kinds) / 2
    assert np.abs(problem.gradient(found.point())).max() < 1e-9


def test_one_more_vote_that_disagrees_needs_no_help():
    counts = counted(3, [(0, 1, WIN), (1, 2, TIE), (2, 0, TIE), (1, 0, WIN)])
    assert not fit_of(RAO_KUPPER, counts).held


@pytest.mark.parametrize("name", ["rao_kupper", "graded"])
@pytest.mark.parametrize(
    "votes",
    [
        [(3, 1, 1), (3, 2, 1), (3, 1, 6), (1, 0, 7), (1, 0, 7), (2, 3, 7)],
        [(1, 0, 5), (1, 2, 5), (2, 3, 5), (3, 2, 6), (3, 0, 7), (3, 0, 7)],
        [(1, 2, 5), *[(0, 2, 6)] * 3, (3, 1, 6), (2, 0, 7), (3, 0, 7)],
        [(0, 3, 0), (0, 3, 0), (3, 2, 1), (0, 1, 2), (3, 0, 3), (2, 1, 6)],
        [(0, 1, 0), (2, 3, 0), (2, 3, 0), (3, 0, 0), (2, 0, 1), (3, 2, 1), (2, 0, 5), (3, 1, 6)],
    ],
)
def test_what_grows_until_rounding_hides_its_growth_is_no_maximum(name, votes):
    """At some 20 nats the information of what still grows is lost in that of the rest."""
    found = fit_of(LIKELIHOODS[name], counted(4, votes), side=True)
    assert found.converged
    assert np.abs(found.local).max() < 8 and abs(found.side or 0.0) < 8


@EACH_CONCAVE
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("side", [False, True])
def test_any_small_log_has_a_finite_answer(name, seed, side):
    rng = np.random.default_rng(100 + seed)
    for n_votes in (1, 2, 3, 5, 8, 13):
        for _ in range(4):
            counts = random_counts(rng, LIKELIHOODS[name], n_models=4, n_votes=n_votes)
            found = fit_of(LIKELIHOODS[name], counts, side=side)
            assert found.converged
            assert np.abs(found.theta).max() < 40 and np.abs(found.local).max(initial=0) < 20
            assert np.abs(found.problem().gradient(found.point())).max() < 1e-8
            intervals = sandwich(found)
            assert (intervals.lower <= found.theta).all()
            assert (intervals.upper >= found.theta).all()
            of_tier = np.bincount(found.connectivity.tier)[found.connectivity.tier]
            assert (intervals.se[of_tier > 1] > 0.05).all()  # no votes are never certainty


def test_a_stereotype_of_any_small_log_ends_in_time_and_says_when_it_found_nothing():
    rng = np.random.default_rng(5)
    for n_votes in (1, 2, 4, 8):
        for _ in range(5):
            counts = random_counts(rng, GRADED, n_models=4, n_votes=n_votes)
            found = graded.stereotype(counts, side=bool(rng.integers(2)))
            intervals = sandwich(found)
            assert np.isfinite(found.theta).all()
            assert (intervals.lower <= found.theta).all()
            assert found.converged or (intervals.upper == np.inf).all()


# --- side A -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bt", "rao_kupper", "davidson", "graded", "stereotype"])
def test_the_gain_of_side_a_is_recovered(name):
    likelihood, theta = LIKELIHOODS[name], np.linspace(-1, 1, 8)
    p = chances(likelihood, theta, LOCAL[name], side=0.3)
    votes = 400 * (1 - np.eye(8))
    found = fit_of(likelihood, drawn(np.random.default_rng(3), likelihood, p, votes), side=True)
    intervals = sandwich(found)
    assert 0.005 < intervals.side_se < 0.03
    assert abs(found.side - 0.3) < 3 * intervals.side_se
    assert np.abs(found.local[:, 0] - LOCAL[name] < 3 * intervals.local_se[:, 0]).all()
    assert np.abs(found.theta - theta).max() < 3.5 * intervals.se.max()


@EACH
def test_expected_votes_give_back_the_very_parameters_they_were_made_with(name):
    likelihood, theta = LIKELIHOODS[name], np.linspace(-1, 1, 6)
    counts = PairCounts(6, weighted=True)
    expected = 1000 * chances(likelihood, theta, LOCAL[name], side=0.3) * (1 - np.eye(6))[..., None]
    counts.counts[answers(likelihood)] = np.moveaxis(expected, -1, 0)
    counts.squares[:] = counts.counts
    found = fit_of(likelihood, counts, side=True)
    assert found.side == pytest.approx(0.3, abs=1e-9)
    assert found.theta == pytest.approx(theta, abs=1e-9)
    assert found.local.ravel() == pytest.approx(LOCAL[name], abs=1e-9)


def told_by_rank(n_models, edges):
    """Whether a column of ones is no combination of strengths: linear algebra, without a graph."""
    design = np.zeros((len(edges), n_models + 1))
    for row, (a, b) in enumerate(edges):
        design[row, [a, b, n_models]] = 1, -1, 1
    return np.linalg.matrix_rank(design) > np.linalg.matrix_rank(design[:, :n_models])


EDGES = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda edge: edge[0] != edge[1]),
    min_size=1,
    max_size=7,
)


@given(EDGES)
@settings(deadline=None, max_examples=150, derandomize=True)
def test_a_side_effect_is_told_exactly_where_strengths_cannot_explain_it(edges):
    counts = counted(6, [(a, b, TIE) for a, b in edges])
    found = bradley_terry.fit(counts, side=True)
    assert (found.side is not None) == told_by_rank(6, edges)
    assert (found.side_problem is None) == (found.side is not None)


@pytest.mark.parametrize(
    ("edges", "told"),
    [
        ([(0, 1)], False),
        ([(0, 1), (1, 0)], True),
        ([(0, 1), (1, 2), (2, 0)], True),
        ([(0, 1), (1, 2), (0, 2)], True),
        ([(0, 1), (1, 2), (0, 3), (3, 2)], False),
        ([(0, 1), (1, 2), (2, 3), (3, 0)], True),
        ([(0, 1), (0, 2), (0, 3), (4, 5)], False),
        ([(0, 1), (0, 2), (0, 3), (4, 5), (5, 4)], True),
    ],
)
def test_rounds_and_components_are_asked_alike(edges, told):
    assert told_by_rank(6, edges) == told
    found = graded.fit(counted(6, [(a, b, TIE) for a, b in edges]), side=True)
    assert (found.side is not None) == told


def test_a_judge_that_always_saw_the_same_model_first_cannot_tell_a_side_effect():
    lines = (DATA / "arena_hard_judge_votes.jsonl").read_text(encoding="utf-8").splitlines()
    votes = [json.loads(line) for line in lines]
    meaning = {"model_a": Outcome.a_won, "tie": Outcome.tied, "model_b": Outcome.b_won}
    _, counts = count_names(
        [vote["model_a"] for vote in votes],
        [vote["model_b"] for vote in votes],
        [vote["winner"] for vote in votes],
        meaning,
    )
    for method in (bradley_terry.fit, bradley_terry.rao_kupper, graded.fit):
        found, plain = method(counts, side=True), method(counts)
        assert found.side is None
        assert found.side_problem is not None and "same model" in found.side_problem
        assert np.abs(found.theta - plain.theta).max() < 1e-9
        assert sandwich(found).side_se is None
        assert plain.side_problem is None


@pytest.mark.parametrize("name", ["bt", "rao_kupper", "davidson", "graded"])
def test_a_side_that_always_won_has_no_finite_gain_and_says_so(name):
    counts = counted(2, [(0, 1, WIN), (1, 0, WIN)])
    found = fit_of(LIKELIHOODS[name], counts, side=True)
    assert found.converged
    assert found.side is None
    assert found.side_problem is not None and "no bound" in found.side_problem
    assert found.theta == pytest.approx([0, 0], abs=1e-9)


def test_votes_that_all_went_one_way_are_explained_by_strength():
    found = bradley_terry.fit(counted(2, [(0, 1, WIN)] * 5), side=True)
    assert found.side is None
    assert found.side_problem is not None and "both ways" in found.side_problem


def test_a_side_effect_is_asked_for_with_ordered_pairs():
    """Folded pairs have forgotten who was shown first: every vote then seems to be of one order."""
    counts = counted(2, [(0, 1, TIE), (1, 0, TIE)])
    assert fit(RAO_KUPPER, pairs_of(counts).winners(), side=True).side is None
    assert fit(RAO_KUPPER, pairs_of(counts, ordered=True).winners(), side=True).side is not None
