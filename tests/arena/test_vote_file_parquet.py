"""Vote files in Parquet: published data sets, Arrow's types, damaged files."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arena import columns
from arena.errors import BadFile
from arena.vote_file import VoteRow, read_ballots, read_votes

Write = Callable[..., Path]


@pytest.fixture
def parquet(tmp_path: Path) -> Write:
    """Write columns of three votes, with others added or taken away, to a file."""

    def write(changes: dict[str, Any] | None = None, **options: Any) -> Path:
        table = {
            "model_a": pa.array(["x", "y", "z"]),
            "model_b": pa.array(["y", "z", "x"]),
            "winner": pa.array(["model_a", "tie", "both_bad"]),
            **(changes or {}),
        }
        path = tmp_path / "votes.parquet"
        pq.write_table(pa.table({n: c for n, c in table.items() if c is not None}), path, **options)
        return path

    return write


def refusal(path: Path, read: Callable[[Path], Iterable[Any]] = read_votes) -> BadFile:
    with pytest.raises(BadFile) as caught:
        list(read(path))
    return caught.value


def test_a_published_arena_data_set_is_read(tmp_path):
    message = pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.list_(pa.struct([("type", pa.string()), ("text", pa.string())]))),
        ]
    )
    tag = pa.struct(
        [
            ("math_v0.1", pa.struct([("math", pa.bool_())])),
            ("criteria_v0.1", pa.struct([("x", pa.int8())])),
        ]
    )
    schema = pa.schema(
        [
            *[(name, pa.string()) for name in ("id", "model_a", "model_b", "winner")],
            ("evaluation_order", pa.int16()),
            *[(f"conversation_{side}", pa.list_(message)) for side in "ab"],
            ("full_conversation", pa.list_(pa.struct([("user", message)]))),
            ("conv_metadata", pa.struct([("sum_user_tokens", pa.int64())])),
            ("category_tag", tag),
            ("language", pa.string()),
            ("is_code", pa.bool_()),
            ("timestamp", pa.timestamp("us")),
        ]
    )
    talk = [{"role": "user", "content": [{"type": "text", "text": "你好"}]}]
    row = {
        **{"id": "1", "model_a": "x", "model_b": "y", "winner": "both_bad", "evaluation_order": 1},
        **{
            "conversation_a": talk,
            "conversation_b": talk,
            "full_conversation": [{"user": talk[0]}],
        },
        **{"conv_metadata": {"sum_user_tokens": 3}, "language": "zh", "is_code": False},
        "category_tag": {"math_v0.1": {"math": True}, "criteria_v0.1": {"x": 1}},
        "timestamp": datetime(2025, 6, 1, 12, 0, 0, 250_999),  # noqa: DTZ001  as it is published
    }
    path = tmp_path / "train-00000-of-00007.parquet"
    pq.write_table(pa.Table.from_pylist([row, {**row, "winner": "tie"}], schema), path)
    first, second = read_votes(path)
    assert first == VoteRow(
        row=1,
        model_a="x",
        model_b="y",
        grade=None,
        winner="tie",
        both_bad=True,
        timestamp="2025-06-01T12:00:00.250Z",
        language="zh",
        category_tag="math",
        conversation_a=talk,
        conversation_b=talk,
    )
    assert (second.row, second.both_bad) == (2, False)
    (ballots,) = read_ballots(path, columns=("language", "category_tag"))
    assert ballots.both_bad == [True, False]
    assert ballots.columns == {"language": ["zh", "zh"], "category_tag": ["math", "math"]}


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(),
        pa.int16(),
        pa.int32(),
        pa.int64(),
        pa.uint8(),
        pa.float32(),
        pa.float64(),
        pa.string(),
    ],
    ids=str,
)
def test_grades_are_read_from_every_kind_of_number(parquet, kind):
    path = parquet({"grade": pa.array([2, 0, None], pa.int8()).cast(kind)})
    assert [vote.grade for vote in read_votes(path)] == [2, 0, None]


@pytest.mark.parametrize(
    "kind",
    [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())],
    ids=str,
)
def test_names_are_read_from_every_kind_of_text(parquet, kind):
    names = pa.array(["x", "y", "z"]).cast(kind)
    path = parquet({"model_a": names, "language": pa.array(["en", None, "en"]).cast(kind)})
    votes = list(read_votes(path))
    assert [vote.model_a for vote in votes] == ["x", "y", "z"]
    assert [vote.language for vote in votes] == ["en", None, "en"]


def test_empty_columns_and_flags_are_read(parquet):
    changes = {"grade": pa.nulls(3), "both_bad": [False, False, True], "voter": [1.0, None, 7.0]}
    votes = list(read_votes(parquet(changes)))
    assert [vote.both_bad for vote in votes] == [False, False, True]
    assert [vote.voter for vote in votes] == ["1", None, "7"]


MOMENT = datetime(2026, 11, 22, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")),
        pa.timestamp("us", "Asia/Shanghai"),
        pa.float64(),
        pa.int64(),
    ],
    ids=str,
)
def test_times_are_read_from_every_unit(parquet, kind):
    seconds = pa.array([MOMENT.timestamp(), None, 0.0])
    is_time = pa.types.is_timestamp(kind)
    times = seconds.cast(pa.int64()).cast(pa.timestamp("s")) if is_time else seconds
    votes = list(read_votes(parquet({"timestamp": times.cast(kind)})))
    expected = ["2026-11-22T08:00:00.000Z", None, "1970-01-01T00:00:00.000Z"]
    assert [vote.timestamp for vote in votes] == expected


def test_dates_are_times_and_the_far_future_is_refused(parquet):
    days = pa.array([20_000, None, 0], pa.date32())
    assert (
        next(iter(read_votes(parquet({"timestamp": days})))).timestamp == "2024-10-04T00:00:00.000Z"
    )
    error = refusal(parquet({"timestamp": pa.array([0, 2**62, 0], pa.timestamp("ms"))}))
    assert (error.row, error.field) == (2, "timestamp") and "not an ISO 8601 time" in str(error)


def test_rows_count_across_row_groups_and_batches(parquet, monkeypatch):
    monkeypatch.setattr(columns, "_PARQUET_ROWS", 2)
    path = parquet(row_group_size=2)
    assert [vote.row for vote in read_votes(path)] == [1, 2, 3]
    error = refusal(parquet({"winner": ["tie", "tie", "draw"]}, row_group_size=1))
    assert (error.row, error.field) == (3, "winner")


def test_progress_adds_up_to_the_size_of_the_file(parquet):
    path = parquet(row_group_size=1)
    for read in (read_votes, read_ballots):
        told: list[int] = []
        list(read(path, told.append))
        assert len(told) > 1 and sum(told) == path.stat().st_size


@pytest.mark.parametrize(
    ("changes", "where", "words"),
    [
        ({"model_a": None}, (None, "model_a"), "the file has no such column"),
        ({"winner": None}, (None, None), "needs a column 'grade' or 'winner'"),
        ({"model_a": ["x", None, "z"]}, (2, "model_a"), "the model's name is missing"),
        ({"model_a": [1, 2, 3]}, (1, "model_a"), "a name must be text, not 1"),
        ({"model_b": ["y", "z", "z"]}, (3, "model_b"), "'z' is compared with itself"),
        ({"model_b": pa.array([b"y", b"z", b"x"])}, (1, "model_b"), "must be text, not b'y'"),
        ({"winner": [None, None, None]}, (1, "winner"), "neither a grade nor a winner"),
        ({"grade": [1, 0, 0.5]}, (3, "grade"), "0.5 is not one of"),
        ({"grade": [2, 2, 0]}, (2, "winner"), "contradicts the grade"),
        ({"both_bad": [True, False, True]}, (1, "both_bad"), "contradicts the winner"),
    ],
)
@pytest.mark.parametrize("read", [read_votes, read_ballots])
def test_a_row_that_cannot_be_understood_is_refused_by_field(parquet, changes, where, words, read):
    error = refusal(parquet(changes), read)
    assert (error.row, error.field) == where
    assert words in str(error) and error.file.endswith("votes.parquet")


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    texts = [pa.array(["x"]), pa.array(["y"]), pa.array(["tie"]), pa.array(["tie"])]
    table = pa.Table.from_arrays(texts, names=["model_a", "model_b", "winner", "winner"])
    pq.write_table(table, tmp_path / "v.parquet")
    error = refusal(tmp_path / "v.parquet")
    assert error.field == "winner" and "twice" in str(error)


def test_text_that_is_not_utf_8_is_refused_by_row(parquet):
    broken = pa.Array.from_buffers(
        pa.string(), 3, pa.array([b"y", b"\xff", b"x"]).buffers(), null_count=0
    )
    error = refusal(parquet({"model_b": broken}))
    assert (error.row, error.field) == (2, "model_b") and "is not UTF-8 text" in str(error)


def test_a_conversation_keeps_to_what_json_can_say(parquet):
    talk = [[{"role": "user", "content": b"\x00"}], None, None]
    error = refusal(parquet({"conversation_a": talk}))
    assert (error.row, error.field) == (1, "conversation_a") and "JSON cannot say" in str(error)


def test_ballots_never_read_a_conversation(parquet):
    path = parquet({"conversation_a": ["not JSON", None, None]})
    assert "conversation_a" in str(refusal(path))
    assert sum(map(len, read_ballots(path))) == 3


@pytest.mark.parametrize("content", [b"PAR1", b"model_a,model_b,winner\nx,y,tie\n", b"PAR1" * 20])
def test_what_is_no_parquet_file_is_refused(tmp_path, content):
    path = tmp_path / "votes.parquet"
    path.write_bytes(content)
    assert "not a valid Parquet file" in str(refusal(path))


def test_a_damaged_file_is_read_or_refused_but_never_breaks(parquet):
    path = parquet({"timestamp": pa.array([1, 2, None], pa.timestamp("us"))}, row_group_size=2)
    good, chance = path.read_bytes(), random.Random(1)  # noqa: S311  a reproducible test
    refused = 0
    for _ in range(300):
        damaged = bytearray(good)
        damaged[chance.randrange(len(good))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged[: chance.choice([len(good), chance.randrange(len(good))])])
        try:
            list(read_votes(path))
        except BadFile as error:
            refused += 1
            assert len(str(error)) < 600
    assert refused > 200


def test_reading_other_formats_does_not_load_arrow(tmp_path):
    (tmp_path / "v.csv").write_text("model_a,model_b,winner\nx,y,tie\n")
    script = (
        "import sys, pathlib; from arena.vote_file import read_votes; "
        f"assert len(list(read_votes(pathlib.Path({str(tmp_path / 'v.csv')!r})))) == 1; "
        "assert not {'pyarrow', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])
