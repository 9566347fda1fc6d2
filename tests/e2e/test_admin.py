"""The operator's area in a real browser: with and without script, by keyboard, light and dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import ADMIN_TOKEN, visitor
from tests.services import ArenaProcess, wait_until
from tests.upstream import Reply, Stage

pytestmark = pytest.mark.browser

PAGES = ("/admin", "/admin/models", "/admin/models/new", "/admin/audit")


def sign_in(page: Page, wish: str = "/admin/models") -> None:
    page.goto(wish)
    page.locator("#token").fill(ADMIN_TOKEN)
    page.keyboard.press("Enter")
    expect(page.locator(".admin-bar")).to_be_visible()


@pytest.fixture
def operator(seat: Page) -> Iterator[Page]:
    """A browser with an operator's session, at the models; both models play afterwards."""
    sign_in(seat)
    yield seat
    seat.goto("/admin/models")
    while (retired := seat.get_by_role("button", name="Bring back")).count():
        retired.first.click()
        confirm(seat, "Bring back")


def confirm(page: Page, act: str, reason: str = "") -> None:
    """Answer the question that the act asks."""
    question = page.get_by_role("dialog")
    question.get_by_label("Reason").fill(reason)
    question.get_by_role("button", name=act).click()


def row(page: Page, name: str) -> Any:
    return page.get_by_role("row").filter(has_text=name)


def test_the_area_is_entered_by_keyboard_where_one_wanted_to_go(seat: Page) -> None:
    seat.goto("/admin/audit")
    expect(seat.get_by_label("Operator's token")).to_be_focused()
    seat.keyboard.type(ADMIN_TOKEN)
    seat.keyboard.press("Enter")
    expect(seat.get_by_role("heading", level=1)).to_have_text("Audit log")
    expect(seat.get_by_text("session.open").first).to_be_visible()
    seat.get_by_role("button", name="Sign out").click()
    expect(seat.get_by_label("Operator's token")).to_be_visible()


def test_a_wrong_token_is_told_beside_the_field(browser: Browser, theatre: ArenaProcess) -> None:
    refused = "Failed to load resource: the server responded with a status of 401"
    with visitor(browser, theatre.url, allow=[refused]) as page:
        page.goto("/admin")
        page.get_by_label("Operator's token").fill("not the token at all")
        page.keyboard.press("Enter")
        field = page.get_by_label("Operator's token")
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_accessible_description("This is not the operator's token.")


def test_a_test_of_all_models_shows_results_as_they_come(operator: Page, stage: Stage) -> None:
    stage.says("Hello.")
    stage.replies["right"] = Reply(status=400)
    operator.wait_for_load_state("networkidle")  # before its script is there, the form is posted
    operator.get_by_role("button", name="Test all").click()
    expect(operator.get_by_role("status")).to_have_text("1 answered, 1 failed.")
    expect(row(operator, "The left one")).to_contain_text("Works")
    expect(row(operator, "The right one")).to_contain_text("Failed")
    operator.reload()
    expect(row(operator, "The right one")).to_contain_text("Failed")
    stage.says("Hello.")


def test_a_model_is_retired_and_brought_back_without_a_restart(
    operator: Page, browser: Browser, theatre: ArenaProcess
) -> None:
    row(operator, "The left one").get_by_role("button", name="Retire").click()
    confirm(operator, "Retire", "Its maker asked for it.")
    expect(row(operator, "The left one")).to_contain_text("Retired")
    with visitor(browser, theatre.url, allow=["Failed to load resource"]) as voter:
        voter.goto("/")
        answer = voter.request.post("/api/battles", data={"prompt": "Hello."})
        assert (answer.status, answer.json()["type"]) == (503, "/api/docs#no-models")
        operator.get_by_role("button", name="Bring back The left one").click()
        confirm(operator, "Bring back")
        expect(row(operator, "The left one")).not_to_contain_text("Retired")
        assert voter.request.post("/api/battles", data={"prompt": "Hello."}).status == 201


def test_a_slip_in_the_form_is_told_and_what_was_typed_stays(
    browser: Browser, theatre: ArenaProcess
) -> None:
    refused = "Failed to load resource: the server responded with a status of 422"
    with visitor(browser, theatre.url, allow=[refused]) as page:
        sign_in(page, "/admin/models/new")
        page.get_by_label("Id", exact=True).fill("fresh")
        page.get_by_label("Address of the endpoint").fill("https://models.example/v1")
        page.get_by_label("Name at the endpoint").fill("x")
        page.get_by_label("Price of a million tokens").fill("much")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("Nothing was saved")
        price = page.get_by_label("Price of a million tokens")
        expect(price).to_have_accessible_description(re.compile("^This must be a number from 0"))
        expect(page.get_by_label("Id", exact=True)).to_have_value("fresh")
        findings = Axe().run(page)
        assert findings.violations_count == 0, findings.generate_report()


def test_the_overview_renews_itself(operator: Page) -> None:
    operator.goto("/admin")
    expect(operator.get_by_text("Alive")).to_have_count(2)
    first = operator.locator("#vitals > *").first.element_handle()
    with operator.expect_response(lambda answer: answer.url.endswith("/admin"), timeout=15_000):
        pass
    wait_until(lambda: not first.evaluate("node => node.isConnected"), what="another in its place")
    expect(operator.get_by_text("Alive")).to_have_count(2)


def test_everything_works_without_script(browser: Browser, theatre: ArenaProcess) -> None:
    with visitor(browser, theatre.url, java_script_enabled=False) as page:
        sign_in(page)
        page.get_by_role("button", name="Test all").click()
        expect(row(page, "The left one")).to_contain_text("Works")
        for act in ("Retire", "Bring back"):
            page.get_by_role("button", name=f"{act} The right one").click()
            confirm(page, act)
        page.get_by_role("link", name="Edit The right one").click()
        page.get_by_label("Price of a million tokens").fill("2.5")
        page.get_by_role("button", name="Save").click()
        expect(row(page, "The right one").get_by_text("in total")).to_have_count(2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_page_is_accessible(
    browser: Browser, theatre: ArenaProcess, lang: str, scheme: str
) -> None:
    with visitor(browser, theatre.url, color_scheme=scheme) as page:
        page.goto(f"/admin?lang={lang}")
        findings = Axe().run(page)
        assert findings.violations_count == 0, findings.generate_report()
        sign_in(page)
        for path in PAGES:
            page.goto(path)
            findings = Axe().run(page)
            assert findings.violations_count == 0, f"{path}: {findings.generate_report()}"


@pytest.mark.parametrize("width", [320, 390])
def test_no_page_is_wider_than_a_phone(browser: Browser, theatre: ArenaProcess, width: int) -> None:
    with visitor(browser, theatre.url, viewport={"width": width, "height": 700}) as page:
        sign_in(page)
        for path in PAGES:
            page.goto(path)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, path
