"""Does a model answer? One short question to its endpoint, as a battle would ask it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from arena.battle import Message
from arena.circuit import error_kind
from arena.errors import ArenaError, EndpointError
from arena.interfaces import Deadlines, EndpointFactory, Finished, ModelEntry

QUESTION = "Say hello."
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Checked:
    """How one model did: its answer and the seconds to its first text, or why there is none."""

    model: str
    text: str = ""
    ttft: float | None = None
    error: str | None = None
    retry_after: float | None = None

    @property
    def kind(self) -> str | None:
        """The kind of the error, by which failures are counted."""
        return None if self.error is None else error_kind(self.error)


class Checkup:
    """Asks endpoints. Nothing of it is kept here, and errors never hold a key."""

    def __init__(self, endpoints: EndpointFactory, deadlines: Deadlines) -> None:
        self._endpoints = endpoints
        self._deadlines = deadlines

    def build(self, entry: ModelEntry) -> None:
        """Raises `BadSetting` when the entry's protocol cannot use it."""
        self._endpoints(entry)

    def ask(self, entry: ModelEntry) -> Checked:
        """Wait for one model's whole answer, at most as long as a battle does."""
        started = time.monotonic()
        ttft, pieces = None, []
        try:
            for piece in self._endpoints(entry).ask([Message("user", QUESTION)], self._deadlines):
                if not isinstance(piece, Finished):
                    ttft = ttft or round(time.monotonic() - started, 3)
                    pieces.append(piece)
        except ArenaError as error:
            wait = error.retry_after if isinstance(error, EndpointError) else None
            said = f"{type(error).__name__}: {error}"
            return Checked(entry.id, error=said, retry_after=wait)
        return Checked(entry.id, "".join(pieces).strip(), ttft)

    def ask_all(self, entries: Sequence[ModelEntry]) -> Iterator[Checked]:
        """Ask many at the same time; results come in the order in which they are there."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="checkup") as pool:
            for done in as_completed([pool.submit(self.ask, entry) for entry in entries]):
                yield done.result()
