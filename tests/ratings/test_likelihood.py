from __future__ import annotations

import numpy as np
import pytest

from ratings.comparisons import MIRROR, Outcome
from ratings.likelihood import BRADLEY_TERRY, DAVIDSON, GRADED, RAO_KUPPER, STEREOTYPE
from tests.ratings.rating_helpers import GRADE_MODELS, LIKELIHOODS, LOCAL, answers

EACH = pytest.mark.parametrize("name", LIKELIHOODS)
D = np.array([-6.0, -1.3, -0.2, 0.0, 0.4, 1.1, 5.0])
STEP = 1e-5
"""Of central differences: their error is of the order STEP² = 1e-10 of the third derivative."""


def local_of(name, n_rows=1):
    return np.repeat(np.array(LOCAL[name]).reshape(-1, 1), n_rows, axis=1)


def some_votes(name, seed=0):
    """Votes [8, P] of every outcome, winners only for models that know no grades."""
    votes = np.random.default_rng(seed).uniform(0.5, 4.0, (8, len(D)))
    if LIKELIHOODS[name] not in GRADE_MODELS:
        votes[:5] = 0
    return votes


def onehot(outcome):
    votes = np.zeros((8, len(D)))
    votes[outcome] = 1
    return votes


def probability(name, outcome, d=D):
    votes = np.zeros((8, len(d)))
    votes[outcome] = 1
    return np.exp(LIKELIHOODS[name].values(d, local_of(name), LIKELIHOODS[name].told(votes)))


def differences(function, name):
    """Central differences of function(d, local) by d and by every local parameter."""
    local = local_of(name, len(D))
    yield (function(D + STEP, local) - function(D - STEP, local)) / (2 * STEP)
    for i in range(len(local)):
        shift = np.zeros_like(local)
        shift[i] = STEP
        yield (function(D, local + shift) - function(D, local - shift)) / (2 * STEP)


@EACH
def test_the_slopes_are_those_of_the_log_likelihood(name):
    likelihood, votes = LIKELIHOODS[name], some_votes(name)
    told = likelihood.told(votes)
    found = likelihood.slopes(D, local_of(name, len(D)), told)
    by_d, *by_local = differences(lambda d, v: likelihood.values(d, v, told), name)
    assert found.by_d == pytest.approx(by_d, abs=1e-7)
    assert found.by_local == pytest.approx(np.reshape(by_local, found.by_local.shape), abs=1e-7)


@EACH
def test_the_information_is_minus_the_slope_of_the_slopes(name):
    likelihood, votes = LIKELIHOODS[name], some_votes(name)
    told = likelihood.told(votes)
    found = likelihood.slopes(D, local_of(name, len(D)), told)
    by_d, *by_local = differences(lambda d, v: -likelihood.slopes(d, v, told).by_d, name)
    assert found.d_d == pytest.approx(by_d, abs=1e-7)
    assert found.d_local == pytest.approx(np.reshape(by_local, found.d_local.shape), abs=1e-7)
    if len(LOCAL[name]):
        bends = list(differences(lambda d, v: -likelihood.slopes(d, v, told).by_local, name))
        assert found.d_local == pytest.approx(bends[0], abs=1e-7)
        assert found.local_local == pytest.approx(np.stack(bends[1:], axis=1), abs=1e-7)


def test_the_score_of_a_slight_win_and_the_difference_bend_together():
    """The stereotype multiplies s by d: its observed information has a term of the residuals."""
    surprised, local = onehot(Outcome.b_better), local_of("stereotype")
    observed = STEREOTYPE.slopes(D, local, STEREOTYPE.told(surprised)).d_local[-1]
    assumed = STEREOTYPE.expected(D, local, surprised)[1][-1]
    assert np.abs(observed - assumed).max() > 0.1


@EACH
def test_scores_sum_to_the_slopes(name):
    likelihood, votes = LIKELIHOODS[name], some_votes(name)
    by_d, by_local = likelihood.scores(D, local_of(name))
    found = likelihood.slopes(D, local_of(name), likelihood.told(votes))
    assert (votes * by_d).sum(axis=0) == pytest.approx(found.by_d, abs=1e-12)
    total = (votes[:, None] * by_local).sum(axis=0)
    assert total == pytest.approx(found.by_local, abs=1e-12)


