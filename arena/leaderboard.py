"""Boards from votes: the only caller of `ratings`.

A board is a pure function of the votes and the method's configuration: neither the order of the
votes nor a warm start changes it.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rfc8785

from arena.boards import METHODS, document
from arena.errors import InvalidField
from arena.vote_file import Progress, read_votes
from ratings import scale
from ratings.bradley_terry import TOLERANCE, Fit, fit
from ratings.comparisons import FloatArray, Outcome, PairCounts
from ratings.intervals import Intervals, sandwich
from ratings.ranking import Ranks, rank

LEVEL = 0.95

INTERVALS = ("sandwich", "bootstrap")
_AVAILABLE = {"method": ("auto", "bt"), "interval": ("sandwich",)}

_OUTCOMES = {
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

_BUFFERED_VOTES = 2**16

Vote = tuple[str, str, int | None, str]
"""`model_a`, `model_b`, grade (None where only the winner is known), winner."""


def check_method(name: str) -> Literal["bt"]:
    """The method that `name` stands for; `auto` chooses.

    Raises `InvalidField` for one that is unknown or not available yet.
    """
    _check("method", name, METHODS)
    return "bt"


def check_interval(name: str) -> Literal["sandwich"]:
    """Raises `InvalidField` for an interval that is unknown or not available yet."""
    _check("interval", name, INTERVALS)
    return "sandwich"


def _check(field: str, name: str, known: tuple[str, ...]) -> None:
    available = _AVAILABLE[field]
    if name not in available:
        problem = "is not available yet" if name in known else "is unknown"
        raise InvalidField(
            f"The {field} '{name}' {problem}; available: {', '.join(available)}.", field=field
        )


# --- counting -----------------------------------------------------------------------------------


class Tally:
    """The votes of one board, counted by pair of models and outcome as they come.

    `add` is buffered, O(1) amortised; `remove` is O(1) once the buffer is empty.
    """

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._counts = PairCounts(0)
        self._buffer = (array("q"), array("q"), array("q"))

    @property
    def votes(self) -> int:
        return self._counts.votes + len(self._buffer[0])

    def add(self, model_a: str, model_b: str, grade: int | None, winner: str) -> None:
        """Count a vote. `winner` is `model_a`, `model_b`, `tie` or `both_bad`.

        Raises `ValueError` when grade and winner contradict each other, or the models are one.
        """
        self.add_many([(model_a, model_b, grade, winner)])

    def add_many(self, votes: Iterable[Vote]) -> None:
        """Count votes; as `add`. Those before a bad one stay counted."""
        ids, (side_a, side_b, outcomes) = self._ids, self._buffer
        for model_a, model_b, grade, winner in votes:
            outcome = _outcome(model_a, model_b, grade, winner)
            side_a.append(ids.setdefault(model_a, len(ids)))
            side_b.append(ids.setdefault(model_b, len(ids)))
            outcomes.append(outcome)
            if len(outcomes) >= _BUFFERED_VOTES:
                self._flush()

    def remove(self, model_a: str, model_b: str, grade: int | None, winner: str) -> None:
        """Take a vote out again; as `add`. Raises `ValueError` when it was never counted."""
        outcome = _outcome(model_a, model_b, grade, winner)
        self._flush()
        unknown = {model_a, model_b} - self._ids.keys()
        if unknown:
            raise ValueError(f"there is no vote of {', '.join(sorted(unknown))} to remove")
        self._counts.remove([self._ids[model_a]], [self._ids[model_b]], [outcome])

    def counted(self) -> tuple[list[str], PairCounts]:
        """The models that have votes, sorted by name, and their counts in that order."""
        self._flush()
        seen = self._counts.counts.sum(axis=(1, 2)) + self._counts.counts.sum(axis=(0, 2))
        models = sorted(model for model, index in self._ids.items() if seen[index])
        return models, self._counts.selected([self._ids[model] for model in models])

    def _flush(self) -> None:
        if self._counts.n_models < len(self._ids):
            self._counts = self._counts.resized(len(self._ids))
        self._counts.add(*(np.array(column, dtype=np.int64) for column in self._buffer))
        for column in self._buffer:
            del column[:]


def _outcome(model_a: str, model_b: str, grade: int | None, winner: str) -> Outcome:
    outcome = _OUTCOMES.get((grade, winner))
    if outcome is None:
        raise ValueError(f"grade {grade!r} and winner {winner!r} do not make a vote")
    if model_a == model_b:
        raise ValueError(f"model {model_a!r} is compared with itself")
    return outcome


# --- rating -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One model of a board. Ratings are on the Elo scale, a bound may be infinite.

    Ranks hold inside the row's `component` (from 1, the largest): models of different components
    share no scale.
    `grades` counts the graded votes as the model sees them, from won much to lost much.
    """

    model: str
    rank: int
    rank_lower: int
    rank_upper: int
    rating: float
    rating_lower: float
    rating_upper: float
    votes: int
    wins: int
    losses: int
    ties: int
    grades: tuple[int, int, int, int, int]
    component: int

    def to_json(self) -> dict[str, Any]:
        """The row as the contract has it: infinite bounds are null."""
        row = {name: getattr(self, name) for name in _ROW_FIELDS}
        for bound in ("rating_lower", "rating_upper"):
            if math.isinf(row[bound]):
                row[bound] = None
        row["grades"] = list(self.grades)
        return row


_ROW_FIELDS = tuple(field.name for field in fields(Row))


