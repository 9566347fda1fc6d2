"""Wrong tokens: a few tries for each address, not many for all together."""

from __future__ import annotations

import pytest

from arena.attempts import Attempts
from arena.errors import TooMany


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    return Attempts(each=3, together=5, seconds=60, clock=clock)


def test_an_address_has_its_tries_and_then_waits(attempts: Attempts, clock: Clock) -> None:
    for _ in range(3):
        attempts.refuse_too_many("a")
        attempts.failed("a")
        clock.now += 10
    with pytest.raises(TooMany) as refused:
        attempts.refuse_too_many("a")
    assert refused.value.retry_after == 30  # until the first of the three is a minute old
    attempts.refuse_too_many("b")
    clock.now += 30
    attempts.refuse_too_many("a")


def test_many_addresses_share_the_tries_of_all(attempts: Attempts, clock: Clock) -> None:
    for address in "abcde":
        attempts.refuse_too_many(address)
        attempts.failed(address)
    for address in "az":
        with pytest.raises(TooMany):
            attempts.refuse_too_many(address)
    clock.now += 60
    attempts.refuse_too_many("z")


def test_looking_is_no_try(attempts: Attempts) -> None:
    for _ in range(100):
        attempts.refuse_too_many("a")


def test_nothing_is_remembered_for_longer_than_it_counts(attempts: Attempts, clock: Clock) -> None:
    for number in range(1_000):
        attempts.failed(f"address {number}")
        clock.now += 20
    attempts.refuse_too_many("address 999")
    assert len(attempts._wrong) <= 5
