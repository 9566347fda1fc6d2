"""Receipts checked in a real browser: what is true is confirmed, and every forgery is noticed."""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from arena import merkle
from arena.notes import Signer
from tests.e2e.conftest import ADMIN_TOKEN, SIGNING_KEY, visitor
from tests.e2e.voting import CAUSED_BY_THE_TEST, ask_until_ready, vote
from tests.services import ArenaProcess
from tests.upstream import Stage

pytestmark = pytest.mark.browser

Json = dict[str, Any]
PROOF = "**/api/battles/*/proof"
CONSISTENCY = "**/api/log/consistency?*"
PROBLEM = "application/problem+json"
ARENA = Signer(bytes.fromhex(SIGNING_KEY))
STRANGER = Signer(b"another arena's 32 secret bytes.")
CHECKED_MS = 10_000


def check(page: Page) -> None:
    """Nothing for axe to find, and nothing to scroll to sideways."""
    findings = Axe().run(page)
    assert findings.violations_count == 0, findings.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def expect_checked(page: Page, state: str) -> None:
    """Wait for what becomes of the check."""
    expect(page.locator("#proof")).to_have_attribute("data-state", state, timeout=CHECKED_MS)


def key_of(signer: Signer) -> Json:
    """A key as the API gives it."""
    public = base64.b64encode(signer.public_key).decode()
    return {"name": signer.name, "public_key": public, "verifier_key": signer.verifier_key}


def altering(
    page: Page, url: str, alter: Callable[[Json], Json], *, later: timedelta = timedelta()
) -> None:
    """From now on the arena's answers at `url` arrive as `alter` makes them, dated `later`."""

    def answer(route: Route) -> None:
        true = route.fetch()
        date = format_datetime(datetime.now(UTC) + later, usegmt=True)
        headers = {**true.headers, "date": date}
        route.fulfill(response=true, headers=headers, json=alter(true.json()))

    page.route(url, answer)


# --- the arithmetic -------------------------------------------------------------------------------

HOLDS = """async (cases) => {
  const proof = await import("/static/js/proof.js");
  return cases.map(([name, ...given]) => proof[name](...given));
}"""


def hexes(hashes: list[bytes]) -> list[str]:
    return [one.hex() for one in hashes]


def tree_cases(rng: random.Random, size: int) -> Iterator[tuple[list[Any], bool | None]]:
    """Proofs about one tree as Python makes them, and each with something altered.

    With each case, whether it holds. None where Python is to say: the same hashes may prove
    something about trees of two sizes, which is why heads are signed.
    """
    leaves = [rng.randbytes(32) for _ in range(size)]

    def root(until: int) -> str:
        return merkle.root_of(leaves[:until]).hex()

    def subtree(start: int, stop: int) -> bytes:
        return merkle.root_of(leaves[start:stop])

    index, first = rng.randrange(size), rng.randrange(1, size + 1)
    path = hexes(merkle.inclusion_proof(index, size, subtree))
    included = ["isIncluded", leaves[index].hex(), index, size, path, root(size)]
    path = hexes(merkle.consistency_proof(first, size, subtree))
    consistent = ["isConsistent", first, size, root(first), root(size), path]
    for case in (included, consistent):
        yield case, True
        for place in range(1, len(case)):
            holds = None if isinstance(case[place], int) else False
            yield [*case[:place], altered(rng, case[place]), *case[place + 1 :]], holds


def altered(rng: random.Random, part: Any) -> Any:
    """The part of a case with one thing in it changed."""
    match part:
        case int():
            return part + rng.choice([-1, 1])
        case str():
            place = rng.randrange(len(part))
            digit = rng.choice([one for one in "0123456789abcdef" if one != part[place]])
            return part[:place] + digit + part[place + 1 :]
        case _:
            extra = rng.randbytes(32).hex()
            place = rng.randrange(len(part) + 1)
            return rng.choice([[*part[:place], extra, *part[place:]], part[:-1] or [extra]])


