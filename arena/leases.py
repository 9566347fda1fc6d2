"""Leases: who does a singleton's work, and whose holder has died.

A living holder moves its lease's beat. Whoever waits measures the silence with its own monotonic
clock, so neither a jumping wall clock nor two machines that disagree can steal a lease.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from arena.interfaces import Lease, LeaseSeen, LeaseStore

WORKER = "worker"
RUNNER = "runner:"
"""Names of leases: the one worker's, and the beginning of each runner's."""


@dataclass(frozen=True, slots=True)
class _Silence:
    """What was seen at the last look, since when it has not changed, and when that look was."""

    seen: LeaseSeen
    since: float
    looked: float


class Watch:
    """Judges from outside whether lease holders are alive. It must look at every beat.

    Two thirds of the lease's time without a look are no silence: the database was away, so the
    holder could not move its beat either, or the watcher itself had been stopped.
    """

    def __init__(
        self, leases: LeaseStore, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._leases = leases
        self._seconds = seconds
        self._longest_gap = seconds * 2 / 3
        self._clock = clock
        self._silences: dict[str, _Silence] = {}

    def is_abandoned(self, name: str) -> bool:
        """Whether the lease is free, or its holder has been silent for the lease's time."""
        return self.judge(name, self._leases.look(name))

    def judge(self, name: str, seen: LeaseSeen | None) -> bool:
        """As `is_abandoned`, of a lease that was looked at just now."""
        if seen is None or seen.holder is None:
            return True
        now = self._clock()
        before = self._silences.get(name)
        if before is None or before.seen != seen or now - before.looked > self._longest_gap:
            since = now
        else:
            since = before.since
        self._silences[name] = _Silence(seen, since, now)
        return now - since >= self._seconds

    def keep_only(self, names: Collection[str]) -> None:
        """Forget other leases: their silence did not matter and must not be held against them."""
        for name in set(self._silences) - set(names):
            del self._silences[name]


def take_if_abandoned(leases: LeaseStore, watch: Watch, name: str, holder: str) -> Lease | None:
    """The lease, if nobody living has it."""
    seen = leases.look(name)
    return leases.take(name, holder, seen) if watch.judge(name, seen) else None
