#!/usr/bin/env python3
"""Votes while many clients keep connections and send nothing more, by what they had begun to send.

Every vote comes over a connection of its own, so that it has to be accepted beside theirs. The
ratio is to the votes of the same run with no such client.

    .venv/bin/python scripts/bench_slow_clients.py [--sockets 500] [--votes 200]
"""

from __future__ import annotations

import argparse
import socket
from contextlib import ExitStack, closing

from bench_votes import GOAL_P99_MS, ROSTER, ready_battles
from machine import Load, load, machine

from tests.slow_clients import BEGUN

CONNECTIONS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sockets", type=int, default=500)
    parser.add_argument("--votes", type=int, default=200)
    options = parser.parse_args()
    print(f"{options.sockets} clients that sent        votes p50  p99 ms  goal  ratio  answers")
    rounds = ["nobody", *BEGUN]
    with machine("sqlite", ROSTER) as place:
        requests = ready_battles(place, ROSTER, (len(rounds) + 1) * options.votes)
        shares = [
            [_closing(request) for request in requests[n : n + options.votes]]
            for n in range(0, len(requests), options.votes)
        ]
        with place.running("web"):
            load(place.port, shares.pop(), CONNECTIONS)
            alone = load(place.port, shares.pop(), CONNECTIONS)
            show(rounds[0], alone, alone)
            for what, share in zip(rounds[1:], shares, strict=True):
                with ExitStack() as stack:
                    for _ in range(options.sockets):
                        address = ("127.0.0.1", place.port)
                        client = stack.enter_context(closing(socket.create_connection(address)))
                        client.sendall(BEGUN[what])
                    show(what, load(place.port, share, CONNECTIONS), alone)


def _closing(request: bytes) -> bytes:
    return request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def show(what: str, seen: Load, alone: Load) -> None:
    p50, p99 = seen.quantile_ms(0.5), seen.quantile_ms(0.99)
    ratio = p50 / alone.quantile_ms(0.5)
    print(
        f"{what:34} {p50:5.0f} {p99:7.0f} {GOAL_P99_MS:5} {ratio:6.2f}  {seen.statuses}", flush=True
    )


if __name__ == "__main__":
    main()
