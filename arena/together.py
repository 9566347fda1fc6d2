"""Work that many threads bring at once, done in one go: a commit then waits for the disk once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from arena.errors import ArenaError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Brought(Generic[T, R]):
    item: T
    is_done: bool = False
    result: R | None = None
    error: BaseException | None = None


class Together(Generic[T, R]):
    """Group commit without a thread of its own (DeWitt et al. 1984, https://doi.org/10.1145/602259.602261).

    Of the threads that wait, one does the work of all, in the order in which it was brought; what
    comes meanwhile is the next round. `work` gives one result for each item.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R]], most: int) -> None:
        self._work = work
        self._most = most
        self._waiting: deque[_Brought[T, R]] = deque()
        self._works = False
        self._change = threading.Condition()

    def do(self, item: T) -> R:
        """The item's result, or what its work raised. An item that fails alone fails no other."""
        mine: _Brought[T, R] = _Brought(item)
        with self._change:
            self._waiting.append(mine)
        while True:
            with self._change:  # whoever is done leaves, and does not wait for a later round
                self._change.wait_for(lambda: mine.is_done or not self._works)
                if mine.is_done:
                    break
                self._works = True
            self._do_some()
        if mine.error is not None:
            raise mine.error
        return mine.result  # type: ignore[return-value]  # it is there when there is no error

    def _do_some(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            self._round(batch)
        finally:
            with self._change:
                for one in batch:
                    one.is_done = True
                self._works = False
                self._change.notify_all()

    def _round(self, batch: Sequence[_Brought[T, R]]) -> None:
        try:
            self._finish(batch)
        except BaseException as error:  # noqa: BLE001  it is raised where the items came from
            if len(batch) == 1 or not _is_of_one(error):
                _fail(batch, error)
            else:
                self._one_by_one(batch)

    def _one_by_one(self, batch: Sequence[_Brought[T, R]]) -> None:
        for place, one in enumerate(batch):
            try:
                self._finish([one])
            except BaseException as error:  # noqa: BLE001  it is raised where they came from
                if not _is_of_one(error):
                    _fail(batch[place:], error)
                    return
                _fail([one], error)

    def _finish(self, batch: Sequence[_Brought[T, R]]) -> None:
        results = self._work([one.item for one in batch])
        for one, result in zip(batch, results, strict=True):
            one.result = result


def _is_of_one(error: BaseException) -> bool:
    """Whether it may be of a single item: an outage, or the end of a thread, is of all."""
    return isinstance(error, Exception) and not isinstance(error, ArenaError)


def _fail(batch: Sequence[_Brought[T, R]], error: BaseException) -> None:
    for one in batch:
        one.error = error
