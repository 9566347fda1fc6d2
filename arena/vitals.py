"""How the house does: its databases, worker, runners, queue and disk, seen from outside."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from arena import __version__
from arena.battle import BattleState
from arena.boards import OVERALL
from arena.circuit import Circuit, CircuitState
from arena.errors import ArenaError, Unavailable
from arena.interfaces import LeaseSeen, LiveBuffer, Store
from arena.leases import RUNNER, WORKER

LEAST_FREE_BYTES = 512 * 2**20
"""With less room than this the operator is warned."""

_PROXY_UNBELIEVED = (
    "A proxy in front sends X-Forwarded-For, and ARENA_PROXY_HOPS is 0: all voters count as one "
    "network and share its limits. Set it to the number of your proxies."
)
_CLOCKS_MAY_DIFFER = timedelta(seconds=30)
_LOOK_AGAIN_SECONDS = 0.1
_PACKAGES = ("flask", "gunicorn", "sqlalchemy", "redis", "httpx", "numpy")


@dataclass(frozen=True, slots=True)
class Holder:
    """A worker or runner, whether its lease still beats, and how many battles it has."""

    name: str
    is_alive: bool
    battles: int = 0


@dataclass(frozen=True, slots=True)
class BoardState:
    """The newest overall board of a campaign; None where nothing was published yet."""

    campaign: str
    log_position: int | None
    published_at: str | None


@dataclass(frozen=True, slots=True)
class Work:
    """What SQL tells of the work: leases, log, boards, queue."""

    worker: Holder | None
    runners: list[Holder]
    log_position: int
    unsealed: int
    boards: list[BoardState]
    battles: dict[str, int]
    waiting: int

    @property
    def is_stuck(self) -> bool:
        """Whether voters or votes wait, and nobody is there for them."""
        nobody_streams = not any(runner.is_alive for runner in self.runners)
        return nobody_streams or self.worker is None or not self.worker.is_alive


@dataclass(frozen=True, slots=True)
class Health:
    """Everything at one moment. Problems are sentences, None when all is well."""

    database_problem: str | None
    redis_problem: str | None
    work: Work | None
    disk_free: int
    disk_total: int
    versions: dict[str, str]


class Vitals:
    """Looks at everything. A lease is alive when its beat moves while we look."""

    def __init__(self, store: Store, live: LiveBuffer, data: Path, lease_seconds: float) -> None:
        self._store = store
        self._live = live
        self._data = data
        self._patience = lease_seconds
        self._silent: dict[str, LeaseSeen] = {}

    def look(self) -> Health:
        """The health now. Takes as long as a lease may be silent when one has fallen silent."""
        database_problem = _problem(self._store.ping)
        # one of many machines needs no data folder of its own
        there = next(folder for folder in (self._data, *self._data.parents) if folder.exists())
        disk = shutil.disk_usage(there)
        return Health(
            database_problem=database_problem,
            redis_problem=_problem(self._live.ping),
            work=None if database_problem else self._work(),
            disk_free=disk.free,
            disk_total=disk.total,
            versions={
                "arena": __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in _PACKAGES},
            },
        )

    def obstacles(self) -> dict[str, str]:
        """Why no vote can be stored, in sentences by part; empty when votes can be stored."""
        return _told(database=_problem(self._store.ping), schema=_problem(self._fit))

    def _fit(self) -> None:
        with suppress(Unavailable):  # that is what the ping tells
            self._store.require_current()

    def problems(self, *, unbelieved_proxy: bool = False) -> dict[str, str]:
        """Everything that an operator should look after, in sentences by part."""
        obstacles = self.obstacles()
        if obstacles:
            return obstacles
        health = self.look()
        work = health.work
        return _told(
            database=health.database_problem,
            durability=_problem(self._store.require_durable),
            redis=health.redis_problem,
            proxy=_PROXY_UNBELIEVED if unbelieved_proxy else None,
            disk=_disk_problem(health.disk_free, self._data),
            **({} if work is None else _work_problems(work)),
            **{"endpoints": _endpoints_problem(self._store.circuits.all())},
        )

    def _work(self) -> Work:
        beating = self._beating()
        battles = self._store.battles
        claimed = {RUNNER + name: len(held) for name, held in battles.claimed().items()}
        # A silent runner that has nothing was killed: nothing hangs on it.
        runners = {name for name in beating if name.startswith(RUNNER) and beating[name]}
        states = battles.by_state()
        return Work(
            worker=Holder(WORKER, beating[WORKER]) if WORKER in beating else None,
            runners=[
                Holder(name.removeprefix(RUNNER), name in runners, claimed.get(name, 0))
                for name in sorted(runners | claimed.keys())
            ],
            log_position=self._store.votes.position(),
            unsealed=self._store.votes.unsealed(),
            boards=[self._board(campaign.id) for campaign in self._store.campaigns.all()],
            battles={state: states.get(state, 0) for state in BattleState},
            waiting=len(battles.waiting()),
        )

    def _board(self, campaign: str) -> BoardState:
        newest = self._store.snapshots.latest(campaign, OVERALL)
        if newest is None:
            return BoardState(campaign, None, None)
        return BoardState(campaign, newest.log_position, newest.published_at)

    def _beating(self) -> dict[str, bool]:
        """Every held lease, and whether it is alive. Those found silent before are not awaited."""
        first = self._store.leases.held()
        awaited = {name for name in first if self._silent.get(name) != first[name]}
        moved: set[str] = set()
        seen = first
        end = time.monotonic() + self._patience
        while not awaited <= moved and time.monotonic() < end:
            time.sleep(_LOOK_AGAIN_SECONDS)
            seen = self._store.leases.held()
            moved |= {name for name in first if seen.get(name) != first[name]}
        self._silent = {name: first[name] for name in first if name not in moved}
        return {name: name in moved for name in first if name in seen}


def _told(**problems: str | None) -> dict[str, str]:
    return {part: sentence for part, sentence in problems.items() if sentence is not None}


def _work_problems(work: Work) -> dict[str, str | None]:
    """What leases and boards tell."""
    return {
        "worker": _worker_problem(work.worker, work.unsealed),
        "runners": _runners_problem(work.runners, work.waiting),
        "clock": _clock_problem([board.published_at for board in work.boards]),
    }


def _worker_problem(worker: Holder | None, unsealed: int) -> str | None:
    if worker is not None and worker.is_alive:
        return None
    silent = "No worker has the lease" if worker is None else "The worker has fallen silent"
    return f"{silent}: {unsealed} records wait for their place in the log. Start 'arena worker'."


def _runners_problem(runners: list[Holder], waiting: int) -> str | None:
    if any(runner.is_alive for runner in runners):
        return None
    return f"No runner shows that it lives: {waiting} battles wait. Start 'arena runner'."


def _disk_problem(free: int, data: Path) -> str | None:
    if free >= LEAST_FREE_BYTES:
        return None
    return f"Only {free // 2**20} MB are free where {data} is; votes need room to be stored."


def _clock_problem(published: list[str | None]) -> str | None:
    """A board of the future: this machine's clock, or the worker's, is wrong."""
    newest = max((at for at in published if at is not None), default=None)
    if newest is None:
        return None
    ahead = datetime.fromisoformat(newest) - datetime.now(UTC)
    if ahead < _CLOCKS_MAY_DIFFER:
        return None
    return (
        f"The newest board is of {newest}, {ahead.total_seconds():.0f} s from now: this machine's "
        "clock is behind, or the worker's was ahead. Let both follow a time server."
    )


def _endpoints_problem(circuits: list[Circuit]) -> str | None:
    resting = [
        f"{one.model} ({one.error})" for one in circuits if one.state is not CircuitState.closed
    ]
    if not resting:
        return None
    return f"Left alone until they answer again: {', '.join(resting)}."


def _problem(check: Callable[[], None]) -> str | None:
    try:
        check()
    except ArenaError as error:
        return str(error)
    return None
