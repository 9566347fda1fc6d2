"""Bradley-Terry strengths with ties as half wins, by Newton's method on pair counts.

Source: Hunter (2004), https://doi.org/10.1214/aos/1079120141; for the virtual tie between tiers
Haldane (1956) and Anscombe (1956), who add one half to both counts of an empirical logit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit, log_expit

from ratings.comparisons import FloatArray
from ratings.connectivity import Connectivity, IndexArray, connectivity
from ratings.errors import BadParameter

TOLERANCE = 1e-9
"""A fit has converged when Newton's last step moved no strength by more than this, in nats."""

MAX_STEPS = 100


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Strengths `theta` [M] in nats, and how they were reached.

    Each component is centred apart, on the models of its core tiers. Inside a tier, strengths are
    the exact maximum of the likelihood of the votes inside it, whatever the other tiers did.
    The place of one tier against another has no finite maximum: there `theta` is the estimate with
    one virtual tie between every two tiers that met, shared out over their votes.
    """

    theta: FloatArray
    points: FloatArray
    connectivity: Connectivity
    converged: bool
    steps: int


def fit(points: FloatArray, start: FloatArray | None = None) -> Fit:
    """Fit strengths to `points` [M, M]: what i scored against j, a win 1 and a tie ½ to each.

    `start` [M], in nats, makes a warm start; NaN where nothing is known. The result does not
    depend on it beyond the tolerance. Without votes every strength is 0.

    Raises `BadParameter` when `points` is not a square matrix of finite non-negative numbers with
    an empty diagonal, or `start` has another length.
    """
    _check(points, start)
    joined = connectivity(points)
    theta = _likelier(points, _cold_start(points), start)
    maxima = [_fit_tier(points, theta, joined, tier) for tier in _crowded(joined)]
    alone = np.bincount(joined.tier, minlength=joined.n_tiers)[joined.tier] == 1
    theta[alone] = 0.0
    maxima += [_place_tiers(points, theta, joined, c) for c in range(joined.n_components)]
    return Fit(
        theta=theta,
        points=points,
        connectivity=joined,
        converged=all(found.converged for found in maxima),
        steps=max((found.steps for found in maxima), default=0),
    )


def log_likelihood(points: FloatArray, theta: FloatArray) -> float:
    """Σ points_ij · log σ(θ_i − θ_j)."""
    return float(np.sum(points * log_expit(theta[:, None] - theta)))


def gradient(points: FloatArray, theta: FloatArray) -> FloatArray:
    """Derivative [M] of `log_likelihood` by each strength."""
    p = expit(theta[:, None] - theta)
    pull: FloatArray = points * p.T
    slope: FloatArray = pull.sum(axis=1) - pull.sum(axis=0)
    return slope


def information(points: FloatArray, theta: FloatArray) -> FloatArray:
    """Minus the second derivative [M, M] of `log_likelihood`: a weighted Laplacian, singular."""
    p = expit(theta[:, None] - theta)
    return laplacian((points + points.T) * p * p.T)


def laplacian(weight: FloatArray) -> FloatArray:
    """diag(Σ_j w_ij) − w of a symmetric weight [M, M]."""
    return np.diag(weight.sum(axis=1)) - weight


def grounded(singular: FloatArray) -> FloatArray:
    """Add to a Laplacian [M, M] what makes it invertible and moves no difference of strengths."""
    m = len(singular)
    # of the size of its diagonal: the condition number must not depend on the number of votes
    regular: FloatArray = singular + np.trace(singular) / m**2
    return regular


@dataclass(frozen=True, slots=True, eq=False)
class _Maximum:
    theta: FloatArray
    converged: bool
    steps: int


def _newton(points: FloatArray, theta: FloatArray, groups: FloatArray | None = None) -> _Maximum:
    """Maximise the likelihood over θ, or over shifts of whole `groups` (indicator [M, K])."""
    reached = log_likelihood(points, theta)
    for steps in range(1, MAX_STEPS + 1):
        slope, curvature = gradient(points, theta), information(points, theta)
        if groups is None:
            step = _solve(curvature, slope)
        else:
            step = groups @ _solve(groups.T @ curvature @ groups, groups.T @ slope)
        slack = 1e-12 * abs(reached)  # rounding, near the maximum
        while (value := log_likelihood(points, theta + step)) < reached - slack:
            step = step / 2
        theta, reached = theta + step, value
        if np.abs(step).max() <= TOLERANCE:
            return _Maximum(theta, converged=True, steps=steps)
    return _Maximum(theta, converged=False, steps=MAX_STEPS)


def _solve(curvature: FloatArray, slope: FloatArray) -> FloatArray:
    step: FloatArray = cho_solve(cho_factor(grounded(curvature)), slope)
    return step


def _fit_tier(points: FloatArray, theta: FloatArray, joined: Connectivity, tier: int) -> _Maximum:
    inside = np.flatnonzero(joined.tier == tier)
    found = _newton(points[np.ix_(inside, inside)], theta[inside])
    theta[inside] = found.theta - found.theta.mean()
    return found


def _place_tiers(
    points: FloatArray, theta: FloatArray, joined: Connectivity, component: int
) -> _Maximum:
    inside = joined.members(component)
    tiers, label = np.unique(joined.tier[inside], return_inverse=True)
    found = _Maximum(theta[inside], converged=True, steps=0)
    if len(tiers) > 1:
        groups = np.eye(len(tiers))[label]
        votes = _with_virtual_ties(points[np.ix_(inside, inside)], groups)
        found = _newton(votes, theta[inside], groups)
    core = joined.core[joined.tier[inside]]
    theta[inside] = found.theta - found.theta[core].mean()
    return found


def _with_virtual_ties(points: FloatArray, groups: FloatArray) -> FloatArray:
    """Only the votes between tiers, and one virtual tie for every two tiers that met."""
    between = np.where(groups @ groups.T > 0, 0.0, points)
    met = between + between.T
    votes = groups @ (groups.T @ met @ groups) @ groups.T
    shared = np.divide(met, 2 * votes, out=np.zeros_like(met), where=met > 0)
    strengthened: FloatArray = between + shared
    return strengthened


def _crowded(joined: Connectivity) -> IndexArray:
    return np.flatnonzero(np.bincount(joined.tier, minlength=joined.n_tiers) > 1)


def _cold_start(points: FloatArray) -> FloatArray:
    won, lost = points.sum(axis=1), points.sum(axis=0)
    start: FloatArray = np.log((won + 0.5) / (lost + 0.5))
    return start


def _likelier(points: FloatArray, cold: FloatArray, start: FloatArray | None) -> FloatArray:
    if start is None:
        return cold
    warm = np.where(np.isfinite(start), start, cold)
    # a start far off would leave no curvature for Newton's first step
    return warm if log_likelihood(points, warm) > log_likelihood(points, cold) else cold


def _check(points: FloatArray, start: FloatArray | None) -> None:
    if points.ndim != 2 or points.shape[0] != points.shape[1]:  # noqa: PLR2004 - a matrix
        raise BadParameter(f"points must be a square matrix, not of shape {points.shape}")
    if not (np.isfinite(points).all() and (points >= 0).all() and not points.diagonal().any()):
        raise BadParameter("points must be finite, not negative, and zero on the diagonal")
    if start is not None and start.shape != points.shape[:1]:
        raise BadParameter(f"start must have one value per model, {len(points)}")
