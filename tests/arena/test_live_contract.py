"""The promises of `interfaces.LiveBuffer`, kept alike in memory and by a real Redis."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
import redis

from arena.battle import Frame
from arena.embedded import is_ready, redis_command
from arena.errors import LiveLost
from arena.interfaces import LineShare, LiveBuffer, LiveFrame, LookAgain, Subscription
from arena.live import RedisLive
from arena.settings import Settings
from tests.fakes import FakeLive, at_once
from tests.services import wait_until

T = TypeVar("T")
TTL = 60
HERE = LineShare("here", 3)


@pytest.fixture(params=["fake", "redis"])
def live(request: pytest.FixtureRequest) -> Iterator[LiveBuffer]:
    if request.param == "fake":
        yield FakeLive()
        return
    made = RedisLive(request.getfixturevalue("redis_url"), ttl=TTL)
    yield made
    made.close()


@pytest.fixture(params=["fake", "redis"])
def away(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveBuffer]:
    """A live buffer whose Redis cannot be reached."""
    if request.param == "fake":
        fake = FakeLive()
        fake.away = True
        yield fake
        return
    made = RedisLive(f"unix://{tmp_path}/no.sock", ttl=TTL)
    yield made
    made.close()


@pytest.fixture
def real(redis_url: str) -> Iterator[RedisLive]:
    made = RedisLive(redis_url, ttl=TTL)
    yield made
    made.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as made:
        yield made


def test_whoever_waits_first_is_first_in_line(live: LiveBuffer) -> None:
    assert live.ahead("ann") == 0
    assert live.ahead("ann", HERE) == 0
    time.sleep(0.002)  # the order of one millisecond is anybody's
    assert live.ahead("bob") == 1
    assert live.ahead("bob", HERE) == 1
    time.sleep(0.002)
    assert live.ahead("eve", HERE) == 2
    assert live.ahead("ann", HERE) == 0
    assert live.ahead("zoe") == 3
    live.leave_line("ann")
    live.leave_line("ann")
    assert [live.ahead(voter, HERE) for voter in ("bob", "eve")] == [0, 1]


def test_of_one_network_no_more_than_its_share_wait_in_line(live: LiveBuffer) -> None:
    for voter in ("ann", "bob", "eve"):
        live.ahead(voter, HERE)
        time.sleep(0.002)
    assert live.ahead("zoe", HERE) == 3
    time.sleep(0.002)
    assert live.ahead("tom", LineShare("there", 3)) == 3
    assert [live.ahead(voter, HERE) for voter in ("ann", "bob", "eve", "zoe")] == [0, 1, 2, 4]
    live.leave_line("bob")
    time.sleep(0.002)
    assert live.ahead("zoe", HERE) == 3
    assert live.ahead("max", HERE) == 4
    assert [live.ahead(voter) for voter in ("ann", "eve", "tom", "zoe")] == [0, 1, 2, 3]


def test_whoever_does_not_ask_any_more_has_left_the_line(
    real: RedisLive, client: redis.Redis
) -> None:
    few = LineShare("here", 2)
    real.ahead("ann", few)
    real.ahead("bob", few)
    long_ago = 1_000
    client.zadd("arena:line:seen", {"ann": long_ago})
    assert real.ahead("bob", few) == 0
    assert client.zrange("arena:line", 0, -1) == ["bob"]
    for key in ("arena:line", "arena:line:seen", "arena:line:of:here"):
        assert 0 < client.pttl(key) <= 15_000
    assert real.ahead("eve", few) == 1
    assert client.smembers("arena:line:of:here") == {"bob", "eve"}


def test_nobody_knows_the_line_while_redis_is_away(away: LiveBuffer) -> None:
    with pytest.raises(LiveLost):
        away.ahead("ann", HERE)
    with pytest.raises(LiveLost):
        away.leave_line("ann")


def frame(number: int, battle_id: str = "b1", turn: int = 1) -> LiveFrame:
    return LiveFrame(battle_id, turn, number, Frame(f"a{number} ", f"乙{number}🙂 "))


def texts(*numbers: int) -> list[Frame]:
    return [frame(number).frame for number in numbers]


def lose_frames(live: LiveBuffer, request: pytest.FixtureRequest) -> None:
    if isinstance(live, FakeLive):
        live.lose_everything()
    else:
        request.getfixturevalue("client").flushall()


def next_message(subscription: Subscription[T | LookAgain]) -> T | None:
    """The next message within two seconds; being told to look at any time does no harm."""
    while True:
        message = subscription.get(timeout=2)
        if not isinstance(message, LookAgain):
            return message


def begin(live: LiveBuffer, subscription: Subscription[LiveFrame | LookAgain]) -> None:
    """Push frame 0 and wait for it: from here on the subscription has nothing older to tell."""
    live.push([frame(0)])
    assert next_message(subscription) == frame(0)


# --- frames -------------------------------------------------------------------------------------


def test_frames_are_read_from_any_place_on(live: LiveBuffer) -> None:
    for number in range(4):
        assert live.push([frame(number)]) == set()
    assert live.frames("b1", 1, 0) == texts(0, 1, 2, 3)
    assert live.frames("b1", 1, 2) == texts(2, 3)
    assert live.frames("b1", 1, 4) == live.frames("b1", 1, 99) == []
    assert live.frames("b1", 2, 0) == live.frames("b2", 1, 0) == []


def test_one_tick_carries_frames_of_many_turns(live: LiveBuffer) -> None:
    assert live.push([]) == set()
    assert live.push([frame(0), frame(0, "b2"), frame(0, "b2", 2)]) == set()
    assert live.push([frame(1, "b2")]) == set()
    assert live.frames("b1", 1, 0) == texts(0)
    assert live.frames("b2", 1, 0) == texts(0, 1)
    assert live.frames("b2", 2, 0) == texts(0)


def test_pushing_tells_which_battles_lost_their_earlier_frames(
    live: LiveBuffer, request: pytest.FixtureRequest
) -> None:
    live.push([frame(0), frame(0, "b2")])
    live.push([frame(1), frame(1, "b2")])
    lose_frames(live, request)
    assert live.push([frame(2), frame(2, "b2"), frame(0, "b3")]) == {"b1", "b2"}
    assert live.push([frame(3)]) == {"b1"}
    live.replace("b1", 1, texts(0, 1, 2, 3))
    assert live.push([frame(4), frame(3, "b2")]) == {"b2"}
    assert live.frames("b1", 1, 0) == texts(0, 1, 2, 3, 4)


def test_a_frame_that_stands_in_the_place_of_a_lost_one_is_not_read(live: LiveBuffer) -> None:
    """Redis came back with less than it had: until the list is written anew, a gap is a gap."""
    live.push([frame(0)])
    live.push([frame(1)])
    assert live.push([frame(5)]) == {"b1"}
    assert live.push([frame(6)]) == {"b1"}
    assert live.frames("b1", 1, 0) == texts(0, 1)
    assert live.frames("b1", 1, 1) == texts(1)
    assert live.frames("b1", 1, 2) == live.frames("b1", 1, 3) == []
    live.replace("b1", 1, texts(0, 1, 2, 3, 4, 5, 6))
    assert live.frames("b1", 1, 2) == texts(2, 3, 4, 5, 6)


def test_frames_never_stay_for_ever(
    real: RedisLive, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither when Redis goes right after the first, nor when it lost the first."""
    execute, calls = redis.client.Pipeline.execute, itertools.count()

    def once(pipe: redis.client.Pipeline) -> list[object]:
        if next(calls):
            raise redis.ConnectionError("gone")
        return execute(pipe)

    monkeypatch.setattr(redis.client.Pipeline, "execute", once)
    with suppress(LiveLost):
        real.push([frame(0)])
    assert 0 < client.ttl("arena:live:b1:1") <= TTL
    monkeypatch.undo()
    client.flushall()
    real._guard.reset()
    assert real.push([frame(1)]) == {"b1"}
    assert client.keys("arena:live:*") == []


