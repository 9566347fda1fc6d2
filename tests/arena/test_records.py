"""Leaves and digests: fixed for ever, and different for every different record."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace
from typing import Any

import pytest

from arena.records import LATER_FIELDS, LEAF_FIELDS, Content, Record, new_salt

SALT = "00112233445566778899aabbccddeeff" * 2

CONTENT = Content(
    salt=SALT,
    conversation_a=[{"role": "user", "content": [{"type": "text", "text": "Hi 👋 \u2028"}]}],
    conversation_b=None,
    comment="很好",
)

RECORD = Record(
    id="r1",
    type="vote",
    campaign="online",
    timestamp="2026-01-02T03:04:05.678Z",
    battle_id="b1",
    model_a="m0",
    model_b="m1",
    grade=-2,
    winner="model_b",
    both_bad=False,
    reasons=("correct", "clear"),
    voter="p1",
    voter_kind="person",
    language="zh",
    category_tag="math",
    turns=2,
    tokens_a=10,
    tokens_b=20,
    ttft_a=0.125,
    ttft_b=0.25,
    duration_a=1.5,
    duration_b=2.75,
    finish_a="stop",
    finish_b="length",
    propensity=0.0625,
    sampling_rule="uniform",
    roster_revision=3,
    target="r0",
    reason="spam",
    content_digest="00" * 32,
)


def canonical(value: Any) -> bytes:
    """RFC 8785 for what these examples hold: no exotic numbers, ASCII keys."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8")


def test_a_leaf_is_the_rfc_6962_hash_of_the_records_canonical_json() -> None:
    body = {field.name: getattr(RECORD, field.name) for field in fields(Record)}
    for name in LATER_FIELDS:  # a vote of old has none
        del body[name]
    body["reasons"] = ["correct", "clear"]
    assert RECORD.leaf() == hashlib.sha256(b"\x00" + canonical(body)).hexdigest()


def test_the_leaf_of_the_golden_record_never_changes() -> None:
    """A new field, another name or another number format would break every receipt given out."""
    assert RECORD.leaf() == "f1596cd45feafbcec87562c0a9b602572dc863154a1b4e46e85cc06ad3c4da3b"
    assert CONTENT.digest() == "20ecd8bcb7701e5b30c41fb910cae73e6759e247b99c83541ca8f1ee290e3b27"


def test_a_bare_record_has_all_its_empty_fields_in_the_leaf() -> None:
    bare = Record("r1", "flag", "online", "2026-01-02T03:04:05.678Z")
    body = dict.fromkeys(name for name in LEAF_FIELDS if name not in LATER_FIELDS) | {
        "id": "r1",
        "type": "flag",
        "campaign": "online",
        "timestamp": "2026-01-02T03:04:05.678Z",
        "reasons": [],
    }
    assert bare.leaf() == hashlib.sha256(b"\x00" + canonical(body)).hexdigest()


@pytest.mark.parametrize("name", LEAF_FIELDS)
def test_changing_any_field_changes_the_leaf(name: str) -> None:
    value = getattr(RECORD, name)
    match value:
        case bool():
            other: Any = not value
        case int() | float():
            other = value + 1
        case tuple():
            other = value[::-1]
        case None:
            other = {"method": None}
        case _:
            other = value + " "
    assert replace(RECORD, **{name: other}).leaf() != RECORD.leaf()
    if name not in ("id", "type", "campaign", "timestamp", "reasons", *LATER_FIELDS):
        assert replace(RECORD, **{name: None}).leaf() != RECORD.leaf()


def test_a_digest_is_the_hash_of_salt_and_canonical_text() -> None:
    text = {
        "conversation_a": CONTENT.conversation_a,
        "conversation_b": None,
        "comment": "很好",
    }
    expected = hashlib.sha256(bytes.fromhex(SALT) + canonical(text)).hexdigest()
    assert CONTENT.digest() == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"salt": "ff" * 32},
        {"comment": None},
        {"comment": ""},
        {"conversation_a": None, "conversation_b": CONTENT.conversation_a},
        {"conversation_a": []},
    ],
)
def test_changing_text_side_or_salt_changes_the_digest(changes: dict[str, Any]) -> None:
    assert replace(CONTENT, **changes).digest() != CONTENT.digest()


def test_salts_are_random_and_as_long_as_the_hash() -> None:
    assert len({new_salt() for _ in range(100)}) == 100
    assert len(bytes.fromhex(new_salt())) == 32
