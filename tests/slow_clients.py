"""What clients send that then send nothing more, or too slowly."""

from __future__ import annotations

HEAD = b"POST /api/battles HTTP/1.1\r\nHost: arena\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

BEGUN = {
    "nothing at all": b"",
    "half a request line": b"POST /api/bat",
    "half of the headers": HEAD + b"Cookie: arena_vo",
    "empty lines": b"\r\n\r\n",
    "half a body": HEAD + b'Content-Length: 50\r\n\r\n{"prompt": ',
    "half a chunk": CHUNKED + b"20\r\nhalf",
    "a length with many noughts": HEAD + b"Content-Length: 0000000000000000050\r\n\r\nhalf",
    "half a chunk of a long size": CHUNKED + b"0" * 16 + b"9\r\nhalf",
    "half a long line before a chunk": CHUNKED + b"9;" + b"x" * 2_000,
    "a word that it will go on": HEAD + b"Expect: 100-continue\r\nContent-Length: 50\r\n\r\n",
    "a request and half of the next": b"GET /healthz HTTP/1.1\r\nHost: arena\r\n\r\nGET /heal",
    "much too large a body": HEAD + b"Content-Length: 900000\r\n\r\nx",
    "a last request, and stay": b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "a request, and stay": b"GET /healthz HTTP/1.1\r\nHost: arena\r\n\r\n",
}
