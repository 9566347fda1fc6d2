"""Liveness, readiness with reasons, metrics."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from flask import Blueprint, Response, jsonify, request
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from arena.circuit import CircuitState
from arena.interfaces import Store
from arena.metrics import exposition
from arena.views import schemas
from arena.views.context import is_operator, require_operator, services
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
    vitals = services().vitals
    status = HTTPStatus.SERVICE_UNAVAILABLE if vitals.obstacles() else HTTPStatus.OK
    body: dict[str, object] = {"status": "ready" if status == HTTPStatus.OK else "not ready"}
    if is_operator():
        forwarded = "X-Forwarded-For" in request.headers
        unbelieved = forwarded and not services().settings.proxy_hops
        body["problems"] = vitals.problems(unbelieved_proxy=unbelieved)
    return jsonify(body), status


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
        yield from _of_models(self._store)
        yield GaugeMetricFamily(
            "arena_queue_length", "Battles that no runner has", len(self._store.battles.waiting())
        )
        yield GaugeMetricFamily(
            "arena_log_position", "Last sealed record", self._store.votes.position()
        )
        yield GaugeMetricFamily(
            "arena_unsealed_records", "Committed, not yet sealed", self._store.votes.unsealed()
        )


def _of_models(store: Store) -> Iterator[Metric]:
    """How every model's endpoint does."""
    state = GaugeMetricFamily(
        "arena_circuit", "Circuits of models that ever failed", labels=["model", "state"]
    )
    for circuit in store.circuits.all():
        for one in CircuitState:
            state.add_metric([circuit.model, one], circuit.state is one)
    yield state
    failures = CounterMetricFamily(
        "arena_failures", "Failed sides by kind", labels=["model", "error"]
    )
    for told, number in store.circuits.failures().items():
        failures.add_metric(told, number)
    yield failures
    used = store.usage.total()
    for name, text, figure in (
        ("arena_answers", "Complete answers", "answers"),
        ("arena_answer_tokens", "Tokens of complete answers", "tokens"),
        ("arena_first_text_seconds", "Sum of the waits for the first text", "ttft"),
        ("arena_answer_seconds", "Sum of the times of complete answers", "duration"),
    ):
        family = CounterMetricFamily(name, text, labels=["model"])
        for model, usage in used.items():
            family.add_metric([model], getattr(usage, figure))
        yield family


@blueprint.get("/metrics")
@operation(
    "Prometheus metrics, for the operator's token",
    answers={200: "text/plain"},
    refusals=(401, 429, 503),
    headers=_TOKEN,
)
def metrics() -> Response:
    require_operator()
    text = exposition(_StoreCollector(services().store))
    return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")
