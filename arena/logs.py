"""How our processes log: one line to stderr, never prompt text, keys or addresses of voters."""

from __future__ import annotations

import logging

_TALKATIVE = ("alembic", "httpx", "httpcore")


def configure(level: str) -> None:
    """Log from `level` up; libraries only when something is wrong."""
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
