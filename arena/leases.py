"""Leases: who does a singleton's work, and whose holder has died.

A living holder moves its lease's beat. Whoever waits measures the silence with its own monotonic
clock, so neither a jumping wall clock nor two machines that disagree can steal a lease.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from arena.interfaces import Lease, LeaseSeen, LeaseStore


class Watch:
    """Judges from outside whether lease holders are alive."""

    def __init__(
        self, leases: LeaseStore, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._leases = leases
        self._seconds = seconds
        self._clock = clock
        self._seen: dict[str, tuple[LeaseSeen, float]] = {}

    def is_abandoned(self, name: str) -> bool:
        """Whether the lease is free, or its holder has been silent for the lease's time."""
        seen = self._leases.look(name)
        if seen is None or seen.holder is None:
            return True
        before = self._seen.get(name)
        if before is None or before[0] != seen:
            self._seen[name] = seen, self._clock()
            return False
        return self._clock() - before[1] >= self._seconds

    def keep_only(self, names: Collection[str]) -> None:
        """Forget other leases: their silence did not matter and must not be held against them."""
        for name in set(self._seen) - set(names):
            del self._seen[name]


def take_if_abandoned(leases: LeaseStore, watch: Watch, name: str, holder: str) -> Lease | None:
    """The lease, if nobody living has it."""
    if not watch.is_abandoned(name):
        return None
    return leases.take(name, holder, leases.look(name))
