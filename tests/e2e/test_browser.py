"""What a voter does, in a real browser, against the real arena with real models."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from tests.services import ArenaProcess, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.demo_model]

ANSWER_MS = 90_000


def ask(page: Page, prompt: str) -> None:
    page.goto("/")
    page.get_by_role("textbox").fill(prompt)
    expect(page.locator("#ask [type=submit]")).to_be_enabled()  # the scripts are there
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/battles/[\w-]{8,}"))


def answers(page: Page) -> list[str]:
    return page.locator("[data-answer]").all_inner_texts()


def scale(page: Page) -> Locator:
    return page.get_by_role("radio", name="Tie")


def wait_until_ready(page: Page) -> None:
    expect(scale(page)).to_be_enabled(timeout=ANSWER_MS)


def total_votes(board: Page) -> int:
    return sum(int(text) for text in board.locator("tbody td.votes").all_inner_texts())


def test_a_voter_asks_watches_votes_by_keyboard_and_the_board_moves(
    page: Page, browser: Browser, arena: ArenaProcess
) -> None:
    board = browser.new_context(base_url=arena.url).new_page()
    board.goto("/board")
    expect(board.locator("tbody tr").first).to_be_visible()
    before = total_votes(board)

    ask(page, "Tell me about the sea.")
    expect(scale(page)).to_be_disabled()
    growing = wait_until(
        lambda: (texts := answers(page)) and all(texts) and texts, 60, what="both sides' text"
    )
    wait_until_ready(page)
    assert all(len(full) >= len(part) for full, part in zip(answers(page), growing, strict=True))
    assert page.get_by_text("Model A").is_visible()

    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.locator("#outcome-title")).to_be_visible()
    names = page.locator("[data-name]").all_inner_texts()
    assert len(set(names)) == 2
    assert all(re.match("SmolLM2|ELIZA", name) for name in names)

    # two models have one vote more, on a page that nobody reloaded
    wait_until(lambda: total_votes(board) == before + 2, 20, what="the live board")
    board.context.close()


def test_a_reload_in_the_middle_brings_the_battle_back(page: Page) -> None:
    ask(page, "Count from one to twenty, slowly.")
    wait_until(lambda: (texts := answers(page)) and all(texts), 60, what="both sides' text")
    page.reload()
    wait_until_ready(page)
    wait_until(lambda: all(answers(page)), what="the answers")
    page.reload()
    wait_until_ready(page)
    page.get_by_role("button", name="Skip").click()
    expect(page.locator("#battle")).to_have_attribute("data-state", "skipped")


def test_the_conversation_goes_on_and_can_be_stopped(page: Page) -> None:
    ask(page, "Hello there.")
    wait_until_ready(page)
    page.get_by_role("button", name="Ask a follow-up").click()
    page.locator("#followup-prompt").fill("Now write a very long story.")
    page.keyboard.press("Enter")
    wait_until(lambda: len(answers(page)) == 4, 30, what="a second turn")
    if page.locator("#stop").is_visible():
        page.locator("#stop").click()
    wait_until_ready(page)
    page.keyboard.press("3")
    page.locator("[name=both_bad]").check()
    page.keyboard.press("Enter")
    expect(page.locator("#outcome-title")).to_be_visible()


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("path", ["/", "/board?campaign=llmfao-2023", "/board", "/log", "/about"])
def test_a_page_is_accessible(page: Page, path: str, lang: str) -> None:
    page.goto(f"/?lang={lang}")
    page.goto(path)
    expect(page.locator("h1").first).to_be_attached()
    findings = Axe().run(page)
    assert findings.violations_count == 0, findings.generate_report()


def test_the_seeded_board_has_its_59_models_and_credit_also_without_script(
    browser: Browser, arena: ArenaProcess
) -> None:
    context = browser.new_context(base_url=arena.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/board?campaign=llmfao-2023")
    expect(page.locator("tbody tr")).to_have_count(59)
    assert "GPT 4" in page.locator("tbody tr").first.inner_text()
    assert "Dmitry Ustalov" in page.locator("main").inner_text()
    context.close()
