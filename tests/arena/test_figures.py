"""Numbers and pictures: what is drawn is what the data says, and hostile names stay text."""

from __future__ import annotations

import csv
import io
import json
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from arena import figures, figures_svg
from arena.boards import OVERALL
from arena.figures import Course, Matrix, Meeting, Pairs, Table
from arena.interfaces import PairTable
from arena.leaderboard import Method, compute, pair_data
from arena.svg import Picture, style, wrapped
from arena.tally import Tally, Vote
from ratings.comparisons import PairCounts

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</text><script>alert("1")</script>&'

VOTES = [
    *[("a", "b", 2, "model_a")] * 3,
    ("b", "a", 1, "model_a"),
    ("b", "a", 0, "tie"),
    ("c", "b", -2, "model_b"),
    ("b", "c", -1, "model_b"),
    ("a", "c", None, "model_a"),
    ("c", "a", None, "model_a"),
    ("a", "c", None, "tie"),
]


def tally_of(votes: list[Any]) -> Tally:
    tally = Tally()
    for seq, vote in enumerate(votes, 1):
        tally.add(Vote(seq, *vote))
    return tally


def table_of(votes: list[Any], method: Method | None = None) -> dict[str, Any]:
    data = compute(tally_of(votes), method or Method(), pairs=True).pairs
    assert data is not None
    return data


def pairs_of(data: dict[str, Any]) -> Pairs:
    return Pairs(PairTable("online", OVERALL, 9, "2026-01-02T03:04:05.678Z", data))


def t(key: str, **values: Any) -> str:
    return key


def drawn(picture: Picture) -> ElementTree.Element:
    root = ElementTree.fromstring(picture.inline())  # noqa: S314  our own picture
    ElementTree.fromstring(picture.file("subtitle", ["note"]))  # noqa: S314  it can be read too
    return root


def texts(element: ElementTree.Element) -> list[str]:
    """What can be read, without what only a pointer shows."""
    return [(e[0].tail if len(e) else e.text) or "" for e in element.iter(f"{SVG}text")]


def hovers(element: ElementTree.Element) -> list[str]:
    return [e.text or "" for e in element.iter(f"{SVG}title")]


def styled(picture: ElementTree.Element, style: str) -> list[ElementTree.Element]:
    return [e for e in picture.iter() if style in e.get("class", "").split()]


# --- the data of pairs --------------------------------------------------------------------------


def test_pairs_hold_every_vote_once_as_the_first_model_sees_it() -> None:
    data = table_of(VOTES)
    assert data["models"] == ["a", "b", "c"]
    assert data["graded"] == [[0, 1, 3, 0, 1, 1, 0], [1, 2, 1, 0, 0, 1, 0]]
    assert data["winner_only"] == [[0, 2, 1, 1, 1]]


@pytest.mark.parametrize("method", [Method(), Method("graded"), Method("elo")])
def test_predicted_scores_are_those_of_the_ratings(method: Method) -> None:
    board = compute(tally_of(VOTES * 3), method, pairs=True)
    rating = {row.model: row.rating for row in board.rows}
    pairs = pairs_of(board.pairs or {})
    if method.name != "graded":  # its links are of grades, not of points
        for first, second in (("a", "b"), ("c", "a")):
            expected = 1 / (1 + 10 ** ((rating[second] - rating[first]) / 400))
            assert pairs.predicted(first, second) == pytest.approx(expected, abs=1e-4)
    ordered = sorted(rating, key=lambda model: -rating[model])
    assert (pairs.predicted(ordered[0], ordered[2]) or 0) > 0.5
    forth, back = pairs.predicted("a", "b"), pairs.predicted("b", "a")
    assert forth is not None and back is not None and forth + back == pytest.approx(1)


def test_models_that_no_vote_joins_have_no_predicted_score() -> None:
    pairs = pairs_of(table_of([*VOTES, ("x", "y", 1, "model_a"), ("y", "x", 1, "model_a")]))
    assert pairs.predicted("a", "x") is None
    assert pairs.predicted("x", "y") == pytest.approx(0.5)
    assert pairs.predicted("a", "a") is None
    assert pairs.predicted("a", "unheard of") is None


