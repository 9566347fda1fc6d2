"""An acknowledged vote outlives a power failure, and a clock that jumps."""

from __future__ import annotations

import hashlib
import os
import random
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import psycopg
import pytest
from itsdangerous import Signer
from sqlalchemy import text

from arena.battle import Answer
from arena.campaigns import DEFAULT
from arena.errors import BadSetting
from arena.settings import Settings
from arena.store import open_store
from arena.store.engine import Database
from arena.store.migrate import upgrade
from arena.views.context import VOTER_COOKIE
from tests.aftermath import expect_complete
from tests.arena.http_world import MODELS
from tests.fakes import STEPS, a_battle, a_turn
from tests.power import Disk, Event, Sent, Write, ended, events, tracing, why_not
from tests.services import ROOT, ArenaProcess, wait_until
from tests.upstream import roster, upstream
from tests.voter import Voter

VOTES = 32
ONE_BY_ONE = 4
_RECEIPT = re.compile(rb'"receipt": ?"([0-9a-f]{64})"')

Kept = Callable[[], bool]


def prepared(data: Path) -> str:
    """A data folder with battles of voter `ann` that wait for their vote; her cookie.

    Their answers are long enough that the votes fill SQLite's write-ahead log once and over.
    """
    settings = Settings.from_environment({"ARENA_DATA": str(data)})
    database = Database(settings.database_url)
    upgrade(database)
    database.close()
    store = open_store(settings.database_url)
    store.campaigns.add(DEFAULT)
    store.roster.replace(MODELS, "2026-01-01T00:00:00.000Z")
    answer = Answer("word " * 12_000, "stop", 12_000, 0.1, 1.0)
    for number in range(VOTES):
        store.battles.add(a_battle(f"b{number}"), a_turn(f"b{number}"))
        assert store.battles.claim(f"b{number}", "r1")
        assert store.battles.finish_turn(f"b{number}", 1, (answer, answer), STEPS, "r1")
    store.close()
    signer = Signer(settings.secret_key(), salt="voter", digest_method=hashlib.sha256)
    return signer.sign("ann").decode()


def vote(url: str, cookie: str, battle: str, key: str = "k") -> str:
    """The receipt of an acknowledged vote."""
    headers = {"Cookie": f"{VOTER_COOKIE}={cookie}", "Idempotency-Key": key}
    answer = httpx.post(
        f"{url}/api/battles/{battle}/vote",
        json={"grade": 1},
        headers=headers,
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["receipt"])


