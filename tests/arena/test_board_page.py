"""What of a board a reader asks for: which models, in which order, at which address."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from arena.boards import UNRATED, Encoded
from arena.views.board_page import COLUMNS, Wish, table


def row(model: str, rating: float | None, **cells: Any) -> dict[str, Any]:
    known = {**UNRATED, "name": model.title(), "organization": "", "license": "", "void_rate": None}
    if rating is not None:
        half = cells.pop("half", 50.0)
        known |= {"rating": rating, "rating_lower": rating - half, "rating_upper": rating + half}
        known |= {"rank": 1, "votes": 4, "wins": 1, "ties": 2, "losses": 1, "component": 1}
        known |= {"mean_win_rate": 0.5}
    return {"model": model, **known, **cells}


def board(*rows: dict[str, Any]) -> Encoded:
    return Encoded({"rows": list(rows)}, b"", repr(rows))


TREES = board(
    row("oak", 1200.0, organization="Grove", license="MIT", void_rate=0.25, half=300.0),
    row("elm", 1100.0, organization="Hedge", license="MIT", wins=3, losses=0, ties=1),
    row("ash", 900.0, organization="Grove", license="GPL", votes=9, void_rate=0.0),
    row("fir", None, organization="Hedge"),
)


def models(found: Encoded, **wishes: str) -> list[str]:
    asked = table(found, Wish("c", **wishes))
    return [one["model"] for group in asked.groups for one in group.rows]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("rank", ["oak", "elm", "ash"]),
        ("-rank", ["ash", "elm", "oak"]),
        ("model", ["ash", "elm", "oak"]),
        ("rating", ["oak", "elm", "ash"]),
        ("lower", ["elm", "oak", "ash"]),
        ("votes", ["ash", "oak", "elm"]),
        ("-votes", ["oak", "elm", "ash"]),
        ("share", ["elm", "oak", "ash"]),
        ("mean_win_rate", ["oak", "elm", "ash"]),
        ("-mean_win_rate", ["oak", "elm", "ash"]),
        ("void_rate", ["ash", "oak", "elm"]),
        ("-void_rate", ["oak", "ash", "elm"]),
    ],
)
def test_rows_are_sorted_equals_by_rank_unknown_ones_last_unrated_ones_below(
    sort: str, order: list[str]
) -> None:
    assert models(TREES, sort=sort) == [*order, "fir"]


def test_every_column_can_be_sorted_by_in_both_directions() -> None:
    for column in COLUMNS:
        for sort in (column.key, f"-{column.key}"):
            assert sorted(models(TREES, sort=sort)) == ["ash", "elm", "fir", "oak"]


def test_filters_go_together() -> None:
    assert models(TREES, q="O") == ["oak", "ash"]  # of the Grove
    assert models(TREES, q="grove oak") == ["oak"]
    assert models(TREES, organization="Hedge") == ["elm", "fir"]
    assert models(TREES, organization="Grove", license="GPL") == ["ash"]
    assert models(TREES, q="birch") == []


def test_the_axis_and_the_choices_do_not_follow_the_filters() -> None:
    everything, one = table(TREES, Wish("c")), table(TREES, Wish("c", q="elm"))
    assert one.axis == everything.axis is not None
    assert (one.shown, one.total) == (1, 4)
    assert (one.organizations, one.licenses) == (["Grove", "Hedge"], ["GPL", "MIT"])


def test_models_that_were_never_compared_stand_apart_however_they_are_sorted() -> None:
    parted = board(row("a", 1100.0), row("b", 1050.0, component=2), row("c", 900.0), row("d", None))
    groups = table(parted, Wish("c", sort="-rating")).groups
    assert [group.component for group in groups] == [1, 2, None]
    assert [one["model"] for one in groups[0].rows] == ["c", "a"]


def test_an_open_bound_stretches_no_axis_and_a_board_without_votes_has_none() -> None:
    half_open = table(board(row("a", 1000.0, rating_upper=None), row("b", 990.0)), Wish("c"))
    assert half_open.axis is not None
    assert half_open.axis.high < 1060
    assert table(board(row("d", None)), Wish("c")).axis is None


def test_an_address_leaves_out_what_is_usual() -> None:
    wish = Wish("c d", category="zh", sort="-votes", q="中 文")
    assert wish.url() == "/board?campaign=c+d&category=zh&sort=-votes&q=%E4%B8%AD+%E6%96%87"
    assert wish.unfiltered() == "/board?campaign=c+d&category=zh&sort=-votes"
    assert Wish("c").url(category="overall", method="auto", sort="rank") == "/board?campaign=c"


def test_a_column_asked_for_again_is_sorted_the_other_way() -> None:
    first = Wish("c").sorted_by("votes")
    assert first.endswith("sort=votes")
    assert Wish("c", sort="votes").order("votes") == "descending"
    assert Wish("c", sort="votes").sorted_by("votes").endswith("sort=-votes")
    assert Wish("c", sort="-votes").order("votes") == "ascending"
    assert Wish("c", sort="-votes").sorted_by("votes").endswith("sort=votes")
    assert Wish("c", sort="votes").order("rank") is None


class Document(dict[str, Any]):
    """A board's document that can be watched; a dict cannot."""


def test_what_is_remembered_of_a_board_does_not_keep_its_document() -> None:
    document = Document(TREES.document)
    gone = weakref.ref(document)
    published = Encoded(document, b"", "of a board that is soon an old one")
    first = table(published, Wish("c"))
    assert table(published, Wish("c")) is first
    del document, published
    gc.collect()
    assert gone() is None
