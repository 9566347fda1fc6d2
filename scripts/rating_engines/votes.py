"""Synthetic votes on disk, and what an engine makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

SKILL_SD = 0.7
THRESHOLDS = (-1.5, -0.4, 0.4, 1.5)
NEWCOMERS = (10, 30, 100)
"""Votes of the newest models; all other pairs are drawn uniformly."""

STYLE = (0.24, 0.10, 0.05, -0.05, 0.03, 0.0, 0.0, 0.0)
"""Effects of the covariates on the log odds, in nats per standard deviation."""

WINNERS = ("model_a", "model_a", "tie", "model_b", "model_b")


@dataclass(frozen=True)
class Job:
    """One measurement: `call` is timed, `theta` reads strengths [M] in nats from its result."""

    call: Callable[[], Any]
    theta: Callable[[Any], Any] | None = None
    times: float = 1.0
    """What the time is multiplied by, when `call` does a part of a job that is equal parts."""
    warm_up: bool = True


@dataclass(frozen=True)
class Votes:
    """`a`, `b`, `grade` int64[n]: models 0…M−1, and from 0 (a much better) to 4 (b much better)."""

    folder: Path
    n_models: int
    a: Any = field(repr=False)
    b: Any = field(repr=False)
    grade: Any = field(repr=False)

    @classmethod
    def load(cls, folder: Path) -> Votes:
        a, b, grade = (np.load(folder / f"{name}.npy") for name in ("a", "b", "grade"))
        return cls(folder, int(max(a.max(), b.max())) + 1, a, b, grade)

    @cached_property
    def features(self) -> Any:
        """Covariates float32[n, 8], standardised."""
        return np.load(self.folder / "features.npy")

    @cached_property
    def models(self) -> list[str]:
        """Names, in the order of the ids and of the alphabet."""
        return [f"model-{i:03d}" for i in range(self.n_models)]

    def columns(self) -> dict[str, list[str]]:
        """The votes as strings, one object per value, as a file reader makes them."""
        names = np.array(self.models)
        return {
            "model_a": names[self.a].tolist(),
            "model_b": names[self.b].tolist(),
            "winner": np.array(WINNERS)[self.grade].tolist(),
        }

    def points(self) -> Any:
        """What side a scored, float64[n]: 1, ½ or 0."""
        return np.array([1.0, 1.0, 0.5, 0.0, 0.0])[self.grade]


def generate(folder: Path, n_votes: int, n_models: int, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    skill = rng.normal(0.0, SKILL_SD, n_models)
    veterans = n_models - len(NEWCOMERS)
    skill[veterans:] = 0.3  # far from winning everything: the exact maximum is finite
    a = rng.integers(0, veterans, n_votes)
    b = (a + rng.integers(1, veterans, n_votes)) % veterans
    newest = np.repeat(np.arange(veterans, n_models), NEWCOMERS)
    a[-len(newest) :], b[-len(newest) :] = newest, rng.integers(0, veterans, len(newest))
    turned = rng.random(n_votes) < 0.5  # noqa: PLR2004 - a coin
    a, b = np.where(turned, b, a), np.where(turned, a, b)
    features = rng.standard_normal((n_votes, len(STYLE)), dtype=np.float32)
    lead = skill[a] - skill[b] + features @ np.array(STYLE) + rng.logistic(size=n_votes)
    grade = len(THRESHOLDS) - np.searchsorted(THRESHOLDS, lead)
    for name, array in {"a": a, "b": b, "grade": grade, "features": features}.items():
        np.save(folder / f"{name}.npy", array)
