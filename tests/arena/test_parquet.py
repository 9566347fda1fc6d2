"""The Parquet export says what the JSONL export says, and comes back as the same votes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import arena.columns
import arena.parquet
from arena import log
from arena.errors import BadFile, Unavailable
from arena.export_process import parquet as exported_by_a_process
from arena.interfaces import Campaign, Columns, GivenVote, Lease
from arena.leaderboard import Method, method_record, rate_file
from arena.records import EXPORT_FIELDS, Content
from arena.settings import Settings
from arena.store import SqlStore, open_store
from arena.store.engine import Database
from arena.store.migrate import upgrade
from arena.vote_file import read_votes
from tests.fakes import (
    ANSWERS,
    CAMPAIGN,
    STEPS,
    FakeStore,
    a_battle,
    a_remark,
    a_turn,
    a_vote,
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
parts = st.fixed_dictionaries({"type": st.just("text"), "text": texts})
messages = st.fixed_dictionaries(
    {"role": texts, "content": st.lists(parts, max_size=2) | values},
    optional={"num_tokens": values},
)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "conversation_a": st.none() | st.lists(messages, max_size=3),
    "conversation_b": st.none() | st.lists(messages, max_size=3),
    "reasons": st.lists(texts, max_size=2),
    "flags": st.lists(texts, max_size=2),
    "data": st.none() | st.dictionaries(texts, values, max_size=2),
    "both_bad": st.none() | st.booleans(),
    **dict.fromkeys(("seq", "turns", "tokens_a", "grade"), st.none() | st.integers(-9, 2**40)),
    **dict.fromkeys(
        ("propensity", "ttft_a"), st.none() | st.floats(allow_nan=False, allow_infinity=False)
    ),
}
NUMBERS = ("tokens_b", "ttft_b", "duration_a", "duration_b", "roster_revision")
rows = st.fixed_dictionaries(
    {
        name: KINDS.get(name, st.none() if name in NUMBERS else st.none() | texts)
        for name in EXPORT_FIELDS
    }
)


def page_of(some: list[dict[str, Any]]) -> Columns:
    return {name: [row[name] for row in some] for name in EXPORT_FIELDS}


def whole(message: dict[str, Any]) -> Any:
    if message["json"] is not None:
        return json.loads(message["json"])
    return {"role": message["role"], "content": message["content"]}


def read(data: bytes) -> list[dict[str, Any]]:
    """The rows of a Parquet export as JSONL has them."""
    found: list[dict[str, Any]] = pq.read_table(pa.BufferReader(data)).to_pylist()
    for row in found:
        row["data"] = row["data"] and json.loads(row["data"])
        for side in ("conversation_a", "conversation_b"):
            row[side] = row[side] and [whole(message) for message in row[side]]
    return found


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(rows, min_size=1, max_size=3), max_size=3))
def test_parquet_says_what_jsonl_says(pages: list[list[dict[str, Any]]]) -> None:
    columns = [page_of(page) for page in pages]
    lines = b"".join(log.encode(columns, "jsonl")).splitlines()
    assert read(b"".join(log.encode(columns, "parquet"))) == [json.loads(line) for line in lines]


def conversation(text: str, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": text}], **more}]


def filled(store: Any) -> None:
    store.campaigns.add(CAMPAIGN)
    odd = conversation("你好", num_tokens=3)
    content = Content("ab" * 32, conversation("Hello"), odd, "good")
    store.votes.append(
        [
            a_vote("v1", content=content, reasons=("clear",)),
            a_vote("v2", grade=0, winner="tie", both_bad=True, model_b="m2"),
            a_vote("v3", grade=None, winner="model_b", both_bad=None),
            a_remark("x1", "exclusion", "v3", "spam"),
        ]
    )
    lease = store.leases.take("worker", "w", None)
    assert isinstance(lease, Lease)
    store.votes.seal(lease, 100)


def exported(store: Any, path: Path) -> None:
    log.export_file(log.encode(log.pages(store.votes, [CAMPAIGN]), "parquet"), path)


def test_what_was_exported_can_be_imported_and_rated(tmp_path: Path) -> None:
    store, file = FakeStore(), tmp_path / "log.parquet"
    filled(store)
    exported(store, file)
    votes = list(read_votes(file))
    assert [vote.conversation_b for vote in votes][:2] == [conversation("你好", num_tokens=3), None]
    assert votes[0].conversation_a == conversation("Hello")
    assert [vote.excluded_reason for vote in votes] == [None, None, "spam"]
    copy = Campaign("copy", "offline", "Copy", "", "", "", "", "")
    assert log.import_file(store.votes, copy, file, lambda _: None) == 3
    assert {row.model for row in rate_file(file)["overall"].rows} == {"m0", "m1", "m2"}


def test_small_pages_make_one_group_of_rows(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(arena.parquet, "_GROUP_ROWS", 4)
    page = page_of([dict.fromkeys(EXPORT_FIELDS)])
    data = b"".join(log.encode([page] * 10, "parquet"))
    groups = pq.ParquetFile(pa.BufferReader(data)).metadata
    assert [groups.row_group(place).num_rows for place in range(3)] == [4, 4, 2]


def test_a_message_that_is_not_its_json_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "votes.parquet"
    said = [{"role": "user", "content": None, "json": '{"role": "assistant"}'}]
    vote = {"model_a": "a", "model_b": "b", "winner": "tie", "conversation_a": said}
    pq.write_table(pa.Table.from_pylist([vote]), file)
    with pytest.raises(BadFile, match="'json' is not the message"):
        list(read_votes(file))


def test_a_small_file_that_grows_without_bounds_is_refused(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(arena.columns, "_MEMORY_BYTES", 2**28)
    file, count = tmp_path / "bomb.parquet", 300
    long = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["x" * 2**22])
    said = pa.StructArray.from_arrays([pa.array(["user"] * count), long], ["role", "content"])
    messages = pa.ListArray.from_arrays(pa.array(range(count + 1), pa.int32()), said)
    names = {"model_a": ["a"] * count, "model_b": ["b"] * count, "winner": ["tie"] * count}
    pq.write_table(pa.table({**names, "conversation_a": messages}), file, compression="zstd")
    assert file.stat().st_size < 20_000
    with pytest.raises(BadFile, match="256 MiB of memory at once"):
        list(read_votes(file))


def settings_of(folder: Path) -> Settings:
    return Settings.from_environment({"ARENA_DATA": str(folder)})


def opened(folder: Path) -> SqlStore:
    url = settings_of(folder).database_url
    database = Database(url)
    upgrade(database)
    database.close()
    return open_store(url)


QUIET = replace(CAMPAIGN, id="quiet", publish_text=False)
HIDDEN = ("conversation_a", "conversation_b", "comment", "salt")


def filled_with_all_kinds(store: SqlStore) -> None:
    """Text to read, text without consent, text that was erased, and battles without a vote."""
    filled(store)
    store.campaigns.add(QUIET)
    secret = Content("cd" * 32, conversation("secret"), conversation("secret"), "secret")
    for name in ("erased", "failed", "skipped"):
        store.battles.add(a_battle(name), a_turn(name, prompt="secret"))
        store.battles.claim(name, "r1")
    failure = {"reason": "endpoint_failed", "side": "b", "error": "secret"}
    assert store.battles.fail_turn("failed", 1, runner="r1", **failure)
    assert store.battles.skip("skipped")
    assert store.battles.finish_turn("erased", 1, ANSWERS, STEPS, "r1")
    record, _ = a_vote("v4", "erased", content=secret)
    given = GivenVote(record, secret, "ann", 1, "k", "d")
    assert store.votes.add_votes([given]) != [None]
    assert store.votes.erase(["erased"], "voter") == ["erased"]
    store.votes.append(
        [
            a_vote("v5", campaign="quiet", content=secret, ttft_a=0.1 + 0.2, propensity=1 / 3),
            a_remark("f1", "flag", "v1", "identity_leak"),
            (method_record("online", "why", Method("elo")), None),
        ]
    )
    lease = store.leases.take("worker", "w", store.leases.look("worker"))
    assert lease is not None
    store.votes.seal(lease, 100)


def from_csv(data: bytes) -> list[dict[str, Any]]:
    header, *lines = csv.reader(io.StringIO(data.decode(), newline=""))
    texts = {f.name for f in arena.parquet.SCHEMA if f.type == pa.string()} - {"data"}

    def value(name: str, cell: str) -> Any:
        return None if not cell else cell if name in texts else json.loads(cell)

    return [
        {name: value(name, cell) for name, cell in zip(header, cells, strict=True)}
        for cells in lines
    ]


def from_jsonl(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


@pytest.mark.parametrize(
    ("form", "read_back"), [("jsonl", from_jsonl), ("csv", from_csv), ("parquet", read)]
)
def test_every_format_says_the_same_and_no_more_than_may_be_read(
    tmp_path: Path, form: log.Format, read_back: Callable[[bytes], list[dict[str, Any]]]
) -> None:
    store = opened(tmp_path)
    filled_with_all_kinds(store)
    pages = list(log.pages(store.votes, [CAMPAIGN, QUIET], outcomes=True))
    store.close()
    found = read_back(b"".join(log.encode(pages, form)))
    assert found == list(log.rows(pages))
    assert "secret" not in str(found)
    by_id = {row["id"]: row for row in found}
    for erased_or_closed in ("v4", "v5"):
        assert [by_id[erased_or_closed][name] for name in HIDDEN] == [None] * 4
        assert len(by_id[erased_or_closed]["content_digest"]) == 64
    assert by_id["v1"]["conversation_b"] == conversation("你好", num_tokens=3)
    assert (by_id["v1"]["flags"], by_id["v3"]["excluded_reason"]) == (["identity_leak"], "spam")
    assert (by_id["v5"]["ttft_a"], by_id["v5"]["propensity"]) == (0.1 + 0.2, 1 / 3)
    kinds = [row["type"] for row in found]
    assert kinds == [
        *("vote", "vote", "vote", "exclusion", "vote", "erasure"),
        *("vote", "flag", "method", "void", "skip"),
    ]
    assert next(row for row in found if row["type"] == "method")["data"]["method"]["name"] == "elo"
    assert (by_id["failed"]["reason"], by_id["failed"]["flags"]) == ("endpoint_failed", ["side_b"])


def test_a_process_of_its_own_writes_the_same_file(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    store = opened(tmp_path)
    filled(store)
    pages = log.pages(store.votes, [CAMPAIGN], after=1, until=3)
    expected = read(b"".join(log.encode(pages, "parquet")))
    store.close()
    pieces = exported_by_a_process(settings, ["online"], after=1, until=3, outcomes=False)
    assert read(b"".join(pieces)) == expected
    assert [row["seq"] for row in expected] == [2, 3]


def test_an_export_that_fails_is_cut_off_with_an_error(tmp_path: Path) -> None:
    pieces = exported_by_a_process(settings_of(tmp_path), [], after=0, until=9, outcomes=False)
    with pytest.raises(Unavailable):
        b"".join(pieces)
