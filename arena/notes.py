"""Signed texts: the arena's key, the heads of the log's tree and receipts.

A note is the text, an empty line and a line with the signature, as C2SP's signed-note has it; a
head's text is its tlog-checkpoint (c2sp.org/signed-note, c2sp.org/tlog-checkpoint). Ed25519 of
RFC 8032: the same text always has the same note.
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ED25519 = b"\x01"  # the algorithm's number in C2SP's signed-note
_RECEIPT = "arena receipt v1"


class Signer:
    """The arena's signing key, made of its 32 secret bytes."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw()
        self.name = f"arena-{hashlib.sha256(self.public_key).hexdigest()[:16]}"
        """What the key is called; it is the log's name too."""
        self._id = key_id(self.name, self.public_key)

    @property
    def verifier_key(self) -> str:
        """The public key with its name, as tools for signed notes take it."""
        return f"{self.name}+{self._id.hex()}+{_base64(_ED25519 + self.public_key)}"

    def to_json(self) -> dict[str, str]:
        """What others need to check signatures."""
        return {
            "name": self.name,
            "public_key": _base64(self.public_key),
            "verifier_key": self.verifier_key,
        }

    def has_signed(self, note: str) -> bool:
        """Whether a head's note is of this key, as its first line says; the text is believed."""
        return signer_of(note) == self.name

    def sign(self, text: str) -> str:
        """The note of this text, which ends with a line end."""
        signature = _base64(self._id + self._key.sign(text.encode()))
        return f"{text}\n— {self.name} {signature}\n"

    def head(self, size: int, root: bytes, timestamp: str) -> str:
        """The signed head of the log's tree: its number of records and root hash."""
        return self.sign(f"{self.name}\n{size}\n{_base64(root)}\n{timestamp}\n")

    def receipt(self, record_id: str, leaf: str, timestamp: str) -> str:
        """The signed promise that the log has, or will have, the record with this leaf (hex)."""
        return self.sign(f"{_RECEIPT}\n{self.name}\n{record_id}\n{leaf}\n{timestamp}\n")


def signer_of(head: str) -> str:
    """The name of the key that signed a head's note."""
    return head.partition("\n")[0]


def key_of(verifier_key: str) -> dict[str, str]:
    """What others need to check signatures, of a key that is known by its verifier key only."""
    name, _, key = verifier_key.split("+", 2)
    public_key = base64.b64decode(key)[len(_ED25519) :]
    return {"name": name, "public_key": _base64(public_key), "verifier_key": verifier_key}


def key_id(name: str, public_key: bytes) -> bytes:
    """The four bytes by which a signature names its key."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:4]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
