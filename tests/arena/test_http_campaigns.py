"""Private campaigns over HTTP: strangers, guests and the operator at every address."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from arena.campaigns import digest_of
from arena.clock import now
from arena.interfaces import Campaign
from arena.views.context import INVITATIONS_COOKIE
from tests.arena.http_world import ADMIN_TOKEN, MODELS, CheckedClient, World, parse_sse, problem
from tests.services import wait_until

OPERATOR = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
SECRET_MODEL = replace(MODELS[0], id="secret-model", campaigns=("veiled",))
OF_ONE_ANSWER = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|(?<=\"request_id\": \")[0-9a-f]+")
NO_READING = re.compile(
    r"/static/|/join/|/admin|/healthz|/readyz|/metrics|/(battles/.*|board)/events$"
)


@pytest.fixture(scope="module")
def hidden(world: World) -> Campaign:
    """A private campaign with a model of its own and a published board."""
    made = world.add_campaign("veiled", title="The secret title", public=False)
    world.store.roster.replace((*MODELS, SECRET_MODEL), now())
    guest = world.voter()
    join(guest, invited(world, made))
    with world.pinned("secret-model", "m1"):
        battle_id = guest.ready(campaign="veiled")
    assert guest.post(f"/api/battles/{battle_id}/vote", json={"grade": 1}).status_code == 200
    wait_until(lambda: guest.get("/api/board?campaign=veiled").status_code == 200, what="its board")
    return made


def invited(world: World, campaign: Campaign, **how: Any) -> str:
    return world.services.campaigns.invite(campaign, **how)


def join(client: CheckedClient, secret: str) -> None:
    assert client.get(f"/join/{secret}").status_code == 303


def addresses(app: Flask, **values: str) -> Iterator[str]:
    """Every address that can be read without being the operator, its parts filled in."""
    filled = {"name": "intervals", "form": "csv", **values}
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or set()) and not NO_READING.search(rule.rule):
            yield re.sub(r"<(?:\w+:)?(\w+)>", lambda part: filled.get(part[1], "x"), rule.rule)


def answer(client: CheckedClient, path: str) -> tuple[int, str]:
    response = client.get(path)
    return response.status_code, OF_ONE_ANSWER.sub("…", response.get_data(as_text=True))


def test_to_a_stranger_a_hidden_campaign_is_everywhere_like_one_that_never_was(
    world: World, hidden: Campaign, voter: CheckedClient
) -> None:
    of_hidden = addresses(world.app, campaign="veiled", campaign_id="veiled", model="secret-model")
    of_never = addresses(world.app, campaign="ne-ver", campaign_id="ne-ver", model="never-model.")
    seen = 0
    for one, other in zip(of_hidden, of_never, strict=True):
        for query in ("", "?campaign={}", "?campaign={}&format=csv&category=coding&method=bt"):
            status, body = answer(voter, one + query.format("veiled"))
            expected, other_body = answer(voter, other + query.format("ne-ver"))
            assert status == expected, one
            assert body.replace("veiled", "ne-ver").replace("secret-model", "never-model.") == (
                other_body.replace("veiled", "ne-ver")
            ), one
            assert hidden.title not in body, one
            seen += status == 200
    assert seen >= 20


def test_without_a_name_nothing_tells_a_stranger_of_a_hidden_campaign(
    world: World, hidden: Campaign, voter: CheckedClient
) -> None:
    for path in addresses(world.app):
        _, body = answer(voter, path)
        assert '"veiled"' not in body, path
        assert "secret-model" not in body, path
        assert hidden.title not in body, path


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/", "The secret title"),
        ("/?campaign=veiled", "The secret title"),
        ("/board", "The secret title"),
        ("/board?campaign=veiled", "secret-model"),
        ("/log", "The secret title"),
        ("/api/board?campaign=veiled", "secret-model"),
        ("/api/boards", '"veiled"'),
        ("/api/campaigns", "The secret title"),
        ("/api/models", "secret-model"),
        ("/api/votes", "secret-model"),
        ("/api/votes?campaign=veiled", "secret-model"),
    ],
)
def test_guests_and_the_operator_see_it(
    world: World, hidden: Campaign, voter: CheckedClient, path: str, words: str
) -> None:
    guest = world.voter()
    join(guest, invited(world, hidden))
    for response in (guest.get(path), voter.get(path, headers=OPERATOR)):
        assert response.status_code == 200
        assert words in response.get_data(as_text=True)
    assert words not in voter.get(path).get_data(as_text=True)


@pytest.mark.parametrize("path", ["/api/board", "/api/board/pairs", "/api/board/history"])
def test_a_private_board_may_not_be_kept_by_a_shared_cache(
    world: World, hidden: Campaign, voter: CheckedClient, path: str
) -> None:
    def asked() -> TestResponse:
        return voter.get(f"{path}?campaign=veiled", headers=OPERATOR)

    wait_until(lambda: asked().status_code == 200, what="its numbers")
    assert asked().headers["Cache-Control"] == "private, no-cache"


def test_battles_of_a_hidden_campaign_are_for_guests(
    world: World, hidden: Campaign, voter: CheckedClient
) -> None:
    wish = {"prompt": "hello", "campaign": "veiled"}
    with world.nothing_written():
        problem(voter.post("/api/battles", json=wish), 404, "not-found")
    join(voter, invited(world, hidden))
    assert voter.post("/api/battles", json=wish).status_code == 201


def test_publications_of_a_hidden_board_are_told_to_guests_only(
    world: World, hidden: Campaign, voter: CheckedClient
) -> None:
    guest = world.voter()
    join(guest, invited(world, hidden))
    told: dict[str, list[str]] = {}
    streams = {
        "guest": guest.stream("/api/board/events"),
        "stranger": voter.stream("/api/board/events"),
    }
    for _, pieces in streams.values():
        assert next(pieces).startswith(":")
    for campaign in ("veiled", "online"):
        announced = {"campaign": campaign, "category": "overall", "log_position": 1}
        world.services.live.announce(announced)
    for who, (response, pieces) in streams.items():
        told[who] = []
        while "online" not in told[who]:
            told[who] += [event.data["campaign"] for event in parse_sse(next(pieces))]
        response.close()
    assert told == {"guest": ["veiled", "online"], "stranger": ["online"]}


# --- invitations --------------------------------------------------------------------------------


def test_an_invitation_leads_to_the_prompt_and_its_cookie_holds_no_secret(
    world: World, hidden: Campaign, voter: CheckedClient
) -> None:
    secret = invited(world, hidden)
    followed = voter.get(f"/join/{secret}")
    assert (followed.status_code, followed.headers["Location"]) == (303, "/?campaign=veiled")
    cookie = followed.headers["Set-Cookie"]
    assert cookie.startswith(f"{INVITATIONS_COOKIE}=")
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert secret not in cookie and digest_of(secret) in cookie


def test_a_campaign_that_is_closed_shows_its_board_to_guests_and_refuses_battles(
    world: World, voter: CheckedClient
) -> None:
    over = world.add_campaign("over", public=False, state="closed")
    followed = voter.get(f"/join/{invited(world, over)}")
    assert followed.headers["Location"] == "/board?campaign=over"
    assert voter.get("/board?campaign=over").status_code == 200
    refused = voter.post("/api/battles", json={"prompt": "hello", "campaign": "over"})
    problem(refused, 409, "campaign-closed")
    page = voter.get("/?campaign=over").get_data(as_text=True)
    assert "takes no new battles" in page and "/board?campaign=over" in page


def test_a_revoked_or_invented_invitation_grants_nothing(
    world: World, hidden: Campaign, voter: CheckedClient
) -> None:
    secret = invited(world, hidden)
    join(voter, secret)
    world.services.campaigns.revoke(digest_of(secret))
    problem(voter.get("/api/board?campaign=veiled"), 404, "not-found")
    for link in (secret, "invented", digest_of(secret), "%00"):
        refused = world.voter().get(f"/join/{link}")
        assert refused.status_code == 403
        assert "Set-Cookie" not in refused.headers


@pytest.mark.parametrize(
    "forge", [lambda c: c[:-1] + "AB", lambda c: c.split(".")[0], lambda c: "."]
)
def test_a_forged_cookie_grants_nothing(
    world: World, hidden: Campaign, voter: CheckedClient, forge: Any
) -> None:
    join(voter, invited(world, hidden))
    cookie = voter.get_cookie(INVITATIONS_COOKIE)
    assert cookie is not None
    voter.set_cookie(INVITATIONS_COOKIE, forge(cookie.value))
    problem(voter.get("/api/board?campaign=veiled"), 404, "not-found")


def test_a_guest_may_follow_more_than_one_invitation(world: World, voter: CheckedClient) -> None:
    for name in ("first", "second"):
        join(voter, invited(world, world.add_campaign(name, public=False)))
    listed = {one["id"] for one in voter.get("/api/campaigns").json["campaigns"]}
    assert {"first", "second", "online"} <= listed


# --- an arena that is private altogether --------------------------------------------------------


def test_a_private_arena_shows_a_stranger_only_that_an_invitation_is_needed(
    world: World, hidden: Campaign
) -> None:
    app = world.new_app({"private": True})
    stranger = world.voter(app)
    for path in addresses(app):
        refused = stranger.get(path)
        assert refused.status_code == 403, path
        text = refused.get_data(as_text=True)
        assert "Model" not in text and "online" not in text, path
    assert "An invitation is needed" in stranger.get("/").get_data(as_text=True)
    assert "需要邀请" in stranger.get("/?lang=zh").get_data(as_text=True)
    problem(stranger.post("/api/battles", json={"prompt": "hello"}), 403, "invitation-needed")
    for path in ("/healthz", "/static/css/base.css", "/admin"):
        assert stranger.get(path).status_code == 200


def test_a_private_arena_is_open_to_guests_and_the_operator(world: World, hidden: Campaign) -> None:
    app = world.new_app({"private": True})
    guest = world.voter(app)
    secret = invited(world, hidden)
    join(guest, secret)
    assert guest.get("/").status_code == guest.get("/api/board?campaign=veiled").status_code == 200
    assert world.voter(app).get("/board", headers=OPERATOR).status_code == 200
    world.services.campaigns.revoke(digest_of(secret))
    assert guest.get("/").status_code == 403


def test_a_private_default_campaign_asks_strangers_for_an_invitation(world: World) -> None:
    world.set_campaign("online", public=False)
    try:
        stranger = world.voter()
        for path in ("/", "/board"):
            page = stranger.get(path)
            assert page.status_code == 403
            assert "An invitation is needed" in page.get_data(as_text=True)
        for refused in (
            stranger.get("/api/board"),
            stranger.post("/api/battles", json={"prompt": "hello"}),
        ):
            problem(refused, 403, "invitation-needed")
        assert stranger.get("/api/campaigns").json == {"campaigns": []}
        assert stranger.get("/about").status_code == 200
    finally:
        world.set_campaign("online", public=True)


# --- the operator's pages -----------------------------------------------------------------------

FORM = {"id": "made", "title": "Made here", "consent": "We keep it.", "private": "on"}


def test_the_operator_makes_changes_closes_and_invites(world: World, voter: CheckedClient) -> None:
    def post(path: str, **data: str) -> Any:
        return voter.post(f"/admin/campaigns{path}", data=data, headers=OPERATOR)

    assert post("", **FORM).headers["Location"] == "/admin/campaigns/made"
    made = world.services.store.campaigns.get("made")
    assert made is not None and (made.public, made.publish_text) == (False, False)
    assert post("/made", **{**FORM, "title": "Renamed", "publish": "on"}).status_code == 303
    assert post("/made/state", state="closed").status_code == 303
    shown = post("/made/invitations", note="for <b>you</b>", days="7").get_data(as_text=True)
    link = re.search(r'value="(http://localhost/join/[^"]+)"', shown)
    assert link is not None
    assert "for &lt;b&gt;you" in shown
    again = voter.get("/admin/campaigns/made", headers=OPERATOR).get_data(as_text=True)
    assert "/join/" not in again
    join(world.voter(), link[1].rpartition("/")[2])
    digest = digest_of(link[1].rpartition("/")[2])
    assert post(f"/made/invitations/{digest}/revoke").status_code == 303
    assert world.voter().get(link[1].removeprefix("http://localhost")).status_code == 403
    made = world.services.store.campaigns.get("made")
    assert made is not None
    assert (made.title, made.state, made.publish_text) == ("Renamed", "closed", True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "Not An Id"}, "Small letters"),
        ({"id": "online"}, "Another campaign has this id."),
        ({"title": " \u0000 "}, "Write something here."),
        ({"consent": "x" * 601}, "At most 600 characters."),
    ],
)
def test_a_refused_form_says_what_is_wrong_and_keeps_what_was_written(
    world: World, voter: CheckedClient, changes: dict[str, str], words: str
) -> None:
    with world.nothing_written():
        page = voter.post(
            "/admin/campaigns",
            data={**FORM, "id": "fresh", "description": "Kept text", **changes},
            headers=OPERATOR,
        )
    assert page.status_code == 422
    text = page.get_data(as_text=True)
    assert words in text and "Kept text" in text and 'aria-invalid="true"' in text


def test_every_act_has_its_audit_row(world: World, voter: CheckedClient) -> None:
    before = world.counts()["audit"]
    voter.post("/admin/campaigns", data={**FORM, "id": "audited"}, headers=OPERATOR)
    voter.post("/admin/campaigns/audited/invitations", headers=OPERATOR)
    assert world.counts()["audit"] == before + 2


def test_nobody_else_reaches_the_operators_campaigns(voter: CheckedClient, world: World) -> None:
    with world.nothing_written():
        assert voter.post("/admin/campaigns", data=FORM).status_code == 401
        assert voter.get("/admin/campaigns").status_code == 303
    assert "Made here" not in json.dumps(voter.get("/api/campaigns").json)
