"""The house seen from outside: who is alive, what waits, what cannot be reached."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from arena.interfaces import Lease
from arena.vitals import Vitals
from tests.fakes import CAMPAIGN, FakeLive, FakeStore, a_battle, a_turn

PATIENCE = 0.5


@pytest.fixture
def store() -> FakeStore:
    made = FakeStore()
    made.campaigns.add(CAMPAIGN)
    return made


@pytest.fixture
def live() -> FakeLive:
    return FakeLive()


@pytest.fixture
def vitals(store: FakeStore, live: FakeLive, tmp_path: Path) -> Vitals:
    return Vitals(store, live, tmp_path, PATIENCE)


@contextmanager
def beating(store: FakeStore, *names: str) -> Iterator[None]:
    """Holders of these leases that show that they live."""
    leases: list[Lease] = []
    for name in names:
        lease = store.leases.take(name, name, None)
        assert lease is not None
        leases.append(lease)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.05):
            for lease in leases:
                store.leases.renew(lease)

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join()


def test_a_living_house_is_not_stuck(store: FakeStore, vitals: Vitals) -> None:
    with beating(store, "worker", "runner:r1", "runner:r2"):
        started = time.monotonic()
        health = vitals.look()
        assert time.monotonic() - started < PATIENCE
    work = health.work
    assert (health.database_problem, health.redis_problem) == (None, None)
    assert work is not None
    assert work.worker is not None
    assert work.worker.is_alive
    assert [(runner.name, runner.is_alive) for runner in work.runners] == [
        ("r1", True),
        ("r2", True),
    ]
    assert not work.is_stuck
    assert 0 < health.disk_free <= health.disk_total
    assert health.versions["arena"]


def test_a_house_in_which_nobody_works_is_stuck(vitals: Vitals) -> None:
    work = vitals.look().work
    assert work is not None
    assert (work.worker, work.runners, work.is_stuck) == (None, [], True)


def test_a_silent_worker_is_told_and_awaited_only_once(store: FakeStore, vitals: Vitals) -> None:
    store.leases.take("worker", "w1", None)
    with beating(store, "runner:r1"):
        first = vitals.look().work
        started = time.monotonic()
        second = vitals.look().work
        assert time.monotonic() - started < PATIENCE
    for work in (first, second):
        assert work is not None
        assert work.worker is not None
        assert not work.worker.is_alive
        assert work.is_stuck


def test_a_worker_that_comes_back_is_alive_again(store: FakeStore, vitals: Vitals) -> None:
    lease = store.leases.take("worker", "w1", None)
    assert lease is not None
    vitals.look()
    store.leases.renew(lease)
    stop = threading.Timer(0.15, store.leases.renew, [lease])
    stop.start()
    work = vitals.look().work
    stop.join()
    assert work is not None
    assert work.worker is not None
    assert work.worker.is_alive


def test_a_killed_runner_is_told_only_while_it_holds_battles(
    store: FakeStore, vitals: Vitals
) -> None:
    store.leases.take("runner:gone", "gone", None)
    for number in (1, 2, 3):
        store.battles.add(a_battle(f"b{number}"), a_turn(f"b{number}"))
    store.battles.claim("b1", "gone")
    with beating(store, "worker", "runner:r1"):
        held = vitals.look().work
        store.battles.skip("b1")
        free = vitals.look().work
    assert held is not None
    assert free is not None
    assert [(one.name, one.is_alive, one.battles) for one in held.runners] == [
        ("gone", False, 1),
        ("r1", True, 0),
    ]
    assert [one.name for one in free.runners] == ["r1"]
    assert (held.waiting, held.battles["running"], free.battles["skipped"]) == (2, 1, 1)


def test_what_cannot_be_reached_is_said_and_the_rest_is_told(
    store: FakeStore, live: FakeLive, vitals: Vitals
) -> None:
    live.away = True
    health = vitals.look()
    assert health.redis_problem
    assert health.work is not None
    store.database.away = 1
    health = vitals.look()
    assert health.database_problem
    assert health.work is None


def test_a_campaign_without_a_board_is_told_as_such(vitals: Vitals) -> None:
    work = vitals.look().work
    assert work is not None
    (board,) = work.boards
    assert (board.campaign, board.log_position, board.published_at) == (CAMPAIGN.id, None, None)