def is_proven(case: list[Any]) -> bool:
    """What Python says to a case."""
    name, *given = case
    read = [bytes.fromhex(one) if isinstance(one, str) else one for one in given]
    read = [[bytes.fromhex(node) for node in one] if isinstance(one, list) else one for one in read]
    return bool(
        {"isIncluded": merkle.is_included, "isConsistent": merkle.is_consistent}[name](*read)
    )


def json_value(rng: random.Random, depth: int = 3) -> Any:
    """Any JSON value: numbers of all sizes, text of all planes, keys that sort differently."""
    kind = rng.randrange(8 if depth else 6)
    text = "".join(rng.choice('a€\x7f"\\\n\u2028\ufb33😀𠀀ö10 ') for _ in range(rng.randrange(6)))
    simple = [
        *(None, rng.random() < 0.5, rng.randrange(-(2**53) + 1, 2**53), text),
        *(rng.uniform(-1, 1) * 10 ** rng.randrange(-30, 30), float(rng.randrange(100))),
    ]
    if kind < len(simple):
        return simple[kind]
    items = [json_value(rng, depth - 1) for _ in range(rng.randrange(5))]
    names = [*"19aZ_", "__proto__", "10", "\ufb33", "😀", "ö"]
    return (
        items
        if kind == len(simple)
        else dict(zip(rng.sample(names, len(items)), items, strict=True))
    )


def test_the_browser_proves_and_writes_as_python_does(seat: Page) -> None:
    rng = random.Random(6962)  # noqa: S311  test data
    sizes = [*range(1, 34), *(rng.randrange(34, 300) for _ in range(30))]
    cases = [found for size in sizes for found in tree_cases(rng, size)]
    seat.goto("/log")
    proven = seat.evaluate(HOLDS, [case for case, _ in cases])
    assert proven == [is_proven(case) for case, _ in cases]
    expected = [
        found if true is None else true for found, (_, true) in zip(proven, cases, strict=True)
    ]
    assert proven == expected

    values = [json_value(rng) for _ in range(1_000)]
    # as the server sends them: what JSON makes of a number is part of it
    script = "async (text) => JSON.parse(text).map((await import('/static/js/proof.js')).canonical)"
    written = seat.evaluate(script, json.dumps(values))
    assert written == [rfc8785.dumps(value).decode() for value in values]


def test_the_browser_reads_a_signed_note_and_no_other(seat: Page) -> None:
    head = ARENA.head(5, bytes(32), "2026-01-02T03:04:05.678Z")
    key, other = key_of(ARENA), key_of(STRANGER)
    text, _, signature = head.partition("\n\n")
    forgeries = [
        head.replace("\n5\n", "\n6\n"),
        head.replace(ARENA.name, STRANGER.name),
        f"{text}\n\n{signature[:-10]}{'A' if signature[-10] != 'A' else 'B'}{signature[-9:]}",
        text + "\n",
        head.replace("\n\n", "\n"),
        "",
    ]
    seat.goto("/log")
    cases = [
        ["isSigned", head, key],
        ["isSigned", head, other],
        ["isSigned", head, {**key, "public_key": other["public_key"]}],
    ]
    cases += [["isSigned", forgery, key] for forgery in forgeries]
    assert seat.evaluate(HOLDS, cases) == [True] + [False] * (len(cases) - 1)
    both = head + STRANGER.sign(text + "\n").splitlines()[-1] + "\n"
    cases = [["isSigned", both, key], ["isSigned", both, other], ["readHead", head]]
    said = {
        "name": ARENA.name,
        "size": 5,
        "root": "00" * 32,
        "timestamp": "2026-01-02T03:04:05.678Z",
    }
    assert seat.evaluate(HOLDS, cases) == [True, True, said]


# --- after the vote -------------------------------------------------------------------------------


def voted(page: Page) -> str:
    """Vote in a new battle, and wait until the vote was found in the log; the battle's address."""
    ask_until_ready(page)
    vote(page)
    expect_checked(page, "verified")
    return page.url


