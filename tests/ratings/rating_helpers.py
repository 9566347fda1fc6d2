"""Votes for tests, and the whole way from counts to ranks in one call."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ratings import bradley_terry
from ratings.comparisons import FloatArray, Outcome, PairCounts
from ratings.fitting import Fit, Start, fit
from ratings.intervals import Intervals, sandwich
from ratings.likelihood import (
    BRADLEY_TERRY,
    DAVIDSON,
    GRADED,
    RAO_KUPPER,
    STEREOTYPE,
    Likelihood,
)
from ratings.pairs import pairs_of
from ratings.ranking import Ranks, rank

DATA = Path(__file__).parents[1] / "data"
CROWD_VOTES = DATA.parents[1] / "arena" / "demo" / "llmfao_crowd_votes.csv"

WIN, TIE = Outcome.a_won, Outcome.tied

LIKELIHOODS = {
    "bt": BRADLEY_TERRY,
    "davidson": DAVIDSON,
    "rao_kupper": RAO_KUPPER,
    "graded": GRADED,
    "stereotype": STEREOTYPE,
}
GRADE_MODELS = (GRADED, STEREOTYPE)
ONE_MAXIMUM = [name for name in LIKELIHOODS if name != "stereotype"]
"""Concave ones: they converge on any votes."""

LOCAL = {
    "bt": [],
    "davidson": [-0.3],
    "rao_kupper": [0.5],
    "graded": [0.4, 1.7],
    "stereotype": [0.2, 0.6, 0.45],
}
"""Local parameters that are like real ones."""


def reference(name: str) -> dict[str, Any]:
    return json.loads((DATA / "reference_ratings.json").read_text())[name]


def counted(n_models: int, votes: Iterable[tuple[int, int, int]]) -> PairCounts:
    counts = PairCounts(n_models)
    columns = np.array(list(votes), dtype=np.int64).reshape(-1, 3)
    counts.add(*columns.T)
    return counts


def crowd_counts(models: list[str]) -> PairCounts:
    ids = {model: i for i, model in enumerate(models)}
    codes = {"model_a": Outcome.a_won, "tie": Outcome.tied, "model_b": Outcome.b_won}
    with CROWD_VOTES.open(encoding="utf-8", newline="") as file:
        return counted(
            len(models),
            [
                (ids[v["model_a"]], ids[v["model_b"]], codes[v["winner"]])
                for v in csv.DictReader(file)
            ],
        )


def wildbench_counts(models: list[str]) -> PairCounts:
    ids = {model: i for i, model in enumerate(models)}
    counts = PairCounts(len(models))
    with (DATA / "wildbench_graded_counts.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            cell = counts.graded[:, ids[line["model"]], ids[line["ref_model"]]]
            cell += [int(line[name]) for name in ("win_much", "win", "tie", "lose", "lose_much")]
    return counts


def answers(likelihood: Likelihood) -> list[Outcome]:
    """The outcomes of one vote, each other's only alternatives."""
    if likelihood in GRADE_MODELS:
        return list(Outcome)[:5]
    return (
        [Outcome.a_won, Outcome.tied, Outcome.b_won] if likelihood.kinds else [WIN, Outcome.b_won]
    )


def chances(
    likelihood: Likelihood, theta: FloatArray, local: list[float], side: float = 0.0
) -> FloatArray:
    """Probability [M, M, K] of each of the `answers` when the first model is shown first."""
    m = len(theta)
    d = (theta[:, None] - theta + side).ravel()
    votes = np.eye(8)[:, :, None] * np.ones(m * m)
    each = [
        np.exp(likelihood.values(d, np.array(local).reshape(-1, 1), likelihood.told(votes[answer])))
        for answer in answers(likelihood)
    ]
    return np.stack(each, axis=-1).reshape(m, m, -1)


def drawn(
    rng: np.random.Generator, likelihood: Likelihood, chances: FloatArray, votes: FloatArray
) -> PairCounts:
    """Counts of one simulated log, with `votes` [M, M] between every two models."""
    counts = PairCounts(len(votes))
    answered = rng.multinomial(votes.astype(np.int64), chances)
    counts.counts[answers(likelihood)] = np.moveaxis(answered, -1, 0)
    return counts


def random_counts(
    rng: np.random.Generator, likelihood: Likelihood, *, n_models: int = 5, n_votes: int = 120
) -> PairCounts:
    """Any votes that the likelihood understands; all kinds, one tier."""
    a = rng.integers(0, n_models, n_votes)
    b = (a + rng.integers(1, n_models, n_votes)) % n_models
    outcomes = list(Outcome) if likelihood in GRADE_MODELS else list(Outcome)[5:]
    outcome = rng.choice(outcomes, n_votes)
    counts = PairCounts(n_models)
    counts.add(a, b, np.where(rng.random(n_votes) < 0.3 * (b - a), outcomes[0], outcome))
    return counts


def fit_of(
    likelihood: Likelihood,
    counts: PairCounts | list[PairCounts],
    *,
    side: bool = False,
    start: Start | None = None,
) -> Fit:
    pairs = pairs_of(counts, ordered=side)
    if likelihood not in GRADE_MODELS:
        pairs = pairs.winners()
    return fit(likelihood, pairs, side=side, start=start)


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
