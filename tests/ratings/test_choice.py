from __future__ import annotations

import csv
import functools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratings import bradley_terry, graded
from ratings.choice import MIN_GAIN, MIN_MODELS, choose
from ratings.comparisons import MIRROR, Outcome, PairCounts
from ratings.errors import BadComparisons, BadParameter
from scripts import simulate_choice as simulation
from tests.ratings.rating_helpers import DATA

SIZE = simulation.Size()
ROUNDS = 10
VOTERS = st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 7)), max_size=60)


def log(habit, size=SIZE, seed=0):
    """Counts and groups of one simulated log."""
    votes, outcome = simulation.drawn(np.random.default_rng(seed), size, habit)
    return simulation.counted(votes, outcome, size)


@functools.cache
def simulated(habit):
    rng = np.random.default_rng(7)
    results = [simulation.one_round(rng, SIZE, habit) for _ in range(ROUNDS)]
    return results, simulation.Ratio.of(results, simulation.chosen).value


def wildbench():
    with (DATA / "wildbench_graded_counts.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    ids = {name: i for i, name in enumerate({line[k]: 0 for line in lines for k in list(line)[:2]})}
    counts = PairCounts(len(ids))
    for line in lines:
        cell = counts.graded[:, ids[line["model"]], ids[line["ref_model"]]]
        cell += [int(line[name]) for name in ("win_much", "win", "tie", "lose", "lose_much")]
    return counts


def drawn_from(counts, votes, seed=0):
    some = PairCounts(counts.n_models)
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(counts.counts.ravel(), votes)
    some.counts += drawn.reshape(counts.counts.shape).astype(np.int32)
    return some


# --- the promises, by a short simulation (the long one: scripts/simulate_choice.py) --------------


def test_informative_grades_are_used_and_gain_at_least_1_15():
    assert simulated(simulation.informative)[1] >= 1.15


def test_grades_on_differing_scales_are_used_by_habit_and_gain_at_least_1_10():
    results, gain = simulated(simulation.scales_differ)
    assert gain >= 1.10
    assert sum(one.chosen == "by_voter_habit" for one in results) >= ROUNDS - 2


@pytest.mark.parametrize(
    "habit",
    [simulation.opposite_habits, simulation.regardless, simulation.noise, simulation.own_noise],
)
def test_grades_that_mislead_lose_no_more_than_three_in_a_hundred(habit):
    assert simulated(habit)[1] >= 0.97


def test_the_estimated_gain_is_the_true_one_where_grades_are_noise():
    results, _ = simulated(simulation.noise)
    true = simulation.Ratio.of(results, simulation.always("pooled")).value
    assert true < 0.8
    assert np.mean([one.estimated["pooled"] for one in results]) == pytest.approx(true, abs=0.1)


def test_the_estimated_gain_is_the_true_one_where_grades_inform():
    results, _ = simulated(simulation.informative)
    true = simulation.Ratio.of(results, simulation.always("pooled")).value
    assert np.mean([one.estimated["pooled"] for one in results]) == pytest.approx(true, abs=0.15)


# --- the evidence --------------------------------------------------------------------------------


def test_grades_of_another_quality_are_refused_although_they_do_not_look_like_noise():
    choice = choose(*log(simulation.another_quality))
    assert choice.method == "bt" and choice.variant is None
    assert choice.slight_score is not None and choice.slight_score < 0.85
    assert choice.gains["pooled"].bias > 1
    assert "beyond chance" in choice.reason


def test_the_variance_and_the_scale_are_those_of_resampled_logs():
    counts, _ = log(simulation.informative, simulation.Size(votes=4000, models=12, voters=50))
    gain = choose(counts).gains["pooled"]
    rng = np.random.default_rng(1)
    fits = []
    for _ in range(200):
        again = PairCounts(counts.n_models)
        again.counts += rng.poisson(counts.counts).astype(np.int32)
        fits.append([bradley_terry.fit(again).theta, graded.fit(again).theta])
    winners, grades = np.var(fits, axis=0).sum(axis=1)
    assert gain.variance == pytest.approx(winners / grades / gain.scale**2, rel=0.12)
    assert gain.scale == pytest.approx(0.97, abs=0.05)  # ties as half wins flatten Bradley-Terry


def test_neither_the_sides_nor_the_order_of_models_matter():
    counts, groups = log(simulation.scales_differ, simulation.Size(votes=3000, models=10))
    order = np.random.default_rng(2).permutation(10)

    def turned(part):
        mirrored = part.selected(order)
        mirrored.counts = mirrored.counts[MIRROR].transpose(0, 2, 1)
        return mirrored

    one, other = choose(counts, groups), choose(turned(counts), [turned(part) for part in groups])
    assert one.method == other.method
    for variant, gain in one.gains.items():
        assert other.gains[variant].gain == pytest.approx(gain.gain)
        assert other.gains[variant].se == pytest.approx(gain.se)


def test_a_model_that_won_everything_does_not_enter_the_evidence():
    counts, _ = log(simulation.informative, simulation.Size(votes=3000, models=12))
    more = counts.resized(13)
    more.add(np.full(12, 12), np.arange(12), np.full(12, Outcome.a_much_better))
    assert choose(more).gains == choose(counts).gains


def test_equal_weights_change_no_gain():
    counts, _ = log(simulation.informative, simulation.Size(votes=3000, models=12))
    heavy = PairCounts(12, weighted=True)
    heavy.counts += 3.0 * counts.counts
    heavy.squares[:] = 9.0 * counts.counts
    for variant, gain in choose(counts).gains.items():
        assert choose(heavy).gains[variant].gain == pytest.approx(gain.gain, rel=1e-3)


def test_without_voters_only_the_pooled_model_and_the_stereotype_are_tried():
    counts, groups = log(simulation.informative, simulation.Size(voters_known=False))
    assert set(choose(counts, groups).gains) == set(choose(counts).gains)
    assert set(choose(counts).gains) == {"pooled", "stereotype"}


def test_winner_only_votes_beside_grades_keep_the_gain():
    counts, groups = log(simulation.informative, simulation.Size(winner_only=0.5))
    choice = choose(counts, groups)
    assert choice.method == "graded"
    assert choice.votes == counts.graded.sum() < counts.votes


def test_a_small_log_of_judges_grades_is_rated_by_them_and_a_large_one_shows_their_bias():
    everything = wildbench()
    small, large = choose(drawn_from(everything, 2000)), choose(everything)
    assert small.method == "graded"
    assert large.method == "bt"
    assert large.gains["pooled"].variance > 1.25 and large.gains["pooled"].bias > 1
    assert large.slight_score == pytest.approx(0.45, abs=0.01)


# --- too little to tell --------------------------------------------------------------------------


def test_a_log_of_winners_only_says_that_graded_would_equal_rao_kupper():
    choice = choose(log(simulation.informative, simulation.Size(winner_only=1.0))[0])
    assert (choice.method, choice.votes, choice.slight_score) == ("bt", 0, None)
    assert "Rao-Kupper" in choice.reason


@pytest.mark.parametrize(
    ("size", "why"),
    [
        (simulation.Size(votes=900, models=20), "It takes 1,000 graded votes"),
        (simulation.Size(votes=1900, models=200), "graded votes"),
        (simulation.Size(models=MIN_MODELS - 1), f"It takes {MIN_MODELS} models"),
        (simulation.Size(votes=2000, skill=0.0), "more than chance"),
    ],
)
def test_too_little_to_tell_is_bradley_terry_and_says_what_is_missing(size, why):
    choice = choose(*log(simulation.informative, size))
    assert choice.method == "bt" and not choice.gains
    assert why in choice.reason


def test_nothing_but_ties_or_no_votes_at_all_is_bradley_terry():
    ties = PairCounts(12)
    a, b = np.nonzero(~np.eye(12, dtype=bool))
    ties.add(np.tile(a, 10), np.tile(b, 10), np.full(10 * len(a), Outcome.tie))
    for counts in (ties, PairCounts(12), PairCounts(0)):
        assert choose(counts).method == "bt"


def test_groups_of_other_votes_are_refused():
    counts, groups = log(simulation.noise)
    for others in ([*groups, counts], [counts.resized(60)], []):
        with pytest.raises(BadParameter, match="same votes"):
            choose(counts, others)


def test_the_evidence_is_plain_json_and_the_reason_one_sentence():
    for habit in (simulation.informative, simulation.noise):
        choice = choose(*log(habit))
        told = json.loads(json.dumps(choice.to_json(), allow_nan=False))
        assert told["gains"]["pooled"]["gain"] == choice.gains["pooled"].gain
        assert (max(gain.gain for gain in choice.gains.values()) >= MIN_GAIN) == (
            choice.method == "graded"
        )
        assert choice.reason.startswith('"Much better" counts') and choice.reason.endswith(".")


# --- voter habits --------------------------------------------------------------------------------


def test_voters_are_grouped_by_fifths_of_their_extreme_steps_shrunk_by_five_votes():
    much, slight, tie = Outcome.b_much_better, Outcome.a_better, Outcome.tie
    voter = [7] * 20 + [8] * 20 + [9] * 2 + [-1] * 20
    outcome = [much] * 20 + [slight] * 20 + [much] * 2 + [much, slight] * 10
    # everyone's share is 32 of 62: 20 of 20 becomes 22.6/25, 0 of 20 becomes 2.6/25
    found = graded.strata_by_habit(voter, outcome)
    assert found.tolist() == [4] * 20 + [0] * 20 + [5] * 22
    assert graded.strata_by_habit([7, 7, 7], [tie, tie, tie]).tolist() == [5, 5, 5]


@given(VOTERS, st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_a_habit_depends_on_the_votes_alone_not_on_their_order_or_side_or_the_voters_number(
    votes, random
):
    voter, outcome = np.array(votes, dtype=np.int64).reshape(-1, 2).T
    found = graded.strata_by_habit(voter, outcome)
    assert ((found >= 0) & (found < graded.HABITS)).all()
    order = np.array(random.sample(range(len(voter)), len(voter)), dtype=np.int64)
    renamed = np.where(voter < 0, voter, 10 - voter)
    assert (graded.strata_by_habit(renamed[order], MIRROR[outcome][order]) == found[order]).all()


def test_voters_and_outcomes_must_be_of_one_length():
    with pytest.raises(BadComparisons, match="2 voters gave 1 outcomes"):
        graded.strata_by_habit([1, 2], [Outcome.tie])


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint64])
def test_voters_may_be_any_integers(kind: type) -> None:
    most = np.iinfo(kind).max if kind is not np.uint64 else 2**62
    voter = np.repeat(np.array([0, 1, most - 1, most], dtype=kind), 6)
    outcome = np.array([Outcome.a_much_better, Outcome.a_better] * 12)
    expected = graded.strata_by_habit(np.repeat([0, 1, 2, 3], 6), outcome)
    assert (graded.strata_by_habit(voter, outcome) == expected).all()
    assert set(expected.tolist()) == {2}


def test_no_votes_have_no_habits() -> None:
    assert graded.strata_by_habit([], []).tolist() == []
