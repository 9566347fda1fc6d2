"""Imports on their way into the log: all of a file or nothing, and votes go on meanwhile.

The rows of a file are stored in short transactions where nobody sees them. A last one, as short,
makes all of them count; the worker moves them into the log as it seals them, behind the votes.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Update, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from arena.clock import now, rfc3339
from arena.errors import Conflict, Unavailable
from arena.interfaces import Campaign
from arena.records import Content, Record
from arena.store.engine import Database, retried
from arena.store.registry import add_campaign
from arena.store.rows import record_values
from arena.store.tables import contents, import_rows, import_tries, imports, records

_OPEN, _DONE, _ENDED = "open", "done", "ended"
IMPORT_BATCH = 500  # rows that a vote may have to wait for
POLITE_SECONDS = 0.005  # between two batches: SQLite's writers poll for their turn
_ABANDONED = timedelta(days=1)

_done = select(import_tries.c.id).where(import_tries.c.state == _DONE)


class Imports:
    """Brings whole files into a campaign."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(
        self, campaign: Campaign, digest: str, rows: Iterable[tuple[Record, Content | None]]
    ) -> int:
        """Make all rows of a file count, or none; returns how many of them are votes.

        What a killed import left is removed by the next one of the same file, or by any after a
        day. Raises `Conflict` when this very file is in that campaign already, or when somebody
        else began to import it meanwhile.
        """
        import_try = self._begin(campaign.id, digest)
        try:
            self._remove_ended()
            votes = self._store(import_try, rows)
            self._finish(import_try, campaign, digest, votes)
        except BaseException:
            with suppress(Unavailable):  # then the next import does it
                self._end(import_try)
                self._remove_ended()
            raise
        return votes

    @retried
    def _begin(self, campaign: str, digest: str) -> str:
        """The id of a new try, which ends an older one of the same file."""
        import_try = secrets.token_hex(16)
        here = (imports.c.campaign == campaign) & (imports.c.digest == digest)
        same = (import_tries.c.campaign == campaign) & (import_tries.c.digest == digest)
        old = import_tries.c.begun_at < rfc3339(datetime.now(UTC) - _ABANDONED)
        end = update(import_tries).where(import_tries.c.state == _OPEN, or_(same, old))
        begin = insert(import_tries).values(
            id=import_try, campaign=campaign, digest=digest, begun_at=now(), state=_OPEN
        )
        with self._db.write() as connection:
            if connection.execute(select(imports.c.digest).where(here)).first() is not None:
                raise _imported_before(campaign)
            connection.execute(end.values(state=_ENDED))
            connection.execute(begin)
        return import_try

    def _store(self, import_try: str, rows: Iterable[tuple[Record, Content | None]]) -> int:
        numbered, votes = enumerate(rows), 0
        while batch := list(islice(numbered, IMPORT_BATCH)):
            values = [_values(import_try, place, *row) for place, row in batch]
            self._store_batch(import_try, values)
            votes += sum(record.type == "vote" for _, (record, _) in batch)
        return votes

    @retried
    def _store_batch(self, import_try: str, values: list[dict[str, Any]]) -> None:
        with self._db.write() as connection:
            _require_open(connection, import_try)
            connection.execute(insert(import_rows), values)

    @retried
    def _finish(self, import_try: str, campaign: Campaign, digest: str, votes: int) -> None:
        imported = insert(imports).values(
            campaign=campaign.id, digest=digest, votes=votes, imported_at=now()
        )
        with self._db.write() as connection:
            _require_open(connection, import_try, then=_DONE)
            add_campaign(connection, campaign)
            try:
                with connection.begin_nested():
                    connection.execute(imported)
            except IntegrityError:
                raise _imported_before(campaign.id) from None

    @retried
    def _end(self, import_try: str) -> None:
        with self._db.write() as connection:
            connection.execute(_moved(import_try, _ENDED))

    def _remove_ended(self) -> None:
        """Remove what tries stored that came to nothing."""
        ended = select(import_tries.c.id).where(import_tries.c.state == _ENDED)
        with self._db.look() as connection:
            ids = list(connection.execute(ended).scalars())
        for import_try in ids:
            while self._remove_batch(import_try) == IMPORT_BATCH:
                time.sleep(POLITE_SECONDS)

    @retried
    def _remove_batch(self, import_try: str) -> int:
        with self._db.write() as connection:
            return _remove_rows(connection, import_try, IMPORT_BATCH)


def waiting_rows(connection: Connection) -> int:
    """How many rows of finished imports are not in the log yet."""
    rows = select(func.count()).select_from(import_rows)
    return connection.execute(rows.where(import_rows.c.import_try.in_(_done))).scalar_one()


def next_import(connection: Connection) -> str | None:
    """The finished import that comes first into the log; None when all are there."""
    first = _done.order_by(import_tries.c.begun_at, import_tries.c.id).limit(1)
    return connection.execute(first).scalar()


def seal_import(connection: Connection, last: int, limit: int) -> Counter[str]:
    """Move the first rows of a finished import into the log, behind `last`: how many by type."""
    import_try = next_import(connection)
    if import_try is None or limit == 0:
        return Counter()
    limit = min(limit, IMPORT_BATCH)
    rows = (
        select(import_rows)
        .where(import_rows.c.import_try == import_try)
        .order_by(import_rows.c.place)
        .limit(limit)
        .subquery()
    )
    columns = [column for column in records.c if column.name in import_rows.c]
    seq = func.row_number().over(order_by=rows.c.place) + last
    sealed = select(*(rows.c[column.name] for column in columns), seq).order_by(rows.c.place)
    inserted = insert(records).from_select([*columns, records.c.seq], sealed)
    types = Counter(connection.execute(inserted.returning(records.c.type)).scalars())
    texts = [column for column in contents.c if column.name in import_rows.c]
    said = select(*(rows.c[column.name] for column in texts), rows.c.id)
    connection.execute(
        insert(contents).from_select(
            [*texts, contents.c.record_id], said.where(rows.c.salt.is_not(None))
        )
    )
    _remove_rows(connection, import_try, limit)
    return types


def _values(import_try: str, place: int, record: Record, content: Content | None) -> dict[str, Any]:
    texts = {name: getattr(content, name, None) for name in Content.__slots__}
    return {"import_try": import_try, "place": place, **record_values(record), **texts}


def _imported_before(campaign: str) -> Conflict:
    return Conflict(f"This file has been imported into '{campaign}' before.")


def _moved(import_try: str, state: str) -> Update:
    return (
        update(import_tries)
        .where(import_tries.c.id == import_try, import_tries.c.state == _OPEN)
        .values(state=state, begun_at=now())
    )


def _require_open(connection: Connection, import_try: str, then: str = _OPEN) -> None:
    """Raise `Conflict` when another import of the same file took over."""
    if connection.execute(_moved(import_try, then)).rowcount != 1:
        raise Conflict("Another import of this file began meanwhile, so this one was given up.")


def _remove_rows(connection: Connection, import_try: str, limit: int) -> int:
    """Remove the first rows of a try, and the try itself after the last; how many rows."""
    own = import_rows.c.import_try == import_try
    first = select(import_rows.c.place).where(own).order_by(import_rows.c.place).limit(limit)
    statement = delete(import_rows).where(own, import_rows.c.place.in_(first))
    removed = connection.execute(statement).rowcount
    if removed < limit:
        connection.execute(delete(import_tries).where(import_tries.c.id == import_try))
    return removed
