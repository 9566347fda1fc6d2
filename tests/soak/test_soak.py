"""Real processes, voters who never give up, and faults at random: no vote is lost or doubled.

`make soak ARGS="tests/soak --faults 200 --seed 7"` runs the long loop on both databases
and prints how long each recovery took; the short one is a sample of the same for every run of the
tests.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.aftermath import expect_complete
from tests.conftest import missing
from tests.fakes import at_once
from tests.services import Missing
from tests.soak.chaos import GOAL_SECONDS, Result, run
from tests.soak.faults import Fault, Lengths, faults_of
from tests.soak.houses import House, ManyMachines, OneMachine
from tests.upstream import upstream
from tests.voter import Voter

HOUSES = {house.name: house for house in (OneMachine, ManyMachines)}
SHORT = Lengths(stopped=1.0, away=1.0, disk_full=0.5)
LONG = Lengths(stopped=5.0, away=60.0, disk_full=5.0)
QUICK_FAULTS = {
    "sqlite": ("kill -9 a web worker", "kill -9 a runner", "disk full"),
    "postgres": ("kill -9 a backend", "kill -9 the postmaster", "Redis flushed"),
}


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    # not under pytest's folder: a Unix socket's path must be short
    with (
        upstream() as base_url,
        tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as name,
    ):
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as somebody else
        try:
            house = HOUSES[request.param](folder, base_url)
            with house:
                yield house
                print(house.log()[-20_000:])  # noqa: T201  shown when the test fails
        except Missing as reason:
            missing(str(reason))


def test_a_few_faults_lose_no_vote_and_leave_no_battle_stuck(house: House) -> None:
    every = {fault.name: fault for fault in faults_of(house, SHORT)}
    chosen = [every[name] for name in QUICK_FAULTS[house.name] if name in every]
    result = run(house, chosen, seed=1, voters=3, rest=0.5, say=print)
    assert result.votes > len(chosen)


def test_of_sixty_four_votes_at_once_one_is_taken(house: House) -> None:
    """Those that are the same request all get the one answer; 40 others are refused."""
    with Voter(house.url) as voter:
        battle = voter.start()
        voter.wait_for(battle, "ready")
        cookies = dict(voter.http.cookies)
    same = [("same", 1)] * 24
    others = [(f"key-{number}", number % 5 - 2) for number in range(40)]

    def vote(key: str, grade: int) -> httpx.Response:
        with Voter(house.url) as twin:
            twin.http.cookies.update(cookies)
            return twin.vote(battle, grade, key)

    requests = [*same, *others]
    answers = at_once([partial(vote, *request) for request in requests])
    taken = [(request, a) for request, a in zip(requests, answers, strict=True) if a.is_success]
    (winner,) = {request for request, _ in taken}
    assert len(taken) == requests.count(winner)
    assert len({answer.content for _, answer in taken}) == 1
    refused = [answer for answer in answers if not answer.is_success]
    assert {(a.status_code, a.json()["type"]) for a in refused} == {
        (409, "/api/docs#already-voted")
    }
    receipt = taken[0][1].json()["receipt"]
    log = expect_complete(house.url, [receipt])
    assert [row["hash"] for row in log if row["battle_id"] == battle] == [receipt]


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_many_faults_lose_no_vote_and_leave_no_battle_stuck(
    house: House, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    number, seed = request.config.getoption("faults"), request.config.getoption("seed")

    def say(text: str) -> None:
        with capsys.disabled():
            print(text, flush=True)  # noqa: T201  a run of an hour shows how far it is

    say(f"\n{house.name}: {number} faults, seed {seed}")
    result = run(
        house, drawn(faults_of(house, LONG), number, seed), seed=seed, voters=4, rest=1.0, say=say
    )
    say(f"\n{result.table()}\n\n{summary(result)}")


def drawn(faults: list[Fault], number: int, seed: int) -> list[Fault]:
    """So many faults in an order of this seed, each as often as the others (a minute's once)."""
    rng = random.Random(seed)  # noqa: S311  to be repeated
    whole: list[Fault] = []
    while len(whole) < number:
        round_ = [fault for fault in faults if not (whole and fault.is_long)]
        whole += rng.sample(round_, len(round_))
    return whole[:number]


def summary(result: Result) -> str:
    """No test asserts a time: how many recoveries reached the goal is told."""
    every = result.all_recoveries()
    soon = sum(seconds <= GOAL_SECONDS for seconds in every)
    return (
        f"{result.votes} votes acknowledged; after each fault none was lost or doubled, no battle "
        f"stuck, and the board a clean recompute of the log.\n{soon / len(every):.1%} of "
        f"{len(every)} recoveries took at most {GOAL_SECONDS:.0f} s (goal: all). "
        f"Battles: {result.outcomes}."
    )
