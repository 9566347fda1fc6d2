"""The log's records and the leaf that fixes each of them.

A leaf is SHA-256(0x00 ‖ RFC 8785 JSON of the record's immutable fields), the leaf hash of
RFC 6962 §2.1. Text is not in it: `content_digest` = SHA-256(salt ‖ RFC 8785 JSON of the
conversations and comment) is, so that erasing text and salt keeps the proof.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import rfc8785

from arena.merkle import leaf_hash

Conversation = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Content:
    """The erasable part of a vote: what was said, what the voter added, and the salt (hex)."""

    salt: str
    conversation_a: Conversation | None = None
    conversation_b: Conversation | None = None
    comment: str | None = None

    def digest(self) -> str:
        text = {
            "conversation_a": self.conversation_a,
            "conversation_b": self.conversation_b,
            "comment": self.comment,
        }
        return hashlib.sha256(bytes.fromhex(self.salt) + rfc8785.dumps(text)).hexdigest()


def consent_digest(consent: str, consent_zh: str) -> str:
    """What a vote keeps of the text its voter agreed to: SHA-256 of its RFC 8785 JSON, hex.

    The log's `campaign` record with the same digest holds the text.
    """
    text = {"consent": consent, "consent_zh": consent_zh}
    return hashlib.sha256(rfc8785.dumps(text)).hexdigest()


def new_salt() -> str:
    return secrets.token_hex(32)


@dataclass(frozen=True, slots=True)
class Record:
    """The immutable fields of one record: exactly what its leaf covers.

    `type` is `vote`, `flag`, `exclusion`, `correction` or `erasure`; the last four name their
    `target` record and a `reason`. One of `EVENT_TYPES` says in `data` what changed about its
    campaign from here on, such as its method, and for what `reason`. `consent` is the
    `consent_digest` of the text that the voter agreed to. Times are RFC 3339 UTC strings,
    durations seconds.
    """

    id: str
    type: str
    campaign: str
    timestamp: str
    battle_id: str | None = None
    model_a: str | None = None
    model_b: str | None = None
    grade: int | None = None
    winner: str | None = None
    both_bad: bool | None = None
    reasons: tuple[str, ...] = ()
    voter: str | None = None
    voter_kind: str | None = None
    language: str | None = None
    category_tag: str | None = None
    turns: int | None = None
    tokens_a: int | None = None
    tokens_b: int | None = None
    ttft_a: float | None = None
    ttft_b: float | None = None
    duration_a: float | None = None
    duration_b: float | None = None
    finish_a: str | None = None
    finish_b: str | None = None
    propensity: float | None = None
    sampling_rule: str | None = None
    roster_revision: int | None = None
    target: str | None = None
    reason: str | None = None
    content_digest: str | None = None
    data: dict[str, Any] | None = None
    consent: str | None = None

    def body(self) -> dict[str, Any]:
        """The JSON object that the leaf is the hash of."""
        body = {name: getattr(self, name) for name in LEAF_FIELDS}
        body["reasons"] = list(self.reasons)
        for name in LATER_FIELDS:
            if body[name] is None:
                del body[name]
        return body

    def leaf(self) -> str:
        """The record's leaf hash, hex."""
        return leaf_hash(rfc8785.dumps(self.body())).hex()


LEAF_FIELDS: tuple[str, ...] = tuple(f.name for f in fields(Record))
"""What the leaf covers."""

LATER_FIELDS = ("data", "consent")
"""In the leaf only where there is any: so leaves from before these fields stay what they are."""

EVENT_TYPES = frozenset(
    {
        *("method", "campaign", "blindness"),
        *("entry", "change", "retirement", "disclosure"),
        *("sealing", "sealed"),
    }
)
"""Types of the dated public records that are about a campaign and not about one vote."""

IDENTITY_LEAK = "identity_leak"
"""The reason of a flag on a vote in whose battle an answer named one of the two models. Its `data`
are the `side` of the answer and the `name`. Such a vote counts in no board but one of all votes."""

EXPORT_FIELDS: tuple[str, ...] = (
    *("seq", "type", "id", "campaign", "battle_id", "timestamp"),
    *("model_a", "model_b", "grade", "winner", "both_bad", "reasons", "comment"),
    *("voter", "voter_kind", "language", "category_tag", "turns"),
    *("conversation_a", "conversation_b", "tokens_a", "tokens_b", "ttft_a", "ttft_b"),
    *("duration_a", "duration_b", "finish_a", "finish_b"),
    *("propensity", "sampling_rule", "roster_revision", "flags", "excluded_reason"),
    *("salt", "content_digest", "target", "reason", "data", "consent", "hash"),
)
"""One exported row: the leaf's fields, the erasable content, and what later records say of it."""


def remark(kind: str, vote: Record, reason: str, at: str) -> Record:
    """What is said of a vote later: a `flag`, an `exclusion` or an `erasure`."""
    return Record(
        id=secrets.token_hex(16),
        type=kind,
        campaign=vote.campaign,
        timestamp=at,
        target=vote.id,
        reason=reason,
    )


def left_out(said: Iterable[Sequence[Any]]) -> dict[str, str | None]:
    """Which votes no board counts but that of all votes, and why.

    `said` are flags and exclusions in log order: a name for the vote, their type and their reason.
    The newest exclusion's reason, or None where only an identity leak is the cause.
    """
    found: dict[str, str | None] = {}
    for vote, kind, reason in said:
        if kind == "exclusion":
            found[vote] = reason
        elif kind == "flag" and reason == IDENTITY_LEAK:
            found.setdefault(vote, None)
    return found


@dataclass(frozen=True, slots=True)
class LogRow:
    """A sealed (or pending: `seq` None) record as it is stored, with what is said of it."""

    seq: int | None
    record: Record
    hash: str
    content: Content | None = None
    flags: tuple[str, ...] = ()
    excluded_reason: str | None = None