def traced_votes(
    folder: Path, environ: Mapping[str, str] | None = None
) -> tuple[dict[str, bytes], list[Event]]:
    """The files before, and what happened to them while a web server took votes over HTTP."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    data = folder / "data"
    data.mkdir()
    cookie = prepared(data)
    files = {path.name: path.read_bytes() for path in data.glob("arena.db*")}
    files.pop("arena.db.lock")
    assert list(files) == ["arena.db"]
    trace = folder / "trace"
    web = ArenaProcess(data, "web", before=tracing(trace), environ=environ)
    with web:
        web.wait_ready()
        for number in range(ONE_BY_ONE):
            vote(web.url, cookie, f"b{number}")
        with ThreadPoolExecutor(4) as voters:
            others = range(ONE_BY_ONE, VOTES)
            list(voters.map(lambda number: vote(web.url, cookie, f"b{number}"), others))
        web.process.kill()  # a power failure says no goodbye either
    wait_until(lambda: ended(trace, web.process.pid), what="the end of the trace")
    return files, events(trace, data)


@pytest.fixture(scope="module")
def traced(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, bytes], list[Event]]:
    return traced_votes(tmp_path_factory.mktemp("traced"))


def acknowledgements(
    files: dict[str, bytes], happened: list[Event]
) -> Iterator[tuple[set[str], Disk]]:
    """The disk at the moment of each acknowledgement, and all receipts up to then."""
    disk = Disk({name: bytearray(content) for name, content in files.items()})
    receipts = set[str]()
    for place, event in enumerate(happened):
        if not isinstance(event, Sent):
            disk.apply(place, event)
        elif found := _RECEIPT.search(event.data):
            receipts.add(found[1].decode())
            yield receipts, disk


def votes_after_power_loss(disk: Disk, folder: Path, keeps: Kept) -> set[str]:
    """The receipts that SQLite finds in the files; they must be intact."""
    for name, content in disk.after_power_loss(keeps).items():
        (folder / name).write_bytes(content)
    with closing(sqlite3.connect(folder / "arena.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return {row[0] for row in connection.execute("SELECT hash FROM records")}


def test_a_vote_is_on_the_disk_before_its_reply_is_written(
    traced: tuple[dict[str, bytes], list[Event]],
) -> None:
    """As the system calls tell: writes of the log, their fdatasync, and then the reply."""
    for acknowledged, disk in acknowledgements(*traced):
        assert disk.pending == [], "the reply was sent before the sync"
        if len(acknowledged) == ONE_BY_ONE:  # later ones overlap
            break
    written = {event.file for event in traced[1] if isinstance(event, Write)}
    assert written == {"arena.db", "arena.db-wal"}, "and the log was copied back in between"


@pytest.mark.parametrize("kept", ["nothing", "everything", "some", "most"])
def test_no_acknowledged_vote_is_lost_in_a_power_failure(
    traced: tuple[dict[str, bytes], list[Event]], tmp_path: Path, kept: str
) -> None:
    share = {"nothing": 0.0, "some": 0.3, "most": 0.9, "everything": 1.0}[kept]
    rng = random.Random(7)  # noqa: S311  the same sectors in every run
    acknowledged: set[str] = set()
    for number, (receipts, disk) in enumerate(acknowledgements(*traced)):
        acknowledged = receipts
        if number % 4 == 3:
            folder = tmp_path / str(number)
            folder.mkdir()
            found = votes_after_power_loss(disk, folder, lambda: rng.random() < share)
            assert receipts <= found
    assert len(acknowledged) == VOTES


def test_the_power_failure_finds_a_database_that_does_not_wait_for_the_disk(
    tmp_path: Path,
) -> None:
    """The same harness, on a server that was switched to `synchronous=OFF` behind our back."""
    (tmp_path / "sitecustomize.py").write_text(  # Python runs it first
        "from sqlalchemy import event\n"
        "from sqlalchemy.pool import Pool\n"
        "@event.listens_for(Pool, 'checkout')\n"
        "def hurry(connection, *_):\n"
        "    connection.execute('PRAGMA synchronous=OFF')\n"
    )
    files, happened = traced_votes(tmp_path, {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    *_, (receipts, disk) = acknowledgements(files, happened)
    assert len(receipts) == VOTES
    found = votes_after_power_loss(disk, tmp_path, lambda: False)
    assert receipts - found, "votes that were acknowledged are gone"


# --- PostgreSQL ---------------------------------------------------------------------------------


@pytest.mark.postgres
def test_our_sessions_wait_for_the_disk_whatever_the_servers_default_is(postgres_url: str) -> None:
    address = postgres_url.replace("postgresql+psycopg:", "postgresql:")
    name = postgres_url.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(address, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
    database = Database(postgres_url)
    for use in (database.read, database.write):
        with use() as connection:
            assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
    assert "synchronous_commit = off" not in database.unsafe()
    database.close()


@pytest.mark.postgres
def test_behind_a_pooler_every_write_waits_for_the_disk_and_leaves_the_session_as_it_was(
    postgres_url: str,
) -> None:
    address = postgres_url.replace("postgresql+psycopg:", "postgresql:")
    name = postgres_url.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(address, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
    database = Database(f"{postgres_url}{'&' if '?' in postgres_url else '?'}pgbouncer=true")
    shown = []
    for use in (database.write, database.read):
        with use() as connection:
            names = ("synchronous_commit", "lock_timeout")
            shown.append([connection.execute(text(f"SHOW {one}")).scalar_one() for one in names])
    assert shown == [["on", "10s"], ["off", "0"]]
    database.close()


@pytest.mark.postgres
def test_a_server_that_forgets_in_a_power_failure_is_named(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The tests' own server is one: it runs with fsync off, because that is faster."""
    database = Database(postgres_url)
    upgrade(database)
    assert database.unsafe() == ["fsync = off"]
    database.close()
    store = open_store(postgres_url)
    with pytest.raises(BadSetting, match="fsync = off: a power failure can lose votes"):
        store.require_durable()
    store.close()
    assert "fsync = off" in caplog.text


# --- the clock ----------------------------------------------------------------------------------

_FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.mark.soak
@pytest.mark.skipif(not _FAKETIME, reason="libfaketime is not installed (apt-get install faketime)")
def test_a_clock_that_jumps_an_hour_forwards_and_back_loses_no_vote(
    redis_url: str, tmp_path: Path
) -> None:
    offset = tmp_path / "offset"
    offset.write_text("+0")
    environ = {
        "REDIS_URL": redis_url,
        "LD_PRELOAD": str(_FAKETIME[0]),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # a real clock's jumps leave it alone too
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
    }
    (tmp_path / "sitecustomize.py").write_text(  # Python runs it first
        "import threading, time\n"
        "# libfaketime 0.9 breaks the system call that time.sleep uses\n"
        "time.sleep = lambda seconds: threading.Event().wait(seconds) and None\n"
    )
    data = tmp_path / "data"
    data.mkdir()
    with upstream() as base_url:
        (data / "arena.toml").write_text(roster(base_url, ["quick", "quick"]))
        with ArenaProcess(data, "up", "--no-demo", environ=environ) as arena:
            arena.wait_ready()
            receipts = []
            with Voter(arena.url) as voter:
                for jump in ("+0", "+3600", "-3600", "+0"):
                    waiting = voter.start()
                    voter.wait_for(waiting, "ready")
                    offset.write_text(jump)
                    for battle in (waiting, voter.start()):
                        voter.wait_for(battle, "ready")
                        receipts.append(voter.vote(battle, 1).json()["receipt"])
            log = expect_complete(arena.url, receipts)
    jumped = [row["timestamp"] for row in log]
    assert jumped != sorted(jumped), "the clock did jump, and the log's order is not its"
