"""Downloads: whole for whoever reads them, and no place for ever for whoever hardly does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

import arena.views.downloads
from arena.errors import Unavailable
from arena.views.context import StreamSlots
from arena.views.downloads import _LEAST_SPEED, _PATIENCE, _PIECE, download

MANY = 100 * _PIECE
IN_TIME = _PIECE / _LEAST_SPEED  # seconds for a piece


class Reader:
    """Time passes only while it takes a piece."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def read(self, document: bytes, seconds: list[float], slots: StreamSlots) -> bytes:
        """What it gets, taking as long for each piece; the last of them for all others."""
        received = b""
        with Flask("arena").test_request_context():
            response = download([document], slots, "text/plain", {})
            try:
                for number, piece in enumerate(response.iter_encoded()):
                    received += piece
                    self.now += seconds[min(number, len(seconds) - 1)]
            finally:
                response.close()
        return received


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    made = Reader()
    monkeypatch.setattr(arena.views.downloads, "time", made)
    return made


@pytest.fixture
def slots(monkeypatch: pytest.MonkeyPatch) -> Iterator[StreamSlots]:
    """One slot, which must be free again at the end."""
    monkeypatch.setattr("arena.views.context.network", lambda: "here")
    monkeypatch.setattr("arena.views.context.known_voter", lambda: None)
    made = StreamSlots(1, each=1)
    yield made
    give_back = made.take()
    with pytest.raises(Unavailable):
        made.take()
    give_back()


@pytest.mark.parametrize(
    "seconds",
    [[0.0], [IN_TIME], [_PATIENCE, 0.0], [0.0] * 50 + [_PATIENCE, IN_TIME], [2 * IN_TIME, 0.0]],
    ids=["fast", "in time", "late at first", "one pause", "late, then fast"],
)
def test_whoever_keeps_up_gets_all_of_it(
    reader: Reader, slots: StreamSlots, seconds: list[float]
) -> None:
    document = bytes(range(256)) * (MANY // 256) + b"the end"
    assert reader.read(document, seconds, slots) == document


@pytest.mark.parametrize("seconds", [[9.0], [0.0] * 50 + [9.0], [IN_TIME, IN_TIME + 1.0]])
def test_whoever_takes_a_little_now_and_then_is_cut_off(
    reader: Reader, slots: StreamSlots, seconds: list[float]
) -> None:
    with pytest.raises(TimeoutError):
        reader.read(b"x" * MANY, seconds, slots)


def test_what_is_written_in_drops_is_sent_in_pieces_and_nothing_is_added(
    slots: StreamSlots,
) -> None:
    with Flask("arena").test_request_context():
        drops = download([b"ab"] * _PIECE + [b"end"], slots, "text/plain", {})
        assert [len(piece) for piece in drops.iter_encoded()] == [_PIECE, _PIECE, 3]
        drops.close()
        nothing = download([], slots, "text/plain", {})
        assert list(nothing.iter_encoded()) == []
        nothing.close()
