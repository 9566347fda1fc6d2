"""Liveness, readiness with reasons, metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flask import Blueprint, Response, jsonify
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from arena.errors import ArenaError
from arena.interfaces import Store
from arena.views import schemas
from arena.views.context import Services, is_operator, require_operator, services
from arena.views.openapi import operation

blueprint = Blueprint("health", __name__)

_TOKEN = {"Authorization": "Bearer, and the operator's token."}


@blueprint.get("/healthz")
@operation("Whether this process answers", answers={200: schemas.HealthView}, refusals=())
def healthz() -> Response:
    return jsonify({"status": "alive"})


@blueprint.get("/readyz")
@operation(
    "Whether votes can be stored; the operator's token also gives the reasons",
    answers={200: schemas.HealthView, 503: schemas.HealthView},
    refusals=(),
    headers=_TOKEN,
)
def readyz() -> tuple[Response, int]:
    """503 when votes cannot be stored. Reasons are for the operator's token only."""
    found = services()
    problems = {name: problem for name, check in _checks(found) if (problem := _why(check))}
    status = 503 if "database" in problems else 200
    body: dict[str, object] = {"status": "ready" if status == 200 else "not ready"}  # noqa: PLR2004  HTTP OK
    if is_operator():
        body["problems"] = problems
    return jsonify(body), status


def _checks(found: Services) -> list[tuple[str, Callable[[], None]]]:
    return [("database", found.store.ping), ("redis", found.live.ping)]


def _why(check: Callable[[], None]) -> str | None:
    try:
        check()
    except ArenaError as error:
        return str(error)
    return None


class _StoreCollector(Collector):
    """Figures read from SQL at the moment of asking, so that every process tells the same."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        battles = GaugeMetricFamily("arena_battles", "Battles by state", labels=["state"])
        for state, count in self._store.battles.by_state().items():
            battles.add_metric([state], count)
        yield battles
        voids = GaugeMetricFamily("arena_voids", "Failed sides by model", labels=["model"])
        for model, count in self._store.battles.voids_by_model().items():
            voids.add_metric([model], count)
        yield voids
        yield GaugeMetricFamily(
            "arena_log_position", "Last sealed record", self._store.votes.position()
        )
        yield GaugeMetricFamily(
            "arena_unsealed_records", "Committed, not yet sealed", self._store.votes.unsealed()
        )


@blueprint.get("/metrics")
@operation(
    "Prometheus metrics, for the operator's token",
    answers={200: "text/plain"},
    refusals=(401, 429, 503),
    headers=_TOKEN,
)
def metrics() -> Response:
    require_operator()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_StoreCollector(services().store))
    return Response(
        generate_latest(registry), content_type="text/plain; version=0.0.4; charset=utf-8"
    )
