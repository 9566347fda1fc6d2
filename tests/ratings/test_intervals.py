from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.special import expit, logit, ndtri
from scipy.stats import gamma

from ratings import bradley_terry, graded, intervals
from ratings.comparisons import Outcome, PairCounts
from ratings.errors import BadParameter
from ratings.intervals import MIN_CLUSTERS, Ballots, bootstrap, sandwich
from ratings.likelihood import GRADED, RAO_KUPPER
from ratings.ranking import rank
from tests.ratings.rating_helpers import (
    LIKELIHOODS,
    LOCAL,
    TIE,
    WIN,
    chances,
    counted,
    drawn,
    fit_of,
    random_counts,
    rated,
)

TAIL = 0.025
EVEN = [(0, 1, WIN), (1, 0, WIN)] * 10
EACH = pytest.mark.parametrize("name", LIKELIHOODS)


# --- coverage -----------------------------------------------------------------------------------


def coverage(name, theta, votes, rounds, p=None):
    """How often each model's 95 % interval holds its true strength, by the model [M].

    Where a round opens a model's tier, the others are centred without it, and so is the truth.
    """
    likelihood, rng, held = LIKELIHOODS[name], np.random.default_rng(20261122), np.zeros(len(theta))
    p = chances(likelihood, theta, LOCAL[name]) if p is None else p
    for _ in range(rounds):
        found = fit_of(likelihood, drawn(rng, likelihood, p, votes))
        core = found.connectivity.core[found.connectivity.tier]
        truth, intervals = theta - theta[core].mean(), sandwich(found)
        held += (intervals.lower <= truth) & (truth <= intervals.upper)
    return held / rounds


@pytest.mark.parametrize("name", ["bt", "rao_kupper", "graded"])
def test_ordinary_models_are_covered_as_often_as_the_level_says(name):
    theta = np.random.default_rng(0).normal(0, 0.7, 12)
    covered = coverage(name, theta, np.triu(np.full((12, 12), 20.0), 1), 200)
    assert 0.93 <= covered.mean() <= 0.97


@pytest.mark.parametrize("name", ["bt", "graded"])
def test_new_models_beside_a_large_log_are_covered_as_often_as_the_level_says(name):
    """Average, strong and weak ones that met ten others, beside two million votes."""
    new_votes, leads = np.array([10.0, 30.0, 100.0]), np.array([0.0, 1.0, -1.0])
    crowd, new = 10, list(product(new_votes, leads))
    theta = np.concatenate([np.linspace(-1, 1, crowd), [lead for _, lead in new]])
    votes = np.zeros((len(theta), len(theta)))
    votes[:crowd, :crowd] = np.triu(np.full((crowd, crowd), 45_000.0), 1)
    votes[:crowd, crowd:] = np.array([n for n, _ in new]) / crowd
    covered = coverage(name, theta, votes, 1500)[crowd:].reshape(3, 3)
    assert ((covered.mean(axis=1) >= 0.93) & (covered.mean(axis=1) <= 0.97)).all()
    assert ((covered >= 0.92) & (covered <= 0.98)).all()  # each alone: ± 0.6 % by chance


def test_models_with_many_ties_are_covered_as_often_as_the_level_says():
    theta = np.zeros(8)  # only among equals are ties as half wins a true model
    shares = np.array([0.3, 0.4, 0.3])
    votes, rng, held = np.triu(np.full((8, 8), 20), 1), np.random.default_rng(1), 0.0
    for _ in range(400):
        counts = PairCounts(8)
        counts.winner_only[:] = np.moveaxis(rng.multinomial(votes, shares), -1, 0)
        found = sandwich(bradley_terry.fit(counts))
        held += ((found.lower <= theta) & (theta <= found.upper)).mean()
    assert 0.93 <= held / 400 <= 0.97


