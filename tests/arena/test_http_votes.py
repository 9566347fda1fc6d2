"""The vote, once and for ever; the log as it is exported; leaves anybody can recompute."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from werkzeug.test import TestResponse

from arena.errors import EndpointBroken
from arena.interfaces import Finished
from arena.records import LATER_FIELDS, LEAF_FIELDS
from arena.views.context import StreamSlots
from tests.arena.http_world import CheckedClient, World, problem
from tests.services import wait_until

CONTRACT_FIELDS = (
    "seq, type, id, campaign, battle_id, timestamp, model_a, model_b, grade, winner, both_bad, "
    "reasons, comment, voter, voter_kind, language, category_tag, turns, conversation_a, "
    "conversation_b, tokens_a, tokens_b, ttft_a, ttft_b, duration_a, duration_b, finish_a, "
    "finish_b, propensity, sampling_rule, roster_revision, flags, excluded_reason, salt, "
    "content_digest, hash"
).split(", ")
OURS = {"target", "reason", "data", "consent"}


def rows(client: CheckedClient, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"/api/votes{query}")
    assert answer.status_code == 200
    assert answer.mimetype == "application/x-ndjson"
    return [json.loads(line) for line in answer.get_data().splitlines()]


def row_of(world: World, reveal: dict[str, Any], query: str = "") -> dict[str, Any]:
    """The exported row of a vote that was just given."""
    world.wait_sealed()
    (row,) = [r for r in rows(world.voter(), query) if r["battle_id"] == reveal["battle"]]
    return row


# --- one vote -----------------------------------------------------------------------------------


def vote(client: CheckedClient, battle_id: str, body: Any, key: str | None = None) -> TestResponse:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(f"/api/battles/{battle_id}/vote", json=body, headers=headers)


def test_the_same_key_and_body_give_the_identical_answer_for_ever(
    world: World, voter: CheckedClient
) -> None:
    battle_id = voter.ready()
    body = {"grade": 2, "reasons": ["clear"], "comment": "Crisp."}
    first = vote(voter, battle_id, body, "k-1")
    assert first.status_code == 200
    with world.nothing_written():
        for same in (body, {**body, "grade": "a_much_better"}, {**body, "both_bad": False}):
            again = vote(voter, battle_id, same, "k-1")
            assert (again.status_code, again.get_data()) == (200, first.get_data())


def test_another_key_or_body_after_the_vote_is_refused(world: World, voter: CheckedClient) -> None:
    battle_id = voter.ready()
    assert vote(voter, battle_id, {"grade": 2}, "k-1").status_code == 200
    with world.nothing_written():
        for body, key in (
            ({"grade": 2}, None),
            ({"grade": 2}, "k-2"),
            ({"grade": 1}, "k-1"),
            ({"grade": 2, "comment": "x"}, "k-1"),
            ({"grade": 2, "reasons": ["clear"]}, "k-1"),
        ):
            problem(vote(voter, battle_id, body, key), 409, "already-voted")


def test_a_key_holds_for_its_voter_and_battle_only(world: World, voter: CheckedClient) -> None:
    first, second = voter.ready(), voter.ready()
    assert vote(voter, first, {"grade": 2}, "same").status_code == 200
    assert vote(voter, second, {"grade": -2}, "same").json["grade"] == -2
    problem(vote(world.voter(), first, {"grade": 2}, "same"), 404, "not-found")


def test_a_vote_without_a_key_is_not_repeated(voter: CheckedClient) -> None:
    battle_id = voter.ready()
    assert vote(voter, battle_id, {"grade": 2}).status_code == 200
    problem(vote(voter, battle_id, {"grade": 2}), 409, "already-voted")


def test_of_many_votes_at_once_exactly_one_counts(world: World, voter: CheckedClient) -> None:
    battle_id = voter.ready()
    cookie = voter.get_cookie("arena_voter")
    assert cookie is not None
    before = world.counts()
    start = threading.Barrier(64)

    def one(number: int) -> TestResponse:
        client = world.voter()
        client.set_cookie("arena_voter", cookie.value)
        start.wait()
        return vote(client, battle_id, {"grade": number % 5 - 2}, f"key-{number}")

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(one, range(64)))
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    for answer in answers:
        if answer is not won[0]:
            problem(answer, 409, "already-voted")
    after = world.counts()
    assert {name: after[name] - before[name] for name in ("records", "contents")} == {
        "records": 1,
        "contents": 1,
    }
    stored = world.store.votes.vote_of(battle_id)
    assert stored is not None
    assert (stored.record.grade, stored.hash) == (won[0].json["grade"], won[0].json["receipt"])


def test_many_repeats_of_one_vote_at_once_all_get_the_same_answer(
    world: World, voter: CheckedClient
) -> None:
    battle_id = voter.ready()
    cookie = voter.get_cookie("arena_voter")
    assert cookie is not None
    start = threading.Barrier(16)

    def one(_: int) -> TestResponse:
        client = world.voter()
        client.set_cookie("arena_voter", cookie.value)
        start.wait()
        return vote(client, battle_id, {"grade": 1}, "same key")

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(one, range(16)))
    assert {answer.status_code for answer in answers} == {400}  # a key has no spaces
    battle_id = voter.ready()

    def again(_: int) -> TestResponse:
        client = world.voter()
        client.set_cookie("arena_voter", cookie.value)
        start.wait()
        return vote(client, battle_id, {"grade": 1}, "same-key")

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(again, range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.get_data() for answer in answers}) == 1


def test_the_reveal_is_repeated_to_its_voter_only(world: World, voter: CheckedClient) -> None:
    reveal = voter.voted(grade=-1)
    path = f"/api/battles/{reveal['battle']}"
    seen = voter.get(path).json
    assert {name: seen[name] for name in reveal if name != "battle"} == {
        name: value for name, value in reveal.items() if name != "battle"
    }
    problem(world.voter().get(path), 404, "not-found")


def test_a_vote_on_an_answer_that_named_itself_is_told_flagged_and_rated_apart(
    world: World, voter: CheckedClient
) -> None:
    model = world.models()[0]
    world.answers("who are you?", f"I am {model.id}, an AI.", Finished("stop"))
    with world.pinned(model.id, world.models()[1].id):
        reveal = voter.voted("who are you?")
    name = reveal["leaks"]["a"]
    assert name == model.id
    row = row_of(world, reveal)
    assert set(row["flags"]) == {"identity_leak"}
    flags = [r for r in rows(world.voter()) if r["type"] == "flag" and r["target"] == row["id"]]
    assert {"side": "a", "name": name} in [flag["data"] for flag in flags]
    world.wait_published()
    wait_until(
        lambda: voter.get("/api/board?category=unfiltered").status_code == 200, what="the board"
    )
    board = voter.get("/api/board?category=unfiltered").json
    assert board["config"]["identity_leaks"] == "included"


# --- the log ------------------------------------------------------------------------------------


def test_a_row_has_the_fields_of_the_contract_in_their_order(
    world: World, voter: CheckedClient
) -> None:
    row = row_of(world, voter.voted())
    assert [name for name in row if name not in OURS] == CONTRACT_FIELDS
    assert set(row) - set(CONTRACT_FIELDS) == OURS


def test_a_row_says_what_was_voted(world: World, voter: CheckedClient) -> None:
    reveal = voter.voted("why?", grade=-2, reasons=["clear", "style"], comment="Ja, klar 好.")
    row = row_of(world, reveal)
    expected = {
        "type": "vote",
        "campaign": "online",
        "model_a": reveal["model_a"],
        "model_b": reveal["model_b"],
        "grade": -2,
        "winner": "model_b",
        "both_bad": False,
        "reasons": ["clear", "style"],
        "comment": "Ja, klar 好.",
        "voter_kind": "person",
        "turns": 1,
        "tokens_a": 2,
        "finish_a": "stop",
        "propensity": pytest.approx(1 / 6),
        "sampling_rule": "uniform",
        "roster_revision": 1,
        "flags": [],
        "excluded_reason": None,
        "hash": reveal["receipt"],
    }
    assert {name: row[name] for name in expected} == expected
    assert row["conversation_a"] == [
        {"role": "user", "content": [{"type": "text", "text": "why?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello there."}]},
    ]
    assert 0 <= row["ttft_a"] <= row["duration_a"]


def test_both_bad_is_exported_as_the_winner(world: World, voter: CheckedClient) -> None:
    row = row_of(world, voter.voted(grade=0, both_bad=True))
    assert (row["grade"], row["both_bad"], row["winner"]) == (0, True, "both_bad")
    row = row_of(world, voter.voted(grade=0))
    assert (row["grade"], row["both_bad"], row["winner"]) == (0, False, "tie")


def test_a_voter_has_one_pseudonym_in_a_campaign_and_another_in_the_next(
    world: World, voter: CheckedClient
) -> None:
    world.add_campaign("other")
    first, second = (row_of(world, voter.voted())["voter"] for _ in range(2))
    battle_id = voter.ready("hello", campaign="other")
    vote(voter, battle_id, {"grade": 1})
    elsewhere = row_of(world, {"battle": battle_id})["voter"]
    stranger = row_of(world, world.voter().voted())["voter"]
    assert first == second
    assert len({first, elsewhere, stranger}) == 3
    stored = world.store.battles.get(battle_id)
    assert stored is not None
    assert stored.voter not in json.dumps(rows(voter))


def test_the_log_is_in_sequence_order_and_continues_after_a_position(
    world: World, voter: CheckedClient
) -> None:
    for _ in range(3):
        voter.voted()
    position = world.wait_sealed()
    answer = voter.get("/api/votes")
    assert answer.headers["Arena-Log-Position"] == str(position)
    everything = rows(voter)
    assert [row["seq"] for row in everything] == list(range(1, position + 1))
    assert rows(voter, f"?after={position - 2}") == everything[-2:]
    assert rows(voter, f"?after={position}") == []
    assert rows(voter, f"?after={position + 10**12}") == []


def test_the_log_of_one_campaign_has_no_other_rows(world: World, voter: CheckedClient) -> None:
    world.add_campaign("alone")
    voter.voted()
    battle_id = voter.ready("hello", campaign="alone")
    vote(voter, battle_id, {"grade": 1})
    world.wait_sealed()
    alone = [row for row in rows(voter, "?campaign=alone") if row["type"] == "vote"]
    assert [row["battle_id"] for row in alone] == [battle_id]
    assert {row["campaign"] for row in rows(voter, "?campaign=online")} == {"online"}


def test_csv_says_the_same_as_json_lines(world: World, voter: CheckedClient) -> None:
    voter.voted('quoted "text", with\na line', comment='=SUM(1,"2")')
    world.wait_sealed()
    answer = voter.get("/api/votes?format=csv")
    assert answer.content_type == "text/csv; charset=utf-8"
    table = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True), newline="")))
    plain = rows(voter)
    assert len(table) == len(plain)
    for cells, row in zip(table, plain, strict=True):
        assert list(cells) == list(row)
        for name, value in row.items():
            shown = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            expected = "" if value is None else value if isinstance(value, str) else shown
            assert cells[name] == expected, name


def test_voids_and_skips_stand_behind_the_votes_when_asked_for(
    world: World, voter: CheckedClient
) -> None:
    world.answers("nothing", m0=[EndpointBroken("m0 broke")])
    with world.pinned("m0", "m1"):
        void = voter.battle("nothing")
    voter.settle(void)
    skipped = voter.ready()
    voter.post(f"/api/battles/{skipped}/skip")
    world.wait_sealed()
    votes = rows(voter)
    everything = rows(voter, "?outcomes=all")
    assert everything[: len(votes)] == votes
    outcomes = {row["battle_id"]: row for row in everything[len(votes) :]}
    assert [outcomes[one]["type"] for one in (void, skipped)] == ["void", "skip"]
    row = outcomes[void]
    assert (row["model_a"], row["model_b"], row["reason"]) == ("m0", "m1", "endpoint_failed")
    assert row["flags"] == ["side_a"]
    assert row["propensity"] == pytest.approx(1 / 6)
    assert row["seq"] is row["grade"] is row["hash"] is None
    assert list(row) == list(votes[0]) if votes else True
    assert "m0 broke" not in json.dumps(everything), "what an endpoint said is the operator's"


def test_text_without_consent_stays_in_the_house(world: World, voter: CheckedClient) -> None:
    world.add_campaign("quiet", publish_text=False)
    battle_id = voter.ready("my secret prompt", campaign="quiet")
    vote(voter, battle_id, {"grade": 1, "comment": "my secret comment"})
    row = row_of(world, {"battle": battle_id})
    assert row["grade"] == 1
    assert row["content_digest"]
    hidden = ("conversation_a", "conversation_b", "comment", "salt")
    assert [row[name] for name in hidden] == [None] * 4
    stored = world.store.votes.find(battle_id)
    assert stored is not None and stored.content is not None
    for query in ("?format=csv", "?campaign=quiet", "?format=csv&outcomes=all"):
        exported = voter.get(f"/api/votes{query}").get_data(as_text=True)
        assert "secret" not in exported
        assert stored.content.salt not in exported


# --- leaves -------------------------------------------------------------------------------------


def canonical(value: Any) -> str:
    """RFC 8785 JSON, written anew for this test (numbers: the few forms that votes hold)."""
    if isinstance(value, dict):
        items = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(k)}:{canonical(v)}" for k, v in items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    if isinstance(value, float):
        assert 1e-4 <= abs(value) < 1e16, "Python and ECMAScript write these alike"
        return repr(value)
    return json.dumps(value, ensure_ascii=False)


def leaf(row: dict[str, Any]) -> str:
    later = {name for name in LATER_FIELDS if row[name] is None}
    fields = {name: row[name] for name in LEAF_FIELDS if name not in later}
    if row["both_bad"]:
        fields["winner"] = "tie"  # the export shows the flag, the leaf the collapse of the grade
    return hashlib.sha256(b"\x00" + canonical(fields).encode()).hexdigest()


def digest(row: dict[str, Any]) -> str:
    text = {name: row[name] for name in ("conversation_a", "conversation_b", "comment")}
    return hashlib.sha256(bytes.fromhex(row["salt"]) + canonical(text).encode()).hexdigest()


def test_anybody_can_recompute_every_leaf_from_the_export(
    world: World, voter: CheckedClient
) -> None:
    voter.voted('Ünïcode 语 "quotes" \\ / \u2028 👩‍👩‍👧', grade=2, comment="tab\tand\nline")
    voter.voted(grade=0, both_bad=True, reasons=["harmless"])
    world.wait_sealed()
    everything = rows(voter)
    assert len(everything) >= 2
    for row in everything:
        assert leaf(row) == row["hash"]
        if row["salt"] is not None:
            assert digest(row) == row["content_digest"]


@pytest.mark.parametrize("change", [("grade", 1), ("model_a", "m9"), ("voter", "me"), ("turns", 2)])
def test_a_changed_row_no_longer_has_its_leaf(
    world: World, voter: CheckedClient, change: tuple[str, Any]
) -> None:
    row = row_of(world, voter.voted(grade=-1))
    assert leaf(row) == row["hash"]
    assert leaf({**row, change[0]: change[1]}) != row["hash"]


def test_a_changed_text_no_longer_has_its_digest(world: World, voter: CheckedClient) -> None:
    row = row_of(world, voter.voted())
    assert digest({**row, "comment": "put in later"}) != row["content_digest"]


@pytest.mark.parametrize("path", ["/api/votes", "/api/battles/export"])
def test_exports_over_the_limit_are_refused_and_places_are_given_back(
    world: World, voter: CheckedClient, path: str
) -> None:
    voter.voted()
    world.wait_sealed()
    app = world.new_app(exports=StreamSlots(1, each=1))
    client = world.voter(app)
    for _ in range(3):
        unread, _ = client.stream(path)
        refused = client.get(path)
        problem(refused, 503, "unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        unread.close()
        assert client.get(path).status_code == 200
        assert client.head(path).status_code == 200


def test_a_process_writes_few_parquet_files_at_once_and_others_beside_them(
    world: World, voter: CheckedClient
) -> None:
    battle_id = voter.voted()["battle"]
    world.wait_sealed()
    client = world.voter(world.new_app(parquets=StreamSlots(1, each=1)))
    path = f"/api/votes?format=parquet&after={row_of(world, {'battle': battle_id})['seq'] - 1}"
    unread = client.get(path, buffered=False)
    problem(client.get(path), 503, "unavailable")
    assert client.get("/api/votes").status_code == 200
    unread.close()
    answer = client.get(path)
    assert answer.mimetype == "application/vnd.apache.parquet"
    assert answer.headers["Content-Disposition"].endswith('.parquet"')
    table = pq.read_table(pa.BufferReader(answer.get_data()))
    assert table.column("battle_id").to_pylist() == [battle_id]
