"""The event-stream decoder: the same events however the bytes are split."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.endpoints.sse import Event, EventDecoder
from arena.errors import EndpointBroken

STREAMS: dict[str, tuple[bytes, list[Event]]] = {
    "line feeds": (b"data: one\n\ndata: two\n\n", [Event("one"), Event("two")]),
    "CRLF": (b"data: one\r\n\r\ndata: two\r\n\r\n", [Event("one"), Event("two")]),
    "carriage returns": (b"data: one\r\rdata: two\r\r", [Event("one"), Event("two")]),
    "mixed line ends": (b"data: a\r\ndata: b\n\rdata: c\r\n\n", [Event("a\nb"), Event("c")]),
    "comments": (b": ping\n\n:\ndata: a\n: pong\ndata: b\n\n", [Event("a\nb")]),
    "multi-line data": (b"data: a\ndata:\ndata:  b\n\n", [Event("a\n\n b")]),
    "no space after the colon": (b"data:a\ndata\n\n", [Event("a\n")]),
    "empty data is an event": (b"data\n\ndata:\n\n", [Event(""), Event("")]),
    "no data is no event": (b"event: x\n\ndata: a\n\n", [Event("a")]),
    "event and id": (
        b"event: e\nid: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
        [Event("a", "e", "7"), Event("b", "message", "7"), Event("c")],
    ),
    "an id with NUL is ignored": (b"id: 1\nid: 2\0\ndata: a\n\n", [Event("a", id="1")]),
    "unknown fields": (b"foo: bar\nretry: soon\ndata: a\n\n", [Event("a")]),
    "a byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [Event("a")]),
    "a second byte order mark": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [Event("b")]),
    "multi-byte text": ("data: naïve 你好 🙂\n\n".encode(), [Event("naïve 你好 🙂")]),
    "invalid UTF-8": (b"data: \xff\xe4\xbd\n\ndata: \xf0\x9f\x99\n\n", [Event("��"), Event("�")]),
    "a missing blank line": (b"data: a\n\ndata: b\n", [Event("a")]),
    "a missing line end": (b"data: a\n\ndata: b", [Event("a")]),
    "nothing": (b"", []),
}


def decode(*chunks: bytes) -> list[Event]:
    decoder = EventDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_decoded_as_the_standard_says(name: str) -> None:
    stream, events = STREAMS[name]
    assert decode(stream) == events


@pytest.mark.parametrize("name", STREAMS)
def test_a_split_at_any_two_places_changes_nothing(name: str) -> None:
    stream, events = STREAMS[name]
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            assert decode(stream[:first], stream[first:second], stream[second:]) == events


@pytest.mark.parametrize("name", STREAMS)
def test_single_bytes_and_empty_chunks_change_nothing(name: str) -> None:
    stream, events = STREAMS[name]
    assert decode(*(part for byte in stream for part in (bytes([byte]), b""))) == events


LINE_ENDS = (b"\n", b"\r", b"\r\n")
FIELDS = (b"data: ", b"data", b":", b" ", b"event:", b"id: ", b"retry: 5")
CHARACTERS = ("é🙂".encode(), b"\xf0\x9f", b"\x80", b"\xef\xbb\xbf", b"\0", b"x")
PIECES = st.sampled_from((*LINE_ENDS, *FIELDS, *CHARACTERS))


@given(st.lists(PIECES, max_size=40).map(b"".join), st.lists(st.integers(0, 200), max_size=20))
def test_no_split_of_any_stream_changes_its_events(stream: bytes, places: list[int]) -> None:
    cuts = [0, *sorted(min(place, len(stream)) for place in places), len(stream)]
    assert decode(*(stream[a:b] for a, b in pairwise(cuts))) == decode(stream)


@given(st.text().filter(lambda text: "\r" not in text))
def test_any_text_sent_line_by_line_comes_back_whole(text: str) -> None:
    sent = "".join(f"data: {line}\n" for line in text.split("\n")) + "\n"
    assert decode(sent.encode()) == [Event(text)]


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize(
    "stream",
    [b"data: " + b"x" * 95, b": " + b"x" * 99 + b"\n", b"data: 12345678\n" * 12],
    ids=["an endless line", "an endless comment", "an endless event"],
)
def test_what_never_ends_is_refused_at_the_bound(stream: bytes, step: int) -> None:
    decoder = EventDecoder(max_event_bytes=100)
    with pytest.raises(EndpointBroken, match="longer than 100 bytes"):
        for start in range(0, len(stream), step):
            decoder.feed(stream[start : start + step])


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_many_events_within_the_bound_pass(step: int) -> None:
    decoder = EventDecoder(max_event_bytes=100)
    stream = (b"data: " + b"x" * 94 + b"\n\n: " + b"y" * 98 + b"\n") * 20
    events = [
        event
        for start in range(0, len(stream), step)
        for event in decoder.feed(stream[start : start + step])
    ]
    assert events == [Event("x" * 94)] * 20
