"""The whole arena with its real demo models, and a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import missing
from tests.services import ArenaProcess


@pytest.fixture(scope="session")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArenaProcess]:
    """`arena up --demo` on a new data folder."""
    if find_spec("xllamacpp") is None:
        missing("the demo models' packages are not installed")
    data = tmp_path_factory.mktemp("arena") / "data"
    with ArenaProcess(data, "up", "--demo") as arena:
        arena.wait_ready()
        yield arena


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        missing("chromium is not installed")
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, arena: ArenaProcess) -> Iterator[Page]:
    """A new visitor's page; no message on its console, no request to another origin."""
    context = browser.new_context(
        base_url=arena.url, locale="en-GB", viewport={"width": 1280, "height": 860}
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            request.url.startswith((arena.url, "data:"))
            or complaints.append(f"request to {request.url}")
        ),
    )
    yield page
    context.close()
    assert complaints == []
