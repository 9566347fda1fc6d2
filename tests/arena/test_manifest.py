"""Manifests are of heads that the worker signed, and of nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from arena.errors import ForkedLog, NotFound
from arena.interfaces import Head
from arena.manifest import Manifests
from tests.exports import CAMPAIGNS, a_key, records, sign_head
from tests.fakes import SIGNER, FakeStore

SIZE = len(records())


@pytest.fixture
def store() -> FakeStore:
    """A sealed log with a head of 20 records and one of all."""
    made = FakeStore()
    for campaign in CAMPAIGNS:
        made.campaigns.add(campaign)
    made.votes.append(records())
    lease = made.leases.take("worker", "w", None)
    assert lease is not None
    made.votes.seal(lease, 100)
    for position in (20, SIZE):
        sign_head(made, position)
    return made


def written(store: FakeStore, position: int, **options: Any) -> dict[str, Any]:
    signer = options.pop("signer", SIGNER)
    pieces = Manifests(store, signer).write(CAMPAIGNS, position=position, **options)
    found: dict[str, Any] = json.loads(b"".join(pieces))
    return found


@pytest.mark.parametrize("position", [20, SIZE])
def test_a_manifest_has_the_head_that_the_worker_signed(store: FakeStore, position: int) -> None:
    head = store.trees.head(position)
    assert head is not None
    assert written(store, position)["head"] == head.note


@pytest.mark.parametrize(
    ("position", "nearest"), [(0, 20), (19, 20), (33, 20), (40, SIZE), (999, SIZE)]
)
def test_a_position_without_a_head_has_no_manifest(
    store: FakeStore, position: int, nearest: int
) -> None:
    with pytest.raises(NotFound, match=rf"of {position} records .* nearest is of {nearest}\."):
        Manifests(store, SIGNER).write(CAMPAIGNS, position=position)


def test_without_any_head_there_is_no_manifest() -> None:
    with pytest.raises(NotFound, match="none is kept yet"):
        Manifests(FakeStore(), SIGNER).write(CAMPAIGNS, position=0)


def test_what_contradicts_the_signed_head_is_not_signed_once_more(store: FakeStore) -> None:
    lease = store.leases.take("worker", "x", store.leases.look("worker"))
    assert lease is not None
    store.trees.add_head(lease, Head(30, "ab" * 32, "t", "of the log before it was changed"))
    store.trees.add_head(lease, Head(SIZE + 9, "ab" * 32, "t", "of one that was longer"))
    with pytest.raises(ForkedLog, match="first 30 records"):
        Manifests(store, SIGNER).write(CAMPAIGNS, position=30)
    with pytest.raises(ForkedLog, match="the log has fewer now"):
        Manifests(store, SIGNER).write(CAMPAIGNS, position=SIZE + 9)


def test_of_a_head_of_an_earlier_key_the_new_key_says_the_very_same(store: FakeStore) -> None:
    other, head = a_key(), store.trees.head(20)
    assert head is not None
    found = written(store, 20, signer=other)
    assert found["head"] == other.head(20, bytes.fromhex(head.root), head.timestamp)
    assert found["key"] == other.to_json()
    assert store.trees.head(20) == head, "only the worker writes heads"
