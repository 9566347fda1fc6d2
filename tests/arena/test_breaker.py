"""The circuit breaker: who is left alone, for how long, and the one probe that ends it."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena import roster
from arena.battle import Answer
from arena.breaker import Prober, Resting
from arena.checkup import QUESTION, Checkup
from arena.circuit import MOST_REST_SECONDS, REST_SECONDS, Circuit, CircuitState
from arena.errors import EndpointTimeout, EndpointUnreachable
from arena.interfaces import Deadlines, Finished, ModelEntry
from tests.fakes import CAMPAIGN, MODELS, FakeStore, Script, ScriptedEndpoint, a_battle, a_turn

CLOSED, OPEN, HALF_OPEN = CircuitState
PATIENCE = 60.0


def after(circuit: Circuit, answers: str) -> Circuit:
    """What becomes of a circuit by answers (`+`) and failures (`-`)."""
    for answer in answers:
        circuit = circuit.answered() if answer == "+" else circuit.failed("EndpointTimeout", "t")
    return circuit


# --- the rules ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ("---", CLOSED),
        ("----", OPEN),
        ("+" * 1000 + "----", OPEN),
        ("-+--+--", OPEN),
        ("-++" * 100, CLOSED),
        ("-+" * 10, OPEN),
    ],
)
def test_a_circuit_opens_when_too_many_of_the_last_answers_failed(
    answers: str, state: CircuitState
) -> None:
    assert after(Circuit("m"), answers).state is state


@given(st.text("+-", max_size=60))
def test_the_share_of_failures_stays_a_share_and_only_a_probe_closes(answers: str) -> None:
    circuit, was_open = Circuit("m"), False
    for answer in answers:
        circuit = after(circuit, answer)
        assert 0 <= circuit.failing < 1
        assert circuit.state is OPEN or not was_open
        was_open = circuit.state is OPEN


def test_a_model_that_answers_for_long_has_its_failures_forgotten() -> None:
    assert after(Circuit("m"), "-" + "+" * 20).failing == 0


@pytest.mark.parametrize(
    ("asked", "rest"), [(60.0, 60.0), (2.0, REST_SECONDS), (3600.0, MOST_REST_SECONDS)]
)
def test_an_endpoint_that_asks_to_be_left_alone_is_at_once_within_reason(
    asked: float, rest: float
) -> None:
    circuit = Circuit("m").failed("EndpointUnreachable", "t", asked)
    assert (circuit.state, circuit.rest) == (OPEN, rest)


def test_every_failed_probe_doubles_the_rest_up_to_a_bound() -> None:
    circuit, rests = after(Circuit("m"), "----"), []
    for _ in range(7):
        rests.append(circuit.rest)
        circuit = circuit.probing().probed("EndpointTimeout", "t")
    assert rests == [15, 30, 60, 120, 240, 300, 300]


def test_after_its_probe_a_model_is_on_probation() -> None:
    closed = after(Circuit("m"), "----").probing().probed(None, "t")
    assert closed.state is CLOSED
    assert after(closed, "-").state is OPEN
    assert after(closed, "++++++++++++++++++++---").state is CLOSED


# --- who is drawn -------------------------------------------------------------------------------


class World:
    """A store, endpoints by script, and a clock that only a test moves."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.store.campaigns.add(CAMPAIGN)
        self.store.roster.replace(MODELS, "t1")
        self.endpoints: dict[str, ScriptedEndpoint] = {}
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def endpoint(self, entry: ModelEntry) -> ScriptedEndpoint:
        return self.endpoints[entry.id]

    def says(self, model: str, *scripts: Script) -> None:
        self.endpoints[model] = ScriptedEndpoint(*scripts)

    def prober(self) -> Prober:
        return Prober(self.store, Checkup(self.endpoint, Deadlines()), PATIENCE, self.clock)

    def turn(self, model: str, *, fails: bool = True, retry_after: float | None = None) -> None:
        """One battle of this model against another, to its end."""
        battle = f"b{len(self.store.battles.rows)}"
        other = next(entry.id for entry in MODELS if entry.id != model)
        self.store.battles.add(a_battle(battle, model_a=model, model_b=other), a_turn(battle))
        self.store.battles.claim(battle, "r")
        if fails:
            assert self.store.battles.fail_turn(
                battle,
                1,
                reason="endpoint_failed",
                side="a",
                error="EndpointTimeout: The endpoint was silent.",
                runner="r",
                retry_after=retry_after,
            )
        else:
            said = Answer("yes", "stop")
            assert self.store.battles.finish_turn(battle, 1, (said, said), [(3, 3)], "r")

    def open(self, model: str = "m0") -> None:
        for _ in range(4):
            self.turn(model)

    def circuit(self, model: str = "m0") -> Circuit:
        return {circuit.model: circuit for circuit in self.store.circuits.all()}[model]


@pytest.fixture
def world() -> World:
    return World()


def test_what_rests_is_read_at_most_once_a_second(world: World) -> None:
    resting = Resting(world.store.circuits, world.clock)
    assert resting.models() == frozenset()
    world.open()
    assert resting.models() == frozenset()
    world.now += 1
    assert resting.models() == {"m0"}
    world.store.database.away = 1
    assert resting.models() == {"m0"}


