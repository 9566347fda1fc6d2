"""Compressed answers, where that is harmless.

The length of a compressed body tells whether a guess of an attacker stands in it twice (BREACH).
So only files and pages that say the same to everybody are compressed. What mixes a reader's own
secrets with text that others chose never is: battles, a voter's own pages, the operator's area,
every stream, and what guests and the operator see of private campaigns.
"""

from __future__ import annotations

import gzip
from hashlib import sha256
from threading import Lock

from cachetools import LRUCache, cached
from flask import Flask, Response, request

from arena.campaigns import STRANGER
from arena.views.context import reader

_ENDPOINTS = frozenset(
    {
        *("static", "openapi.openapi"),
        *("pages.board", "pages.log", "pages.about", "pages.docs"),
        *("boards.board", "boards.boards", "boards.campaigns", "boards.models"),
        *("figures.pairs", "figures.history", "figures.page", "figures.file", "models.model"),
        *("boards.past", "pages.past_boards"),
        *("sealed.page", "sealed.picture", "sealed.board", "sealed.boards"),
    }
)
_TYPES = ("text/", "application/json", "application/javascript", "image/svg+xml")
_MARK = "-gzip"  # two encodings of one thing need two strong validators (RFC 9110 §8.8.3)
_KEPT = 2**22
"""Bytes of compressed bodies that are kept, for the many who ask for the same."""


def install(app: Flask) -> None:
    """Compress the answers of this app that may be compressed."""
    app.before_request(_understand_validator)
    app.after_request(_compress)


def _digest(body: bytes) -> bytes:
    return sha256(body).digest()


@cached(LRUCache(_KEPT, getsizeof=len), key=_digest, lock=Lock())
def _compressed(body: bytes) -> bytes:
    return gzip.compress(body, 6, mtime=0)


def _understand_validator() -> None:
    """A validator that we gave with a compressed answer stands for the plain one too."""
    given = request.headers.get("If-None-Match")
    if given is not None and request.endpoint in _ENDPOINTS:
        request.environ["HTTP_IF_NONE_MATCH"] = given.replace(f'{_MARK}"', '"')


def _compress(response: Response) -> Response:
    if request.endpoint not in _ENDPOINTS:
        return response
    response.vary.add("Accept-Encoding")
    is_for_all = request.endpoint == "static" or reader() == STRANGER
    if not is_for_all or not request.accept_encodings.quality("gzip"):
        return response
    if response.status_code == 200 and (response.mimetype or "").startswith(_TYPES):  # noqa: PLR2004  OK
        response.direct_passthrough = False
        response.set_data(_compressed(response.get_data()))
        response.headers["Content-Encoding"] = "gzip"
    elif response.status_code != 304:  # noqa: PLR2004  Not Modified
        return response
    etag, is_weak = response.get_etag()
    if etag is not None:
        response.set_etag(f"{etag}{_MARK}", weak=bool(is_weak))
    return response
