"""Nothing that reaches a browser before the vote names a model or says which side it is."""

from __future__ import annotations

import base64
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

from arena.battle import Message
from arena.boards import METHODS
from arena.clock import now
from arena.errors import EndpointBroken, EndpointRefused
from arena.interfaces import Finished, ModelEntry
from arena.views.context import VOTER_COOKIE
from tests.arena.http_world import BEGUN, World
from tests.fakes import a_battle, a_turn
from tests.services import redis_server, wait_until


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
    """An arena of these two models only."""
    folder: Path = tmp_path_factory.mktemp("arena")
    entries = [entry for entry, _ in models]
    with redis_server() as url, World(folder, url, entries) as made:
        # its first boards would otherwise come in the middle of a battle
        latest = made.store.snapshots.latest
        for method in METHODS[1:]:
            wait_until(lambda m=method: latest("online", "overall", m), what="a board")
        yield made


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


SCENARIOS: dict[str, Callable[[World, Browser], str]] = {
    "ready": ready,
    "ends of other kinds": length_and_filter,
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


@contextmanager
def quiet(world: World) -> Iterator[None]:
    """Assert that what names models on purpose says nothing of a battle: it does not change."""

    def legitimate() -> list[bytes]:
        client = world.app.test_client()
        paths = ("/api/models", "/api/board", "/api/boards", "/api/votes", "/board")
        return [client.get(path, buffered=True).get_data() for path in paths]

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
    (rb"(X-Request-ID: |\"request_id\": ?\")[0-9a-f]{32}", rb"\1<request>"),
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


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_swapping_the_models_changes_no_byte(
    world: World,
    models: Iterable[tuple[ModelEntry, list[str]]],
    scenario: Callable[[World, Browser], str],
) -> None:
    world.wait_counted()  # pages tell how many votes were counted before
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
    world.wait_counted()
    seen = []
    for side in "ab":
        browser = Browser(world)
        with world.pinned(*(entry.id for entry, _ in models)):
            battle = failing(side, error, late)(world, browser)
            look_everywhere(browser, battle)
        seen.append(neutral(browser.traffic, battle))
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
