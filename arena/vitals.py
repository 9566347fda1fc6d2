"""How the house does: its databases, worker, runners, queue and disk, seen from outside."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from arena import __version__
from arena.battle import BattleState
from arena.boards import OVERALL
from arena.errors import ArenaError
from arena.interfaces import LeaseSeen, LiveBuffer, Store
from arena.leases import RUNNER, WORKER

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
        disk = shutil.disk_usage(self._data)
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


def _problem(check: Callable[[], None]) -> str | None:
    try:
        check()
    except ArenaError as error:
        return str(error)
    return None
