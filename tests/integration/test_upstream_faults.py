"""Whatever an endpoint does wrong: no vote, no leak, one void for the right model.

All cases run at once, through the real runner, the real endpoint client and real sockets.
"""

from __future__ import annotations

import json
import shutil
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

import arena.runner
from arena import endpoints
from arena.battle import SIDES, Side
from arena.endpoints import transport
from arena.interfaces import Deadlines, ModelEntry
from arena.runner import Runner
from arena.store.tables import turns
from arena.worker import Worker
from tests import faults
from tests.arena.http_world import World, parse_sse, problem
from tests.conftest import missing
from tests.faults import BEGINNING, CANARY, Fault, Faulty

DEADLINES = Deadlines(connect=1.0, first_byte=3.0, stall=1.5, total=4.5, max_chars=180)
KEY_ENV, KEY = "ARENA_TEST_KEY", f"sk-{CANARY}"
GOOD = f"{CANARY}-good"


@dataclass
class Case:
    """One battle of a model with a fault on one side, and all that its voter got to see."""

    fault: Fault
    phase: str
    side: Side
    model: str
    voter: FlaskClient
    battle: str = ""
    seen: dict[str, tuple[list[tuple[str, str]], str]] = field(default_factory=dict)

    @property
    def prompt(self) -> str:
        return f"Prompt {self.model}".replace(CANARY, "n")

    def look(self, name: str, response: Any) -> Any:
        """Keep an answer, without what differs between any two battles."""
        body = response.get_data(as_text=True)
        headers = [
            (key, value.replace(self.battle, "ID"))
            for key, value in response.headers
            if key not in ("Date", "Set-Cookie", "ETag", "X-Request-ID")
        ]
        self.seen[name] = headers, body.replace(self.battle, "ID").replace(self.prompt, "PROMPT")
        return response

    def shown(self) -> dict[str, str]:
        """The text that came, by side."""
        events = parse_sse(self.seen["events"][1])
        return {
            side: "".join(e.data["text"] for e in events if e.data.get("side") == side)
            for side in SIDES
        }


class FaultyWorld(World):
    """An arena whose runner asks real endpoints."""

    def _parts(self) -> tuple[Runner, Worker]:
        runner = Runner(
            self.store,
            self._live,
            endpoints.factory(self.settings),
            deadlines=DEADLINES,
            tick=0.02,
            capacity=1000,
            poll=0.3,
            lease_seconds=20,
        )
        signer = self.settings.signer()
        return runner, Worker(self.store, self._live, signer=signer, poll=0.3, lease_seconds=20)


@dataclass
class Result:
    world: World
    faulty: Faulty
    cases: list[Case]
    odd: dict[str, str]
    rows: dict[str, Any]


def entry(model: str, url: str) -> ModelEntry:
    return ModelEntry(id=model, name=f"The {model}", base_url=url, model=model, api_key_env=KEY_ENV)


@pytest.fixture(scope="module")
def result(redis_server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Result]:
    """Every battle, begun at nearly the same time and at its end by now."""
    if shutil.which("openssl") is None:
        missing("openssl, which makes the certificates, is not on PATH")
    folder = tmp_path_factory.mktemp("faults")
    faulty = Faulty()
    with pytest.MonkeyPatch.context() as patch, faulty.open(folder):
        patch.setenv(KEY_ENV, KEY)
        patch.setattr(arena.runner, "_RETRY_SECONDS", 0.02)
        trusting = ssl.create_default_context(cafile=faulty.trusted)
        patch.setattr(transport, "tls_context", lambda: trusting)
        entries, chosen = [entry(GOOD, faulty.url)], []
        faulty.plays[GOOD] = faults.sends(faults.GOOD)
        for phase, found in (("before", faults.before()), ("after", faults.after())):
            for side in SIDES:
                for fault in found:
                    model = f"{CANARY}-{len(entries):03}"
                    faulty.plays[model] = fault.play
                    at = faulty.url if fault.at is None else faulty.addresses[fault.at]
                    entries.append(entry(model, at))
                    chosen.append((fault, phase, side, model))
        for name, (play, _) in faults.harmless().items():
            faulty.plays[name] = play
            entries.append(entry(name, faulty.tls_url if name == "over TLS" else faulty.url))
        with FaultyWorld(folder, redis_server_url, entries, web_threads=1000) as world:
            cases = [Case(*case, a_voter(world)) for case in chosen]
            odd = {name: begin_odd(world, name) for name in faults.harmless()}
            with ThreadPoolExecutor(len(cases)) as pool:
                list(pool.map(follow, (begun(world, case) for case in cases)))
            yield Result(world, faulty, cases, odd, stored(world))


