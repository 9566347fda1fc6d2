#!/usr/bin/env python3
"""Reading the newest board: many readers who have it already, through the real web processes.

250 models are on the board. wrk asks over kept connections with the ETag of the newest board, then
without one (the whole board, compressed). The baseline in the same run: a bare Flask app that
answers a constant with an ETag, under gunicorn with as many processes and threads.

    apt-get install wrk
    .venv/bin/python scripts/bench_board.py [--seconds 10] [--connections 8] [--models 250]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

from machine import wait_until_up
from synthetic_log import Figure, arena, running, show, stands_for, wait, world

from tests.services import UNHURRIED, free_port

GOAL_RATE, GOAL_P99_MS = 1_500, 20
VOTES = 50_000
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1_000.0}


@dataclass(frozen=True, slots=True)
class Reading:
    """What wrk saw: answers a second, the slowest hundredth in milliseconds, and its complaints."""

    rate: float
    p99_ms: float
    problems: str


def read(url: str, headers: Mapping[str, str], connections: int, seconds: int) -> Reading:
    """Read over so many kept connections, each as fast as it is answered."""
    named = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *named, url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    slowest = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    if rate is None or slowest is None:
        raise SystemExit(said)
    problems = re.findall(r"(?:Non-2xx|Socket errors).*", said)
    p99 = float(slowest[1]) * _UNITS[slowest[2]]
    return Reading(float(rate[1]), p99, "; ".join(problems))


def etag_of(url: str) -> str:
    asked = Request(url, headers={"Accept-Encoding": "gzip"})  # noqa: S310 - our own address
    with urlopen(asked) as answer:  # noqa: S310 - the same
        return str(answer.headers["ETag"])


def report(options: argparse.Namespace) -> list[Figure]:
    port, bare_port = free_port(), free_port()
    board, constant = f"http://127.0.0.1:{port}/api/board", f"http://127.0.0.1:{bare_port}/constant"
    with ExitStack() as stack:
        place = stack.enter_context(
            world(VOTES, options.models, **UNHURRIED, PORT=str(port), ARENA_LOG_LEVEL="warning")
        )
        stack.enter_context(running(arena("worker"), place.env))
        wait("the board", lambda: stands_for(place.store, {"overall"}, VOTES))
        stack.enter_context(running(arena("web"), place.env))
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        command = [sys.executable, "-m", "gunicorn", "bare:make()", "--worker-class", "gthread"]
        command += ["--workers", str(place.settings.web_workers), "--no-control-socket"]
        command += ["--threads", str(place.settings.web_threads), "--keep-alive", "15"]
        command += ["--bind", f"127.0.0.1:{bare_port}"]
        env = {"PYTHONPATH": str(Path(__file__).parent), "BARE_DATABASE": f"{scratch}/bare.db"}
        stack.enter_context(running(command, env))
        wait_until_up(constant)
        wait_until_up(board)
        figures = []
        wanted = {"Accept-Encoding": "gzip"}
        known = wanted | {"If-None-Match": etag_of(board)}
        bare = read(constant, {"If-None-Match": '"constant"'}, options.connections, options.seconds)
        figures.append(Figure("bare Flask, a constant with its ETag", "", _told(bare)))
        hits = read(board, known, options.connections, options.seconds)
        goal = f"≥ {GOAL_RATE:,}/s, p99 ≤ {GOAL_P99_MS} ms"
        figures.append(Figure("board, with ETag hits", goal, _told(hits)))
        whole = read(board, wanted, options.connections, options.seconds)
        figures.append(Figure("board, whole and compressed", "", _told(whole)))
        ratio = f"{hits.rate / bare.rate:.2f}"
        figures.append(Figure("ETag hits beside bare Flask", "", f"× {ratio}"))
    return figures


def _told(reading: Reading) -> str:
    complaint = f" ({reading.problems})" if reading.problems else ""
    return f"{reading.rate:,.0f}/s, p99 {reading.p99_ms:.1f} ms{complaint}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--models", type=int, default=250)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    print(f"{os.cpu_count()} cores; {options.connections} connections")
    show(report(options))


if __name__ == "__main__":
    main()
