"""Sealed and past boards in a real browser: zh and en, phones, paper, the dark, no script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from arena.sealing import Sealings
from arena.store import SqlStore, open_store
from tests.e2e.conftest import ADMIN_TOKEN, visitor
from tests.e2e.test_board import model, votes
from tests.fakes import CAMPAIGN
from tests.services import ArenaProcess, wait_until

pytestmark = pytest.mark.browser

SPRING = "springround"
NAMES = ("Alder", "Birch", "Cedar", "Elm", "Fir")
STATEMENT = "The spring round of 2026 ended on 1 May; the prize goes by this board."
STATEMENT_ZH = "2026 年春季赛于 5 月 1 日结束，奖项以本榜为准。"
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def store(theatre: ArenaProcess) -> Iterator[SqlStore]:
    """The arena's store with one campaign more, of five models, closed."""
    store = open_store(f"sqlite:///{theatre.data / 'arena.db'}")
    told = {"id": SPRING, "title": "Spring round", "title_zh": "春季赛", "state": "closed"}
    store.campaigns.add(replace(CAMPAIGN, **told, kind="offline", position=20))
    entries = store.roster.current().entries
    ours = [model(SPRING, i, name) for i, name in enumerate(NAMES)]
    store.roster.replace([*entries, *ours], "2026-03-01T00:00:00.000Z")
    few = [(i, j) for i in range(5) for j in range(5) if i < j or (i, j) == (4, 0)]
    store.votes.append(votes(SPRING, few))
    yield store
    store.roster.replace(entries, "2026-03-02T00:00:00.000Z")
    store.close()


@pytest.fixture(scope="module")
def address(store: SqlStore) -> str:
    """Where the campaign's sealed board is; three votes came later."""
    campaign = store.campaigns.get(SPRING)
    assert campaign is not None
    record = Sealings(store).seal(campaign, STATEMENT, STATEMENT_ZH)
    store.votes.append(votes(SPRING, [(4, 0), (4, 1), (4, 2)], first=100))

    def made() -> int | None:
        boards = store.sealed.until([SPRING], 10**9)
        return next((one.log_position for one in boards if one.sealing == record.id), None)

    position = wait_until(made, 20, what="the sealed board")
    wait_until(lambda: store.votes.unsealed() == 0, 10, what="the later votes")
    return f"/sealed/{SPRING}/{position}"


def expect_accessible(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def expect_no_sideways(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize(
    ("locale", "title", "statement"),
    [
        ("en-GB", "Sealed board: Spring round", STATEMENT),
        ("zh-CN", "封榜：春季赛", STATEMENT_ZH),
    ],
)
def test_a_sealed_board_reads_well_on_any_screen(
    browser: Browser,
    theatre: ArenaProcess,
    address: str,
    *,
    locale: str,
    title: str,
    statement: str,
) -> None:
    with visitor(browser, theatre.url, locale=locale) as page:
        page.goto(address)
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        expect(page.locator("blockquote")).to_have_text(statement)
        assert page.locator("tbody th.name a").all_inner_texts() == list(NAMES)
        expect_no_sideways(page)
        expect_accessible(page)
        page.set_viewport_size(PHONE)
        page.emulate_media(color_scheme="dark")
        page.reload()  # the colours of rows would fade over
        expect_no_sideways(page)
        expect_accessible(page)


def test_without_a_script_everything_of_it_is_there(
    browser: Browser, theatre: ArenaProcess, address: str
) -> None:
    with visitor(browser, theatre.url, java_script_enabled=False) as page:
        page.goto(address)
        expect(page.locator(".interval circle")).to_have_count(len(NAMES))
        expect(page.get_by_text("The same as in the log.")).to_be_visible()
        expect(page.get_by_text("Votes that came later: 3.")).to_be_visible()
        page.get_by_role("link", name="Model", exact=True).click()
        expect(page.locator("th[aria-sort]")).to_have_text("Model")
        assert page.url.endswith(f"{address}?sort=model")


def test_paper_has_its_statement_digest_and_address(
    browser: Browser, theatre: ArenaProcess, address: str
) -> None:
    with visitor(browser, theatre.url) as page:
        page.goto(address)
        page.emulate_media(media="print")
        for text in (STATEMENT, f"{theatre.url}{address}"):
            expect(page.get_by_text(text, exact=True)).to_be_visible()
        digest = page.locator("dd code").first.inner_text()
        assert re.fullmatch("[0-9a-f]{64}", digest)
        expect(page.get_by_role("link", name="Picture (SVG)")).to_be_hidden()


def test_the_board_leads_to_the_sealed_and_to_the_past_ones(
    browser: Browser, theatre: ArenaProcess, address: str
) -> None:
    with visitor(browser, theatre.url) as page:
        page.goto(f"/board?campaign={SPRING}")
        page.get_by_role("link", name="See the sealed board").click()
        expect(page.locator("blockquote")).to_have_text(STATEMENT)
        page.get_by_role("link", name="← The current board").click()
        page.get_by_role("link", name="Earlier boards").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Earlier boards")
        expect_accessible(page)
        page.locator("tbody a").first.click()
        expect(page.get_by_text("A past board: as of")).to_be_visible()
        expect(page.get_by_text("live", exact=True)).to_have_count(0)
        page.get_by_role("link", name="Model", exact=True).click()
        expect(page.locator("th[aria-sort]")).to_have_text("Model")
        expect(page.get_by_text("A past board: as of")).to_be_visible()
        expect_accessible(page)
        page.get_by_role("link", name="The newest board").click()
        expect(page.get_by_text("live", exact=True)).to_be_visible()


def test_a_past_board_fits_a_phone(
    browser: Browser, theatre: ArenaProcess, store: SqlStore
) -> None:
    board = wait_until(lambda: store.snapshots.history([SPRING], 1, "overall"), 20, what="a board")
    with visitor(browser, theatre.url, locale="zh-CN", viewport=PHONE) as page:
        page.goto(f"/board?snapshot={board[0]['id']}")
        expect(page.get_by_text("历史榜单：")).to_be_visible()
        expect_no_sideways(page)
        expect_accessible(page)
        page.goto(f"/board/past?campaign={SPRING}")
        expect_no_sideways(page)


def test_an_operator_seals_only_after_the_box_is_ticked(
    browser: Browser, theatre: ArenaProcess, store: SqlStore
) -> None:
    with visitor(browser, theatre.url, viewport=PHONE) as page:
        page.goto(f"/admin/campaigns/{SPRING}")
        page.get_by_label("Token").fill(ADMIN_TOKEN)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("button", name="Seal it")).to_be_visible()
        expect_accessible(page)
        expect_no_sideways(page)
        before = len(store.sealed.records([SPRING]))
        page.get_by_label("Statement English").fill("Sealed once more.")
        page.get_by_role("button", name="Seal it").click()  # the browser asks for the tick
        expect(page).to_have_url(re.compile(rf"/campaigns/{SPRING}$"))
        assert len(store.sealed.records([SPRING])) == before
        page.get_by_label("I know that this cannot be undone.").check()
        page.get_by_role("button", name="Seal it").click()
        expect(page.get_by_text("Sealed. The address")).to_be_visible()
        assert len(store.sealed.records([SPRING])) > before
