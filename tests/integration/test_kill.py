"""`kill -9` of each part in the middle of things: nothing acknowledged is lost or stuck."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.aftermath import expect_complete
from tests.services import ROOT, ArenaProcess, wait_until
from tests.upstream import roster, upstream, words
from tests.voter import Seen, Voter, patiently, voted_battle


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[ArenaProcess]:
    data = tmp_path / "data"
    data.mkdir()
    with upstream() as base_url:
        (data / "arena.toml").write_text(roster(base_url, ["quick", "quick", "quick"]))
        with ArenaProcess(data, "up", "--no-demo") as arena:
            arena.wait_ready()
            yield arena


@pytest.fixture
def slow_arena(tmp_path: Path) -> Iterator[ArenaProcess]:
    data = tmp_path / "data"
    data.mkdir()
    with upstream() as base_url:
        (data / "arena.toml").write_text(roster(base_url, ["steady", "steady"]))
        with ArenaProcess(data, "up", "--no-demo") as arena:
            arena.wait_ready()
            yield arena


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_votes_cast_while_the_web_is_killed_are_stored_once(arena: ArenaProcess) -> None:
    with ThreadPoolExecutor(6) as voters:
        votes = [voters.submit(voted_battle, arena.url, number % 5 - 2) for number in range(24)]
        for done in (6, 12, 18):
            wait_until(lambda: sum(vote.done() for vote in votes) >= done, 60, what="votes")  # noqa: B023 - called at once
            arena.kill("web")
        receipts = [vote.result(90) for vote in votes]
    assert len(set(receipts)) == 24
    expect_complete(arena.url, receipts)


def test_votes_cast_while_the_worker_is_killed_reach_the_board(arena: ArenaProcess) -> None:
    receipts = [voted_battle(arena.url, 2)]
    for grade in (1, -1, 0):
        wait_until(lambda: arena.pids("worker"), what="a living worker")
        arena.kill("worker")
        receipts.append(voted_battle(arena.url, grade))
    expect_complete(arena.url, receipts)


def test_a_battle_whose_runner_is_killed_becomes_void_and_the_next_one_runs(
    slow_arena: ArenaProcess,
) -> None:
    with Voter(slow_arena.url) as voter:
        battle, seen = voter.start(), Seen()
        events = voter.events(battle, seen)
        for _ in range(6):
            next(events)
        slow_arena.kill("runner")
        waiting = voter.start("Asked while no runner lives.")
        assert list(events)[-1] == "void"
        assert voter.look(battle)["void_reason"] == "interrupted"
        assert voter.vote(battle, 1).json()["type"].endswith("battle-void")
        voter.wait_for(waiting, "ready")
        receipt = voter.vote(waiting, 1).json()["receipt"]
    expect_complete(slow_arena.url, [receipt])


def test_streams_and_votes_survive_a_killed_redis(slow_arena: ArenaProcess) -> None:
    with Voter(slow_arena.url) as voter:
        before = voter.start()
        voter.wait_for(before, "ready")
        battle, seen = voter.start(), Seen()
        events = voter.events(battle, seen)
        for _ in range(6):
            next(events)
        slow_arena.kill("redis")
        receipts = [voter.vote(before, 1).json()["receipt"]]
        assert list(events)[-1] == "ready"
        assert seen.texts == dict.fromkeys("ab", "".join(words("steady")))
        receipts.append(voter.vote(battle, -2).json()["receipt"])
    expect_complete(slow_arena.url, receipts)


def test_a_voter_resumes_the_stream_of_a_killed_web(slow_arena: ArenaProcess) -> None:
    with Voter(slow_arena.url) as voter:
        battle, seen = voter.start(), Seen()
        events = voter.events(battle, seen)
        for _ in range(7):
            next(events)
        slow_arena.kill("web")
        with pytest.raises(httpx.TransportError):
            list(events)
        while seen.end is None:
            patiently(lambda: list(voter.events(battle, seen)))
        assert seen.texts == dict.fromkeys("ab", "".join(words("steady")))


def test_everything_is_there_again_after_the_whole_arena_was_killed(arena: ArenaProcess) -> None:
    receipts = [voted_battle(arena.url, grade) for grade in (2, -1)]
    with httpx.stream("GET", f"{arena.url}/api/board/events", trust_env=False) as watching:
        next(watching.iter_lines())
        arena.process.kill()
        arena.process.wait()
        # an open page must not keep an orphan, and with it the port, alive
        wait_until(lambda: not _listens(arena.port), what="the end of the orphans")
    arena.start()
    arena.wait_ready()
    receipts.append(voted_battle(arena.url, 0))
    expect_complete(arena.url, receipts)


def test_a_web_process_whose_master_died_before_it_began_ends_at_once() -> None:
    begun = """
from types import SimpleNamespace
from arena.app import post_fork
post_fork(None, SimpleNamespace(ppid=1_000_000_000))
print("an orphan keeps the port")
"""
    ended = subprocess.run(
        [sys.executable, "-c", begun], cwd=ROOT, capture_output=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, b"")
