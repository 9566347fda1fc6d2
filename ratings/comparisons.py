"""Pair counts: how often each ordered pair of models met, by outcome.

They are sufficient for every model without per-vote covariates, so that counting is the only
step whose cost grows with the number of votes.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from ratings.errors import BadComparisons, BadParameter

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]
IdArray = npt.NDArray[np.integer]
BoolArray = npt.NDArray[np.bool_]


class Outcome(IntEnum):
    """What one vote said: a grade (the first five), or a winner only (the last three)."""

    a_much_better = 0
    a_better = 1
    tie = 2
    b_better = 3
    b_much_better = 4
    a_won = 5
    tied = 6
    b_won = 7


_MEANING = {
    (2, "model_a"): Outcome.a_much_better,
    (1, "model_a"): Outcome.a_better,
    (0, "tie"): Outcome.tie,
    (0, "both_bad"): Outcome.tie,
    (-1, "model_b"): Outcome.b_better,
    (-2, "model_b"): Outcome.b_much_better,
    (None, "model_a"): Outcome.a_won,
    (None, "tie"): Outcome.tied,
    (None, "both_bad"): Outcome.tied,
    (None, "model_b"): Outcome.b_won,
}


def outcome_of(grade: int | None, winner: str) -> Outcome:
    """What a vote says; raises `ValueError` when grade and winner contradict each other."""
    found = _MEANING.get((grade, winner))
    if found is None:
        raise ValueError(f"grade {grade!r} and winner {winner!r} do not make a vote")
    return found


MIRROR: IndexArray = np.array([4, 3, 2, 1, 0, 7, 6, 5])
"""The same vote seen from the other side."""

_GRADES = 5
_A_WINS = (Outcome.a_much_better, Outcome.a_better, Outcome.a_won)
_TIES = (Outcome.tie, Outcome.tied)
_CHUNK = 2**16
_FULL = 2**30 - 1
"""The most votes one count holds, so that both orders of a pair fit into 32 bits together."""


class PairCounts:
    """Counts C[outcome, a, b] of the ordered pairs (a shown first), [8, M, M].

    Integers, or sums of weights when `weighted`; `squares` then holds the sums of their squares,
    which the variance of an estimate needs. Graded and winner-only votes are kept apart: a winner
    is never read as a grade.
    """

    __slots__ = ("_squares", "counts")

    def __init__(self, n_models: int, *, weighted: bool = False) -> None:
        shape = (len(Outcome), n_models, n_models)
        self.counts: npt.NDArray[np.int32] | FloatArray
        self._squares: FloatArray | None
        if weighted:
            self.counts, self._squares = np.zeros(shape), np.zeros(shape)
        else:
            self.counts, self._squares = np.zeros(shape, dtype=np.int32), None

    @property
    def n_models(self) -> int:
        return int(self.counts.shape[1])

    @property
    def votes(self) -> float:
        """How many votes, or the sum of their weights."""
        return float(self.counts.sum())

    @property
    def weighted(self) -> bool:
        return self._squares is not None

    @property
    def squares(self) -> npt.NDArray[np.int32] | FloatArray:
        """Sums [8, M, M] of squared weights; the counts themselves where every weight is 1."""
        return self.counts if self._squares is None else self._squares

    @property
    def graded(self) -> npt.NDArray[np.int32] | FloatArray:
        """C[5, M, M], from `a_much_better` to `b_much_better`; a view."""
        return self.counts[:_GRADES]

    @property
    def winner_only(self) -> npt.NDArray[np.int32] | FloatArray:
        """C[3, M, M]: `a_won`, `tied`, `b_won`; a view."""
        return self.counts[_GRADES:]

    def add(
        self,
        model_a: npt.ArrayLike,
        model_b: npt.ArrayLike,
        outcome: npt.ArrayLike,
        weight: npt.ArrayLike | None = None,
    ) -> None:
        """Count votes in place, in O(votes).

        `model_a`, `model_b` are integer arrays [n] of ids below M, `outcome` an integer array
        [n] of `Outcome`, `weight` [n] finite and not negative (default 1 each; only where
        `weighted`). Raises `BadComparisons` with the first bad row, or where a count of whole
        votes could pass 2³⁰, and counts nothing then.
        """
        a, b, result = self._checked(model_a, model_b, outcome)
        weights = None if weight is None else self._weights(weight, len(a))
        if not self.weighted:
            touched = self.counts[result, a, b] if len(a) * 8 < self.counts.size else self.counts
            if touched.max(initial=0) + len(a) > _FULL:
                raise BadComparisons(
                    "two models have a billion votes of one kind; no more can be added"
                )
        flat = self.counts.reshape(-1)
        once = flat.dtype.type(1)  # np.add.at is slow with a number of another type
        for part, cells in self._cells(a, b, result):
            np.add.at(flat, cells, once if weights is None else weights[part])
            if self._squares is not None:
                squared = once if weights is None else weights[part] ** 2
                np.add.at(self._squares.reshape(-1), cells, squared)

    def remove(
        self, model_a: npt.ArrayLike, model_b: npt.ArrayLike, outcome: npt.ArrayLike
    ) -> None:
        """Take unweighted votes out again, in place; arguments as in `add`.

        Raises `BadComparisons` when a vote was never counted, and removes nothing then;
        `BadParameter` when the counts are `weighted`.
        """
        if self.weighted:
            raise BadParameter("votes cannot be removed from counts with weights; count anew")
        a, b, result = self._checked(model_a, model_b, outcome)
        cells = np.ravel_multi_index((result, a, b), self.counts.shape)
        flat = self.counts.reshape(-1)
        distinct, first, times = np.unique(cells, return_index=True, return_counts=True)
        missing = flat[distinct] < times
        if missing.any():
            raise BadComparisons(
                "this vote was never counted, it cannot be removed", row=int(first[missing].min())
            )
        flat[distinct] -= times.astype(flat.dtype)

    def resized(self, n_models: int) -> PairCounts:
        """A copy with room for `n_models` ≥ M models; ids keep their meaning."""
        room = [(0, 0), (0, n_models - self.n_models), (0, n_models - self.n_models)]
        return self._like(lambda planes: np.pad(planes, room))

    def selected(self, models: npt.ArrayLike) -> PairCounts:
        """A copy with only these models, in this order (integer ids)."""
        ids = np.asarray(models, dtype=np.intp)
        return self._like(lambda planes: planes[:, ids[:, None], ids])

    def wins(self) -> FloatArray:
        """W[M, M]: votes that i won against j, whichever side it was shown on."""
        a_won = self.counts[list(_A_WINS)].sum(axis=0, dtype=np.float64)
        b_won = self.counts[MIRROR[list(_A_WINS)]].sum(axis=0, dtype=np.float64)
        won: FloatArray = a_won + b_won.T
        return won

    def ties(self) -> FloatArray:
        """T[M, M]: ties between i and j; symmetric."""
        ties: FloatArray = self.counts[list(_TIES)].sum(axis=0, dtype=np.float64)
        return ties + ties.T

    def grades(self) -> IntArray:
        """G[M, 5]: each model's graded votes, from its own view: won much … lost much."""
        as_a, as_b = self.graded.sum(axis=2), self.graded.sum(axis=1)
        grades: IntArray = (as_a + as_b[::-1]).T.astype(np.int64)
        return grades

    def mean_win_rates(self) -> FloatArray:
        """HELM's mean win rate [M]: the share won (ties half) of the votes against each opponent
        met, averaged over these opponents; NaN without any. Blind to who the opponents were.

        Source: Liang et al. (2022), https://arxiv.org/abs/2211.09110.
        """
        points = self.wins() + self.ties() / 2
        votes = points + points.T
        share = np.divide(points, votes, out=np.zeros_like(points), where=votes > 0)
        opponents = np.count_nonzero(votes, axis=1)
        rates = np.full(self.n_models, np.nan)
        np.divide(share.sum(axis=1), opponents, out=rates, where=opponents > 0)
        return rates

    def _like(self, change: Any) -> PairCounts:
        copy = PairCounts.__new__(PairCounts)
        # numpy lays out what it picks in an order of its own; `add` counts in a flat view
        copy.counts = np.ascontiguousarray(change(self.counts))
        copy._squares = (
            None if self._squares is None else np.ascontiguousarray(change(self._squares))
        )
        return copy

    def _weights(self, weight: npt.ArrayLike, n: int) -> FloatArray:
        weights = np.asarray(weight, dtype=np.float64)
        if self._squares is None:
            raise BadParameter("these counts have no weights; make them with weighted=True")
        if weights.shape != (n,):
            raise BadComparisons(f"{n} votes have {weights.size} weights")
        bad = ~(np.isfinite(weights) & (weights >= 0))
        if bad.any():
            row = int(np.argmax(bad))
            raise BadComparisons(
                f"the weight is {weights[row]}, it must be finite and not negative", row=row
            )
        return weights

    def _checked(
        self, model_a: npt.ArrayLike, model_b: npt.ArrayLike, outcome: npt.ArrayLike
    ) -> tuple[IdArray, IdArray, IdArray]:
        a, b, result = _ids(model_a, "model_a"), _ids(model_b, "model_b"), _ids(outcome, "outcome")
        if not a.shape == b.shape == result.shape:
            raise BadComparisons(
                f"the arrays differ in length: {a.size} model_a, {b.size} model_b, "
                f"{result.size} outcome"
            )
        for ids, limit, what in (
            (a, self.n_models, "model_a"),
            (b, self.n_models, "model_b"),
            (result, len(Outcome), "outcome"),
        ):
            _check_range(ids, limit, what)
        for part in _chunks(len(a)):
            if (same := a[part] == b[part]).any():
                row = part.start + int(np.argmax(same))
                raise BadComparisons(f"model {a[row]} is compared with itself", row=row)
        return a, b, result

    def _cells(
        self, a: IdArray, b: IdArray, outcome: IdArray
    ) -> Iterator[tuple[slice, IndexArray]]:
        """The flat index of each vote's count, a chunk of votes at a time, in the same array."""
        small = np.min_scalar_type(-self.counts.size).type  # half the bytes, twice as fast
        m = small(self.n_models)
        narrow = np.empty(min(len(a), _CHUNK), dtype=small)
        wide = np.empty(len(narrow), dtype=np.intp)
        for part in _chunks(len(a)):
            found = narrow[: len(a[part])]
            found[:] = outcome[part]
            found *= m
            found += a[part]
            found *= m
            found += b[part]
            cells = wide[: len(found)]
            cells[:] = found
            yield part, cells


def _chunks(n: int) -> Iterator[slice]:
    """Chunks of n votes: their arrays stay in the processor's cache, and few calls are made."""
    return (slice(start, start + _CHUNK) for start in range(0, n, _CHUNK))


def _ids(values: npt.ArrayLike, name: str) -> npt.NDArray[np.integer]:
    array = np.asarray(values)
    if array.ndim == 1 and not array.size:
        return np.zeros(0, dtype=np.int64)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise BadComparisons(f"{name} must be a one-dimensional array of integers")
    # numpy mixes uint64 with signed integers to floats
    return array.astype(np.int64) if array.dtype == np.uint64 else array


def _check_range(ids: npt.NDArray[np.integer], limit: int, what: str) -> None:
    # seen as unsigned, negative ids are large ones
    if ids.size and ids.view(ids.dtype.str.replace("i", "u")).max() >= limit:
        row = int(np.argmax((ids < 0) | (ids >= limit)))
        raise BadComparisons(f"{what} is {ids[row]}, it must be from 0 to {limit - 1}", row=row)
