"""What a voter's browser receives of one turn: frames from Redis while it runs, SQL afterwards.

Every event has a place in its turn: frame k is events 2k (side a) and 2k + 1 (side b), the end
comes after the last frame. A stored turn keeps the steps in which it was shown, so a replay has
the same events in the same places, wherever it comes from.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from arena.battle import Frame, Turn, TurnState
from arena.errors import LiveLost
from arena.interfaces import BattleStore, LiveBuffer, LiveFrame, LookAgain, Subscription

HEARTBEAT_SECONDS = 5.0

_VOID_PLACE = 999_999_999
"""Where a void turn ends: its frames are not kept, so the end stands after any that was shown."""


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event: its name, its place in the turn, its JSON data."""

    name: str
    turn: int
    place: int
    data: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.turn}-{self.place}"


def _frame_events(turn: int, number: int, frame: Frame) -> Iterator[Event]:
    for offset, side, text in ((0, "a", frame.a), (1, "b", frame.b)):
        data = {"turn": turn, "side": side, "text": text}
        yield Event("delta", turn, 2 * number + offset, data)


def _end_place(turn: Turn) -> int:
    return _VOID_PLACE if turn.state is TurnState.void else 2 * len(turn.steps)


def _last_event(turn: Turn) -> Event:
    place = _end_place(turn)
    if turn.state is TurnState.void:
        return Event("void", turn.number, place, {"turn": turn.number, "reason": turn.void_reason})
    answer_a, answer_b = turn.answers()
    data = {"turn": turn.number, "finish_a": answer_a.finish, "finish_b": answer_b.finish}
    return Event("ready", turn.number, place, data)


class Relay:
    """Follows turns for voters. Reads SQL for what is settled and Redis for what is running."""

    def __init__(self, battles: BattleStore, live: LiveBuffer) -> None:
        self._battles = battles
        self._live = live

    def is_over(self, turn: Turn, last_event_id: str | None) -> bool:
        """Whether a follower that has seen this event has seen everything."""
        if turn.state is TurnState.running:
            return False
        return _place_after(turn, last_event_id) == _end_place(turn) + 1

    def follow(self, turn: Turn, last_event_id: str | None) -> Iterator[Event | None]:
        """The turn's events after `last_event_id` (unknown or None: from the start).

        None is a heartbeat: nothing happened for `HEARTBEAT_SECONDS`.
        """
        with self._live.follow(turn.battle_id, turn.number) as subscription:
            place = self._first_place(turn, last_event_id)
            while True:
                current = self._battles.turn(turn.battle_id, turn.number)
                if current is None or current.state is not TurnState.running:
                    break
                place = yield from self._catch_up(current, place)
                place = yield from self._listen(subscription, current, place)
        if current is not None:
            yield from self._settled(current, place)

    def _first_place(self, turn: Turn, last_event_id: str | None) -> int:
        """Where to begin: 0 for an event of a running turn that Redis has never seen."""
        place = _place_after(turn, last_event_id)
        if place and turn.state is TurnState.running:
            with suppress(LiveLost):
                if not self._live.frames(turn.battle_id, turn.number, (place - 1) // 2):
                    return 0
        return place

    def _catch_up(self, turn: Turn, place: int) -> Generator[Event, None, int]:
        """Frames that Redis holds already; returns the place reached."""
        frames: list[Frame] = []
        with suppress(LiveLost):  # SQL will have it all at the end
            frames = self._live.frames(turn.battle_id, turn.number, place // 2)
        for number, frame in enumerate(frames, place // 2):
            for event in _frame_events(turn.number, number, frame):
                if event.place >= place:
                    yield event
        return max(place, 2 * (place // 2 + len(frames)))

    def _listen(
        self, subscription: Subscription[LiveFrame | LookAgain], turn: Turn, place: int
    ) -> Generator[Event | None, None, int]:
        """Frames as they come, until one is missing or the turn may be over."""
        while True:
            message = subscription.get(timeout=HEARTBEAT_SECONDS)
            if message is None:
                yield None
                return place
            if isinstance(message, LookAgain) or 2 * message.number > place:
                return place
            for event in _frame_events(turn.number, message.number, message.frame):
                if event.place >= place:
                    yield event
                    place = event.place + 1

    def _settled(self, turn: Turn, place: int) -> Iterator[Event]:
        if place > _end_place(turn):  # an id that was never given
            place = 0
        if turn.state is TurnState.ready:
            for number, frame in enumerate(turn.frames()):
                for event in _frame_events(turn.number, number, frame):
                    if event.place >= place:
                        yield event
        yield _last_event(turn)


def _place_after(turn: Turn, last_event_id: str | None) -> int:
    """The first place not yet seen; 0 for an id that is not of this turn."""
    head, _, tail = (last_event_id or "").partition("-")
    known = head == str(turn.number) and tail.isascii() and tail.isdigit() and len(tail) < 10  # noqa: PLR2004  no turn has 10⁹ frames
    return int(tail) + 1 if known else 0
