"""Wall-clock times as the contract writes them. Never used to order the log."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """The time now, RFC 3339 UTC with milliseconds and `Z`."""
    return rfc3339(datetime.now(UTC))


def today() -> str:
    """The UTC day now, as times of the contract begin."""
    return now()[:10]


def rfc3339(moment: datetime) -> str:
    """An aware time as RFC 3339 UTC with milliseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
