from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratings import elo
from ratings.elo import Elo
from ratings.errors import BadComparisons, BadParameter

MODELS = 5
VOTE = st.tuples(
    st.integers(0, MODELS - 1), st.integers(0, MODELS - 1), st.sampled_from([0.0, 0.5, 1.0])
).filter(lambda vote: vote[0] != vote[1])
LOG = st.lists(VOTE, max_size=60)


def columns(votes):
    a, b, score = zip(*votes, strict=True) if votes else ((), (), ())
    return np.array(a, dtype=int), np.array(b, dtype=int), np.array(score)


def rated(votes, **options) -> Elo:
    state = Elo(MODELS, **options)
    state.update(*columns(votes))
    return state


def by_the_book(votes, k=4.0):
    """The formula of the paper, one vote at a time."""
    ratings = [1000.0] * MODELS
    for a, b, score in votes:
        expected = 1 / (1 + 10 ** ((ratings[b] - ratings[a]) / 400))
        ratings[a], ratings[b] = (
            ratings[a] + k * (score - expected),
            ratings[b] + k * ((1 - score) - (1 - expected)),
        )
    return ratings


def test_the_first_win_among_equals_moves_both_by_half_of_k():
    assert rated([(0, 1, 1.0)]).result().ratings[:2] == pytest.approx([1002, 998])


def test_a_tie_pulls_unequal_models_together():
    before = rated([(0, 1, 1.0)] * 50)
    after = rated([(0, 1, 1.0)] * 50 + [(0, 1, 0.5)])
    gap, smaller = (np.ptp(state.result().ratings) for state in (before, after))
    assert smaller < gap


@given(LOG, st.sampled_from([1.0, 4.0, 32.0, 200.0]))
@settings(deadline=None)
def test_ratings_are_those_of_the_formula(votes, k):
    assert rated(votes, k=k).result().ratings == pytest.approx(by_the_book(votes, k), abs=1e-9)


@given(LOG, LOG)
@settings(deadline=None)
def test_votes_in_parts_give_exactly_what_one_call_gives(first, second):
    parts = rated(first)
    parts.update(*columns(second))
    whole = rated(first + second).result()
    assert np.array_equal(parts.result().ratings, whole.ratings)
    assert np.array_equal(parts.result().votes, whole.votes)


def test_more_votes_than_one_chunk_give_the_same(monkeypatch):
    votes = [(i % MODELS, (i + 1) % MODELS, (i % 3) / 2) for i in range(50)]
    whole = rated(votes).result().ratings
    monkeypatch.setattr(elo, "_CHUNK", 7)
    assert np.array_equal(rated(votes).result().ratings, whole)


@given(LOG)
@settings(deadline=None)
def test_sides_may_be_swapped(votes):
    swapped = [(b, a, 1 - score) for a, b, score in votes]
    assert rated(swapped).result().ratings == pytest.approx(rated(votes).result().ratings)


@given(LOG)
@settings(deadline=None)
def test_the_mean_never_moves(votes):
    assert rated(votes).result().ratings.mean() == pytest.approx(1000.0)


def test_the_order_of_votes_matters():
    votes = [(0, 1, 1.0), (1, 2, 1.0), (0, 2, 0.0)]
    backwards = rated(votes[::-1]).result().ratings
    assert not np.allclose(rated(votes).result().ratings, backwards, atol=1e-6)


def test_votes_are_counted_on_both_sides():
    assert rated([(0, 1, 1.0), (2, 0, 0.5)]).result().votes.tolist() == [2, 1, 1, 0, 0]


def test_a_result_does_not_move_with_later_votes():
    state = rated([(0, 1, 1.0)])
    before = state.result()
    state.update([0], [1], [1])
    assert before.ratings[0] == pytest.approx(1002)
    assert before.votes[0] == 1


def test_a_new_model_begins_at_the_initial_rating_and_ids_keep_their_meaning():
    state = rated([(0, 1, 1.0)], initial=1200.0)
    larger = state.resized(MODELS + 1)
    larger.update([MODELS], [0], [1.0])
    assert larger.result().ratings[1] == pytest.approx(1198)
    assert larger.result().ratings[MODELS] > 1202.0
    assert state.result().ratings[0] == pytest.approx(1202)


def test_a_huge_gap_overflows_nothing():
    state = rated([(0, 1, 1.0), (1, 0, 1.0), (0, 1, 0.5)] * 5, k=1e9)
    assert np.isfinite(state.result().ratings).all()


@pytest.mark.parametrize(
    ("model_a", "model_b", "score", "row", "words"),
    [
        ([0, 2], [1, 2], [1, 1], 1, "model 2 is compared with itself"),
        ([0, 9], [1, 1], [1, 1], 1, "model_a is 9, there are 5 models"),
        ([0, 1], [1, -1], [1, 1], 1, "model_b is -1"),
        ([0, 1, 2], [1, 2, 3], [1, 0, 0.7], 2, "the score is 0.7"),
        ([0, 1], [1, 2], [float("nan"), 1], 0, "the score is nan"),
    ],
)
def test_a_bad_vote_is_refused_with_its_row_and_nothing_moves(model_a, model_b, score, row, words):
    state = Elo(MODELS)
    with pytest.raises(BadComparisons, match=words) as caught:
        state.update(model_a, model_b, score)
    assert caught.value.row == row
    assert (state.result().ratings == 1000.0).all()
    assert not state.result().votes.any()


@pytest.mark.parametrize("ids", [[0.0], [True], ["0"], [[0]]])
def test_ids_that_are_not_whole_numbers_are_refused(ids):
    with pytest.raises(BadComparisons, match="model_b must be a one-dimensional array of integers"):
        Elo(2).update([1], ids, [1])


@pytest.mark.parametrize("score", [["1"], [None], [True]])
def test_scores_that_are_not_numbers_are_refused(score):
    with pytest.raises(BadComparisons, match="score must be an array of numbers"):
        Elo(2).update([0], [1], score)


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(BadComparisons, match="differ in length: 2 model_a, 1 model_b, 1 score"):
        Elo(2).update([0, 0], [1], [1])


@pytest.mark.parametrize("k", [0.0, -4.0, float("nan"), float("inf")])
def test_an_unusable_k_is_refused(k):
    with pytest.raises(BadParameter, match="k must be finite and more than 0"):
        Elo(2, k=k)


def test_an_unusable_start_is_refused():
    with pytest.raises(BadParameter, match="initial rating must be finite"):
        Elo(2, initial=float("nan"))
    with pytest.raises(BadParameter, match="cannot be -1 models"):
        Elo(-1)


def test_models_cannot_be_lost_by_resizing():
    with pytest.raises(BadParameter, match="5 models have no room among 4"):
        Elo(5).resized(4)