@EACH
def test_expected_scores_are_zero_and_vary_by_the_information(name):
    """Bartlett's two identities tie probabilities, scores and second derivatives together."""
    likelihood, local = LIKELIHOODS[name], local_of(name)
    votes = np.zeros((8, len(D)))
    for answer in answers(likelihood):
        votes[answer] = probability(name, answer)
    assert votes.sum(axis=0) == pytest.approx(1)
    by_d, by_local = likelihood.scores(D, local)
    found = likelihood.slopes(D, local, likelihood.told(votes))
    assumed = likelihood.expected(D, local, votes)
    assert np.abs((votes * by_d).sum(axis=0)).max() < 1e-12
    assert np.abs((votes[:, None] * by_local).sum(axis=0)).max(initial=0) < 1e-12
    moments = (
        (votes * by_d**2).sum(axis=0),
        np.einsum("kp,kp,krp->rp", votes, by_d, by_local),
        np.einsum("kp,krp,ksp->rsp", votes, by_local, by_local),
    )
    for moment, seen, expected in zip(
        moments, (found.d_d, found.d_local, found.local_local), assumed, strict=True
    ):
        assert seen == pytest.approx(moment, abs=1e-12)
        assert expected == pytest.approx(moment, abs=1e-12)


@EACH
def test_a_vote_seen_from_the_other_side_is_as_likely(name):
    likelihood, votes = LIKELIHOODS[name], some_votes(name)
    here = likelihood.values(D, local_of(name), likelihood.told(votes))
    there = likelihood.values(-D, local_of(name), likelihood.told(votes[MIRROR]))
    assert here == pytest.approx(there, abs=1e-12)


@EACH
def test_three_way_chances_are_those_of_winner_only_votes(name):
    won, tied, lost = LIKELIHOODS[name].chances(D, local_of(name))
    assert won == pytest.approx(probability(name, Outcome.a_won))
    assert lost == pytest.approx(probability(name, Outcome.b_won))
    assert won + tied + lost == pytest.approx(1)
    if LIKELIHOODS[name] is not BRADLEY_TERRY:
        assert tied == pytest.approx(probability(name, Outcome.tied))


@pytest.mark.parametrize("name", ["graded", "stereotype"])
def test_a_winner_without_a_grade_is_the_union_of_its_grades(name):
    won = probability(name, Outcome.a_much_better) + probability(name, Outcome.a_better)
    assert probability(name, Outcome.a_won) == pytest.approx(won, rel=1e-12)
    assert probability(name, Outcome.tied) == pytest.approx(probability(name, Outcome.tie))


@EACH
def test_one_sided_outcomes_are_those_that_a_large_lead_makes_certain(name):
    likelihood = LIKELIHOODS[name]
    known = answers(likelihood) + list(Outcome)[5:]
    certain = {o for o in known if probability(name, o, np.array([60.0]))[0] > 0.99}
    if likelihood is BRADLEY_TERRY:
        assert certain == {Outcome.a_won}
    assert certain == set(likelihood.one_sided) & set(known)


@EACH
@pytest.mark.parametrize("far", [-1e4, 1e4])
def test_a_hopeless_difference_overflows_nowhere(name, far):
    likelihood, d = LIKELIHOODS[name], np.array([far])
    votes = some_votes(name)[:, :1]
    told = likelihood.told(votes)
    found = likelihood.slopes(d, local_of(name), told)
    assert np.isfinite(likelihood.values(d, local_of(name), told)).all()
    assert all(np.isfinite(one).all() for one in (found.by_d, found.by_local, found.d_d))


def sure_votes():
    """A billion votes for the sure winner: what they still say must not drown in rounding."""
    d, votes = np.array([60.0, -60.0]), np.zeros((8, 2))
    votes[Outcome.a_won, 0] = votes[Outcome.b_won, 1] = 1e9
    return d, votes


