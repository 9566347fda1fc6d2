"""httpx over a `Wire`: HTTP/1.1 by h11, the protocol engine httpx uses itself.

httpx's own transport knows only time-outs of single reads (a peer that sends a byte a second
never meets them), cannot be woken from another thread, and hands every chunk through four
layers. This one hands on all chunks that one read brings as one.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import suppress
from functools import cache

import h11
import httpx

from arena.endpoints.wire import Wire
from arena.errors import EndpointBroken, EndpointUnreachable

_MAX_HEAD_BYTES = 1 << 16


@cache
def tls_context() -> ssl.SSLContext:
    """The process's one TLS context: building one reads all root certificates (~20 ms)."""
    return httpx.create_ssl_context()


class WireTransport(httpx.BaseTransport):
    """Carries exactly one request.

    Raises `EndpointUnreachable` when the endpoint cannot be reached or hangs up without a word,
    `EndpointBroken` when it breaks off or breaks the protocol, and what `Wire` raises.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        tls = tls_context() if url.scheme == "https" else None
        try:
            self._wire.open(url.raw_host, url.port or (443 if tls else 80), tls)
        except OSError as error:
            raise EndpointUnreachable(
                f"The endpoint {url.host} cannot be reached: {error.strerror or error}."
            ) from error
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        with suppress(OSError):  # it may have refused the upload, and its answer says why
            self._wire.send(_encode(http, request))
        head = self._head(http)
        return httpx.Response(
            head.status_code, headers=list(head.headers), stream=_Body(self._wire, http)
        )

    def close(self) -> None:
        self._wire.close()

    def _head(self, http: h11.Connection) -> h11.Response:
        silent = True
        try:
            while True:
                event = http.next_event()
                if isinstance(event, h11.Response):
                    return event
                if event is h11.NEED_DATA:
                    data = self._wire.receive()
                    silent = silent and not data
                    http.receive_data(data)
        except (OSError, h11.RemoteProtocolError) as error:
            if silent:
                raise EndpointUnreachable("The endpoint hung up without an answer.") from None
            raise _broken(error) from None


class _Body(httpx.SyncByteStream):
    """The response's body, one piece per read of the wire."""

    def __init__(self, wire: Wire, http: h11.Connection) -> None:
        self._wire = wire
        self._http = http

    def __iter__(self) -> Iterator[bytes]:
        ended = False
        while not ended:
            pieces: list[bytes] = []
            try:
                ended = self._drain(pieces)
            except h11.RemoteProtocolError as error:
                # What came before it is delivered first, however the bytes were split.
                yield b"".join(pieces)
                raise _broken(error) from None
            if pieces:
                yield b"".join(pieces)
            if not ended:
                self._read_more()

    def close(self) -> None:
        self._wire.close()

    def _drain(self, pieces: list[bytes]) -> bool:
        """Collect the data that has arrived; True when the body is complete."""
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                pieces.append(event.data)
            elif event is h11.NEED_DATA:
                return False
            else:
                return True

    def _read_more(self) -> None:
        try:
            self._http.receive_data(self._wire.receive())
        except OSError as error:
            raise _broken(error) from None


def _encode(http: h11.Connection, request: httpx.Request) -> bytes:
    head = h11.Request(
        method=request.method, target=request.url.raw_path, headers=request.headers.raw
    )
    events = (head, h11.Data(data=request.read()), h11.EndOfMessage())
    return b"".join(http.send(event) or b"" for event in events)


def _broken(error: Exception) -> EndpointBroken:
    # The protocol engine's words are left out: they quote what the peer sent, our key perhaps.
    if isinstance(error, OSError):
        return EndpointBroken(f"The connection to the endpoint broke: {error.strerror or error}.")
    return EndpointBroken("The endpoint broke off, or broke the HTTP protocol.")
