#!/usr/bin/env python3
"""The most memory that all our processes take together, beside a log of a million votes.

`arena up` runs as it does on one machine (supervisor, web, runner, worker) on a SQLite log with
250 models and 30 category boards. While votes come in, ten battles stream, and boards, pages and
the log are read, the proportional set sizes of our processes are summed every second: what they
share counts once. Redis and the models' endpoint stand beside them. The baseline is a bare Flask
app in the same server, after it was asked as often.

    .venv/bin/python scripts/bench_memory.py [--votes 1000000] [--models 250] [--seconds 60]
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from urllib.request import urlopen

from bench_streams import VOTES_PER_SECOND, endpoint, follow, vote_meanwhile
from bench_votes import post, ready_battles
from machine import Load, Machine, Report, load, pss
from synthetic_log import wait_for_boards, world

from tests.services import descendants

GOAL_MB = 400
BATTLES = 10
ANSWER_SECONDS = 10
SAMPLE_SECONDS = 1.0
READ = (
    *("/board", "/", "/log", "/about", "/api/board", "/api/board?category=coding"),
    *("/api/board/pairs", "/api/models", "/api/campaigns", "/api/boards", "/api/votes"),
)
EXPORTED = 2**22
PARTS = {
    "arena.app:wsgi": "web",
    "arena runner": "runner",
    "arena worker": "worker",
    "arena.cli up": "supervisor",
}

Sizes = dict[str, float]
"""Megabytes by what the processes are."""


@contextmanager
def sampled(root: int) -> Iterator[list[Sizes]]:
    """What a process and all that it has started take, every second while the block lasts."""
    samples: list[Sizes] = []
    closing = threading.Event()

    def sample() -> None:
        while not closing.is_set():
            samples.append(sizes([root, *descendants(root)]))
            closing.wait(SAMPLE_SECONDS)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield samples
    finally:
        closing.set()
        sampler.join()


def sizes(pids: Sequence[int]) -> Sizes:
    found: Sizes = defaultdict(float)
    for pid in pids:
        with suppress(OSError):  # it has ended
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            name = next((name for part, name in PARTS.items() if part in words), "their children")
            found[name] += pss(pid)
    return found


def total(found: Sizes) -> float:
    return sum(found.values())


async def use(place: Machine, votes: Sequence[bytes], seconds: float) -> tuple[Load, list[bool]]:
    """Read everything, vote and battle for so long; the votes, and which battles were complete."""
    end = time.monotonic() + seconds

    async def battle_after_battle() -> list[bool]:
        complete = []
        while time.monotonic() < end:
            ended, _ = await follow(place.port)
            complete.append(ended)
        return complete

    def read() -> None:
        for path in cycle(READ):
            if time.monotonic() > end:
                return
            with urlopen(f"{place.url}{path}") as answer:  # noqa: S310 - our own address
                answer.read(EXPORTED)

    voting, battles, _ = await asyncio.gather(
        vote_meanwhile(place.port, votes),
        asyncio.gather(*(battle_after_battle() for _ in range(BATTLES))),
        asyncio.to_thread(read),
    )
    return voting, [ended for some in battles for ended in some]


def measure(report: Report, options: argparse.Namespace) -> None:
    with (
        endpoint(ANSWER_SECONDS) as base_url,
        world(options.votes, options.models, base_url) as place,
    ):
        roster = place.store.roster.current().entries
        votes = ready_battles(place, roster, options.seconds * VOTES_PER_SECOND)
        with place.running("up --no-demo") as pids:
            with sampled(pids["up"]) as starting:
                wait_for_boards(place.store, {"overall", "coding"}, options.votes)
            with sampled(pids["up"]) as using:
                voting, battles = asyncio.run(use(place, votes, options.seconds))
            redis = pss(place.redis)
        with place.bare() as bare:
            load(place.port, [post(place.port, "/insert", b"{}")] * len(votes), BATTLES)
            plain = sum(map(pss, [bare, *descendants(bare)]))
    report.expect(voting.statuses.keys() == {200}, f"the votes' answers were {voting.statuses}")
    report.expect(all(battles), f"{battles.count(False)} of {len(battles)} battles broke off")
    most = max(using, key=total)
    report.add(
        f"all our processes, the most of {len(using)} samples",
        f"{total(most):.0f} MB",
        goal=f"≤ {GOAL_MB} MB",
        ratio=f"× {total(most) / plain:.1f}",
    )
    for name, size in sorted(most.items()):
        report.add(f"of that: {name}", f"{size:.0f} MB")
    report.add(
        "while the log was counted for the first time",
        f"{max(map(total, starting)):.0f} MB",
    )
    report.add("beside them: Redis", f"{redis:.0f} MB")
    report.add("bare Flask", f"{plain:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=250)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    with Report() as report:
        measure(report, options)


if __name__ == "__main__":
    main()
