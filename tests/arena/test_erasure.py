"""Text goes for good: by its voter, by the operator, by age. What is counted stays."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from arena import erasure, log, merkle
from arena.battle import BattleState, Frame
from arena.battles import Continuation
from arena.campaigns import DEFAULT
from arena.clock import rfc3339
from arena.errors import Erased, LiveLost, NotFound, Unavailable
from arena.interfaces import Act, Finished, LiveFrame
from arena.records import Content
from arena.store.tables import metadata
from arena.worker import Worker
from tests.arena.http_world import CheckedClient, World, problem
from tests.arena.test_battles import BALLOT
from tests.arena.test_battles import World as Fakes
from tests.fakes import CAMPAIGN, SIGNER
from tests.services import wait_until


@pytest.fixture
def fakes() -> Fakes:
    return Fakes()


# --- the use-case -------------------------------------------------------------------------------


def test_frames_in_redis_go_with_the_text(fakes: Fakes) -> None:
    battle_id = fakes.start()
    fakes.store.battles.claim(battle_id, "r1")
    fakes.live.push([LiveFrame(battle_id, 1, 0, Frame("se", "cret"))])
    assert erasure.erase(fakes.store, fakes.live, [battle_id], erasure.VOTER) == [battle_id]
    assert fakes.live.frames(battle_id, 1, 0) == []


def test_without_redis_the_text_goes_all_the_same(fakes: Fakes) -> None:
    battle_id = fakes.ready()
    fakes.live.away = True
    assert erasure.erase(fakes.store, fakes.live, [battle_id], erasure.VOTER) == [battle_id]
    assert fakes.battle(battle_id).erased_at is not None
    with pytest.raises(LiveLost):
        fakes.live.frames(battle_id, 1, 0)


def test_without_the_database_nothing_is_half_erased(fakes: Fakes) -> None:
    battle_id = fakes.in_state("voted")
    fakes.store.database.away = 1
    with pytest.raises(Unavailable):
        erasure.erase(fakes.store, fakes.live, [battle_id], erasure.VOTER)
    assert fakes.battle(battle_id).erased_at is None
    found = fakes.store.votes.find(battle_id)
    assert found is not None and found.content is not None


@pytest.mark.parametrize("state", ["created", "running", "ready", "voted", "skipped", "void"])
def test_nothing_can_be_done_with_an_erased_battle(fakes: Fakes, state: str) -> None:
    battle_id = fakes.in_state(state)
    erasure.erase(fakes.store, fakes.live, [battle_id], erasure.VOTER)
    uses: dict[str, Any] = {
        "get": fakes.battles.get,
        "view": fakes.battles.view,
        "follow_up": lambda *who: fakes.battles.follow_up(*who, "And?"),
        "vote": lambda *who: fakes.battles.vote(*who, BALLOT),
        "skip": fakes.battles.skip,
        "stop": fakes.battles.stop,
        "share": fakes.battles.share,
        "report": lambda *who: fakes.battles.report(*who, "rude"),
        "redraw": lambda voter, old: fakes.battles.start(voter, "Why?", redraw_of=old),
        "continue": lambda voter, old: fakes.battles.start(
            voter, "Why?", continue_from=Continuation(old, "a")
        ),
    }
    for name, use in uses.items():
        with pytest.raises(Erased):
            use("ann", battle_id)
        with pytest.raises(NotFound):
            use("bob", battle_id)
        assert fakes.battle(battle_id).erased_at is not None, name


def test_a_voter_with_more_battles_than_go_at_once_is_forgotten(fakes: Fakes) -> None:
    for _ in range(130):
        fakes.in_state("skipped")
    kept = fakes.ready("bob")
    erasure.forget(fakes.store, fakes.live, "ann")
    assert fakes.store.battles.of_voter("ann", before=None, limit=999, erased=True) == []
    assert fakes.store.battles.kept("9", 999) == [kept]


def test_forgetting_goes_on_where_it_was_interrupted(fakes: Fakes) -> None:
    battles = [fakes.in_state("voted") for _ in range(3)]
    fakes.store.votes.erase(battles[:2], erasure.VOTER)  # as far as it came the first time
    erasure.forget(fakes.store, fakes.live, "ann")
    assert {fakes.battle(battle_id).voter for battle_id in battles} == {""}
    assert fakes.store.votes.unsealed() == 6, "one erasure for each vote"


# --- the log ------------------------------------------------------------------------------------


def test_an_export_shows_the_erasure_and_every_leaf_still_holds(fakes: Fakes) -> None:
    erased, kept = fakes.in_state("voted"), fakes.in_state("voted")
    before = fakes.store.votes.find(erased)
    assert before is not None and before.content is not None
    erasure.erase(fakes.store, fakes.live, [erased], erasure.OPERATOR)
    lease = fakes.store.leases.take("worker", "w", None)
    assert lease is not None
    fakes.store.votes.seal(lease, 100)
    rows = {row["id"]: row for row in log.rows(log.pages(fakes.store.votes, [CAMPAIGN]))}
    gone = rows[before.record.id]
    assert [gone[name] for name in ("conversation_a", "conversation_b", "comment", "salt")] == (
        [None] * 4
    )
    assert gone["content_digest"] == before.content.digest()
    assert (gone["hash"], gone["grade"]) == (before.hash, before.record.grade)
    (erasure_row,) = [row for row in rows.values() if row["type"] == "erasure"]
    assert (erasure_row["target"], erasure_row["reason"]) == (gone["id"], "operator")
    (other,) = [row for row in rows.values() if row["battle_id"] == kept]
    text = Content(
        other["salt"], other["conversation_a"], other["conversation_b"], other["comment"]
    )
    assert text.digest() == other["content_digest"]


# --- by age -------------------------------------------------------------------------------------


@contextmanager
def working(fakes: Fakes, retention_days: int | None) -> Iterator[None]:
    """A worker of this arena at work."""
    worker = Worker(
        fakes.store,
        fakes.live,
        signer=SIGNER,
        poll=0.05,
        lease_seconds=1,
        retention_days=retention_days,
    )
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def aged(fakes: Fakes, state: str, days: float) -> str:
    battle_id = fakes.in_state(state)
    row = fakes.store.battles.rows[battle_id]
    row.battle = replace(row.battle, created_at=rfc3339(datetime.now(UTC) - timedelta(days)))
    return battle_id


def test_the_worker_erases_what_is_older_than_the_retention(fakes: Fakes) -> None:
    states = ["voted", "skipped", "void", "ready", "running"]
    old = [aged(fakes, state, 31) for state in states] + [
        aged(fakes, "skipped", 31 + number) for number in range(120)
    ]
    young = [aged(fakes, "voted", 29)]
    with working(fakes, retention_days=30):
        wait_until(lambda: fakes.store.battles.kept("9", 999) == young, what="the old ones to go")
        wait_until(lambda: fakes.store.votes.unsealed() == 0, what="the log to be sealed")
    rows = log.rows(log.pages(fakes.store.votes, [CAMPAIGN]))
    assert [row["reason"] for row in rows if row["type"] == "erasure"] == ["retention"]
    assert all(fakes.battle(battle_id).erased_at for battle_id in old)
    assert fakes.battle(old[4]).state is BattleState.skipped


def test_without_a_retention_nothing_is_erased(fakes: Fakes) -> None:
    old = aged(fakes, "voted", 9_999)
    with working(fakes, retention_days=None):
        wait_until(lambda: fakes.store.snapshots.latest("online", "overall"), what="a board")
    assert fakes.battle(old).erased_at is None


# --- over HTTP ----------------------------------------------------------------------------------


@pytest.fixture
def word() -> str:
    """A word that nothing else in the world says."""
    return f"Zq{secrets.token_hex(9)}"


def everything_stored(world: World) -> str:
    """Every row of every table that text may be in, as text."""
    with world.database.read() as connection:
        rows = [
            [dict(row._mapping) for row in connection.execute(select(table))]
            for table in metadata.sorted_tables
        ]
    return json.dumps(rows, default=str)


def test_a_deleted_battle_leaves_no_word_anywhere(
    world: World, voter: CheckedClient, word: str
) -> None:
    prompt = f"{word} prompt"
    world.answers(prompt, f"{word} answer.", Finished("stop"))
    battle_id = voter.ready(prompt)
    path = f"/api/battles/{battle_id}"
    assert voter.post(f"{path}/report", json={"reason": f"{word} report"}).status_code == 204
    vote = {"grade": 2, "comment": f"{word} comment"}
    receipt = voter.post(f"{path}/vote", json=vote).json["receipt"]
    assert voter.post(f"{path}/share").status_code == 204
    assert everything_stored(world).count(word) >= 8

    for _ in range(2):
        answer = voter.delete(path)
        assert (answer.status_code, answer.get_data()) == (204, b"")
    assert word not in everything_stored(world)
    for call in (path, f"{path}/events"):
        assert "erased" in problem(voter.get(call), 410, "erased")["detail"]
    problem(voter.post(f"{path}/vote", json=vote), 410, "erased")
    problem(world.voter().get(path), 404, "not-found")
    world.wait_sealed()
    exported = [json.loads(line) for line in voter.get("/api/votes").get_data().splitlines()]
    assert [row["type"] for row in exported if receipt == row["hash"]] == ["vote"]
    assert word not in json.dumps(exported)


def exported(client: CheckedClient, battle_id: str) -> dict[str, Any]:
    """The row of a battle's vote."""
    rows = map(json.loads, client.get("/api/votes").get_data().splitlines())
    (row,) = [row for row in rows if row["battle_id"] == battle_id]
    found: dict[str, Any] = row
    return found


