#!/usr/bin/env python3
"""From a vote to its published boards, beside a log of a million votes.

A SQLite log with 250 models and 30 category boards is made, `arena worker` runs on it as it does in
production, and votes are appended one at a time and in bursts. Told are the seconds until every
official board that a vote touches stands for it, how long a fresh worker takes to count the log,
how long one that finds the pages of an earlier one, and its memory. The baseline in the same run:
counting the grades of each pair of models once, over the whole log, in plain SQL.

    .venv/bin/python scripts/bench_worker.py [--votes 1000000] [--models 250] [--rounds 10]
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import time

from machine import Machine, Report, pss
from synthetic_log import LANGUAGES, votes, wait_for_boards, world

from arena import categories
from arena.campaigns import DEFAULT
from arena.live import RedisLive
from arena.records import Record

GOAL_SECONDS = 2.0
RESTART_GOAL_SECONDS = 5.0
SETTLING_SECONDS = 15
BURSTS = (1, 100)


def touched(rows: list[Record]) -> set[str]:
    keys = {"overall"}
    for row in rows:
        keys |= set(
            categories.of_vote(
                language=row.language, category_tag=row.category_tag, turns=row.turns
            )
        )
    return keys


def plain_sql(place: Machine) -> float:
    """The seconds that SQLite needs to count the log once."""
    query = "SELECT model_a, model_b, grade, COUNT(*) FROM records GROUP BY 1, 2, 3"
    connection = sqlite3.connect(place.settings.data / "arena.db")
    started = time.monotonic()
    connection.execute(query).fetchall()
    seconds = time.monotonic() - started
    connection.close()
    return seconds


def published(place: Machine, live: RedisLive, models: int, burst: int, rounds: int) -> list[float]:
    """The seconds until all boards that a burst of votes touches stand for it, ascending."""
    seconds, store = [], place.store
    for number in range(rounds):
        rows = [Record(**vote) for vote in votes(burst, models, 100, seed=1000 + number)]
        keys, position = touched(rows), store.votes.position() + burst
        started = time.monotonic()
        store.votes.append([(row, None) for row in rows])
        live.wake_worker()
        wait_for_boards(store, keys, position)
        seconds.append(time.monotonic() - started)
        time.sleep(1.0)
    return sorted(seconds)


def expect_counted(report: Report, place: Machine, count: int) -> None:
    board = place.store.snapshots.latest(DEFAULT.id, "overall")
    counted = sum(row["votes"] for row in board.rows) // 2 if board else 0
    report.expect(counted == count, f"the board counts {counted:,} of {count:,} votes")


def measure(report: Report, place: Machine, options: argparse.Namespace) -> None:
    live = RedisLive(place.env["REDIS_URL"], ttl=60)
    base = plain_sql(place)

    def add(figure: str, seconds: float, *, goal: float | None = None, worst: str = "") -> None:
        bound = f"≤ {goal} s" if goal else ""
        report.add(figure, f"{seconds:.2f} s{worst}", goal=bound, ratio=f"× {seconds / base:.2f}")

    add("plain SQL, counting the log once", base)
    with place.running("worker") as pids:
        first = wait_for_boards(place.store, {"overall"}, options.votes)
        add("clean recompute → first official board", first)
        rest = wait_for_boards(place.store, {"overall", *LANGUAGES}, options.votes)
        add("clean recompute → all official boards", first + rest)
        time.sleep(SETTLING_SECONDS)
        count = options.votes
        for burst in BURSTS:
            found = published(place, live, options.models, burst, options.rounds)
            add(
                f"{burst} votes → all boards they touch",
                statistics.median(found),
                goal=GOAL_SECONDS,
                worst=f" (the slowest {found[-1]:.2f} s)",
            )
            count += burst * options.rounds
        expect_counted(report, place, count)
        report.add("worker's memory", f"{pss(pids['worker']):.0f} MB")
    newer = [Record(**vote) for vote in votes(1, options.models, 100, seed=1)]
    place.store.votes.append([(row, None) for row in newer])
    position = place.store.votes.position() + 1
    with place.running("worker"):
        again = wait_for_boards(place.store, {"overall"}, position)
        expect_counted(report, place, count + 1)
    add("restart → first board with a new vote", again, goal=RESTART_GOAL_SECONDS)
    boards = place.store.snapshots.offered([DEFAULT.id])[DEFAULT.id]
    size = (place.settings.data / "arena.db").stat().st_size / 1e6
    report.add("boards of every method", str(sum(map(len, boards.values()))))
    report.add("database", f"{size:.0f} MB")
    live.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with Report() as report, world(options.votes, options.models) as place:
        measure(report, place, options)


if __name__ == "__main__":
    main()
