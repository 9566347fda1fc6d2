"""Votes for tests, and the whole way from counts to ranks in one call."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ratings.bradley_terry import Fit, fit
from ratings.comparisons import FloatArray, Outcome, PairCounts
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


def rated(counts: PairCounts, start: FloatArray | None = None) -> Rated:
    wins, ties = counts.wins(), counts.ties()
    fitted = fit(wins + ties / 2, start)
    intervals = sandwich(fitted, wins, ties)
    return Rated(fitted, intervals, rank(fitted, intervals, wins))
