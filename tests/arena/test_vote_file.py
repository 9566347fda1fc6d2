from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from arena import columns
from arena.errors import BadFile
from arena.vote_file import VoteRow, read_votes

ROOT = Path(__file__).parents[2]
CROWD_VOTES = ROOT / "arena" / "demo" / "llmfao_crowd_votes.csv"
JUDGE_VOTES = ROOT / "tests" / "data" / "arena_hard_judge_votes.jsonl"
GOOD = {"model_a": "x", "model_b": "y", "winner": "model_a"}


@pytest.fixture
def csv_file(tmp_path):
    def write(content: str | bytes, name: str = "votes.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def jsonl_file(csv_file):
    def write(*rows: object) -> Path:
        lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
        return csv_file("".join(f"{line}\n" for line in lines), "votes.jsonl")

    return write


def refusal(path: Path) -> BadFile:
    with pytest.raises(BadFile) as caught:
        list(read_votes(path))
    return caught.value


def only(path: Path) -> VoteRow:
    (vote,) = read_votes(path)
    return vote


# --- what is read ---------------------------------------------------------------------------


def test_the_crowd_votes_are_read_as_winner_only_votes():
    votes = list(read_votes(CROWD_VOTES))
    assert len(votes) == 8931
    assert {vote.grade for vote in votes} == {None}
    assert votes[0] == VoteRow(
        row=1,
        model_a="Airoboros L2 70B",
        model_b="Weaver 12k",
        grade=None,
        winner="tie",
        both_bad=False,
        voter="worker-58",
        question="8",
    )


def test_published_judge_votes_are_read():
    votes = list(read_votes(JUDGE_VOTES))
    assert len(votes) == len(JUDGE_VOTES.read_bytes().splitlines())
    assert {vote.winner for vote in votes} <= {"model_a", "model_b", "tie"}


@pytest.mark.parametrize(
    ("text", "grade", "winner"),
    [
        ("2", 2, "model_a"),
        ("1", 1, "model_a"),
        ("0", 0, "tie"),
        ("-1", -1, "model_b"),
        ("-2", -2, "model_b"),
        ("-2.0", -2, "model_b"),
        ("a_much_better", 2, "model_a"),
        ("b_better", -1, "model_b"),
    ],
)
def test_a_grade_decides_the_winner(csv_file, text, grade, winner):
    vote = only(csv_file(f"model_a,model_b,grade\nx,y,{text}\n"))
    assert (vote.grade, vote.winner) == (grade, winner)


@pytest.mark.parametrize("grade", [2, "2", 2.0, "a_much_better"])
def test_json_gives_a_grade_as_number_or_name(jsonl_file, grade):
    assert only(jsonl_file({"model_a": "x", "model_b": "y", "grade": grade})).grade == 2


@pytest.mark.parametrize(
    ("winner", "collapsed", "both_bad"),
    [
        ("model_a", "model_a", False),
        ("tie", "tie", False),
        ("both_bad", "tie", True),
        ("tie (bothbad)", "tie", True),
    ],
)
def test_a_winner_never_becomes_a_grade(csv_file, winner, collapsed, both_bad):
    vote = only(csv_file(f"model_a,model_b,winner\nx,y,{winner}\n"))
    assert (vote.grade, vote.winner, vote.both_bad) == (None, collapsed, both_bad)


def test_a_tie_may_be_flagged_in_a_column_of_its_own(jsonl_file):
    assert only(jsonl_file({**GOOD, "winner": "tie", "both_bad": True})).both_bad
    assert only(jsonl_file({**GOOD, "grade": 0, "winner": "both_bad"})).both_bad


def test_every_optional_field_survives_both_formats(csv_file, jsonl_file):
    talk = [{"role": "user", "content": [{"type": "text", "text": '你好, "x"\n'}]}]
    row = {
        **GOOD,
        "grade": 1,
        "voter": "v1",
        "voter_kind": "judge",
        "timestamp": "2026-11-22T10:00:00+02:00",
        "language": "zh",
        "category_tag": "coding",
        "turns": 3,
        "propensity": 0.25,
        "reasons": ["clear", "short"],
        "comment": "line one\nline two",
        "conversation_a": talk,
        "conversation_b": talk,
        "excluded_reason": "flood",
        "somebody_elses_column": "ignored",
    }
    cells = [v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in row.values()]
    quoted = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
    from_csv = only(csv_file(f"{','.join(row)}\r\n{quoted}\r\n"))
    from_json = only(jsonl_file(row))
    assert from_csv == from_json
    expected = {name: row[name] for name in asdict(from_json) if name in row}
    expected |= {"timestamp": "2026-11-22T08:00:00.000Z", "reasons": ("clear", "short")}
    expected |= {"row": 1, "both_bad": False, "question": None}
    assert asdict(from_json) == expected


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("2024-05-01 12:00:00", "2024-05-01T12:00:00.000Z"),
        ("2024-05-01T12:00:00.5Z", "2024-05-01T12:00:00.500Z"),
        (1682351591.25, "2023-04-24T15:53:11.250Z"),
        ("1682351591.25", "2023-04-24T15:53:11.250Z"),
    ],
)
def test_times_are_normalised(jsonl_file, given, read):
    assert only(jsonl_file({**GOOD, "timestamp": given})).timestamp == read


