"""The circuit breaker at work: who rests now, and the probes that end a rest.

The state is in SQL and the rules in `arena.circuit`. The circuit-breaker libraries (pybreaker,
purgatory, aiobreaker) decide in the process that makes the call, with a wall clock, and let the
next caller be the probe. Here one process calls and others draw, and a probe must not be a voter.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

from arena.checkup import Checkup
from arena.circuit import Circuit, CircuitState
from arena.errors import Unavailable
from arena.interfaces import CircuitStore, ModelEntry, Store

_log = logging.getLogger(__name__)

_KNOWN_SECONDS = 1.0
_LOOK_SECONDS = 1.0


class Resting:
    """The models that are not to be drawn, as a web process knows them: from a second ago."""

    def __init__(self, circuits: CircuitStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._circuits = circuits
        self._clock = clock
        self._known: tuple[float, frozenset[str]] | None = None

    def models(self) -> frozenset[str]:
        """Their ids; raises `Unavailable`."""
        known, now = self._known, self._clock()
        if known is None or now - known[0] >= _KNOWN_SECONDS:
            resting = frozenset(circuit.model for circuit in _not_closed(self._circuits))
            self._known = known = (now, resting)
        return known[1]


def _not_closed(circuits: CircuitStore) -> list[Circuit]:
    return [circuit for circuit in circuits.all() if circuit.state is not CircuitState.closed]


class Prober:
    """Asks models whose rest is over one question; those that answer may be drawn again.

    Every runner has one; of them all, one asks. A probe that nobody ended, because its runner
    died, is over after the rest and `patience`, the longest that an answer may take.
    """

    def __init__(
        self,
        store: Store,
        checkup: Checkup,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._checkup = checkup
        self._patience = patience
        self._clock = clock
        self._since: dict[tuple[str, CircuitState, int], float] = {}
        self._stop = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Probe until `stop` is set; a question that is under way then is not waited for."""
        self._stop = stop
        while not stop.wait(_LOOK_SECONDS):
            try:
                for entry, circuit in self.begun():
                    threading.Thread(
                        target=self._end, args=(entry, circuit), name="probe", daemon=True
                    ).start()
            except Unavailable as error:
                _log.warning("cannot look after resting models: %s", error)

    def begun(self) -> Iterator[tuple[ModelEntry, Circuit]]:
        """Begin the probes that are due."""
        due = list(self._due())
        if not due:
            return
        playing = {
            entry.id: entry
            for entry in self._store.roster.current().entries
            if entry.state == "active"
        }
        for circuit in due:
            if circuit.model in playing:
                probe = self._store.circuits.begin_probe(circuit)
                if probe is not None:
                    yield playing[circuit.model], probe

    def end(self, entry: ModelEntry, probe: Circuit) -> None:
        """Ask, and say how it went."""
        checked = self._checkup.ask(entry)
        if self._stop.is_set():
            return
        if self._store.circuits.end_probe(probe, checked.kind, checked.retry_after):
            _log.info("probe of %s: %s", entry.id, checked.kind or "it answers again")

    def _end(self, entry: ModelEntry, probe: Circuit) -> None:
        try:
            self.end(entry, probe)
        except Exception:  # noqa: BLE001  another probe follows; nobody else would hear of this one
            _log.exception("the probe of %s came to nothing", entry.id)

    def _due(self) -> Iterator[Circuit]:
        now = self._clock()
        resting = {(c.model, c.state, c.probes): c for c in _not_closed(self._store.circuits)}
        self._since = {key: self._since.get(key, now) for key in resting}
        for key, circuit in resting.items():
            probing = circuit.state is CircuitState.half_open
            if now - self._since[key] >= circuit.rest + (self._patience if probing else 0.0):
                yield circuit
