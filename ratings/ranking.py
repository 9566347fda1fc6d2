"""Ranks by confidence: who is significantly better than whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from ratings.bradley_terry import Fit
from ratings.comparisons import FloatArray
from ratings.connectivity import BoolArray, IndexArray
from ratings.intervals import Intervals


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """Ranks [M] inside each component; nothing is said across components.

    `rank` = 1 + the number of models that are significantly better: several models may share it.
    `lower` … `upper` are the places that the votes leave open: 1 + the number of models that are
    significantly better (so `lower` is `rank`), and the number of models of the component minus
    those that are significantly worse.
    """

    rank: IndexArray
    lower: IndexArray
    upper: IndexArray


def rank(fitted: Fit, intervals: Intervals, wins: FloatArray) -> Ranks:
    """Rank by comparing every two models; `wins` [M, M] is how often i won against j.

    Inside a tier, i is significantly better than j when the interval of θ_i − θ_j, from the
    covariance of the difference, lies above 0. Between tiers there is no such interval: i is
    significantly better when its own interval lies above j's, or when so many wins in a row
    against j would be too rare a chance among equals (the sign test).
    """
    better = significantly_better(fitted, intervals, wins)
    size = np.bincount(fitted.connectivity.component, minlength=1)
    best = 1 + better.sum(axis=0)
    worst = size[fitted.connectivity.component] - better.sum(axis=1)
    return Ranks(rank=best, lower=best, upper=worst)


def significantly_better(fitted: Fit, intervals: Intervals, wins: FloatArray) -> BoolArray:
    """Whether i is significantly better than j [M, M], by the rule of `rank`."""
    joined, theta = fitted.connectivity, fitted.theta
    variance = intervals.covariance.diagonal()
    of_difference = variance[:, None] + variance - 2 * intervals.covariance
    tail = (1 - intervals.level) / 2
    margin = -float(ndtri(tail)) * np.sqrt(np.maximum(of_difference, 0.0))
    within = theta[:, None] - theta > margin
    between = (intervals.lower[:, None] > intervals.upper) | (np.exp2(-wins) < tail)
    same_tier = joined.tier[:, None] == joined.tier
    same_component = joined.component[:, None] == joined.component
    better: BoolArray = np.where(same_tier, within, between & same_component)
    return better
