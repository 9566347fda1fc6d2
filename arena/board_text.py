"""Boards as text: a table for a terminal, CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Container, Iterable, Sequence
from typing import Any

_CSV_COLUMNS = (
    *("model", "name", "organization", "license", "rank", "rank_lower", "rank_upper"),
    *("rating", "rating_lower", "rating_upper", "votes", "wins", "losses", "ties", "component"),
    "mean_win_rate",
)
_Z = 1.96
_GRADE_COLUMNS = ("won_much", "won", "tied", "lost", "lost_much")


def to_csv(boards: Iterable[dict[str, Any]], *, by_category: bool = False) -> str:
    """The rows of board documents, numbers in full; missing and infinite ones are empty.

    So are the five grades of a model whose votes name a winner only.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*(["category"] if by_category else []), *_CSV_COLUMNS, *_GRADE_COLUMNS])
    for board in boards:
        first = [board["category"]] if by_category else []
        for row in board["rows"]:
            grades = row["grades"] if any(row["grades"]) else [""] * len(_GRADE_COLUMNS)
            writer.writerow([*first, *(row[name] for name in _CSV_COLUMNS), *grades])
    return buffer.getvalue()


def to_table(board: dict[str, Any]) -> str:
    """The rows of a board document, aligned also where names have wide characters."""
    header = ["rank", "model", "rating", "95 % interval", "votes", "wins", "losses", "ties"]
    apart = len({row["component"] for row in board["rows"]} - {None}) > 1
    table = [[*header, *(["component"] if apart else [])]]
    for row in board["rows"]:
        interval = _interval(row) if board["config"].get("interval") else "–"
        cells = [_ranks(row), row["name"], _number(row["rating"]), interval]
        cells += [str(row[name]) for name in ("votes", "wins", "losses", "ties")]
        table.append([*cells, *([str(row["component"] or "–")] if apart else [])])
    lines = aligned(table, left={1})
    if apart:
        lines.append("Ratings and ranks of different components cannot be compared.")
    if not board.get("converged", True):
        lines.append("The fit did not converge: these numbers are not final.")
    return "\n".join([*lines, "", *_notes(board)]) + "\n"


def _notes(board: dict[str, Any]) -> list[str]:
    """What was fitted and why, in a line each."""
    variant = board["config"].get("variant")
    method = board["method"] + (f" ({variant.replace('_', ' ')})" if variant else "")
    reason = (board["evidence"] or {}).get("reason")
    notes = [f"Method: {method}." + (f" {reason}" if reason else "")]
    side = (board["fit"] or {}).get("side_effect")
    if side and side["rating"] is None:
        notes.append(f"What being side A gains cannot be told: {side['problem']}.")
    elif side and side["se"] is not None:
        notes.append(f"Being side A gains {side['rating']:+.1f} ± {_Z * side['se']:.1f} points.")
    return notes


def aligned(table: Sequence[Sequence[str]], left: Container[int]) -> list[str]:
    """The rows with their cells below each other, the columns in `left` from the left."""
    widths = [max(map(_width, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(_padded(cell, widths[i], i in left) for i, cell in enumerate(row)).rstrip()
        for row in table
    ]


def _padded(cell: str, width: int, is_left: bool) -> str:
    room = " " * (width - _width(cell))
    return cell + room if is_left else room + cell


def _ranks(row: dict[str, Any]) -> str:
    if row["rank_lower"] == row["rank_upper"]:
        return str(row["rank"] or "–")
    return f"{row['rank_lower']}–{row['rank_upper']}"


def _interval(row: dict[str, Any]) -> str:
    if row["rating"] is None:
        return "–"
    lower, upper = row["rating_lower"], row["rating_upper"]
    return (
        f"{'−∞' if lower is None else _number(lower)} … {'∞' if upper is None else _number(upper)}"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _width(text: str) -> int:
    """Columns of a terminal that the text takes."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    none = sum(unicodedata.category(char) in {"Mn", "Me", "Cf"} for char in text)
    return len(text) + wide - none
