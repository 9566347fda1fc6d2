"""Bad input: each a problem with the right status, never a 5xx, never a row written."""

from __future__ import annotations

import io
import json
import threading
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arena.errors import EndpointBroken
from arena.interfaces import Finished
from arena.views.context import VOTER_COOKIE
from tests.arena.http_world import CheckedClient, World, problem

JSON = {"Content-Type": "application/json"}
ZERO_WIDTH = "\u200b\u200c\u200d\ufeff\u2060"

PROMPTS = {
    "empty": "",
    "spaces": " \n\t  ",
    "ideographic spaces": "\u3000\u2003",
    "zero-width only": ZERO_WIDTH,
    "direction marks only": "\u202e\u2066",
    "one character too long": "x" * 8_001,
    "escape sequence": "\x1b[2Jhello",
    "bell": "hello\x07",
    "C1 control": "hello\x85",
    "NUL": "hel\x00lo",
    "lone high surrogate": "\ud800",
    "lone low surrogate in text": "hello \udfff there",
}

BODIES: dict[str, tuple[bytes, int, str]] = {
    "not UTF-8": (b'{"prompt": "\xff\xfe"}', 400, "malformed-request"),
    "Latin-1": ('{"prompt": "é"}'.encode("latin-1"), 400, "malformed-request"),
    "UTF-16": ('{"prompt": "hello"}'.encode("utf-16"), 400, "malformed-request"),
    "byte order mark": (b'\xef\xbb\xbf{"prompt": "hello"}', 400, "malformed-request"),
    "surrogates encoded": (b'{"prompt": "\xed\xa0\x80"}', 400, "malformed-request"),
    "not JSON": (b"prompt=hello", 400, "malformed-request"),
    "JSON cut short": (b'{"prompt": "hel', 400, "malformed-request"),
    "two documents": (b'{"prompt": "a"}{"prompt": "b"}', 400, "malformed-request"),
    "raw control character": (b'{"prompt": "a\x00b"}', 400, "malformed-request"),
    "NaN": (b'{"prompt": NaN}', 400, "malformed-request"),
    "Infinity": (b'{"prompt": -Infinity}', 400, "malformed-request"),
    "nested too deeply": (b"[" * 60_000, 400, "malformed-request"),
    "objects nested deeply": (b'{"a":' * 9_000 + b"1" + b"}" * 9_000, 400, "malformed-request"),
    "key given twice": (b'{"prompt": "a", "prompt": "b"}', 400, "malformed-request"),
    "array": (b'["hello"]', 422, "invalid-field"),
    "string": (b'"hello"', 422, "invalid-field"),
    "null": (b"null", 422, "invalid-field"),
    "nothing": (b"", 422, "invalid-field"),
    "spaces": (b"   ", 400, "malformed-request"),
    "no prompt": (b"{}", 422, "invalid-field"),
    "null prompt": (b'{"prompt": null}', 422, "invalid-field"),
    "number": (b'{"prompt": 5}', 422, "invalid-field"),
    "huge number": (b'{"prompt": 1' + b"0" * 4_000 + b"}", 422, "invalid-field"),
    "number beyond reading": (b'{"prompt": 1' + b"0" * 9_000 + b"}", 400, "malformed-request"),
    "overflowing float": (b'{"prompt": 1e999}', 422, "invalid-field"),
    "list": (b'{"prompt": ["hello"]}', 422, "invalid-field"),
    "object": (b'{"prompt": {"text": "hello"}}', 422, "invalid-field"),
    "true": (b'{"prompt": true}', 422, "invalid-field"),
    "unknown field": (b'{"prompt": "a", "model": "m0"}', 422, "invalid-field"),
    "unknown field, surrogate": (b'{"prompt": "a", "\\ud800": 1}', 422, "invalid-field"),
    "unknown field, control": (b'{"prompt": "a", "\\u0000\\u001b": 1}', 422, "invalid-field"),
    "campaign of another type": (b'{"prompt": "a", "campaign": 1}', 422, "invalid-field"),
    "unknown campaign": (b'{"prompt": "a", "campaign": "nope"}', 404, "not-found"),
    "empty campaign": (b'{"prompt": "a", "campaign": ""}', 404, "not-found"),
    "campaign, surrogate": (b'{"prompt": "a", "campaign": "\\ud800"}', 422, "invalid-field"),
    "campaign, NUL": (b'{"prompt": "a", "campaign": "\\u0000"}', 422, "invalid-field"),
    "unknown redraw": (b'{"prompt": "a", "redraw_of": "nope"}', 404, "not-found"),
    "redraw, surrogate": (b'{"prompt": "a", "redraw_of": "\\udfff"}', 422, "invalid-field"),
    "redraw, NUL": (b'{"prompt": "a", "redraw_of": "\\u0000"}', 422, "invalid-field"),
    "unknown battle to continue": (
        b'{"prompt": "a", "continue_from": {"battle": "nope", "side": "a"}}',
        404,
        "not-found",
    ),
    "continue from no side": (
        b'{"prompt": "a", "continue_from": {"battle": "nope"}}',
        422,
        "invalid-field",
    ),
    "continue from both sides": (
        b'{"prompt": "a", "continue_from": {"battle": "nope", "side": "both"}}',
        422,
        "invalid-field",
    ),
    "continue from a battle's name": (
        b'{"prompt": "a", "continue_from": "nope"}',
        422,
        "invalid-field",
    ),
    "continue, NUL": (
        b'{"prompt": "a", "continue_from": {"battle": "\\u0000", "side": "a"}}',
        422,
        "invalid-field",
    ),
}