@pytest.mark.parametrize(
    ("columns", "question"),
    [
        ({"question_id": "q1", "prompt": "Why?"}, "q1"),
        ({"question_id": None, "prompt": "Why?\0"}, "Why?\0"),
        ({"question_id": 7}, "7"),
        ({"question_id": 7.0}, "7"),
        ({"prompt": [{"role": "user", "content": "Why?"}]}, None),
        ({}, None),
    ],
)
def test_votes_on_the_same_question_can_be_told(jsonl_file, columns, question):
    assert only(jsonl_file({**GOOD, **columns})).question == question


def test_a_long_question_is_told_by_its_digest(jsonl_file):
    rows = [{**GOOD, "prompt": "x" * 5000 + end} for end in ("", "\ud800", "")]
    first, second, third = (vote.question for vote in read_votes(jsonl_file(*rows)))
    assert first == third != second and len(first or "") == len(second or "") == 64


@pytest.mark.parametrize("value", [2, 2.0, "2", "2.0"])
def test_turns_are_whole_in_any_notation(jsonl_file, value):
    assert only(jsonl_file({**GOOD, "turns": value})).turns == 2


@pytest.mark.parametrize(
    ("value", "read"), [(1, 1.0), (0.004, 0.004), ("1e-05", 1e-5), ("0.5", 0.5)]
)
def test_a_propensity_is_a_probability_in_any_notation(jsonl_file, value, read):
    assert only(jsonl_file({**GOOD, "propensity": value})).propensity == read


def test_records_that_are_no_votes_are_skipped_and_keep_their_row_number(jsonl_file, csv_file):
    rows = jsonl_file({"type": "exclusion", "target": "1"}, {**GOOD, "type": "vote"}, GOOD)
    assert [vote.row for vote in read_votes(rows)] == [2, 3]
    table = csv_file("type,model_a,model_b,winner\nvoid,,,\nvote,x,y,tie\n,x,y,tie\n")
    assert [vote.row for vote in read_votes(table)] == [2, 3]


def test_an_excluded_vote_is_given_with_its_reason(jsonl_file):
    assert only(jsonl_file({**GOOD, "excluded_reason": "flood"})).excluded_reason == "flood"


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(csv_file):
    path = csv_file("\ufeffmodel_a,model_b,winner\r\nx,y,tie\r\n\r\nx,z,tie".encode())
    assert [(vote.row, vote.model_b) for vote in read_votes(path)] == [(1, "y"), (3, "z")]
    path = csv_file(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n", "bom.jsonl")
    assert only(path).model_a == "x"


def test_numbers_as_voters_and_objects_as_category_tags_are_accepted(jsonl_file):
    vote = only(jsonl_file({**GOOD, "voter": 17, "category_tag": {"math_v0.1": {"math": True}}}))
    assert (vote.voter, vote.category_tag) == ("17", "math")


def test_a_long_conversation_fits_into_a_csv_cell(csv_file):
    talk = json.dumps([{"role": "user", "content": "x" * 200_000}]).replace('"', '""')
    vote = only(csv_file(f'model_a,model_b,winner,conversation_a\nx,y,tie,"{talk}"\n'))
    assert vote.conversation_a is not None
    assert len(vote.conversation_a[0]["content"]) == 200_000


def test_a_header_alone_is_a_file_without_votes(csv_file):
    assert list(read_votes(csv_file("model_a,model_b,winner\n"))) == []


def test_progress_adds_up_to_the_size_of_the_file():
    told: list[int] = []
    list(read_votes(CROWD_VOTES, told.append))
    assert len(told) > 1
    assert sum(told) == CROWD_VOTES.stat().st_size


def test_votes_are_read_as_a_stream(jsonl_file):
    votes = read_votes(jsonl_file(GOOD, "not JSON"))
    assert next(votes).row == 1
    with pytest.raises(BadFile):
        next(votes)


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["votes.csv", "votes.jsonl", "votes.parquet"])
def test_a_missing_file_is_named(tmp_path, name):
    error = refusal(tmp_path / name)
    assert name in str(error) and "No such file" in str(error)


