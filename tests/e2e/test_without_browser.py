"""The main job through HTTP alone: prompt, two streams, vote, reveal, board, exported log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.services import ROOT, ArenaProcess, wait_until
from tests.voter import Seen, Voter

pytestmark = pytest.mark.demo_model

BOARD_SECONDS = 2.0
"""Contract: a vote is on the live board this soon."""


def _votes(voter: Voter, model: str) -> int:
    board: dict[str, Any] = voter.http.get("/api/board").json()
    return next(row["votes"] for row in board["rows"] if row["model"] == model)


def test_a_battle_from_the_prompt_to_the_exported_row(arena: ArenaProcess, tmp_path: Path) -> None:
    with Voter(arena.url) as voter:
        battle, seen = voter.start("What is the sun?"), Seen()
        assert list(voter.events(battle, seen))[-1] == "ready"
        assert all(text.strip() for text in seen.texts.values())
        before = {row["model"]: row["votes"] for row in voter.http.get("/api/board").json()["rows"]}

        reveal = voter.vote(battle, 2).json()
        voted = time.monotonic()
        for side in ("model_a", "model_b"):
            model = reveal[side]
            wait_until(
                lambda model=model: _votes(voter, model) == before[model] + 1,
                5,
                what=f"{model} on the board, which was {before}; {seen.texts}",
            )
        assert time.monotonic() - voted <= BOARD_SECONDS

        file = tmp_path / "log.jsonl"
        subprocess.run(
            [sys.executable, "-m", "arena.cli", "export", str(file), "--campaign", "online"],
            env={**os.environ, "ARENA_DATA": str(arena.data), "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        )
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        (row,) = (row for row in rows if row["battle_id"] == battle)
        assert row["hash"] == reveal["receipt"]
        assert (row["model_a"], row["model_b"], row["grade"]) == (
            *(reveal[side] for side in ("model_a", "model_b")),
            2,
        )
        for side, text in seen.texts.items():
            said = row[f"conversation_{side}"]
            assert [message["role"] for message in said] == ["user", "assistant"]
            assert said[1]["content"] == [{"type": "text", "text": text}]
