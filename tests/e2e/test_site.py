"""What every page owes its reader: both languages, both themes, any width, the keyboard."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from scripts.check_pages import ADMIN_PAGES, LANGUAGES, LOOK, check, faults
from tests.e2e.conftest import ADMIN_TOKEN, visitor
from tests.services import ArenaProcess, wait_until
from tests.upstream import Stage

pytestmark = pytest.mark.browser

PAGES = (
    *("/", "/board", "/board/figures", "/models/left", "/mine", "/log", "/log/receipt"),
    *("/about", "/api/docs"),
    *("/events", "/no-such-page", "/admin"),
)
NAV = ("Battle", "Board", "My battles", "Log", "About")
SAME_IN_EVERY_LANGUAGE = re.compile(
    r"\b(Arena|English|Stage|The (left|right) one|left|right|AB?|B|JSONL?|CSV|API|SVG|PNG|UTC|"
    r"Parquet|PARQUET|CC BY|Bradley-Terry|Davidson|Rao-Kupper|Elo|Cookie|JavaScript|Apache|RFC|"
    r"Python|Atom)\b"
)
NOT_PROSE = "code, pre, kbd, math, script, style, noscript, [aria-hidden=true], .visually-hidden"


@pytest.fixture(scope="module", autouse=True)
def settled(theatre: ArenaProcess) -> None:
    """What earlier tests left is counted: no news moves a board while it is looked at."""

    def is_quiet() -> bool:
        before = httpx.get(f"{theatre.url}/board").text
        time.sleep(2)
        return httpx.get(f"{theatre.url}/board").text == before

    wait_until(is_quiet, 30, what="a board without news")


@pytest.fixture
def operator(browser: Browser, theatre: ArenaProcess) -> Iterator[BrowserContext]:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    context = browser.new_context(base_url=theatre.url, extra_http_headers=headers)
    yield context
    context.close()


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("path", PAGES)
def test_a_page_passes_every_check(
    browser: Browser, theatre: ArenaProcess, path: str, lang: str
) -> None:
    context = browser.new_context(base_url=theatre.url)
    assert check(context, theatre.url, path, lang).problems == []
    context.close()


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("path", ADMIN_PAGES)
def test_a_page_of_the_operator_passes_every_check(
    operator: BrowserContext, theatre: ArenaProcess, path: str, lang: str
) -> None:
    assert check(operator, theatre.url, path, lang).problems == []


def test_the_checks_find_what_is_wrong(browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_content(
        "<title></title><main></main><h1>a</h1><h3>b</h3><h1>c</h1><a href='#'></a><svg></svg>"
        "<button aria-label='x' style='width:9px;height:9px;padding:0'></button><button>y</button>"
    )
    outline = page.evaluate(f"{LOOK}.outline()")
    found = " ".join(faults(outline, "en"))
    for word in ("lang", "title", "description", "viewport", "skipLink", "banner", "navigation"):
        assert f"{word}: " in found
    assert "2 headings of level 1" in found
    assert "level 3 follows one of level 1" in found
    assert found.count("no name") == 2
    assert "is 9 × 9 px" in page.evaluate(f"{LOOK}.smallTargets(24)")[0]
    page.close()


def prose(page: Page, without: str) -> str:
    """What a reader sees, apart from code, fields, and parts marked as of another language."""
    return str(
        page.evaluate(
            """(without) => {
              const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
              const texts = [];
              while (walk.nextNode()) {
                const { data, parentElement } = walk.currentNode;
                if (!parentElement.closest(without) && parentElement.checkVisibility())
                  texts.push(data);
              }
              return texts.join(" ");
            }""",
            f"{NOT_PROSE}, {without}",
        )
    )


@pytest.mark.parametrize("path", PAGES)
def test_a_chinese_page_has_no_english_word_on_it(
    browser: Browser, theatre: ArenaProcess, path: str
) -> None:
    with visitor(browser, theatre.url, allow=["Failed to load resource"]) as page:
        page.goto(f"{path}?lang=zh")
        page.wait_for_timeout(300)
        words = re.findall(
            r"[A-Za-z][A-Za-z-]+", SAME_IN_EVERY_LANGUAGE.sub(" ", prose(page, "[lang=en]"))
        )
    assert words == []


@pytest.mark.parametrize("path", PAGES)
def test_an_english_page_has_no_chinese_word_on_it(
    browser: Browser, theatre: ArenaProcess, path: str
) -> None:
    with visitor(browser, theatre.url, allow=["Failed to load resource"]) as page:
        page.goto(f"{path}?lang=en")
        page.wait_for_timeout(300)
        text = prose(page, "[lang^=zh]")
    assert re.findall(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]+", text) == []


def test_the_way_through_the_header_by_keyboard(seat: Page) -> None:
    seat.goto("/about")
    order = []
    for _ in range(9):
        seat.keyboard.press("Tab")
        focused = seat.locator(":focus")
        order.append(focused.get_attribute("aria-label") or focused.inner_text().strip())
        assert focused.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    assert order == ["Skip to content", "Arena", *NAV, "中文", "Light or dark"]


def test_the_skip_link_leads_to_the_content(seat: Page) -> None:
    seat.goto("/log")
    seat.keyboard.press("Tab")
    expect(seat.get_by_role("link", name="Skip to content")).to_be_in_viewport()
    seat.keyboard.press("Enter")
    expect(seat.locator("main")).to_be_focused()
    seat.keyboard.press("Tab")
    assert seat.locator("main :focus").count() == 1


def test_the_chosen_theme_and_language_stay(seat: Page) -> None:
    seat.goto("/board?category=overall")
    seat.get_by_role("button", name="Light or dark").click()
    expect(seat.locator("html")).to_have_attribute("data-theme", "dark")
    seat.get_by_role("link", name="中文").click()
    expect(seat).to_have_url(re.compile("category=overall"))
    seat.get_by_role("link", name="关于").click()
    expect(seat.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(seat.locator("html")).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize(
    ("lang", "words"), [("en", "There is nothing here"), ("zh", "这里什么也没有")]
)
def test_a_missing_page_says_so_in_the_readers_language_and_leads_on(
    browser: Browser, theatre: ArenaProcess, lang: str, words: str
) -> None:
    with visitor(browser, theatre.url, allow=["Failed to load resource"]) as page:
        page.goto(f"/no-such-page?lang={lang}")
        expect(page.get_by_role("heading", name=words)).to_be_visible()
        page.locator("main a").first.click()
        expect(page.locator("#prompt")).to_be_visible()


def test_pages_to_read_need_no_script(browser: Browser, theatre: ArenaProcess) -> None:
    context = browser.new_context(base_url=theatre.url, java_script_enabled=False)
    page = context.new_page()
    for path in (
        "/board",
        "/board/figures",
        "/models/left",
        "/mine",
        "/log",
        "/about",
        "/api/docs",
    ):
        page.goto(path)
        assert page.locator("h1").count() == 1, path
        assert len(page.locator("main").inner_text()) > 100, path
    context.close()


def test_the_board_on_paper_has_no_navigation(seat: Page) -> None:
    seat.goto("/board")
    seat.emulate_media(media="print", color_scheme="dark")
    expect(seat.locator("h1")).to_be_visible()
    expect(seat.locator("header nav")).to_be_hidden()
    background = seat.locator("body").evaluate("node => getComputedStyle(node).backgroundColor")
    assert background == "rgb(255, 255, 255)"


def test_an_operator_invites_and_a_guest_plays_in_a_private_campaign(
    browser: Browser, theatre: ArenaProcess, stage: Stage, operator: BrowserContext
) -> None:
    desk = operator.new_page()
    desk.goto("/admin/campaigns")
    desk.get_by_role("link", name="New campaign").click()
    desk.get_by_label("Id", exact=True).fill("class")
    desk.get_by_label("Title English").fill("Our class")
    desk.get_by_label("For invited people only").check()
    desk.get_by_role("button", name="Create and open").click()
    desk.get_by_label("Note").fill("for the class")
    desk.get_by_role("button", name="Make a link").click()
    link = desk.get_by_label("The invitation's link").input_value()

    stage.says("Welcome to the class.")
    with visitor(browser, theatre.url, allow=["Failed to load resource"]) as page:
        page.goto("/?campaign=class")
        expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()
        page.goto(link)
        expect(page).to_have_url(f"{theatre.url}/?campaign=class")
        expect(page.get_by_label("Campaign")).to_contain_text("Our class (private)")
        page.get_by_role("textbox").first.fill("Hello?")
        expect(page.locator("#ask [type=submit]")).to_be_enabled()  # the scripts are there
        page.keyboard.press("Enter")
        expect(page.get_by_role("radio", name="Tie")).to_be_enabled(timeout=20_000)
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        expect(page.locator("[data-copy-link]")).to_be_visible()
        expect(page.locator("[data-share]")).to_be_hidden()  # the server would refuse it

        desk.goto("/admin/campaigns/class")
        desk.get_by_role("button", name="Revoke").click()
        expect(desk.get_by_text("Revoked", exact=True)).to_be_visible()
        page.goto("/board?campaign=class")
        expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()