def test_calibration_comes_with_the_figures_and_accounts_for_every_vote() -> None:
    votes = [(a, b, g, w) for a, b, g, w in VOTES * 8]
    bins = table_of(votes)["calibration"]
    assert sum(one["votes"] for one in bins) == pytest.approx(len(votes))
    assert all(one["lower"] <= one["observed"] <= one["upper"] for one in bins)
    bare = compute(tally_of(votes), Method(), figures=False, pairs=True).pairs
    assert bare is not None and bare["calibration"] is None


def test_a_board_without_votes_has_an_empty_pair_table() -> None:
    data = table_of([])
    assert (data["models"], data["graded"], data["predicted"]) == ([], [], [])


def test_a_meeting_turns_round_for_the_other_model() -> None:
    pairs = pairs_of(table_of(VOTES))
    met = pairs.meeting("b", "a")
    assert met == Meeting((0, 1, 1, 0, 3), (0, 0, 0))
    assert (met.votes, met.points, met.score) == (5, 1.5, 0.3)
    assert pairs.meeting("a", "b") == met.turned()
    assert pairs.meeting("a", "a") is None and pairs.meeting("a", "nobody") is None


def test_opponents_come_best_first_and_one_lucky_vote_is_no_record() -> None:
    votes = [("m", "often", 1, "model_a")] * 9 + [("m", "often", -1, "model_b")]
    votes += [("m", "once", 1, "model_a"), ("m", "lost", -1, "model_b")]
    order = [one.model for one in pairs_of(table_of(votes)).opponents("m")]
    assert order == ["often", "once", "lost"]


def test_pairs_of_many_models_stay_small() -> None:
    m, n = 250, 100_000
    rng = np.random.default_rng(0)
    a = rng.integers(m, size=n)
    counts = PairCounts(m)
    counts.add(a, (a + 1 + rng.integers(m - 1, size=n)) % m, rng.integers(5, size=n))
    data = pair_data([f"model-{i}" for i in range(m)], counts, rng.random((m, m)))
    assert len(json.dumps(data, separators=(",", ":"))) < 1_000_000


# --- tables -------------------------------------------------------------------------------------


def read(table: Table) -> list[list[str]]:
    return list(csv.reader(io.StringIO(table.to_csv())))


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_spreadsheet_takes_no_name_for_a_formula(name: str) -> None:
    table = Table((("model", "text"), (name, "whole")), ((name, -3),))
    header, row = read(table)
    assert header[1] == row[0] == f"'{name}"
    assert row[1] == "-3"  # numbers stay numbers


def test_a_csv_keeps_commas_quotes_and_what_is_missing() -> None:
    table = Table(
        (("model", "text"), ("rating", "rating")), (('a, "b"', 1000.123456), ("通义", None))
    )
    assert read(table)[1:] == [['a, "b"', "1000.123456"], ["通义", ""]]


# --- matrices -----------------------------------------------------------------------------------


def rows(*names: str) -> list[dict[str, Any]]:
    return [{"model": name, "name": f"The {name}"} for name in names]


def test_the_cells_of_a_matrix_say_what_the_data_says() -> None:
    pairs = pairs_of(table_of(VOTES))
    numbers = Matrix.of(rows("a", "b", "c"), figures.observed(pairs))
    assert numbers.cells == ((None, 0.7, 0.5), (0.3, None, 0.5), (0.5, 0.5, None))
    picture = drawn(figures_svg.matrix(numbers, "T", "D", shade=figures_svg.share_shade))
    cells = [e for e in picture.iter(f"{SVG}g")]
    assert [texts(cell) for cell in cells] == [[s] for s in ("70", "50", "30", "50", "50", "50")]
    assert [cell.get("class") for cell in cells] == ["d7", "d5", "d3", "d5", "d5", "d5"]
    assert hovers(cells[0]) == ["1  The a – 2  The b: 70 %"]
    assert len(styled(picture, "void")) == 3


def test_the_table_of_a_matrix_has_the_same_numbers() -> None:
    pairs = pairs_of(table_of(VOTES))
    table = Matrix.of(rows("a", "c"), figures.votes_between(pairs)).table("whole", t)
    assert read(table) == [
        ["figures.column.model", "1 The a", "2 The c"],
        ["1 The a", "", "3"],
        ["2 The c", "3", ""],
    ]