def a_voter(world: World) -> FlaskClient:
    """One whose answers are not held against the contract, which takes long for so many."""
    return FlaskClient(world.app, world.app.response_class)


def begun(world: World, case: Case) -> Case:
    pair = (case.model, GOOD) if case.side == "a" else (GOOD, case.model)
    with world.pinned(*pair):
        response = case.voter.post("/api/battles", json={"prompt": case.prompt})
    assert response.status_code == 201, response.get_data(as_text=True)
    case.battle = response.json["id"]
    return case


def begin_odd(world: World, name: str) -> str:
    with world.pinned(name, GOOD):
        return world.voter().battle(f"Odd: {name}")


def follow(case: Case) -> None:
    """To the end, and everything that a voter may ask for then."""
    here = f"/api/battles/{case.battle}"
    case.look("events", case.voter.get(f"{here}/events", buffered=True))
    case.look("view", case.voter.get(here))
    case.look("again", case.voter.get(f"{here}/events", buffered=True))
    case.look("vote", case.voter.post(f"{here}/vote", json={"grade": 1}))
    case.look("stop", case.voter.post(f"{here}/stop"))
    case.look("list", case.voter.get("/api/battles"))


def stored(world: World) -> dict[str, Any]:
    with world.database.read() as connection:
        return {row.battle_id: row for row in connection.execute(select(turns))}


def named(case: Case) -> str:
    return f"{case.fault.name}, {case.phase} the first text, side {case.side}"


def wrong(result: Result, is_wrong: Any) -> list[str]:
    """The cases in which something is not as it should be."""
    return [named(case) for case in result.cases if is_wrong(case)]


def test_every_fault_voids_its_battle_for_the_right_reason_and_blames_the_right_side(
    result: Result,
) -> None:
    def told(case: Case) -> str:
        row = result.rows[case.battle]
        return f"{row.void_reason} {row.void_side} {(row.void_error or '').partition(':')[0]}"

    found = {named(case): told(case) for case in result.cases}
    expected = {
        named(case): f"endpoint_failed {case.side} {case.fault.error}" for case in result.cases
    }
    assert {key: found[key] for key in found if found[key] != expected[key]} == {}


def test_no_failed_battle_takes_a_vote(result: Result) -> None:
    for case in result.cases:
        body = json.loads(case.seen["vote"][1])
        assert (body["status"], body["type"]) == (409, "/api/docs#battle-void"), named(case)
        assert result.world.store.votes.vote_of(case.battle) is None


def test_the_voter_sees_that_a_model_failed_and_nothing_more(result: Result) -> None:
    for case in result.cases:
        *deltas, last = parse_sse(case.seen["events"][1])
        assert (last.event, last.data) == ("void", {"turn": 1, "reason": "endpoint_failed"})
        assert {event.event for event in deltas} <= {"delta"}
        (again,) = parse_sse(case.seen["again"][1])
        assert again.data == last.data
        view = json.loads(case.seen["view"][1])
        assert view["state"] == "void" and view["void_reason"] == "endpoint_failed"


def test_nothing_of_the_endpoints_reaches_the_voter(result: Result) -> None:
    forbidden = (CANARY, KEY, "Endpoint", "127.0.0.1", "finish_reason", "propensity", "ttft")

    def leaks(case: Case) -> bool:
        everything = json.dumps(case.seen)
        return any(word in everything for word in forbidden)

    assert wrong(result, leaks) == []


def test_what_was_shown_is_alike_on_both_sides_and_whichever_side_failed(result: Result) -> None:
    def wrongly_shown(case: Case) -> bool:
        text = BEGINNING if case.phase == "after" else ""
        return case.shown() != {"a": text, "b": text}

    assert wrong(result, wrongly_shown) == []


def test_answers_and_headers_do_not_tell_which_side_failed(result: Result) -> None:
    """All but the frames: how many there are depends on when the texts happened to arrive."""

    def kind(case: Case) -> tuple[str, str]:
        return case.phase, case.fault.name

    def told(case: Case) -> str:
        without_times = {
            name: (headers, timeless(body))
            for name, (headers, body) in case.seen.items()
            if name != "events"
        }
        events = [case.seen["events"][0], parse_sse(case.seen["events"][1])[-1].data]
        return json.dumps([without_times, events], sort_keys=True)

    for which, pair in groupby(sorted(result.cases, key=kind), key=kind):
        assert len({told(case) for case in pair}) == 1, which


def timeless(body: str) -> Any:
    """A JSON answer without its times; any other as it is."""
    try:
        document = json.loads(body)
    except ValueError:
        return body
    for one in [document, *document.get("battles", [])]:
        one.pop("created_at", None)
        one.pop("request_id", None)
    return document


