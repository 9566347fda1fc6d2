from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from ratings import bradley_terry, graded
from ratings.comparisons import Outcome, PairCounts
from ratings.intervals import sandwich
from ratings.likelihood import GRADED, RAO_KUPPER, STEREOTYPE
from ratings.ranking import rank
from tests.ratings.rating_helpers import (
    LOCAL,
    TIE,
    WIN,
    chances,
    counted,
    crowd_counts,
    drawn,
    random_counts,
    reference,
    wildbench_counts,
)

A_MUCH, A_BETTER, TIED, B_BETTER, B_MUCH = list(Outcome)[:5]
CORE = [(a, b, o) for a in range(3) for b in range(3) if a != b for o in list(Outcome)[:5]] * 10
CORE_T1, CORE_T2 = logit(3 / 5), logit(4 / 5)
"""The thresholds of CORE: all five grades are equally frequent among equals."""


@pytest.fixture(scope="module")
def wildbench():
    expected = reference("wildbench_ordinal5")
    return expected, graded.fit(wildbench_counts(expected["models"]))


# --- other implementations ----------------------------------------------------------------------


def test_wildbench_grades_agree_with_the_reference_fit(wildbench):
    expected, found = wildbench
    assert found.converged
    assert found.likelihood is GRADED
    assert np.abs(found.theta - expected["theta_nats"]).max() < 1e-8
    assert found.local.ravel() == pytest.approx(expected["thresholds"], abs=1e-9)
    assert found.log_likelihood() == pytest.approx(expected["loglik"], abs=1e-6)


def test_the_reference_errors_leave_out_the_scores_of_the_thresholds(wildbench):
    """Theirs is A⁻¹ B A⁻¹ of the strengths' own blocks; ours lets thresholds be estimated too."""
    expected, found = wildbench
    problem, m = found.problem(), len(found.theta)
    d = problem.lead(found.theta, 0.0)
    by_d, by_local = found.likelihood.scores(d, found.local)
    votes = problem.rows.votes
    spread = problem.information(
        (votes * by_d**2).sum(axis=0),
        np.einsum("kp,kp,krp->rp", votes, by_d, by_local),
        np.einsum("kp,krp,ksp->rsp", votes, by_local, by_local),
    )
    inverse = np.linalg.inv(problem.grounded(problem.slopes(found.point())[1]))
    own = inverse[:m, :m] @ spread[:m, :m] @ inverse[:m, :m]
    assert np.abs(np.sqrt(own.diagonal()) - expected["se_nats"]).max() < 1e-8
    full = (inverse @ spread @ inverse)[:m, :m]
    ours = sandwich(found)
    assert np.abs(ours.se - np.sqrt(full.diagonal())).max() < 1e-12
    assert 1e-6 < np.abs(ours.se - expected["se_nats"]).max() < 1e-3


def test_the_crowds_votes_agree_with_the_reference_fit_of_rao_kupper():
    expected = reference("llmfao_rao_kupper")
    counts = crowd_counts(expected["models"])
    for found in (bradley_terry.rao_kupper(counts), graded.fit(counts)):
        assert np.abs(found.theta - expected["theta_nats"]).max() < 1e-8
        assert found.local.item() == pytest.approx(expected["log_theta"], abs=1e-9)
        assert found.log_likelihood() == pytest.approx(expected["loglik"], abs=1e-6)


def test_the_crowds_votes_agree_with_the_reference_fit_of_davidson():
    expected = reference("llmfao_davidson")
    found = bradley_terry.davidson(crowd_counts(expected["models"]))
    assert np.abs(found.theta - expected["theta_nats"]).max() < 1e-8
    # the reference counts a tie as 2ν·√(πi·πj), Davidson as ν·√(πi·πj)
    assert np.exp(found.local.item()) == pytest.approx(2 * expected["nu"], abs=1e-9)
    assert found.log_likelihood() == pytest.approx(expected["loglik"], abs=1e-6)


# --- winners without a grade --------------------------------------------------------------------


