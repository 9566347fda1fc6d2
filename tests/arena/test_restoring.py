"""A whole log goes from one system into another, and is the same there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import arena.cli.votes
from arena import restoring, verify
from arena.cli import main
from arena.errors import BadFile, Conflict
from arena.interfaces import Lease, Store
from arena.manifest import SUFFIX
from arena.moderation import Moderation
from arena.records import Content, Record
from arena.sealing import Sealings
from arena.store import open_store
from arena.store.engine import Database
from arena.store.migrate import upgrade
from arena.tree import Tree
from arena.worker import Worker
from tests.exports import CAMPAIGNS, PRIVATE, SECOND, a_key, export, publish, records
from tests.fakes import CAMPAIGN, SIGNER, FakeLive, FakeStore, a_vote
from tests.services import wait_until


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a log of which one text was erased behind its position."""
    store = FakeStore()
    for campaign in CAMPAIGNS:
        store.campaigns.add(campaign)
    store.votes.append(records())
    publish(store)
    return export(store, tmp_path_factory.mktemp("whole") / "votes.jsonl", until=44)


def fought() -> list[tuple[Record, Content | None]]:
    """The same records, with a battle behind each vote but `v01`."""
    return [
        (replace(record, battle_id=f"b-{record.id}"), content)
        if record.type == "vote" and record.id != "v01"
        else (record, content)
        for record, content in records()
    ]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Exports of a log with sealed boards: of all of it, and up to the very place of the seal."""
    store = FakeStore()
    for campaign in CAMPAIGNS:
        store.campaigns.add(campaign)
    store.votes.append(fought())
    Sealings(store).seal(CAMPAIGN, "The round is over.")

    def is_told() -> bool:
        publish(store)
        told = store.sealed.records([CAMPAIGN.id])
        return [row.record.type for row in told if row.seq] == ["sealing", "sealed"]

    wait_until(is_told, 30, what="the record of the sealed boards")
    folder = tmp_path_factory.mktemp("sealed")
    (place,) = {board.log_position for board in store.sealed.until([CAMPAIGN.id], 10**9)}
    return (
        export(store, folder / "all.jsonl"),
        export(store, folder / "seal.jsonl", until=place),
    )


@pytest.fixture(params=["fake", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A system that was set up, and no more."""
    if request.param == "fake":
        made: Store = FakeStore()
        made.campaigns.add(CAMPAIGN)
        yield made
        return
    url = (
        f"sqlite:///{tmp_path / 'arena.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    database = Database(url)
    upgrade(database)
    database.close()
    store = open_store(url)
    store.campaigns.add(CAMPAIGN)
    yield store
    store.close()


def lease_of(store: Store) -> Lease:
    found = store.leases.take("worker", "w", store.leases.look("worker"))
    assert found is not None
    return found


def silent(_: int) -> None:
    return None


def manifest_of(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(path.with_name(path.name + SUFFIX).read_bytes())
    return told


def restore(store: Store, lease: Lease, path: Path) -> int:
    """Take over an export that was found to hold."""
    report = verify.verify(path, boards=False, on_failure=pytest.fail)
    return restoring.restore_log(store, lease, path, whole_of(report), silent)


def whole_of(report: verify.Report) -> restoring.Whole:
    return restoring.Whole(report.manifest, report.sha256)


def test_an_imported_log_has_the_same_root_boards_and_export(
    whole: Path, empty: Store, tmp_path: Path
) -> None:
    lease = lease_of(empty)
    assert restore(empty, lease, whole) == 44
    empty.leases.release(lease)
    assert empty.votes.position() == 44
    assert {one.id: one for one in empty.campaigns.all()} == {one.id: one for one in CAMPAIGNS}
    told = json.loads(whole.with_name(whole.name + SUFFIX).read_bytes())
    leaves = [json.loads(line)["hash"] for line in whole.read_bytes().splitlines()]
    assert (
        Tree(empty.votes, empty.trees).root(44)
        == verify.read_manifest(
            whole.with_name(whole.name + SUFFIX).read_bytes(), lambda *_: None
        ).root
    )  # type: ignore[union-attr]
    assert [leaf.hex() for leaf in empty.votes.leaves(0, 100)] == leaves

    other = a_key()
    again = export(empty, tmp_path / whole.name, until=44, signer=other)
    assert again.read_bytes() == whole.read_bytes()
    assert (
        json.loads(again.with_name(again.name + SUFFIX).read_bytes())["erased_later"]
        == ["v09"]
        == told["erased_later"]
    )
    publish(empty, signer=other)
    ids = [campaign.id for campaign in CAMPAIGNS]
    found = verify.verify(
        export(empty, tmp_path / whole.name, signer=other), on_failure=pytest.fail
    )
    assert (found.failures, found.votes) == (0, 41 - 1)
    assert list(empty.snapshots.standing(ids, 100))


def test_an_imported_log_goes_on(whole: Path, empty: Store) -> None:
    lease = lease_of(empty)
    restore(empty, lease, whole)
    empty.votes.append([a_vote("new", campaign=SECOND.id)])
    empty.votes.seal(lease, 100)
    assert empty.votes.place_of("new") == 46  # behind the erasure of v09
    assert empty.votes.erased_after([CAMPAIGN.id], 44) == ["v09"]
    assert empty.votes.erased_after([CAMPAIGN.id], 45) == []


def test_a_log_that_has_records_takes_no_other(whole: Path, empty: Store) -> None:
    lease = lease_of(empty)
    empty.votes.append([a_vote("mine")])
    with pytest.raises(Conflict, match="records already"):
        restore(empty, lease, whole)
    assert (empty.votes.position(), empty.votes.unsealed()) == (0, 1)
    assert [one.id for one in empty.campaigns.all()] == [CAMPAIGN.id]


def test_a_file_that_changes_while_it_is_read_leaves_nothing(
    whole: Path, empty: Store, tmp_path: Path
) -> None:
    path = tmp_path / whole.name
    shutil.copy(whole.with_name(whole.name + SUFFIX), tmp_path)
    lines = whole.read_bytes().splitlines(keepends=True)
    other_text = lines[7].replace("问 7".encode(), "问 8".encode())
    no_text = json.loads(lines[7]) | dict.fromkeys(Content.__slots__)
    stripped = json.dumps(no_text, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    path.write_bytes(whole.read_bytes())
    verified = whole_of(verify.verify(path, boards=False, on_failure=pytest.fail))
    for changed in (
        lines[:-1],
        [lines[1], *lines[1:]],
        [*lines[:7], other_text, *lines[8:]],
        [*lines[:7], stripped, *lines[8:]],
    ):
        assert changed != lines
        path.write_bytes(b"".join(changed))
        with pytest.raises(BadFile, match="changed while it was read"):
            restoring.restore_log(empty, lease_of(empty), path, verified, silent)
        assert (empty.votes.position(), empty.votes.unsealed()) == (0, 0)
        assert [one.id for one in empty.campaigns.all()] == [CAMPAIGN.id]


def test_the_manifest_that_was_verified_is_the_one_that_counts(
    whole: Path, empty: Store, tmp_path: Path
) -> None:
    path = tmp_path / whole.name
    shutil.copy(whole, path)
    manifest = path.with_name(path.name + SUFFIX)
    shutil.copy(whole.with_name(whole.name + SUFFIX), manifest)
    verified = whole_of(verify.verify(path, boards=False, on_failure=pytest.fail))
    manifest.write_text("{}")
    assert restoring.restore_log(empty, lease_of(empty), path, verified, silent) == 44


# --- sealed boards ------------------------------------------------------------------------------


def test_sealed_boards_come_with_their_log_and_are_in_its_next_export(
    sealed: tuple[Path, Path], empty: Store, tmp_path: Path
) -> None:
    told = manifest_of(sealed[0])["sealed"]
    assert told
    restore(empty, lease_of(empty), sealed[0])
    for board in told:
        seal = Sealings(empty).get(CAMPAIGN, board["log_position"], board["category"])
        assert (seal.is_intact, seal.digest) == (True, board["digest"])
    again = export(empty, tmp_path / "again.jsonl", signer=a_key())
    assert manifest_of(again)["sealed"] == told
    assert empty.sealed.waiting() == []


def test_boards_whose_digests_the_export_does_not_tell_yet_are_told_anew(
    sealed: tuple[Path, Path], empty: Store
) -> None:
    told, lease = manifest_of(sealed[1])["sealed"], lease_of(empty)
    restore(empty, lease, sealed[1])
    assert empty.sealed.waiting() == []
    empty.votes.seal(lease, 100)
    for board in told:
        seal = Sealings(empty).get(CAMPAIGN, board["log_position"], board["category"])
        assert (seal.is_intact, seal.digest) == (True, board["digest"])


@pytest.mark.parametrize("change", ["document", "digest", "missing", "elsewhere"])
def test_a_sealed_board_that_the_log_does_not_tell_is_refused(
    sealed: tuple[Path, Path], change: str
) -> None:
    store, manifest = FakeStore(), manifest_of(sealed[0])
    board = manifest["sealed"][0]
    if change == "document":
        board["document"]["statement"] = "We won."
    elif change == "digest":
        board["document"]["statement"] = "We won."
        board["digest"] = restoring.digest_of(board["document"])
    elif change == "missing":
        manifest["sealed"] = []
    else:
        board["log_position"] -= 1
    changed = restoring.Whole(
        json.dumps(manifest).encode(), hashlib.sha256(sealed[0].read_bytes()).hexdigest()
    )
    with pytest.raises(BadFile, match="sealed board"):
        restoring.restore_log(store, lease_of(store), sealed[0], changed, silent)
    assert (store.votes.position(), store.sealed.until([CAMPAIGN.id], 10**9)) == (0, [])


# --- what came without its battle ---------------------------------------------------------------


def test_a_restored_text_can_be_judged_excluded_and_taken_down(
    sealed: tuple[Path, Path], empty: Store
) -> None:
    lease = lease_of(empty)
    restore(empty, lease, sealed[0])
    position = empty.votes.position()
    moderation = Moderation(empty, FakeLive())
    row = empty.votes.find("v05")
    assert row is not None and row.content is not None
    for name in ("v05", "b-v05", row.hash):
        case = moderation.find(name)
        assert case is not None and (case.battle, case.vote) == (None, row)
    moderation.exclude("v05", "rude")
    moderation.take_down("v05")
    moderation.take_down("b-v05")  # there is nothing left of it
    moderation.take_down("v01")  # nor is there a battle of a vote that was imported
    assert empty.votes.content("v05") is empty.votes.content("v01") is None
    assert empty.votes.content("v02") is not None
    empty.votes.seal(lease, 100)
    assert empty.votes.erased_after([one.id for one in CAMPAIGNS], position) == ["v01", "v05"]
    acts = [(entry.act.act, entry.act.target) for entry in empty.audit.page(None, 9)]
    assert acts == [
        ("battle.take_down", "v01"),
        ("battle.take_down", "v05"),
        ("vote.exclude", "v05"),
    ]


def test_restored_texts_grow_too_old_like_others_and_imported_ones_do_not(
    sealed: tuple[Path, Path], empty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = lease_of(empty)
    restore(empty, lease, sealed[0])
    votes = empty.votes
    newest = [("new", replace(a_vote("new", battle_id="b-new")[0], timestamp="2999-01-01"))]
    votes.append([(newest[0][1], Content("ab" * 32))])
    before = votes.kept("2026-06-01", 100)
    texts = {record.id for record, _ in fought() if votes.content(record.id) is not None}
    assert set(before) == texts - {"v01"} and len(texts) > 30
    assert votes.kept("2026-01-01", 100) == [] and len(votes.kept("2026-06-01", 7)) == 7
    empty.leases.release(lease)
    stop = threading.Event()
    worker = Worker(empty, FakeLive(), signer=SIGNER, poll=0.02, lease_seconds=1, retention_days=30)
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: not votes.kept("2026-06-01", 100), 20, what="the old texts' erasure")
    finally:
        stop.set()
        thread.join(20)
    assert votes.content("v02") is None
    assert votes.content("v01") is not None is not votes.content("new")


# --- odd records --------------------------------------------------------------------------------

M = {"model": "m", "name": "M", "roster_revision": 1}


@pytest.mark.parametrize(
    ("kind", "data", "field"),
    [
        ("entry", {"name": "x"}, "data.model"),
        ("change", {**M, "changed": {"name": "y"}}, "data.changed.name"),
        ("method", {"method": "bt", "automatic": True, "votes": 0}, "data.method"),
        ("sealed", {"sealing": ["a"], "log_position": 1, "boards": {}}, "data.sealing"),
        ("disclosure", {**M, "private_since": 7}, "data.private_since"),
        ("campaign", {"kind": "online", "state": "open", "public": "yes"}, "data.public"),
        ("blindness", None, "data"),
    ],
)
def test_a_record_of_another_form_is_refused_by_place_and_field(
    tmp_path: Path, kind: str, data: dict[str, Any] | None, field: str
) -> None:
    store = FakeStore()
    store.campaigns.add(CAMPAIGN)
    odd = Record("q" * 32, kind, CAMPAIGN.id, "2026-01-01T00:00:00.000Z", data=data)
    store.votes.append([a_vote("v"), (odd, None)])
    store.votes.seal(lease_of(store), 100)
    path, empty = export(store, tmp_path / "odd.jsonl", [CAMPAIGN]), FakeStore()
    with pytest.raises(BadFile) as refused:
        restore(empty, lease_of(empty), path)
    assert f"odd.jsonl, seq 2, field '{field}': a record of type '{kind}'" in str(refused.value)
    assert empty.votes.position() == 0


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, in a folder of this test."""
    for name in list(os.environ):
        if name.startswith("ARENA_") or name in {"DATABASE_URL", "REDIS_URL", "PORT"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("ARENA_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ARENA_CONFIG", str(tmp_path / "arena.toml"))
    monkeypatch.setenv("ARENA_LEASE_SECONDS", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def test_the_commands_bring_a_log_from_one_data_folder_to_another(whole: Path, data: Path) -> None:
    done = run("import", whole)
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("the log up to position 44. The worker publishes its boards.\n")
    done = run("export", "out.jsonl")
    assert done.exit_code == 0, done.output
    assert Path("out.jsonl").read_bytes() == whole.read_bytes()
    done = run("verify", "out.jsonl")
    assert (done.exit_code, done.stdout) == (0, "OK 40 votes, 1 erased, 0 boards\n")
    key = json.loads(Path("out.jsonl" + SUFFIX).read_bytes())["key"]["verifier_key"]
    assert f"signed by {key}" in done.stderr
    assert "signed by" not in run("verify", "out.jsonl", "--key", key).stderr
    again = run("import", "out.jsonl")
    assert again.exit_code == 2
    assert "has records already" in again.stderr


def test_a_log_is_imported_only_by_the_key_that_must_have_signed_it(
    whole: Path, data: Path
) -> None:
    key = manifest_of(whole)["key"]["verifier_key"]
    other = run("import", whole, "--key", a_key().verifier_key)
    assert other.exit_code == 2
    assert other.stdout == f"-, key, signed by {key}\n"
    votes = run("import", whole, "--key", key, "--campaign", "theirs")
    assert votes.exit_code == 2 and "--campaign" in votes.stderr
    assert not (data / "data").exists()
    assert run("import", whole, "--key", key).exit_code == 0


def test_what_does_not_hold_is_not_imported(whole: Path, data: Path) -> None:
    shutil.copy(whole.with_name(whole.name + SUFFIX), data)
    path = data / whole.name
    path.write_bytes(whole.read_bytes().replace("问 7".encode(), "问 8".encode()))
    done = run("import", path)
    assert done.exit_code == 2
    assert done.stdout == "8, content_digest, not of these texts\n-, file, has another sha256\n"
    assert "nothing of it was imported" in done.stderr
    assert not (data / "data").exists()
    done = run("verify", path)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (
        1,
        "INVALID 2 failures in 44 records",
    )


def test_a_filtered_export_is_no_log(data: Path) -> None:
    store = FakeStore()
    for campaign in (*CAMPAIGNS, PRIVATE):
        store.campaigns.add(campaign)
    store.votes.append([*records(13), a_vote("p", campaign=PRIVATE.id)])
    store.votes.seal(lease_of(store), 100)
    path = export(store, data / "votes.jsonl")
    assert run("verify", path).exit_code == 0
    done = run("import", path)
    assert done.exit_code == 2
    assert "--campaign" in done.stderr
    assert not (data / "data").exists()
    done = run("import", path, "--campaign", "theirs")
    assert done.exit_code == 2  # the database is not made for it
    assert run("db", "upgrade").exit_code == 0
    assert run("import", path, "--campaign", "theirs").exit_code == 0


def test_a_log_is_not_imported_beside_a_worker(
    whole: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("db", "upgrade").exit_code == 0
    store = open_store(f"sqlite:///{data / 'data' / 'arena.db'}")
    lease = lease_of(store)
    monkeypatch.setattr(arena.cli.votes.time, "sleep", lambda _: store.leases.renew(lease))
    done = run("import", whole)
    assert done.exit_code == 2
    assert "A worker is at work" in done.stderr
    store.leases.release(lease)
    store.close()
    assert run("import", whole).exit_code == 0


def test_only_jsonl_has_a_manifest_and_the_command_says_so(whole: Path, data: Path) -> None:
    assert run("import", whole).exit_code == 0
    for form in ("csv", "parquet"):
        done = run("export", f"out.{form}")
        assert done.exit_code == 0
        assert f"only JSONL has one, not {form}" in done.stdout
        assert not Path(f"out.{form}{SUFFIX}").exists()
    done = run("verify", "out.csv")
    assert done.exit_code == 2
    assert "out.csv.manifest.json cannot be read" in done.stderr
