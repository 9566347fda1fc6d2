"""Circuits and failures of every model, counted where its turns end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from arena.circuit import Circuit, CircuitState, is_trouble
from arena.clock import now
from arena.store.engine import Database
from arena.store.tables import circuits, failures

_COLUMNS = [circuits.c[name] for name in Circuit.__slots__]


def note_answers(connection: Connection, models: Sequence[str]) -> None:
    """Remember, inside the transaction that ends a turn, that these models answered.

    Of models that did not fail lately, which is nearly always, nothing is written.
    """
    query = select(*_COLUMNS).where(circuits.c.model.in_(models), circuits.c.failing > 0)
    for circuit in _locked(connection, query):
        _save(connection, circuit.answered())


def note_failure(connection: Connection, model: str, error: str, retry_after: float | None) -> None:
    """Remember, inside the transaction that ends a turn, this kind of failure."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    first = dialect.insert(failures).values(model=model, error=error, number=1)
    connection.execute(
        first.on_conflict_do_update(
            index_elements=[failures.c.model, failures.c.error],
            set_={"number": failures.c.number + 1},
        )
    )
    if not is_trouble(error):
        return
    fresh = dialect.insert(circuits).values(asdict(Circuit(model)))
    connection.execute(fresh.on_conflict_do_nothing())
    query = select(*_COLUMNS).where(circuits.c.model == model)
    for circuit in _locked(connection, query):
        _save(connection, circuit.failed(error, now(), retry_after))


class SqlCircuits:
    """`interfaces.CircuitStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def all(self) -> list[Circuit]:
        with self._db.look() as connection:
            rows = connection.execute(select(*_COLUMNS).order_by(circuits.c.model))
            return [_circuit(row) for row in rows]

    def failures(self) -> dict[tuple[str, str], int]:
        query = select(failures.c.model, failures.c.error, failures.c.number)
        with self._db.look() as connection:
            return {(row.model, row.error): row.number for row in connection.execute(query)}

    def begin_probe(self, seen: Circuit) -> Circuit | None:
        return self._change(_as(seen), Circuit.probing)

    def end_probe(
        self, probe: Circuit, error: str | None, retry_after: float | None = None
    ) -> bool:
        at = now()
        changed = self._change(_as(probe), lambda one: one.probed(error, at, retry_after))
        return changed is not None

    def close(self, model: str) -> bool:
        return self._change(circuits.c.model == model, Circuit.close) is not None

    def _change(
        self, which: ColumnElement[bool], change: Callable[[Circuit], Circuit]
    ) -> Circuit | None:
        """Change one circuit that is not closed; None when there is no such."""
        query = select(*_COLUMNS).where(which, circuits.c.state != CircuitState.closed)
        with self._db.write() as connection:
            for circuit in _locked(connection, query):
                return _save(connection, change(circuit))
        return None


def _as(seen: Circuit) -> ColumnElement[bool]:
    """The circuit, if nobody has begun or ended a probe since it was seen."""
    return and_(
        circuits.c.model == seen.model,
        circuits.c.state == seen.state,
        circuits.c.probes == seen.probes,
    )


def _locked(connection: Connection, query: Select[Any]) -> list[Circuit]:
    """What is found, in one order and kept from others, so that no change of theirs is lost."""
    rows = connection.execute(query.order_by(circuits.c.model).with_for_update()).all()
    return [_circuit(row) for row in rows]


def _save(connection: Connection, circuit: Circuit) -> Circuit:
    here = update(circuits).where(circuits.c.model == circuit.model)
    connection.execute(here.values(asdict(circuit)))
    return circuit


def _circuit(row: Row[Any]) -> Circuit:
    return Circuit(**{**row._mapping, "state": CircuitState(row.state)})
