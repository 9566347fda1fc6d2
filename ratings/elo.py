"""Online Elo: every vote moves its two models at once, in log order.

It is for continuity and live motion, not for the official rank. The result depends on the order of
the votes, it never settles (its scatter is set by K, however long the log), and it has no honest
interval: rank by `bradley_terry` instead.

Source: Elo (1978), The Rating of Chessplayers; K = 4 as in the first leaderboard of Chatbot Arena,
Zheng et al. (2023), https://arxiv.org/abs/2306.05685.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ratings.comparisons import FloatArray, IntArray
from ratings.errors import BadComparisons, BadParameter
from ratings.scale import MEAN, PER_NAT

K = 4.0
"""Rating points at stake in one vote."""

_UNIT = 2 * PER_NAT  # ratings are kept as half nats above the initial one: tanh takes those
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class EloRatings:
    """`ratings` [M] in rating points, and the number of `votes` [M] that made each of them.

    A model without votes stands at `initial`.
    """

    ratings: FloatArray
    votes: IntArray
    k: float
    initial: float


class Elo:
    """Ratings of M models that move with every vote.

    After a vote the rating of a moves by K·(s − p), that of b by as much the other way: s is a's
    score (a tie is ½) and p = 1 / (1 + 10^((r_b − r_a) / 400)). Their sum never changes.
    """

    __slots__ = ("_initial", "_k", "_lead", "_votes")

    def __init__(self, n_models: int, *, k: float = K, initial: float = MEAN) -> None:
        """Start M models at `initial` points. Raises `BadParameter` for an unusable number."""
        if n_models < 0:
            raise BadParameter(f"there cannot be {n_models} models")
        if not (math.isfinite(k) and k > 0):
            raise BadParameter(f"k must be finite and more than 0, not {k}")
        if not math.isfinite(initial):
            raise BadParameter(f"the initial rating must be finite, not {initial}")
        self._k = float(k)
        self._initial = float(initial)
        self._lead = [0.0] * n_models
        self._votes: IntArray = np.zeros(n_models, dtype=np.int64)

    @property
    def n_models(self) -> int:
        return len(self._lead)

    def update(self, model_a: npt.ArrayLike, model_b: npt.ArrayLike, score: npt.ArrayLike) -> None:
        """Advance by votes in their order, in place; parts give what one call would.

        `model_a`, `model_b` are integer arrays [n] of ids below M, `score` [n] what a scored: 1,
        ½ or 0. Raises `BadComparisons` with the first bad row, and moves nothing then.
        """
        a, b = self._ids(model_a, "model_a"), self._ids(model_b, "model_b")
        scored = _scores(score)
        _check_votes(a, b, scored)
        for start in range(0, len(a), _CHUNK):  # Python numbers of all votes would fill the memory
            part = slice(start, start + _CHUNK)
            self._play(a[part].tolist(), b[part].tolist(), (2.0 * scored[part] - 1.0).tolist())
        self._votes += np.bincount(a, minlength=self.n_models)
        self._votes += np.bincount(b, minlength=self.n_models)

    def resized(self, n_models: int) -> Elo:
        """A copy with room for `n_models` ≥ M models; ids keep their meaning, new ones begin.

        Raises `BadParameter` when models would be lost.
        """
        if n_models < self.n_models:
            raise BadParameter(f"{self.n_models} models have no room among {n_models}")
        larger = Elo(n_models, k=self._k, initial=self._initial)
        larger._lead[: self.n_models] = self._lead
        larger._votes[: self.n_models] = self._votes
        return larger

    def result(self) -> EloRatings:
        """The ratings as they stand; later votes do not change what was returned."""
        ratings = self._initial + _UNIT * np.array(self._lead, dtype=np.float64)
        return EloRatings(ratings, self._votes.copy(), self._k, self._initial)

    def _play(self, a: list[int], b: list[int], sign: list[float]) -> None:
        lead, tanh, half_k = self._lead, math.tanh, self._k / 2 / _UNIT
        for i, j, won in zip(a, b, sign, strict=True):
            # K·(s − p), because 2p − 1 = tanh(d / 2), which no gap can make overflow
            change = half_k * (won - tanh(lead[i] - lead[j]))
            lead[i] += change
            lead[j] -= change

    def _ids(self, values: npt.ArrayLike, name: str) -> IntArray:
        ids = np.asarray(values)
        if ids.ndim == 1 and not ids.size:
            return np.zeros(0, dtype=np.int64)
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
            raise BadComparisons(f"{name} must be a one-dimensional array of integers")
        if ids.min() < 0 or ids.max() >= self.n_models:
            row = int(np.argmax((ids < 0) | (ids >= self.n_models)))
            raise BadComparisons(f"{name} is {ids[row]}, there are {self.n_models} models", row=row)
        return ids.astype(np.int64, copy=False)


def _scores(values: npt.ArrayLike) -> FloatArray:
    scores = np.asarray(values)
    if scores.size and not np.isdtype(scores.dtype, ("integral", "real floating")):
        raise BadComparisons("score must be an array of numbers")
    return scores.astype(np.float64, copy=False)


def _check_votes(a: IntArray, b: IntArray, score: FloatArray) -> None:
    if not a.shape == b.shape == score.shape:
        raise BadComparisons(
            f"the arrays differ in length: {a.size} model_a, {b.size} model_b, {score.size} score"
        )
    same = a == b
    if same.any():
        row = int(np.argmax(same))
        raise BadComparisons(f"model {a[row]} is compared with itself", row=row)
    bad = ~np.isin(score, (1.0, 0.5, 0.0))
    if bad.any():
        row = int(np.argmax(bad))
        raise BadComparisons(f"the score is {score[row]}, it must be 1, 0.5 or 0", row=row)
