"""What voters own, over HTTP: their list, their file, and the battles they share."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from werkzeug.test import TestResponse

from arena.errors import EndpointBroken
from tests.arena.http_world import CheckedClient, World, problem

NAMES = re.compile(r"Model \d|\bm\d\b")


def listed(voter: CheckedClient, query: str = "") -> list[str]:
    return [battle["id"] for battle in voter.get(f"/api/battles{query}").json["battles"]]


def text(answer: TestResponse) -> str:
    found: str = answer.get_data(as_text=True)
    return found


# --- the list -----------------------------------------------------------------------------------


def test_a_list_is_of_the_voters_own_battles_newest_first(
    world: World, voter: CheckedClient
) -> None:
    other = world.voter()
    other.ready("somebody else's")
    battles = [voter.ready(f"question {number}") for number in range(3)]
    found = voter.get("/api/battles").json
    assert [battle["id"] for battle in found["battles"]] == battles[::-1]
    assert [battle["prompt"] for battle in found["battles"]] == [
        "question 2",
        "question 1",
        "question 0",
    ]
    assert found["next"] is None


def test_pages_of_the_list_join_without_gap_or_overlap(voter: CheckedClient) -> None:
    battles = [voter.ready() for _ in range(5)]
    seen: list[str] = []
    query = "?limit=2"
    while True:
        page = voter.get(f"/api/battles{query}").json
        assert len(page["battles"]) <= 2
        seen += [battle["id"] for battle in page["battles"]]
        if page["next"] is None:
            break
        query = f"?limit=2&before={page['next']}"
    assert seen == battles[::-1]


def test_another_voters_battle_is_no_place_to_go_on_from(
    world: World, voter: CheckedClient
) -> None:
    voter.ready()
    other = world.voter().ready()
    assert listed(voter, f"?before={other}") == listed(voter, "?before=nothing") == []


@pytest.mark.parametrize("query", ["limit=-1", "limit=x", "before=%00"])
def test_a_list_that_cannot_be_asked_for_is_refused(voter: CheckedClient, query: str) -> None:
    problem(voter.get(f"/api/battles?{query}"), 422, "invalid-field")


def test_a_long_prompt_is_listed_by_its_beginning(voter: CheckedClient) -> None:
    voter.ready("语" * 500)
    (battle,) = voter.get("/api/battles").json["battles"]
    assert battle["prompt"] == "语" * 200 + "…"


@pytest.mark.parametrize("state", ["ready", "skipped", "void"])
def test_no_list_page_or_file_names_a_model_before_the_vote(
    world: World, voter: CheckedClient, state: str
) -> None:
    if state == "void":
        world.answers("fails", EndpointBroken("it broke"))
        battle_id = voter.battle("fails")
        voter.settle(battle_id)
    else:
        battle_id = voter.ready()
    if state == "skipped":
        voter.post(f"/api/battles/{battle_id}/skip")
    assert voter.get(f"/api/battles/{battle_id}").json["state"] == state
    for path in ("/api/battles", "/api/battles/export", "/mine", f"/battles/{battle_id}"):
        assert not NAMES.search(text(voter.get(path))), path


def test_a_voted_battle_is_listed_with_grade_and_names(voter: CheckedClient) -> None:
    reveal = voter.voted(grade=0, both_bad=True)
    (battle,) = voter.get("/api/battles").json["battles"]
    for name in ("grade", "both_bad", "model_a", "model_b", "about_a", "about_b"):
        assert battle[name] == reveal[name]
    assert battle["shared"] is False
    page = text(voter.get("/mine"))
    for side in ("a", "b"):
        assert reveal[f"about_{side}"]["name"] in page
    assert "Tie" in page and "Both are bad" in page


# --- the page -----------------------------------------------------------------------------------


def test_looking_at_an_empty_list_makes_nobody_a_voter(world: World) -> None:
    stranger = world.voter()
    for path in ("/mine", "/api/battles", "/api/battles/export"):
        assert stranger.get(path).status_code == 200
    assert "Start a battle" in text(stranger.get("/mine"))
    assert stranger.get_cookie("arena_voter") is None


def test_the_page_deletes_and_unshares_without_script(voter: CheckedClient) -> None:
    first, second = voter.voted()["battle"], voter.voted()["battle"]
    assert voter.post(f"/api/battles/{first}/share").status_code == 204
    page = text(voter.get("/mine"))
    assert f'action="/mine/{first}/unshare"' in page
    assert f'action="/mine/{second}/unshare"' not in page
    answer = voter.post(f"/mine/{first}/unshare")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/mine?done=unshared")
    answer = voter.post(f"/mine/{first}/delete?before={second}")
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/mine?before={second}&done=deleted"
    assert listed(voter) == [second]
    assert "Deleted." in text(voter.get("/mine?done=deleted"))
    assert text(voter.get("/mine?done=<b>")).count("<b>") == 0


def test_what_a_prompt_says_is_shown_as_text(voter: CheckedClient) -> None:
    voter.voted("<script>alert(1)</script> \"'&")
    page = text(voter.get("/mine"))
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_page_says_after_how_many_days_text_is_erased(world: World) -> None:
    assert "erased after" not in text(world.voter().get("/mine"))
    short = world.new_app({"retention_days": 30})
    assert "erased after 30 days" in text(world.voter(short).get("/mine"))


# --- the file -----------------------------------------------------------------------------------


def own_data(voter: CheckedClient) -> list[dict[str, Any]]:
    answer = voter.get("/api/battles/export")
    assert answer.mimetype == "application/json"
    assert "attachment" in answer.headers["Content-Disposition"]
    found: list[dict[str, Any]] = json.loads(answer.get_data())["battles"]
    return found


def test_the_file_has_everything_of_the_voter_and_nothing_of_others(
    world: World, voter: CheckedClient
) -> None:
    world.voter().voted("not yours", comment="not yours")
    reveal = voter.voted("mine", comment="my comment", reasons=["clear"])
    path = f"/api/battles/{reveal['battle']}"
    voter.post(f"{path}/report", json={"reason": "my report", "side": "b"})
    skipped = voter.ready("left")
    voter.post(f"/api/battles/{skipped}/skip")
    left, voted = own_data(voter)
    assert (left["id"], left["state"]) == (skipped, "skipped")
    assert left["turns"][0]["prompt"] == "left"
    assert voted["turns"][0]["answer_a"] == "Hello there."
    assert (voted["comment"], voted["reasons"]) == ("my comment", ["clear"])
    assert voted["receipt"] == reveal["receipt"]
    assert [(one["side"], one["reason"]) for one in voted["reports"]] == [("b", "my report")]
    assert "not yours" not in json.dumps([left, voted])


def test_the_file_goes_on_beyond_one_page_and_tells_what_an_erasure_left(
    voter: CheckedClient,
) -> None:
    for _ in range(101):
        battle_id = voter.battle()
        voter.post(f"/api/battles/{battle_id}/skip")
    reveal = voter.voted("gone", comment="gone too")
    voter.delete(f"/api/battles/{reveal['battle']}")
    erased, *others = own_data(voter)
    assert len(others) == 101
    assert (erased["erased"], erased["grade"]) == (True, 1)
    assert erased["receipt"] == reveal["receipt"]
    assert "gone" not in json.dumps(erased).replace('"erased"', "")


# --- sharing ------------------------------------------------------------------------------------


def test_a_shared_battle_is_read_by_anybody_without_a_trace_of_its_voter(
    world: World, voter: CheckedClient
) -> None:
    reveal = voter.voted("shall I share this?", comment="between us")
    battle_id = reveal["battle"]
    path = f"/api/battles/{battle_id}"
    stranger = world.voter()
    problem(stranger.get(path), 404, "not-found")
    for _ in range(2):
        assert voter.post(f"{path}/share").status_code == 204
    assert voter.get(path).json["shared"] is True
    seen = stranger.get(path).json
    assert seen["about_a"] == reveal["about_a"]
    assert seen["turns"][0]["prompt"] == "shall I share this?"
    vote = world.store.votes.vote_of(battle_id)
    battle = world.store.battles.get(battle_id)
    assert vote is not None and battle is not None
    page = stranger.get(f"/battles/{battle_id}")
    for told in (json.dumps(seen), text(page)):
        for secret in (reveal["receipt"], "between us", vote.record.voter or "", battle.voter):
            assert secret not in told
    assert 'name="robots" content="noindex"' in text(page)
    assert reveal["about_a"]["name"] in text(page)
    for call in ("/events", "/vote", "/share", "/report"):
        method = "GET" if call == "/events" else "POST"
        body = {"grade": 1} if call == "/vote" else None
        problem(stranger.open(path + call, method=method, json=body), 404, "not-found")

    for _ in range(2):
        assert voter.delete(f"{path}/share").status_code == 204
    problem(stranger.get(path), 404, "not-found")
    assert "shall I share this?" not in text(stranger.get(f"/battles/{battle_id}"))


def test_its_voter_sees_the_own_battle_not_the_shared_page(voter: CheckedClient) -> None:
    battle_id = voter.voted("mine")["battle"]
    voter.post(f"/api/battles/{battle_id}/share")
    assert 'id="battle"' in text(voter.get(f"/battles/{battle_id}"))


def test_an_erased_battle_is_shared_no_more(world: World, voter: CheckedClient) -> None:
    battle_id = voter.voted("shared once")["battle"]
    voter.post(f"/api/battles/{battle_id}/share")
    voter.delete(f"/api/battles/{battle_id}")
    problem(world.voter().get(f"/api/battles/{battle_id}"), 404, "not-found")
    problem(voter.post(f"/api/battles/{battle_id}/share"), 410, "erased")


@pytest.mark.parametrize("state", ["running", "ready", "skipped"])
def test_only_a_battle_with_its_vote_is_shared(
    world: World, voter: CheckedClient, state: str
) -> None:
    with world.held():
        battle_id = voter.battle()
        if state == "skipped":
            voter.post(f"/api/battles/{battle_id}/skip")
        if state == "running":
            problem(voter.post(f"/api/battles/{battle_id}/share"), 409, "conflict")
            return
    voter.settle(battle_id)
    problem(voter.post(f"/api/battles/{battle_id}/share"), 409, "conflict")
    problem(world.voter().get(f"/api/battles/{battle_id}"), 404, "not-found")


def test_a_battle_of_a_private_campaign_is_not_shared(world: World, voter: CheckedClient) -> None:
    open_one = voter.voted()["battle"]
    assert voter.post(f"/api/battles/{open_one}/share").status_code == 204
    closed_one = voter.voted()["battle"]
    world.set_campaign("online", public=False)
    try:
        problem(voter.post(f"/api/battles/{closed_one}/share"), 409, "conflict")
        problem(world.voter().get(f"/api/battles/{open_one}"), 404, "not-found")
    finally:
        world.set_campaign("online", public=True)


def test_a_shared_page_speaks_both_languages(world: World, voter: CheckedClient) -> None:
    battle_id = voter.voted(grade="b_much_better")["battle"]
    voter.post(f"/api/battles/{battle_id}/share")
    stranger = world.voter()
    for lang, words in (("en", "B much better"), ("zh", "B 好很多")):
        assert words in text(stranger.get(f"/battles/{battle_id}?lang={lang}"))


# --- reports ------------------------------------------------------------------------------------


def test_a_report_names_its_side_or_none(world: World, voter: CheckedClient) -> None:
    battle_id = voter.ready()
    path = f"/api/battles/{battle_id}/report"
    for body in ({"reason": "rude", "side": "a"}, {"side": "b"}, {"reason": "odd"}):
        assert voter.post(path, json=body).status_code == 204
    battle = world.store.battles.get(battle_id)
    assert battle is not None
    kept = {report.side: report.reason for report in world.store.battles.reports_of(battle.voter)}
    assert kept == {"a": "rude", "b": "", None: "odd"}
    for side in ("c", "A", "", 1, ["a"]):
        problem(voter.post(path, json={"side": side}), 422, "invalid-field")