def open_details(page: Page) -> Any:
    """The dialog that says how the vote was checked."""
    page.locator("[data-do=open]:visible").click()
    dialog = page.locator("#proof dialog")
    expect(dialog).to_be_visible()
    return dialog


def memory(page: Page) -> Any:
    """The head that the browser remembers."""
    [origin] = page.context.storage_state()["origins"]
    [text] = [one["value"] for one in origin["localStorage"] if one["name"] == "log-head"]
    return json.loads(text)


def outcomes(page: Page) -> list[str]:
    """What came of each check."""
    return [row.get_attribute("data-outcome") or "" for row in page.locator(".checks li").all()]


@dataclass(frozen=True)
class Voter:
    """A browser that voted and remembers a head of the log."""

    url: str
    state: Any

    @property
    def api(self) -> str:
        """The battle that was voted on, as the page reads it."""
        return self.url.replace("/battles/", "/api/battles/")


@pytest.fixture(scope="module")
def regular(browser: Browser, theatre: ArenaProcess, stage: Stage) -> Voter:
    stage.says("Fine.")
    with visitor(browser, theatre.url) as page:
        voted(page)
        return Voter(voted(page), page.context.storage_state())  # the log has at least two records


@contextmanager
def returning(browser: Browser, voter: Voter, **look: Any) -> Iterator[Page]:
    """The voter's browser on another day."""
    origin, state = voter.url.split("/battles/")[0], voter.state
    with visitor(browser, origin, allow=CAUSED_BY_THE_TEST, storage_state=state, **look) as page:
        yield page


def test_a_voter_learns_that_the_vote_is_in_the_log_and_keeps_the_receipt(
    browser: Browser, regular: Voter
) -> None:
    with returning(browser, regular) as page:
        known = memory(page)
        voted(page)
        expect(page.locator(".proof-line")).to_contain_text(
            re.compile(r"in the public log as record [\d,]+, checked in this browser")
        )
        # it is said once to those who listen, and what is being done meanwhile is not
        expect(page.locator("#proof [role=status]")).to_have_text(re.compile("^Your vote is in"))
        assert outcomes(page) == ["ok"] * 7
        assert memory(page)["size"] > known["size"], "the log has grown, and the browser knows it"
        page.locator("[data-do=open]:visible").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="How your vote was checked")
        expect(dialog).to_be_visible()
        check(page)
        with page.expect_download() as started:
            dialog.get_by_role("button", name="Save as a file").click()
        saved = Path(started.value.path()).read_text(encoding="utf-8")
        assert saved.startswith(f"arena receipt v1\n{ARENA.name}\n")
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        page.goto("/log")
        expect(page.locator(".proof-line")).to_contain_text("has only grown")
        check(page)


def test_the_check_is_readable_in_chinese_on_a_dark_phone(browser: Browser, regular: Voter) -> None:
    look = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "locale": "zh-CN"}
    with returning(browser, regular, **look) as page:
        page.goto(regular.url)
        expect_checked(page, "verified")
        expect(page.locator(".proof-line")).to_contain_text("你的投票是公开日志的第")
        open_details(page)
        check(page)
        altering(page, PROOF, wrong_path)
        page.reload()
        expect(page.locator(".alarm")).to_contain_text("本站无法证明这条记录在日志中")
        check(page)
        page.goto("/log")
        expect(page.locator(".proof-line")).to_contain_text("日志只增不改")
        check(page)


# --- forgeries ------------------------------------------------------------------------------------


def flipped(digits: str) -> str:
    return digits[:-1] + ("0" if digits[-1] != "0" else "1")


def forged_signature(note: str) -> str:
    """The note with another key's signature under the arena's name."""
    text, _, signature = note.partition("\n— ")
    name, true = signature.split()
    false = base64.b64decode(STRANGER.sign(text).split()[-1])[4:]
    key_id = base64.b64decode(true)[:4]
    return f"{text}\n— {name} {base64.b64encode(key_id + false).decode()}\n"


