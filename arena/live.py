"""Redis: frames of running turns, wake-ups and announcements. SQL is the system of record.

A running turn is one Redis list of frames with a time to live; each tick also publishes its
frames of all battles as one message, and every web process reads those with one subscription
(`_Hub`), however many voters it serves.
"""

from __future__ import annotations

import json
import logging
import math
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

import redis

from arena import logs, metrics
from arena.battle import Frame
from arena.errors import LiveLost
from arena.interfaces import LineShare, LiveFrame, LookAgain
from arena.redis_client import connect

_log = logging.getLogger(__name__)

_FRAMES = "arena:frames"
_BOARDS = "arena:boards"
_RUNNER_BELL = "arena:wake:runner"
_WORKER_BELL = "arena:wake:worker"
_BELL_SECONDS = 60  # a wake-up that nobody heard for this long has been covered by polling
_HUB_RETRY_SECONDS = 0.2
_QUICK_SECONDS = 0.5  # a vote's answer and a tick wait no longer for Redis
_BLOCK_SECONDS = 2.0
_LEFT_ALONE_SECONDS = 1.0
_HUB_LOOK_SECONDS = 0.2  # how soon the hub notices that it is to close
_HUB_SILENCE_SECONDS = 1.0  # after which the server is asked, and must answer as soon

_LINE = "arena:line"
_LINE_SEEN = "arena:line:seen"
_LINE_MS = 15_000  # a hidden tab's timers are slow, and a place that nobody wants is held so long
_LINE_SCRIPT = """
local line, seen, ours = KEYS[1], KEYS[2], KEYS[3]
local voter, lasts, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now - lasts)) do
  redis.call('ZREM', line, gone)
  redis.call('ZREM', seen, gone)
end
if most > 0 and not redis.call('ZSCORE', line, voter) then
  for _, other in ipairs(redis.call('SMEMBERS', ours)) do
    if not redis.call('ZSCORE', line, other) then
      redis.call('SREM', ours, other)
    end
  end
  if redis.call('SCARD', ours) >= most then
    most = 0
  end
end
if most > 0 then
  redis.call('ZADD', line, 'NX', now, voter)
  redis.call('ZADD', seen, now, voter)
  redis.call('SADD', ours, voter)
  for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, lasts)
  end
end
return redis.call('ZRANK', line, voter) or redis.call('ZCARD', line)
"""

T = TypeVar("T")


