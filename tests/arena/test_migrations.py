"""The schema: migrations lead exactly to the tables, and a wrong version is refused clearly."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from sqlalchemy import MetaData, event, inspect, text

from arena.cli import main
from arena.errors import BadSetting, Conflict, Unavailable
from arena.interfaces import GivenVote
from arena.store import SqlStore, migrate, open_store
from arena.store.engine import Database
from arena.store.migrate import upgrade
from arena.store.rows import record_values
from arena.store.schema import known_versions, require_current, versions
from arena.store.tables import metadata
from tests.fakes import ANSWERS, CAMPAIGN, MODELS, a_battle, a_vote, log_rows


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/arena.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    made = Database(url)
    yield made
    made.close()


def differences(database: Database) -> list[object]:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))


def test_the_migrations_lead_exactly_to_the_tables(database: Database) -> None:
    upgrade(database)
    assert differences(database) == []


def test_partial_and_unique_indexes_are_made_as_declared(database: Database) -> None:
    """The comparison above does not look at an index's condition."""
    upgrade(database)
    option = f"{database.dialect}_where"
    for table in metadata.sorted_tables:
        with database.read() as connection:
            made = {
                index["name"]: (index["unique"], option in index.get("dialect_options", {}))
                for index in inspect(connection).get_indexes(table.name)
            }
        for index in table.indexes:
            declared = index.dialect_options[database.dialect]["where"] is not None
            assert made[str(index.name)] == (index.unique, declared), index.name


def test_upgrading_twice_changes_nothing_and_keeps_the_data(database: Database, url: str) -> None:
    upgrade(database)
    store = open_store(url)
    store.campaigns.add(CAMPAIGN)
    found = versions(database)
    upgrade(database)
    assert versions(database) == found == (found[1], found[1])
    assert store.campaigns.all() == [CAMPAIGN]
    store.close()


def test_a_database_without_a_schema_is_refused_with_the_command_to_run(
    database: Database, url: str
) -> None:
    with pytest.raises(BadSetting, match=r"has schema none .* run 'arena db upgrade'"):
        require_current(database)
    with pytest.raises(BadSetting):
        open_store(url)
    upgrade(database)
    require_current(database)


def test_a_schema_of_a_newer_program_is_refused_and_left_alone(database: Database) -> None:
    upgrade(database)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BadSetting, match="schema 9999, which is newer than this program"):
        upgrade(database)
    with pytest.raises(BadSetting, match="schema 9999"):
        require_current(database)
    assert versions(database)[0] == "9999"
    assert differences(database) == []


