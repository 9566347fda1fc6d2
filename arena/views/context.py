"""What every view works with: the services of this app, and who is asking."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flask import Response, current_app, g, request
from itsdangerous import BadSignature, Signer, TimestampSigner

from arena import notes
from arena.attempts import Attempts
from arena.battles import Battles
from arena.belongings import Belongings
from arena.boards import Boards
from arena.campaigns import Campaigns, Reader
from arena.clock import today
from arena.errors import TooMany, Unauthorized, Unavailable
from arena.figures import Figures
from arena.interfaces import Campaign, LiveBuffer, Store
from arena.limits import RateLimits
from arena.networks import network_name
from arena.operators import Operators
from arena.proofs import Proofs
from arena.relay import Relay
from arena.sealing import Sealings
from arena.settings import Settings
from arena.vitals import Vitals

VOTER_COOKIE = "arena_voter"
VOTER_COOKIE_SECONDS = 365 * 24 * 3600
OPERATOR_COOKIE = "arena_operator"
OPERATOR_COOKIE_SECONDS = 8 * 3600
INVITATIONS_COOKIE = "arena_invitations"
_INVITATIONS_KEPT = 20  # a cookie has at most 4 KB


class StreamSlots:
    """How many long answers of a kind one process gives at once; other threads stay free.

    One voter has `each` of them at most. One network has seven eighths of them all: a whole class
    may come from one, and the rest stays for others.
    """

    def __init__(self, slots: int, *, each: int) -> None:
        self._slots = slots
        self._of_network = max(each, slots * 7 // 8)
        self._each = each
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self) -> Callable[[], None]:
        """Take one for this request; returns what gives it back. Raises `Unavailable`."""
        bounds = {"": self._slots, f"network {network()}": self._of_network}
        if (who := known_voter()) is not None:
            bounds[f"voter {who}"] = self._each
        with self._lock:
            if any(self._taken[holder] >= most for holder, most in bounds.items()):
                raise Unavailable("Too many are open at this moment; try again.", retry_after=2)
            self._taken.update(bounds.keys())
        return lambda: self._give_back(bounds.keys())

    def _give_back(self, holders: Iterable[str]) -> None:
        with self._lock:
            self._taken.subtract(holders)
            self._taken += Counter()  # forgets whoever holds none


@dataclass(frozen=True)
class Services:
    """Everything a request may need, wired in `create_app`."""

    settings: Settings
    secret_key: str
    signer: notes.Signer
    store: Store
    live: LiveBuffer
    campaigns: Campaigns
    battles: Battles
    belongings: Belongings
    boards: Boards
    figures: Figures
    sealings: Sealings
    proofs: Proofs
    relay: Relay
    operators: Operators
    vitals: Vitals
    streams: StreamSlots
    exports: StreamSlots
    parquets: StreamSlots
    limits: RateLimits
    attempts: Attempts


def services() -> Services:
    found: Services = current_app.extensions["arena"]
    return found


def _signer(salt: str) -> Signer:
    return Signer(services().secret_key, salt=salt, digest_method=hashlib.sha256)


def voter() -> str:
    """The voter of this request; a new one (cookie set by the answer) when there is none valid."""
    if "voter" not in g:
        g.voter = known_voter()
        if g.voter is None:
            g.voter = secrets.token_hex(16)
            g.new_voter_cookie = _signer("voter").sign(g.voter).decode()
    found: str = g.voter
    return found


def known_voter() -> str | None:
    """The voter whose cookie this request has; None for a stranger, who stays one."""
    try:
        return _signer("voter").unsign(request.cookies.get(VOTER_COOKIE, "")).decode()
    except (BadSignature, UnicodeDecodeError):
        return None


def network() -> str:
    """What the network of this request is called today; its address is kept nowhere."""
    if "network" not in g:
        g.network = network_name(request.remote_addr or "", services().secret_key, today())
    found: str = g.network
    return found


def is_secure() -> bool:
    """Whether cookies may be kept to HTTPS: as it was set, or as a trusted proxy says."""
    return services().settings.cookie_secure or request.is_secure


def reader() -> Reader:
    """Who looks, for the campaigns that they may see."""
    if "reader" not in g:
        g.reader = Reader(_invitations(), is_operator())
    found: Reader = g.reader
    return found


def _invitations() -> tuple[str, ...]:
    """The digests of the invitations that were followed; whether they still hold is not said."""
    try:
        given = _signer("invitations").unsign(request.cookies.get(INVITATIONS_COOKIE, ""))
    except BadSignature:
        return ()
    return tuple(given.decode().split("."))


def add_invitation(response: Response, digest: str) -> None:
    """Let the reader's cookie remember one invitation more. No secret is in it."""
    digests = list(dict.fromkeys([*_invitations(), digest]))[-_INVITATIONS_KEPT:]
    response.set_cookie(
        INVITATIONS_COOKIE,
        _signer("invitations").sign(".".join(digests)).decode(),
        max_age=VOTER_COOKIE_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=is_secure(),
    )


