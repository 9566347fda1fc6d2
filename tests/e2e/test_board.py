"""The board in a real browser: sorting, filtering, live moves, phones, paper, many models."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from arena.interfaces import ModelEntry
from arena.records import Content, Record
from arena.store import SqlStore, open_store
from tests.e2e.conftest import theatre_at, visitor
from tests.fakes import CAMPAIGN, a_vote
from tests.services import ArenaProcess, wait_until
from tests.upstream import Stage

pytestmark = pytest.mark.browser

SMALL, LARGE = "smallboard", "largeboard"
NAMES = ("Alder", "Birch", "Cedar", "Elm", "Fir")


def votes(campaign: str, pairs: Sequence[tuple[int, int]], first: int = 0) -> list[Any]:
    """Votes of people, the first model of each pair always the better one."""
    rows: list[tuple[Record, Content]] = []
    for number, (winner, loser) in enumerate(pairs, first):
        a, b = f"{campaign}/{winner}", f"{campaign}/{loser}"
        row = a_vote(f"{campaign}-{number}", campaign=campaign, model_a=a, model_b=b)
        rows.append(row)
    return rows


def model(campaign: str, number: int, name: str) -> ModelEntry:
    return ModelEntry(
        f"{campaign}/{number}",
        name,
        base_url="http://nowhere.test",
        model="m",
        organization=("Grove", "Hedge")[number % 2],
        license=("MIT", "Apache-2.0", "proprietary")[number % 3],
        state="retired",
        campaigns=(campaign,),
    )


@pytest.fixture(scope="module")
def theatre(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArenaProcess]:
    with theatre_at(tmp_path_factory.mktemp("board") / "data", stage) as arena:
        yield arena


@pytest.fixture(scope="module")
def store(theatre: ArenaProcess) -> Iterator[SqlStore]:
    """The arena's store with two boards more: five models and four hundred."""
    store = open_store(f"sqlite:///{theatre.data / 'arena.db'}")
    rng = random.Random(5)  # noqa: S311  reproducible votes
    for place, campaign in enumerate((SMALL, LARGE)):
        told = {"id": campaign, "title": campaign.title(), "state": "closed", "position": 10}
        store.campaigns.add(replace(CAMPAIGN, **told, kind="offline", title_zh=f"榜 {place}"))
    few = [(i, j) for i in range(5) for j in range(5) if i < j or (i, j) == (4, 0)]
    many = [tuple(sorted(rng.sample(range(400), 2))) for _ in range(6000)]
    noisy = [(b, a) if rng.random() < 0.3 else (a, b) for a, b in many]
    store.votes.append([*votes(SMALL, few), *votes(LARGE, noisy)])
    ours = [model(SMALL, i, name) for i, name in enumerate(NAMES)]
    ours += [model(LARGE, i, f"Model {i}") for i in range(400)]
    entries = store.roster.current().entries
    store.roster.replace([*entries, *ours], "2026-03-01T00:00:00.000Z")
    yield store
    store.roster.replace(entries, "2026-03-02T00:00:00.000Z")  # the arena is others' too
    store.close()


@pytest.fixture
def board(browser: Browser, theatre: ArenaProcess, store: SqlStore) -> Iterator[Page]:
    """A reader of the board of five models, which stands for all its votes."""
    wait_until(lambda: counted(store, SMALL) >= 11, 20, what="the small board")
    with visitor(browser, theatre.url) as page:
        page.goto(f"/board?campaign={SMALL}")
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        yield page


def counted(store: SqlStore, campaign: str) -> int:
    """Votes that the newest board stands for."""
    snapshot = store.snapshots.latest(campaign, "overall")
    return 0 if snapshot is None else sum(row["votes"] for row in snapshot.rows) // 2


def shown(page: Page) -> list[str]:
    return page.locator("tbody th.name a").all_inner_texts()


def query(page: Page) -> str:
    return page.url.partition("?")[2]


def test_a_head_sorts_and_sorts_the_other_way_and_back_brings_it_back(board: Page) -> None:
    by_rank = shown(board)
    board.get_by_role("link", name="Model", exact=True).click()
    expect(board.locator("th[aria-sort]")).to_have_text("Model")
    assert shown(board) == sorted(NAMES)
    assert "sort=model" in query(board)
    board.get_by_role("link", name="Model", exact=True).press("Enter")
    expect(board.locator("th[aria-sort=descending]")).to_have_text("Model")
    assert shown(board) == sorted(NAMES, reverse=True)
    focused = "document.activeElement.dataset.key"
    assert board.evaluate(focused) == "sort-model"
    board.go_back()
    expect(board.locator("th[aria-sort=ascending]")).to_have_text("Model")
    board.go_back()
    expect(board.locator("th[aria-sort]")).to_have_text("Rank")
    assert shown(board) == by_rank


