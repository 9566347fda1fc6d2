#!/usr/bin/env python3
"""From a vote to its published boards, beside a log of a million votes.

A SQLite log with 250 models and 30 category boards is made, `arena worker` runs on it as it does in
production, and votes are appended one at a time and in bursts. Told are the seconds until every
official board that a vote touches stands for it, how long a fresh worker takes to count the log,
and its memory.

    .venv/bin/python scripts/bench_worker.py [--votes 1000000] [--models 250] [--rounds 10]
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import insert

from arena import categories
from arena.campaigns import DEFAULT
from arena.clock import now
from arena.embedded import is_ready, redis_command
from arena.live import RedisLive
from arena.records import Record
from arena.settings import Settings
from arena.store import SqlStore, open_store
from arena.store.engine import Database
from arena.store.migrate import upgrade
from arena.store.tables import records

GOAL_SECONDS = 2.0
BATCH = 10_000
SETTLING_SECONDS = 15
LANGUAGES = [*"zh en de fr es pt it ru ja ko ar hi vi th tr pl nl sv uk cs".split()]
TAGS = [None, "coding", "math", "hard,math", "coding,hard", "reasoning", "writing", "knowledge"]
TAGS += ["understanding", "long"]
GRADES = {2: "model_a", 1: "model_a", 0: "tie", -1: "model_b", -2: "model_b"}


def votes(count: int, models: int, voters: int, seed: int) -> Iterator[dict[str, object]]:
    draw = random.Random(seed)
    strength = [draw.gauss(0, 0.7) for _ in range(models)]
    for _ in range(count):
        a, b = draw.sample(range(models), 2)
        latent = strength[a] - strength[b] + draw.gauss(0, 1.8)
        grade = sum(latent > bound for bound in (-1.5, -0.4, 0.4, 1.5)) - 2
        yield {
            "id": secrets.token_hex(16),
            "type": "vote",
            "campaign": DEFAULT.id,
            "timestamp": now(),
            "model_a": f"model-{a:03}",
            "model_b": f"model-{b:03}",
            "grade": grade,
            "winner": GRADES[grade],
            "both_bad": False,
            "reasons": (),
            "voter": f"{draw.randrange(voters):032x}",
            "voter_kind": "person",
            "language": draw.choice(LANGUAGES),
            "category_tag": draw.choice(TAGS),
            "turns": draw.choice([1, 1, 1, 2]),
            "propensity": 1 / (models * (models - 1)),
        }


def fill(database: Database, count: int, models: int) -> None:
    """Sealed votes, written without the leaf's hash: nothing here looks at it."""
    batch: list[dict[str, object]] = []
    with database.write() as connection:
        for seq, vote in enumerate(votes(count, models, count // 20, seed=1), 1):
            batch.append({**vote, "seq": seq, "hash": "", "reasons": []})
            if len(batch) == BATCH or seq == count:
                connection.execute(insert(records), batch)
                batch.clear()
                if seq % 100_000 == 0:
                    print(f"{seq:,} votes written", file=sys.stderr)


@contextmanager
def running(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env={**os.environ, **env}, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def wait(what: str, done: object, seconds: float = 600) -> float:
    started = time.monotonic()
    while not done():  # type: ignore[operator]
        if time.monotonic() - started > seconds:
            raise SystemExit(f"{what} took more than {seconds} s")
        time.sleep(0.05)
    return time.monotonic() - started


def stands_for(store: SqlStore, keys: set[str], position: int) -> bool:
    boards = (store.snapshots.latest(DEFAULT.id, key) for key in keys)
    return all(board is not None and board.log_position >= position for board in boards)


def touched(rows: list[Record]) -> set[str]:
    keys = {"overall"}
    for row in rows:
        keys |= set(
            categories.of_vote(
                language=row.language, category_tag=row.category_tag, turns=row.turns
            )
        )
    return keys


def pss(pid: int) -> float:
    """Proportional set size in MB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line[:4] == "Pss:")


def measure(store: SqlStore, live: RedisLive, models: int, burst: int, rounds: int) -> list[float]:
    seconds = []
    for number in range(rounds):
        rows = [Record(**vote) for vote in votes(burst, models, 100, seed=1000 + number)]  # type: ignore[arg-type]
        keys, position = touched(rows), store.votes.position() + burst
        started = time.monotonic()
        store.votes.append([(row, None) for row in rows])
        live.wake_worker()
        wait("publication", lambda k=keys, p=position: stands_for(store, k, p))
        seconds.append(time.monotonic() - started)
        time.sleep(1.0)
    return seconds


def report(store: SqlStore, live: RedisLive, worker: int, options: argparse.Namespace) -> None:
    first = wait("the first board", lambda: stands_for(store, {"overall"}, options.votes))
    print(f"first official board of a fresh worker after {first:.1f} s")
    every = {"overall", *LANGUAGES}
    rest = wait("all boards", lambda: stands_for(store, every, options.votes))
    print(f"all official boards {rest:.1f} s later; {pss(worker):.0f} MB")
    time.sleep(SETTLING_SECONDS)
    for burst in (1, 100):
        seconds = sorted(measure(store, live, options.models, burst, options.rounds))
        print(
            f"{burst} votes → all boards they touch: median {statistics.median(seconds):.2f} s, "
            f"worst {seconds[-1]:.2f} s (goal {GOAL_SECONDS} s)"
        )
    boards = len(store.snapshots.categories(DEFAULT.id))
    print(f"{boards} boards of every method; {pss(worker):.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="arena-bench-") as folder:
        settings = Settings.from_environment({"ARENA_DATA": folder})
        database = Database(settings.database_url)
        upgrade(database)
        store = open_store(settings.database_url)
        store.campaigns.add(DEFAULT)
        fill(database, options.votes, options.models)
        server = redis_command(settings)
        if server is None:
            raise SystemExit("unset REDIS_URL: the benchmark starts a Redis of its own")
        env = {"ARENA_DATA": folder, "REDIS_URL": server.url, "OPENBLAS_NUM_THREADS": "1"}
        with running(server.argv, {}):
            wait("Redis", lambda: is_ready(server.socket), 10)
            live = RedisLive(server.url, ttl=60)
            with running([sys.executable, "-m", "arena.cli", "worker"], env) as worker:
                report(store, live, worker.pid, options)
            live.close()
        store.close()
        database.close()


if __name__ == "__main__":
    main()
