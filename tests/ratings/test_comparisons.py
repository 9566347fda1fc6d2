from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratings.comparisons import MIRROR, Outcome, PairCounts
from ratings.errors import BadComparisons, BadParameter
from ratings.pairs import pairs_of
from tests.ratings.rating_helpers import counted

MODELS = 4
VOTE = st.tuples(
    st.integers(0, MODELS - 1), st.integers(0, MODELS - 1), st.sampled_from(Outcome)
).filter(lambda vote: vote[0] != vote[1])


def test_graded_and_winner_only_votes_are_kept_apart():
    counts = counted(2, [(0, 1, Outcome.a_better), (0, 1, Outcome.a_won), (0, 1, Outcome.tied)])
    assert counts.graded[:, 0, 1].tolist() == [0, 1, 0, 0, 0]
    assert counts.winner_only[:, 0, 1].tolist() == [1, 1, 0]
    assert counts.votes == 3


def test_a_win_counts_the_same_on_either_side():
    counts = counted(2, [(0, 1, Outcome.a_much_better), (1, 0, Outcome.b_won)])
    assert counts.wins().tolist() == [[0, 2], [0, 0]]


def test_ties_are_symmetric():
    counts = counted(2, [(0, 1, Outcome.tie), (1, 0, Outcome.tied)])
    assert counts.ties().tolist() == [[0, 2], [2, 0]]
    assert not counts.wins().any()


def test_grades_are_told_from_each_models_own_view():
    counts = counted(
        2,
        [
            (0, 1, Outcome.a_much_better),
            (1, 0, Outcome.a_better),
            (0, 1, Outcome.tie),
            (0, 1, Outcome.a_won),
        ],
    )
    assert counts.grades().tolist() == [[1, 0, 1, 1, 0], [0, 1, 1, 0, 1]]


@given(st.lists(VOTE), st.lists(VOTE))
@settings(deadline=None)
def test_adding_in_parts_and_removing_again_equals_counting_once(kept, removed):
    counts = counted(MODELS, kept)
    expected = counts.counts.copy()
    columns = np.array(removed, dtype=np.int64).reshape(-1, 3).T
    counts.add(*columns)
    assert counts.votes == len(kept) + len(removed)
    counts.remove(*columns)
    assert np.array_equal(counts.counts, expected)


def test_a_resized_count_keeps_the_meaning_of_ids():
    larger = counted(2, [(0, 1, Outcome.a_won)]).resized(3)
    larger.add([2], [0], [Outcome.a_won])
    assert larger.wins().tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]


def test_selected_models_come_in_the_order_asked_for():
    chosen = counted(3, [(0, 2, Outcome.a_won), (1, 2, Outcome.a_won)]).selected([2, 0])
    assert chosen.wins().tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize(
    ("model_a", "model_b", "outcome", "row", "words"),
    [
        ([0, 1], [1, 1], [0, 0], 1, "model 1 is compared with itself"),
        ([0, 0, 0], [1, 1, 3], [0, 0, 0], 2, "model_b is 3"),
        ([0, -1], [1, 0], [0, 0], 1, "model_a is -1"),
        ([0], [1], [8], 0, "outcome is 8"),
        ([0], [1], [-1], 0, "outcome is -1"),
    ],
)
def test_a_bad_vote_is_refused_with_its_row_and_nothing_is_counted(
    model_a, model_b, outcome, row, words
):
    counts = PairCounts(3)
    with pytest.raises(BadComparisons, match=words) as caught:
        counts.add(model_a, model_b, outcome)
    assert caught.value.row == row
    assert counts.votes == 0


@pytest.mark.parametrize("ids", [[0.0], [True], ["0"], [[0]]])
def test_ids_that_are_not_whole_numbers_are_refused(ids):
    with pytest.raises(BadComparisons, match="one-dimensional array of integers"):
        PairCounts(2).add(ids, [1], [0])


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(BadComparisons, match="differ in length"):
        PairCounts(2).add([0, 0], [1], [0])


def test_a_vote_that_was_never_counted_cannot_be_removed():
    counts = counted(2, [(0, 1, Outcome.a_won)])
    with pytest.raises(BadComparisons, match="never counted") as caught:
        counts.remove([0, 0], [1, 1], [Outcome.a_won, Outcome.a_won])
    assert caught.value.row == 0
    assert counts.votes == 1


def test_votes_added_to_a_selection_are_counted_there_and_nowhere_else():
    counts = counted(5, [(0, 1, Outcome.a_won)])
    chosen = counts.selected([1, 0, 4])
    chosen.add([0], [2], [Outcome.tied])
    chosen.remove([1], [0], [Outcome.a_won])
    assert chosen.votes == 1
    assert chosen.ties()[0, 2] == 1
    assert counts.votes == 1


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint32, np.uint64, np.int64])
def test_ids_of_any_integer_type_count_alike(kind):
    counts = PairCounts(300)
    counts.add(np.array([255, 1], kind), np.array([0, 2], kind), np.array([7, 0], kind))
    assert counts.counts[7, 255, 0] == 1 and counts.counts[0, 1, 2] == 1


@given(st.lists(VOTE), st.integers(1, 400))
@settings(deadline=None)
def test_few_votes_and_many_are_counted_by_the_same_rule(votes, times):
    counts = counted(MODELS, votes * times)
    expected = np.zeros((8, MODELS, MODELS))
    for a, b, outcome in votes:
        expected[outcome, a, b] += times
    assert np.array_equal(counts.counts, expected)


# --- weights ------------------------------------------------------------------------------------


