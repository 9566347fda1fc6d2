"""Pictures and model pages over HTTP: numbers, pages without script, files, who may see them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

from arena.views.gallery import NAMES
from tests.arena.http_world import CheckedClient, World, problem
from tests.fakes import a_vote, an_audit, log_rows
from tests.services import wait_until

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '=<img src=x onerror="alert(1)">'
MODELS = ("org/name", "two words", "通义 千问", HOSTILE, "a?b#c%2F")
FILES = [(name, form) for name in NAMES for form in ("svg", "csv")]


def votes(campaign: str, start: int, count: int) -> Iterator[Any]:
    """Earlier models of `MODELS` do better than later ones."""
    for number in range(start, start + count):
        first = number % 5
        second = (first + 1 + number // 5 % 4) % 5
        grade = [2, 1, 0, -1][number % 4] * (1 if first < second else -1)
        winner = "tie" if grade == 0 else "model_a" if grade > 0 else "model_b"
        yield a_vote(
            f"{campaign}-{number}",
            campaign=campaign,
            model_a=MODELS[first],
            model_b=MODELS[second],
            grade=grade,
            winner=winner,
            language="zh" if number % 2 else "en",
        )


@pytest.fixture(scope="module")
def lab(world: World) -> str:
    """A campaign of five models with awkward names that has published two boards; its id."""
    world.add_campaign("lab")
    world.store.votes.append(votes("lab", 0, 60))
    client = world.voter()
    table = "/api/board/pairs?campaign=lab"
    wait_until(lambda: (client.get(table).json or {}).get("models"), what="pairs")
    wait_until(lambda: client.get("/api/board?campaign=lab&category=zh").status_code == 200, 10)
    world.store.votes.append(votes("lab", 60, 40))
    path = f"/api/board/history?campaign=lab&model={quote(MODELS[0])}"
    wait_until(lambda: len(client.get(path).json["series"][0]["points"]) > 1, 20, what="a history")
    world.store.votes.append([(an_audit("lab", *MODELS[1:]), None)])
    world.wait_sealed()
    return "lab"


class _Cells(HTMLParser):
    """The cells of all tables of a page, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data


def cells(page: str) -> list[list[str]]:
    parser = _Cells()
    parser.feed(page)
    return [[cell.strip() for cell in row] for row in parser.rows]


def section(page: str, name: str) -> str:
    """The part of a page about one picture."""
    found = re.search(
        rf'<section class="figure" aria-labelledby="{name}">.*?</section>', page, re.S
    )
    assert found is not None
    return found[0]


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/board/pairs", "/api/board/history"])
def test_numbers_have_a_strong_validator(voter: CheckedClient, lab: str, path: str) -> None:
    first = voter.get(f"{path}?campaign={lab}")
    assert first.headers["Cache-Control"] == "no-cache"
    etag = first.headers["ETag"]
    assert re.fullmatch(r'"[0-9a-f]+"', etag)
    same = voter.get(f"{path}?campaign={lab}", headers={"If-None-Match": etag})
    assert (same.status_code, same.get_data()) == (304, b"")


def test_the_pairs_add_up_to_the_votes_of_the_board_they_belong_to(
    world: World, voter: CheckedClient, lab: str
) -> None:
    pairs = voter.get(f"/api/board/pairs?campaign={lab}").json
    world.wait_sealed()
    rows = log_rows(world.store.votes, lab, until=pairs["log_position"])
    log = [row for row in rows if row["type"] == "vote"]
    assert sum(sum(votes) for _, _, *votes in pairs["graded"]) == len(log)
    assert pairs["winner_only"] == []
    assert sorted(pairs["models"]) == sorted(MODELS)


def test_a_history_ends_with_the_newest_board(voter: CheckedClient, lab: str) -> None:
    def ends() -> bool:
        board = voter.get(f"/api/board?campaign={lab}").json
        row = next(row for row in board["rows"] if row["model"] == MODELS[2])
        path = f"/api/board/history?campaign={lab}&model={quote(MODELS[2])}"
        (series,) = voter.get(path).json["series"]
        assert series["model"] == MODELS[2]
        positions = [point["log_position"] for point in series["points"]]
        assert positions == sorted(positions)
        newest = series["points"][-1]
        return all(newest[name] == row[name] for name in ("rating", "rating_lower", "rank"))

    wait_until(ends, 15, what="the newest point")


def test_without_a_model_the_history_is_of_the_best(voter: CheckedClient, lab: str) -> None:
    board = voter.get(f"/api/board?campaign={lab}").json
    history = voter.get(f"/api/board/history?campaign={lab}").json
    rated = [row["model"] for row in board["rows"] if row["rating"] is not None]
    assert [one["model"] for one in history["series"]] == rated


@pytest.mark.parametrize(
    "path",
    [
        *("/api/board/pairs?campaign=lab&category=nope", "/api/board/history?campaign=lab&model=x"),
        *("/api/board/history?campaign=lab&category=nope", "/api/board/pairs?campaign=nope"),
    ],
)
def test_numbers_that_are_not_there_are_refused(voter: CheckedClient, lab: str, path: str) -> None:
    problem(voter.get(path), 404, "not-found")


