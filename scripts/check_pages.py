#!/usr/bin/env python3
"""Checks every page of a running arena as a browser sees it, without any other site's help.

    .venv/bin/python scripts/check_pages.py http://127.0.0.1:8000 [--token OPERATOR'S TOKEN]

Prints one line a page and language, then what is wrong; exit status 1 when anything is.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

PAGES = (
    *("/", "/board", "/board?campaign=llmfao-2023", "/board/figures?campaign=llmfao-2023"),
    *("/models/GPT 4?campaign=llmfao-2023", "/mine", "/log", "/log/receipt", "/about", "/api/docs"),
    *("/no-such-page", "/admin"),
)
ADMIN_PAGES = (
    *("/admin", "/admin/models", "/admin/campaigns", "/admin/campaigns/online"),
    *("/admin/moderation", "/admin/audit"),
)
LANGUAGES = {"en": "en", "zh": "zh-Hans"}
FIRST_LOAD_BYTES = 200_000
LONGEST_TITLE = 90
TARGET_PX = 24
NARROWEST_PX = 320
SETTLE_MS = 500
NO_SHIFT = 0.001
SCHEMES: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}},
}
"""By colour scheme, which of axe's rules are asked: only those of colours can differ."""

LOOK = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
"""An object of functions that look at a page from inside."""


@dataclass
class Visit:
    """One page in one language: its figures and what is wrong with it."""

    path: str
    lang: str
    bytes: float = 0.0
    requests: int = 0
    paint: float = 0.0
    dom: float = 0.0
    shift: float = 0.0
    problems: list[str] = field(default_factory=list)

    def line(self) -> str:
        figures = f"{self.bytes / 1000:7.1f} {self.requests:4d} {self.paint:6.0f} {self.dom:6.0f}"
        state = "ok" if not self.problems else f"{len(self.problems)} wrong"
        return f"{self.path:42.42} {self.lang:2} {figures} {self.shift:6.3f}  {state}"


def watch(page: Page, visit: Visit, origin: str) -> None:
    """Count what is transferred, and note every complaint and every request to elsewhere."""
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")

    def finished(event: dict[str, Any]) -> None:
        visit.bytes += event["encodedDataLength"]

    network.on("Network.loadingFinished", finished)

    def asked(request: Any) -> None:
        visit.requests += 1
        if not request.url.startswith((origin, "data:", "blob:")):
            visit.problems.append(f"asks another site: {request.url}")

    page.on("request", asked)
    page.on("pageerror", lambda error: visit.problems.append(f"script error: {error}"))
    page.on("console", lambda message: complain(visit, message.text))


def complain(visit: Visit, text: str) -> None:
    """A message on the console is a fault, but for the browser's own word on a missing page."""
    if not (visit.path == "/no-such-page" and "404" in text):
        visit.problems.append(f"console: {text}")


def faults(seen: dict[str, Any], lang: str) -> Iterator[str]:
    """What is wrong with a page's head and outline."""
    expected = {
        "lang": seen["lang"] == LANGUAGES[lang],
        "title": bool(seen["title"].strip(" ·")) and len(seen["title"]) <= LONGEST_TITLE,
        "description": bool(seen["description"]),
        "viewport": seen["viewport"].startswith("width=device-width, initial-scale=1")
        and "imum-scale" not in seen["viewport"]
        and "user-scalable" not in seen["viewport"],
        "skipLink": seen["skipLink"] == "#main",
        "main": seen["main"] == 1,
        "banner": seen["banner"] == 1,
        "navigation": seen["navigation"] >= 1,
    }
    yield from (f"{name}: {seen[name]!r}" for name, fine in expected.items() if not fine)
    levels = seen["headings"]
    if levels.count(1) != 1:
        yield f"{levels.count(1)} headings of level 1"
    for before, after in pairwise(levels):
        if after > before + 1:
            yield f"a heading of level {after} follows one of level {before}"
    yield from (f"no name: {html}" for html in seen["nameless"])


def check(context: BrowserContext, origin: str, path: str, lang: str) -> Visit:
    """Load a page as a new visitor's browser would, and look at it in three sizes."""
    visit = Visit(path, lang)
    page = context.new_page()
    page.set_viewport_size({"width": 1280, "height": 860})
    watch(page, visit, origin)
    page.goto(f"{path}{'&' if '?' in path else '?'}lang={lang}")
    page.wait_for_timeout(SETTLE_MS)
    times = page.evaluate(f"{LOOK}.times()")
    shift = page.evaluate(f"{LOOK}.shift()")
    visit.paint, visit.dom, visit.shift = times["paint"], times["dom"], shift["sum"]
    visit.problems += faults(page.evaluate(f"{LOOK}.outline()"), lang)
    if visit.bytes > FIRST_LOAD_BYTES:
        visit.problems.append(f"{visit.bytes:.0f} bytes before anything is done")
    if visit.shift > NO_SHIFT:
        moved = ", ".join(shift["moved"])
        visit.problems.append(f"the layout shifts by {visit.shift:.3f}, which moves {moved}")
    for scheme, rules in SCHEMES.items():
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for found in Axe().run(page, options=rules).response["violations"]:
            where = ", ".join(str(node["target"][0]) for node in found["nodes"][:3])
            visit.problems.append(f"axe, {scheme}: {found['help']} ({where})")
    page.set_viewport_size({"width": 390, "height": 844})
    visit.problems += page.evaluate(f"{LOOK}.smallTargets({TARGET_PX})")
    page.set_viewport_size({"width": NARROWEST_PX, "height": 640})
    width = page.evaluate("document.documentElement.scrollWidth")
    if width > NARROWEST_PX:
        visit.problems.append(f"scrolls sideways at {NARROWEST_PX} px: {width} px wide")
    page.close()
    return visit


def visits(browser: Browser, url: str, token: str | None) -> Iterator[Visit]:
    """Every page in every language, each with an empty cache; the operator's with the token."""
    for lang in LANGUAGES:
        for path in PAGES:
            context = browser.new_context(base_url=url)
            yield check(context, url, path, lang)
            context.close()
        if token is not None:
            context = browser.new_context(
                base_url=url, extra_http_headers={"Authorization": f"Bearer {token}"}
            )
            for path in ADMIN_PAGES:
                yield check(context, url, path, lang)
            context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--token", help="checks the operator's area too")
    options = parser.parse_args()
    print(f"{'page':42} {'':2} {'kB':>7} {'req':>4} {'paint':>6} {'DOM':>6} {'shift':>6}")
    wrong = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        for visit in visits(browser, options.url.rstrip("/"), options.token):
            print(visit.line(), flush=True)
            wrong += [f"{visit.path} ({visit.lang}): {problem}" for problem in visit.problems]
        browser.close()
    print("\n".join(["", *wrong]) if wrong else "\nNothing is wrong.")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
