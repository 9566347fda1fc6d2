"""The world of the HTTP tests, one for each module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.arena.http_world import CheckedClient, World
from tests.services import redis_server


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running arena. Its Redis is its own: the runner would take other tests' wake-ups."""
    folder: Path = tmp_path_factory.mktemp("arena")
    with redis_server() as url, World(folder, url) as made:
        made.wait_published()
        yield made


@pytest.fixture(autouse=True)
def forgiven(request: pytest.FixtureRequest) -> None:
    """Models that earlier tests of the module made to fail are drawn like any other."""
    made = request.getfixturevalue("world") if "world" in request.fixturenames else None
    if isinstance(made, World):
        made.forget_failures()


@pytest.fixture
def voter(world: World) -> CheckedClient:
    """A voter who has never been here."""
    return world.voter()
