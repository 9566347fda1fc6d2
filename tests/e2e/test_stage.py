"""Every state of a battle, in a real browser, with models whose answers the test decides."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http import HTTPStatus

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import visitor
from tests.e2e.voting import (
    CAUSED_BY_THE_TEST,
    STATE_MS,
    answers,
    ask,
    ask_until_ready,
    choose,
    expect_answers,
    expect_state,
    refuse,
    vote,
)
from tests.services import ArenaProcess, wait_until
from tests.upstream import Reply, Stage

pytestmark = pytest.mark.browser

TEXT = "One two three four five six seven eight nine ten. " * 4


@pytest.fixture
def broken_seat(browser: Browser, theatre: ArenaProcess) -> Iterator[Page]:
    """A visitor whose requests may fail."""
    with visitor(browser, theatre.url, allow=CAUSED_BY_THE_TEST) as page:
        yield page


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Holds answers back until it is set, at the latest when the test ends."""
    gate = threading.Event()
    yield gate
    gate.set()


def test_a_battle_on_the_stage(seat: Page, stage: Stage) -> None:
    stage.says("Hello **there**.")
    ask_until_ready(seat)
    expect(seat.locator("[data-answer] strong")).to_have_count(2)


# --- waiting and writing ----------------------------------------------------------------------


@pytest.mark.parametrize("slow", Stage.MODELS)
def test_both_sides_wait_alike_until_both_have_text(
    seat: Page, stage: Stage, gate: threading.Event, slow: str
) -> None:
    stage.says(TEXT)
    stage.replies[slow].gate = gate
    ask(seat)
    expect_state(seat, "waiting")
    seat.wait_for_timeout(1000)  # time enough for the quick one
    assert answers(seat) == ["", ""]
    assert [pending.is_visible() for pending in seat.locator(".pending").all()] == [True, True]
    gate.set()
    expect_state(seat, "ready")
    expect_answers(seat, TEXT, TEXT)


def test_a_side_that_stops_for_a_while_holds_both_back_and_the_page_says_so(
    seat: Page, stage: Stage, gate: threading.Event
) -> None:
    stage.replies = {
        "left": Reply(TEXT, pieces=8, gate=gate, gate_at=4),
        "right": Reply(TEXT, pieces=8),
    }
    seat.clock.install()
    ask(seat)
    expect_state(seat, "streaming")
    seat.wait_for_timeout(1500)
    lengths = [len(text) for text in answers(seat)]
    assert max(lengths) - min(lengths) < len(TEXT) // 4
    assert max(lengths) < len(TEXT)
    seat.clock.fast_forward(10_000)
    expect(seat.locator("#vote-hint")).to_contain_text("at the pace of the slower one")
    gate.set()
    expect_state(seat, "ready")


def test_a_long_wait_is_explained(seat: Page, stage: Stage, gate: threading.Event) -> None:
    stage.says(TEXT, gate=gate)
    seat.clock.install()
    ask(seat)
    expect(seat.locator("#vote-hint")).to_have_text("Waiting for both models…")

    def explained() -> bool:
        seat.clock.fast_forward(10_000)  # once more: a stream that opens begins the wait anew
        return "Still waiting" in (seat.locator("#vote-hint").text_content() or "")

    wait_until(explained, what="the explanation")


def test_stopped_answers_say_so_and_can_be_voted_on(
    seat: Page, stage: Stage, gate: threading.Event
) -> None:
    stage.says(TEXT, pieces=8, gate=gate, gate_at=4)
    ask(seat)
    expect_state(seat, "streaming")
    seat.get_by_role("button", name="Stop here").click()
    expect_state(seat, "ready")
    expect(seat.get_by_text("You stopped this answer.")).to_have_count(2)
    vote(seat)


def test_unusual_ends_are_marked_on_their_side(seat: Page, stage: Stage) -> None:
    stage.replies = {
        "left": Reply("Cut.", finish="length"),
        "right": Reply("Filtered.", finish="content_filter"),
    }
    ask_until_ready(seat)
    expect(seat.get_by_text("Cut.")).to_be_visible()
    ends = {
        side.locator("[data-answer]").inner_text().strip(): side.locator("[data-finish]")
        for side in seat.locator(".side").all()
    }
    expect(ends["Cut."]).to_have_text("This answer was cut off at its length limit.")
    expect(ends["Filtered."]).to_have_text("This answer was ended by a content filter.")


