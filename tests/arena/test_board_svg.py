"""Boards as pictures."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from arena.board_svg import to_svg

SVG = "{http://www.w3.org/2000/svg}"


def row(name: str, rating: float | None, bounds: tuple[Any, Any] = (None, None), **more: Any):
    known = None if rating is None else 1
    return {
        **{"model": name, "name": name, "rank": known, "rank_lower": known, "rank_upper": known},
        **{"rating": rating, "rating_lower": bounds[0], "rating_upper": bounds[1]},
        **{"votes": 10, "component": known, **more},
    }


def board(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    config = {"level": 0.95, "interval": "sandwich"}
    return {"method": "bt", "config": config, "file": "votes.csv", "rows": list(rows), **more}


def drawn(document: dict[str, Any]) -> ElementTree.Element:
    return ElementTree.fromstring(to_svg(document))  # noqa: S314  our own picture


def styled(picture: ElementTree.Element, style: str) -> list[ElementTree.Element]:
    return [e for e in picture.iter() if style in e.get("class", "").split()]


def texts(picture: ElementTree.Element) -> list[str]:
    """What can be read, without what only a pointer shows."""
    return [(e[0].tail if len(e) else e.text) or "" for e in picture.iter(f"{SVG}text")]


def numbers(elements: list[ElementTree.Element], *names: str) -> list[tuple[float, ...]]:
    return [tuple(float(e.get(name, "nan")) for name in names) for e in elements]


THREE = board(
    row("best", 1200.0, (1100.0, 1300.0)),
    row("middle", 1000.0, (950.0, 1050.0)),
    row("worst", 800.0, (700.0, 900.0)),
)


def test_dots_and_intervals_stand_where_the_axis_says():
    picture = drawn(THREE)
    ticks = [
        e for e in styled(picture, "middle") if e.get("y") == styled(picture, "middle")[0].get("y")
    ]
    (x0, r0), (x1, r1) = (
        (float(e.get("x", "")), float(e.text or "")) for e in (ticks[0], ticks[-1])
    )

    def x(rating: float) -> float:
        return x0 + (rating - r0) / (r1 - r0) * (x1 - x0)

    for (at,), rating in zip(numbers(styled(picture, "dot"), "cx"), (1200, 1000, 800), strict=True):
        assert at == pytest.approx(x(rating), abs=0.3)
    lines = numbers(styled(picture, "interval"), "x1", "x2")
    for ends, bounds in zip(lines, ((1100, 1300), (950, 1050), (700, 900)), strict=True):
        assert ends == pytest.approx(tuple(map(x, bounds)), abs=0.3)
    assert not styled(picture, "arrow")


def test_models_stand_below_each_other_best_first():
    picture = drawn(THREE)
    heights = [y for (y,) in numbers(styled(picture, "dot"), "cy")]
    assert heights == sorted(heights)
    shown = texts(picture)
    assert shown.index("best") < shown.index("middle") < shown.index("worst")


def test_ticks_are_round_numbers():
    ticks = [int(e.text or "") for e in styled(drawn(THREE), "middle")]
    assert set(ticks) == {700, 800, 900, 1000, 1100, 1200, 1300}


def test_an_open_end_is_an_arrow_at_the_edge_and_is_explained():
    picture = drawn(board(row("star", 1200.0, (1100.0, None)), row("b", 900.0, (800.0, 1000.0))))
    (arrow,) = styled(picture, "arrow")
    tip = float((arrow.get("points") or "").split(",")[0])
    ends = numbers(styled(picture, "interval"), "x2")
    assert (tip,) == ends[0] and tip > ends[1][0]
    assert tip > numbers(styled(picture, "dot"), "cx")[0][0] + 15  # the dot hides no arrow
    assert any("an arrow: the votes set no limit" in text for text in texts(picture))
    assert "an arrow" not in to_svg(THREE)


def test_a_board_without_intervals_has_dots_only():
    picture = drawn(board(row("a", 1010.0), row("b", 990.0), config={"k": 4}, method="elo"))
    assert len(styled(picture, "dot")) == 2
    assert not styled(picture, "interval") and not styled(picture, "arrow")
    assert not any("Line:" in text for text in texts(picture))


def test_components_stand_apart_largest_first_and_unrated_models_last():
    rows = [
        row("island", 1500.0, (1400.0, 1600.0), component=2),
        row("mainland", 1000.0, (900.0, 1100.0)),
        row("newcomer", None),
    ]
    picture = drawn(board(*rows))
    shown = texts(picture)
    order = ["mainland", "Component 2: not comparable with the models above", "island"]
    places = [shown.index(text) for text in (*order, "Not rated yet", "newcomer")]
    assert places == sorted(places)
    assert len(styled(picture, "dot")) == 2 and len(styled(picture, "rule")) == 2
    assert not styled(drawn(THREE), "rule")


def test_hostile_names_stay_text():
    names = ['</text><script>alert("1")</script>', "a&b<c>'", "x\x07\u202ey\ud800\ufffe", "]]>"]
    picture = drawn(board(*(row(name, 1000.0, (900.0, 1100.0)) for name in names)))
    assert {e.tag.removeprefix(SVG) for e in picture.iter()} <= {
        *("svg", "title", "desc", "style", "rect", "text", "line", "circle", "polygon")
    }
    assert {names[0], names[1], "x\ufffd\ufffdy\ufffd\ufffd", "]]>"} <= set(texts(picture))


def test_nothing_is_loaded_from_elsewhere():
    document = board(row("x", 1000.0, (900.0, 1100.0)), file="https://example.org/votes.csv")
    markup = to_svg(document).replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"href|url\(|@import|://|<script|\son\w+=", markup)


def test_a_long_name_is_cut_and_whole_under_the_pointer():
    name = "通义千问" * 30
    picture = drawn(board(row(name, 1000.0, (900.0, 1100.0))))
    (element,) = (e for e in picture.iter(f"{SVG}text") if "通" in (e[0].tail if len(e) else ""))
    shown = element[0].tail or ""
    assert shown.endswith("…") and element[0].text == name
    room = numbers(styled(picture, "interval"), "x1")[0][0] - float(element.get("x", ""))
    assert 13 * len(shown) < room  # wide characters are as wide as the font is high


def test_no_rows_make_a_picture_that_says_so():
    picture = drawn(board())
    assert "There are no votes to rate yet." in texts(picture)
    assert picture.findtext(f"{SVG}desc") == "There are no votes to rate yet."
    assert not styled(picture, "grid")


@pytest.mark.parametrize("count", [1, 1000])
def test_everything_is_inside_the_picture(count):
    ratings = [1500.0 - i for i in range(count)]
    picture = drawn(board(*(row(f"model {r}", r, (r - 50, r + 50)) for r in ratings)))
    width, height = float(picture.get("width", "")), float(picture.get("height", ""))
    dots = numbers(styled(picture, "dot"), "cx", "cy")
    assert len(dots) == count
    assert all(0 < x < width and 0 < y < height for x, y in dots)
    below = [float(e.get("y", "")) for e in picture.iter(f"{SVG}text")]
    assert max(below) < height


def test_models_of_one_rating_need_no_span():
    picture = drawn(board(row("a", -40.0), row("b", -40.0)))
    xs = {x for (x,) in numbers(styled(picture, "dot"), "cx")}
    assert len(xs) == 1
    assert any((e.text or "").startswith("−") for e in styled(picture, "middle"))


def test_head_and_foot_say_what_this_is():
    published = {"campaign": "spring", "category": "zh", "log_position": 12345, "file": None}
    picture = drawn({**THREE, **published, "published_at": "2026-11-22T08:00:00.000Z"})
    assert picture.findtext(f"{SVG}title") == "spring · zh"
    shown = " ".join(texts(picture))
    assert "3 models from 15 votes" in shown and "95 % interval" in shown
    assert "log position 12,345 · published 2026-11-22" in shown and "sandwich" in shown
    assert "converge" not in shown
    config = {"level": 0.9, "interval": "bootstrap", "variant": "three_steps"}
    other = " ".join(texts(drawn({**THREE, "method": "new", "config": config})))
    assert "Method: new (three steps) · intervals: bootstrap" in other and "90 %" in other
    warned = " ".join(texts(drawn({**THREE, "converged": False})))
    assert "The fit did not converge" in warned
    assert (
        drawn({**THREE, "file": "/home/somebody/votes.csv"}).findtext(f"{SVG}title") == "votes.csv"
    )