def test_thresholds_and_side_are_covered_as_often_as_the_level_says():
    theta, rng, held = np.linspace(-1, 1, 5), np.random.default_rng(2), np.zeros(3)
    p = chances(GRADED, theta, LOCAL["graded"], side=0.2)
    for _ in range(300):
        found = graded.fit(drawn(rng, GRADED, p, 10 * (1 - np.eye(5))), side=True)
        intervals = sandwich(found)
        z = (np.append(found.local, found.side) - [*LOCAL["graded"], 0.2]) / np.append(
            intervals.local_se, intervals.side_se
        )
        held += np.abs(z) < 1.96
    assert ((held / 300 > 0.92) & (held / 300 < 0.98)).all()


def test_the_sandwich_covers_where_the_model_is_wrong_and_its_own_variance_does_not():
    """Ties among equals that are half wins to Bradley-Terry: it expects far more noise."""
    counts = counted(2, [(0, 1, TIE)] * 60 + [(0, 1, WIN)] * 20 + [(1, 0, WIN)] * 20)
    scores = np.repeat([1.0, 0.5, 0.0], [20, 60, 20])
    of_difference = scores.std() / np.sqrt(100) / 0.25
    assert sandwich(bradley_terry.fit(counts)).se == pytest.approx(of_difference / 2, rel=1e-9)


# --- bounds -------------------------------------------------------------------------------------


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


def test_an_undefeated_model_owes_a_part_of_its_wins_to_its_side():
    """Half of the core's votes are won by side A: it gains, and so the newcomer, always A, did."""
    core = [(0, 1, WIN)] * 30 + [(1, 0, WIN)] * 30 + [(0, 1, Outcome.b_won)] * 10
    core += [(1, 0, Outcome.b_won)] * 10
    counts = counted(3, [*core, *[(2, 0, WIN)] * 5])
    found = bradley_terry.fit(counts, side=True)
    assert found.side == pytest.approx(np.log(3))
    virtual_tie = logit(5.5 / 6)
    assert found.theta[2] - found.theta[0] == pytest.approx(virtual_tie - np.log(3))
    closed = logit(TAIL ** (1 / 5)) - np.log(3)
    assert sandwich(found).lower[2] - found.theta[0] == pytest.approx(closed)
    assert bradley_terry.fit(counts).theta[2] == pytest.approx(virtual_tie)


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