class _Breaker:
    """After a failure Redis is left alone for a moment, so that nobody waits for it in turn."""

    def __init__(self) -> None:
        self._closed_until = -math.inf

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Raises `LiveLost` for whatever Redis does wrong inside the block."""
        if time.monotonic() < self._closed_until:
            raise LiveLost("Redis failed a moment ago.")
        try:
            yield
        except redis.RedisError as error:
            self._closed_until = time.monotonic() + _LEFT_ALONE_SECONDS
            metrics.REDIS_ERRORS.labels(metrics.here()).inc()
            raise LiveLost(f"Redis cannot be used: {error}") from error

    def reset(self) -> None:
        """Redis was seen to answer: it need not be left alone any longer."""
        self._closed_until = -math.inf


@contextmanager
def _hint(what: str) -> Iterator[None]:
    """The one degraded mode: a lost wake-up or announcement is logged.

    Runner and worker poll, and readers look again when their subscription is renewed.
    """
    try:
        yield
    except LiveLost as error:
        _log.warning("%s is not told: %s", what, error)


def _key(battle_id: str, turn: int) -> str:
    return f"arena:live:{battle_id}:{turn}"


def _pack(number: int, frame: Frame) -> str:
    return json.dumps([number, frame.a, frame.b], separators=(",", ":"))


def _unpack(items: Sequence[str], start: int) -> list[Frame]:
    """The frames from `start` on, up to one that stands in the place of a lost one."""
    frames = []
    for place, item in enumerate(items, start):
        number, a, b = json.loads(item)
        if number != place:
            break
        frames.append(Frame(a, b))
    return frames


class RedisLive:
    """`interfaces.LiveBuffer` over Redis. Safe to share between threads, not across a fork."""

    def __init__(self, url: str, *, ttl: int) -> None:
        self._redis = connect(url, patience=_QUICK_SECONDS)
        self._patient = connect(url, patience=_BLOCK_SECONDS + 1)
        self._guard = _Breaker()
        self._ttl = ttl
        self._hub = _Hub(self._patient, subscribed=self._guard.reset)
        self._line: Any = self._redis.register_script(_LINE_SCRIPT)

    # --- frames -----------------------------------------------------------------------------

    def push(self, frames: Sequence[LiveFrame]) -> set[str]:
        if not frames:
            return set()
        message = [[f.battle_id, f.turn, f.number, f.frame.a, f.frame.b] for f in frames]
        with self._guard():
            pipe = self._redis.pipeline(transaction=False)
            for live in frames:
                # only the first makes a list, so that none lacks its time to live
                push = pipe.rpushx if live.number else pipe.rpush
                push(_key(live.battle_id, live.turn), _pack(live.number, live.frame))
            for live in frames:
                if live.number == 0:
                    pipe.expire(_key(live.battle_id, live.turn), self._ttl)
            pipe.publish(_FRAMES, json.dumps(message, separators=(",", ":")))
            lengths = dict(zip(frames, pipe.execute(), strict=False))
        return {live.battle_id for live, length in lengths.items() if length != live.number + 1}

    def replace(self, battle_id: str, turn: int, frames: Sequence[Frame]) -> None:
        key = _key(battle_id, turn)
        with self._guard():
            pipe = self._redis.pipeline(transaction=True)
            pipe.delete(key)
            if frames:
                pipe.rpush(key, *(_pack(number, frame) for number, frame in enumerate(frames)))
                pipe.expire(key, self._ttl)
            pipe.publish(_FRAMES, json.dumps([[battle_id, turn]]))
            pipe.execute()

    def ended(self, battle_id: str, turn: int) -> None:
        with _hint("the end of a turn"), self._guard():
            self._redis.publish(_FRAMES, json.dumps([[battle_id, turn]]))

    def frames(self, battle_id: str, turn: int, start: int) -> list[Frame]:
        with self._guard():
            packed: Any = self._redis.lrange(_key(battle_id, turn), start, -1)
        return _unpack(packed, start)

    @contextmanager
    def follow(self, battle_id: str, turn: int) -> Iterator[_Queue[LiveFrame | LookAgain]]:
        with self._hub.listen(f"{battle_id}:{turn}") as subscription:
            yield subscription

    # --- wake-ups ---------------------------------------------------------------------------

    def wake_runner(self, battle_id: str) -> None:
        with _hint("a new battle"), self._guard():
            self._ring(_RUNNER_BELL, f"{battle_id} {logs.request_id() or ''}", keep=10_000)

    def next_battle(self, timeout: float) -> str | None:
        """As promised; the log's lines of this thread then name the request that woke us."""
        battle_id, _, request_id = (self._wait(_RUNNER_BELL, timeout) or "").partition(" ")
        logs.bind(request_id=request_id or None)
        return battle_id or None

    def wake_worker(self) -> None:
        with _hint("a new vote"), self._guard():
            self._ring(_WORKER_BELL, "1", keep=1)

    def wait_for_work(self, timeout: float) -> None:
        self._wait(_WORKER_BELL, timeout)

    def _ring(self, bell: str, message: str, *, keep: int) -> None:
        pipe = self._redis.pipeline(transaction=False)
        pipe.rpush(bell, message)
        pipe.ltrim(bell, -keep, -1)
        pipe.expire(bell, _BELL_SECONDS)
        pipe.execute()

    def _wait(self, bell: str, timeout: float) -> str | None:
        """Block below the client's socket time-out; without Redis, just wait."""
        try:
            rung: Any = self._patient.blpop([bell], timeout=min(timeout, _BLOCK_SECONDS))
        except redis.RedisError:
            metrics.REDIS_ERRORS.labels(metrics.here()).inc()
            time.sleep(min(timeout, 0.5))
            return None
        return None if rung is None else str(rung[1])

    # --- boards -----------------------------------------------------------------------------

    def announce(self, snapshot: dict[str, Any]) -> None:
        with _hint("a published board"), self._guard():
            self._redis.publish(_BOARDS, json.dumps(snapshot))

    @contextmanager
    def boards(self) -> Iterator[_Queue[dict[str, Any] | LookAgain]]:
        with self._hub.listen(_BOARDS) as subscription:
            yield subscription

    # --- the line for a place ---------------------------------------------------------------

    def ahead(self, voter: str, stay: LineShare | None = None) -> int:
        share = stay or LineShare("", 0)
        keys = [_LINE, _LINE_SEEN, f"{_LINE}:of:{share.network}"]
        with self._guard():
            return int(self._line(keys=keys, args=[voter, _LINE_MS, share.most]))

    def leave_line(self, voter: str) -> None:
        with self._guard():
            pipe = self._redis.pipeline(transaction=False)
            pipe.zrem(_LINE, voter)
            pipe.zrem(_LINE_SEEN, voter)
            pipe.execute()

    def ping(self) -> None:
        """Raise `LiveLost` unless Redis answers."""
        with self._guard():
            self._redis.ping()

    def close(self) -> None:
        self._hub.close()
        self._redis.close()
        self._patient.close()


