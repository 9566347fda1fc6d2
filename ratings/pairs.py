"""The pairs that met, as rows: what every fit works on, whatever the number of votes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ratings.comparisons import MIRROR, BoolArray, FloatArray, IndexArray, Outcome, PairCounts
from ratings.errors import BadParameter

_WINNER: dict[int, Outcome] = {
    **dict.fromkeys((Outcome.a_much_better, Outcome.a_better, Outcome.a_won), Outcome.a_won),
    **dict.fromkeys((Outcome.tie, Outcome.tied), Outcome.tied),
    **dict.fromkeys((Outcome.b_much_better, Outcome.b_better, Outcome.b_won), Outcome.b_won),
}
"""What each outcome says of the winner alone."""

_WINNERS = np.zeros((len(Outcome), len(Outcome)))
"""[8, 8]: the same as sums over outcomes."""
for _outcome, _winner in _WINNER.items():
    _WINNERS[_winner, _outcome] = 1

_POINTS = _WINNERS[Outcome.a_won] + _WINNERS[Outcome.tied] / 2
"""[8]: what each outcome scores for `first`."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """P rows of votes between `first` and `second` [P], in a `group` of voters [P].

    `votes` [8, P] holds the counts (or sums of weights) of each outcome as `first` as side A sees
    it, `weighted` [8, P] the sums of squared weights (None: every weight is 1). Where the sides
    matter a row is an ordered pair; otherwise both orders are folded into one row.
    """

    n_models: int
    n_groups: int
    first: IndexArray
    second: IndexArray
    group: IndexArray
    votes: FloatArray
    weighted: FloatArray | None = None

    @property
    def squares(self) -> FloatArray:
        """Sums [8, P] of squared weights."""
        return self.votes if self.weighted is None else self.weighted

    def where(self, kept: BoolArray) -> Pairs:
        """Only the rows that are `kept` [P]."""
        if kept.all():
            return self
        return replace(
            self,
            first=self.first[kept],
            second=self.second[kept],
            group=self.group[kept],
            votes=self.votes[:, kept],
            weighted=None if self.weighted is None else self.weighted[:, kept],
        )

    def winners(self) -> Pairs:
        """The same votes without their grades; for models that only look at who won."""
        squares = None if self.weighted is None else _WINNERS @ self.weighted
        return replace(self, votes=_WINNERS @ self.votes, weighted=squares)

    def equal_votes(self) -> FloatArray:
        """The votes [8, P] of weight 1 that tell as much as the weighted ones (Kish 1965)."""
        if self.weighted is None:
            return self.votes
        weights, squares = self.votes.sum(axis=0), self.weighted.sum(axis=0)
        equal: FloatArray = self.votes * (weights / squares)
        return equal

    def totals(self) -> FloatArray:
        """Votes [8, G] of each outcome in each group."""
        if self.n_groups == 1:
            total: FloatArray = self.votes.sum(axis=1, keepdims=True)
            return total
        return np.stack([summed(self.group, row, self.n_groups) for row in self.votes])

    def matrix(self, outcomes: Iterable[int]) -> FloatArray:
        """[M, M]: votes in which i had one of these outcomes against j, as side A would see it."""
        return self._worth(_one_for(outcomes))

    def points(self) -> FloatArray:
        """[M, M]: what i scored against j: 1 for a win, ½ for a tie."""
        return self._worth(_POINTS)

    def _worth(self, worth: FloatArray) -> FloatArray:
        """[M, M]: Σ of what its outcome is `worth` [8] of each vote that i had against j."""
        m = self.n_models
        total = summed(self.first * m + self.second, worth @ self.votes, m * m)
        total += summed(self.second * m + self.first, worth[MIRROR] @ self.votes, m * m)
        return total.reshape(m, m)

    def between(self, values: FloatArray) -> FloatArray:
        """[M, M]: Σ of `values` [P] of the rows of two models, symmetric."""
        m = self.n_models
        one_way = summed(self.first * m + self.second, values, m * m).reshape(m, m)
        return one_way + one_way.T

    def had(self, outcomes: Iterable[int]) -> BoolArray:
        """[M, M]: whether i had one of these outcomes against j, as side A would see it."""
        had: BoolArray = self.matrix(outcomes) > 0
        return had

    def any_of(self, outcomes: Iterable[int]) -> BoolArray:
        """[P]: whether a row has any of these outcomes."""
        any_of: BoolArray = _one_for(outcomes) @ self.votes > 0
        return any_of

    def had_by_model(self, outcomes: Iterable[int]) -> FloatArray:
        """[M]: votes in which i had one of these outcomes, as side A would see it."""
        had: FloatArray = self.matrix(outcomes).sum(axis=1)
        return had


def pairs_of(
    counts: PairCounts | Sequence[PairCounts], *, ordered: bool = False, winners: bool = False
) -> Pairs:
    """The rows of one group of voters, or of several (a `PairCounts` each, of the same models).

    With `winners` they are those of `Pairs.winners`, made in fewer steps.
    """
    groups = [counts] if isinstance(counts, PairCounts) else list(counts)
    if len({group.n_models for group in groups}) != 1:
        raise BadParameter("the groups must be counts of the same models")
    parts = [
        _rows(counts, group, ordered=ordered, winners=winners)
        for group, counts in enumerate(groups)
    ]
    if len(parts) == 1:
        return parts[0]
    weighted = any(group.weighted for group in groups)
    return replace(
        parts[0],
        n_groups=len(groups),
        first=np.concatenate([part.first for part in parts]),
        second=np.concatenate([part.second for part in parts]),
        group=np.concatenate([part.group for part in parts]),
        votes=np.concatenate([part.votes for part in parts], axis=1),
        weighted=np.concatenate([part.squares for part in parts], axis=1) if weighted else None,
    )


def _rows(counts: PairCounts, group: int, *, ordered: bool, winners: bool) -> Pairs:
    m, planes = counts.n_models, counts.counts
    seen = planes.any(axis=0)
    there = np.flatnonzero(seen if ordered else np.triu(seen | seen.T))
    first, second = np.divmod(there, m)
    back = second * m + first

    def votes(of: npt.NDArray[Any]) -> FloatArray:
        """The votes [8, P] of these rows, in few arrays at a time: memory costs more than sums."""
        cells, found = of.reshape(len(Outcome), -1), np.zeros((len(Outcome), len(there)))
        for outcome in np.flatnonzero(of.any(axis=(1, 2))).tolist():
            own, other = outcome, int(MIRROR[outcome])
            found[_WINNER[own] if winners else own] += cells[outcome][there]
            if not ordered:
                found[_WINNER[other] if winners else other] += cells[outcome][back]
        return found

    return Pairs(
        n_models=m,
        n_groups=1,
        first=first,
        second=second,
        group=np.full(len(first), group),
        votes=votes(planes),
        weighted=votes(counts.squares) if counts.weighted else None,
    )


def _one_for(outcomes: Iterable[int]) -> FloatArray:
    one = np.zeros(len(Outcome))
    one[list(outcomes)] = 1.0
    return one


def summed(place: IndexArray, values: FloatArray, size: int) -> FloatArray:
    """Σ of `values` [P] by their place, [size]."""
    if size == 1:
        total: FloatArray = values.sum(keepdims=True)
        return total
    return np.bincount(place, values, size).astype(np.float64, copy=False)
