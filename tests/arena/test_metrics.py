"""Metrics of several processes in one folder: the living, the dead, and those that never shared."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services import ROOT

# A process that counts what it is told to on its input, and answers with the metrics of all.
COUNTER = """
import sys
from pathlib import Path
from arena import metrics
metrics.share(Path(sys.argv[1]), sys.argv[2])
for line in sys.stdin:
    word = line.strip()
    if word == "tell":
        sys.stdout.write(metrics.exposition().decode() + "END\\n")
    elif word == "hold":
        metrics.TURNS_RUNNING.labels(sys.argv[2]).set(5)
    else:
        metrics.VOTES.labels(word).inc()
        metrics.FRAMES.labels(word).inc(2)
        metrics.TICK_LAG.labels(word).observe(0.02)
    sys.stdout.write("done\\n")
    sys.stdout.flush()
"""


class Counting:
    """One such process."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COUNTER, str(folder), kind],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def say(self, word: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        lines = []
        while (line := self.process.stdout.readline()) != "done\n":
            assert line, "it ended"
            lines.append(line)
        return "".join(lines)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def end(self) -> None:
        with self.process:
            pass


@contextmanager
def counting(folder: Path, *kinds: str) -> Iterator[list[Counting]]:
    processes = [Counting(folder, kind) for kind in kinds]
    try:
        for one in processes:
            one.say("begun")
        yield processes
    finally:
        for one in processes:
            if one.process.poll() is None:
                one.end()


def value(text: str, name: str) -> float:
    (found,) = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found)


def test_every_process_tells_the_sum_of_all(tmp_path: Path) -> None:
    with counting(tmp_path, "web", "web", "runner") as processes:
        for one in processes:
            one.say("cast")
        for teller in processes:
            text = teller.say("tell")
            assert value(text, 'arena_votes_total{outcome="cast"}') == 3
            assert value(text, 'arena_relay_frames_total{process="cast"}') == 6
            assert value(text, 'arena_relay_tick_lag_seconds_count{process="cast"}') == 3


def test_what_the_killed_had_counted_stays_and_what_they_held_goes(tmp_path: Path) -> None:
    with counting(tmp_path, "web", "runner", "runner") as (web, first, second):
        for one in (first, second):
            one.say("cast")
            one.say("hold")
        assert value(web.say("tell"), 'arena_turns_running{process="runner"}') == 10
        first.kill()
        for _ in range(2):
            text = web.say("tell")
            assert value(text, 'arena_votes_total{outcome="cast"}') == 2
            assert value(text, 'arena_relay_tick_lag_seconds_count{process="cast"}') == 2
            assert value(text, 'arena_relay_tick_lag_seconds_sum{process="cast"}') == 0.04
            assert value(text, 'arena_turns_running{process="runner"}') == 5
        assert len(re.findall("arena_process_open_fds{", text)) == 2
        second.kill()
        assert value(web.say("tell"), 'arena_votes_total{outcome="cast"}') == 2
        assert len(list(tmp_path.glob("*.db"))) <= 5, "files of the dead do not pile up"


def test_after_a_full_stop_counting_starts_from_zero(tmp_path: Path) -> None:
    with counting(tmp_path, "web") as (web,):
        web.say("cast")
        web.kill()
    with counting(tmp_path, "web") as (web,):
        assert 'outcome="cast"' not in web.say("tell")


def test_a_file_that_was_torn_hides_no_other(tmp_path: Path) -> None:
    with counting(tmp_path, "web", "runner") as (web, runner):
        web.say("cast")
        runner.say("cast")
        (torn,) = tmp_path.glob("counter_runner-*.db")
        runner.kill()
        content = bytearray(torn.read_bytes())
        content[8:12] = b"\xff\xff\xff\x7f"
        torn.write_bytes(content)
        for _ in range(2):
            assert value(web.say("tell"), 'arena_votes_total{outcome="cast"}') == 1


@pytest.mark.parametrize("kind", ["a file", "a file above"])
def test_without_a_folder_a_process_tells_of_itself(tmp_path: Path, kind: str) -> None:
    (tmp_path / "taken").write_text("")
    folder = tmp_path / "taken" / ("" if kind == "a file" else "deeper")
    with counting(folder, "web") as (web,):
        web.say("cast")
        assert value(web.say("tell"), 'arena_votes_total{outcome="cast"}') == 1