# --- the page of pictures -----------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_shows_every_picture_beside_its_numbers(
    voter: CheckedClient, lab: str, lang: str
) -> None:
    page = voter.get(f"/board/figures?campaign={lab}&lang={lang}").get_data(as_text=True)
    for name in NAMES:
        part = section(page, name)
        assert part.count("<svg ") == part.count("<details>") == 1
        assert len(cells(part)) > 1
        assert f"/board/figures/{name}.svg?campaign=lab" in part
        assert f'<a href="#{name}">' in page
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=\"", page)
    assert HOSTILE not in page


def test_the_cells_of_the_drawn_matrix_are_those_of_the_table_and_of_the_api(
    voter: CheckedClient, lab: str
) -> None:
    pairs = voter.get(f"/api/board/pairs?campaign={lab}").json
    page = voter.get(f"/board/figures?campaign={lab}").get_data(as_text=True)
    part = section(page, "observed")
    (svg,) = re.findall(r"<svg .*?</svg>", part, re.S)
    drawn = [
        "".join(text.itertext())
        for group in ElementTree.fromstring(svg).iter(f"{SVG}g")  # noqa: S314  our own picture
        for text in group.iter(f"{SVG}text")
    ]
    rows = cells(part)[1:]
    told = [cell for row in rows for cell in row[1:] if cell != "–"]
    assert [f"{float(cell.removesuffix(' %')):.0f}" for cell in told] == drawn
    names = [row[0].split(" ", 1)[1] for row in rows]
    assert sorted(names) == sorted(MODELS)
    for i, j, *counts in pairs["graded"]:
        first, second = (names.index(pairs["models"][place]) for place in (i, j))
        share = (counts[0] + counts[1] + counts[2] / 2) / sum(counts)
        assert rows[first][1 + second] == f"{100 * share:.1f} %"


def test_the_reader_chooses_how_many_models_the_matrices_show(
    voter: CheckedClient, lab: str
) -> None:
    page = voter.get(f"/board/figures?campaign={lab}&top=3").get_data(as_text=True)
    assert len(cells(section(page, "battles"))) == 1 + 3
    assert "top=3" in section(page, "battles")
    for wrong in ("1", "61", "x", "-3"):
        assert voter.get(f"/board/figures?campaign={lab}&top={wrong}").status_code == 422


def test_a_category_has_pictures_of_its_own_votes(voter: CheckedClient, lab: str) -> None:
    page = voter.get(f"/board/figures?campaign={lab}&category=zh").get_data(as_text=True)
    assert "<svg " in section(page, "predicted")
    assert "<svg " not in section(page, "calibration")
    assert voter.get(f"/board/figures?campaign={lab}&category=nope").status_code == 404


def test_a_board_without_votes_says_so(world: World, voter: CheckedClient) -> None:
    world.add_campaign("bare")
    page = voter.get("/board/figures?campaign=bare")
    assert page.status_code == 200
    assert "Nothing to draw yet" in page.get_data(as_text=True)
    assert voter.get("/board/figures/grades.svg?campaign=bare").status_code == 404


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "form"), FILES)
def test_every_picture_can_be_saved(voter: CheckedClient, lab: str, name: str, form: str) -> None:
    answer = voter.get(f"/board/figures/{name}.{form}?campaign={lab}&lang=en")
    assert answer.status_code == 200
    saved = answer.headers["Content-Disposition"]
    assert saved == f'attachment; filename="arena-lab-{name}.{form}"'
    content = answer.get_data(as_text=True)
    if form == "csv":
        header, *rows = csv.reader(io.StringIO(content))
        assert rows and all(len(row) == len(header) for row in rows)
        assert not any(cell.startswith(("=", "@", "+")) for row in rows for cell in row)
        return
    root = ElementTree.fromstring(content)  # noqa: S314  our own picture
    assert "The lab one" in "".join(root.itertext())
    assert "<style>" in content and "<img" not in content and "<script" not in content
    assert not re.search(r"href|url\(|@import|var\(", content)


def test_a_saved_table_has_the_numbers_in_full(voter: CheckedClient, lab: str) -> None:
    board = voter.get(f"/api/board?campaign={lab}").json
    content = voter.get(f"/board/figures/intervals.csv?campaign={lab}&lang=en")
    rows = list(csv.DictReader(io.StringIO(content.get_data(as_text=True))))
    ratings = [row["rating"] for row in board["rows"] if row["rating"] is not None]
    assert [float(row["Rating"]) for row in rows] == ratings
    assert f"'{HOSTILE}" in {row["Model"] for row in rows}


@pytest.mark.parametrize("file", ["nope.svg", "grades.png", "grades", "../board", ".svg"])
def test_there_are_no_other_files(voter: CheckedClient, lab: str, file: str) -> None:
    assert voter.get(f"/board/figures/{file}?campaign={lab}").status_code == 404