BALLOTS: dict[str, bytes] = {
    "no grade": b"{}",
    "null": b'{"grade": null}',
    "over the scale": b'{"grade": 3}',
    "under the scale": b'{"grade": -3}',
    "huge": b'{"grade": 1' + b"0" * 400 + b"}",
    "true": b'{"grade": true}',
    "false": b'{"grade": false}',
    "float": b'{"grade": 1.0}',
    "infinite": b'{"grade": 1e999}',
    "number as text": b'{"grade": "1"}',
    "unknown name": b'{"grade": "a_great"}',
    "name in capitals": b'{"grade": "TIE"}',
    "empty name": b'{"grade": ""}',
    "name of the flag": b'{"grade": "both_bad"}',
    "surrogate": b'{"grade": "\\ud800"}',
    "list": b'{"grade": [1]}',
    "object": b'{"grade": {}}',
    "both bad with a winner": b'{"grade": 2, "both_bad": true}',
    "both bad as number": b'{"grade": 0, "both_bad": 1}',
    "both bad as text": b'{"grade": 0, "both_bad": "true"}',
    "unknown reason": b'{"grade": 1, "reasons": ["vibes"]}',
    "reason of another type": b'{"grade": 1, "reasons": [1]}',
    "reasons as text": b'{"grade": 1, "reasons": "clear"}',
    "reason, surrogate": b'{"grade": 1, "reasons": ["\\ud800"]}',
    "reason, NUL": b'{"grade": 1, "reasons": ["\\u0000"]}',
    "eleven reasons": b'{"grade": 1, "reasons": [' + b'"clear",' * 10 + b'"clear"]}',
    "comment too long": b'{"grade": 1, "comment": "' + b"x" * 2_001 + b'"}',
    "comment with control": b'{"grade": 1, "comment": "a\\u0007"}',
    "comment with NUL": b'{"grade": 1, "comment": "a\\u0000"}',
    "comment, surrogate": b'{"grade": 1, "comment": "\\udbff"}',
    "comment of another type": b'{"grade": 1, "comment": 1}',
    "unknown field": b'{"grade": 1, "model_a": "m0"}',
}


def post(client: CheckedClient, path: str, body: bytes, **headers: str) -> Any:
    return client.post(path, data=body, headers={**JSON, **headers})


# --- prompts and bodies -------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_a_prompt_nobody_can_mean_is_refused(
    world: World, voter: CheckedClient, prompt: str
) -> None:
    body = json.dumps({"prompt": prompt}).encode()
    battle_id = voter.ready()
    with world.nothing_written():
        for path in ("/api/battles", f"/api/battles/{battle_id}/turns"):
            refusal = problem(post(voter, path, body), 422, "invalid-field")
            assert refusal["field"] == "prompt"


