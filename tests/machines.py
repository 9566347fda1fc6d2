"""Servers as many machines share them: TLS with a certificate authority of our own, Redis Sentinel,
PgBouncer. Each is started on free ports of this machine and ended by its starter.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import redis

from tests.services import Missing, PostgresServer, free_port, wait_until


def program(name: str, package: str) -> str:
    """The program's path; raises `Missing` naming the package that has it."""
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not on PATH (for example: apt-get install {package})")
    return found


@contextmanager
def _running(
    argv: Sequence[str], log: Path, user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen(
            argv, cwd=log.parent, stdout=out, stderr=subprocess.STDOUT, user=user
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(10)


# --- certificates -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Certificates:
    """An authority of our own and what it vouches for: the names of this machine."""

    authority: Path
    certificate: Path
    key: Path


def certificates(folder: Path, name: str = "localhost") -> Certificates:
    """Make them in `folder`, for a server called `name`."""
    openssl = program("openssl", "openssl")
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificates(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    authority_key = folder / "ca.key"

    def make(key: Path, out: Path, subject: str, *more: str | Path) -> None:
        argv = [openssl, "req", "-x509", *curve, "-subj", subject, "-keyout", key, "-out", out]
        subprocess.run([*argv, *more], capture_output=True, check=True)

    make(authority_key, made.authority, "/CN=arena test authority")
    signed = ["-CA", made.authority, "-CAkey", authority_key]
    make(
        made.key, made.certificate, f"/CN={name}", *signed, "-addext", f"subjectAltName=DNS:{name}"
    )
    return made


# --- Redis --------------------------------------------------------------------------------------


def _redis_program() -> str:
    """A server that is built with TLS, unlike the one in the wheel."""
    return program("redis-server", "redis-server")


def _flags(options: Mapping[str, object]) -> list[str]:
    return [part for name, value in options.items() for part in (f"--{name}", *str(value).split())]


@contextmanager
def tls_redis(folder: Path, files: Certificates, user: str, password: str) -> Iterator[int]:
    """A Redis that speaks TLS only and knows one user; yields its port."""
    port = free_port()
    options = {
        "port": 0,
        "tls-port": port,
        "tls-cert-file": files.certificate,
        "tls-key-file": files.key,
        "tls-ca-cert-file": files.authority,
        "tls-auth-clients": "no",
        "save": "",
        "dir": folder,
    }
    users = ["--user", "default", "off", "--user", user, "on", f">{password}", "~*", "&*", "+@all"]
    with _running([_redis_program(), *_flags(options), *users], folder / "redis.log"):
        with redis.Redis(
            port=port,
            ssl=True,
            ssl_ca_certs=str(files.authority),
            username=user,
            password=password,
        ) as client:
            wait_until(lambda: _answers(client), what="Redis with TLS")
        yield port


def _answers(client: redis.Redis) -> bool:
    with suppress(redis.RedisError):
        return bool(client.ping())
    return False


class SentinelGroup:
    """Two Redis servers, of which the second follows the first, and Sentinels that watch them."""

    SERVICE = "arena"
    PASSWORD = "between-the-servers"  # noqa: S105  of a server that lives for one test

    def __init__(self, folder: Path, sentinels: int = 3) -> None:
        self._folder = folder
        self.servers = [free_port(), free_port()]
        self.sentinels = [free_port() for _ in range(sentinels)]
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"redis+sentinel://:{self.PASSWORD}@{hosts}/{self.SERVICE}/0"

    def __enter__(self) -> SentinelGroup:
        with self._stack as stack:
            for port in self.servers:
                self._start_server(port, follows=self.servers[0])
            # a Sentinel asks for followers every ten seconds only
            wait_until(self._is_followed, what="the second server to follow the first")
            for port in self.sentinels:
                self._start_sentinel(port)
            wait_until(self._has_settled, 20, what="the Sentinels to know both servers")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start_server(self, port: int, *, follows: int) -> None:
        folder = self._folder / f"redis-{port}"
        folder.mkdir(parents=True)
        options = {
            "bind": "127.0.0.1",
            "port": port,
            "requirepass": self.PASSWORD,
            "masterauth": self.PASSWORD,
            "dir": folder,
            "save": "",
            "repl-diskless-sync-delay": 0,
            **({} if follows == port else {"replicaof": f"127.0.0.1 {follows}"}),
        }
        # Sentinel has a server write down its new role
        (folder / "redis.conf").touch()
        argv = [_redis_program(), str(folder / "redis.conf"), *_flags(options)]
        self.processes[port] = self._stack.enter_context(_running(argv, folder / "log"))

    def _start_sentinel(self, port: int) -> None:
        folder = self._folder / f"sentinel-{port}"
        folder.mkdir(parents=True)
        name = self.SERVICE
        (folder / "sentinel.conf").write_text(
            f"bind 127.0.0.1\nport {port}\ndir {folder}\n"
            f"sentinel monitor {name} 127.0.0.1 {self.servers[0]} {len(self.sentinels) // 2 + 1}\n"
            f"sentinel auth-pass {name} {self.PASSWORD}\n"
            f"sentinel down-after-milliseconds {name} 600\n"
            f"sentinel failover-timeout {name} 4000\n"
        )
        argv = [_redis_program(), str(folder / "sentinel.conf"), "--sentinel"]
        self.processes[port] = self._stack.enter_context(_running(argv, folder / "log"))

    def _is_followed(self) -> bool:
        port = self.servers[0]
        with redis.Redis(port=port, password=self.PASSWORD) as client:
            with suppress(redis.RedisError):
                return client.info("replication").get("slave0", {}).get("state") == "online"
        return False

    def _has_settled(self) -> bool:
        return all(self._knows_all(port) for port in self.sentinels)

    def _knows_all(self, port: int) -> bool:
        with redis.Redis(port=port, decode_responses=True) as client, suppress(redis.RedisError):
            known = client.sentinel_master(self.SERVICE)
            others = len(self.sentinels) - 1
            return known["num-slaves"] == 1 and known["num-other-sentinels"] == others
        return False

    def master(self) -> int:
        """The port of the server that is the master now, as the first Sentinel sees it."""
        with redis.Redis(port=self.sentinels[0], decode_responses=True) as client:
            address = client.sentinel_get_master_addr_by_name(self.SERVICE)
        return int(address[1])

    def wait_for_failover(self, old: int) -> None:
        """Until another server than `old` is the master."""
        wait_until(lambda: self.master() != old, 20, what="the Sentinels to choose a new master")


# --- machines that can be cut off ---------------------------------------------------------------


class Island:
    """A network namespace that this machine reaches by several links, each of which can be cut.

    The other end is taken down: nothing here is told, packets just vanish.
    """

    _blocks = count(os.getpid() % 100 + 1)

    def __init__(self, links: int) -> None:
        self._block = next(self._blocks)
        self.name = f"arena-{os.getpid()}-{self._block}"
        self._links = links

    def __enter__(self) -> Island:
        self._ip = program("ip", "iproute2")
        made = subprocess.run(
            [self._ip, "netns", "add", self.name], capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            raise Missing(f"this user may not make network namespaces: {made.stderr.strip()}")
        for link in range(self._links):
            inner, outer = f"in{link}", f"ar{self._block}-{link}"
            self._run("link", "add", outer, "type", "veth", "peer", inner, "netns", self.name)
            self._run("addr", "add", f"{self.address(link, end=1)}/30", "dev", outer)
            self._run("link", "set", outer, "up")
            self._run("-n", self.name, "addr", "add", f"{self.address(link)}/30", "dev", inner)
            self.mend(link)
        return self

    def __exit__(self, *_: object) -> None:
        self._run("netns", "delete", self.name)

    def address(self, link: int, end: int = 2) -> str:
        """The island's own address on a link (end 2), or this machine's."""
        return f"10.213.{self._block}.{4 * link + end}"

    @property
    def addresses(self) -> list[str]:
        return [self.address(link) for link in range(self._links)]

    @property
    def before(self) -> list[str]:
        """Words before a command that is to run there."""
        return [self._ip, "netns", "exec", self.name]

    def cut(self, link: int) -> None:
        self._run("-n", self.name, "link", "set", f"in{link}", "down")

    def mend(self, link: int) -> None:
        self._run("-n", self.name, "link", "set", f"in{link}", "up")

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._ip, *arguments], capture_output=True, check=True)


@contextmanager
def redis_on(island: Island, folder: Path) -> Iterator[None]:
    """A Redis on all links of an island, on its usual port."""
    options = {"bind": " ".join(island.addresses), "protected-mode": "no", "save": ""}
    argv = [*island.before, _redis_program(), *_flags({**options, "dir": folder})]
    with _running(argv, folder / "redis.log"):
        with redis.Redis(island.address(0)) as client:
            wait_until(lambda: _answers(client), what="Redis on its island")
        yield


@contextmanager
def postgres_on(island: Island, folder: Path) -> Iterator[None]:
    """A PostgreSQL on all links of an island, on its usual port."""
    hba = folder / "who.conf"
    hba.write_text("local all all trust\nhost all all 10.213.0.0/16 trust\n")
    hba.chmod(0o644)
    server = PostgresServer(
        folder,
        before=island.before,
        listen_addresses=",".join(island.addresses),
        hba_file=str(hba),
    )
    try:
        server.start()
        yield
    finally:
        server.stop()


# --- PgBouncer ----------------------------------------------------------------------------------


@contextmanager
def pgbouncer(folder: Path, database: str, server_folder: Path) -> Iterator[str]:
    """A pooler in transaction mode before a PostgreSQL on a socket; yields a `DATABASE_URL`.

    It has two server connections, so that transactions of one client land on both.
    """
    path, port = program("pgbouncer", "pgbouncer"), free_port()
    (folder / "users.txt").write_text('"arena" "unused"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{database} = host={server_folder} dbname={database}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = trust\npool_mode = transaction\ndefault_pool_size = 2\n"
        f"auth_file = {folder}/users.txt\n"
    )
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
    if user is not None:
        for file in (folder, folder / "users.txt", folder / "pgbouncer.ini"):
            shutil.chown(file, user)
    argv = [path, str(folder / "pgbouncer.ini")]
    with _running(argv, folder / "pgbouncer.log", user):
        yield f"postgresql://arena@127.0.0.1:{port}/{database}"
