"""The pairs that met, as rows: what every fit works on, whatever the number of votes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ratings.comparisons import MIRROR, BoolArray, FloatArray, IndexArray, Outcome, PairCounts
from ratings.errors import BadParameter

_WINNERS = {
    Outcome.a_won: [Outcome.a_much_better, Outcome.a_better, Outcome.a_won],
    Outcome.tied: [Outcome.tie, Outcome.tied],
    Outcome.b_won: [Outcome.b_much_better, Outcome.b_better, Outcome.b_won],
}


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """P rows of votes between `first` and `second` [P], in a `group` of voters [P].

    `votes` [8, P] holds the counts (or sums of weights) of each outcome as `first` as side A sees
    it, `weighted` [8, P] the sums of squared weights (None: every weight is 1). Where the sides matter a row is an ordered
    pair; otherwise both orders are folded into one row, which loses nothing.
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
        votes = np.zeros_like(self.votes)
        squares = None if self.weighted is None else np.zeros_like(self.weighted)
        for outcome, graded in _WINNERS.items():
            votes[outcome] = self.votes[graded].sum(axis=0)
            if squares is not None and self.weighted is not None:
                squares[outcome] = self.weighted[graded].sum(axis=0)
        return replace(self, votes=votes, weighted=squares)

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
            return self.votes.sum(axis=1, keepdims=True)
        return np.stack([np.bincount(self.group, row, self.n_groups) for row in self.votes])

    def matrix(self, outcomes: Sequence[Outcome]) -> FloatArray:
        """[M, M]: votes in which i had one of these outcomes against j, as side A would see it."""
        m, own = self.n_models, list(outcomes)
        as_first = np.bincount(self.first * m + self.second, self.votes[own].sum(axis=0), m * m)
        as_second = np.bincount(
            self.second * m + self.first, self.votes[MIRROR[own]].sum(axis=0), m * m
        )
        total: FloatArray = (as_first + as_second).reshape(m, m)
        return total


def pairs_of(counts: PairCounts | Sequence[PairCounts], *, ordered: bool = False) -> Pairs:
    """The rows of one group of voters, or of several (a `PairCounts` each, of the same models)."""
    groups = [counts] if isinstance(counts, PairCounts) else list(counts)
    if len({group.n_models for group in groups}) != 1:
        raise BadParameter("the groups must be counts of the same models")
    parts = [_rows(group, ordered=ordered) for group in groups]
    sizes = [part[0].size for part in parts]
    cells, votes, squares = (np.concatenate(column, axis=-1) for column in zip(*parts, strict=True))
    first, second = np.divmod(cells, max(groups[0].n_models, 1))
    return Pairs(
        n_models=groups[0].n_models,
        n_groups=len(groups),
        first=first,
        second=second,
        group=np.repeat(np.arange(len(groups)), sizes),
        votes=votes,
        weighted=squares if any(group.weighted for group in groups) else None,
    )


def _rows(counts: PairCounts, *, ordered: bool) -> tuple[IndexArray, FloatArray, FloatArray]:
    """Flat cells [P] with votes, with votes and squares [8, P]."""
    planes = counts.counts if ordered else _folded(counts.counts)
    seen = planes.any(axis=0)
    met = np.flatnonzero(seen if ordered else np.triu(seen))
    votes = _at(planes, met)
    if counts.squares is counts.counts:
        return met, votes, votes
    return met, votes, _at(counts.squares if ordered else _folded(counts.squares), met)


def _folded(planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Both orders of a pair, as either side sees it."""
    return planes + planes[MIRROR].transpose(0, 2, 1)


def _at(planes: npt.NDArray[Any], cells: IndexArray) -> FloatArray:
    return planes.reshape(len(Outcome), -1)[:, cells].astype(np.float64)
