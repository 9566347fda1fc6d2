"""Connections and transactions for both databases.

SQLite runs in WAL mode with `synchronous=FULL`: a commit is on the disk when it returns. Its
writers take one file lock first, because SQLite's own waiting is by polling and starves
(measured: p99 1.2 s without the lock, 0.04 to 0.19 s with it).

Whatever a database does to a transaction (lost, refused, taken back, out of space) is one error
here, `Unavailable`: nothing was acknowledged, and the same request may come again.
"""

from __future__ import annotations

import fcntl
import os
import select
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import DataError, DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from arena import metrics
from arena.addresses import postgres_arguments
from arena.errors import BadSetting, Unavailable
from arena.open_files import MOST_TO_SQL
from arena.store.encoding import dumps

POOL_SIZE = 20
"""Connections that a process keeps to PostgreSQL; the others are closed when not needed."""
MAX_OVERFLOW = MOST_TO_SQL - POOL_SIZE

_LOCK_SECONDS = 10.0
_LOCK_POLL_SECONDS = 0.001

# An error's text must not carry prompts or voters into a log.
_POOL: dict[str, Any] = {
    "pool_size": POOL_SIZE,
    "pool_timeout": _LOCK_SECONDS,
    "hide_parameters": True,
    "json_serializer": dumps,
}

_READ_ONLY = "25006"
_TAKEN_BACK = ("40001", "40P01")  # serialisation failure, deadlock
# Of SQLite: a file that was opened so stays so, also when its disk is well again.
_SPOILT = {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
}
_PAUSES = (0.01, 0.05, 0.2)

# Of every session of ours: a commit waits for the disk whatever the server's default is, and
# nobody waits for ever for a lock, or holds one while doing nothing.
_SESSION = {
    "synchronous_commit": "on",
    "lock_timeout": f"{_LOCK_SECONDS:.0f}s",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",
}
_NEEDED = ("fsync", "full_page_writes", "synchronous_commit")

P = ParamSpec("P")
T = TypeVar("T")


def retried(method: Callable[P, T]) -> Callable[P, T]:
    """Let a method that does all its work in one transaction run again when that is taken back.

    After a deadlock or a serialisation failure nothing of it was written. A connection that is
    lost at COMMIT is not tried again here: it may have been written.
    """

    @wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for pause in _PAUSES:
            try:
                return method(*args, **kwargs)
            except Unavailable as error:
                if _sqlstate(error.__cause__) not in _TAKEN_BACK:
                    raise
                time.sleep(pause)
        return method(*args, **kwargs)

    return run


class Database:
    """One engine; `read()` and `write()` each give a connection inside one transaction."""

    def __init__(self, url: str) -> None:
        self.dialect = url.partition(":")[0].partition("+")[0]
        self._lock_path: Path | None = None
        self._threads = threading.Lock()
        if self.dialect == "sqlite":
            address = make_url(url)
            if not address.database or address.database == ":memory:":
                raise BadSetting("DATABASE_URL: SQLite needs a file, as in sqlite:///data/arena.db")
            self._lock_path = Path(f"{address.database}.lock")
            self.engine = create_engine(address, max_overflow=-1, **_POOL)
            _configure_sqlite(self.engine)
        elif self.dialect == "postgresql":
            self.engine = _postgres_engine(url)
        else:
            raise BadSetting(f"DATABASE_URL: '{self.dialect}' is not sqlite or postgresql")
        _renew_spoilt(self.engine)
        _watch_pool(self.engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view, however many queries; raises `Unavailable` when there is none."""
        with _translated(), self.engine.connect() as connection:
            if self.dialect == "postgresql":  # SQLite reads are snapshots anyway
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """For a single query, which is one view without a transaction around it; as `read`."""
        with _translated(), self.engine.connect() as connection:
            if self.dialect == "postgresql":
                connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, durable when the block ends without an error.

        Raises `Unavailable` when the database refuses or is away; then nothing may be
        acknowledged.
        """
        with (
            metrics.timed(metrics.SQL_WRITES, metrics.here()),
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

    def unsafe(self) -> list[str]:
        """Settings of the server under which an acknowledged vote can be lost; empty when none."""
        if self.dialect != "postgresql":
            return []  # the connections of SQLite are set up here
        names = text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)")
        with self.read() as connection:
            found = connection.execute(names, {"names": list(_NEEDED)}).all()
        return sorted(f"{row.name} = {row.setting}" for row in found if row.setting == "off")

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
        kind = type(getattr(error, "orig", error)).__name__
        metrics.SQL_ERRORS.labels(metrics.here(), kind).inc()
        raise _away() from error


def _sqlstate(error: BaseException | None) -> str | None:
    """PostgreSQL's code for what went wrong; SQLite has none."""
    return getattr(getattr(error, "orig", error), "sqlstate", None)


def _renew_spoilt(engine: Engine) -> None:
    """Open new sessions after an error that the old ones would only repeat."""

    @event.listens_for(engine, "handle_error")
    def on_error(context: ExceptionContext) -> None:
        error = context.original_exception
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary one
        # after a failover the next session may be the new primary's
        if _sqlstate(error) == _READ_ONLY or code in _SPOILT:
            context.is_disconnect = True


def _away() -> Unavailable:
    return Unavailable(
        "The database cannot be used right now, so nothing was acknowledged. Please try again.",
        retry_after=2,
    )


def _watch_pool(engine: Engine) -> None:
    @event.listens_for(engine, "checkout")
    def on_checkout(*_: Any) -> None:
        metrics.SQL_CONNECTIONS.labels(metrics.here()).inc()

    @event.listens_for(engine, "checkin")
    def on_checkin(*_: Any) -> None:
        metrics.SQL_CONNECTIONS.labels(metrics.here()).dec()


def _postgres_engine(url: str) -> Engine:
    """PostgreSQL, reached as its own library reads the address (several hosts, TLS, sockets)."""
    arguments = postgres_arguments(url)
    if "prepare_threshold" not in arguments:  # behind a pooler a session is not ours to set up
        ours = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
        arguments["options"] = f"{ours} {arguments.get('options', '')}"
    engine = create_engine(
        "postgresql+psycopg://",
        connect_args=arguments,
        isolation_level="READ COMMITTED",
        max_overflow=MAX_OVERFLOW,
        **_POOL,
    )

    if "prepare_threshold" in arguments:
        _set_up_writes(engine)

    @event.listens_for(engine, "connect")
    def on_connect(_: Any, record: Any) -> None:
        record.info["is_new"] = True

    @event.listens_for(engine, "checkout")
    def on_checkout(connection: Any, record: Any, _: Any) -> None:
        # a session that the server has ended can be read from; asking it would cost a round trip
        if not record.info.pop("is_new", False) and _is_ended(connection):
            raise DisconnectionError  # the pool then opens another one

    return engine


def _set_up_writes(engine: Engine) -> None:
    """Of a pooler's sessions, which others use too, each transaction that writes is set up."""
    settings = ", ".join(
        f"set_config('{name}', '{set_to}', true)" for name, set_to in _SESSION.items()
    )

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        if connection.get_execution_options().get("arena_write", False):
            connection.exec_driver_sql(f"SELECT {settings}").close()


def _is_ended(connection: Any) -> bool:
    if connection.closed:
        return True
    watcher = select.poll()
    watcher.register(connection.fileno(), select.POLLIN)
    return bool(watcher.poll(0))


def _configure_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={_LOCK_SECONDS * 1000:.0f}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "secure_delete=ON",  # erased text must not stay in the file's free pages
            "cache_size=-512",  # kB of each connection: the system has the pages, once for all
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("arena_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
