#!/usr/bin/env python3
"""Pictures of every page and state, taken from a running arena (`make run` in another terminal).

    .venv/bin/python scripts/screenshots.py http://127.0.0.1:8000 FOLDER

`--readme` takes only those that the README shows, into docs/.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

PAGES = {
    "board": "/board?campaign=llmfao-2023",
    "own-board": "/board",
    "log": "/log",
    "about": "/about",
    "docs": "/api/docs",
    "missing": "/no-such-page",
}
SIZES = {"desktop": (1280, 860), "phone": (390, 844)}
PROMPT = {"en": "Explain why the sky is blue.", "zh": "为什么天空是蓝色的？"}
ANSWER_MS = 120_000


def battle(page: Page, prompt: str) -> Iterator[str]:
    """A battle from the empty page to the reveal; yields the name of each state on the way."""
    page.goto("/")
    yield "ask"
    page.get_by_role("textbox").fill(prompt)
    page.keyboard.press("Enter")
    expect(page.locator("#battle")).to_have_attribute("data-state", "waiting")
    yield "waiting"
    expect(page.locator("[data-answer]").first).not_to_be_empty(timeout=ANSWER_MS)
    page.wait_for_timeout(1_000)
    yield "streaming"
    expect(page.get_by_role("radio").first).to_be_enabled(timeout=ANSWER_MS)
    page.keyboard.press("2")
    page.wait_for_timeout(500)
    yield "ready"
    page.keyboard.press("Enter")
    expect(page.locator("#outcome-title")).to_be_visible()
    page.wait_for_timeout(500)
    yield "voted"


def new_page(browser: Browser, url: str, size: tuple[int, int], lang: str, scheme: str) -> Page:
    context = browser.new_context(
        base_url=url,
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        device_scale_factor=1,
    )
    page = context.new_page()
    page.goto(f"/?lang={lang}")
    return page


def take_all(browser: Browser, url: str, folder: Path) -> None:
    for (size_name, size), lang, scheme in product(SIZES.items(), PROMPT, ("light", "dark")):
        page = new_page(browser, url, size, lang, scheme)
        variant = f"{size_name}-{lang}-{scheme}"
        for name, path in PAGES.items():
            page.goto(path)
            page.wait_for_timeout(300)
            page.screenshot(path=folder / f"{name}-{variant}.png")
        for state in battle(page, PROMPT[lang]):
            page.screenshot(path=folder / f"battle-{state}-{variant}.png")
        page.context.close()


def take_for_readme(browser: Browser, url: str, folder: Path) -> None:
    page = new_page(browser, url, SIZES["desktop"], "en", "light")
    for state in battle(page, PROMPT["en"]):
        if state == "ready":
            page.screenshot(path=folder / "battle.png")
    page.goto(PAGES["board"])
    page.wait_for_timeout(300)
    page.screenshot(path=folder / "board.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs"))
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        take = take_for_readme if options.readme else take_all
        take(browser, options.url, options.folder)
        browser.close()


if __name__ == "__main__":
    main()
