"""Redis and PostgreSQL as many machines share them: TLS, Sentinel, poolers, several hosts."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text

from arena.battle import Frame
from arena.errors import LiveLost, Unavailable
from arena.interfaces import LiveFrame, LookAgain
from arena.live import RedisLive
from arena.store.engine import Database
from arena.store.migrate import upgrade
from tests.conftest import missing
from tests.machines import Certificates, SentinelGroup, certificates, pgbouncer, tls_redis
from tests.services import Missing, PostgresServer, free_port, wait_until


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: it holds sockets. Other users may enter it: PostgreSQL does not run as root."""
    with tempfile.TemporaryDirectory(prefix="arena-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    try:
        return certificates(tmp_path_factory.mktemp("certificates"))
    except Missing as reason:
        missing(str(reason))


@contextmanager
def live_at(url: str) -> Iterator[RedisLive]:
    live = RedisLive(url, ttl=60)
    try:
        yield live
    finally:
        live.close()


def patiently_push(live: RedisLive, number: int) -> None:
    """As the runner does: again until Redis takes it, anew from memory where it forgot some."""
    frames = [Frame(str(place), "") for place in range(number + 1)]

    def push() -> bool:
        try:
            if live.push([LiveFrame("battle", 1, number, frames[number])]):
                live.replace("battle", 1, frames)
        except LiveLost:
            return False
        return True

    wait_until(push, 15, what="a Redis that takes frames")


# --- Redis --------------------------------------------------------------------------------------


def test_redis_is_used_over_tls_with_an_authority_and_a_user_of_our_own(
    folder: Path, files: Certificates
) -> None:
    try:
        with tls_redis(folder, files, "arena", "s3cret%2F") as port:
            user = f"rediss://arena:s3cret%252F@localhost:{port}/0"
            with live_at(f"{user}?ssl_ca_certs={files.authority}") as live:
                live.ping()
                patiently_push(live, 0)
                assert live.frames("battle", 1, 0) == [Frame("0", "")]
            with live_at(user) as stranger, pytest.raises(LiveLost, match="certificate"):
                stranger.ping()
            other_name = user.replace("localhost", "127.0.0.1")
            with (
                live_at(f"{other_name}?ssl_ca_certs={files.authority}") as elsewhere,
                pytest.raises(LiveLost, match="certificate"),
            ):
                elsewhere.ping()
    except Missing as reason:
        missing(str(reason))


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelGroup]:
    try:
        with SentinelGroup(tmp_path_factory.mktemp("sentinels")) as group:
            yield group
    except Missing as reason:
        missing(str(reason))


def test_a_master_that_falls_silent_is_replaced_and_streams_go_on(group: SentinelGroup) -> None:
    """It is stopped, not killed: no connection tells that it is gone."""
    with live_at(group.url) as runner, live_at(group.url) as web:
        with web.follow("battle", 1) as subscription:
            patiently_push(runner, 0)
            assert subscription.get(2) == LiveFrame("battle", 1, 0, Frame("0", ""))
            old = group.master()
            group.processes[old].send_signal(signal.SIGSTOP)
            group.wait_for_failover(old)
            wait_until(lambda: isinstance(subscription.get(0.1), LookAgain), what="the new master")
            patiently_push(runner, 1)
            assert web.frames("battle", 1, 0) == [Frame("0", ""), Frame("1", "")]
            patiently_push(runner, 2)
            last = LiveFrame("battle", 1, 2, Frame("2", ""))
            wait_until(lambda: subscription.get(2) == last, what="a frame by the new master")
            group.processes[old].send_signal(signal.SIGCONT)


def test_a_dead_sentinel_is_passed_over(group: SentinelGroup) -> None:
    with live_at(group.url.replace("@", f"@127.0.0.1:{free_port()},")) as live:
        live.ping()


