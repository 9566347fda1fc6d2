"""The schema: migrations lead exactly to the tables, and a wrong version is refused clearly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from arena.errors import BadSetting, Unavailable
from arena.store import open_store
from arena.store.engine import Database
from arena.store.migrate import require_current, upgrade, versions
from arena.store.tables import metadata
from tests.fakes import CAMPAIGN


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
