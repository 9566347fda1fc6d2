#!/usr/bin/env python3
"""Votes while many clients keep connections and send nothing more, by what they had begun to send.

Every vote comes over a connection of its own, so that it has to be accepted beside theirs. The
baseline is the same with no such client; the ratio is of the medians.

    .venv/bin/python scripts/bench_slow_clients.py [--sockets 500] [--votes 200]
"""

from __future__ import annotations

import argparse
import socket
from contextlib import ExitStack, closing

from bench_votes import GOAL_P99_MS, ROSTER, ready_battles, told
from machine import Report, load, machine

from tests.slow_clients import BEGUN

CONNECTIONS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sockets", type=int, default=500)
    parser.add_argument("--votes", type=int, default=200)
    options = parser.parse_args()
    with Report() as report:
        measure(report, options.sockets, options.votes)


def measure(report: Report, sockets: int, votes: int) -> None:
    with machine("sqlite", ROSTER) as place:
        requests = ready_battles(place, ROSTER, (len(BEGUN) + 2) * votes)
        shares = [
            [_closing(request) for request in requests[n : n + votes]]
            for n in range(0, len(requests), votes)
        ]
        with place.running("web"):
            load(place.port, shares.pop(), CONNECTIONS)
            alone = load(place.port, shares.pop(), CONNECTIONS)
            report.expect(alone.statuses.keys() == {200}, f"alone: {alone.statuses}")
            report.add("votes with no such client", told(alone))
            for (what, begun), share in zip(BEGUN.items(), shares, strict=True):
                with ExitStack() as stack:
                    for _ in range(sockets):
                        address = ("127.0.0.1", place.port)
                        client = stack.enter_context(closing(socket.create_connection(address)))
                        client.sendall(begun)
                    seen = load(place.port, share, CONNECTIONS)
                report.expect(seen.statuses.keys() == {200}, f"{what}: {seen.statuses}")
                report.add(
                    f"beside {sockets} that sent {what}",
                    told(seen),
                    goal=f"p99 ≤ {GOAL_P99_MS} ms",
                    ratio=f"× {seen.quantile_ms(0.5) / alone.quantile_ms(0.5):.2f}",
                )


def _closing(request: bytes) -> bytes:
    return request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


if __name__ == "__main__":
    main()
