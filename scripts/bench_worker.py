#!/usr/bin/env python3
"""From a vote to its published boards, beside a log of a million votes.

A SQLite log with 250 models and 30 category boards is made, `arena worker` runs on it as it does in
production, and votes are appended one at a time and in bursts. Told are the seconds until every
official board that a vote touches stands for it, how long a fresh worker takes to count the log,
how long one that finds the pages of an earlier one, and its memory.

    .venv/bin/python scripts/bench_worker.py [--votes 1000000] [--models 250] [--rounds 10]
"""

from __future__ import annotations

import argparse
import statistics
import time

from synthetic_log import LANGUAGES, Figure, World, arena, pss, running, show, stands_for, votes
from synthetic_log import wait as wait_for
from synthetic_log import world as a_world

from arena import categories
from arena.campaigns import DEFAULT
from arena.live import RedisLive
from arena.records import Record

GOAL_SECONDS = 2.0
RESTART_GOAL_SECONDS = 5.0
SETTLING_SECONDS = 15


def touched(rows: list[Record]) -> set[str]:
    keys = {"overall"}
    for row in rows:
        keys |= set(
            categories.of_vote(
                language=row.language, category_tag=row.category_tag, turns=row.turns
            )
        )
    return keys


def measure(world: World, live: RedisLive, models: int, burst: int, rounds: int) -> list[float]:
    seconds, store = [], world.store
    for number in range(rounds):
        rows = [Record(**vote) for vote in votes(burst, models, 100, seed=1000 + number)]  # type: ignore[arg-type]
        keys, position = touched(rows), store.votes.position() + burst
        started = time.monotonic()
        store.votes.append([(row, None) for row in rows])
        live.wake_worker()
        wait_for("publication", lambda k=keys, p=position: stands_for(store, k, p))
        seconds.append(time.monotonic() - started)
        time.sleep(1.0)
    return seconds


def first_board(world: World, position: int) -> float:
    return wait_for("the first board", lambda: stands_for(world.store, {"overall"}, position))


def report(world: World, options: argparse.Namespace) -> list[Figure]:
    live = RedisLive(world.env["REDIS_URL"], ttl=60)
    figures = []
    with running(arena("worker"), world.env) as worker:
        first = first_board(world, options.votes)
        figures.append(Figure("clean recompute → first official board", "", f"{first:.1f} s"))
        every = {"overall", *LANGUAGES}
        rest = wait_for("all boards", lambda: stands_for(world.store, every, options.votes))
        figures.append(Figure("… → all official boards", "", f"{rest:.1f} s later"))
        time.sleep(SETTLING_SECONDS)
        for burst in (1, 100):
            found = sorted(measure(world, live, options.models, burst, options.rounds))
            median = statistics.median(found)
            figures.append(
                Figure(
                    f"{burst} votes → all boards they touch",
                    f"≤ {GOAL_SECONDS} s",
                    f"median {median:.2f} s, worst {found[-1]:.2f} s",
                )
            )
        figures.append(Figure("worker's memory", "", f"{pss(worker.pid):.0f} MB"))
    newer = [Record(**vote) for vote in votes(1, options.models, 100, seed=1)]  # type: ignore[arg-type]
    world.store.votes.append([(row, None) for row in newer])
    position = world.store.votes.position() + 1
    with running(arena("worker"), world.env):
        again = first_board(world, position)
    figures.append(
        Figure(
            "restart → first board with a new vote", f"≤ {RESTART_GOAL_SECONDS} s", f"{again:.1f} s"
        )
    )
    boards = world.store.snapshots.offered([DEFAULT.id])[DEFAULT.id]
    size = (world.settings.data / "arena.db").stat().st_size / 1e6
    figures.append(
        Figure(
            "boards of every method; database",
            "",
            f"{sum(map(len, boards.values()))}; {size:.0f} MB",
        )
    )
    live.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with a_world(options.votes, options.models) as world:
        show(report(world, options))


if __name__ == "__main__":
    main()
