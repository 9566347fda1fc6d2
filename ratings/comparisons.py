"""Pair counts: how often each ordered pair of models met, by outcome.

They are sufficient for every model without per-vote covariates, so that counting is the only
step whose cost grows with the number of votes.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from ratings.errors import BadComparisons

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


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


_GRADES = 5
_A_WINS = (Outcome.a_much_better, Outcome.a_better, Outcome.a_won)
_TIES = (Outcome.tie, Outcome.tied)
_B_WINS = (Outcome.b_much_better, Outcome.b_better, Outcome.b_won)


class PairCounts:
    """Integer counts C[a, b, outcome] of the ordered pairs (a shown first), int64[M, M, 8].

    Graded and winner-only votes are kept apart: a winner is never read as a grade.
    """

    __slots__ = ("counts",)

    def __init__(self, n_models: int) -> None:
        self.counts: IntArray = np.zeros((n_models, n_models, len(Outcome)), dtype=np.int64)

    @property
    def n_models(self) -> int:
        return len(self.counts)

    @property
    def votes(self) -> int:
        return int(self.counts.sum())

    @property
    def graded(self) -> IntArray:
        """C[M, M, 5], from `a_much_better` to `b_much_better`; a view."""
        return self.counts[:, :, :_GRADES]

    @property
    def winner_only(self) -> IntArray:
        """C[M, M, 3]: `a_won`, `tied`, `b_won`; a view."""
        return self.counts[:, :, _GRADES:]

    def add(self, model_a: npt.ArrayLike, model_b: npt.ArrayLike, outcome: npt.ArrayLike) -> None:
        """Count votes in place, in O(votes).

        `model_a`, `model_b` are integer arrays [n] of ids below M, `outcome` an integer array
        [n] of `Outcome`. Raises `BadComparisons` with the first bad row, and counts nothing then.
        """
        np.add.at(self.counts.reshape(-1), self._cells(model_a, model_b, outcome), 1)

    def remove(
        self, model_a: npt.ArrayLike, model_b: npt.ArrayLike, outcome: npt.ArrayLike
    ) -> None:
        """Take votes out again, in place; arguments as in `add`.

        Raises `BadComparisons` when a vote was never counted, and removes nothing then.
        """
        cells = self._cells(model_a, model_b, outcome)
        flat = self.counts.reshape(-1)
        distinct, first, times = np.unique(cells, return_index=True, return_counts=True)
        missing = flat[distinct] < times
        if missing.any():
            raise BadComparisons(
                "this vote was never counted, it cannot be removed", row=int(first[missing].min())
            )
        flat[distinct] -= times

    def resized(self, n_models: int) -> PairCounts:
        """A copy with room for `n_models` ≥ M models; ids keep their meaning."""
        larger = PairCounts(n_models)
        larger.counts[: self.n_models, : self.n_models] = self.counts
        return larger

    def selected(self, models: npt.ArrayLike) -> PairCounts:
        """A copy with only these models, in this order (integer ids)."""
        ids = np.asarray(models, dtype=np.int64)
        chosen = PairCounts(len(ids))
        chosen.counts[:] = self.counts[np.ix_(ids, ids)]
        return chosen

    def wins(self) -> FloatArray:
        """W[M, M]: votes that i won against j, whichever side it was shown on."""
        return _total(self.counts, _A_WINS) + _total(self.counts, _B_WINS).T

    def ties(self) -> FloatArray:
        """T[M, M]: ties between i and j; symmetric."""
        ties = _total(self.counts, _TIES)
        return ties + ties.T

    def grades(self) -> IntArray:
        """G[M, 5]: each model's graded votes, from its own view: won much … lost much."""
        as_a, as_b = self.graded.sum(axis=1), self.graded.sum(axis=0)
        grades: IntArray = as_a + as_b[:, ::-1]
        return grades

    def _cells(
        self, model_a: npt.ArrayLike, model_b: npt.ArrayLike, outcome: npt.ArrayLike
    ) -> IntArray:
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
            if ids.size and not (ids.min() >= 0 and ids.max() < limit):
                row = int(np.argmax((ids < 0) | (ids >= limit)))
                raise BadComparisons(
                    f"{what} is {ids[row]}, it must be from 0 to {limit - 1}", row=row
                )
        same = a == b
        if same.any():
            row = int(np.argmax(same))
            raise BadComparisons(f"model {a[row]} is compared with itself", row=row)
        return (a * self.n_models + b) * len(Outcome) + result


def _ids(values: npt.ArrayLike, name: str) -> IntArray:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise BadComparisons(f"{name} must be a one-dimensional array of integers")
    return array.astype(np.int64, copy=False)


def _total(counts: IntArray, outcomes: tuple[Outcome, ...]) -> FloatArray:
    total: FloatArray = counts[:, :, list(outcomes)].sum(axis=2).astype(np.float64)
    return total
