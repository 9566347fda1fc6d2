"""What every view works with: the services of this app, and who is asking."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass

from flask import current_app, g, request
from itsdangerous import BadSignature, Signer

from arena.battles import Battles
from arena.boards import Boards
from arena.campaigns import Campaigns
from arena.errors import Unauthorized, Unavailable
from arena.interfaces import LiveBuffer, Store
from arena.relay import Relay
from arena.settings import Settings

VOTER_COOKIE = "arena_voter"
VOTER_COOKIE_SECONDS = 365 * 24 * 3600


class StreamSlots:
    """How many long answers of a kind one process gives at once; other threads stay free."""

    def __init__(self, slots: int) -> None:
        self._free = threading.BoundedSemaphore(slots)

    def take(self) -> None:
        """Raises `Unavailable` when all are in use."""
        if not self._free.acquire(blocking=False):
            raise Unavailable("Too many are open at this moment; try again.", retry_after=2)

    def give_back(self) -> None:
        self._free.release()


@dataclass(frozen=True)
class Services:
    """Everything a request may need, wired in `create_app`."""

    settings: Settings
    secret_key: str
    store: Store
    live: LiveBuffer
    campaigns: Campaigns
    battles: Battles
    boards: Boards
    relay: Relay
    streams: StreamSlots
    exports: StreamSlots


def services() -> Services:
    found: Services = current_app.extensions["arena"]
    return found


def _signer() -> Signer:
    return Signer(services().secret_key, salt="voter", digest_method=hashlib.sha256)


def voter() -> str:
    """The voter of this request; a new one (cookie set by the answer) when there is none valid."""
    if "voter" not in g:
        try:
            g.voter = _signer().unsign(request.cookies.get(VOTER_COOKIE, "")).decode()
        except (BadSignature, UnicodeDecodeError):
            g.voter = secrets.token_hex(16)
            g.new_voter_cookie = _signer().sign(g.voter).decode()
    found: str = g.voter
    return found


def is_operator() -> bool:
    """Whether the request carries the operator's token, compared in constant time."""
    token = services().settings.admin_token
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if token is None or scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.encode(), token.encode())


def require_operator() -> None:
    """Raises `Unauthorized` unless the request carries the operator's token."""
    if not is_operator():
        raise Unauthorized("Send the operator's token: 'Authorization: Bearer <token>'.")
