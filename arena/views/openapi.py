"""The OpenAPI document, collected from what each view says of itself with `@operation`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Blueprint, Flask, Response, current_app, jsonify
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from arena import __version__
from arena.errors import RequestError
from arena.views.schemas import DocumentView, ProblemView

PROBLEM_TYPE = "/api/docs#{slug}"
"""A problem's stable type is the place in the docs where it is explained."""

blueprint = Blueprint("openapi", __name__, url_prefix="/api")

F = TypeVar("F", bound=Callable[..., Any])
Shape = type[BaseModel] | str | tuple[str, ...] | None


@dataclass(frozen=True)
class Operation:
    """One call: answers by status (a shape, media types, or nothing), statuses of refusals.

    `gives` are the headers that every answer but a refusal has.
    """

    summary: str
    answers: Mapping[int, Shape]
    refusals: tuple[int, ...]
    body: type[BaseModel] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    gives: Mapping[str, str] = field(default_factory=dict)


_operations: dict[str, Operation] = {}


def operation(
    summary: str,
    *,
    answers: Mapping[int, Shape],
    refusals: tuple[int, ...],
    body: type[BaseModel] | None = None,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    gives: Mapping[str, str] | None = None,
) -> Callable[[F], F]:
    """Say in the OpenAPI document what the decorated view does."""

    def remember(view: F) -> F:
        _operations[f"{view.__module__}.{view.__name__}"] = Operation(
            summary, answers, refusals, body, query or {}, headers or {}, gives or {}
        )
        return view

    return remember


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the app."""
    paths: dict[str, dict[str, Any]] = {}
    shapes: set[type[BaseModel]] = {ProblemView}
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        said = _operations.get(f"{view.__module__}.{view.__name__}")
        if said is None:
            continue
        shapes |= {s for s in (*said.answers.values(), said.body) if isinstance(s, type)}
        path = rule.rule.replace("<", "{").replace(">", "}")
        for method in (rule.methods or set()) & {"GET", "POST", "DELETE"}:
            described = _describe(said, sorted(rule.arguments), _refusals(said, path))
            paths.setdefault(path, {})[method.lower()] = described
    _, schemas = models_json_schema(
        [(shape, "validation") for shape in sorted(shapes, key=lambda shape: shape.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Arena",
            "version": __version__,
            "description": "Blind battles, five-step votes, honest ratings. "
            "A voter is a signed cookie: keep it between calls.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas.get("$defs", {})},
        "x-problem-types": _problem_types(),
    }


def _problem_types() -> list[dict[str, Any]]:
    """Every `type` that a refusal may have, by status."""
    known = [(kind.status, kind.slug, kind.title) for kind in _kinds(RequestError)]
    known += [(405, "method-not-allowed", "Method Not Allowed")]
    known += [(500, "internal-error", "Internal error")]
    return [
        {"type": PROBLEM_TYPE.format(slug=slug), "title": title, "status": status}
        for status, slug, title in sorted(known)
    ]


def _kinds(kind: type[RequestError]) -> Iterator[type[RequestError]]:
    yield kind
    for special in kind.__subclasses__():
        yield from _kinds(special)


def _refusals(said: Operation, path: str) -> list[int]:
    """Its own, that an arena may be for invited people only, and that it may be asked too often."""
    everywhere = {HTTPStatus.FORBIDDEN.value, HTTPStatus.TOO_MANY_REQUESTS.value}
    general = everywhere if path.startswith("/api/") else set()
    return sorted({*said.refusals, *general} - said.answers.keys())


def _describe(
    said: Operation, path_arguments: list[str], refusals: Sequence[int]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": said.summary,
        "parameters": [
            *(_parameter(name, "path", "") for name in path_arguments),
            *(_parameter(name, "query", text) for name, text in said.query.items()),
            *(_parameter(name, "header", text) for name, text in said.headers.items()),
        ],
        "responses": {
            **{
                str(status): _response(status, shape, headers=said.gives)
                for status, shape in said.answers.items()
            },
            **{
                str(status): _response(status, ProblemView, media="application/problem+json")
                for status in refusals
            },
            "default": {
                **_response(400, ProblemView, media="application/problem+json"),
                "description": "Any other refusal",
            },
        },
    }
    if said.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _reference(said.body)}},
        }
    return described


def _parameter(name: str, place: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": text,
        "schema": {"type": "string"},
    }


def _response(
    status: int,
    shape: Shape,
    *,
    media: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    described: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if headers:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        }
    if isinstance(shape, type):
        described["content"] = {media: {"schema": _reference(shape)}}
    elif shape is not None:
        kinds = (shape,) if isinstance(shape, str) else shape
        described["content"] = {kind: {"schema": {"type": "string"}} for kind in kinds}
    return described


def _reference(shape: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


@blueprint.get("/openapi.json")
@operation("This document", answers={200: DocumentView}, refusals=())
def openapi() -> Response:
    return jsonify(document(current_app))
