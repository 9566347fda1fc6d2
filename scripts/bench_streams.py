#!/usr/bin/env python3
"""Relay lag of many running battles through the real processes, while others vote.

Endpoints stream 30 tokens a second to both sides of every battle; each token is the time at which
it was written. A voter's client reads the event stream and subtracts: the lag counts from the
moment both sides had the text. The figures of design are "beyond the tick". Meanwhile votes come in
at a steady pace. The baseline in the same run is a bare Flask app under the same gunicorn settings,
whose streams write the time at every tick and do nothing else: the lag of that time.

    .venv/bin/python scripts/bench_streams.py [--battles 50,100] [--seconds 10]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench_votes import bare, ready_battles
from machine import Machine, machine

from arena.interfaces import ModelEntry
from arena.settings import Settings
from tests.services import free_port

TOKENS_PER_SECOND = 30
TOKEN_WIDTH = 14
GOALS_MS = {50: 120, 100: 350}
VOTES_PER_SECOND = 20
VOTES_GOAL_MS = 250


# --- the endpoints ------------------------------------------------------------------------------


def token() -> str:
    return f"{time.monotonic() * 1000:>{TOKEN_WIDTH - 1}.2f} "


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        await reader.readexactly(length)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )

        def send(data: str) -> None:
            event = f"data: {data}\n\n".encode()
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))

        loop = asyncio.get_running_loop()
        due = loop.time() + random.random() / TOKENS_PER_SECOND
        for _ in range(int(seconds * TOKENS_PER_SECOND)):
            due += random.uniform(0.5, 1.5) / TOKENS_PER_SECOND
            await asyncio.sleep(max(0, due - loop.time()))
            send(json.dumps({"choices": [{"index": 0, "delta": {"content": token()}}]}))
            await writer.drain()
        send('{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}')
        send("[DONE]")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
    writer.close()


def serve_endpoints(port: int, seconds: float) -> None:
    async def main() -> None:
        server = await asyncio.start_server(
            lambda r, w: _answer(r, w, seconds), "127.0.0.1", port, backlog=1024
        )
        await server.serve_forever()

    asyncio.run(main())


# --- the voters ---------------------------------------------------------------------------------


async def _follow(port: int, delay: float) -> tuple[bool, list[float]]:
    await asyncio.sleep(delay)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"prompt":"bench"}'
    host = f"Host: 127.0.0.1:{port}\r\n"
    writer.write(
        f"POST /api/battles HTTP/1.1\r\n{host}Content-Length: {len(body)}\r\n\r\n".encode() + body
    )
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    if " 201 " not in head.split("\r\n")[0]:
        return False, []
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    battle = json.loads(await reader.readexactly(int(headers["Content-Length"])))["id"]
    cookie = headers["Set-Cookie"].split(";")[0]
    writer.write(
        f"GET /api/battles/{battle}/events HTTP/1.1\r\n{host}Cookie: {cookie}\r\n\r\n".encode()
    )
    texts, checked, lags, ended = {"a": "", "b": ""}, 0, [], False
    while line := await reader.readline():
        if line.startswith(b"event: ready"):
            ended = True
            break
        if not line.startswith(b'data: {"turn"'):
            continue
        now = time.monotonic() * 1000
        event = json.loads(line[6:])
        texts[event["side"]] += event["text"]
        while min(map(len, texts.values())) >= checked + TOKEN_WIDTH:
            times = [float(text[checked : checked + TOKEN_WIDTH]) for text in texts.values()]
            lags.append(now - max(times))
            checked += TOKEN_WIDTH
    writer.close()
    return ended, lags


async def _follow_bare(port: int, delay: float, ticks: int) -> tuple[bool, list[float]]:
    await asyncio.sleep(delay)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /ticks/{ticks} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    lags = []
    while len(lags) < ticks and (line := await reader.readline()):
        if line.startswith(b"data: "):
            lags.append(time.monotonic() * 1000 - float(line[6:]))
    writer.close()
    return len(lags) == ticks, lags


async def _vote_meanwhile(port: int, votes: Sequence[bytes]) -> list[float]:
    """At a steady pace, whatever the answers do; the seconds of each."""

    async def vote(request: bytes, delay: float) -> float:
        await asyncio.sleep(delay)
        started = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        status = await reader.readline()
        writer.close()
        if b" 200 " not in status:
            raise SystemExit(f"a vote was refused: {status.decode()}")
        return time.perf_counter() - started

    return await asyncio.gather(
        *(vote(request, i / VOTES_PER_SECOND) for i, request in enumerate(votes))
    )


@dataclass(frozen=True)
class Seen:
    """What all followers saw: how many streams were complete, and lags in milliseconds."""

    complete: int
    lags: list[float]

    def quantile(self, share: float) -> float:
        return self.lags[min(int(len(self.lags) * share), len(self.lags) - 1)]


def _seen(results: Sequence[tuple[bool, list[float]]]) -> Seen:
    lags = sorted(lag for _, own in results for lag in own)
    return Seen(sum(ended for ended, _ in results), lags or [float("nan")])


def run_voters(port: int, count: int, votes: Sequence[bytes]) -> tuple[Seen, list[float]]:
    async def main() -> tuple[list[tuple[bool, list[float]]], list[float]]:
        follow = asyncio.gather(*(_follow(port, i / count) for i in range(count)))
        return await asyncio.gather(follow, _vote_meanwhile(port, votes))

    results, seconds = asyncio.run(main())
    return _seen(results), sorted(seconds)


def run_bare(port: int, count: int, ticks: int) -> Seen:
    async def main() -> list[tuple[bool, list[float]]]:
        return await asyncio.gather(*(_follow_bare(port, i / count, ticks) for i in range(count)))

    return _seen(asyncio.run(main()))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children that are alive."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if pid in (int(path.parent.name), int(fields[1])):
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--battles", default="50,100", help="comma-separated counts")
    parser.add_argument("--seconds", type=float, default=10, help="length of an answer")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    options = parser.parse_args()
    endpoint_port = free_port()
    endpoints = multiprocessing.Process(
        target=serve_endpoints, args=(endpoint_port, options.seconds), daemon=True
    )
    endpoints.start()
    roster = [
        ModelEntry(f"m{i}", f"M {i}", base_url=f"http://127.0.0.1:{endpoint_port}", model="m")
        for i in range(4)
    ]
    print("                 lag beyond the tick, ms             votes meanwhile, ms")
    print("battles complete   p50   p99   max  goal  bare p99   p99  goal  web CPU  runner CPU")
    with machine(options.database, roster) as place:
        for count in map(int, options.battles.split(",")):
            measure(place, roster, count, options.seconds)
    endpoints.terminate()


def measure(place: Machine, roster: Sequence[ModelEntry], count: int, seconds: float) -> None:
    tick = Settings.from_environment(place.env).tick_ms
    votes = ready_battles(place, roster, int(seconds * VOTES_PER_SECOND))
    with place.running("web", "runner", "worker") as pids:
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        started = time.monotonic()
        seen, vote_seconds = run_voters(place.port, count, votes)
        lasted = time.monotonic() - started
        cpu = {name: (cpu_seconds(pid) - before[name]) / lasted for name, pid in pids.items()}
    with bare(place):
        plain = run_bare(place.port, count, int(seconds * 1000 / tick))
    p50, p99, worst = (seen.quantile(share) - tick for share in (0.5, 0.99, 1.0))
    votes_p99 = vote_seconds[int(len(vote_seconds) * 0.99)] * 1000
    print(
        f"{count:7} {seen.complete:8} {p50:5.0f} {p99:5.0f} {worst:5.0f}"
        f" {GOALS_MS.get(count, 0) or '-':>5} {plain.quantile(0.99):9.0f}"
        f" {votes_p99:5.0f} {VOTES_GOAL_MS:5} {cpu['web']:8.0%} {cpu['runner']:11.0%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
