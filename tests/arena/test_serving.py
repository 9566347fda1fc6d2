"""A request is complete at its last byte and not before, wherever the pieces are cut."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Set
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


class Clock:
    """Time that passes only while somebody sleeps, and what happens then."""

    def __init__(self) -> None:
        self.slept = 0
        self.then: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.slept * 0.001

    def sleep(self, _seconds: float) -> None:
        self.slept += 1
        self.then()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("arena.serving.time", made)
    return made


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Worker]]:
    """Both of two workers, with eight threads each; they serve nothing."""
    for name in ("notify", "run"):
        monkeypatch.setattr(ThreadWorker, name, lambda _self: None)
    monkeypatch.setattr(ThreadWorker, "accept", lambda _self, _listener: None)
    made = [object.__new__(Worker) for _ in range(2)]
    for age, one in enumerate(made, 1):
        one.age, one.nr_conns, one.alive = age, 0, True
        one.pending_conns, one.keepalived_conns = deque(), deque()
        one._arriving, one._leaving = {}, {}
        one.cfg = Config()
        one.cfg.set("workers", 2)
        one.cfg.set("threads", 8)
    yield made
    for one in made:
        one.forget()


def lets_others_go_first(worker: Worker, clock: Clock) -> bool:
    before = clock.slept
    worker.accept(None)
    return clock.slept > before


def test_who_has_more_connections_waits_a_moment_with_the_next(
    two_workers: list[Worker], clock: Clock
) -> None:
    few, many = two_workers
    few.nr_conns, many.nr_conns = 2, 3
    for one in two_workers:
        one.notify()
    assert not lets_others_go_first(few, clock)
    assert lets_others_go_first(many, clock)
    few.nr_conns = 3
    few.notify()
    assert not lets_others_go_first(many, clock)


def test_a_crowd_is_not_held_up_for_a_small_difference(
    two_workers: list[Worker], clock: Clock
) -> None:
    few, many = two_workers
    few.keepalived_conns.extend(["an idle connection"] * 150)
    few.nr_conns, many.nr_conns = 150, 160
    few.notify()
    assert not lets_others_go_first(many, clock)
    many.nr_conns = 161
    assert lets_others_go_first(many, clock)


@pytest.mark.parametrize("where", ["pending_conns", "keepalived_conns", "_arriving", "_leaving"])
def test_who_only_waits_for_clients_has_not_much_to_do(
    two_workers: list[Worker], clock: Clock, where: str
) -> None:
    few, many = two_workers
    few.nr_conns, many.nr_conns = 4, 5
    few.notify()
    assert not lets_others_go_first(many, clock)
    waiting = getattr(few, where)
    waiting.update(conn=0) if isinstance(waiting, dict) else waiting.append("conn")
    few.notify()
    assert lets_others_go_first(many, clock)


@pytest.mark.parametrize("reason", ["it was killed", "it is ending", "it has much to do"])
def test_nobody_waits_for_a_process_that_takes_no_more(
    two_workers: list[Worker], clock: Clock, reason: str
) -> None:
    few, many = two_workers
    few.nr_conns, many.nr_conns = 4, 5
    few.keepalived_conns.append("an idle connection")
    for one in two_workers:
        one.notify()
    assert lets_others_go_first(many, clock)
    if reason == "it was killed":
        few.forget()
    elif reason == "it is ending":
        few.alive = False
        few.notify()
    else:
        few.keepalived_conns.clear()
        few.notify()
    assert not lets_others_go_first(many, clock)


def test_no_process_begins_before_the_others_can(two_workers: list[Worker], clock: Clock) -> None:
    first, second = two_workers
    clock.then = lambda: clock.slept < 3 or second.notify()
    first.run()
    assert clock.slept == 3
    first.notify()
    second.run()
    assert clock.slept == 3


def test_a_process_does_not_wait_for_ever_for_one_that_cannot_begin(
    two_workers: list[Worker], clock: Clock
) -> None:
    two_workers[0].run()
    assert clock.monotonic() == pytest.approx(5)


def test_a_process_that_takes_the_place_of_another_waits_for_nobody(
    two_workers: list[Worker], clock: Clock
) -> None:
    two_workers[0].age = 3
    two_workers[0].run()
    assert clock.slept == 0


APP = """
import os
from flask import Flask
app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1_000
app.get("/")(lambda: str(os.getpid()))
"""


@pytest.fixture
def two_processes(tmp_path: Path) -> Iterator[tuple[int, Callable[[], set[int]]]]:
    """The port of a server, whose answer to anything is the process's id, and which there are."""
    (tmp_path / "two.py").write_text(APP)
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "two:app", "--config", "python:arena.app"]
    command += ["--worker-class", "arena.serving.Worker", "--workers", "2", "--threads", "99"]
    command += ["--bind", f"127.0.0.1:{port}", "--no-control-socket", "--keep-alive", "60"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as master:
        children = Path(f"/proc/{master.pid}/task/{master.pid}/children")
        try:
            wait_until(lambda: is_up(f"http://127.0.0.1:{port}/"), 20, what="the server")
            yield port, lambda: set(map(int, children.read_text().split()))
        finally:
            master.terminate()


def asked(connection: HTTPConnection) -> int:
    """Which process answers."""
    connection.request("GET", "/")
    return int(connection.getresponse().read())


def share(port: int, pids: Set[int]) -> int:
    """Of 32 connections that come at once, how many the fewer are."""
    with ExitStack() as kept:
        connections = [HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(32)]
        for connection in connections:
            kept.callback(connection.close)
            connection.connect()
        answered = list(map(asked, connections))
    time.sleep(0.05)  # until both know that these connections are gone
    return min(map(answered.count, pids))


def assert_shared_out(port: int, pids: Set[int]) -> None:
    few = "of 192; where whoever wakes first takes them it is fewer than 100"
    assert sum(share(port, pids) for _ in range(12)) > 120, few


def test_connections_that_come_at_once_are_shared_out(
    two_processes: tuple[int, Callable[[], set[int]]],
) -> None:
    port, processes = two_processes
    both = processes()
    assert_shared_out(port, both)
    killed = both.pop()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(both := processes() - {killed}) == 2 and share(port, both), 20)
    assert_shared_out(port, processes())
