"""A hostile endpoint cannot make the runner grow: bombs, floods and huge tokens, on many sides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from arena.campaigns import DEFAULT
from arena.interfaces import ModelEntry
from arena.store import SqlStore, open_store
from arena.store.engine import Database
from arena.store.migrate import upgrade
from tests import faults
from tests.fakes import a_battle, a_turn
from tests.faults import Faulty
from tests.services import ArenaProcess, wait_until

BATTLES = 4
MOST_GROWTH_MB = 32
GREEDY = (
    "a bomb",
    "packed unsaid",
    "a flood of headers",
    "an endless header",
    "a huge event",
    "an event without end",
    "JSON without end",
    "nesting without end",
)
CHATTY = ("a huge token", "no end of text")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    url = f"sqlite:///{tmp_path}/data/arena.db"
    (tmp_path / "data").mkdir()
    database = Database(url)
    upgrade(database)
    database.close()
    made = open_store(url)
    made.campaigns.add(DEFAULT)
    yield made
    made.close()


def megabytes(pid: int, figure: str = "VmHWM") -> float:
    """What the process holds of memory (`VmRSS`), or the most it ever held."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(figure):
            return int(line.split()[1]) / 1024
    raise AssertionError(figure)


def play(store: SqlStore, model: str) -> set[str]:
    """Several battles of the model against itself at once; the states in which they ended."""
    battles = [f"{model}-{number}".replace(" ", "_") for number in range(BATTLES)]
    for battle in battles:
        store.battles.add(a_battle(battle, model_a=model, model_b=model), a_turn(battle))
    states = set()
    for battle in battles:
        wait_until(lambda b=battle: _ended(store, b), 30, what=f"the end of {battle}")
        states.add(_ended(store, battle))
    return states


def _ended(store: SqlStore, battle_id: str) -> str | None:
    battle = store.battles.get(battle_id)
    assert battle is not None
    return None if battle.state in ("created", "running") else str(battle.state)


def test_what_hostile_endpoints_send_does_not_make_the_runner_grow(
    store: SqlStore, redis_url: str, tmp_path: Path
) -> None:
    faulty = Faulty()
    plays = {fault.name: fault.play for fault in faults.before()}
    faulty.plays = {
        "good": faults.sends(faults.GOOD),
        **{name: plays[name] for name in GREEDY},
        **{name: faults.harmless()[name][0] for name in CHATTY},
    }
    environ = {"REDIS_URL": redis_url, "ARENA_POLL_SECONDS": "0.1"}
    with (
        faulty.open(tmp_path),
        ArenaProcess(tmp_path / "data", "runner", environ=environ) as runner,
    ):
        entries = [
            ModelEntry(id=name, name=name, base_url=faulty.url, model=name) for name in faulty.plays
        ]
        store.roster.replace(entries, "2026-01-01T00:00:00.000Z")
        assert play(store, "good") == {"ready"}
        pid, before = runner.process.pid, megabytes(runner.process.pid)
        grown = {}
        for name in GREEDY:
            assert play(store, name) == {"void"}, name
            grown[name] = megabytes(pid) - before
        for name in CHATTY:
            assert play(store, name) == {"ready"}, name
            grown[name] = megabytes(pid) - before
        too_much = {name: size for name, size in grown.items() if size > MOST_GROWTH_MB}
        assert too_much == {}
