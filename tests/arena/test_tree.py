"""The tree over the log: right at every size, with any of its nodes missing, and never two."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import arena.tree
from arena.errors import ForkedLog, LeaseLost
from arena.interfaces import Head, Lease
from arena.merkle import is_consistent, is_included, root_of
from arena.notes import Signer
from arena.tree import Growth, Heads, Tree
from tests.fakes import CAMPAIGN, SIGNER, FakeStore, a_vote

RECORDS = 700


@pytest.fixture(autouse=True)
def few_children() -> Iterator[None]:
    """Nodes of four leaves, of sixteen and so on: a short log has many levels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arena.tree, "_BITS", 2)
        patch.setattr(arena.tree, "FANOUT", 4)
        patch.setattr(arena.tree, "_BATCH", 50)
        patch.setattr(arena.tree, "_SAVED", 9)
        patch.setattr(arena.tree, "_BLOCKS", 20)
        yield


def lease_of(store: FakeStore) -> Lease:
    lease = store.leases.take("worker", "w", store.leases.look("worker"))
    assert lease is not None
    return lease


def log_of(records: int) -> FakeStore:
    store = FakeStore()
    store.campaigns.add(CAMPAIGN)
    add(store, records)
    return store


def add(store: FakeStore, records: int) -> None:
    first = store.votes.position()
    store.votes.append([a_vote(f"v{first + number}") for number in range(records)])
    store.votes.seal(lease_of(store), records)


def grown(store: FakeStore, size: int | None = None) -> Growth:
    growth = Growth(store.votes, store.trees, lease_of(store), lambda: None)
    growth.grow(store.votes.position() if size is None else size)
    return growth


def heads_of(store: FakeStore) -> Heads:
    return Heads(store.votes, store.trees, SIGNER, lease_of(store), lambda: None)


@pytest.fixture(scope="module")
def store() -> FakeStore:
    return log_of(RECORDS)


@pytest.fixture(scope="module")
def leaves(store: FakeStore) -> list[bytes]:
    return store.votes.leaves(0, RECORDS)


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["all", "none", "some"])
def test_proofs_hold_at_every_size_whatever_nodes_are_kept(
    store: FakeStore, leaves: list[bytes], kept: str
) -> None:
    store.trees.kept.clear()
    grown(store)
    draw = random.Random(5)  # noqa: S311  reproducible losses
    for place in list(store.trees.kept):
        if kept == "none" or (kept == "some" and draw.random() < 0.5):
            del store.trees.kept[place]

    # one tree for all: what it remembers must be right as well
    tree = Tree(store.votes, store.trees)

    @given(data=st.data(), size=st.integers(1, RECORDS))
    def check(data: st.DataObject, size: int) -> None:
        root = root_of(leaves[:size])
        assert tree.root(size) == root
        index = data.draw(st.integers(0, size - 1))
        assert tree.leaf(index) == leaves[index]
        assert is_included(leaves[index], index, size, tree.inclusion(index, size), root)
        earlier = root_of(leaves[: index + 1])
        path = tree.consistency(index + 1, size)
        assert is_consistent(index + 1, size, earlier, root, path)

    check()


def test_a_tree_that_read_the_end_of_the_log_reads_on_when_it_grew() -> None:
    store = log_of(6)
    tree = Tree(store.votes, store.trees)
    for size in range(6, 40):
        assert tree.root(size) == root_of(store.votes.leaves(0, size))
        with pytest.raises(ValueError, match=f"no record {size + 1} yet"):
            tree.root(size + 1)
        add(store, 1)


