"""The pictures of a board besides its interval plot (`arena.board_svg`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from arena.figures import FEW_VOTES, Course, Matrix, Row
from arena.svg import MARGIN, Axis, Picture, cut, shown, tag, text, text_width, whole

_AXIS = 28
_SPACE = 12

# --- matrices -----------------------------------------------------------------------------------

_LABELS = (60, 190)
_CELL_HEIGHT = 24
_CELL_WIDTHS = (28, 44)
_ROOM_FOR_CELLS = 720
_STEPS = 10
_STRONG = 4.5  # steps from the middle, from where on words need the other colour
_COUNT_STEPS = (1, 3, 10, 30, 100)
_DARK_COUNTS = 4


def _beside(names: Sequence[str]) -> int:
    """Where the drawing begins, to the right of its rows' names."""
    widest = max([_LABELS[0], *map(text_width, names)])
    return MARGIN + math.ceil(min(widest, _LABELS[1])) + _SPACE


@dataclass(frozen=True, slots=True)
class Shade:
    """How a cell looks: its colour's class, and whether words on it need the other colour."""

    colour: str
    is_strong: bool


def share_shade(share: float) -> Shade:
    """Of a win rate: orange below a half, blue above, in eleven steps."""
    step = round(share * _STEPS)
    return Shade(f"d{step}", abs(step - _STEPS / 2) > _STRONG)


def count_shade(votes: float) -> Shade:
    """Of a number of votes: each step stands for about three times as many."""
    step = sum(votes >= least for least in _COUNT_STEPS)
    return Shade(f"s{step}", step >= _DARK_COUNTS)


def percent(share: float) -> str:
    return f"{100 * share:.0f}"


def matrix(
    shown_matrix: Matrix,
    title: str,
    description: str,
    *,
    shade: Callable[[float], Shade],
    label: Callable[[float], str] = percent,
    unit: str = " %",
    votes: Matrix | None = None,
) -> Picture:
    """A coloured cell with its number for every two models; columns have the rows' numbers.

    Where `votes` are given, cells of few are pale.
    """
    names = [f"{place}  {shown(name)}" for place, name in enumerate(shown_matrix.names, 1)]
    cells = [cell for row in shown_matrix.cells for cell in row if cell is not None]
    n = max(len(names), 1)
    widest = max((text_width(label(cell), 12) + 8 for cell in cells), default=0.0)
    wide = round(max(min(_ROOM_FOR_CELLS / n, _CELL_WIDTHS[1]), _CELL_WIDTHS[0], widest))
    left = _beside(names)
    top = _AXIS

    def drawn() -> Iterator[str]:
        for place, name in enumerate(names):
            middle = left + place * wide + wide / 2
            yield text(middle, top - 10, str(place + 1), "faint small middle", hover=name)
            y = top + place * _CELL_HEIGHT + 16
            yield text(MARGIN, y, cut(name, left - MARGIN - _SPACE), hover=name)
        for i, row in enumerate(shown_matrix.cells):
            for j, cell in enumerate(row):
                x, y = left + j * wide, top + i * _CELL_HEIGHT
                place_of = {"x": x, "y": y, "width": wide - 1, "height": _CELL_HEIGHT - 1}
                if cell is None:
                    yield tag("rect", None, None, class_="void", **place_of)
                    continue
                hover = f"{names[i]} – {names[j]}: {label(cell)}{unit}"
                colour = shade(cell)
                if votes is not None and (votes.cells[i][j] or 0) < FEW_VOTES:
                    colour = Shade(f"{colour.colour} few", is_strong=False)
                yield _cell(place_of, label(cell), hover, colour)

    width = left + n * wide + MARGIN
    height = top + len(names) * _CELL_HEIGHT + MARGIN
    return Picture(title, description, width, height, tuple(drawn()))


def _cell(place: Mapping[str, float], words: str, hover: str, shade: Shade) -> str:
    x, y = place["x"] + place["width"] / 2, place["y"] + 16
    style = f"{shade.colour} strong" if shade.is_strong else shade.colour
    inside = f"{tag('rect', None, hover, **place)}{text(x, y, words, 'small middle')}"
    return f'<g class="{style}">{inside}</g>'


# --- grades -------------------------------------------------------------------------------------

_BAR_WIDTH = 560
_BAR_ROW = 26
_BAR = 16
_KEY = 12


