"""A wire to a server that tests can cut: within a transaction, at its COMMIT, altogether."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Wire:
    """A TCP port of this machine that leads to a server's Unix socket."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.is_up = True
        self._words: tuple[bytes, ...] = ()
        self._after = False
        self.cuts = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_at(self, *words: bytes, after: bool = False) -> None:
        """Cut, once, the first connection whose client has said these words one after the other.

        The last one does not reach the server; with `after` it does, and the answer is lost.
        """
        self._after = after
        self._words = words

    @contextmanager
    def down(self) -> Iterator[None]:
        """Cut all connections, and any new one at once."""
        self.is_up = False
        self._cut_all()
        yield
        self.is_up = True

    def close(self) -> None:
        self._listener.close()
        self._cut_all()

    def _cut_all(self) -> None:
        while self._open:
            _cut(self._open.pop())

    def _accept(self) -> None:
        with suppress(OSError):  # closed: the test is over
            while True:
                client, _ = self._listener.accept()
                if not self.is_up:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._target))
                self._open += [client, server]
                lost = threading.Event()
                for pump in (self._to_server, self._to_client):
                    threading.Thread(target=pump, args=(client, server, lost), daemon=True).start()

    def _to_server(
        self, client: socket.socket, server: socket.socket, lost: threading.Event
    ) -> None:
        said = 0
        for piece in _pieces(client):
            words = self._words
            if words and said < len(words) and words[said] in piece:
                said += 1
                if said == len(words):
                    self._words = ()
                    self.cuts += 1
                    if not self._after:
                        break
                    lost.set()
            _send(server, piece)
        _cut(client)
        _cut(server)

    def _to_client(
        self, client: socket.socket, server: socket.socket, lost: threading.Event
    ) -> None:
        for piece in _pieces(server):
            if lost.is_set():
                break
            _send(client, piece)
        _cut(client)
        _cut(server)


def _pieces(source: socket.socket) -> Iterator[bytes]:
    with suppress(OSError):
        while piece := source.recv(65_536):
            yield piece


def _send(end: socket.socket, piece: bytes) -> None:
    with suppress(OSError):  # cut meanwhile
        end.sendall(piece)


def _cut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
