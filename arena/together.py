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
        self._turn = threading.Lock()

    def do(self, item: T) -> R:
        """The item's result, or what its work raised. An item that fails alone fails no other."""
        mine: _Brought[T, R] = _Brought(item)
        self._waiting.append(mine)
        while not mine.is_done:
            with self._turn:
                if not mine.is_done:
                    self._round()
        if mine.error is not None:
            raise mine.error
        return mine.result  # type: ignore[return-value]  # it is there when there is no error

    def _round(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            self._finish(batch)
        except Exception as error:  # noqa: BLE001  it is raised where the items came from
            if len(batch) == 1 or isinstance(error, ArenaError):  # an outage is the same for all
                _fail(batch, error)
            else:
                self._one_by_one(batch)
        except BaseException as error:  # this thread ends, and nobody may wait for it
            _fail(batch, error)
            raise
        finally:
            for one in batch:
                one.is_done = True

    def _one_by_one(self, batch: Sequence[_Brought[T, R]]) -> None:
        for one in batch:
            try:
                self._finish([one])
            except Exception as error:  # noqa: BLE001  it is raised where the item came from
                one.error = error

    def _finish(self, batch: Sequence[_Brought[T, R]]) -> None:
        results = self._work([one.item for one in batch])
        for one, result in zip(batch, results, strict=True):
            one.result = result


def _fail(batch: Sequence[_Brought[T, R]], error: BaseException) -> None:
    for one in batch:
        one.error = error
