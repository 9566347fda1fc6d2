"""Votes that name their models, counted.

A name is looked at once, by Arrow's dictionary of its column: a thread of its own numbers what the
first one joins, without the interpreter's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ratings.comparisons import Outcome, PairCounts
from ratings.errors import BadComparisons

_BATCH = 2**16
_JOINED = 2**14
"""So many names together stay in the processor's cache."""
_AHEAD = 2
"""Batches that are joined before the first of them is numbered: what they say takes memory."""
_END = "\0"
_MOST_BYTES = 2**31 - 1
_UTF8 = ("utf-8", "surrogatepass")


def count_names(
    model_a: Sequence[str],
    model_b: Sequence[str],
    result: Sequence[Hashable],
    meaning: Mapping[Hashable, Outcome] | None = None,
) -> tuple[list[str], PairCounts]:
    """Count votes that name their models; returns the names, sorted, and their counts.

    `result` holds keys of `meaning`; without one, `Outcome`s or their names.
    Raises `BadComparisons` with the row of an unknown result, of a name that is not text (None
    and NaN are not), or of a model that is compared with itself.
    """
    n = len(result)
    if not len(model_a) == len(model_b) == n:
        raise BadComparisons(
            f"the columns differ in length: {len(model_a)} model_a, {len(model_b)} model_b, "
            f"{n} result"
        )
    outcomes = meaning or _BY_NAME
    results = result if meaning else [_name_of(value) for value in result]
    ids: dict[str, int] = {}

    def number(name: Hashable) -> int | None:
        return ids.setdefault(name, len(ids)) if isinstance(name, str) else None

    votes = np.empty((3, n), dtype=np.int32)
    for start, (said, a, b) in _looked_at(results, model_a, model_b):
        outcome, first, second = votes[:, start : start + _BATCH]
        outcome[:] = said.coded(start, outcomes.get, "result {!r} is unknown")
        first[:] = a.coded(start, number, "model_a is {!r}, it must be a name")
        second[:] = b.coded(start, number, "model_b is {!r}, it must be a name")
        if (same := first == second).any():
            row = start + int(np.argmax(same))
            raise BadComparisons(f"{model_a[row]!r} is compared with itself", row=row)
    counts = PairCounts(len(ids))
    counts.add(votes[1], votes[2], votes[0])
    names = sorted(ids)
    return names, counts.selected([ids[name] for name in names])


_BY_NAME: dict[Hashable, Outcome] = {outcome.name: outcome for outcome in Outcome}


def _name_of(value: Hashable) -> Hashable:
    """A plain number is no outcome: grades are numbers with other meanings."""
    return value.name if isinstance(value, Outcome) else value


@dataclass(frozen=True, slots=True)
class _Looked:
    """Which values there are, in the order they come, and the place [n] of each among them."""

    distinct: Sequence[Hashable]
    place: npt.NDArray[np.int32]

    def coded(
        self, start: int, code_of: Callable[[Hashable], int | None], problem: str
    ) -> npt.NDArray[np.int32]:
        """The codes [n] of the values, of which the first is in row `start`."""
        codes = [code_of(value) for value in self.distinct]
        if None in codes:
            bad = codes.index(None)
            row = start + int(np.argmax(self.place == bad))
            raise BadComparisons(problem.format(self.distinct[bad]), row=row)
        return np.array(codes, dtype=np.int32)[self.place]


def _looked_at(*columns: Sequence[Hashable]) -> Iterator[tuple[int, list[_Looked]]]:
    """The columns in batches, each with its first row."""
    ahead: deque[tuple[int, list[Future[_Looked]]]] = deque()

    def next_batch() -> tuple[int, list[_Looked]]:
        start, batch = ahead.popleft()
        return start, [looked.result() for looked in batch]

    with ThreadPoolExecutor(max_workers=1) as thread:
        for start in range(0, len(columns[0]), _BATCH):
            part = slice(start, start + _BATCH)
            ahead.append((start, [_look(column[part], thread) for column in columns]))
            if len(ahead) > _AHEAD:
                yield next_batch()
        while ahead:
            yield next_batch()


def _look(values: Sequence[Hashable], thread: ThreadPoolExecutor) -> Future[_Looked]:
    texts = _texts(values)
    if texts is None:
        return thread.submit(_look_at_each, values)
    return thread.submit(_look_at_all, texts)


def _texts(values: Sequence[Any]) -> Any:
    """The values as an array of Arrow's, each with a mark at its end.

    None where not all are text, some hold the mark themselves, or are more than Arrow counts.
    """
    import pyarrow as pa  # noqa: PLC0415  it is large, and few who count votes have names

    parts = []
    for start in range(0, len(values), _JOINED):
        some = values[start : start + _JOINED]
        try:
            data = (_END.join(some) + _END).encode(*_UTF8)
        except TypeError:
            return None
        ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord(_END))
        if len(ends) != len(some) or len(data) > _MOST_BYTES:
            return None
        bounds = np.zeros(len(ends) + 1, dtype=np.int32)
        np.add(ends, 1, out=bounds[1:], casting="same_kind")
        buffers = [None, pa.py_buffer(bounds), pa.py_buffer(data)]
        parts.append(pa.Array.from_buffers(pa.binary(), len(some), buffers))
    return pa.chunked_array(parts)


def _look_at_all(texts: Any) -> _Looked:
    found = texts.dictionary_encode().combine_chunks()
    distinct = [text[: -len(_END)].decode(*_UTF8) for text in found.dictionary.to_pylist()]
    return _Looked(distinct, found.indices.to_numpy())


def _look_at_each(values: Sequence[Hashable]) -> _Looked:
    places: dict[Hashable, int] = {}
    place = [places.setdefault(value, len(places)) for value in values]
    return _Looked(list(places), np.array(place, dtype=np.int32))