def test_a_log_of_winners_only_is_rao_and_kuppers_model():
    counts = random_counts(np.random.default_rng(0), RAO_KUPPER)
    assert counts.winner_only.any() and not counts.graded.any()
    found, theirs = graded.fit(counts, side=True), bradley_terry.rao_kupper(counts, side=True)
    assert found.likelihood is RAO_KUPPER
    assert found.likelihood.parameters == ("t1",)
    assert np.array_equal(found.theta, theirs.theta)
    assert np.array_equal(found.local, theirs.local)


def test_rao_and_kupper_only_look_at_the_winner():
    counts = random_counts(np.random.default_rng(0), GRADED)
    winners = PairCounts(5)
    for outcome in Outcome:
        kind = 5 if outcome in (A_MUCH, A_BETTER, WIN) else 6 if outcome in (TIED, TIE) else 7
        winners.counts[kind] += counts.counts[outcome]
    for method in (bradley_terry.fit, bradley_terry.rao_kupper, bradley_terry.davidson):
        one, other = method(counts), method(winners)
        assert np.array_equal(one.theta, other.theta)
        assert sandwich(one).se == pytest.approx(sandwich(other).se)


def test_a_winner_is_neither_grade_but_one_of_them():
    graded_only = counted(3, CORE)
    much, slight, unknown = (
        graded.fit(counted(3, CORE + [(0, 1, outcome)] * 20)) for outcome in (A_MUCH, A_BETTER, WIN)
    )
    assert slight.theta[0] < unknown.theta[0] < much.theta[0]
    assert graded.fit(graded_only).local.ravel() == pytest.approx([CORE_T1, CORE_T2])


def test_half_the_votes_without_grades_still_find_the_same_strengths():
    rng, theta = np.random.default_rng(1), np.linspace(-1, 1, 6)
    votes = drawn(
        rng, GRADED, chances(GRADED, theta, LOCAL["graded"]), 4000 * np.triu(np.ones((6, 6)), 1)
    )
    mixed = PairCounts(6)
    kept = rng.binomial(votes.counts, 0.5)
    mixed.counts[:5] = kept[:5]
    rest = (votes.counts - kept)[:5]
    mixed.counts[5:] = rest[0] + rest[1], rest[2], rest[3] + rest[4]
    whole, half = graded.fit(votes), graded.fit(mixed)
    assert np.abs(half.theta - whole.theta).max() < 0.05
    assert half.local.ravel() == pytest.approx(LOCAL["graded"], abs=0.05)
    assert (sandwich(half).se > sandwich(whole).se).all()
    assert (sandwich(half).se < sandwich(graded.fit(winners_of(votes))).se).all()


def winners_of(counts):
    winners, c = PairCounts(counts.n_models), counts.counts
    winners.counts[5:] = c[0] + c[1], c[2], c[3] + c[4]
    return winners


def test_grades_tell_more_than_winners():
    theta = np.linspace(-1, 1, 6)
    p = chances(GRADED, theta, LOCAL["graded"])
    counts = drawn(np.random.default_rng(2), GRADED, p, 1000 * np.triu(np.ones((6, 6)), 1))
    by_grade, by_winner = (sandwich(graded.fit(c)).se for c in (counts, winners_of(counts)))
    assert (by_winner / by_grade > 1.05).all()


# --- grades that nobody gave --------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        [A_MUCH, A_BETTER, B_BETTER, B_MUCH],
        [A_BETTER, TIED, B_BETTER],
        [A_MUCH, TIED, B_MUCH],
        [TIED],
        [A_MUCH, B_MUCH],
        [A_BETTER, B_BETTER],
    ],
    ids=["no tie", "nobody says much", "nobody says slight", "ties", "all much", "all slight"],
)
def test_a_grade_that_nobody_gave_counts_half_a_vote_between_equals(given):
    found = graded.fit(counted(3, [(a, b, o) for a, b, o in CORE if o in given]))
    n = 60 * len(given)
    seen = [{TIED}, {A_BETTER, B_BETTER}, {A_MUCH, B_MUCH}]
    votes = np.array([60.0 * len(kind & set(given)) or 0.5 for kind in seen])
    below = np.cumsum(votes)[:2] / votes.sum()  # P(|noise| < t) = tanh(t/2), among equals
    assert found.converged
    assert found.theta == pytest.approx([0, 0, 0], abs=1e-9)
    assert found.local.ravel() == pytest.approx(2 * np.arctanh(below), abs=1e-9)
    intervals = sandwich(found)
    assert ((0.3 / np.sqrt(n) < intervals.se) & (intervals.se < 20 / np.sqrt(n))).all()


