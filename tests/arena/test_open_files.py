"""The limit of open files is raised as far as it goes; the page of guidance counts as we do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from arena import open_files
from arena.settings import Settings
from arena.store.engine import MAX_OVERFLOW, POOL_SIZE, Database
from arena.supervisor import web_command

ROOT = Path(__file__).parents[2]
SIZING = (ROOT / "docs" / "sizing.md").read_text("utf-8")


CODE = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 512))
from arena import open_files
print(open_files.shortage(512, "ARENA_WEB_THREADS"))
print(open_files.shortage(513, "ARENA_WEB_THREADS"))
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_limit_is_raised_as_far_as_it_goes_and_one_too_low_is_told() -> None:
    said = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    enough, too_little, limits = said.stdout.splitlines()
    assert enough == "None"
    assert too_little.startswith("Only 512 files and sockets may be open at once")
    assert "ARENA_WEB_THREADS may need 513: raise LimitNOFILE" in too_little
    assert limits == "512 512"


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
        "connections of a process to PostgreSQL": open_files.MOST_TO_SQL,
        "connections of a client to Redis": open_files.MOST_TO_REDIS,
        "kept without a request": open_files.KEPT_ALIVE,
        "threads of a web process": settings.web_threads,
        "battles of a runner": settings.runner_capacity,
        "files of a web process": open_files.needed_by_web(settings),
        "files of a runner": open_files.needed_by_runner(settings),
    }
    for what, figure in figures.items():
        assert re.search(rf"^\| {what} +\| {figure:,} ", SIZING, re.MULTILINE), (what, figure)


ROW = re.compile(
    r"^\| ([\d,]+) \| (\d+) × (\d+).*? \| (?:(\d+) × (\d+)|1) "
    r"\| (\d+).*? \| (\d+).*? \| (\d+) (MB|GB) ",
    re.MULTILINE,
)


def test_every_row_of_the_guidance_obeys_its_own_formulas(settings: Settings) -> None:
    rows = ROW.findall(SIZING)
    assert len(rows) == 4
    for battles, webs, threads, runners, capacity, running, connections, memory, unit in rows:
        wanted = int(battles.replace(",", ""))
        processes, hands = int(webs), int(runners or 1)
        assert processes * (int(threads) - 20) >= 1.3 * wanted
        assert hands * int(capacity or settings.runner_capacity) >= 1.1 * wanted
        assert int(running) >= wanted
        # PostgreSQL keeps three for its superuser
        needed = open_files.MOST_TO_SQL * processes + 6 * hands + 3 * 2 + 5
        assert int(connections) - 3 >= needed - 3 * (wanted == 100)  # one worker there
        megabytes = int(memory) * (1000 if unit == "GB" else 1)
        assert megabytes * 1e6 >= 2 * wanted / 30 * settings.live_ttl_seconds * 14e3
