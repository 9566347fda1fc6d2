"""A whole log that comes from elsewhere, into a system that has none: all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import islice

from sqlalchemy import Connection, delete, exists, insert, not_, or_, select, update

from arena.errors import Conflict
from arena.interfaces import Campaign, Lease, SealedBoard
from arena.records import LogRow
from arena.store.engine import Database
from arena.store.registry import add_campaign, hold
from arena.store.rows import record_values, sealed_values
from arena.store.tables import campaigns, contents, import_rows, records, sealed_boards
from arena.store.votes import content_values

_BATCH = 1_000


def restore(
    database: Database,
    lease: Lease,
    restored: Sequence[Campaign],
    rows: Iterable[LogRow],
    sealed: Sequence[SealedBoard],
) -> int:
    """`interfaces.VoteLog.restore` over SQL."""
    with database.write() as connection:
        hold(connection, lease)
        _require_empty(connection)
        # what a new system said of its own first campaigns: the log that comes says it itself
        ids = [campaign.id for campaign in restored]
        connection.execute(delete(records).where(records.c.campaign.in_(ids)))
        for campaign in restored:
            if not add_campaign(connection, campaign):
                here = campaigns.c.id == campaign.id
                connection.execute(update(campaigns).where(here).values(asdict(campaign)))
        if sealed:
            connection.execute(insert(sealed_boards), list(map(sealed_values, sealed)))
        return _add(connection, rows)


def _require_empty(connection: Connection) -> None:
    in_use = or_(records.c.seq.is_not(None), not_(records.c.type == "campaign"))
    for there in (select(records.c.n).where(in_use), select(import_rows.c.place)):
        if connection.execute(select(exists(there))).scalar_one():
            raise Conflict(
                "The log here has records already, and a whole log only fits into an empty one. "
                "Import it into a new data folder (ARENA_DATA) or database (DATABASE_URL)."
            )


def _add(connection: Connection, rows: Iterable[LogRow]) -> int:
    rows, added = iter(rows), 0
    while batch := list(islice(rows, _BATCH)):
        connection.execute(
            insert(records), [{**record_values(row.record), "seq": row.seq} for row in batch]
        )
        texts = [
            content_values(row.record, row.content) for row in batch if row.content is not None
        ]
        if texts:
            connection.execute(insert(contents), texts)
        added += len(batch)
    return added
