"""Pictures: an axis, text that fits, and the only place where SVG markup is made.

A picture is shown inside a page, which brings its colours (`static/css/picture.css`), or stands
alone as a file that carries the same style sheet with its colours filled in. It holds no script
and no reference to anything outside.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FONT = 13
"""Pixels; the size of a picture's text unless its class says otherwise."""

_STYLES = Path(__file__).parents[1] / "static" / "css"
MARGIN = 12
"""Pixels to the left and right of what is drawn, unless a picture has its own."""

_HEADER, _LINE = 76, 18
_SMALL = 12
_TICKS = 7
_LEAST_SPAN = 20.0

# what XML does not allow, and what could reorder the words around it
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_TOKEN = re.compile(r"(--[\w-]+):\s*light-dark\(([^,()]+),\s*([^,()]+)\)")
_VARIABLE = re.compile(r"var\((--[\w-]+)\)")
_BREAKABLE = re.compile("[\u2e80-\u9fff\uff00-\uffef]|[^\\s\u2e80-\u9fff\uff00-\uffef]+\\s*|\\s+")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Picture:
    """Elements on a sheet of `width` by `height`, with a `margin` at its sides.

    `title` and `description` say what they are.
    """

    title: str
    description: str
    width: float
    height: float
    body: tuple[str, ...]
    margin: float = MARGIN

    def inline(self) -> str:
        """The picture as a part of an HTML page; the page's own table tells the numbers."""
        label = f"{shown(self.title)}. {shown(self.description)}"
        return self._sheet(0, 0, self.body, role="img", aria_label=label)

    def file(self, subtitle: str, notes: Iterable[str] = ()) -> str:
        """A file of its own: headed by title and `subtitle`, with `notes` below."""
        width = self.width - 2 * self.margin
        lines = [line for note in notes for line in wrapped(shown(note), width, _SMALL)]
        below = _LINE * len(lines) + _LINE
        body = (
            tag("title", shown(self.title), id="title"),
            tag("desc", shown(self.description), id="desc"),
            f"<style>{style()}</style>",
            tag("rect", class_="page", y=-_HEADER, width=self.width, height="100%"),
            text(self.margin, 38 - _HEADER, cut(shown(self.title), width, 19), "title"),
            text(self.margin, 60 - _HEADER, cut(shown(subtitle), width), "faint"),
            *self.body,
            *(
                text(self.margin, self.height + _LINE * (1 + place), line, "faint small")
                for place, line in enumerate(lines)
            ),
        )
        return self._sheet(_HEADER, below, body, role="img", aria_labelledby="title desc")

    def _sheet(self, above: float, below: float, body: Iterable[str], **named: str) -> str:
        attributes = "".join(
            f' {name.replace("_", "-")}="{html.escape(value)}"' for name, value in named.items()
        )
        height = above + self.height + below
        return "\n".join(
            [
                '<svg xmlns="http://www.w3.org/2000/svg" class="picture" '
                f'viewBox="0 {-above:g} {self.width:g} {height:g}" '
                f'width="{self.width:g}" height="{height:g}"{attributes}>',
                *body,
                "</svg>\n",
            ]
        )


@cache
def style() -> str:
    """The pages' style sheet of pictures with its colours filled in, light and dark.

    Many programs that draw SVG know neither variables nor `light-dark()`.
    """
    tokens: dict[str, tuple[str, str]] = {}
    for name in ("base.css", "picture.css"):
        sheet = (_STYLES / name).read_text("utf-8")
        tokens |= {found[1]: (found[2], found[3]) for found in _TOKEN.finditer(sheet)}
    rules = _COMMENT.sub("", sheet).partition("}")[2]  # the first block is the tokens
    light = _VARIABLE.sub(lambda found: tokens[found[1]][0].strip(), rules)
    dark = _VARIABLE.sub(lambda found: tokens[found[1]][1].strip(), rules)
    return f"{light}@media (prefers-color-scheme: dark) {{{dark}}}\n"


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from `low` to `high` on the pixels from `left` to `right`, a tick every `step`."""

    low: float
    high: float
    step: float
    left: float
    right: float

    @classmethod
    def of(
        cls, values: list[float], air: float, left: float, right: float, ticks: int = _TICKS
    ) -> Axis:
        """Holds all values, with `air` beside them as a share of their span."""
        low, high = (min(values), max(values)) if values else (0.0, 0.0)
        span = max(high - low, _LEAST_SPAN)
        middle, half = (low + high) / 2, span * (0.5 + air)
        return cls(middle - half, middle + half, _round_step(span / ticks), left, right)

    def at(self, value: float) -> float:
        """Where a value stands, in pixels."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.left + share * (self.right - self.left), 1)

    def ticks(self) -> list[float]:
        first, last = math.ceil(self.low / self.step), math.floor(self.high / self.step)
        return [number * self.step for number in range(first, last + 1)]


def _round_step(least: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    unit = float(10 ** math.floor(math.log10(least)))
    return next(step * unit for step in (1, 2, 5, 10) if step * unit >= least)


# --- text ---------------------------------------------------------------------------------------


def whole(number: float) -> str:
    """Rounded, with a true minus."""
    return f"{number:.0f}".replace("-", "−")


def shown(words: str) -> str:
    """The words without what XML forbids and what could reorder the text around them."""
    return _UNFIT.sub("\ufffd", words)


def text_width(words: str, size: float = FONT) -> float:
    """About how many pixels the words take in a sans-serif font; never much too few."""
    return size * sum(map(_em, words))


def _em(char: str) -> float:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0.0
    if unicodedata.east_asian_width(char) in "WF":
        return 1.0
    if char in "ijlIft.,:;'|!()[] -":
        return 0.36
    return 0.92 if char in "mwMW@%" else 0.7 if char.isupper() else 0.6


def cut(words: str, width: float, size: float = FONT) -> str:
    """The words, or as much of their beginning as fits before an ellipsis."""
    if text_width(words, size) <= width:
        return words
    while words and text_width(f"{words}…", size) > width:
        words = words[:-1]
    return f"{words}…"


def wrapped(words: str, width: float, size: float = FONT) -> list[str]:
    """The words in lines that fit; they break at spaces and between wide characters."""
    lines = [""]
    for piece in _BREAKABLE.findall(words):
        if lines[-1] and text_width(lines[-1] + piece.rstrip(), size) > width:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def text(x: float, y: float, words: str, style: str = "", hover: str | None = None) -> str:
    """A text element; `hover` is what a pointer resting on it shows."""
    return tag("text", words, hover, class_=style or None, x=x, y=y)


def tag(name: str, words: str | None = None, hover: str | None = None, **attributes: object) -> str:
    """One element. All that goes into markup is escaped here."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    title = "" if hover is None else f"<title>{html.escape(hover)}</title>"
    if words is None and not title:
        return f"<{name}{given}/>"
    return f"<{name}{given}>{title}{html.escape(words or '')}</{name}>"
