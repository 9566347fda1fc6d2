"""A log of a million invented votes, and the processes that the benchmarks measure beside it."""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import insert

from arena.campaigns import DEFAULT
from arena.clock import now
from arena.embedded import is_ready, redis_command
from arena.interfaces import ModelEntry
from arena.settings import Settings
from arena.store import SqlStore, open_store
from arena.store.engine import Database
from arena.store.migrate import upgrade
from arena.store.tables import records

BATCH = 10_000
LANGUAGES = [*"zh en de fr es pt it ru ja ko ar hi vi th tr pl nl sv uk cs".split()]
TAGS = [None, "coding", "math", "hard,math", "coding,hard", "reasoning", "writing", "knowledge"]
TAGS += ["understanding", "long"]
GRADES = {2: "model_a", 1: "model_a", 0: "tie", -1: "model_b", -2: "model_b"}


def votes(count: int, models: int, voters: int, seed: int) -> Iterator[dict[str, object]]:
    """Votes of `voters` people between models of different strengths, as fields of `Record`."""
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
    """Sealed votes, written without the leaf's hash: nothing that is measured looks at it."""
    batch: list[dict[str, object]] = []
    with database.write() as connection:
        for seq, vote in enumerate(votes(count, models, count // 20, seed=1), 1):
            batch.append({**vote, "seq": seq, "hash": "", "reasons": []})
            if len(batch) == BATCH or seq == count:
                connection.execute(insert(records), batch)
                batch.clear()
                if seq % 100_000 == 0:
                    print(f"{seq:,} votes written", file=sys.stderr)


@dataclass(frozen=True, slots=True)
class World:
    """A data folder with a log, its settings, and what our processes get as environment."""

    settings: Settings
    env: dict[str, str]
    redis: int  # process id
    store: SqlStore


@contextmanager
def world(count: int, models: int, **environment: str) -> Iterator[World]:
    """A SQLite log of `count` votes in a folder of its own, with a Redis beside it."""
    with tempfile.TemporaryDirectory(prefix="arena-bench-") as folder:
        env = {"ARENA_DATA": folder, "OPENBLAS_NUM_THREADS": "1", **environment}
        settings = Settings.from_environment(env)
        database = Database(settings.database_url)
        upgrade(database)
        store = open_store(settings.database_url)
        store.campaigns.add(DEFAULT)
        entries = [ModelEntry(f"model-{place:03}", f"Model {place}") for place in range(models)]
        store.roster.replace(entries, now())
        fill(database, count, models)
        database.close()
        server = redis_command(settings)
        if server is None:
            raise SystemExit("unset REDIS_URL: the benchmark starts a Redis of its own")
        with running(server.argv, {}) as process:
            wait("Redis", lambda: is_ready(server.socket), 10)
            yield World(settings, env | {"REDIS_URL": server.url}, process.pid, store)
        store.close()


@contextmanager
def running(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    process = subprocess.Popen(
        command, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def arena(*words: str) -> list[str]:
    """The command line of one of our processes."""
    return [sys.executable, "-m", "arena.cli", *words]


def wait(what: str, done: Callable[[], object], seconds: float = 600) -> float:
    """Wait until `done`; how long it took."""
    started = time.monotonic()
    while not done():
        if time.monotonic() - started > seconds:
            raise SystemExit(f"{what} took more than {seconds} s")
        time.sleep(0.05)
    return time.monotonic() - started


def stands_for(store: SqlStore, keys: set[str], position: int) -> bool:
    """Whether the official boards of these categories stand for the log up to a position."""
    boards = (store.snapshots.latest(DEFAULT.id, key) for key in keys)
    return all(board is not None and board.log_position >= position for board in boards)


def pss(pid: int) -> float:
    """Proportional set size of a process in MB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line[:4] == "Pss:")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a benchmark's table."""

    what: str
    goal: str
    result: str


def show(figures: list[Figure]) -> None:
    """Print the table."""
    rows = [("figure", "goal", "result"), *((f.what, f.goal, f.result) for f in figures)]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
