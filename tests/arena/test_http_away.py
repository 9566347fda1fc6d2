"""Every address while the database or Redis is away: an answer, or when to come back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

import pytest
from flask import Flask

from arena.app import build_services
from arena.errors import Unavailable
from arena.store import SqlStore
from arena.views.context import Services
from tests.arena.http_world import ADMIN_TOKEN, CheckedClient, World

OPERATOR = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
BODIES: dict[str, dict[str, Any]] = {
    "/api/battles": {"prompt": "hello"},
    "/api/battles/abc/turns": {"prompt": "hello"},
    "/api/battles/abc/vote": {"grade": 1},
    "/api/battles/abc/report": {},
}
PARTS = {"name": "intervals", "form": "csv", "battle_id": "abc", "campaign_id": "online"}
STREAMS = "/api/board/events"
TEST_OF_MODELS = "/admin/models/test"


def app_of(world: World, services: Services) -> Flask:
    parts = vars(services).items()
    return world.new_app(**{name: part for name, part in parts if name != "settings"})


def calls(app: Flask) -> Iterator[tuple[str, str]]:
    """Every method and address; streams and calls of endpoints aside."""
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda part: PARTS.get(part[1], "m0"), rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            if path not in (STREAMS, TEST_OF_MODELS):
                yield method, path


def refused(client: CheckedClient, method: str, path: str, headers: dict[str, str]) -> bool:
    """Whether the answer is a 503; any other defect fails."""
    answer = client.open(path, method=method, headers=headers, json=BODIES.get(path))
    if answer.status_code != 503:
        assert answer.status_code < 500, (method, path)
        return False
    assert path == "/readyz" or int(answer.headers["Retry-After"]) > 0, (method, path)
    return True


@contextmanager
def away() -> Iterator[NoReturn]:
    raise Unavailable("The database cannot be used right now.", retry_after=2)
    yield


@pytest.mark.parametrize("headers", [{}, OPERATOR], ids=["voter", "operator"])
def test_without_the_database_nothing_fails_and_nothing_is_told_half(
    world: World, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    services = build_services(world.settings)
    assert isinstance(services.store, SqlStore)
    for use in ("read", "look", "write"):
        monkeypatch.setattr(services.store._db, use, away)
    app = app_of(world, services)
    client = world.voter(app)
    assert refused(client, "GET", "/", {}), "and the voter has a cookie now"
    found = {(method, path): refused(client, method, path, headers) for method, path in calls(app)}
    for path in ("/api/battles", "/api/battles/export", "/mine", "/board", "/api/board/pairs"):
        assert found["GET", path], path
    services.store.close()


def test_without_redis_every_page_and_call_works(world: World, voter: CheckedClient) -> None:
    settings = replace(world.settings, redis_url="redis://127.0.0.1:1/0")
    services = build_services(settings)
    app = app_of(world, services)
    client = world.voter(app)
    for method, path in calls(app):
        assert refused(client, method, path, {}) is False, path
    assert isinstance(services.store, SqlStore)
    services.store.close()
