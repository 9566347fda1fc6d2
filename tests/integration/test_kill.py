"""`kill -9` of each part in the middle of things: nothing acknowledged is lost or stuck."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from arena.leaderboard import Method, compute
from arena.tally import Tally, Vote
from tests.services import ArenaProcess, wait_until
from tests.upstream import roster, upstream, words
from tests.voter import Seen, Voter


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


def _log(arena: ArenaProcess) -> list[dict[str, Any]]:
    text = httpx.get(f"{arena.url}/api/votes", trust_env=False).text
    return [json.loads(line) for line in text.splitlines()]


def _board(arena: ArenaProcess) -> dict[str, Any]:
    board: dict[str, Any] = httpx.get(f"{arena.url}/api/board", trust_env=False).json()
    return board


def _expect_complete(arena: ArenaProcess, receipts: list[str]) -> None:
    """Every acknowledged vote is sealed exactly once, and the board is a clean recompute."""
    rows = wait_until(
        lambda: len(rows := _log(arena)) >= len(receipts) and rows, what="the sealed log"
    )
    logged = Counter(row["hash"] for row in rows)
    assert set(receipts) <= set(logged)
    assert max(logged.values()) == 1
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    board = wait_until(
        lambda: (board := _board(arena))["log_position"] == len(rows) and board, what="the board"
    )
    tally = Tally()
    for r in rows:
        tally.add(Vote(r["seq"], r["model_a"], r["model_b"], r["grade"], r["winner"]))
    clean = {row.model: row for row in compute(tally, Method()).rows}
    rated = [row for row in board["rows"] if row["votes"]]
    assert {row["model"] for row in rated} == set(clean)
    for row in rated:
        assert row["rating"] == pytest.approx(clean[row["model"]].rating, abs=1e-6)
        assert row["votes"] == clean[row["model"]].votes


def _voted_battle(arena: ArenaProcess, grade: int) -> str:
    """One battle from prompt to acknowledged vote, by a voter who tries again; its receipt."""
    with Voter(arena.url) as voter:
        battle = _patiently(voter.start)
        _patiently(lambda: voter.wait_for(battle, "ready"))
        key = f"key-{battle}"
        answer = _patiently(lambda: voter.vote(battle, grade, key))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["receipt"])


def _patiently(act: Any, timeout: float = 30) -> Any:
    """Do as a browser does when the server is away: try again."""
    end = time.monotonic() + timeout
    while True:
        try:
            result = act()
        except httpx.TransportError:
            result = None
        if result is not None and getattr(result, "status_code", 200) < 500:
            return result
        assert time.monotonic() < end, "the arena did not come back"
        time.sleep(0.1)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_votes_cast_while_the_web_is_killed_are_stored_once(arena: ArenaProcess) -> None:
    with ThreadPoolExecutor(6) as voters:
        votes = [voters.submit(_voted_battle, arena, number % 5 - 2) for number in range(24)]
        for _ in range(3):
            time.sleep(1.0)
            arena.kill("web")
        receipts = [vote.result(90) for vote in votes]
    assert len(set(receipts)) == 24
    _expect_complete(arena, receipts)


def test_votes_cast_while_the_worker_is_killed_reach_the_board(arena: ArenaProcess) -> None:
    receipts = [_voted_battle(arena, 2)]
    for grade in (1, -1, 0):
        wait_until(lambda: arena.pids("worker"), what="a living worker")
        arena.kill("worker")
        receipts.append(_voted_battle(arena, grade))
    _expect_complete(arena, receipts)


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
    _expect_complete(slow_arena, [receipt])


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
    _expect_complete(slow_arena, receipts)


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
            _patiently(lambda: list(voter.events(battle, seen)))
        assert seen.texts == dict.fromkeys("ab", "".join(words("steady")))


def test_everything_is_there_again_after_the_whole_arena_was_killed(arena: ArenaProcess) -> None:
    receipts = [_voted_battle(arena, grade) for grade in (2, -1)]
    with httpx.stream("GET", f"{arena.url}/api/board/events", trust_env=False) as watching:
        next(watching.iter_lines())
        arena.process.kill()
        arena.process.wait()
        # an open page must not keep an orphan, and with it the port, alive
        wait_until(lambda: not _listens(arena.port), what="the end of the orphans")
    arena.start()
    arena.wait_ready()
    receipts.append(_voted_battle(arena, 0))
    _expect_complete(arena, receipts)
