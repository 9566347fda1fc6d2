"""What anyone may ask of the log's tree: its signed heads, and proofs between records and heads."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from arena.errors import InvalidField, NotFound
from arena.interfaces import Head, TreeStore, VoteLog
from arena.notes import Signer, key_of
from arena.tree import Tree

UNKNOWN_RECORD = (
    "There is no record with this id in the signed log, or not yet: a vote is there a few seconds "
    "after it was given."
)


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Proves that the record with this `seq` is leaf seq - 1 of the tree of `size` records.

    Hashes are hex, `path` is in the order of RFC 6962 §2.1.1. `head` is the note of the head of
    this size, where one is kept.
    """

    seq: int
    leaf: str
    size: int
    root: str
    path: tuple[str, ...]
    head: str | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Consistency:
    """Proves that the log of `second` records begins with that of `first`; as in `Inclusion`."""

    first: int
    second: int
    path: tuple[str, ...]
    root_first: str
    root_second: str
    head_first: str | None
    head_second: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "from": self.first,
            "to": self.second,
            "path": list(self.path),
            "root_from": self.root_first,
            "root_to": self.root_second,
            "head_from": self.head_first,
            "head_to": self.head_second,
        }


class Proofs:
    """Proofs up to the newest signed head. Records behind it wait to be covered by the next one."""

    def __init__(self, votes: VoteLog, trees: TreeStore) -> None:
        self._votes = votes
        self._trees = trees
        self._tree = Tree(votes, trees)

    def head(self, size: int | None = None) -> Head:
        """The signed head of this size; without one, the newest. Raises `NotFound`."""
        head = self._trees.head(size)
        if head is None and size is None:
            raise NotFound("No head of the log has been signed yet. Try again in a moment.")
        if head is None:
            raise NotFound(
                f"No signed head of {size} records is kept. /api/log/head has the newest one, and "
                "/api/log/consistency proves that the log of any size is its beginning.",
                field="size",
            )
        return head

    def inclusion(self, seq: int, size: int | None = None) -> Inclusion:
        """Raises `NotFound` for a record that no head covers yet, or a size that has none yet."""
        return self._inclusion(seq, size, self.head())

    def _inclusion(self, seq: int, size: int | None, newest: Head) -> Inclusion:
        size = _covered(size, newest, "size")
        if not 1 <= seq <= size:
            raise NotFound(f"A log of {size} records has no record {seq}.", field="seq")
        return Inclusion(
            seq=seq,
            leaf=self._tree.leaf(seq - 1).hex(),
            size=size,
            root=self._tree.root(size).hex(),
            path=_hex(self._tree.inclusion(seq - 1, size)),
            head=self._note(size, newest),
        )

    def inclusion_of(self, record_id: str, size: int | None = None) -> Inclusion:
        """The same for the record with this id."""
        found = self.inclusion_if_covered(record_id, size)
        if found is None:
            raise NotFound(UNKNOWN_RECORD, field="id")
        return found

    def inclusion_if_covered(self, record_id: str, size: int | None = None) -> Inclusion | None:
        """The same, but None for a record that no head covers yet."""
        newest = self._trees.head()
        seq = self._votes.place_of(record_id)
        if newest is None or seq is None or seq > newest.size:
            return None
        return self._inclusion(seq, size, newest)

    def consistency(self, first: int, second: int | None = None) -> Consistency:
        """Raises `NotFound` for sizes that no head covers yet, `InvalidField` unless 1 ≤ first ≤
        second.
        """
        newest = self.head()
        second = _covered(second, newest, "to")
        first = _covered(first, newest, "from")
        if not 1 <= first <= second:
            raise InvalidField("'from' must be from 1 to 'to'.", field="from")
        return Consistency(
            first=first,
            second=second,
            path=_hex(self._tree.consistency(first, second)),
            root_first=self._tree.root(first).hex(),
            root_second=self._tree.root(second).hex(),
            head_first=self._note(first, newest),
            head_second=self._note(second, newest),
        )

    def keys(self, signer: Signer) -> list[dict[str, str]]:
        """The arena's keys, as JSON: that of `signer`, and the earlier ones behind it."""
        earlier = (key for key in self._trees.keys() if key != signer.verifier_key)
        return [signer.to_json(), *map(key_of, earlier)]

    def _note(self, size: int, newest: Head) -> str | None:
        """A head that is the newest no longer may be dropped at any time."""
        head = newest if size == newest.size else self._trees.head(size)
        return None if head is None else head.note


def _covered(size: int | None, newest: Head, field: str) -> int:
    if size is None:
        return newest.size
    if size > newest.size:
        raise NotFound(
            f"The newest signed head is of {newest.size} records; there is none of {size} yet.",
            field=field,
        )
    return size


def _hex(path: list[bytes]) -> tuple[str, ...]:
    return tuple(node.hex() for node in path)
