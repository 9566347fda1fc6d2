"""An outsider's check of an export: what holds is accepted, and every change is named."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from arena import categories, verify
from arena.categories import language as languages
from arena.errors import ArenaError
from arena.leaderboard import Method, method_record
from arena.manifest import SUFFIX
from arena.merkle import root_of
from arena.records import EXPORT_FIELDS, Record
from arena.worker import _Campaign
from tests.exports import CAMPAIGNS, SECOND, a_key, export, publish, records, seal
from tests.fakes import SIGNER, FakeStore, a_vote
from tests.services import ROOT

Lines = list[bytes]


@pytest.fixture(scope="module")
def store() -> FakeStore:
    """A log of three campaigns, with boards, of which those of the first are sealed."""
    made = FakeStore()
    for campaign in CAMPAIGNS:
        made.campaigns.add(campaign)
    made.votes.append(records())
    publish(made, boards=9)
    seal(made, boards=9)
    return made


@pytest.fixture(scope="module")
def whole(store: FakeStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(store, tmp_path_factory.mktemp("export") / "votes.jsonl")


SIGNED = f"signed by {SIGNER.verifier_key}: is this the key that the arena publishes?"


def copied(whole: Path, folder: Path) -> Path:
    """The export with its manifest, to be changed."""
    shutil.copy(whole.with_name(whole.name + SUFFIX), folder)
    return Path(shutil.copy(whole, folder))


def check(path: Path, **options: Any) -> tuple[verify.Report, list[str]]:
    """The report, and every failure as it is printed."""
    found: list[str] = []
    report = verify.verify(path, on_failure=lambda failure: found.append(str(failure)), **options)
    assert report.failures == len(found)
    return report, found


def named(found: Sequence[str]) -> set[str]:
    return {line.split(", ")[0] for line in found}


def lines_of(path: Path) -> Lines:
    return path.read_bytes().splitlines(keepends=True)


@pytest.fixture
def tampered(whole: Path, tmp_path: Path) -> Callable[..., tuple[verify.Report, list[str]]]:
    """Check the export with other lines."""

    def tamper(lines: Lines, **options: Any) -> tuple[verify.Report, list[str]]:
        path = tmp_path / whole.name
        path.write_bytes(b"".join(lines))
        shutil.copy(whole.with_name(whole.name + SUFFIX), tmp_path)
        return check(path, boards=False, **options)

    return tamper


# --- what is written out again ------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JSON)
@example([0.0, -0.0, 1e21, 1e-7, 1e-6, 123456789012345680000.0, 5e-324, 1.7976931348623157e308])
@example({"\ufffd": 1, "\U0001f642": 2, "é": 3, "\x00": "\x7f\u2028"})
def test_json_is_as_rfc8785_writes_it(value: Any) -> None:
    assert verify.canonical(value).encode() == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [2**53, -(2**53), float("nan"), float("inf"), [float("-inf")]])
def test_a_number_without_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"number|integer"):
        verify.canonical(value)


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=80), st.integers(0, 767), st.data())
def test_signatures_are_judged_as_the_library_judges_them(
    seed: bytes, message: bytes, bit: int, data: st.DataObject
) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert verify.is_signed(public, message, signature)
    assert not verify.is_signed(public, message + b"x", signature)
    changed = bytearray(public + signature)
    changed[bit // 8] ^= 1 << bit % 8
    public, signature = bytes(changed[:32]), bytes(changed[32:])
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        expected = True
    except (InvalidSignature, ValueError):
        expected = False
    assert verify.is_signed(public, message, signature) is expected


def test_signatures_of_the_rfc_hold() -> None:
    """RFC 8032 §7.1, tests 1 and 3; and a signature with s + L in place of s does not."""
    for public, message, signature in (
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ):
        parts = bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)
        assert verify.is_signed(*parts)
        order = 2**252 + 27742317777372353535851937790883648493
        larger = int.from_bytes(parts[2][32:], "little") + order
        assert not verify.is_signed(*parts[:2], parts[2][:32] + larger.to_bytes(32, "little"))
    assert not verify.is_signed(bytes(31), b"", bytes(64))
    assert not verify.is_signed(bytes(32), b"", bytes(63))


@pytest.mark.parametrize("width", [0, 1, 3])
@pytest.mark.parametrize("size", [0, 1, 2, 7, 8, 50, 64])
def test_the_tree_has_the_root_of_the_rfc(size: int, width: int) -> None:
    leaves = [hashlib.sha256(bytes([place])).digest() for place in range(size)]
    spans = [
        root_of(leaves[at : at + (1 << width)])
        for at in range(0, size - (1 << width) + 1, 1 << width)
    ]
    wrong: list[tuple[int, int]] = []
    tree = verify.Tree(width, spans, lambda *span: wrong.append(span))
    for leaf in leaves:
        tree.append(leaf)
    assert tree.root() == root_of(leaves)
    assert wrong == []


def test_columns_and_leaf_are_those_of_the_log() -> None:
    assert verify.COLUMNS == EXPORT_FIELDS
    record = a_vote("v", both_bad=True, grade=0, winner="tie", ttft_a=1e-7, reasons=("é",))[0]
    for one in (record, replace(record, data={"ü": [1.0, None]}, consent="c" * 64)):
        row = {name: getattr(one, name, None) for name in EXPORT_FIELDS}
        row |= {"winner": "both_bad", "reasons": list(one.reasons)}
        assert verify.leaf_of(row).hex() == one.leaf()


ODD = ["zh-Hans", "pt_BR", "YUE", "nn", "und", " English ", "chinese", "xx-zh", "", "en-zh"]
LANGUAGES = st.sampled_from(
    [*languages.TITLES, *(name for name, _ in languages.TITLES.values()), *ODD]
)
TAGS = st.lists(st.sampled_from(["coding", " Hard", "math", "odd", "zh", "people", ""]), max_size=3)


@settings(deadline=None)
@given(
    st.none() | LANGUAGES | TEXT,
    st.none() | TAGS.map(",".join),
    st.none() | st.integers(-1, 3),
    st.sampled_from([None, "person", "judge", "import"]),
)
def test_a_vote_is_on_the_boards_that_the_worker_puts_it_on(
    language: str | None, tag: str | None, turns: int | None, kind: str | None
) -> None:
    fields = {"language": language, "category_tag": tag, "turns": turns, "voter_kind": kind}
    vote = verify._Kind("online", **fields)
    found = {key for key in categories.TITLES if verify.belongs(vote, key)}
    assert found - {categories.UNFILTERED} == set(categories.of_vote(**fields))
    assert categories.UNFILTERED in found
    assert verify.belongs(vote, "overall")


def test_the_module_can_be_copied(whole: Path, tmp_path: Path) -> None:
    """It needs the folder `ratings` beside it and nothing of the server."""
    shutil.copy(ROOT / "arena" / "verify.py", tmp_path)
    shutil.copytree(ROOT / "ratings", tmp_path / "ratings")
    program = (
        "import sys; sys.path.insert(0, '.'); import verify\n"
        "try: verify.main(sys.argv[1:])\n"
        "finally: print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(whole)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("OK 41 votes, 1 erased, ")
    loaded = set(eval(done.stderr.splitlines()[-1]))  # noqa: S307  printed above
    assert loaded.isdisjoint({"arena", "rfc8785", "cryptography", "sqlalchemy", "click"})
    shutil.rmtree(tmp_path / "ratings")
    without = subprocess.run(
        [sys.executable, "-S", "verify.py", "--no-boards", str(whole)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (without.returncode, without.stdout) == (0, "OK 41 votes, 1 erased, 0 boards\n")
    lacking = subprocess.run(
        [sys.executable, "-S", "verify.py", str(whole)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert lacking.returncode == 2
    assert "--no-boards" in lacking.stderr


# --- what holds ---------------------------------------------------------------------------------

TEXTS = [
    "1 text is not here: erased, as a record says",
    "5 texts are not here: withheld, as the campaign's record says",
]


def test_an_export_of_the_whole_log_holds(store: FakeStore, whole: Path) -> None:
    report, found = check(whole, key=SIGNER.verifier_key)
    assert found == []
    assert report.notes == TEXTS
    ids = [campaign.id for campaign in CAMPAIGNS]
    boards = len(list(store.snapshots.standing(ids, store.votes.position())))
    assert boards >= 9
    sealed = len(store.sealed.until(ids, store.votes.position()))
    assert sealed >= 2
    assert str(report) == f"OK 41 votes, 1 erased, {boards + sealed} boards"
    assert report.records == store.votes.position()


def test_an_earlier_position_holds_too(store: FakeStore, tmp_path: Path) -> None:
    for until in range(len(records()) - 8, len(records())):
        report, found = check(export(store, tmp_path / "votes.jsonl", until=until))
        assert (found, report.records) == ([], until)


def test_what_was_erased_behind_the_position_is_told_by_the_manifest(
    store: FakeStore, tmp_path: Path
) -> None:
    """The text of v09 is gone, and the record that says so stands at the end of the log."""
    path = export(store, tmp_path / "votes.jsonl", until=20)
    report, found = check(path)
    assert (found, report.erased) == ([], 1)
    assert "1 text is not here: erased, as the manifest alone says" in report.notes
    assert manifest(path)["erased_later"] == ["v09"]
    sign(path, erased_later=[])
    assert check(path)[1] == ["10, salt, missing, and no record says that it was erased"]


def test_rows_beside_the_log_do_not_disturb(store: FakeStore, tmp_path: Path) -> None:
    path = export(store, tmp_path / "votes.jsonl")
    rows = path.read_bytes()
    path.write_bytes(rows + outcome(model_a="m", reason="skipped", flags=["side_a"]))
    sign(path)
    report, found = check(path)
    assert (found, report.notes) == ([], [SIGNED, *TEXTS])
    sign(path, file=None)
    report, found = check(path)
    unproven = "1 row of a battle without a vote is not covered by any proof"
    assert (found, unproven in report.notes) == ([], True)


@pytest.mark.parametrize(
    "lie",
    [
        {"comment": "forged"},
        {"conversation_a": [{"role": "user", "content": "forged"}]},
        {"salt": "00"},
        {"hash": "f" * 64},
        {"grade": 2, "winner": "model_a"},
        {"excluded_reason": "spam"},
        {"data": {}},
    ],
    ids=lambda lie: next(iter(lie)),
)
def test_rows_beside_the_log_hold_nothing_that_only_the_log_has(
    whole: Path, tmp_path: Path, lie: dict[str, Any]
) -> None:
    path = copied(whole, tmp_path)
    path.write_bytes(path.read_bytes() + outcome(**lie))
    sign(path, file=None)
    number = len(lines_of(path))
    assert check(path)[1][0] == f"line {number}, {next(iter(lie))}, of no battle without a vote"


def outcome(**changes: Any) -> bytes:
    row = dict.fromkeys(EXPORT_FIELDS) | {"type": "void", "id": "b", "campaign": "online"}
    row |= {"timestamp": "2026", "reasons": [], "flags": []} | changes
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def test_a_manifest_without_a_file_goes_with_the_streamed_rows(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    shutil.copy(whole, path)
    shutil.copy(whole.with_name(whole.name + SUFFIX), tmp_path)
    sign(path, file=None)
    assert check(path)[1] == []
    path.write_bytes(b"".join(lines_of(path)[:-1]))
    assert "seq, missing" in check(path)[1][0]


# --- filtered exports ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "after"), [([SECOND], 0), (CAMPAIGNS[:1], 0), (CAMPAIGNS, 17), ([SECOND], 9)]
)
def test_rows_of_a_filtered_export_are_proven_to_be_in_the_log(
    store: FakeStore, tmp_path: Path, chosen: Sequence[Any], after: int
) -> None:
    path = export(store, tmp_path / "votes.jsonl", chosen, after=after)
    told = manifest(path)
    assert told["complete"] is False
    report, found = check(path)
    assert found == []
    assert "that none more should be in it can not" in report.notes[1]
    assert report.records == len(lines_of(path))
    assert bool(report.boards) is not bool(after)
    lines = lines_of(path)
    forged = rehashed(lines[3], reasons=["forged"])
    path.write_bytes(b"".join([*lines[:3], forged, *lines[4:]]))
    sign(path)
    assert check(path)[1] == [f"{json.loads(forged)['seq']}, hash, not the record that was signed"]
    path.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    assert check(path)[1][0].endswith("seq, missing")


# --- what was changed ---------------------------------------------------------------------------

ROWS = [record.type for record, _ in records()]
VOTES = [number for number, kind in enumerate(ROWS) if kind == "vote"]
OTHERS = [number for number, kind in enumerate(ROWS) if kind != "vote"]
REPLACEMENTS = b'0129aex"\\ ,:{}[]\n\x00\xff'


def test_every_byte_of_the_file_counts(
    whole: Path,
    tampered: Callable[..., tuple[verify.Report, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each byte of each row is changed once, in all votes or all other records at a time; in
    every third where the place is told, for there the neighbours say which row is meant."""
    remember(whole, monkeypatch)
    draw, lines = random.Random(1), lines_of(whole)  # noqa: S311  reproducible
    for place in range(max(map(len, lines)) - 1):
        step = 3 if place < len(b'{"seq":10,') else 1
        for some in (rows[at::step] for rows in (VOTES, OTHERS) for at in range(step)):
            changed, expected = list(lines), set()
            for number in some:
                if place < len(lines[number]) - 1:
                    changed[number] = changed_at(lines[number], place, draw, b"\n")
                    expected.add(str(number + 1))
            if expected:
                assert named(tampered(changed)[1]) - {"-"} == expected, place


