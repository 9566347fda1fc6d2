"""How our processes log: one event a line on stderr, for people or for programs.

A line never holds prompt text, keys or addresses of voters. So the message of an exception is
shown only where it is one of our own sentences or the system's: others may quote what they choked
on. Fields that `bound` has set stand in every line of their context, so that one search for a
request's or battle's id finds its way through all processes.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from arena.errors import BadSetting, LeaseLost, LiveLost, Unavailable

TEXT, JSON = "text", "json"

_TALKATIVE = ("alembic", "httpx", "httpcore")
_OURS_OR_THE_SYSTEMS = (BadSetting, LeaseLost, LiveLost, Unavailable, sqlite3.Error)

_fields: ContextVar[Mapping[str, Any]] = ContextVar("arena_log_fields", default={})  # noqa: B039  a Mapping is never changed


# --- what lines are about -----------------------------------------------------------------------


def bind(**fields: Any) -> None:
    """Let all later lines of this context have these fields; None takes one away."""
    merged = {**_fields.get(), **fields}
    _fields.set({name: value for name, value in merged.items() if value is not None})


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """As `bind`, to the end of the block."""
    before = _fields.get()
    bind(**fields)
    try:
        yield
    finally:
        _fields.set(before)


def clear() -> None:
    """Let later lines of this context have no fields."""
    _fields.set({})


def context(**fields: Any) -> Context:
    """A copy of the current context, for other threads, in which lines also have these fields."""
    copied = copy_context()
    copied.run(bind, **fields)
    return copied


def request_id() -> str | None:
    """The id of the request that this context works for."""
    found: str | None = _fields.get().get("request_id")
    return found


# --- lines --------------------------------------------------------------------------------------


def resolved(form: str | None, stream: TextIO) -> str:
    """The form that was chosen, else text on a terminal and JSON elsewhere."""
    return form or (TEXT if stream.isatty() else JSON)


def configure(level: str, form: str | None, process: str) -> None:
    """Log from `level` up, in this form; libraries only when something is wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines(process) if resolved(form, sys.stderr) == JSON else _Text())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(
        args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
    )


def json_line(process: str, message: str, level: str = "info", **fields: Any) -> str:
    """One line of the JSON form. The fields that are always there come first."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"time": now, "level": level, "process": process, "message": message, **fields}
    return json.dumps(line, ensure_ascii=False, default=str)


def as_json(process: str, line: str) -> str:
    """A line of another program as one of ours; one of ours as it is."""
    return line if line.startswith('{"time": ') else json_line(process, line)


class _Lines(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        return json_line(
            self._process,
            record.getMessage(),
            record.levelname.lower(),
            logger=record.name,
            pid=record.process,
            **_fields_of(record),
            **({} if error is None else {"error": _told(error)}),
        )


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _fields_of(record).items())
        line = f"{record.levelname} {record.name}: {record.getMessage()}{fields}"
        lines = [line.replace("\r", "\\r").replace("\n", "\\n")]  # no message can forge a line
        if record.exc_info and record.exc_info[1]:
            lines += [f"  {part}" for part in _told(record.exc_info[1])]
        return "\n".join(lines)


def _fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    return {**_fields.get(), **getattr(record, "fields", {})}


def _told(error: BaseException) -> list[str]:
    """The frames and kind of an exception, its cause first."""
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    lines = [] if earlier is None else _told(earlier)
    frames = traceback.extract_tb(error.__traceback__)
    lines += [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    said = _sentence(error)
    return [*lines, f"{kind}: {said}" if said else kind]


def _sentence(error: BaseException) -> str | None:
    if isinstance(error, _OURS_OR_THE_SYSTEMS):
        return str(error)
    return error.strerror if isinstance(error, OSError) else None


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("arena").critical("process %d fails", os.getpid(), exc_info=error)