# --- few votes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("votes", [24, 26])
def test_few_graded_votes_have_the_likelihoods_own_variance_and_many_their_scores(votes):
    """A newcomer among equals: half of its votes are slight wins, half slight losses."""
    core = [(a, b, o) for a in range(4) for b in range(4) if a != b for o in range(5)] * 400
    half = [Outcome.a_better, Outcome.b_better] * (votes // 2)
    found = graded.fit(counted(5, [*core, *[(4, i // 2 % 4, o) for i, o in enumerate(half)]]))
    d = np.array([found.theta[4] - found.theta[0]])
    slight = np.zeros((8, 1))
    slight[[Outcome.a_better, Outcome.b_better]] = votes / 2
    information = found.likelihood.slopes(d, found.local, found.likelihood.told(slight)).d_d[0]
    squares = (slight * found.likelihood.scores(d, found.local)[0] ** 2).sum()
    own, seen = 1 / information, squares / information**2
    assert abs(own - seen) > 0.3 * own
    # its distance from the crowd's mean, four fifths of which is its strength in the common gauge
    expected = np.sqrt(own if votes < 25 else seen) * 4 / 5
    assert sandwich(found).se[4] == pytest.approx(expected, rel=0.01)


def se_of_difference(intervals, i, j):
    covariance = intervals.covariance[np.ix_([i, j], [i, j])]
    return np.sqrt(covariance.trace() - covariance.sum() + covariance.trace())


def both_ways(a, b):
    return [(a, b, WIN)] * 160 + [(b, a, WIN)] * 100


def test_a_single_tie_between_two_halves_of_a_board_does_not_make_their_distance_certain():
    """Neither of the two that tied has only ties, but their tie is all that joins the halves."""
    votes = [*both_ways(0, 1), *both_ways(2, 3), (1, 2, TIE)]
    found = rated(counted(4, votes))
    assert se_of_difference(found.intervals, 1, 2) == pytest.approx(2, rel=1e-6)  # 1 / √¼
    assert found.ranks.rank.tolist() == [1, 2, 1, 2]
    ballots = Ballots(*np.array(votes).T, np.arange(len(votes)) % 50)
    by_voter = sandwich(found.fit, ballots=ballots)
    assert se_of_difference(by_voter, 1, 2) == pytest.approx(2, rel=1e-6)


def test_ties_between_halves_that_also_won_against_each_other_keep_their_scores():
    votes = [*both_ways(0, 1), *both_ways(2, 3), *[(1, 2, TIE)] * 50, (0, 3, WIN), (3, 0, WIN)]
    found = rated(counted(4, votes))
    assert se_of_difference(found.intervals, 1, 2) < 0.15  # with the likelihood's variance: 0.28


def test_a_chain_of_slight_wins_is_not_taken_for_certainty():
    found = graded.fit(counted(4, [(i, i + 1, Outcome.a_better) for i in range(3)] * 30))
    intervals = sandwich(found)
    assert min(se_of_difference(intervals, i, i + 1) for i in range(3)) > 1


def test_a_judge_who_always_slightly_prefers_side_a_proves_no_two_models_equal():
    votes = [(0, 1, Outcome.a_better)] * 32 + [(1, 0, Outcome.a_better)] * 28
    found = graded.fit(counted(2, votes), side=True)
    assert found.side > 1
    assert found.theta == pytest.approx([0, 0], abs=1e-9)
    assert se_of_difference(sandwich(found), 0, 1) > 0.2


# --- voters -------------------------------------------------------------------------------------


def ballots_of(counts, voter=None, times=1):
    """Every vote as a ballot, of a voter of its own or given; all of them `times` over."""
    groups = [counts] if isinstance(counts, PairCounts) else counts
    columns = [
        np.repeat(
            [
                *np.argwhere(group.counts),
            ],
            group.counts[group.counts > 0],
            axis=0,
        )
        for group in groups
    ]
    group = np.repeat(np.arange(len(groups)), [len(part) for part in columns])
    outcome, a, b = np.concatenate(columns).T
    voter = np.arange(len(a)) if voter is None else voter(len(a))
    return Ballots(*(np.tile(one, times) for one in (a, b, outcome, voter, group)))


def copied(counts, times):
    copy = PairCounts(counts.n_models)
    copy.counts[:] = times * counts.counts
    return copy


def boards(name, n_groups):
    rng = np.random.default_rng(0)
    return [random_counts(rng, LIKELIHOODS[name], n_votes=400) for _ in range(n_groups)]


@EACH
@pytest.mark.parametrize(("side", "n_groups"), [(False, 1), (True, 1), (False, 2), (True, 2)])
@pytest.mark.parametrize("unknown", [False, True])
def test_voters_of_one_vote_each_are_the_plain_sandwich(name, side, n_groups, unknown):
    groups = boards(name, n_groups)
    ballots = ballots_of(groups, (lambda n: np.full(n, -1)) if unknown else None)
    found = fit_of(LIKELIHOODS[name], groups, side=side)
    plain, clustered = sandwich(found), sandwich(found, ballots=ballots)
    n = len(ballots.voter)
    assert clustered.covariance == pytest.approx(
        plain.covariance * n / (n - 1), rel=1e-9, abs=1e-14
    )
    assert clustered.local_se == pytest.approx(plain.local_se * np.sqrt(n / (n - 1)))
    if side:
        assert clustered.side_se == pytest.approx(plain.side_se * np.sqrt(n / (n - 1)))


@pytest.mark.parametrize("name", ["bt", "davidson", "graded"])
@pytest.mark.parametrize("side", [False, True])
def test_voters_who_say_everything_several_times_add_nothing(name, side):
    (counts,) = boards(name, 1)
    once = sandwich(fit_of(LIKELIHOODS[name], counts, side=side), ballots=ballots_of(counts))
    often = fit_of(LIKELIHOODS[name], copied(counts, 5), side=side)
    ballots = ballots_of(counts, times=5)
    assert sandwich(often, ballots=ballots).covariance == pytest.approx(once.covariance, abs=1e-9)
    assert sandwich(often).se == pytest.approx(once.se / np.sqrt(5), rel=0.01)


def test_voters_who_do_not_differ_change_the_interval_by_chance_only():
    (counts,) = boards("graded", 1)
    found, rng = graded.fit(counts), np.random.default_rng(1)
    plain = sandwich(found).se
    by_voter = [
        sandwich(found, ballots=ballots_of(counts, lambda n: rng.integers(0, 100, n))).se
        for _ in range(30)
    ]
    assert np.mean(by_voter, axis=0) == pytest.approx(plain, rel=0.05)


def test_fewer_than_ten_voters_are_refused_and_ten_are_not():
    (counts,) = boards("bt", 1)
    found = bradley_terry.fit(counts)
    for voters in (1, MIN_CLUSTERS - 1):
        ballots = ballots_of(counts, lambda n, voters=voters: np.arange(n) % voters)
        with pytest.raises(BadParameter, match=f"{voters} voters are too few"):
            sandwich(found, ballots=ballots)
    sandwich(found, ballots=ballots_of(counts, lambda n: np.arange(n) % MIN_CLUSTERS))


def test_a_model_with_a_single_voter_is_not_taken_for_certain():
    """The scores of all votes on a model sum to nothing, so one voter's sum tells nothing."""
    crowd = [(a, b, WIN) for a in range(3) for b in range(3) if a != b] * 20
    new = [(3, 0, WIN), (0, 3, WIN), (3, 1, WIN), (1, 3, WIN)] * 3
    votes = np.array([*crowd, *new])
    voter = np.append(np.arange(len(crowd)) % 30, np.full(len(new), 99))
    found = bradley_terry.fit(counted(4, votes))
    clustered = sandwich(found, ballots=Ballots(*votes.T, voter))
    assert clustered.se[3] == pytest.approx(sandwich(found).se[3], rel=0.05)


def test_a_few_ties_are_not_taken_for_certainty_by_voter_either():
    crowd = [(a, b, WIN) for a in range(3) for b in range(3) if a != b] * 20
    votes = np.array([*crowd, (3, 0, TIE), (3, 1, TIE), (3, 2, TIE)])
    found = bradley_terry.fit(counted(4, votes))
    ballots = Ballots(*votes.T, np.arange(len(votes)) % 40)
    assert sandwich(found, ballots=ballots).se[3] == pytest.approx(sandwich(found).se[3], rel=0.05)


def test_ballots_between_tiers_have_no_say():
    votes = np.array([*EVEN, *[(2, 0, WIN)] * 20])
    found = bradley_terry.fit(counted(3, votes))
    with_them = sandwich(found, ballots=Ballots(*votes.T, np.arange(40)))
    without = sandwich(found, ballots=Ballots(*votes[:20].T, np.arange(20)))
    assert with_them.se == pytest.approx(without.se)


def test_ballots_must_fit_the_fit():
    groups = boards("graded", 2)
    ballots = ballots_of(groups)
    found = graded.fit(groups)
    lost = Ballots(ballots.model_a, ballots.model_b, ballots.outcome, ballots.voter)
    with pytest.raises(BadParameter, match="groups"):
        sandwich(found, ballots=lost)
    heavy = PairCounts(5, weighted=True)
    heavy.add(lost.model_a, lost.model_b, lost.outcome)
    with pytest.raises(BadParameter, match="weights"):
        sandwich(bradley_terry.fit(heavy), ballots=lost)


# --- weights ------------------------------------------------------------------------------------


def weighted_board(name, weight):
    """The votes of a board with their weights, as counts and as ballots."""
    (plain,) = boards(name, 1)
    ballots = ballots_of(plain)
    counts = PairCounts(5, weighted=True)
    weights = weight(len(ballots.voter))
    counts.add(ballots.model_a, ballots.model_b, ballots.outcome, weights)
    own = Ballots(ballots.model_a, ballots.model_b, ballots.outcome, ballots.voter, weight=weights)
    return plain, counts, own


@EACH
def test_a_weight_of_two_moves_like_two_votes_and_is_as_sure_as_one(name):
    plain, heavy, _ = weighted_board(name, lambda n: np.full(n, 2.0))
    one, two = (fit_of(LIKELIHOODS[name], c) for c in (plain, heavy))
    twice = fit_of(LIKELIHOODS[name], copied(plain, 2))
    assert two.theta == pytest.approx(twice.theta, abs=1e-9)
    assert two.local == pytest.approx(twice.local, abs=1e-9)
    assert sandwich(two).se == pytest.approx(sandwich(one).se)
    assert sandwich(twice).se == pytest.approx(sandwich(one).se / np.sqrt(2))


@EACH
def test_a_weight_of_zero_is_no_vote(name):
    _, heavy, ballots = weighted_board(name, lambda n: (np.arange(n) % 3 > 0).astype(float))
    kept = ballots.weight > 0
    counts = PairCounts(5)
    counts.add(ballots.model_a[kept], ballots.model_b[kept], ballots.outcome[kept])
    one, other = fit_of(LIKELIHOODS[name], heavy), fit_of(LIKELIHOODS[name], counts)
    assert one.theta == pytest.approx(other.theta, abs=1e-9)
    assert sandwich(one).se == pytest.approx(sandwich(other).se)


def test_weighted_ballots_of_single_votes_are_the_weighted_sandwich():
    rng = np.random.default_rng(3)
    _, heavy, ballots = weighted_board("graded", lambda n: rng.exponential(size=n))
    found, n = graded.fit(heavy), len(ballots.voter)
    plain, clustered = sandwich(found), sandwich(found, ballots=ballots)
    assert clustered.se == pytest.approx(plain.se * np.sqrt(n / (n - 1)))


def test_inverse_propensity_finds_what_fair_sampling_would_have_found():
    """Where no strengths explain all pairs, those that were sampled more often have more say."""
    rng, m = np.random.default_rng(4), 5
    p = np.array([[0.5, 0.9, 0.6, 0.3, 0.8], [0, 0.5, 0.8, 0.6, 0.4], [0, 0, 0.5, 0.9, 0.6],
                  [0, 0, 0, 0.5, 0.7], [0, 0, 0, 0, 0.5]])  # fmt: skip
    upper = np.triu_indices(m, 1)
    population = PairCounts(m, weighted=True)
    population.counts[WIN][upper], population.counts[7][upper] = p[upper], 1 - p[upper]
    fair = bradley_terry.fit(population).theta
    propensity = rng.dirichlet(np.full(10, 0.7)) * 0.9 + 0.01
    pair = rng.choice(10, 100_000, p=propensity)
    won = rng.random(100_000) < p[upper][pair]
    columns = upper[0][pair], upper[1][pair], np.where(won, WIN, Outcome.b_won)
    biased, weighted = PairCounts(m), PairCounts(m, weighted=True)
    biased.add(*columns)
    weighted.add(*columns, 0.1 / propensity[pair])
    found = bradley_terry.fit(weighted)
    assert np.abs(bradley_terry.fit(biased).theta - fair).max() > 0.1
    assert (np.abs(found.theta - fair) < 3 * sandwich(found).se).all()
    assert sandwich(found).se.max() < 0.03


def test_one_heavy_vote_is_one_vote_at_the_open_end_and_in_the_sign_test():
    heavy = PairCounts(2, weighted=True)
    heavy.add([0], [1], [WIN], [100.0])
    found, one = bradley_terry.fit(heavy), rated(counted(2, [(0, 1, WIN)]))
    intervals = sandwich(found)
    assert found.theta == pytest.approx(one.theta)
    assert intervals.lower == pytest.approx(one.intervals.lower)
    assert rank(found, intervals).rank.tolist() == [1, 1]


@EACH
def test_weights_count_against_each_other_only(name):
    """A thousandfold of all weights changes nothing: open ends and absent grades included."""
    likelihood, rng = LIKELIHOODS[name], np.random.default_rng(9)
    outcomes = [Outcome.a_much_better, Outcome.b_much_better]
    columns = rng.integers(0, 4, 60), np.full(60, 4), rng.choice(outcomes, 60)
    extra = np.array([(5, 4, Outcome.a_much_better)] * 3).T
    a, b, outcome = (np.append(one, other) for one, other in zip(columns, extra, strict=True))
    weight, found = rng.exponential(size=63), []
    for scale in (1.0, 1000.0):
        counts = PairCounts(6, weighted=True)
        counts.add(a, b, outcome, scale * weight)
        found.append(fit_of(likelihood, counts))
    light, heavy = found
    assert heavy.converged == light.converged
    assert heavy.theta == pytest.approx(light.theta, abs=1e-7)
    assert heavy.local == pytest.approx(light.local, abs=1e-7)
    assert sandwich(heavy).lower == pytest.approx(sandwich(light).lower, abs=1e-6)
    assert sandwich(heavy).upper == pytest.approx(sandwich(light).upper, abs=1e-6)


# --- bootstrap ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bt", "rao_kupper", "graded"])
@pytest.mark.parametrize("side", [False, True])
def test_the_bootstrap_agrees_with_the_sandwich_on_ordinary_logs(name, side):
    theta, likelihood = np.linspace(-1, 1, 6), LIKELIHOODS[name]
    p = chances(likelihood, theta, LOCAL[name], side=0.1)
    counts = drawn(np.random.default_rng(0), likelihood, p, 60 * (1 - np.eye(6)))
    found = fit_of(likelihood, counts, side=side)
    plain, drawn_anew = sandwich(found), bootstrap(found, np.random.default_rng(1), rounds=1200)
    assert drawn_anew.se == pytest.approx(plain.se, rel=0.08)
    assert drawn_anew.local_se == pytest.approx(plain.local_se, rel=0.08)
    # 1,200 draws find a 2.5 % point to 0.08 standard errors, and the worst of twelve to 0.2
    assert drawn_anew.lower == pytest.approx(plain.lower, abs=0.3 * plain.se.max())
    assert drawn_anew.upper == pytest.approx(plain.upper, abs=0.3 * plain.se.max())
    if side:
        assert drawn_anew.side_se == pytest.approx(plain.side_se, rel=0.08)


def test_the_percentiles_cover_as_often_as_the_level_says():
    theta, rng, held = np.linspace(-1, 1, 5), np.random.default_rng(6), 0.0
    p = chances(RAO_KUPPER, theta, LOCAL["rao_kupper"])
    for _ in range(80):
        found = bradley_terry.rao_kupper(drawn(rng, RAO_KUPPER, p, np.triu(np.full((5, 5), 60), 1)))
        intervals = bootstrap(found, rng, rounds=120)
        held += ((intervals.lower <= theta) & (theta <= intervals.upper)).mean()
    assert 0.91 <= held / 80 <= 0.98


def test_the_same_randomness_makes_the_same_interval():
    found = bradley_terry.fit(counted(3, [*EVEN, (0, 2, WIN), (2, 1, WIN), (2, 0, WIN)]))
    one, same, other = (
        bootstrap(found, np.random.default_rng(seed), rounds=20) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.lower, same.lower)
    assert np.array_equal(one.covariance, same.covariance)
    assert not np.array_equal(one.lower, other.lower)


@pytest.mark.parametrize("name", ["bt", "rao_kupper", "graded"])
@pytest.mark.parametrize("side", [False, True])
def test_the_bootstrap_of_a_handful_of_votes_is_wide_and_finite(name, side):
    votes = [
        *[(0, 1, WIN), (1, 0, TIE), (1, 2, WIN), (2, 1, WIN), (2, 0, WIN), (0, 2, WIN)],
        *[(0, 2, Outcome.b_won), (1, 0, Outcome.b_won), (2, 1, TIE)],
    ]
    found = fit_of(LIKELIHOODS[name], counted(3, votes), side=side)
    assert (found.side is not None) == side
    intervals = bootstrap(found, np.random.default_rng(0), rounds=150)
    assert np.isfinite([intervals.lower, intervals.upper]).all()
    assert (intervals.upper - intervals.lower > 0.5).all()
    assert (intervals.lower <= found.theta).all() and (intervals.upper >= found.theta).all()
    assert not side or intervals.side_se > 0.1


def test_a_tier_above_the_core_stays_in_its_place_when_votes_are_drawn_anew():
    core = [(i, j, WIN) for i in range(3) for j in range(3) if i != j] * 10
    pair = [(3, 4, TIE), (3, 4, WIN), (4, 3, WIN)] * 20
    found = bradley_terry.fit(counted(5, [*core, *pair, *[(3, 0, WIN)] * 6]))
    plain, drawn_anew = sandwich(found), bootstrap(found, np.random.default_rng(0), rounds=600)
    assert drawn_anew.lower == pytest.approx(plain.lower, abs=0.1)
    assert drawn_anew.upper[:3] == pytest.approx(plain.upper[:3], abs=0.1)
    assert (drawn_anew.upper[3:] == np.inf).all()


class Normal:
    """Gives these instead of normal variates, the same for all shapes."""

    def __init__(self, value):
        self.value = value

    def standard_normal(self, size):
        return np.full(size, self.value)

    def standard_gamma(self, shapes):
        return np.full(len(shapes), -1.0)


def test_large_gamma_variates_are_cubes_of_normal_ones_and_as_good():
    shapes = np.array([[0.0, 0.5, 15.9], [16.0, 16.5, 1000.0]])
    draw = intervals._gammas(shapes)
    assert draw(Normal(0.0))[0].tolist() == [0.0, -1.0, -1.0]
    for tail in (0.025, 0.5, 0.975):
        ends = draw(Normal(ndtri(tail)))[1]
        assert np.abs(ends - gamma(shapes[1]).ppf(tail)).max() < 0.002 * np.sqrt(shapes[1]).min()
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    drawn = np.array([draw(Normal(node))[1] for node in nodes])
    mean = weights @ drawn / weights.sum()
    variance = weights @ (drawn - mean) ** 2 / weights.sum()
    np.testing.assert_allclose(mean, shapes[1], rtol=1e-6)
    np.testing.assert_allclose(variance, shapes[1], rtol=2e-5)


@EACH
def test_a_round_ends_where_a_whole_fit_would(name, monkeypatch):
    """Also where most votes are of few pairs, and steps by one information shrink slowly."""
    counts = PairCounts(12)
    rng = np.random.default_rng(5)
    rare = 1 / np.arange(1, 13) ** 2
    a, b = (rng.choice(12, 3000, p=rare / rare.sum()) for _ in range(2))
    counts.add(a[a != b], b[a != b], rng.integers(0, 5, (a != b).sum()))
    fitted = fit_of(LIKELIHOODS[name], counts)
    near = intervals._resampled(fitted, np.random.default_rng(1), 40)
    monkeypatch.setattr(intervals, "_near", lambda *_: None)
    whole = intervals._resampled(fitted, np.random.default_rng(1), 40)
    assert (np.abs(near - whole) / whole.std(axis=0)).max() < 0.05


def test_the_bootstrap_refuses_weights_and_less_than_two_rounds():
    _, heavy, _ = weighted_board("bt", np.ones)
    with pytest.raises(BadParameter, match="weighted votes cannot be drawn"):
        bootstrap(bradley_terry.fit(heavy), np.random.default_rng(0))
    with pytest.raises(BadParameter, match="at least 2 rounds, not 1"):
        bootstrap(rated(counted(2, EVEN)).fit, np.random.default_rng(0), rounds=1)
