from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratings.comparisons import Outcome, PairCounts
from ratings.errors import BadComparisons
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
