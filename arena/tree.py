"""The Merkle tree over the sealed log, so that proofs of a long log read little of it.

The record with `seq` n is leaf n - 1. Roots of whole subtrees of 256 leaves, of 256 such subtrees
and so on are kept as nodes. They are a cache: what is missing is made anew of what is below it. So
a proof, or the root, takes two blocks of at most 256 hashes a level.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator

from arena.clock import now
from arena.errors import ForkedLog
from arena.interfaces import Head, Lease, Node, TreeStore, VoteLog
from arena.merkle import Frontier, consistency_proof, inclusion_proof, root_of, root_of_range
from arena.notes import Signer

_BITS = 8
FANOUT = 1 << _BITS
"""Children of a kept node."""

_BLOCKS = 128  # of 20 kB in memory each
_BATCH = 2**12  # leaves read at a time
_SAVED = FANOUT  # nodes kept in one transaction, for which votes wait


class Tree:
    """The tree of every size that the log ever had. It may be shared between threads.

    Sizes and indexes are the caller's to check: `ValueError` is raised for leaves that the log
    does not have.
    """

    def __init__(self, votes: VoteLog, trees: TreeStore) -> None:
        self._votes = votes
        self._trees = trees
        self._lock = threading.Lock()
        self._blocks: OrderedDict[tuple[int, int], list[bytes]] = OrderedDict()

    def leaf(self, index: int) -> bytes:
        """The hash of leaf `index` (from 0)."""
        return self.subtree(index, index + 1)

    def root(self, size: int) -> bytes:
        """The root over the first `size` leaves."""
        return root_of_range(0, size, self.subtree)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Proves that leaf `index` is in the tree of `size` leaves: see `merkle`."""
        return inclusion_proof(index, size, self.subtree)

    def consistency(self, first: int, second: int) -> list[bytes]:
        """Proves that the tree of `second` leaves begins with that of `first`: see `merkle`."""
        return consistency_proof(first, second, self.subtree)

    def subtree(self, start: int, stop: int) -> bytes:
        """The root over a complete subtree: a `merkle.Subtree`."""
        level = ((stop - start).bit_length() - 1) // _BITS
        first, last = start >> (level * _BITS), stop >> (level * _BITS)
        number, place = divmod(first, FANOUT)
        until = place + last - first
        return root_of(self._block(level, number, until)[place:until])

    def _block(self, level: int, number: int, until: int) -> list[bytes]:
        """The first children of node `number` of the level above, at least `until` of them.

        What was read once stays true, for the log only grows.
        """
        key = (level, number)
        with self._lock:
            known = self._blocks.get(key, [])
            if len(known) >= until:
                self._blocks.move_to_end(key)
                return known
        found = self._read(level, number * FANOUT, until)
        with self._lock:
            self._blocks[key] = found
            self._blocks.move_to_end(key)
            while len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        return found

    def _read(self, level: int, first: int, until: int) -> list[bytes]:
        if level == 0:
            leaves = self._votes.leaves(first, FANOUT)
            if len(leaves) < until:
                raise ValueError(f"the log has no record {first + until} yet")
            return leaves
        kept = self._trees.nodes(level, first, FANOUT)
        found: list[bytes] = []
        while first + len(found) in kept or len(found) < until:
            node = first + len(found)
            found.append(kept.get(node) or root_of(self._read(level - 1, node * FANOUT, FANOUT)))
        return found


