"""Wrong tokens: a few tries for each network, not many for all together."""

from __future__ import annotations

import threading

import pytest
from limits.storage import MemoryStorage

from arena.attempts import Attempts
from arena.errors import TooOften
from arena.limits import RateLimits


@pytest.fixture
def attempts() -> Attempts:
    return Attempts(RateLimits(MemoryStorage()), each=3, together=5)


def tries(attempts: Attempts, network: str, *, right: bool = False) -> bool:
    return attempts.is_right(network, lambda: right)


def test_a_network_has_its_tries_and_then_waits(attempts: Attempts) -> None:
    for _ in range(3):
        assert not tries(attempts, "a")
    with pytest.raises(TooOften) as refused:
        tries(attempts, "a")
    assert refused.value.retry_after is not None
    assert tries(attempts, "b", right=True)


def test_the_right_token_is_refused_in_the_same_words_as_a_wrong_one(attempts: Attempts) -> None:
    for _ in range(3):
        tries(attempts, "a")
    said = []
    for right in (False, True):
        with pytest.raises(TooOften) as refused:
            tries(attempts, "a", right=right)
        said.append(refused.value.detail.partition(" Try again")[0])
    assert said[0] == said[1]


def test_right_tokens_are_not_counted(attempts: Attempts) -> None:
    for _ in range(20):
        assert tries(attempts, "a", right=True)


def test_many_networks_share_the_tries_of_all(attempts: Attempts) -> None:
    for network in "abcde":
        tries(attempts, network)
    with pytest.raises(TooOften):
        tries(attempts, "z", right=True)


def test_whoever_gave_the_right_token_is_not_held_up_by_all_the_others(attempts: Attempts) -> None:
    assert tries(attempts, "scraper", right=True)
    for network in "abcde":
        tries(attempts, network)
    assert tries(attempts, "scraper", right=True)


def test_one_guesser_does_not_use_up_the_tries_of_all(attempts: Attempts) -> None:
    for _ in range(30):
        try:
            tries(attempts, "guesser")
        except TooOften:
            continue
    assert tries(attempts, "z", right=True)


def test_guesses_at_the_same_moment_are_counted_one_by_one(attempts: Attempts) -> None:
    compared = []

    def guess() -> None:
        try:
            attempts.is_right("a", lambda: compared.append(1) is not None)
        except TooOften:
            return

    threads = [threading.Thread(target=guess) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(compared) == 3
