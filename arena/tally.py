"""The votes of one campaign as a rating needs them: columns, and counts for every category.

Numbers instead of rows: 30 bytes a vote, and one count of pairs for each board.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from arena.boards import OVERALL
from ratings.comparisons import FloatArray, Outcome, PairCounts
from ratings.intervals import Ballots

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

_Columns = dict[str, npt.NDArray[Any]]
_TYPES: dict[str, type] = {
    "seq": np.int64,
    "model_a": np.int32,
    "model_b": np.int32,
    "voter": np.int32,
    "propensity": np.float32,
    "outcome": np.int8,
}
_Key = TypeVar("_Key", bound=Hashable)
_REMOVED = -1  # below every outcome
_BUFFERED_VOTES = 2**16


class Vote(NamedTuple):
    """What a board needs of a vote. `seq` grows; `winner` may be `both_bad`, which is a tie."""

    seq: int
    model_a: str
    model_b: str
    grade: int | None
    winner: str
    voter: str | None = None
    propensity: float | None = None
    categories: tuple[str, ...] = ()


class Tally:
    """Votes counted as they come: `add` is O(1) amortised, `remove` O(log votes)."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._voters: dict[str | None, int] = {None: -1}
        self._columns: _Columns = {name: np.zeros(0, kind) for name, kind in _TYPES.items()}
        self._filled = 0
        self._removed = 0
        self._buffer: list[Vote] = []
        self._slices: dict[str, _Slice] = {OVERALL: _Slice()}

    def add(self, vote: Vote) -> None:
        """Count a vote.

        Raises `ValueError` when grade and winner contradict each other, or the models are one.
        """
        _outcome(vote.grade, vote.winner)
        if vote.model_a == vote.model_b:
            raise ValueError(f"model {vote.model_a!r} is compared with itself")
        self._buffer.append(vote)
        if len(self._buffer) >= _BUFFERED_VOTES:
            self._flush()

    def add_columns(
        self,
        *,
        seq: Sequence[int],
        model_a: Sequence[str],
        model_b: Sequence[str],
        grade: Sequence[int | None],
        winner: Sequence[str],
        voter: Sequence[str | None] | None = None,
        propensity: Sequence[float | None] | None = None,
        categories: Sequence[tuple[str, ...]] | None = None,
    ) -> None:
        """Count votes given by column, equally long and in the order of `seq`: much faster."""
        self._flush()
        n = len(seq)
        fresh: _Columns = {
            "seq": np.fromiter(seq, np.int64, n),
            "model_a": _coded(model_a, self._ids),
            "model_b": _coded(model_b, self._ids),
            "voter": _coded(voter or [None] * n, self._voters, first=-1),
            "propensity": np.array(propensity or [math.nan] * n, np.float32),
            "outcome": np.fromiter(map(_outcome, grade, winner), np.int8, n),
        }
        start = self._append(fresh, n)
        self._slices[OVERALL].count(fresh, len(self._ids))
        for category, chosen in _by_category(categories or ()):
            part = self._slices.setdefault(category, _Slice(np.zeros(0, dtype=np.int32)))
            part.remember(start + chosen)
            part.count({name: column[chosen] for name, column in fresh.items()}, len(self._ids))

    def remove(self, seq: int) -> frozenset[str]:
        """Take a vote out again; returns the categories it was in.

        Raises `ValueError` when no vote has this `seq`, or it was removed before.
        """
        self._flush()
        place = int(np.searchsorted(self._columns["seq"][: self._filled], seq))
        vote = {name: column[place : place + 1] for name, column in self._columns.items()}
        if place >= self._filled or vote["seq"][0] != seq or vote["outcome"][0] == _REMOVED:
            raise ValueError(f"there is no vote {seq} to remove")
        touched = frozenset(key for key, part in self._slices.items() if part.holds(place))
        for category in touched:
            self._slices[category].remove(vote)
        vote["outcome"][:] = _REMOVED
        self._removed += 1
        return touched

    def categories(self) -> list[str]:
        """The whole, then the categories that have votes, sorted."""
        self._flush()
        return [OVERALL, *sorted(k for k, s in self._slices.items() if s.votes and k != OVERALL)]

    def votes(self, category: str = OVERALL) -> int:
        self._flush()
        return self._slices[category].votes if category in self._slices else 0

    def graded(self) -> int:
        """Votes that have a grade."""
        self._flush()
        return int(self._slices[OVERALL].counts.graded.sum())

    def voters(self, category: str = OVERALL) -> int:
        """How many people are behind the votes."""
        votes_of = np.bincount(self._column("voter", category) + 1)  # of nobody known: -1
        return int(np.count_nonzero(votes_of[1:]))

    def counted(self, category: str = OVERALL) -> tuple[list[str], PairCounts]:
        """The models that have votes, sorted by name, and their counts in that order."""
        self._flush()
        counts = self._slices[category].counts if category in self._slices else PairCounts(0)
        seen = counts.counts.sum(axis=(0, 1)) + counts.counts.sum(axis=(0, 2))
        known = set(np.flatnonzero(seen).tolist())
        models = sorted(model for model, index in self._ids.items() if index in known)
        return models, counts.selected([self._ids[model] for model in models])

    def ballots(self, names: list[str], category: str = OVERALL) -> Ballots:
        """The votes one by one, in log order; models by their place in `names`."""
        place = self._place_of(names)
        return Ballots(
            model_a=place[self._column("model_a", category)],
            model_b=place[self._column("model_b", category)],
            outcome=self._column("outcome", category).astype(np.intp),
            voter=self._column("voter", category),
        )

    def propensities(self, category: str = OVERALL) -> FloatArray:
        """The probability [n] with which each vote's pair was drawn; NaN where unknown."""
        return self._column("propensity", category).astype(np.float64)

    def _place_of(self, names: list[str]) -> npt.NDArray[np.intp]:
        place = np.full(len(self._ids), -1, dtype=np.intp)
        place[[self._ids[name] for name in names]] = np.arange(len(names))
        return place

    def _column(self, name: str, category: str) -> npt.NDArray[Any]:
        """One column of the votes that count, in log order."""
        self._flush()
        part = self._slices.get(category, _Slice(np.zeros(0, dtype=np.int32)))
        column: npt.NDArray[Any] = part.of(self._columns[name][: self._filled])
        if not self._removed:
            return column
        kept: npt.NDArray[Any] = column[part.of(self._columns["outcome"][: self._filled]) >= 0]
        return kept

    def _flush(self) -> None:
        if self._buffer:
            votes, self._buffer = self._buffer, []
            columns: Any = zip(*votes, strict=True)
            self.add_columns(**dict(zip(Vote._fields, columns, strict=True)))

    def _append(self, fresh: _Columns, n: int) -> int:
        """Keep the votes; returns the place of the first."""
        start, self._filled = self._filled, self._filled + n
        if self._filled > len(self._columns["seq"]):
            room = max(self._filled, len(self._columns["seq"]) * 5 // 4)
            self._columns = {name: np.resize(old, room) for name, old in self._columns.items()}
        for name, column in fresh.items():
            self._columns[name][start : self._filled] = column
        return start


class _Slice:
    """The votes of one category: their counts, and their places among all votes (None: all)."""

    def __init__(self, places: npt.NDArray[np.int32] | None = None) -> None:
        self.counts = PairCounts(0)
        self.votes = 0
        self._places = places
        self._filled = 0

    def count(self, votes: _Columns, n_models: int) -> None:
        if self.counts.n_models < n_models:
            self.counts = self.counts.resized(n_models)
        self.counts.add(votes["model_a"], votes["model_b"], votes["outcome"])
        self.votes += len(votes["seq"])

    def remove(self, votes: _Columns) -> None:
        self.counts.remove(votes["model_a"], votes["model_b"], votes["outcome"])
        self.votes -= len(votes["seq"])

    def remember(self, places: npt.NDArray[np.intp]) -> None:
        assert self._places is not None  # noqa: S101  the whole need not be told its places
        start, self._filled = self._filled, self._filled + len(places)
        if self._filled > len(self._places):
            self._places = np.resize(self._places, max(self._filled, len(self._places) * 5 // 4))
        self._places[start : self._filled] = places

    def of(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What the column says of the votes that are in it."""
        return column if self._places is None else column[self._places[: self._filled]]

    def holds(self, place: int) -> bool:
        if self._places is None:
            return True
        places = self._places[: self._filled]
        found = int(np.searchsorted(places, place))
        return found < len(places) and int(places[found]) == place


def _outcome(grade: int | None, winner: str) -> Outcome:
    outcome = _OUTCOMES.get((grade, winner))
    if outcome is None:
        raise ValueError(f"grade {grade!r} and winner {winner!r} do not make a vote")
    return outcome


def _coded(values: Sequence[_Key], codes: dict[_Key, int], first: int = 0) -> npt.NDArray[np.int32]:
    """The code of each value; new ones get the next, counting on from `first`."""
    for value in set(values) - codes.keys():
        codes[value] = len(codes) + first
    return np.fromiter(map(codes.__getitem__, values), np.int32, len(values))


def _by_category(
    categories: Sequence[tuple[str, ...]],
) -> Iterator[tuple[str, npt.NDArray[np.intp]]]:
    """Each category that occurs, with the places of its votes, ascending."""
    sets: dict[tuple[str, ...], int] = {}
    code = _coded(categories, sets)
    for category in {key for keys in sets for key in keys}:
        wanted = [number for keys, number in sets.items() if category in keys]
        yield category, np.flatnonzero(np.isin(code, wanted))