def receipt_by(signer: Signer, note: str, **parts: str) -> str:
    """The receipt as `signer` would sign it, with other `record_id` or `leaf` where given."""
    _, _, record_id, leaf, timestamp, *_ = note.splitlines()
    said = {"record_id": record_id, "leaf": leaf, "timestamp": timestamp} | parts
    return signer.receipt(**said)


def with_inclusion(proof: Json, **changed: Any) -> Json:
    return proof | {"inclusion": proof["inclusion"] | changed}


def with_log(proof: Json, size: int, signer: Signer = ARENA) -> Json:
    """The vote is the first of `size` records that never were, in a log that `signer` signed."""
    leaves = [bytes.fromhex(proof["leaf"]), *(bytes([place]) * 32 for place in range(size - 1))]

    def subtree(start: int, stop: int) -> bytes:
        return merkle.root_of(leaves[start:stop])

    root = merkle.root_of(leaves)
    return with_inclusion(
        proof,
        seq=1,
        size=size,
        root=root.hex(),
        path=hexes(merkle.inclusion_proof(0, size, subtree)),
        head=signer.head(size, root, "2026-01-02T03:04:05.678Z"),
    )


def wrong_path(proof: Json) -> Json:
    *path, last = proof["inclusion"]["path"]
    return with_inclusion(proof, path=[*path, flipped(last)])


def by_a_stranger(proof: Json) -> Json:
    """Everything is true, but another key signs it."""
    found = proof["inclusion"]
    head = STRANGER.head(found["size"], bytes.fromhex(found["root"]), "2026-01-02T03:04:05.678Z")
    return with_inclusion(proof, head=head) | {"key": key_of(STRANGER)}


Alter = Callable[[Json], Json]
"""What a dishonest arena makes of a true answer."""

NOT_SIGNED = "The receipt is not signed by this arena's key, or it is for another record"
NOT_PROVEN = "cannot prove that the record is in the log"
NOT_THE_HEAD = "head is not signed by this arena's key"
OTHER_RECORD = "its fingerprint is another"
REWRITTEN = "The log was rewritten"

FORGED_PROOFS: dict[str, tuple[Alter, str]] = {
    "the grade in the record": (
        lambda proof: proof | {"record": proof["record"] | {"grade": -2}},
        OTHER_RECORD,
    ),
    "a field that the page does not show": (
        lambda proof: proof | {"record": proof["record"] | {"propensity": 0.25}},
        OTHER_RECORD,
    ),
    "the path": (wrong_path, NOT_PROVEN),
    "the place": (
        lambda proof: with_inclusion(
            proof, seq=proof["inclusion"]["seq"] % proof["inclusion"]["size"] + 1
        ),
        NOT_PROVEN,
    ),
    "the head's signature": (
        lambda proof: with_inclusion(proof, head=forged_signature(proof["inclusion"]["head"])),
        NOT_THE_HEAD,
    ),
    "a head of another tree": (
        lambda proof: with_inclusion(proof, head=with_log(proof, 9)["inclusion"]["head"]),
        NOT_THE_HEAD,
    ),
    "a shorter log": (lambda proof: with_log(proof, 1), "records are gone"),
    "a log as long, of others": (
        lambda proof: with_log(proof, proof["inclusion"]["size"]),
        REWRITTEN,
    ),
    "a longer log of others": (
        lambda proof: with_log(proof, proof["inclusion"]["size"] + 3),
        REWRITTEN,
    ),
    "all of it": (lambda _: {"inclusion": {"head": 1, "path": 7}}, NOT_SIGNED),
}

