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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.error import URLError
from urllib.request import urlopen

from arena.embedded import is_ready, redis_command
from arena.settings import Settings

ROOT = Path(__file__).parents[1]
UNHURRIED = {
    f"ARENA_{what}_PER_MINUTE": "1000000"
    for what in ("PROMPTS", "VOTES", "ACTIONS", "READS", "EXPORTS")
}
"""Rate limits that no test or benchmark runs into, though they are counted."""

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


def is_up(url: str) -> bool:
    """Whether the answer is 200."""
    try:
        with urlopen(url, timeout=2) as response:  # noqa: S310 - our own http
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


class RedisServer:
    """A Redis as the service would embed it, in a folder of its own; it may be killed at any time.

    The folder's path must be short, because it holds a Unix socket.
    """

    def __init__(self, folder: Path) -> None:
        server = redis_command(Settings.from_environment({"ARENA_DATA": str(folder)}))
        assert server is not None
        self.url = server.url
        self._argv = server.argv
        self._socket = server.socket
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(self._argv, stdout=subprocess.DEVNULL)
        wait_until(lambda: is_ready(self._socket), what="Redis to answer")

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def kill(self) -> None:
        """`kill -9`; returns when it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(10)


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis of our own; yields its address."""
    # not under pytest's folder: a Unix socket's path must be short
    with tempfile.TemporaryDirectory(prefix="arena-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server.url
        finally:
            server.stop()


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


class PostgresServer:
    """A PostgreSQL cluster in a folder of its own, on a Unix socket only.

    `url` is the address of its maintenance database, `postgresql://…/postgres?host=…`. Only a
    `durable` one waits for the disk. `options` are further settings of the server, `before` are
    words before its command. Raises `Missing` when its programs are not installed.
    """

    def __init__(
        self, folder: Path, *, durable: bool = False, before: Sequence[str] = (), **options: str
    ) -> None:
        initdb, server = _postgres_program("initdb"), _postgres_program("postgres")
        self._become = _unprivileged()
        self.folder = folder
        self.url = f"postgresql://arena@/postgres?host={folder}"
        self._cluster = folder / "cluster"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "fsync": "on" if durable else "off",
            **options,
        }
        settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        self._argv = [*before, *self._become, server, "-D", str(self._cluster), *settings]
        self._make(initdb)

    def _make(self, initdb: str) -> None:
        if self._become:
            shutil.chown(self.folder, "nobody")
        flags = ["--username=arena", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(
            [*self._become, initdb, *flags, "--pgdata", str(self._cluster)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr

    def start(self, timeout: float = 30) -> None:
        """Start it and wait until it is ready for queries.

        It is tried again until then: for a moment the backends of a killed one are in the way.
        """

        def is_ready() -> bool:
            if self._process is None or self._process.poll() is not None:
                self._spawn()
            return self._is_ready()

        wait_until(is_ready, timeout, what=f"PostgreSQL\n{self._log}")

    def _spawn(self) -> None:
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                self._argv, cwd=self.folder, stdout=out, stderr=subprocess.STDOUT
            )

    def _status(self) -> tuple[int, str]:
        """The postmaster's process id (a runuser may stand before it) and what it says of itself.

        It says `ready` after its socket is there. A killed one's last words stay.
        """
        lines = (self._cluster / "postmaster.pid").read_text().splitlines()
        return int(lines[0]), lines[7].strip()

    def _is_ready(self) -> bool:
        try:
            pid, said = self._status()
        except (OSError, ValueError, IndexError):
            return False
        return said == "ready" and is_alive(pid)

    def pids(self) -> list[int]:
        """The postmaster and its children after it."""
        pid, _ = self._status()
        return [pid, *descendants(pid)]

    def kill(self) -> None:
        """`kill -9` of the postmaster; returns when it is gone."""
        assert self._process is not None, "not started"
        os.kill(self.pids()[0], signal.SIGKILL)
        self._process.wait(20)

    def stop(self) -> None:
        """Ask for a fast shutdown."""
        with suppress(OSError, ValueError, IndexError):
            os.kill(self.pids()[0], signal.SIGINT)
        if self._process is not None:
            self._process.wait(20)


@contextmanager
def postgres_server() -> Iterator[str]:
    """A PostgreSQL cluster of our own; yields its address. Raises `Missing` as the class does."""
    with tempfile.TemporaryDirectory(prefix="arena-pg-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder))
        try:
            server.start()
            yield server.url
        finally:
            server.stop()


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
        host: str = "127.0.0.1",
        before: Sequence[str] = (),
    ) -> None:
        """`before` are words before the command, which must become it; `host` is where it is."""
        self.data = data
        self.port = port or free_port()
        self.url = f"http://{host}:{self.port}"
        self._argv = [*before, sys.executable, "-m", "arena.cli", *arguments]
        self._log = data.parent / f"{data.name}-{arguments[0]}-{self.port}.log"
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        self._environ = {
            **kept,
            "PYTHONPATH": str(ROOT),
            "ARENA_DATA": str(data),
            "ARENA_CONFIG": str(data / "arena.toml"),
            "PORT": str(self.port),
            **UNHURRIED,
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
                self._argv,
                cwd=self.data.parent,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self, timeout: float = 30.0) -> int:
        """End it as Ctrl-C would; its exit status."""
        if self.process.poll() is None:
            # a script's background jobs do not hear Ctrl-C
            is_deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            self.process.send_signal(signal.SIGTERM if is_deaf else signal.SIGINT)
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
        return is_up(f"{self.url}/readyz")

    def log(self) -> str:
        """Everything written so far, of the process and its children."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def pids(self, name: str) -> list[int]:
        """The processes of one child of `arena up`: `redis`, `web`, `runner`, `worker`, …

        For `web` the master comes first, its workers after it.
        """
        wanted = {"web": "arena.app:wsgi", "redis": "redis.sock"}.get(name, f"arena {name}")
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
        with suppress(FileNotFoundError, ProcessLookupError):  # of a thread that has just ended
            for child in map(int, task.read_text().split()):
                if is_alive(child):
                    found += [child, *descendants(child)]
    return found
