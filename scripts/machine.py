"""The real processes on this machine, for benchmarks: started, loaded, and told of in a table."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))

from arena.clock import now
from arena.interfaces import ModelEntry
from arena.settings import Settings
from arena.store import SqlStore, open_store
from tests.services import (
    ROOT,
    UNHURRIED,
    ArenaProcess,
    PostgresServer,
    RedisServer,
    free_port,
    is_up,
    wait_until,
)

SECRET_KEY = "the key of a benchmark's cookies, no secret"  # noqa: S105 - as it says
SIGNING_KEY = "0" * 64
_PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Machine:
    """Where everything is; `env` is what every process of the arena is started with."""

    folder: Path
    env: Mapping[str, str]
    settings: Settings
    store: SqlStore
    redis: int
    """Its process id."""

    @property
    def port(self) -> int:
        return self.settings.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self, *commands: str) -> Iterator[dict[str, int]]:
        """These commands of the arena (`web`, `runner`, `up --no-demo`, …), ready.

        Yields the process id of each, by its first word.
        """
        with ExitStack() as stack:
            processes = {}
            for command in commands:
                process = ArenaProcess(
                    self.settings.data, *command.split(), port=self.port, environ=self.env
                )
                processes[command.split()[0]] = stack.enter_context(process)
            for name in processes.keys() & {"web", "up"}:
                processes[name].wait_ready()
            yield {name: process.process.pid for name, process in processes.items()}

    @contextmanager
    def bare(self) -> Iterator[int]:
        """The bare app in the place of the arena's web part, in the same server.

        Yields its process id.
        """
        url = self.settings.database_url.replace("+psycopg", "")
        create = "CREATE TABLE IF NOT EXISTS bare (body TEXT)"
        if url.startswith("postgresql"):
            with psycopg.connect(url) as connection:
                connection.execute(create)
        else:
            url = str(self.folder / "bare.db")
            with sqlite3.connect(url) as file:
                file.execute(create)
        command = [sys.executable, "-m", "gunicorn", "bare:make()"]
        command += ["--worker-class", "arena.serving.Worker"]  # gunicorn's own share unevenly
        command += ["--bind", f"127.0.0.1:{self.port}", "--keep-alive", "15"]
        command += ["--workers", str(self.settings.web_workers), "--no-control-socket"]
        command += ["--threads", str(self.settings.web_threads)]
        env = {**os.environ, "BARE_DATABASE": url, "PYTHONPATH": str(Path(__file__).parent)}
        with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as process:
            try:
                page = f"{self.url}/constant"
                wait_until(partial(is_up, page), _PATIENCE_SECONDS, what=page)
                yield process.pid
            finally:
                process.terminate()


@contextmanager
def machine(database: str, roster: Sequence[ModelEntry] = (), **settings: str) -> Iterator[Machine]:
    """A fresh place with Redis and a migrated `database`: `sqlite`, or `postgresql`, durable."""
    # short: there are Unix sockets in it
    with (
        tempfile.TemporaryDirectory(prefix="arena-", ignore_cleanup_errors=True) as name,
        ExitStack() as stack,
    ):
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as somebody else
        data = folder / "data"
        data.mkdir()
        redis = RedisServer(folder)
        redis.start()
        stack.callback(redis.stop)
        env = {
            "ARENA_DATA": str(data),
            "ARENA_CONFIG": str(folder / "arena.toml"),
            "ARENA_SECRET_KEY": SECRET_KEY,
            "ARENA_SIGNING_KEY": SIGNING_KEY,
            "ARENA_LOG_LEVEL": "warning",
            "OPENBLAS_NUM_THREADS": "1",  # as wherever it is deployed
            "PYTHONPATH": str(ROOT),
            **UNHURRIED,
            "PORT": str(free_port()),
            "REDIS_URL": redis.url,
            "DATABASE_URL": f"sqlite:///{data}/arena.db",
            **settings,
        }
        if database == "postgresql":
            (folder / "pg").mkdir()
            server = PostgresServer(folder / "pg", durable=True)
            stack.callback(server.stop)
            server.start()
            env["DATABASE_URL"] = server.url
        spend(arena("db", "upgrade"), env)
        read = Settings.from_environment(env)
        store = open_store(read.database_url)
        stack.callback(store.close)
        store.roster.replace(roster, now())
        yield Machine(folder, env, read, store, redis.pid)


def arena(*words: str) -> list[str]:
    """The command line of one of our programs."""
    return [sys.executable, "-m", "arena.cli", *words]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a program took: seconds by the clock and of the processor, and megabytes at its peak."""

    seconds: float
    cpu: float
    peak_mb: float