FORGED_BATTLES: dict[str, tuple[Alter, str]] = {
    "the receipt's signature": (
        lambda battle: {"signed_receipt": forged_signature(battle["signed_receipt"])},
        "receipt.failed",
    ),
    "a receipt for another record": (
        lambda battle: {
            "signed_receipt": receipt_by(ARENA, battle["signed_receipt"], record_id="0" * 32)
        },
        "receipt.failed",
    ),
    "a receipt for another leaf": (
        lambda battle: {
            "signed_receipt": receipt_by(ARENA, battle["signed_receipt"], leaf="0" * 64)
        },
        "receipt.failed",
    ),
    "the leaf": (lambda battle: {"receipt": flipped(battle["receipt"])}, "receipt.failed"),
    "the battle": (lambda battle: {"campaign": "another"}, "vote.failed"),
    "the grade": (lambda battle: {"grade": -1}, "vote.failed"),
    "the mark that both are bad": (lambda battle: {"both_bad": True}, "vote.failed"),
    "the models": (
        lambda battle: {"model_a": battle["model_b"], "model_b": battle["model_a"]},
        "vote.failed",
    ),
}


def expect_alarm(page: Page, words: str) -> None:
    expect(page.locator(".alarm")).to_contain_text(words, timeout=CHECKED_MS)
    expect_checked(page, "failed")
    expect(page.locator(".proof-line")).to_be_hidden()


def test_every_forged_proof_raises_the_alarm(browser: Browser, regular: Voter) -> None:
    with returning(browser, regular) as page:
        page.goto(regular.url)
        expect_checked(page, "verified")
        known = memory(page)
        for name, (alter, words) in FORGED_PROOFS.items():
            page.unroute_all()
            altering(page, PROOF, alter)
            with page.expect_response(PROOF):
                if page.locator(".alarm").is_visible():
                    page.locator(".alarm [data-do=again]").click()
                else:
                    page.reload()
            expect_alarm(page, words)
            assert memory(page) == known, name
        page.unroute_all()
        page.locator(".alarm [data-do=again]").click()
        expect_checked(page, "verified")


def test_a_battle_that_the_page_has_otherwise_than_the_log_is_noticed(
    browser: Browser, regular: Voter
) -> None:
    with returning(browser, regular) as page:
        true = page.request.get(regular.api).json()
        page.goto("/log")
        script = "async (vote) => (await import('/static/js/verdict.js')).checkVote(vote)"
        assert page.evaluate(script, true)["state"] == "verified"
        for name, (alter, fault) in FORGED_BATTLES.items():
            assert page.evaluate(script, true | alter(true))["fault"] == fault, name


def remember_one_record(page: Page) -> Json:
    """Let the browser remember a head of another log, of one record; what it remembers now."""
    page.goto("/about")
    known: Json = memory(page) | {"size": 1}
    page.evaluate("(head) => localStorage.setItem('log-head', JSON.stringify(head))", known)
    return known


def answer(page: Page, url: str, status: int, media: str, body: str) -> None:
    """From now on this is what comes from `url`."""
    page.route(url, lambda route: route.fulfill(status=status, content_type=media, body=body))


DENIAL = (404, PROBLEM, '{"type": "/api/docs#not-found", "status": 404, "field": "to"}')
"""The arena says that its log is not as long as the head that it signed."""
NO_ANSWERS = [
    *((status, "text/html", "<h1>Out of order</h1>") for status in (200, 401, 403, 404, 500)),
    (404, PROBLEM, '{"type": "/api/docs#not-found", "status": 404}'),
    (408, "application/json", "{}"),
    (500, PROBLEM, '{"type": "/api/docs#internal", "status": 500}'),
]
"""What a proxy, a guard or a bug says in place of the arena: nothing of its log."""


def test_only_the_arena_can_say_that_it_rewrote_its_log(browser: Browser, regular: Voter) -> None:
    with returning(browser, regular) as page:
        remember_one_record(page)
        true = page.request.get(regular.api).json()
        script = "async (vote) => (await import('/static/js/verdict.js')).checkVote(vote)"
        for status, media, body in NO_ANSWERS:
            answer(page, CONSISTENCY, status, media, body)
            found = page.evaluate(script, true)
            assert (found["state"], found.get("fault")) == ("unreachable", None), (status, media)
        page.goto(regular.url)
        expect_checked(page, "unreachable")
        expect(page.locator(".proof-line")).to_contain_text("has only grown could not be asked")
        page.goto("/log")
        expect_checked(page, "unreachable")
        altering(page, PROOF, wrong_path)  # what is proven false is said, whatever else is not
        page.goto(regular.url)
        expect_alarm(page, NOT_PROVEN)


