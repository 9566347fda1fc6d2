"""The votes of one campaign as a rating needs them: columns of numbers, 19 bytes a vote.

A flagged vote counts in the category `UNFILTERED` alone, which has all votes that were not removed.

Nothing is kept for each board: its counts are made anew when it is computed, which takes a
millisecond for each hundred thousand votes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from arena.boards import OVERALL
from arena.categories import UNFILTERED
from ratings.comparisons import BoolArray, FloatArray, IndexArray, Outcome, PairCounts, outcome_of
from ratings.intervals import Ballots

_TYPES: dict[str, type] = {
    "seq": np.uint32,
    "model_a": np.int16,
    "model_b": np.int16,
    "voter": np.int32,
    "kind": np.int16,
    "propensity": np.float32,
    "outcome": np.int8,
}
"""What a column begins with; it widens when a number comes that has no room."""
_Key = TypeVar("_Key", bound=Hashable)
_REMOVED = -1  # below every outcome
_FLAGGED = -2  # of a flagged vote: this minus its outcome
_WINNER_ONLY = Outcome.a_won  # this and the outcomes above it
_NOBODY = -1
_VOTER_BITS = 63


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
    """Votes as they come; any of them can be taken out again, or flagged."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._kinds: dict[tuple[str, ...], int] = {}
        self._voters = _Codes()
        self._columns: dict[str, npt.NDArray[Any]] = {
            name: np.zeros(0, kind) for name, kind in _TYPES.items()
        }
        self._filled = 0
        self._votes: Counter[str] = Counter()
        self._graded = 0
        self._flagged = 0

    def add(self, vote: Vote) -> None:
        """Count a vote; raises `ValueError` as `add_columns`."""
        self.add_columns(**{name: [value] for name, value in vote._asdict().items()})

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
        """Count votes given by column, equally long and in the order of `seq`.

        Raises `ValueError` when grade and winner contradict each other, or the models are one.
        """
        n = len(seq)
        names: dict[str, int] = {}
        kinds: dict[tuple[str, ...], int] = {}
        self.add_coded(
            seq=np.fromiter(seq, np.int64, n),
            model_a=numbered(model_a, names),
            model_b=numbered(model_b, names),
            outcome=np.fromiter(map(outcome_of, grade, winner), np.int8, n),
            voter=voter_keys(voter or [None] * n),
            propensity=np.array(propensity or [math.nan] * n, np.float32),
            kind=numbered(categories or [()] * n, kinds),
            models=names,
            kinds=kinds,
        )

    def add_coded(
        self,
        *,
        seq: npt.NDArray[np.integer],
        models: Iterable[str],
        model_a: npt.NDArray[np.integer],
        model_b: npt.NDArray[np.integer],
        outcome: npt.NDArray[np.integer],
        voter: npt.NDArray[np.int64],
        propensity: FloatArray | npt.NDArray[np.float32],
        kinds: Iterable[tuple[str, ...]],
        kind: npt.NDArray[np.integer],
    ) -> None:
        """The same of numbers: models by their place in `models`, categories by that in `kinds`.

        `voter` are `voter_keys`, `outcome` are `Outcome`s. Raises `ValueError` for a model that is
        compared with itself, and counts nothing then.
        """
        models, kinds = list(models), list(kinds)
        if (same := model_a == model_b).any():
            raise ValueError(
                f"model {models[model_a[int(same.argmax())]]!r} is compared with itself"
            )
        self._append(
            len(seq),
            seq=seq,
            model_a=numbered(models, self._ids)[model_a],
            model_b=numbered(models, self._ids)[model_b],
            voter=self._voters.of(voter),
            kind=numbered(kinds, self._kinds)[kind],
            propensity=propensity,
            outcome=outcome,
        )
        for keys, votes in zip(kinds, np.bincount(kind, minlength=len(kinds)), strict=True):
            self._count(keys, int(votes))
        self._graded += int(np.count_nonzero(outcome < _WINNER_ONLY))

    def remove(self, seq: int) -> frozenset[str]:
        """Take a vote out again; returns the categories it was in.

        Raises `ValueError` when no vote has this `seq`, or it was removed before.
        """
        place = self._place(seq)
        outcomes = self._columns["outcome"]
        if outcomes[place] == _REMOVED:
            raise ValueError(f"there is no vote {seq} to remove any more")
        if outcomes[place] <= _FLAGGED:
            self._flagged -= 1
            touched = {UNFILTERED}
        else:
            touched = self._uncount(place)
        outcomes[place] = _REMOVED
        return frozenset(touched)

    def flag(self, seq: int) -> frozenset[str]:
        """Leave a vote in `UNFILTERED` alone; returns the categories that this changes.

        None for one that is flagged or removed already. Raises `ValueError` when no vote has this
        `seq`.
        """
        place = self._place(seq)
        outcomes = self._columns["outcome"]
        if outcomes[place] <= _REMOVED:
            return frozenset()
        touched = self._uncount(place)
        self._flagged += 1
        outcomes[place] = _FLAGGED - outcomes[place]
        return frozenset({UNFILTERED, *touched})

    def _place(self, seq: int) -> int:
        column = self._columns["seq"][: self._filled]
        known = 0 <= seq <= np.iinfo(column.dtype).max
        # of another type than its column a number would have all of it converted
        place = int(np.searchsorted(column, column.dtype.type(seq))) if known else self._filled
        if place == self._filled or column[place] != seq:
            raise ValueError(f"there is no vote {seq} to remove or flag")
        return place

    def _uncount(self, place: int) -> set[str]:
        keys = list(self._kinds)[self._columns["kind"][place]]
        self._count(keys, -1)
        self._graded -= int(self._columns["outcome"][place] < _WINNER_ONLY)
        return {OVERALL, *keys}

    def categories(self) -> list[str]:
        """The whole, then the categories that have votes, sorted.

        `UNFILTERED` is one of them where votes are flagged: without any it would be the whole.
        """
        there = {key for key, votes in self._votes.items() if votes} - {OVERALL}
        return [OVERALL, *sorted(there | ({UNFILTERED} if self._flagged else set()))]

    def votes(self, category: str = OVERALL) -> int:
        if category == UNFILTERED:
            return self._votes[OVERALL] + self._flagged
        return self._votes[category]

    def graded(self) -> int:
        """Votes that have a grade."""
        return self._graded

    def voters(self, category: str = OVERALL) -> int:
        """How many people are behind the votes."""
        votes_of = np.bincount(self._column("voter", category) + 1)  # of nobody known: -1
        return int(np.count_nonzero(votes_of[1:]))

    def counted(self, category: str = OVERALL) -> tuple[list[str], PairCounts]:
        """The models that have votes, sorted by name, and their counts in that order."""
        chosen, counts = self._chosen(category), PairCounts(len(self._ids))
        counts.add(*(self._taken(name, chosen) for name in ("model_a", "model_b", "outcome")))
        met: BoolArray = np.asarray(counts.counts.any(axis=0))
        seen: BoolArray = np.asarray(met.any(axis=0) | met.any(axis=1))
        names = sorted(name for name, number in self._ids.items() if seen[number])
        return names, counts.selected([self._ids[name] for name in names])

    def ballots(self, names: list[str], category: str = OVERALL) -> Ballots:
        """The votes one by one, in log order; models by their place in `names`."""
        place, chosen = self._place_of(names), self._chosen(category)
        return Ballots(
            model_a=place[self._taken("model_a", chosen)],
            model_b=place[self._taken("model_b", chosen)],
            outcome=self._taken("outcome", chosen),
            voter=self._taken("voter", chosen),
        )

    def propensities(self, category: str = OVERALL) -> FloatArray:
        """The probability [n] with which each vote's pair was drawn; NaN where unknown."""
        return self._column("propensity", category).astype(np.float64)

    def _place_of(self, names: list[str]) -> npt.NDArray[np.int32]:
        place = np.full(len(self._ids), -1, dtype=np.int32)
        place[[self._ids[name] for name in names]] = np.arange(len(names))
        return place

    def _chosen(self, category: str) -> IndexArray | None:
        """The places of the votes that count in a category, in log order; None: all of them."""
        outcomes = self._columns["outcome"][: self._filled]
        if category == UNFILTERED:
            return np.flatnonzero(outcomes != _REMOVED)
        counts = None if self._votes[OVERALL] == self._filled else outcomes > _REMOVED
        if category == OVERALL:
            return None if counts is None else np.flatnonzero(counts)
        inside = np.array([category in keys for keys in self._kinds], dtype=np.bool_)
        chosen = inside[self._columns["kind"][: self._filled]]
        return np.flatnonzero(chosen if counts is None else chosen & counts)

    def _taken(self, name: str, chosen: IndexArray | None) -> npt.NDArray[Any]:
        column = self._columns[name][: self._filled]
        if chosen is None:
            return column
        taken = column[chosen]
        if name == "outcome" and self._flagged:
            return np.where(taken <= _FLAGGED, _FLAGGED - taken, taken)
        return taken

    def _column(self, name: str, category: str) -> npt.NDArray[Any]:
        return self._taken(name, self._chosen(category))

    def _count(self, keys: tuple[str, ...], votes: int) -> None:
        for key in {OVERALL, *keys}:
            self._votes[key] += votes

    def _append(self, n: int, **fresh: npt.NDArray[Any]) -> None:
        start, self._filled = self._filled, self._filled + n
        for name, column in fresh.items():
            old = self._columns[name]
            kind = _holding(column, old.dtype)
            if self._filled > len(old) or kind != old.dtype:  # one by one: two of each are many
                room = max(self._filled, len(old) * 9 // 8)
                # what is not written to takes no memory yet; np.resize would write, twice as much
                self._columns[name] = np.empty(room, kind)
                self._columns[name][:start] = old[:start]
            self._columns[name][start : self._filled] = column


def _holding(column: npt.NDArray[Any], kind: np.dtype[Any]) -> np.dtype[Any]:
    """The type, or a wider one that holds the column's numbers, too."""
    if kind.kind == "f" or not len(column):
        return kind
    least, most = int(column.min()), int(column.max())
    return next(
        np.promote_types(kind, wider)
        for wider in (kind, np.int16, np.int32, np.int64)
        if np.iinfo(wider).min <= least and most <= np.iinfo(wider).max
    )


def voter_keys(voters: Sequence[str | None]) -> npt.NDArray[np.int64]:
    """A number for each voter's name, the same in every process, and -1 for nobody.

    Of a billion voters two share a number with a probability of 5 %.
    """
    keys = {voter: _NOBODY if voter is None else _voter_key(voter) for voter in set(voters)}
    return np.fromiter(map(keys.__getitem__, voters), np.int64, len(voters))


def _voter_key(voter: str) -> int:
    digest = blake2b(voter.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) >> (64 - _VOTER_BITS)


class _Codes:
    """Numbers from 0 on for `voter_keys`, in 12 bytes a voter; -1 stays what it is."""

    def __init__(self) -> None:
        self._keys = np.zeros(0, np.int64)  # ascending
        self._codes = np.zeros(0, np.int32)

    def of(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        distinct, inverse = np.unique(keys, return_inverse=True)
        self._learn(distinct[distinct >= 0])
        codes = np.full(len(distinct), _NOBODY, np.int32)
        codes[distinct >= 0] = self._codes[np.searchsorted(self._keys, distinct[distinct >= 0])]
        found: npt.NDArray[np.int32] = codes[inverse]
        return found

    def _learn(self, keys: npt.NDArray[np.int64]) -> None:
        places = np.searchsorted(self._keys, keys)
        is_new = np.searchsorted(self._keys, keys, side="right") == places
        if is_new.any():
            numbers = np.arange(len(self._keys), len(self._keys) + is_new.sum(), dtype=np.int32)
            self._keys = np.insert(self._keys, places[is_new], keys[is_new])
            self._codes = np.insert(self._codes, places[is_new], numbers)


def numbered(values: Sequence[_Key], numbers: dict[_Key, int]) -> npt.NDArray[np.int32]:
    """The number of each value in `numbers`; one that has none gets the next."""
    return np.fromiter(
        (numbers.setdefault(value, len(numbers)) for value in values), np.int32, len(values)
    )