def test_a_migration_that_breaks_leaves_nothing_half_done(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of an upgrade is one transaction, on both databases."""
    with database.write() as connection:
        connection.execute(text("CREATE TABLE snapshots (id INTEGER)"))  # in the upgrade's way
    with pytest.raises(Unavailable):
        upgrade(database)
    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["snapshots"]


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused_by_name(url: str) -> None:
    with pytest.raises(BadSetting, match="DATABASE_URL"):
        Database(url)


def test_sqlite_commits_are_durable_and_foreign_keys_are_checked(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/arena.db")
    with database.read() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    database.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_database_that_cannot_be_reached_is_an_outage_that_may_pass(tmp_path: Path) -> None:
    for url in (
        f"sqlite:///{tmp_path}/no/such/folder/arena.db",
        f"postgresql+psycopg://arena@/arena?host={tmp_path}",
    ):
        database = Database(url)
        with pytest.raises(Unavailable) as outage, database.read():
            pass
        assert outage.value.retryable and outage.value.retry_after
        database.close()


# --- from every released schema, with data in place ----------------------------------------------

RELEASED = ("0001", "0002", "0003")


def upgrade_to(database: Database, revision: str) -> None:
    """As the program of that time did it."""
    config = migrate.alembic_config()
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_the_names_of_the_migrations_tell_what_alembic_finds_in_them() -> None:
    scripts = ScriptDirectory.from_config(migrate.alembic_config())
    assert known_versions() == [script.revision for script in scripts.walk_revisions()]


def fill(database: Database) -> None:
    """Two battles, one voted and one ready, in every table and column that this schema has."""
    voted, ready = a_battle("b1", voter="ann"), a_battle("b2", voter="ann")
    record, content = a_vote("v1", "b1", voter="p1")
    turn = {
        "number": 1,
        "prompt": "Why?",
        "state": "ready",
        "steps": [[1, 1]],
        **{f"{name}_{side}": value for side in "ab" for name, value in asdict(ANSWERS[0]).items()},
    }
    entry = asdict(MODELS[0])
    rows: dict[str, list[dict[str, Any]]] = {
        "campaigns": [asdict(CAMPAIGN)],
        "leases": [{"name": "worker", "holder": "w0", "fence": 7, "beat": 9}],
        "roster_revisions": [{"revision": 1, "at": voted.created_at, "entries": [entry]}],
        "battles": [
            asdict(voted) | {"state": "voted", "stop_requested": False},
            asdict(ready) | {"state": "ready", "stop_requested": False},
        ],
        "turns": [turn | {"battle_id": "b1"}, turn | {"battle_id": "b2"}],
        "records": [
            record_values(record) | {"seq": 1, "idempotency_key": "k", "request_digest": "d"},
            record_values(a_vote("v2")[0]),
        ],
        "contents": [{"record_id": "v1", **asdict(content)}],
        "pseudonyms": [{"voter": "ann", "campaign": CAMPAIGN.id, "pseudonym": "p1"}],
        "reports": [{"battle_id": "b1", "voter": "ann", "reason": "odd", "created_at": "2026"}],
        "imports": [{"campaign": CAMPAIGN.id, "digest": "f", "votes": 1, "imported_at": "2026"}],
        "snapshots": [
            {
                "campaign": CAMPAIGN.id,
                "category": "overall",
                "method": "graded",
                "log_position": 1,
                "published_at": "2026-01-01T00:00:00.000Z",
                "config": {"a": 1},
                "config_hash": "h",
                "rows": [{"model": "m0"}],
                "voters": 1,
            }
        ],
    }
    with database.write() as connection:
        old = MetaData()
        old.reflect(connection)
        for table in old.sorted_tables:
            for row in rows.get(table.name, []):
                known = {name: value for name, value in row.items() if name in table.c}
                connection.execute(table.insert().values(known))


def expect_everything(url: str) -> None:
    """What `fill` wrote is there as it was, and the house goes on working with it."""
    store = open_store(url)
    try:
        _expect_rows(store)
        _expect_work(store)
    finally:
        store.close()


def _expect_rows(store: SqlStore) -> None:
    record, content = a_vote("v1", "b1", voter="p1")
    stored = store.votes.vote_of("b1")
    assert stored is not None
    assert (stored.record, stored.hash) == (record, record.leaf())
    assert (stored.idempotency_key, stored.request_digest) == ("k", "d")
    assert store.votes.content("v1") == content
    assert store.campaigns.all() == [CAMPAIGN]
    assert [entry.id for entry in store.roster.current().entries] == [MODELS[0].id]
    assert [report.reason for report in store.battles.reports_of("ann")] == ["odd"]
    assert [summary.prompt for summary in store.battles.of_voter("ann", before=None, limit=9)] == [
        "Why?",
        "Why?",
    ]
    snapshot = store.snapshots.latest(CAMPAIGN.id, "overall")
    assert snapshot is not None and snapshot.log_position == 1
    assert (store.votes.position(), store.votes.unsealed()) == (1, 1)


def _expect_work(store: SqlStore) -> None:
    given = GivenVote(*a_vote("v3", "b2"), "ann", 1, None, "d")
    (vote,) = store.votes.add_votes([given])
    assert vote is not None and vote.record.voter == "p1", "her name in the log stays"
    with pytest.raises(Conflict):
        store.votes.import_file(CAMPAIGN, "f", [a_vote("v4")])
    assert store.votes.import_file(CAMPAIGN, "g", [a_vote("v4")]) == 1
    lease = store.leases.take("worker", "w1", store.leases.look("worker"))
    assert lease is not None and lease.fence == 8
    assert store.votes.seal(lease, 10) == 3
    rows = log_rows(store.votes, CAMPAIGN.id)
    assert [(row["seq"], row["id"]) for row in rows] == [
        (1, "v1"),
        (2, "v2"),
        (3, "v3"),
        (4, "v4"),
    ]
    assert store.battles.void_rates() == {CAMPAIGN.id: {"m0": 0.0, "m1": 0.0}}
    assert store.votes.erase(["b1"], "withdrawn") == ["b1"]


@pytest.mark.parametrize("released", RELEASED)
def test_a_database_of_every_released_version_is_upgraded_with_all_its_data(
    database: Database, url: str, released: str
) -> None:
    upgrade_to(database, released)
    fill(database)
    with pytest.raises(BadSetting, match=f"schema {released} and this program needs .* db upgrade"):
        open_store(url)
    upgrade(database)
    assert differences(database) == []
    expect_everything(url)


def in_processes(work: Callable[[], None], processes: int = 1) -> list[int]:
    """Do it in so many processes at once; their exit statuses, or minus the signals."""
    children = [_forked(work) for _ in range(processes)]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)  # nothing of pytest may run twice
    return child


@pytest.mark.parametrize("released", [None, "0001"], ids=["empty", "old"])
def test_processes_that_upgrade_at_once_all_succeed(
    database: Database, url: str, released: str | None
) -> None:
    if released is not None:
        upgrade_to(database, released)
        fill(database)
    database.close()
    assert in_processes(lambda: upgrade(Database(url)), processes=4) == [0] * 4
    assert differences(database) == []
    if released is not None:
        expect_everything(url)


def killed_at(statement: int, url: str) -> Callable[[], None]:
    """An upgrade that ends by `kill -9` at its n-th statement."""

    def work() -> None:
        own, executed = Database(url), count(1)

        @event.listens_for(own.engine, "after_cursor_execute")
        def die(*_: Any) -> None:
            if next(executed) == statement:
                os.kill(os.getpid(), signal.SIGKILL)

        upgrade(own)

    return work


def test_an_upgrade_that_is_killed_anywhere_can_be_done_again(database: Database, url: str) -> None:
    upgrade_to(database, "0001")
    fill(database)
    database.close()
    for statement in count(3, 5):
        (status,) = in_processes(killed_at(statement, url))
        if status == 0:
            break
        assert status == -signal.SIGKILL
        assert versions(database)[0] == "0001"
        database.close()
    assert statement > 20, "it was killed in its midst"
    assert differences(database) == []
    expect_everything(url)


@pytest.mark.parametrize("command_line", ["db upgrade", "web", "runner", "worker", "board"])
def test_every_command_refuses_a_newer_schema_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_line: str
) -> None:
    monkeypatch.setenv("ARENA_DATA", str(tmp_path))
    database = Database(f"sqlite:///{tmp_path}/arena.db")
    upgrade(database)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    result = CliRunner().invoke(main, command_line.split())
    assert result.exit_code == 2
    assert re.fullmatch(
        r"arena: The database has schema 9999, which is newer than this program \(\d+\): "
        r"install the newer program, or restore a backup made with this one\.\n",
        result.stderr,
    )
    assert result.stdout == ""
