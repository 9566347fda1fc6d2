"""How often a wrong token may be tried, in all processes together."""

from __future__ import annotations

import threading
from collections.abc import Callable

from arena.limits import Rate, RateLimits

_WRONG = "wrong tokens"
_EVERYBODY = "arena"
_ONE_DAY = 24 * 3600


class Attempts:
    """Counts wrong tokens and refuses more of them, right ones included.

    Otherwise an answer would tell a guesser, in the midst of the refusals, that a token was right.
    A network that gave the right token lately is not held up by what all the others try.
    """

    def __init__(self, limits: RateLimits, *, each: int = 5, together: int = 30) -> None:
        self._limits = limits
        self._each = Rate(each, _WRONG, "network")
        self._together = Rate(together, _WRONG, _EVERYBODY)
        self._known = Rate(1, "right tokens", "network", _ONE_DAY)
        self._one_at_a_time = threading.Lock()

    def is_right(self, network: str, compare: Callable[[], bool]) -> bool:
        """Whether the token that `compare` looks at is right.

        Raises `TooOften` while this network, or all together, have used up their tries.
        """
        with self._one_at_a_time:  # many at once must not all look before any is counted
            self._refuse_too_many(network)
            right = compare()
            if right:
                self._limits.hit(self._known, network)
            else:
                self._limits.hit(self._each, network)
                self._limits.hit(self._together, _EVERYBODY)
        return right

    def _refuse_too_many(self, network: str) -> None:
        if self._limits.is_spent(self._each, network):
            raise self._limits.refusal(self._each, network)
        if self._limits.is_spent(self._together, _EVERYBODY) and not self._limits.is_spent(
            self._known, network
        ):
            raise self._limits.refusal(self._together, _EVERYBODY)
