"""Files of any length, for readers who take them at any reasonable speed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from flask import Response

from arena.views.context import StreamSlots

_PIECE = 2**14  # bytes; a reader's speed is looked at after each
_LEAST_SPEED = 2**16  # bytes a second
_PATIENCE = 30.0  # seconds that a reader may be behind it


def download(
    pieces: Iterable[bytes], slots: StreamSlots, content_type: str, headers: dict[str, str]
) -> Response:
    """A file that keeps one of the slots until it is sent; raises `Unavailable` without one.

    Whoever reads too slowly is cut off: others wait for the slot.
    """
    give_back = slots.take()
    response = Response(_in_time(_even(pieces)), content_type=content_type, headers=headers)
    response.call_on_close(give_back)
    return response


def _even(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, neither row by row nor many at once."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= _PIECE:
            yield bytes(waiting[:_PIECE])
            del waiting[:_PIECE]
    if waiting:
        yield bytes(waiting)


def _in_time(pieces: Iterable[bytes]) -> Iterator[bytes]:
    behind = 0.0
    for piece in pieces:
        given = time.monotonic()
        yield piece
        took = time.monotonic() - given
        behind = max(0.0, behind + took - len(piece) / _LEAST_SPEED)
        if behind > _PATIENCE:
            raise TimeoutError("the reader of a download is too slow")
