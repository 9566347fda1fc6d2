"""Connections and transactions."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest
from psycopg.errors import AdminShutdown, DeadlockDetected
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

import arena.store.engine
from arena.errors import BadSetting, Unavailable
from arena.store.engine import Database, retried
from tests.fakes import at_once


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


@pytest.mark.postgres
def test_two_transactions_that_wait_for_each_other_are_both_done_in_the_end(
    postgres_url: str,
) -> None:
    database = Database(f"{postgres_url}&options=-c%20deadlock_timeout%3D20ms")
    with database.write() as connection:
        connection.execute(text("CREATE TABLE things (name TEXT PRIMARY KEY, n INTEGER)"))
        connection.execute(text("INSERT INTO things VALUES ('a', 0), ('b', 0)"))
    met, done = threading.Barrier(2), threading.Event()
    tries = []

    @retried
    def count_both(first: str, second: str) -> None:
        tries.append(first)
        if len(tries) > 2:
            done.wait(5)  # or it could take first what the other one has been waiting for
        with database.write() as connection:
            statement = text("UPDATE things SET n = n + 1 WHERE name = :name")
            connection.execute(statement, {"name": first})
            if len(tries) <= 2:  # so that each has what the other one wants
                met.wait(5)
            connection.execute(statement, {"name": second})
        done.set()

    at_once([lambda: count_both("a", "b"), lambda: count_both("b", "a")])
    assert len(tries) == 3, "the database ended one of the two"
    with database.read() as connection:
        assert connection.execute(text("SELECT n FROM things")).scalars().all() == [2, 2]
    database.close()


def test_what_is_taken_back_again_and_again_is_an_outage_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arena.store.engine, "_PAUSES", (0.0, 0.0))
    tries = []

    @retried
    def hopeless() -> None:
        tries.append(1)
        with arena.store.engine._translated():
            raise OperationalError("UPDATE things", {}, DeadlockDetected())

    with pytest.raises(Unavailable) as outage:
        hopeless()
    assert (len(tries), outage.value.retry_after) == (3, 2)


def test_a_lost_connection_is_not_tried_again_because_it_may_have_been_written() -> None:
    tries = []

    @retried
    def lost() -> None:
        tries.append(1)
        with arena.store.engine._translated():
            raise OperationalError("COMMIT", {}, AdminShutdown())

    with pytest.raises(Unavailable):
        lost()
    assert tries == [1]
