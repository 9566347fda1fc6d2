"""A request is complete at its last byte and not before, wherever the pieces are cut."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]  # no types
from gunicorn.http import get_parser  # type: ignore[import-untyped]  # no types
from gunicorn.http.errors import NoMoreData, ParseException  # type: ignore[import-untyped]  # same
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]  # same

from arena.serving import Arriving, Connection, Worker, collected
from tests.services import ROOT, free_port, is_up, wait_until

MOST = 1_000
HEAD = b"POST /api/battles HTTP/1.1\r\nHost: x\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKS = b"5\r\nhello\r\n1;name=value\r\n!\r\n0\r\n\r\n"

WHOLE = {
    "without a body": GET,
    "after empty lines": b"\r\n\r\n" + GET,
    "of known length": HEAD + b"CONTENT-length:  5 \r\n\r\nhello",
    "without bytes": HEAD + b"Content-Length: 0\r\n\r\n",
    "of a length with many noughts": HEAD + b"Content-Length: 0000000000000000005\r\n\r\nhello",
    "in chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "in chunks with a trailer": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + CHUNKS.removesuffix(b"\r\n")
    + b"Trailer: x\r\n\r\n",
    "with an end of a head in its body": HEAD + b"Content-Length: 6\r\n\r\na\r\n\r\nb",
}


@pytest.mark.parametrize("request_bytes", WHOLE.values(), ids=WHOLE.keys())
def test_a_request_is_complete_at_its_last_byte_and_not_before(request_bytes: bytes) -> None:
    for cut in range(len(request_bytes)):
        arriving = Arriving(MOST, request_bytes[:cut])
        assert not arriving.is_complete(), request_bytes[:cut]
        arriving.add(request_bytes[cut:])
        assert arriving.is_complete()
        assert not arriving.excess()


@pytest.mark.parametrize("request_bytes", WHOLE.values(), ids=WHOLE.keys())
def test_a_request_may_come_byte_by_byte(request_bytes: bytes) -> None:
    arriving = Arriving(MOST)
    complete = []
    for byte in request_bytes:
        arriving.add(bytes([byte]))
        complete.append(arriving.is_complete())
    assert complete == [False] * (len(request_bytes) - 1) + [True]


def test_what_follows_a_request_is_kept() -> None:
    arriving = Arriving(MOST, GET + GET[:10])
    assert arriving.is_complete()
    assert bytes(arriving.data) == GET + GET[:10]


@pytest.mark.parametrize(
    "body",
    [
        *(b"x\r\n", b"-1\r\n", b"5 5\r\nhello\r\n", b"f" * 17 + b"\r\n", b"\r\n", b"1" * 2_000),
        *(b"0" * 16 + b"9\r\nhalf", b"9;" + b"x" * 2_000, b"5\r\nhello, too long\r\n"),
    ],
)
def test_chunks_that_cannot_be_read_are_left_to_the_server_to_refuse(body: bytes) -> None:
    received = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body
    assert Arriving(MOST, received).is_complete()
    refuses(received)


def refuses(received: bytes) -> None:
    """gunicorn, given this and nothing to wait for."""
    parser = get_parser(Config(), collected([received]), ("127.0.0.1", 1))
    request = next(parser)
    with pytest.raises((NoMoreData, ParseException)):
        request.body.read()
    assert not parser.finish_body(), "what follows would be taken for a request"


def test_a_body_that_is_too_large_is_not_waited_for() -> None:
    assert Arriving(MOST, HEAD + b"Content-Length: 1001\r\n\r\n").is_complete()
    endless = HEAD + b"Content-Length: 99999999999999999999\r\n\r\n"
    assert Arriving(MOST, endless).is_complete()
    refuses(endless)
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    assert Arriving(MOST, chunked + b"ffffff\r\n" + b"x" * 1_001).is_complete()
    assert not Arriving(MOST, chunked + b"ffffff\r\n" + b"x" * 1_000).is_complete()
    second = chunked + b"1f4\r\n" + b"x" * 500 + b"\r\n1f6\r\n"
    assert Arriving(MOST, second + b"x" * 501).is_complete()
    assert not Arriving(MOST, second + b"x" * 500).is_complete()


def test_a_head_without_end_and_a_body_that_is_all_framing_are_given_up() -> None:
    assert not Arriving(MOST, b"GET /" + b"x" * 65_000).excess()
    assert b" 431 " in Arriving(MOST, b"GET /" + b"x" * 66_000).excess()
    framing = b"1;" + b"x" * 900 + b"\r\ny\r\n"
    arriving = Arriving(MOST, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + framing * 90)
    assert not arriving.is_complete()
    assert b" 413 " in arriving.excess()


def test_a_client_that_waits_for_a_word_gets_one() -> None:
    arriving = Arriving(MOST, HEAD + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert not arriving.is_complete()
    assert arriving.expects_word


# --- answers ------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """Ours, which holds little that was not read, and the client's."""
    ours, theirs = socket.socketpair()
    with closing(Connection(fileno=ours.detach())) as connection, closing(theirs):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        yield connection, theirs


