"""Votes for tests, and the whole way from counts to ranks in one call."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ratings import bradley_terry
from ratings.comparisons import FloatArray, Outcome, PairCounts
from ratings.fitting import Fit, Start
from ratings.intervals import Intervals, sandwich
from ratings.ranking import Ranks, rank

DATA = Path(__file__).parents[1] / "data"

WIN, TIE = Outcome.a_won, Outcome.tied


def reference(name: str) -> dict[str, Any]:
    return json.loads((DATA / "reference_ratings.json").read_text())[name]


def counted(n_models: int, votes: Iterable[tuple[int, int, int]]) -> PairCounts:
    counts = PairCounts(n_models)
    columns = np.array(list(votes), dtype=np.int64).reshape(-1, 3)
    counts.add(*columns.T)
    return counts


@dataclass(frozen=True)
class Rated:
    fit: Fit
    intervals: Intervals
    ranks: Ranks

    @property
    def theta(self) -> FloatArray:
        return self.fit.theta


def of_points(points: FloatArray) -> PairCounts:
    """Counts in which i scored `points[i, j]` against j: a half win is half a vote."""
    counts = PairCounts(len(points), weighted=True)
    counts.counts[Outcome.a_won] = counts.squares[Outcome.a_won] = points
    return counts


def rated(counts: PairCounts, start: Start | None = None) -> Rated:
    fitted = bradley_terry.fit(counts, start=start)
    intervals = sandwich(fitted)
    return Rated(fitted, intervals, rank(fitted, intervals))
