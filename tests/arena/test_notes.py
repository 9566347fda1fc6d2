"""Signed notes, held against another implementation of C2SP's signed-note and tlog-checkpoint."""

from __future__ import annotations

import base64

import pytest
from cryptography.exceptions import InvalidSignature
from hypothesis import given
from hypothesis import strategies as st
from tlog_scales.signing import NoteSignature, PlainEd25519Verifier, Vkey
from tlog_scales.tlog import Checkpoint

from arena.notes import Signer

SIGNER = Signer(bytes(range(32)))
AT = "2026-01-02T03:04:05.678Z"


def check(note: str, vkey: str) -> list[str]:
    """The lines of a note whose signature the other implementation finds right."""
    text, line = note.split("\n\n")
    signature, key = NoteSignature.from_line(line.removesuffix("\n")), Vkey.from_string(vkey)
    assert key.match(signature)
    verifier = key.get_verifier()
    assert isinstance(verifier, PlainEd25519Verifier)
    verifier.key.verify(signature.payload, f"{text}\n".encode())
    return text.split("\n")


def test_the_key_has_the_id_that_others_compute_for_it() -> None:
    key = Vkey.from_string(SIGNER.verifier_key)
    assert key.serialize() == SIGNER.verifier_key
    assert Vkey(key.name, None, key.sig_type, key.pubkey).key_id == key.key_id
    assert key.pubkey == SIGNER.public_key
    assert SIGNER.to_json() == {
        "name": key.name,
        "public_key": base64.b64encode(key.pubkey).decode(),
        "verifier_key": key.serialize(),
    }


def test_the_key_is_that_of_rfc_8032() -> None:
    """Section 7.1, test 1."""
    seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert Signer(bytes.fromhex(seed)).public_key.hex() == public


def test_a_receipt_says_which_leaf_is_promised() -> None:
    lines = check(SIGNER.receipt("r1", "ab" * 32, AT), SIGNER.verifier_key)
    assert lines == ["arena receipt v1", SIGNER.name, "r1", "ab" * 32, AT]


def test_a_head_is_a_checkpoint_with_its_time_as_an_extension() -> None:
    root = bytes(range(100, 132))
    note = SIGNER.head(7, root, AT)
    assert check(note, SIGNER.verifier_key) == [
        SIGNER.name,
        "7",
        base64.b64encode(root).decode(),
        AT,
    ]
    # it reads the three lines that every checkpoint has
    three = Checkpoint(SIGNER.name, 7, root, []).serialize_body()
    assert note.startswith(three)


def test_the_same_text_always_has_the_same_note() -> None:
    assert SIGNER.receipt("r1", "ab" * 32, AT) == Signer(bytes(range(32))).receipt(
        "r1", "ab" * 32, AT
    )


@given(place=st.integers(0), bit=st.integers(0, 6))
def test_a_changed_note_is_refused(place: int, bit: int) -> None:
    note = bytearray(SIGNER.receipt("r1", "ab" * 32, AT).encode())
    text = note.index(b"\n\n")
    note[place % text] ^= 1 << bit
    if b"\n\n" in note[:text]:
        return  # another note altogether
    with pytest.raises((InvalidSignature, UnicodeDecodeError, ValueError)):
        check(note.decode(), SIGNER.verifier_key)


def test_a_note_of_another_key_is_refused() -> None:
    stranger = Signer(bytes(32))
    with pytest.raises(AssertionError):
        check(stranger.receipt("r1", "ab" * 32, AT), SIGNER.verifier_key)
