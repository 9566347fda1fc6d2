"""Who can be asked: `arena.toml` read into SQL, and the draw of a pair.

The roster's truth is SQL; every change is a new revision and the old ones are kept.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from arena.errors import BadEntry, BadFile, NoModels
from arena.interfaces import ModelEntry, RosterRevision, RosterStore, Usage

STATES = ("active", "retired")
SAMPLING_RULE = "uniform"


@dataclass(frozen=True, slots=True)
class Draw:
    """An ordered pair and the probability with which exactly it was drawn."""

    model_a: str
    model_b: str
    propensity: float
    sampling_rule: str


def draw(models: Sequence[str], rng: random.Random) -> Draw:
    """Two different models, uniform over ordered pairs: 1 / (n · (n − 1)) each.

    Raises `NoModels` when there are fewer than two.
    """
    if len(models) < 2:  # noqa: PLR2004
        raise NoModels(
            "Fewer than two models are active in this campaign, so there is nothing to compare. "
            "The operator adds models in arena.toml.",
            retry_after=60,
        )
    model_a, model_b = rng.sample(list(models), 2)
    return Draw(model_a, model_b, 1 / (len(models) * (len(models) - 1)), SAMPLING_RULE)


def active(revision: RosterRevision, campaign: str) -> list[str]:
    """Ids of the models that may be drawn in a campaign, in roster order."""
    return [entry.id for entry in revision.entries if entry.plays_in(campaign)]


def spent(revision: RosterRevision, today: Mapping[str, Usage]) -> set[str]:
    """Ids of the models that have used up their budget of the day, of which this is the use."""
    return {
        entry.id
        for entry in revision.entries
        if entry.daily_tokens is not None
        and today.get(entry.id, _UNUSED).tokens >= entry.daily_tokens
    }


_UNUSED = Usage()


def has_budgets(revision: RosterRevision) -> bool:
    """Whether it matters what the models have written today."""
    return any(entry.daily_tokens is not None for entry in revision.entries)


def within_budget(models: Sequence[str], spent: Collection[str]) -> list[str]:
    """Those of the models that may be drawn today.

    Raises `NoModels` when the budgets leave fewer than two of them.
    """
    left = [model for model in models if model not in spent]
    if len(left) < 2 <= len(models):  # noqa: PLR2004
        raise NoModels(
            "Too few models are left for today: the others have used up their daily budget. "
            "They play again from midnight UTC on.",
            retry_after=_seconds_of_day_left(datetime.now(UTC)),
        )
    return left


def reachable(models: Sequence[str], resting: Collection[str]) -> list[str]:
    """Those of the models that do not rest after failures.

    Two may be left: every pair is then of these two, as in a campaign of two models, and the sides
    are drawn all the same. To give no battles then would let two broken endpoints stop the arena.
    Raises `NoModels` when fewer are left.
    """
    left = [model for model in models if model not in resting]
    if len(left) < 2 <= len(models):  # noqa: PLR2004
        raise NoModels(
            "Fewer than two models can be reached at this moment. They are asked again all the "
            "time; please come back in a minute.",
            retry_after=30,
        )
    return left


def _seconds_of_day_left(at: datetime) -> int:
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return math.ceil((midnight - at).total_seconds())


def known(history: Sequence[RosterRevision]) -> dict[str, ModelEntry]:
    """Every model that ever stood in the roster, as it was described last."""
    return {entry.id: entry for revision in history for entry in revision.entries}


def until(history: Sequence[RosterRevision], at: str) -> list[RosterRevision]:
    """The revisions that there were at this time."""
    return [revision for revision in history if revision.at <= at]


def public(history: Sequence[RosterRevision], campaigns: Set[str]) -> list[dict[str, Any]]:
    """The models as anyone may know them, with the times of entry and (if so) retirement.

    Known are those that play in one of these campaigns, and only from then on.
    """
    models: dict[str, dict[str, Any]] = {}
    for revision in history:
        seen = [e for e in revision.entries if not e.campaigns or campaigns & set(e.campaigns)]
        playing = {entry.id for entry in seen if entry.state == "active"}
        for entry in seen:
            about = {"id": entry.id, **entry.about(), "modalities": list(entry.modalities)}
            models.setdefault(entry.id, {"entered_at": revision.at}).update(about)
        for model, row in models.items():
            if model in playing:
                row["retired_at"] = None
            else:
                row["retired_at"] = row.get("retired_at") or revision.at
    return list(models.values())


def is_demo(entry: ModelEntry) -> bool:
    """Whether this machine itself runs the model for the demo."""
    return entry.base_url.startswith("demo:")


def refresh(
    store: RosterStore, config: Path, at: str, demo: Sequence[ModelEntry] | None = None
) -> RosterRevision:
    """Read `arena.toml` into SQL at time `at`.

    `demo` replaces the demo's own models; None leaves them as they are. An absent file leaves the
    operator's models as they are: it may only be that this is another folder. So does a file that
    is as it was: what the operator changed meanwhile holds until the file changes.
    Raises `BadFile`, with nothing changed.
    """
    current = store.current()
    return store.replace(merged(current, config, demo), at, file_digest=_digest(config))


def is_news(current: RosterRevision, config: Path) -> bool:
    """Whether `refresh` would find another file than the one that was read last."""
    return _digest(config) not in (None, current.file_digest)


def merged(
    current: RosterRevision, config: Path, demo: Sequence[ModelEntry] | None = None
) -> list[ModelEntry]:
    """The roster that `refresh` would make of the current one; raises `BadFile`."""
    there = [entry for entry in current.entries if is_demo(entry)]
    demo = there if demo is None else [_as_left(entry, there) for entry in demo]
    own = [entry for entry in current.entries if not is_demo(entry)]
    entries = [*demo, *(read(config) if is_news(current, config) else own)]
    taken = {entry.id for entry in demo} & {entry.id for entry in entries[len(demo) :]}
    if taken:
        problem = f"the id '{min(taken)}' is one of the demo's models; choose another"
        raise BadFile(problem, file=str(config), field="id")
    twice = {e.id for e in entries if sum(other.id == e.id for other in entries) > 1}
    if twice:
        raise BadFile(f"the id '{min(twice)}' is used twice", file=str(config), field="id")
    return entries


def _as_left(entry: ModelEntry, there: Sequence[ModelEntry]) -> ModelEntry:
    """A model of the demo, retired if the operator has retired it."""
    states = {one.id: one.state for one in there}
    return replace(entry, state=states.get(entry.id, entry.state))


def read(config: Path) -> list[ModelEntry]:
    """The `[[models]]` of an `arena.toml`; raises `BadFile` naming the entry and field."""
    entries = []
    for row, table in enumerate(_tables(config), 1):
        try:
            entries.append(entry_of(table))
        except BadEntry as error:
            raise BadFile(str(error), file=str(config), row=row, field=error.field) from error
    return entries


def _tables(config: Path) -> list[dict[str, Any]]:
    try:
        document = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadFile(f"cannot be read: {error}", file=str(config)) from error
    tables = document.get("models", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise BadFile("write each model as its own [[models]] table", file=str(config))
    return tables


def _digest(config: Path) -> str | None:
    """Of what the file says of its models (not how); None when there is no file."""
    if not config.exists():
        return None
    said = json.dumps(_tables(config), sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()


# --- what an entry must be ------------------------------------------------------------------


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_words(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_json_table(value: object) -> bool:
    """TOML also has dates and not-a-number, which no endpoint could be sent."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return isinstance(value, dict)


