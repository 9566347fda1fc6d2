"""When all places are taken: waiting in line, in words, until it starts by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import theatre_at, visitor
from tests.e2e.voting import CAUSED_BY_THE_TEST, STATE_MS, ask_until_ready, expect_state
from tests.services import ArenaProcess, wait_until
from tests.upstream import Stage
from tests.voter import Voter

pytestmark = pytest.mark.browser

QUEUE = "/api/battles/queue"


@pytest.fixture(scope="module")
def small(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArenaProcess]:
    """An arena with one place, and the models of the stage."""
    data = tmp_path_factory.mktemp("small") / "data"
    with theatre_at(data, stage, ARENA_MAX_RUNNING="1") as arena:
        yield arena


@pytest.fixture
def occupied(small: ArenaProcess, stage: Stage) -> Iterator[threading.Event]:
    """Somebody else has the one place until the event is set."""
    gate = threading.Event()
    stage.says("Fine, thank you.", gate=gate)
    with Voter(small.url) as other:
        other.start()
        yield gate
        gate.set()
        wait_until(lambda: other.http.get(QUEUE).json()["has_room"], what="room")
        give_up_place(other)


@pytest.fixture
def page(browser: Browser, small: ArenaProcess) -> Iterator[Page]:
    with visitor(browser, small.url, allow=CAUSED_BY_THE_TEST) as page:
        yield page


def send(page: Page, prompt: str, language: str = "en") -> None:
    page.goto(f"/?lang={language}")
    page.locator("#prompt").fill(prompt)
    expect(page.locator("#ask [type=submit]")).to_be_enabled()
    page.keyboard.press("Enter")


def keep_place(voter: Voter) -> int:
    """How many wait before this voter, who waits too from now on, for a while."""
    if not voter.http.cookies:  # a stranger only looks
        assert voter.http.post("/api/battles", json={"prompt": "Me too."}).status_code == 503
    ahead: int = voter.http.get(QUEUE).json()["ahead"]
    return ahead


def give_up_place(voter: Voter) -> None:
    assert voter.http.delete(QUEUE).status_code == 204


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["All places are taken at this moment", "You are next."]),
        ("zh", ["当前名额已满", "下一位就是你。"]),
    ],
)
def test_a_voter_waits_in_line_and_the_battle_starts_by_itself(
    page: Page, small: ArenaProcess, occupied: threading.Event, language: str, words: list[str]
) -> None:
    title, next_words = words
    with Voter(small.url) as earlier:
        keep_place(earlier)
        send(page, "Keep this.", language)
        dialog = page.get_by_role("dialog", name=title)
        place = dialog.get_by_role("status")
        expect(place).to_contain_text("1", timeout=STATE_MS)
        assert Axe().run(page).response["violations"] == []
        give_up_place(earlier)
    expect(place).to_have_text(next_words, timeout=STATE_MS)
    occupied.set()
    expect_state(page, "ready")
    expect(dialog).to_be_hidden()
    expect(page.locator("[data-prompt]")).to_have_text("Keep this.")


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_whoever_stops_waiting_keeps_the_prompt_and_gives_the_place_up(
    page: Page, small: ArenaProcess, occupied: threading.Event, how: str
) -> None:
    send(page, "Keep this.")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("status")).to_have_text("You are next.", timeout=STATE_MS)
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        if how == "button":
            dialog.get_by_role("button", name="Stop waiting").click()
        else:
            page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("#prompt")).to_have_value("Keep this.")
    expect(page.locator("#ask [type=submit]")).to_be_enabled()
    with Voter(small.url) as other:
        assert keep_place(other) == 0
        give_up_place(other)


def test_a_follow_up_waits_in_line_too(page: Page, small: ArenaProcess, stage: Stage) -> None:
    stage.says("Fine, thank you.")
    ask_until_ready(page)
    gate = threading.Event()
    stage.says("Fine, thank you.", gate=gate)
    with Voter(small.url) as other:
        other.start()
        page.get_by_role("button", name="Ask a follow-up").click()
        page.locator("#followup-prompt").fill("And then?")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible(timeout=STATE_MS)
        gate.set()
        expect(page.locator("[data-prompt]").last).to_have_text("And then?", timeout=STATE_MS)
        expect_state(page, "ready")
