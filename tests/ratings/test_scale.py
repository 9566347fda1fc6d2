from __future__ import annotations

import math

import numpy as np
import pytest

from ratings.errors import BadParameter
from ratings.scale import PER_NAT, Anchor, to_rating, zero_points
from tests.ratings.rating_helpers import WIN, counted, rated

PAIRS = [(0, 1, WIN), (0, 1, WIN), (1, 0, WIN), (2, 3, WIN), (3, 2, WIN)]


def test_ten_to_one_odds_are_four_hundred_points():
    assert math.log(10) * PER_NAT == pytest.approx(400.0)


def test_infinite_bounds_stay_infinite():
    assert to_rating(np.array([-np.inf, 0.0, np.inf]), np.full(3, 1000.0)).tolist() == [
        -np.inf,
        1000.0,
        np.inf,
    ]


def test_without_an_anchor_every_component_is_centred_on_1000():
    found = rated(counted(4, PAIRS)).fit
    ratings = to_rating(found.theta, zero_points(found.theta, found.connectivity))
    assert [ratings[:2].mean(), ratings[2:].mean()] == pytest.approx([1000.0, 1000.0])


def test_an_anchor_moves_its_own_component_and_no_other():
    found = rated(counted(4, PAIRS)).fit
    zero = zero_points(found.theta, found.connectivity, Anchor(0, 1500.0))
    ratings = to_rating(found.theta, zero)
    assert ratings[0] == pytest.approx(1500.0)
    assert ratings[0] - ratings[1] == pytest.approx(400 * math.log10(2))
    assert ratings[2:].tolist() == [1000.0, 1000.0]


@pytest.mark.parametrize("anchor", [Anchor(4, 1000.0), Anchor(-1, 1000.0), Anchor(0, math.inf)])
def test_an_anchor_that_is_no_model_or_has_no_rating_is_refused(anchor):
    found = rated(counted(4, PAIRS)).fit
    with pytest.raises(BadParameter, match="anchor"):
        zero_points(found.theta, found.connectivity, anchor)
