"""What pictures need, in SQL: pair tables, and single models out of many stored boards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import JSON, column, delete, func, insert, select, true

from arena.interfaces import Lease, PairTable, Rated
from arena.store.encoding import encoded
from arena.store.engine import Database
from arena.store.registry import hold
from arena.store.tables import pair_tables, snapshots, void_rates


class SqlFigures:
    """`interfaces.FigureStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def save(self, lease: Lease, table: PairTable) -> None:
        place = (
            pair_tables.c.campaign == table.campaign,
            pair_tables.c.category == table.category,
        )
        fields = {name: getattr(table, name) for name in PairTable.__slots__}
        fields["data"] = encoded(table.data)
        with self._db.write() as connection:
            hold(connection, lease)
            connection.execute(delete(pair_tables).where(*place))
            connection.execute(insert(pair_tables).values(fields))

    def pairs(self, campaign: str, category: str) -> PairTable | None:
        query = select(*(pair_tables.c[name] for name in PairTable.__slots__)).where(
            pair_tables.c.campaign == campaign, pair_tables.c.category == category
        )
        with self._db.look() as connection:
            row = connection.execute(query).first()
        return None if row is None else PairTable(*row)

    def positions(self) -> dict[tuple[str, str], int]:
        query = select(pair_tables.c.campaign, pair_tables.c.category, pair_tables.c.log_position)
        with self._db.look() as connection:
            return {
                (row.campaign, row.category): row.log_position for row in connection.execute(query)
            }

    def history(
        self, campaign: str, category: str, models: Sequence[str], limit: int
    ) -> list[Rated]:
        boards = (
            select(snapshots.c.id)
            .where(
                snapshots.c.campaign == campaign,
                snapshots.c.category == category,
                snapshots.c.official,
            )
            .order_by(snapshots.c.id)
        )
        # the database takes the few rows out of boards of many: a board is up to 100 kB
        each = func.json_each if self._db.dialect == "sqlite" else func.json_array_elements
        rows = each(snapshots.c.rows).table_valued(column("value", JSON))
        value = rows.c.value
        with self._db.read() as connection:
            kept = thinned(list(connection.execute(boards).scalars()), limit)
            query = (
                select(snapshots.c.log_position, snapshots.c.published_at, value)
                .select_from(snapshots.join(rows, true()))
                .where(snapshots.c.id.in_(kept), value["model"].as_string().in_(models))
                .order_by(snapshots.c.id)
            )
            return [rated(row.value, *row[:2]) for row in connection.execute(query)]

    def save_void_rates(self, lease: Lease, rates: Mapping[str, Mapping[str, float]]) -> None:
        named = [{"campaign": campaign, "rates": dict(found)} for campaign, found in rates.items()]
        with self._db.write() as connection:
            hold(connection, lease)
            connection.execute(delete(void_rates).where(void_rates.c.campaign.in_(rates)))
            if named:
                connection.execute(insert(void_rates), named)

    def void_rates(self, campaign: str) -> dict[str, float]:
        query = select(void_rates.c.rates).where(void_rates.c.campaign == campaign)
        with self._db.look() as connection:
            return connection.execute(query).scalar() or {}


def rated(row: dict[str, Any], log_position: int, published_at: str) -> Rated:
    """A board's row as a point of its model's history."""
    names = ("rating", "rating_lower", "rating_upper", "rank")
    return Rated(row["model"], log_position, published_at, *(row[name] for name in names))


def thinned(items: list[int], limit: int) -> list[int]:
    """At most `limit` of the items, evenly chosen, always with the first and the last."""
    if len(items) <= limit:
        return items
    step = (len(items) - 1) / (limit - 1)
    return [items[round(place * step)] for place in range(limit)]
