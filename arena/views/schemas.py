"""Shapes of request bodies and answers, for parsing and for the OpenAPI document."""

from __future__ import annotations

import json
from typing import Annotated, Any, NoReturn, TypeVar

from flask import request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from arena.battle import Grade
from arena.errors import InvalidField, MalformedRequest

GradeValue = Annotated[
    Grade,
    BeforeValidator(Grade.parse),
    WithJsonSchema(
        {"enum": [*(g.value for g in Grade), *(g.name for g in Grade)], "title": "Grade"}
    ),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewBattle(_Body):
    """A prompt for two models drawn at random."""

    prompt: str
    campaign: str | None = Field(None, description="Default: the open campaign.")
    redraw_of: str | None = Field(None, description="Your void battle that is tried again.")


class NewTurn(_Body):
    """A follow-up prompt for both models."""

    prompt: str


class Vote(_Body):
    """A grade on the five-step scale."""

    grade: GradeValue
    both_bad: bool = Field(False, description="Only with grade 0.")
    reasons: list[str] = Field(default_factory=list, max_length=10)
    comment: str | None = None


class Report(_Body):
    """What is wrong with an answer."""

    reason: str | None = None


class TurnView(BaseModel):
    """One prompt; the answers are given once both are complete."""

    turn: int
    state: str
    prompt: str
    answer_a: str | None = None
    answer_b: str | None = None
    finish_a: str | None = None
    finish_b: str | None = None


class BattleView(BaseModel):
    """The blind projection of a battle; after the vote also grade, names and receipt."""

    id: str
    campaign: str
    state: str
    turn: int
    created_at: str
    events: str
    turns: list[TurnView]
    void_reason: str | None = None


class RevealView(BaseModel):
    """What the committed vote reveals."""

    grade: int
    both_bad: bool
    model_a: str
    model_b: str
    about_a: dict[str, str]
    about_b: dict[str, str]
    receipt: str


class BoardRow(BaseModel):
    """One model. Ratings on the Elo scale; null bounds are infinite, null ratings not known."""

    model: str
    name: str
    organization: str
    license: str
    link: str
    rank: int | None
    rank_lower: int | None
    rank_upper: int | None
    rating: float | None
    rating_lower: float | None
    rating_upper: float | None
    votes: int
    wins: int
    losses: int
    ties: int
    grades: list[int]
    component: int | None


class BoardView(BaseModel):
    """One published board: a pure function of a log prefix and a configuration."""

    log_position: int
    method: str
    config: dict[str, Any]
    config_hash: str
    published_at: str
    campaign: str
    category: str
    rows: list[BoardRow]


class ProblemView(BaseModel):
    """A refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None


B = TypeVar("B", bound=BaseModel)


def read_body(shape: type[B]) -> B:
    """The request's JSON body.

    Raises `MalformedRequest` when it is not UTF-8 JSON, `InvalidField` when it has another shape.
    An absent body is an empty object.
    """
    raw = request.get_data()
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_no_constant) if raw else {}
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise MalformedRequest("The body must be JSON in UTF-8.") from error
    if not isinstance(body, dict):
        raise InvalidField("The body must be a JSON object.")
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidField(f"'{field}': {first['msg']}.", field=field) from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def whole_number(name: str, default: int) -> int:
    """A query parameter that must be a whole number from 0; raises `InvalidField`."""
    text = request.args.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 18):  # noqa: PLR2004  64 bits
        raise InvalidField(f"'{name}' must be a whole number from 0.", field=name)
    return int(text)
