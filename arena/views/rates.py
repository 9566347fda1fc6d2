"""Which rate limit an address of this site comes under."""

from __future__ import annotations

from arena.limits import Rate
from arena.settings import Settings

_UNLIMITED = frozenset({"static", "health.healthz", "health.readyz"})
"""What a browser keeps, and what must answer at all times."""

_NAMED = {
    "battles.start": "prompts",
    "battles.follow_up": "prompts",
    "battles.vote": "votes",
    "battles.export": "exports",
    "log.votes": "exports",
    "log.manifest": "exports",
}
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def limited_as(endpoint: str | None, method: str) -> str | None:
    """What a request counts as: `prompts`, `votes`, `exports`, `reads`, `actions`, or nothing."""
    if endpoint in _UNLIMITED:
        return None
    return _NAMED.get(endpoint or "") or ("reads" if method in _READING else "actions")


def rates(settings: Settings, what: str) -> tuple[Rate, Rate]:
    """How many of them a voter may send in a minute, and how many one network."""
    amount: int = getattr(settings, f"{what}_per_minute")
    return Rate(amount, what, "voter"), Rate(amount * settings.address_factor, what, "network")
