"""The limit of open files: raised as far as the machine allows, and a warning when that is little."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from arena import open_files
from arena.redis_client import MAX_CONNECTIONS
from arena.settings import Settings
from arena.store.engine import MAX_OVERFLOW, MOST_CONNECTIONS, POOL_SIZE, Database
from arena.supervisor import web_command

ROOT = Path(__file__).parents[2]
SIZING = (ROOT / "docs" / "sizing.md").read_text("utf-8")


def in_a_process(soft: int, hard: int, code: str) -> str:
    """What the code prints in a process that begins with these limits."""
    limits = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
    done = subprocess.run(
        [sys.executable, "-c", limits + "from arena import open_files\n" + code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_limit_is_raised_to_what_the_machine_allows() -> None:
    code = "print(open_files.raise_limit(), open_files.resource.getrlimit(7))"
    assert resource.RLIMIT_NOFILE == 7
    assert in_a_process(256, 512, code) == "512 (512, 512)"


def test_a_limit_that_is_too_low_is_told_with_the_setting_and_the_way_out() -> None:
    said = in_a_process(256, 512, "print(open_files.shortage(600, 'ARENA_WEB_THREADS'))")
    assert "Only 512 files" in said
    assert "ARENA_WEB_THREADS may need 600" in said
    assert "LimitNOFILE" in said
    assert in_a_process(256, 512, "print(open_files.shortage(500, 'x'))") == "None"


@pytest.fixture
def settings() -> Settings:
    return Settings.from_environment({})


def test_what_is_needed_grows_with_the_settings(settings: Settings) -> None:
    more_threads = replace(settings, web_threads=settings.web_threads + 100)
    assert open_files.needed_by_web(more_threads) == open_files.needed_by_web(settings) + 100
    more_battles = replace(settings, runner_capacity=settings.runner_capacity + 100)
    assert open_files.needed_by_runner(more_battles) == open_files.needed_by_runner(settings) + 200


def test_the_web_keeps_a_connection_for_each_thread_and_more(settings: Settings) -> None:
    command = web_command(replace(settings, web_threads=2000))
    assert command[command.index("--worker-connections") + 1] == "3000"


def test_the_page_of_guidance_counts_as_the_program_does(settings: Settings) -> None:
    engine = Database("postgresql://nobody@/nowhere").engine
    assert engine.pool.size() == POOL_SIZE  # type: ignore[attr-defined]  # of a queue pool
    assert engine.pool._max_overflow == MAX_OVERFLOW  # type: ignore[attr-defined]
    figures = {
        "connections of a process to PostgreSQL": MOST_CONNECTIONS,
        "connections of a client to Redis": MAX_CONNECTIONS,
        "kept without a request": open_files.KEPT_ALIVE,
        "threads of a web process": settings.web_threads,
        "battles of a runner": settings.runner_capacity,
        "files of a web process": open_files.needed_by_web(settings),
        "files of a runner": open_files.needed_by_runner(settings),
    }
    for what, figure in figures.items():
        assert re.search(rf"^\| {what} +\| {figure:,} ", SIZING, re.MULTILINE), (what, figure)
