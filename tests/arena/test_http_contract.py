"""Every call of the HTTP contract: status, body, headers, and the OpenAPI document."""

from __future__ import annotations

import re
import threading

import pytest
from openapi_spec_validator import validate

from arena.errors import EndpointBroken, EndpointEmpty
from arena.interfaces import Finished
from tests.arena.http_world import BEGUN, CheckedClient, World, problem

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
BLIND = {
    *("id", "campaign", "state", "turn", "created_at"),
    *("events", "opening", "turns", "void_reason"),
}
REVEAL = {
    *("grade", "both_bad", "model_a", "model_b", "about_a", "about_b"),
    *("receipt", "signed_receipt", "leaks"),
}


# --- the document -------------------------------------------------------------------------------


def test_the_openapi_document_is_valid(world: World, voter: CheckedClient) -> None:
    validate(voter.get("/api/openapi.json").json)


def test_every_route_under_api_is_in_the_openapi_document(world: World) -> None:
    described = {
        (path, method)
        for path, methods in world.contract.document["paths"].items()
        for method in methods
    }
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in world.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api")
    }
    assert routes <= described
    assert {("/healthz", "get"), ("/readyz", "get"), ("/metrics", "get")} <= described


def test_every_json_answer_has_a_schema_in_the_openapi_document(world: World) -> None:
    for path, methods in world.contract.document["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                if status not in {"204", "304"}:
                    assert answer.get("content"), f"{method} {path} {status}"


# --- a battle -----------------------------------------------------------------------------------


def test_a_battle_goes_from_prompt_to_reveal(world: World, voter: CheckedClient) -> None:
    with world.held():
        started = voter.post("/api/battles", json={"prompt": "hello"})
    assert started.status_code == 201
    battle = started.json
    path = f"/api/battles/{battle['id']}"
    assert started.headers["Location"] == path
    assert set(battle) == BLIND
    assert battle["campaign"] == "online"
    assert battle["state"] in {"created", "running"}
    assert battle["turn"] == 1
    assert TIME.fullmatch(battle["created_at"])
    assert battle["events"] == f"{path}/events"
    assert battle["turns"] == [{"turn": 1, "state": "running", "prompt": "hello"}]

    voter.settle(battle["id"])
    ready = voter.get(path).json
    assert set(ready) == BLIND
    assert ready["state"] == "ready"
    assert ready["turns"] == [
        {
            "turn": 1,
            "state": "ready",
            "prompt": "hello",
            "answer_a": "Hello there.",
            "answer_b": "Hello there.",
            "finish_a": "stop",
            "finish_b": "stop",
        }
    ]

    vote = voter.post(f"{path}/vote", json={"grade": "b_much_better"})
    assert vote.status_code == 200
    reveal = vote.json
    assert set(reveal) == REVEAL
    assert reveal["grade"] == -2
    assert reveal["both_bad"] is False
    assert re.fullmatch("[0-9a-f]{64}", reveal["receipt"])
    stored = world.store.battles.get(battle["id"])
    assert stored is not None
    assert (reveal["model_a"], reveal["model_b"]) == (stored.model_a, stored.model_b)
    assert reveal["about_a"]["name"] == f"Model {stored.model_a[1]}"

    voted = voter.get(path).json
    assert set(voted) == BLIND | REVEAL | {"shared", "excluded_reason"}
    assert voted["state"] == "voted"
    assert {name: voted[name] for name in REVEAL} == reveal


@pytest.mark.parametrize(
    ("grade", "stored"),
    [
        (2, 2),
        (1, 1),
        (0, 0),
        (-1, -1),
        (-2, -2),
        ("a_much_better", 2),
        ("a_better", 1),
        ("tie", 0),
        ("b_better", -1),
        ("b_much_better", -2),
    ],
)
def test_a_grade_is_given_as_a_number_or_by_name(
    voter: CheckedClient, grade: int | str, stored: int
) -> None:
    assert voter.voted(grade=grade)["grade"] == stored


def test_both_bad_goes_with_a_tie(voter: CheckedClient) -> None:
    reveal = voter.voted(grade=0, both_bad=True, reasons=["clear"], comment="Neither will do.")
    assert (reveal["grade"], reveal["both_bad"]) == (0, True)


def test_a_follow_up_continues_the_same_pair(world: World, voter: CheckedClient) -> None:
    world.answers("and then?", "More ", "of it.", Finished("length", 9))
    battle_id = voter.ready()
    pair = world.store.battles.get(battle_id)
    with world.held():
        answer = voter.post(f"/api/battles/{battle_id}/turns", json={"prompt": "and then?"})
    assert answer.status_code == 201
    assert (answer.json["turn"], answer.json["state"]) == (2, "running")
    assert voter.settle(battle_id)[-1].data == {
        "turn": 2,
        "finish_a": "length",
        "finish_b": "length",
    }
    battle = voter.get(f"/api/battles/{battle_id}").json
    assert [turn["answer_b"] for turn in battle["turns"]] == ["Hello there.", "More of it."]
    after = world.store.battles.get(battle_id)
    assert pair is not None
    assert after is not None
    assert (after.model_a, after.model_b) == (pair.model_a, pair.model_b)


def test_a_failed_follow_up_is_withdrawn_and_the_last_complete_turn_voted_on(
    world: World, voter: CheckedClient
) -> None:
    world.answers("break", EndpointBroken("it broke"))
    battle_id = voter.ready()
    voter.post(f"/api/battles/{battle_id}/turns", json={"prompt": "break"})
    assert voter.settle(battle_id)[-1].event == "void"
    assert voter.get(f"/api/battles/{battle_id}").json["state"] == "ready"
    vote = voter.post(f"/api/battles/{battle_id}/vote", json={"grade": 1})
    assert vote.status_code == 200
    stored = world.store.votes.vote_of(battle_id)
    assert stored is not None
    assert stored.record.turns == 1


def test_a_failed_side_voids_the_battle_and_the_prompt_can_be_drawn_again(
    world: World, voter: CheckedClient
) -> None:
    world.answers("fail", m0=[EndpointEmpty("nothing came")], m1=["Fine.", Finished("stop")])
    with world.pinned("m0", "m1"):
        battle_id = voter.battle("fail")
    events = voter.settle(battle_id)
    assert [event.event for event in events] == ["void"]
    battle = voter.get(f"/api/battles/{battle_id}").json
    assert (battle["state"], battle["void_reason"]) == ("void", "endpoint_failed")
    assert set(battle["turns"][0]) == {"turn", "state", "prompt"}
    again = voter.ready("hello", redraw_of=battle_id)
    redrawn = world.store.battles.get(again)
    assert redrawn is not None
    assert redrawn.redrawn_from == battle_id


def test_stop_ends_the_answers_where_they_are(world: World, voter: CheckedClient) -> None:
    gate = threading.Event()
    world.answers("long", BEGUN, gate, "never shown", Finished("stop"))
    battle_id = voter.battle("long")
    answer = voter.post(f"/api/battles/{battle_id}/stop")
    assert (answer.status_code, answer.get_data()) == (204, b"")
    assert voter.settle(battle_id)[-1].data["finish_a"] == "stopped"
    turn = voter.get(f"/api/battles/{battle_id}").json["turns"][0]
    assert turn["answer_a"] == turn["answer_b"] == BEGUN
    assert voter.post(f"/api/battles/{battle_id}/stop").status_code == 204


def test_skip_leaves_without_a_vote_and_can_be_repeated(voter: CheckedClient) -> None:
    battle_id = voter.ready()
    for _ in range(2):
        answer = voter.post(f"/api/battles/{battle_id}/skip")
        assert (answer.status_code, answer.get_data()) == (204, b"")
    assert voter.get(f"/api/battles/{battle_id}").json["state"] == "skipped"


def test_a_report_reaches_the_operator_and_changes_nothing_else(
    world: World, voter: CheckedClient
) -> None:
    battle_id = voter.ready()
    before = world.counts()
    path = f"/api/battles/{battle_id}/report"
    assert voter.post(path, json={"reason": "It is rude."}).status_code == 204
    assert voter.post(path, json={"side": "b"}).status_code == 204
    assert voter.post(path).status_code == 204
    after = world.counts()
    assert after.pop("reports") == before.pop("reports") + 2, "the last one replaces the first"
    assert after == before


# --- what there is ------------------------------------------------------------------------------


def test_campaigns_models_and_boards_say_what_there_is(world: World, voter: CheckedClient) -> None:
    voter.voted()
    world.wait_sealed()
    (campaign,) = voter.get("/api/campaigns").json["campaigns"]
    assert campaign["id"] == "online"
    assert campaign["consent"]
    models = voter.get("/api/models").json
    assert models["revision"] == 1
    assert [model["id"] for model in models["models"]] == ["m0", "m1", "m2"]
    assert models["models"][0]["entered_at"] == "2026-01-01T00:00:00.000Z"
    assert models["models"][0]["retired_at"] is None
    assert not {"base_url", "parameters", "api_key_env", "model"} & set(models["models"][0])
    boards = voter.get("/api/boards").json["boards"]
    assert boards[0]["campaign"] == "online"
    assert [board["id"] for board in boards] == sorted((b["id"] for b in boards), reverse=True)


def test_health_is_told_to_everybody_and_reasons_to_nobody(voter: CheckedClient) -> None:
    assert voter.get("/healthz").json == {"status": "alive"}
    assert voter.get("/readyz").json == {"status": "ready"}


# --- addresses that are not there ---------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "BREW"])
@pytest.mark.parametrize("path", ["/api/nope", "/api/battles/x/y/z", "/api/board/events/more"])
def test_an_unknown_address_under_api_is_a_404_problem(
    voter: CheckedClient, method: str, path: str
) -> None:
    body = problem(voter.open(path, method=method), 404, "not-found")
    assert body["title"] == "Not found"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/board"),
        ("PUT", "/api/battles"),
        ("PUT", "/api/battles/x"),
        ("GET", "/api/battles/x/vote"),
        ("POST", "/api/votes"),
        ("BREW", "/api/models"),
    ],
)
def test_an_unknown_method_under_api_is_a_405_problem(
    voter: CheckedClient, method: str, path: str
) -> None:
    answer = voter.open(path, method=method)
    problem(answer, 405, "method-not-allowed")
    assert method not in answer.headers["Allow"].replace(" ", "").split(",")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nope", 404), ("GET", "/static/nope.js", 404), ("POST", "/board", 405)],
)
def test_elsewhere_an_error_is_a_page(
    voter: CheckedClient, method: str, path: str, status: int
) -> None:
    answer = voter.open(path, method=method)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert "<main" in answer.get_data(as_text=True)