@pytest.mark.parametrize("who", [erasure.VOTER, erasure.OPERATOR, erasure.RETENTION])
def test_whoever_erases_the_proof_holds_and_the_consent_stays(
    world: World, voter: CheckedClient, who: str
) -> None:
    battle_id = voter.voted(grade=-1, comment="Rather short.")["battle"]
    world.wait_sealed()
    before = exported(voter, battle_id)
    erasure.erase(world.store, world.services.live, [battle_id], who)
    world.wait_sealed()
    after = exported(voter, battle_id)
    gone = {name for name in before if before[name] != after[name]}
    assert gone == {"conversation_a", "conversation_b", "comment", "salt"}
    assert all(after[name] is None for name in gone)
    assert after["consent"] == DEFAULT.consent_digest()

    def proof() -> dict[str, Any] | None:
        answer = voter.get(f"/api/log/inclusion?seq={after['seq']}")
        return answer.json if answer.status_code == 200 else None

    given = wait_until(proof, what="a head that covers the vote")
    path = [bytes.fromhex(node) for node in given["path"]]
    leaf, root = bytes.fromhex(before["hash"]), bytes.fromhex(given["root"])
    assert merkle.is_included(leaf, after["seq"] - 1, given["size"], path, root)


def test_no_record_says_a_voters_words_outside_of_what_can_be_erased(
    world: World, voter: CheckedClient, word: str
) -> None:
    world.answers(f"{word} prompt", f"{word} answer.", Finished("stop"))
    battle_id = voter.ready(f"{word} prompt")
    vote = {"grade": 2, "reasons": ["clear"], "comment": f"{word} comment"}
    voter.post(f"/api/battles/{battle_id}/report", json={"reason": f"{word} report"})
    assert voter.post(f"/api/battles/{battle_id}/vote", json=vote).status_code == 200
    erasure.erase(world.store, world.services.live, [battle_id], erasure.OPERATOR)
    with world.database.read() as connection:
        rows = [
            dict(row._mapping) for row in connection.execute(select(metadata.tables["records"]))
        ]
    assert any(row["battle_id"] == battle_id for row in rows)
    assert word not in json.dumps(rows, default=str)


