"""The operator's roster: health, cost, budgets; models that come and go while the arena runs."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from arena.checkup import Checkup
from arena.clock import now
from arena.errors import BadSetting, EndpointBroken, EndpointUnreachable
from arena.interfaces import Deadlines, Endpoint, Finished, ModelEntry, Usage
from arena.operators import Operators
from tests.arena.http_world import ADMIN_TOKEN, MODELS, CheckedClient, World, problem
from tests.services import wait_until

NEW = {"id": "new/one", "model": "x", "base_url": "https://models.example/v1"}


@pytest.fixture
def operator(world: World) -> Iterator[CheckedClient]:
    """An operator's browser; afterwards the roster is as it was."""

    def endpoint(entry: ModelEntry) -> Endpoint:
        if "system" in entry.parameters:
            raise BadSetting("system goes elsewhere")
        return world._endpoint(entry)

    desk = Operators(world.services.store, Checkup(endpoint, Deadlines()), {"KEY_THAT_IS_SET": "k"})
    client = world.voter(world.new_app(operators=desk))
    assert client.post("/admin/session", data={"token": ADMIN_TOKEN}).status_code == 303
    yield client
    world.store.roster.replace(MODELS, now())
    world.scripts.clear()


def page_of(client: CheckedClient, path: str = "/admin/models") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.get_data(as_text=True))


def row_of(client: CheckedClient, model: str) -> str:
    """The model's row on the page, as text."""
    (row,) = [row for row in page_of(client).split("<tr") if f'data-health="{model}"' in row]
    return " ".join(re.sub("<[^>]+>", " ", row).split())


def save(client: CheckedClient, model: str, **fields: str) -> TestResponse:
    """Send the form of a model as its page has it, with some fields changed."""
    form = page_of(client, f"/admin/models/edit?model={model}")
    shown = {
        name: re.search(rf'<input[^>]* name="{name}"[^>]* value="([^"]*)"', form)
        for name in ("model_id", "revision", "base_url", "model", "name", "price", "daily_tokens")
    }
    given = {name: found[1] for name, found in shown.items() if found is not None}
    return client.post("/admin/models/edit", data={**given, **fields})


def public(client: CheckedClient, model: str) -> dict[str, Any]:
    (row,) = [row for row in client.get("/api/models").json["models"] if row["id"] == model]
    return row


def unrated(client: CheckedClient) -> set[str]:
    """The models on the board that nobody has judged yet."""
    rows = client.get("/api/board").json.get("rows", [])
    return {row["model"] for row in rows if row["votes"] == 0}


# --- coming, changing, going --------------------------------------------------------------------


