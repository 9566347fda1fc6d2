"""The loop: voters vote, faults are drawn from a seed, recoveries are measured, all is checked."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import httpx

from tests.aftermath import expect_complete
from tests.services import wait_until
from tests.soak.crowd import Crowd, Promise
from tests.soak.faults import Fault
from tests.soak.houses import OPERATOR_TOKEN, House
from tests.voter import Voter

GOAL_SECONDS = 5.0
_GIVE_UP_SECONDS = 90.0
_PROBE_SECONDS = 2.0
_POLL_SECONDS = 0.05
_SETTLE_SECONDS = 40.0

Say = Callable[[str], None]


@dataclass
class Result:
    """What a run has shown: seconds to recover by fault, the votes and the end of the battles."""

    recoveries: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    votes: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)

    def table(self) -> str:
        """Seconds from a fault's end until a new battle had its vote."""
        rows = [*sorted(self.recoveries.items()), ("all", self.all_recoveries())]
        lines = [f"{'fault':<32} {'number':>6} {'p50 s':>6} {'max s':>6}"]
        lines += [
            f"{name:<32} {len(times):>6} {median(times):>6.2f} {max(times):>6.2f}"
            for name, times in rows
        ]
        return "\n".join(lines)

    def all_recoveries(self) -> list[float]:
        return [seconds for times in self.recoveries.values() for seconds in times]


def run(
    house: House, faults: Sequence[Fault], *, seed: int, voters: int, rest: float, say: Say
) -> Result:
    """Inflict these faults, with `rest` seconds of peace after each, and check what is left."""
    rng, result, probes = random.Random(seed), Result(), []  # noqa: S311  to be repeated by seed
    with Crowd(house.url, voters, seed) as crowd:
        for number, fault in enumerate(faults, 1):
            fault.inflict(rng)
            seconds, probe = _recovery(house)
            result.recoveries[fault.name].append(seconds)
            probes.append(probe)
            progress = f"{number:>4}/{len(faults)}  {fault.name:<32} {seconds:6.2f} s"
            late = "  LATE" if seconds > GOAL_SECONDS else ""
            say(f"{progress}  {len(crowd.book.promises)} votes{late}")
            time.sleep(rest)
    book = crowd.book
    result.outcomes = dict(book.outcomes)
    promises = [*book.promises, *probes]
    result.votes = len(promises)
    _expect_no_battle_stuck(house)
    log = expect_complete(house.url, [p.receipt for p in promises], timeout=_SETTLE_SECONDS)
    _expect_kept(promises, book.tried, log)
    assert book.complaints == []
    assert httpx.get(f"{house.url}/readyz", trust_env=False).status_code == 200
    return result


def _recovery(house: House) -> tuple[float, Promise]:
    """The seconds until somebody new could battle and vote, and that vote."""
    start = time.monotonic()
    while time.monotonic() - start < _GIVE_UP_SECONDS:
        try:
            promise = _probe(house.url)
        except httpx.TransportError:
            promise = None
        if promise is not None:
            return time.monotonic() - start, promise
        time.sleep(_POLL_SECONDS)
    raise AssertionError(f"no recovery within {_GIVE_UP_SECONDS} s:\n{house.log()[-5000:]}")


def _probe(url: str) -> Promise | None:
    """A new voter's battle and vote; None when one of the steps is refused."""
    with Voter(url, timeout=_PROBE_SECONDS) as voter:
        started = voter.http.post("/api/battles", json={"prompt": "Are you back?"})
        if started.status_code != 201:
            return None
        battle, state = started.json()["id"], "created"
        while state in ("created", "running"):
            time.sleep(_POLL_SECONDS)
            seen = voter.http.get(f"/api/battles/{battle}")
            if seen.status_code != 200:
                return None
            state = seen.json()["state"]
        if state != "ready":
            return None
        answer = voter.vote(battle, 1, "probe")
        return Promise(battle, 1, answer.json()["receipt"]) if answer.status_code == 200 else None


def _expect_no_battle_stuck(house: House) -> None:
    """Without voters everything that runs must come to its end."""

    def figures() -> str:
        token = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
        return httpx.get(f"{house.url}/metrics", headers=token, trust_env=False).text

    def all_ended() -> bool:
        open_ones = ('arena_battles{state="created"}', 'arena_battles{state="running"}')
        counts = dict(line.rsplit(" ", 1) for line in figures().splitlines() if line[0] != "#")
        return all(float(counts.get(name, 0)) == 0 for name in open_ones)

    wait_until(all_ended, _SETTLE_SECONDS, what=f"the end of all battles\n{house.log()[-5000:]}")


def _expect_kept(
    promises: Sequence[Promise], tried: dict[str, int], log: Sequence[dict[str, Any]]
) -> None:
    """Each promised vote is there as it was promised, and nothing that nobody tried."""
    votes = [row for row in log if row["type"] == "vote"]
    kept = {row["battle_id"]: (row["grade"], row["hash"]) for row in votes}
    assert len(kept) == len(votes), "a battle has two votes"
    for promise in promises:
        assert kept[promise.battle] == (promise.grade, promise.receipt), promise
    known = tried | {promise.battle: promise.grade for promise in promises}
    for battle, (grade, _) in kept.items():
        assert known.get(battle, grade) == grade
