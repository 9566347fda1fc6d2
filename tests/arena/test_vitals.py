"""The house seen from outside: who is alive, what waits, what cannot be reached."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from arena.circuit import Circuit, CircuitState
from arena.clock import rfc3339
from arena.errors import BadSetting
from arena.interfaces import Lease, Snapshot
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


# --- what an operator is told -------------------------------------------------------------------


def test_a_living_house_has_no_problems(store: FakeStore, vitals: Vitals) -> None:
    with beating(store, "worker", "runner:r1"):
        assert vitals.problems() == {}
    assert vitals.obstacles() == {}


def test_a_proxy_that_is_not_believed_is_told(store: FakeStore, vitals: Vitals) -> None:
    with beating(store, "worker", "runner:r1"):
        problems = vitals.problems(unbelieved_proxy=True)
    assert list(problems) == ["proxy"]
    assert "ARENA_PROXY_HOPS is 0" in problems["proxy"]


def test_a_house_in_which_nobody_works_says_what_to_start(store: FakeStore, vitals: Vitals) -> None:
    store.battles.add(a_battle("b1"), a_turn("b1"))
    problems = vitals.problems()
    assert set(problems) == {"worker", "runners"}
    assert problems["worker"].endswith("Start 'arena worker'.")
    assert "1 battles wait" in problems["runners"]
    assert vitals.obstacles() == {}, "votes can be stored all the same"


def test_a_worker_that_fell_silent_is_told_apart_from_none(
    store: FakeStore, vitals: Vitals
) -> None:
    assert store.leases.take("worker", "w1", None) is not None
    with beating(store, "runner:r1"):
        assert vitals.problems()["worker"].startswith("The worker has fallen silent")


def test_a_schema_that_is_not_ours_stops_votes(
    store: FakeStore, vitals: Vitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def old() -> None:
        raise BadSetting("Run 'arena db upgrade'.")

    monkeypatch.setattr(store, "require_current", old)
    told = {"schema": "Run 'arena db upgrade'."}
    assert (vitals.obstacles(), vitals.problems()) == (told, told)


def test_a_disk_that_fills_up_is_told(
    store: FakeStore, vitals: Vitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(".")._replace(free=100 * 2**20)
    monkeypatch.setattr("arena.vitals.shutil.disk_usage", lambda _: full)
    with beating(store, "worker", "runner:r1"):
        assert vitals.problems()["disk"].startswith("Only 100 MB are free")


@pytest.mark.parametrize(("ahead", "told"), [(5, False), (3600, True)])
def test_a_board_of_the_future_is_a_wrong_clock(
    store: FakeStore, vitals: Vitals, ahead: float, told: bool
) -> None:
    lease = store.leases.take("worker", "w1", None)
    assert lease is not None
    board = Snapshot(
        campaign=CAMPAIGN.id,
        category="overall",
        method="bt",
        log_position=0,
        published_at=rfc3339(datetime.now(UTC) + timedelta(seconds=ahead)),
        config={},
        config_hash="",
        rows=[],
        voters=0,
    )
    store.snapshots.publish(lease, board)
    store.leases.forget("worker")
    with beating(store, "worker", "runner:r1"):
        assert ("clock" in vitals.problems()) == told


def test_models_that_are_left_alone_are_named(store: FakeStore, vitals: Vitals) -> None:
    resting = Circuit("m1", CircuitState.open, error="EndpointTimeout")
    store.circuits.all = lambda: [resting, Circuit("m2")]  # type: ignore[method-assign]
    with beating(store, "worker", "runner:r1"):
        assert "m1 (EndpointTimeout)." in vitals.problems()["endpoints"]
