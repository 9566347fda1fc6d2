"""Going on after the names are shown, and a vote that survives a reload, in a real browser."""

from __future__ import annotations

import re
import threading
from http import HTTPStatus

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import visitor
from tests.e2e.test_voting_access import expect_clean
from tests.e2e.voting import (
    CAUSED_BY_THE_TEST,
    ask,
    ask_until_ready,
    choose,
    expect_answers,
    expect_state,
    refuse,
    vote,
)
from tests.services import ArenaProcess
from tests.upstream import Reply, Stage

pytestmark = pytest.mark.browser

LONG = "A paragraph of an answer that goes on for a while.\n\n" * 60


def vote_on_what_each_said(page: Page, stage: Stage) -> None:
    """A battle with its vote in which the models said different things."""
    stage.replies = {"left": Reply("Said **left**."), "right": Reply("Said **right**.")}
    ask_until_ready(page, "Who are you?")
    vote(page)


def go_on(page: Page, model: str, prompt: str = "And then?") -> None:
    """Go on from the answers of a model, as a voter does, until the new battle is there."""
    page.locator("#go-on").get_by_role("button", name=model).click()
    page.get_by_role("textbox", name="Your next question").fill(prompt)
    before = page.url
    page.keyboard.press("Enter")
    expect(page).not_to_have_url(before)


def expect_earlier(page: Page, *texts: str) -> None:
    expect(page.locator(".earlier .asked p, .earlier .answer")).to_have_text(texts)


def asked_last(stage: Stage) -> list[list[str]]:
    """What the two models were given last."""
    return [[message["content"] for message in body["messages"]] for body in stage.asked[-2:]]


def test_a_voter_goes_on_from_one_side_with_a_new_blind_pair(seat: Page, stage: Stage) -> None:
    vote_on_what_each_said(seat, stage)
    expect_clean(seat)
    seat.locator("#go-on").get_by_role("button", name="The left one").click()
    expect(seat.locator("#continue-lead")).to_contain_text("from the answers of The left one.")
    expect_clean(seat)
    seat.get_by_role("button", name="Back to the result").click()
    stage.says("Fine.")
    go_on(seat, "The left one")
    expect_state(seat, "ready")
    expect_answers(seat, "Fine.", "Fine.")
    expect_earlier(seat, "Who are you?", "Said left.")
    expect(seat.locator(".earlier strong")).to_have_text("left")
    assert asked_last(stage) == [["Who are you?", "Said **left**.", "And then?"]] * 2
    expect(seat.locator("#turns")).not_to_contain_text("The")  # no name before the vote
    expect_clean(seat)
    seat.reload()
    expect_state(seat, "ready")
    expect_answers(seat, "Fine.", "Fine.")
    expect_earlier(seat, "Who are you?", "Said left.")
    vote(seat, "Tie")
    expect(seat.get_by_role("button", name="Same prompt again")).to_be_hidden()
    expect(seat.locator("#go-on")).to_be_visible()
    expect_clean(seat)


def test_going_on_needs_no_mouse(seat: Page, stage: Stage) -> None:
    vote_on_what_each_said(seat, stage)
    expect(seat.locator("#outcome-title")).to_be_focused()
    for _ in range(4):  # same prompt, new battle, board
        seat.keyboard.press("Tab")
    first = seat.locator("#go-on button").first
    expect(first).to_be_focused()
    expect(first).to_have_accessible_name(
        re.compile("Continue with the answers of A, The (left|right) one")
    )
    seat.keyboard.press("Enter")
    expect(seat.get_by_role("textbox", name="Your next question")).to_be_focused()
    expect(seat.locator("#status")).to_contain_text("You go on from the answers of")
    seat.keyboard.press("Escape")
    expect(first).to_be_focused()
    seat.keyboard.press("Enter")
    seat.keyboard.type("And then?")
    seat.keyboard.press("Enter")
    expect_state(seat, "ready")
    expect(seat.locator(".earlier .asked")).to_contain_text("Who are you?")


def test_a_long_earlier_conversation_is_folded_and_can_be_opened(seat: Page, stage: Stage) -> None:
    stage.says(LONG)
    ask_until_ready(seat)
    vote(seat)
    stage.says("Fine.")
    go_on(seat, "The left one")
    expect_state(seat, "ready")
    folded = seat.locator(".earlier .answer")
    expect(folded).to_be_hidden()
    seat.locator(".earlier summary").click()
    expect(folded).to_be_visible()
    seat.set_viewport_size({"width": 320, "height": 700})
    width = seat.evaluate("document.documentElement.scrollWidth")
    assert width <= 320
    expect_clean(seat)


def test_a_void_battle_is_tried_again_with_its_earlier_conversation(
    seat: Page, stage: Stage
) -> None:
    vote_on_what_each_said(seat, stage)
    stage.says("", breaks=True)
    go_on(seat, "The right one")
    expect_state(seat, "void")
    stage.says("Fine.")
    seat.get_by_role("button", name="Try again with two newly drawn models").click()
    expect_state(seat, "ready")
    expect_earlier(seat, "Who are you?", "Said right.")
    assert asked_last(stage)[0] == ["Who are you?", "Said **right**.", "And then?"]


