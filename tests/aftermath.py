"""What must hold when a fault is over, whatever it was: votes are kept, the log and board agree."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from arena.leaderboard import Method, compute
from arena.tally import Tally, Vote
from tests.services import wait_until

Row = dict[str, Any]

_POLL_SECONDS = 0.1  # the arena is busy enough


def log_of(url: str, after: int = 0) -> list[Row]:
    """The exported log, from the record after `after` on."""
    answer = httpx.get(f"{url}/api/votes", params={"after": after}, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def board_of(url: str) -> dict[str, Any] | None:
    """The default campaign's board; None before there is one."""
    answer = httpx.get(f"{url}/api/board", timeout=20, trust_env=False)
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return None
    assert answer.status_code == HTTPStatus.OK, answer.text
    board: dict[str, Any] = answer.json()
    return board


def expect_complete(url: str, receipts: Collection[str], timeout: float = 20) -> list[Row]:
    """Assert that each of these votes is sealed exactly once, the log is dense and in order, and
    the board is a clean recompute of it; returns the log.
    """
    log: list[Row] = []

    def everything_is_on_the_board() -> dict[str, Any] | None:
        time.sleep(_POLL_SECONDS)
        log.extend(log_of(url, after=log[-1]["seq"] if log else 0))
        if not set(receipts) <= {row["hash"] for row in log}:
            return None
        board = board_of(url)
        return board if board and board["log_position"] == len(log) else None

    board = wait_until(everything_is_on_the_board, timeout, what="all votes on the board")
    assert log_of(url)[: len(log)] == log, "the log changed behind its readers"
    assert [row["seq"] for row in log] == list(range(1, len(log) + 1))
    assert max(Counter(row["hash"] for row in log).values(), default=1) == 1
    expect_recomputed(board, log)
    return log


def expect_recomputed(board: Mapping[str, Any], log: Collection[Row]) -> None:
    """Assert that a board's rows follow from these records and its configuration alone."""
    tally = Tally()
    for row in log:
        if row["type"] == "vote" and row["excluded_reason"] is None:
            vote = Vote(row["seq"], row["model_a"], row["model_b"], row["grade"], row["winner"])
            tally.add(vote)
    config = board["config"]
    method = Method(config["method"], config.get("variant"))
    clean = {row.model: row.to_json() for row in compute(tally, method).rows}
    rated = {row["model"]: row for row in board["rows"] if row["votes"]}
    assert rated.keys() == clean.keys()
    for model, row in clean.items():
        for name, value in row.items():
            expected = pytest.approx(value, abs=1e-3) if isinstance(value, float) else value
            assert rated[model][name] == expected, f"{name} of {model}"
