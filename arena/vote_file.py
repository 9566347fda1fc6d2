"""Vote files: anybody's votes as CSV or JSON Lines, read one by one and checked.

A file needs `model_a`, `model_b` and `grade` or `winner`; other columns may be there, and unknown
ones are ignored. Our own exports and published arena data sets are both vote files. Where a record
has a `type` (exports have one), only votes are read.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar

from arena.battle import Grade
from arena.clock import rfc3339
from arena.errors import BadFile
from arena.records import Conversation

Progress = Callable[[int], None]

MAX_LINE = 64 * 2**20
"""Longest line in bytes: a file without line ends must not fill the memory."""

MAX_CELL = 16 * 2**20
"""Longest CSV cell in characters; conversations are single cells."""

MAX_NAME = 200
"""Longest name of a model or a voter in characters."""

VOTER_KINDS = ("person", "judge", "import")

_PROGRESS_STEP = 2**18

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
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_MAX_DEPTH = 30
_SHOWN = 60

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class VoteRow:
    """One vote of a file. `row` counts from 1 at the first data row, blank lines included.

    `grade` is None where the file gives a winner only; `winner` is `model_a`, `model_b` or `tie`.
    `timestamp` is RFC 3339 UTC. `excluded_reason` is set on votes that do not count.
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
    reasons: tuple[str, ...] = ()
    comment: str | None = None
    conversation_a: Conversation | None = None
    conversation_b: Conversation | None = None
    excluded_reason: str | None = None


def read_votes(path: Path, progress: Progress | None = None) -> Iterator[VoteRow]:
    """Read a `.csv` or `.jsonl` file as a stream of votes, in the file's order.

    `progress` is told how many more bytes have been read, now and then and at the end.
    Raises `BadFile`, naming file, row and field, at the first thing that cannot be understood.
    """
    try:
        with path.open("rb") as file:
            read = _reader(path)
            for number, fields in read(_Lines(file, str(path), progress or _silent)):
                if fields.get("type", "vote") == "vote":
                    yield _Row(str(path), number, fields).vote()
    except OSError as error:
        raise BadFile(f"cannot be read: {error.strerror}", file=str(path)) from error


def _reader(path: Path) -> Callable[[_Lines], Iterator[tuple[int, dict[str, Any]]]]:
    match path.suffix.lower():
        case ".csv":
            return _read_csv
        case ".jsonl":
            return _read_jsonl
        case ".parquet":
            problem = "Parquet files are not available yet; use CSV or JSONL"
        case _:
            problem = "the name must end in .csv or .jsonl"
    raise BadFile(problem, file=str(path))


def _silent(_: int) -> None:
    return None


class _Lines:
    """The lines of a UTF-8 file. `number` is that of the last line read, from 1."""

    def __init__(self, file: BinaryIO, name: str, progress: Progress) -> None:
        self.name = name
        self.number = 0
        self._file = file
        self._progress = progress

    def __iter__(self) -> Iterator[str]:
        untold = 0
        while line := self._file.readline(MAX_LINE + 1):
            self.number += 1
            untold += len(line)
            if untold >= _PROGRESS_STEP:
                self._progress(untold)
                untold = 0
            yield self._decode(line)
        self._progress(untold)
        if self.number == 0:
            raise BadFile("the file is empty", file=self.name)

    def _decode(self, line: bytes) -> str:
        if len(line) > MAX_LINE:
            raise BadFile(f"line {self.number} is longer than {MAX_LINE} bytes", file=self.name)
        try:
            # a byte order mark is allowed at the very start only
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise BadFile(f"line {self.number} is not UTF-8 text", file=self.name) from error


# --- CSV ----------------------------------------------------------------------------------------


def _read_csv(lines: _Lines) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(MAX_CELL)  # the module's own limit is less than a long conversation
    records = csv.reader(lines, strict=True)
    header = _header(lines, records)
    number = 0
    while True:
        number += 1
        try:
            cells = next(records, None)
        except csv.Error as error:
            raise BadFile(f"not valid CSV: {error}", file=lines.name, row=number) from error
        if cells is None:
            return
        if not cells:
            continue
        if len(cells) != len(header):
            raise BadFile(
                f"{len(cells)} cells, but the header has {len(header)}",
                file=lines.name,
                row=number,
            )
        yield number, {name: cell for name, cell in zip(header, cells, strict=True) if cell}


def _header(lines: _Lines, records: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip() for name in next(records, [])]
    except csv.Error as error:
        raise BadFile(f"the header is not valid CSV: {error}", file=lines.name) from error
    for name in ("model_a", "model_b"):
        if name not in header:
            raise BadFile(
                "the header has no such column; the first line must name the columns",
                file=lines.name,
                field=name,
            )
    if "grade" not in header and "winner" not in header:
        raise BadFile("the header needs a column 'grade' or 'winner'", file=lines.name)
    for name in VoteRow.__slots__:
        if header.count(name) > 1:
            raise BadFile("the header has this column twice", file=lines.name, field=name)
    return header


# --- JSON Lines ---------------------------------------------------------------------------------


def _read_jsonl(lines: _Lines) -> Iterator[tuple[int, dict[str, Any]]]:
    for line in lines:
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            problem = error.msg if isinstance(error, json.JSONDecodeError) else "out of range"
            raise BadFile(
                f"not valid JSON: {problem}", file=lines.name, row=lines.number
            ) from error
        if not isinstance(fields, dict):
            raise BadFile("not a JSON object", file=lines.name, row=lines.number)
        yield lines.number, fields


# --- one row ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """The fields of one row as they were found; empty CSV cells are absent, like JSON nulls."""

    file: str
    number: int
    fields: dict[str, Any]

    def vote(self) -> VoteRow:
        model_a, model_b = self.model("model_a"), self.model("model_b")
        if model_a == model_b:
            self.refuse("model_b", f"{_shown(model_b)} is compared with itself")
        grade, winner, both_bad = self.result()
        return VoteRow(
            row=self.number,
            model_a=model_a,
            model_b=model_b,
            grade=grade,
            winner=winner,
            both_bad=both_bad,
            voter=self.voter(),
            voter_kind=self.voter_kind(),
            timestamp=self.timestamp(),
            language=self.text("language"),
            category_tag=self.category_tag(),
            reasons=self.reasons(),
            comment=self.text("comment"),
            conversation_a=self.conversation("conversation_a"),
            conversation_b=self.conversation("conversation_b"),
            excluded_reason=self.text("excluded_reason"),
        )

    def refuse(self, field: str, problem: str) -> NoReturn:
        raise BadFile(problem, file=self.file, row=self.number, field=field)

    def model(self, field: str) -> str:
        value = self.fields.get(field)
        if value is None:
            self.refuse(field, "the model's name is missing")
        return self.name(field, value)

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
        return self.name("voter", str(value) if type(value) is int else value)

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
        return (
            None if isinstance(self.fields.get("category_tag"), dict) else self.text("category_tag")
        )

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
        self.check_content(field, value)
        return value

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


def _shown(value: object) -> str:
    text = (
        ascii(value) if isinstance(value, str) and _UNFIT_FOR_NAMES.search(value) else repr(value)
    )
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
