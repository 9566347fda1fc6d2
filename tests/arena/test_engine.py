"""Connections and transactions."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

import arena.store.engine
from arena.errors import BadSetting, Unavailable
from arena.store.engine import Database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path}/arena.db")
    with database.write() as connection:
        connection.execute(text("CREATE TABLE things (name TEXT UNIQUE)"))
    return database


def test_a_commit_is_on_the_disk_before_it_returns(database: Database) -> None:
    with database.read() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    database.close()


def test_a_writer_that_hangs_does_not_hang_the_others(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena.store.engine, "_LOCK_SECONDS", 0.1)
    with (tmp_path / "arena.db.lock").open("w") as hanging:
        fcntl.flock(hanging, fcntl.LOCK_EX)  # as another process would
        with pytest.raises(Unavailable), database.write() as connection:
            connection.execute(text("INSERT INTO things VALUES ('never')"))
    with database.write() as connection:
        connection.execute(text("INSERT INTO things VALUES ('now')"))
    with database.read() as connection:
        assert connection.execute(text("SELECT name FROM things")).scalars().all() == ["now"]
    database.close()


def test_a_thread_that_hangs_in_a_write_does_not_hang_the_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena.store.engine, "_LOCK_SECONDS", 0.1)
    inside, leave = threading.Event(), threading.Event()

    def hang() -> None:
        with database.write():
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=hang)
    thread.start()
    assert inside.wait(5)
    with pytest.raises(Unavailable), database.write():
        pass
    leave.set()
    thread.join()
    database.close()


def test_an_error_does_not_tell_what_was_written(database: Database) -> None:
    statement = text("INSERT INTO things VALUES (:name)")
    with database.write() as connection:
        connection.execute(statement, {"name": "a private prompt"})
    with pytest.raises(Exception, match="UNIQUE") as caught, database.write() as connection:
        connection.execute(statement, {"name": "a private prompt"})
    assert "private" not in str(caught.value)
    database.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://x/y"])
def test_a_database_that_cannot_serve_is_refused(url: str) -> None:
    with pytest.raises(BadSetting):
        Database(url)
