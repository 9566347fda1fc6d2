"""How often a wrong token may be tried. Each process counts for itself, in memory."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from arena.errors import TooMany


class Attempts:
    """Remembers wrong tokens for a while and refuses more of them, right ones included.

    Otherwise an answer would tell a guesser, in the midst of the refusals, that a token was right.
    """

    def __init__(
        self,
        *,
        each: int = 5,
        together: int = 30,
        seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._each = each
        self._together = together
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: deque[tuple[float, str]] = deque(maxlen=together)

    def refuse_too_many(self, address: str) -> None:
        """Raises `TooMany` while this address, or all together, have used up their tries."""
        with self._lock:
            now = self._clock()
            while self._wrong and now - self._wrong[0][0] >= self._seconds:
                self._wrong.popleft()
            own = [at for at, whose in self._wrong if whose == address][-self._each :]
            tried = list(self._wrong) if len(self._wrong) >= self._together else []
            oldest = own[0] if len(own) >= self._each else tried[0][0] if tried else None
        if oldest is not None:
            wait = max(1, math.ceil(oldest + self._seconds - now))
            raise TooMany(f"Too many wrong tokens. Try again in {wait} seconds.", retry_after=wait)

    def failed(self, address: str) -> None:
        """Count a wrong token."""
        with self._lock:
            self._wrong.append((self._clock(), address))
