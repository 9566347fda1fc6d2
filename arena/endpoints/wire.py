"""A socket whose every wait ends at a deadline, and which any thread can cancel at once."""

from __future__ import annotations

import errno
import math
import os
import queue
import select
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from arena.errors import EndpointBroken, EndpointTimeout
from arena.interfaces import Deadlines

READ_EVERY = 0.05
_READ_BYTES = 1 << 16

T = TypeVar("T")
Addresses = Sequence[tuple[int, int, int, str, Any]]


class Wire:
    """The connection of one exchange, and the time it may take.

    Every method raises `EndpointTimeout` once a deadline has passed and `EndpointBroken` after
    `cancel`; what the network does wrong rises as `OSError`.

    After `begun`, reads are at least `read_every` seconds apart, so that the kernel gathers
    small chunks: waking a thread costs more than decoding what it reads. 0 turns that off.
    """

    def __init__(self, deadlines: Deadlines, read_every: float = READ_EVERY) -> None:
        self._deadlines = deadlines
        self._read_every = read_every
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cancelled = False
        self._names: queue.SimpleQueue[Addresses | OSError] = queue.SimpleQueue()
        self._end = math.inf
        self._due = math.inf
        self._why = ""
        self._stall = math.inf
        self._pause = 0.0
        self._last_read = -math.inf

    def allow(self, seconds: float, failing: str = "") -> None:
        """Give what comes next so many seconds, but no more than the whole exchange has left."""
        self._due, self._why = monotonic() + seconds, f"{failing} within {seconds:g} s"
        if self._due >= self._end:
            self._due, self._why = self._end, f"did not finish within {self._deadlines.total:g} s"

    def begun(self) -> None:
        """The first text is there: from now on only silence and the total count."""
        self._stall = self._deadlines.stall
        self._pause = self._read_every
        self.allow(math.inf)

    def open(self, host: bytes, port: int, tls: ssl.SSLContext | None) -> None:
        """Connect to the first of the host's addresses that answers, under TLS if asked to."""
        self._end = monotonic() + self._deadlines.total
        self.allow(self._deadlines.connect, "took no connection")
        self._connect(self._resolve(host, port))
        if tls is not None:
            self._secure(tls, host.decode("ascii"))
        self.allow(self._deadlines.first_byte, "sent no text")

    def send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            sent = self._until(partial(self._open.send, left), select.POLLOUT)
            left = left[sent:]

    def receive(self) -> bytes:
        """The next bytes; empty when the peer has ended the connection."""
        pause = self._last_read + self._pause - monotonic()
        if pause > 0:
            self._poll(0, min(pause, self._due - monotonic()))
        data = self._until(partial(self._open.recv, _READ_BYTES), select.POLLIN)
        if data and isinstance(self._socket, ssl.SSLSocket):
            data += self._further_records(_READ_BYTES - len(data))
        self._last_read = monotonic()
        self._check()  # a socket that `cancel` shut down reads as ended
        return data

    def cancel(self) -> None:
        """End the exchange now, from any thread: a waiting read or connect wakes up."""
        with self._lock:
            self._cancelled = True
            self._names.put(OSError(errno.ECANCELED, os.strerror(errno.ECANCELED)))
            if self._socket is not None:
                with suppress(OSError):
                    # Not SSLSocket's own, which takes the TLS state from under a reading thread.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        # Under the lock, so that `cancel` never meets a file number that was given away again.
        with self._lock:
            if self._socket is not None:
                self._socket.close()

    # --- connecting ---

    @property
    def _open(self) -> socket.socket:
        if self._socket is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._socket

    def _resolve(self, host: bytes, port: int) -> Addresses:
        with suppress(socket.gaierror):
            return _lookup(host, port, socket.AI_NUMERICHOST)

        def look_up() -> None:
            try:
                self._names.put(_lookup(host, port))
            except OSError as error:
                self._names.put(error)

        # The system's resolver cannot be interrupted: when time is up it is left behind.
        threading.Thread(target=look_up, name="arena-resolver", daemon=True).start()
        try:
            found = self._names.get(timeout=max(0.0, self._due - monotonic()))
        except queue.Empty:
            found = []
        self._check()
        if isinstance(found, OSError):
            raise found
        return found

    def _connect(self, addresses: Addresses) -> None:
        due = self._due
        for untried in range(len(addresses), 0, -1):
            family, kind, protocol, _, address = addresses[-untried]
            # A black hole among several addresses may not eat the time of the others.
            self._due = due - (due - monotonic()) * (untried - 1) / untried
            try:
                self._hold(socket.socket(family, kind, protocol))
                self._until(partial(self._try_address, address), select.POLLOUT)
                break
            except (OSError, EndpointTimeout):
                if untried == 1:
                    raise
        self._due = due

    def _try_address(self, address: Any) -> None:
        problem = self._open.connect_ex(address)
        if problem in (errno.EINPROGRESS, errno.EALREADY):
            raise BlockingIOError(problem, os.strerror(problem))
        if problem not in (0, errno.EISCONN):
            raise OSError(problem, os.strerror(problem))
        self._open.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _secure(self, tls: ssl.SSLContext, host: str) -> None:
        secured = tls.wrap_socket(self._open, server_hostname=host, do_handshake_on_connect=False)
        self._hold(secured)
        self._until(secured.do_handshake, select.POLLIN)

    def _hold(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = sock
        self._check()

    def _further_records(self, room: int) -> bytes:
        """What has arrived already: one TLS read brings one record, and servers send small ones."""
        data = b""
        with suppress(OSError):  # nothing more yet, or a failure that the next read meets again
            while len(data) < room and (record := self._open.recv(room - len(data))):
                data += record
        return data

    # --- waiting ---

    def _check(self) -> None:
        if self._cancelled:
            raise EndpointBroken("The answer was cancelled.")
        if monotonic() >= self._due:
            raise EndpointTimeout(f"The endpoint {self._why}.")

    def _poll(self, events: int, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._open, events)  # a hang-up, `cancel` too, is always reported
        return bool(poll.poll(max(0.0, seconds) * 1000 if seconds < math.inf else None))

    def _wait(self, events: int) -> None:
        silent_at = self._last_read + self._stall
        if not self._poll(events, min(self._due, silent_at) - monotonic()):
            self._check()
            raise EndpointTimeout(f"The endpoint was silent for {self._stall:g} s.")

    def _until(self, step: Callable[[], T], events: int) -> T:
        """Try a non-blocking step until it goes through, waiting for the socket in between."""
        while True:
            self._check()
            try:
                return step()
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            except BlockingIOError:
                self._wait(events)
            except OSError:
                self._check()
                raise


def _lookup(host: bytes, port: int, flags: int = 0) -> Addresses:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