def test_an_arena_that_denies_its_history_raises_the_alarm(
    browser: Browser, regular: Voter
) -> None:
    with returning(browser, regular) as page:
        known = remember_one_record(page)
        answer(page, CONSISTENCY, *DENIAL)
        page.goto(regular.url)
        expect_alarm(page, REWRITTEN)
        check(page)
        with page.expect_download() as started:
            page.get_by_role("button", name="Save the evidence").click()
        evidence = json.loads(Path(started.value.path()).read_text(encoding="utf-8"))
        assert evidence["last"] == known, "what contradicts the arena's own signature"
        assert evidence["inclusion"]["head"].startswith(ARENA.name)
        assert evidence["receipt"].startswith("arena receipt v1\n")
        page.goto("/log")
        expect_alarm(page, REWRITTEN)
        check(page)


def test_another_key_is_said_plainly_and_trusted_only_when_the_voter_says_so(
    browser: Browser, regular: Voter
) -> None:
    with returning(browser, regular) as page:
        altering(
            page,
            regular.api,
            lambda battle: (
                battle | {"signed_receipt": receipt_by(STRANGER, battle["signed_receipt"])}
            ),
        )
        altering(page, PROOF, by_a_stranger)
        page.goto(regular.url)
        expect_alarm(page, "signs with another key than when this browser was last here")
        dialog = open_details(page)
        assert outcomes(page) == ["ok"] * 5 + ["changed", "ok"]
        check(page)
        dialog.get_by_role("button", name="Forget, and check again").click()
        expect_checked(page, "verified")
        assert outcomes(page) == ["ok"] * 5 + ["first", "first"]


# --- waiting, away, and a browser that keeps nothing ----------------------------------------------


def waits(proof: Json) -> Json:
    return proof | {"inclusion": None}


def test_a_vote_without_its_place_is_waited_for_and_then_left_for_later(
    browser: Browser, regular: Voter
) -> None:
    with returning(browser, regular) as page:
        page.add_init_script(
            "const wait = setTimeout; setTimeout = (act, ms, ...all) => wait(act, ms / 50, ...all)"
        )
        altering(page, PROOF, waits)
        page.goto(regular.url)
        expect(page.locator(".proof-line")).to_contain_text("waiting for its place")
        expect(page.locator("#proof [role=status]")).to_be_empty()
        expect_checked(page, "later")
        assert outcomes(page) == ["ok"] * 3 + ["open"] * 3
        expect(page.locator("#proof [role=status]")).to_contain_text("no place for it yet")
        check(page)
        page.unroute(PROOF)
        page.get_by_role("button", name="Check again").click()
        expect_checked(page, "verified")


def unsigned(proof: Json) -> Json:
    """A place in a tree that nobody signed."""
    return with_inclusion(proof, head=None)


def test_a_vote_that_no_signed_head_covers_after_a_day_raises_the_alarm(
    browser: Browser, regular: Voter
) -> None:
    with returning(browser, regular) as page:
        for unproven in (waits, unsigned):
            page.clock.set_fixed_time(datetime.now(UTC) + timedelta(days=400))
            altering(page, PROOF, unproven)  # a wrong clock of the visitor's accuses nobody
            page.goto(regular.url)
            expect_checked(page, "waiting")
            assert outcomes(page) == ["ok"] * 3 + ["open"] * 3
            page.unroute_all(behavior="ignoreErrors")
            altering(page, PROOF, unproven, later=timedelta(days=1, minutes=1))
            page.clock.set_fixed_time(datetime.now(UTC) - timedelta(days=400))  # nor hides anything
            page.goto(regular.url)
            expect_alarm(page, "a day old, and no signed head of the log covers its record")
            page.unroute_all(behavior="ignoreErrors")