# --- PostgreSQL ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls_port(files: Certificates) -> Iterator[int]:
    """The port of a PostgreSQL that speaks TLS."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="arena-pg-", ignore_cleanup_errors=True) as name:
        try:
            server = PostgresServer(
                Path(name),
                listen_addresses="127.0.0.1",
                port=str(port),
                ssl="on",
                ssl_cert_file=str(_readable(files.certificate, Path(name))),
                ssl_key_file=str(_readable(files.key, Path(name))),
            )
        except Missing as reason:
            missing(str(reason))
        try:
            server.start()
            yield port
        finally:
            server.stop()


def _readable(file: Path, folder: Path) -> Path:
    """A copy that the server's user alone may read."""
    copy = folder / file.name
    copy.write_bytes(file.read_bytes())
    copy.chmod(0o600)
    if os.geteuid() == 0:
        shutil.chown(copy, "nobody")
    return copy


def ask(url: str, query: str) -> object:
    database = Database(url)
    try:
        with database.read() as connection:
            return connection.execute(text(query)).scalar()
    finally:
        database.close()


IS_ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.mark.postgres
def test_postgresql_is_used_over_tls_and_a_stranger_in_its_place_is_refused(
    tls_port: int, files: Certificates, tmp_path: Path
) -> None:
    url = f"postgresql://arena@localhost:{tls_port}/postgres?sslmode=verify-full&sslrootcert="
    assert ask(f"{url}{files.authority}", IS_ENCRYPTED) is True
    stranger = certificates(tmp_path / "stranger")
    with pytest.raises(Unavailable) as refused:
        ask(f"{url}{stranger.authority}", IS_ENCRYPTED)
    assert "certificate verify failed" in str(refused.value.__cause__)


@pytest.mark.postgres
def test_of_several_hosts_the_one_that_can_be_written_to_is_used(
    tls_port: int, postgres_url: str
) -> None:
    """The first is gone, the second only reads, as a standby does."""
    parts = urlsplit(postgres_url)
    name, socket = parts.path.removeprefix("/"), parse_qs(parts.query)["host"][0]
    with psycopg.connect(f"host={socket} user=arena dbname={name}", autocommit=True) as reader:
        reader.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(
                sql.Identifier(name)
            )
        )
    writer = f"host=127.0.0.1 port={tls_port} user=arena dbname=postgres"
    with psycopg.connect(writer, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    hosts = f"127.0.0.1:{free_port()},{socket.replace('/', '%2F')}:5432,127.0.0.1:{tls_port}"
    url = f"postgresql://arena@{hosts}/{name}?target_session_attrs=read-write"
    assert ask(url, "SHOW transaction_read_only") == "off"
    assert ask(url, "SHOW port") == str(tls_port)


@pytest.mark.postgres
def test_many_threads_share_two_connections_of_a_pooler_in_transaction_mode(
    postgres_url: str, folder: Path
) -> None:
    parts = urlsplit(postgres_url)
    name, socket = parts.path.removeprefix("/"), parse_qs(parts.query)["host"][0]
    try:
        with pgbouncer(folder, name, Path(socket)) as url:
            database = Database(f"{url}?pgbouncer=true")
            wait_until(lambda: _is_there(database), what="PgBouncer")
            upgrade(database)
            with database.write() as connection:
                assert connection.execute(text("SHOW lock_timeout")).scalar() == "10s"
            together = threading.Barrier(4)

            def work() -> None:
                for number in range(20):  # more than psycopg waits for before it prepares
                    together.wait(10)
                    with database.read() as connection:
                        query = text("SELECT count(*) FROM battles WHERE id = :id")
                        assert connection.execute(query, {"id": str(number)}).scalar() == 0

            with ThreadPoolExecutor(4) as pool:
                for done in [pool.submit(work) for _ in range(4)]:
                    done.result(60)
            database.close()
    except Missing as reason:
        missing(str(reason))


def _is_there(database: Database) -> bool:
    try:
        with database.read():
            return True
    except Unavailable:
        return False
