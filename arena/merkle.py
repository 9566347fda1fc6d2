"""The Merkle tree of RFC 6962 §2.1, with proofs as RFC 9162 §2.1 checks them.

Leaves are given by their hashes, 32 bytes each; `records.Record.leaf` makes them. A proof is a list
of hashes in the order of the RFC. Whoever makes one needs the root of any complete subtree: see
`Subtree`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

Subtree = Callable[[int, int], bytes]
"""The root over the leaves start ≤ i < stop, which are a complete subtree: stop − start is a power
of two that divides start."""

EMPTY = hashlib.sha256().digest()
"""The root of no leaves."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf that holds these bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that grows leaf by leaf, kept as the roots of its complete subtrees, largest first."""

    def __init__(self, size: int = 0, roots: Iterable[bytes] = ()) -> None:
        self.size = size
        self.roots = list(roots)

    def append(self, leaf: bytes) -> None:
        """Add the next leaf, given by its hash."""
        carry, size = leaf, self.size
        while size & 1:
            carry, size = node_hash(self.roots.pop(), carry), size >> 1
        self.roots.append(carry)
        self.size += 1

    def root(self) -> bytes:
        """The root hash of the leaves so far."""
        if not self.roots:
            return EMPTY
        root = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            root = node_hash(left, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root hash over these leaves (MTH of RFC 6962 §2.1)."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def root_of_range(start: int, stop: int, subtree: Subtree) -> bytes:
    """The root over the leaves start ≤ i < stop; start is a multiple of their tree's width."""
    if start == stop:
        return EMPTY
    parts, at = [], start
    while at < stop:
        width = 1 << ((stop - at).bit_length() - 1)
        parts.append(subtree(at, at + width))
        at += width
    return Frontier(0, parts).root()


# --- proofs -------------------------------------------------------------------------------------


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Proves that leaf `index` (from 0) is in the tree of `size` leaves: PATH of RFC 6962 §2.1.1.

    Raises `ValueError` for a leaf that the tree does not have.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    start, stop, path = 0, size, []
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append(root_of_range(middle, stop, subtree))
            stop = middle
        else:
            path.append(root_of_range(start, middle, subtree))
            start = middle
    return path[::-1]


def consistency_proof(first: int, second: int, subtree: Subtree) -> list[bytes]:
    """Proves that the tree of `second` leaves begins with that of `first`: PROOF of §2.1.2.

    Raises `ValueError` unless 1 ≤ first ≤ second.
    """
    if not 1 <= first <= second:
        raise ValueError(f"no tree of {second} leaves begins with one of {first}")
    start, stop, path, is_whole = 0, second, [], True
    while first != stop:
        middle = start + _split(stop - start)
        if first <= middle:
            path.append(root_of_range(middle, stop, subtree))
            stop = middle
        else:
            path.append(root_of_range(start, middle, subtree))
            start, is_whole = middle, False
    if not is_whole:
        path.append(root_of_range(start, stop, subtree))
    return path[::-1]


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof holds for this leaf and root: RFC 9162 §2.1.3.2."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for node in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(node, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, node)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(
    first: int, second: int, first_root: bytes, second_root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether the proof holds for these two roots: RFC 9162 §2.1.4.2."""
    if not 1 <= first <= second:
        return False
    if first == second:
        return not path and first_root == second_root
    nodes = list(path)
    if first & (first - 1) == 0:
        nodes.insert(0, first_root)
    if not nodes:
        return False
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, node)
        place, last = place >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root
