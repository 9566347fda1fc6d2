"""A client of Redis has few connections and many threads: they wait for one another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import redis

from arena import redis_client


@pytest.fixture(autouse=True)
def two_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_client, "MOST_TO_REDIS", 2)


def test_a_thread_waits_for_the_connection_of_another(redis_url: str) -> None:
    with (
        closing(redis_client.connect(redis_url, patience=5)) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        waits = [threads.submit(client.blpop, ["nothing"], timeout=0.05) for _ in range(8)]
        assert [wait.result() for wait in waits] == [None] * 8


def test_it_waits_no_longer_than_for_an_answer(redis_url: str) -> None:
    with closing(redis_client.connect(redis_url, patience=0.2)) as client:
        taken = [client.connection_pool.get_connection() for _ in range(2)]
        with pytest.raises(redis.ConnectionError):
            client.ping()
        for connection in taken:
            client.connection_pool.release(connection)
        client.ping()
