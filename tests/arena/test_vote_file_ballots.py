"""Ballots: the same votes as `read_votes` gives, by columns and fast."""

from __future__ import annotations

import csv
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arena import columns, vote_file
from arena.errors import BadFile
from arena.vote_file import Ballots, read_ballots, read_votes

ROOT = Path(__file__).parents[2]
CROWD_VOTES = ROOT / "arena" / "demo" / "llmfao_crowd_votes.csv"
JUDGE_VOTES = ROOT / "tests" / "data" / "arena_hard_judge_votes.jsonl"
OPTIONAL = (
    *("voter", "voter_kind", "timestamp", "language", "category_tag"),
    *("turns", "propensity", "question"),
)
FIELDS = ("model_a", "model_b", "grade", "winner", "both_bad", *OPTIONAL)
GOOD = {"model_a": "x", "model_b": "y", "winner": "model_a"}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write the rows in the format that the name says."""
    names = list({name: None for row in rows for name in row})
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows, pa.Table.from_pylist(rows).schema), path)
        case _:
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, names)
                writer.writeheader()
                writer.writerows(rows)
    return path


def tuples(batches: list[Ballots]) -> list[tuple[Any, ...]]:
    return [
        vote
        for b in batches
        for vote in zip(
            b.model_a, b.model_b, b.grade, b.winner, b.both_bad, *b.columns.values(), strict=True
        )
    ]


def one_by_one(path: Path) -> list[tuple[Any, ...]]:
    votes = (vote for vote in read_votes(path) if vote.excluded_reason is None)
    return [tuple(getattr(vote, name) for name in FIELDS) for vote in votes]


def outcome(read: Any) -> Any:
    try:
        return read()
    except BadFile as error:
        return str(error)


@pytest.mark.parametrize("path", [CROWD_VOTES, JUDGE_VOTES], ids=lambda path: path.suffix)
def test_ballots_are_the_votes_of_a_real_file(path):
    assert tuples(list(read_ballots(path, columns=OPTIONAL))) == one_by_one(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_only_votes_that_count_are_given(tmp_path, suffix):
    rows = [
        {**GOOD, "type": "vote", "excluded_reason": None, "language": "en"},
        {**GOOD, "type": "exclusion", "model_a": None, "excluded_reason": None, "language": "de"},
        {**GOOD, "type": None, "excluded_reason": "flood", "language": "fr"},
        {**GOOD, "type": "vote", "model_b": "z", "excluded_reason": None, "language": None},
    ]
    path = write(tmp_path / f"votes{suffix}", rows)
    (ballots,) = read_ballots(path, columns=("language",))
    assert (ballots.model_b, ballots.columns) == (["y", "z"], {"language": ["en", None]})
    assert len(ballots) == 2


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_batches_are_large_and_lose_nothing(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(vote_file, "_MANY", 1000)
    monkeypatch.setattr(columns, "_PARQUET_ROWS", 300)
    rows = [{**GOOD, "voter": f"v{number}"} for number in range(2500)]
    batches = list(read_ballots(write(tmp_path / f"v{suffix}", rows), columns=("voter",)))
    assert [voter for b in batches for voter in b.columns["voter"]] == [r["voter"] for r in rows]
    assert all(1000 <= len(b) < 1400 for b in batches[:-1]) and len(batches) == 3


def test_a_file_without_votes_gives_no_batch(tmp_path):
    (tmp_path / "v.csv").write_text("model_a,model_b,winner\n\n\n")
    assert list(read_ballots(tmp_path / "v.csv")) == []


@pytest.mark.parametrize("bad", [0, 1, 255, 256, 299])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_bad_row_is_refused_in_the_same_words(tmp_path, suffix, bad):
    rows = [{**GOOD, "language": "en"} for _ in range(300)]
    rows[bad] = {**rows[bad], "winner": "draw"}
    path = write(tmp_path / f"votes{suffix}", rows)
    said = outcome(lambda: list(read_ballots(path)))
    assert said == outcome(lambda: list(read_votes(path)))
    assert f"row {bad + 1}, field 'winner': 'draw' is not one of" in said


def test_the_first_bad_row_is_named_though_a_later_line_cannot_be_read(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("model_a,model_b,winner\n\nx,y,tie\nx,x,tie\nx,y\n")
    with pytest.raises(BadFile, match="row 3, field 'model_b': 'x' is compared with itself"):
        list(read_ballots(path))
    path.write_text("model_a,model_b,winner\n\nx,y,tie\nx,z,tie\nx,y\n")
    with pytest.raises(BadFile, match="row 4: 2 cells, but the header has 3"):
        list(read_ballots(path))


@pytest.mark.parametrize("values", [[1, 1.0], [1, True], [True, 1], ["1", 1]])
def test_equal_cells_of_different_types_are_not_taken_for_each_other(tmp_path, values):
    rows = [{**GOOD, "grade": value} for value in values]
    path = write(tmp_path / "votes.jsonl", rows)
    said = outcome(lambda: [vote.grade for vote in read_votes(path)])
    assert outcome(lambda: [g for b in read_ballots(path) for g in b.grade]) == said
    assert (said == [1, 1]) == (True not in [v for v in values if type(v) is bool])


def test_a_type_that_changes_in_a_later_batch_is_checked_again(tmp_path, monkeypatch):
    monkeypatch.setattr("arena.columns._FEW_ROWS", 4)
    values = [1] * 4 + [True] * 4
    path = write(tmp_path / "votes.jsonl", [{**GOOD, "grade": value} for value in values])
    with pytest.raises(BadFile, match="row 5, field 'grade': True is not one of"):
        list(read_ballots(path))


def test_an_empty_reason_excludes_nothing(tmp_path):
    path = write(tmp_path / "votes.jsonl", [{**GOOD, "excluded_reason": ""}])
    assert sum(map(len, read_ballots(path))) == 1
    assert [vote.excluded_reason for vote in read_votes(path)] == [None]


def test_objects_as_category_tags_are_no_categories(tmp_path):
    rows = [{**GOOD, "category_tag": {"math": True}}, {**GOOD, "category_tag": "coding"}]
    (ballots,) = read_ballots(write(tmp_path / "v.jsonl", rows), columns=("category_tag",))
    assert ballots.columns == {"category_tag": [None, "coding"]}


def test_what_is_not_asked_for_is_not_checked(tmp_path):
    path = write(tmp_path / "v.csv", [{**GOOD, "propensity": "2", "conversation_a": "not JSON"}])
    assert sum(map(len, read_ballots(path))) == 1
    with pytest.raises(BadFile, match="field 'propensity'"):
        list(read_ballots(path, columns=("propensity",)))


def test_long_cells_are_not_remembered_and_change_nothing(tmp_path):
    rows = [{**GOOD, "prompt": "p" * 1000 + str(number % 3)} for number in range(9)]
    path = write(tmp_path / "v.csv", rows)
    (ballots,) = read_ballots(path, columns=("question",))
    assert ballots.columns["question"] == [vote.question for vote in read_votes(path)]
    assert len(set(ballots.columns["question"])) == 3


def test_more_voters_than_are_remembered_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(vote_file, "_REMEMBERED", 3)
    rows = [{**GOOD, "voter": f"v{number % 7}"} for number in range(50)]
    (ballots,) = read_ballots(write(tmp_path / "v.csv", rows), columns=("voter",))
    assert ballots.columns["voter"] == [row["voter"] for row in rows]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(vote_file, "_MANY", 1000)
    peaks = []
    for count in (4_000, 16_000):
        path = write(tmp_path / f"{count}{suffix}", [{**GOOD, "language": "en" * 20}] * count)
        tracemalloc.start()
        assert sum(map(len, read_ballots(path, columns=("language",)))) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 100_000


CELLS = {
    "model_a": st.sampled_from(["x", "y", "z", "z ", 4, None]),
    "model_b": st.sampled_from(["x", "y", "z", "", None]),
    "grade": st.sampled_from([2, 1, 0, -1, 1.0, True, "a_better", "3", None, None]),
    "winner": st.sampled_from(["model_a", "tie", "both_bad", "model_b", None, None]),
    "both_bad": st.sampled_from([None, None, True, False, 1, 0.0, "true"]),
    "type": st.sampled_from([None, "vote", "flag", 1]),
    "voter": st.sampled_from([None, "v", 1, 1.0, True]),
    "turns": st.sampled_from([None, 1, 1.0, True, "2"]),
    "question_id": st.sampled_from([None, 1, 1.0, "1", []]),
    "prompt": st.sampled_from([None, "p", {}]),
    "excluded_reason": st.sampled_from([None, None, "flood"]),
}


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.builds(lambda row: {**GOOD, **row}, st.fixed_dictionaries({}, optional=CELLS)),
        min_size=1,
        max_size=4,
    )
)
def test_ballots_and_votes_agree_on_anything(tmp_path, rows):
    """Value for value where both read a file, word for word where both refuse it."""
    path = write(tmp_path / "v.jsonl", rows)
    wanted = outcome(lambda: one_by_one(path))
    assert outcome(lambda: tuples(list(read_ballots(path, columns=OPTIONAL)))) == wanted