def test_a_retired_model_is_drawn_no_more_and_its_exit_is_public(
    world: World, operator: CheckedClient
) -> None:
    assert public(operator, "m2")["retired_at"] is None
    wait_until(lambda: "m2" in unrated(operator), what="the board's list with m2")
    answer = operator.post("/admin/models/retire", data={"model": "m2"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/admin/models")
    assert public(operator, "m2")["retired_at"] is not None
    wait_until(lambda: "m2" not in unrated(operator), what="the board's list without m2")
    for _ in range(8):
        battle = world.store.battles.get(operator.battle())
        assert battle is not None
        assert {battle.model_a, battle.model_b} == {"m0", "m1"}
        assert battle.propensity == 1 / 2
    acted = world.store.audit.last("model.retire")
    assert acted is not None
    assert acted.act.target == "m2"

    operator.post("/admin/models/return", data={"model": "m2"})
    assert public(operator, "m2")["retired_at"] is None
    wait_until(lambda: "m2" in unrated(operator), what="the board's list with m2 again")


def test_a_running_battle_of_a_retired_model_finishes(
    world: World, operator: CheckedClient
) -> None:
    with world.pinned("m1", "m2"), world.held():
        battle = operator.battle()
        operator.post("/admin/models/retire", data={"model": "m2"})
    assert operator.settle(battle)[-1].event == "ready"
    reveal = operator.post(f"/api/battles/{battle}/vote", json={"grade": 1}).json
    assert reveal["about_b"]["name"] == "Model 2"


def test_a_new_model_plays_at_once_and_its_entry_is_public(
    world: World, operator: CheckedClient
) -> None:
    form = {
        **NEW,
        "name": "The new one",
        "organization": "Nobody",
        "license": "MIT",
        "link": "https://models.example/",
        "api_key_env": "KEY_THAT_IS_SET",
        "parameters": '{"temperature": 0.5}',
        "price": "2.50",
        "daily_tokens": "1000",
    }
    assert operator.post("/admin/models/new", data=form).status_code == 303
    assert world.store.roster.current().entries[-1] == ModelEntry(
        id="new/one",
        name="The new one",
        base_url="https://models.example/v1",
        model="x",
        api_key_env="KEY_THAT_IS_SET",
        parameters={"temperature": 0.5},
        organization="Nobody",
        license="MIT",
        link="https://models.example/",
        price=2.5,
        daily_tokens=1000,
    )
    entered = public(operator, "new/one")
    assert entered["name"] == "The new one"
    assert not {"price", "daily_tokens", "base_url"} & entered.keys()
    with world.pinned("new/one", "m0"):
        assert operator.settle(operator.battle())[-1].event == "ready"


def test_an_edited_model_keeps_its_id_state_and_place(
    world: World, operator: CheckedClient
) -> None:
    operator.post("/admin/models/retire", data={"model": "m1"})
    assert save(operator, "m1", name="Renamed", campaigns="online").status_code == 303
    fresh = world.store.roster.current().entries
    expected = replace(MODELS[1], name="Renamed", state="retired", campaigns=("online",))
    assert fresh == (MODELS[0], expected, MODELS[2])
    told = world.store.audit.last("model.change")
    assert told is not None
    assert told.act.details == {"name": "Renamed", "campaigns": ["online"]}


def test_a_form_that_changes_nothing_writes_nothing(world: World, operator: CheckedClient) -> None:
    with world.nothing_written():
        assert save(operator, "m1").status_code == 303


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("id", "", "This is needed."),
        ("id", "m0", "Another model has this id."),
        ("model", " ", "This is needed."),
        ("base_url", "", "This is needed."),
        ("base_url", "ftp://models.example", "must be an address"),
        ("base_url", "https://", "must be an address"),
        ("base_url", "https://[", "must be an address"),
        ("base_url", "https://me:secret@models.example", "must not hold a password"),
        ("api_key_env", "sk-0123", "name of an environment variable"),
        ("api_key_env", "hf_0123abc", "name of an environment variable"),
        ("parameters", "{", "must be a JSON object"),
        ("parameters", "[1]", "must be a JSON object"),
        ("parameters", "[" * 20_000, "must be a JSON object"),
        ("parameters", '{"a": NaN}', "must be a JSON object"),
        ("parameters", '{"system": "x"}', "system goes elsewhere"),
        ("price", "-1", "must be a number from 0"),
        ("price", "1e9", "must be a number from 0"),
        ("price", "nan", "must be a number from 0"),
        ("daily_tokens", "0", "must be a whole number from 1"),
        ("daily_tokens", "1.5", "must be a whole number from 1"),
        ("daily_tokens", "٣", "must be a whole number from 1"),
    ],
)
def test_what_cannot_be_used_is_told_beside_its_field(
    world: World, operator: CheckedClient, field: str, value: str, told: str
) -> None:
    with world.nothing_written():
        answer = operator.post("/admin/models/new", data={**NEW, field: value})
    assert answer.status_code == 422
    page = answer.get_data(as_text=True)
    beside = re.search(rf'id="{field}-problem">([^<]*)<', page)
    assert beside is not None
    assert told in beside[1]
    assert re.search(rf'id="{field}"[^>]*aria-describedby="[^"]*{field}-problem', page)
    assert 'value="https://models.example/v1"' in page or field == "base_url"
    assert value not in re.findall('id="api_key_env"[^>]*value="([^"]+)"', page)


def test_two_operators_do_not_undo_each_other(world: World, operator: CheckedClient) -> None:
    stale = str(world.store.roster.current().revision)
    assert save(operator, "m1", name="First").status_code == 303
    refused = save(operator, "m1", name="Second", revision=stale)
    assert refused.status_code == 409
    assert world.store.roster.current().entries[1].name == "First"


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/admin/models/retire", {"model": "nobody"}),
        ("/admin/models/retire", {}),
        ("/admin/models/return", {"model": "nobody"}),
        ("/admin/models/edit", {"model_id": "nobody", **NEW}),
    ],
)
def test_a_model_that_is_not_there_cannot_be_changed(
    world: World, operator: CheckedClient, path: str, data: dict[str, str]
) -> None:
    with world.nothing_written():
        assert operator.post(path, data=data).status_code == 404


