"""The web server's worker: no thread is given to a request before all of it has come.

gunicorn's threaded worker hands every new connection to a thread, which then waits for as long as
the client likes: as many half-sent requests as there are threads stop the whole process. Here the
loop that watches idle connections also collects what they send. A thread gets what was collected
and never reads from a client: should gunicorn look for more than that, it finds the end. Whoever
sends too slowly or too much is closed, and so is who reads an answer too slowly.

gunicorn also waits in that loop, for up to two seconds, until a client whose connection is at its
end has closed it too. Here nobody waits for that.

Of gunicorn's processes whichever wakes first takes a new connection, and so may take them all, and
keep them, while another has none. Here they begin together, and the one that has more lets the
others go first.
"""

from __future__ import annotations

import errno
import mmap
import re
import socket
import time
from array import array
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from selectors import EVENT_READ
from typing import Any

from gunicorn.http import get_parser  # type: ignore[import-untyped]  # no types
from gunicorn.http.errors import NoMoreData  # type: ignore[import-untyped]  # no types
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]  # no types

_REQUEST_SECONDS = 10.0
"""In which a request must have come, however much of it there is."""

_LAST_SECONDS = 2.0
"""For a client to close its side at the end, and for a request when the process is stopping."""

_STALL_SECONDS = 10.0
_LEAST_RATE = 8_192
"""How long a client may take nothing, and how many bytes a second it must take otherwise."""

_BEGIN_SECONDS = 5.0
"""How long a process that is ready waits for the others to be."""

_COURTESY_SECONDS = 0.001
"""How long a process leaves a new connection to one that has fewer."""

_NOTICED = 16
"""One connection more in so many is as good as none: a crowd that comes at once is not held up."""

_MOST_HELD_BYTES = 32_000_000
"""Of all requests that are arriving; beyond that the oldest is given up."""

_MOST_HEAD_BYTES = 65_536
_FRAMING = 2
"""How many times its content a body may have with its framing: chunks of eight bytes have less."""
_LONGEST_CHUNK_LINE = 1_024
_PIECE = 16_384

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*0*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect:", re.IGNORECASE)
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\r\n]*)?\r\n")

_TOO_SLOW = b"HTTP/1.1 408 Request Timeout"
_TOO_LARGE = b"HTTP/1.1 413 Content Too Large"
_HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large"


_PLACES = 256
_NOBODY = 2**31 - 1
_connections = memoryview(mmap.mmap(-1, 4 * _PLACES)).cast("i")
"""How many each process has that would take one more. All see it: it is there before they fork."""
_connections[:] = array("i", [_NOBODY] * _PLACES)


