from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ratings import names as names_module
from ratings.comparisons import Outcome
from ratings.errors import BadComparisons
from ratings.names import count_names

NAME = st.text(st.characters(), max_size=3) | st.sampled_from(["a", "b", "\0", "a\0", "", "\ud800"])
VOTES = st.lists(
    st.tuples(NAME, NAME, st.sampled_from([outcome.name for outcome in Outcome])).filter(
        lambda vote: vote[0] != vote[1]
    )
)


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(names_module, "_BATCH", 4)
    monkeypatch.setattr(names_module, "_JOINED", 2)


def test_named_votes_are_counted_under_sorted_names():
    names, counts = count_names(["b", "a", "c"], ["a", "c", "b"], ["tie", "a_better", "b_won"])
    assert names == ["a", "b", "c"]
    assert counts.wins().tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]
    assert counts.ties()[0, 1] == 1


def test_outcomes_may_be_given_as_such_or_by_a_meaning_of_ones_own():
    own = {2: Outcome.a_much_better, 0: Outcome.tie, None: Outcome.b_won}
    _, by_outcome = count_names(["a"] * 3, ["b"] * 3, [Outcome.a_much_better, "tie", Outcome.b_won])
    _, by_meaning = count_names(["a"] * 3, ["b"] * 3, [2, 0, None], own)
    assert np.array_equal(by_outcome.counts, by_meaning.counts)


def test_no_named_votes_are_no_models():
    names, counts = count_names([], [], [])
    assert names == [] and counts.votes == 0


@pytest.mark.parametrize(
    ("model_a", "model_b", "result", "row", "words"),
    [
        (["a", "a"], ["b", "b"], ["tie", "much_better"], 1, "result 'much_better' is unknown"),
        (["a", "a"], ["b", "b"], ["tie", None], 1, "result None is unknown"),
        (["a"], ["b"], [float("nan")], 0, "result nan is unknown"),
        (["a", "a"], ["b", "b"], ["tie", 2], 1, "result 2 is unknown"),
        (["a"], ["b"], [0], 0, "result 0 is unknown"),
        (["a"], ["b"], [True], 0, "result True is unknown"),
        (["a"], ["b"], [""], 0, "result '' is unknown"),
        (["a", "b", "c"], ["b", "c", "c"], ["tie"] * 3, 2, "'c' is compared with itself"),
        (["a", None], ["b", "b"], ["tie"] * 2, 1, "model_a is None, it must be a name"),
        (["a", "a"], ["b", float("nan")], ["tie"] * 2, 1, "model_b is nan, it must be a name"),
        (["a", 7], ["b", "b"], ["tie"] * 2, 1, "model_a is 7, it must be a name"),
    ],
)
def test_a_bad_named_vote_is_refused_with_its_row(model_a, model_b, result, row, words):
    with pytest.raises(BadComparisons, match=words) as caught:
        count_names(model_a, model_b, result)
    assert caught.value.row == row


def test_columns_of_names_of_different_lengths_are_refused():
    with pytest.raises(BadComparisons, match="differ in length"):
        count_names(["a", "a"], ["b"], ["tie"])
    with pytest.raises(BadComparisons, match="differ in length"):
        count_names(["a"], ["b"], ["tie", "tie"])


@given(VOTES)
@example([("a\0b", "c", "tie"), ("a", "b\0c", "tie"), ("", "\0", "a_won")])
@settings(deadline=None)
def test_any_text_is_a_name(votes):
    names, counts = count_names(*([vote[i] for vote in votes] for i in range(3)))
    assert names == sorted({name for vote in votes for name in vote[:2]})
    found = {
        (names[a], names[b], Outcome(outcome).name): counts.counts[outcome, a, b]
        for outcome, a, b in np.argwhere(counts.counts)
    }
    assert found == Counter(votes)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("n", [3, 4, 5, 8, 11])
def test_votes_are_counted_batch_by_batch(n):
    models = [f"m{i % 5}" for i in range(n + 1)]
    names, counts = count_names(models[:-1], models[1:], ["a_won"] * n)
    assert names == sorted(set(models)) and counts.votes == n


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("row", [0, 3, 4, 6, 9])
@pytest.mark.parametrize(
    ("column", "bad", "words"),
    [
        (0, None, "model_a is None"),
        (1, 7, "model_b is 7"),
        (1, "a", "'a' is compared with itself"),
        (2, "won", "result 'won' is unknown"),
        (2, 2, "result 2 is unknown"),
    ],
)
def test_the_first_bad_row_is_told_in_whichever_batch_it_is(row, column, bad, words):
    columns = [["a"] * 10, ["b"] * 10, ["tie"] * 10]
    for later in range(row, 10, 2):
        columns[column][later] = bad
    with pytest.raises(BadComparisons, match=words) as caught:
        count_names(*columns)
    assert caught.value.row == row