@pytest.mark.parametrize(("body", "status", "slug"), BODIES.values(), ids=BODIES.keys())
def test_a_body_that_is_no_new_battle_is_refused(
    world: World, voter: CheckedClient, body: bytes, status: int, slug: str
) -> None:
    with world.nothing_written():
        problem(post(voter, "/api/battles", body), status, slug)


@pytest.mark.parametrize("call", ["turns", "vote", "report"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"\xff": 1}', 400),
        (b"{", 400),
        (b'{"x": NaN}', 400),
        (b"[" * 60_000, 400),
        (b'{"a": 1, "a": 1}', 400),
        (b"[]", 422),
        (b'{"nope": 1}', 422),
        (b'{"prompt": 1, "grade": [], "reason": {}}', 422),
    ],
)
def test_every_call_with_a_body_refuses_what_it_cannot_read(
    world: World, voter: CheckedClient, call: str, body: bytes, status: int
) -> None:
    battle_id = voter.ready()
    with world.nothing_written():
        slug = "malformed-request" if status == 400 else "invalid-field"
        problem(post(voter, f"/api/battles/{battle_id}/{call}", body), status, slug)


@pytest.mark.parametrize("reason", ["\x00", "\ud800", " ", "x" * 2_001])
def test_a_report_that_cannot_be_stored_is_refused(
    world: World, voter: CheckedClient, reason: str
) -> None:
    battle_id = voter.ready()
    with world.nothing_written():
        body = json.dumps({"reason": reason}).encode()
        problem(post(voter, f"/api/battles/{battle_id}/report", body), 422, "invalid-field")


def test_a_refusal_never_repeats_an_endless_field_name(voter: CheckedClient) -> None:
    answer = voter.post("/api/battles", json={"prompt": "x", "y" * 50_000: 1})
    problem(answer, 422, "invalid-field")
    assert len(answer.get_data()) < 1_000


@pytest.mark.parametrize("path", ["/api/battles", "/api/battles/x/vote"])
def test_a_body_over_the_limit_is_refused(world: World, voter: CheckedClient, path: str) -> None:
    body = json.dumps({"prompt": "x" * world.settings.max_body_bytes}).encode()
    with world.nothing_written():
        problem(post(voter, path, body), 413, "too-large")


def test_a_chunked_body_over_the_limit_is_refused(world: World, voter: CheckedClient) -> None:
    body = json.dumps({"prompt": "x" * world.settings.max_body_bytes}).encode()
    with world.nothing_written():
        answer = voter.post(
            "/api/battles",
            input_stream=io.BytesIO(body),
            # what gunicorn says of a chunked body
            environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
        )
        problem(answer, 413, "too-large")


def test_a_prompt_of_the_greatest_length_is_taken(world: World, voter: CheckedClient) -> None:
    voter.ready("语" * world.settings.max_prompt_chars)


@pytest.mark.parametrize(
    "prompt", ["a", "line\nline\ttab", "👩‍👩‍👧 \u200d", "שלום", "{}", "<script>", "'; DROP TABLE"]
)
def test_a_prompt_a_person_can_mean_is_kept_as_it_is(voter: CheckedClient, prompt: str) -> None:
    battle_id = voter.ready(prompt)
    assert voter.get(f"/api/battles/{battle_id}").json["turns"][0]["prompt"] == prompt


# --- ballots ------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", BALLOTS.values(), ids=BALLOTS.keys())
def test_a_ballot_off_the_scale_is_refused(world: World, voter: CheckedClient, body: bytes) -> None:
    battle_id = voter.ready()
    with world.nothing_written():
        answer = problem(post(voter, f"/api/battles/{battle_id}/vote", body), 422, "invalid-field")
    assert answer["field"]
    assert voter.get(f"/api/battles/{battle_id}").json["state"] == "ready"


@pytest.mark.parametrize("key", ["", " ", "a b", "a\tb", "x" * 201, "é", "\x7f"])
def test_an_idempotency_key_that_cannot_be_kept_is_refused(
    world: World, voter: CheckedClient, key: str
) -> None:
    battle_id = voter.ready()
    with world.nothing_written():
        answer = voter.post(
            f"/api/battles/{battle_id}/vote",
            json={"grade": 1},
            environ_overrides={"HTTP_IDEMPOTENCY_KEY": key},
        )
        problem(answer, 400, "malformed-request")