def test_an_arena_that_cannot_be_asked_is_asked_again(browser: Browser, regular: Voter) -> None:
    with returning(browser, regular) as page:
        page.route(PROOF, lambda route: route.abort())
        page.goto(regular.url)
        expect_checked(page, "unreachable")
        expect(page.locator(".proof-line")).to_contain_text("The server cannot be reached")
        expect(open_details(page)).to_contain_text("arena receipt v1")
        page.keyboard.press("Escape")
        page.unroute(PROOF)
        page.evaluate("dispatchEvent(new Event('online'))")
        expect_checked(page, "verified")


def test_a_browser_that_keeps_nothing_still_checks_and_says_so(
    browser: Browser, regular: Voter
) -> None:
    with returning(browser, regular) as page:
        page.add_init_script(
            "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }})"
        )
        page.goto(regular.url)
        expect_checked(page, "verified")
        expect(page.locator(".proof-line")).to_contain_text("This browser keeps nothing")
        assert outcomes(page)[-1] == "unkept"


# --- any receipt, and all of one's own ------------------------------------------------------------


def test_anybody_checks_any_receipt(browser: Browser, regular: Voter) -> None:
    with returning(browser, regular) as page:
        receipt = page.request.get(regular.api).json()["signed_receipt"]
    origin = regular.url.split("/battles/")[0]
    said = receipt.splitlines()
    with visitor(browser, origin, allow=CAUSED_BY_THE_TEST) as page:
        page.goto("/log")
        page.get_by_role("link", name="Check a receipt").click()
        notice, box = page.locator("#notice"), page.get_by_role("textbox", name="Receipt")
        page.get_by_role("button", name="Check", exact=True).click()
        expect(notice).to_have_text("Paste a receipt first, or choose its file.")
        expect(box).to_be_focused()
        check(page)
        box.fill("arena receipt v2")
        page.get_by_role("button", name="Check", exact=True).click()
        expect(notice).to_contain_text("This is not a receipt")
        expect(page.locator("#proof")).to_be_hidden()

        def expect_outcome(note: str, state: str, words: str) -> None:
            page.locator("#file").set_input_files(
                {"name": "receipt.txt", "mimeType": "text/plain", "buffer": note.encode()}
            )
            expect(page.locator("#proof")).to_contain_text(words)
            expect_checked(page, state)
            expect(notice).to_be_hidden()

        expect_outcome(receipt.replace("\n", "\r\n") + " ", "verified", "The receipt is genuine")
        check(page)
        expect_outcome(forged_signature(receipt), "failed", NOT_SIGNED)
        check(page)
        expect_outcome(STRANGER.receipt(*said[2:5]), "failed", NOT_SIGNED)
        expect_outcome(ARENA.receipt(said[2], "0" * 64, said[4]), "failed", NOT_PROVEN)
        unknown, old = "f" * 32, "2020-01-02T03:04:05.678Z"
        expect_outcome(ARENA.receipt(unknown, said[3], old), "failed", "more than a day old")
        expect_outcome(ARENA.receipt(unknown, said[3], said[4]), "waiting", "still waiting")


def test_a_file_that_is_chosen_before_the_page_is_ready_is_checked(
    browser: Browser, regular: Voter
) -> None:
    with returning(browser, regular) as page:
        receipt = page.request.get(regular.api).json()["signed_receipt"]
        late: list[Route] = []
        page.route("**/static/i18n/*.json", lambda route: late.append(route))  # noqa: PLW0108  playwright refuses a method of a list
        page.goto("/log/receipt")
        page.locator("#file").set_input_files(
            {"name": "receipt.txt", "mimeType": "text/plain", "buffer": receipt.encode()}
        )
        late[0].continue_()
        expect_checked(page, "verified")