def test_a_list_can_be_replaced_by_an_empty_one(live: LiveBuffer) -> None:
    live.push([frame(0)])
    live.replace("b1", 1, [])
    assert live.frames("b1", 1, 0) == []
    assert live.push([frame(0)]) == set()


# --- following ----------------------------------------------------------------------------------


def test_a_follower_gets_every_frame_in_order_from_subscribing_on(live: LiveBuffer) -> None:
    live.push([frame(0)])
    with live.follow("b1", 1) as subscription:
        for number in range(1, 200):
            live.push([frame(number)])
        assert [next_message(subscription) for _ in range(1, 200)] == [
            frame(number) for number in range(1, 200)
        ]
        assert live.frames("b1", 1, 0)[0] == frame(0).frame


def test_followers_of_other_turns_hear_nothing_of_this_one(live: LiveBuffer) -> None:
    with live.follow("b1", 1) as mine, live.follow("b1", 2) as next_turn:
        begin(live, mine)
        live.push([frame(0, "b2"), frame(1), frame(0, turn=2)])
        assert next_message(mine) == frame(1)
        assert next_message(next_turn) == frame(0, turn=2)
        assert mine.get(timeout=0.05) is None


def test_all_followers_of_a_turn_get_its_frames(live: LiveBuffer) -> None:
    with live.follow("b1", 1) as one, live.follow("b1", 1) as other:
        live.push([frame(0)])
        assert next_message(one) == next_message(other) == frame(0)


