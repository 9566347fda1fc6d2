"""The votes of one campaign as a rating needs them: columns, and counts for every category.

Numbers instead of rows: 30 bytes a vote, and one count of pairs for each board.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
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

_COLUMNS = np.dtype(
    [
        ("seq", np.int64),
        ("model_a", np.int32),
        ("model_b", np.int32),
        ("voter", np.int32),
        ("propensity", np.float32),
        ("outcome", np.int8),
    ]
)
_Key = TypeVar("_Key", bound=Hashable)
_REMOVED = -1
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
        self._rows = np.zeros(0, dtype=_COLUMNS)
        self._filled = 0
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

    def add_many(self, votes: Iterable[Vote]) -> None:
        """Count votes; as `add`. Those before a bad one stay counted."""
        for vote in votes:
            self.add(vote)

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
        rows = np.empty(len(seq), dtype=_COLUMNS)
        rows["seq"] = seq
        rows["model_a"], rows["model_b"] = _coded(model_a, self._ids), _coded(model_b, self._ids)
        rows["voter"] = -1 if voter is None else _coded(voter, self._voters, first=-1)
        rows["propensity"] = math.nan if propensity is None else np.array(propensity, np.float32)
        rows["outcome"] = np.fromiter(map(_outcome, grade, winner), np.int8, len(seq))
        places = self._append(rows)
        self._slices[OVERALL].count(rows, len(self._ids))
        for category, chosen in _by_category(categories or ()):
            part = self._slices.setdefault(category, _Slice(np.zeros(0, dtype=np.int32)))
            part.remember(places + chosen)
            part.count(rows[chosen], len(self._ids))

    def remove(self, seq: int) -> frozenset[str]:
        """Take a vote out again; returns the categories it was in.

        Raises `ValueError` when no vote has this `seq`, or it was removed before.
        """
        self._flush()
        place = int(np.searchsorted(self._rows["seq"][: self._filled], seq))
        row = self._rows[place : place + 1]
        if place >= self._filled or row["seq"][0] != seq or row["outcome"][0] == _REMOVED:
            raise ValueError(f"there is no vote {seq} to remove")
        touched = frozenset(key for key, part in self._slices.items() if part.holds(place))
        for category in touched:
            self._slices[category].remove(row)
        row["outcome"] = _REMOVED
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
        voter = self._chosen(category)["voter"]
        return int(np.count_nonzero(np.bincount(voter[voter >= 0])))

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
        rows = self._chosen(category)
        place = self._place_of(names)
        return Ballots(
            model_a=place[rows["model_a"]],
            model_b=place[rows["model_b"]],
            outcome=rows["outcome"].astype(np.intp),
            voter=rows["voter"],
        )

    def propensities(self, category: str = OVERALL) -> FloatArray:
        """The probability [n] with which each vote's pair was drawn; NaN where unknown."""
        return self._chosen(category)["propensity"].astype(np.float64)

    def _place_of(self, names: list[str]) -> npt.NDArray[np.intp]:
        place = np.full(len(self._ids), -1, dtype=np.intp)
        place[[self._ids[name] for name in names]] = np.arange(len(names))
        return place

    def _chosen(self, category: str) -> npt.NDArray[Any]:
        self._flush()
        rows = self._rows[: self._filled]
        rows = self._slices[category].of(rows) if category in self._slices else rows[:0]
        kept: npt.NDArray[Any] = rows[rows["outcome"] != _REMOVED]
        return kept

    def _flush(self) -> None:
        if self._buffer:
            votes, self._buffer = self._buffer, []
            columns: Any = zip(*votes, strict=True)
            self.add_columns(**dict(zip(Vote._fields, columns, strict=True)))

    def _append(self, rows: npt.NDArray[Any]) -> int:
        """Keep the rows; returns the place of the first."""
        start, self._filled = self._filled, self._filled + len(rows)
        if self._filled > len(self._rows):
            self._rows = np.resize(self._rows, max(self._filled, len(self._rows) * 3 // 2))
        self._rows[start : self._filled] = rows
        return start


class _Slice:
    """The votes of one category: their counts, and their places among all votes (None: all)."""

    def __init__(self, places: npt.NDArray[np.int32] | None = None) -> None:
        self.counts = PairCounts(0)
        self.votes = 0
        self._places = None if places is None else [places]

    def count(self, rows: npt.NDArray[Any], n_models: int) -> None:
        if self.counts.n_models < n_models:
            self.counts = self.counts.resized(n_models)
        self.counts.add(rows["model_a"], rows["model_b"], rows["outcome"])
        self.votes += len(rows)

    def remove(self, rows: npt.NDArray[Any]) -> None:
        self.counts.remove(rows["model_a"], rows["model_b"], rows["outcome"])
        self.votes -= len(rows)

    def remember(self, places: npt.NDArray[np.intp]) -> None:
        assert self._places is not None  # noqa: S101  the whole need not be told its places
        self._places.append(places.astype(np.int32))

    def of(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Those of the rows that are in it."""
        return rows if self._places is None else rows[self._joined()]

    def holds(self, place: int) -> bool:
        if self._places is None:
            return True
        places = self._joined()
        found = int(np.searchsorted(places, place))
        return found < len(places) and int(places[found]) == place

    def _joined(self) -> npt.NDArray[np.int32]:
        assert self._places is not None  # noqa: S101
        if len(self._places) > 1:
            self._places = [np.concatenate(self._places)]
        return self._places[0]


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
