"""Nothing that reaches a browser before the vote names a model or says which side it is."""

from __future__ import annotations

import base64
import math
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from arena import identity
from arena.battle import Message
from arena.boards import METHODS
from arena.clock import now
from arena.errors import EndpointBroken, EndpointRefused
from arena.interfaces import Finished, ModelEntry
from arena.views.context import VOTER_COOKIE
from tests.arena.http_world import BEGUN, World, parse_sse
from tests.fakes import a_battle, a_turn
from tests.services import redis_server


def token() -> str:
    """A word that nothing else in the world says."""
    return f"Zq{secrets.token_hex(9)}"


def secret_model() -> tuple[ModelEntry, list[str]]:
    """A model whose every property is a token of its own, and those tokens."""
    words = [token() for _ in range(10)]
    entry = ModelEntry(
        id=words[0],
        name=f"The {words[1]}/β v1",
        organization=words[2],
        base_url=f"http://{words[3].lower()}.example/v1",
        model=words[4],
        api_key_env=words[5].upper(),
        parameters={words[6]: words[7]},
        license=words[8],
        link=f"https://example.org/{words[9]}",
    )
    return entry, words


@pytest.fixture(scope="module")
def models() -> tuple[tuple[ModelEntry, list[str]], tuple[ModelEntry, list[str]]]:
    return secret_model(), secret_model()


