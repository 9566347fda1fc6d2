"""Rates: exact under parallel hits, alike with Redis, without it, and when it goes away."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from limits.storage import MemoryStorage

from arena.app import _counters
from arena.errors import TooOften
from arena.limits import Rate, RateLimits
from tests.fakes import at_once
from tests.services import RedisServer

FIVE = Rate(5, "prompts", "voter")


@pytest.fixture(params=["memory", "redis", "away"])
def limits(request: pytest.FixtureRequest, tmp_path: Path) -> RateLimits:
    if request.param == "memory":
        return RateLimits(MemoryStorage())
    if request.param == "redis":
        return RateLimits(_counters(request.getfixturevalue("redis_url")))
    return RateLimits(_counters(f"unix://{tmp_path}/no.sock"))


def test_one_too_many_is_refused_with_the_time_to_wait(limits: RateLimits) -> None:
    assert [limits.hit(FIVE, "ann") for _ in range(6)] == [True] * 5 + [False]
    assert limits.is_spent(FIVE, "ann")
    refusal = limits.refusal(FIVE, "ann")
    assert isinstance(refusal, TooOften)
    assert refusal.retry_after is not None
    assert 1 <= refusal.retry_after <= 72
    assert "At most 5 prompts a minute" in refusal.detail


def test_everybody_and_everything_is_counted_apart(limits: RateLimits) -> None:
    for _ in range(5):
        limits.hit(FIVE, "ann")
    assert limits.hit(FIVE, "bob")
    assert limits.hit(Rate(5, "votes", "voter"), "ann")
    assert limits.hit(Rate(5, "prompts", "network"), "ann")


def test_looking_counts_nothing(limits: RateLimits) -> None:
    for _ in range(10):
        assert not limits.is_spent(FIVE, "ann")
    assert limits.hit(FIVE, "ann")


def test_hits_at_the_same_moment_are_counted_exactly(limits: RateLimits) -> None:
    assert sum(at_once([lambda: limits.hit(FIVE, "ann")] * 64)) == 5


def test_there_is_room_again_when_the_wait_is_over(limits: RateLimits) -> None:
    brief = Rate(3, "prompts", "voter", seconds=1)
    for _ in range(3):
        assert limits.hit(brief, "ann")
    wait = limits.refusal(brief, "ann").retry_after
    assert wait is not None
    time.sleep(wait)
    assert limits.hit(brief, "ann")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="arena-lim-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.stop()


def test_processes_count_together_in_redis(redis_url: str) -> None:
    here, there = RateLimits(_counters(redis_url)), RateLimits(_counters(redis_url))
    assert sum(each.hit(FIVE, "ann") for _ in range(5) for each in (here, there)) == 5


def test_counters_leave_redis_by_themselves_and_name_nobody(redis_url: str) -> None:
    limits = RateLimits(_counters(redis_url))
    limits.hit(FIVE, "a hash")
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        keys = client.keys()
        assert keys
        assert all(0 < client.ttl(key) <= 120 for key in keys)


def test_a_killed_redis_refuses_nobody_and_limits_everybody(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    limits = RateLimits(_counters(server.url), clock=lambda: now[0])
    for _ in range(4):
        assert limits.hit(FIVE, "ann")
    server.kill()
    with caplog.at_level(logging.WARNING):
        assert [limits.hit(FIVE, "ann") for _ in range(6)] == [True] * 5 + [False]
    assert len(caplog.records) == 1, "told once, and not for every request"
    server.start()
    now[0] += 5
    assert [limits.hit(FIVE, "bob") for _ in range(6)] == [True] * 5 + [False]


def test_a_redis_that_hangs_is_waited_for_once_and_not_by_everybody(server: RedisServer) -> None:
    limits = RateLimits(_counters(server.url))
    assert limits.hit(FIVE, "ann")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        assert limits.hit(FIVE, "bob")
        assert [limits.hit(FIVE, "bob") for _ in range(5)] == [True] * 4 + [False]
    finally:
        os.kill(server.pid, signal.SIGCONT)
