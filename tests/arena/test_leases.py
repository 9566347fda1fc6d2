"""Whose holder has died: judged by heartbeats and the watcher's own clock."""

from __future__ import annotations

import pytest

from arena.errors import Unavailable
from arena.interfaces import Lease, LeaseSeen
from arena.leases import Watch, take_if_abandoned
from tests.fakes import FakeDatabase, FakeLeases

SECONDS = 10.0


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Scene:
    """A lease of holder `w1` and somebody who watches it."""

    def __init__(self) -> None:
        self.database = FakeDatabase()
        self.leases = FakeLeases(self.database)
        self.clock = Clock()
        self.watch = Watch(self.leases, SECONDS, self.clock)
        lease = self.leases.take("worker", "w1", None)
        assert lease is not None
        self.lease = lease

    def after(self, seconds: float) -> bool:
        """Whether the lease looks abandoned after that much more time."""
        self.clock.seconds += seconds
        return self.watch.is_abandoned("worker")


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_lease_that_nobody_holds_is_abandoned(scene: Scene) -> None:
    assert scene.watch.is_abandoned("another")
    scene.leases.release(scene.lease)
    assert scene.watch.is_abandoned("worker")


def test_a_silent_holder_is_given_the_whole_time_from_the_first_look(scene: Scene) -> None:
    assert not scene.after(999)
    assert not scene.after(5)
    assert not scene.after(4.9)
    assert scene.after(0.1)


def test_every_beat_starts_the_silence_anew(scene: Scene) -> None:
    for _ in range(5):
        assert not scene.after(6)
        scene.leases.renew(scene.lease)
    assert not scene.after(6)
    assert not scene.after(6)
    assert scene.after(6)


def test_a_new_holder_of_the_same_lease_starts_the_silence_anew(scene: Scene) -> None:
    assert not scene.after(0)
    assert not scene.after(5)
    assert scene.after(5)
    scene.leases.take("worker", "w2", scene.leases.look("worker"))
    assert not scene.after(0)


def test_leases_that_are_not_watched_meanwhile_are_judged_from_the_start(scene: Scene) -> None:
    assert not scene.after(0)
    assert not scene.after(6)
    scene.watch.keep_only(["another"])
    assert not scene.after(6)
    scene.watch.keep_only(["worker"])
    assert not scene.after(6)
    assert scene.after(6)


def test_a_time_without_looks_is_not_held_against_the_holder(scene: Scene) -> None:
    """While the database was away, the holder could not move its beat either."""
    assert not scene.after(0)
    scene.database.away = 1
    with pytest.raises(Unavailable):
        scene.after(5)
    assert not scene.after(5)
    assert not scene.after(6)
    assert scene.after(6)


def test_an_abandoned_lease_is_taken_with_the_next_fence(scene: Scene) -> None:
    for _ in range(2):
        assert take_if_abandoned(scene.leases, scene.watch, "worker", "w2") is None
        scene.clock.seconds += 5
    taken = take_if_abandoned(scene.leases, scene.watch, "worker", "w2")
    assert taken == Lease("worker", "w2", 2)
    assert take_if_abandoned(scene.leases, scene.watch, "fresh", "w2") == Lease("fresh", "w2", 1)


class LateLeases(FakeLeases):
    """Somebody else takes the lease right after it was looked at."""

    def look(self, name: str) -> LeaseSeen | None:
        seen = super().look(name)
        if seen is not None and seen.holder is None:
            self.take(name, "the quicker one", seen)
        return seen


def test_a_lease_that_another_took_meanwhile_is_not_taken_from_it() -> None:
    leases = LateLeases(FakeDatabase())
    first = leases.take("worker", "w1", None)
    assert first is not None
    leases.release(first)
    assert take_if_abandoned(leases, Watch(leases, SECONDS), "worker", "w2") is None
    seen = leases.look("worker")
    assert seen is not None and seen.holder == "the quicker one"
