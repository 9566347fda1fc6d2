"""One more vote, at once: a step of Newton's method through an inverse that is already there.

A fit of 250 models takes milliseconds, this step some microseconds. It is for motion between two
fits: the next fit, started from here, is exact again.

Source: the one-step estimate of Pregibon (1981, https://doi.org/10.1214/aos/1176345513), with the
inverse kept by Sherman & Morrison (1950, https://doi.org/10.1214/aoms/1177729893).
"""

from __future__ import annotations

import math
import operator
from typing import NamedTuple

import numpy as np
from scipy.linalg.blas import dger

from ratings.comparisons import FloatArray, Outcome
from ratings.errors import BadComparisons, BadParameter
from ratings.fitting import Fit, Start, fit, inverted
from ratings.likelihood import Threshold
from ratings.pairs import Pairs


class Warm:
    """A fit that takes in votes one by one, each in O(M²).

    Every vote moves all strengths, the side effect and the local parameters, and the inverse of
    their information. Strengths stay centred as the fit's were: a vote inside a tier moves no
    other tier.
    """

    __slots__ = ("_fit", "_inverse", "_outcomes", "_point", "_tier")

    def __init__(self, fitted: Fit) -> None:
        """Raises `BadParameter` for a likelihood that is not of the threshold family."""
        if not isinstance(fitted.likelihood, Threshold):
            raise BadParameter("only fits of the threshold family can take in votes one by one")
        problem, point = fitted.problem(), fitted.point()
        information = problem.grounded(problem.slopes(point)[1])
        self._fit = fitted
        self._point: FloatArray = point
        self._inverse: FloatArray = np.asfortranarray(inverted(information))
        self._tier: list[int] = fitted.connectivity.tier.tolist()
        self._outcomes = [_Outcome(fitted.likelihood, outcome) for outcome in Outcome]

    @property
    def theta(self) -> FloatArray:
        """Strengths [M] in nats after all votes so far; a copy."""
        return self._point[: len(self._tier)].copy()

    def start(self) -> Start:
        """For a fit that begins here."""
        m, pairs = len(self._tier), self._fit.pairs
        sided = self._fit.side is not None
        r = len(self._fit.likelihood.parameters)
        local = self._point[m + sided :].reshape(pairs.n_groups, r).T
        side = self._point.item(m) if sided else 0.0
        return Start(self.theta, side, local.copy())

    def exact(self, pairs: Pairs) -> Fit:
        """The fit of all votes, old and new, begun here; rows as those of the first fit."""
        asked = self._fit.side is not None or self._fit.side_problem is not None
        return fit(self._fit.likelihood, pairs, side=asked, start=self.start())

    def add(self, model_a: int, model_b: int, outcome: int, group: int = 0) -> None:
        """Move all estimates by one vote of somebody of this group; a was shown first.

        Raises `BadComparisons`, and moves nothing, for an unknown model, outcome or group, a model
        against itself, and models of different tiers or components: such a vote may join them,
        which only a fit can tell.
        """
        self._check(model_a, model_b, outcome, group)
        m, point, inverse = len(self._tier), self._point, self._inverse
        sided, r = self._fit.side is not None, len(self._fit.likelihood.parameters)
        begin = m + sided + r * group

        def lead(values: FloatArray) -> float:
            ahead: float = values.item(model_a) - values.item(model_b)
            return ahead + values.item(m) if sided else ahead

        slopes = self._outcomes[outcome].slopes(lead(point), point[begin : begin + r].tolist())
        reach = inverse[:, model_a] - inverse[:, model_b]
        if sided:
            reach += inverse[:, m]
        step = slopes.by_d * reach
        for i, slope in enumerate(slopes.by_local):
            step += slope * inverse[:, begin + i]
        known = slopes.d_d / (1 + slopes.d_d * lead(reach))
        step -= known * lead(step) * reach
        point += step
        self._inverse = dger(-known, reach, reach, a=inverse, overwrite_a=1)

    def _check(self, model_a: int, model_b: int, outcome: int, group: int) -> None:
        m, groups = len(self._tier), self._fit.pairs.n_groups
        if not (0 <= model_a < m and 0 <= model_b < m):
            raise BadComparisons(
                f"models {model_a} and {model_b} must be from 0 to {m - 1}, as in the fit"
            )
        if not 0 <= outcome < len(Outcome):
            raise BadComparisons(f"outcome is {outcome}, it must be from 0 to {len(Outcome) - 1}")
        if not 0 <= group < groups:
            raise BadComparisons(f"group is {group}, it must be from 0 to {groups - 1}")
        if model_a == model_b:
            raise BadComparisons(f"model {model_a} is compared with itself")
        if self._tier[model_a] != self._tier[model_b]:
            raise BadComparisons(
                f"models {model_a} and {model_b} are of different tiers, which takes a fit"
            )


class _Slopes(NamedTuple):
    """Of one vote's log-likelihood: first derivatives by d and by ν, minus the second by d."""

    by_d: float
    by_local: list[float]
    d_d: float


class _Outcome:
    """`Threshold.slopes` of one vote, in plain floats: numpy takes a hundred microseconds."""

    __slots__ = ("_gap", "_thresholds")

    def __init__(self, likelihood: Threshold, outcome: Outcome) -> None:
        over, under = likelihood.over[outcome], likelihood.under[outcome]
        self._thresholds: list[tuple[float, float, list[float]]] = [
            (over.item(b), under.item(b), likelihood.signs[b].tolist())
            for b in np.flatnonzero(over + under)
        ]
        self._gap: list[float] = likelihood.gap[outcome].tolist()

    def slopes(self, d: float, local: list[float]) -> _Slopes:
        by_d = d_d = 0.0
        by_local = [0.0] * len(local)
        if any(self._gap):
            width = sum(map(operator.mul, self._gap, local))
            by_local = [gap / math.expm1(width) for gap in self._gap]
        for over, under, signs in self._thresholds:
            height = sum(map(operator.mul, signs, local))
            p = 0.5 + 0.5 * math.tanh((d - height) / 2)  # a logistic that cannot overflow
            slope = over - (over + under) * p
            by_d += slope
            d_d += (over + under) * p * (1 - p)
            by_local = [own - sign * slope for own, sign in zip(by_local, signs, strict=True)]
        return _Slopes(by_d, by_local, d_d)
