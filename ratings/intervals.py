"""How sure the strengths are: the exact sandwich, and open intervals where no maximum is finite.

Sources: Huber (1967) and White (1982, https://doi.org/10.2307/1912526) for the sandwich; Hirji,
Tsiatis & Mehta (1989, https://doi.org/10.1080/00031305.1989.10475600) for bounds from the exact
probability of a one-sided result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import brentq
from scipy.special import expit, log_expit, ndtri

from ratings.bradley_terry import Fit, grounded, information, laplacian
from ratings.comparisons import FloatArray
from ratings.connectivity import BoolArray, Connectivity
from ratings.errors import BadParameter


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """Bounds [M] in nats at confidence `level`, ±inf where open, and the covariance behind them.

    `covariance` [M, M] has one block per tier, in the gauge that centres the tier; it is 0 between
    tiers, whose places against each other have no covariance.
    """

    lower: FloatArray
    upper: FloatArray
    covariance: FloatArray
    level: float

    @property
    def se(self) -> FloatArray:
        """Standard errors [M], in nats."""
        return np.sqrt(self.covariance.diagonal())


def sandwich(fitted: Fit, wins: FloatArray, ties: FloatArray, level: float = 0.95) -> Intervals:
    """Intervals at confidence `level` from pair counts.

    `wins` [M, M] is how often i won against j, `ties` [M, M] (symmetric) how often they tied; they
    must be what `fitted` was fitted to. V = H⁺ B H⁺ with H the information and B the sum of squared
    residuals, without any ridge: H is inverted in the centred gauge.

    A model whose every vote inside its tier is a tie has residuals near 0 because a tie is half a
    win, not because it is well known: its votes enter B with the model's variance p(1−p) instead.

    A tier beside its component's core has an open interval. Its closed end is where the tier's
    results against the tiers under (or over) it would have had probability (1 − level)/2, the
    others in place at their own bounds, and is widened by the standard error inside the tier. Both
    ends are open for a tier that no chain of one-sided results joins to the whole core, and for
    a model without votes.

    Raises `BadParameter` when `level` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise BadParameter(f"the confidence level must be between 0 and 1, not {level}")
    covariance = _covariance(fitted, wins, ties)
    margin = -float(ndtri((1 - level) / 2)) * np.sqrt(covariance.diagonal())
    tail = (1 - level) / 2
    joined, theta = fitted.connectivity, fitted.theta
    under = _floors(joined, joined.above, wins, theta, tail)
    over = _floors(joined, joined.above.T, wins.T, -theta, tail)
    return Intervals(
        lower=under[joined.tier] + theta - margin,
        upper=theta - over[joined.tier] + margin,
        covariance=covariance,
        level=level,
    )


def _covariance(fitted: Fit, wins: FloatArray, ties: FloatArray) -> FloatArray:
    theta, tier = fitted.theta, fitted.connectivity.tier
    covariance = np.zeros_like(fitted.points)
    for number in np.flatnonzero(np.bincount(tier) > 1):
        inside = np.flatnonzero(tier == number)
        block = np.ix_(inside, inside)
        bread = cho_factor(grounded(information(fitted.points[block], theta[inside])))
        spread = _squared_residuals(wins[block], ties[block], theta[inside])
        half = cho_solve(bread, laplacian(spread))
        covariance[block] = cho_solve(bread, half.T)
    return covariance


def _squared_residuals(wins: FloatArray, ties: FloatArray, theta: FloatArray) -> FloatArray:
    """Per pair of a tier's models, Σ over their votes of (result − p)² [M, M], symmetric."""
    p = expit(theta[:, None] - theta)
    q = p.T
    observed = wins * q**2 + wins.T * p**2 + ties * (0.5 - p) ** 2
    undecided = (wins + wins.T).sum(axis=1) == 0
    expected = (wins + wins.T + ties) * p * q
    return np.where(undecided[:, None] | undecided, expected, observed)


def _floors(
    joined: Connectivity,
    above: BoolArray,
    wins: FloatArray,
    theta: FloatArray,
    tail: float,
) -> FloatArray:
    """How far below its estimate each tier may lie [K]: 0 for a sole core, −inf where unbounded."""
    floors = np.full(joined.n_tiers, -np.inf)
    component = np.zeros(joined.n_tiers, dtype=np.intp)
    component[joined.tier] = joined.component
    known = np.where(joined.core[joined.tier], theta, -np.inf)
    for tier in np.argsort(above.sum(axis=1), kind="stable"):  # what it is above comes first
        core = joined.core & (component == component[tier])
        core[tier] = False
        if not above[tier][core].all():
            continue
        inside = joined.tier == tier
        if not core.any():
            floors[tier] = 0.0 if inside.sum() > 1 else -np.inf
            continue
        floors[tier] = _floor(wins[inside], theta[inside], np.where(inside, -np.inf, known), tail)
        if not joined.core[tier]:
            known[inside] = theta[inside] + floors[tier]
    return floors


def _floor(wins: FloatArray, theta: FloatArray, opponents: FloatArray, tail: float) -> float:
    """The shift ≤ 0 of a tier's `theta` at which all of its `wins` have probability `tail`."""
    winner, loser = np.nonzero((wins > 0) & np.isfinite(opponents))
    times = wins[winner, loser]
    lead = theta[winner] - opponents[loser]
    p = np.exp(np.log(tail) / times.sum())
    needed = np.log(p) - np.log1p(-p)

    def surplus(shift: float) -> float:
        return float(times @ log_expit(lead + shift)) - float(np.log(tail))

    # with every lead alike the root is needed − lead: it lies between those of the extremes
    shift = brentq(surplus, needed - lead.max() - 1.0, needed - lead.min() + 1.0, xtol=1e-12)
    return min(float(shift), 0.0)
