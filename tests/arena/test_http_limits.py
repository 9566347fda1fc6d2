"""Rates over HTTP: by voter, by network, behind proxies; every address has one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from arena.battles import Battles, Limits
from arena.views.context import StreamSlots
from arena.views.rates import limited_as
from tests.arena.http_world import ADMIN_TOKEN, CheckedClient, World, problem
from tests.services import wait_until

ELSEWHERE = {"REMOTE_ADDR": "198.51.100.9"}
FEW = {"prompts_per_minute": 3, "address_factor": 2, "votes_per_minute": 2}


def ask(voter: CheckedClient, **options: object) -> int:
    return voter.post("/api/battles", json={"prompt": "hello"}, **options).status_code


def known(world: World, app: Flask) -> CheckedClient:
    """A voter who has the cookie already: the request that brings it counts for the network."""
    voter = world.voter(app)
    voter.get("/api/battles/unknown")
    return voter


def test_a_voter_who_asks_too_often_is_told_when_to_come_back(world: World) -> None:
    voter = known(world, world.new_app(FEW))
    assert [ask(voter) for _ in range(3)] == [201] * 3
    answer = voter.post("/api/battles", json={"prompt": "hello"})
    problem(answer, 429, "too-often")
    assert 1 <= int(answer.headers["Retry-After"]) <= 80
    assert not [name for name in answer.headers.keys() if "limit" in name.lower()]


def test_a_follow_up_is_a_prompt_too(world: World) -> None:
    voter = world.voter(world.new_app(FEW))
    battle = voter.ready()
    for expected in (201, 201, 201, 429):
        answer = voter.post(f"/api/battles/{battle}/turns", json={"prompt": "And?"})
        assert answer.status_code == expected
        if expected == 201:
            voter.settle(battle)


def test_another_voter_of_the_same_network_goes_on(world: World) -> None:
    app = world.new_app(FEW)
    eager, other = known(world, app), known(world, app)
    assert [ask(eager) for _ in range(20)][-1] == 429
    assert [ask(other) for _ in range(3)] == [201] * 3


def test_whoever_drops_the_cookie_is_held_by_the_network(world: World) -> None:
    app = world.new_app(FEW)
    assert [ask(world.voter(app)) for _ in range(7)] == [201] * 6 + [429]
    assert ask(world.voter(app), environ_overrides=ELSEWHERE) == 201


def test_addresses_of_one_ipv6_subscriber_are_one_network(world: World) -> None:
    app = world.new_app(FEW)
    seen = [
        ask(world.voter(app), environ_overrides={"REMOTE_ADDR": f"2001:db8:1:2::{n:x}"})
        for n in range(7)
    ]
    assert seen[-1] == 429


def test_votes_are_counted_even_where_there_is_nothing_to_vote_on(world: World) -> None:
    voter = world.voter(world.new_app(FEW))
    voter.battle()
    seen = [voter.post("/api/battles/none/vote", json={"grade": 1}).status_code for _ in range(3)]
    assert seen == [404, 404, 429]


def test_a_class_behind_one_address_is_not_held_up_by_the_defaults(world: World) -> None:
    defaults = {
        "prompts_per_minute": 20,
        "votes_per_minute": 60,
        "reads_per_minute": 600,
        "address_factor": 20,
    }
    app = world.new_app(defaults)
    for _ in range(40):
        pupil = known(world, app)
        for _ in range(5):  # what is refused for its words counts as much, and is quickly done
            assert pupil.post("/api/battles", json={"prompt": " "}).status_code == 422
        assert pupil.get("/about").status_code == 200


def test_a_page_that_is_asked_for_too_often_says_so_in_words(world: World) -> None:
    voter = world.voter(world.new_app({"reads_per_minute": 1, "address_factor": 1}))
    voter.get("/about")
    answer = voter.get("/about")
    assert answer.status_code == 429
    assert "A little slower, please" in answer.get_data(as_text=True)
    assert voter.get("/healthz").status_code == 200
    assert voter.get("/static/css/base.css").status_code in (200, 404)


def test_every_address_but_files_and_health_comes_under_a_rate(world: World) -> None:
    free = set()
    for rule in world.app.url_map.iter_rules():
        for method in rule.methods or ():
            what = limited_as(rule.endpoint, method)
            if what is None:
                free.add(rule.endpoint)
            else:
                assert hasattr(world.settings, f"{what}_per_minute")
    assert free == {"static", "health.healthz", "health.readyz"}
    assert limited_as(None, "BREW") == "actions"


# --- streams ------------------------------------------------------------------------------------


def test_one_voter_and_one_network_leave_streams_for_others(world: World) -> None:
    app = world.new_app(streams=StreamSlots(4, each=2))
    greedy, strangers = known(world, app), [world.voter(app) for _ in range(2)]
    board = "/api/board/events"
    opened = [greedy.stream(board)[0] for _ in range(2)]
    refused = greedy.get(board)
    problem(refused, 503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    opened.append(strangers[0].stream(board)[0])
    problem(strangers[1].get(board), 503, "unavailable")  # a network has three of the four
    elsewhere = world.voter(app).get(board, environ_overrides=ELSEWHERE, buffered=False)
    assert elsewhere.status_code == 200
    for answer in (*opened, elsewhere):
        answer.close()
    greedy.stream(board)[0].close()


# --- proxies ------------------------------------------------------------------------------------


def forwarded(*addresses: str) -> dict[str, str]:
    return {"X-Forwarded-For": ", ".join(addresses)}


def networks_held(world: World, hops: int, headers: Callable[[int], dict[str, str]]) -> bool:
    """Whether requests with these headers are one network to an arena behind `hops` proxies."""
    app = world.new_app({**FEW, "proxy_hops": hops})
    return [ask(world.voter(app), headers=headers(n)) for n in range(7)][-1] == 429


def test_nobody_is_believed_by_default(world: World) -> None:
    assert networks_held(world, 0, lambda n: forwarded(f"192.0.2.{n}"))


@pytest.mark.parametrize(("hops", "is_told"), [(0, True), (1, False)])
def test_the_operator_is_told_of_a_proxy_that_is_not_believed(
    world: World, hops: int, is_told: bool
) -> None:
    operator = world.voter(world.new_app({"proxy_hops": hops}))
    token = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    told = operator.get("/readyz", headers=forwarded("192.0.2.1") | token)
    assert ("proxy" in told.json["problems"]) == is_told
    assert "proxy" not in operator.get("/readyz", headers=token).json["problems"]


def test_the_one_proxy_is_believed_and_not_what_its_client_says(world: World) -> None:
    assert not networks_held(world, 1, lambda n: forwarded(f"192.0.2.{n}"))
    assert networks_held(world, 1, lambda n: forwarded(f"192.0.2.{n}", "203.0.113.1"))


def test_two_proxies_are_believed_and_not_a_third(world: World) -> None:
    assert not networks_held(world, 2, lambda n: forwarded(f"192.0.2.{n}", "10.0.0.1"))
    assert networks_held(world, 2, lambda n: forwarded(f"192.0.2.{n}", "203.0.113.1", "10.0.0.1"))
    assert networks_held(world, 2, lambda n: forwarded(f"192.0.2.{n}")), "one of them is missing"


TLS = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "arena.example"}


@pytest.mark.parametrize(("hops", "status"), [(0, 403), (1, 201)])
def test_behind_a_tls_proxy_the_sites_own_pages_may_act(
    world: World, hops: int, status: int
) -> None:
    voter = world.voter(world.new_app({"proxy_hops": hops}))
    assert ask(voter, headers={**TLS, "Origin": "https://arena.example"}) == status
    assert ask(voter, headers={**TLS, "Origin": "https://evil.example"}) == 403


@pytest.mark.parametrize(("hops", "secure"), [(0, False), (1, True)])
def test_behind_a_tls_proxy_cookies_are_kept_to_https(
    world: World, hops: int, secure: bool
) -> None:
    voter = world.voter(world.new_app({"proxy_hops": hops}))
    answer = voter.post("/api/battles", json={"prompt": "hello"}, headers=TLS)
    assert ("Secure" in answer.headers["Set-Cookie"]) is secure


# --- the line for a place -----------------------------------------------------------------------


def one_place(world: World) -> Battles:
    limits = Limits(
        prompt_chars=100, turns=3, running_per_voter=1, running=1, waiting_per_network=2
    )
    made = world.services
    return Battles(made.store, made.live, made.campaigns, limits, world.draw, signer=made.signer)


def test_when_all_places_are_taken_there_is_a_line(world: World) -> None:
    wait_until(
        lambda: world.store.battles.running().together == 0, what="every battle to be complete"
    )
    app = world.new_app(battles=one_place(world))
    with world.held():
        first, second, third = world.voter(app), world.voter(app), world.voter(app)
        battle = first.battle()
        refused = second.post("/api/battles", json={"prompt": "hello"})
        problem(refused, 503, "no-room")
        assert refused.headers["Retry-After"] == "3"
        asked = second.get("/api/battles/queue")
        assert asked.json == {"has_room": False, "ahead": 0, "retry_after": 3}
        stranger = world.voter(app)
        for _ in range(2):  # looking is not waiting
            assert stranger.get("/api/battles/queue").json["ahead"] == 1
        problem(third.post("/api/battles", json={"prompt": "hello"}), 503, "no-room")
        assert third.get("/api/battles/queue").json["ahead"] == 1
        first.post(f"/api/battles/{battle}/skip")
        assert third.get("/api/battles/queue").json["has_room"] is False
        assert second.get("/api/battles/queue").json["has_room"] is True
        second.battle()
        assert third.delete("/api/battles/queue").status_code == 204