def test_the_end_of_a_turn_comes_after_its_frames(live: LiveBuffer) -> None:
    with live.follow("b1", 1) as subscription:
        begin(live, subscription)
        live.push([frame(1)])
        live.ended("b1", 1)
        live.ended("b2", 1)
        assert subscription.get(timeout=2) == frame(1)
        assert subscription.get(timeout=2) == LookAgain()
        assert subscription.get(timeout=0.05) is None


def test_a_replaced_list_makes_followers_look_again(live: LiveBuffer) -> None:
    with live.follow("b1", 1) as subscription:
        begin(live, subscription)
        live.replace("b1", 1, texts(0, 1, 2))
        assert subscription.get(timeout=2) == LookAgain()
        assert live.frames("b1", 1, 1) == texts(1, 2)


def test_silence_reads_as_none_after_the_timeout(live: LiveBuffer) -> None:
    with live.follow("b1", 1) as subscription:
        begin(live, subscription)
        started = time.monotonic()
        assert subscription.get(timeout=0.1) is None
        assert 0.1 <= time.monotonic() - started < 1


def test_published_boards_reach_their_followers_and_nobody_else(live: LiveBuffer) -> None:
    with live.follow("b1", 1) as turn, live.boards() as one, live.boards() as other:
        begin(live, turn)
        live.announce({"campaign": "online", "log_position": 7})
        announced = {"campaign": "online", "log_position": 7}
        assert next_message(one) == next_message(other) == announced
        assert turn.get(timeout=0.05) is None
        live.push([frame(1)])
        assert one.get(timeout=0.05) is None


# --- wake-ups -----------------------------------------------------------------------------------


def test_each_wake_up_of_a_runner_is_delivered_once_and_in_order(live: LiveBuffer) -> None:
    for battle_id in ("b1", "b2", "b3"):
        live.wake_runner(battle_id)
    assert [live.next_battle(0.5) for _ in range(3)] == ["b1", "b2", "b3"]
    assert live.next_battle(0.05) is None


def test_one_wake_up_reaches_one_of_several_waiting_runners(live: LiveBuffer) -> None:
    def wait() -> str | None:
        return live.next_battle(0.6)

    def wake() -> str | None:
        time.sleep(0.1)
        live.wake_runner("b1")
        return "woken"

    heard = at_once([wait, wait, wait, wake])
    assert sorted(heard[:3], key=str) == [None, None, "b1"]


def test_many_votes_wake_the_worker_once(live: LiveBuffer) -> None:
    for _ in range(5):
        live.wake_worker()
    assert seconds(lambda: live.wait_for_work(2)) < 0.5
    assert seconds(lambda: live.wait_for_work(0.3)) >= 0.3