def test_a_grade_that_nobody_gave_hardly_moves_strengths():
    theta = np.linspace(-0.5, 0.5, 4)
    p = chances(GRADED, theta, [0.4, 15.0])
    counts = drawn(np.random.default_rng(0), GRADED, p, 5000 * np.triu(np.ones((4, 4)), 1))
    assert not counts.counts[A_MUCH].any()
    found, three_way = graded.fit(counts), bradley_terry.rao_kupper(counts)
    assert np.abs(found.theta - three_way.theta).max() < 1e-3
    assert 9 < found.local[1, 0] < 12  # half a vote in 30,000


@pytest.mark.parametrize("outcome", list(Outcome)[:5])
@pytest.mark.parametrize("votes", [1, 2])
def test_one_or_two_votes_have_a_finite_and_modest_answer(outcome, votes):
    found = graded.fit(counted(2, [(0, 1, outcome)] * votes))
    intervals = sandwich(found)
    lead = found.theta[0] - found.theta[1]
    assert found.converged
    assert np.sign(lead) == np.sign(TIED - outcome)
    assert abs(lead) < 4
    assert rank(found, intervals).rank.tolist() == [1, 1]
    assert (intervals.upper - intervals.lower > 2).all()


def test_a_model_that_only_ever_won_slightly_is_finite():
    found = graded.fit(counted(4, [*CORE, *[(3, 0, A_BETTER)] * 4]))
    intervals = sandwich(found)
    assert found.connectivity.n_tiers == 1
    assert CORE_T1 < found.theta[3] - found.theta[0] < CORE_T2
    assert np.isfinite([intervals.lower[3], intervals.upper[3]]).all()


def test_a_model_that_only_ever_won_by_much_is_open_above():
    found = graded.fit(counted(4, [*CORE, *[(3, 0, A_MUCH)] * 4]))
    intervals = sandwich(found)
    assert intervals.upper[3] == np.inf
    at_the_end = expit(intervals.lower[3] - found.theta[0] - found.local[1, 0])
    assert at_the_end**4 == pytest.approx(0.025)
    assert np.abs(found.theta[:3]).max() < 1e-9
    assert found.local.ravel() == pytest.approx([CORE_T1, CORE_T2])


def test_a_model_that_lost_by_much_and_won_by_much_is_finite():
    found = graded.fit(counted(4, [*CORE, (3, 0, A_MUCH), (1, 3, A_MUCH)]))
    assert found.connectivity.n_tiers == 1
    assert found.theta[3] == pytest.approx(0, abs=1e-9)


def test_slight_wins_alone_are_not_taken_for_certainty():
    """Their scores are near 0, because the strength was put in the middle of "slightly better"."""
    one, four = (sandwich(graded.fit(counted(4, [*CORE, *[(3, 0, A_BETTER)] * n]))) for n in (1, 4))
    assert 0.8 < one.se[3] < 2
    assert one.se[3] / four.se[3] == pytest.approx(2, rel=0.05)
    found = graded.fit(counted(4, [*CORE, (3, 0, A_BETTER), (3, 1, A_BETTER), (3, 2, A_BETTER)]))
    assert rank(found, sandwich(found)).rank.tolist() == [1, 1, 1, 1]


def test_slight_wins_alone_are_no_certainty_among_many_either():
    votes = [(3, i % 3, A_BETTER) for i in range(300)]
    found = sandwich(graded.fit(counted(4, [*CORE, *votes])))
    of_one_vote = sandwich(graded.fit(counted(4, [*CORE, votes[0]])))
    assert found.se[3] > of_one_vote.se[3] / np.sqrt(300) / 2