def test_the_voter_of_a_running_battle_deletes_it_at_once(
    world: World, voter: CheckedClient, word: str
) -> None:
    with world.held():
        battle_id = voter.battle(word)
        assert voter.delete(f"/api/battles/{battle_id}").status_code == 204
        assert word not in everything_stored(world)
    problem(voter.get(f"/api/battles/{battle_id}"), 410, "erased")
    assert voter.get("/api/battles").json["battles"] == []


def test_nobody_deletes_another_voters_battle(world: World, voter: CheckedClient) -> None:
    battle_id = voter.ready()
    problem(world.voter().delete(f"/api/battles/{battle_id}"), 404, "not-found")
    problem(voter.delete("/api/battles/nothing"), 404, "not-found")
    assert voter.get(f"/api/battles/{battle_id}").status_code == 200


def test_another_sites_page_deletes_nothing(world: World, voter: CheckedClient) -> None:
    battle_id = voter.ready()
    for method, path in (
        ("DELETE", f"/api/battles/{battle_id}"),
        ("POST", f"/mine/{battle_id}/delete"),
        ("POST", "/mine/forget"),
        ("POST", f"/api/battles/{battle_id}/share"),
    ):
        answer = voter.open(path, method=method, headers={"Origin": "https://evil.example"})
        assert answer.status_code == 403
    assert voter.get(f"/api/battles/{battle_id}").status_code == 200


def test_whoever_deletes_everything_is_a_stranger_afterwards(
    world: World, voter: CheckedClient, word: str
) -> None:
    voted = voter.voted(word, comment=word)
    voter.battle(f"{word} too")
    vote = world.store.votes.vote_of(voted["battle"])
    assert vote is not None
    answer = voter.post("/mine/forget")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/mine?done=forgotten")
    assert word not in everything_stored(world)
    assert voter.get_cookie("arena_voter") is None
    assert voter.get("/api/battles").json["battles"] == []
    assert voter.get_cookie("arena_voter") is None, "looking makes nobody a voter"
    problem(voter.get(f"/api/battles/{voted['battle']}"), 404, "not-found")
    again = voter.voted()
    later = world.store.votes.vote_of(again["battle"])
    assert later is not None and later.record.voter != vote.record.voter


def test_an_erasure_of_the_operator_is_audited_in_the_same_step(fakes: Fakes) -> None:
    battle_id = fakes.in_state("voted")
    act = Act("2026-01-01T00:00:00.000Z", "battle.take_down", battle_id)
    erasure.erase(fakes.store, fakes.live, [battle_id], erasure.OPERATOR, act)
    erasure.erase(fakes.store, fakes.live, [battle_id], erasure.OPERATOR, act)
    assert [entry.act for entry in fakes.store.audit.page(None, 10)] == [act]
