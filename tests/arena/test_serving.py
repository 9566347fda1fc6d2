"""A request is complete at its last byte and not before, wherever the pieces are cut."""

from __future__ import annotations

import pytest

from arena.serving import Arriving

MOST = 1_000
HEAD = b"POST /api/battles HTTP/1.1\r\nHost: x\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKS = b"5\r\nhello\r\n1;name=value\r\n!\r\n0\r\n\r\n"

WHOLE = {
    "without a body": GET,
    "after empty lines": b"\r\n\r\n" + GET,
    "of known length": HEAD + b"CONTENT-length:  5 \r\n\r\nhello",
    "without bytes": HEAD + b"Content-Length: 0\r\n\r\n",
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
    [b"x\r\n", b"-1\r\n", b"5 5\r\nhello\r\n", b"f" * 17 + b"\r\n", b"\r\n", b"1" * 2_000],
)
def test_chunks_that_cannot_be_read_are_left_to_the_server_to_refuse(body: bytes) -> None:
    assert Arriving(MOST, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body).is_complete()


def test_a_body_that_is_too_large_is_not_waited_for() -> None:
    assert Arriving(MOST, HEAD + b"Content-Length: 1001\r\n\r\n").is_complete()
    assert Arriving(MOST, HEAD + b"Content-Length: 99999999999999999999\r\n\r\n").is_complete()
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    assert Arriving(MOST, chunked + b"ffffff\r\n" + b"x" * 1_001).is_complete()
    assert not Arriving(MOST, chunked + b"ffffff\r\n" + b"x" * 1_000).is_complete()
    assert Arriving(MOST, chunked + b"1f4\r\n" + b"x" * 500 + b"\r\n1f6\r\n" + b"x" * 501)
    assert not Arriving(MOST, chunked + b"1f4\r\n" + b"x" * 500 + b"\r\n1f6\r\n").is_complete()


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
