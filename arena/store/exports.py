"""The sealed log by columns, as exports write it: pages bounded by rows and by bytes of text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Text, cast, select, text

from arena.interfaces import Columns
from arena.records import EXPORT_FIELDS
from arena.store.tables import contents, records

_AT_ONCE = 16  # rows: a conversation may have megabytes
_PAGE_BYTES = 8 * 2**20
_CONVERSATIONS = ("conversation_a", "conversation_b")
_JOINED = ("flags", "excluded_reason")
_TEXTS = (*_CONVERSATIONS, "salt", "comment")
_JSON = ("reasons", "data", *_CONVERSATIONS)
_FROM_SQL = [name for name in EXPORT_FIELDS if name not in {*_JOINED, *_TEXTS}]
_QUERY = select(
    # JSON as its text: decoding the same few lists for every row took as long as reading them
    *(
        cast(records.c[name], Text).label(name) if name in _JSON else records.c[name]
        for name in _FROM_SQL
    ),
    *(cast(contents.c[name], Text).label(name) for name in _TEXTS),
).select_from(records.outerjoin(contents, contents.c.record_id == records.c.id))
_NAMES = (*_FROM_SQL, *_TEXTS)
# Only the index of targets is to be used: a range of the log may be all of it. The ids are one
# value, because a statement with thousands takes long to write.
_SAID = {
    dialect: select(records.c.target, records.c.type, records.c.reason, records.c.seq).where(
        records.c.target.in_(text(ids))
    )
    for dialect, ids in (
        ("sqlite", "SELECT value FROM json_each(:ids)"),
        ("postgresql", "SELECT unnest(CAST(:ids AS TEXT[]))"),
    )
}
_ID = _NAMES.index("id")
_LONG = [_NAMES.index(name) for name in _CONVERSATIONS]


def exported(
    connection: Connection, after: int, until: int, limit: int, campaigns: Sequence[str]
) -> Columns | None:
    """The next page with after < seq ≤ until; None at the end."""
    wanted = _QUERY.where(
        records.c.seq > after, records.c.seq <= until, records.c.campaign.in_(campaigns)
    )
    rows = _taken(connection, wanted.order_by(records.c.seq).limit(limit))
    if not rows:
        return None
    columns: Columns = dict(zip(_NAMES, map(list, zip(*rows, strict=True)), strict=True))
    for name in _JSON:
        columns[name] = _decoded(columns[name])
    columns["winner"] = [
        "both_bad" if both_bad else winner
        for winner, both_bad in zip(columns["winner"], columns["both_bad"], strict=True)
    ]
    flags, exclusions = _said(connection, until, [row[_ID] for row in rows])
    columns["flags"] = [flags.get(row[_ID], []) for row in rows]
    columns["excluded_reason"] = [exclusions.get(row[_ID]) for row in rows]
    return {name: columns[name] for name in EXPORT_FIELDS}


def _decoded(texts: Sequence[str | None]) -> list[Any]:
    """The values of JSON texts; equal ones share theirs, which nobody changes."""
    values = {text: None if text is None else json.loads(text) for text in set(texts)}
    return list(map(values.__getitem__, texts))


def _taken(connection: Connection, query: Any) -> list[Row[Any]]:
    """The first rows, until their text fills a page."""
    result = connection.execute(
        query, execution_options={"stream_results": True, "max_row_buffer": _AT_ONCE}
    )
    rows: list[Row[Any]] = []
    size = 0
    while size < _PAGE_BYTES and (some := result.fetchmany(_AT_ONCE)):
        rows += some
        size += sum(len(row[place] or "") for row in some for place in _LONG)
    result.close()
    return rows


def _said(
    connection: Connection, until: int, ids: Sequence[str]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The flags of these records, and why they are excluded, by record."""
    flags: dict[str, list[str]] = {}
    exclusions: dict[str, str] = {}
    given = json.dumps(ids) if connection.dialect.name == "sqlite" else list(ids)
    said = connection.execute(_SAID[connection.dialect.name], {"ids": given})
    sealed = [row for row in said if row.seq is not None and row.seq <= until]
    for target, kind, reason, _ in sorted(sealed, key=lambda row: row.seq):
        if kind == "flag":
            flags.setdefault(target, []).append(reason)
        elif kind == "exclusion":
            exclusions[target] = reason
    return flags, exclusions
