"""My battles, deleting and sharing, in a real browser."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import ADMIN_TOKEN, visitor
from tests.services import ArenaProcess, wait_until
from tests.upstream import Stage

pytestmark = pytest.mark.browser

ANSWER = "Here is **one way**:\n\n```python\nprint(1)\n```\n\n<img src=x onerror=alert(1)>"


def battle(page: Page, prompt: str) -> str:
    """Ask, and wait for the answers; the battle's address."""
    page.goto("/")
    page.get_by_role("textbox").first.fill(prompt)
    expect(page.locator("#ask [type=submit]")).to_be_enabled()  # the scripts are there
    page.keyboard.press("Enter")
    expect(page.get_by_role("radio", name="Tie")).to_be_enabled(timeout=20_000)
    return page.url


def vote(page: Page, key: str = "2") -> None:
    page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(page.locator("#outcome-title")).to_be_visible()


def check(page: Page) -> None:
    """Nothing for axe to find, and nothing to scroll to sideways."""
    findings = Axe().run(page)
    assert findings.violations_count == 0, findings.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_voter_finds_a_battle_again_and_deletes_it_by_keyboard(seat: Page, stage: Stage) -> None:
    stage.says(ANSWER)
    battle(seat, "A question to delete")
    vote(seat)
    battle(seat, "A question to keep")
    seat.get_by_role("link", name="My battles").click()
    expect(seat.locator(".own > li")).to_have_count(2)
    expect(seat.locator(".own > li").first).to_contain_text("Waiting for your vote")
    expect(seat.locator(".own > li").last).to_contain_text("A better")
    check(seat)

    button = seat.get_by_role("button", name="A question to delete")
    button.focus()
    seat.keyboard.press("Enter")
    dialog = seat.get_by_role("dialog", name="Delete this battle?")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("button", name="Keep")).to_be_focused()
    check(seat)
    seat.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    seat.keyboard.press("Enter")
    seat.keyboard.press("Tab")
    seat.keyboard.press("Enter")
    expect(seat.get_by_role("status")).to_be_focused()
    expect(seat.locator(".own > li")).to_have_count(1)
    check(seat)


@pytest.mark.parametrize(
    "options",
    [
        {"viewport": {"width": 320, "height": 640}},
        {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
        {"locale": "zh-CN"},
    ],
    ids=["320", "dark", "zh"],
)
def test_the_list_is_accessible(
    browser: Browser, theatre: ArenaProcess, stage: Stage, options: dict[str, object]
) -> None:
    stage.says("Fine.")
    with visitor(browser, theatre.url) as first:
        battle(first, "What is this?" * 20)
        vote(first)
        state = first.context.storage_state()
    with visitor(browser, theatre.url, storage_state=state, **options) as page:
        page.goto("/mine")
        expect(page.locator(".own > li")).to_have_count(1)
        check(page)


def test_deleting_everything_makes_the_browser_a_stranger(seat: Page, stage: Stage) -> None:
    stage.says("Fine.")
    address = battle(seat, "Forget me")
    vote(seat)
    battle(seat, "And me")
    seat.keyboard.press("2")
    assert seat.evaluate("sessionStorage.length") == 1, "the vote that is not sent yet"
    seat.goto("/mine")
    seat.get_by_role("button", name="Delete everything").click()
    dialog = seat.get_by_role("dialog", name="Delete everything of yours?")
    dialog.get_by_role("button", name="Delete everything").click()
    expect(seat.get_by_role("status")).to_contain_text("stranger")
    expect(seat.get_by_text("No battles are listed")).to_be_visible()
    # not `wait_for_function`: when it asks again, it is by an eval that the page forbids
    wait_until(lambda: seat.evaluate("sessionStorage.length") == 0, what="that vote forgotten")
    assert [c for c in seat.context.cookies() if c.get("name") == "arena_voter"] == []
    answer = seat.request.get(address.replace("/battles/", "/api/battles/"))
    assert answer.status == 404


def test_the_list_works_without_script(browser: Browser, seat: Page, stage: Stage) -> None:
    stage.says("Fine.")
    battle(seat, "No script needed")
    state = seat.context.storage_state()
    context = browser.new_context(
        base_url=seat.url.split("/battles")[0], storage_state=state, java_script_enabled=False
    )
    page = context.new_page()
    page.goto("/mine")
    page.get_by_role("button", name="No script needed").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Deleted. The text is gone for good.")).to_be_visible()
    expect(page.get_by_text("No battles are listed")).to_be_visible()
    context.close()


def test_a_shared_battle_is_shown_to_a_stranger_as_it_was(
    seat: Page, browser: Browser, theatre: ArenaProcess, stage: Stage
) -> None:
    stage.says(ANSWER)
    address = battle(seat, "Shall we share?")
    vote(seat, "1")
    shown = seat.locator("[data-answer]").first
    expect(shown.locator(".hljs-title, .hljs-built_in, .hljs-number").first).to_be_attached()
    own = shown.inner_html()
    seat.get_by_role("button", name=re.compile("^Share")).click()
    expect(seat.get_by_role("button", name=re.compile("sharing"))).to_be_visible()
    with visitor(browser, theatre.url) as stranger:
        stranger.goto(address)
        answer = stranger.locator("[data-answer]").first
        expect(answer.locator("strong")).to_have_text("one way")
        expect(answer.locator(".hljs-title, .hljs-built_in, .hljs-number").first).to_be_attached()
        assert answer.inner_html() == own
        code = answer.locator("[data-copy-code]")
        before = code.inner_text()
        code.click()
        expect(stranger.get_by_role("status")).to_have_text(re.compile("^(Copied|Not copied)"))
        expect(code).to_have_text(before)  # it says so for a moment only
        expect(stranger.get_by_text("A much better")).to_be_visible()
        expect(stranger.locator("h3").first).to_contain_text("one")
        check(stranger)
        seat.goto("/mine")
        seat.get_by_role("button", name="Stop sharing").click()
        expect(seat.get_by_text("The battle is no longer shared.")).to_be_visible()
        assert stranger.request.get(address.replace("/battles/", "/api/battles/")).status == 404


def test_an_operator_takes_a_reported_battle_down(
    seat: Page, browser: Browser, theatre: ArenaProcess, stage: Stage
) -> None:
    stage.says(ANSWER)
    address = battle(seat, "A reported question")
    path = address.replace("/battles/", "/api/battles/")
    seat.request.post(f"{path}/report", data={"reason": "It insults.", "side": "b"})
    with visitor(browser, theatre.url) as operator:
        operator.goto("/admin/moderation")
        operator.get_by_label("Operator's token").fill(ADMIN_TOKEN)
        operator.keyboard.press("Enter")
        operator.get_by_role("link", name="Moderation").click()
        case = operator.locator(".case", has_text="A reported question")
        expect(case).to_contain_text("About answer B.")
        expect(case.locator("img")).to_have_count(0)
        check(operator)
        case.locator("summary", has_text="Take down").click()
        case.get_by_role("button", name="Take down the text").click()
        expect(operator.get_by_role("status")).to_contain_text("erased")
        expect(operator.get_by_text("A reported question")).to_have_count(0)
        check(operator)
    assert seat.request.get(path).status == 410
