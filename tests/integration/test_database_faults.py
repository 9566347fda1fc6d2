"""What a database can do to a vote, over HTTP: it is stored whole or not at all, and nobody is
told that it is before it is. Every refusal says when to come back, and coming back works.
"""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import func, select, text
from werkzeug.test import TestResponse

import arena.store.engine
from arena.app import build_services, create_app
from arena.campaigns import DEFAULT
from arena.settings import Settings
from arena.store import SqlStore
from arena.store.engine import Database
from arena.store.migrate import upgrade
from arena.store.tables import battles, contents, records
from tests.arena.http_world import MODELS, CheckedClient, Contract, problem
from tests.fakes import ANSWERS, STEPS
from tests.services import wait_until
from tests.wire import Wire

READS = ("/api/battles/{}", "/api/battles", "/api/board", "/api/votes", "/mine", "/board")


class House:
    """The web part over one database, with a voter who has a battle to vote on."""

    def __init__(self, folder: Path, database_url: str, redis_url: str, own_url: str) -> None:
        """The web part uses `database_url`; we prepare and look through `own_url`."""
        self.own = Database(own_url)
        upgrade(self.own)
        self.store = SqlStore(self.own)
        self.store.campaigns.add(DEFAULT)
        self.store.roster.replace(MODELS, "2026-01-01T00:00:00.000Z")
        environ = {"ARENA_DATA": str(folder), "REDIS_URL": redis_url, "DATABASE_URL": database_url}
        settings = Settings.from_environment(environ)
        self.services = build_services(settings)
        app = create_app(settings, self.services)
        app.test_client_class = type("Client", (CheckedClient,), {"contract": Contract(app)})
        voter = app.test_client()
        assert isinstance(voter, CheckedClient)
        self.voter = voter
        self.battle = self.ready()

    def close(self) -> None:
        self.database.close()
        self.own.close()

    @property
    def database(self) -> Database:
        assert isinstance(self.services.store, SqlStore)
        return self.services.store._db

    def ready(self) -> str:
        battle = self.voter.battle()
        assert self.store.battles.claim(battle, "r1")
        assert self.store.battles.finish_turn(battle, 1, ANSWERS, STEPS, "r1")
        return battle

    def vote(self, key: str = "one") -> TestResponse:
        return self.voter.post(
            f"/api/battles/{self.battle}/vote",
            json={"grade": 2, "comment": "said well"},
            headers={"Idempotency-Key": key},
        )

    def reads(self) -> dict[str, int]:
        """The status of what people read, each of them an answer or a 503 with its time."""
        found = {}
        for path in READS:
            answer = self.voter.get(path.format(self.battle))
            found[path] = answer.status_code
            if answer.status_code == 503:
                assert int(answer.headers["Retry-After"]) > 0, path
            else:
                assert answer.status_code < 500, path
        return found

    def stored(self) -> tuple[str, int, int]:
        """The battle's state, and how many records and contents there are."""
        with self.own.read() as connection:
            state = select(battles.c.state).where(battles.c.id == self.battle)
            return (
                connection.execute(state).scalar_one(),
                connection.execute(select(func.count()).select_from(records)).scalar_one(),
                connection.execute(select(func.count()).select_from(contents)).scalar_one(),
            )

    def expect_refused(self) -> None:
        """The vote is answered 503, with the time to come back."""
        answer = self.vote()
        problem(answer, 503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0

    def expect_recovered(self) -> None:
        """By itself, and within five seconds, the vote that was refused is taken, once."""
        wait_until(lambda: self.vote().status_code == 200, 5, what="the vote")
        first = self.vote()
        assert first.json is not None
        receipt = self.store.votes.vote_of(self.battle)
        assert receipt is not None and receipt.hash == first.json["receipt"]
        assert self.vote().data == first.data
        problem(self.vote("another"), 409, "already-voted")
        assert self.stored() == ("voted", 1, 1)
        assert self.reads()["/api/battles/{}"] == 200


NOTHING = ("ready", 0, 0)


@contextmanager
def tmpfs(folder: Path, size: str, owner: str = "root") -> Iterator[Path]:
    """A small file system of its own."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},uid={owner}", "tmpfs", str(folder)]
    made = subprocess.run(mount, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"a full disk needs a small file system: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """No byte fits on the file system any more."""
    ballast = folder / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))
    yield
    ballast.unlink()


# --- PostgreSQL ---------------------------------------------------------------------------------


@pytest.fixture
def wire(postgres_url: str) -> Iterator[Wire]:
    made = Wire(Path(parse_qs(urlsplit(postgres_url).query)["host"][0]) / ".s.PGSQL.5432")
    yield made
    made.close()


@pytest.fixture
def house(
    postgres_url: str,
    wire: Wire,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[House]:
    monkeypatch.setitem(arena.store.engine._SESSION, "lock_timeout", "300ms")
    monkeypatch.setitem(arena.store.engine._SESSION, "statement_timeout", "1s")
    own = _owned_by_web(postgres_url)
    name = urlsplit(postgres_url).path
    made = House(tmp_path, f"postgresql://web@127.0.0.1:{wire.port}{name}", redis_url, own)
    yield made
    made.close()


def _owned_by_web(postgres_url: str) -> str:
    """The address for a user of the database who is no superuser: those pass every limit."""
    with admin(postgres_url) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'web'").fetchone():
            connection.execute("CREATE ROLE web LOGIN")
        name = sql.Identifier(urlsplit(postgres_url).path.lstrip("/"))
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO web").format(name))
    return postgres_url.replace("arena@", "web@")


def admin(postgres_url: str) -> AbstractContextManager[psycopg.Connection[Any]]:
    address = postgres_url.replace("postgresql+psycopg:", "postgresql:")
    return psycopg.connect(address, autocommit=True)


@pytest.mark.postgres
@pytest.mark.parametrize("after", [False, True], ids=["lost", "unanswered"])
@pytest.mark.parametrize("word", [b"UPDATE battles", b"INSERT INTO contents"])
def test_a_connection_that_ends_within_a_vote_leaves_nothing_of_it(
    house: House, wire: Wire, word: bytes, after: bool
) -> None:
    wire.cut_at(word, after=after)
    house.expect_refused()
    assert wire.cuts == 1
    assert house.stored() == NOTHING
    house.expect_recovered()


@pytest.mark.postgres
def test_a_commit_that_never_arrived_is_refused_and_the_vote_taken_when_it_comes_again(
    house: House, wire: Wire
) -> None:
    wire.cut_at(b"INSERT INTO contents", b"COMMIT")
    house.expect_refused()
    assert wire.cuts == 1
    assert house.stored() == NOTHING
    house.expect_recovered()


@pytest.mark.postgres
def test_a_commit_whose_answer_is_lost_is_not_acknowledged_and_found_when_it_comes_again(
    house: House, wire: Wire
) -> None:
    wire.cut_at(b"INSERT INTO contents", b"COMMIT", after=True)
    house.expect_refused()
    assert wire.cuts == 1
    assert house.stored() == ("voted", 1, 1), "the server did commit"
    house.expect_recovered()


def failing(postgres_url: str, how: str) -> AbstractContextManager[None]:
    """Every vote's text is refused as `how`, a statement of PL/pgSQL, says."""

    @contextmanager
    def installed() -> Iterator[None]:
        with admin(postgres_url) as connection:
            connection.execute("CREATE SEQUENCE tries")
            connection.execute("GRANT ALL ON SEQUENCE tries TO web")
            connection.execute(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN {how}; RETURN NEW; END $$"
            )
            connection.execute(
                "CREATE TRIGGER fail BEFORE INSERT ON contents FOR EACH ROW EXECUTE FUNCTION fail()"
            )
            yield
            connection.execute("DROP TRIGGER fail ON contents")

    return installed()


@pytest.mark.postgres
@pytest.mark.parametrize("code", ["40P01", "40001"], ids=["deadlock", "serialisation"])
def test_a_vote_that_the_database_takes_back_is_tried_again_unseen(
    house: House, postgres_url: str, code: str
) -> None:
    twice = f"IF nextval('tries') <= 2 THEN RAISE EXCEPTION 'back' USING ERRCODE = '{code}'; END IF"
    with failing(postgres_url, twice):
        assert house.vote().status_code == 200
    house.expect_recovered()


Fault = Callable[[House, str, Wire, Path], AbstractContextManager[None]]


def taken_back_for_ever(
    _house: House, postgres_url: str, _wire: Wire, _folder: Path
) -> AbstractContextManager[None]:
    return failing(postgres_url, "RAISE EXCEPTION 'back' USING ERRCODE = '40001'")


def slow_statement(
    _house: House, postgres_url: str, _wire: Wire, _folder: Path
) -> AbstractContextManager[None]:
    return failing(postgres_url, "PERFORM pg_sleep(10)")


def server_away(
    _house: House, _postgres_url: str, wire: Wire, _folder: Path
) -> AbstractContextManager[None]:
    return wire.down()


@contextmanager
def locked_row(house: House, postgres_url: str, _wire: Wire, _folder: Path) -> Iterator[None]:
    with admin(postgres_url) as connection, connection.transaction():
        connection.execute("SELECT FROM battles WHERE id = %s FOR UPDATE", [house.battle])
        yield


@contextmanager
def locked_table(_house: House, postgres_url: str, _wire: Wire, _folder: Path) -> Iterator[None]:
    with admin(postgres_url) as connection, connection.transaction():
        connection.execute("LOCK TABLE battles")
        yield


@contextmanager
def changed_role(postgres_url: str, change: str, back: str) -> Iterator[None]:
    """The user's sessions end, and new ones are as `change` says."""
    with admin(postgres_url) as connection:
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'web'"
        connection.execute(f"ALTER ROLE web {change}".encode())
        connection.execute(end)
        try:
            yield
        finally:
            connection.execute(f"ALTER ROLE web {back}".encode())


def too_many_connections(
    _house: House, postgres_url: str, _wire: Wire, _folder: Path
) -> AbstractContextManager[None]:
    return changed_role(postgres_url, "CONNECTION LIMIT 0", "CONNECTION LIMIT -1")


def read_only(
    _house: House, postgres_url: str, _wire: Wire, _folder: Path
) -> AbstractContextManager[None]:
    setting = "default_transaction_read_only"
    return changed_role(postgres_url, f"SET {setting} = on", f"RESET {setting}")


@contextmanager
def full_tablespace(_house: House, postgres_url: str, _wire: Wire, folder: Path) -> Iterator[None]:
    owner = "nobody"
    with tmpfs(folder / "small", "1m", owner) as small, admin(postgres_url) as connection:
        for parent in small.parents:  # pytest's own folders are for one user only
            if parent.stat().st_mode & 0o001 == 0:
                parent.chmod(parent.stat().st_mode | 0o011)
        connection.execute(f"CREATE TABLESPACE small LOCATION '{small}'".encode())
        connection.execute("ALTER TABLE contents SET TABLESPACE small")
        with full(small):
            yield
        connection.execute("ALTER TABLE contents SET TABLESPACE pg_default")
        connection.execute("DROP TABLESPACE small")


@pytest.mark.postgres
@pytest.mark.parametrize(
    "fault",
    [
        taken_back_for_ever,
        slow_statement,
        server_away,
        locked_row,
        locked_table,
        too_many_connections,
        read_only,
        full_tablespace,
    ],
)
def test_while_postgresql_fails_votes_are_refused_politely_and_afterwards_taken(
    house: House, postgres_url: str, wire: Wire, tmp_path: Path, fault: Fault
) -> None:
    with fault(house, postgres_url, wire, tmp_path):
        for _ in range(2):
            house.expect_refused()
        read = house.reads()
    assert house.stored() == NOTHING
    if fault in (server_away, too_many_connections):
        assert set(read.values()) == {503}
    elif fault is not locked_table:
        assert read["/api/battles/{}"] == 200
    house.expect_recovered()


# --- SQLite -------------------------------------------------------------------------------------


@pytest.fixture
def file_house(redis_url: str, tmp_path: Path) -> Iterator[House]:
    """A house whose database is a file in `tmp_path / "disk"`, which tests may make smaller."""
    (tmp_path / "disk").mkdir(exist_ok=True)
    address = f"sqlite:///{tmp_path}/disk/arena.db"
    made = House(tmp_path, address, redis_url, address)
    yield made
    made.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system; take it before `file_house`."""
    with tmpfs(tmp_path / "disk", "8m") as folder:
        yield folder


def expect_intact(house: House) -> None:
    with house.own.read() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"


def test_on_a_full_disk_votes_are_refused_politely_and_afterwards_taken(
    disk: Path, file_house: House
) -> None:
    with full(disk):
        for _ in range(2):
            file_house.expect_refused()
        assert file_house.reads()["/api/battles/{}"] == 200
    assert file_house.stored() == NOTHING
    file_house.expect_recovered()
    expect_intact(file_house)


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_on_a_read_only_disk_votes_are_refused_politely_and_afterwards_taken(
    disk: Path, file_house: House, restarted: bool
) -> None:
    read_only_view = [["mount", "--bind", disk, disk], ["mount", "-o", "remount,bind,ro", disk]]
    for command in read_only_view:
        subprocess.run(command, check=True)
    if restarted:
        file_house.database.engine.dispose()
    file_house.expect_refused()
    file_house.reads()
    for command in (["mount", "-o", "remount,bind,rw", disk], ["umount", "--lazy", disk]):
        subprocess.run(command, check=True)
    assert file_house.stored() == NOTHING
    file_house.expect_recovered()
    expect_intact(file_house)


def test_a_corrupt_file_is_an_outage_until_its_backup_is_back(file_house: House) -> None:
    path = Path(str(file_house.database.engine.url.database))
    with file_house.own.read() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    file_house.own.engine.dispose()
    file_house.database.engine.dispose()
    backup = path.read_bytes()
    path.write_bytes(backup[:100] + b"\xa5" * (len(backup) - 100))
    file_house.expect_refused()
    assert set(file_house.reads().values()) == {503}
    path.write_bytes(backup)
    assert file_house.stored() == NOTHING
    file_house.expect_recovered()
    expect_intact(file_house)


def test_while_another_program_writes_to_the_file_votes_are_refused_politely(
    file_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena.store.engine, "_LOCK_SECONDS", 0.1)
    file_house.database.engine.dispose()
    path = file_house.database.engine.url.database
    with closing(sqlite3.connect(str(path), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        file_house.expect_refused()
        assert file_house.reads()["/api/battles/{}"] == 200
        other.execute("ROLLBACK")
    assert file_house.stored() == NOTHING
    file_house.expect_recovered()
