"""The whole arena with its real demo models, and a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import missing
from tests.services import ArenaProcess
from tests.upstream import Stage


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


HARMLESS = ("Autofocus processing was blocked",)
"""What Chromium remarks where somebody types before the page has settled."""

ADMIN_TOKEN = "an operator's token for tests"  # noqa: S105
SIGNING_KEY = "5e" * 32
"""With it a test may sign what the arena never would."""


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """Two models whose answers the test decides."""
    with Stage().open() as stage:
        yield stage


@pytest.fixture(scope="session")
def theatre(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArenaProcess]:
    """`arena up --no-demo` with the models of the stage: quick, and every state can be had."""
    with theatre_at(tmp_path_factory.mktemp("theatre") / "data", stage) as arena:
        yield arena


@contextmanager
def theatre_at(data: Path, stage: Stage, **environ: str) -> Iterator[ArenaProcess]:
    """A theatre on a data folder of its own, for tests that leave much behind."""
    data.mkdir()
    (data / "arena.toml").write_text(stage.roster(), encoding="utf-8")
    secrets = {"ARENA_ADMIN_TOKEN": ADMIN_TOKEN, "ARENA_SIGNING_KEY": SIGNING_KEY}
    environ = {**secrets, **environ}
    with ArenaProcess(data, "up", "--no-demo", environ=environ) as arena:
        arena.wait_ready()
        yield arena


@contextmanager
def visitor(
    browser: Browser, url: str, *, allow: Sequence[str] = (), **options: Any
) -> Iterator[Page]:
    """A new visitor's page: nothing on its console, no request to another origin.

    `allow` are beginnings of console messages that the test causes itself.
    """
    options = {"locale": "en-GB", "viewport": {"width": 1280, "height": 860}, **options}
    context = browser.new_context(base_url=url, **options)
    page = context.new_page()
    complaints: list[str] = []

    def complain(text: str) -> None:
        if not text.startswith((*HARMLESS, *allow)):
            complaints.append(text)

    page.on("console", lambda message: complain(message.text))
    page.on("pageerror", lambda error: complain(str(error)))
    page.on(
        "request",
        lambda request: (
            request.url.startswith((url, "data:", "blob:"))
            or complaints.append(f"request to {request.url}")
        ),
    )
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def page(browser: Browser, arena: ArenaProcess) -> Iterator[Page]:
    """A new visitor of the arena with the demo models."""
    with visitor(browser, arena.url) as page:
        yield page


@pytest.fixture
def seat(browser: Browser, theatre: ArenaProcess) -> Iterator[Page]:
    """A new visitor of the arena with the models of the stage."""
    with visitor(browser, theatre.url) as page:
        yield page