def test_a_refused_continuation_keeps_what_was_written(
    browser: Browser, theatre: ArenaProcess, stage: Stage
) -> None:
    with visitor(browser, theatre.url, allow=CAUSED_BY_THE_TEST) as page:
        vote_on_what_each_said(page, stage)
        refuse(page, "**/api/battles", HTTPStatus.TOO_MANY_REQUESTS, "too-many", retry_after=1)
        page.locator("#go-on").get_by_role("button", name="The left one").click()
        box = page.get_by_role("textbox", name="Your next question")
        box.fill("And then?")
        page.keyboard.press("Enter")
        expect(page.locator("#notice")).to_be_visible()
        expect(box).to_have_value("And then?")
        expect(page.locator("#continue [type=submit]")).to_be_enabled()
        box.press("Enter")
        expect_state(page, "ready")
        expect_earlier(page, "Who are you?", "Said left.")


def test_a_shared_battle_shows_what_it_went_on_with(
    seat: Page, browser: Browser, theatre: ArenaProcess, stage: Stage
) -> None:
    vote_on_what_each_said(seat, stage)
    go_on(seat, "The left one")
    expect_state(seat, "ready")
    vote(seat)
    seat.get_by_role("button", name="Share").click()
    expect(seat.get_by_role("button", name="Stop sharing")).to_be_visible()
    with visitor(browser, theatre.url) as reader:
        reader.goto(seat.url)
        expect(reader.locator(".earlier strong")).to_have_text("left")
        expect_earlier(reader, "Who are you?", "Said left.")
        expect_clean(reader)


# --- a vote that is not sent yet ----------------------------------------------------------------


def kept(page: Page) -> int:
    count: int = page.evaluate("sessionStorage.length")
    return count


def expect_chosen(page: Page, grade: str) -> None:
    expect(page.locator("#scale input:checked[name=grade]")).to_have_value(grade)


def test_a_vote_that_is_not_sent_survives_a_reload(seat: Page, stage: Stage) -> None:
    stage.says("Fine.")
    ask_until_ready(seat)
    assert kept(seat) == 0
    choose(seat, "Tie")
    seat.get_by_label("Both are bad").check()
    seat.locator("#why summary").click()
    seat.get_by_text("clear", exact=True).click()
    seat.get_by_role("textbox", name="Comment").fill("Neither is right.")
    seat.reload()
    expect_state(seat, "ready")
    expect_chosen(seat, "tie")
    expect(seat.get_by_label("Both are bad")).to_be_checked()
    expect(seat.get_by_role("checkbox", name="clear")).to_be_checked()
    expect(seat.get_by_role("checkbox", name="correct")).not_to_be_checked()
    expect(seat.get_by_role("textbox", name="Comment")).to_have_value("Neither is right.")
    with seat.expect_request("**/vote") as sent:
        seat.get_by_role("button", name="Vote and reveal").click()
    assert sent.value.post_data_json == {
        "grade": "tie",
        "both_bad": True,
        "reasons": ["clear"],
        "comment": "Neither is right.",
    }
    expect_state(seat, "voted")
    assert kept(seat) == 0


def test_a_kept_vote_is_of_its_battle_only_and_goes_when_it_is_skipped(
    seat: Page, stage: Stage
) -> None:
    stage.says("Fine.")
    ask_until_ready(seat)
    first = seat.url
    seat.keyboard.press("2")
    assert kept(seat) == 1
    ask_until_ready(seat)
    expect(seat.locator("#scale :checked")).to_have_count(0)
    seat.goto(first)
    expect_state(seat, "ready")
    expect_chosen(seat, "a_better")
    seat.get_by_role("button", name="Skip").click()
    expect_state(seat, "skipped")
    assert kept(seat) == 0


def test_a_vote_is_kept_while_it_is_being_sent(seat: Page, stage: Stage) -> None:
    stage.says("Fine.")
    ask_until_ready(seat)
    gate = threading.Event()
    seat.route("**/vote", lambda route: None if not gate.is_set() else route.continue_())
    choose(seat, "B better")
    seat.get_by_role("button", name="Vote and reveal").click()
    expect_state(seat, "sending")
    gate.set()
    seat.reload()
    expect_state(seat, "ready")
    expect_chosen(seat, "b_better")
    seat.keyboard.press("Enter")
    expect_state(seat, "voted")


def test_choices_of_the_reader_outlive_the_next_battle_of_the_page(
    seat: Page, stage: Stage
) -> None:
    stage.says("Fine.")
    ask(seat)
    expect_state(seat, "ready")
    seat.get_by_label("Keys 1 to 5").uncheck()
    seat.get_by_label("Scroll").check()
    vote(seat)
    seat.get_by_role("button", name="Same prompt again").click()
    expect_state(seat, "ready")
    expect(seat.get_by_label("Keys 1 to 5")).not_to_be_checked()
    expect(seat.get_by_label("Scroll")).to_be_checked()
    seat.locator("#main").press("2")
    expect(seat.locator("#scale :checked")).to_have_count(0)
