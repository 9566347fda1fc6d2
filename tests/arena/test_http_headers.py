"""What holds for every answer: security headers, cookies, the operator's token."""

from __future__ import annotations

import json
import re

import pytest
from werkzeug.test import TestResponse

from arena.errors import EndpointEmpty, LiveLost, Unavailable
from tests.arena.http_world import ADMIN_TOKEN, CheckedClient, World, problem

EVERYWHERE = (
    *("/", "/battles/x", "/board", "/log", "/about", "/nope", "/?campaign=nope"),
    *("/static/css/base.css", "/static/js/battle.js", "/static/nope.css"),
    *("/healthz", "/readyz", "/metrics"),
    *("/api/docs", "/api/openapi.json", "/api/board", "/api/boards", "/api/models"),
    *("/api/campaigns", "/api/votes", "/api/nope", "/api/battles/x", "/api/battles"),
)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
@pytest.mark.parametrize("path", EVERYWHERE)
def test_every_answer_is_locked_down(voter: CheckedClient, path: str, method: str) -> None:
    answer = voter.open(path, method=method)
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"]
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert not re.search(
        r"python|werkzeug|flask|gunicorn|\d+\.\d+\.\d+", str(answer.headers).lower()
    )


@pytest.mark.parametrize("path", ["/", "/board", "/log", "/about", "/api/docs", "/nope"])
def test_no_page_needs_what_the_policy_forbids(voter: CheckedClient, path: str) -> None:
    page = voter.get(path).get_data(as_text=True)
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page)
    assert not re.search(r"(src|href)=[\"']?(https?:)?//(?!localhost)[^\"'>]*\.(js|css)", page)


@pytest.mark.parametrize("path", ["/", "/api/battles/x", "/readyz", "/api/votes"])
def test_answers_of_a_voter_are_not_cached(voter: CheckedClient, path: str) -> None:
    assert voter.get(path).headers["Cache-Control"] == "no-store"


# --- defects and outages ------------------------------------------------------------------------


