"""Addresses of shared servers: what is accepted, and that no refusal repeats a password."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from arena.addresses import RedisAddress, database_url, postgres_arguments, redis_address

PASSWORD = "hunter2hunter2"  # noqa: S105  of nobody


@pytest.mark.parametrize(
    "text",
    [
        "redis://host",
        f"redis://:{PASSWORD}@host:6380/3",
        f"redis://user:{PASSWORD}@[::1]:6380/3",
        "rediss://host:6379/0?ssl_ca_certs={file}&ssl_certfile={file}&ssl_keyfile={file}",
        "rediss://host/0?ssl_check_hostname=false",
        "unix:///run/redis.sock?db=1",
    ],
)
def test_the_address_of_one_redis_is_used_as_it_is(text: str, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.touch()
    text = text.format(file=file)
    assert redis_address(text) == RedisAddress(text)


def test_sentinels_are_told_apart_from_the_servers_they_watch() -> None:
    found = redis_address(
        f"redis+sentinel://user:{PASSWORD}@one:26380,two,[::1]:5/arena/3?sentinel_password=a%26b"
    )
    assert found.sentinels == (("one", 26380), ("two", 26379), ("::1", 5))
    assert found.service == "arena"
    assert found.url == f"redis://user:{PASSWORD}@sentinel/3"
    assert found.sentinel_options == {"password": "a&b"}
    assert not found.is_tls


def test_sentinels_and_their_servers_may_speak_tls(tmp_path: Path) -> None:
    authority = tmp_path / "our ca.crt"
    authority.touch()
    found = redis_address(f"rediss+sentinel://one/arena?ssl_ca_certs={authority}")
    assert found.is_tls
    assert found.url == f"rediss://sentinel/0?ssl_ca_certs={tmp_path}/our%20ca.crt"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://host", "redis://HOST:PORT/0"),
        ("redis+cluster://host", "redis://HOST:PORT/0"),
        ("redis://", "redis://HOST:PORT/0"),
        ("unix://", "unix:///SOCKET"),
        (f"redis://u:{PASSWORD}@host:none/0", "redis://HOST:PORT/0"),
        (f"redis://u:{PASSWORD}@host:70000/0", "redis://HOST:PORT/0"),
        (f"redis://u:{PASSWORD}@one,two/0", "redis+sentinel://"),
        (f"redis://u:{PASSWORD}@host/first", "the database is a number"),
        (f"redis+sentinel://u:{PASSWORD}@one,two", "the service is missing"),
        (f"redis+sentinel://u:{PASSWORD}@one,,two/arena", "redis+sentinel://"),
        (f"redis://u:{PASSWORD}@host/0?ssl_ca_certs=/x", "options of TLS need rediss://"),
        (f"rediss://u:{PASSWORD}@host/0?ssl_cert_reqs=none", "options it knows (ssl_ca_certs"),
        (f"rediss://u:{PASSWORD}@host/0?ssl_check_hostname=no", "true or false"),
        (f"rediss://u:{PASSWORD}@host/0?ssl_ca_certs=/no/file", "'/no/file' is none"),
    ],
)
def test_a_redis_that_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        redis_address(text)
    assert PASSWORD not in str(refused.value)


def test_postgresqls_own_library_reads_its_address() -> None:
    """Sockets, several hosts, whatever it knows."""
    several = "postgresql://u@one:5432,two:5433/db?target_session_attrs=read-write"
    assert database_url(several).endswith(several.removeprefix("postgresql"))
    found = postgres_arguments(several)
    assert (found["host"], found["port"]) == ("one,two", "5432,5433")
    assert postgres_arguments("postgresql://u@%2Frun%2Fpg/db")["host"] == "/run/pg"
    assert postgres_arguments("postgresql+psycopg://u@/db?host=/run/pg")["host"] == "/run/pg"


def test_a_silent_postgresql_is_given_up_soon_unless_the_address_says_otherwise() -> None:
    assert postgres_arguments("postgresql://host/db")["connect_timeout"] == 5
    assert postgres_arguments("postgresql://host/db?connect_timeout=9")["connect_timeout"] == "9"


def test_behind_a_pooler_nothing_is_prepared() -> None:
    url = "postgresql://host/db?sslmode=require&pgbouncer=true&application_name=x"
    found = postgres_arguments(database_url(url))
    assert found["prepare_threshold"] is None
    assert (found["sslmode"], found["application_name"]) == ("require", "x")
    assert "prepare_threshold" not in postgres_arguments("postgresql://host/db?pgbouncer=false")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"mysql://u:{PASSWORD}@host/db", "sqlite:///FILE or postgresql://"),
        (f"postgresql://u:{PASSWORD}@host/db?sslmod=require", "not sslmod"),
        (f"postgresql://u:{PASSWORD}%zz@host/db", "postgresql://USER:PASSWORD@HOST/NAME"),
        (f"postgresql://u:{PASSWORD}@host/db?pgbouncer=yes", "true or false as pgbouncer"),
        (f"postgresql://u:{PASSWORD}@host/db?sslrootcert=/no/file", "'/no/file' is none"),
    ],
)
def test_a_database_that_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        database_url(text)
    assert PASSWORD not in str(refused.value)
