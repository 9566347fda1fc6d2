"""Real servers and processes for tests: Redis, PostgreSQL, and the arena itself.

Each is started on its own socket or port, in its own temporary folder, and ended by its starter.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.error import URLError
from urllib.request import urlopen

from arena.embedded import is_ready, redis_command
from arena.settings import Settings

ROOT = Path(__file__).parents[1]
T = TypeVar("T")


class Missing(Exception):
    """A program that a service needs is not on this machine."""


def free_port() -> int:
    """A TCP port of this machine that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(
    predicate: Callable[[], T | None], timeout: float = 10.0, *, what: str = "the condition"
) -> T:
    """Poll until `predicate` returns something true, and return that.

    Fails the test after `timeout` seconds, naming `what` was waited for.
    """
    end = time.monotonic() + timeout
    while True:
        if result := predicate():
            return result
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s in vain for {what}")
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis of our own, as the service would embed it; yields its address."""
    # not under pytest's folder: a Unix socket's path must be short
    with tempfile.TemporaryDirectory(prefix="arena-redis-") as folder:
        server = redis_command(Settings.from_environment({"ARENA_DATA": folder}))
        assert server is not None
        process = subprocess.Popen(server.argv, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: is_ready(server.socket), what="Redis to answer")
            yield server.url
        finally:
            process.terminate()
            process.wait(10)


def _postgres_program(name: str) -> str:
    places = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True
    )
    for place in [*places, None]:
        if found := shutil.which(name, path=str(place) if place else None):
            return found
    raise Missing(f"PostgreSQL's {name} is neither on PATH nor in /usr/lib/postgresql/*/bin")


def _unprivileged() -> list[str]:
    """The words before a command that PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("runuser"):
        raise Missing("runuser, which starts PostgreSQL as another user than root, is not on PATH")
    return ["runuser", "-u", "nobody", "--"]


@contextmanager
def postgres_server() -> Iterator[str]:
    """A PostgreSQL cluster of our own, on a Unix socket only.

    Yields the address of its maintenance database, `postgresql://…/postgres?host=…`. Raises
    `Missing` when its programs are not installed.
    """
    initdb, server, become = (
        _postgres_program("initdb"),
        _postgres_program("postgres"),
        _unprivileged(),
    )
    with tempfile.TemporaryDirectory(prefix="arena-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if become:
            shutil.chown(folder, "nobody")
        cluster = folder / "cluster"
        flags = ["--username=arena", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(
            [*become, initdb, *flags, "--pgdata", str(cluster)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        options = {"listen_addresses": "", "unix_socket_directories": name, "fsync": "off"}
        settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        log = folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*become, server, "-D", str(cluster), *settings],
                cwd=folder,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        url = f"postgresql://arena@/postgres?host={name}"
        try:
            wait_until(
                lambda: process.poll() is not None or _accepts(folder), 30, what="PostgreSQL"
            )
            assert process.poll() is None, log.read_text()
            yield url
        finally:
            _stop_postgres(cluster)
            process.wait(20)


def _accepts(folder: Path) -> bool:
    """Whether the server has written that it is ready (the socket is there before that)."""
    pid_file = folder / "cluster" / "postmaster.pid"
    try:
        return pid_file.read_text().splitlines()[7].strip() == "ready"
    except (OSError, IndexError):
        return False


def _stop_postgres(cluster: Path) -> None:
    """Ask for a fast shutdown; by its own process id, since a runuser stands before it."""
    try:
        pid = int((cluster / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGINT)
    except (OSError, ValueError):
        return


class ArenaProcess:
    """The `arena` command (`up`, or one process such as `runner`) on a data folder of its own.

    Use it as a context manager: everything it started is gone at the end.
    """

    def __init__(
        self,
        data: Path,
        *arguments: str,
        port: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = list(arguments)
        self._log = data.parent / f"{data.name}-{arguments[0]}-{self.port}.log"
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        self._environ = {
            **kept,
            "PYTHONPATH": str(ROOT),
            "ARENA_DATA": str(data),
            "ARENA_CONFIG": str(data / "arena.toml"),
            "PORT": str(self.port),
            **(environ or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ArenaProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    def start(self) -> None:
        """Start it, and do not wait."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "arena.cli", *self._arguments],
                cwd=self.data.parent,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self, timeout: float = 30.0) -> int:
        """End it as Ctrl-C would; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not stop within {timeout} s:\n{self.log()}") from None

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until the web part answers `GET /readyz` with 200."""
        wait_until(self._answers, timeout, what=f"{self.url}/readyz\n{self.log()}")

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"it ended:\n{self.log()}"
        try:
            with urlopen(f"{self.url}/readyz", timeout=2) as response:  # noqa: S310 - our own http
                return bool(response.status == 200)
        except (URLError, OSError):
            return False

    def log(self) -> str:
        """Everything written so far, of the process and its children."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def pids(self, name: str) -> list[int]:
        """The processes of one child of `arena up`: `redis`, `web`, `runner`, `worker`, …

        For `web` the master comes first, its workers after it.
        """
        wanted = {"web": "arena.app:wsgi", "redis": "redis.sock"}.get(name, f"arena.cli {name}")
        found = []
        for pid in descendants(self.process.pid):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if wanted in words:
                found.append(pid)
        return found

    def kill(self, name: str) -> list[int]:
        """`kill -9` every process of one child; the process ids that were hit."""
        victims = self.pids(name)
        assert victims, f"no process of {name}:\n{self.log()}"
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        return victims


def descendants(pid: int) -> list[int]:
    """The living children of a process and theirs, parents first."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            if is_alive(child):
                found += [child, *descendants(child)]
    return found
