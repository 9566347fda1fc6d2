"""A whole arena in one process for HTTP tests: the app, SQLite, a real Redis, runner and worker.

Only the models' endpoints are scripted. Every answer that a client gets is checked: its headers,
that it is no 5xx, and that it is what the app's own OpenAPI document says.
"""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from limits.storage import MemoryStorage
from openapi_schema_validator import OAS31Validator
from sqlalchemy import delete, func, insert, select, update
from werkzeug.test import TestResponse

from arena.app import build_services, create_app
from arena.attempts import Attempts
from arena.battle import Message
from arena.battles import Battles, Limits
from arena.boards import METHODS, OVERALL
from arena.campaigns import DEFAULT
from arena.errors import EndpointBroken, EndpointError
from arena.events import MODEL_TYPES
from arena.interfaces import Campaign, Deadlines, Finished, ModelEntry
from arena.limits import RateLimits
from arena.live import RedisLive
from arena.redis_client import connect
from arena.runner import Runner
from arena.settings import Settings
from arena.store import SqlStore
from arena.store.engine import Database
from arena.store.migrate import upgrade
from arena.store.tables import campaigns as campaigns_table
from arena.store.tables import circuits as circuits_table
from arena.store.tables import metadata
from arena.store.tables import records as records_table
from arena.views.context import Services
from arena.views.openapi import document
from arena.worker import Worker
from tests.services import UNHURRIED, wait_until

ADMIN_TOKEN = "operator-token-of-the-tests"  # noqa: S105  opens nothing but these tests
TICK = 0.02
MODELS = tuple(
    ModelEntry(id=f"m{number}", name=f"Model {number}", base_url="http://nowhere.test", model="x")
    for number in range(3)
)
HELLO: tuple[Any, ...] = ("Hello ", "there.", Finished("stop", 2))

BEGUN = "sixteen letters."
"""A beginning of which every letter is shown, also while more is to come (two steps of eight)."""

Pieces = Sequence[str | Finished | EndpointError | threading.Event]


class ScriptedStream:
    """An answer by script: texts, an end or an error; an `Event` holds it up until it is set."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def __iter__(self) -> Iterator[str | Finished]:
        for piece in self._pieces:
            if isinstance(piece, threading.Event):
                while not piece.wait(0.01) and not self._cancelled.is_set():
                    pass
            if self._cancelled.is_set():
                raise EndpointBroken("cancelled")
            if isinstance(piece, EndpointError):
                raise piece
            if not isinstance(piece, threading.Event):
                yield piece


class PinnedDraw(random.Random):
    """Draws pairs at random, or in the `order` that a test has pinned."""

    order: tuple[str, str] | None = None

    def sample(self, population: Any, k: int, *, counts: Any = None) -> Any:
        return list(self.order) if self.order else super().sample(population, k, counts=counts)


@dataclass(frozen=True)
class Sse:
    """One server-sent event as it was received."""

    id: str | None
    event: str
    data: dict[str, Any]


def parse_sse(text: str) -> list[Sse]:
    """The events of a stream; comments are left out."""
    events = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            fields = dict(line.split(": ", 1) for line in lines)
            events.append(Sse(fields.get("id"), fields["event"], json.loads(fields["data"])))
    return events


def problem(response: TestResponse, status: int, slug: str) -> dict[str, Any]:
    """Assert that the answer is exactly this RFC 9457 problem; returns its body."""
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.mimetype == "application/problem+json"
    body: dict[str, Any] = json.loads(response.get_data())
    assert body["type"] == f"/api/docs#{slug}"
    assert body["status"] == status
    assert body["title"]
    assert re.search(r"[.?…]$", body["detail"]), f"not a sentence: {body['detail']}"
    assert set(body) <= {"type", "title", "status", "detail", "request_id", "field"}
    assert body["request_id"] == response.headers["X-Request-ID"]
    return body


class Contract:
    """The app's OpenAPI document, as a judge of real answers."""

    def __init__(self, app: Flask) -> None:
        with app.test_request_context():
            self.document = document(app)
        self._paths = [
            (re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)), methods)
            for path, methods in self.document["paths"].items()
        ]

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        wanted = "get" if method == "HEAD" else method.lower()
        for pattern, methods in self._paths:
            if pattern.fullmatch(path):
                found: dict[str, Any] | None = methods.get(wanted)
                return found
        return None

    def check(self, response: TestResponse) -> None:
        """Assert that the document allows this status, media type and body."""
        request = response.request
        operation = self.operation(request.method, request.path)
        if operation is None:
            return
        what = f"{request.method} {request.path} → {response.status_code}"
        allowed = operation["responses"].get(str(response.status_code))
        if response.status_code == 400:  # a header that no call can use
            allowed = allowed or operation["responses"]["default"]
        assert allowed is not None, f"{what} is not in the OpenAPI document"
        for name in allowed.get("headers", {}):
            assert name in response.headers, f"{what} lacks {name}"
        if request.method == "HEAD":
            return
        content = allowed.get("content")
        if content is None:
            assert not response.get_data(), f"{what} should have no body"
            return
        assert response.mimetype in content, f"{what} is {response.mimetype}"
        if response.mimetype in {"application/json", "application/problem+json"}:
            self.validate(content[response.mimetype]["schema"], json.loads(response.get_data()))

    def validate(self, schema: dict[str, Any], value: Any) -> None:
        """Raises `ValidationError` when the value is not what the schema says."""
        whole = {**schema, "components": self.document["components"]}
        OAS31Validator(whole).validate(value)