def test_typing_filters_and_tells_how_many_are_left(board: Page) -> None:
    search = board.get_by_role("searchbox", name="Find a model")
    search.fill("e")
    search.press_sequentially("l")
    expect(board.locator("[data-model]")).to_have_count(1)
    assert shown(board) == ["Elm"]
    expect(search).to_be_focused()
    expect(board.get_by_role("status")).to_have_text("1 of 5 models")
    assert query(board) == f"campaign={SMALL}&q=el"
    board.get_by_role("link", name="Show all").click()
    expect(board.locator("[data-model]")).to_have_count(5)
    expect(search).to_have_value("")


def test_organisation_and_licence_filter_by_keyboard_and_survive_a_reload(board: Page) -> None:
    board.get_by_role("combobox", name="Organisation").select_option("Hedge")
    expect(board.locator("[data-model]")).to_have_count(2)
    board.get_by_role("combobox", name="Licence").select_option("Apache-2.0")
    expect(board.locator("[data-model]")).to_have_count(1)
    board.reload()
    assert shown(board) == ["Birch"]
    expect(board.get_by_role("combobox", name="Organisation")).to_have_value("Hedge")
    board.get_by_role("searchbox").fill("nothing like it")
    expect(board.get_by_text("No model matches.")).to_be_visible()


def test_a_vote_moves_rows_and_keeps_sort_filter_focus_and_place(
    board: Page, store: SqlStore
) -> None:
    board.goto(f"/board?campaign={SMALL}&sort=-rank&organization=Grove")
    expect(board.get_by_text("live", exact=True)).to_be_visible()
    before = shown(board)
    assert set(before) == {"Alder", "Cedar", "Fir"}
    board.get_by_role("link", name="Cedar").focus()
    moved = board.evaluate_handle(
        """() => {
          const seen = { rows: new Set(), slides: 0 };
          const animate = Element.prototype.animate;
          Element.prototype.animate = function (...given) {
            seen.slides += 1;
            return animate.apply(this, given);
          };
          new MutationObserver(() => {
            const changed = document.querySelectorAll("tr.changed");
            changed.forEach((row) => seen.rows.add(row.dataset.model));
          }).observe(document.body, { subtree: true, childList: true, attributeFilter: ["class"] });
          return seen;
        }"""
    )
    want = counted(store, SMALL) + 24
    store.votes.append(votes(SMALL, [(4, i) for i in (0, 1, 2, 3)] * 6, first=1000))
    wait_until(lambda: counted(store, SMALL) >= want, 30, what="the board with the votes")
    expect(board.locator("tbody th.name a").last).to_have_text("Fir", timeout=10_000)
    assert set(shown(board)) == set(before)
    assert query(board) == f"campaign={SMALL}&sort=-rank&organization=Grove"
    assert board.evaluate("document.activeElement.dataset.key") == f"model-{SMALL}/2"
    assert board.evaluate("seen => [...seen.rows].length", moved) == 3
    assert board.evaluate("seen => seen.slides", moved) > 0


def test_many_publications_are_shown_and_told_politely(board: Page, store: SqlStore) -> None:
    board.evaluate(
        """() => {
          window.told = 0;
          new MutationObserver(() => (window.told += 1))
            .observe(document.getElementById("announcement"), { childList: true });
        }"""
    )
    begun, have = time.monotonic(), counted(store, SMALL)
    for turn in range(8):
        store.votes.append(votes(SMALL, [(0, 1)], first=2000 + turn))
        want = have + turn + 1
        wait_until(lambda want=want: counted(store, SMALL) >= want, 30, what="a board")
    last = store.snapshots.latest(SMALL, "overall")
    assert last is not None
    expect(board.get_by_text(f"as of record {last.log_position:,}")).to_be_visible(timeout=10_000)
    fetched = board.evaluate(
        "performance.getEntriesByType('resource').filter((e) => e.name.includes('/board?')).length"
    )
    seconds = time.monotonic() - begun
    assert fetched <= 2 + seconds / 2
    assert board.evaluate("window.told") <= 1 + seconds / 20


def test_a_page_that_is_older_than_what_was_announced_is_asked_for_again(
    board: Page, store: SqlStore
) -> None:
    address = board.url
    expect(board.locator("#board")).to_have_attribute("data-live", "on")
    board.wait_for_timeout(500)  # the look of a new connection is over
    old = board.request.get(address).text()
    board.route(
        "**/board?*", lambda route: route.fulfill(body=old, content_type="text/html"), times=1
    )
    want = counted(store, SMALL) + 1
    store.votes.append(votes(SMALL, [(0, 1)], first=4000))
    wait_until(lambda: counted(store, SMALL) >= want, 30, what="a board with the vote")
    last = store.snapshots.latest(SMALL, "overall")
    assert last is not None
    expect(board.get_by_text(f"as of record {last.log_position:,}")).to_be_visible(timeout=10_000)


