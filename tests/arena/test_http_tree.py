"""Proofs over HTTP: every answer is checked as a stranger would, against the signed head."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import rfc8785
import tamperlog.merkle as other
from tlog_scales.signing import NoteSignature, PlainEd25519Verifier, Vkey

from arena.interfaces import Lease
from arena.notes import Signer
from arena.records import LEAF_FIELDS
from arena.views.context import VOTER_COOKIE
from tests.arena.http_world import ADMIN_TOKEN, CheckedClient, World, problem
from tests.services import wait_until


def head_of(voter: CheckedClient, query: str = "") -> dict[str, Any]:
    answer = voter.get(f"/api/log/head{query}")
    assert answer.status_code == 200, answer.get_data(as_text=True)
    head: dict[str, Any] = answer.json
    return head


def lines(note: str, key: dict[str, str]) -> list[str]:
    """The lines of a note with this key's signature."""
    text, line = note.split("\n\n")
    vkey, signature = Vkey.from_string(key["verifier_key"]), NoteSignature.from_line(line.strip())
    assert vkey.match(signature) and vkey.name == key["name"]
    verifier = vkey.get_verifier()
    assert isinstance(verifier, PlainEd25519Verifier)
    verifier.key.verify(signature.payload, f"{text}\n".encode())
    return text.split("\n")


def nodes(path: list[str]) -> list[bytes]:
    return [bytes.fromhex(node) for node in path]


def verify(proof: dict[str, Any]) -> None:
    parts = (bytes.fromhex(proof["leaf"]), nodes(proof["path"]), bytes.fromhex(proof["root"]))
    leaf, path, root = parts
    other.verify_inclusion(proof["seq"] - 1, proof["size"], leaf, path, root)


def wait_covered(voter: CheckedClient, reveal: dict[str, Any]) -> dict[str, Any]:
    """The proof of a vote once a head covers it."""

    def proof() -> dict[str, Any] | None:
        found: dict[str, Any] = voter.get(f"/api/battles/{reveal['battle']}/proof").json
        return found if found["inclusion"] is not None else None

    return wait_until(proof, what="a head that covers the vote")


def test_a_voter_can_follow_a_vote_from_its_receipt_to_the_signed_head(
    voter: CheckedClient,
) -> None:
    reveal = voter.voted()
    key = head_of(voter)["key"]
    title, log, record_id, leaf, at = lines(reveal["signed_receipt"], key)
    assert (title, log, leaf) == ("arena receipt v1", key["name"], reveal["receipt"])

    proof = wait_covered(voter, reveal)
    assert (proof["key"], proof["leaf"]) == (key, leaf)
    assert proof["signed_receipt"] == reveal["signed_receipt"]
    record = proof["record"]
    assert (record["id"], record["timestamp"], record["type"]) == (record_id, at, "vote")
    assert record.keys() <= set(LEAF_FIELDS)
    assert hashlib.sha256(b"\x00" + rfc8785.dumps(record)).hexdigest() == leaf

    inclusion = proof["inclusion"]
    assert inclusion["leaf"] == leaf
    verify(inclusion)
    log, size, *_ = lines(inclusion["head"], key)
    assert (log, int(size)) == (key["name"], inclusion["size"])
    head = head_of(voter, f"?size={size}")
    assert (head["note"], head["root"]) == (inclusion["head"], inclusion["root"])

    public = f"/api/log/inclusion?size={size}"
    assert voter.get(f"{public}&seq={inclusion['seq']}").json == inclusion
    assert voter.get(f"{public}&id={record_id}").json == inclusion | {"id": record_id}


def test_the_same_vote_always_has_the_same_receipt(world: World, voter: CheckedClient) -> None:
    battle, vote = voter.ready(), {"json": {"grade": 2}, "headers": {"Idempotency-Key": "k"}}
    path = f"/api/battles/{battle}"
    first = voter.post(f"{path}/vote", **vote)
    assert voter.post(f"{path}/vote", **vote).get_data() == first.get_data()
    there = world.voter(world.new_app())
    cookie = voter.get_cookie(VOTER_COOKIE)
    assert cookie is not None
    there.set_cookie(VOTER_COOKIE, cookie.value)
    assert there.get(path).json["signed_receipt"] == first.json["signed_receipt"]


def test_before_the_vote_there_is_no_proof_and_it_tells_nothing(
    world: World, voter: CheckedClient
) -> None:
    with world.held():
        running = voter.battle()
        early = problem(voter.get(f"/api/battles/{running}/proof"), 409, "conflict")
    ready = problem(voter.get(f"/api/battles/{voter.ready()}/proof"), 409, "conflict")
    assert early["detail"] == ready["detail"] == "This battle has no vote."


def test_a_proof_of_a_battle_is_for_its_voter_only(world: World, voter: CheckedClient) -> None:
    reveal = voter.voted()
    stranger = world.voter()
    path = f"/api/battles/{reveal['battle']}"
    problem(stranger.get(f"{path}/proof"), 404, "not-found")
    assert voter.post(f"{path}/share").status_code == 204
    problem(stranger.get(f"{path}/proof"), 404, "not-found")
    assert "signed_receipt" not in stranger.get(path).json
    problem(voter.get("/api/battles/unknown/proof"), 404, "not-found")
    assert voter.get(f"{path}/proof").headers["Cache-Control"] == "no-store"


def test_the_proof_of_a_vote_outlives_its_text(voter: CheckedClient) -> None:
    reveal = voter.voted("my secret", comment="and mine")
    before = wait_covered(voter, reveal)
    assert voter.delete(f"/api/battles/{reveal['battle']}").status_code == 204
    after = wait_covered(voter, reveal)
    assert (after["record"], after["leaf"]) == (before["record"], before["leaf"])
    verify(after["inclusion"])
    assert "secret" not in json.dumps(after) and "mine" not in json.dumps(after)


