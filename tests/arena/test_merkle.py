"""The tree of RFC 6962: the published vectors, another implementation, and what must be refused."""

from __future__ import annotations

import hashlib
from functools import cache

import pytest
import tamperlog.merkle as other
from hypothesis import given
from hypothesis import strategies as st
from tamperlog import ProofError

from arena.merkle import (
    EMPTY,
    Frontier,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    root_of,
)

# --- the vectors of certificate-transparency's merkle_tree_test.cc -------------------------------

DATA = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
DATA += ["606162636465666768696a6b6c6d6e6f"]
LEAVES = [leaf_hash(bytes.fromhex(one)) for one in DATA]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
_B = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
_CD = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
_E = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
_EF = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
_EFGH = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
_GH = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"


def of(leaves: list[bytes], start: int, stop: int) -> bytes:
    return other.merkle_root(leaves[start:stop])


def included(leaves: list[bytes], index: int, size: int) -> list[bytes]:
    return inclusion_proof(index, size, lambda start, stop: of(leaves, start, stop))


def consistent(leaves: list[bytes], first: int, second: int) -> list[bytes]:
    return consistency_proof(first, second, lambda start, stop: of(leaves, start, stop))


def hexed(path: list[bytes]) -> list[str]:
    return [node.hex() for node in path]


@pytest.mark.parametrize("size", range(1, 9))
def test_the_published_roots_are_found(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_a_tree_of_nothing_is_the_hash_of_nothing() -> None:
    assert root_of([]) == EMPTY == hashlib.sha256(b"").digest()


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (0, 8, [_B, _CD, _EFGH]),
        (5, 8, [_E, _GH, ROOTS[3]]),
        (2, 3, [ROOTS[1]]),
        (1, 5, [ROOTS[0], _CD, _E]),
    ],
)
def test_the_published_inclusion_proofs_are_made(index: int, size: int, path: list[str]) -> None:
    made = included(LEAVES, index, size)
    assert hexed(made) == path
    assert is_included(LEAVES[index], index, size, made, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(
    ("first", "second", "path"),
    [
        (1, 1, []),
        (1, 8, [_B, _CD, _EFGH]),
        (6, 8, [_EF, _GH, ROOTS[3]]),
        (2, 5, [_CD, _E]),
    ],
)
def test_the_published_consistency_proofs_are_made(
    first: int, second: int, path: list[str]
) -> None:
    made = consistent(LEAVES, first, second)
    assert hexed(made) == path
    roots = [bytes.fromhex(ROOTS[size - 1]) for size in (first, second)]
    assert is_consistent(first, second, *roots, made)


# --- another implementation ----------------------------------------------------------------------

MANY = [leaf_hash(b"%d" % number) for number in range(700)]


@cache
def root(size: int) -> bytes:
    return other.merkle_root(MANY[:size])


sizes = st.integers(1, len(MANY))


@given(data=st.data(), size=sizes)
def test_inclusion_proofs_are_those_of_another_implementation(
    data: st.DataObject, size: int
) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = included(MANY, index, size)
    assert path == other.inclusion_proof(index, MANY[:size])
    other.verify_inclusion(index, size, MANY[index], path, root(size))
    assert is_included(MANY[index], index, size, path, root(size))


@given(data=st.data(), second=sizes)
def test_consistency_proofs_are_those_of_another_implementation(
    data: st.DataObject, second: int
) -> None:
    first = data.draw(st.integers(1, second))
    path = consistent(MANY, first, second)
    assert path == other.consistency_proof(first, MANY[:second])
    other.verify_consistency(first, root(first), second, root(second), path)
    assert is_consistent(first, second, root(first), root(second), path)


@given(size=st.integers(0, len(MANY)))
def test_a_frontier_has_the_root_of_its_leaves(size: int) -> None:
    frontier = Frontier()
    for leaf in MANY[:size]:
        frontier.append(leaf)
    assert frontier.root() == root_of(MANY[:size]) == root(size)
    assert Frontier(size, frontier.roots).root() == root(size)
    assert len(frontier.roots) == size.bit_count()


# --- what is refused -----------------------------------------------------------------------------


@given(data=st.data(), size=sizes)
def test_a_flipped_bit_in_leaf_path_or_root_is_refused(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    parts = [MANY[index], root(size), *included(MANY, index, size)]
    place, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    parts[place] = flipped(parts[place], bit)
    leaf, top, *path = parts
    assert not is_included(leaf, index, size, path, top)
    with pytest.raises(ProofError):
        other.verify_inclusion(index, size, leaf, path, top)


@given(data=st.data(), second=st.integers(2, len(MANY)))
def test_a_flipped_bit_in_a_root_or_the_path_between_two_is_refused(
    data: st.DataObject, second: int
) -> None:
    first = data.draw(st.integers(1, second - 1))
    parts = [root(first), root(second), *consistent(MANY, first, second)]
    place, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    parts[place] = flipped(parts[place], bit)
    assert not is_consistent(first, second, parts[0], parts[1], parts[2:])


@given(data=st.data(), size=sizes)
def test_a_proof_holds_for_no_other_place(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    elsewhere = data.draw(st.integers(-1, size).filter(lambda place: place != index))
    path = included(MANY, index, size)
    assert not is_included(MANY[index], elsewhere, size, path, root(size))


@given(data=st.data(), size=st.integers(2, len(MANY)))
def test_a_longer_or_shorter_path_is_refused(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = included(MANY, index, size)
    assert not is_included(MANY[index], index, size, path[:-1], root(size))
    assert not is_included(MANY[index], index, size, [*path, MANY[0]], root(size))
    if index:
        between = consistent(MANY, index, size)
        assert not is_consistent(index, size, root(index), root(size), between[:-1])
        assert not is_consistent(index, size, root(index), root(size), [*between, MANY[0]])


def test_nothing_is_consistent_with_a_shorter_log_or_with_none() -> None:
    path = consistent(MANY, 3, 7)
    assert not is_consistent(7, 3, root(7), root(3), path)
    assert not is_consistent(0, 7, EMPTY, root(7), [])
    assert not is_consistent(3, 7, root(3), root(7), [])
    assert not is_consistent(7, 7, root(7), root(6), [])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_no_proof_is_made_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="has no leaf"):
        included(MANY, index, size)


@pytest.mark.parametrize(("first", "second"), [(0, 3), (4, 3)])
def test_no_proof_is_made_between_sizes_that_do_not_follow(first: int, second: int) -> None:
    with pytest.raises(ValueError, match="begins with one of"):
        consistent(MANY, first, second)


def flipped(value: bytes, bit: int) -> bytes:
    return (int.from_bytes(value, "big") ^ (1 << bit)).to_bytes(len(value), "big")