# from a small process: what a child inherits before its own program begins counts as its peak
_SPEND = """
import json, resource, subprocess, sys, time
started = time.monotonic()
status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
seconds, used = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
sys.exit(status)
"""


def spend(command: Sequence[str], env: Mapping[str, str]) -> Spent:
    """Run a program to its end; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", _SPEND, *command],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        check=True,
    )
    return Spent(*json.loads(done.stdout))


def pss(pid: int) -> float:
    """Proportional set size of a process in MB; 0 when it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line[:4] == "Pss:")


# --- load ---------------------------------------------------------------------------------------

Answer = tuple[int, float]
"""Its status, and the seconds from the request until all of it was there."""


@dataclass(frozen=True)
class Load:
    """What a load did: seconds in all, seconds of each answer (ascending), answers by status."""

    seconds: float
    latencies: list[float]
    statuses: dict[int, int]

    @classmethod
    def of(cls, seconds: float, answers: Iterable[Sequence[Answer]]) -> Load:
        """What several connections saw in so many seconds."""
        every = [answer for some in answers for answer in some]
        statuses = Counter(status for status, _ in every)
        return cls(seconds, sorted(latency for _, latency in every), dict(statuses))

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile_ms(self, share: float) -> float:
        return self.latencies[min(int(len(self.latencies) * share), len(self.latencies) - 1)] * 1e3


def load(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """Send whole HTTP requests over so many kept connections, each as fast as it is answered."""

    async def every() -> list[list[Answer]]:
        waiting = iter(requests)
        return await asyncio.gather(*(send(port, waiting) for _ in range(connections)))

    started = time.perf_counter()
    answers = asyncio.run(every())
    return Load.of(time.perf_counter() - started, answers)


async def send(port: int, waiting: Iterable[bytes]) -> list[Answer]:
    """Send these one after the other; connecting, where it is necessary, is part of the time."""
    answers: list[Answer] = []
    connection = None
    for request in waiting:
        started = time.perf_counter()
        reader, writer = connection = connection or await asyncio.open_connection("127.0.0.1", port)
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
            connection = None
    if connection is not None:
        connection[1].close()
    return answers


# --- figures ------------------------------------------------------------------------------------


@dataclass
class Report:
    """The table of a benchmark, printed when its block ends.

    The program then ends with 1 when something was wrong with the answers. A missed goal is no such
    thing: it depends on the machine.
    """

    rows: list[tuple[str, str, str, str]] = field(
        default_factory=lambda: [("figure", "goal", "result", "ratio to baseline")]
    )
    wrong: list[str] = field(default_factory=list)

    def add(self, figure: str, result: str, *, goal: str = "", ratio: str = "") -> None:
        self.rows.append((figure, goal, result, ratio))

    def expect(self, is_right: bool, otherwise: str) -> None:
        """Without it the figures are worth nothing."""
        if not is_right:
            self.wrong.append(otherwise)

    def __enter__(self) -> Report:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)]
        print(f"{os.cpu_count()} cores")
        for row in self.rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print("  ".join(cells).rstrip(), flush=True)
        if kind is None and self.wrong:
            raise SystemExit("\n".join(["WRONG:", *self.wrong]))
