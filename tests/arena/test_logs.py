"""Log lines: two forms of the same, and nothing in them that somebody else said."""

from __future__ import annotations

import io
import json
import logging
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from arena import logs
from arena.errors import EndpointBroken, Unavailable

SECRET = "what-a-voter-wrote"  # noqa: S105  it is none

log = logging.getLogger("arena.tests")


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What was written to stderr since it was asked for last; logging is as before afterwards."""
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    handlers, level = root.handlers[:], root.level
    logs.clear()  # what an earlier test of this thread left
    yield lambda: capsys.readouterr().err
    logging.captureWarnings(False)
    root.handlers[:], (sys.excepthook, threading.excepthook) = handlers, hooks
    root.setLevel(level)


def test_a_line_is_an_object_with_the_fields_of_its_context(written: Callable[[], str]) -> None:
    logs.configure("INFO", "json", "runner")
    with logs.bound(request_id="r1", battle="b1"):
        log.info("took %d\nof them", 2, extra={"fields": {"model": "m1"}})
    log.info("later")
    first, second = map(json.loads, written().splitlines())
    said = {"level": "info", "process": "runner", "message": "took 2\nof them", "model": "m1"}
    assert first.items() >= (said | {"request_id": "r1", "battle": "b1"}).items()
    assert "request_id" not in second


def test_a_message_cannot_forge_a_line_of_text(written: Callable[[], str]) -> None:
    logs.configure("INFO", "text", "web")
    log.info("one\nERROR arena: two\r")
    assert written() == "INFO arena.tests: one\\nERROR arena: two\\r\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_choice_it_is_json_where_nobody_looks() -> None:
    assert logs.resolved(None, io.StringIO()) == "json"
    assert logs.resolved(None, Terminal()) == "text"
    assert logs.resolved("json", Terminal()) == "json"


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("error", [ValueError, KeyError, EndpointBroken, RuntimeError])
def test_an_exception_is_told_without_its_message(
    written: Callable[[], str], form: str, error: type[Exception]
) -> None:
    logs.configure("INFO", form, "web")
    try:
        try:
            raise error(SECRET)
        except error as cause:
            raise RuntimeError(f"could not do {SECRET}") from cause
    except RuntimeError:
        log.exception("it fails")
    text = written()
    assert SECRET not in text
    assert error.__name__ in text
    assert "test_logs.py" in text
    assert text.index(error.__name__) < text.rindex("RuntimeError")


@pytest.mark.parametrize(
    "error",
    [Unavailable("The database is away."), sqlite3.OperationalError("The database is away.")],
)
def test_our_own_and_the_systems_sentences_are_told(
    written: Callable[[], str], error: Exception
) -> None:
    logs.configure("INFO", "json", "web")
    log.error("it fails", exc_info=error)
    assert json.loads(written())["error"][-1].endswith(": The database is away.")


def test_what_nobody_catches_is_told_alike(written: Callable[[], str]) -> None:
    logs.configure("INFO", "json", "worker")

    def fails() -> None:
        raise ValueError(SECRET)

    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()
    try:
        fails()
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    text = written()
    objects = [json.loads(line) for line in text.splitlines()]
    assert [one["level"] for one in objects] == ["critical"] * 2
    assert all("ValueError" in one["error"][-1] for one in objects)
    assert SECRET not in text


def test_lines_of_other_programs_become_objects_and_ours_stay() -> None:
    wrapped = json.loads(logs.as_json("eliza", 'listening {"on": 1}'))
    assert (wrapped["process"], wrapped["message"]) == ("eliza", 'listening {"on": 1}')
    ours = logs.json_line("web", "hello")
    assert logs.as_json("web", ours) == ours


def test_another_thread_keeps_the_fields_it_was_given(written: Callable[[], str]) -> None:
    logs.configure("INFO", "json", "runner")
    with logs.bound(request_id="r1"):
        context = logs.context(battle="b1")
    thread = threading.Thread(target=context.copy().run, args=(log.info, "there"))
    thread.start()
    thread.join()
    assert json.loads(written()).items() >= {"request_id": "r1", "battle": "b1"}.items()
    assert logs.request_id() is None
