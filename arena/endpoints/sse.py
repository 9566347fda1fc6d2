"""Incremental decoder of `text/event-stream` (WHATWG HTML §9.2.6).

Bytes go in as the network delivers them, events come out; where the bytes were split never
matters. Two choices of ours:

- Invalid UTF-8 becomes U+FFFD, as the standard's "UTF-8 decode" says. Lines are decoded one by
  one, which is the same thing: a line end is ASCII and never part of a broken sequence.
- An event whose blank line never came is dropped, as the standard says: it may be cut in half.
"""

from __future__ import annotations

from typing import NamedTuple

from arena.errors import EndpointBroken

MAX_EVENT_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One dispatched event; `id` is the last event id seen on the stream so far."""

    data: str
    event: str = "message"
    id: str = ""


class EventDecoder:
    """Decodes one stream. A `retry` field is ignored: no answer is ever resumed."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._tail = bytearray()
        self._at_start = True
        self._after_cr = False
        self._data: list[bytes] = []
        self._size = 0
        self._event = b""
        self._id = ""

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes and return the events they complete, in order.

        Raises `EndpointBroken` when a line, or the data of one event, exceeds the bound.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        cut = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
        if not cut:
            self._keep(chunk)
            return []
        self._after_cr = cut == len(chunk) and chunk.endswith(b"\r")
        whole = bytes(self._tail) + chunk[:cut]
        lines = whole.splitlines()
        if len(whole) > self._max and max(map(len, lines)) > self._max:
            raise self._too_long()
        self._tail.clear()
        self._keep(chunk[cut:])
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        return self._decode(lines)

    def _keep(self, rest: bytes) -> None:
        self._tail += rest
        if len(self._tail) > self._max:
            raise self._too_long()

    def _decode(self, lines: list[bytes]) -> list[Event]:
        events = []
        for line in lines:
            # The common line first: this loop runs thousands of times a second.
            if line.startswith(b"data: "):
                self._add(line[6:])
            elif line:
                self._field(line)
            else:
                if self._data:
                    events.append(self._dispatch())
                self._event = b""
        return events

    def _dispatch(self) -> Event:
        text = b"\n".join(self._data).decode("utf-8", "replace")
        self._data.clear()
        self._size = 0
        return Event(text, self._event.decode("utf-8", "replace") or "message", self._id)

    def _add(self, value: bytes) -> None:
        self._size += len(value) + 1
        if self._size > self._max:
            raise self._too_long()
        self._data.append(value)

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._add(value)
        elif name == b"event":
            self._event = value
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")

    def _too_long(self) -> EndpointBroken:
        return EndpointBroken(f"The endpoint sent an event longer than {self._max} bytes.")