@dataclass(frozen=True, slots=True)
class Board:
    """Rated models, best first, with the configuration that pins every number.

    `start` holds strengths in nats for a warm start of the next fit.
    """

    method: str
    config: dict[str, Any]
    rows: tuple[Row, ...]
    converged: bool
    components: int
    start: Mapping[str, float]


def compute(
    tally: Tally,
    *,
    method: str = "auto",
    interval: str = "sandwich",
    anchor: tuple[str, float] | None = None,
    start: Mapping[str, float] | None = None,
) -> Board:
    """Rate all models of a tally.

    `anchor` is a model and the rating it is fixed at; without one each component has mean 1000.
    `start` is the `start` of an earlier board: it saves steps and changes nothing beyond 1e-9 nats.

    Raises `InvalidField` for a method or an interval that is not available, and for an anchor
    that has no votes here.
    """
    config = _config(check_method(method), check_interval(interval), anchor)
    names, counts = tally.counted()
    wins, ties = counts.wins(), counts.ties()
    fitted = fit(wins + ties / 2, _known(names, start))
    intervals = sandwich(fitted, wins, ties, LEVEL)
    rated = _rows(
        names,
        counts,
        fitted=fitted,
        intervals=intervals,
        ranks=rank(fitted, intervals, wins),
        zero=scale.zero_points(fitted.theta, fitted.connectivity, _anchor(names, anchor)),
    )
    return Board(
        method=config["method"],
        config=config,
        rows=tuple(sorted(rated, key=_best_first)),
        converged=fitted.converged,
        components=fitted.connectivity.n_components,
        start=dict(zip(names, fitted.theta.tolist(), strict=True)),
    )


def default_config() -> dict[str, Any]:
    """The configuration of a board that nobody asked to be different."""
    return _config("bt", "sandwich", None)


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of the configuration's RFC 8785 JSON, hex."""
    return hashlib.sha256(rfc8785.dumps(dict(config))).hexdigest()


def rate_file(
    path: Path,
    *,
    method: str = "auto",
    interval: str = "sandwich",
    anchor: tuple[str, float] | None = None,
    progress: Progress | None = None,
) -> Board:
    """Rate the models of a vote file; votes with an `excluded_reason` do not count.

    Raises `BadFile` for the file and `InvalidField` for the options, these before reading.
    """
    check_method(method)
    check_interval(interval)
    tally = Tally()
    tally.add_many(
        (vote.model_a, vote.model_b, vote.grade, vote.winner)
        for vote in read_votes(path, progress)
        if vote.excluded_reason is None
    )
    return compute(tally, method=method, interval=interval, anchor=anchor)


def _config(method: str, interval: str, anchor: tuple[str, float] | None) -> dict[str, Any]:
    return {
        "method": method,
        "ties": "half_win",
        "interval": interval,
        "level": LEVEL,
        "scale": {"base": scale.BASE, "width": scale.WIDTH, "mean": scale.MEAN},
        "anchor": None if anchor is None else {"model": anchor[0], "rating": float(anchor[1])},
        "min_votes": 1,
        "unbounded": "one virtual tie, open interval",
        "tolerance": TOLERANCE,
    }


def _known(names: list[str], start: Mapping[str, float] | None) -> FloatArray | None:
    if start is None:
        return None
    return np.array([start.get(name, math.nan) for name in names], dtype=np.float64)


def _anchor(names: list[str], anchor: tuple[str, float] | None) -> scale.Anchor | None:
    if anchor is None:
        return None
    model, rating = anchor
    if model not in names:
        raise InvalidField(f"The anchor '{model}' has no votes here.", field="anchor")
    if not math.isfinite(rating):
        raise InvalidField(f"The anchor's rating must be a number, not {rating}.", field="anchor")
    return scale.Anchor(names.index(model), rating)


def _rows(
    names: list[str],
    counts: PairCounts,
    *,
    fitted: Fit,
    intervals: Intervals,
    ranks: Ranks,
    zero: FloatArray,
) -> list[Row]:
    wins, ties = counts.wins(), counts.ties().sum(axis=1)
    won, lost = wins.sum(axis=1), wins.sum(axis=0)
    columns = {
        "rank": ranks.rank,
        "rank_lower": ranks.lower,
        "rank_upper": ranks.upper,
        "rating": scale.to_rating(fitted.theta, zero),
        "rating_lower": scale.to_rating(intervals.lower, zero),
        "rating_upper": scale.to_rating(intervals.upper, zero),
        "votes": (won + lost + ties).astype(np.int64),
        "wins": won.astype(np.int64),
        "losses": lost.astype(np.int64),
        "ties": ties.astype(np.int64),
        "component": fitted.connectivity.component + 1,
    }
    cells = zip(*(column.tolist() for column in columns.values()), strict=True)
    grades = counts.grades().tolist()
    return [
        Row(name, grades=tuple(seen), **dict(zip(columns, row, strict=True)))
        for name, seen, row in zip(names, grades, cells, strict=True)
    ]


def _best_first(row: Row) -> tuple[float, str]:
    return -row.rating, row.model


def board_json(board: Board, *, file: str) -> dict[str, Any]:
    """The object of `GET /api/board` for a board that was not published, and where it is from."""
    return {
        **document(
            method=board.method,
            config=board.config,
            config_hash=config_hash(board.config),
            rows=[row.to_json() for row in board.rows],
        ),
        "file": file,
        "converged": board.converged,
        "components": board.components,
    }
