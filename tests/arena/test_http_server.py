"""The same contract behind the real web server, for what only a socket can do."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from arena.interfaces import Finished
from arena.supervisor import web_command
from tests.arena.http_world import BEGUN, World
from tests.services import ROOT, free_port, wait_until

SLOTS = 4  # event streams that 24 threads leave room for


class Answer:
    """One answer as it came from the socket."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        self.head = head.decode("latin-1")
        found = re.match(r"HTTP/1\.1 (\d{3}) ", self.head)
        self.status = int(found[1]) if found else 0

    def problem(self, status: int, slug: str) -> None:
        assert self.status == status, self.head
        assert "application/problem+json" in self.head
        assert json.loads(self.body)["type"] == f"/api/docs#{slug}"


class Server:
    """gunicorn over the world's database and Redis."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = ""

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def send(self, *raw: bytes) -> Answer:
        """Send bytes as they are; everything that comes back until the server closes."""
        with closing(self.connect()) as connection:
            try:
                for part in raw:
                    connection.sendall(part)
            except ConnectionError:
                pass  # refused before everything was sent; the answer may still be there
            received = b""
            while piece := self._receive(connection):
                received += piece
        return Answer(received)

    @staticmethod
    def _receive(connection: socket.socket) -> bytes:
        try:
            return connection.recv(65_536)
        except ConnectionError:
            return b""

    def request(self, line: str, body: bytes = b"", *headers: str) -> bytes:
        """The bytes of a request that asks the server to close afterwards."""
        lines = [f"{line} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
        if self.cookie:
            lines.append(f"Cookie: {self.cookie}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def battle(self, prompt: str) -> str:
        """Start a battle, as the same voter every time; its id."""
        body = json.dumps({"prompt": prompt}).encode()
        answer = self.send(self.request("POST /api/battles", body))
        assert answer.status == 201, answer.head
        if not self.cookie:
            found = re.search(r"Set-Cookie: (arena_voter=[^;]+)", answer.head)
            assert found
            self.cookie = found[1]
        return str(json.loads(answer.body)["id"])


@pytest.fixture(scope="module")
def server(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    port = free_port()
    settings = replace(world.settings, port=port, web_workers=1, web_threads=20 + SLOTS)
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "ARENA_DATA": str(settings.data),
        "REDIS_URL": str(settings.redis_url),
        "ARENA_WEB_THREADS": str(settings.web_threads),
        "ARENA_MAX_RUNNING_PER_VOTER": "100",
    }
    log: Path = tmp_path_factory.mktemp("gunicorn") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            web_command(settings), env=environ, cwd=log.parent, stdout=out, stderr=out
        )
    made = Server(port)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return made.send(made.request("GET /healthz")).status == 200
        except ConnectionRefusedError:
            return False

    try:
        wait_until(answers, 30, what="gunicorn")
        yield made
    finally:
        process.terminate()
        process.wait(20)
    said = log.read_text()
    assert "Traceback" not in said, said[said.index("Traceback") :]


def chunked(body: bytes, size: int = 8_000) -> list[bytes]:
    pieces = [body[n : n + size] for n in range(0, len(body), size)]
    return [*(f"{len(p):x}\r\n".encode() + p + b"\r\n" for p in pieces), b"0\r\n\r\n"]


# --- bodies -------------------------------------------------------------------------------------


def test_a_chunked_body_is_read(server: Server) -> None:
    body = json.dumps({"prompt": "hello"}).encode()
    head = server.request("POST /api/battles", b"", "Transfer-Encoding: chunked")
    assert server.send(head, *chunked(body, 5)).status == 201


def test_a_chunked_body_over_the_limit_is_refused(world: World, server: Server) -> None:
    limit = world.settings.max_body_bytes
    for body in (
        json.dumps({"prompt": "x" * limit}).encode(),
        b'{"prompt": "hello"}'.ljust(limit) + b"and more",  # good JSON up to the limit
    ):
        head = server.request("POST /api/battles", b"", "Transfer-Encoding: chunked")
        with world.nothing_written():
            server.send(head, *chunked(body)).problem(413, "too-large")


def test_a_body_that_says_it_is_too_long_is_not_waited_for(world: World, server: Server) -> None:
    head = server.request("POST /api/battles", b"", "Content-Length: 99999999999")
    with world.nothing_written():
        server.send(head).problem(413, "too-large")


LIMIT = 65_536


def a_body(size: int) -> bytes:
    """A prompt that is no prompt, as JSON of exactly this many bytes."""
    return b'{"prompt": " "' + b" " * (size - 15) + b"}"


def test_a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_not(server: Server) -> None:
    for size, status, slug in ((LIMIT, 422, "invalid-field"), (LIMIT + 1, 413, "too-large")):
        server.send(server.request("POST /api/battles", a_body(size))).problem(status, slug)


@pytest.mark.parametrize("size", [8, 8_000])
def test_chunks_up_to_the_limit_are_read_and_more_are_not(server: Server, size: int) -> None:
    head = server.request("POST /api/battles", b"", "Transfer-Encoding: chunked")
    read = server.send(head, b"".join(chunked(a_body(LIMIT - 1), size)))
    read.problem(422, "invalid-field")
    server.send(head, b"".join(chunked(a_body(LIMIT + 1), size))).problem(413, "too-large")


EXCESSES = {
    "a long address": (b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "many parameters": (b"GET /board?" + b"a=1&" * 2_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "a long header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9_000 + b"\r\n\r\n", 431),
    "many headers": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431),
    "a head without end": (b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 70_000, 431),
    "a line without end": (b"G" * 70_000, 431),
    "chunks that are all framing": (
        b"POST /api/battles HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"1;" + b"x" * 1_000 + b"\r\n \r\n") * 700,
        413,
    ),
}


@pytest.mark.parametrize(("raw", "status"), EXCESSES.values(), ids=EXCESSES.keys())
def test_what_is_too_long_is_refused_at_once(server: Server, raw: bytes, status: int) -> None:
    assert server.send(raw).status == status
    assert server.send(server.request("GET /healthz")).status == 200


def test_a_body_that_breaks_off_writes_nothing(world: World, server: Server) -> None:
    head = server.request("POST /api/battles", b"", "Content-Length: 100")
    with world.nothing_written():
        with closing(server.connect()) as connection:
            connection.sendall(head + b'{"prompt": "hel')
        assert server.send(server.request("GET /healthz")).status == 200


# --- heads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /api/board HTTP/9.9\r\n\r\n",
        b"GET /api/board HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"GET /api/board HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /api/battles HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/battles HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /api/battles HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /api/battles HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_refused_and_the_server_goes_on(
    world: World, server: Server, raw: bytes
) -> None:
    with world.nothing_written():
        assert (
            400
            <= server.send(raw.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)).status
            < 500
        )
        assert server.send(server.request("GET /healthz")).status == 200


@pytest.mark.parametrize("host", ["", "a b", "[::1", "é", "a/b", "x" * 300, "a,b", "a\x01b"])
def test_an_odd_host_never_breaks_the_server(world: World, server: Server, host: str) -> None:
    raw = server.request("GET /api/board").replace(b"127.0.0.1", host.encode("latin-1"))
    assert 200 <= server.send(raw).status < 500


def test_no_answer_tells_the_versions_of_our_parts(server: Server) -> None:
    for line in ("GET /", "GET /api/board", "GET /api/nope", "GET /static/css/base.css"):
        head = server.send(server.request(line)).head
        assert not re.search(r"python|werkzeug|flask|gunicorn/|\d+\.\d+\.\d+", head.lower()), head


# --- followers that go away ---------------------------------------------------------------------


@pytest.mark.parametrize("before_the_first_byte", [False, True])
def test_the_places_of_followers_who_left_are_given_back(
    world: World, server: Server, before_the_first_byte: bool
) -> None:
    gate = threading.Event()
    world.answers("flow", BEGUN, gate, *["more text "] * 50, Finished("stop"))
    over = f"GET /api/battles/{server.battle('hello')}/events"
    wait_until(lambda: b"event: ready" in server.send(server.request(over)).body, what="the end")
    with ExitStack() as followers:
        for _ in range(SLOTS):
            connection = followers.enter_context(closing(server.connect()))
            path = f"/api/battles/{server.battle('flow')}/events"
            connection.sendall(server.request(f"GET {path}"))
            if not before_the_first_byte:
                received = b""
                while b"event: delta" not in received:
                    received += connection.recv(65_536)
                    assert received.startswith(b"HTTP/1.1 200")
        if not before_the_first_byte:
            server.send(server.request(over)).problem(503, "unavailable")
    gate.set()
    wait_until(lambda: server.send(server.request(over)).status == 200, 15, what="a place")
    for _ in range(SLOTS + 1):
        assert server.send(server.request(over.replace("GET", "HEAD"))).status == 200
        assert server.send(server.request(over)).status == 200
