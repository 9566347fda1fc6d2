#!/usr/bin/env python3
"""Pictures of every page and state, taken from a running arena (`make run` in another terminal).

    .venv/bin/python scripts/screenshots.py http://127.0.0.1:8000 FOLDER [--token OPERATOR'S TOKEN]

`--readme` takes only those that the README shows, into docs/. With the token, the operator's area
is in it too.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, expect, sync_playwright

PAGES = {
    "board": "/board?campaign=llmfao-2023",
    "own-board": "/board",
    "figures": "/board/figures?campaign=llmfao-2023",
    "model": "/models/GPT 4?campaign=llmfao-2023",
    "mine": "/mine",
    "log": "/log",
    "about": "/about",
    "docs": "/api/docs",
    "missing": "/no-such-page",
    "sign-in": "/admin",
}
ADMIN_PAGES = {
    "overview": "/admin",
    "models": "/admin/models",
    "campaigns": "/admin/campaigns",
    "campaign": "/admin/campaigns/online",
    "moderation": "/admin/moderation",
    "audit": "/admin/audit",
}
SIZES = {"desktop": (1280, 860), "phone": (390, 844), "narrow": (320, 640)}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SETTLE_MS = 400
COUNTED_MS = 3_000  # until the board holds the vote
PROMPT = {"en": "Explain why the sky is blue.", "zh": "为什么天空是蓝色的？"}
ANSWER_MS = 120_000


def battle(page: Page, prompt: str) -> Iterator[str]:
    """A battle from the empty page to the reveal; yields the name of each state on the way."""
    page.goto("/")
    page.wait_for_timeout(SETTLE_MS)
    yield "ask"
    page.get_by_role("textbox").fill(prompt)
    page.keyboard.press("Enter")
    expect(page.locator("#battle")).to_have_attribute("data-state", "waiting")
    yield "waiting"
    expect(page.locator("[data-answer]").first).not_to_be_empty(timeout=ANSWER_MS)
    page.wait_for_timeout(1_000)
    yield "streaming"
    expect(page.get_by_role("radio").first).to_be_enabled(timeout=ANSWER_MS)
    page.locator(".segment").nth(1).click()
    page.locator("#why summary").click()
    page.wait_for_timeout(SETTLE_MS)
    yield "ready"
    page.locator("#why summary").click()
    page.locator("#confirm").click()
    expect(page.locator("#outcome-title")).to_be_visible()
    page.wait_for_timeout(COUNTED_MS)
    yield "voted"
    page.locator("[data-share]").click()
    page.locator("[data-tool=report]").first.click()
    page.wait_for_timeout(SETTLE_MS)
    yield "report"


def new_page(
    browser: Browser,
    url: str,
    size: tuple[int, int],
    lang: str,
    scheme: Literal["light", "dark"],
    *,
    token: str | None = None,
) -> Page:
    context = browser.new_context(
        base_url=url,
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        extra_http_headers={} if token is None else {"Authorization": f"Bearer {token}"},
    )
    page = context.new_page()
    page.goto(f"/?lang={lang}")
    return page


def take(page: Page, path: str, file: str | Path) -> None:
    page.goto(path)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=file)


def take_all(browser: Browser, url: str, folder: Path, token: str | None, only: str) -> None:
    for (size_name, size), lang, scheme in product(SIZES.items(), PROMPT, SCHEMES):
        variant = f"{size_name}-{lang}-{scheme}"
        if only not in variant:
            continue

        visitor = partial(new_page, browser, url, size, lang, scheme)
        file = f"{folder}/{{}}-{variant}.png".format
        voter, stranger, operator = visitor(), visitor(), visitor(token=token)
        for state in battle(voter, PROMPT[lang]):
            voter.screenshot(path=file(f"battle-{state}"))
        take(stranger, voter.url, file("shared"))
        take(stranger, "/mine", file("mine-empty"))
        for name, path in PAGES.items():
            take(voter, path, file(name))
        for name, path in ADMIN_PAGES.items() if token else ():
            take(operator, path, file(f"admin-{name}"))
        for page in (voter, stranger, operator):
            page.context.close()


def take_for_readme(browser: Browser, url: str, folder: Path) -> None:
    page = new_page(browser, url, SIZES["desktop"], "en", "light")
    for state in battle(page, PROMPT["en"]):
        if state == "ready":
            page.screenshot(path=folder / "battle.png")
    take(page, PAGES["board"], folder / "board.png")
    take(page, PAGES["figures"] + "#predicted", folder / "figures.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs"))
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("--token")
    parser.add_argument("--only", default="", help="variants whose name holds this: phone-zh")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        if options.readme:
            take_for_readme(browser, options.url, options.folder)
        else:
            take_all(browser, options.url, options.folder, options.token, options.only)
        browser.close()


if __name__ == "__main__":
    main()
