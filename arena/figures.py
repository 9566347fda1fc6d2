"""What the pictures of a board show: numbers by model, and the tables beside the pictures."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from arena.boards import Encoded, Recent
from arena.interfaces import Campaign, FigureStore, PairTable, Rated

Words = Callable[..., str]
"""The reader's language: the text of a key, its placeholders filled."""

HISTORY_POINTS = 500
FEW_VOTES = 10
"""What fewer votes than these say about a pair is told with a warning: it may be luck."""

_PAIRS_SECONDS = 5.0
_PAIRS_REMEMBERED = 8  # of 250 models a table has about 10 MB
_HISTORY_SECONDS = 10.0
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


@dataclass(frozen=True, slots=True)
class Meeting:
    """The votes on one model against another, as the first sees them.

    `grades` run from won much to lost much; `winners` are won, tied, lost, of votes that have a
    winner only.
    """

    grades: tuple[int, ...] = (0, 0, 0, 0, 0)
    winners: tuple[int, ...] = (0, 0, 0)

    @property
    def votes(self) -> int:
        return sum(self.grades) + sum(self.winners)

    @property
    def points(self) -> float:
        """A win counts one, a tie half."""
        won = sum(self.grades[:2]) + self.winners[0]
        return won + (self.grades[2] + self.winners[1]) / 2

    @property
    def score(self) -> float:
        """The share of the points; only where there are votes."""
        return self.points / self.votes

    def turned(self) -> Meeting:
        """The same votes as the other model sees them."""
        return Meeting(self.grades[::-1], self.winners[::-1])


@dataclass(frozen=True, slots=True)
class Opponent:
    """What a model did against another, beside what the board's model expects of it."""

    model: str
    meeting: Meeting
    predicted: float | None


class Pairs:
    """A pair table, by the names of models."""

    def __init__(self, table: PairTable) -> None:
        self.log_position = table.log_position
        self.calibration: list[dict[str, float]] = table.data["calibration"] or []
        self._models: list[str] = table.data["models"]
        self._place = {model: place for place, model in enumerate(self._models)}
        self._predicted: list[list[float | None]] = table.data["predicted"]
        self._graded, self._winners = (
            {(row[0], row[1]): row for row in table.data[name]}
            for name in ("graded", "winner_only")
        )

    def meeting(self, first: str, second: str) -> Meeting | None:
        """None where the two never met."""
        i, j = self._place.get(first, -1), self._place.get(second, -1)
        pair = min(i, j), max(i, j)
        graded, winners = self._graded.get(pair), self._winners.get(pair)
        if graded is None and winners is None:
            return None
        met = Meeting(
            tuple(graded[2:]) if graded else Meeting().grades,
            tuple(winners[2:]) if winners else Meeting().winners,
        )
        return met if i < j else met.turned()

    def predicted(self, first: str, second: str) -> float | None:
        """What the first would score; None where no scale joins the two, or they are one."""
        i, j = self._place.get(first, -1), self._place.get(second, -1)
        if i == j or min(i, j) < 0:
            return None
        share = self._predicted[min(i, j)][abs(j - i) - 1]
        return share if share is None or i < j else 1 - share

    def opponents(self, model: str) -> list[Opponent]:
        """Everybody the model met, those it did best against first.

        The order is by (points + 1) / (votes + 2), so that one lucky vote is no record.
        """
        found = [
            Opponent(other, met, self.predicted(model, other))
            for other in self._models
            if (met := self.meeting(model, other)) is not None
        ]
        return sorted(
            found,
            key=lambda one: (-(one.meeting.points + 1) / (one.meeting.votes + 2), one.model),
        )