def test_a_receipt_of_an_earlier_key_is_genuine_and_says_so(
    browser: Browser, regular: Voter
) -> None:
    with returning(browser, regular) as page:
        receipt = page.request.get(regular.api).json()["signed_receipt"]
        older = {"name": "receipt.txt", "mimeType": "text/plain"}
        page.goto("/log/receipt")
        altering(page, "**/api/log/head", lambda head: head | {"keys": [key_of(STRANGER)]})
        for leaf, state in ((receipt.splitlines()[3], "verified"), ("0" * 64, "failed")):
            note = receipt_by(STRANGER, receipt, leaf=leaf)
            page.locator("#file").set_input_files(older | {"buffer": note.encode()})
            expect_checked(page, state)
            assert outcomes(page)[0] == "earlier"
        script = "async (note) => (await import('/static/js/verdict.js')).checkReceipt(note)"
        found = page.evaluate(script, receipt_by(STRANGER, receipt))
        assert (found["state"], found["outcomes"]["key"]) == ("verified", "ok")


def test_all_votes_of_a_voter_are_checked_at_once(browser: Browser, regular: Voter) -> None:
    with returning(browser, regular) as page:
        page.goto("/mine")
        page.get_by_role("button", name="Check that these votes are in the log").click()
        expect(page.locator("#checked")).to_have_text(
            re.compile(r"^In the public log, checked in this browser: (\d+) of \1\.$")
        )
        expect(page.locator(".place").first).to_contain_text("In the log as record")
        altering(page, PROOF, wrong_path)
        page.get_by_role("button", name="Check that these votes are in the log").click()
        expect(page.locator("#checked")).to_contain_text("The check failed for")
        check(page)
        page.get_by_role("link", name="The check failed: see why").first.click()
        expect_alarm(page, NOT_PROVEN)


# --- in the log, and yet not counted --------------------------------------------------------------


def test_a_vote_in_the_log_that_no_board_counts_is_said_to_be_so(seat: Page, stage: Stage) -> None:
    stage.says(f"I am {stage.MODELS[0]}, an AI.")
    voted(seat)
    line, rows = seat.locator(".proof-line"), seat.locator(".own > li")
    expect(line).to_contain_text("checked in this browser. It is not counted on the main board.")
    stage.says("Fine.")
    battle = voted(seat).split("/battles/")[1]
    expect(line).not_to_contain_text("counted")
    seat.goto("/mine")
    expect(rows.nth(0).locator(".uncounted")).to_have_count(0)
    expect(rows.nth(1)).to_contain_text("Not on the main board: an answer named its model")
    answer = seat.request.post(
        f"/admin/moderation/votes/{battle}/exclude",
        form={"reason": "sent by a script"},
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
    )
    assert answer.ok
    seat.reload()
    expect(rows.nth(0)).to_contain_text("Not on any board: sent by a script")
    check(seat)
    seat.goto(f"/battles/{battle}")
    expect(line).to_contain_text("checked in this browser. It is not counted on any board")
    expect(line).to_contain_text("Reason: sent by a script")


# --- the pages about it ---------------------------------------------------------------------------


def test_the_log_is_told_in_plain_words_and_what_is_technical_is_folded(seat: Page) -> None:
    seat.goto("/log")
    link = seat.get_by_role("link", name="Download all of it")
    assert link.get_attribute("href") == "/api/votes?format=jsonl"
    expect(seat.get_by_role("link", name="Check a receipt")).to_be_in_viewport()
    expect(seat.locator("#fields dl")).to_be_hidden()
    seat.locator("#fields summary").click()
    expect(seat.locator("#fields dl")).to_be_visible()
    check(seat)


def test_an_event_has_a_lasting_address_that_people_can_read(seat: Page) -> None:
    seat.goto("/events")
    oldest = seat.locator(".event").last
    name = oldest.get_attribute("id")
    oldest.get_by_role("link", name=re.compile("^record")).click()
    expect(seat.locator(".event").first).to_have_attribute("id", str(name))
    expect(seat.locator(".event:target")).to_have_count(1)
    check(seat)
