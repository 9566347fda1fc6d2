"""A log of many invented votes, for the benchmarks that measure what stands beside one."""

from __future__ import annotations

import random
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from machine import Machine, machine
from sqlalchemy import insert

from arena.campaigns import DEFAULT
from arena.clock import now
from arena.interfaces import ModelEntry
from arena.settings import Settings
from arena.store import SqlStore
from arena.store.engine import Database
from arena.store.tables import records
from tests.services import wait_until

BATCH = 10_000
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 600
LANGUAGES = [*"zh en de fr es pt it ru ja ko ar hi vi th tr pl nl sv uk cs".split()]
TAGS = [None, "coding", "math", "hard,math", "coding,hard", "reasoning", "writing", "knowledge"]
TAGS += ["understanding", "long"]
GRADES = {2: "model_a", 1: "model_a", 0: "tie", -1: "model_b", -2: "model_b"}


def votes(count: int, models: int, voters: int, seed: int) -> Iterator[dict[str, object]]:
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
        _fill(place.settings, count, models)
        yield place


def _fill(settings: Settings, count: int, models: int) -> None:
    """Sealed votes, with an invented leaf: nothing that is measured compares it with its record."""
    database = Database(settings.database_url)
    batch: list[dict[str, object]] = []
    with database.write() as connection:
        for seq, vote in enumerate(votes(count, models, count // 20, seed=1), 1):
            batch.append({**vote, "seq": seq, "hash": secrets.token_hex(32), "reasons": []})
            if len(batch) == BATCH or seq == count:
                connection.execute(insert(records), batch)
                batch.clear()
                if seq % 100_000 == 0:
                    print(f"{seq:,} votes written", file=sys.stderr)
    database.close()


def wait_for_boards(store: SqlStore, keys: set[str], position: int) -> float:
    """The seconds until the official boards of these categories stand for the log so far."""

    def stand() -> bool:
        time.sleep(_POLL_SECONDS)  # the machine is busy enough
        boards = (store.snapshots.latest(DEFAULT.id, key) for key in keys)
        return all(board is not None and board.log_position >= position for board in boards)

    started = time.monotonic()
    wait_until(stand, _PATIENCE_SECONDS, what="the boards")
    return time.monotonic() - started
