"""Pictures and model pages in a real browser: saved as PNG, read point by point, without script."""

from __future__ import annotations

import csv
import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import theatre_at, visitor
from tests.services import ROOT, ArenaProcess, wait_until
from tests.upstream import Stage

pytestmark = pytest.mark.browser

MODELS = ("org/name", "通义 千问", '<img src=x onerror="alert(1)">', "=SUM(A1)", "plain")
FIGURES = "/board/figures?campaign=pictures"
MODEL = f"/models/{quote(MODELS[0])}?campaign=pictures"


def boards(arena: ArenaProcess) -> int:
    """How many boards the history has."""
    try:
        with urlopen(f"{arena.url}/api/board/history?campaign=pictures") as answer:  # noqa: S310
            return int(answer.read().count(b'"log_position"')) // len(MODELS)
    except HTTPError:  # the campaign is not there yet
        return 0


@pytest.fixture(scope="module")
def theatre(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArenaProcess]:
    with theatre_at(tmp_path_factory.mktemp("figures") / "data", stage) as arena:
        yield arena


@pytest.fixture(scope="module", autouse=True)
def pictures(theatre: ArenaProcess, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A campaign with two boards of imported votes."""
    dice = random.Random(7)  # noqa: S311  reproducible votes
    for number in (1, 2):
        path: Path = tmp_path_factory.mktemp("votes") / f"votes-{number}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["model_a", "model_b", "grade", "language"])
            for _ in range(150):
                pair = dice.sample(MODELS, 2)
                grade = dice.choice([2, 1, 0, -1] if MODELS.index(pair[0]) < 2 else [1, 0, -2])
                writer.writerow([*pair, grade, dice.choice(["en", "zh"])])
        subprocess.run(
            [sys.executable, "-m", "arena.cli", "import", str(path), "--campaign", "pictures"],
            env={**os.environ, "ARENA_DATA": str(theatre.data), "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        )
        wait_until(lambda n=number: boards(theatre) >= n, 30, what="the boards")


def test_a_picture_is_saved_as_a_real_png(seat: Page) -> None:
    seat.goto(FIGURES)
    for name in ("intervals", "predicted"):
        button = seat.locator(f"section[aria-labelledby={name}]").get_by_role("button", name="PNG")
        with seat.expect_download() as saving:
            button.click()
        assert saving.value.suggested_filename == f"arena-pictures-{name}.png"
        content = Path(saving.value.path()).read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")
        width, height = struct.unpack(">II", content[16:24])
        svg = seat.locator(f"[data-figure={name}] > svg")
        assert width == 2 * float(svg.get_attribute("width") or 0)
        assert height > 2 * float(svg.get_attribute("height") or 0)  # it has a heading too
        assert len(content) > 5_000  # something is drawn


def test_a_history_becomes_a_chart_that_takes_no_more_room_and_tells_its_values(
    seat: Page,
) -> None:
    seat.goto(MODEL)
    box = seat.locator("[data-history]")
    before = box.bounding_box()
    box.scroll_into_view_if_needed()
    expect(box.locator("canvas")).to_be_visible()
    expect(box.locator("> svg")).to_be_hidden()
    after = box.bounding_box()
    assert before is not None and after is not None
    assert after["height"] == pytest.approx(before["height"], abs=1)
    drawn = box.locator("canvas").evaluate(
        "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    )
    assert drawn > 10  # lines, bands and words have colours
    box.locator(".u-over").hover()
    expect(box.locator(".u-legend")).to_contain_text(MODELS[0])
    expect(box.locator(".u-legend .u-value").nth(1)).to_contain_text(
        seat.locator("dl.facts b").nth(1).inner_text()[:2]
    )


def test_without_script_every_picture_stands_beside_its_numbers(
    browser: Browser, theatre: ArenaProcess
) -> None:
    with visitor(browser, theatre.url, java_script_enabled=False) as page:
        page.goto(FIGURES)
        expect(page.locator(".figure > .canvas > svg")).to_have_count(7)
        expect(page.get_by_role("button", name="PNG")).to_have_count(0)
        page.locator("section[aria-labelledby=history] summary").click()
        expect(page.locator("section[aria-labelledby=history] tbody tr").first).to_be_visible()
        page.goto(MODEL)
        expect(page.locator("[data-history] > svg")).to_be_visible()


def test_a_hostile_name_is_only_a_name(seat: Page) -> None:
    seat.goto(f"/models/{quote(MODELS[2])}?campaign=pictures")
    expect(seat.get_by_role("heading", level=1)).to_have_text(MODELS[2])
    seat.goto(FIGURES)
    expect(seat.locator("main img")).to_have_count(0)


def test_the_numbers_and_wide_pictures_are_reached_by_keyboard(seat: Page) -> None:
    seat.set_viewport_size({"width": 390, "height": 844})
    seat.goto(FIGURES)
    box = seat.locator("[data-figure=intervals]")
    box.focus()
    seat.keyboard.press("ArrowRight")
    wait_until(lambda: box.evaluate("box => box.scrollLeft") > 0, what="the box to scroll")
    summary = seat.locator("section[aria-labelledby=intervals] summary")
    summary.focus()
    seat.keyboard.press("Enter")
    expect(seat.locator("section[aria-labelledby=intervals] table")).to_be_visible()


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("path", [FIGURES, MODEL])
def test_a_page_never_scrolls_sideways(seat: Page, path: str, width: int) -> None:
    seat.set_viewport_size({"width": width, "height": 800})
    seat.goto(path)
    assert seat.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("path", [FIGURES, MODEL])
def test_the_pages_are_accessible(
    browser: Browser, theatre: ArenaProcess, path: str, lang: str, scheme: str
) -> None:
    with visitor(browser, theatre.url, color_scheme=scheme) as page:
        page.goto(f"{path}&lang={lang}")
        page.locator("[data-history]").scroll_into_view_if_needed()
        expect(page.locator("[data-history] canvas")).to_be_visible()
        for summary in page.locator("summary").all():
            summary.click()
        findings = Axe().run(page)
        assert findings.violations_count == 0, findings.generate_report()