@pytest.fixture(scope="module")
def world(
    models: Iterable[tuple[ModelEntry, list[str]]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """An arena of these two models only, in which nothing is published just because it is time."""
    folder: Path = tmp_path_factory.mktemp("arena")
    entries = [entry for entry, _ in models]
    with pytest.MonkeyPatch.context() as patch, redis_server() as url:
        for pace in ("_VOID_RATES_SECONDS", "_FIGURES_SECONDS"):
            patch.setattr(f"arena.worker.{pace}", math.inf)
        with World(folder, url, entries) as made:
            made.wait_published()
            yield made


@pytest.fixture(autouse=True)
def settled(world: World) -> None:
    """The votes of earlier tests are sealed and counted: no news comes while a test looks."""
    world.wait_sealed()
    world.wait_counted(*METHODS)


# --- recording ----------------------------------------------------------------------------------


class Browser:
    """A browser's requests, and every byte that came back: statuses, headers and bodies."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._client = FlaskClient(world.app, world.app.response_class, use_cookies=True)
        self.traffic: list[bytes] = []

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> bytes:
        answer = self._client.open(path, method=method, json=body, headers=headers, buffered=True)
        data = answer.get_data()
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        self.traffic.append(f"{method} {answer.status}\r\n{head}\r\n".encode() + data)
        return data

    def voter(self) -> str:
        cookie = self._client.get_cookie(VOTER_COOKIE)
        assert cookie is not None
        return cookie.value.partition(".")[0]

    def start(self, prompt: str) -> str:
        with self._world.held():
            data = self("POST", "/api/battles", {"prompt": prompt})
        found = re.search(rb'"id":"([^"]+)"', data)
        assert found, data
        return found[1].decode()

    def follow_up(self, battle: str, prompt: str) -> None:
        with self._world.held():
            self("POST", f"/api/battles/{battle}/turns", {"prompt": prompt})
        self("GET", f"/api/battles/{battle}/events")


def look_everywhere(browser: Browser, battle: str) -> None:
    """Everything a page (or a curious voter) can ask for before the vote."""
    path = f"/api/battles/{battle}"
    for method, address, body in (
        ("GET", path, None),
        ("HEAD", path, None),
        ("OPTIONS", path, None),
        ("HEAD", f"{path}/events?turn=1", None),
        ("OPTIONS", f"{path}/events", None),
        ("GET", f"{path}/proof", None),
        ("GET", f"{path}/events?turn=1", None),
        ("GET", f"{path}/events?turn=7", None),
        ("GET", f"{path}/events?turn=x", None),
        ("GET", f"{path}/vote", None),
        ("GET", f"{path}/nope", None),
        ("POST", f"{path}/vote", {"grade": 9}),
        ("POST", f"{path}/vote", {"nope": 9}),
        ("POST", f"{path}/turns", {"prompt": ""}),
        ("POST", f"{path}/report", {"reason": "odd"}),
        ("POST", "/api/battles", {"prompt": "hello", "campaign": "nope"}),
        ("POST", f"{path}/share", None),
        ("GET", "/api/battles", None),
        ("GET", "/api/battles/export", None),
        ("GET", "/mine", None),
        ("GET", "/", None),
        ("GET", f"/battles/{battle}", None),
        ("GET", "/about", None),
        ("GET", "/log", None),
        ("GET", "/readyz", None),
        ("GET", "/healthz", None),
        ("GET", "/metrics", None),
        ("GET", "/api/campaigns", None),
        ("GET", "/api/openapi.json", None),
        ("GET", "/api/docs", None),
    ):
        browser(method, address, body)
    browser("GET", path, **{"Accept-Encoding": "gzip"})
    browser("GET", path, **{"If-None-Match": "*"})
    browser("GET", f"/battles/{battle}", **{"Accept-Encoding": "gzip"})


# --- scenarios: everything that can happen before a vote ----------------------------------------

HELLO = ["Hello there.", Finished("stop", 3)]


def say(world: World, prompt: str, **by_side: Any) -> None:
    """Script the sides of the battle that is drawn next."""
    assert world.draw.order is not None
    world.answers(prompt, **dict(zip(world.draw.order, by_side.values(), strict=True)))


def ready(world: World, browser: Browser) -> str:
    battle = browser.start("hello")
    browser("GET", f"/api/battles/{battle}/events")
    return battle


def length_and_filter(world: World, browser: Browser) -> str:
    say(world, "end", a=["Same size.", Finished("length")], b=["Size same.", Finished("stop")])
    battle = browser.start("end")
    browser("GET", f"/api/battles/{battle}/events")
    return battle


def stopped(world: World, browser: Browser) -> str:
    gate = threading.Event()
    text = [BEGUN, gate, Finished("stop")]
    say(world, "stop me", a=text, b=text)
    battle = browser.start("stop me")
    browser("POST", f"/api/battles/{battle}/vote", {"grade": 1})
    browser("POST", f"/api/battles/{battle}/stop")
    browser("GET", f"/api/battles/{battle}/events")
    gate.set()
    return battle


def failing(side: str, error: type[EndpointBroken | EndpointRefused], late: bool) -> Any:
    def scenario(world: World, browser: Browser) -> str:
        names = world.draw.order
        assert names is not None
        model = names["ab".index(side)]
        entry = next(entry for entry in world.models() if entry.id == model)
        what = f"{entry.name} ({entry.model}) at {entry.base_url} said no: {entry.api_key_env}"
        begin = [BEGUN] if late else []
        broken, hanging = [*begin, error(what)], [*begin, threading.Event()]
        say(world, what, a=broken, b=hanging) if side == "a" else say(
            world, what, a=hanging, b=broken
        )
        # the voter's own prompt must not hold the tokens that are looked for
        world.scripts["fail"] = world.scripts.pop(what)
        battle = browser.start("fail")
        browser("GET", f"/api/battles/{battle}/events")
        return battle

    return scenario


def failed_follow_up(world: World, browser: Browser) -> str:
    battle = ready(world, browser)
    failing("b", EndpointBroken, late=False)(world, Browser(world))  # scripts the prompt "fail"
    browser.follow_up(battle, "fail")
    browser("GET", f"/api/battles/{battle}/events?turn=2")
    return battle


def followed_up(world: World, browser: Browser) -> str:
    battle = ready(world, browser)
    browser.follow_up(battle, "hello")
    return battle


def continued(world: World, browser: Browser) -> str:
    """A battle that goes on with another one, whose names its voter has seen."""
    assert world.draw.order is not None
    browser("GET", "/")
    opening = Message("user", "Who?"), Message("assistant", "Somebody.")
    battle = a_battle(
        secrets.token_urlsafe(16),
        voter=browser.voter(),
        created_at=now(),
        model_a=world.draw.order[0],
        model_b=world.draw.order[1],
        continued_from="another",
    )
    world.store.battles.add(battle, a_turn(battle.id, prompt="hello"), opening)
    world.services.live.wake_runner(battle.id)
    browser("GET", f"/api/battles/{battle.id}/events")
    assert b"Somebody." in browser("GET", f"/api/battles/{battle.id}")
    return battle.id


def skipped(world: World, browser: Browser) -> str:
    battle = ready(world, browser)
    browser("POST", f"/api/battles/{battle}/skip")
    return battle


def slow_and_quick(world: World, browser: Browser) -> str:
    """One side sends all at once, the other letter by letter; either may be the first model's."""
    text = "Both say this, and it takes some steps to say. " * 3
    say(world, "race", a=[text, Finished("stop", 99)], b=[*text, Finished("stop")])
    battle = browser.start("race")
    browser("GET", f"/api/battles/{battle}/events")
    return battle


SCENARIOS: dict[str, Callable[[World, Browser], str]] = {
    "ready": ready,
    "ends of other kinds": length_and_filter,
    "a slow and a quick side": slow_and_quick,
    "stopped": stopped,
    "side a refuses": failing("a", EndpointRefused, late=False),
    "side b refuses": failing("b", EndpointRefused, late=False),
    "side a breaks": failing("a", EndpointBroken, late=True),
    "side b breaks": failing("b", EndpointBroken, late=True),
    "follow-up": followed_up,
    "follow-up fails": failed_follow_up,
    "continued": continued,
    "skipped": skipped,
}


REQUEST_ID = (rb"(X-Request-ID: |\"request_id\": ?\")[0-9a-f]{32}", rb"\1<request>")
NAMING = (
    *("/api/models", "/api/board", "/api/boards", "/api/votes", "/board", "/board/past"),
    *("/api/log/head", "/api/log/inclusion?seq=1", "/api/log/consistency?from=1&to=2", "/log"),
    *("/api/log/events", "/api/log/manifest", "/events", "/events.atom", "/api/sealed"),
    *("/api/board/pairs", "/api/board/history", "/api/campaigns", "/board/figures", "/about"),
)
"""What names models on purpose, or follows from the log that does."""


@contextmanager
def quiet(world: World) -> Iterator[None]:
    """Assert that what names models on purpose says nothing of a battle: it does not change."""

    def legitimate() -> list[bytes]:
        client = world.app.test_client()
        told = [client.get(path, buffered=True).get_data() for path in NAMING]
        return [re.sub(*REQUEST_ID, answer) for answer in told]

    before = legitimate()
    yield
    assert legitimate() == before


def disguises(word: str) -> set[bytes]:
    """The word as it is, and as encodings would show it; all in lower case."""
    forms = set()
    for text in {word, word.lower(), word.upper()}:
        raw = text.encode()
        forms |= {raw, raw[::-1], raw.hex().encode(), quote(text).encode()}
        forms |= {"".join(f"%{byte:02x}" for byte in raw).encode()}
        forms |= {"".join(f"\\u{ord(char):04x}" for char in text).encode()}
        for shift in range(3):  # where it stands in a longer text; the rims depend on neighbours
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                forms.add(encode(b"\0" * shift + raw).rstrip(b"=")[4 if shift else 0 : -2])
    return {form.lower() for form in forms}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_no_byte_before_the_vote_names_a_model(
    world: World,
    models: Iterable[tuple[ModelEntry, list[str]]],
    scenario: Callable[[World, Browser], str],
) -> None:
    ids = [entry.id for entry, _ in models]
    for order in (ids, ids[::-1]):
        browser = Browser(world)
        with world.pinned(*order), quiet(world):
            battle = scenario(world, browser)
            look_everywhere(browser, battle)
        seen = b"\n".join(browser.traffic).lower()
        assert len(seen) > 10_000
        for entry, words in models:
            for word in [*words, entry.base_url, entry.name]:
                for form in disguises(word):
                    assert form not in seen, f"{word} as {form!r}"


def test_the_search_finds_what_a_reveal_says(
    world: World, models: Iterable[tuple[ModelEntry, list[str]]]
) -> None:
    """The test above could not fail if this one did not pass."""
    browser = Browser(world)
    battle = ready(world, browser)
    browser("POST", f"/api/battles/{battle}/vote", {"grade": 0})
    seen = b"\n".join(browser.traffic).lower()
    for _, words in models:
        assert any(form in seen for form in disguises(words[0]))
    for text in (f"x{models.__class__.__name__}", words[1]):
        hidden = base64.b64encode(f"ab{text}cd".encode()).lower()
        assert any(form in hidden for form in disguises(text))


# --- swapping the sides -------------------------------------------------------------------------

CHANGING = (
    (rb"arena_voter=[^;]+; Expires=[^;]+", b"arena_voter=*"),
    (rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", b"<time>"),
    (rb">\d{1,2} [A-Z][a-z]+ \d{4}, \d\d:\d\d UTC<", b"><time><"),  # a minute may pass
    REQUEST_ID,
    (rb'"state":"(created|running)"', b'"state":"<begun>"'),  # a runner may be quick or slow
)


def neutral(traffic: Iterable[bytes], battle: str) -> list[bytes]:
    """The traffic without what differs between any two battles."""
    made = []
    for part in traffic:
        text = part.replace(battle.encode(), b"<battle>")
        for pattern, filler in CHANGING:
            text = re.sub(pattern, filler, text)
        made.append(text)
    return made


def assert_alike(one: list[bytes], other: list[bytes]) -> None:
    """Assert equality answer by answer, so that a failure shows the one that differs."""
    for mine, yours in zip(one, other, strict=True):
        assert mine.decode().splitlines() == yours.decode().splitlines()


def test_that_an_answer_named_its_model_changes_no_byte_before_the_vote(
    world: World,
    models: Iterable[tuple[ModelEntry, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same answers once found to tell and once not: only the stored turn differs."""
    ids, found, seen = [entry.id for entry, _ in models], [], []
    said = [f"I am {ids[0]}, as you see.", Finished("stop")]
    world.answers("who", **{model: said for model in ids})
    for is_blind in (False, True):
        if is_blind:
            monkeypatch.setattr(identity.Lookout, "found", lambda _: None)
        browser = Browser(world)
        with world.pinned(ids[0], ids[1]):
            battle = browser.start("who")
            browser("GET", f"/api/battles/{battle}/events")
            look_everywhere(browser, battle)
        found.append([leak.side for leak in world.store.battles.turns(battle)[0].leaks])
        seen.append(neutral(browser.traffic, battle))
    assert found == [["a", "b"], []]
    assert_alike(*seen)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_swapping_the_models_changes_no_byte(
    world: World,
    models: Iterable[tuple[ModelEntry, list[str]]],
    scenario: Callable[[World, Browser], str],
) -> None:
    ids = [entry.id for entry, _ in models]
    seen = []
    for order in (ids, ids[::-1]):
        browser = Browser(world)
        with world.pinned(*order):
            battle = scenario(world, browser)
            look_everywhere(browser, battle)
        seen.append(neutral(browser.traffic, battle))
    assert_alike(*seen)


@pytest.mark.parametrize("error", [EndpointBroken, EndpointRefused])
@pytest.mark.parametrize("late", [False, True])
def test_which_side_failed_cannot_be_told(
    world: World,
    models: Iterable[tuple[ModelEntry, list[str]]],
    error: type[EndpointBroken | EndpointRefused],
    late: bool,
) -> None:
    seen = []
    for side in "ab":
        browser = Browser(world)
        with world.pinned(*(entry.id for entry, _ in models)):
            battle = failing(side, error, late)(world, browser)
            look_everywhere(browser, battle)
        seen.append(neutral(browser.traffic, battle))
    assert_alike(*seen)


def test_swapping_how_the_endpoints_send_mirrors_what_a_browser_gets(
    world: World, models: Iterable[tuple[ModelEntry, list[str]]]
) -> None:
    """The same words by a quick and a slow endpoint, then by a slow and a quick one.

    How many frames there are depends on the moment; what they say together, where they stand and
    all that is beside them does not.
    """
    text = "What is said is the same, however it is sent. " * 3
    quick, slow = [text, Finished("stop", 40)], [*text, Finished("stop")]
    ids = [entry.id for entry, _ in models]
    seen = []
    for a, b in ((quick, slow), (slow, quick)):
        browser = Browser(world)
        with world.pinned(*ids):
            say(world, "swap", a=a, b=b)
            battle = browser.start("swap")
        deltas = parse_sse(browser("GET", f"/api/battles/{battle}/events").decode())[:-1]
        pairs = list(zip(deltas[::2], deltas[1::2], strict=True))
        assert all((one.data["side"], two.data["side"]) == ("a", "b") for one, two in pairs)
        assert all(len(one.data["text"]) == len(two.data["text"]) for one, two in pairs)
        assert [delta.id for delta in deltas] == [f"1-{n}" for n in range(len(deltas))]
        browser.traffic.clear()
        look_everywhere(browser, battle)
        events = [part for part in browser.traffic if b"text/event-stream" in part]
        assert events
        rest = [part for part in browser.traffic if b"text/event-stream" not in part]
        seen.append(neutral(rest, battle))
    assert_alike(*seen)


def test_the_addresses_that_name_models_say_the_same_while_a_battle_waits_for_its_vote(
    world: World,
) -> None:
    """Roster, log, events and boards name models on purpose, whatever battle is looked at."""
    ids = [entry.id for entry in world.models()]
    seen = []
    for order in (ids, ids[::-1]):
        browser = Browser(world)
        with world.pinned(*order):
            battle = ready(world, browser)
        browser.traffic.clear()
        for address in ("models", "boards", "votes", "log/head", "log/events"):
            browser("GET", f"/api/{address}")
        browser("GET", "/api/votes?outcomes=all")
        seen.append(neutral(browser.traffic, battle))
        assert not any(battle.encode() in part for part in browser.traffic)
    assert_alike(*seen)


def test_votes_do_not_tell_that_they_wait_for_a_model(world: World) -> None:
    """A slow side looks like a slow battle: no byte arrives before both have begun."""
    gate = threading.Event()
    ids = [entry.id for entry in world.models()]
    for order in (ids, ids[::-1]):
        browser = Browser(world)
        with world.pinned(*order):
            say(world, "slow", a=["Same size.", Finished("stop")], b=[gate, *HELLO])
            battle = browser.start("slow")
        assert not world.redis.exists(f"arena:live:{battle}:1")
        look = browser("GET", f"/api/battles/{battle}")
        assert b"answer" not in look
        gate.set()
        browser("GET", f"/api/battles/{battle}/events")
