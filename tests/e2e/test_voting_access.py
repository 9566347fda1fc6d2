"""The voting page for everyone: newcomers, keyboards, screen readers, small screens."""

from __future__ import annotations

import threading

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import visitor
from tests.e2e.voting import ask, ask_until_ready, expect_state, vote
from tests.services import ArenaProcess, wait_until
from tests.upstream import Stage

pytestmark = pytest.mark.browser

LONG = "A paragraph of an answer that goes on for a while.\n\n" * 60
CODE = "Look:\n\n```python\nprint('hello')\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"


def expect_clean(page: Page) -> None:
    findings = Axe().run(page)
    assert findings.violations_count == 0, findings.generate_report()


def test_a_newcomer_finishes_a_battle_in_at_most_five_actions(seat: Page, stage: Stage) -> None:
    stage.says("Fine.")
    seat.goto("/")
    actions = [
        lambda: seat.get_by_role("button", name="A polite email").click(),
        lambda: seat.get_by_role("button", name="Ask both").click(),
        lambda: seat.get_by_text("A better", exact=True).click(),
        lambda: seat.get_by_role("button", name="Vote and reveal").click(),
    ]
    assert len(actions) <= 5
    for act in actions:
        act()  # playwright waits for what it clicks, as a person does
    expect(seat.get_by_text("These were the models")).to_be_visible()
    assert set(seat.locator(".face [data-name]").all_inner_texts()) == {
        "The left one",
        "The right one",
    }


def test_a_battle_is_fought_by_keyboard_alone(seat: Page, stage: Stage) -> None:
    stage.says(CODE)
    seat.goto("/")
    expect(seat.locator("#prompt")).to_be_focused()
    seat.keyboard.type("Say hello.")
    expect(seat.locator("#ask [type=submit]")).to_be_enabled()  # the scripts are there
    seat.keyboard.press("Enter")
    expect_state(seat, "ready")
    seat.keyboard.press("Tab")  # the first stop is the way past the answers
    expect(seat.get_by_role("link", name="Skip to the vote")).to_be_focused()
    seat.keyboard.press("Enter")
    seat.keyboard.press("Tab")
    seat.keyboard.press("ArrowRight")
    expect(seat.get_by_role("radio", name="A better")).to_be_checked()
    seat.keyboard.press("ArrowLeft")
    expect(seat.get_by_role("radio", name="A much better")).to_be_checked()
    seat.keyboard.press("Tab")
    expect(seat.locator("#why summary")).to_be_focused()
    seat.keyboard.press("Enter")
    seat.keyboard.press("Tab")
    seat.keyboard.press("Space")
    expect(seat.get_by_role("checkbox", name="correct")).to_be_checked()
    for _ in range(6):
        seat.keyboard.press("Tab")
    expect(seat.get_by_role("textbox", name="Comment")).to_be_focused()
    seat.keyboard.type("Because of it.")
    seat.keyboard.press("Tab")  # skip
    seat.keyboard.press("Tab")
    expect(seat.get_by_role("button", name="Vote and reveal")).to_be_focused()
    seat.keyboard.press("Enter")
    expect_state(seat, "voted")
    expect(seat.locator("#outcome-title")).to_be_focused()
    seat.keyboard.press("Tab")
    expect(seat.get_by_role("button", name="Same prompt again")).to_be_focused()


def test_one_key_chooses_and_enter_votes(seat: Page, stage: Stage) -> None:
    stage.says("Fine.")
    ask_until_ready(seat)
    seat.keyboard.press("5")
    expect(seat.get_by_role("radio", name="B much better")).to_be_checked()
    expect_state(seat, "ready")  # chosen is not yet voted
    seat.keyboard.press("Enter")
    expect_state(seat, "voted")


def test_single_keys_can_be_switched_off_and_stay_off(seat: Page, stage: Stage) -> None:
    stage.says("Fine.")
    ask_until_ready(seat)
    seat.get_by_role("checkbox", name="Keys 1 to 5").uncheck()
    seat.locator("main").focus()
    seat.keyboard.press("2")
    expect(seat.get_by_role("radio", checked=True)).to_have_count(0)
    assert seat.locator("[aria-keyshortcuts]").count() == 0
    seat.reload()
    expect_state(seat, "ready")
    expect(seat.get_by_role("checkbox", name="Keys 1 to 5")).not_to_be_checked()
    seat.keyboard.press("2")
    expect(seat.get_by_role("radio", checked=True)).to_have_count(0)