# --- failures -----------------------------------------------------------------------------------


def test_a_failed_battle_takes_no_vote_and_is_drawn_again_with_the_same_prompt(
    seat: Page, stage: Stage
) -> None:
    stage.says(TEXT, breaks=True)
    ask(seat, "A prompt that is kept.")
    expect_state(seat, "void")
    expect(seat.get_by_role("radio")).to_have_count(0)
    void = seat.url
    stage.says("Better now.")
    seat.get_by_role("button", name="Try again").click()
    expect_state(seat, "ready")
    assert seat.url != void
    assert seat.locator("[data-prompt]").all_inner_texts() == ["A prompt that is kept."]


def test_a_failed_follow_up_leaves_the_turns_before_it_to_vote_on(seat: Page, stage: Stage) -> None:
    stage.says("Fine.")
    ask_until_ready(seat)
    stage.says("Never.", status=400)
    seat.get_by_role("button", name="Ask a follow-up").click()
    seat.locator("#followup-prompt").fill("And then?")
    seat.keyboard.press("Enter")
    expect(seat.locator("#vote-hint")).to_contain_text(
        "up to the last complete turn", timeout=STATE_MS
    )
    expect(seat.locator("[data-failed]").last).to_be_visible()
    seat.get_by_role("button", name="Ask a follow-up").click()
    expect(seat.locator("#followup-prompt")).to_have_value("And then?")
    seat.get_by_role("button", name="Back to the vote").click()
    vote(seat)


@pytest.mark.parametrize(
    ("status", "slug", "words"),
    [
        (HTTPStatus.TOO_MANY_REQUESTS, "too-many", "too much at once"),
        (HTTPStatus.TOO_MANY_REQUESTS, "too-often", "a lot in one minute"),
        (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "A part of the arena is away"),
    ],
)
def test_a_refusal_for_now_counts_down_and_keeps_the_prompt(
    broken_seat: Page, stage: Stage, status: HTTPStatus, slug: str, words: str
) -> None:
    page = broken_seat
    stage.says("Fine.")
    refuse(page, "**/api/battles", status, slug, retry_after=2)
    page.goto("/")
    page.locator("#prompt").fill("Keep this.")
    expect(page.locator("#ask [type=submit]")).to_be_enabled()
    page.keyboard.press("Enter")
    expect(page.locator("#ask-notice")).to_contain_text(words)
    expect(page.locator("#ask-notice")).to_contain_text("2 s")
    expect(page.get_by_role("button", name="Ask both")).to_be_disabled()
    expect(page.locator("#ask-notice")).to_have_text("You can try again now.")
    expect(page.locator("#prompt")).to_have_value("Keep this.")
    page.get_by_role("button", name="Ask both").click()
    expect_state(page, "ready")


@pytest.mark.parametrize(
    ("status", "slug", "english", "chinese"),
    [
        (503, "no-models", "There are not two models", "目前没有两个可供比较的模型"),
        (409, "campaign-closed", "takes no new battles", "已不再接受新的对战"),
    ],
)
def test_a_refusal_is_explained_in_the_language_of_the_page(
    broken_seat: Page, status: int, slug: str, english: str, chinese: str
) -> None:
    page = broken_seat
    for language, words in (("en", english), ("zh", chinese)):
        page.goto(f"/?lang={language}")
        refuse(page, "**/api/battles", HTTPStatus(status), slug)
        page.locator("#prompt").fill("Keep this.")
        expect(page.locator("#ask [type=submit]")).to_be_enabled()
        page.keyboard.press("Enter")
        expect(page.locator("#ask-notice")).to_contain_text(words)
        expect(page.locator("#prompt")).to_have_value("Keep this.")


def test_a_prompt_that_is_too_long_stays_in_its_box(seat: Page) -> None:
    seat.goto("/")
    box = seat.locator("#prompt")
    limit = int(box.get_attribute("data-limit") or 0)
    box.fill("x" * (limit + 1))
    expect(seat.locator("#prompt-count")).to_contain_text("too long")
    expect(seat.get_by_role("button", name="Ask both")).to_be_disabled()
    box.press("Enter")
    expect(seat.locator("#ask-notice")).to_contain_text("too long")
    expect_state(seat, "ask")


