"""Fixtures that several test folders share: real Redis and PostgreSQL servers."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from itertools import count
from typing import NoReturn
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from psycopg import sql

from tests.services import ArenaProcess, Missing, postgres_server, redis_server

_database_number = count(1)

_SHOWN = 20_000
"""How many characters of an arena's log are shown with a failed test."""


def pytest_addoption(parser: pytest.Parser) -> None:
    soak = parser.getgroup("soak", "the long fault loop (pytest -m soak)")
    soak.addoption("--faults", type=int, default=200, help="how many, on each database")
    soak.addoption("--seed", type=int, default=1, help="of their order; the same seed repeats it")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: takes long; runs only when asked for (-m soak)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "soak" not in config.option.markexpr:
        long = [item for item in items if item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what the arenas that it was given have written."""
    report = yield
    if report.failed:
        for name, given in getattr(item, "funcargs", {}).items():
            if isinstance(given, ArenaProcess):
                report.sections.append((f"Log of {name}", given.log()[-_SHOWN:]))
    return report


def missing(reason: str) -> NoReturn:
    """Skip a test whose programs are absent; fail it where they are required to be there."""
    if os.environ.get("ARENA_TEST_REQUIRE_SERVICES") or os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def redis_server_url() -> Iterator[str]:
    """One Redis for the whole session; tests take `redis_url`, which is emptied for them."""
    with redis_server() as url:
        yield url


@pytest.fixture
def redis_url(redis_server_url: str) -> str:
    """The address of a real Redis that holds nothing."""
    with redis.Redis.from_url(redis_server_url) as client:
        client.flushall()
    return redis_server_url


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """One PostgreSQL for the whole session; tests take `postgres_url`."""
    try:
        with postgres_server() as url:
            yield url
    except Missing as reason:
        missing(str(reason))


@pytest.fixture
def postgres_url(postgres_server_url: str) -> Iterator[str]:
    """The address of a fresh, empty database in a real PostgreSQL."""
    name = f"test_{next(_database_number)}"
    parts = urlsplit(postgres_server_url)
    with psycopg.connect(postgres_server_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield f"postgresql+psycopg://{parts.netloc}/{name}?{parts.query}"
        # FORCE: a test may have killed a process that never said goodbye
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