def test_a_board_names_the_signed_head_of_its_position(voter: CheckedClient) -> None:
    voter.voted()
    board = voter.get("/api/board").json
    head = board["tree_head"]
    assert head["size"] == board["log_position"]
    assert head.items() <= head_of(voter, f"?size={head['size']}").items()


def test_every_head_grows_out_of_every_earlier_one(voter: CheckedClient) -> None:
    earlier = head_of(voter)
    wait_covered(voter, voter.voted())
    if earlier["size"] == 0:
        earlier = head_of(voter)
        wait_covered(voter, voter.voted())
    proof = voter.get(f"/api/log/consistency?from={earlier['size']}").json
    assert (proof["root_from"], proof["head_from"]) == (earlier["root"], earlier["note"])
    newest = head_of(voter)
    assert proof["to"] <= newest["size"] and proof["to"] > earlier["size"]
    roots = bytes.fromhex(proof["root_from"]), bytes.fromhex(proof["root_to"])
    other.verify_consistency(proof["from"], roots[0], proof["to"], roots[1], nodes(proof["path"]))
    same = voter.get(f"/api/log/consistency?from={proof['to']}&to={proof['to']}").json
    assert (same["path"], same["root_from"]) == ([], same["root_to"])


def test_what_is_said_of_fixed_sizes_may_be_kept_and_nothing_else(
    world: World, voter: CheckedClient
) -> None:
    wait_covered(voter, voter.voted())
    size = head_of(voter)["size"]
    for path, fixed in (
        ("head", f"size={size}"),
        ("inclusion?seq=1", f"size={size}"),
        ("consistency?from=1", f"to={size}"),
    ):
        newest = voter.get(f"/api/log/{path}")
        assert newest.headers["Cache-Control"] == "no-store"
        mark = "&" if "?" in path else "?"
        kept = voter.get(f"/api/log/{path}{mark}{fixed}")
        assert kept.headers["Cache-Control"] == "public, max-age=86400, immutable"
        assert "Set-Cookie" not in kept.headers
    private = world.voter(world.new_app({"private": True}))
    problem(private.get(f"/api/log/head?size={size}"), 403, "invitation-needed")


def test_a_head_comes_with_the_key_that_signed_it_and_the_arenas_other_keys(
    world: World, voter: CheckedClient
) -> None:
    reveal = voter.voted()
    wait_covered(voter, reveal)
    before = head_of(voter)
    renewed = world.voter(world.new_app(signer=Signer(b"\x07" * 32)))
    during = head_of(renewed)
    assert during["key"] == before["key"], "the worker still has that one"
    (new,) = (key for key in during["keys"] if key not in before["keys"])
    assert new == Signer(b"\x07" * 32).to_json()
    lines(during["note"], during["key"])
    receipt = reveal["signed_receipt"]
    assert lines(receipt, during["key"])[1] == before["key"]["name"]


def test_the_keys_that_signed_before_are_told(world: World, voter: CheckedClient) -> None:
    wait_covered(voter, voter.voted())
    earlier = Signer(b"\x07" * 32)
    held = world.store.leases.look("worker")
    assert held is not None
    lease = Lease("worker", held.holder, held.fence)
    world.store.trees.add_key(lease, earlier.verifier_key)
    found = head_of(voter)
    assert earlier.to_json() in found["keys"]
    assert found["key"] == Signer(bytes.fromhex(world.settings.signing_key())).to_json()


def test_the_id_of_a_private_campaigns_record_is_as_unknown_as_any(
    world: World, voter: CheckedClient
) -> None:
    hidden = world.add_campaign("hidden", public=False)
    world.wait_sealed()

    def told() -> Any:
        return world.store.votes.events([hidden.id])

    (row, *_) = wait_until(told, what="the record of the hidden campaign")
    wait_until(lambda: head_of(voter)["size"] >= row.seq, what="a head that covers it")
    path = f"/api/log/inclusion?id={row.record.id}"
    refused = problem(voter.get(path), 404, "not-found")
    unknown = problem(voter.get("/api/log/inclusion?id=nobody"), 404, "not-found")
    assert refused["detail"] == unknown["detail"]
    operator = voter.get(path, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert operator.json["seq"] == row.seq


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("head?size=999999", 404, "size"),
        ("head?size=x", 422, "size"),
        ("inclusion", 422, "seq"),
        ("inclusion?seq=1&id=x", 422, "seq"),
        ("inclusion?seq=0", 404, "seq"),
        ("inclusion?seq=999999", 404, "seq"),
        ("inclusion?seq=1&size=999999", 404, "size"),
        ("inclusion?seq=2&size=1", 404, "seq"),
        ("inclusion?seq=-1", 422, "seq"),
        ("inclusion?id=nobody", 404, "id"),
        ("inclusion?id=%00", 422, "id"),
        ("consistency", 422, "from"),
        ("consistency?from=0", 422, "from"),
        ("consistency?from=2&to=1", 422, "from"),
        ("consistency?from=1&to=999999", 404, "to"),
        ("consistency?from=999999", 404, "from"),
    ],
)
def test_what_cannot_be_proven_is_refused_by_name(
    voter: CheckedClient, path: str, status: int, field: str
) -> None:
    while head_of(voter)["size"] < 2:
        wait_covered(voter, voter.voted())
    slug = "not-found" if status == 404 else "invalid-field"
    assert problem(voter.get(f"/api/log/{path}"), status, slug)["field"] == field