class Figures:
    """Reads pair tables and histories; they may be some seconds old."""

    def __init__(self, store: FigureStore) -> None:
        self._store = store
        self._pairs = Recent(_PAIRS_SECONDS, self._read_pairs, _PAIRS_REMEMBERED)
        self._sent = Recent(_PAIRS_SECONDS, self._read_sent, _PAIRS_REMEMBERED)
        self._histories = Recent(_HISTORY_SECONDS, self._read_history)

    def pairs(self, campaign: Campaign, category: str) -> Pairs | None:
        """The pairs behind a board, ready to draw."""
        found: Pairs | None = self._pairs.get(campaign.id, category)
        return found

    def _read_pairs(self, campaign: str, category: str) -> Pairs | None:
        table = self._store.pairs(campaign, category)
        return None if table is None else Pairs(table)

    def sent(self, campaign: Campaign, category: str) -> tuple[bytes, str] | None:
        """The pairs behind a board as JSON, much smaller than as objects, and its validator."""
        found: tuple[bytes, str] | None = self._sent.get(campaign.id, category)
        return found

    def _read_sent(self, campaign: str, category: str) -> tuple[bytes, str] | None:
        table = self._store.pairs(campaign, category)
        if table is None:
            return None
        facts = ("campaign", "category", "log_position", "published_at")
        encoded = Encoded.of({name: getattr(table, name) for name in facts} | table.data)
        return encoded.body, encoded.etag

    def history(self, campaign: Campaign, category: str, models: Sequence[str]) -> Encoded:
        """How the ratings of models went, on the boards that are kept."""
        found: Encoded = self._histories.get(campaign.id, category, tuple(models))
        return found

    def _read_history(self, campaign: str, category: str, models: tuple[str, ...]) -> Encoded:
        found = self._store.history(campaign, category, models, HISTORY_POINTS)
        series = [{"model": model, "points": _points(found, model)} for model in models]
        return Encoded.of({"campaign": campaign, "category": category, "series": series})


def _points(found: Iterable[Rated], model: str) -> list[dict[str, Any]]:
    points = [asdict(one) for one in found if one.model == model]
    for point in points:
        del point["model"]
    return points


# --- tables -------------------------------------------------------------------------------------