def test_a_picture_of_one_model_can_be_saved(voter: CheckedClient, lab: str) -> None:
    path = f"/board/figures/history.csv?campaign={lab}&model={quote(MODELS[1])}"
    rows = list(csv.DictReader(io.StringIO(voter.get(path).get_data(as_text=True))))
    assert {row["Model"] for row in rows} == {MODELS[1]}
    assert voter.get(f"/board/figures/history.csv?campaign={lab}&model=x").status_code == 404


# --- the page of a model ------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_page_whatever_it_is_called(
    voter: CheckedClient, lab: str, model: str, lang: str
) -> None:
    for campaign in (f"campaign={lab}&", ""):
        answer = voter.get(f"/models/{quote(model)}?{campaign}lang={lang}")
        assert answer.status_code == 200
        page = answer.get_data(as_text=True)
        assert HOSTILE not in page
        board = voter.get(f"/api/board?campaign={lab}").json
        row = next(row for row in board["rows"] if row["model"] == model)
        assert f"<b>{row['rating']:.0f}</b>" in page
        assert "<svg " in section(page, "history")


def test_a_model_page_tells_record_opponents_and_categories(voter: CheckedClient, lab: str) -> None:
    board = voter.get(f"/api/board?campaign={lab}").json
    row = next(row for row in board["rows"] if row["model"] == MODELS[0])
    page = voter.get(f"/models/{quote(MODELS[0])}?campaign={lab}&lang=en").get_data(as_text=True)
    record = [int(cells[2].split()[0]) for cells in cells(section(page, "record"))[1:]]
    assert record == row["grades"]
    opponents = cells(section(page, "opponents"))
    pairs = voter.get(f"/api/board/pairs?campaign={lab}").json
    place = pairs["models"].index(MODELS[0])
    met = {
        pairs["models"][i + j - place]: sum(counts)
        for i, j, *counts in pairs["graded"]
        if place in (i, j)
    }
    told = {row[0]: row[3] for row in opponents if row[0] != "Model"}
    assert {name: int(votes.split()[0]) for name, votes in told.items()} == met
    assert all(("few" in told[name]) == (votes < 10) for name, votes in met.items())
    assert {row[0] for row in cells(section(page, "categories"))[1:]} == {"Chinese", "English"}


def test_a_model_nobody_judged_has_a_page_that_says_so(voter: CheckedClient, lab: str) -> None:
    page = voter.get("/models/m0?campaign=online&lang=en").get_data(as_text=True)
    assert "<h1>Model 0</h1>" in page
    assert "has no rating" in page
    assert "plays since" in page


@pytest.mark.parametrize("path", ["/models/nope", "/models/nope?campaign=lab", "/models/%00"])
def test_an_unknown_model_is_a_page_that_says_so(voter: CheckedClient, lab: str, path: str) -> None:
    answer = voter.get(path)
    assert (answer.status_code, answer.mimetype) == (404, "text/html")


def test_a_model_page_links_the_battles_that_their_voters_share(
    world: World, voter: CheckedClient, lab: str
) -> None:
    with world.pinned("m0", "m1"):
        shared = voter.voted("Why is <b>this</b> shared?")["battle"]
        kept = voter.voted("Why is this not?")["battle"]
    assert voter.post(f"/api/battles/{shared}/share").status_code == 204
    page = world.voter().get("/models/m0?campaign=online").get_data(as_text=True)
    battles = section(page, "battles")
    assert f'href="/battles/{shared}"' in battles and "&lt;b&gt;this&lt;/b&gt;" in battles
    assert kept not in page
    assert voter.delete(f"/api/battles/{shared}").status_code == 204
    assert shared not in world.voter().get("/models/m0?campaign=online").get_data(as_text=True)


# --- who may see it -----------------------------------------------------------------------------


def test_a_private_campaign_has_no_pictures_for_strangers(world: World) -> None:
    world.add_campaign("secret-9e1", public=False)
    rows = [
        a_vote(f"s{n}", campaign="secret-9e1", model_a="hush", model_b="quiet") for n in range(9)
    ]
    world.store.votes.append(rows)
    wait_until(
        lambda: ("secret-9e1", "overall") in world.store.figures.positions(), what="its pairs"
    )
    stranger = world.voter()
    for path in ("/api/board/pairs", "/api/board/history", "/board/figures"):
        assert stranger.get(f"{path}?campaign=secret-9e1").status_code == 404
    for name, form in FILES:
        assert stranger.get(f"/board/figures/{name}.{form}?campaign=secret-9e1").status_code == 404
    for query in ("", "?campaign=secret-9e1", "?campaign=online"):
        assert stranger.get(f"/models/hush{query}").status_code == 404
    for path in ("/board/figures", "/models/m0"):
        assert "secret-9e1" not in stranger.get(path).get_data(as_text=True)


def test_reading_pictures_makes_nobody_a_voter(voter: CheckedClient, lab: str) -> None:
    for path in (
        "/board/figures?campaign=lab",
        "/models/org/name",
        "/api/board/pairs?campaign=lab",
    ):
        assert "Set-Cookie" not in voter.get(path).headers
