"""A log of many invented votes, for the benchmarks that measure what stands beside one."""

from __future__ import annotations

import random
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from machine import Machine, machine
from sqlalchemy import insert

from arena.battle import BattleState, TurnState
from arena.campaigns import DEFAULT
from arena.clock import now
from arena.interfaces import ModelEntry
from arena.store import SqlStore
from arena.store.engine import Database
from arena.store.tables import battles, pseudonyms, records, turns
from tests.services import wait_until

BATCH = 10_000
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 600
LANGUAGES = [*"zh en de fr es pt it ru ja ko ar hi vi th tr pl nl sv uk cs".split()]
TAGS = [None, "coding", "math", "hard,math", "coding,hard", "reasoning", "writing", "knowledge"]
TAGS += ["understanding", "long"]
GRADES = {2: "model_a", 1: "model_a", 0: "tie", -1: "model_b", -2: "model_b"}

_SETTLE = {
    "sqlite": ["PRAGMA wal_checkpoint(TRUNCATE)"],
    "postgresql": ["VACUUM ANALYZE", "CHECKPOINT"],
}


def votes(count: int, models: int, voters: int, seed: int) -> Iterator[dict[str, Any]]:
    """Votes of `voters` people between models of different strengths, as fields of `Record`."""
    draw = random.Random(seed)
    strength = [draw.gauss(0, 0.7) for _ in range(models)]
    for _ in range(count):
        a, b = draw.sample(range(models), 2)
        latent = strength[a] - strength[b] + draw.gauss(0, 1.8)
        grade = sum(latent > bound for bound in (-1.5, -0.4, 0.4, 1.5)) - 2
        yield {
            "id": secrets.token_hex(16),
            "type": "vote",
            "campaign": DEFAULT.id,
            "timestamp": now(),
            "model_a": f"model-{a:03}",
            "model_b": f"model-{b:03}",
            "grade": grade,
            "winner": GRADES[grade],
            "both_bad": False,
            "reasons": (),
            "voter": f"{draw.randrange(voters):032x}",
            "voter_kind": "person",
            "language": draw.choice(LANGUAGES),
            "category_tag": draw.choice(TAGS),
            "turns": draw.choice([1, 1, 1, 2]),
            "propensity": 1 / (models * (models - 1)),
        }


@contextmanager
def world(count: int, models: int, base_url: str = "") -> Iterator[Machine]:
    """A machine with a SQLite log of `count` votes on so many models, all at one endpoint."""
    roster = [
        ModelEntry(f"model-{place:03}", f"Model {place}", base_url=base_url, model="m")
        for place in range(models)
    ]
    with machine("sqlite", roster) as place:
        write_past(place, votes(count, models, count // 20, seed=1))
        yield place


def write_past(place: Machine, given: Iterable[dict[str, Any]]) -> None:
    """Sealed votes, each on a battle of its own with one short turn.

    A vote's leaf and its content are left out: nothing that is measured looks at them.
    """
    database = Database(place.settings.database_url)
    voters: set[str] = set()
    todo, seq = iter(given), 0
    with database.write() as connection:
        while some := list(islice(todo, BATCH)):
            sealed = [
                {**vote, "battle_id": secrets.token_hex(16), "seq": number}
                for number, vote in enumerate(some, seq + 1)
            ]
            fresh = {vote["voter"] for vote in some} - voters
            for table, rows in (
                (battles, map(_battle, sealed)),
                (turns, map(_turn, sealed)),
                (pseudonyms, map(_pseudonym, fresh)),
                (records, ({**vote, "hash": secrets.token_hex(32)} for vote in sealed)),
            ):
                if written := list(rows):
                    connection.execute(insert(table), written)
            seq, voters = seq + len(some), voters | fresh
            if seq % 100_000 == 0:
                print(f"{seq:,} votes written", file=sys.stderr)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # a real past has long been on the disk, and PostgreSQL's planner knows it
        for statement in _SETTLE[database.dialect]:
            connection.exec_driver_sql(statement)
    database.close()


def _battle(vote: dict[str, Any]) -> dict[str, Any]:
    shared = "campaign", "voter", "model_a", "model_b", "propensity", "language", "category_tag"
    return {
        **{name: vote[name] for name in shared},
        "id": vote["battle_id"],
        "state": BattleState.voted,
        "sampling_rule": "uniform",
        "roster_revision": 1,
        "created_at": vote["timestamp"],
        "turn": 1,
        "stop_requested": False,
    }


def _turn(vote: dict[str, Any]) -> dict[str, Any]:
    answer = {"text": "It depends.", "finish": "stop", "tokens": 3}
    return {
        "battle_id": vote["battle_id"],
        "number": 1,
        "prompt": "What should be measured?",
        "state": TurnState.ready,
        "steps": [[11, 11]],
        **{f"{name}_{side}": value for side in "ab" for name, value in answer.items()},
    }


def _pseudonym(voter: str) -> dict[str, Any]:
    return {"voter": voter, "campaign": DEFAULT.id, "pseudonym": voter}


def wait_for_boards(store: SqlStore, keys: set[str], position: int) -> float:
    """The seconds until the official boards of these categories stand for the log so far."""

    def stand() -> bool:
        time.sleep(_POLL_SECONDS)  # the machine is busy enough
        boards = (store.snapshots.latest(DEFAULT.id, key) for key in keys)
        return all(board is not None and board.log_position >= position for board in boards)

    started = time.monotonic()
    wait_until(stand, _PATIENCE_SECONDS, what="the boards")
    return time.monotonic() - started