class Growth:
    """The tree as the worker grows it under its lease: its frontier, level by level.

    It begins where whole nodes end, so that a worker that starts reads at most 255 hashes a level.
    Where one is missing in between, it begins at the first leaf and keeps all of them anew.
    """

    def __init__(
        self, votes: VoteLog, trees: TreeStore, lease: Lease, check: Callable[[], None]
    ) -> None:
        self._votes = votes
        self._trees = trees
        self._lease = lease
        self._check = check
        self._levels = [Frontier()]
        self.size = 0
        self._begin()

    def _begin(self) -> None:
        whole = self._trees.whole()
        size = whole.get(1, 0) * FANOUT
        depth = max(1, -(-size.bit_length() // _BITS))
        if any(whole.get(level, 0) != size >> (level * _BITS) for level in range(1, depth + 1)):
            return
        levels = [Frontier()]
        for level in range(1, depth + 1):
            done = size >> (level * _BITS)
            first = done - done % FANOUT
            nodes = self._trees.nodes(level, first, FANOUT)
            frontier = Frontier()
            for number in range(first, done):
                frontier.append(nodes[number])
            levels.append(frontier)
        self._levels, self.size = levels, size

    def grow(self, size: int) -> None:
        """Take in the leaves up to this size, and keep the nodes that are whole then.

        Raises `LeaseLost`, and whatever `check` raises between two batches.
        """
        nodes: list[Node] = []
        while self.size < size:
            leaves = self._votes.leaves(self.size, min(_BATCH, size - self.size))
            if not leaves:
                raise ValueError(f"the log has no record {self.size + 1} yet")
            for leaf in leaves:
                nodes.extend(self._append(leaf))
            if len(nodes) >= _SAVED:
                self._trees.save(self._lease, nodes)
                nodes = []
            self._check()
        if nodes:
            self._trees.save(self._lease, nodes)

    def _append(self, leaf: bytes) -> Iterator[Node]:
        """Add a leaf; the nodes that it makes whole."""
        carry, level = leaf, 0
        self.size += 1
        self._levels[0].append(carry)
        while self._levels[level].size == FANOUT:
            carry = self._levels[level].root()
            self._levels[level] = Frontier()
            level += 1
            if level == len(self._levels):
                self._levels.append(Frontier())
            self._levels[level].append(carry)
            yield Node(level, (self.size >> (level * _BITS)) - 1, carry)

    def root(self) -> bytes:
        """The root over the leaves so far."""
        roots = [root for level in reversed(self._levels) for root in level.roots]
        return Frontier(self.size, roots).root()


class Heads:
    """Signs heads of the tree under the worker's lease; whoever publishes one keeps it.

    Raises `ForkedLog` rather than contradict a head that was kept. When it begins it looks at the
    newest of them; that older records are still what they were is for `arena verify` to say.
    """

    def __init__(
        self,
        votes: VoteLog,
        trees: TreeStore,
        signer: Signer,
        lease: Lease,
        check: Callable[[], None],
    ) -> None:
        self._trees = trees
        self._signer = signer
        self._lease = lease
        self._tree = Tree(votes, trees)
        self._growth = Growth(votes, trees, lease, check)
        self._begun = False
        self._last: Head | None = None

    def at(self, size: int) -> Head:
        """The head of this size: the one that is kept, or a new one; that of an earlier key is
        signed anew.
        """
        if self._last is None or self._last.size != size:
            self._last = self._kept_or_new(size)
        return self._last

    def _kept_or_new(self, size: int) -> Head:
        self._growth.grow(size)
        if not self._begun:
            self._refuse_another_log()
            self._trees.add_key(self._lease, self._signer.verifier_key)
            self._begun = True
        root = self._growth.root() if size == self._growth.size else self._tree.root(size)
        kept = self._trees.head(size)
        if kept is not None and kept.root != root.hex():
            raise ForkedLog(size, kept.root, root.hex())
        if kept is not None and self._signer.has_signed(kept.note):
            return kept
        at = now()
        return Head(size, root.hex(), at, self._signer.head(size, root, at))

    def _refuse_another_log(self) -> None:
        newest = self._trees.head()
        if newest is None:
            return
        try:
            self._growth.grow(newest.size)
        except ValueError:
            raise ForkedLog(newest.size, newest.root, None) from None
        root = self._tree.root(newest.size).hex()
        if root != newest.root:
            raise ForkedLog(newest.size, newest.root, root)
