"""The operator's use-cases: who is in the roster, how the models do, what they cost.

Every change is a new revision of the roster, written together with its line in the audit log; it
holds until `arena.toml` itself changes. Battles that run go on with the models they have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from arena import roster
from arena.checkup import Checked, Checkup
from arena.circuit import Circuit, CircuitState
from arena.clock import now, today
from arena.errors import BadSetting, NotFound
from arena.interfaces import Act, AuditEntry, ModelEntry, RosterRevision, Store, Usage

_TEST = "models.test"
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class ModelLine:
    """One model as its operator sees it. `key` says whether the named variable is set here."""

    entry: ModelEntry
    key: bool | None
    today: Usage
    total: Usage
    tested_at: str | None
    ttft: float | None
    error: str | None
    circuit: Circuit

    @property
    def host(self) -> str:
        """Where it answers; of an address only what holds no secret."""
        return urlsplit(self.entry.base_url).netloc or self.entry.base_url

    @property
    def is_resting(self) -> bool:
        """Whether it is left alone after failures."""
        return self.circuit.state is not CircuitState.closed

    @property
    def is_demo(self) -> bool:
        return roster.is_demo(self.entry)

    @property
    def is_spent(self) -> bool:
        """Whether its budget of the day is used up."""
        budget = self.entry.daily_tokens
        return budget is not None and self.today.tokens >= budget

    @property
    def void_rate(self) -> float | None:
        """The share of its answers that failed."""
        asked = self.total.answers + self.total.failures
        return self.total.failures / asked if asked else None

    @property
    def mean_ttft(self) -> float | None:
        """Mean seconds to the first text in battles."""
        return self.total.ttft / self.total.answers if self.total.answers else None

    def cost(self, used: Usage) -> float | None:
        """Of so much use, in the currency of the price."""
        return None if self.entry.price is None else used.tokens * self.entry.price / _MILLION


class Operators:
    """The use-cases over a store. `environ` is looked at for the names of keys only."""

    def __init__(self, store: Store, checkup: Checkup, environ: Mapping[str, str]) -> None:
        self._store = store
        self._checkup = checkup
        self._environ = environ

    # --- looking ----------------------------------------------------------------------------

    def models(self) -> list[ModelLine]:
        """The roster, playing models first."""
        day, total = self._store.usage.of_day(today()), self._store.usage.total()
        last = self._store.audit.last(_TEST)
        circuits = {circuit.model: circuit for circuit in self._store.circuits.all()}
        lines = [
            self._line(
                entry,
                day.get(entry.id, Usage()),
                total.get(entry.id, Usage()),
                last,
                circuits.get(entry.id, Circuit(entry.id)),
            )
            for entry in self._store.roster.current().entries
        ]
        return sorted(lines, key=lambda line: line.entry.state != "active")

    def _line(
        self,
        entry: ModelEntry,
        day: Usage,
        total: Usage,
        last: AuditEntry | None,
        circuit: Circuit,
    ) -> ModelLine:
        told = {} if last is None else last.act.details
        ttft = told.get("answered", {}).get(entry.id)
        error = told.get("failed", {}).get(entry.id)
        return ModelLine(
            entry=entry,
            key=None if not entry.api_key_env else bool(self._environ.get(entry.api_key_env)),
            today=day,
            total=total,
            tested_at=last.act.at if last and (ttft is not None or error) else None,
            ttft=ttft,
            error=error,
            circuit=circuit,
        )

    def entry(self, model: str) -> ModelEntry:
        """A model of the current roster; raises `NotFound`."""
        return _entry(self._store.roster.current(), model)

    def revision(self) -> int:
        """The number of the current roster, which a change is made `after`."""
        return self._store.roster.current().revision

    # --- changing ---------------------------------------------------------------------------

    def add(self, table: Mapping[str, Any]) -> None:
        """Put a new model into the roster; raises `BadEntry` or `Conflict`."""
        entry = self._checked(table)
        current = self._store.roster.current()
        if any(other.id == entry.id for other in current.entries):
            raise roster.bad("id", "taken")
        self._replace(current.revision, [*current.entries, entry], "model.add", entry.id, table)

    def change(
        self, model: str, table: Mapping[str, Any], after: int, reason: str | None = None
    ) -> None:
        """Describe a model anew; what the table leaves out gets its default.

        The `reason`, as that of any change here, is published with it.
        Raises `NotFound`, `BadEntry`, and `Conflict` when the roster is no longer revision `after`.
        """
        current = self._store.roster.current()
        before = _entry(current, model)
        if roster.is_demo(before):
            raise NotFound("The demo's models come with the program and cannot be edited.")
        kept = {
            "id": model,
            "state": before.state,
            "protocol": before.protocol,
            "modalities": list(before.modalities),
        }
        entry = self._checked({**table, **kept})
        fresh = asdict(entry)
        details = {name: fresh[name] for name, old in asdict(before).items() if fresh[name] != old}
        entries = [entry if other is before else other for other in current.entries]
        self._replace(after, entries, "model.change", model, details, reason=reason)

    def retire(self, model: str, reason: str | None = None) -> None:
        """Draw it no more. Its votes, and battles that run, stay; raises `NotFound`, `Conflict`."""
        self._set_state(model, "retired", "model.retire", reason)

    def bring_back(self, model: str, reason: str | None = None) -> None:
        """Draw it again; raises `NotFound` or `Conflict`."""
        self._set_state(model, "active", "model.return", reason)

    def _set_state(self, model: str, state: str, act: str, reason: str | None) -> None:
        current = self._store.roster.current()
        before = _entry(current, model)
        entries = [
            replace(entry, state=state) if entry is before else entry for entry in current.entries
        ]
        self._replace(current.revision, entries, act, model, {}, reason=reason)

    def _checked(self, table: Mapping[str, Any]) -> ModelEntry:
        entry = roster.entry_of(table)
        try:
            self._checkup.build(entry)
        except BadSetting as error:
            raise roster.bad("parameters", "refused", why=str(error)) from error
        return entry

    def _replace(
        self,
        after: int,
        entries: list[ModelEntry],
        act: str,
        model: str,
        details: Mapping[str, Any],
        *,
        reason: str | None = None,
    ) -> None:
        at = now()
        told = {} if reason is None else {"reason": reason}
        done = Act(at, act, model, {**details, **told})
        self._store.roster.replace(entries, at, after=after, act=done, reason=reason)

    # --- testing ----------------------------------------------------------------------------

    def test(self) -> Iterator[Checked]:
        """Ask every playing model one short question; results as they come.

        Those that answer rest no longer. The last results are kept in the audit log.
        """
        playing = [e for e in self._store.roster.current().entries if e.state == "active"]
        answered, failed = {}, {}
        for checked in self._checkup.ask_all(playing):
            if checked.error is None:
                answered[checked.model] = checked.ttft
                self._store.circuits.close(checked.model)
            else:
                failed[checked.model] = checked.error
            yield checked
        details = {"answered": answered, "failed": failed}
        self._store.audit.add(Act(now(), _TEST, details=details))


def _entry(revision: RosterRevision, model: str) -> ModelEntry:
    for entry in revision.entries:
        if entry.id == model:
            return entry
    raise NotFound("There is no such model in the roster.", field="model")