# --- groups of voters ---------------------------------------------------------------------------


def test_groups_have_thresholds_of_their_own_and_strengths_in_common():
    rng, theta = np.random.default_rng(4), np.linspace(-1, 1, 6)
    votes = 2000 * np.triu(np.ones((6, 6)), 1)
    shy, bold = [0.8, 3.0], [0.2, 0.9]
    groups = [drawn(rng, GRADED, chances(GRADED, theta, local), votes) for local in (shy, bold)]
    found, pooled = graded.fit(groups), graded.fit(merged(groups))
    errors = sandwich(found)
    assert found.local.T == pytest.approx(np.array([shy, bold]), abs=0.06)
    assert np.abs(found.local - np.array([shy, bold]).T < 4 * errors.local_se).all()
    assert np.abs(found.theta - theta).max() < 4 * errors.se.max()
    assert np.abs(pooled.theta - theta).max() > 4 * errors.se.max()
    assert errors.local_se.shape == (2, 2)


def merged(groups):
    counts = PairCounts(groups[0].n_models)
    for group in groups:
        counts.counts += group.counts
    return counts


def test_a_group_that_lacks_a_grade_or_all_votes_does_not_spoil_the_others():
    full, slight_only = counted(3, CORE), counted(3, [(0, 1, A_BETTER), (1, 0, A_BETTER)])
    found = graded.fit([full, slight_only, PairCounts(3)])
    assert found.converged
    assert found.local[:, 0] == pytest.approx([CORE_T1, CORE_T2], abs=1e-6)
    equal_shares = 2 * np.arctanh([1 / 3, 2 / 3])  # half a vote of each kind
    assert found.local[:, 2] == pytest.approx(equal_shares)
    assert (np.diff(found.local, axis=0) > 0).all()
    assert np.isfinite(sandwich(found).local_se).all()


def test_an_empty_group_changes_nothing_for_the_models():
    counts = random_counts(np.random.default_rng(0), GRADED)
    one, other = graded.fit(counts), graded.fit([counts, PairCounts(5)])
    assert np.abs(one.theta - other.theta).max() < 1e-9
    assert sandwich(one).se == pytest.approx(sandwich(other).se, abs=1e-9)


def test_a_group_of_winners_only_stands_beside_one_of_grades():
    rng, theta = np.random.default_rng(6), np.linspace(-1, 1, 5)
    votes = 1000 * np.triu(np.ones((5, 5)), 1)
    parts = [drawn(rng, GRADED, chances(GRADED, theta, LOCAL["graded"]), votes) for _ in range(2)]
    found = graded.fit([parts[0], winners_of(parts[1])])
    assert found.likelihood is GRADED
    assert np.abs(found.theta - theta).max() < 0.1
    assert found.local[0] == pytest.approx(LOCAL["graded"][0], abs=0.1)


# --- the stereotype -----------------------------------------------------------------------------


@pytest.mark.parametrize("score", [0.3, 0.8, 1.0])
def test_the_score_of_a_slight_win_is_recovered(score):
    theta = np.linspace(-1.5, 1.5, 8)
    local = [0.2, 0.6, score]
    p = chances(STEREOTYPE, theta, local)
    counts = drawn(np.random.default_rng(8), STEREOTYPE, p, 1000 * np.triu(np.ones((8, 8)), 1))
    found = graded.stereotype(counts)
    se = sandwich(found).local_se[:, 0]
    assert found.converged
    assert (np.abs(found.local[:, 0] - local) < 3 * se).all()
    assert se[2] < 0.05
    assert np.abs(found.theta - theta).max() < 0.2


def test_wildbench_reads_a_slight_win_as_less_than_half_of_a_large_one():
    found = graded.stereotype(wildbench_counts(reference("wildbench_ordinal5")["models"]))
    assert found.converged
    assert 0.35 < found.local[2, 0] < 0.55
