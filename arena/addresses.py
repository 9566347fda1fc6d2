"""Addresses of the servers that machines share: what may stand in `DATABASE_URL` and `REDIS_URL`.

Each is checked when the settings are read, so that a wrong option or a missing certificate is one
clear line at the start and not an outage later. What is refused is never repeated: an address may
hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

REDIS_FORMS = (
    "redis://HOST:PORT/0, rediss://… for TLS, unix:///SOCKET, or "
    "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/0"
)
DATABASE_FORMS = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"

SENTINEL_PORT = 26379

_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS_OPTIONS = (*_TLS_FILES, "ssl_check_hostname")
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
_POSTGRES_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_POOLED = "pgbouncer"
_POSTGRES_PATIENCE = {
    # A machine that was cut off sends no word: without these a connection hangs for minutes.
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """One server's URL as redis-py reads it, or the Sentinels that know which server it is.

    With `sentinels`, `url` says everything about the servers of `service` but their place.
    `sentinel_options` are the Sentinels' own user name and password.
    """

    url: str
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_options: Mapping[str, str] | None = None

    @property
    def is_tls(self) -> bool:
        return self.url.startswith("rediss:")


def redis_address(text: str) -> RedisAddress:
    """What a `REDIS_URL` says; raises `ValueError` naming what is accepted."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError(REDIS_FORMS) from None
    scheme, plus, kind = parts.scheme.partition("+")
    if (scheme, plus + kind) not in {
        ("redis", ""),
        ("rediss", ""),
        ("unix", ""),
        ("redis", "+sentinel"),
        ("rediss", "+sentinel"),
    }:
        raise ValueError(REDIS_FORMS)
    options = _redis_options(parts, scheme, is_sentinel=bool(kind))
    if kind:
        return _sentinel_address(parts, scheme, options)
    if scheme == "unix":
        if not parts.path:
            raise ValueError(REDIS_FORMS)
    else:
        _host_and_port(parts.netloc.rpartition("@")[2], 6379)
        _database_number(parts.path.removeprefix("/"))
    return RedisAddress(text)


def _redis_options(parts: SplitResult, scheme: str, *, is_sentinel: bool) -> dict[str, str]:
    known = (
        *(_TLS_OPTIONS if scheme == "rediss" else ()),
        *(_SENTINEL_OPTIONS if is_sentinel else ()),
        *(("db",) if scheme == "unix" else ()),
    )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in known:
            accepted = ", ".join(known) or "none; options of TLS need rediss://"
            raise ValueError(f"{REDIS_FORMS}, with options it knows ({accepted})")
    if options.get("ssl_check_hostname", "true") not in ("true", "false"):
        raise ValueError("true or false as ssl_check_hostname")
    _check_files(options, _TLS_FILES)
    return options


def _sentinel_address(parts: SplitResult, scheme: str, options: dict[str, str]) -> RedisAddress:
    user, at, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.removeprefix("/").partition("/")
    if not service:
        raise ValueError(f"{REDIS_FORMS}: the service is missing")
    _database_number(database)
    own = {name.removeprefix("sentinel_"): options.pop(name, None) for name in _SENTINEL_OPTIONS}
    query = "&".join(f"{name}={quote(value)}" for name, value in options.items())
    return RedisAddress(
        url=f"{scheme}://{user}{at}sentinel/{database or 0}{query and '?'}{query}",
        sentinels=tuple(_host_and_port(host, SENTINEL_PORT) for host in hosts.split(",")),
        service=unquote(service),
        sentinel_options={name: value for name, value in own.items() if value is not None},
    )


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found[2] or default) < 65_536:  # noqa: PLR2004  ports end there
        raise ValueError(REDIS_FORMS)
    return found[1].strip("[]"), int(found[2] or default)


def _database_number(text: str) -> None:
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(f"{REDIS_FORMS}: the database is a number")


def database_url(text: str) -> str:
    """A `DATABASE_URL` with the name of the driver; raises `ValueError` naming what is accepted.

    What PostgreSQL's own library makes of an address holds here too: several hosts, sockets,
    `sslmode`, `target_session_attrs`. Only `pgbouncer=true` is ours.
    """
    scheme, _, rest = text.partition("://")
    if scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        _postgres_parameters(text)
        return f"postgresql+psycopg://{rest}"
    # sqlite:// without a file is a database in memory, which the processes could not share
    if scheme == "sqlite" and len(rest) > 1 and ":memory:" not in rest:
        return text
    raise ValueError(DATABASE_FORMS)


def is_shared(url: str) -> bool:
    """Whether other machines may use this database too."""
    return url.startswith("postgres")


def postgres_arguments(url: str) -> dict[str, Any]:
    """What `psycopg.connect` is given for a PostgreSQL address; raises `ValueError`.

    Time limits are ours unless the address has its own. `pgbouncer=true` is for a pooler in
    transaction mode: it gives each transaction another server connection, which does not know the
    statements that the last one prepared.
    """
    parameters = dict(_postgres_parameters(url))
    is_pooled = parameters.pop(_POOLED) == "true"
    return {
        **_POSTGRES_PATIENCE,
        **parameters,
        **({"prepare_threshold": None} if is_pooled else {}),
    }


def _postgres_parameters(url: str) -> dict[str, Any]:
    from psycopg import ProgrammingError  # noqa: PLC0415  only who uses PostgreSQL loads it
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415  as above

    address, _, query = url.partition("://")[2].partition("?")
    ours = re.compile(rf"(?:^|&){_POOLED}=([^&]*)")
    pooled = ours.search(query)
    query = ours.sub("", query).removeprefix("&")
    if pooled and pooled[1] not in ("true", "false"):
        raise ValueError(f"true or false as {_POOLED}")
    try:
        parameters = conninfo_to_dict(f"postgresql://{address}{query and '?'}{query}")
    except ProgrammingError as error:
        raise ValueError(f"{DATABASE_FORMS}{_unknown_option(str(error))}") from None
    _check_files(parameters, _POSTGRES_FILES)
    return {**parameters, _POOLED: pooled[1] if pooled else "false"}


def _unknown_option(said: str) -> str:
    """The one complaint of PostgreSQL's library that cannot hold a password."""
    found = re.search(r'invalid URI query parameter: "(\w+)"', said)
    return f", with options that PostgreSQL knows (not {found[1]})" if found else ""


def _check_files(options: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        path = options.get(name)
        # 'system' stands for the certificates that the machine trusts
        if path is not None and path != "system" and not Path(path).is_file():
            raise ValueError(f"a file as {name}; '{path}' is none")
