#!/usr/bin/env python3
"""The memory of all our processes together, beside a log of a million votes.

`arena up` runs as it does on one machine (supervisor, web, runner, worker) on a SQLite log with
250 models and 30 category boards. Boards, pages, an export and the events of boards are read, votes
come in, and the proportional set sizes of our processes are summed: what they share counts once.
Redis stands beside them and is told apart.

    .venv/bin/python scripts/bench_memory.py [--votes 1000000] [--models 250] [--seconds 60]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

from machine import wait_until_up
from synthetic_log import Figure, World, arena, pss, running, show, stands_for, votes, wait, world

from arena.live import RedisLive
from arena.records import Record
from tests.services import UNHURRIED, free_port

GOAL_MB = 400
READ = (
    *("/board", "/", "/log", "/about", "/api/board", "/api/board?category=coding"),
    *("/api/board/pairs", "/api/models", "/api/campaigns", "/api/boards"),
)
EXPORTED = 2**22


def family(pid: int) -> Iterator[int]:
    """A process and all that it has started."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def name_of(pid: int) -> str:
    """Which of our processes this is."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    if "gunicorn" in " ".join(words):
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        inside = "gunicorn" in Path(f"/proc/{parent}/cmdline").read_text()
        return "web" if inside else "web's master"
    known = ("redis", "valkey", "runner", "worker", "eliza", "smollm2", "up")
    return next((name for name in known if any(name in word for word in words)), words[0])


def use(place: World, port: int, models: int, seconds: int) -> None:
    """Read everything, and vote, for a while."""
    live = RedisLive(place.env["REDIS_URL"], ttl=60)
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        for path in READ:
            with urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                answer.read()
        with urlopen(f"http://127.0.0.1:{port}/api/votes") as answer:
            answer.read(EXPORTED)
        number += 1
        rows = [Record(**vote) for vote in votes(20, models, 100, seed=number)]  # type: ignore[arg-type]
        place.store.votes.append([(row, None) for row in rows])
        live.wake_worker()
    live.close()


def report(options: argparse.Namespace) -> list[Figure]:
    port = free_port()
    with world(options.votes, options.models, **UNHURRIED, PORT=str(port)) as place:
        # for the supervisor the Redis is somebody else's
        with running(arena("up", "--no-demo"), place.env) as up:
            wait_until_up(f"http://127.0.0.1:{port}/readyz")
            wait("the board", lambda: stands_for(place.store, {"overall", "coding"}, options.votes))
            use(place, port, options.models, options.seconds)
            found = [(name_of(pid), pss(pid)) for pid in family(up.pid)]
        figures = [Figure(name, "", f"{size:.0f} MB") for name, size in sorted(found)]
        total = sum(size for _, size in found)
        figures.append(Figure("all our processes", f"≤ {GOAL_MB} MB", f"{total:.0f} MB"))
        figures.append(Figure("beside them: Redis", "", f"{pss(place.redis):.0f} MB"))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=250)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    show(report(options))


if __name__ == "__main__":
    main()
