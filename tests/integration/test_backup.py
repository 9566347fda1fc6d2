"""Backup while votes come in, and restore into an empty place, on both databases."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import shutil
import signal
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from werkzeug.serving import make_server

from arena import backup
from arena.errors import ArenaError, BadFile, BadSetting
from arena.interfaces import Head
from arena.notes import Signer
from arena.settings import Settings
from arena.store import open_store
from arena.store.engine import Database
from arena.store.migrate import upgrade
from arena.store.schema import versions
from arena.tree import Heads
from tests.aftermath import expect_complete, log_of
from tests.arena.http_world import World
from tests.arena.test_migrations import RELEASED, expect_everything, fill, upgrade_to
from tests.services import redis_server, wait_until
from tests.voter import Voter, voted_battle

KEY = "0123456789abcdef" * 4


@contextmanager
def no_bar(_length: int, _label: str) -> Iterator[Callable[[int], None]]:
    yield lambda _step: None


def settings_in(folder: Path, url: str | None = None) -> Settings:
    environ = {"ARENA_DATA": str(folder), "ARENA_CONFIG": str(folder / "arena.toml")}
    return Settings.from_environment(environ | ({"DATABASE_URL": url} if url else {}))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def urls(request: pytest.FixtureRequest) -> tuple[str | None, str | None]:
    """The databases of two arenas; None is SQLite in the data folder."""
    if request.param == "sqlite":
        return None, None
    both: tuple[str, str] = request.getfixturevalue("postgres_urls")
    return both


@pytest.fixture
def postgres_urls(postgres_url: str) -> Iterator[tuple[str, str]]:
    """Two empty databases of one server."""
    name = urlsplit(postgres_url).path.removeprefix("/")
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}_second")
    yield postgres_url, postgres_url.replace(f"/{name}?", f"/{name}_second?")
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name}_second WITH (FORCE)")


@contextmanager
def served(folder: Path, url: str | None) -> Iterator[str]:
    """A whole arena on this folder and database, and its address."""
    database = {"database_url": url} if url else {}
    with redis_server() as redis, World(folder, redis, **database) as world:
        server = make_server("127.0.0.1", 0, world.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def test_a_backup_made_while_votes_come_in_is_a_prefix_of_the_log(
    tmp_path: Path, urls: tuple[str | None, str | None]
) -> None:
    first, second = (
        settings_in(tmp_path / name, url) for name, url in zip("ab", urls, strict=True)
    )
    first.data.mkdir()
    file, done = tmp_path / "arena.tar", threading.Event()

    def keep_voting(url: str) -> list[str]:
        receipts = []
        while not done.is_set():
            receipts.append(voted_battle(url, len(receipts) % 5 - 2))
        return receipts

    with served(first.data, urls[0]) as url, Voter(url) as voter, ThreadPoolExecutor(3) as voters:
        battle = voter.start("Mine.")
        voter.wait_for(battle, "ready")
        reveal = voter.vote(battle, 2).json()
        early = [reveal["receipt"]]
        expect_complete(url, early)
        cookies = dict(voter.http.cookies)
        votes = [voters.submit(keep_voting, url) for _ in range(3)]
        expect_complete(url, [voted_battle(url, 0)])
        made = backup.create(first, file, no_bar)
        voted_battle(url, 1)
        done.set()
        everything = early + [one for vote in votes for one in vote.result(60)]
        whole = expect_complete(url, everything)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".arena.tar*")), "no draft is left"

    backup.restore(second, file, no_bar)
    with served(second.data, urls[1]) as url, Voter(url) as voter:
        wait_until(
            lambda: len(log_of(url)) >= made.log_position, what="a head of all that was sealed"
        )
        log = expect_complete(url, early)
        assert 2 <= made.log_position <= len(log) < len(whole)
        assert log[: made.log_position] == whole[: made.log_position]
        assert {row["hash"] for row in log} <= {row["hash"] for row in whole}
        voter.http.cookies.update(cookies)
        assert voter.look(battle).items() >= reveal.items(), "receipts are signed with the same key"
        expect_complete(url, [voted_battle(url, 1)])


# --- which key signs after it ---------------------------------------------------------------------


def head_by(settings: Settings, signer: Signer) -> Head:
    """What a worker with this key signs of the log that is there."""
    store = open_store(settings.database_url)
    try:
        lease = store.leases.take("worker", "w", store.leases.look("worker"))
        assert lease is not None
        head = Heads(store.votes, store.trees, signer, lease, lambda: None).at(0)
        store.trees.add_head(lease, head)
        return head
    finally:
        store.close()


def test_a_restore_with_a_new_key_keeps_the_public_half_of_the_old_one(
    house: Settings, tmp_path: Path
) -> None:
    old = house.signer()
    head_by(house, old)
    backup.create(house, tmp_path / "saved.tar", no_bar)
    same, new = settings_in(tmp_path / "same"), settings_in(tmp_path / "new")
    backup.restore(same, tmp_path / "saved.tar", no_bar)
    assert same.signer().name == old.name
    backup.restore(new, tmp_path / "saved.tar", no_bar, new_key=True)
    assert not new.has_signing_key()
    signer = new.signer()
    assert signer.name != old.name
    assert head_by(new, signer).note.startswith(f"{signer.name}\n0\n")
    store = open_store(new.database_url)
    assert store.trees.keys() == [signer.verifier_key, old.verifier_key]
    store.close()


def test_a_key_that_is_there_or_given_is_never_taken_for_a_new_one(
    house: Settings, tmp_path: Path
) -> None:
    house.signer()
    backup.create(house, tmp_path / "saved.tar", no_bar)
    empty = settings_in(tmp_path / "empty")
    empty.data.mkdir()
    shutil.copy(house.data / "signing.key", empty.data)
    with pytest.raises(BadFile, match=r"over what is there \(.*signing\.key\)"):
        backup.restore(empty, tmp_path / "saved.tar", no_bar, new_key=True)
    given = replace(settings_in(tmp_path / "given"), given_signing_key="7" * 64)
    with pytest.raises(BadSetting, match="--new-key cannot change it"):
        backup.restore(given, tmp_path / "saved.tar", no_bar, new_key=True)
    assert not given.data.exists()


# --- what cannot be restored --------------------------------------------------------------------


@pytest.fixture
def house(tmp_path: Path) -> Settings:
    """A data folder with a database, a key and a roster."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "secret.key").write_text(KEY)
    (data / "arena.toml").write_text("# nobody yet\n")
    settings = settings_in(data)
    database = Database(settings.database_url)
    upgrade(database)
    database.close()
    return settings


