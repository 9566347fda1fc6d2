"""What tests of the voting page share: asking, waiting for a state, and refusals by the server."""

from __future__ import annotations

import json
import re
from http import HTTPStatus

from playwright.sync_api import Page, Route, expect

from tests.services import wait_until

STATE_MS = 20_000
CAUSED_BY_THE_TEST = ("Failed to load resource",)
"""What Chromium tells its console when a test cuts the connection or has a request refused."""


def ask(page: Page, prompt: str = "Say hello.") -> None:
    """Send a first prompt as a voter does, and wait until the battle has its address."""
    page.goto("/")
    page.locator("#prompt").fill(prompt)
    expect(page.locator("#ask [type=submit]")).to_be_enabled()  # the scripts are there
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/battles/[\w-]{8,}"))


def expect_state(page: Page, state: str) -> None:
    """Wait until the page is in a state of the battle."""
    expect(page.locator("#battle")).to_have_attribute("data-state", state, timeout=STATE_MS)


def ask_until_ready(page: Page, prompt: str = "Say hello.") -> None:
    """A battle that waits for its vote."""
    ask(page, prompt)
    expect_state(page, "ready")


def choose(page: Page, grade: str) -> None:
    """Click a step of the scale by its words."""
    page.locator("#scale").get_by_text(grade, exact=True).click()


def vote(page: Page, grade: str = "A better") -> None:
    """Choose a grade by its label, confirm it, and wait for the names."""
    choose(page, grade)
    page.get_by_role("button", name="Vote and reveal").click()
    expect_state(page, "voted")


def answers(page: Page) -> list[str]:
    """The text of side A and side B, turn by turn."""
    return page.locator("[data-answer]").all_inner_texts()


def expect_answers(page: Page, *texts: str) -> None:
    """Wait until the answers are these: they are shown a moment after they have come."""
    wanted = [text.strip() for text in texts]
    wait_until(lambda: [text.strip() for text in answers(page)] == wanted, what="the answers")


def refuse(
    page: Page, url: str, status: HTTPStatus, slug: str, *, retry_after: int | None = None
) -> None:
    """The next request to `url` is refused as the server would; later ones reach it."""
    problem = {"type": f"/api/docs#{slug}", "status": status, "title": slug, "detail": slug}
    headers = {"Content-Type": "application/problem+json"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)

    def answer(route: Route) -> None:
        route.fulfill(status=status, headers=headers, body=json.dumps(problem))

    page.route(url, answer, times=1)
