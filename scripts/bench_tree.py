"""The log's tree: what proofs, heads and the worker's start cost beside a long log (SQLite).

python scripts/bench_tree.py [--records 1000000] [--proofs 300] [--seed 1]
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import quantiles

from synthetic_log import world

from arena.interfaces import Lease, TreeStore, VoteLog
from arena.merkle import is_consistent, is_included
from arena.notes import Signer
from arena.store import SqlStore, open_store
from arena.tree import Growth, Heads, Tree

_MODELS = 20


class Counting:
    """A store's part that counts what is read through it."""

    def __init__(self, votes: VoteLog, trees: TreeStore) -> None:
        self._votes, self._trees = votes, trees
        self.rows = 0
        self.head, self.save, self.whole = trees.head, trees.save, trees.whole

    def leaves(self, after: int, limit: int) -> list[bytes]:
        found = self._votes.leaves(after, limit)
        self.rows += len(found)
        return found

    def nodes(self, level: int, first: int, count: int) -> dict[int, bytes]:
        found = self._trees.nodes(level, first, count)
        self.rows += len(found)
        return found


@contextmanager
def timed(what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    print(f"{what:<58} {time.perf_counter() - started:8.2f} s", flush=True)


def spread(what: str, seconds: list[float], rows: list[int]) -> None:
    cuts = quantiles(seconds, n=100)
    print(
        f"{what:<58} p50 {cuts[49] * 1000:6.1f} ms, p99 {cuts[98] * 1000:6.1f} ms, "
        f"at most {max(rows):,} hashes read",
        flush=True,
    )


def require(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"It does not hold that {what}.")


def measure(store: SqlStore, count: int, proofs: int, seed: int) -> None:
    draw = random.Random(seed)
    lease = store.leases.take("worker", "bench", None)
    if lease is None:
        raise SystemExit("Somebody else holds the lease of this new database.")
    with timed(f"all nodes of {count:,} records made, as once after an upgrade"):
        growth = _grown(store, lease, count)
    with timed("the same with the nodes kept: a worker's start"):
        again = _grown(store, lease, count)
    require(growth.root() == again.root(), "both have one root")
    heads = Heads(store.votes, store.trees, Signer(bytes(32)), lease, lambda: None)
    with timed("the first head of a worker that starts"):
        head = heads.at(count)
    store.trees.add_head(lease, head)
    root = bytes.fromhex(head.root)

    def inclusion(tree: Tree) -> None:
        index = draw.randrange(count)
        leaf, path = tree.leaf(index), tree.inclusion(index, count)
        require(tree.root(count) == root, "the root is the head's")
        require(is_included(leaf, index, count, path, root), "the proof holds")

    def consistency(tree: Tree) -> None:
        first = draw.randrange(1, count)
        path = tree.consistency(first, count)
        require(is_consistent(first, count, tree.root(first), root, path), "the proof holds")

    _each("an inclusion proof with its root, nothing in memory", store, proofs, inclusion)
    _each("a consistency proof with both roots, the same", store, proofs, consistency)
    warm = Tree(store.votes, store.trees)
    _each("an inclusion proof by a process that gave others", store, proofs, inclusion, warm)


def _grown(store: SqlStore, lease: Lease, size: int) -> Growth:
    growth = Growth(store.votes, store.trees, lease, lambda: None)
    growth.grow(size)
    return growth


def _each(
    what: str,
    store: SqlStore,
    proofs: int,
    prove: Callable[[Tree], None],
    tree: Tree | None = None,
) -> None:
    seconds, rows = [], []
    for _ in range(proofs):
        counting = Counting(store.votes, store.trees)
        started = time.perf_counter()
        prove(tree or Tree(counting, counting))  # type: ignore[arg-type]  # the parts it reads
        seconds.append(time.perf_counter() - started)
        rows.append(counting.rows)
    spread(what, seconds, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--proofs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with world(given.records, _MODELS) as place:
        store = open_store(place.settings.database_url)
        measure(store, given.records, given.proofs, given.seed)
        store.close()


if __name__ == "__main__":
    main()