class Arriving:
    """The bytes of one request so far, and whether a thread can deal with them.

    What is malformed counts as complete, so that gunicorn refuses it; a body over `most_body` does
    too, because the application refuses it and reads no more of it than there is.
    """

    def __init__(self, most_body: int, begun: bytes = b"") -> None:
        self.data = bytearray(begun)
        self.expects_word = False
        self._most_body = most_body
        self._head = 0  # where it ends
        self._end: int | None = None  # where a body of known length does
        self._chunk = 0  # where the next chunk begins
        self._decoded = 0  # what the chunks before it hold
        self._searched = 0  # no empty line ends before

    def add(self, piece: bytes) -> None:
        self.data += piece

    def excess(self) -> bytes:
        """Why it is not worth waiting for the rest, as a status line; else nothing."""
        if not self._head:
            return _HEAD_TOO_LARGE if len(self.data) > _MOST_HEAD_BYTES else b""
        framed = len(self.data) - self._head
        return _TOO_LARGE if framed > _FRAMING * self._most_body + _MOST_HEAD_BYTES else b""

    def is_complete(self) -> bool:
        if not self._head and not self._find_head():
            return False
        if self._end is not None:
            return len(self.data) >= self._end
        return self._has_all_chunks()

    def _find_head(self) -> bool:
        if self.data.startswith((b"\r", b"\n")):  # empty lines before a request mean nothing
            self.data = self.data.lstrip(b"\r\n")
            self._searched = 0
        self._head = self._chunk = self._after_empty_line(0)
        if not self._head:
            return False
        head = bytes(self.data[: self._head - 2])
        self.expects_word = _EXPECTS.search(head) is not None
        if not _CHUNKED.search(head):
            length = _LENGTH.search(head)
            body = int(length[1]) if length else 0
            self._end = self._head + (body if body <= self._most_body else 0)
        return True

    def _has_all_chunks(self) -> bool:
        while True:
            line = _CHUNK_LINE.match(self.data, self._chunk)
            if line is None:
                return not self._line_may_go_on()
            size, begin = int(line[1], 16), line.end()
            if size == 0:
                return self._after_empty_line(begin - 2) > 0
            if begin + size + 2 > len(self.data):
                return self._decoded + len(self.data) - begin > self._most_body
            self._decoded += size
            self._chunk = begin + size + 2

    def _after_empty_line(self, since: int) -> int:
        """Where the first empty line ends; 0 as long as there is none."""
        found = self.data.find(b"\r\n\r\n", max(since, self._searched))
        if found < 0:
            self._searched = max(0, len(self.data) - 3)
            return 0
        return found + 4

    def _line_may_go_on(self) -> bool:
        end = self.data.find(b"\r\n", self._chunk)
        return end < 0 and len(self.data) - self._chunk < _LONGEST_CHUNK_LINE


def collected(pieces: list[bytes]) -> Iterator[bytes]:
    """For gunicorn to read: what has come; should it want more, it is told that the client left."""
    while pieces:
        yield pieces.pop()  # a connection that is kept must not keep its last request too
    raise NoMoreData