# --- states -------------------------------------------------------------------------------------


def refused_everywhere(
    client: CheckedClient, battle_id: str, calls: dict[str, tuple[int, str]]
) -> None:
    bodies: dict[str, Any] = {"vote": {"grade": 1}, "turns": {"prompt": "more"}}
    for call, (status, slug) in calls.items():
        answer = client.post(f"/api/battles/{battle_id}/{call}", json=bodies.get(call))
        problem(answer, status, slug)


def test_a_running_battle_takes_neither_vote_nor_follow_up(
    world: World, voter: CheckedClient
) -> None:
    gate = threading.Event()
    world.answers("slow", "one ", gate, "two", Finished("stop"))
    battle_id = voter.battle("slow")
    with world.nothing_written():
        answer = voter.post(f"/api/battles/{battle_id}/vote", json={"grade": 1})
        problem(answer, 409, "too-early")
        assert int(answer.headers["Retry-After"]) > 0
        refused_everywhere(voter, battle_id, {"turns": (409, "too-early")})
    gate.set()
    voter.settle(battle_id)
    voter.post(f"/api/battles/{battle_id}/turns", json={"prompt": "hello"})
    voter.settle(battle_id)
    assert voter.post(f"/api/battles/{battle_id}/vote", json={"grade": 1}).status_code == 200


def test_a_running_follow_up_takes_no_vote(world: World, voter: CheckedClient) -> None:
    gate = threading.Event()
    world.answers("slow follow-up", "one ", gate, Finished("stop"))
    battle_id = voter.ready()
    voter.post(f"/api/battles/{battle_id}/turns", json={"prompt": "slow follow-up"})
    with world.nothing_written():
        refused_everywhere(
            voter, battle_id, {"vote": (409, "too-early"), "turns": (409, "too-early")}
        )
    gate.set()
    voter.settle(battle_id)


def test_a_voted_battle_takes_nothing_more(world: World, voter: CheckedClient) -> None:
    battle_id = voter.voted()["battle"]
    voted = (409, "already-voted")
    with world.nothing_written():
        refused_everywhere(
            voter, battle_id, {"vote": voted, "turns": voted, "skip": voted, "stop": voted}
        )


def test_a_skipped_battle_takes_nothing_more(world: World, voter: CheckedClient) -> None:
    battle_id = voter.ready()
    voter.post(f"/api/battles/{battle_id}/skip")
    skipped = (409, "battle-skipped")
    with world.nothing_written():
        refused_everywhere(voter, battle_id, {"vote": skipped, "turns": skipped, "stop": skipped})


def test_a_void_battle_takes_nothing_more(world: World, voter: CheckedClient) -> None:
    world.answers("void", EndpointBroken("no"))
    battle_id = voter.battle("void")
    voter.settle(battle_id)
    void = (409, "battle-void")
    with world.nothing_written():
        refused_everywhere(
            voter, battle_id, {"vote": void, "turns": void, "skip": void, "stop": void}
        )


def test_only_a_void_battle_is_drawn_again(world: World, voter: CheckedClient) -> None:
    battle_id = voter.ready()
    with world.nothing_written():
        answer = voter.post("/api/battles", json={"prompt": "x", "redraw_of": battle_id})
        assert problem(answer, 422, "invalid-field")["field"] == "redraw_of"


def test_a_battle_of_another_voter_does_not_exist(world: World, voter: CheckedClient) -> None:
    battle_id = voter.ready()
    stranger = world.voter()
    missing = (404, "not-found")
    with world.nothing_written():
        for client in (stranger, world.voter()):  # with another cookie, and without any
            refused_everywhere(
                client,
                battle_id,
                dict.fromkeys(("vote", "turns", "skip", "stop", "report"), missing),
            )
            problem(client.get(f"/api/battles/{battle_id}"), *missing)
            problem(client.get(f"/api/battles/{battle_id}/events"), *missing)
        answer = stranger.post("/api/battles", json={"prompt": "x", "redraw_of": battle_id})
        problem(answer, *missing)
    assert voter.post(f"/api/battles/{battle_id}/vote", json={"grade": 1}).status_code == 200