def test_a_comment_may_hold_digits(seat: Page, stage: Stage) -> None:
    stage.says("Fine.")
    ask_until_ready(seat)
    seat.keyboard.press("4")
    seat.get_by_text("Say why").click()
    seat.get_by_role("textbox", name="Comment").fill("")
    seat.keyboard.type("1 of 5")
    expect(seat.get_by_role("textbox", name="Comment")).to_have_value("1 of 5")
    expect(seat.get_by_role("radio", name="B better")).to_be_checked()


def test_a_stream_is_announced_at_its_begin_and_end_only(seat: Page, stage: Stage) -> None:
    stage.says(LONG, pieces=60, pause=0.03)
    seat.add_init_script(
        """
        window.announced = [];
        addEventListener("DOMContentLoaded", () => {
          const live = "[role=status], [role=alert], [aria-live]:not([aria-live=off])";
          for (const region of document.querySelectorAll(live)) {
            new MutationObserver(() => {
              const text = region.textContent.trim();
              if (text) window.announced.push(text);
            }).observe(region, {childList: true, characterData: true, subtree: true});
          }
        });
        """
    )
    ask(seat)
    expect_state(seat, "ready")
    assert seat.evaluate("announced") == [
        "Waiting for both models…",
        "Both answers are complete. You can vote now.",
    ]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state(
    browser: Browser, theatre: ArenaProcess, stage: Stage, language: str, scheme: str
) -> None:
    with visitor(browser, theatre.url, color_scheme=scheme) as page:
        page.goto(f"/?lang={language}")
        expect_clean(page)
        gate = threading.Event()
        stage.says(CODE, pieces=8, gate=gate, gate_at=6)
        ask(page)
        expect_state(page, "streaming")
        expect_clean(page)
        gate.set()
        expect_state(page, "ready")
        page.keyboard.press("3")
        page.locator("#why summary").click()
        page.locator("#boxed").check()
        expect_clean(page)
        page.locator("[data-tool=report]").first.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        expect_clean(page)
        page.keyboard.press("Escape")
        page.locator("#confirm").click()
        expect_state(page, "voted")
        expect_clean(page)
        stage.says("Never.", breaks=True)
        page.locator("[data-dock=voted] [data-again]").click()
        expect_state(page, "void")
        expect_clean(page)


def test_the_reader_stays_where_they_are_while_long_answers_grow(seat: Page, stage: Stage) -> None:
    stage.says(LONG, pieces=30)
    ask_until_ready(seat)
    wait_until(lambda: seat.evaluate("document.documentElement.scrollHeight") > 2000)
    assert seat.evaluate("scrollY") == 0
    expect(seat.locator("header.site")).to_be_in_viewport(ratio=1)


def test_a_reader_at_the_end_follows_the_text_until_they_scroll_up(
    seat: Page, stage: Stage
) -> None:
    gate = threading.Event()
    stage.says(LONG, pieces=30, gate=gate, gate_at=15)
    ask(seat)
    height = "document.documentElement.scrollHeight"
    wait_until(lambda: seat.evaluate(height) > 1200)
    seat.keyboard.press("End")
    seat.wait_for_timeout(300)
    gate.set()
    expect_state(seat, "ready")
    wait_until(lambda: seat.evaluate(f"{height} - scrollY - innerHeight") < 2)
    seat.mouse.wheel(0, -400)
    seat.wait_for_timeout(300)
    assert seat.evaluate(f"{height} - scrollY - innerHeight") > 300


@pytest.mark.parametrize(("width", "height"), [(320, 568), (390, 844)])
def test_nothing_is_wider_than_a_phone_and_the_answers_stay_in_view(
    browser: Browser, theatre: ArenaProcess, stage: Stage, width: int, height: int
) -> None:
    stage.says(CODE + LONG)
    viewport = {"width": width, "height": height}
    with visitor(browser, theatre.url, viewport=viewport, has_touch=True) as page:
        ask_until_ready(page)
        page.get_by_text("A better", exact=True).tap()
        page.get_by_text("Say why").tap()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        dock = page.locator("#dock").bounding_box()
        assert dock is not None
        assert dock["height"] <= 0.7 * height + 1
        expect(page.get_by_role("button", name="Vote and reveal")).to_be_in_viewport(ratio=1)
        vote(page)
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_nothing_moves_for_those_who_want_it_so(
    browser: Browser, theatre: ArenaProcess, stage: Stage
) -> None:
    gate = threading.Event()
    stage.says("Fine.", gate=gate)
    with visitor(browser, theatre.url, reduced_motion="reduce") as page:
        ask(page)
        expect_state(page, "waiting")
        assert page.evaluate("document.getAnimations().length") == 0
        gate.set()
        expect_state(page, "ready")
