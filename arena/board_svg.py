"""Boards as one self-contained SVG picture: ratings as dots, intervals as lines, best first.

No script and no reference leaves the picture. It follows the reader's light or dark scheme, and
position alone carries the meaning, never a colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePath
from typing import Any

from arena.svg import Axis, Picture, cut, shown, tag, text, text_width, whole

_WIDTH = 960
_MARGIN = 28
_AXIS = 30
_ROW = 24
_GAP = 46
_NAMES = (90, 280)
_RATING = 64
_VOTES = 70
_SPACE = 18
_AIR, _AIR_FOR_ARROWS = 0.04, 0.1

_METHODS = {
    "bt": "Bradley-Terry, a tie is half a win",
    "graded": "graded Bradley-Terry (five steps)",
    "davidson": "Davidson",
    "rao-kupper": "Rao-Kupper",
    "elo": "Elo, in the order of the votes",
}


@dataclass(frozen=True, slots=True)
class Words:
    """What an interval plot says, in the reader's language."""

    rank: str = "rank"
    model: str = "model"
    rating: str = "rating"
    votes: str = "votes"
    unrated: str = "Not rated yet"
    component: str = "Component {number}: not comparable with the models above"


def to_svg(board: dict[str, Any]) -> str:
    """The picture of a board document (`GET /api/board`, `arena rate --format json`).

    A null bound beside a rating is an open end, drawn as an arrow, unless the configuration has
    no interval. Models of different components stand apart.
    """
    told = _Told(board)
    plot = interval_plot(board, told.title, told.description)
    return plot.file(told.subtitle, told.notes())


def interval_plot(
    board: dict[str, Any], title: str, description: str, words: Words | None = None
) -> Picture:
    """Ratings and intervals alone, for a page that says the rest."""
    plot = _Plot(board, words or Words())
    body = tuple(plot.models())
    return Picture(title, description, _WIDTH, plot.y, body, _MARGIN)


class _Told:
    """What is said beside the plot of a board, in English."""

    def __init__(self, board: dict[str, Any]) -> None:
        self._board = board
        self._rows: list[dict[str, Any]] = board["rows"]
        self._has_intervals = board["config"].get("interval") is not None

    @property
    def title(self) -> str:
        """Which votes these are."""
        board = self._board
        if board.get("campaign"):
            category = board.get("category")
            parts = [board["campaign"], *([category] if category not in {None, "overall"} else [])]
            return shown(" · ".join(parts))
        return shown(PurePath(board["file"]).name) if board.get("file") else "Ratings"

    @property
    def description(self) -> str:
        if not self._rows:
            return "There are no votes to rate yet."
        return f"Ratings of {self._counted()}, best first. {self._meaning()}"

    @property
    def subtitle(self) -> str:
        return self._counted() if self._rows else "There are no votes to rate yet."

    def notes(self) -> list[str]:
        """What stands below the plot."""
        if not self._rows:
            return [self._source()]
        meaning = self._meaning()
        if any(row["rank_lower"] is not None for row in self._rows):
            meaning += " Rank: from the best to the worst place that the votes allow."
        lines = [meaning, self._source()]
        if self._board.get("converged") is False:
            lines.append("The fit did not converge: these numbers are not final.")
        return lines

    def _counted(self) -> str:
        votes = sum(row["votes"] for row in self._rows) // 2
        models = len(self._rows)
        return f"{models:,} model{'s' * (models != 1)} from {votes:,} vote{'s' * (votes != 1)}"

    def _meaning(self) -> str:
        if not self._has_intervals:
            return "Dot: rating."
        level = self._board["config"].get("level")
        name = "its confidence interval" if level is None else f"its {level:.0%} interval"
        line = f"Dot: rating. Line: {name.replace('%', ' %')}"
        if _has_open_ends(self._board):
            line += "; an arrow: the votes set no limit on that side"
        return f"{line}."

    def _source(self) -> str:
        """Method and place in the log."""
        board = self._board
        variant = (board["config"].get("variant") or "").replace("_", " ")
        method = _METHODS.get(board["method"], board["method"])
        parts = [f"Method: {method}{variant and f' ({variant})'}"]
        if self._has_intervals:
            parts.append(f"intervals: {board['config']['interval']}")
        if board.get("log_position") is not None:
            parts.append(f"log position {board['log_position']:,}")
        if board.get("published_at"):
            parts.append(f"published {board['published_at']}")
        return shown(" · ".join(parts))


