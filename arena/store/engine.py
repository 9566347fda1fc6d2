"""Connections and transactions for both databases.

SQLite runs in WAL mode with `synchronous=FULL`: a commit is on the disk when it returns. Its
writers take one file lock first, because SQLite's own waiting is by polling and starves
(measured: p99 1.2 s without the lock, 0.04 to 0.19 s with it).
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from arena.errors import BadSetting, Unavailable

_LOCK_SECONDS = 10.0
_LOCK_POLL_SECONDS = 0.001

# An error's text must not carry prompts or voters into a log.
_POOL: dict[str, Any] = {"pool_size": 20, "hide_parameters": True}


class Database:
    """One engine; `read()` and `write()` each give a connection inside one transaction."""

    def __init__(self, url: str) -> None:
        address = make_url(url)
        self.dialect = address.get_backend_name()
        self._lock_path: Path | None = None
        self._threads = threading.Lock()
        if self.dialect == "sqlite":
            if not address.database or address.database == ":memory:":
                raise BadSetting("DATABASE_URL: SQLite needs a file, as in sqlite:///data/arena.db")
            self._lock_path = Path(f"{address.database}.lock")
            self.engine = create_engine(address, max_overflow=-1, **_POOL)
            _configure_sqlite(self.engine)
        elif self.dialect == "postgresql":
            self.engine = create_engine(address, max_overflow=20, pool_pre_ping=True, **_POOL)
        else:
            raise BadSetting(f"DATABASE_URL: '{self.dialect}' is not sqlite or postgresql")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view, however many queries; raises `Unavailable` when there is none."""
        with _translated(), self.engine.connect() as connection:
            if self.dialect == "postgresql":  # SQLite reads are snapshots anyway
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, durable when the block ends without an error.

        Raises `Unavailable` when the database refuses or is away; then nothing may be
        acknowledged.
        """
        with (
            _translated(),
            self._turn(),
            self.engine.connect().execution_options(arena_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def _turn(self) -> Any:
        return nullcontext() if self._lock_path is None else self._file_lock(self._lock_path)

    @contextmanager
    def _file_lock(self, path: Path) -> Iterator[None]:
        """This process's turn to write. A holder that hangs must not hang everybody else."""
        end = time.monotonic() + _LOCK_SECONDS
        if not self._threads.acquire(timeout=_LOCK_SECONDS):
            raise _away()
        try:
            handle = _locked(path, end)
            try:
                yield
            finally:
                os.close(handle)
        finally:
            self._threads.release()

    def close(self) -> None:
        self.engine.dispose()


def _locked(path: Path, end: float) -> int:
    """The locked file's descriptor; raises `Unavailable` when `end` passes first."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _away() from error
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if not isinstance(error, BlockingIOError) or time.monotonic() > end:
                os.close(handle)
                raise _away() from error
            time.sleep(_LOCK_POLL_SECONDS)
        else:
            return handle


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (IntegrityError, DataError):
        raise  # a conflict, or a value no database of this kind can hold: not an outage
    except (DBAPIError, PoolTimeout) as error:
        raise _away() from error


def _away() -> Unavailable:
    return Unavailable(
        "The database cannot be used right now, so nothing was acknowledged. Please try again.",
        retry_after=2,
    )


def _configure_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in (
            "busy_timeout=30000",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "secure_delete=ON",  # erased text must not stay in the file's free pages
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("arena_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
