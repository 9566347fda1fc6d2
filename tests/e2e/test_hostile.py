"""Hostile answers in a real battle: nothing runs, nothing is fetched, nothing leaves its box."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Dialog, Page, Request, Route, expect

from arena.endpoints.text import TextCleaner
from tests.e2e.conftest import visitor
from tests.services import ArenaProcess, wait_until
from tests.upstream import Reply, Stage

pytestmark = pytest.mark.browser

DATA = Path(__file__).parents[1] / "data"
CHECKS = Path(__file__).with_name("hostile_checks.js")
KINDS = ("html", "links", "markdown", "text", "maths")
LONGEST = 1_200  # characters of a payload among others; alone each is shown whole
BATCH = (110, 17_000)  # payloads, characters


def unpacked(text: str | list[Any]) -> str:
    """A text, or its parts: strings, and pairs of a string and how often it comes."""
    parts = [text] if isinstance(text, str) else text
    return "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts)


def payloads(kind: str) -> list[str]:
    lines = (DATA / f"hostile_{kind}.jsonl").read_text(encoding="utf-8").splitlines()
    return [unpacked(json.loads(line)["text"]) for line in lines]


def batches() -> Iterator[str]:
    """All payloads, many to an answer, each a paragraph of its own."""
    batch: list[str] = []
    for text in itertools.chain.from_iterable(map(payloads, KINDS)):
        short = text[:LONGEST]
        if len(batch) == BATCH[0] or sum(map(len, batch)) + len(short) > BATCH[1]:
            yield "\n\n".join(batch)
            batch = []
        batch.append(short)
    yield "\n\n".join(batch)


@pytest.fixture
def watched(browser: Browser, theatre: ArenaProcess) -> Iterator[Page]:
    """A visitor whose page tells what got through; a dialog is a script that ran."""
    dialogs: list[str] = []

    def opened(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    with visitor(browser, theatre.url) as page:
        page.on("dialog", opened)
        page.add_init_script(path=CHECKS)
        yield page
    assert dialogs == []


def ask(page: Page) -> None:
    """A battle of this visitor, and its page."""
    battle = page.request.post("/api/battles", data={"prompt": "Do your worst."})
    page.goto(battle.headers["location"].replace("/api", ""))


def wait_until_ready(page: Page) -> None:
    expect(page.get_by_role("radio", name="Tie")).to_be_enabled(timeout=30_000)


def answered(page: Page, stage: Stage, text: str, other: str | None = None) -> None:
    """A battle with these answers, ready for the vote."""
    stage.replies = {"left": Reply(text), "right": Reply(text if other is None else other)}
    ask(page)
    wait_until_ready(page)
    expect(page.locator("[data-answer].plain")).to_have_count(0)


def answered_with_all_parts(page: Page, stage: Stage) -> None:
    """A battle whose answers nobody renders again: nothing is left to be loaded."""
    answered(page, stage, "```js\nlet x;\n```\n\n$x$\n\n" + "line\n\n" * 60)
    expect(page.locator("[data-answer] math")).to_have_count(2)
    expect(page.locator("[data-answer] .hljs-keyword")).to_have_count(2)
    page.wait_for_timeout(300)


def problems(page: Page) -> list[str]:
    found: list[str] = page.evaluate("() => hostile.problems()")
    return found


def test_there_are_more_than_five_hundred_different_payloads() -> None:
    every = list(itertools.chain.from_iterable(map(payloads, KINDS)))
    assert len(set(every)) == len(every) > 500


@pytest.mark.timeout(180)
def test_hostile_answers_stream_into_their_boxes_and_the_ballot_works(
    watched: Page, stage: Stage
) -> None:
    texts = list(batches())
    for left, right in itertools.zip_longest(texts[::2], texts[1::2], fillvalue="Nothing."):
        stage.replies = {
            model: Reply(text, pieces=10, pause=0.08)
            for model, text in zip(stage.MODELS, (left, right), strict=True)
        }
        ask(watched)
        expect(watched.locator("#battle")).to_have_attribute("data-state", "streaming")
        assert problems(watched) == []
        wait_until_ready(watched)
        watched.wait_for_timeout(300)  # the last rendering
        assert problems(watched) == []
        watched.keyboard.press("3")
        watched.keyboard.press("Enter")
        expect(watched.locator("#outcome-title")).to_be_visible()
        assert problems(watched) == []


@pytest.mark.parametrize("kind", KINDS)
def test_each_payload_alone_stays_in_its_box(watched: Page, stage: Stage, kind: str) -> None:
    answered_with_all_parts(watched, stage)
    cleaned = [TextCleaner().clean(text) for text in payloads(kind)]
    assert watched.evaluate("texts => hostile.alone(texts)", cleaned) == {}
    watched.keyboard.press("3")
    watched.keyboard.press("Enter")
    expect(watched.locator("#outcome-title")).to_be_visible()


def test_ink_does_not_leave_its_box(watched: Page, stage: Stage) -> None:
    answered_with_all_parts(watched, stage)
    box = watched.locator("[data-side=a] [data-answer]")
    before = watched.screenshot(mask=[box])
    marks = "Z" + "\u0334\u0340\u0313\u0352\u0489" * 60
    beyond = [f"{'m' * length} $\\rlap{{over the other side, far}}$" for length in range(25, 55)]
    watched.evaluate(
        """async ([box, text]) => {
            const { render } = await import("/static/js/markdown.js");
            box.replaceChildren(render(text));
        }""",
        [box.element_handle(), "\n\n".join([marks, *beyond, marks, "𒐫﷽" * 40, "end\n\n" * 30])],
    )
    watched.wait_for_timeout(300)
    assert watched.screenshot(mask=[box]) == before


HOSTILE_LINK = "https://user@xn--pple-43d.com/%E2%80%AEgpj?q=1"


def test_a_link_asks_before_it_leads_away_and_forgets(watched: Page, stage: Stage) -> None:
    answered(watched, stage, "[Apple](https://user@аpple.com/\u202egpj?q=1)")
    link = watched.locator("[data-side=b] [data-answer] a")
    dialog = watched.get_by_role("dialog", name="Leave Arena?")
    stay = dialog.get_by_role("button", name="Stay here")
    for act in (
        link.click,
        lambda: link.press("Enter"),
        lambda: link.click(button="middle"),
        lambda: link.click(modifiers=["ControlOrMeta"]),
    ):
        act()
        expect(dialog).to_contain_text(HOSTILE_LINK)
        expect(dialog.locator("b")).to_have_text("xn--pple-43d.com")
        expect(dialog.locator(".notice")).to_have_count(2)  # other letters, a name before the @
        expect(stay).to_be_focused()
        watched.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(link).to_be_focused()
    link.click()
    stay.click()
    expect(dialog).to_have_count(0)
    assert len(watched.context.pages) == 1


def test_who_opens_a_link_is_told_to_nobody(watched: Page, stage: Stage) -> None:
    asked: list[Request] = []

    def elsewhere(route: Route) -> None:
        asked.append(route.request)
        route.fulfill(body="<title>elsewhere</title>", content_type="text/html")

    answered(watched, stage, "See https://outside.example/page")
    watched.context.route("https://outside.example/**", elsewhere)
    link = watched.locator("[data-side=a] [data-answer] a")
    link.click()
    with watched.context.expect_page() as opened:
        watched.get_by_role("link", name="Open in a new tab").click()
    opened.value.wait_for_load_state()
    assert [request.url for request in asked] == ["https://outside.example/page"]
    assert "referer" not in asked[0].all_headers()
    assert opened.value.evaluate("() => opener") is None
    opened.value.close()
    expect(watched.get_by_role("dialog")).to_have_count(0)
    expect(link).to_be_focused()


def test_heavy_parts_are_loaded_only_for_answers_that_need_them(
    watched: Page, stage: Stage
) -> None:
    fetched: list[str] = []
    watched.on("request", lambda request: fetched.append(request.url.rpartition("/")[2]))
    answered(watched, stage, "It costs $5 or $6, *really*. `$x$`")
    assert {"katex.js", "highlight.js"}.isdisjoint(fetched)
    answered(watched, stage, "It is $x^2$.\n\n```js\nlet x;\n```")
    expect(watched.locator("[data-answer] math")).to_have_count(2)
    expect(watched.locator("[data-answer] .hljs-keyword")).to_have_count(2)
    assert fetched.count("katex.js") == fetched.count("highlight.js") == 1


RICH = (
    "# Heading\n\n" + "| a " * 30 + "\n" + "|-" * 30 + "\n" + "| 1 " * 30 + "\n\n"
    "```python\nx = 1  # one\n```\n\n> quote\n\n1. [link](https://outside.example)\n\n"
    "$x^2$ and\n\n$$\n" + "a + " * 60 + "b\n$$\n"
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_rich_answer_and_the_question_before_leaving_are_accessible(
    watched: Page, stage: Stage, scheme: Literal["light", "dark"]
) -> None:
    watched.emulate_media(color_scheme=scheme)
    answered(watched, stage, RICH)
    expect(watched.locator("[data-answer] math")).to_have_count(4)
    expect(watched.locator("[data-answer] .hljs-comment")).to_have_count(2)
    findings = Axe().run(watched)
    assert findings.violations_count == 0, findings.generate_report()
    watched.locator("[data-side=a] [data-answer] a").click()
    expect(watched.get_by_role("dialog")).to_be_visible()
    findings = Axe().run(watched)
    assert findings.violations_count == 0, findings.generate_report()


def test_keys_do_not_vote_behind_the_question(watched: Page, stage: Stage) -> None:
    answered(watched, stage, "See https://outside.example/page")
    watched.locator("[data-side=a] [data-answer] a").click()
    watched.keyboard.press("1")
    watched.keyboard.press("Escape")
    expect(watched.get_by_role("dialog")).to_have_count(0)
    assert watched.locator("[name=grade]:checked").count() == 0


@pytest.mark.parametrize("width", [320, 390])
def test_wide_things_scroll_in_their_own_box_on_a_phone(
    watched: Page, stage: Stage, width: int
) -> None:
    watched.set_viewport_size({"width": width, "height": 800})
    answered(watched, stage, RICH)
    expect(watched.locator("[data-answer] math")).to_have_count(4)
    assert problems(watched) == []
    for wide in watched.locator("[data-side=a] [data-answer] .wide").all():
        assert wide.evaluate("box => box.scrollWidth > box.clientWidth")
        wide.focus()
        watched.keyboard.press("ArrowRight")
        wait_until(
            lambda wide=wide: wide.evaluate("box => box.scrollLeft > 0"), what="the box to scroll"
        )