def grade_bars(
    rows: Sequence[tuple[str, tuple[int, ...]]],
    outcomes: Sequence[tuple[str, str]],
    title: str,
    description: str,
) -> Picture:
    """The parts of each model's votes as one bar; `outcomes` are (class, words) of the parts."""
    names = [shown(name) for name, _ in rows]
    left = _beside(names)
    axis = Axis(0, 1, 0.25, left, left + _BAR_WIDTH)
    top = 2 * _AXIS
    bottom = top + len(rows) * _BAR_ROW

    def drawn() -> Iterator[str]:
        x = float(left)
        for style, words in outcomes:
            yield tag("rect", class_=style, x=x, y=6, width=_KEY, height=_KEY, rx=2)
            yield text(x + _KEY + 6, 16, words, "faint small")
            x += _KEY + 24 + text_width(words, 12)
        for tick in axis.ticks():
            yield tag("line", class_="grid", x1=axis.at(tick), x2=axis.at(tick), y1=top, y2=bottom)
            yield text(axis.at(tick), top - 8, f"{percent(tick)} %", "faint small middle")
        for place, (_, parts) in enumerate(rows):
            y = top + place * _BAR_ROW
            yield text(
                MARGIN, y + 18, cut(names[place], left - MARGIN - _SPACE), hover=names[place]
            )
            yield from _bar(axis, y + 5, parts, outcomes)
            votes = f"{sum(parts):,}"
            yield text(axis.right + 70, y + 18, votes, "faint end")

    return Picture(title, description, axis.right + 70 + MARGIN, bottom + MARGIN, tuple(drawn()))


def _bar(
    axis: Axis, y: float, parts: Sequence[int], outcomes: Sequence[tuple[str, str]]
) -> Iterator[str]:
    total, before = sum(parts), 0
    for (style, words), part in zip(outcomes, parts, strict=True):
        if part:
            x = axis.at(before / total)
            width = round(axis.at((before + part) / total) - x, 1)
            hover = f"{words}: {part:,} ({percent(part / total)} %)"
            yield tag("rect", None, hover, class_=style, x=x, y=y, width=width, height=_BAR)
        before += part


# --- ratings over time --------------------------------------------------------------------------

_COURSE_WIDTH, _COURSE_HEIGHT = 900, 340
_COURSE_LABELS = 150
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_TIME_STEPS = (
    *(5, 15, 30, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY, 91 * _DAY, 182 * _DAY, 365 * _DAY),
)
COLOURS = 6
"""How many courses have a colour of their own."""


def courses(shown_courses: Sequence[Course], title: str, description: str) -> Picture:
    """Ratings as lines and their intervals as bands, oldest on the left; times are UTC."""
    points = [point for course in shown_courses for point in course.points]
    times = [_seconds(point) for point in points]
    last = [course.points[-1] for course in shown_courses]
    values = [point["rating"] for point in points]
    values += [
        bound
        for point in last
        for bound in (point["rating_lower"], point["rating_upper"])
        if bound is not None
    ]
    left, right = MARGIN + 44.0, _COURSE_WIDTH - _COURSE_LABELS - _SPACE
    across = Axis.of(times, 0.0, left, right)
    up = Axis.of(values, 0.25, _COURSE_HEIGHT - 2 * _AXIS, MARGIN, ticks=5)

    def drawn() -> Iterator[str]:
        for tick in up.ticks():
            yield tag("line", class_="grid", x1=left, x2=right, y1=up.at(tick), y2=up.at(tick))
            yield text(left - 8, up.at(tick) + 4, whole(tick), "faint small end")
        for at, words in _time_ticks(across):
            yield tag("line", class_="grid", x1=at, x2=at, y1=up.left, y2=up.left + 5)
            yield text(at, up.left + 20, words, "faint small middle")
        days = f"{_day(across.low)} – {_day(across.high)} UTC"
        yield text(left, up.left + 42, days, "faint small")
        for place, course in enumerate(shown_courses):
            yield from _course(course, across, up, f"c{place % COLOURS}")
        yield from _names(shown_courses, up, right + _SPACE)

    return Picture(title, description, _COURSE_WIDTH, _COURSE_HEIGHT, tuple(drawn()))


def _course(course: Course, across: Axis, up: Axis, colour: str) -> Iterator[str]:
    def y(value: float | None, missing: float) -> float:
        return up.at(min(max(missing if value is None else value, up.low), up.high))

    xs = [across.at(_seconds(point)) for point in course.points]
    upper = [y(point["rating_upper"], up.high) for point in course.points]
    lower = [y(point["rating_lower"], up.low) for point in course.points]
    around = [*zip(xs, upper, strict=True), *zip(xs[::-1], lower[::-1], strict=True)]
    line = [*zip(xs, (up.at(point["rating"]) for point in course.points), strict=True)]
    yield tag("polygon", class_=f"spread {colour}", points=_path(around))
    yield tag("polyline", class_=f"course {colour}", points=_path(line))
    x, y_last = line[-1]
    yield tag("circle", None, shown(course.name), class_=f"end-dot {colour}", cx=x, cy=y_last, r=4)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _names(shown_courses: Sequence[Course], up: Axis, x: float) -> Iterator[str]:
    """Each name at the end of its line, or as near as the others let it."""
    ends = sorted(
        (up.at(course.points[-1]["rating"]), place) for place, course in enumerate(shown_courses)
    )
    below = up.right - 16
    for y, place in ends:
        below = max(y, below + 16)
        name = shown(shown_courses[place].name)
        style = f"label small c{place % COLOURS}"
        yield text(x, below + 4, cut(name, _COURSE_LABELS, 12), style, hover=name)