def test_cells_of_few_votes_are_pale() -> None:
    pairs = pairs_of(table_of([*VOTES, *[("a", "b", 2, "model_a")] * 10]))
    shown = rows("a", "b", "c")
    picture = figures_svg.matrix(
        Matrix.of(shown, figures.observed(pairs)),
        *("T", "D"),
        shade=figures_svg.share_shade,
        votes=Matrix.of(shown, figures.votes_between(pairs)),
    )
    pale = ["few" in (e.get("class") or "") for e in drawn(picture).iter(f"{SVG}g")]
    assert pale == [False, True, False, True, True, True]


def test_the_scale_of_shares_is_centred_at_a_half_and_mirrored() -> None:
    assert figures_svg.share_shade(0.5).colour == "d5"
    for share in (0.0, 0.12, 0.31, 0.44):
        low, high = figures_svg.share_shade(share), figures_svg.share_shade(1 - share)
        assert int(low.colour[1:]) + int(high.colour[1:]) == 10
        assert low.is_strong == high.is_strong


def test_more_votes_never_have_a_lighter_cell() -> None:
    steps = [int(figures_svg.count_shade(votes).colour[1:]) for votes in range(400)]
    assert steps == sorted(steps) and steps[0] == 0 and steps[-1] == 5


# --- other pictures -----------------------------------------------------------------------------


def test_the_parts_of_a_bar_are_as_long_as_their_share() -> None:
    outcomes = [("won", "won"), ("tied", "tie"), ("lost", "lost")]
    picture = drawn(figures_svg.grade_bars([("m", (6, 0, 2))], outcomes, "T", "D"))
    bars = [e for e in picture.iter(f"{SVG}rect") if len(e)]
    assert [hovers(bar) for bar in bars] == [["won: 6 (75 %)"], ["lost: 2 (25 %)"]]
    widths = [float(bar.get("width", "")) for bar in bars]
    assert widths[0] == pytest.approx(3 * widths[1], abs=0.2)
    assert "8" in texts(picture)


def point(minute: int, rating: float, lower: float | None, upper: float | None) -> dict[str, Any]:
    at = f"2026-01-02T03:{minute:02}:00.000Z"
    return {
        **{"published_at": at, "log_position": minute, "rank": 1},
        **{"rating": rating, "rating_lower": lower, "rating_upper": upper},
    }


def test_a_course_goes_through_its_ratings_in_time() -> None:
    course = Course("m", (point(0, 1000, None, None), point(10, 1100, 1050, 1150)))
    late = Course("n", (point(5, 1050, 1000, 1100), point(10, 1000, 950, 1050)))
    picture = drawn(figures_svg.courses([course, late], "T", "D"))
    lines = [
        [tuple(map(float, xy.split(","))) for xy in (e.get("points") or "").split()]
        for e in styled(picture, "course")
    ]
    (start, end), (late_start, late_end) = lines
    assert late_start[0] == pytest.approx((start[0] + end[0]) / 2, abs=0.2)
    assert (late_end[0], late_end[1]) == (end[0], start[1])  # 1000 points once more
    assert late_start[1] == pytest.approx((start[1] + end[1]) / 2, abs=0.2)
    assert hovers(styled(picture, "end-dot")[0]) == ["m"]
    assert any("2026-01-02" in text for text in texts(picture))


def test_names_at_the_ends_of_lines_do_not_cover_each_other() -> None:
    courses = [
        Course(f"m{i}", (point(0, 1000, 900, 1100), point(9, 1000, 900, 1100))) for i in range(5)
    ]
    labels = styled(drawn(figures_svg.courses(courses, "T", "D")), "label")
    heights = sorted(float(label.get("y", "")) for label in labels)
    assert all(after - before >= 15 for before, after in pairwise(heights))


