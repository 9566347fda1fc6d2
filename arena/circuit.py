"""Circuits: how the models' endpoints have been doing, and which of them are left alone.

    closed ── too many failures ──▶ open ── its rest is over ──▶ half_open ── answered ──▶ closed
                                     ▲                               │
                                     └── failed: a longer rest ──────┘

A model is drawn only while its circuit is closed. What a prompt can bring about (a refusal of this
question, an empty answer) is no trouble of the endpoint's and moves nothing: one voter could keep
models from everybody else with it. Nothing here looks at a clock: whoever probes
measures the rest with its own monotonic one, so a jumping wall clock neither ends nor prolongs it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from arena.errors import EndpointBroken, EndpointRefused, EndpointTimeout, EndpointUnreachable

_NEWEST = 0.2
_TOO_MANY = 0.5
_ON_PROBATION = 0.4
_FORGOTTEN = 0.01
REST_SECONDS = 15.0
MOST_REST_SECONDS = 300.0
_TROUBLE = frozenset(
    kind.__name__
    for kind in (EndpointUnreachable, EndpointRefused, EndpointTimeout, EndpointBroken)
)


class CircuitState(StrEnum):
    closed = "closed"
    open = "open"
    half_open = "half_open"


@dataclass(frozen=True, slots=True)
class Circuit:
    """One model's circuit; a model that never failed has none, which is a closed one.

    `failing` is the share of failures among its answers, the newest counting most: each moves it
    a fifth of the way to 1 or 0. Four failures in a row open the circuit, and so does a longer
    time in which every second answer fails. `rest` is the seconds until the next probe, `probes`
    grows with each, `error` is the kind of the newest failure.
    """

    model: str
    state: CircuitState = CircuitState.closed
    failing: float = 0.0
    rest: float = 0.0
    probes: int = 0
    error: str | None = None
    error_at: str | None = None

    def answered(self) -> Circuit:
        """After an answer in a battle. It closes nothing: it may have begun before the trouble."""
        failing = self.failing * (1 - _NEWEST)
        return replace(self, failing=failing if failing >= _FORGOTTEN else 0.0)

    def failed(self, error: str, at: str, retry_after: float | None = None) -> Circuit:
        """After a failure in a battle. An endpoint that asks to be left alone is, at once."""
        failing = self.failing + (1 - self.failing) * _NEWEST
        seen = replace(self, failing=failing, error=error, error_at=at)
        if self.state is not CircuitState.closed or (failing < _TOO_MANY and not retry_after):
            return seen
        return replace(seen, state=CircuitState.open, rest=_at_least(REST_SECONDS, retry_after))

    def probing(self) -> Circuit:
        """While one runner asks whether the model answers again."""
        return replace(self, state=CircuitState.half_open, probes=self.probes + 1)

    def probed(self, error: str | None, at: str, retry_after: float | None = None) -> Circuit:
        """After the probe. A model that answered is on probation: its next failure opens again."""
        if error is None:
            return self.close()
        rest = _at_least(2 * self.rest, retry_after)
        return replace(self, state=CircuitState.open, rest=rest, error=error, error_at=at)

    def close(self) -> Circuit:
        return replace(self, state=CircuitState.closed, failing=_ON_PROBATION, rest=0.0)


def error_kind(error: str) -> str:
    """The kind of a failure that is told as `kind: sentence`; it never holds a foreign text."""
    return error.partition(":")[0]


def is_trouble(kind: str) -> bool:
    """Whether a failure of this kind in a battle is the endpoint's, and moves its circuit."""
    return kind in _TROUBLE


def _at_least(seconds: float, asked: float | None) -> float:
    return min(max(seconds, asked or 0.0), MOST_REST_SECONDS)