def campaigns() -> list[Campaign]:
    """The campaigns that the reader of this request may see."""
    return services().campaigns.visible(reader())


def campaign(campaign_id: str | None) -> Campaign:
    """One of them, or the default one; raises `NotFound` or `InvitationNeeded`."""
    return services().campaigns.get(campaign_id, reader())


def kept_by_validator(shown: Campaign, body: bytes, etag: str) -> Response:
    """JSON of a campaign that a cache may keep, asking each time: of a private one the reader's."""
    response = Response(body, mimetype="application/json")
    response.set_etag(etag)
    response.headers["Cache-Control"] = "no-cache" if shown.public else "private, no-cache"
    response.make_conditional(request)
    return response


def _operator_signer() -> TimestampSigner:
    secret = services().secret_key
    return TimestampSigner(secret, salt="operator", digest_method=hashlib.sha256)


def _session_of(token: str) -> bytes:
    """What a session holds of the token: enough to end with it, nothing to guess it from."""
    key = services().secret_key.encode()
    return hmac.new(key, token.encode(), hashlib.sha256).hexdigest().encode()


def _is_token(given: str) -> bool:
    """Whether this is the operator's token, compared in constant time.

    Wrong ones are counted; raises `TooMany` after too many of them.
    """
    token = services().settings.admin_token
    if token is None:
        return False
    return services().attempts.is_right(
        network(),
        lambda: hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()),
    )


def _bears_token() -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and bool(given) and _is_token(given)


def _has_session() -> bool:
    token, cookie = services().settings.admin_token, request.cookies.get(OPERATOR_COOKIE, "")
    if token is None:
        return False
    try:
        session = _operator_signer().unsign(cookie, max_age=OPERATOR_COOKIE_SECONDS)
    except BadSignature:
        return False
    return hmac.compare_digest(session, _session_of(token))


def operator_cookie(token: str) -> str:
    """The value of a new session's cookie; raises `Unauthorized` or `TooMany`."""
    if not _is_token(token):
        raise Unauthorized("This is not the operator's token.")
    return _operator_signer().sign(_session_of(token)).decode()


def is_operator() -> bool:
    """Whether the request has an operator's session or bears the operator's token."""
    if "is_operator" not in g:
        try:
            g.is_operator = _has_session() or _bears_token()
        except TooMany as refusal:  # whoever asks for what is public gets it all the same
            g.is_operator, g.refusal = False, refusal
    found: bool = g.is_operator
    return found


def require_operator() -> None:
    """Raises `Unauthorized` unless the request is an operator's, `TooMany` after wrong tokens."""
    if not is_operator():
        missing = Unauthorized("Send the operator's token: 'Authorization: Bearer <token>'.")
        raise g.get("refusal", missing)
