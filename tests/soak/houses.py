"""Two ways to run an arena: all on one machine with SQLite, or its parts apart with PostgreSQL.

Every part may be killed at any time: something starts it again, `arena up` in the one house, a
keeper like a service manager in the other.
"""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.services import (
    UNHURRIED,
    ArenaProcess,
    PostgresServer,
    RedisServer,
    descendants,
    is_alive,
)
from tests.upstream import roster

OPERATOR_TOKEN = "operator-token-of-the-soak"  # noqa: S105  opens nothing but these tests
MODELS = ["quick", "quick", "brisk"]
DISK_MEGABYTES = 512
_KEEPER_SECONDS = 0.1


class House(ABC):
    """A running arena at `url`, with processes that can be hit. Use it as a context manager."""

    name: str

    def __init__(self, folder: Path, base_url: str) -> None:
        self.folder = folder
        self.url = ""
        self.clock = Clock.made(folder)
        self.disk = folder / "disk"
        self._config = folder / "arena.toml"
        self._config.write_text(roster(base_url, MODELS))
        self._opened = ExitStack()
        self.disk.mkdir()
        self.has_small_disk = _mount_small(self.disk)
        if self.has_small_disk:
            self._opened.callback(subprocess.run, ["umount", "-l", str(self.disk)], check=True)

    def __enter__(self) -> House:
        with self._opened:
            self._open()
            self._opened = self._opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def pids(self, part: str) -> list[int]:
        """The processes of `web` (the master first), `runner`, `worker`; dead ones are left out."""

    @abstractmethod
    def redis_pid(self) -> int: ...

    @abstractmethod
    def redis_url(self) -> str: ...

    @abstractmethod
    def log(self) -> str:
        """What all processes have written."""

    def _environ(self) -> dict[str, str]:
        return {
            **UNHURRIED,
            "ARENA_CONFIG": str(self._config),
            "ARENA_SECRET_KEY": "the same key on every machine of these tests",
            "ARENA_SIGNING_KEY": "0" * 64,
            "ARENA_ADMIN_TOKEN": OPERATOR_TOKEN,
            "ARENA_MAX_RUNNING": "1000",  # what a fault leaves behind must not keep others out
            **(self.clock.environ if self.clock else {}),
        }


class Clock:
    """The wall clock of the arena's processes, which can be moved."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        library = folder / "clock.so"
        source = Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
        self.move(0)
        self.environ = {"LD_PRELOAD": str(library), "ARENA_SOAK_CLOCK": str(self._file)}

    @classmethod
    def made(cls, folder: Path) -> Clock | None:
        """None where there is no C compiler to make its library with."""
        return cls(folder) if shutil.which("cc") else None

    def move(self, seconds: int) -> None:
        """Show this many seconds more than the true time from now on."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))


class OneMachine(House):
    """`arena up` on a data folder of its own: SQLite and the embedded Redis."""

    name = "sqlite"

    def _open(self) -> None:
        data = self.disk / "data"
        data.mkdir()
        self.up = ArenaProcess(data, "up", "--no-demo", environ=self._environ())
        self.url = self.up.url
        self._opened.enter_context(_kept([self.up]))
        self.up.wait_ready()

    def pids(self, part: str) -> list[int]:
        return self.up.pids(part)

    def redis_pid(self) -> int:
        return self.up.pids("redis")[0]

    def redis_url(self) -> str:
        return f"unix://{self.up.data}/redis/redis.sock"

    def log(self) -> str:
        return self.up.log()


class ManyMachines(House):
    """One web server, two runners and two workers that share PostgreSQL and Redis."""

    name = "postgres"

    def _open(self) -> None:
        self.redis = RedisServer(self.folder)
        self.redis.start()
        self._opened.callback(self.redis.stop)
        self.postgres = PostgresServer(self.disk)
        self._opened.callback(self.postgres.stop)
        self.postgres.start()
        servers = {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.redis.url}
        keys = {"ARENA_SECRET_KEY": "k" * 64, "ARENA_SIGNING_KEY": "0" * 64}
        environ = self._environ() | servers | keys
        with ArenaProcess(self._machine("setup"), "db", "upgrade", environ=environ) as upgrade:
            assert upgrade.process.wait(60) == 0, upgrade.log()
        self._parts = {
            command: [
                ArenaProcess(self._machine(f"{command}{number}"), command, environ=environ)
                for number in range(count)
            ]
            for command, count in {"web": 1, "runner": 2, "worker": 2}.items()
        }
        self.url = self._parts["web"][0].url
        self._opened.enter_context(_kept(self._processes()))
        self._parts["web"][0].wait_ready()

    def _machine(self, name: str) -> Path:
        """The data folder of one machine."""
        folder = self.folder / name
        folder.mkdir()
        return folder

    def _processes(self) -> list[ArenaProcess]:
        return [process for processes in self._parts.values() for process in processes]

    def pids(self, part: str) -> list[int]:
        roots = [process.process.pid for process in self._parts[part]]
        return [pid for root in roots for pid in (root, *descendants(root)) if is_alive(pid)]

    def redis_pid(self) -> int:
        return self.redis.pid

    def redis_url(self) -> str:
        return self.redis.url

    def log(self) -> str:
        return "".join(process.log() for process in self._processes())


@contextmanager
def _kept(processes: Sequence[ArenaProcess]) -> Iterator[None]:
    """Start these, and start again what ends, as a service manager does; at the end kill them."""
    closing = threading.Event()
    for process in processes:
        process.start()

    def keep() -> None:
        while not closing.wait(_KEEPER_SECONDS):
            for process in processes:
                if process.process.poll() is not None:
                    process.start()

    keeper = threading.Thread(target=keep, name="keeper")
    keeper.start()
    try:
        yield
    finally:
        closing.set()
        keeper.join()
        for process in processes:
            for pid in (process.process.pid, *descendants(process.process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.process.wait()


def _mount_small(folder: Path) -> bool:
    """Make the folder a small disk of its own, where this user may; it goes with the tests."""
    size = f"size={DISK_MEGABYTES}m"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "arena-soak", str(folder)],
        capture_output=True,
        check=False,
    )
    return mounted.returncode == 0