def seconds(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


# --- without Redis ------------------------------------------------------------------------------


def test_without_redis_hints_are_dropped_and_nobody_is_told(away: LiveBuffer) -> None:
    away.wake_runner("b1")
    away.wake_worker()
    away.ended("b1", 1)
    away.announce({"campaign": "online"})
    assert away.next_battle(0.05) is None
    away.wait_for_work(0.05)


def test_without_redis_waiting_takes_its_time(away: LiveBuffer) -> None:
    """Or a runner without Redis would poll SQL in a busy loop."""
    assert seconds(lambda: away.next_battle(0.2)) >= 0.15
    assert seconds(lambda: away.wait_for_work(0.2)) >= 0.15


@pytest.mark.parametrize(
    "call",
    [
        lambda live: live.push([frame(0)]),
        lambda live: live.replace("b1", 1, texts(0)),
        lambda live: live.frames("b1", 1, 0),
        lambda live: live.ping(),
    ],
    ids=["push", "replace", "frames", "ping"],
)
def test_without_redis_frames_are_refused(
    away: LiveBuffer, call: Callable[[LiveBuffer], object]
) -> None:
    with pytest.raises(LiveLost):
        call(away)


def test_without_redis_a_follower_just_hears_nothing(away: LiveBuffer) -> None:
    with away.follow("b1", 1) as subscription, away.boards() as boards:
        assert subscription.get(timeout=0.05) is None
        assert boards.get(timeout=0.05) is None


def test_a_redis_that_answers_a_ping_is_there(live: LiveBuffer) -> None:
    live.ping()


# --- what only a real server can show -----------------------------------------------------------


def test_frames_and_wake_ups_that_nobody_fetches_expire(
    real: RedisLive, client: redis.Redis
) -> None:
    real.push([frame(0), frame(0, "b2")])
    real.push([frame(1)])
    real.replace("b3", 1, texts(0, 1))
    real.wake_runner("b1")
    real.wake_worker()
    left = {key: client.ttl(key) for key in client.keys()}
    assert len(left) == 5
    assert all(0 < seconds_left <= TTL for seconds_left in left.values()), left


def test_a_list_that_was_lost_and_is_never_replaced_still_expires(
    real: RedisLive, client: redis.Redis
) -> None:
    """The runner may end the battle before it could write the list anew."""
    real.push([frame(0)])
    client.flushall()
    assert real.push([frame(1)]) == {"b1"}
    assert all(0 < client.ttl(key) <= TTL for key in client.keys())


def test_one_subscription_serves_all_followers_of_a_process(
    real: RedisLive, client: redis.Redis
) -> None:
    with real.follow("b1", 1), real.follow("b2", 1), real.follow("b1", 1), real.boards():
        assert dict(client.pubsub_numsub("arena:frames")) == {"arena:frames": 1}


def test_a_follower_is_told_to_look_when_the_subscription_was_cut(
    real: RedisLive, client: redis.Redis
) -> None:
    with real.follow("b1", 1) as subscription:
        begin(real, subscription)
        assert subscription.get(timeout=0.2) is None
        client.client_kill_filter(_type="pubsub")
        assert subscription.get(timeout=3) == LookAgain()
        real.push([frame(1)])
        assert next_message(subscription) == frame(1)


def test_closing_ends_the_hubs_thread(redis_url: str) -> None:
    made = RedisLive(redis_url, ttl=TTL)
    with made.follow("b1", 1):
        assert "live-hub" in names_of_threads()
    made.close()
    assert "live-hub" not in names_of_threads()


def names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


class OwnRedis:
    """A Redis that a test may kill and start again on the same socket."""

    def __init__(self, folder: str) -> None:
        server = redis_command(Settings.from_environment({"ARENA_DATA": folder}))
        assert server is not None
        self.server = server
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.server.argv, stdout=subprocess.DEVNULL)
        wait_until(lambda: is_ready(self.server.socket), what="Redis to answer")

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def own_redis() -> Iterator[OwnRedis]:
    with tempfile.TemporaryDirectory(prefix="arena-live-") as folder:
        server = OwnRedis(folder)
        yield server
        server.kill()


def test_followers_survive_a_kill_of_redis_and_are_told_to_look(own_redis: OwnRedis) -> None:
    live = RedisLive(own_redis.server.url, ttl=TTL)
    try:
        with live.follow("b1", 1) as subscription, live.boards() as boards:
            begin(live, subscription)
            own_redis.kill()
            with pytest.raises(LiveLost):
                live.push([frame(1)])
            live.wake_runner("b9")
            with live.follow("b2", 1) as late:  # one that comes while Redis is away
                own_redis.start()
                assert subscription.get(timeout=5) == LookAgain()
                assert late.get(timeout=5) == LookAgain()
                live.push([frame(1), frame(0, "b2")])
                assert next_message(subscription) == frame(1)
                assert next_message(late) == frame(0, "b2")
            live.announce({"campaign": "online"})
            assert boards.get(timeout=2) == LookAgain()
            assert boards.get(timeout=2) == {"campaign": "online"}
            assert live.next_battle(0.05) is None
    finally:
        live.close()
