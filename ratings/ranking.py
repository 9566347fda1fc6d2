"""Ranks by confidence: who is significantly better than whom."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from ratings.comparisons import BoolArray, FloatArray, IndexArray, Outcome
from ratings.fitting import Fit
from ratings.intervals import Intervals

_A_WINS = (Outcome.a_much_better, Outcome.a_better, Outcome.a_won)
_DRAWS = 2000


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


def rank(
    fitted: Fit, intervals: Intervals, simultaneous: np.random.Generator | None = None
) -> Ranks:
    """Rank by comparing every two models.

    Inside a tier, i is significantly better than j when the interval of θ_i − θ_j, from the
    covariance of the difference, lies above 0. Between tiers there is no such interval: i is
    significantly better when its own interval lies above j's, or when so many wins in a row
    against j would be too rare a chance among equals (the sign test).

    Each comparison is at the level of `intervals`; with `simultaneous` randomness all comparisons
    inside tiers hold together at that level (step-down max-t: Romano & Wolf 2005,
    https://doi.org/10.1198/016214504000000539).
    """
    better = significantly_better(fitted, intervals, simultaneous)
    size = np.bincount(fitted.connectivity.component, minlength=1)
    best = 1 + better.sum(axis=0)
    worst = size[fitted.connectivity.component] - better.sum(axis=1)
    return Ranks(rank=best, lower=best, upper=worst)


def significantly_better(
    fitted: Fit, intervals: Intervals, simultaneous: np.random.Generator | None = None
) -> BoolArray:
    """Whether i is significantly better than j [M, M], by the rule of `rank`."""
    joined, theta = fitted.connectivity, fitted.theta
    same_tier = joined.tier[:, None] == joined.tier
    same_component = joined.component[:, None] == joined.component
    wins = replace(fitted.pairs, votes=fitted.pairs.equal_votes()).matrix(_A_WINS)
    tail = (1 - intervals.level) / 2
    lead, se = theta[:, None] - theta, _se_of_differences(intervals)
    if simultaneous is None:
        within = lead > -float(ndtri(tail)) * se
    else:
        within = _stepped_down(lead, np.where(same_tier, se, np.inf), intervals, simultaneous)
    between = (intervals.lower[:, None] > intervals.upper) | (np.exp2(-wins) < tail)
    better: BoolArray = np.where(same_tier, within, between & same_component)
    return better


def _se_of_differences(intervals: Intervals) -> FloatArray:
    variance, known = intervals.covariance.diagonal(), np.isfinite(intervals.covariance)
    of_difference = variance[:, None] + variance - 2 * np.where(known, intervals.covariance, 0.0)
    se: FloatArray = np.sqrt(np.maximum(of_difference, 0.0))
    return se


def _stepped_down(
    lead: FloatArray, se: FloatArray, intervals: Intervals, rng: np.random.Generator
) -> BoolArray:
    """Leads that hold together: each found one makes the rest easier to find."""
    found = np.zeros_like(lead, dtype=np.bool_)
    if not np.isfinite(intervals.covariance).all():
        return found
    values, vectors = np.linalg.eigh(intervals.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    noise = root @ rng.standard_normal((len(root), _DRAWS))
    alone = -float(ndtri((1 - intervals.level) / 2))
    while True:
        left = np.where(found | found.T | (se == 0), np.inf, se)
        together = float(np.quantile(_largest(noise, left), intervals.level))
        # the draws are noisy: not a smaller bound than that of one comparison
        more = lead > max(together, alone) * left
        if not more.any():
            return found
        found |= more


def _largest(noise: FloatArray, se: FloatArray) -> FloatArray:
    """Per draw, the largest |difference| / se over all pairs [draws]."""
    largest = np.zeros(noise.shape[1])
    for i in range(len(se) - 1):
        active = np.flatnonzero(np.isfinite(se[i, i + 1 :])) + i + 1
        if active.size:
            t = np.abs(noise[active] - noise[i]) / se[i, active, None]
            np.maximum(largest, t.max(axis=0), out=largest)
    return largest