Kind = Literal["text", "whole", "rating", "share", "time"]
Cell = str | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """The numbers of a picture; every column has a title and says how it is written."""

    columns: tuple[tuple[str, Kind], ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_csv(self) -> str:
        """Numbers in full. What a spreadsheet would take for a formula is quoted."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\r\n")
        writer.writerow([_harmless(title) for title, _ in self.columns])
        writer.writerows([_harmless(cell) for cell in row] for row in self.rows)
        return buffer.getvalue()


def _harmless(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


Row = dict[str, Any]
"""A board's document, or one of its rows."""


def rated(board: Row) -> list[Row]:
    """The rows of a board document that have a rating, best first."""
    return [row for row in board["rows"] if row["rating"] is not None]


def interval_table(board: Row, t: Words) -> Table:
    """Rank, rating and interval of each model."""
    bounds = ("rank", "rank_lower", "rank_upper", "rating", "rating_lower", "rating_upper", "votes")
    kinds: tuple[Kind, ...] = (*("whole",) * 3, *("rating",) * 3, "whole")
    titles = ((t("figures.column." + name), kind) for name, kind in zip(bounds, kinds, strict=True))
    return Table(
        ((t("figures.column.model"), "text"), *titles),
        tuple((row["name"], *(row[name] for name in bounds)) for row in rated(board)),
    )


OfPair = Callable[[str, str], float | None]
"""A number of two models, as the first sees it; None where there is none."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A number for every two models, None where there is none: read a row."""

    names: tuple[str, ...]
    cells: tuple[tuple[float | None, ...], ...]

    @classmethod
    def of(cls, rows: Sequence[Row], value: OfPair) -> Matrix:
        models = [row["model"] for row in rows]
        return cls(
            tuple(row["name"] for row in rows),
            tuple(tuple(value(first, second) for second in models) for first in models),
        )

    def table(self, kind: Kind, t: Words) -> Table:
        numbered = [f"{place} {name}" for place, name in enumerate(self.names, 1)]
        return Table(
            ((t("figures.column.model"), "text"), *((name, kind) for name in numbered)),
            tuple((name, *cells) for name, cells in zip(numbered, self.cells, strict=True)),
        )


def observed(pairs: Pairs) -> OfPair:
    """The score that was seen, where two met."""

    def score(first: str, second: str) -> float | None:
        met = pairs.meeting(first, second)
        return None if met is None else met.score

    return score


def votes_between(pairs: Pairs) -> OfPair:
    """How many votes two models have together; None on the diagonal."""

    def votes(first: str, second: str) -> float | None:
        met = pairs.meeting(first, second)
        return (0 if met is None else met.votes) if first != second else None

    return votes


OUTCOMES = {5: ("won_much", "won", "tied", "lost", "lost_much"), 3: ("won", "tied", "lost")}
"""What the parts of a model's votes are called, by how many there are."""


def outcomes(row: Row, *, graded: bool) -> tuple[int, ...]:
    """A model's votes in parts: five grades, or won, tied and lost."""
    return tuple(row["grades"]) if graded else (row["wins"], row["ties"], row["losses"])


def is_graded(board: Row) -> bool:
    """Whether the board has votes on the five-step scale."""
    return any(map(any, (row["grades"] for row in board["rows"])))


def grade_table(board: Row, t: Words) -> Table:
    """How many votes of each kind every model has."""
    graded = is_graded(board)
    names = OUTCOMES[5 if graded else 3]
    return Table(
        (
            (t("figures.column.model"), "text"),
            *((t("figures.outcome." + name), "whole") for name in names),
        ),
        tuple((row["name"], *outcomes(row, graded=graded)) for row in rated(board)),
    )


@dataclass(frozen=True, slots=True)
class Course:
    """How one model's rating went: rows of `/api/board/history`."""

    name: str
    points: tuple[Row, ...]


def course_table(courses: Sequence[Course], t: Words) -> Table:
    """Every point of every course."""
    names = ("log_position", "rating", "rating_lower", "rating_upper", "rank")
    kinds: tuple[Kind, ...] = ("whole", "rating", "rating", "rating", "whole")
    return Table(
        (
            (t("figures.column.model"), "text"),
            (t("figures.column.published_at"), "time"),
            *((t("figures.column." + name), kind) for name, kind in zip(names, kinds, strict=True)),
        ),
        tuple(
            (course.name, point["published_at"], *(point[name] for name in names))
            for course in courses
            for point in course.points
        ),
    )


def calibration_table(bins: Sequence[Mapping[str, float]], t: Words) -> Table:
    """Predicted and observed score of each bin, with the bounds of the latter."""
    names = ("predicted", "observed", "lower", "upper")
    return Table(
        (
            *((t("figures.column." + name), "share") for name in names),
            (t("figures.column.votes"), "whole"),
        ),
        tuple((*(one[name] for name in names), one["votes"]) for one in bins),
    )


def blindness_table(rows: Sequence[Row], names: Mapping[str, str], t: Words) -> Table:
    """How recognisable each model is, as an audit says."""
    return Table(
        (
            (t("figures.column.model"), "text"),
            *((t("figures.column." + name), "share") for name in ("told_pair", "lower", "upper")),
            (t("figures.column.auc"), "share"),
            (t("figures.column.answers"), "whole"),
        ),
        tuple(
            (
                names.get(row["model"], row["model"]),
                *(row["told_pair"][name] for name in ("value", "lower", "upper")),
                row["auc"]["value"],
                row["answers"],
            )
            for row in rows
        ),
    )


# --- one model ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Strength:
    """A model on the board of a category, against its place on the whole board.

    `lead` is how many rating points better it does here. `verdict` is `better` or `worse` only
    where the two intervals do not touch.
    """

    category: str
    row: Row
    lead: float
    verdict: Literal["better", "worse", "unclear"]


def strength(model: str, category: str, board: Row, whole: Row) -> Strength | None:
    """None where one of the boards does not rate the model on its main scale.

    Both scales are moved so that the models on both boards have the same mean.
    """
    here = {row["model"]: row for row in rated(board) if row["component"] == 1}
    there = {row["model"]: row for row in rated(whole) if row["component"] == 1}
    shared = here.keys() & there.keys()
    if model not in shared:
        return None
    shift = math.fsum(here[one]["rating"] - there[one]["rating"] for one in shared) / len(shared)
    own, other = here[model], there[model]
    lead = own["rating"] - other["rating"] - shift
    verdict: Literal["better", "worse", "unclear"] = "unclear"
    if _bound(own, "rating_lower", -math.inf) - shift > _bound(other, "rating_upper", math.inf):
        verdict = "better"
    if _bound(own, "rating_upper", math.inf) - shift < _bound(other, "rating_lower", -math.inf):
        verdict = "worse"
    return Strength(category, own, lead, verdict)


def _bound(row: Row, name: str, missing: float) -> float:
    return missing if row[name] is None else float(row[name])