# --- the connection -----------------------------------------------------------------------------


def test_a_lost_connection_in_mid_stream_comes_back_with_the_whole_text(
    broken_seat: Page, stage: Stage, gate: threading.Event
) -> None:
    page = broken_seat
    stage.says(TEXT, pieces=8, gate=gate, gate_at=4)
    ask(page)
    expect_state(page, "streaming")
    page.context.set_offline(True)
    expect(page.locator("#vote-hint")).to_contain_text("Reconnecting", timeout=STATE_MS)
    gate.set()
    page.wait_for_timeout(500)
    page.context.set_offline(False)
    expect_state(page, "ready")
    expect_answers(page, TEXT, TEXT)


def test_a_reload_in_mid_stream_brings_the_battle_back(
    seat: Page, stage: Stage, gate: threading.Event
) -> None:
    stage.says(TEXT, pieces=8, gate=gate, gate_at=4)
    ask(seat)
    expect_state(seat, "streaming")
    seat.reload()
    expect_state(seat, "streaming")
    gate.set()
    expect_state(seat, "ready")
    expect_answers(seat, TEXT, TEXT)


def test_a_battle_without_its_cookie_says_why_it_cannot_be_shown(
    broken_seat: Page, stage: Stage
) -> None:
    page = broken_seat
    stage.says("Fine.")
    ask_until_ready(page)
    page.context.clear_cookies()
    page.reload()
    expect_state(page, "lost")
    expect(page.locator("#lost-detail")).to_contain_text("this browser's cookie is gone")
    page.get_by_role("link", name="New battle").click()
    expect_state(page, "ask")


def test_a_vote_without_its_cookie_is_not_taken_and_the_page_says_so(
    broken_seat: Page, stage: Stage
) -> None:
    page = broken_seat
    stage.says("Fine.")
    ask_until_ready(page)
    page.context.clear_cookies()
    choose(page, "Tie")
    page.get_by_role("button", name="Vote and reveal").click()
    expect_state(page, "lost")
    expect(page.locator("#lost-detail")).to_contain_text("No vote was stored")


# --- the vote -------------------------------------------------------------------------------------


def test_a_double_click_is_one_vote(seat: Page, stage: Stage) -> None:
    stage.says("Fine.")
    ask_until_ready(seat)
    sent: list[str] = []
    seat.on("request", lambda request: request.url.endswith("/vote") and sent.append(request.url))
    choose(seat, "A better")
    seat.get_by_role("button", name="Vote and reveal").dblclick()
    expect_state(seat, "voted")
    assert len(sent) == 1


def test_a_vote_while_offline_is_kept_and_sent_once_the_connection_is_back(
    broken_seat: Page, stage: Stage
) -> None:
    page = broken_seat
    stage.says("Fine.")
    ask_until_ready(page)
    keys: list[str | None] = []
    page.on(
        "request",
        lambda request: (
            request.url.endswith("/vote") and keys.append(request.headers.get("idempotency-key"))
        ),
    )
    page.context.set_offline(True)
    choose(page, "B better")
    page.get_by_role("button", name="Vote and reveal").click()
    expect(page.locator("#vote-hint")).to_contain_text("Your vote is kept")
    page.context.set_offline(False)
    expect_state(page, "voted")
    expect(page.locator(".verdict b")).to_have_text("B better")
    assert len(keys) > 1
    assert len(set(keys)) == 1
    assert keys[0]


def test_a_vote_in_another_tab_is_shown_in_this_one(broken_seat: Page, stage: Stage) -> None:
    page = broken_seat
    stage.says("Fine.")
    ask_until_ready(page)
    other = page.context.new_page()
    other.goto(page.url)
    expect_state(other, "ready")
    vote(other, "B much better")
    choose(page, "A better")
    page.get_by_role("button", name="Vote and reveal").click()
    expect_state(page, "voted")
    expect(page.locator(".verdict b")).to_have_text("B much better")
    expect(page.locator("#notice")).to_contain_text("has its one vote already")
