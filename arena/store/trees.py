"""The log's tree in SQL: roots of whole subtrees, a cache, and the signed heads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from sqlalchemy import delete, func, insert, select

from arena.clock import now
from arena.interfaces import Head, Lease, Node
from arena.store.engine import Database
from arena.store.heads import write_head
from arena.store.registry import hold
from arena.store.tables import sealed_boards, signing_keys, snapshots, tree_heads, tree_nodes

_LEVEL, _NUMBER = tree_nodes.c.level, tree_nodes.c.number


class SqlTrees:
    """`interfaces.TreeStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # --- nodes ------------------------------------------------------------------------------

    def nodes(self, level: int, first: int, count: int) -> dict[int, bytes]:
        query = select(_NUMBER, tree_nodes.c.hash).where(
            _LEVEL == level, _NUMBER >= first, _NUMBER < first + count
        )
        with self._db.look() as connection:
            return {number: bytes(root) for number, root in connection.execute(query)}

    def whole(self) -> dict[int, int]:
        query = select(_LEVEL, func.count(), func.max(_NUMBER)).group_by(_LEVEL)
        with self._db.look() as connection:
            found = connection.execute(query).all()
        return {level: count if count == last + 1 else 0 for level, count, last in found}

    def save(self, lease: Lease, nodes: Sequence[Node]) -> None:
        ordered = sorted(nodes, key=lambda node: (node.level, node.number))
        with self._db.write() as connection:
            hold(connection, lease)
            for level, some in groupby(ordered, key=lambda node: node.level):
                numbers = [node.number for node in some]
                between = _NUMBER.between(numbers[0], numbers[-1])
                connection.execute(delete(tree_nodes).where(_LEVEL == level, between))
            rows = [
                {"level": node.level, "number": node.number, "hash": node.root} for node in ordered
            ]
            connection.execute(insert(tree_nodes), rows)

    # --- heads ------------------------------------------------------------------------------

    def head(self, size: int | None = None) -> Head | None:
        columns = [tree_heads.c[name] for name in Head.__slots__]
        query = select(*columns).order_by(tree_heads.c.size.desc()).limit(1)
        if size is not None:
            query = query.where(tree_heads.c.size == size)
        with self._db.look() as connection:
            row = connection.execute(query).first()
        return None if row is None else Head(*row)

    def nearest(self, size: int) -> Head | None:
        columns = [tree_heads.c[name] for name in Head.__slots__]
        distance = func.abs(tree_heads.c.size - size)
        query = select(*columns).order_by(distance, tree_heads.c.size).limit(1)
        with self._db.look() as connection:
            row = connection.execute(query).first()
        return None if row is None else Head(*row)

    def keys(self) -> list[str]:
        newest_first = signing_keys.c.since.desc()
        with self._db.look() as connection:
            query = select(signing_keys.c.verifier_key).order_by(newest_first)
            return list(connection.execute(query).scalars())

    def add_key(self, lease: Lease, verifier_key: str) -> None:
        key = {"verifier_key": verifier_key}
        with self._db.write() as connection:
            hold(connection, lease)
            kept = select(signing_keys).filter_by(**key)
            if connection.execute(kept).first() is None:
                connection.execute(insert(signing_keys).values(since=now(), **key))

    def add_head(self, lease: Lease, head: Head) -> None:
        with self._db.write() as connection:
            hold(connection, lease)
            write_head(connection, head)

    def drop_heads(self, lease: Lease, before: str) -> None:
        newest = select(func.max(tree_heads.c.size)).scalar_subquery()
        unnamed = (
            tree_heads.c.size.not_in(select(boards.c.log_position))
            for boards in (snapshots, sealed_boards)
        )
        with self._db.write() as connection:
            hold(connection, lease)
            old = tree_heads.c.timestamp < before
            connection.execute(delete(tree_heads).where(tree_heads.c.size < newest, old, *unnamed))
