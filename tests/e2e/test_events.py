"""`/events` in a browser: the timeline of models and campaigns, in both languages."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import ADMIN_TOKEN, visitor
from tests.services import ArenaProcess

pytestmark = pytest.mark.browser

TOLD_IN_SECONDS = 15


def retire_and_return(page: Page, reason: str) -> None:
    """What an operator does to the model on the left."""
    page.goto("/admin/models")
    page.get_by_label("Operator's token").fill(ADMIN_TOKEN)
    page.keyboard.press("Enter")
    for act, why in (("Retire", reason), ("Bring back", "")):
        page.get_by_role("button", name=f"{act} The left one").click()
        page.get_by_role("dialog").get_by_label("Reason").fill(why)
        page.get_by_role("dialog").get_by_role("button", name=act).click()


def test_what_an_operator_does_is_public_with_its_reason(
    browser: Browser, theatre: ArenaProcess
) -> None:
    with visitor(browser, theatre.url) as operator:
        retire_and_return(operator, "2026 → 2027")
    with visitor(browser, theatre.url, java_script_enabled=False) as page:
        page.goto("/log")
        page.get_by_role("main").get_by_role("link", name="What changed, and when").click()
        page.get_by_role("combobox", name="Events").select_option("retirement")
        page.get_by_role("button", name="Show").click()
        left = page.locator(".event").first
        for _ in range(TOLD_IN_SECONDS):  # the worker tells it in its own time
            if left.count():
                break
            page.wait_for_timeout(1000)
            page.reload()
        expect(left).to_contain_text("The left one leaves “Open battles”")
        expect(left).to_contain_text("Reason: 2026 → 2027")
        assert page.url.endswith("/events?campaign=&type=retirement")
        page.get_by_role("link", name="中文").click()
        expect(page.locator(".event").first).to_contain_text("The left one 退出“公开对战”")
        expect(page.locator(".event").first).to_contain_text("原因：2026 → 2027")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_timeline_is_accessible_and_fits_a_phone(
    browser: Browser, theatre: ArenaProcess, lang: str, scheme: str
) -> None:
    narrow = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme}
    with visitor(browser, theatre.url, **narrow) as page:
        page.goto(f"/events?lang={lang}")
        expect(page.locator(".event").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        findings = Axe().run(page)
        assert findings.violations_count == 0, findings.generate_report()
        page.goto(f"/events?lang={lang}&type=blindness")
        expect(page.locator(".empty")).to_be_visible()
