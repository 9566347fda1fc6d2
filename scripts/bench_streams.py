#!/usr/bin/env python3
"""Relay lag of many running battles through the real processes, while others vote.

Endpoints stream 30 tokens a second to both sides of every battle; each token is the time at which
it was written. A voter's client reads the event stream and subtracts: the lag counts from the
moment both sides had the text. The figures of design are "beyond the tick". Meanwhile votes come in
at a steady pace. The baseline in the same run is a bare Flask app in the same server, whose
streams write the time at every tick and do nothing else: the lag of that time.

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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench_votes import ready_battles
from machine import Answer, Load, Machine, Report, load, machine, send

from arena.interfaces import ModelEntry
from tests.services import free_port

TOKENS_PER_SECOND = 30
TOKEN_WIDTH = 14
GOALS_MS = {50: 120, 100: 350}
VOTES_PER_SECOND = 20
WARM_UP = 200
"""Votes before the measurement: processes that have just started load and compile at first."""
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


def _serve(port: int, seconds: float) -> None:
    async def main() -> None:
        server = await asyncio.start_server(
            lambda r, w: _answer(r, w, seconds), "127.0.0.1", port, backlog=1024
        )
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def endpoint(seconds: float) -> Iterator[str]:
    """An endpoint in a process of its own whose answers take so long; yields its address."""
    port = free_port()
    process = multiprocessing.Process(target=_serve, args=(port, seconds), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.join()


# --- the voters ---------------------------------------------------------------------------------


async def follow(port: int, delay: float = 0) -> tuple[bool, list[float]]:
    """Start a battle and follow its stream: whether it came to its end, and its lags."""
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
    lags: list[float] = []
    while len(lags) < ticks and (line := await reader.readline()):
        if line.startswith(b"data: "):
            lags.append(time.monotonic() * 1000 - float(line[6:]))
    writer.close()
    return len(lags) == ticks, lags


async def vote_meanwhile(port: int, votes: Sequence[bytes]) -> Load:
    """At a steady pace, whatever the answers do."""

    async def vote(request: bytes, delay: float) -> list[Answer]:
        await asyncio.sleep(delay)
        return await send(port, [request])

    started = time.perf_counter()
    answers = await asyncio.gather(
        *(vote(request, i / VOTES_PER_SECOND) for i, request in enumerate(votes))
    )
    return Load.of(time.perf_counter() - started, answers)


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


def run_voters(port: int, count: int, votes: Sequence[bytes]) -> tuple[Seen, Load]:
    async def main() -> tuple[list[tuple[bool, list[float]]], Load]:
        battles = asyncio.gather(*(follow(port, i / count) for i in range(count)))
        return await asyncio.gather(battles, vote_meanwhile(port, votes))

    results, voting = asyncio.run(main())
    return _seen(results), voting


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
    with Report() as report, endpoint(options.seconds) as base_url:
        roster = [ModelEntry(f"m{i}", f"M {i}", base_url=base_url, model="m") for i in range(4)]
        with machine(options.database, roster) as place:
            for count in map(int, options.battles.split(",")):
                measure(report, place, roster, count, options.seconds)


def measure(
    report: Report, place: Machine, roster: Sequence[ModelEntry], count: int, seconds: float
) -> None:
    tick = place.settings.tick_ms
    votes = ready_battles(place, roster, WARM_UP + int(seconds * VOTES_PER_SECOND))
    with place.running("web", "runner", "worker") as pids:
        load(place.port, votes[:WARM_UP], 16)
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        started = time.monotonic()
        seen, voting = run_voters(place.port, count, votes[WARM_UP:])
        lasted = time.monotonic() - started
        cpu = {name: (cpu_seconds(pid) - before[name]) / lasted for name, pid in pids.items()}
    with place.bare():
        plain = run_bare(place.port, count, int(seconds * 1000 / tick))
    for what, one in (("battles", seen), ("bare streams", plain)):
        report.expect(one.complete == count, f"of {count} {what} {one.complete} were complete")
    report.expect(voting.statuses.keys() == {200}, f"the votes' answers were {voting.statuses}")
    p50, p99, worst = (seen.quantile(share) - tick for share in (0.5, 0.99, 1.0))
    plain_p99 = plain.quantile(0.99)
    report.add(f"{count} battles: complete", str(seen.complete), goal=str(count))
    report.add(
        f"{count} battles: lag beyond the tick",
        f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, most {worst:.0f} ms",
        goal=f"p99 ≤ {GOALS_MS[count]} ms" if count in GOALS_MS else "",
        ratio=f"p99 × {p99 / plain_p99:.1f}",
    )
    report.add(f"{count} bare streams: lag of the tick", f"p99 {plain_p99:.0f} ms")
    report.add(
        f"{count} battles: votes meanwhile",
        f"p50 {voting.quantile_ms(0.5):.0f} ms, p99 {voting.quantile_ms(0.99):.0f} ms",
        goal=f"p99 ≤ {VOTES_GOAL_MS} ms",
    )
    used = ", ".join(f"{name} {cpu[name]:.0%}" for name in ("web", "runner"))
    report.add(f"{count} battles: processor time", f"{used} of a core")


if __name__ == "__main__":
    main()
