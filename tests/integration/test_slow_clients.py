"""Clients that send slowly, keep connections for nothing, or never read: votes go on meanwhile."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from tests.services import ArenaProcess, wait_until
from tests.slow_clients import BEGUN, HEAD
from tests.upstream import roster, upstream
from tests.voter import Voter

THREADS = 24  # of which an event stream may have four
SOCKETS = 60


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArenaProcess]:
    """One web process with few threads, so that few slow clients would be enough."""
    data: Path = tmp_path_factory.mktemp("slow") / "data"
    data.mkdir()
    environ = {
        "ARENA_WEB_WORKERS": "1",
        "ARENA_WEB_THREADS": str(THREADS),
        "ARENA_MAX_RUNNING_PER_VOTER": "100",
    }
    with upstream() as base_url:
        (data / "arena.toml").write_text(roster(base_url, ["quick", "quick"]))
        with ArenaProcess(data, "up", "--no-demo", environ=environ) as arena:
            arena.wait_ready()
            yield arena


@pytest.fixture(scope="module", autouse=True)
def dripping(arena: ArenaProcess) -> Iterator[Future[bytes]]:
    """What a client is told, in the end, that sends a letter twice a second meanwhile."""

    def drip() -> bytes:
        with closing(connect(arena, HEAD)) as connection:
            connection.settimeout(0.5)
            for _ in range(60):
                connection.sendall(b"X")
                with suppress(TimeoutError):
                    return connection.recv(1_000)
        return b""

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(drip)


@pytest.fixture(scope="module")
def voter(arena: ArenaProcess) -> Iterator[Voter]:
    with Voter(arena.url, timeout=5) as voter:
        yield voter


def connect(arena: ArenaProcess, begun: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", arena.port), timeout=30)
    connection.sendall(begun)
    return connection


def vote(voter: Voter) -> None:
    """From prompt to acknowledgement, each step within the client's five seconds."""
    battle = voter.start()
    voter.wait_for(battle, "ready")
    assert voter.vote(battle, 1).status_code == 200


@pytest.mark.parametrize("begun", BEGUN.values(), ids=BEGUN.keys())
def test_votes_go_on_while_many_clients_send(
    arena: ArenaProcess, voter: Voter, begun: bytes
) -> None:
    with ExitStack() as stack:
        for _ in range(SOCKETS):
            stack.enter_context(closing(connect(arena, begun)))
        vote(voter)


def test_a_request_in_pieces_is_answered_when_it_has_come(arena: ArenaProcess) -> None:
    body = json.dumps({"prompt": "in pieces"}).encode()
    request = HEAD + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
    with closing(connect(arena, b"")) as connection:
        for place in range(0, len(request), 40):
            connection.sendall(request[place : place + 40])
            time.sleep(0.01)
        assert connection.recv(1_000).startswith(b"HTTP/1.1 201 ")


def test_requests_that_come_together_are_answered_in_turn(arena: ArenaProcess) -> None:
    ask = b"GET /healthz HTTP/1.1\r\nHost: arena\r\n\r\n"
    with closing(connect(arena, ask * 3)) as connection:
        received = b""
        while received.count(b'{"status":"alive"}') < 3:
            piece = connection.recv(10_000)
            assert piece, received
            received += piece


def stream_head(voter: Voter, battle: str) -> bytes:
    cookie = "; ".join(f"{name}={value}" for name, value in voter.http.cookies.items())
    lines = (f"GET /api/battles/{battle}/events HTTP/1.1", "Host: arena", f"Cookie: {cookie}")
    return "\r\n".join([*lines, "", ""]).encode()


def test_readers_who_never_read_leave_room_for_votes(arena: ArenaProcess, voter: Voter) -> None:
    with ExitStack() as stack:
        boards = b"GET /api/board/events HTTP/1.1\r\nHost: arena\r\n\r\n"
        open_streams = [stack.enter_context(closing(connect(arena, boards))) for _ in range(10)]
        answers = [connection.recv(20) for connection in open_streams]
        assert sum(answer.startswith(b"HTTP/1.1 503") for answer in answers) == 6
        vote(voter)
    wait_until(lambda: _has_free_slot(arena), 30, what="a stream's place to be free again")


def _has_free_slot(arena: ArenaProcess) -> bool:
    with closing(connect(arena, b"GET /api/board/events HTTP/1.1\r\nHost: arena\r\n\r\n")) as one:
        return one.recv(15).startswith(b"HTTP/1.1 200")


def test_a_request_that_comes_in_drops_is_given_up(dripping: Future[bytes]) -> None:
    assert dripping.result(30).startswith(b"HTTP/1.1 408 ")


def test_a_stopping_web_process_does_not_wait_for_slow_clients(arena: ArenaProcess) -> None:
    with ExitStack() as stack:
        for begun in BEGUN.values():
            stack.enter_context(closing(connect(arena, begun)))
        time.sleep(0.3)
        workers = arena.pids("web")[1:]
        for pid in workers:
            os.kill(pid, 15)
        gone: Callable[[], bool] = lambda: not set(workers) & set(arena.pids("web"))  # noqa: E731
        wait_until(gone, 10, what="the old worker to end")
    assert "Traceback" not in arena.log()
