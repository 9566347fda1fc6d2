"""The operator's area: who gets in, what nobody else can do, and what never shows."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from flask import Flask
from itsdangerous import TimestampSigner
from werkzeug.test import TestResponse

from arena.checkup import Checkup
from arena.clock import now
from arena.errors import Unavailable
from arena.interfaces import Act, Deadlines
from arena.operators import Operators
from tests.arena.http_world import ADMIN_TOKEN, MODELS, CheckedClient, World

OPEN_TO_ALL = {("GET", "/admin"), ("POST", "/admin/session")}
KEY = "sk-key-of-the-tests-0123456789"


def routes(app: Flask) -> list[tuple[str, str]]:
    """Method and path of every route of the area, with `x` for what is variable."""
    return sorted(
        (method, re.sub("<[^>]+>", "x", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/admin")
    )


def sign_in(client: CheckedClient, token: str = ADMIN_TOKEN, **form: str) -> TestResponse:
    return client.post("/admin/session", data={"token": token, **form})


@pytest.fixture
def operator(world: World) -> CheckedClient:
    """A browser with an operator's session."""
    client = world.voter(world.new_app())
    assert sign_in(client).status_code == 303
    return client


def session_of(client: CheckedClient) -> str:
    cookie = client.get_cookie("arena_operator")
    assert cookie is not None
    return cookie.value