# --- ids, cookies, headers, query ---------------------------------------------------------------

IDS = (
    *("%00", "x%00y", "%E4%BD%A0", "%FF%FE", "%ED%A0%80", "x" * 5_000, "%2e%2e", "..%2f..%2f"),
    *("%2e%2e%2fetc%2fpasswd", "'", '"', "%0d%0aSet-Cookie:a=b", "-", "%20", "*", "x" * 64),
)


@pytest.mark.parametrize("battle_id", IDS)
def test_an_id_that_is_none_finds_nothing(
    world: World, voter: CheckedClient, battle_id: str
) -> None:
    with world.nothing_written():
        for method, tail in (
            ("GET", ""),
            ("GET", "/events"),
            ("POST", "/vote"),
            ("POST", "/skip"),
            ("POST", "/stop"),
        ):
            body = {"grade": 1} if tail == "/vote" else None
            answer = voter.open(f"/api/battles/{battle_id}{tail}", method=method, json=body)
            problem(answer, 404, "not-found")
            assert "Set-Cookie" not in answer.headers or "a=b" not in str(answer.headers)


@pytest.mark.parametrize("battle_id", ["%00", "x%00y", "%E4%BD%A0", "x" * 5_000])
def test_an_id_that_is_none_has_no_page_and_asks_no_database(
    world: World, voter: CheckedClient, battle_id: str
) -> None:
    page = voter.get(f"/battles/{battle_id}")
    assert page.status_code == 404
    assert "Set-Cookie" not in page.headers


COOKIES = {
    "empty": "",
    "garbage": "garbage",
    "no signature": "0123456789abcdef0123456789abcdef",
    "wrong signature": "0123456789abcdef0123456789abcdef." + "A" * 43,
    "only dots": "...",
    "not ASCII": "é.ÿ",
    "quoted": '"\\303\\251.x"',
    "NUL": "a\x00b.c",
    "huge": "x" * 60_000,
}


@pytest.mark.parametrize("cookie", COOKIES.values(), ids=COOKIES.keys())
def test_a_cookie_that_is_not_ours_makes_a_new_voter(
    world: World, voter: CheckedClient, cookie: str
) -> None:
    battle_id = voter.ready()
    forger = world.app.test_client(use_cookies=False)
    header = {"Cookie": f"{VOTER_COOKIE}={cookie}"}
    with world.nothing_written():
        answer = forger.get(f"/api/battles/{battle_id}", headers=header)
        problem(answer, 404, "not-found")
        assert answer.headers["Set-Cookie"].startswith(f"{VOTER_COOKIE}=")


def test_a_cookie_of_another_key_makes_a_new_voter(world: World, voter: CheckedClient) -> None:
    battle_id = voter.ready()
    other = world.voter(world.new_app(secret_key="another key " * 4))
    cookie = voter.get_cookie(VOTER_COOKIE)
    assert cookie is not None
    other.set_cookie(VOTER_COOKIE, cookie.value)
    problem(other.get(f"/api/battles/{battle_id}"), 404, "not-found")
    other.set_cookie(VOTER_COOKIE, cookie.value[:-1] + ("A" if cookie.value[-1] != "A" else "E"))
    problem(other.get(f"/api/battles/{battle_id}"), 404, "not-found")


ORIGINS = (
    *("null", "https://evil.example", "http://localhost.evil.example", "http://localhost:81"),
    *("http://[", "http://[::1", "localhost", "//localhost", "é", "http://localhost@evil", "\x00"),
    *("", " ", "http://localhost http://evil.example", "javascript:alert(1)"),
)


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_request_from_another_site_is_refused(
    world: World, voter: CheckedClient, origin: str
) -> None:
    battle_id = voter.ready()
    with world.nothing_written():
        for path, body in (
            ("/api/battles", {"prompt": "hello"}),
            (f"/api/battles/{battle_id}/vote", {"grade": 1}),
            (f"/api/battles/{battle_id}/skip", None),
        ):
            answer = voter.post(path, json=body, environ_overrides={"HTTP_ORIGIN": origin})
            problem(answer, 403, "cross-origin")
    assert voter.get(f"/api/battles/{battle_id}").json["state"] == "ready"


