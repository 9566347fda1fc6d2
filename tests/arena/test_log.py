"""The log as files: what is exported, what is refused, and that an import gives the same votes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arena import log
from arena.errors import BadFile, Conflict, InvalidField
from arena.interfaces import Lease
from arena.leaderboard import rate_file
from arena.log import Format
from arena.records import EXPORT_FIELDS, LATER_FIELDS, LEAF_FIELDS, Content
from tests.fakes import CAMPAIGN, FakeStore, a_battle, a_remark, a_turn, a_vote, log_rows

SECRETIVE = replace(CAMPAIGN, id="secretive", publish_text=False)
IMPORTED = replace(CAMPAIGN, id="imported")


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": text}]}]


TRICKY = 'comma, "quotes"\r\nnew line\t多行 🙂'
CONTENT = Content("ab" * 32, said(TRICKY), said("b"), TRICKY)


@pytest.fixture
def store() -> FakeStore:
    """A sealed log: three votes of which one is excluded, remarks, and a vote without consent."""
    made = FakeStore()
    made.campaigns.add(CAMPAIGN)
    made.campaigns.add(SECRETIVE)
    made.votes.append(
        [
            a_vote("v1", content=CONTENT, reasons=("clear", "correct"), ttft_a=0.1 + 0.2),
            a_vote("v2", grade=0, winner="tie", both_bad=True, model_b="m2"),
            a_remark("f1", "flag", "v1", "identity_leak"),
            a_vote("v3", grade=None, winner="model_b", both_bad=None, voter_kind="judge"),
            a_vote("v4", campaign="secretive", content=CONTENT),
            a_remark("x1", "exclusion", "v3", "spam"),
        ]
    )
    lease = made.leases.take("worker", "w", None)
    assert isinstance(lease, Lease)
    made.votes.seal(lease, 100)
    made.votes.append([a_vote("v5")])  # not sealed: in no export
    return made


def lines(store: FakeStore, form: Format = "jsonl", **options: Any) -> bytes:
    campaigns = store.campaigns.all()
    return b"".join(log.encode(log.pages(store.votes, campaigns, **options), form))


def parsed(document: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in document.splitlines()]


# --- export -------------------------------------------------------------------------------------


def test_the_sealed_log_is_exported_in_order_with_every_column(store: FakeStore) -> None:
    rows = parsed(lines(store))
    assert [(row["seq"], row["id"]) for row in rows] == list(
        enumerate(["v1", "v2", "f1", "v3", "v4", "x1"], 1)
    )
    assert all(tuple(row) == EXPORT_FIELDS for row in rows)
    assert [row["winner"] for row in rows if row["type"] == "vote"] == [
        "model_a",
        "both_bad",
        "model_b",
        "model_a",
    ]
    assert rows[0]["flags"] == ["identity_leak"]
    assert rows[3]["excluded_reason"] == "spam"
    assert (rows[5]["type"], rows[5]["target"], rows[5]["reason"]) == ("exclusion", "v3", "spam")


def test_text_is_exported_only_where_the_consent_covers_it(store: FakeStore) -> None:
    by_id = {row["id"]: row for row in parsed(lines(store))}
    assert by_id["v1"]["conversation_a"] == said(TRICKY)
    assert (by_id["v1"]["comment"], by_id["v1"]["salt"]) == (TRICKY, "ab" * 32)
    hidden = [by_id["v4"][name] for name in ("conversation_a", "conversation_b", "comment", "salt")]
    assert hidden == [None] * 4
    assert by_id["v4"]["content_digest"] == CONTENT.digest()
    only_public = parsed(b"".join(log.encode(log.pages(store.votes, [CAMPAIGN]), "jsonl")))
    assert {row["campaign"] for row in only_public} == {"online"}


def test_whoever_has_an_exported_row_can_recompute_its_hash(store: FakeStore) -> None:
    for row in parsed(lines(store)):
        body = {name: row[name] for name in LEAF_FIELDS if name not in LATER_FIELDS}
        if row["winner"] == "both_bad":
            body["winner"] = "tie"
        text = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(b"\x00" + text.encode()).hexdigest() == row["hash"]


def test_an_export_stands_for_the_position_it_was_asked_for(store: FakeStore) -> None:
    early = parsed(lines(store, until=2))
    assert [(row["id"], row["flags"]) for row in early] == [("v1", []), ("v2", [])]
    assert [row["id"] for row in parsed(lines(store, after=3, until=5))] == ["v3", "v4"]
    assert parsed(lines(store, after=6)) == []
    joined = lines(store, until=4) + lines(store, after=4)
    assert [row["id"] for row in parsed(joined)] == ["v1", "v2", "f1", "v3", "v4", "x1"]


def test_an_export_of_many_pages_has_every_row_once(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lines(store)
    for size in (1, 2, 5, 6, 7):
        monkeypatch.setattr(log, "_PAGE", size)
        assert lines(store) == whole


def test_csv_holds_the_same_rows_with_lists_as_json(store: FakeStore) -> None:
    header, *cells = csv.reader(io.StringIO(lines(store, "csv").decode(), newline=""))
    assert tuple(header) == EXPORT_FIELDS
    for cell_row, row in zip(cells, parsed(lines(store)), strict=True):
        found = dict(zip(header, cell_row, strict=True))
        for name, value in row.items():
            if value is None:
                assert found[name] == ""
            elif isinstance(value, list | bool):
                assert json.loads(found[name]) == value
            else:
                assert found[name] == str(value)


def test_voids_and_skips_follow_the_votes_when_asked_for(store: FakeStore) -> None:
    store.battles.add(a_battle("skipped"), a_turn("skipped"))
    store.battles.skip("skipped")
    store.battles.add(a_battle("failed"), a_turn("failed"))
    store.battles.claim("failed", "r1")
    store.battles.fail_turn(
        "failed", 1, reason="endpoint_failed", side="b", error="key=secret", runner="r1"
    )
    assert len(parsed(lines(store))) == 6
    document = lines(store, outcomes=True)
    *votes, skip, void = sorted(parsed(document), key=lambda row: row["type"] in ("skip", "void"))
    assert len(votes) == 6
    skip, void = sorted((skip, void), key=lambda row: str(row["type"]))
    assert (skip["type"], skip["battle_id"], skip["flags"]) == ("skip", "skipped", [])
    assert (void["type"], void["reason"], void["flags"]) == ("void", "endpoint_failed", ["side_b"])
    assert (void["propensity"], void["seq"], void["hash"]) == (1 / 12, None, None)
    assert tuple(void) == EXPORT_FIELDS
    assert b"secret" not in document.replace(b"secretive", b"")


@pytest.mark.parametrize("name", ["arrow", "xml", "", "JSONL"])
def test_a_format_that_cannot_be_written_is_refused(name: str) -> None:
    with pytest.raises(InvalidField) as refused:
        log.check_format(name)
    assert refused.value.field == "format"
    assert [log.check_format(known) for known in log.FORMATS] == ["jsonl", "csv", "parquet"]


def test_an_exported_file_is_whole_or_not_there(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ValueError("in the middle")

    path = tmp_path / "votes.jsonl"
    with pytest.raises(ValueError, match="in the middle"):
        log.export_file(broken(), path)
    assert list(tmp_path.iterdir()) == []
    log.export_file([b"one\n", b"two\n"], path)
    assert path.read_bytes() == b"one\ntwo\n"
    with pytest.raises(ValueError, match="in the middle"):
        log.export_file(broken(), path)
    assert path.read_bytes() == b"one\ntwo\n"
    with pytest.raises(BadFile, match="cannot be written"):
        log.export_file([b""], tmp_path / "no" / "folder.jsonl")


# --- import -------------------------------------------------------------------------------------


def silent(_: int) -> None:
    return None


def sealed_votes(store: FakeStore, campaign: str) -> list[dict[str, Any]]:
    lease = store.leases.take("importer", "w", store.leases.look("importer"))
    assert lease is not None
    store.votes.seal(lease, 10_000)
    return [row for row in log_rows(store.votes, campaign) if row["type"] == "vote"]


KEPT = (
    *("model_a", "model_b", "grade", "winner", "reasons", "comment", "voter", "voter_kind"),
    *("timestamp", "language", "category_tag", "conversation_a", "conversation_b"),
    "excluded_reason",
)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_export_that_is_imported_again_has_the_same_votes(
    store: FakeStore, tmp_path: Path, form: Format
) -> None:
    path = tmp_path / f"votes.{form}"
    log.export_file([lines(store, form)], path)
    assert log.import_file(store.votes, IMPORTED, path, silent) == 4
    before = [row for row in parsed(lines(store, until=6)) if row["type"] == "vote"]
    after = sealed_votes(store, "imported")
    assert [pick(row) for row in after] == [pick(row) for row in before]
    assert not {row["id"] for row in after} & {row["id"] for row in before}
    assert {row["campaign"] for row in after} == {"imported"}


def pick(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in KEPT}


def test_an_imported_log_rates_as_its_file_does(store: FakeStore, tmp_path: Path) -> None:
    """Votes that were excluded where they come from do not count here either."""
    path, again = tmp_path / "votes.jsonl", tmp_path / "again.jsonl"
    log.export_file([lines(store)], path)
    log.import_file(store.votes, IMPORTED, path, silent)
    sealed_votes(store, "imported")
    pieces = log.encode(log.pages(store.votes, [IMPORTED]), "jsonl")
    log.export_file(pieces, again)
    assert rate_file(again)["overall"].rows == rate_file(path)["overall"].rows


def test_imported_votes_are_told_from_those_given_here(store: FakeStore, tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text("model_a,model_b,winner\nx,y,model_a\n")
    assert log.import_file(store.votes, IMPORTED, path, silent) == 1
    (row,) = sealed_votes(store, "imported")
    assert (row["voter_kind"], row["voter"], row["grade"]) == ("import", None, None)
    assert (row["battle_id"], row["content_digest"]) == (None, None)
    assert row["timestamp"].endswith("Z")


def test_a_file_with_one_bad_row_imports_nothing(store: FakeStore, tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text("model_a,model_b,winner\nx,y,model_a\nx,y,model_z\n")
    before = store.votes.unsealed()
    with pytest.raises(BadFile) as refused:
        log.import_file(store.votes, IMPORTED, path, silent)
    assert (refused.value.row, refused.value.field) == (2, "winner")
    assert store.votes.unsealed() == before
    assert store.campaigns.get("imported") is None


def test_the_same_bytes_under_another_name_are_the_same_file(
    store: FakeStore, tmp_path: Path
) -> None:
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text("model_a,model_b,winner\nx,y,model_a\n")
    log.import_file(store.votes, IMPORTED, tmp_path / "one.csv", silent)
    with pytest.raises(Conflict):
        log.import_file(store.votes, IMPORTED, tmp_path / "two.csv", silent)
    assert log.import_file(store.votes, SECRETIVE, tmp_path / "two.csv", silent) == 1


def test_a_file_that_is_not_there_is_named(store: FakeStore, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"none\.csv"):
        log.import_file(store.votes, IMPORTED, tmp_path / "none.csv", silent)
