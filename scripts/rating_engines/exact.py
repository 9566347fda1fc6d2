"""The exact maximum of the Bradley-Terry likelihood, slow and in extended precision."""

from __future__ import annotations

from typing import Any

import numpy as np

from rating_engines.votes import Job, Votes


def arrays(votes: Votes) -> Job:
    m = votes.n_models
    points = np.zeros((m, m))
    np.add.at(points, (votes.a, votes.b), votes.points())
    np.add.at(points, (votes.b, votes.a), 1.0 - votes.points())
    return Job(lambda: maximum(points), theta=lambda theta: theta, warm_up=False)


def maximum(points: Any) -> Any:
    """Newton with the score in extended precision: the steps' own errors correct each other."""
    votes = points + points.T
    won = points.sum(axis=1).astype(np.longdouble)
    theta = np.log((won + 0.5) / (points.sum(axis=0) + 0.5))
    for _ in range(100):
        p = 1 / (1 + np.exp(theta - theta[:, None]))
        score = won - (votes * p).sum(axis=1)
        weight = (votes * p * (1 - p)).astype(np.float64)
        information = np.diag(weight.sum(axis=1)) - weight
        step = np.linalg.solve(information + 1.0, score.astype(np.float64))
        theta = theta + step
        if np.abs(step).max() < 1e-15:  # noqa: PLR2004 - nats
            return (theta - theta.mean()).astype(np.float64)
    raise ArithmeticError("Newton's method did not converge to the exact maximum")