def test_a_proof_of_a_long_log_reads_few_hashes(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two blocks a level: those of the leaf's own way up, and those at the end of the log."""
    store.trees.kept.clear()
    grown(store)
    read: list[int] = []
    for part, name in ((store.votes, "leaves"), (store.trees, "nodes")):
        whole = getattr(part, name)

        def counting(*args: int, whole: object = whole) -> object:
            found = whole(*args)  # type: ignore[operator]
            read.append(len(found))
            return found

        monkeypatch.setattr(part, name, counting)
    tree = Tree(store.votes, store.trees)
    tree.inclusion(123, RECORDS)
    assert len(read) <= 2 * 5, "levels of 1, 4, 16, 64 and 256 leaves"
    assert max(read) <= 4


# --- growing ------------------------------------------------------------------------------------


@given(steps=st.lists(st.integers(1, 90), max_size=8))
def test_growing_in_any_steps_gives_the_same_root_and_nodes(
    store: FakeStore, leaves: list[bytes], steps: list[int]
) -> None:
    store.trees.kept.clear()
    growth, size = grown(store, 0), 0
    for step in steps:
        size = min(size + step, RECORDS)
        growth.grow(size)
        assert (growth.size, growth.root()) == (size, root_of(leaves[:size]))
    whole = {
        (level, number): root_of(leaves[number * 4**level : (number + 1) * 4**level])
        for level in range(1, 5)
        for number in range(size // 4**level)
    }
    assert store.trees.kept == whole


@given(size=st.integers(0, RECORDS), more=st.integers(0, 60))
def test_a_worker_that_starts_goes_on_where_whole_nodes_end(
    store: FakeStore, leaves: list[bytes], size: int, more: int
) -> None:
    store.trees.kept.clear()
    grown(store, size)
    growth = grown(store, 0)
    assert growth.size == size - size % 4
    growth.grow(min(size + more, RECORDS))
    assert growth.root() == root_of(leaves[: min(size + more, RECORDS)])


@given(data=st.data())
def test_a_worker_makes_anew_what_is_missing_in_between(
    store: FakeStore, data: st.DataObject
) -> None:
    store.trees.kept.clear()
    grown(store)
    whole = dict(store.trees.kept)
    last = max(number for level, number in whole if level == 1)
    lost = data.draw(st.sampled_from(sorted(whole.keys() - {(1, last)})))
    del store.trees.kept[lost]
    grown(store)
    assert store.trees.kept == whole


def test_a_worker_that_lost_its_lease_keeps_no_node(store: FakeStore) -> None:
    store.trees.kept.clear()
    growth = grown(store, 0)
    lease_of(store)
    with pytest.raises(LeaseLost):
        growth.grow(RECORDS)
    assert not store.trees.kept


# --- heads --------------------------------------------------------------------------------------


def test_a_head_is_signed_once_for_each_size() -> None:
    store = log_of(10)
    heads = heads_of(store)
    head = heads.at(10)
    assert head.root == root_of(store.votes.leaves(0, 10)).hex()
    assert head.note == SIGNER.head(10, bytes.fromhex(head.root), head.timestamp)
    assert heads.at(10) is head
    store.trees.add_head(lease_of(store), head)
    assert heads_of(store).at(10) == head, "the next worker has no other one"


def test_a_new_key_signs_the_head_of_the_earlier_one_anew_and_both_are_known() -> None:
    store, other = log_of(10), Signer(b"\x07" * 32)
    head = heads_of(store).at(10)
    store.trees.add_head(lease_of(store), head)
    anew = Heads(store.votes, store.trees, other, lease_of(store), lambda: None).at(10)
    assert (anew.size, anew.root) == (head.size, head.root)
    assert anew.note == other.head(10, bytes.fromhex(head.root), anew.timestamp)
    store.trees.add_head(lease_of(store), anew)
    assert store.trees.head() == anew
    assert store.trees.keys() == [other.verifier_key, SIGNER.verifier_key]


def test_an_earlier_size_can_still_be_signed() -> None:
    store = log_of(10)
    heads = heads_of(store)
    heads.at(10)
    assert heads.at(3).root == root_of(store.votes.leaves(0, 3)).hex()
    assert heads.at(0).root == root_of([]).hex()


def other_log(store: FakeStore, size: int) -> Head:
    """A head that somebody signed for another log."""
    head = Head(size, "ab" * 32, "t", "note")
    store.trees.add_head(lease_of(store), head)
    return head


def test_a_second_root_of_a_size_is_never_signed() -> None:
    store = log_of(10)
    heads = heads_of(store)
    heads.at(9)
    other_log(store, 10)
    with pytest.raises(ForkedLog, match=r"first 10 records has the root abab.*arena restore"):
        heads.at(10)


def test_a_worker_looks_at_the_newest_head_before_it_signs_another() -> None:
    store = log_of(10)
    other_log(store, 8)
    heads = heads_of(store)
    for _ in range(2):
        with pytest.raises(ForkedLog, match="first 8 records"):
            heads.at(10)


def test_a_log_that_became_shorter_than_its_head_is_not_signed() -> None:
    store = log_of(10)
    other_log(store, 11)
    with pytest.raises(ForkedLog, match="has fewer now"):
        heads_of(store).at(10)
