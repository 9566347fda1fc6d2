"""Work that `arena up` lets another process do."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from arena.cli.processes import _apart

ROOT = Path(__file__).parents[2]


def test_work_done_apart_loads_nothing_here_and_gives_its_result() -> None:
    def work() -> str:
        os.environ["DONE_APART"] = "yes"
        return str(os.getpid())

    found = _apart(work)
    assert found is not None
    assert int(found) != os.getpid()
    assert "DONE_APART" not in os.environ


FAILING = """
from arena import logs
from arena.cli.processes import _apart

def deep():
    raise RuntimeError("the cause")

logs.configure("INFO", "text", "arena")
_apart(deep)
"""


def test_what_fails_apart_is_told_with_its_place() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "RuntimeError" in said
    assert "in deep" in said


def test_work_that_is_killed_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL), pytest.raises(SystemExit) as ended:
        _apart(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert ended.value.code == 1
    assert "what prepares ended early, with status -9" in caplog.text
