"""The log's records and the leaf that fixes each of them.

A leaf is SHA-256(0x00 ‖ RFC 8785 JSON of the record's immutable fields), the leaf hash of
RFC 6962 §2.1. Text is not in it: `content_digest` = SHA-256(salt ‖ RFC 8785 JSON of the
conversations and comment) is, so that erasing text and salt keeps the proof.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, fields
from typing import Any

import rfc8785

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


def new_salt() -> str:
    return secrets.token_hex(32)


@dataclass(frozen=True, slots=True)
class Record:
    """The immutable fields of one record: exactly what its leaf covers.

    `type` is `vote`, `flag`, `exclusion`, `correction` or `erasure`; the last four name their
    `target` record and a `reason`. A `method` record says from where on a campaign's board is
    rated by another method (`data`) and for what `reason`. Times are RFC 3339 UTC strings,
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

    def leaf(self) -> str:
        """The record's leaf hash, hex."""
        body = {name: getattr(self, name) for name in LEAF_FIELDS}
        body["reasons"] = list(self.reasons)
        if self.data is None:
            del body["data"]
        return hashlib.sha256(b"\x00" + rfc8785.dumps(body)).hexdigest()


LEAF_FIELDS: tuple[str, ...] = tuple(f.name for f in fields(Record))
"""What the leaf covers. `data` is in it only where there is any, so that votes do not change."""

EXPORT_FIELDS: tuple[str, ...] = (
    *("seq", "type", "id", "campaign", "battle_id", "timestamp"),
    *("model_a", "model_b", "grade", "winner", "both_bad", "reasons", "comment"),
    *("voter", "voter_kind", "language", "category_tag", "turns"),
    *("conversation_a", "conversation_b", "tokens_a", "tokens_b", "ttft_a", "ttft_b"),
    *("duration_a", "duration_b", "finish_a", "finish_b"),
    *("propensity", "sampling_rule", "roster_revision", "flags", "excluded_reason"),
    *("salt", "content_digest", "target", "reason", "data", "hash"),
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


@dataclass(frozen=True, slots=True)
class LogRow:
    """A sealed (or pending: `seq` None) record as it is stored, with what is said of it."""

    seq: int | None
    record: Record
    hash: str
    content: Content | None = None
    flags: tuple[str, ...] = ()
    excluded_reason: str | None = None