def test_a_model_of_the_demo_is_retired_but_not_edited(
    world: World, operator: CheckedClient
) -> None:
    demo = ModelEntry(id="small", name="Small", base_url="demo:smollm2", model="x")
    world.store.roster.replace([*MODELS, demo], now())
    assert "/admin/models/edit?model=small" not in page_of(operator)
    with world.nothing_written():
        data = {"model_id": "small", **NEW}
        assert operator.post("/admin/models/edit", data=data).status_code == 404
    operator.post("/admin/models/retire", data={"model": "small"})
    assert world.store.roster.current().entries[-1] == replace(demo, state="retired")


# --- health and cost ----------------------------------------------------------------------------


def test_work_failures_and_cost_are_counted(world: World, operator: CheckedClient) -> None:
    def used() -> Usage:
        return world.store.usage.of_day(now()[:10]).get("m0", Usage())

    world.store.roster.replace([replace(MODELS[0], price=1_000_000.0), *MODELS[1:]], now())
    before = used()
    with world.pinned("m0", "m1"):
        operator.ready()
        world.answers("fail", m0=[EndpointBroken("no")])
        assert operator.settle(operator.battle("fail"))[-1].event == "void"
    after = used()
    assert after.answers - before.answers == 1
    assert after.failures - before.failures == 1
    assert after.tokens - before.tokens == 2
    row = row_of(operator, "m0")
    rate = 100 * after.failures / (after.answers + after.failures)
    assert f"{after.failures} failed ({rate:.1f} %)" in row
    assert f"{after.tokens:,.2f}" in row  # a price of one a token


def test_a_test_asks_every_playing_model_and_is_remembered(
    world: World, operator: CheckedClient
) -> None:
    operator.post("/admin/models/retire", data={"model": "m2"})
    world.answers("Say hello.", m1=[EndpointUnreachable("it is <away>")])
    assert operator.post("/admin/models/test").status_code == 303
    assert "Works" in row_of(operator, "m0")
    assert "it is &lt;away&gt;" in row_of(operator, "m1")
    assert "Retired" in row_of(operator, "m2")
    told = world.store.audit.last("models.test")
    assert told is not None
    assert list(told.act.details["answered"]) == ["m0"]
    assert list(told.act.details["failed"]) == ["m1"]


def test_without_a_test_todays_battles_tell_of_health(
    world: World, operator: CheckedClient
) -> None:
    fresh = [replace(entry, id=f"untested-{entry.id}") for entry in MODELS]
    world.store.roster.replace(fresh, now())
    assert "Not tested" in row_of(operator, "untested-m0")
    world.answers("half", **{"untested-m1": [EndpointBroken("no")]})
    with world.pinned("untested-m0", "untested-m2"):
        operator.ready()
    with world.pinned("untested-m2", "untested-m1"):
        assert operator.settle(operator.battle("half"))[-1].event == "void"
    assert "Works In battles today" in row_of(operator, "untested-m0")
    assert "Failed In battles today" in row_of(operator, "untested-m1")


def test_a_script_gets_the_results_of_a_test_as_they_come(
    world: World, operator: CheckedClient
) -> None:
    slow = threading.Event()
    world.answers("Say hello.", m1=[slow, "Hello.", Finished("stop")])
    headers = {"Accept": "application/x-ndjson"}
    response = operator.post("/admin/models/test", headers=headers, buffered=False)
    lines = (json.loads(line) for line in response.response)
    first = [next(lines)["model"], next(lines)["model"]]
    assert sorted(first) == ["m0", "m2"]
    slow.set()
    last = next(lines)
    assert last["model"] == "m1"
    assert list(lines) == []
    response.close()


def test_a_key_that_is_not_set_here_is_told_by_its_name(
    world: World, operator: CheckedClient
) -> None:
    names = ("KEY_THAT_IS_SET", "KEY_THAT_IS_NOT")
    entries = [
        replace(entry, api_key_env=key) for entry, key in zip(MODELS, (*names, None), strict=True)
    ]
    world.store.roster.replace(entries, now())
    assert "Key in KEY_THAT_IS_SET" in row_of(operator, "m0")
    assert "KEY_THAT_IS_NOT is not set here" in row_of(operator, "m1")


# --- budgets ------------------------------------------------------------------------------------


