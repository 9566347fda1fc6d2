"""How often something may be done: counted in Redis for all processes together.

While Redis is away each process counts for itself, by the same rules: nobody is refused because
of it, and nobody is unlimited. The counting is that of `limits`, the library under Flask-Limiter.
The extension itself was not taken: what it counts after an answer, as wrong tokens must be, has no
fallback there and answers 500 when Redis goes away.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from limits import RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage
from limits.strategies import RateLimiter, SlidingWindowCounterRateLimiter

from arena.errors import TooOften

_log = logging.getLogger(__name__)

_LEFT_ALONE_SECONDS = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so many of something in a time, for each one of a kind of caller."""

    amount: int
    what: str
    whose: str
    seconds: int = 60

    @property
    def item(self) -> RateLimitItemPerSecond:
        return RateLimitItemPerSecond(
            self.amount, self.seconds, namespace=f"arena:rate:{self.whose}:{self.what}"
        )


class RateLimits:
    """Counts hits in sliding windows. `shared` is Redis, and raises `StorageError` without it."""

    def __init__(self, shared: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._shared = SlidingWindowCounterRateLimiter(shared)
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._clock = clock
        self._away_until = -math.inf

    def hit(self, rate: Rate, key: str) -> bool:
        """Count one hit of `key`; False when it was one too many."""
        return self._by(lambda limiter: limiter.hit(rate.item, key))

    def is_spent(self, rate: Rate, key: str) -> bool:
        """Whether another hit would be one too many."""
        return not self._by(lambda limiter: limiter.test(rate.item, key))

    def refusal(self, rate: Rate, key: str) -> TooOften:
        """What to raise after one too many, with the seconds until there is room again."""
        window = self._by(lambda limiter: limiter.get_window_stats(rate.item, key))
        # a window that has just ended still counts in full: one hit more must have left it
        wait = math.ceil(max(0.0, window.reset_time - time.time()) + rate.seconds / rate.amount)
        return TooOften(
            f"At most {rate.amount} {rate.what} a minute are taken from one {rate.whose}. "
            f"Try again in {wait} seconds.",
            retry_after=wait,
        )

    def _by(self, count: Callable[[RateLimiter], T]) -> T:
        """The one degraded mode: without Redis this process counts alone."""
        if self._clock() >= self._away_until:
            try:
                return count(self._shared)
            except StorageError as error:
                self._away_until = self._clock() + _LEFT_ALONE_SECONDS
                _log.warning("limits are counted by each process alone: %s", error.storage_error)
        return count(self._own)
