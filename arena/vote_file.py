"""Vote files: anybody's votes as CSV, JSON Lines or Parquet, checked as they are read.

A file needs `model_a`, `model_b` and `grade` or `winner`; other columns may be there, and unknown
ones are ignored. Our own exports and published arena data sets are vote files. Where a record has
a `type` (exports have one), only votes are read.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import compress
from operator import eq
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn, TypeVar

from arena.battle import Grade
from arena.categories import imported_tag
from arena.clock import rfc3339
from arena.columns import Batch, Progress, open_table
from arena.errors import BadFile
from arena.records import Conversation

MAX_NAME = 200
"""Longest name of a model or a voter in characters."""

MAX_QUESTION = 200
"""Longest question in characters that is kept as it is."""

VOTER_KINDS = ("person", "judge", "import")

__all__ = [
    "MAX_NAME",
    "VOTER_KINDS",
    "Ballots",
    "Progress",
    "VoteRow",
    "read_ballots",
    "read_votes",
]

# pandas writes an integer column that has gaps as floats
_GRADES = {text: g for g in Grade for text in (g.name, f"{g.value}", f"{g.value}.0")}
_WINNERS = {
    "model_a": "model_a",
    "model_b": "model_b",
    "tie": "tie",
    "both_bad": "both_bad",
    "tie (bothbad)": "both_bad",  # LMSYS data sets
}
_FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}

# control characters, line separators, reversed writing, lone surrogates: each could forge a table
_UNFIT_FOR_NAMES = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_UNFIT_FOR_TEXT = re.compile("[\x00\ud800-\udfff]")
_EXACT_INTEGERS = 2**53
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_MAX_TURNS = 2**31 - 1
_MAX_DEPTH = 30
_SHOWN = 60
_REMEMBERED = 2**16
_MANY = 2**16

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class VoteRow:
    """One vote of a file. `row` counts from 1 at the first data row, blank lines included.

    `grade` is None where the file gives a winner only; `winner` is `model_a`, `model_b` or `tie`.
    `timestamp` is RFC 3339 UTC. `excluded_reason` is set on votes that do not count.
    `propensity` is the probability with which this ordered pair was drawn, above 0 and at most 1.
    `question` is the column `question_id`, else `prompt` (of a long text the SHA-256): votes with
    equal ones judge the same question.
    """

    row: int
    model_a: str
    model_b: str
    grade: int | None
    winner: str
    both_bad: bool
    voter: str | None = None
    voter_kind: str | None = None
    timestamp: str | None = None
    language: str | None = None
    category_tag: str | None = None
    turns: int | None = None
    propensity: float | None = None
    question: str | None = None
    reasons: tuple[str, ...] = ()
    comment: str | None = None
    conversation_a: Conversation | None = None
    conversation_b: Conversation | None = None
    excluded_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Ballots:
    """Consecutive votes that count, by column; all lists are equally long and mean what they mean
    in `VoteRow`. `columns` holds the optional ones that were asked for.
    """

    model_a: list[str]
    model_b: list[str]
    grade: list[int | None]
    winner: list[str]
    both_bad: list[bool]
    columns: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(self.model_a)

    def extend(self, other: Ballots) -> None:
        """Append the votes of `other`, which has the same columns."""
        self.model_a.extend(other.model_a)
        self.model_b.extend(other.model_b)
        self.grade.extend(other.grade)
        self.winner.extend(other.winner)
        self.both_bad.extend(other.both_bad)
        for name, column in self.columns.items():
            column.extend(other.columns[name])


def read_votes(path: Path, progress: Progress | None = None) -> Iterator[VoteRow]:
    """Read a `.csv`, `.jsonl` or `.parquet` file as a stream of votes, in the file's order.

    `progress` is told how many more bytes have been read, now and then and at the end.
    Raises `BadFile`, naming file, row and field, at the first thing that cannot be understood.
    """
    with open_table(path, progress or _silent) as table:
        _check_header(table.header, str(path))
        for number, fields in table.rows(_COLUMNS):
            if fields.get("type") in _VOTE_TYPES:
                yield _Row(str(path), number, fields).vote()


def read_ballots(
    path: Path, progress: Progress | None = None, columns: Sequence[str] = ()
) -> Iterator[Ballots]:
    """Read the votes that count as `read_votes` does, but by batches and many times faster.

    `columns` names the optional fields of `VoteRow` that are wanted (`voter`, `voter_kind`,
    `timestamp`, `language`, `category_tag`, `turns`, `propensity`, `question`). Only what is
    wanted is read and checked, so a file may hold unreadable conversations.
    Raises `BadFile` as `read_votes`.
    """
    checks = _Columns(str(path), sorted({*_ALWAYS, *columns}, key=[*_FIELDS].index))
    with open_table(path, progress or _silent) as table:
        _check_header(table.header, str(path))
        gathered = checks.none()
        for batch in table.batches(checks.sources):
            gathered.extend(checks.ballots(_votes_only(batch)))
            if len(gathered) >= _MANY:
                yield gathered
                gathered = checks.none()
        if len(gathered):
            yield gathered


def _silent(_: int) -> None:
    return None


def _check_header(header: Sequence[str] | None, file: str) -> None:
    if header is None:
        return
    for name in ("model_a", "model_b"):
        if name not in header:
            raise BadFile(
                "the file has no such column (of CSV the first line must name the columns)",
                file=file,
                field=name,
            )
    if "grade" not in header and "winner" not in header:
        raise BadFile("the file needs a column 'grade' or 'winner'", file=file)
    for name in _COLUMNS:
        if header.count(name) > 1:
            raise BadFile("the file has this column twice", file=file, field=name)


def _votes_only(batch: Batch) -> Batch:
    types = batch.columns.get("type", ())
    if sum(map(types.count, _VOTE_TYPES)) == len(types):
        return batch
    wanted = [kind in _VOTE_TYPES for kind in types]
    return Batch(
        list(compress(batch.numbers, wanted)),
        {name: list(compress(cells, wanted)) for name, cells in batch.columns.items()},
    )


# --- many rows ----------------------------------------------------------------------------------


class _Known(dict[Any, Any]):
    """Cells of one field that were seen before, with what the check made of them."""

    def __init__(self, field: _Field, file: str, sources: Sequence[str]) -> None:
        self.sources = sources
        self._has_numbers = False
        self._types: list[set[type]] = [set() for _ in sources]
        self._field = field
        self._file = file

    def check(self, batch: Batch) -> list[Any]:
        """The checked values of a batch.

        Raises `BadFile` for a bad cell, `TypeError` for one that cannot be remembered.
        """
        columns = [batch.columns[source] for source in self.sources]
        keys = columns[0] if len(columns) == 1 else zip(*columns, strict=True)
        values = list(map(self.__getitem__, keys))
        if self._has_numbers:  # 1, 1.0 and true are one key, but not equally good
            for types, cells in zip(self._types, columns, strict=True):
                types.update(map(type, cells))
                if len(types - {NoneType}) > 1:
                    raise TypeError
        return values

    def __missing__(self, key: Any) -> Any:
        cells = (key,) if len(self.sources) == 1 else key
        value = self._field.check(_Row(self._file, 0, dict(zip(self.sources, cells, strict=True))))
        if all(len(cell) <= MAX_QUESTION for cell in cells if isinstance(cell, str)):
            self._remember(key, value)
            self._has_numbers |= any(isinstance(cell, int | float) for cell in cells)
        return value

    def _remember(self, key: Any, value: Any) -> None:
        if len(self) >= _REMEMBERED:  # every vote may have a voter of its own
            self.clear()
        self[key] = value


class _Columns:
    """Checks whole columns by the rules of `_Row`, each distinct cell once.

    A batch with anything odd in it is checked again row by row: what is wrong, and where, is
    decided in one place only.
    """

    def __init__(self, file: str, names: Sequence[str]) -> None:
        self._file = file
        self._names = names
        self._known: dict[str, _Known] = {}
        self.sources = ("type", *(source for name in names for source in _FIELDS[name].sources))

    def none(self) -> Ballots:
        columns: dict[str, list[Any]] = {name: [] for name in self._names if name not in _ALWAYS}
        return Ballots([], [], [], [], [], columns)

    def ballots(self, batch: Batch) -> Ballots:
        values = self._at_once(batch) or self._one_by_one(batch)
        excluded = values.pop("excluded_reason")
        if excluded.count(None) < len(excluded):
            counts = [reason is None for reason in excluded]
            values = {name: list(compress(column, counts)) for name, column in values.items()}
        model_a, model_b = values.pop("model_a"), values.pop("model_b")
        results = values.pop("result")
        grade, winner, both_bad = ([result[part] for result in results] for part in range(3))
        return Ballots(model_a, model_b, grade, winner, both_bad, columns=values)

    def _at_once(self, batch: Batch) -> dict[str, list[Any]] | None:
        try:
            values = {name: self._column(name, batch) for name in self._names}
        except (BadFile, TypeError):
            return None
        return None if any(map(eq, values["model_a"], values["model_b"])) else values

    def _column(self, name: str, batch: Batch) -> list[Any]:
        field = _FIELDS[name]
        sources = [source for source in field.sources if source in batch.columns]
        if not sources:
            return [field.check(_Row(self._file, 0, {}))] * len(batch.numbers)
        if name not in self._known:
            self._known[name] = _Known(field, self._file, sources)
        return self._known[name].check(batch)

    def _one_by_one(self, batch: Batch) -> dict[str, list[Any]]:
        rows = [_Row(self._file, *row).values(self._names) for row in batch.rows()]
        return {name: [row[name] for row in rows] for name in self._names}


# --- one row ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """The fields of one row as they were found; empty CSV cells are absent, like JSON nulls."""

    file: str
    number: int
    fields: Mapping[str, Any]

    def vote(self) -> VoteRow:
        values = self.values(_FIELDS)
        grade, winner, both_bad = values.pop("result")
        return VoteRow(self.number, grade=grade, winner=winner, both_bad=both_bad, **values)

    def values(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: _FIELDS[name].check(self) for name in names}

    def refuse(self, field: str, problem: str) -> NoReturn:
        raise BadFile(problem, file=self.file, row=self.number, field=field)

    def model(self, field: str) -> str:
        value = self.fields.get(field)
        if value is None:
            self.refuse(field, "the model's name is missing")
        return self.name(field, value)

    def model_a(self) -> str:
        return self.model("model_a")

    def model_b(self) -> str:
        name = self.model("model_b")
        if name == self.fields.get("model_a"):
            self.refuse("model_b", f"{_shown(name)} is compared with itself")
        return name

    def name(self, field: str, value: object) -> str:
        if not isinstance(value, str):
            self.refuse(field, f"a name must be text, not {_shown(value)}")
        if not value or value != value.strip():
            self.refuse(field, "a name must not be empty, nor begin or end with a space")
        if len(value) > MAX_NAME:
            self.refuse(field, f"a name must have at most {MAX_NAME} characters")
        if _UNFIT_FOR_NAMES.search(value):
            self.refuse(field, f"the name {_shown(value)} has characters that cannot be shown")
        return value

    def result(self) -> tuple[int | None, str, bool]:
        """Grade, three-way winner and the flag `both_bad`, which must agree where given."""
        grade = self.choice("grade", _GRADES)
        named = self.choice("winner", _WINNERS)
        flag = self.choice("both_bad", _FLAGS)
        collapsed = "tie" if named == "both_bad" else named
        winner = collapsed if grade is None else grade.winner
        if winner is None:
            self.refuse("winner", "neither a grade nor a winner is given")
        if collapsed not in {None, winner}:
            self.refuse("winner", f"'{named}' contradicts the grade {grade}")
        both_bad = named == "both_bad" if flag is None else flag
        if both_bad != (named == "both_bad") and (winner != "tie" or not both_bad):
            self.refuse("both_bad", f"contradicts the winner '{named or winner}'")
        return None if grade is None else int(grade), winner, both_bad

    def choice(self, field: str, choices: Mapping[str, _T]) -> _T | None:
        value = self.fields.get(field)
        if value is None:
            return None
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if text not in choices:
            self.refuse(field, f"{_shown(value)} is not one of {', '.join(choices)}")
        return choices[text]

    def voter(self) -> str | None:
        value = self.fields.get("voter")
        if value is None:
            return None
        return self.name("voter", value if _whole(value) is None else str(_whole(value)))

    def voter_kind(self) -> str | None:
        kind = self.text("voter_kind")
        if kind not in {None, *VOTER_KINDS}:
            self.refuse("voter_kind", f"{_shown(kind)} is not one of {', '.join(VOTER_KINDS)}")
        return kind

    def text(self, field: str) -> str | None:
        value = self.fields.get(field)
        if value is None:
            return None
        if not isinstance(value, str):
            self.refuse(field, f"must be text, not {_shown(value)}")
        self.check_text(field, value)
        return value

    def category_tag(self) -> str | None:
        # published data sets keep an object of classifier results under this name
        value = self.fields.get("category_tag")
        return imported_tag(value) if isinstance(value, dict) else self.text("category_tag")

    def timestamp(self) -> str | None:
        """ISO 8601 (UTC where no offset is given) or seconds since 1970."""
        value = self.fields.get("timestamp")
        if value is None:
            return None
        try:
            if isinstance(value, str) and not _NUMBER.fullmatch(value):
                moment = datetime.fromisoformat(value)
                return rfc3339(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
            if not isinstance(value, bool):
                return rfc3339(datetime.fromtimestamp(float(value), UTC))
        except (TypeError, ValueError, OverflowError, OSError):
            pass
        self.refuse("timestamp", f"{_shown(value)} is not an ISO 8601 time")

    def turns(self) -> int | None:
        value = self.fields.get("turns")
        if value is None:
            return None
        number = _number(value)
        if number is None or not number.is_integer() or not 1 <= number <= _MAX_TURNS:
            self.refuse("turns", f"{_shown(value)} is not a number of turns")
        return int(number)

    def propensity(self) -> float | None:
        value = self.fields.get("propensity")
        if value is None:
            return None
        number = _number(value)
        if number is None or not 0 < number <= 1:
            self.refuse("propensity", f"{_shown(value)} is not a probability above 0")
        return number

    def question(self) -> str | None:
        """Text or a whole number; only ever compared, so any text will do."""
        field = "prompt" if self.fields.get("question_id") is None else "question_id"
        value = self.fields.get(field)
        if value is None or isinstance(value, list | dict):  # some keep conversations there
            return None
        text = value if isinstance(value, str) else _whole(value)
        if text is None:
            self.refuse(field, f"must be text or a whole number, not {_shown(value)}")
        return _brief(str(text))

    def reasons(self) -> tuple[str, ...]:
        value = self.json("reasons")
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.refuse("reasons", "must be a list of texts")
        for item in value:
            self.check_text("reasons", item)
        return tuple(value)

    def conversation(self, field: str) -> Conversation | None:
        value = self.json(field)
        if value is None:
            return None
        if not isinstance(value, list) or not all(
            isinstance(message, dict) and isinstance(message.get("role"), str) for message in value
        ):
            self.refuse(field, "must be a list of messages {role, content}")
        whole = [self.whole_message(field, message) for message in value]
        self.check_content(field, whole)
        return whole

    def whole_message(self, field: str, message: dict[str, Any]) -> dict[str, Any]:
        """A message of our Parquet export (`arena.parquet`) as it was; others as they are."""
        if message.keys() != {"role", "content", "json"}:
            return message
        if message["json"] is None:
            return {name: message[name] for name in ("role", "content")}
        try:
            whole = json.loads(message["json"])
        except (TypeError, ValueError, RecursionError):
            whole = None
        if not isinstance(whole, dict) or whole.get("role") != message["role"]:
            self.refuse(field, "has a message whose 'json' is not the message")
        return whole

    def json(self, field: str) -> Any:
        """A list as JSON has it, or as JSON inside a CSV cell."""
        value = self.fields.get(field)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            self.refuse(field, "is not valid JSON")

    def check_text(self, field: str, text: str) -> None:
        if _UNFIT_FOR_TEXT.search(text):
            self.refuse(field, "has a NUL character or half of a surrogate pair")

    def check_content(self, field: str, value: object, depth: int = 0) -> None:
        """Everything in a conversation must survive RFC 8785 JSON, which its digest is made of."""
        if depth > _MAX_DEPTH:
            self.refuse(field, "is nested too deeply")
        match value:
            case str():
                self.check_text(field, value)
            case dict():
                for key, item in value.items():
                    self.check_text(field, key)
                    self.check_content(field, item, depth + 1)
            case list():
                for item in value:
                    self.check_content(field, item, depth + 1)
            case float() if not math.isfinite(value):
                self.refuse(field, "has a number that JSON does not allow")
            case int() if abs(value) >= _EXACT_INTEGERS:
                self.refuse(field, "has an integer that JSON readers would round")
            case None | int() | float():
                pass
            case _:
                self.refuse(field, f"has {_shown(value)}, which JSON cannot say")


@dataclass(frozen=True, slots=True)
class _Field:
    """A checked value of a vote, and the columns that it is made of."""

    check: Callable[[_Row], Any]
    sources: tuple[str, ...]


def _text(name: str) -> _Field:
    return _Field(lambda row: row.text(name), (name,))


def _conversation(name: str) -> _Field:
    return _Field(lambda row: row.conversation(name), (name,))


_FIELDS = {
    "model_a": _Field(_Row.model_a, ("model_a",)),
    "model_b": _Field(_Row.model_b, ("model_b",)),
    "result": _Field(_Row.result, ("grade", "winner", "both_bad")),
    "voter": _Field(_Row.voter, ("voter",)),
    "voter_kind": _Field(_Row.voter_kind, ("voter_kind",)),
    "timestamp": _Field(_Row.timestamp, ("timestamp",)),
    "language": _text("language"),
    "category_tag": _Field(_Row.category_tag, ("category_tag",)),
    "turns": _Field(_Row.turns, ("turns",)),
    "propensity": _Field(_Row.propensity, ("propensity",)),
    "question": _Field(_Row.question, ("question_id", "prompt")),
    "reasons": _Field(_Row.reasons, ("reasons",)),
    "comment": _text("comment"),
    "conversation_a": _conversation("conversation_a"),
    "conversation_b": _conversation("conversation_b"),
    "excluded_reason": _Field(
        lambda row: row.text("excluded_reason") or None, ("excluded_reason",)
    ),
}
"""In the order in which they are checked."""

_ALWAYS = ("model_a", "model_b", "result", "excluded_reason")
_COLUMNS = ("type", *(source for field in _FIELDS.values() for source in field.sources))
_VOTE_TYPES = (None, "vote")


def _brief(text: str) -> str:
    if len(text) <= MAX_QUESTION:
        return text
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _whole(value: object) -> int | None:
    """The number of a column of integers; one with gaps may have become a column of floats."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def _number(value: object) -> float | None:
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _EXACT_INTEGERS else None


def _shown(value: object) -> str:
    text = (
        ascii(value) if isinstance(value, str) and _UNFIT_FOR_NAMES.search(value) else repr(value)
    )
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