class CheckedClient(FlaskClient):
    """A voter's client with a cookie jar of its own; every answer is held against the contract."""

    contract: Contract

    def open(self, *args: Any, buffered: bool = True, **kwargs: Any) -> TestResponse:
        response = super().open(*args, buffered=buffered, **kwargs)
        if response.mimetype != "text/event-stream":
            self.contract.check(response)
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        if response.status_code >= 400 and response.request.path.startswith("/api/"):
            assert response.mimetype in {"application/problem+json", "text/html"}
        return response

    def stream(self, path: str, **headers: str) -> tuple[TestResponse, Iterator[str]]:
        """A stream that stays open until the response is closed, and its pieces as they come."""
        response = self.get(path, headers=headers, buffered=False)
        assert response.status_code == 200
        return response, (bytes(piece).decode() for piece in response.response)

    def battle(self, prompt: str = "hello", **fields: Any) -> str:
        """Start a battle; its id."""
        response = self.post("/api/battles", json={"prompt": prompt, **fields})
        assert response.status_code == 201, response.get_data(as_text=True)
        return str(response.json["id"])

    def settle(self, battle_id: str) -> list[Sse]:
        """Follow the latest turn to its end."""
        answer = self.get(f"/api/battles/{battle_id}/events")
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return parse_sse(answer.get_data(as_text=True))

    def ready(self, prompt: str = "hello", **fields: Any) -> str:
        """A battle whose answers are complete; its id."""
        battle_id = self.battle(prompt, **fields)
        assert self.settle(battle_id)[-1].event == "ready"
        return battle_id

    def voted(self, prompt: str = "hello", **ballot: Any) -> dict[str, Any]:
        """A battle with its vote: the reveal, and the battle's id as `battle`."""
        battle_id = self.ready(prompt)
        response = self.post(f"/api/battles/{battle_id}/vote", json={"grade": 1, **ballot})
        assert response.status_code == 200, response.get_data(as_text=True)
        return {**response.json, "battle": battle_id}


_OF_RUNNER_AND_WORKER = {
    *("leases", "snapshots", "pair_tables", "usage", "circuits", "failures"),
    *("tree_heads", "tree_nodes"),
}