def resigned(world: World, value: str, *, key: str | None = None, age: float = 0) -> str:
    """The same session, signed by another key or some time ago."""

    class Then(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(time.time() - age)

    secret = key or world.services.secret_key
    signer = Then(secret, salt="operator", digest_method=hashlib.sha256)
    return signer.sign(value.partition(".")[0]).decode()


# --- getting in ---------------------------------------------------------------------------------


def test_the_right_token_opens_a_session_without_being_in_it(world: World) -> None:
    client = world.voter()
    answer = sign_in(client, next="/admin/models")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/admin/models")
    (cookie,) = [
        header
        for header in answer.headers.getlist("Set-Cookie")
        if header.startswith("arena_operator=")
    ]
    flags = {flag.strip() for flag in cookie.split(";")[1:]}
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=28800"} <= flags
    assert ADMIN_TOKEN not in cookie
    assert hashlib.sha256(ADMIN_TOKEN.encode()).hexdigest() not in cookie
    assert client.get("/admin/models").status_code == 200
    assert client.get("/metrics").status_code == 200


def test_a_session_over_tls_stays_on_tls(world: World) -> None:
    client = world.voter(world.new_app({"cookie_secure": True}))
    assert "; Secure" in sign_in(client).headers["Set-Cookie"]


@pytest.mark.parametrize("wish", ["https://evil.test/", "//evil.test", "/about", "/adminx", ""])
def test_signing_in_leads_into_the_area_only(world: World, wish: str) -> None:
    assert sign_in(world.voter(), next=wish).headers["Location"] == "/admin"


def test_signing_out_ends_the_session(operator: CheckedClient) -> None:
    assert operator.post("/admin/session/end").status_code == 303
    assert operator.get_cookie("arena_operator") is None
    assert operator.get("/admin/models").status_code == 303


@pytest.mark.parametrize("token", ["", "wrong", ADMIN_TOKEN + "x", ADMIN_TOKEN[:-1], "é", "\udc80"])
def test_a_wrong_token_opens_nothing_and_is_told_in_the_audit_log(world: World, token: str) -> None:
    client = world.voter(world.new_app())
    data = f"token={'%ff' if token == chr(0xDC80) else token}"
    answer = client.post(
        "/admin/session", data=data, content_type="application/x-www-form-urlencoded"
    )
    assert answer.status_code == 401
    assert client.get_cookie("arena_operator") is None
    last = world.store.audit.last("session.refused")
    assert last is not None
    assert set(last.act.details) == {"network"}
    assert "127.0.0.1" not in str(last.act.details)


def test_too_many_wrong_tokens_are_refused_and_so_is_the_right_one(world: World) -> None:
    app = world.new_app()
    client = world.voter(app)
    for _ in range(5):
        assert sign_in(client, "wrong").status_code == 401
    for token in ("wrong", ADMIN_TOKEN):
        refused = sign_in(client, token)
        assert refused.status_code == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 72
    bearer = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    assert client.get("/metrics", headers=bearer).status_code == 429
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    answer = client.post("/admin/session", data={"token": ADMIN_TOKEN}, environ_overrides=elsewhere)
    assert answer.status_code == 303


def test_bearing_wrong_tokens_counts_too(world: World) -> None:
    client = world.voter(world.new_app())
    for _ in range(5):
        headers = {"Authorization": "Bearer wrong"}
        assert client.get("/metrics", headers=headers).status_code == 401
    assert sign_in(client).status_code == 429
    assert client.get("/readyz", headers=headers).json == {"status": "ready"}


def test_an_open_session_is_not_locked_out_by_others_tries(
    world: World, operator: CheckedClient
) -> None:
    stranger = operator.application.test_client()
    for _ in range(6):
        stranger.post("/admin/session", data={"token": "wrong"})
    assert operator.get("/admin/models").status_code == 200


def test_without_a_configured_token_the_page_says_how_to_set_one(world: World) -> None:
    client = world.voter(world.new_app({"admin_token": None}))
    page = client.get("/admin")
    assert page.status_code == 200
    assert "ARENA_ADMIN_TOKEN" in page.get_data(as_text=True)
    assert "<input" not in page.get_data(as_text=True)
    with world.nothing_written():
        for token in ("", "None", ADMIN_TOKEN):
            assert sign_in(client, token).status_code == 401
        assert client.get("/admin/models").headers["Location"] == "/admin?next=/admin/models"


# --- staying out --------------------------------------------------------------------------------


FORGERIES: dict[str, Callable[[World, str], str]] = {
    "no session": lambda world, session: "",
    "signed by another key": lambda world, session: resigned(world, session, key="k" * 64),
    "expired": lambda world, session: resigned(world, session, age=8 * 3600 + 5),
    "from the future": lambda world, session: resigned(world, session, age=-3600),
    "signature cut off": lambda world, session: session.rsplit(".", 1)[0],
    "of another token": lambda world, session: resigned(world, "0" * 64),
    "the token itself": lambda world, session: ADMIN_TOKEN,
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
def test_every_route_refuses_whoever_is_no_operator(
    world: World, operator: CheckedClient, forge: Callable[[World, str], str]
) -> None:
    everything = routes(world.app)
    assert len(everything) > 10
    stranger = world.voter()
    stranger.set_cookie("arena_operator", forge(world, session_of(operator)))
    for method, path in everything:
        if (method, path) in OPEN_TO_ALL:
            continue
        with world.nothing_written():
            answer = stranger.open(path, method=method)
        if method == "GET":
            assert answer.status_code == 303, path
            assert answer.headers["Location"] == f"/admin?next={path}"
        else:
            assert answer.status_code == 401, path


def test_every_route_refuses_a_wrong_bearer(world: World) -> None:
    stranger = world.voter(world.new_app())
    for method, path in routes(world.app):
        if (method, path) not in OPEN_TO_ALL:
            with world.nothing_written():
                answer = stranger.open(
                    path, method=method, headers={"Authorization": "Bearer wrong"}
                )
            assert answer.status_code in {401, 429}, path


def test_a_changed_token_ends_every_session(world: World, operator: CheckedClient) -> None:
    changed = world.voter(world.new_app({"admin_token": "another-token-of-the-tests"}))
    changed.set_cookie("arena_operator", session_of(operator))
    assert changed.get("/admin/models").status_code == 303


def test_a_request_of_another_site_changes_nothing(world: World, operator: CheckedClient) -> None:
    for method, path in routes(world.app):
        if method != "GET":
            with world.nothing_written():
                answer = operator.open(path, method=method, headers={"Origin": "https://evil.test"})
            assert answer.status_code == 403, path


def test_looking_changes_nothing(world: World, operator: CheckedClient) -> None:
    with world.nothing_written():
        for method, path in routes(world.app):
            if method == "GET":
                assert operator.get(path).status_code in {200, 404, 405}, path


def test_pages_of_the_area_are_kept_by_no_cache(world: World, operator: CheckedClient) -> None:
    for method, path in routes(world.app):
        if method == "GET":
            assert operator.get(path).headers["Cache-Control"] == "no-store", path


# --- what never shows ---------------------------------------------------------------------------


@pytest.fixture
def keyed(world: World) -> Iterator[CheckedClient]:
    """An operator of an arena whose models have a key and quote it in an error."""
    entries = [replace(entry, api_key_env="KEY_OF_THE_TESTS") for entry in MODELS]
    world.store.roster.replace(entries, now())
    checkup = Checkup(world._endpoint, Deadlines())
    desk = Operators(world.services.store, checkup, {"KEY_OF_THE_TESTS": KEY})
    client = world.voter(world.new_app(operators=desk))
    sign_in(client)
    yield client
    world.store.roster.replace(MODELS, now())


def test_neither_token_nor_keys_are_in_pages_logs_or_audit(
    world: World, keyed: CheckedClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        seen = [sign_in(keyed, KEY).get_data(as_text=True)]
        seen.append(keyed.post("/admin/models/test").get_data(as_text=True))
        form = {"id": "new", "model": "x", "base_url": "http://nowhere.test", "api_key_env": KEY}
        wrong = keyed.post("/admin/models/new", data=form)
        assert wrong.status_code == 422
        seen.append(wrong.get_data(as_text=True))
        seen += [
            keyed.get(path).get_data(as_text=True)
            for method, path in routes(world.app)
            if method == "GET"
        ]
    everything = "".join(seen)
    assert "KEY_OF_THE_TESTS" in everything
    logged = caplog.text + str(world.store.audit.page(None, 1_000))
    for secret in (KEY, ADMIN_TOKEN, world.services.secret_key):
        assert secret not in everything
        assert secret not in logged


# --- audit and overview -------------------------------------------------------------------------


def test_the_audit_log_is_read_in_pages(world: World, operator: CheckedClient) -> None:
    for number in range(60):
        world.store.audit.add(Act(now(), "test.page", f"target-{number}-end", {"why": ["a", 1]}))
    newest = operator.get("/admin/audit").get_data(as_text=True)
    assert "target-59-end" in newest
    assert "target-9-end" not in newest
    older = re.search(r'href="(/admin/audit\?before=\d+)"', newest)
    assert older is not None
    assert "target-9-end" in operator.get(older[1]).get_data(as_text=True)


def test_what_stands_in_the_audit_log_is_text(world: World, operator: CheckedClient) -> None:
    world.store.audit.add(Act(now(), "test.text", "<script>1</script>", {"<b>": {"<i>": "<u>"}}))
    page = operator.get("/admin/audit").get_data(as_text=True)
    assert "&lt;script&gt;1&lt;/script&gt;" in page
    assert not re.search("<script>|<b>:|<i>|<u>", page)


def test_the_overview_tells_of_a_living_house(world: World, operator: CheckedClient) -> None:
    page = operator.get("/admin").get_data(as_text=True)
    assert "Reachable" in page
    assert "Silent" not in page
    assert "sign of life" not in page


def test_the_overview_is_there_when_the_database_is_not(
    world: World, operator: CheckedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise Unavailable("The database is away.")

    monkeypatch.setattr(type(world.store), "ping", away)
    page = operator.get("/admin")
    assert page.status_code == 200
    assert "The database is away." in page.get_data(as_text=True)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_page_speaks_both_languages_and_needs_no_inline_code(
    world: World, operator: CheckedClient, lang: str
) -> None:
    for method, path in routes(world.app):
        if method == "GET":
            page = operator.get(f"{path}?lang={lang}").get_data(as_text=True)
            assert f'data-lang="{lang}"' in page
            assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=", page), path
