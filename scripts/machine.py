"""The real processes on this machine, for benchmarks: databases, Redis, and the arena's parts."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parents[1]))

from arena.clock import now
from arena.interfaces import ModelEntry
from arena.settings import Settings
from arena.store import open_store
from tests.services import UNHURRIED, PostgresServer, RedisServer, free_port

SECRET_KEY = "the key of a benchmark's cookies, no secret"  # noqa: S105 - as it says


@dataclass(frozen=True)
class Machine:
    """Where everything is; `env` is what every process of the arena is started with."""

    folder: Path
    env: Mapping[str, str]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self, *parts: str) -> Iterator[dict[str, int]]:
        """These parts of the arena (`web`, `runner`, `worker`), ready; yields their process ids."""
        with ExitStack() as stack:
            pids = {}
            for part in parts:
                process = stack.enter_context(subprocess.Popen(_command(part), env=self.env))
                stack.callback(process.terminate)
                pids[part] = process.pid
            if "web" in pids:
                wait_until_up(f"{self.url}/readyz")
            yield pids


@contextmanager
def machine(database: str, roster: Sequence[ModelEntry] = (), **settings: str) -> Iterator[Machine]:
    """A fresh place with Redis and a migrated `database`: `sqlite`, or `postgresql`, durable."""
    # short: there are Unix sockets in it
    with tempfile.TemporaryDirectory(prefix="arena-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        redis = RedisServer(folder)
        redis.start()
        port = free_port()
        env = dict(
            os.environ,
            ARENA_DATA=name,
            ARENA_CONFIG=str(folder / "arena.toml"),
            ARENA_SECRET_KEY=SECRET_KEY,
            ARENA_LOG_LEVEL="warning",
            **UNHURRIED,
            PORT=str(port),
            REDIS_URL=redis.url,
            **settings,
        )
        with ExitStack() as stack:
            stack.callback(redis.stop)
            if database == "postgresql":
                (folder / "pg").mkdir()
                server = PostgresServer(folder / "pg", durable=True)
                server.start()
                stack.callback(server.stop)
                env["DATABASE_URL"] = server.url
            else:
                env["DATABASE_URL"] = f"sqlite:///{folder}/arena.db"
            subprocess.run(_command("db", "upgrade"), env=env, check=True, capture_output=True)
            opened = open_store(Settings.from_environment(env).database_url)
            opened.roster.replace(roster, now())
            opened.close()
            yield Machine(folder, env, port)


def wait_until_up(url: str) -> None:
    """Ask until the answer is 200; ends the program when that takes too long."""
    for _ in range(150):
        with (
            suppress(URLError, OSError),
            urlopen(url, timeout=2) as answer,  # noqa: S310 - our own address
        ):
            if answer.status == HTTPStatus.OK:
                return
        time.sleep(0.1)
    raise SystemExit(f"{url} did not come up")


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "arena.cli", *arguments]


# --- load ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """What a load did: seconds in all, seconds of each answer (ascending), answers by status."""

    seconds: float
    latencies: list[float]
    statuses: dict[int, int]

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile_ms(self, share: float) -> float:
        return self.latencies[min(int(len(self.latencies) * share), len(self.latencies) - 1)] * 1e3


def load(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """Send whole HTTP requests over so many kept connections, each as fast as it is answered."""
    started = time.perf_counter()
    waiting = iter(requests)
    answers = asyncio.run(_all(port, waiting, connections))
    seconds = time.perf_counter() - started
    statuses: dict[int, int] = {}
    for status, _ in answers:
        statuses[status] = statuses.get(status, 0) + 1
    return Load(seconds, sorted(latency for _, latency in answers), statuses)


async def _all(port: int, waiting: Iterator[bytes], connections: int) -> list[tuple[int, float]]:
    per_connection = await asyncio.gather(*(_send(port, waiting) for _ in range(connections)))
    return [answer for answers in per_connection for answer in answers]


async def _send(port: int, waiting: Iterable[bytes]) -> list[tuple[int, float]]:
    answers: list[tuple[int, float]] = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in waiting:
        started = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (
                int(line[15:])
                for line in head.split(b"\r\n")
                if line[:15].lower() == b"content-length:"
            ),
            0,
        )
        await reader.readexactly(length)
        answers.append((int(head[9:12]), time.perf_counter() - started))
        if b"connection: close" in head.lower():
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return answers
