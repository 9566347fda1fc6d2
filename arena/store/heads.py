"""Heads of the log's tree in SQL, as every transaction that publishes one writes it."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from arena.errors import ForkedLog
from arena.interfaces import Head
from arena.store.tables import tree_heads


def write_head(connection: Connection, head: Head) -> None:
    """Keep a head, instead of the one of its size if there is one: another key signed that.

    Raises `ForkedLog` when that one has another root. The caller holds the worker's lease.
    """
    same = tree_heads.c.size == head.size
    root = connection.execute(select(tree_heads.c.root).where(same)).scalar()
    values = {name: getattr(head, name) for name in Head.__slots__}
    if root is None:
        connection.execute(insert(tree_heads).values(values))
    elif root != head.root:
        raise ForkedLog(head.size, root, head.root)
    else:
        connection.execute(
            update(tree_heads).where(same, tree_heads.c.note != head.note).values(values)
        )
