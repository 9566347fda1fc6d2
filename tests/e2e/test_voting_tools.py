"""What can be done beside the vote: reasons, reports, copying, comparing, what the vote moved."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.e2e.conftest import visitor
from tests.e2e.voting import ask_until_ready, choose, expect_answers, expect_state, vote
from tests.services import ArenaProcess, wait_until
from tests.upstream import Reply, Stage

pytestmark = pytest.mark.browser

LONG = "A paragraph of an answer that goes on for a while.\n\n" * 60
CODE = "Look:\n\n```python\nprint('hello')\n```\n"


def bodies(page: Page, path: str) -> list[dict[str, Any]]:
    """What is posted to an address from now on."""
    posted: list[dict[str, Any]] = []

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith(path):
            posted.append(json.loads(request.post_data or "{}"))

    page.on("request", note)
    return posted


def test_reasons_and_a_comment_go_with_the_vote(seat: Page, stage: Stage) -> None:
    stage.says("Fine.")
    ask_until_ready(seat)
    posted = bodies(seat, "/vote")
    expect(seat.locator("#why")).to_be_hidden()  # first the grade
    choose(seat, "B better")
    expect(seat.get_by_role("textbox", name="Comment")).to_be_hidden()
    seat.get_by_text("Say why").click()
    seat.get_by_text("correct", exact=True).click()
    seat.get_by_text("clear", exact=True).click()
    seat.get_by_role("textbox", name="Comment").fill("  It is right.  ")
    seat.get_by_role("button", name="Vote and reveal").click()
    expect_state(seat, "voted")
    assert posted == [
        {
            "grade": "b_better",
            "both_bad": False,
            "reasons": ["correct", "clear"],
            "comment": "It is right.",
        }
    ]


def test_a_comment_that_is_too_long_is_not_sent(seat: Page, stage: Stage) -> None:
    stage.says("Fine.")
    ask_until_ready(seat)
    seat.keyboard.press("3")
    seat.get_by_text("Say why").click()
    comment = seat.get_by_role("textbox", name="Comment")
    comment.fill("x" * 2001)
    expect(seat.locator("#comment-count")).to_contain_text("too long")
    expect(seat.get_by_role("button", name="Vote and reveal")).to_be_disabled()
    comment.fill("x" * 2000)
    expect(seat.get_by_role("button", name="Vote and reveal")).to_be_enabled()


def test_the_next_battle_starts_with_an_empty_ballot(seat: Page, stage: Stage) -> None:
    stage.says("Fine.")
    ask_until_ready(seat)
    choose(seat, "Tie")
    seat.get_by_role("checkbox", name="Both are bad").check()
    seat.get_by_text("Say why").click()
    seat.get_by_text("clear", exact=True).click()
    seat.get_by_role("button", name="Vote and reveal").click()
    expect_state(seat, "voted")
    first = seat.url
    seat.get_by_role("button", name="Same prompt again").click()
    expect_state(seat, "ready")
    assert seat.url != first
    expect(seat.get_by_role("radio", checked=True)).to_have_count(0)
    choose(seat, "Tie")
    expect(seat.get_by_role("checkbox", name="Both are bad")).not_to_be_checked()
    expect(seat.locator("#why")).not_to_have_attribute("open", "")
    expect(seat.locator("#why :checked")).to_have_count(0)


@pytest.mark.parametrize("side", ["a", "b"])
def test_an_answer_is_reported_before_or_after_the_vote(
    seat: Page, stage: Stage, side: str
) -> None:
    stage.says("Fine.")
    ask_until_ready(seat)
    if side == "b":
        vote(seat)
    posted = bodies(seat, "/report")
    flag = seat.get_by_role("button", name=f"Report answer {side.upper()}")
    flag.click()
    dialog = seat.get_by_role("dialog", name=f"Report answer {side.upper()}")
    expect(dialog.get_by_role("textbox")).to_be_focused()
    dialog.get_by_role("textbox").fill("It insults people.")
    dialog.get_by_role("button", name="Send report").click()
    expect(dialog.get_by_text("Thank you")).to_be_focused()
    assert posted == [{"reason": "It insults people.", "side": side}]
    seat.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(flag).to_be_focused()


def test_the_reveal_tells_ratings_and_what_the_vote_moved(seat: Page, stage: Stage) -> None:
    stage.says("Fine.")
    ask_until_ready(seat)
    vote(seat)  # now there is a board, with both models on it
    expect(seat.locator("[data-standing]")).to_contain_text("now holds your vote", timeout=20_000)
    seat.goto("/")
    ask_until_ready(seat)
    vote(seat, "A much better")
    expect(seat.locator("[data-standing]")).to_contain_text("now holds your vote", timeout=20_000)
    expect(seat.locator(".rating b")).to_have_text([re.compile(r"Rating \d+")] * 2)
    expect(seat.locator(".rating .change")).to_have_text([re.compile(r"[+−±]\d+")] * 2)
    seat.reload()  # an old vote: ratings of today, and nothing about a change
    expect(seat.locator(".rating b")).to_have_text([re.compile(r"Rating \d+")] * 2)
    expect(seat.locator(".rating .change")).to_have_count(0)


def test_a_vote_on_an_answer_that_named_itself_is_told_to_count_apart(
    seat: Page, stage: Stage
) -> None:
    name = stage.MODELS[0]
    stage.says(f"I am {name}, an AI.")
    ask_until_ready(seat)
    expect(seat.locator("[data-leaks]")).to_be_hidden()  # nothing is said before the vote
    vote(seat)
    remark = seat.locator("[data-leaks]")
    expect(remark).to_have_text(re.compile("^An answer named its model, so your vote stays out"))
    expect(remark).to_contain_text(f"answer A: {name}. Name found in answer B: {name}.")
    expect(remark).to_contain_text('only the board "All votes" counts it')
    expect(seat.locator("[data-standing]")).to_be_hidden()  # no board will hold it
    seat.reload()
    expect(remark).to_contain_text(f"Name found in answer A: {name}.")
    wait_until(lambda: seat.request.get("/api/board?category=unfiltered").ok, 20, what="its board")
    seat.goto("/board")
    seat.get_by_role("link", name="All votes").click()
    expect(seat.locator("#board .notice").first).to_contain_text("also counts votes on answers")
    stage.says("Fine.")
    seat.goto("/")
    ask_until_ready(seat)
    vote(seat)
    expect(remark).to_be_hidden()


def test_a_voted_battle_is_shared_and_taken_back(
    seat: Page, browser: Browser, theatre: ArenaProcess, stage: Stage
) -> None:
    stage.says("Fine.")
    ask_until_ready(seat)
    expect(seat.get_by_role("button", name="Share")).to_have_count(0)  # only after the vote
    vote(seat)
    expect(seat.locator("[data-reach]")).to_contain_text("Only you")
    seat.get_by_role("button", name="Share").click()
    expect(seat.locator("[data-reach]")).to_contain_text("Anybody")
    with visitor(browser, theatre.url) as stranger:
        answer = stranger.goto(seat.url)
        assert answer is not None
        assert answer.status == 200
        expect(stranger.get_by_text("Fine.").first).to_be_visible()
    seat.reload()
    seat.get_by_role("button", name="Stop sharing").click()
    expect(seat.locator("[data-reach]")).to_contain_text("Only you")


def test_answers_and_code_are_copied_as_they_were_written(
    browser: Browser, theatre: ArenaProcess, stage: Stage
) -> None:
    stage.says(CODE)
    permissions = ["clipboard-read", "clipboard-write"]
    with visitor(browser, theatre.url, permissions=permissions) as page:
        ask_until_ready(page)
        page.get_by_role("button", name="Copy answer A").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == CODE
        code = page.locator(".code").first
        expect(code.locator(".code-head span")).to_have_text("python")
        code.get_by_role("button", name="Copy").click()
        wait_until(lambda: page.evaluate("navigator.clipboard.readText()") == "print('hello')\n")
        vote(page)
        page.get_by_role("button", name="Copy address").click()
        wait_until(lambda: page.evaluate("navigator.clipboard.readText()") == page.url)


def test_one_side_is_spread_over_the_whole_width_and_back(seat: Page, stage: Stage) -> None:
    stage.says("Fine.")
    ask_until_ready(seat)
    widen = seat.get_by_role("button", name="Answer A over the full width")
    widen.click()
    expect(seat.locator(".side-b")).to_be_hidden()
    wide = seat.locator(".side-a").bounding_box()
    assert wide is not None
    assert wide["width"] > 1000
    expect(widen).to_have_attribute("aria-pressed", "true")
    widen.click()
    expect(seat.locator(".side-b")).to_be_visible()


def test_boxes_scroll_in_step_by_their_share(seat: Page, stage: Stage) -> None:
    stage.replies = {"left": Reply(LONG), "right": Reply(LONG * 3)}
    ask_until_ready(seat)
    seat.get_by_role("checkbox", name="Scroll in step").check()
    first, second = seat.locator(".body").all()
    share = "box => box.scrollTop / (box.scrollHeight - box.clientHeight)"
    for leader, other in ((first, second), (second, first)):
        for part in (0.5, 1, 0):
            leader.evaluate(
                "(box, part) => box.scrollTo(0, part * (box.scrollHeight - box.clientHeight))", part
            )
            wait_until(lambda: abs(other.evaluate(share) - part) < 0.02, what="the other box")  # noqa: B023  called at once
    expect(seat.locator("#dock")).to_be_in_viewport(ratio=1)
    # a reader takes hold of a box before it could say that the other one has moved it
    seat.evaluate(
        """([leader, other]) => {
          const toItsEnd = () => other.scrollTo(0, other.scrollHeight);
          leader.addEventListener("scroll", toItsEnd, { once: true });
          leader.scrollTo(0, leader.scrollHeight / 4);
        }""",
        [first.element_handle(), second.element_handle()],
    )
    wait_until(lambda: first.evaluate(share) > 0.98, what="the first box")


def test_on_a_phone_a_tap_leads_to_the_other_side_and_back_to_the_same_place(
    browser: Browser, theatre: ArenaProcess, stage: Stage
) -> None:
    stage.says(LONG)
    viewport = {"width": 390, "height": 844}
    with visitor(browser, theatre.url, viewport=viewport, has_touch=True) as page:
        ask_until_ready(page)
        expect_answers(page, *([LONG.strip()] * 2))
        page.evaluate("scrollTo(0, 700)")
        page.get_by_role("button", name="To B").tap()
        expect(page.locator(".side-b .side-head")).to_be_in_viewport(ratio=1)
        place_b = page.evaluate("scrollY")
        assert place_b > 1000
        page.evaluate("scrollBy(0, 300)")
        page.get_by_role("button", name="To A").tap()
        assert abs(page.evaluate("scrollY") - 700) < 2
        page.get_by_role("button", name="To B").tap()
        assert abs(page.evaluate("scrollY") - place_b - 300) < 2


def test_examples_of_every_task_fill_the_box_and_there_are_more(seat: Page) -> None:
    seat.goto("/")
    seen: set[str] = set()
    for _ in range(3):
        chips = seat.locator("#examples [data-example]:visible")
        expect(chips).to_have_count(5)
        seen |= set(chips.all_inner_texts())
        seat.get_by_role("button", name="More examples").click()
    assert len(seen) == 15
    seat.get_by_role("button", name="The bat and the ball").click()
    expect(seat.locator("#prompt")).to_have_value(re.compile("^A bat and a ball cost"))
    expect(seat.locator("#prompt")).to_be_focused()
