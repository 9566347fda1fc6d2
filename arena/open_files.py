"""How many files, sockets and connections a process may have open, or a warning that it may not."""

from __future__ import annotations

import resource

from arena.settings import Settings

MOST_TO_SQL = 40
"""Connections of one process to PostgreSQL at most."""
MOST_TO_REDIS = 64
"""Connections of one client to Redis at most: a web process has three clients, others have two."""
KEPT_ALIVE = 1000
"""Connections without a request that one web process keeps, beside one for each thread."""

_SIDES = 2
_SPARE = 64  # libraries, logs, what the interpreter opens for a moment
_REDIS_CLIENTS = 3


def raise_limit() -> int:
    """Allow this process and those it starts as many as the machine allows; how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # macOS says 'unlimited' and means less
            return soft
    return hard


def needed_by_web(settings: Settings) -> int:
    """By one web process when all its threads stream and it keeps what it may."""
    return settings.web_threads + KEPT_ALIVE + _servers()


def needed_by_runner(settings: Settings) -> int:
    """By a runner that streams as many battles as it takes, two endpoints each."""
    return _SIDES * settings.runner_capacity + _servers()


def _servers() -> int:
    return MOST_TO_SQL + _REDIS_CLIENTS * MOST_TO_REDIS + _SPARE


def shortage(needed: int, cause: str) -> str | None:
    """Raise the limit; a sentence when it stays below `needed`, which `cause` asks for."""
    allowed = raise_limit()
    if allowed == resource.RLIM_INFINITY or allowed >= needed:
        return None
    return (
        f"Only {allowed} files and sockets may be open at once, and {cause} may need {needed}: "
        "raise LimitNOFILE (systemd), ulimits (a container) or ulimit -Hn, or lower the setting."
    )