def test_a_defect_of_ours_is_a_problem_that_says_nothing_of_its_cause(
    world: World, voter: CheckedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret-detail")

    monkeypatch.setattr(type(world.services.campaigns), "visible", broken)
    answer = world.app.test_client().get("/")
    assert (answer.status_code, answer.mimetype) == (500, "text/html")
    monkeypatch.setattr(type(world.services.campaigns), "get", broken)
    # past the check against the document: a defect is in no contract
    refused = super(CheckedClient, voter).open("/api/board")
    problem(refused, 500, "internal-error")
    for seen in (answer, refused):
        assert "secret-detail" not in seen.get_data(as_text=True)
        assert "Traceback" not in seen.get_data(as_text=True)
        assert "default-src 'none'" in seen.headers["Content-Security-Policy"]


def test_an_error_of_ours_that_is_no_refusal_is_a_defect(
    world: World, voter: CheckedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise EndpointEmpty("the model Zebra said nothing")

    monkeypatch.setattr(type(world.services.campaigns), "get", broken)
    refused = super(CheckedClient, voter).open("/api/board")
    problem(refused, 500, "internal-error")
    assert "Zebra" not in refused.get_data(as_text=True)


def test_without_the_database_a_call_is_refused_for_now(
    world: World, voter: CheckedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise Unavailable("The database is away.", retry_after=2)

    monkeypatch.setattr(type(world.store.campaigns), "get", away)
    monkeypatch.setattr(type(world.store), "ping", away)
    for answer in (
        voter.get("/api/votes?campaign=x"),
        voter.post("/api/battles", json={"prompt": "x"}),
    ):
        problem(answer, 503, "unavailable")
        assert answer.headers["Retry-After"] == "2"
    ready = voter.get("/readyz")
    assert (ready.status_code, ready.json) == (503, {"status": "not ready"})
    told = voter.get("/readyz", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert told.json["problems"] == {"database": "The database is away."}
    assert voter.get("/healthz").status_code == 200


def test_without_redis_votes_are_still_taken(
    world: World, voter: CheckedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise LiveLost("Redis cannot be used: secret-address")

    monkeypatch.setattr(type(world.services.live), "ping", away)
    assert voter.get("/readyz").json == {"status": "ready"}
    told = voter.get("/readyz", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert list(told.json["problems"]) == ["redis"]


# --- cookies ------------------------------------------------------------------------------------


def cookie_of(answer: TestResponse, name: str) -> str:
    (cookie,) = [
        header for header in answer.headers.getlist("Set-Cookie") if header.startswith(f"{name}=")
    ]
    return cookie


@pytest.mark.parametrize("secure", [False, True])
def test_cookies_have_the_flags_that_the_settings_ask_for(world: World, secure: bool) -> None:
    app = world.new_app({"cookie_secure": secure})
    for path, name in (("/", "arena_voter"), ("/about?lang=zh", "arena_lang")):
        flags = {
            part.strip() for part in cookie_of(world.voter(app).get(path), name).split(";")[1:]
        }
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= flags
        assert ("Secure" in flags) is secure
        assert not any(flag.startswith("Domain") for flag in flags)


def test_the_first_answer_gives_a_cookie_that_later_answers_keep(
    world: World, voter: CheckedClient
) -> None:
    first = voter.post("/api/battles", json={"prompt": "hello"})
    cookie_of(first, "arena_voter")
    for answer in (voter.get("/"), voter.post("/api/battles", json={"prompt": "hello"})):
        assert "arena_voter=" not in str(answer.headers)


def test_reading_the_board_makes_nobody_a_voter(voter: CheckedClient) -> None:
    for path in ("/board", "/api/board", "/api/votes", "/api/models", "/log", "/readyz"):
        assert "Set-Cookie" not in voter.get(path).headers


def test_a_cookie_tells_nothing_but_a_random_name(world: World) -> None:
    names = set()
    for _ in range(20):
        value = cookie_of(world.voter().get("/"), "arena_voter").split("=", 1)[1].split(";")[0]
        name, _, signature = value.partition(".")
        assert re.fullmatch("[0-9a-f]{32}", name)
        assert len(signature) >= 43
        names.add(name)
    assert len(names) == 20


# --- the operator's token -----------------------------------------------------------------------

WRONG = (
    *(
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {ADMIN_TOKEN}",
        f"Bearer x{ADMIN_TOKEN}",
    ),
    *(f"Bearer {ADMIN_TOKEN}x", f"Bearer {ADMIN_TOKEN[:-1]}", "Bearer é", f"Bearer {ADMIN_TOKEN} "),
    *(ADMIN_TOKEN, f"Bearer  {ADMIN_TOKEN}", f"Bearer Bearer {ADMIN_TOKEN}"),
)


@pytest.mark.parametrize("value", WRONG)
def test_a_wrong_token_opens_nothing(world: World, value: str | None) -> None:
    voter = world.voter(world.new_app())  # none of them is one too many
    environ = {} if value is None else {"HTTP_AUTHORIZATION": value}
    answer = voter.get("/metrics", environ_overrides=environ)
    problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert voter.get("/readyz", environ_overrides=environ).json == {"status": "ready"}


def test_without_a_configured_token_nothing_opens_them(world: World) -> None:
    closed = world.voter(world.new_app({"admin_token": None}))
    for value in ("Bearer ", "Bearer None", ""):
        answer = closed.get("/metrics", environ_overrides={"HTTP_AUTHORIZATION": value})
        problem(answer, 401, "unauthorized")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_right_token_opens_metrics_and_reasons(voter: CheckedClient, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {ADMIN_TOKEN}"}
    voter.voted()
    metrics = voter.get("/metrics", headers=headers)
    assert metrics.mimetype == "text/plain"
    text = metrics.get_data(as_text=True)
    assert re.search(r'^arena_battles\{state="voted"\} [1-9]', text, re.MULTILINE)
    for name in ("arena_voids", "arena_log_position", "arena_unsealed_records"):
        assert f"# TYPE {name} gauge" in text
    assert voter.get("/readyz", headers=headers).json == {"status": "ready", "problems": {}}


def test_the_token_is_compared_in_constant_time(
    world: World, voter: CheckedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr("arena.views.context.hmac.compare_digest", spy)
    voter.get("/metrics", headers={"Authorization": "Bearer wrong"})
    assert compared[-1] == (b"wrong", ADMIN_TOKEN.encode())


# --- the docs of problems -----------------------------------------------------------------------


def test_every_problem_type_leads_to_its_place_in_the_docs(voter: CheckedClient) -> None:
    page = voter.get("/api/docs").get_data(as_text=True)
    known = voter.get("/api/openapi.json").json["x-problem-types"]
    types = {problem["type"] for problem in known}
    assert len(types) == len(known)
    assert {"/api/docs#too-early", "/api/docs#invalid-field", "/api/docs#no-models"} <= types
    for one in types:
        assert f'id="{one.removeprefix("/api/docs#")}"' in page


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", "/api/nope"), ("DELETE", "/api/board"), ("GET", "/metrics")),
        *(("POST", "/api/battles"), ("GET", "/api/board?method=x")),
    ],
)
def test_a_refusal_has_a_type_and_title_of_the_docs(
    world: World, voter: CheckedClient, method: str, path: str
) -> None:
    known = {one["type"]: one for one in world.contract.document["x-problem-types"]}
    refusal = json.loads(voter.open(path, method=method).get_data())
    assert {name: refusal[name] for name in ("type", "title", "status")} == known[refusal["type"]]