@pytest.mark.parametrize("name", ["davidson", "stereotype"])
def test_the_choice_family_keeps_the_last_digits_of_what_is_nearly_certain(name):
    likelihood, (d, votes), step = LIKELIHOODS[name], sure_votes(), 1e-3
    unlikely = probability(name, Outcome.tied, d) + probability(name, Outcome.b_won, abs(d))
    told = likelihood.told(votes)
    value = likelihood.values(d, local_of(name), told)
    assert value == pytest.approx(-1e9 * unlikely, rel=1e-6)
    up, down = (likelihood.values(d + s, local_of(name), told) for s in (step, -step))
    slope = likelihood.slopes(d, local_of(name), told).by_d
    assert slope == pytest.approx((up - down) / (2 * step), rel=1e-5)
    scores = likelihood.scores(d, local_of(name))[0]
    assert (votes * scores).sum(axis=0) == pytest.approx(slope, rel=1e-9)


@pytest.mark.parametrize(("name", "cut"), [("bt", 0.0), ("rao_kupper", 0.5), ("graded", 0.4)])
def test_the_threshold_family_keeps_the_last_digits_of_what_is_nearly_certain(name, cut):
    likelihood, (d, votes) = LIKELIHOODS[name], sure_votes()
    slope = 1e9 * np.exp(cut - 60) * np.array([1, -1])
    told = likelihood.told(votes)
    assert likelihood.slopes(d, local_of(name), told).by_d == pytest.approx(slope, rel=1e-9)
    assert (votes * likelihood.scores(d, local_of(name))[0]).sum(axis=0) == pytest.approx(slope)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_probabilities_are_those_of_the_books():
    d, (t,), (t1, t2) = D, LOCAL["rao_kupper"], LOCAL["graded"]
    assert probability("bt", Outcome.a_won) == pytest.approx(sigmoid(d))
    assert probability("bt", Outcome.tied) == pytest.approx(np.sqrt(sigmoid(d) * sigmoid(-d)))
    pi, other, theta = np.exp(d), 1.0, np.exp(t)  # Rao & Kupper (1967), equation 2.7
    tied = (theta**2 - 1) * pi * other / ((pi + theta * other) * (theta * pi + other))
    assert probability("rao_kupper", Outcome.a_won) == pytest.approx(pi / (pi + theta * other))
    assert probability("rao_kupper", Outcome.tied) == pytest.approx(tied)
    nu = np.exp(LOCAL["davidson"][0])  # Davidson (1970), equation 2.2
    both = pi + other + nu * np.sqrt(pi * other)
    assert probability("davidson", Outcome.a_won) == pytest.approx(pi / both)
    assert probability("davidson", Outcome.tied) == pytest.approx(nu * np.sqrt(pi * other) / both)
    above = [sigmoid(d - cut) for cut in (-t2, -t1, t1, t2)]
    assert probability("graded", Outcome.a_much_better) == pytest.approx(above[3])
    assert probability("graded", Outcome.a_better) == pytest.approx(above[2] - above[3])
    assert probability("graded", Outcome.tie) == pytest.approx(above[1] - above[2])


def test_a_stereotype_with_score_one_reads_nothing_from_how_much_better():
    level, slight, _ = LOCAL["stereotype"]
    local, much, better = np.array([[level], [slight], [1.0]]), np.zeros((8, 7)), np.zeros((8, 7))
    much[Outcome.a_much_better], better[Outcome.a_better] = 1, 1
    slightly, clearly = STEREOTYPE.told(better), STEREOTYPE.told(much)
    odds = STEREOTYPE.values(D, local, slightly) - STEREOTYPE.values(D, local, clearly)
    assert odds == pytest.approx(slight)


@pytest.mark.parametrize(
    ("likelihood", "local"),
    [
        (RAO_KUPPER, [[0.0]]),
        (RAO_KUPPER, [[np.nan]]),
        (GRADED, [[-0.1], [1.0]]),
        (GRADED, [[1.0], [1.0]]),
        (GRADED, [[0.5, 0.5], [1.0, 0.4]]),
        (DAVIDSON, [[np.inf]]),
    ],
)
def test_thresholds_that_make_no_probabilities_are_not_possible(likelihood, local):
    assert not likelihood.possible(np.array(local))
    assert likelihood.possible(np.abs(np.arange(1.0, 1.0 + len(local)))[:, None])


@EACH
def test_a_fit_begins_where_all_votes_are_possible(name):
    for votes in (np.zeros(8), np.eye(8)[6] * 1e6, np.eye(8)[0] * 1e6, np.ones(8)):
        start = LIKELIHOODS[name].start(votes)
        assert start.shape == (len(LOCAL[name]),)
        assert LIKELIHOODS[name].possible(start[:, None])
