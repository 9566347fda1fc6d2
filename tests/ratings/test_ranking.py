from __future__ import annotations

import numpy as np

from tests.ratings.rating_helpers import TIE, WIN, counted, rated

EVEN = [(0, 1, WIN), (1, 0, WIN)] * 10


def beats(winner, loser, wins, of):
    return [(winner, loser, WIN)] * wins + [(loser, winner, WIN)] * (of - wins)


def test_a_rank_counts_the_significantly_better_models():
    found = rated(counted(3, beats(0, 1, 80, 100) + beats(1, 2, 52, 100) + beats(0, 2, 80, 100)))
    assert found.ranks.rank.tolist() == [1, 2, 2]
    assert found.ranks.lower.tolist() == [1, 2, 2]
    assert found.ranks.upper.tolist() == [1, 3, 3]


def test_models_are_compared_by_their_difference_and_not_by_overlapping_intervals():
    # two newcomers who met each other often and everyone else rarely: their own intervals overlap
    votes = beats(0, 1, 1, 2) + beats(2, 0, 1, 2) + beats(3, 1, 1, 2) + beats(2, 3, 70, 100)
    found = rated(counted(4, votes))
    assert found.intervals.lower[2] < found.intervals.upper[3]
    assert found.ranks.rank[3] == 2


def test_equal_models_share_the_first_rank():
    found = rated(counted(3, [(0, 1, TIE), (1, 2, TIE), (0, 2, TIE)]))
    assert found.ranks.rank.tolist() == [1, 1, 1]
    assert found.ranks.upper.tolist() == [3, 3, 3]


def test_ranks_hold_inside_a_component_only():
    found = rated(counted(5, beats(0, 1, 90, 100) + beats(2, 3, 90, 100) + beats(3, 4, 90, 100)))
    assert found.ranks.rank.tolist() == [1, 2, 1, 2, 3]
    assert found.ranks.upper.tolist() == [1, 2, 1, 2, 3]


def test_an_undefeated_model_ranks_first_once_it_has_won_enough():
    few = rated(counted(3, [*EVEN, (2, 0, WIN)]))
    many = rated(counted(3, [*EVEN, *[(2, 0, WIN)] * 20]))
    assert few.ranks.rank.tolist() == [1, 1, 1]
    assert many.ranks.rank.tolist() == [2, 2, 1]
    assert many.ranks.upper.tolist() == [3, 3, 1]


def test_six_wins_in_a_row_between_two_models_are_significant_and_five_are_not():
    assert rated(counted(2, [(0, 1, WIN)] * 5)).ranks.rank.tolist() == [1, 1]
    assert rated(counted(2, [(0, 1, WIN)] * 6)).ranks.rank.tolist() == [1, 2]


def test_more_than_a_thousand_wins_in_a_row_are_counted_without_overflow():
    assert rated(counted(2, [(0, 1, WIN)] * 3000)).ranks.rank.tolist() == [1, 2]


def test_no_models_have_no_ranks():
    assert rated(counted(0, [])).ranks.rank.tolist() == []


def test_nobody_is_ranked_above_the_number_of_models_that_could_be_better():
    rng = np.random.default_rng(5)
    a = rng.integers(0, 12, 300)
    b = (a + rng.integers(1, 12, 300)) % 12
    ranks = rated(counted(12, zip(a, b, rng.choice([WIN, TIE], 300), strict=True))).ranks
    assert (ranks.lower >= 1).all() and (ranks.upper <= 12).all()
    assert (ranks.lower <= ranks.upper).all()