@given(st.lists(st.tuples(VOTE, st.floats(0, 10))))
@settings(deadline=None)
def test_weights_and_their_squares_are_summed(votes):
    counts, parts = PairCounts(MODELS, weighted=True), PairCounts(MODELS, weighted=True)
    expected, squares = np.zeros((2, 8, MODELS, MODELS))
    for (a, b, outcome), weight in votes:
        expected[outcome, a, b] += weight
        squares[outcome, a, b] += weight**2
        parts.add([a], [b], [outcome], [weight])
    columns = np.array([vote for vote, _ in votes], dtype=np.int64).reshape(-1, 3).T
    counts.add(*columns, [weight for _, weight in votes])
    for one in (counts, parts, counts.resized(MODELS + 2).selected(range(MODELS))):
        assert one.counts == pytest.approx(expected)
        assert one.squares == pytest.approx(squares)


def test_a_vote_without_a_weight_weighs_one():
    counts = PairCounts(2, weighted=True)
    counts.add([0, 0], [1, 1], [5, 5])
    counts.add([0], [1], [5], [3.0])
    assert counts.votes == 5
    assert counts.squares.sum() == 11


@pytest.mark.parametrize("weight", [float("nan"), -1.0, float("inf"), -1e-300])
def test_a_bad_weight_is_refused_with_its_row_and_nothing_is_counted(weight):
    counts = PairCounts(2, weighted=True)
    with pytest.raises(BadComparisons, match="finite and not negative") as caught:
        counts.add([0, 0, 0], [1, 1, 1], [5, 5, 5], [1.0, 0.0, weight])
    assert caught.value.row == 2
    assert counts.votes == 0 and counts.squares.sum() == 0


def test_weights_need_a_place_of_their_own_and_one_each():
    with pytest.raises(BadParameter, match="weighted=True"):
        counted(2, []).add([0], [1], [5], [2.0])
    with pytest.raises(BadComparisons, match="2 votes have 1 weights"):
        PairCounts(2, weighted=True).add([0, 0], [1, 1], [5, 5], [2.0])


def test_weighted_votes_cannot_be_taken_back():
    counts = PairCounts(2, weighted=True)
    counts.add([0], [1], [5], [2.0])
    with pytest.raises(BadParameter, match="cannot be removed"):
        counts.remove([0], [1], [5])
    assert (counts.votes, counts.squares.sum()) == (2, 4)


# --- rows ---------------------------------------------------------------------------------------


@given(st.lists(VOTE))
@settings(deadline=None)
def test_folding_both_orders_of_a_pair_loses_no_vote(votes):
    counts = counted(MODELS, votes)
    folded, ordered = pairs_of(counts), pairs_of(counts, ordered=True)
    assert folded.votes.sum() == ordered.votes.sum() == len(votes)
    assert (folded.first < folded.second).all()
    for outcome in Outcome:
        seen = counts.counts[outcome] + counts.counts[MIRROR[outcome]].T
        for pairs in (folded, ordered):
            assert np.array_equal(pairs.matrix([outcome]), seen)


@given(st.lists(VOTE), st.booleans(), st.booleans())
@settings(deadline=None)
def test_rows_of_winners_are_those_of_the_graded_rows(votes, ordered, weighted):
    counts = PairCounts(MODELS, weighted=weighted)
    if votes:
        weights = 1 + np.arange(len(votes)) % 3 if weighted else None
        counts.add(*map(list, zip(*votes, strict=True)), weights)
    at_once = pairs_of(counts, ordered=ordered, winners=True)
    after = pairs_of(counts, ordered=ordered).winners()
    for name in ("first", "second", "votes", "squares"):
        assert np.array_equal(getattr(at_once, name), getattr(after, name))


def test_rows_of_groups_are_kept_apart():
    groups = [counted(2, [(0, 1, Outcome.tie)]), counted(2, [(0, 1, Outcome.tie)] * 2)]
    pairs = pairs_of(groups)
    assert (pairs.n_groups, pairs.group.tolist()) == (2, [0, 1])
    assert pairs.totals()[Outcome.tie].tolist() == [1, 2]


def test_equally_weighted_votes_are_worth_their_number():
    even, uneven = PairCounts(2, weighted=True), PairCounts(2, weighted=True)
    even.add([0] * 4, [1] * 4, [5, 5, 5, 7], [6.0] * 4)
    uneven.add([0] * 2, [1] * 2, [5, 5], [3.0, 1.0])
    assert pairs_of(even).equal_votes()[[5, 7], 0].tolist() == [3, 1]
    assert pairs_of(uneven).equal_votes()[5, 0] == pytest.approx(16 / 10)


def test_the_mean_win_rate_is_helms_where_all_models_met_on_all_scenarios():
    rng = np.random.default_rng(4)
    table = rng.integers(0, 4, (30, 6))  # scores of 6 models on 30 scenarios
    votes = [
        (
            a,
            b,
            Outcome.a_won
            if row[a] > row[b]
            else Outcome.tied
            if row[a] == row[b]
            else Outcome.b_won,
        )
        for row in table
        for a in range(6)
        for b in range(a)
    ]
    helm = [
        np.mean([((row < row[i]).sum() + ((row == row[i]).sum() - 1) / 2) / 5 for row in table])
        for i in range(6)
    ]
    assert counted(6, votes).mean_win_rates() == pytest.approx(helm)


def test_every_opponent_counts_alike_in_the_mean_win_rate():
    rates = counted(4, [(0, 1, Outcome.a_won)] * 99 + [(2, 0, Outcome.a_won)]).mean_win_rates()
    assert rates[:3].tolist() == [0.5, 0.0, 1.0]
    assert np.isnan(rates[3])
