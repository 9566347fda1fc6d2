"""Who can be asked: `arena.toml` read into SQL, and the draw of a pair.

The roster's truth is SQL; every change is a new revision and the old ones are kept.
"""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from arena.errors import BadFile, NoModels
from arena.interfaces import ModelEntry, RosterRevision, RosterStore

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
    return [
        entry.id
        for entry in revision.entries
        if entry.state == "active" and (not entry.campaigns or campaign in entry.campaigns)
    ]


def known(history: Sequence[RosterRevision]) -> dict[str, ModelEntry]:
    """Every model that ever stood in the roster, as it was described last."""
    return {entry.id: entry for revision in history for entry in revision.entries}


def public(history: Sequence[RosterRevision]) -> list[dict[str, Any]]:
    """Every model as anyone may know it, with the times of its entry and (if so) retirement."""
    models: dict[str, dict[str, Any]] = {}
    for revision in history:
        playing = {entry.id for entry in revision.entries if entry.state == "active"}
        for entry in revision.entries:
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
    operator's models as they are: it may only be that this is another folder.
    Raises `BadFile`, with nothing changed.
    """
    return store.replace(merged(store.current(), config, demo), at)


def merged(
    current: RosterRevision, config: Path, demo: Sequence[ModelEntry] | None = None
) -> list[ModelEntry]:
    """The roster that `refresh` would make of the current one; raises `BadFile`."""
    if demo is None:
        demo = [entry for entry in current.entries if is_demo(entry)]
    own = [entry for entry in current.entries if not is_demo(entry)]
    entries = [*demo, *(read(config) if config.exists() else own)]
    taken = {entry.id for entry in demo} & {entry.id for entry in entries[len(demo) :]}
    if taken:
        problem = f"the id '{min(taken)}' is one of the demo's models; choose another"
        raise BadFile(problem, file=str(config), field="id")
    twice = {e.id for e in entries if sum(other.id == e.id for other in entries) > 1}
    if twice:
        raise BadFile(f"the id '{min(twice)}' is used twice", file=str(config), field="id")
    return entries


def read(config: Path) -> list[ModelEntry]:
    """The `[[models]]` of an `arena.toml`; raises `BadFile` naming the entry and field."""
    try:
        document = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadFile(f"cannot be read: {error}", file=str(config)) from error
    tables = document.get("models", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise BadFile("write each model as its own [[models]] table", file=str(config))
    return [_entry(table, str(config), row) for row, table in enumerate(tables, 1)]


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


_KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "parameters": (_is_json_table, "a table of values that JSON has"),
    "modalities": (_is_words, "a list of words"),
    "campaigns": (_is_words, "a list of campaign ids"),
}
_REQUIRED = ("id", "base_url", "model")


def _entry(table: dict[str, Any], file: str, row: int) -> ModelEntry:
    names = {field.name for field in fields(ModelEntry)}
    for name, value in table.items():
        if name not in names:
            raise BadFile(
                f"is not known; known are {', '.join(sorted(names))}",
                file=file,
                row=row,
                field=name,
            )
        fits, words = _KINDS.get(name, (_is_text, "text in quotes"))
        if not fits(value):
            raise BadFile(f"must be {words}", file=file, row=row, field=name)
    for name in _REQUIRED:
        if not table.get(name, "").strip():
            raise BadFile("is missing", file=file, row=row, field=name)
    _check_address(table["base_url"], file, row)
    if table.get("state", "active") not in STATES:
        raise BadFile(f"must be one of {', '.join(STATES)}", file=file, row=row, field="state")
    for name in ("modalities", "campaigns"):
        if name in table:
            table[name] = tuple(table[name])
    return ModelEntry(**{"name": table["id"], **table})


def _check_address(base_url: str, file: str, row: int) -> None:
    address = urlsplit(base_url)
    if address.scheme not in ("http", "https"):
        raise BadFile("must begin with http:// or https://", file=file, row=row, field="base_url")
    if address.username or address.password:
        raise BadFile(
            "must not hold a password; name a variable in api_key_env",
            file=file,
            row=row,
            field="base_url",
        )
