#!/usr/bin/env python3
"""Relay lag of many running battles through the real processes.

Endpoints stream 30 tokens a second to both sides of every battle; each token is the time at which
it was written. A voter's client reads the event stream and subtracts: the lag counts from the
moment both sides had the text. The figures of design are "beyond the tick".

    .venv/bin/python scripts/bench_streams.py [--battles 50,100] [--seconds 10]
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from arena.embedded import is_ready, redis_command
from arena.settings import Settings

TOKENS_PER_SECOND = 30
TOKEN_WIDTH = 14
GOALS_MS = {50: 120, 100: 350}


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


def run_voters(port: int, battles: int) -> tuple[int, list[float]]:
    async def main() -> list[tuple[bool, list[float]]]:
        return await asyncio.gather(*(_follow(port, i / battles) for i in range(battles)))

    results = asyncio.run(main())
    return sum(ended for ended, _ in results), [lag for _, lags in results for lag in lags]


# --- the arena ----------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children that are alive."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if pid in (int(path.parent.name), int(fields[1])):
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


@contextmanager
def arena(endpoint_port: int) -> Iterator[tuple[int, dict[str, int]]]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        port = free_port()
        config = Path(folder) / "arena.toml"
        config.write_text(
            "".join(
                f'[[models]]\nid = "m{i}"\nmodel = "m"\n'
                f'base_url = "http://127.0.0.1:{endpoint_port}"\n'
                for i in range(4)
            )
        )
        env = dict(
            os.environ,
            ARENA_DATA=folder,
            ARENA_CONFIG=str(config),
            PORT=str(port),
            ARENA_LOG_LEVEL="warning",
        )
        server = redis_command(Settings.from_environment(env))
        if server is not None:
            redis = stack.enter_context(subprocess.Popen(server.argv))
            stack.callback(redis.terminate)
            while not is_ready(server.socket):
                time.sleep(0.05)
            env["REDIS_URL"] = server.url
        arena_command = [sys.executable, "-m", "arena.cli"]
        subprocess.run([*arena_command, "db", "upgrade"], env=env, check=True, capture_output=True)
        pids = {}
        for name in ("web", "runner"):
            process = stack.enter_context(subprocess.Popen([*arena_command, name], env=env))
            stack.callback(process.terminate)
            pids[name] = process.pid
        wait_until_up(port)
        yield port, pids


def wait_until_up(port: int) -> None:
    for _ in range(200):
        with suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        time.sleep(0.1)
    raise SystemExit("the arena did not come up")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--battles", default="50,100", help="comma-separated counts")
    parser.add_argument("--seconds", type=float, default=10, help="length of an answer")
    options = parser.parse_args()
    tick = Settings.from_environment(os.environ).tick_ms
    endpoint_port = free_port()
    endpoints = multiprocessing.Process(
        target=serve_endpoints, args=(endpoint_port, options.seconds), daemon=True
    )
    endpoints.start()
    print(
        "battles  complete  lag beyond the tick, ms: p50   p99   max   goal   web CPU  runner CPU"
    )
    with arena(endpoint_port) as (port, pids):
        for count in map(int, options.battles.split(",")):
            before = {name: cpu_seconds(pid) for name, pid in pids.items()}
            started = time.monotonic()
            complete, lags = run_voters(port, count)
            seconds = time.monotonic() - started
            cpu = {name: (cpu_seconds(pid) - before[name]) / seconds for name, pid in pids.items()}
            lags.sort()
            p50, p99, worst = (lags[int(len(lags) * q)] - tick for q in (0.5, 0.99, 0.99999))
            print(
                f"{count:7}  {complete:8}  {p50:29.0f} {p99:5.0f} {worst:5.0f} "
                f"{GOALS_MS.get(count, 0) or '-':>6} {cpu['web']:8.0%} {cpu['runner']:10.0%}"
            )
    endpoints.terminate()


if __name__ == "__main__":
    main()