def _seconds(point: Row) -> float:
    return datetime.fromisoformat(point["published_at"]).timestamp()


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _time_ticks(axis: Axis) -> Iterator[tuple[float, str]]:
    step = next((s for s in _TIME_STEPS if s >= axis.step), _TIME_STEPS[-1])
    form = "%H:%M:%S" if step < _MINUTE else "%H:%M" if step < _DAY else "%Y-%m-%d"
    first = -(-axis.low // step) * step
    for tick in range(int(first), int(axis.high) + 1, step):
        yield axis.at(tick), datetime.fromtimestamp(tick, UTC).strftime(form)


# --- calibration --------------------------------------------------------------------------------

_SQUARE = 340


def calibration(
    bins: Sequence[Mapping[str, float]], axes: tuple[str, str], title: str, description: str
) -> Picture:
    """Observed over predicted score; on the dashed line both are the same."""
    lowest = min([0.5, *(one["lower"] for one in bins)])
    left, bottom = MARGIN + 48.0, MARGIN + _SQUARE
    across = Axis(0.5, 1, 0.1, left, left + _SQUARE)
    up = Axis(lowest - 0.02, 1.02, 0.1, bottom, MARGIN)

    def drawn() -> Iterator[str]:
        for tick in up.ticks():
            yield tag(
                "line", class_="grid", x1=left, x2=across.right, y1=up.at(tick), y2=up.at(tick)
            )
            yield text(left - 8, up.at(tick) + 4, f"{percent(tick)} %", "faint small end")
        for tick in across.ticks():
            yield text(across.at(tick), bottom + 20, f"{percent(tick)} %", "faint small middle")
        ends = {"x1": left, "x2": across.right, "y1": up.at(0.5), "y2": up.at(1)}
        yield tag("line", None, None, class_="ideal", **ends)
        for one in bins:
            x = across.at(one["predicted"])
            edges = {"y1": up.at(one["lower"]), "y2": up.at(one["upper"])}
            yield tag("line", None, None, class_="interval", x1=x, x2=x, **edges)
            hover = f"{percent(one['predicted'])} % – {percent(one['observed'])} %"
            yield tag("circle", None, hover, class_="dot", cx=x, cy=up.at(one["observed"]), r=5)
        yield text(left + _SQUARE / 2, bottom + 44, axes[0], "faint small middle")
        yield text(left, MARGIN - 2, axes[1], "faint small")

    width, height = across.right + 2 * MARGIN + 12, bottom + 44 + MARGIN
    return Picture(title, description, width, height, tuple(drawn()))


# --- blindness ----------------------------------------------------------------------------------

_SHARE_WIDTH = 240
_SHARE_ROW = 26


def blindness(
    rows: Sequence[tuple[str, Mapping[str, float]]], title: str, description: str
) -> Picture:
    """How often each model is recognised, with its interval; the dashed line is chance."""
    names = [shown(name) for name, _ in rows]
    left = _beside(names) if any(names) else 2 * MARGIN
    lowest = min([0.5, *(figure["lower"] for _, figure in rows)])
    axis = Axis(lowest, 1, 0.1, left, left + _SHARE_WIDTH)
    bottom = _AXIS + len(rows) * _SHARE_ROW

    def drawn() -> Iterator[str]:
        for tick in axis.ticks():
            x, is_chance = axis.at(tick), math.isclose(tick, 0.5)
            ends = {"x1": x, "x2": x, "y1": _AXIS, "y2": bottom}
            yield tag("line", None, None, class_="ideal" if is_chance else "grid", **ends)
            yield text(x, _AXIS - 8, f"{percent(tick)} %", "faint small middle")
        for place, (_, figure) in enumerate(rows):
            y = _AXIS + place * _SHARE_ROW + _SHARE_ROW / 2
            name = names[place]
            yield text(MARGIN, y + 5, cut(name, left - MARGIN - _SPACE), hover=name)
            ends = {"x1": axis.at(figure["lower"]), "x2": axis.at(figure["upper"])}
            yield tag("line", None, None, class_="interval", y1=y, y2=y, **ends)
            yield tag("circle", class_="dot", cx=axis.at(figure["value"]), cy=y, r=5)
            yield text(axis.right + 56, y + 5, f"{percent(figure['value'])} %", "end")

    return Picture(title, description, axis.right + 56 + MARGIN, bottom + MARGIN, tuple(drawn()))
