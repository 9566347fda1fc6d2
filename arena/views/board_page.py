"""What the board's page shows: which board, which of its models, and in which order.

All of it stands in the URL, so that the page works without a script, can be sent to others, and
comes back with the browser's back button. `static/js/board.js` only asks for other URLs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from threading import Lock
from typing import Any
from urllib.parse import quote, urlencode

from cachetools import LRUCache, cached

from arena.boards import METHODS, OVERALL, Encoded
from arena.errors import InvalidField
from arena.svg import Axis
from arena.views import schemas

Row = dict[str, Any]
_AIR = 0.03  # beside the ratings, as a share of their span
_TICKS = 4
_TABLES = 8  # of 250 models one has half a megabyte


@dataclass(frozen=True, slots=True)
class Column:
    """A column to sort by, the best or the first of the alphabet on top unless `reversed`."""

    key: str
    value: Callable[[Row], float | str | None]
    descending: bool = True

    def sorted(self, rows: Iterable[Row], *, backwards: bool) -> list[Row]:
        """Rows without a value come last in either order; equal ones stay as they are ranked."""
        known: list[tuple[Any, Row]] = []
        unknown: list[Row] = []
        for row in rows:
            value = self.value(row)
            if value is None:
                unknown.append(row)
            else:
                known.append((value, row))
        known.sort(key=lambda pair: pair[0], reverse=self.descending != backwards)
        return [*(row for _, row in known), *unknown]


def _share_won(row: Row) -> float | None:
    """The share of its votes that a model won, ties half."""
    won: float = row["wins"] + row["ties"] / 2
    return won / row["votes"] if row["votes"] else None


COLUMNS = (
    Column("rank", lambda row: row["place"], descending=False),
    Column("model", lambda row: str(row["name"]).casefold(), descending=False),
    Column("rating", lambda row: row["rating"]),
    Column("lower", lambda row: row["rating_lower"]),
    Column("votes", lambda row: row["votes"]),
    Column("share", _share_won),
    Column("mean_win_rate", lambda row: row["mean_win_rate"]),
    Column("void_rate", lambda row: row["void_rate"], descending=False),
)
_COLUMN = {column.key: column for column in COLUMNS}
_FILTERS = ("q", "organization", "license")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the reader asks for. `sort` is a column's key, after `-` the other way round."""

    campaign: str
    category: str = OVERALL
    method: str = METHODS[0]
    sort: str = COLUMNS[0].key
    q: str = ""
    organization: str = ""
    license: str = ""
    snapshot: str = ""

    @classmethod
    def asked(cls, campaign: str) -> Wish:
        """As the query of this request says; raises `InvalidField`."""
        names = (field.name for field in fields(cls) if field.name != "campaign")
        given = {name: text for name in names if (text := schemas.word(name))}
        wish = cls(campaign, **given)
        if wish.sort.removeprefix("-") not in _COLUMN:
            raise InvalidField(f"'sort' must be one of {', '.join(_COLUMN)}.", field="sort")
        return wish

    def url(self, **changes: str) -> str:
        """The page with these wishes changed; what is usual is left out."""
        return f"/board?{urlencode(replace(self, **changes)._unusual())}"

    def _unusual(self) -> dict[str, str]:
        values = {field.name: getattr(self, field.name) for field in fields(Wish)}
        usual = {field.name: field.default for field in fields(Wish)}
        return {name: value for name, value in values.items() if value != usual[name]}

    def unfiltered(self) -> str:
        """The page with all models again."""
        return self.url(**dict.fromkeys(_FILTERS, ""))

    @property
    def is_filtered(self) -> bool:
        return any(getattr(self, name) for name in _FILTERS)

    def order(self, key: str) -> str | None:
        """`ascending` or `descending` where the rows are sorted by this column, else None."""
        if self.sort.removeprefix("-") != key:
            return None
        descending = _COLUMN[key].descending != self.sort.startswith("-")
        return "descending" if descending else "ascending"

    def sorted_by(self, key: str) -> str:
        """The page sorted by a column; asked for a second time, the other way round."""
        return self.url(sort=f"-{key}" if self.sort == key else key)

    def keeps(self, row: Row) -> bool:
        """Whether the filters let this model through."""
        words = f"{row['name']} {row['model']} {row['organization']}".casefold()
        return (
            all(word in words for word in self.q.casefold().split())
            and self.organization in {"", row["organization"]}
            and self.license in {"", row["license"]}
        )


@dataclass(frozen=True, slots=True)
class SealedWish(Wish):
    """The same of a sealed board, which has an address of its own."""

    position: str = ""

    def url(self, **changes: str) -> str:
        """Its page with these wishes changed."""
        asked = replace(self, **changes)._unusual()
        query = urlencode([(name, asked[name]) for name in ("category", "sort") if name in asked])
        path = f"/sealed/{quote(self.campaign, safe='')}/{self.position}"
        return f"{path}?{query}" if query else path


@dataclass(frozen=True, slots=True)
class Group:
    """Models that share a scale; those without a `component` have no rating yet."""

    component: int | None
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Table:
    """The models of a board that the reader asked for, `shown` of `total`."""

    groups: list[Group]
    axis: Axis | None
    shown: int
    total: int
    organizations: list[str]
    licenses: list[str]


@cached(LRUCache(_TABLES), key=lambda board, wish: (board.etag, wish), lock=Lock())
def table(board: Encoded, wish: Wish) -> Table:
    """What of a board the reader asked for.

    The axis holds all models whatever the filters say, so that a picture can be compared.
    """
    rows: list[Row] = [{**row, "place": place} for place, row in enumerate(board.document["rows"])]
    column, backwards = _COLUMN[wish.sort.removeprefix("-")], wish.sort.startswith("-")
    chosen = column.sorted(filter(wish.keeps, rows), backwards=backwards)
    components = sorted({row["component"] for row in chosen}, key=lambda one: (one is None, one))
    return Table(
        groups=[
            Group(component, [row for row in chosen if row["component"] == component])
            for component in components
        ],
        axis=_axis(rows),
        shown=len(chosen),
        total=len(rows),
        organizations=_choices(rows, "organization"),
        licenses=_choices(rows, "license"),
    )


def _choices(rows: Sequence[Row], name: str) -> list[str]:
    return sorted({row[name] for row in rows} - {""}, key=str.casefold)


def _axis(rows: Sequence[Row]) -> Axis | None:
    """From 0 to 100 percent of the column's width; None where nothing has a rating."""
    names = ("rating", "rating_lower", "rating_upper")
    values = [row[name] for row in rows for name in names if row[name] is not None]
    return Axis.of(values, _AIR, 0, 100, _TICKS) if values else None