def test_answers_of_a_model_that_rests_do_not_close_its_circuit(world: World) -> None:
    world.open()
    for _ in range(30):
        world.turn("m0", fails=False)
    assert world.circuit().state is OPEN


# --- the probe ----------------------------------------------------------------------------------


def probe(prober: Prober) -> list[str]:
    """Begin and end the probes that are due now; the models that were asked."""
    begun = list(prober.begun())
    for entry, circuit in begun:
        prober.end(entry, circuit)
    return [entry.id for entry, _ in begun]


HELLO: Script = ["Hello.", Finished("stop")]
AWAY: Script = [EndpointUnreachable("away")]


def test_a_model_is_asked_once_its_rest_is_over_and_is_drawn_again_when_it_answers(
    world: World,
) -> None:
    world.says("m0", HELLO)
    world.open()
    prober = world.prober()
    assert probe(prober) == []
    world.now += REST_SECONDS - 1
    assert probe(prober) == []
    world.now += 1
    assert probe(prober) == ["m0"]
    assert [message.text for message in world.endpoints["m0"].asked[0]] == [QUESTION]
    assert world.circuit().state is CLOSED
    assert Resting(world.store.circuits).models() == frozenset()
    assert probe(prober) == []


def test_a_probe_costs_no_voter_a_void(world: World) -> None:
    world.says("m0", AWAY)
    world.open()
    prober = world.prober()
    before = world.store.usage.total(), world.store.battles.voids_by_model()
    list(prober.begun())
    world.now += REST_SECONDS
    assert probe(prober) == ["m0"]
    assert (world.store.usage.total(), world.store.battles.voids_by_model()) == before
    assert world.store.circuits.failures() == {("m0", "EndpointTimeout"): 4}
    circuit = world.circuit()
    assert (circuit.state, circuit.error, circuit.rest) == (
        OPEN,
        "EndpointUnreachable",
        2 * REST_SECONDS,
    )


def test_a_probe_that_is_told_to_wait_makes_the_rest_as_long(world: World) -> None:
    world.says("m0", [EndpointUnreachable("later", retry_after=100.0)])
    world.open()
    prober = world.prober()
    list(prober.begun())
    world.now += REST_SECONDS
    probe(prober)
    assert world.circuit().rest == 100


def test_of_two_runners_one_probes(world: World) -> None:
    world.says("m0", HELLO)
    world.open()
    one, other = world.prober(), world.prober()
    assert probe(one) == probe(other) == []
    world.now += REST_SECONDS
    begun = list(one.begun())
    assert [entry.id for entry, _ in begun] == ["m0"]
    assert list(other.begun()) == []
    assert world.circuit().state is HALF_OPEN
    assert Resting(world.store.circuits).models() == {"m0"}


def test_a_probe_whose_runner_died_is_taken_over_and_its_end_no_longer_counts(
    world: World,
) -> None:
    world.says("m0", AWAY, HELLO)
    world.open()
    dead, other = world.prober(), world.prober()
    list(dead.begun())
    list(other.begun())
    world.now += REST_SECONDS
    ((entry, abandoned),) = dead.begun()
    assert list(other.begun()) == []
    world.now += REST_SECONDS + PATIENCE
    ((_, fresh),) = other.begun()
    dead.end(entry, abandoned)
    assert world.circuit() == fresh
    other.end(entry, fresh)
    assert world.circuit().state is CLOSED


def test_after_a_restart_a_rest_begins_anew_and_still_ends(world: World) -> None:
    world.says("m0", HELLO)
    world.open()
    list(world.prober().begun())
    world.now += REST_SECONDS - 1
    prober = world.prober()
    assert probe(prober) == []
    world.now += REST_SECONDS
    assert probe(prober) == ["m0"]


def test_a_retired_model_is_not_probed(world: World) -> None:
    world.open()
    world.store.roster.replace([replace(MODELS[0], state="retired"), *MODELS[1:]], "t2")
    prober = world.prober()
    list(prober.begun())
    world.now += REST_SECONDS
    assert probe(prober) == []
    assert world.circuit().state is OPEN


def test_a_probe_that_is_under_way_when_its_runner_stops_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.breaker._LOOK_SECONDS", 0.01)
    gate = threading.Event()
    world.says("m0", [gate, EndpointTimeout("too late")])
    world.open()
    prober, stop = world.prober(), threading.Event()
    list(prober.begun())
    world.now += REST_SECONDS
    thread = threading.Thread(target=prober.run, args=(stop,))
    thread.start()
    while "m0" not in world.endpoints or not world.endpoints["m0"].asked:
        threading.Event().wait(0.01)
    stop.set()
    thread.join(2)
    assert not thread.is_alive()
    gate.set()
    assert world.circuit().state is HALF_OPEN


# --- drawing ------------------------------------------------------------------------------------


def test_drawing_among_those_that_are_left_is_uniform_and_says_so() -> None:
    models = [f"m{n}" for n in range(5)]
    left = roster.reachable(models, {"m1", "m4", "gone"})
    assert left == ["m0", "m2", "m3"]
    rng = random.Random(7)  # noqa: S311  drawn alike in every run
    drawn: Counter[tuple[str, str]] = Counter()
    for _ in range(3000):
        pair = roster.draw(left, rng)
        assert pair.propensity == 1 / 6
        drawn[pair.model_a, pair.model_b] += 1
    assert len(drawn) == 6
    assert all(400 < number < 600 for number in drawn.values())