def test_a_browser_that_says_cross_site_and_no_origin_is_refused(
    world: World, voter: CheckedClient
) -> None:
    with world.nothing_written():
        answer = voter.post(
            "/api/battles", json={"prompt": "x"}, headers={"Sec-Fetch-Site": "cross-site"}
        )
        problem(answer, 403, "cross-origin")


def test_our_own_pages_and_clients_without_a_browser_are_served(voter: CheckedClient) -> None:
    for headers in ({"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}, {}):
        answer = voter.post("/api/battles", json={"prompt": "hello"}, headers=headers)
        assert answer.status_code == 201


HEADERS = {
    "Accept": ("", "text/html", "image/png", "*/*;q=x", "é", ",,,;;;"),
    "Accept-Language": ("", "zz", "é;;;q=x", "zh;q=9999999999999999999999", "en-" * 500),
    "If-None-Match": ("", '"', "W/", '"é"', "*, *", "x" * 5_000, '"a" "b"'),
    "If-Modified-Since": ("yesterday", "Thu, 99 Foo 9999 99:99:99 GMT"),
    "Range": ("bytes=0-1", "bytes=9-1", "lines=x", "bytes=99999999999999999999-"),
    "Last-Event-ID": ("é", "\x00", "1-", "-1", "1-1-1", "1-²", "x" * 5_000, "99-99999999999999"),
    "Host": ("", "é", "a b", "[::1", "localhost:99999999", "x" * 300, "a/b", "a@b", "\x00"),
    "Authorization": ("", "Bearer", "Bearer é", "Basic !!!", "x" * 5_000),
    "Content-Type": ("", "é", "multipart/form-data", "text/plain; charset=utf-16"),
    "X-Forwarded-Host": ("evil.example", "é"),
    "Cookie": ("=", ";;;", "arena_lang=é", "arena_lang=" + "x" * 5_000, '"', "a=b; " * 500),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in HEADERS.items() for value in values]
)
def test_an_odd_header_never_breaks_an_answer(
    world: World, voter: CheckedClient, name: str, value: str
) -> None:
    battle_id = voter.ready()
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value}
    if name == "Content-Type":
        environ = {"CONTENT_TYPE": value}
    with world.nothing_written():
        events = f"/api/battles/{battle_id}/events"
        for path in ("/", "/api/board", events, "/api/votes", "/readyz"):
            answer = voter.get(path, environ_overrides=environ)
            assert answer.status_code < 500
            if answer.status_code >= 400 and path.startswith("/api/"):
                problem(answer, answer.status_code, json.loads(answer.get_data())["type"][10:])


QUERIES: dict[str, tuple[int, str]] = {
    "battle/events?turn=-1": (422, "invalid-field"),
    "battle/events?turn=x": (422, "invalid-field"),
    "battle/events?turn=1.0": (422, "invalid-field"),
    "battle/events?turn=%2B1": (422, "invalid-field"),
    "battle/events?turn=%C2%B2": (422, "invalid-field"),
    "battle/events?turn=%D9%A1": (422, "invalid-field"),
    "battle/events?turn=1_0": (422, "invalid-field"),
    "battle/events?turn=%00": (422, "invalid-field"),
    "battle/events?turn=99999999999999999999": (422, "invalid-field"),
    "battle/events?turn=x&turn=1": (422, "invalid-field"),
    "battle/events?turn=0": (404, "not-found"),
    "battle/events?turn=2": (404, "not-found"),
    "battle/events?turn=999999999999999999": (404, "not-found"),
    "votes?after=x": (422, "invalid-field"),
    "votes?after=-1": (422, "invalid-field"),
    "votes?after=99999999999999999999": (422, "invalid-field"),
    "votes?after=1e3": (422, "invalid-field"),
    "votes?format=xml": (422, "invalid-field"),
    "votes?format=arrow": (422, "invalid-field"),
    "votes?format=": (422, "invalid-field"),
    "votes?format=JSONL": (422, "invalid-field"),
    "votes?outcomes=x": (422, "invalid-field"),
    "votes?outcomes=": (422, "invalid-field"),
    "votes?campaign=nope": (404, "not-found"),
    "votes?campaign=": (404, "not-found"),
    "votes?campaign=%00": (422, "invalid-field"),
    "board?campaign=nope": (404, "not-found"),
    "board?campaign=%ED%A0%80": (404, "not-found"),
    "board?category=nope": (404, "not-found"),
    "board?category=%00": (422, "invalid-field"),
    "board?category=" + "x" * 5_000: (404, "not-found"),
    "board?method=nope": (422, "invalid-field"),
    "board?method=": (422, "invalid-field"),
    "board?method=nope&method=bt": (422, "invalid-field"),
}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_that_cannot_be_meant_is_refused(
    world: World, voter: CheckedClient, query: str
) -> None:
    battle_id = voter.ready()
    with world.nothing_written():
        answer = voter.get("/api/" + query.replace("battle/", f"battles/{battle_id}/"))
        body = problem(answer, *QUERIES[query])
    assert len(json.dumps(body)) < 1_000