def test_all_faults_look_alike_but_for_what_was_shown(result: Result) -> None:
    """So neither the kind of the fault nor, with it, the model can be told."""
    seen = {json.dumps(timeless(case.seen["view"][1])) for case in result.cases}
    assert len(seen) == 1
    assert len({json.dumps(timeless(case.seen["vote"][1])) for case in result.cases}) == 1
    assert len({json.dumps(case.seen["events"][0]) for case in result.cases}) == 1


def test_exactly_one_void_is_counted_for_the_model_that_failed(result: Result) -> None:
    store = result.world.store
    assert store.battles.voids_by_model() == {case.model: 1 for case in result.cases}
    used = store.usage.total()
    assert (
        wrong(result, lambda case: (used[case.model].failures, used[case.model].answers) != (1, 0))
        == []
    )
    assert used[GOOD].failures == 0
    rates = store.battles.void_rates()["online"]
    assert wrong(result, lambda case: rates[case.model] != 1) == []
    kinds = {(case.model, case.fault.error): 1 for case in result.cases}
    assert store.circuits.failures() == kinds


def test_only_the_same_model_is_asked_again_and_only_before_its_first_text(result: Result) -> None:
    def wrongly_asked(case: Case) -> bool:
        asked = [one.model for one in result.faulty.asked if one.prompt == case.prompt]
        if not set(asked) <= {case.model, GOOD} or asked.count(GOOD) > 1:
            return True
        if case.fault.at is not None:
            return case.model in asked
        times = asked.count(case.model)
        return not (2 <= times <= 5) if case.fault.again else times != 1

    assert wrong(result, wrongly_asked) == []


def test_a_redirect_is_never_followed(result: Result) -> None:
    assert {one.path for one in result.faulty.asked} == {"/v1/chat/completions"}
    assert result.faulty.strays == []


@pytest.mark.parametrize("name", faults.harmless())
def test_odd_servers_are_understood(result: Result, name: str) -> None:
    row = result.rows[result.odd[name]]
    assert (row.state, row.void_error) == ("ready", None)
    assert row.text_a == faults.harmless()[name][1]


def test_an_endpoint_is_left_alone_for_as_long_as_it_asks(result: Result) -> None:
    first, second = [one.at for one in result.faulty.asked if one.model == "in a second"]
    assert second - first >= 1.0


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", ["breaks off", "500"])
def test_a_follow_up_that_fails_is_withdrawn_and_the_first_turn_may_be_voted_on(
    result: Result, side: Side, name: str
) -> None:
    model = f"{CANARY}-then {name} {side}"
    found = {fault.name: fault for fault in [*faults.before(), *faults.after()]}
    result.faulty.plays[model] = faults.first_then(faults.sends(faults.GOOD), found[name].play)
    roster = [*result.world.models(), entry(model, result.faulty.url)]
    result.world.store.roster.replace(roster, "2026-01-02T00:00:00.000Z")
    voter = result.world.voter()
    with result.world.pinned(*((model, GOOD) if side == "a" else (GOOD, model))):
        battle = voter.ready()
    assert voter.post(f"/api/battles/{battle}/turns", json={"prompt": "More?"}).status_code == 201
    assert voter.settle(battle)[-1].data == {"turn": 2, "reason": "endpoint_failed"}
    view = voter.get(f"/api/battles/{battle}")
    assert view.json["state"] == "ready" and view.json["turns"][1]["state"] == "void"
    assert CANARY not in view.get_data(as_text=True)
    assert voter.post(f"/api/battles/{battle}/vote", json={"grade": 1}).status_code == 200
    assert result.world.store.usage.total()[model].failures == 1


def test_the_voter_may_have_the_prompt_of_a_void_battle_drawn_again(result: Result) -> None:
    for case in [case for case in result.cases if case.side == "a"][::12]:
        with result.world.pinned(GOOD, "kept alive"):
            again = {"prompt": case.prompt, "redraw_of": case.battle}
            response = case.voter.post("/api/battles", json=again)
        assert response.status_code == 201
        fresh = response.json["id"]
        events = case.voter.get(f"/api/battles/{fresh}/events", buffered=True)
        assert parse_sse(events.get_data(as_text=True))[-1].event == "ready"
        here = f"/api/battles/{fresh}/vote"
        assert case.voter.post(here, json={"grade": 2}).json["model_a"] == GOOD
        problem(
            case.voter.post(f"/api/battles/{case.battle}/vote", json={"grade": 2}),
            409,
            "battle-void",
        )