@contextmanager
def reading(client: socket.socket, piece: int) -> Iterator[None]:
    """Two hundred times a second, so much at a time."""
    enough = Event()

    def read() -> None:
        while not enough.wait(0.005):
            with suppress(BlockingIOError):
                client.recv(piece, socket.MSG_DONTWAIT)

    reader = Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        enough.set()
        reader.join()


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arena.serving._STALL_SECONDS", 0.4)
    monkeypatch.setattr(Connection, "_patience", 0.4)


@pytest.mark.usefixtures("little_patience")
def test_a_reader_who_takes_a_little_now_and_then_is_given_up(
    pair: tuple[Connection, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.serving._LEAST_RATE", 1e6)
    connection, client = pair
    pieces = count()
    with reading(client, 100), pytest.raises(BrokenPipeError):  # a piece in a twentieth second
        while next(pieces) < 200:
            connection.sendall(b"x" * 1_000)
    assert next(pieces) > 3, "each piece alone came in time"


@pytest.mark.usefixtures("little_patience")
def test_a_reader_at_the_least_rate_gets_everything(
    pair: tuple[Connection, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.serving._LEAST_RATE", 1e4)
    connection, client = pair
    with reading(client, 200):
        for _ in range(40):
            connection.sendall(b"x" * 1_000)


# --- the loop -----------------------------------------------------------------------------------


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    """One that serves nothing; its connections are names, and `gone` has those it took leave of."""
    made = object.__new__(Worker)
    made.alive, made.pending_conns = True, deque()
    made._arriving, made._leaving, made.gone = {}, {}, []

    def refuse(conn: str, _why: bytes) -> None:
        del made._arriving[conn]
        made.gone.append(conn)

    monkeypatch.setattr(made, "_refuse", refuse)
    monkeypatch.setattr(made, "_see_off", made.gone.append)
    return made


def test_the_oldest_are_given_up_when_too_much_is_held(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.serving._MOST_HELD_BYTES", 250)
    for name in ("first", "second", "third", "fourth"):
        worker._arriving[name] = Arriving(MOST, b"x" * 100), time.monotonic()
    worker.murder_pending()
    assert worker.gone == ["first", "second"]
    worker.murder_pending()
    assert list(worker._arriving) == ["third", "fourth"]


@pytest.mark.parametrize("error", [RuntimeError(), SystemExit()])
def test_whatever_a_request_ends_in_the_loop_goes_on(worker: Worker, error: BaseException) -> None:
    ended: Future[bool] = Future()
    ended.set_exception(error)
    worker.finish_request("connection", ended)
    assert worker.gone == ["connection"]


# --- several processes --------------------------------------------------------------------------


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[str], Worker, Worker]]:
    """What they do, and two workers of two, which serve nothing."""
    done: list[str] = []
    monkeypatch.setattr("arena.serving.time.sleep", lambda _seconds: done.append("wait"))
    monkeypatch.setattr(ThreadWorker, "notify", lambda _self: None)
    monkeypatch.setattr(ThreadWorker, "accept", lambda _self, _listener: done.append("accept"))
    monkeypatch.setattr(ThreadWorker, "run", lambda _self: done.append("run"))
    made = [object.__new__(Worker) for _ in range(2)]
    for age, one in enumerate(made):
        one.age, one.nr_conns, one.alive = age, 0, True
        one.cfg = Config()
        one.cfg.set("workers", 2)
    yield done, made[0], made[1]
    for one in made:
        one.forget()


def test_who_has_more_connections_waits_a_moment_with_the_next(
    two_workers: tuple[list[str], Worker, Worker],
) -> None:
    done, few, many = two_workers
    few.nr_conns, many.nr_conns = 3, 4
    for one in (few, many):
        one.notify()
    few.accept(None)
    assert done == ["accept"]
    many.accept(None)
    assert done[1:] == ["wait", "accept"]
    few.forget()
    many.accept(None)
    assert done[3:] == ["accept"]


def test_no_process_begins_before_the_others_can(
    two_workers: tuple[list[str], Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    done, first, second = two_workers

    def wait(_seconds: float) -> None:
        done.append("wait")
        if len(done) == 3:
            second.notify()

    monkeypatch.setattr("arena.serving.time.sleep", wait)
    first.run()
    assert done == ["wait"] * 3 + ["run"]
    second.run()
    assert done[4:] == ["run"]


def test_a_process_does_not_wait_for_ever_for_one_that_cannot_begin(
    two_workers: tuple[list[str], Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    done, first, _second = two_workers
    monkeypatch.setattr("arena.serving._BEGIN_SECONDS", 0.02)
    first.run()
    assert done[0] == "wait"
    assert done[-1] == "run"


APP = """
import os
from flask import Flask
app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1_000
app.get("/")(lambda: str(os.getpid()))
"""


@pytest.fixture
def two_processes(tmp_path: Path) -> Iterator[tuple[int, set[int]]]:
    """The port and the process ids of a server, whose answer to anything is the id."""
    (tmp_path / "two.py").write_text(APP)
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "two:app", "--bind", f"127.0.0.1:{port}"]
    command += ["--worker-class", "arena.serving.Worker", "--workers", "2", "--threads", "2"]
    command += ["--no-control-socket", "--worker-connections", "99", "--keep-alive", "60"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as master:
        children = Path(f"/proc/{master.pid}/task/{master.pid}/children")
        try:
            wait_until(lambda: len(children.read_text().split()) == 2, 20, what="two processes")
            pids = set(map(int, children.read_text().split()))
            wait_until(lambda: is_up(f"http://127.0.0.1:{port}/"), 20, what="the server")
            wait_until(lambda: pids <= {asked(port) for _ in range(9)}, 20, what="both")
            yield port, pids
        finally:
            master.terminate()


def asked(port: int, kept: ExitStack | None = None) -> int:
    """Which process answers on a new connection, which stays open if it is to be kept."""
    with ExitStack() as here:
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        (here if kept is None else kept).callback(connection.close)
        connection.request("GET", "/")
        return int(connection.getresponse().read())


def test_connections_that_come_at_once_are_shared_out(
    two_processes: tuple[int, set[int]],
) -> None:
    port, pids = two_processes
    shares: list[int] = []
    for _ in range(12):
        with ExitStack() as kept:
            connections = [HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(32)]
            for connection in connections:
                kept.callback(connection.close)
                connection.connect()
            for connection in connections:
                connection.request("GET", "/")
            answered = [int(connection.getresponse().read()) for connection in connections]
            shares.append(min(map(answered.count, pids)))
    assert sum(shares) > 120, "of 192; where whoever wakes first takes them it is fewer than 100"
