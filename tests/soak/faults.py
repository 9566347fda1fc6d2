"""The faults of each house. A fault is over when its function returns."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import redis

from tests.services import wait_until
from tests.soak.houses import Clock, House, ManyMachines, OneMachine

_PART_SECONDS = 30.0
_CLOCK_SECONDS = 3.0
_HOUR = 3600
_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class Lengths:
    """How long faults last that are no single blow, in seconds."""

    stopped: float
    """A process that is stopped; longer than the lease."""
    away: float
    disk_full: float


@dataclass(frozen=True)
class Fault:
    name: str
    inflict: Callable[[random.Random], None]
    is_long: bool = False


def faults_of(house: House, lengths: Lengths) -> list[Fault]:
    """Everything that can be done to this house."""
    faults = [
        Fault("kill -9 a web worker", lambda rng: _kill(_some(house, "web", rng, first=1))),
        Fault("kill -9 the gunicorn master", lambda _: _kill(_living(house, "web")[0])),
        Fault("kill -9 a runner", lambda rng: _kill(_some(house, "runner", rng))),
        Fault("kill -9 a worker", lambda rng: _kill(_some(house, "worker", rng))),
        Fault("stop a runner", lambda rng: _stop(_some(house, "runner", rng), lengths.stopped)),
        Fault("stop a worker", lambda rng: _stop(_some(house, "worker", rng), lengths.stopped)),
        Fault("Redis flushed", lambda _: _flush(house.redis_url())),
        Fault("Redis hangs", lambda _: _stop(house.redis_pid(), lengths.stopped)),
    ]
    if isinstance(house, OneMachine):
        faults += _faults_of_one_machine(house)
    if isinstance(house, ManyMachines):
        faults += _faults_of_many_machines(house, lengths)
    if house.clock is not None:
        faults += _faults_of_clock(house.clock)
    if house.has_small_disk:
        faults.append(Fault("disk full", lambda _: _fill(house, lengths.disk_full)))
    return faults


def _faults_of_one_machine(house: OneMachine) -> list[Fault]:
    return [
        Fault("kill -9 Redis", lambda _: _kill(house.redis_pid())),
        Fault("kill -9 arena up", lambda _: _kill(house.up.process.pid)),
    ]


def _faults_of_many_machines(house: ManyMachines, lengths: Lengths) -> list[Fault]:
    def without_redis(seconds: float) -> None:
        house.redis.kill()
        time.sleep(seconds)
        house.redis.start()

    def kill_postgres() -> None:
        house.postgres.kill()
        house.postgres.start()

    return [
        Fault("kill -9 Redis", lambda _: without_redis(0)),
        Fault("Redis away", lambda _: without_redis(lengths.away), is_long=True),
        Fault("kill -9 the postmaster", lambda _: kill_postgres()),
        Fault("kill -9 a backend", lambda rng: _kill(rng.choice(house.postgres.pids()[1:]))),
    ]


def _faults_of_clock(clock: Clock) -> list[Fault]:
    def jump(seconds: int) -> None:
        clock.move(seconds)
        time.sleep(_CLOCK_SECONDS)
        clock.move(0)

    return [
        Fault("clock an hour ahead, and back", lambda _: jump(_HOUR)),
        Fault("clock an hour behind, and back", lambda _: jump(-_HOUR)),
    ]


def _living(house: House, part: str, least: int = 1) -> list[int]:
    """The part's processes, once there are as many; the fault before may still be felt."""
    return wait_until(
        lambda: len(found := house.pids(part)) >= least and found, _PART_SECONDS, what=part
    )


def _some(house: House, part: str, rng: random.Random, first: int = 0) -> int:
    return rng.choice(_living(house, part, first + 1)[first:])


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _stop(pid: int, seconds: float) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)


def _flush(url: str) -> None:
    with redis.Redis.from_url(url) as client, suppress(redis.RedisError):
        client.flushall()


def _fill(house: House, seconds: float) -> None:
    """Leave not a byte, for so long."""
    ballast = house.disk / "ballast"
    try:
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * _BLOCK)
        end = time.monotonic() + seconds
        with suppress(OSError), ballast.open("ab", buffering=0) as file:
            while time.monotonic() < end:  # what others free meanwhile, too
                with suppress(OSError):
                    file.write(b"\0" * 4096)
                time.sleep(0.02)
    finally:
        ballast.unlink(missing_ok=True)
    if isinstance(house, ManyMachines):
        house.postgres.start()  # it may have given up