@pytest.fixture
def saved(house: Settings, tmp_path: Path) -> Path:
    file = tmp_path / "saved.tar"
    backup.create(house, file, no_bar)
    return file


def rewritten(file: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> Path:
    """The archive with its members changed; None leaves one out."""
    other = file.with_name("other.tar")
    with tarfile.open(file) as old, tarfile.open(other, "w") as new:
        for entry in old:
            opened = old.extractfile(entry)
            assert opened is not None
            if (changed := change(entry.name, opened.read())) is not None:
                info = tarfile.TarInfo(changed[0])
                info.size = len(changed[1])
                new.addfile(info, io.BytesIO(changed[1]))
    return other


def manifest_with(**fields: Any) -> Callable[[str, bytes], tuple[str, bytes]]:
    def change(name: str, content: bytes) -> tuple[str, bytes]:
        if name == "manifest.json":
            content = json.dumps(json.loads(content) | fields).encode()
        return name, content

    return change


def tree(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*.*")}


DAMAGE = {
    "a changed byte": (lambda n, c: (n, c[:-1] + b"x" if n.endswith(".sqlite") else c), "SHA-256"),
    "a lost file": (lambda n, c: None if n == "secret.key" else (n, c), "secret.key is missing"),
    "no manifest": (lambda n, c: None if n == "manifest.json" else (n, c), "manifest"),
    "a strange manifest": (lambda n, c: (n, b"[]" if n == "manifest.json" else c), "manifest"),
    "a newer schema": (manifest_with(schema="9999"), "newer than this program"),
    "an unknown format": (manifest_with(format=2), "unknown format"),
    "another database": (manifest_with(database="postgresql"), "no backup has"),
    "a path that leads away": (
        lambda n, c: (n, c.replace(b"secret.key", b"../x.key")),
        "no backup has",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_an_archive_that_is_not_as_it_was_made_changes_nothing(
    saved: Path, tmp_path: Path, kind: str
) -> None:
    change, said = DAMAGE[kind]
    empty = settings_in(tmp_path / "empty")
    with pytest.raises(BadFile, match=said):
        backup.restore(empty, rewritten(saved, change), no_bar)
    assert tree(empty.data) == {}


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.99])
def test_an_archive_that_was_cut_off_changes_nothing(
    saved: Path, tmp_path: Path, share: float
) -> None:
    whole = saved.read_bytes().rstrip(b"\0")
    saved.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadFile):
        backup.restore(settings_in(tmp_path / "empty"), saved, no_bar)
    assert tree(tmp_path / "empty") == {}


def test_an_archive_whose_database_is_damaged_inside_changes_nothing(
    house: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = house.data / "arena.db"
    content = bytearray(database.read_bytes())
    content[3 * 4096 : 3 * 4096 + 200] = b"\xff" * 200
    database.write_bytes(content)
    with pytest.raises(BadSetting, match="damaged"):
        backup.create(house, tmp_path / "never.tar", no_bar)
    assert not (tmp_path / "never.tar").exists()


def test_what_is_there_is_never_overwritten(house: Settings, saved: Path) -> None:
    (house.data / "secret.key").write_text("another key" * 4)
    before = tree(house.data)
    with pytest.raises(BadFile, match=r"over what is there \(.*arena\.db, .*secret\.key\)"):
        backup.restore(house, saved, no_bar)
    assert tree(house.data) == before
    house.data.rename(house.data.with_name("before"))
    backup.restore(house, saved, no_bar)
    assert (house.data / "secret.key").read_text() == KEY
    assert stat.S_IMODE((house.data / "arena.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
def test_no_database_is_put_beside_the_log_of_another_one(
    house: Settings, saved: Path, end: str
) -> None:
    (house.data / "arena.db").rename(house.data / f"arena.db{end}")
    before = tree(house.data)
    with pytest.raises(BadFile, match=f"arena.db{end}"):
        backup.restore(house, saved, no_bar)
    assert tree(house.data) == before


@pytest.mark.parametrize("step", range(3))
def test_a_restore_that_fails_half_way_leaves_nothing(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    empty, steps = settings_in(tmp_path / "empty"), iter(range(99))
    rename = Path.rename

    def failing(source: Path, target: Path) -> Path:
        if next(steps) == step:
            raise OSError(28, "No space left on device")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(BadFile, match="No space left"):
        backup.restore(empty, saved, no_bar)
    assert tree(empty.data) == {}


@pytest.mark.parametrize("step", range(3))
def test_a_restore_that_was_killed_has_brought_no_database_and_can_be_done_again(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    empty, steps = settings_in(tmp_path / "empty"), iter(range(99))
    rename = Path.rename

    def deadly(source: Path, target: Path) -> Path:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", deadly)
        child = multiprocessing.get_context("fork").Process(
            target=backup.restore, args=(empty, saved, no_bar)
        )
        child.start()
        child.join(20)
    assert child.exitcode == -signal.SIGKILL
    assert not (empty.data / "arena.db").exists()
    backup.restore(empty, saved, no_bar)
    assert all((empty.data / name).exists() for name in ("arena.db", "arena.toml", "secret.key"))


@pytest.mark.postgres
def test_a_restore_that_postgresql_refuses_leaves_nothing(
    house: Settings, postgres_urls: tuple[str, str], tmp_path: Path
) -> None:
    first = replace(house, database_url=settings_in(house.data, postgres_urls[0]).database_url)
    second = settings_in(tmp_path / "second", postgres_urls[1])
    database = Database(first.database_url)
    upgrade(database)
    database.close()
    backup.create(first, tmp_path / "saved.tar", no_bar)
    with psycopg.connect(postgres_urls[1].replace("+psycopg", ""), autocommit=True) as mine:
        mine.execute("CREATE VIEW turns AS SELECT 1")
        with pytest.raises(BadSetting, match="pg_restore failed"):
            backup.restore(second, tmp_path / "saved.tar", no_bar)
        left = mine.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert left.fetchone() == (0,)
        assert tree(second.data) == {}
        mine.execute("DROP VIEW turns")
    backup.restore(second, tmp_path / "saved.tar", no_bar)


def test_after_an_upgrade_the_backup_of_before_comes_back_in_an_empty_place(
    tmp_path: Path, urls: tuple[str | None, str | None]
) -> None:
    first, second = (
        settings_in(tmp_path / name, url) for name, url in zip("ab", urls, strict=True)
    )
    first.data.mkdir()
    upgraded, file = Database(first.database_url), tmp_path / "arena.tar"
    upgrade_to(upgraded, RELEASED[-1])
    fill(upgraded)
    backup.create(first, file, no_bar)
    upgrade(upgraded)
    upgraded.close()
    with pytest.raises(BadFile, match="over what is there"):
        backup.restore(first, file, no_bar)
    expect_everything(first.database_url)

    backup.restore(second, file, no_bar)
    restored = Database(second.database_url)
    assert versions(restored)[0] == RELEASED[-1], "the program of before can go on with it"
    upgrade(restored)
    restored.close()
    expect_everything(second.database_url)


def test_a_backup_that_fails_leaves_the_last_one(house: Settings, saved: Path) -> None:
    before = saved.read_bytes()
    (house.data / "arena.db").write_bytes(b"no database" * 1000)
    with pytest.raises(BadSetting, match="cannot be read"):
        backup.create(house, saved, no_bar)
    assert saved.read_bytes() == before
    assert list(saved.parent.glob(".saved*")) == []


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (None, "is not on PATH"),
        ("pg_dump (PostgreSQL) 9.6.1", "is of version 9, and the server of"),
        ("pg_dump (PostgreSQL) 99.1 (Debian 99.1-1)", "is of version 99, and the server of"),
    ],
)
@pytest.mark.postgres
def test_programs_that_are_missing_or_of_another_version_than_the_server_are_named(
    postgres_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str | None,
    said: str,
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    if version is not None:
        (programs / "pg_dump").write_text(f"#!/bin/sh\necho '{version}'\n")
        (programs / "pg_dump").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(ArenaError, match=said):
        backup.create(settings_in(tmp_path, postgres_url), tmp_path / "x.tar", no_bar)


def test_settings_elsewhere_do_not_matter(house: Settings, saved: Path, tmp_path: Path) -> None:
    """The archive's names are its own: another place for the roster's file is fine."""
    other = replace(settings_in(tmp_path / "other"), config=tmp_path / "etc" / "models.toml")
    backup.restore(other, saved, no_bar)
    assert other.config.read_text() == "# nobody yet\n"
    assert other.secret_key() == KEY
