"""The loop: voters vote, faults are drawn from a seed, recoveries are measured, all is checked."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median

import httpx

from tests.aftermath import Row, expect_complete, log_of
from tests.services import wait_until
from tests.soak.crowd import Book, Crowd, Promise
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
    """Inflict these faults, each on voters who had `rest` seconds of peace, and check after each
    what is left when they have ended their battles.
    """
    rng, book, result = random.Random(seed), Book(), Result()  # noqa: S311  to be repeated by seed
    strangers = len(log_of(house.url))
    for number, fault in enumerate(faults, 1):
        with Crowd(house.url, voters, f"{seed}/{number}", book):
            time.sleep(rest)
            fault.inflict(rng)
            seconds = _recovery(house, book)
        result.recoveries[fault.name].append(seconds)
        progress = f"{number:>4}/{len(faults)}  {fault.name:<32} {seconds:6.2f} s"
        late = "  LATE" if seconds > GOAL_SECONDS else ""
        say(f"{progress}  {len(book.promises)} votes{late}")
        _expect_no_battle_stuck(house)
        receipts = [promise.receipt for promise in book.promises]
        log = expect_complete(house.url, receipts, timeout=_SETTLE_SECONDS)
        _expect_kept(book, log[strangers:])
        assert not book.complaints, "\n".join(book.complaints)
    result.outcomes = dict(book.outcomes)
    result.votes = len(book.promises)
    assert httpx.get(f"{house.url}/readyz", trust_env=False).status_code == 200
    return result


def _recovery(house: House, book: Book) -> float:
    """The seconds until somebody new could battle and vote."""
    start = time.monotonic()
    while time.monotonic() - start < _GIVE_UP_SECONDS:
        with suppress(httpx.TransportError):
            if _probe(house.url, book):
                return time.monotonic() - start
        time.sleep(_POLL_SECONDS)
    raise AssertionError(f"no recovery within {_GIVE_UP_SECONDS} s:\n{house.log()[-5000:]}")


def _probe(url: str, book: Book) -> bool:
    """A new voter's battle and vote; False when one of the steps is refused."""
    with Voter(url, timeout=_PROBE_SECONDS) as voter:
        started = voter.http.post("/api/battles", json={"prompt": "Are you back?"})
        if started.status_code != 201:
            return False
        battle, state = started.json()["id"], "created"
        while state in ("created", "running"):
            time.sleep(_POLL_SECONDS)
            seen = voter.http.get(f"/api/battles/{battle}")
            if seen.status_code != 200:
                return False
            state = seen.json()["state"]
        if state != "ready":
            return False
        book.tried[battle] = 1
        answer = voter.vote(battle, 1, "probe")
        if answer.status_code == 200:
            book.promises.append(Promise(battle, 1, answer.json()["receipt"]))
        return answer.status_code == 200


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


def _expect_kept(book: Book, log: Sequence[Row]) -> None:
    """Each promised vote is there as it was promised, and none that nobody tried."""
    votes = [row for row in log if row["type"] == "vote"]
    kept = {row["battle_id"]: (row["grade"], row["hash"]) for row in votes}
    assert len(kept) == len(votes), "a battle has two votes"
    for promise in book.promises:
        assert kept.get(promise.battle) == (promise.grade, promise.receipt), promise
    for battle, (grade, _) in kept.items():
        assert book.tried.get(battle) == grade, f"nobody gave {battle} the grade {grade}"
