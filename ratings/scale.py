"""From nats to ratings: 400·log10(odds), mean 1000 unless an anchor model is fixed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ratings.comparisons import FloatArray
from ratings.connectivity import Connectivity
from ratings.errors import BadParameter

BASE = 10
WIDTH = 400.0
MEAN = 1000.0

PER_NAT = WIDTH / math.log(BASE)
"""Rating points per nat: 173.7."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The model (its index) whose rating is fixed, and at what."""

    model: int
    rating: float


def zero_points(
    theta: FloatArray, joined: Connectivity, anchor: Anchor | None = None
) -> FloatArray:
    """The rating [M] at which each model's component has strength 0.

    An anchor moves all ratings of its own component alike, and those of no other.
    Raises `BadParameter` when the anchor is no model, or its rating is not finite.
    """
    zero = np.full(len(theta), MEAN)
    if anchor is not None:
        if not (0 <= anchor.model < len(theta) and math.isfinite(anchor.rating)):
            raise BadParameter("the anchor must be one of the models, with a finite rating")
        together = joined.component == joined.component[anchor.model]
        zero[together] = anchor.rating - PER_NAT * theta[anchor.model]
    return zero


def to_rating(nats: FloatArray, zero: FloatArray) -> FloatArray:
    """Ratings of strengths or bounds in nats (infinite ones stay so)."""
    return zero + PER_NAT * nats