def test_a_calibrated_bin_lies_on_the_dashed_line() -> None:
    bins = [
        {"predicted": p, "observed": p, "lower": p - 0.1, "upper": p + 0.02, "votes": 10.0}
        for p in (0.55, 0.9)
    ]
    picture = drawn(figures_svg.calibration(bins, ("x", "y"), "T", "D"))
    (line,) = styled(picture, "ideal")
    x1, y1, x2, y2 = (float(line.get(name, "")) for name in ("x1", "y1", "x2", "y2"))
    for dot in styled(picture, "dot"):
        x, y = float(dot.get("cx", "")), float(dot.get("cy", ""))
        assert (y - y1) / (y2 - y1) == pytest.approx((x - x1) / (x2 - x1), abs=0.01)
    assert len(styled(picture, "interval")) == 2


def test_hostile_names_stay_text_in_every_picture() -> None:
    names = (HOSTILE, "x\x07\u202ey")
    shown = Matrix(names, ((None, 0.4), (0.6, None)))
    course = Course(HOSTILE, (point(0, 1000, 900, 1100), point(1, 1001, 900, 1100)))
    pictures = [
        figures_svg.matrix(shown, HOSTILE, HOSTILE, shade=figures_svg.share_shade),
        figures_svg.grade_bars(
            [(name, (1, 1, 1)) for name in names], [("won", HOSTILE)] * 3, "", ""
        ),
        figures_svg.courses([course], HOSTILE, ""),
    ]
    for picture in pictures:
        root = drawn(picture)
        assert {e.tag.removeprefix(SVG) for e in root.iter()} <= {
            *("svg", "title", "rect", "text", "g", "line", "circle", "polygon", "polyline")
        }
        assert "<script" not in picture.inline() and "\u202e" not in picture.inline()
        assert any(HOSTILE in words for words in [*hovers(root), *texts(root)])


# --- files --------------------------------------------------------------------------------------


def test_a_file_carries_its_colours_and_nothing_that_other_programs_do_not_know() -> None:
    assert "fill: #2457cf" in style()
    assert "@media (prefers-color-scheme: dark)" in style()
    for unknown in ("var(", "light-dark(", "url(", "@import", "color-mix"):
        assert unknown not in style()


def test_long_notes_are_wrapped_in_both_languages() -> None:
    assert wrapped("one two three", 60) == ["one two", "three"]
    lines = wrapped("通义千问" * 10, 100)
    assert "".join(lines) == "通义千问" * 10
    assert all(len(line) <= 7 for line in lines)


# --- categories ---------------------------------------------------------------------------------


def board(*ratings: tuple[str, float, float]) -> dict[str, Any]:
    """Models with their rating and the half of their interval."""
    return {
        "rows": [
            {
                **{"model": model, "name": model, "component": 1, "rating": rating},
                **{"rating_lower": rating - half, "rating_upper": rating + half},
            }
            for model, rating, half in ratings
        ]
    }


def test_a_difference_is_claimed_only_where_intervals_do_not_touch() -> None:
    whole = board(("m", 1000.0, 10), ("n", 1000.0, 10))
    for lead, verdict in ((60.0, "better"), (-60.0, "worse"), (15.0, "unclear")):
        here = board(("m", 1000 + lead / 2, 10), ("n", 1000 - lead / 2, 10))
        found = figures.strength("m", "coding", here, whole)
        assert found is not None
        assert (found.lead, found.verdict) == (lead / 2, verdict)


def test_a_category_of_other_models_does_not_move_the_comparison() -> None:
    whole = board(("m", 1100.0, 10), ("n", 1000.0, 10), ("strong", 1300.0, 10))
    here = board(("m", 1050.0, 10), ("n", 950.0, 10))  # the same gap, another mean
    found = figures.strength("m", "coding", here, whole)
    assert found is not None and found.lead == pytest.approx(0)
    assert figures.strength("strong", "coding", here, whole) is None


def test_an_open_interval_claims_nothing() -> None:
    whole, here = (
        board(("m", 1000.0, 10), ("n", 1000.0, 10)),
        board(("m", 1400.0, 5), ("n", 600.0, 5)),
    )
    here["rows"][0] |= {"rating_lower": None, "rating_upper": None}
    found = figures.strength("m", "coding", here, whole)
    assert found is not None and found.verdict == "unclear"
