"""Machines that share PostgreSQL, Redis and a key, and nothing else: no folder, no file.

The short tests run several processes of one machine as if each were alone on its own, where
nothing can be written. The long ones cut them off from a server (`pytest -m soak`).
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.aftermath import expect_complete, log_of
from tests.conftest import missing
from tests.machines import Island, SentinelGroup, postgres_on, redis_on
from tests.services import UNHURRIED, ArenaProcess, Missing, redis_server, wait_until
from tests.upstream import roster, upstream, words
from tests.voter import Seen, Voter, patiently, voted_battle

pytestmark = pytest.mark.postgres

LEASE_SECONDS = 1.0
_LAST = 19
"""The highest niceness there is on Linux: setpriority(2)."""
_ALIKE = {
    **UNHURRIED,
    "ARENA_SECRET_KEY": "a key that all machines were given",
    "ARENA_SIGNING_KEY": "5" * 64,
    "ARENA_LEASE_SECONDS": str(LEASE_SECONDS),
    "ARENA_POLL_SECONDS": "0.3",
    "ARENA_WEB_WORKERS": "1",
    "ARENA_LOG_FORMAT": "text",
    # below a device no folder can be made
    "ARENA_DATA": "/dev/null/data",
}


@dataclass(frozen=True)
class Servers:
    """Where one machine finds the servers that it shares with others."""

    database: str
    redis: str

    def environ(self) -> dict[str, str]:
        return {**_ALIKE, "DATABASE_URL": self.database, "REDIS_URL": self.redis}


class Machines:
    """Starts processes, each as if on a machine of its own; all are gone at the end."""

    def __init__(self, folder: Path, servers: Servers) -> None:
        self._folder = folder
        self._servers = servers
        self._numbers = count(1)
        self._started: list[ArenaProcess] = []

    def __enter__(self) -> Machines:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.process.kill()
        for process in self._started:
            process.stop()

    def upgrade(self, arena_toml: str) -> None:
        """`arena db upgrade` on a machine that has an `arena.toml`."""
        process = self._machine("db", "upgrade")
        (process.data / "arena.toml").write_text(arena_toml)
        with process:
            assert process.process.wait(60) == 0, process.log()

    def start(
        self, part: str, servers: Servers | None = None, arena_toml: str | None = None
    ) -> ArenaProcess:
        """A `runner`, `worker` or `web`, not yet ready; its servers may be found elsewhere."""
        process = self._machine(part, servers=servers)
        if arena_toml is not None:
            (process.data / "arena.toml").write_text(arena_toml)
        process.start()
        self._started.append(process)
        return process

    def _machine(self, *command: str, servers: Servers | None = None) -> ArenaProcess:
        folder = self._folder / f"{'-'.join(command)}-{next(self._numbers)}"
        folder.mkdir(parents=True)
        return ArenaProcess(folder, *command, environ=(servers or self._servers).environ())


@dataclass(frozen=True)
class Hosts:
    """Two webs, two runners and two workers."""

    machines: Machines
    webs: list[ArenaProcess]
    runners: list[ArenaProcess]
    workers: list[ArenaProcess]
    database: str
    models: str

    def runner_of(self, battle: str) -> ArenaProcess:
        """The one that streams it."""
        return next(one for one in self.runners if battle in one.log())

    def holder(self) -> ArenaProcess:
        """The worker that has the lease."""
        found = ask(self.database, "SELECT holder FROM leases WHERE name = 'worker'")
        return next(one for one in self.workers if f"worker {found} holds" in one.log())


def ask(database: str, query: str) -> object:
    with psycopg.connect(database, autocommit=True) as connection:
        row = connection.execute(sql.SQL(query)).fetchone()  # type: ignore[arg-type]
    return row[0] if row else None


RUNNERS = "SELECT count(*) FROM leases WHERE name LIKE 'runner:%' AND holder IS NOT NULL"


def moved(voter: Voter, url: str) -> Voter:
    """The same voter at another web, with the same cookies."""
    other = Voter(url)
    for cookie in voter.http.cookies.jar:
        other.http.cookies.set(cookie.name, cookie.value or "")
    return other


@pytest.fixture(scope="module")
def hosts(postgres_server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    name, parts = "many_hosts", urlsplit(postgres_server_url)
    with psycopg.connect(postgres_server_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    database = f"postgresql://{parts.netloc}/{name}?{parts.query}"
    folder = tmp_path_factory.mktemp("machines")
    with (
        redis_server() as redis,
        upstream() as models,
        Machines(folder, Servers(database, redis)) as machines,
    ):
        machines.upgrade(roster(models, ["steady", "steady"]))
        workers, runners = (
            [machines.start(part), machines.start(part)] for part in ("worker", "runner")
        )
        with_a_file_of_its_own = machines.start(
            "web", arena_toml=roster(models, ["broken", "broken"])
        )
        webs = [machines.start("web"), with_a_file_of_its_own]
        wait_until(lambda: ask(database, RUNNERS) == len(runners), 60, what="the runners")
        for web in webs:
            web.wait_ready()
        yield Hosts(machines, webs, runners, workers, database, models)


def test_a_battle_begun_on_one_web_is_streamed_and_voted_on_at_another(hosts: Hosts) -> None:
    one, other = (web.url for web in hosts.webs)
    with Voter(one) as voter:
        battle, seen = voter.start(), Seen()
        with moved(voter, other) as there:
            assert list(there.events(battle, seen))[-1] == "ready"
            assert seen.texts == dict.fromkeys("ab", "".join(words("steady")))
            receipt = there.vote(battle, 1).json()["receipt"]
        assert voter.look(battle)["receipt"] == receipt
    expect_complete(other, [receipt])


def test_runners_stand_back_for_web(hosts: Hosts) -> None:
    def niceness(processes: list[ArenaProcess]) -> list[int]:
        return [os.getpriority(os.PRIO_PROCESS, process.process.pid) for process in processes]

    webs, runners = niceness(hosts.webs), niceness(hosts.runners)
    if max(webs) == _LAST:
        pytest.skip(f"these tests have niceness {_LAST} themselves: nothing stands behind that")
    assert max(webs) < min(runners)


def test_a_killed_runners_battle_is_void_by_another_and_drawn_anew(hosts: Hosts) -> None:
    with Voter(hosts.webs[0].url) as voter:
        battle, seen = voter.start(), Seen()
        events = voter.events(battle, seen)
        next(events)
        victim = hosts.runner_of(battle)
        victim.process.kill()
        assert list(events)[-1] == "void"
        assert voter.look(battle)["void_reason"] == "interrupted"
        voter.wait_for(voter.start(), "ready")
    victim.process.wait()
    victim.start()


def test_a_stopped_worker_is_replaced_and_cannot_seal_when_it_wakes_up(hosts: Hosts) -> None:
    url = hosts.webs[0].url
    wait_until(lambda: ask(hosts.database, "SELECT holder FROM leases WHERE name = 'worker'"))
    receipts = [str(row["hash"]) for row in log_of(url)]
    holder = hosts.holder()
    holder.process.send_signal(signal.SIGSTOP)
    receipts.append(voted_battle(url, 2))
    expect_complete(url, receipts)
    assert hosts.holder() is not holder
    holder.process.send_signal(signal.SIGCONT)
    receipts.append(voted_battle(url, -1))
    expect_complete(url, receipts)
    wait_until(lambda: "starting over" in holder.log(), what=holder.log())


def test_a_roster_that_one_machine_was_given_is_used_by_all(hosts: Hosts) -> None:
    """Also by one that has a file of its own, which says so: of many, the last would win."""
    hosts.machines.upgrade(roster(hosts.models, ["quick", "quick"]))
    for web in hosts.webs:
        with Voter(web.url) as voter:
            battle, seen = voter.start(), Seen()
            assert list(voter.events(battle, seen))[-1] == "ready"
            assert seen.texts == dict.fromkeys("ab", "".join(words("quick")))
    assert "'arena db upgrade' would read it" in hosts.webs[1].log()


# --- machines that are cut off ------------------------------------------------------------------


@dataclass(frozen=True)
class Islands:
    """PostgreSQL and Redis, each on an island with one link for the one to be cut off."""

    machines: Machines
    postgres: Island
    redis: Island
    models: str

    REST, ONE = 0, 1

    def servers(self, postgres: int = REST, redis: int = REST) -> Servers:
        """The servers, reached by these links."""
        return Servers(
            f"postgresql://arena@{self.postgres.address(postgres)}/postgres",
            f"redis://{self.redis.address(redis)}/0",
        )


@pytest.fixture
def islands(tmp_path: Path) -> Iterator[Islands]:
    with (
        tempfile.TemporaryDirectory(prefix="arena-", ignore_cleanup_errors=True) as name,
        ExitStack() as stack,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        try:
            postgres, redis = (stack.enter_context(Island(links=2)) for _ in range(2))
            for part in ("pg", "redis"):
                (folder / part).mkdir()
            stack.enter_context(postgres_on(postgres, folder / "pg"))
            stack.enter_context(redis_on(redis, folder / "redis"))
        except Missing as reason:
            missing(str(reason))
        models = stack.enter_context(upstream())
        islands = Islands(Machines(tmp_path, Servers("", "")), postgres, redis, models)
        islands = replace(islands, machines=Machines(tmp_path, islands.servers()))
        with islands.machines as machines:
            machines.upgrade(roster(models, ["steady", "steady"]))
            yield islands


@pytest.mark.soak
def test_a_runner_cut_off_from_postgresql_loses_its_battles_and_comes_back(
    islands: Islands,
) -> None:
    machines = islands.machines
    machines.start("worker")
    web = machines.start("web")
    web.wait_ready()
    lonely = machines.start("runner", islands.servers(postgres=Islands.ONE))
    database = islands.servers().database
    wait_until(lambda: ask(database, RUNNERS) == 1, 30, what="the runner to be cut off")
    with Voter(web.url) as voter:
        battle, seen = voter.start(), Seen()
        events = voter.events(battle, seen)
        next(events)
        other = machines.start("runner")
        wait_until(lambda: ask(database, RUNNERS) == 2, 30, what="the other runner")
        islands.postgres.cut(Islands.ONE)
        assert list(events)[-1] == "void"
        drawn_anew = voter.start()
        voter.wait_for(drawn_anew, "ready")
        receipts = [voter.vote(drawn_anew, 1).json()["receipt"]]
        islands.postgres.mend(Islands.ONE)
        other.process.kill()
        with_the_first = voter.start()
        voter.wait_for(with_the_first, "ready", timeout=30)
        receipts.append(voter.vote(with_the_first, 1).json()["receipt"])
        assert voter.look(battle)["state"] == "void"
    assert with_the_first in lonely.log()
    expect_complete(web.url, receipts)


@pytest.mark.soak
def test_a_web_cut_off_from_postgresql_refuses_votes_soon_and_others_take_them(
    islands: Islands,
) -> None:
    machines = islands.machines
    machines.start("worker")
    machines.start("runner")
    webs = [machines.start("web"), machines.start("web", islands.servers(postgres=Islands.ONE))]
    for web in webs:
        web.wait_ready()
    with Voter(webs[1].url, timeout=40) as voter:
        battle = voter.start()
        voter.wait_for(battle, "ready")
        islands.postgres.cut(Islands.ONE)
        assert voter.vote(battle, 1).status_code == 503
        with moved(voter, webs[0].url) as there:
            receipt = there.vote(battle, 2).json()["receipt"]
        islands.postgres.mend(Islands.ONE)
        patiently(lambda: voter.vote(battle, 2))
        assert voter.look(battle)["receipt"] == receipt
    expect_complete(webs[0].url, [receipt])


@pytest.mark.soak
def test_a_web_cut_off_from_redis_streams_the_end_and_takes_votes(islands: Islands) -> None:
    machines = islands.machines
    machines.start("worker")
    machines.start("runner")
    web = machines.start("web", islands.servers(redis=Islands.ONE))
    web.wait_ready()
    with Voter(web.url) as voter:
        battle, seen = voter.start(), Seen()
        events = voter.events(battle, seen)
        next(events)
        islands.redis.cut(Islands.ONE)
        assert list(events)[-1] == "ready"
        assert seen.texts == dict.fromkeys("ab", "".join(words("steady")))
        receipts = [voter.vote(battle, 1).json()["receipt"]]
        islands.redis.mend(Islands.ONE)
    receipts.append(voted_battle(web.url, 0))
    expect_complete(web.url, receipts)


@pytest.mark.soak
def test_a_worker_cut_off_from_postgresql_is_replaced_and_cannot_seal(islands: Islands) -> None:
    machines = islands.machines
    machines.start("runner")
    web = machines.start("web")
    web.wait_ready()
    lonely = machines.start("worker", islands.servers(postgres=Islands.ONE))
    receipts = [voted_battle(web.url, 1)]
    expect_complete(web.url, receipts)
    machines.start("worker")
    islands.postgres.cut(Islands.ONE)
    receipts.append(voted_battle(web.url, 2))
    expect_complete(web.url, receipts, timeout=60)  # a worker takes long to load
    islands.postgres.mend(Islands.ONE)
    wait_until(lambda: "starting over" in lonely.log(), 40, what="the first worker to notice")
    receipts.append(voted_battle(web.url, -2))
    expect_complete(web.url, receipts)


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_battles_go_on_when_sentinels_replace_the_master(
    postgres_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    database = postgres_url.replace("+psycopg", "")
    try:
        with (
            SentinelGroup(tmp_path / "sentinels") as group,
            upstream() as models,
            Machines(tmp_path / "machines", Servers(database, group.url)) as machines,
        ):
            machines.upgrade(roster(models, ["steady", "steady"]))
            machines.start("worker")
            machines.start("runner")
            web = machines.start("web")
            web.wait_ready()
            with Voter(web.url) as voter:
                battle, seen = voter.start(), Seen()
                events = voter.events(battle, seen)
                next(events)
                old = group.master()
                group.processes[old].send_signal(number)
                assert list(events)[-1] == "ready"
                assert seen.texts == dict.fromkeys("ab", "".join(words("steady")))
                receipts = [voter.vote(battle, 1).json()["receipt"]]
            group.wait_for_failover(old)
            group.processes[old].send_signal(signal.SIGCONT)
            receipts.append(voted_battle(web.url, 1))
            expect_complete(web.url, receipts)
    except Missing as reason:
        missing(str(reason))
