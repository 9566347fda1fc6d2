"""Boards as one self-contained SVG picture: ratings as dots, intervals as lines, best first.

No script and no reference leaves the picture. It follows the reader's light or dark scheme, and
position alone carries the meaning, never a colour.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePath
from typing import Any

_WIDTH = 960
_MARGIN = 28
_HEADER = 64
_AXIS = 30
_ROW = 24
_GAP = 46
_LINE = 18
_NAMES = (90, 280)
_RATING = 64
_VOTES = 70
_SPACE = 18
_TICKS = 7
_LEAST_SPAN = 20.0
_AIR, _AIR_FOR_ARROWS = 0.04, 0.1
_FONT = 13

_METHODS = {
    "bt": "Bradley-Terry, a tie is half a win",
    "graded": "graded Bradley-Terry (five steps)",
    "davidson": "Davidson",
    "rao-kupper": "Rao-Kupper",
    "elo": "Elo, in the order of the votes",
}

_STYLE = """
text { font: 13px system-ui, "Segoe UI", "Noto Sans", "Noto Sans CJK SC", sans-serif;
  fill: #1c2430; }
.page { fill: #ffffff; }
.band { fill: #f4f6f9; }
.title { font-size: 19px; font-weight: 650; }
.quiet { fill: #5b6675; }
.small { font-size: 12px; }
.end { text-anchor: end; font-variant-numeric: tabular-nums; }
.middle { text-anchor: middle; font-variant-numeric: tabular-nums; }
.grid { stroke: #dce1e8; }
.rule { stroke: #9aa5b4; }
.interval { stroke: #3f7fc4; stroke-width: 3; }
.arrow { fill: #3f7fc4; }
.dot { fill: #123f73; stroke: #ffffff; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #e8ecf2; }
  .page { fill: #14181e; }
  .band { fill: #1b2129; }
  .quiet { fill: #a3aebd; }
  .grid { stroke: #2c343f; }
  .rule { stroke: #6b7788; }
  .interval { stroke: #5b9be0; }
  .arrow { fill: #5b9be0; }
  .dot { fill: #e4f0ff; stroke: #14181e; }
}
"""

# what XML does not allow, and what could reorder the words around it
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def to_svg(board: dict[str, Any]) -> str:
    """The picture of a board document (`GET /api/board`, `arena rate --format json`).

    A null bound beside a rating is an open end, drawn as an arrow, unless the configuration has
    no interval. Models of different components stand apart.
    """
    picture = _Picture(board)
    body = [*picture.header(), *picture.models(), *picture.footer()]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {picture.y}" '
            f'width="{_WIDTH}" height="{picture.y}" role="img" aria-labelledby="title desc">',
            _tag("title", picture.title, id="title"),
            _tag("desc", picture.description, id="desc"),
            f"<style>{_STYLE}</style>",
            _tag("rect", class_="page", width=_WIDTH, height=picture.y),
            *body,
            "</svg>\n",
        ]
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    """Ratings from `low` to `high` on the pixels from `left` to `right`, a tick every `step`."""

    low: float
    high: float
    step: float
    left: float
    right: float

    @classmethod
    def of(cls, values: list[float], air: float, left: float, right: float) -> _Axis:
        """Holds all values, with `air` beside them as a share of their span."""
        low, high = (min(values), max(values)) if values else (0.0, 0.0)
        span = max(high - low, _LEAST_SPAN)
        middle, half = (low + high) / 2, span * (0.5 + air)
        return cls(middle - half, middle + half, _round_step(span / _TICKS), left, right)

    def x(self, rating: float) -> float:
        share = (rating - self.low) / (self.high - self.low)
        return round(self.left + share * (self.right - self.left), 1)

    def ticks(self) -> list[float]:
        first, last = math.ceil(self.low / self.step), math.floor(self.high / self.step)
        return [number * self.step for number in range(first, last + 1)]


class _Picture:
    """Draws from the top down; `y` is where the next thing goes, in the end the height."""

    def __init__(self, board: dict[str, Any]) -> None:
        self.y = 0
        self._bands: list[str] = []
        self._board = board
        self._rows: list[dict[str, Any]] = board["rows"]
        rated = [row for row in self._rows if row["rating"] is not None]
        values = [row[name] for row in rated for name in ("rating", "rating_lower", "rating_upper")]
        widest = max((_text_width(_shown(row["name"])) for row in self._rows), default=0.0)
        ranks = max(_text_width(text) for text in ["rank", *map(_ranks, self._rows)])
        self._ranks = round(_MARGIN + ranks)
        self._names = self._ranks + _SPACE
        self._names_width = min(max(widest, _NAMES[0]), _NAMES[1])
        self._ratings = _WIDTH - _MARGIN - _VOTES
        self._has_ratings = bool(rated)
        bounds = [row[name] for row in rated for name in ("rating_lower", "rating_upper")]
        self._has_intervals = board["config"].get("interval") is not None
        self._has_open_ends = self._has_intervals and None in bounds
        self._axis = _Axis.of(
            [value for value in values if value is not None],
            _AIR_FOR_ARROWS if self._has_open_ends else _AIR,
            round(self._names + self._names_width + _SPACE),
            self._ratings - _RATING - _SPACE,
        )

    # --- words ----------------------------------------------------------------------------------

    @property
    def title(self) -> str:
        """Which votes these are."""
        board = self._board
        if board.get("campaign"):
            category = board.get("category")
            parts = [board["campaign"], *([category] if category not in {None, "overall"} else [])]
            return _shown(" · ".join(parts))
        return _shown(PurePath(board["file"]).name) if board.get("file") else "Ratings"

    @property
    def description(self) -> str:
        if not self._rows:
            return "There are no votes to rate yet."
        return f"Ratings of {self._counted()}, best first. {self._meaning()}"

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
        if self._has_open_ends:
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
        return _shown(" · ".join(parts))

    # --- drawing --------------------------------------------------------------------------------

    def header(self) -> Iterator[str]:
        yield _text(_MARGIN, 38, _cut(self.title, _WIDTH - 2 * _MARGIN, 19), "title")
        words = self._counted() if self._rows else "There are no votes to rate yet."
        yield _text(_MARGIN, 38 + 22, words, "quiet")
        self.y = _HEADER + _SPACE

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

    def footer(self) -> Iterator[str]:
        lines = [self._meaning(), self._source()] if self._rows else [self._source()]
        if any(row["rank_lower"] is not None for row in self._rows):
            lines[0] += " Rank: from the best to the worst place that the votes allow."
        if self._board.get("converged") is False:
            lines.append("The fit did not converge: these numbers are not final.")
        self.y += _AXIS + _LINE if self._has_ratings else _LINE
        for line in lines:
            yield _text(_MARGIN, self.y, _cut(line, _WIDTH - 2 * _MARGIN, 12), "quiet small")
            self.y += _LINE
        self.y += _SPACE // 2

    def _headings(self, top: int) -> Iterator[str]:
        y = top - 10
        yield _text(self._ranks, y, "rank", "quiet small end")
        yield _text(self._names, y, "model", "quiet small")
        yield _text(self._ratings, y, "rating", "quiet small end")
        yield _text(_WIDTH - _MARGIN, y, "votes", "quiet small end")

    def _grid(self, top: int, bottom: int) -> Iterator[str]:
        for tick in self._axis.ticks():
            x = self._axis.x(tick)
            yield _tag("line", class_="grid", x1=x, y1=top, x2=x, y2=bottom)
            for y in (top - 10, bottom + 20):
                yield _text(x, y, _whole(tick), "quiet small middle")

    def _groups(self) -> Iterator[str]:
        ordered = sorted(self._rows, key=_component)
        for index, (component, rows) in enumerate(groupby(ordered, key=_component)):
            if component == math.inf:
                yield from self._separator("Not rated yet", drawn=index > 0)
            elif index:
                yield from self._separator(
                    f"Component {component:.0f}: not comparable with the models above", drawn=True
                )
            for place, row in enumerate(rows):
                yield from self._model(row, striped=place % 2 == 0)

    def _separator(self, words: str, *, drawn: bool) -> Iterator[str]:
        if drawn:
            y = self.y + _GAP - _ROW - 8
            yield _tag("line", class_="rule", x1=_MARGIN, y1=y, x2=_WIDTH - _MARGIN, y2=y)
        self.y += _GAP
        yield _text(self._names, self.y - 8, words, "quiet small")

    def _model(self, row: dict[str, Any], *, striped: bool) -> Iterator[str]:
        top, middle, base = self.y, self.y + _ROW / 2, self.y + _ROW / 2 + 4.5
        self.y += _ROW
        name = _shown(row["name"])
        if striped:
            self._bands.append(_band(top))
        yield _text(self._ranks, base, _ranks(row), "quiet end")
        yield _text(self._names, base, _cut(name, self._names_width, _FONT), hover=name)
        yield _text(_WIDTH - _MARGIN, base, f"{row['votes']:,}", "quiet end")
        if row["rating"] is None:
            return
        yield _text(self._ratings, base, _whole(row["rating"]), "end")
        if self._has_intervals:
            yield from self._interval(row, middle)
        yield _tag("circle", class_="dot", cx=self._axis.x(row["rating"]), cy=middle, r=5)

    def _interval(self, row: dict[str, Any], y: float) -> Iterator[str]:
        axis, lower, upper = self._axis, row["rating_lower"], row["rating_upper"]
        left = axis.left if lower is None else axis.x(lower)
        right = axis.right if upper is None else axis.x(upper)
        yield _tag("line", class_="interval", x1=left, y1=y, x2=right, y2=y)
        for bound, tip, inward in ((lower, left, 10), (upper, right, -10)):
            if bound is None:
                corners = f"{tip},{y} {tip + inward},{y - 5} {tip + inward},{y + 5}"
                yield _tag("polygon", class_="arrow", points=corners)


def _band(y: float) -> str:
    width = _WIDTH - 2 * (_MARGIN - 8)
    return _tag("rect", class_="band", x=_MARGIN - 8, y=y, width=width, height=_ROW, rx=3)


def _component(row: dict[str, Any]) -> float:
    return math.inf if row["component"] is None else row["component"]


def _ranks(row: dict[str, Any]) -> str:
    lower, upper = row["rank_lower"], row["rank_upper"]
    if lower is None:
        return "–" if row["rank"] is None else str(row["rank"])
    return str(lower) if lower == upper else f"{lower}–{upper}"


def _whole(rating: float) -> str:
    return f"{rating:.0f}".replace("-", "−")


def _round_step(least: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    unit = float(10 ** math.floor(math.log10(least)))
    return next(step * unit for step in (1, 2, 5, 10) if step * unit >= least)


# --- text ---------------------------------------------------------------------------------------


def _shown(text: str) -> str:
    return _UNFIT.sub("\ufffd", text)


def _text_width(text: str, size: float = _FONT) -> float:
    """About how many pixels the text takes in a sans-serif font; never much too few."""
    return size * sum(map(_em, text))


def _em(char: str) -> float:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0.0
    if unicodedata.east_asian_width(char) in "WF":
        return 1.0
    if char in "ijlIft.,:;'|!()[] -":
        return 0.36
    return 0.92 if char in "mwMW@%" else 0.7 if char.isupper() else 0.6


def _cut(text: str, width: float, size: float) -> str:
    """The text, or as much of its beginning as fits before an ellipsis."""
    if _text_width(text, size) <= width:
        return text
    while text and _text_width(f"{text}…", size) > width:
        text = text[:-1]
    return f"{text}…"


def _text(x: float, y: float, words: str, style: str = "", hover: str | None = None) -> str:
    """A text element; `hover` is what a pointer resting on it shows."""
    return _tag("text", words, hover=hover, class_=style or None, x=x, y=y)


def _tag(
    name: str, words: str | None = None, hover: str | None = None, **attributes: object
) -> str:
    """The only place where markup is made: all that goes into it is escaped here."""
    given = "".join(
        f' {key.rstrip("_")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if words is None:
        return f"<{name}{given}/>"
    title = "" if hover is None else f"<title>{html.escape(hover)}</title>"
    return f"<{name}{given}>{title}{html.escape(words)}</{name}>"