class Connection(socket.socket):
    """A client's socket: an answer that is not taken at the least rate is given up.

    Patience is spent while a client keeps us waiting, and grows back with what it takes.
    """

    _patience = _STALL_SECONDS

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]  # all we send
        patience = self._patience + len(data) / _LEAST_RATE
        begun = time.monotonic()
        self.settimeout(patience)  # for all of it
        try:
            super().sendall(data, flags)
        except TimeoutError:
            raise BrokenPipeError(errno.EPIPE, "the client reads too slowly") from None
        left = patience - (time.monotonic() - begun)
        self._patience = min(max(left, 0.0), _STALL_SECONDS)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's threaded worker, with the patience in its loop instead of in its threads."""

    def init_process(self) -> None:
        # both in the order of their beginning, which is that of their end
        self._arriving: dict[TConn, tuple[Arriving, float]] = {}
        self._leaving: dict[TConn, float] = {}
        super().init_process()

    def run(self) -> None:
        """Begin with the others: whoever waits for the first of them would all go there."""
        self.notify()
        end = time.monotonic() + _BEGIN_SECONDS
        while self.age <= self.cfg.workers and self.alive and time.monotonic() < end:
            if sum(number != _NOBODY for number in _connections) >= self.cfg.workers:
                break
            time.sleep(_COURTESY_SECONDS)
        try:
            super().run()
        finally:
            self.forget()

    def notify(self) -> None:
        """Show in every round of the loop that it goes on, and how many connections there are.

        A process that is ending, or has work for half its threads, asks for none.
        """
        super().notify()
        waiting = self.pending_conns, self.keepalived_conns, self._arriving, self._leaving
        at_work = self.nr_conns - sum(map(len, waiting))
        is_open = self.alive and at_work < self.cfg.threads / 2
        _connections[self._place] = self.nr_conns if is_open else _NOBODY

    def forget(self) -> None:
        """The process takes no connection any more; gunicorn's master says so if it was killed."""
        _connections[self._place] = _NOBODY

    def accept(self, listener: socket.socket) -> None:
        """Take the connection that waits, unless one who has fewer is quick to take it."""
        others = (number for place, number in enumerate(_connections) if place != self._place)
        if self.nr_conns - self.nr_conns // _NOTICED > min(others):
            time.sleep(_COURTESY_SECONDS)
        super().accept(listener)

    @property
    def _place(self) -> int:
        return int(self.age) % _PLACES

    def enqueue_req(self, conn: TConn) -> None:
        """Collect the connection's next request; gunicorn calls this when one may be coming."""
        begun = b""
        if conn.parser is None:
            conn.sock = Connection(fileno=conn.sock.detach())
        else:
            begun = conn.parser.unreader.take_buffered()
        arriving = Arriving(self.wsgi.config["MAX_CONTENT_LENGTH"], begun)
        conn.sock.setblocking(False)
        if not arriving.is_complete() and (piece := _received(conn.sock)):
            arriving.add(piece)  # mostly all of it is there by now
        if arriving.is_complete():
            self._hand_over(conn, arriving)
            return
        self._arriving[conn] = arriving, time.monotonic()
        self.poller.register(conn.sock, EVENT_READ, lambda _sock: self._receive(conn))
        if arriving.data:
            self._look(conn, arriving)

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Go on with the connection, or take leave of it."""
        if fs.cancelled() or fs.exception() or not fs.result():
            self._see_off(conn)
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Close what did not come, or did not leave, in time."""
        super().murder_pending()
        now = time.monotonic()
        patience = _REQUEST_SECONDS if self.alive else _LAST_SECONDS
        held = sum(len(arriving.data) for arriving, _ in self._arriving.values())
        for conn, (arriving, since) in list(self._arriving.items()):
            if now - since < patience and held <= _MOST_HELD_BYTES:
                break
            held -= len(arriving.data)
            self._refuse(conn, _TOO_SLOW if arriving.data else b"")
        for conn, since in list(self._leaving.items()):
            if now - since < _LAST_SECONDS:
                break
            self._close(conn)

    def _receive(self, conn: TConn) -> None:
        piece = _received(conn.sock)
        if piece is None:
            return
        arriving, _ = self._arriving[conn]
        arriving.add(piece)
        if piece:
            self._look(conn, arriving)
        else:
            self._refuse(conn)

    def _look(self, conn: TConn, arriving: Arriving) -> None:
        if arriving.is_complete():
            self._watch_no_more(conn)
            self._hand_over(conn, arriving)
        elif why := arriving.excess():
            self._refuse(conn, why)
        elif arriving.expects_word:
            arriving.expects_word = False
            _say(conn.sock, b"HTTP/1.1 100 Continue\r\n\r\n")

    def _watch_no_more(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)
        del self._arriving[conn]

    def _hand_over(self, conn: TConn, arriving: Arriving) -> None:
        conn.parser = get_parser(self.cfg, collected([bytes(arriving.data)]), conn.client)
        conn.data_ready = True  # or a thread would wait for it
        super().enqueue_req(conn)

    def _refuse(self, conn: TConn, why: bytes = b"") -> None:
        self._watch_no_more(conn)
        if why:
            _say(conn.sock, why + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self._see_off(conn)

    def _see_off(self, conn: TConn) -> None:
        """Say that nothing more comes, and close when the client has heard it (RFC 9112, 9.6)."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, EVENT_READ, lambda _sock: self._hear_out(conn))
        except (OSError, ValueError):  # the client, or a thread, has closed it already
            self.nr_conns -= 1
            conn.close()
        else:
            self._leaving[conn] = time.monotonic()

    def _hear_out(self, conn: TConn) -> None:
        if _received(conn.sock) == b"":
            self._close(conn)

    def _close(self, conn: TConn) -> None:
        del self._leaving[conn]
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()


def _received(sock: socket.socket) -> bytes | None:
    """What has come; nothing at the end, None when nothing is there yet."""
    try:
        return sock.recv(_PIECE)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _say(sock: socket.socket, words: bytes) -> None:
    """Send a few bytes, if there is room for them."""
    with suppress(OSError):
        sock.send(words)