@pytest.mark.parametrize("query", ["/?campaign=nope", "/board?campaign=%00", "/board?method=x"])
def test_a_page_with_a_query_that_cannot_be_meant_says_so(voter: CheckedClient, query: str) -> None:
    answer = voter.get(query)
    assert answer.status_code in {404, 422}
    assert answer.mimetype == "text/html"


def test_a_query_is_shown_as_text_and_never_as_markup(voter: CheckedClient) -> None:
    page = voter.get("/board?campaign=" + quote("<script>alert(1)</script>"))
    assert page.status_code == 404
    assert "<script>alert" not in page.get_data(as_text=True)


# --- anything at all ----------------------------------------------------------------------------

FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
text = st.text(st.characters(codec=None), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(
    [
        *("prompt", "campaign", "redraw_of", "continue_from", "battle", "side"),
        *("grade", "both_bad", "reasons", "comment", "reason"),
    ]
)
bodies = st.dictionaries(fields | text, values, max_size=4).map(
    lambda body: json.dumps(body).encode()
) | st.binary(max_size=40)


def unbroken(answer: Any) -> None:
    assert answer.status_code < 500, answer.get_data(as_text=True)
    if answer.status_code >= 400:
        problem(answer, answer.status_code, json.loads(answer.get_data())["type"][10:])


@FUZZ
@given(body=bodies, call=st.sampled_from(["", "/turns", "/vote", "/report"]))
def test_no_body_breaks_a_call(world: World, fuzzed: str, body: bytes, call: str) -> None:
    path = f"/api/battles/{fuzzed}{call}" if call else "/api/battles"
    unbroken(post(world.voter(), path, body))


@settings(FUZZ, max_examples=60)
@given(body=bodies)
def test_a_refused_ballot_leaves_no_trace(world: World, voter: CheckedClient, body: bytes) -> None:
    battle_id = voter.ready()
    before = world.counts()
    answer = post(voter, f"/api/battles/{battle_id}/vote", body)
    unbroken(answer)
    if answer.status_code != 200:
        assert world.counts() == before


@FUZZ
@given(battle_id=text, call=st.sampled_from(["", "/events", "/vote", "/stop", "/x"]))
def test_no_id_breaks_a_call(world: World, battle_id: str, call: str) -> None:
    quoted = quote(battle_id.encode("utf-8", "surrogatepass"), safe="")
    method = "POST" if call in {"/vote", "/stop"} else "GET"
    answer = world.voter().open(f"/api/battles/{quoted}{call}", method=method)
    if answer.status_code != 308:  # an empty id: the address without the doubled slash
        unbroken(answer)


@FUZZ
@given(
    path=st.sampled_from(["board", "votes", "boards", "models", "campaigns"]),
    query=st.dictionaries(
        st.sampled_from(["campaign", "category", "method", "after", "format", "outcomes"]) | text,
        text | st.integers().map(str),
        max_size=3,
    ),
)
def test_no_query_breaks_a_call(world: World, path: str, query: dict[str, str]) -> None:
    pairs = "&".join(
        "=".join(quote(part.encode("utf-8", "surrogatepass"), safe="") for part in pair)
        for pair in query.items()
    )
    unbroken(world.voter().get(f"/api/{path}?{pairs}"))


@pytest.fixture(scope="module")
def fuzzed(world: World) -> str:
    """An id that is well formed and nobody's."""
    return "A" * 22
