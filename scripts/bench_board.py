#!/usr/bin/env python3
"""Reading the newest board: many readers who have it already, through the real web processes.

250 models are on the board, and the worker is at rest, so that the board stays the same. wrk asks
over kept connections with the ETag of the newest board, then without one (the whole board,
compressed). The baseline, before and after: a bare Flask app that answers a constant with an ETag,
in the same server.

    apt-get install wrk
    .venv/bin/python scripts/bench_board.py [--seconds 10] [--connections 8] [--models 250]
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from statistics import mean
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from machine import Report
from synthetic_log import wait_for_boards, world

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


def measure(report: Report, options: argparse.Namespace) -> None:
    wanted = {"Accept-Encoding": "gzip"}

    def ask(url: str, known: str = "") -> Reading:
        headers = {**wanted, "If-None-Match": known} if known else wanted
        return read(url, headers, options.connections, options.seconds)

    with world(VOTES, options.models) as place:
        board, constant = f"{place.url}/api/board", f"{place.url}/constant"
        with place.running("worker"):
            wait_for_boards(place.store, {"overall"}, VOTES)
        with place.bare():
            before = ask(constant, '"constant"')
        with place.running("web"):
            known, rows = whole_board(board)
            report.expect(rows == options.models, f"the board has {rows} of {options.models} rows")
            hits = ask(board, known)
            report.expect(is_current(board, known), "the board was another one after the ETag hits")
            whole = ask(board)
        with place.bare():
            after = ask(constant, '"constant"')
    readings = {
        "board, with ETag hits": hits,
        "bare Flask, a constant with its ETag, before": before,
        "bare Flask, a constant with its ETag, after": after,
        "board, whole and compressed": whole,
    }
    bare = mean([before.rate, after.rate])
    for what, seen in readings.items():
        report.expect(not seen.problems, f"{what}: {seen.problems}")
        report.add(
            what,
            f"{seen.rate:,.0f}/s, p99 {seen.p99_ms:.1f} ms",
            goal=f"≥ {GOAL_RATE:,}/s, p99 ≤ {GOAL_P99_MS} ms" if seen is hits else "",
            ratio=f"× {seen.rate / bare:.2f}" if seen in (hits, whole) else "",
        )


def whole_board(url: str) -> tuple[str, int]:
    """The ETag of its compressed form, and how many models it rates."""
    asked = Request(url, headers={"Accept-Encoding": "gzip"})  # noqa: S310 - our own address
    with urlopen(asked) as answer:  # noqa: S310 - the same
        rows = json.loads(gzip.decompress(answer.read()))["rows"]
        return answer.headers["ETag"], sum(row["votes"] > 0 for row in rows)


def is_current(url: str, etag: str) -> bool:
    """Whether who has this one is told that nothing has changed."""
    headers = {"Accept-Encoding": "gzip", "If-None-Match": etag}
    try:
        with urlopen(Request(url, headers=headers)):  # noqa: S310 - our own address
            return False
    except HTTPError as answer:
        return answer.status == HTTPStatus.NOT_MODIFIED


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
    with Report() as report:
        measure(report, options)


if __name__ == "__main__":
    main()