def changed_at(line: bytes, place: int, draw: random.Random, without: bytes = b"") -> bytes:
    others = [byte for byte in {*REPLACEMENTS, line[place] ^ 1} - {*without} if byte != line[place]]
    return line[:place] + bytes([draw.choice(others)]) + line[place + 1 :]


def test_a_changed_byte_is_named_alone(
    whole: Path,
    tampered: Callable[..., tuple[verify.Report, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Line ends too: then two rows become one."""
    remember(whole, monkeypatch)
    draw, lines = random.Random(2), lines_of(whole)  # noqa: S311  reproducible
    for number, line in enumerate(lines):
        places = [*draw.sample(range(len(line) - 1), 1), 7]
        for place in places:
            changed = [*lines[:number], changed_at(line, place, draw, b"\n"), *lines[number + 1 :]]
            assert named(tampered(changed)[1]) - {"-"} == {str(number + 1)}
        merged = [*lines[:number], line[:-1] + b" ", *lines[number + 1 :]]
        assert str(number + 1) in named(tampered(merged)[1])


REMARKS = [number for number, kind in enumerate(ROWS) if kind in ("flag", "exclusion", "erasure")]


def test_a_remark_that_tells_another_seq_is_named_alone(
    whole: Path,
    tampered: Callable[..., tuple[verify.Report, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The flags that it brings would come in another order."""
    remember(whole, monkeypatch)
    lines = lines_of(whole)
    for number in REMARKS:
        for seq in range(1, len(lines) + 2):
            told = lines[number].replace(b'"seq":%d,' % (number + 1), b'"seq":%d,' % seq, 1)
            found = tampered([*lines[:number], told, *lines[number + 1 :]])[1]
            assert named(found) - {"-"} == ({str(number + 1)} - {str(seq)}), (number, seq)


def test_a_remark_turned_upon_another_vote_is_named_alone(
    whole: Path,
    tampered: Callable[..., tuple[verify.Report, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That other vote's flags, exclusion and texts are as they were."""
    remember(whole, monkeypatch)
    lines = lines_of(whole)
    votes = {json.loads(lines[number])["id"] for number in VOTES}
    for number in REMARKS:
        target = json.loads(lines[number])["target"]
        for other in votes - {target}:
            turned = lines[number].replace(
                f'"target":"{target}"'.encode(), f'"target":"{other}"'.encode()
            )
            found = tampered([*lines[:number], turned, *lines[number + 1 :]])[1]
            assert named(found) - {"-"} == {str(number + 1)}, (number, other)


def remember(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge the manifest, and the rows that are as they were, only once."""
    rows = {line: verify.read_row(line) for line in lines_of(whole)}
    leaves = {id(row): verify.leaf_of(row) for row in rows.values()}
    digests = {id(row): verify.digest_of(row) for row in rows.values() if row["salt"]}
    for name, known, of in (
        ("read_row", rows, lambda line: line),
        ("leaf_of", leaves, id),
        ("digest_of", digests, id),
    ):
        monkeypatch.setattr(verify, name, remembered(known, of, getattr(verify, name)))
    read = verify.read_manifest(whole.with_name(whole.name + SUFFIX).read_bytes(), lambda *_: None)
    monkeypatch.setattr(verify, "read_manifest", lambda *_: read)


def remembered(known: dict[Any, Any], of: Callable[..., Any], judge: Callable[..., Any]) -> Any:
    def again(asked: Any) -> Any:
        found = known.get(of(asked))
        return judge(asked) if found is None else found

    return again


def test_a_dropped_row_is_missing(
    whole: Path, tampered: Callable[..., tuple[verify.Report, list[str]]]
) -> None:
    lines = lines_of(whole)
    for number in range(len(lines)):
        found = tampered([*lines[:number], *lines[number + 1 :]])[1]
        assert f"{number + 1}, seq, missing" in found
        assert named(found) - {"-"} <= {str(number + 1), "10"}  # that of v09: its erasure


def test_missing_rows_in_a_row_are_told_at_once(
    whole: Path, tampered: Callable[..., tuple[verify.Report, list[str]]]
) -> None:
    lines = lines_of(whole)
    assert tampered(lines[:10])[1][-3] == f"11-{len(lines)}, seq, missing"
    assert tampered([])[1][0] == f"1-{len(lines)}, seq, missing"


def test_a_doubled_row_is_named(
    whole: Path, tampered: Callable[..., tuple[verify.Report, list[str]]]
) -> None:
    lines = lines_of(whole)
    for number in range(len(lines)):
        found = tampered([*lines[: number + 1], *lines[number:]])[1]
        assert found[0] == f"{number + 1}, seq, doubled"
        assert named(found) == {str(number + 1), "-"}


def test_swapped_neighbours_are_named(
    whole: Path, tampered: Callable[..., tuple[verify.Report, list[str]]]
) -> None:
    lines = lines_of(whole)
    for number in range(len(lines) - 1):
        swapped = [*lines[:number], lines[number + 1], lines[number], *lines[number + 2 :]]
        found = tampered(swapped)[1]
        assert found[0] == f"{number + 1}, seq, out of its place"
        assert named(found) == {str(number + 1), "-"}


def test_a_foreign_row_is_named_wherever_it_stands(
    whole: Path, tampered: Callable[..., tuple[verify.Report, list[str]]]
) -> None:
    lines = lines_of(whole)
    for seq, step in ((999, 1), (0, 10), (len(lines) + 1, 10)):
        for number in range(0, len(lines) + 1, step):
            foreign = rehashed(lines[0], seq=seq, id="foreign", flags=[], excluded_reason=None)
            found = tampered([*lines[:number], foreign, *lines[number:]])[1]
            assert found[0] == f"{seq}, seq, foreign"
            assert named(found) == {str(seq), "-"}


def rehashed(line: bytes, **changes: Any) -> bytes:
    """The line with other fields, and the hash that these have."""
    row = json.loads(line) | changes
    row["hash"] = verify.leaf_of(row).hex()
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def test_a_forged_record_with_the_right_hash_is_named(
    whole: Path, tampered: Callable[..., tuple[verify.Report, list[str]]]
) -> None:
    lines = lines_of(whole)
    for number, line in enumerate(lines):
        forged = [*lines[:number], rehashed(line, timestamp="2025"), *lines[number + 1 :]]
        found = tampered(forged)[1]
        assert found[0] == f"{number + 1}, hash, not the record that was signed"
        assert named(found) == {str(number + 1), "-"}


def test_forged_records_that_are_numbered_anew_are_named_from_the_first(
    whole: Path, tampered: Callable[..., tuple[verify.Report, list[str]]]
) -> None:
    """No leaf holds its place, so only the tree tells who was put in or taken out."""
    lines = lines_of(whole)
    number = 20
    for changed in (
        [*lines[:number], lines[2], *lines[number:]],
        [*lines[:number], *lines[number + 1 :]],
        [*lines[:number], lines[number + 1], lines[number], *lines[number + 2 :]],
    ):
        renumbered = [rehashed(line, seq=seq) for seq, line in enumerate(changed, 1)]
        assert tampered(renumbered)[1][0] == "21, hash, not the record that was signed"


def test_of_a_long_log_the_few_records_are_named_among_which_one_is_wrong(
    whole: Path, tmp_path: Path
) -> None:
    path = tmp_path / whole.name
    shutil.copy(whole.with_name(whole.name + SUFFIX), tmp_path)
    lines = lines_of(whole)
    leaves = [bytes.fromhex(json.loads(line)["hash"]) for line in lines]
    path.write_bytes(b"".join([*lines[:20], rehashed(lines[20], reasons=["x"]), *lines[21:]]))
    roots = [root_of(leaves[at : at + 8]).hex() for at in range(0, len(leaves) - 7, 8)]
    sign(path, spans={"width": 8, "roots": roots})
    assert check(path)[1] == ["17-24, hash, not the records that were signed"]


# --- what the manifest says ---------------------------------------------------------------------


def manifest(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_name(path.name + SUFFIX).read_bytes())
    return found


def sign(path: Path, **changes: Any) -> None:
    """The manifest with other members, signed again as the arena itself could."""
    told = manifest(path)
    data = path.read_bytes()
    told["file"] = {
        "name": path.name,
        "rows": data.count(b"\n"),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    told |= changes
    del told["signature"]
    sign_raw(path, rfc8785.dumps(told))


def sign_raw(path: Path, body: bytes) -> None:
    """Make these bytes the manifest."""
    digest = hashlib.sha256(body).hexdigest()
    note = SIGNER.sign(f"arena manifest v1\n{SIGNER.name}\n{digest}\n")
    signed = body[:-1] + b',"signature":' + rfc8785.dumps(note) + b"}\n"
    path.with_name(path.name + SUFFIX).write_bytes(signed)


def test_every_byte_of_the_manifest_counts(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "is_signed", cache(verify.is_signed))
    draw = random.Random(3)  # noqa: S311  the same bytes each time
    path = tmp_path / whole.name
    shutil.copy(whole, path)
    shutil.copy(whole.with_name(whole.name + SUFFIX), tmp_path)
    sign(path, snapshots=manifest(path)["snapshots"][:2], sealed=[])  # others are of the same form
    data = path.with_name(path.name + SUFFIX).read_bytes()
    assert problems(data) == []
    for place in range(len(data)):
        assert problems(changed_at(data, place, draw)) != [], place
    for changed in (data[:-1], data + b"\n", b" " + data, data[:-2] + b" }\n", b"", b"[]\n"):
        assert problems(changed) != []


def problems(data: bytes) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    verify.read_manifest(data, lambda *problem: found.append(problem))
    return found


def test_a_changed_manifest_makes_the_export_invalid(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / whole.name
    shutil.copy(whole, path)
    beside = tmp_path / (whole.name + SUFFIX)
    data = whole.with_name(beside.name).read_bytes()
    beside.write_bytes(data.replace(b'"official":true', b'"official":false', 1))
    report, found = check(path)
    assert (report.status, found) == (1, ["-, signature, of another manifest"])
    beside.write_bytes(b"\xff")
    report, found = check(path)
    assert report.status == 1
    assert found[0].startswith("-, manifest, malformed")


def test_another_key_is_told_from_the_one_that_is_expected(
    store: FakeStore, tmp_path: Path
) -> None:
    other = a_key()
    path = export(store, tmp_path / "votes.jsonl", signer=other)
    report, found = check(path)
    assert found == []
    assert other.verifier_key in report.notes[0]
    assert check(path, key=SIGNER.verifier_key)[1] == [f"-, key, signed by {other.verifier_key}"]


LIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "模型 m0 rating": lambda board: board["rows"][place_of(board, 0)].update(rating=1_000.02),
    "模型 m1 votes": lambda board: board["rows"][place_of(board, 1)].update(votes=7),
    "模型 m2 rank_upper": lambda board: board["rows"][place_of(board, 2)].update(rank_upper=None),
    "模型 m3": lambda board: board["rows"].pop(place_of(board, 3)),
    "ghost": lambda board: board["rows"].append({"model": "ghost"}),
    "config_hash": lambda board: board.update(config_hash="0" * 64),
    "config": lambda board: board["config"].update(level=0.9),
    "voters": lambda board: board.update(voters=99),
    "log_position": lambda board: board.update(log_position=10_000),
}


def place_of(board: dict[str, Any], model: int) -> int:
    return [row["model"] for row in board["rows"]].index(f"模型 m{model}")


@pytest.mark.parametrize("field", LIES)
def test_a_board_that_does_not_follow_from_the_records_is_named(
    whole: Path, tmp_path: Path, field: str
) -> None:
    path = tmp_path / whole.name
    shutil.copy(whole, path)
    shutil.copy(whole.with_name(whole.name + SUFFIX), tmp_path)
    boards = manifest(path)["snapshots"]
    board = boards[0]
    LIES[field](board)
    if field == "config":
        board["config_hash"] = hashlib.sha256(rfc8785.dumps(board["config"])).hexdigest()
    sign(path, snapshots=boards)
    report, found = check(path)
    name = f"-, board {board['campaign']}/{board['category']} {board['method']} {field}, "
    assert [line for line in found if line.startswith(name)]
    assert all(line.startswith(name.partition(field)[0]) for line in found)
    assert report.status == 1


def test_a_rating_may_be_off_by_less_than_it_is_told_to(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / whole.name
    shutil.copy(whole, path)
    shutil.copy(whole.with_name(whole.name + SUFFIX), tmp_path)
    boards = manifest(path)["snapshots"]
    boards[0]["rows"][0]["rating"] += 0.004
    sign(path, snapshots=boards)
    assert check(path)[1] == []
    boards[0]["rows"][0]["rating"] += 0.002
    sign(path, snapshots=boards)
    assert len(check(path)[1]) == 1


# --- by which method ----------------------------------------------------------------------------


def board_of(boards: list[dict[str, Any]], *, official: bool = True) -> dict[str, Any]:
    """A board of all votes of the first campaign, whose log pins `davidson`."""
    return next(
        board
        for board in boards
        if (board["campaign"], board["category"]) == ("online", "overall")
        and board["official"] is official
    )


def test_a_board_says_rightly_whether_its_method_is_the_one_that_the_log_pins(
    whole: Path, tmp_path: Path
) -> None:
    path = copied(whole, tmp_path)
    boards = manifest(path)["snapshots"]
    for official in (True, False):
        board_of(boards, official=official).update(official="" if official else True)
    sign(path, snapshots=boards)
    kinds = [line.split(", ", 1)[1] for line in check(path)[1]]
    assert "board online/overall davidson official, is , while the log pins davidson" in kinds
    assert len(kinds) == 2


@pytest.mark.parametrize("official", [True, False])
def test_a_board_has_the_options_that_the_log_pins_or_the_plain_ones(
    whole: Path, tmp_path: Path, official: bool
) -> None:
    path = copied(whole, tmp_path)
    boards = manifest(path)["snapshots"]
    board = next(one for one in boards if one["official"] is official and one["method"] != "elo")
    board["config"]["clustered"] = None if board["config"]["clustered"] else "voter"
    board["config_hash"] = hashlib.sha256(rfc8785.dumps(board["config"])).hexdigest()
    sign(path, snapshots=boards)
    (line,) = check(path)[1]
    assert line.endswith(" config, is not what the log pins")


def pins(*told: dict[str, Any] | None) -> str:
    """The method after these records, as the verifier and the worker find it."""
    followed = _Campaign()
    for data in told:
        with contextlib.suppress(ArenaError, AttributeError, KeyError, TypeError):
            followed.pin(data or {})
    official = followed.methods[0].method
    found = verify.Methods(list(enumerate(told, 1)))
    assert found.at(len(told)).pinned() == official.pinned()
    assert found.at(0).pinned() == Method().pinned()
    return official.name


def said(method: Method | None, evidence: Any = None) -> dict[str, Any]:
    data = method_record("online", "agreed", method, evidence=evidence).data
    assert data is not None
    return data


def test_the_pinned_method_is_the_one_that_the_worker_finds() -> None:
    graded, bt = Method("graded", "pooled", anchor=("m", 1_000.0)), Method("bt", clustered=True)
    assert pins() == "bt"
    assert pins(said(graded)) == "graded"
    assert pins(said(graded, {"why": 1})) == "graded"
    assert pins(said(bt), said(graded, {"why": 1})) == "bt"  # an operator pinned it for good
    assert pins(said(bt), said(None), said(graded, {"why": 1})) == "graded"
    assert pins(said(graded, {"why": 1}), said(bt)) == "bt"
    assert pins(said(graded), None, {"method": None}, said(Method("elo"))) == "elo"
    assert pins({"evidence": None, "automatic": False}, said(graded, {"why": 1})) == "bt"
    odd = said(graded)
    odd["method"] = "x"
    assert pins(said(bt), odd) == "bt"
    odd["method"] = {"name": "glicko"}
    assert pins(said(bt), odd, said(Method("davidson"), {})) == "bt"
    assert pins({**said(bt), "method": {"name": "graded"}}) == "graded"


def test_that_a_campaign_has_no_board_is_noted(whole: Path, tmp_path: Path) -> None:
    path = copied(whole, tmp_path)
    boards = manifest(path)["snapshots"]
    sign(path, snapshots=[board for board in boards if board["campaign"] != "second"])
    report, found = check(path)
    note = "no board of all votes of campaign 'second' is in this export"
    assert (found, note in report.notes) == ([], True)


# --- sealed boards ------------------------------------------------------------------------------


def sealed_again(entry: dict[str, Any]) -> dict[str, Any]:
    """The sealed board with the digest that it has now."""
    digest = hashlib.sha256(rfc8785.dumps(entry["document"])).hexdigest()
    return {**entry, "digest": digest}


def told_otherwise(entries: list[dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
    first, *others = entries
    first["document"] |= changes
    return [sealed_again(first), *others]


def invented(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    copy = json.loads(json.dumps(entries[0])) | {"sealing": "0" * 32}
    copy["document"] |= {"sealing": "0" * 32, "statement": "Model X won the prize."}
    return [*entries, sealed_again(copy)]


def ghost(entries: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    rows = entries[0]["document"]["rows"]
    return told_otherwise(entries, rows=[{**rows[0], "model": "ghost", **fields}, *rows])


FORGED_SEALS: dict[str, tuple[Callable[[list[dict[str, Any]]], list[Any]], str]] = {
    "dropped": (lambda told: told[1:], "is left out"),
    "doubled": (lambda told: [*told, told[0]], "is there twice"),
    "invented": (invented, "no record in the log seals it"),
    "digest": (lambda told: [{**told[0], "digest": "0" * 64}, *told[1:]], "has another digest"),
    "no text": (lambda told: ["abc", *told], "malformed"),
    "no object": (lambda told: [{**told[0], "document": 5}, *told[1:]], "malformed"),
    "no list": (lambda told: told_otherwise(told, rows=7), "malformed"),
    "other statement": (
        lambda told: told_otherwise(told, statement="Model X won."),
        "statement, not as its sealing says",
    ),
    "other title": (lambda told: told_otherwise(told, title="X"), "title, not as its sealing says"),
    "other campaign": (
        lambda told: told_otherwise(told, campaign="second"),
        "campaign, not as its sealing says",
    ),
    "other position": (
        lambda told: told_otherwise(told, log_position=40),
        "log_position, not as its sealing says",
    ),
    "other category": (
        lambda told: told_otherwise(told, category="people"),
        "category, not as its sealing says",
    ),
    "other head": (
        lambda told: told_otherwise(told, tree_head={"size": 1, "root": "0" * 64, "note": ""}),
        "tree_head, is of other records",
    ),
    "other votes": (lambda told: told_otherwise(told, voters=99), "voters, is 10, not 99"),
    "ghost": (lambda told: ghost(told, rank=0, rating=2_500.0), "ghost, has no votes here"),
    "unranked": (lambda told: ghost(told, rank=None), "ghost, has votes or a rating and no rank"),
}


@pytest.mark.parametrize("behind", [True, False], ids=["bound", "unbound"])
@pytest.mark.parametrize("lie", FORGED_SEALS)
def test_a_forged_sealed_board_is_named(
    store: FakeStore, tmp_path: Path, lie: str, behind: bool
) -> None:
    """Whether or not the record that tells the digests is in the export."""
    forge, problem = FORGED_SEALS[lie]
    entries = [
        {name: getattr(board, name) for name in board.__slots__}
        for board in store.sealed.until(["online"], 10**9)
    ]
    place = entries[0]["log_position"]
    path = export(store, tmp_path / "votes.jsonl", until=None if behind else place)
    told = forge(json.loads(json.dumps(entries)))
    sign(path, sealed=told)
    report, found = check(path)
    if lie == "dropped" and not behind:
        assert found == []  # that there are more is told by the record behind the position
        return
    assert report.status == 1
    assert any(problem in line for line in found), found


def test_a_seal_whose_digests_lie_behind_the_position_is_not_bound(
    store: FakeStore, tmp_path: Path
) -> None:
    boards = store.sealed.until(["online"], 10**9)
    path = export(store, tmp_path / "votes.jsonl", until=boards[0].log_position)
    report, found = check(path)
    assert found == []
    assert sum("digest is not bound by this export" in note for note in report.notes) == len(boards)


def test_a_seal_is_not_told_anew(tmp_path: Path) -> None:
    """Neither a later record of it nor one that makes no sense takes the place of the first."""
    made = FakeStore()
    for campaign in CAMPAIGNS:
        made.campaigns.add(campaign)
    made.votes.append(records(20))
    publish(made)
    seal(made)
    first = made.sealed.until(["online"], 10**9)[0]
    for number, data in enumerate(
        ({"sealing": first.sealing, "boards": {first.category: "0" * 64}}, {"sealing": ["a"]})
    ):
        record = Record(f"s{number}", "sealed", "online", "2026-01-01T00:00:00.000Z", data=data)
        made.votes.append([(record, None)])
    publish(made)
    report, found = check(export(made, tmp_path / "votes.jsonl"), key=SIGNER.verifier_key)
    assert found == []
    assert not any("not bound" in note for note in report.notes)


def test_a_sealed_board_is_by_the_method_that_the_log_pins(
    store: FakeStore, tmp_path: Path
) -> None:
    entry = store.sealed.until(["online"], 10**9)[0]
    path = export(store, tmp_path / "votes.jsonl", until=entry.log_position)
    elo = next(
        board
        for board in store.snapshots.standing(["online"], 10**9)
        if (board.category, board.method) == ("overall", "elo")
    )
    names = ("method", "config", "config_hash", "rows", "voters")
    document = entry.document | {name: getattr(elo, name) for name in names}
    document |= {name: elo.details[name] for name in ("converged", "components")}
    fields = {name: getattr(entry, name) for name in entry.__slots__}
    sign(path, sealed=[sealed_again({**fields, "document": document})])
    found = check(path)[1]
    assert any("official, is True, while the log pins davidson" in line for line in found)


# --- texts and campaigns ------------------------------------------------------------------------


def test_texts_that_only_the_manifest_takes_away_are_told_apart(
    whole: Path, tmp_path: Path
) -> None:
    path = copied(whole, tmp_path)
    gone = dict.fromkeys(("salt", "comment", "conversation_a", "conversation_b"))
    rows = [json.loads(line) | gone for line in lines_of(path)]
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    campaigns = manifest(path)["campaigns"]
    sign(path, erased_later=[row["id"] for row in rows])
    assert "35 texts are not here: erased, as the manifest alone says" in check(path)[0].notes
    sign(path, campaigns=[{**one, "publish_text": False} for one in campaigns])
    report, found = check(path)
    assert found == []
    assert report.notes[1:] == [
        "campaign 'online' is not told as by the log's record of it: publish_text",
        "campaign 'second' is not told as by the log's record of it: publish_text",
        TEXTS[1],
        "36 texts are not here: withheld, as the manifest alone says",
    ]


def test_a_campaign_that_is_told_otherwise_than_by_the_log_is_noted(
    whole: Path, tmp_path: Path
) -> None:
    path = copied(whole, tmp_path)
    campaigns = manifest(path)["campaigns"]
    campaigns[0] |= {"consent": "We may sell everything.", "title": "X"}
    sign(path, campaigns=campaigns)
    report, found = check(path)
    told = "campaign 'online' is not told as by the log's record of it: consent, title"
    assert (found, told in report.notes) == ([], True)


# --- hostile input ------------------------------------------------------------------------------


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


HOSTILE_ROWS: dict[str, Callable[[bytes], bytes]] = {
    "long seq": lambda line: b'{"seq":' + b"9" * 5_000 + line[line.index(b",") :],
    "large seq": lambda line: b'{"seq":' + b"9" * 40 + line[line.index(b",") :],
    "deep": lambda line: line.replace(b'"data":null', b'"data":' + deep(450).encode()),
    "deeper": lambda line: line.replace(b'"data":null', b'"data":' + deep(100_000).encode()),
    "infinite": lambda line: line.replace(b'"ttft_b":null', b'"ttft_b":1e400'),
    "nan": lambda line: line.replace(b'"ttft_b":null', b'"ttft_b":NaN'),
    "minus zero": lambda line: line.replace(b'"ttft_b":null', b'"ttft_b":-0.0'),
    "surrogate": lambda line: line.replace(b'"finish_b":null', b'"finish_b":"\\ud800"'),
    "no utf-8": lambda line: line.replace(b'"finish_b":null', b'"finish_b":"\xff"'),
    "list": lambda _: b"[]\n",
}


@pytest.mark.parametrize("kind", HOSTILE_ROWS)
def test_a_hostile_row_is_a_failure_like_any_other(
    tampered: Callable[..., tuple[verify.Report, list[str]]], whole: Path, kind: str
) -> None:
    lines = lines_of(whole)
    for number in (2, len(lines)):
        hostile = HOSTILE_ROWS[kind](lines[2])
        assert hostile != lines[2]
        report, found = tampered([*lines[:number], hostile, *lines[number + 1 :]])
        assert report.status == 1
        if number == 2 and "seq" not in kind:
            assert named(found) - {"-"} == {"3"}


@pytest.mark.parametrize("spelt", [str.upper, lambda salt: f"{salt[:2]} {salt[2:]}"])
def test_a_salt_has_one_spelling(
    whole: Path,
    tampered: Callable[..., tuple[verify.Report, list[str]]],
    spelt: Callable[[str], str],
) -> None:
    lines = lines_of(whole)
    salts = [json.loads(line)["salt"] or "" for line in lines]
    number = next(number for number, salt in enumerate(salts) if salt.upper() != salt)
    salt = salts[number]
    lines[number] = lines[number].replace(salt.encode(), spelt(salt).encode())
    assert f"{number + 1}, content_digest, not of these texts" in tampered(lines)[1]


def test_minus_zero_is_refused_though_its_leaf_is_the_same(whole: Path) -> None:
    """Else one record could be written in two ways."""
    row = json.loads(lines_of(whole)[2]) | {"ttft_b": 0.0}
    zero = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    minus = zero.replace(b'"ttft_b":0.0', b'"ttft_b":-0.0')
    assert verify.leaf_of(verify.read_row(zero)) == verify.leaf_of(json.loads(minus))
    with pytest.raises(verify._Malformed):
        verify.read_row(minus)


HOSTILE_FLAG = b'{"seq":' + b"9" * 40 + b',"type":"flag",'


def test_a_flag_from_beyond_all_numbers_is_a_failure(
    whole: Path, tampered: Callable[..., tuple[verify.Report, list[str]]]
) -> None:
    lines = lines_of(whole)
    flag = next(line for line in lines if b'"reason":"identity_leak"' in line)
    hostile = HOSTILE_FLAG + flag.split(b'"type":"flag",', 1)[1]
    assert tampered([hostile, *lines])[0].status == 1


HOSTILE: list[Any] = [None, True, 7, 1.5, "x", [], [[]], {}, [1], {"x": 1}, 2**53 - 1]


def test_wrong_types_anywhere_in_the_manifest_are_failures(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything in the manifest becomes everything else once; nothing crashes, little holds."""
    monkeypatch.setattr(verify, "is_signed", cache(verify.is_signed))
    draw = random.Random(5)  # noqa: S311  reproducible
    path = copied(whole, tmp_path)
    told = manifest(path)
    del told["signature"]
    told["sealed"] = told["sealed"][:1]
    told["snapshots"] = [board_of(told["snapshots"])]
    for place in list(places_in(told, depth=4)):
        value = draw.choice(HOSTILE)
        lie = json.loads(json.dumps(told))
        holder = lie
        for step in place[:-1]:
            holder = holder[step]
        if holder[place[-1]] == value:
            continue
        holder[place[-1]] = value
        sign_raw(path, rfc8785.dumps(lie))
        assert isinstance(check(path)[0], verify.Report), place


def places_in(value: Any, depth: int) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2])
    for step, held in inner:
        yield (step,)
        if depth > 1 and isinstance(held, dict | list):
            yield from ((step, *more) for more in places_in(held, depth - 1))


@pytest.mark.parametrize(
    "member",
    ["1e400", "NaN", "-0.0", "9" * 5_000, str(2**60), deep(450), deep(100_000), '"\\ud800"'],
)
def test_a_hostile_member_of_the_manifest_is_a_failure(
    whole: Path, tmp_path: Path, member: str
) -> None:
    path = copied(whole, tmp_path)
    told = manifest(path)
    del told["signature"]
    sign_raw(path, rfc8785.dumps(told)[:-1] + b',"z":' + member.encode() + b"}")
    report, found = check(path)
    assert report.status == 1
    assert found[0].startswith("-, manifest, ")


def test_a_failure_is_one_line_whatever_it_names(whole: Path, tmp_path: Path) -> None:
    path = copied(whole, tmp_path)
    boards = manifest(path)["snapshots"][:1]
    boards[0]["rows"].append({"model": "x\nOK 41 votes\x1b[2J"})
    sign(path, snapshots=boards)
    (line,) = check(path)[1]
    assert line.endswith("x?OK 41 votes?[2J, has no votes here")


# --- what cannot be checked ---------------------------------------------------------------------


def test_without_file_or_manifest_there_is_nothing_to_check(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "votes.jsonl"
    shutil.copy(whole, path)
    for missing in (path, tmp_path / "none.jsonl"):
        with pytest.raises(verify.Unreadable, match="manifest"):
            verify.verify(missing)
    shutil.copy(whole.with_name(whole.name + SUFFIX), tmp_path)
    path.unlink()
    with pytest.raises(SystemExit) as ended:
        verify.main([str(path)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"verify: {path} cannot be read")


def test_the_command_prints_a_line_for_each_failure(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        verify.main([str(whole), "--key", SIGNER.verifier_key])
    assert ended.value.code == 0
    notes = "".join(f"verify: {note}\n" for note in TEXTS)
    assert capsys.readouterr() == (f"OK 41 votes, 1 erased, {boards_of(whole)} boards\n", notes)
    path = tmp_path / whole.name
    shutil.copy(whole.with_name(whole.name + SUFFIX), tmp_path)
    path.write_bytes(b"".join(lines_of(whole)[1:]))
    with pytest.raises(SystemExit) as ended:
        verify.main([str(path)])
    assert ended.value.code == 1
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "1, seq, missing"
    assert last.startswith("INVALID ")


def boards_of(path: Path) -> int:
    told = manifest(path)
    return len(told["snapshots"]) + len(told["sealed"])


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_every_other_value_of_every_byte_is_named_alone(
    whole: Path,
    tampered: Callable[..., tuple[verify.Report, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remember(whole, monkeypatch)
    lines = lines_of(whole)
    for number, line in enumerate(lines):
        for place in range(len(line) - 1):
            for byte in {*REPLACEMENTS, line[place] ^ 1, line[place] ^ 32} - {
                line[place],
                ord("\n"),
            }:
                changed = line[:place] + bytes([byte]) + line[place + 1 :]
                found = tampered([*lines[:number], changed, *lines[number + 1 :]])[1]
                assert named(found) - {"-"} == {str(number + 1)}, (number, place, byte)
