"""Connections to Redis: one server, or the present master that Sentinels name; TLS for both."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import BlockingConnectionPool, parse_url
from redis.retry import Retry
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from arena.addresses import RedisAddress, redis_address
from arena.open_files import MOST_TO_REDIS


def connect(url: str, *, patience: float) -> redis.Redis:
    """A client that waits `patience` seconds for an answer, and as long for a free connection.

    A connection that a restarted server has closed is tried once more, a silent server is not.
    `url` is anything that `REDIS_URL` may be.
    """
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_timeout": patience,
        "socket_connect_timeout": patience,
        "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        "max_connections": MOST_TO_REDIS,
        "timeout": patience,  # for a connection, when more threads than that want one
    }
    address = redis_address(url)
    if address.sentinels:
        return _present_master(address, options)
    return redis.Redis.from_pool(BlockingConnectionPool.from_url(url, **options))


class _PresentMaster(SentinelConnectionPool, BlockingConnectionPool):
    """redis-py has a pool for Sentinels and one that waits; this is both."""


class _Master(SentinelManagedConnection):
    """Closed when an answer does not come, as other connections are and redis-py's own is not.

    Otherwise it would lead to a master that has fallen silent for as long as that is so.
    """

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        return super().read_response(*arguments, **{"disconnect_on_error": True, **options})


class _TlsMaster(_Master, SentinelManagedSSLConnection):
    pass


def _present_master(address: RedisAddress, options: dict[str, Any]) -> redis.Redis:
    """A client whose every new connection asks the Sentinels which server it is."""
    server: dict[str, Any] = {**parse_url(address.url), **options}  # type: ignore[no-untyped-call]  # redis-py
    for name in ("host", "port"):  # the Sentinels say it
        server.pop(name, None)
    server["connection_class"] = _TlsMaster if address.is_tls else _Master
    asking = {
        "socket_timeout": options["socket_timeout"],
        "socket_connect_timeout": options["socket_connect_timeout"],
        # one that does not answer is passed over: the next one knows as much
        "retry": Retry(NoBackoff(), 0),
        "ssl": address.is_tls,
        **{name: value for name, value in server.items() if name.startswith("ssl_")},
        **(address.sentinel_options or {}),
    }
    sentinel: Any = Sentinel(address.sentinels, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]  # redis-py
    master: redis.Redis = sentinel.master_for(
        address.service, connection_pool_class=_PresentMaster, **server
    )
    return master