def test_a_directory_is_refused(tmp_path):
    for name in ("votes.csv", "votes.parquet"):
        (tmp_path / name).mkdir()
        assert "Is a directory" in str(refusal(tmp_path / name))


def test_another_kind_of_file_is_refused(csv_file):
    assert "must end in .csv, .jsonl or .parquet" in str(refusal(csv_file("x", "votes.xlsx")))


@pytest.mark.parametrize("name", ["votes.csv", "votes.jsonl", "votes.parquet"])
def test_an_empty_file_is_refused(csv_file, name):
    assert "the file is empty" in str(refusal(csv_file("", name)))


@pytest.mark.parametrize(
    ("content", "row", "field", "words"),
    [
        ("x,y,tie\n", None, "model_a", "no such column"),
        ("\n\n", None, "model_a", "no such column"),
        ("model_a,winner\nx,tie\n", None, "model_b", "no such column"),
        ("model_a,model_b\nx,y\n", None, None, "needs a column 'grade' or 'winner'"),
        ("model_a,model_b,winner,winner\n", None, "winner", "twice"),
        ("model_a,model_b,winner\nx,y,tie\nx,y\n", 2, None, "2 cells, but the header has 3"),
        ("model_a,model_b,winner\nx,y,tie,z\n", 1, None, "4 cells"),
        ('model_a,model_b,winner\nx,y,"tie\n', 1, None, "not valid CSV"),
        ('model_a,model_b,winner\nx,y,"tie"s\n', 1, None, "not valid CSV"),
        ('"model_a,model_b', None, None, "the header is not valid CSV"),
        ("model_a,model_b,winner\nx,y,\n", 1, "winner", "neither a grade nor a winner"),
        ("model_a,model_b,winner\n,y,tie\n", 1, "model_a", "missing"),
        ("model_a,model_b,winner\nx,y,Model_A\n", 1, "winner", "'Model_A' is not one of"),
        ("model_a,model_b,grade\nx,y,3\n", 1, "grade", "'3' is not one of"),
        ("model_a,model_b,grade\nx,y,0.5\n", 1, "grade", "is not one of"),
    ],
)
def test_a_csv_file_that_cannot_be_understood_is_refused_by_row_and_field(
    csv_file, content, row, field, words
):
    error = refusal(csv_file(content))
    assert (error.row, error.field) == (row, field)
    assert words in str(error)
    assert error.file.endswith("votes.csv")


def test_a_csv_cell_without_end_is_refused(csv_file, monkeypatch):
    monkeypatch.setattr(columns, "MAX_CELL", 1000)
    error = refusal(csv_file(f"model_a,model_b,winner\nx,y,{'z' * 1001}\n"))
    assert error.row == 1 and "field larger than field limit" in str(error)


def test_a_line_without_end_is_refused(csv_file, monkeypatch):
    monkeypatch.setattr(columns, "MAX_LINE", 1000)
    assert "line 1 is longer than 1000 bytes" in str(refusal(csv_file("x" * 5000, "v.jsonl")))