def test_with_less_motion_nothing_slides(
    browser: Browser, theatre: ArenaProcess, store: SqlStore
) -> None:
    with visitor(browser, theatre.url, reduced_motion="reduce") as page:
        page.goto(f"/board?campaign={SMALL}")
        page.evaluate(
            "() => { window.slides = 0; Element.prototype.animate = () => (window.slides += 1); }"
        )
        page.get_by_role("link", name="Model", exact=True).click()
        expect(page.locator("th[aria-sort]")).to_have_text("Model")
        assert page.evaluate("window.slides") == 0


def test_a_lost_connection_is_told(browser: Browser, theatre: ArenaProcess) -> None:
    with visitor(browser, theatre.url, allow=["Failed to load resource"]) as page:
        page.goto("/board")
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        events = "**/api/board/events"
        page.route(events, lambda route: route.abort())
        page.reload()
        expect(page.get_by_text("not connected", exact=True).first).to_be_visible()
        page.unroute(events)
        expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=15_000)


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_has_the_picture_of_the_interval_and_no_sideways_scroll(
    browser: Browser, theatre: ArenaProcess, store: SqlStore, width: int
) -> None:
    wait_until(lambda: counted(store, SMALL), 20, what="the small board")
    with visitor(browser, theatre.url, viewport={"width": width, "height": 800}) as page:
        page.goto(f"/board?campaign={SMALL}")
        picture = "tbody svg.interval"
        expect(page.locator(picture).first).to_be_visible()
        box = page.evaluate(f"document.querySelector('{picture}').getBoundingClientRect().toJSON()")
        assert box["width"] > 50 and box["right"] <= width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("combobox", name="Sort by").select_option(label="Sort by: Votes")
        expect(page).to_have_url(re.compile("sort=votes"))


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_board_is_accessible(
    browser: Browser, theatre: ArenaProcess, store: SqlStore, lang: str, scheme: str
) -> None:
    wait_until(lambda: counted(store, SMALL), 20, what="the small board")
    for width in (1280, 390):
        options = {"color_scheme": scheme, "viewport": {"width": width, "height": 860}}
        with visitor(browser, theatre.url, **options) as page:
            page.goto(f"/board?campaign={SMALL}&lang={lang}&sort=-votes")
            page.locator("details.method summary").click()
            expect(page.locator("details.method ul")).to_be_visible()
            findings = Axe().run(page)
            assert findings.violations_count == 0, findings.generate_report()
            assert ("排名" in page.locator("thead").inner_text()) == (lang == "zh")


def test_without_script_the_form_and_the_heads_do_the_same(
    browser: Browser, theatre: ArenaProcess, store: SqlStore
) -> None:
    wait_until(lambda: counted(store, SMALL), 20, what="the small board")
    context = browser.new_context(base_url=theatre.url, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"/board?campaign={SMALL}")
    page.get_by_role("link", name="Model", exact=True).click()
    assert shown(page) == sorted(NAMES)
    page.get_by_role("searchbox").fill("r")
    page.get_by_role("combobox", name="Organisation").select_option("Grove")
    page.get_by_role("button", name="Apply").click()
    assert shown(page) == ["Alder", "Cedar", "Fir"]
    context.close()


def test_on_paper_are_all_rows_and_the_address_and_no_controls(board: Page) -> None:
    board.emulate_media(media="print")
    expect(board.locator("[data-model]").last).to_be_visible()
    expect(board.get_by_text(f"/board?campaign={SMALL}")).to_be_visible()
    expect(board.locator(".facts")).to_contain_text("as of record")
    for control in ("#filter", "header.site", "nav.campaigns", ".connection"):
        expect(board.locator(control)).to_be_hidden()


def test_four_hundred_models_are_shown_and_nothing_shifts(
    browser: Browser, theatre: ArenaProcess, store: SqlStore
) -> None:
    wait_until(lambda: counted(store, LARGE) == 6000, 60, what="the large board")
    with visitor(browser, theatre.url) as page:
        page.goto(f"/board?campaign={LARGE}")
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        expect(page.locator("[data-model]")).to_have_count(400)
        shift = """() => new Promise((resolve) => {
          let sum = 0;
          const add = (list) => list.getEntries().forEach((entry) => (sum += entry.value));
          new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });
          setTimeout(() => resolve(sum), 300);
        })"""
        assert page.evaluate(shift) == 0