class _Plot:
    """Draws from the top down; `y` is where the next thing goes, in the end the height."""

    def __init__(self, board: dict[str, Any], words: Words) -> None:
        self.y = 0.0
        self._words = words
        self._bands: list[str] = []
        self._rows: list[dict[str, Any]] = board["rows"]
        rated = [row for row in self._rows if row["rating"] is not None]
        values = [row[name] for row in rated for name in ("rating", "rating_lower", "rating_upper")]
        widest = max((text_width(shown(row["name"])) for row in self._rows), default=0.0)
        ranks = max(text_width(text) for text in [words.rank, *map(_ranks, self._rows)])
        self._ranks = round(_MARGIN + ranks)
        self._names = self._ranks + _SPACE
        self._names_width = min(max(widest, _NAMES[0]), _NAMES[1])
        self._ratings = _WIDTH - _MARGIN - _VOTES
        self._has_ratings = bool(rated)
        self._has_intervals = board["config"].get("interval") is not None
        self._axis = Axis.of(
            [value for value in values if value is not None],
            _AIR_FOR_ARROWS if _has_open_ends(board) else _AIR,
            round(self._names + self._names_width + _SPACE),
            self._ratings - _RATING - _SPACE,
        )

    def models(self) -> Iterator[str]:
        if not self._rows:
            return
        top = self.y = self.y + _AXIS
        yield from self._headings(top)
        body = list(self._groups())
        yield from self._bands
        if self._has_ratings:
            yield from self._grid(top, self.y)
        yield from body
        self.y += _AXIS if self._has_ratings else 0

    def _headings(self, top: float) -> Iterator[str]:
        y, words = top - 10, self._words
        yield text(self._ranks, y, words.rank, "faint small end")
        yield text(self._names, y, words.model, "faint small")
        yield text(self._ratings, y, words.rating, "faint small end")
        yield text(_WIDTH - _MARGIN, y, words.votes, "faint small end")

    def _grid(self, top: float, bottom: float) -> Iterator[str]:
        for tick in self._axis.ticks():
            x = self._axis.at(tick)
            yield tag("line", class_="grid", x1=x, y1=top, x2=x, y2=bottom)
            for y in (top - 10, bottom + 20):
                yield text(x, y, whole(tick), "faint small middle")

    def _groups(self) -> Iterator[str]:
        ordered = sorted(self._rows, key=_component)
        for index, (component, rows) in enumerate(groupby(ordered, key=_component)):
            if component == math.inf:
                yield from self._separator(self._words.unrated, drawn=index > 0)
            elif index:
                words = self._words.component.format(number=int(component))
                yield from self._separator(words, drawn=True)
            for place, row in enumerate(rows):
                yield from self._model(row, striped=place % 2 == 0)

    def _separator(self, words: str, *, drawn: bool) -> Iterator[str]:
        if drawn:
            y = self.y + _GAP - _ROW - 8
            yield tag("line", class_="rule", x1=_MARGIN, y1=y, x2=_WIDTH - _MARGIN, y2=y)
        self.y += _GAP
        yield text(self._names, self.y - 8, words, "faint small")

    def _model(self, row: dict[str, Any], *, striped: bool) -> Iterator[str]:
        top, middle, base = self.y, self.y + _ROW / 2, self.y + _ROW / 2 + 4.5
        self.y += _ROW
        name = shown(row["name"])
        if striped:
            self._bands.append(_band(top))
        yield text(self._ranks, base, _ranks(row), "faint end")
        yield text(self._names, base, cut(name, self._names_width), hover=name)
        yield text(_WIDTH - _MARGIN, base, f"{row['votes']:,}", "faint end")
        if row["rating"] is None:
            return
        yield text(self._ratings, base, whole(row["rating"]), "end")
        if self._has_intervals:
            yield from self._interval(row, middle)
        yield tag("circle", class_="dot", cx=self._axis.at(row["rating"]), cy=middle, r=5)

    def _interval(self, row: dict[str, Any], y: float) -> Iterator[str]:
        axis, lower, upper = self._axis, row["rating_lower"], row["rating_upper"]
        left = axis.left if lower is None else axis.at(lower)
        right = axis.right if upper is None else axis.at(upper)
        yield tag("line", class_="interval", x1=left, y1=y, x2=right, y2=y)
        for bound, tip, inward in ((lower, left, 10), (upper, right, -10)):
            if bound is None:
                corners = f"{tip},{y} {tip + inward},{y - 5} {tip + inward},{y + 5}"
                yield tag("polygon", class_="arrow", points=corners)


def _band(y: float) -> str:
    width = _WIDTH - 2 * (_MARGIN - 8)
    return tag("rect", class_="band", x=_MARGIN - 8, y=y, width=width, height=_ROW, rx=3)


def _has_open_ends(board: dict[str, Any]) -> bool:
    rated = [row for row in board["rows"] if row["rating"] is not None]
    bounds = [row[name] for row in rated for name in ("rating_lower", "rating_upper")]
    return board["config"].get("interval") is not None and None in bounds


def _component(row: dict[str, Any]) -> float:
    return math.inf if row["component"] is None else row["component"]


def _ranks(row: dict[str, Any]) -> str:
    lower, upper = row["rank_lower"], row["rank_upper"]
    if lower is None:
        return "–" if row["rank"] is None else str(row["rank"])
    return str(lower) if lower == upper else f"{lower}–{upper}"