def test_a_battle_that_its_reader_may_not_see_has_a_page_with_its_status(
    world: World, voter: CheckedClient
) -> None:
    kept, erased = voter.ready(), voter.ready()
    voter.delete(f"/api/battles/{erased}")
    stranger = world.voter()
    pages = [
        (voter, kept, 200),
        (voter, erased, 410),
        (stranger, kept, 404),
        (stranger, erased, 404),
        (stranger, "anything", 404),
    ]
    for reader, battle_id, status in pages:
        answer = reader.get(f"/battles/{battle_id}")
        assert (answer.status_code, answer.mimetype) == (status, "text/html")
        assert 'id="battle"' in answer.get_data(as_text=True), "the page that explains it"


@pytest.mark.parametrize("path", ["/", "/board", "/log", "/about", "/api/docs"])
def test_every_page_is_there(voter: CheckedClient, path: str) -> None:
    answer = voter.get(path)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")


def test_pages_stand_while_no_campaign_is_open(world: World, voter: CheckedClient) -> None:
    battle_id = voter.ready()
    world.set_campaign("online", state="closed")
    try:
        assert voter.get("/").status_code == 200
        assert voter.get(f"/battles/{battle_id}").status_code == 200
        assert voter.get("/?campaign=online").status_code == 200
        assert voter.get("/?campaign=nowhere").status_code == 404
        answer = voter.post("/api/battles", json={"prompt": "hello"})
        problem(answer, 409, "campaign-closed")
    finally:
        world.set_campaign("online", state="open")


def test_an_open_campaign_other_than_the_default_can_be_chosen(
    world: World, voter: CheckedClient
) -> None:
    world.add_campaign("second")
    assert "The second one" in voter.get("/?campaign=second").get_data(as_text=True)
    battle_id = voter.battle("hello", campaign="second")
    assert voter.get(f"/api/battles/{battle_id}").json["campaign"] == "second"