class World:
    """One arena with its runner and worker at work. Use it as a context manager."""

    def __init__(
        self, folder: Path, redis_url: str, models: Sequence[ModelEntry] = MODELS, **settings: Any
    ) -> None:
        environ = {
            "ARENA_DATA": str(folder),
            "ARENA_CONFIG": str(folder / "arena.toml"),
            "REDIS_URL": redis_url,
            "ARENA_ADMIN_TOKEN": ADMIN_TOKEN,
            **UNHURRIED,
        }
        self.settings = replace(Settings.from_environment(environ), **settings)
        database = Database(self.settings.database_url)
        upgrade(database)
        database.close()
        self.database = Database(self.settings.database_url)
        self.store = SqlStore(self.database)
        self.store.campaigns.add(DEFAULT)
        self.store.roster.replace(models, "2026-01-01T00:00:00.000Z")
        self.redis = connect(redis_url, patience=3)
        self.draw = PinnedDraw(1)
        self.services = self._with_pinned_draw(build_services(self.settings))
        self.scripts: dict[str, Mapping[str, Pieces]] = {}
        self._go = threading.Event()
        self._go.set()
        self.app = self.new_app()
        self._stop = threading.Event()
        self._live = RedisLive(redis_url, ttl=900)
        self._threads = [
            threading.Thread(target=part.run, args=(self._stop,)) for part in self._parts()
        ]

    def _with_pinned_draw(self, services: Services) -> Services:
        limits = Limits(self.settings.max_prompt_chars, self.settings.max_turns, 100, 1_000, 60)
        parts = (services.store, services.live, services.campaigns, limits, self.draw)
        battles = Battles(*parts, signer=services.signer)
        return replace(services, battles=battles)

    def _parts(self) -> tuple[Runner, Worker]:
        runner = Runner(
            self.store,
            self._live,
            self._endpoint,
            deadlines=Deadlines(),
            tick=TICK,
            capacity=200,
            poll=0.3,
            lease_seconds=3,
        )
        signer = self.settings.signer()
        return runner, Worker(self.store, self._live, signer=signer, poll=0.3, lease_seconds=3)

    def _endpoint(self, entry: ModelEntry) -> _ScriptedEndpoint:
        return _ScriptedEndpoint(entry.id, self.scripts, self._go)

    def __enter__(self) -> World:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert isinstance(self.services.live, RedisLive)
        assert isinstance(self.services.store, SqlStore)
        self.services.live.close()
        self._live.close()
        self.redis.close()
        self.services.store.close()
        self.store.close()

    # --- clients ----------------------------------------------------------------------------

    def new_app(self, settings: Mapping[str, Any] | None = None, **services: Any) -> Flask:
        """The same arena behind an app with other settings or services, and counters of its own."""
        changed = replace(self.settings, **(settings or {}))
        limits = RateLimits(MemoryStorage())
        parts = {"settings": changed, "limits": limits, "attempts": Attempts(limits), **services}
        app = create_app(changed, replace(self.services, **parts))
        app.test_client_class = type("Client", (CheckedClient,), {"contract": Contract(app)})
        return app

    def voter(self, app: Flask | None = None) -> CheckedClient:
        """A voter who has never been here."""
        client = (app or self.app).test_client()
        assert isinstance(client, CheckedClient)
        return client

    @cached_property
    def contract(self) -> Contract:
        return Contract(self.app)

    # --- scripts ----------------------------------------------------------------------------

    def answers(self, prompt: str, *pieces: Any, **by_model: Pieces) -> None:
        """What the models say to a prompt: all of them `pieces`, or each its own."""
        self.scripts[prompt] = by_model or {model.id: pieces for model in self.models()}

    def models(self) -> tuple[ModelEntry, ...]:
        return self.store.roster.current().entries

    @contextmanager
    def pinned(self, model_a: str, model_b: str) -> Iterator[None]:
        """Battles started here have these sides."""
        self.draw.order = (model_a, model_b)
        try:
            yield
        finally:
            self.draw.order = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """No model says or does anything before the end of the block."""
        self._go.clear()
        try:
            yield
        finally:
            self._go.set()

    def forget_failures(self) -> None:
        """No model rests any more because of what tests made it do."""
        with self.database.write() as connection:
            connection.execute(delete(circuits_table))
        self.services.battles._resting._known = None

    # --- the database -----------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """How many rows each table has, but for those that runner and worker write at any time."""
        tables = [t for t in metadata.sorted_tables if t.name not in _OF_RUNNER_AND_WORKER]
        told = records_table.c.type.in_(("campaign", *MODEL_TYPES))
        with self.database.read() as connection:
            counted = {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in tables
            }
            by_worker = select(func.count()).select_from(records_table).where(told)
            counted["records"] -= connection.execute(by_worker).scalar_one()
        return counted

    @contextmanager
    def nothing_written(self) -> Iterator[None]:
        """Assert that the block leaves every table as long as it was."""
        before = self.counts()
        yield
        assert self.counts() == before

    def add_campaign(self, campaign_id: str, **fields: Any) -> Campaign:
        named = replace(DEFAULT, id=campaign_id, title=f"The {campaign_id} one")
        campaign = replace(named, **fields)
        with self.database.write() as connection:
            values = {name: getattr(campaign, name) for name in campaign.__slots__}
            connection.execute(insert(campaigns_table).values(values))
        return campaign

    def set_campaign(self, campaign_id: str, **fields: Any) -> None:
        with self.database.write() as connection:
            connection.execute(
                update(campaigns_table).where(campaigns_table.c.id == campaign_id).values(**fields)
            )

    def wait_published(self) -> None:
        """Wait until the default campaign has a board by every method."""

        def published() -> bool:
            boards = self.store.snapshots.offered([DEFAULT.id])[DEFAULT.id]
            return len(boards.get(OVERALL, ())) == len(METHODS) - 1

        wait_until(published, what="the first boards")

    def wait_counted(self, *methods: str) -> None:
        """Wait until the default campaign's board, as readers get it, counts every vote.

        Its boards by other methods come later: those named in `methods` are waited for too.
        """
        votes = select(func.count()).where(
            records_table.c.type == "vote", records_table.c.campaign == DEFAULT.id
        )

        def counted() -> bool:
            with self.database.read() as connection:
                cast = connection.execute(votes).scalar_one()
            get = self.services.boards.get
            boards = [get(DEFAULT, method=method).document["rows"] for method in ("auto", *methods)]
            return all(sum(row["votes"] for row in rows) == 2 * cast for rows in boards)

        wait_until(counted, what="every vote on the boards")

    def wait_sealed(self) -> int:
        """Wait until every vote has its place under a signed head; the log's position."""

        def is_signed() -> bool:
            head, waits = self.store.trees.head(), self.store.votes.unsealed()
            return not waits and head is not None and head.size >= self.store.votes.position()

        wait_until(is_signed, what="the log to be sealed and signed")
        return self.store.votes.position()


class _ScriptedEndpoint:
    """One model of the world; it answers the last prompt by its script."""

    def __init__(
        self, model: str, scripts: Mapping[str, Mapping[str, Pieces]], go: threading.Event
    ) -> None:
        self._model = model
        self._scripts = scripts
        self._go = go

    def ask(self, messages: Sequence[Message], deadlines: Deadlines) -> ScriptedStream:
        script = self._scripts.get(messages[-1].text, {})
        return ScriptedStream([self._go, *script.get(self._model, HELLO)])