@pytest.mark.parametrize(
    "content", ["model_a,model_b,winner\né,y,tie\n".encode("latin-1"), "x,y".encode("utf-16")]
)
def test_text_that_is_not_utf_8_is_refused(csv_file, content):
    assert "is not UTF-8 text" in str(refusal(csv_file(content)))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not valid JSON"),
        ("[1]", "not a JSON object"),
        ('"text"', "not a JSON object"),
        ("[" * 100_000, "not valid JSON"),
        ('{"x": ' + "9" * 5000 + "}", "not valid JSON"),
        ('{"model_a": "x\0"}', "not valid JSON"),
    ],
)
def test_a_line_that_is_no_json_object_is_refused_by_row(jsonl_file, line, words):
    error = refusal(jsonl_file(GOOD, line))
    assert error.row == 2 and words in str(error)


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"model_a": None}, "model_a", "missing"),
        ({"model_a": 4}, "model_a", "must be text, not 4"),
        ({"model_a": ""}, "model_a", "must not be empty"),
        ({"model_a": "  "}, "model_a", "must not be empty"),
        ({"model_b": "y "}, "model_b", "nor begin or end with a space"),
        ({"model_b": "x"}, "model_b", "'x' is compared with itself"),
        ({"model_a": "x\0"}, "model_a", r"'x\x00' has characters"),
        ({"model_a": "x\ty"}, "model_a", "cannot be shown"),
        ({"model_a": "x\ud800"}, "model_a", r"'x\ud800' has characters"),
        ({"model_a": "x\u202ey"}, "model_a", r"'x\u202ey' has characters"),
        ({"model_a": "x" * 201}, "model_a", "at most 200 characters"),
        ({"winner": None}, "winner", "neither a grade nor a winner"),
        ({"winner": 1}, "winner", "1 is not one of"),
        ({"winner": ["model_a"]}, "winner", "is not one of"),
        ({"grade": True}, "grade", "True is not one of"),
        ({"grade": -1}, "winner", "'model_a' contradicts the grade -1"),
        ({"grade": 0}, "winner", "contradicts"),
        ({"winner": "both_bad", "grade": 1}, "winner", "'both_bad' contradicts the grade 1"),
        ({"both_bad": True}, "both_bad", "contradicts the winner 'model_a'"),
        ({"winner": "both_bad", "both_bad": False}, "both_bad", "contradicts"),
        ({"both_bad": "maybe"}, "both_bad", "'maybe' is not one of"),
        ({"voter": ""}, "voter", "must not be empty"),
        ({"voter": "v\n"}, "voter", "must not be empty, nor begin or end"),
        ({"voter": 1.5}, "voter", "must be text"),
        ({"voter_kind": "robot"}, "voter_kind", "'robot' is not one of person, judge, import"),
        ({"timestamp": "yesterday"}, "timestamp", "is not an ISO 8601 time"),
        ({"timestamp": 1e300}, "timestamp", "is not an ISO 8601 time"),
        ({"timestamp": True}, "timestamp", "is not an ISO 8601 time"),
        ({"timestamp": []}, "timestamp", "is not an ISO 8601 time"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp", "is not an ISO 8601 time"),
        ({"language": 5}, "language", "must be text, not 5"),
        ({"turns": 0}, "turns", "0 is not a number of turns"),
        ({"turns": 1.5}, "turns", "not a number of turns"),
        ({"turns": True}, "turns", "not a number of turns"),
        ({"turns": "9" * 400}, "turns", "not a number of turns"),
        ({"turns": [1]}, "turns", "not a number of turns"),
        ({"propensity": 0}, "propensity", "0 is not a probability above 0"),
        ({"propensity": 1.01}, "propensity", "not a probability"),
        ({"propensity": "nan"}, "propensity", "not a probability"),
        ({"propensity": 10**400}, "propensity", "not a probability"),
        ({"propensity": True}, "propensity", "not a probability"),
        ({"question_id": 1.5}, "question_id", "must be text or a whole number, not 1.5"),
        ({"prompt": False}, "prompt", "must be text or a whole number"),
        ({"comment": "half \udc00"}, "comment", "half of a surrogate pair"),
        ({"comment": "\0"}, "comment", "NUL"),
        ({"reasons": "clear"}, "reasons", "is not valid JSON"),
        ({"reasons": [1]}, "reasons", "a list of texts"),
        ({"reasons": ["\0"]}, "reasons", "NUL"),
        ({"conversation_a": "hello"}, "conversation_a", "is not valid JSON"),
        ({"conversation_a": {}}, "conversation_a", "a list of messages"),
        ({"conversation_b": [{"content": "x"}]}, "conversation_b", "a list of messages"),
        ({"conversation_b": [{"role": "user", "x\0": 1}]}, "conversation_b", "NUL"),
        ({"conversation_b": [{"role": "user", "x": ["\ud800"]}]}, "conversation_b", "surrogate"),
        ({"conversation_b": [{"role": "user", "x": 1e999}]}, "conversation_b", "does not allow"),
        ({"conversation_b": [{"role": "user", "x": 2**53}]}, "conversation_b", "would round"),
    ],
)
def test_a_row_that_cannot_be_understood_is_refused_by_field(jsonl_file, change, field, words):
    error = refusal(jsonl_file(GOOD, {**GOOD, **change}))
    assert (error.row, error.field) == (2, field)
    assert words in str(error)
    str(error).encode()  # can be printed


def test_a_conversation_that_is_nested_without_end_is_refused(jsonl_file):
    deep: object = "x"
    for _ in range(200):
        deep = [deep]
    error = refusal(jsonl_file({**GOOD, "conversation_a": [{"role": "user", "content": deep}]}))
    assert error.field == "conversation_a" and "nested too deeply" in str(error)


def test_a_nul_in_a_csv_cell_is_refused(csv_file):
    error = refusal(csv_file("model_a,model_b,winner,comment\nx,y,tie,\0\n"))
    assert error.field == "comment"


def test_an_error_never_quotes_a_whole_book(jsonl_file):
    assert len(str(refusal(jsonl_file({**GOOD, "winner": "x" * 100_000})))) < 400
