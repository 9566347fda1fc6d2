from __future__ import annotations

import numpy as np

from ratings.connectivity import connectivity
from tests.ratings.rating_helpers import TIE, WIN, counted


def joined(n_models, votes):
    counts = counted(n_models, votes)
    return connectivity(counts.wins() + counts.ties() / 2)


def test_components_are_numbered_by_size_then_by_first_model():
    found = joined(7, [(0, 6, TIE), (1, 2, WIN), (2, 3, WIN), (4, 5, TIE)])
    assert found.component.tolist() == [1, 0, 0, 0, 2, 2, 1]
    assert found.n_components == 3


def test_a_ring_of_wins_is_one_tier():
    found = joined(3, [(0, 1, WIN), (1, 2, WIN), (2, 0, WIN)])
    assert found.n_tiers == 1
    assert found.core.all()


def test_a_tie_joins_both_ways():
    assert joined(2, [(0, 1, TIE)]).n_tiers == 1


def test_the_undefeated_and_the_never_winning_are_tiers_beside_the_core():
    found = joined(4, [(0, 1, TIE), (2, 0, WIN), (1, 3, WIN)])
    assert found.core[found.tier].tolist() == [True, True, False, False]
    best, core, worst = found.tier[2], found.tier[0], found.tier[3]
    assert found.above[best, core] and found.above[core, worst] and found.above[best, worst]
    assert not (found.above & found.above.T).any()


def test_a_chain_of_wins_is_followed_to_its_end():
    found = joined(9, [(i, i + 1, WIN) for i in range(8)])
    order = found.tier[np.arange(9)]
    assert np.array_equal(found.above[np.ix_(order, order)], np.triu(np.ones((9, 9)), 1) > 0)


def test_no_models_are_no_components():
    found = joined(0, [])
    assert (found.n_components, found.n_tiers) == (0, 0)
