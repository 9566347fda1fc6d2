"""The operator's roster: how every model does, and who plays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from flask import Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from arena import roster
from arena.checkup import Checked
from arena.errors import BadEntry, InvalidField
from arena.interfaces import ModelEntry
from arena.views.admin import operator_blueprint, operator_page, plain
from arena.views.context import campaigns, services

blueprint = operator_blueprint("operator_models", __name__)

MOST_REASON = 200
"""Longest published reason, in characters."""

_LINES = "application/x-ndjson"
_TEXTS = ("name", "organization", "license", "link", "base_url", "model", "api_key_env")


@blueprint.get("/models")
def models() -> str:
    """Every model of the roster, with its health, its work and its cost."""
    lines = services().operators.models()
    return operator_page("admin/models.html", lines=lines, most_reason=MOST_REASON)


@blueprint.post("/models/test")
def test() -> AnyResponse:
    """Ask every playing model one question.

    A script that accepts lines of JSON gets each result as it comes; a form gets them all.
    """
    results = services().operators.test()
    if request.accept_mimetypes.best == _LINES:
        return Response(_told(results), mimetype=_LINES, headers={"X-Accel-Buffering": "no"})
    for _ in results:
        pass  # the test itself keeps them
    return _to_models()


def _told(results: Iterator[Checked]) -> Iterator[str]:
    for checked in results:
        told = {"model": checked.model, "ttft": checked.ttft, "error": checked.error}
        yield json.dumps(told, ensure_ascii=False) + "\n"


@blueprint.post("/models/retire")
def retire() -> AnyResponse:
    """Take a model out of the draw."""
    services().operators.retire(request.form.get("model", ""), _reason())
    return _to_models()


@blueprint.post("/models/return")
def bring_back() -> AnyResponse:
    """Put a retired model back into the draw."""
    services().operators.bring_back(request.form.get("model", ""), _reason())
    return _to_models()


def _reason() -> str | None:
    """What the operator lets the public know of why; None when nothing was written."""
    return plain(request.form.get("reason", ""))[:MOST_REASON] or None


def _to_models() -> AnyResponse:
    return redirect(url_for("operator_models.models"), 303)


# --- the form -----------------------------------------------------------------------------------


@blueprint.get("/models/new")
def blank() -> str:
    """The form of a new model."""
    return _form({}, model=None)


@blueprint.post("/models/new")
def add() -> AnyResponse | tuple[str, int]:
    """Put a new model into the roster; it plays at once."""
    try:
        services().operators.add({"id": request.form.get("id", "").strip(), **_table()})
    except BadEntry as error:
        return _form(_given(error), model=None, wrong=error), InvalidField.status
    return _to_models()


@blueprint.get("/models/edit")
def edit() -> str:
    """The form of a model in the roster."""
    entry = services().operators.entry(request.args.get("model", ""))
    return _form(_shown(entry), model=entry.id)


@blueprint.post("/models/edit")
def change() -> AnyResponse | tuple[str, int]:
    """Describe a model anew."""
    model, after = request.form.get("model_id", ""), request.form.get("revision", "")
    try:
        revision = int(after) if after.isdecimal() else -1
        services().operators.change(model, _table(), revision, _reason())
    except BadEntry as error:
        return _form(_given(error), model=model, wrong=error), InvalidField.status
    return _to_models()


def _form(values: dict[str, Any], *, model: str | None, wrong: BadEntry | None = None) -> str:
    found = services()
    return operator_page(
        "admin/model.html",
        values=values,
        model=model,
        wrong=wrong,
        revision=request.form.get("revision") or found.operators.revision(),
        campaigns=campaigns(),
        most_reason=MOST_REASON,
    )


def _table() -> dict[str, Any]:
    """The form's fields as a table of `arena.toml` would have them; raises `BadEntry`."""
    texts = {name: request.form.get(name, "").strip() for name in _TEXTS}
    table: dict[str, Any] = {name: text for name, text in texts.items() if text}
    if chosen := request.form.getlist("campaigns"):
        table["campaigns"] = chosen
    if parameters := request.form.get("parameters", "").strip():
        try:
            table["parameters"] = json.loads(parameters)
        except (ValueError, RecursionError) as error:
            raise roster.bad("parameters", "table") from error
    if price := request.form.get("price", "").strip():
        if not re.fullmatch(r"\d{1,9}(\.\d{1,6})?", price, re.ASCII):
            raise roster.bad("price", "price")
        table["price"] = float(price)
    if budget := request.form.get("daily_tokens", "").strip():
        if not re.fullmatch(r"\d{1,15}", budget, re.ASCII):
            raise roster.bad("daily_tokens", "count")
        table["daily_tokens"] = int(budget)
    return table


def _given(wrong: BadEntry) -> dict[str, Any]:
    """What was typed, to be put right; not into the field where a key may stand by mistake."""
    typed: dict[str, Any] = dict(request.form.items())
    typed["campaigns"] = request.form.getlist("campaigns")
    if wrong.problem == "variable":
        typed["api_key_env"] = ""
    return typed


def _shown(entry: ModelEntry) -> dict[str, Any]:
    texts = {name: getattr(entry, name) or "" for name in _TEXTS}
    parameters = json.dumps(entry.parameters, ensure_ascii=False, indent=2)
    return {
        **texts,
        "parameters": parameters if entry.parameters else "",
        "campaigns": entry.campaigns,
        "price": "" if entry.price is None else f"{entry.price:.6f}".rstrip("0").rstrip("."),
        "daily_tokens": entry.daily_tokens or "",
    }