class _Queue(Generic[T]):
    """One follower's messages (`interfaces.Subscription`)."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[T] = queue.SimpleQueue()
        self.put = self._queue.put

    def get(self, timeout: float) -> T | None:
        with suppress(queue.Empty):
            return self._queue.get(timeout=timeout)
        return None


class _Silence:
    """How long a subscription has been silent: one that is cut off looks like one without news."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._asked = False

    def is_to_be_broken(self) -> bool:
        """Whether the server is to be asked now; raises when it has not answered that."""
        lasted = time.monotonic() - self._since
        if lasted > 2 * _HUB_SILENCE_SECONDS:
            raise redis.ConnectionError(f"no word from Redis for {lasted:.1f} s")
        if self._asked or lasted < _HUB_SILENCE_SECONDS:
            return False
        self._asked = True
        return True


class _Hub:
    """One Redis subscription of this process, handed out to its followers by topic."""

    def __init__(self, client: redis.Redis, *, subscribed: Callable[[], None]) -> None:
        self._redis = client
        self._on_subscribed = subscribed
        self._lock = threading.Lock()
        self._followers: dict[str, set[_Queue[Any]]] = defaultdict(set)
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._subscribed = threading.Event()

    @contextmanager
    def listen(self, topic: str) -> Iterator[_Queue[Any]]:
        self._start()
        # Without Redis there is nothing to wait for: the follower reads SQL meanwhile.
        self._subscribed.wait(timeout=1)
        subscription: _Queue[Any] = _Queue()
        with self._lock:
            self._followers[topic].add(subscription)
        try:
            yield subscription
        finally:
            with self._lock:
                self._followers[topic].discard(subscription)
                if not self._followers[topic]:
                    del self._followers[topic]

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._read, name="live-hub", daemon=True)
                self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _read(self) -> None:
        while not self._closed.is_set():
            try:
                self._subscribe()
            except redis.RedisError as error:
                _log.warning("lost the live subscription, trying again: %s", error)
            except Exception:  # noqa: BLE001  one bad message must not end the hub
                _log.exception("the live hub met a message it cannot read")
            self._subscribed.clear()
            self._closed.wait(_HUB_RETRY_SECONDS)

    def _subscribe(self) -> None:
        with self._redis.pubsub() as pubsub:  # type: ignore[no-untyped-call]  # redis-py
            pubsub.subscribe(_FRAMES, _BOARDS)
            silence = _Silence()
            while not self._closed.is_set():
                message = pubsub.get_message(timeout=_HUB_LOOK_SECONDS)
                if message is None:
                    if silence.is_to_be_broken():
                        pubsub.ping()
                    continue
                silence = _Silence()
                if message["type"] == "message":
                    self._hand_out(message["channel"], json.loads(message["data"]))
                elif message["channel"] == _FRAMES:  # subscribed, at first or anew by redis-py
                    self._on_subscribed()
                    self._tell_all_to_look()
                    self._subscribed.set()  # who comes from now on has missed nothing

    def _tell_all_to_look(self) -> None:
        with self._lock:
            followers = [
                follower for listeners in self._followers.values() for follower in listeners
            ]
        for follower in followers:
            follower.put(LookAgain())

    def _hand_out(self, channel: str, data: Any) -> None:
        if channel == _BOARDS:
            self._tell(_BOARDS, data)
            return
        for item in data:
            topic = f"{item[0]}:{item[1]}"
            if topic not in self._followers:
                continue
            if len(item) == 2:  # noqa: PLR2004  [battle, turn]: the turn is over
                self._tell(topic, LookAgain())
            else:
                battle_id, turn, number, a, b = item
                self._tell(topic, LiveFrame(battle_id, turn, number, Frame(a, b)))

    def _tell(self, topic: str, message: Any) -> None:
        with self._lock:
            followers = list(self._followers.get(topic, ()))
        for follower in followers:
            follower.put(message)