def _is_price(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf  # type: ignore[operator]  # a number


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


PROBLEMS = {
    "missing": "is missing",
    "unknown": "is not known; known are {known}",
    "text": "must be text in quotes",
    "table": "must be a table of values that JSON has",
    "words": "must be a list of words",
    "price": "must be a number from 0",
    "count": "must be a whole number from 1",
    "state": f"must be one of {', '.join(STATES)}",
    "scheme": "must begin with http:// or https://",
    "password": "must not hold a password; name a variable in api_key_env",
    "variable": "must be the name of an environment variable, in capital letters",
    "taken": "is the id of another model",
    "refused": "is refused: {why}",
}
"""What can be wrong with a field, and how a file's reader is told."""

_KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "parameters": (_is_json_table, "table"),
    "modalities": (_is_words, "words"),
    "campaigns": (_is_words, "words"),
    "price": (_is_price, "price"),
    "daily_tokens": (_is_count, "count"),
}
_REQUIRED = ("id", "base_url", "model")
_VARIABLE = re.compile("[A-Z_][A-Z0-9_]*")  # a key that was put there by mistake is none


def bad(field: str, problem: str, **values: str) -> BadEntry:
    """The error that says so."""
    return BadEntry(field, problem, PROBLEMS[problem].format(**values))


def entry_of(table: Mapping[str, Any]) -> ModelEntry:
    """The entry that a table of fields describes; raises `BadEntry`."""
    names = {field.name for field in fields(ModelEntry)}
    for name, value in table.items():
        if name not in names:
            raise bad(name, "unknown", known=", ".join(sorted(names)))
        fits, problem = _KINDS.get(name, (_is_text, "text"))
        if not fits(value):
            raise bad(name, problem)
    for name in _REQUIRED:
        if not table.get(name, "").strip():
            raise bad(name, "missing")
    _check_address(table["base_url"])
    if table.get("state", "active") not in STATES:
        raise bad("state", "state")
    if not _VARIABLE.fullmatch(table.get("api_key_env") or "NONE"):
        raise bad("api_key_env", "variable")
    lists = {name: tuple(table[name]) for name in ("modalities", "campaigns") if name in table}
    return ModelEntry(**{"name": table["id"], **table, **lists})


def _check_address(base_url: str) -> None:
    try:
        address = urlsplit(base_url)
    except ValueError as error:
        raise bad("base_url", "scheme") from error
    if address.scheme not in ("http", "https") or not address.netloc:
        raise bad("base_url", "scheme")
    if address.username or address.password:
        raise bad("base_url", "password")