def test_a_model_whose_budget_is_used_up_rests_until_tomorrow(
    world: World, operator: CheckedClient
) -> None:
    spent = world.store.usage.of_day(now()[:10]).get("m0", Usage()).tokens
    world.store.roster.replace([replace(MODELS[0], daily_tokens=spent + 2), *MODELS[1:]], now())
    with world.pinned("m0", "m1"):
        operator.ready()  # two tokens each
    for _ in range(8):
        battle = world.store.battles.get(operator.battle())
        assert battle is not None
        assert {battle.model_a, battle.model_b} == {"m1", "m2"}
        assert battle.propensity == 1 / 2
        assert battle.sampling_rule == "uniform"
    assert "budget is used up" in row_of(operator, "m0")
    assert "budget is used up" not in row_of(operator, "m1")


def test_when_budgets_leave_too_few_the_voter_is_told_when_it_goes_on(
    world: World, operator: CheckedClient
) -> None:
    operator.ready()
    used = world.store.usage.of_day(now()[:10])
    entries = [
        replace(entry, daily_tokens=1) if used.get(entry.id, Usage()).tokens else entry
        for entry in MODELS
    ]
    world.store.roster.replace(entries, now())
    with world.nothing_written():
        refused = operator.post("/api/battles", json={"prompt": "hello"})
    body = problem(refused, 503, "no-models")
    assert "midnight UTC" in body["detail"]
    assert 0 < int(refused.headers["Retry-After"]) <= 86_400


def fail(world: World, voter: CheckedClient, model: str, times: int) -> None:
    """The model fails so often in battles; then a web process has had time to hear of it."""
    other = next(entry.id for entry in MODELS if entry.id != model)
    for _ in range(times):
        with world.pinned(model, other):
            assert voter.settle(voter.battle(f"fail {model}"))[-1].event == "void"
    world.services.battles._resting._known = None


@pytest.fixture
def failing(world: World) -> None:
    """Every model fails at its own prompt, `fail MODEL`."""
    for entry in MODELS:
        world.answers(f"fail {entry.id}", **{entry.id: [EndpointBroken("broke")]})


@pytest.mark.usefixtures("failing")
def test_a_model_that_fails_too_often_is_left_alone_until_it_is_seen_to_answer(
    world: World, operator: CheckedClient
) -> None:
    fail(world, operator, "m0", 4)
    assert "Left alone after failures" in row_of(operator, "m0")
    assert "EndpointBroken" in row_of(operator, "m0")
    assert "Left alone" not in row_of(operator, "m1")
    for _ in range(8):
        battle = world.store.battles.get(operator.battle())
        assert battle is not None
        assert {battle.model_a, battle.model_b} == {"m1", "m2"}
        assert battle.propensity == 1 / 2
    operator.post("/admin/models/test")
    assert "Left alone" not in row_of(operator, "m0")
    assert {circuit.state for circuit in world.store.circuits.all()} == {"closed"}


@pytest.mark.usefixtures("failing")
def test_when_failures_leave_too_few_the_voter_is_asked_to_come_back_and_told_no_name(
    world: World, operator: CheckedClient
) -> None:
    fail(world, operator, "m0", 4)
    fail(world, operator, "m1", 4)
    with world.nothing_written():
        refused = world.voter().post("/api/battles", json={"prompt": "hello"})
    body = problem(refused, 503, "no-models")
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert not re.search(r"m[012]|The one", json.dumps(body))


@pytest.mark.usefixtures("failing")
def test_metrics_tell_of_every_models_circuit_failures_and_times(
    world: World, operator: CheckedClient
) -> None:
    with world.pinned("m0", "m1"):
        operator.ready()
    before = world.store.circuits.failures().get(("m2", "EndpointBroken"), 0)
    fail(world, operator, "m2", 4)
    text = operator.get("/metrics").get_data(as_text=True)
    assert 'arena_circuit{model="m2",state="open"} 1.0' in text
    assert 'arena_circuit{model="m2",state="closed"} 0.0' in text
    counted = f'arena_failures_total{{error="EndpointBroken",model="m2"}} {before + 4}.0'
    assert counted in text
    for name in ("answers", "answer_tokens", "first_text_seconds", "answer_seconds"):
        assert f'arena_{name}_total{{model="m0"}}' in text


def test_a_conversation_goes_on_beyond_its_models_budget(
    world: World, operator: CheckedClient
) -> None:
    with world.pinned("m0", "m1"):
        battle = operator.ready()
    entries = [replace(entry, daily_tokens=1) for entry in MODELS]
    world.store.roster.replace(entries, now())
    turn = operator.post(f"/api/battles/{battle}/turns", json={"prompt": "and then?"})
    assert turn.status_code == 201
    assert operator.settle(battle)[-1].event == "ready"
