"""The `arena` command: its promises about output, exit statuses and bad input."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, text

from arena import __version__
from arena.boards import METHODS
from arena.cli import main
from arena.interfaces import Act, Head
from arena.settings import Settings
from arena.store import SqlStore, open_store
from tests.arena.http_world import World
from tests.services import ROOT, wait_until

HEADER = "model_a,model_b,grade\n"
VOTES = HEADER + "x,y,2\ny,z,1\nz,x,0\nx,z,-1\ny,x,-2\n"
TABLES = ("records", "import_rows", "contents", "campaigns", "imports", "battles")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of this test, which the command finds in its environment."""
    for name in list(os.environ):
        if name.startswith("ARENA_") or name in {"DATABASE_URL", "REDIS_URL", "PORT"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("ARENA_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ARENA_CONFIG", str(tmp_path / "arena.toml"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def house(data: Path) -> Path:
    """The same, with an empty database."""
    assert run("db", "upgrade").exit_code == 0
    return data


@pytest.fixture
def living(world: World, data: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The command looks at a running arena that has votes and a board."""
    monkeypatch.setenv("ARENA_DATA", str(world.settings.data))
    if not world.store.votes.position():
        for grade in (2, 0, -1):
            world.voter().voted(grade=grade)
    position = world.wait_sealed()

    def published() -> bool:
        board = world.store.snapshots.latest("online", "overall")
        return board is not None and board.log_position == position

    wait_until(published, what="the board")
    return world


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def refused(result: Result, *said: str | Path) -> None:
    """Assert exit status 2, one line on stderr that says all of this, and nothing on stdout."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("arena: ")
    for word in said:
        assert str(word) in lines[0]


def counts(house: Path) -> dict[str, int]:
    engine = create_engine(f"sqlite:///{house}/data/arena.db")
    try:
        with engine.connect() as connection:
            return {
                table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608  our own names
                for table in TABLES
            }
    finally:
        engine.dispose()


# --- help and usage -----------------------------------------------------------------------------

COMMANDS = {
    "up": ("--port", "--demo", "--no-demo"),
    "web": (),
    "runner": (),
    "worker": (),
    "models check": (),
    "rate": ("FILE", "--method", "--interval", "--anchor", "--format"),
    "board": ("--campaign", "--category"),
    "export": ("FILE",),
    "import": ("FILE",),
    "verify": ("FILE",),
    "db upgrade": (),
    "backup": ("FILE",),
    "restore": ("FILE",),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_contract_explains_itself(command: str) -> None:
    for flag in ("--help", "-h"):
        result = run(*command.split(), flag)
        assert result.exit_code == 0
        assert result.stderr == ""
        assert all(word in result.stdout for word in COMMANDS[command])
        said = result.stdout.split("\n\n")[1].strip()
        assert said.split("\n")[0][0].isupper(), "a sentence"


def test_the_command_lists_its_commands_and_version() -> None:
    listed = run("--help").stdout
    assert all(f"\n  {command.split()[0]} " in listed for command in COMMANDS)
    assert __version__ in run("--version").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nope"], "'nope'"),
        (["--nope"], "--nope"),
        (["rate"], "FILE"),
        (["rate", "a.csv", "b.csv"], "b.csv"),
        (["rate", "a.csv", "--method", "nope"], "graded"),
        (["rate", "a.csv", "--format", "xml"], "json"),
        (["rate", "a.csv", "--interval", "x"], "sandwich"),
        (["rate", "a.csv", "--anchor", "x"], "NAME=1000"),
        (["rate", "a.csv", "--anchor", "x=y"], "NAME=1000"),
        (["rate", "a.csv", "--nope"], "--nope"),
        (["import", "a.csv"], "--campaign"),
        (["export"], "FILE"),
        (["export", "a.jsonl", "--outcomes", "x"], "all"),
        (["up", "--port", "0"], "--port"),
        (["up", "--port", "99999"], "--port"),
        (["models", "nope"], "'nope'"),
        (["db", "downgrade"], "'downgrade'"),
    ],
)
def test_wrong_usage_is_one_line(data: Path, words: list[str], said: str) -> None:
    refused(run(*words), said)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "x"),
        ("ARENA_TICK_MS", "0"),
        ("DATABASE_URL", "mysql://x"),
        ("REDIS_URL", "x"),
        ("ARENA_SECRET_KEY", "short"),
        ("ARENA_SIGNING_KEY", "z" * 64),
        ("ARENA_ADMIN_TOKEN", "short"),
    ],
)
@pytest.mark.parametrize("command", ["db upgrade", "board", "up", "web", "runner", "worker"])
def test_a_setting_that_cannot_be_used_is_named_in_one_line(
    data: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    refused(run(*command.split()), name)


@pytest.mark.parametrize(
    ("command", "lacks"),
    [
        ("web", "REDIS_URL, ARENA_SECRET_KEY, ARENA_SIGNING_KEY"),
        ("runner", "REDIS_URL"),
        ("worker", "REDIS_URL, ARENA_SIGNING_KEY"),
    ],
)
def test_one_of_many_machines_makes_nothing_up_that_all_must_have_alike(
    data: Path, monkeypatch: pytest.MonkeyPatch, command: str, lacks: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://arena:hunter2@127.0.0.1:1/arena")
    refused(run(command), f"Set {lacks}, alike on every machine", "openssl rand -hex 32")
    assert not (data / "data").exists()


@pytest.mark.parametrize("command", ["db upgrade", "web", "runner", "worker"])
def test_a_postgresql_that_is_away_is_one_line_that_says_why(
    data: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://arena:hunter2@127.0.0.1:1/arena")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("ARENA_SECRET_KEY", "k" * 32)
    monkeypatch.setenv("ARENA_SIGNING_KEY", "0" * 64)
    result = run(*command.split())
    refused(result, "DATABASE_URL: PostgreSQL cannot be used", "Connection refused")
    assert "hunter2" not in result.stderr


@pytest.mark.parametrize(
    "command", ["board", "export a.csv", "import v.csv --campaign c", "web", "runner", "worker"]
)
def test_a_missing_database_is_one_line_that_says_what_to_do(data: Path, command: str) -> None:
    (data / "v.csv").write_text(VOTES)
    refused(run(*command.split()), "arena db upgrade")


# --- rate ---------------------------------------------------------------------------------------

BAD_FILES = {
    "no header": ("v.csv", "x,y,2\n", ("v.csv", "model_a")),
    "empty": ("v.csv", "", ("v.csv", "empty")),
    "no result": ("v.csv", "model_a,model_b\nx,y\n", ("v.csv", "grade", "winner")),
    "grade off the scale": ("v.csv", HEADER + "x,y,1\nx,y,3\n", ("v.csv", "row 2", "'grade'")),
    "grade is no number": ("v.csv", HEADER + "x,y,much\n", ("v.csv", "row 1", "'grade'")),
    "no model": ("v.csv", HEADER + ",y,1\n", ("v.csv", "row 1", "'model_a'")),
    "against itself": ("v.csv", HEADER + "x,x,1\n", ("v.csv", "row 1", "'model_b'")),
    "too many cells": ("v.csv", HEADER + "x,y,1,1\n", ("v.csv", "row 1", "cells")),
    "unknown winner": (
        "v.csv",
        "model_a,model_b,winner\nx,y,left\n",
        ("v.csv", "row 1", "'winner'"),
    ),
    "not JSON": ("v.jsonl", "{]\n", ("v.jsonl", "row 1", "JSON")),
    "not an object": ("v.jsonl", "[]\n", ("v.jsonl", "row 1", "object")),
    "surrogate": (
        "v.jsonl",
        '{"model_a": "\\ud800", "model_b": "y", "grade": 1}\n',
        ("v.jsonl", "row 1", "'model_a'"),
    ),
    "parquet": ("v.parquet", "PAR1", ("v.parquet", "not a valid Parquet file")),
    "unknown kind": ("v.txt", VOTES, ("v.txt", ".csv", ".jsonl")),
}


@pytest.mark.parametrize("command", [["rate"], ["rate", "--format", "json"]])
@pytest.mark.parametrize(("name", "content", "said"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_vote_file_is_one_line_with_file_row_and_field(
    data: Path, command: list[str], name: str, content: str, said: tuple[str, ...]
) -> None:
    (data / name).write_text(content)
    refused(run(*command, name), *said)


def test_a_file_that_is_not_there_or_no_file_is_one_line(data: Path) -> None:
    (data / "folder.csv").mkdir()
    refused(run("rate", "nope.csv"), "nope.csv")
    refused(run("rate", "folder.csv"), "folder.csv")
    (data / "bytes.csv").write_bytes(HEADER.encode() + b"x,\xff,1\n")
    refused(run("rate", "bytes.csv"), "bytes.csv", "line 2", "UTF-8")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_rates_a_file(data: Path, method: str) -> None:
    (data / "v.csv").write_text(VOTES)
    board = json.loads(run("rate", "v.csv", "--method", method, "--format", "json").stdout)
    assert board["method"] == ("bt" if method == "auto" else method)
    assert (board["evidence"] is None) == (method != "auto")


def test_options_that_do_not_go_together_are_one_line(data: Path) -> None:
    (data / "v.csv").write_text(VOTES)
    refused(run("rate", "v.csv", "--method", "bt", "--variant", "pooled"), "no variants")
    refused(run("rate", "v.csv", "--interval", "bootstrap", "--clustered"), "neither voters")
    refused(run("rate", "v.csv", "--clustered"), "says who cast it")
    refused(run("rate", "v.csv", "--by", "language"), "No vote has a language")
    refused(run("rate", "v.csv", "--method", "elo", "--ranks", "simultaneous"), "no intervals")
    refused(run("rate", "v.csv", "--weights", "inverse_propensity"), "no propensity")


def test_rate_draws_a_board(data: Path) -> None:
    (data / "v.csv").write_text(VOTES)
    assert run("rate", "v.csv", "--plot", "board.svg").exit_code == 0
    assert (data / "board.svg").read_text().startswith("<svg")
    refused(run("rate", "v.csv", "--plot", "missing/board.svg"), "missing/board.svg")


def test_rate_by_language_makes_a_board_and_a_picture_of_each(data: Path) -> None:
    (data / "v.csv").write_text(
        "model_a,model_b,winner,language\nx,y,model_a,en\ny,x,model_a,en\nx,y,tie,zh\n"
    )
    table = run("rate", "v.csv", "--by", "language", "--plot", "b.svg").stdout
    assert [line for line in table.splitlines() if line in ("en", "zh")] == ["en", "zh"]
    assert {path.name for path in data.glob("*.svg")} == {"b-en.svg", "b-zh.svg"}
    shown = json.loads(run("rate", "v.csv", "--by", "language", "--format", "json").stdout)
    assert [board["category"] for board in shown["boards"]] == ["en", "zh"]
    lines = run("rate", "v.csv", "--by", "language", "--format", "csv").stdout.splitlines()
    assert lines[0].startswith("category,model") and len(lines) == 5


def test_a_category_that_cannot_name_a_file_has_a_number_instead(data: Path) -> None:
    (data / "v.csv").write_text(
        "model_a,model_b,winner,category_tag\nx,y,model_a,a/b\ny,x,model_a,../c\nx,y,tie,d\n"
    )
    assert run("rate", "v.csv", "--by", "category", "--plot", "b.svg").exit_code == 0
    assert {path.name for path in data.rglob("*.svg")} == {"b-1.svg", "b-2.svg", "b-d.svg"}
    refused(run("rate", "v.csv", "--plot", "."), "name such as board.svg")


def test_agreement_is_told_of_voters_and_of_judges(data: Path) -> None:
    (data / "v.csv").write_text(
        "question_id,model_a,model_b,winner,voter\n"
        + "".join(f"{i},x,y,{w},v{v}\n" for i in range(5) for v in (1, 2) for w in ["model_a"])
    )
    (data / "j.csv").write_text(
        "question_id,model_a,model_b,winner,voter\n"
        + "".join(f"{i},x,y,model_b,judge\n" for i in range(5))
    )
    report = json.loads(run("agreement", "v.csv", "--with", "j.csv", "--format", "json").stdout)
    assert report["people"] and report["judges"]
    assert run("agreement", "v.csv").stdout
    refused(run("agreement", "missing.csv"), "missing.csv")


def test_a_method_is_pinned_by_a_record(living: World, data: Path) -> None:
    result = run("method", "davidson", "--reason", "As last year.")
    assert result.exit_code == 0, result.stderr
    wait_until(lambda: living.store.votes.events(["online"], ["method"]), what="the record")
    (event,) = living.store.votes.events(["online"], ["method"])
    assert event.record.reason == "As last year."
    wait_until(
        lambda: (
            (board := living.store.snapshots.latest("online", "overall"))
            and board.method == "davidson"
        ),
        what="the board",
    )
    refused(run("method", "davidson"), "--reason")
    refused(run("method", "magic", "--reason", "x"), "magic")
    refused(run("method", "bt", "--variant", "pooled", "--reason", "x"), "no variants")
    refused(run("method", "bt", "--campaign", "nope", "--reason", "x"), "nope")
    refused(run("method", "auto", "--variant", "pooled", "--reason", "x"), "--variant")


def talks(file: Path, count: int) -> Path:
    """A vote file of two models that anybody tells apart, on as many prompts."""
    rows = [
        {"model_a": "x", "model_b": "y", "winner": "tie", "voter": f"v{number % 9}"}
        | {
            f"conversation_{side}": [
                {"role": "user", "content": f"What of {number}?"},
                {"role": "assistant", "content": answer},
            ]
            for side, answer in (("a", "Certainly, my friend!"), ("b", "Yes it is."))
        }
        for number in range(count)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


@contextmanager
def sealed(house: Path) -> Iterator[SqlStore]:
    """The store of a house where no worker runs, all that it holds sealed."""
    settings = Settings.from_environment({"ARENA_DATA": str(house / "data")})
    with closing(open_store(settings.database_url)) as store:
        lease = store.leases.take("worker", "test", store.leases.look("worker"))
        assert lease is not None
        store.votes.seal(lease, 1_000)
        yield store


def test_blindness_is_audited_and_published(house: Path) -> None:
    result = run("import", talks(house / "talks.jsonl", 60), "--campaign", "talks")
    assert result.exit_code == 0, result.stderr
    with sealed(house) as store:
        position = store.votes.position()
    audited = run("audit", "blindness", "--campaign", "talks", "--format", "json")
    assert (audited.exit_code, audited.stderr) == (0, "")
    found = json.loads(audited.stdout)
    assert {model["model"] for model in found["models"]} == {"x", "y"}
    assert found["told_pair"]["lower"] > 0.9
    with sealed(house) as store:
        assert not store.votes.events(["talks"], ["blindness"])

    published = run("audit", "blindness", "--campaign", "talks", "--publish")
    assert "certainly" in published.stdout
    with sealed(house) as store:
        (event,) = store.votes.events(["talks"], ["blindness"])
    data = event.record.data
    assert data is not None
    assert data["log_position"] == position
    assert data["told_pair"] == found["told_pair"]
    assert "certainly" not in json.dumps(data)


def test_blindness_that_cannot_be_told_is_one_line(house: Path) -> None:
    run("import", talks(house / "talks.jsonl", 30), "--campaign", "talks")
    with sealed(house) as store:
        refused(run("audit", "blindness", "--campaign", "talks"), "50 answers")
        refused(run("audit", "blindness", "--campaign", "nope"), "nope")
        refused(run("audit", "blindness", "--seed", "-1"), "--seed")
        silent = Act("2026-01-01T00:00:00.000Z", "campaign.change", "talks")
        assert store.campaigns.change("talks", {"publish_text": False}, silent)
        refused(run("audit", "blindness", "--campaign", "talks", "--publish"), "consent")


@pytest.mark.parametrize("anchor", ["nobody=1000", "=1000", "x=nan", "x=inf"])
def test_an_anchor_that_cannot_hold_is_one_line(data: Path, anchor: str) -> None:
    (data / "v.csv").write_text(VOTES)
    refused(run("rate", "v.csv", "--anchor", anchor), "anchor")


def test_rate_as_json_prints_the_object_of_the_board_and_nothing_else(
    living: World, data: Path
) -> None:
    (data / "v.csv").write_text(HEADER + "x,y,2\nx,y,1\n")
    result = run("rate", "v.csv", "--format", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    board = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    published = living.voter().get("/api/board").json
    assert set(board) == set(published) | {"file", "converged", "components"}
    assert set(board["rows"][0]) == set(published["rows"][0])
    assert board["log_position"] is board["published_at"] is None
    assert board["file"] == "v.csv"
    assert board["converged"] is True
    assert board["components"] == 1
    first, second = board["rows"]
    assert (first["model"], first["rating_upper"]) == ("x", None)
    assert (second["model"], second["rating_lower"]) == ("y", None)


def test_rate_gives_the_same_numbers_in_every_format(data: Path) -> None:
    (data / "v.csv").write_text(VOTES)
    rows = json.loads(run("rate", "v.csv", "--format", "json").stdout)["rows"]
    result = run("rate", "v.csv", "--format", "csv")
    assert result.stderr == ""
    table = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["model"] for row in table] == [row["model"] for row in rows]
    assert [float(row["rating"]) for row in table] == [row["rating"] for row in rows]
    shown = run("rate", "v.csv").stdout.splitlines()
    assert shown[0].split()[:3] == ["rank", "model", "rating"]
    for line, row in zip(shown[1 : len(rows) + 1], rows, strict=True):
        assert row["model"] in line
        assert f"{row['rating']:.1f}" in line


def test_an_anchor_fixes_a_rating(data: Path) -> None:
    (data / "v.csv").write_text(VOTES)
    result = run("rate", "v.csv", "--anchor", "y=1500", "--format", "json")
    ratings = {row["model"]: row["rating"] for row in json.loads(result.stdout)["rows"]}
    assert ratings["y"] == pytest.approx(1500)


def test_rate_needs_no_database_and_leaves_nothing_behind(data: Path) -> None:
    (data / "v.csv").write_text(VOTES)
    assert run("rate", "v.csv").exit_code == 0
    assert [path.name for path in data.iterdir()] == ["v.csv"]


# --- import -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "content", "said"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_import_writes_nothing(
    house: Path, name: str, content: str, said: tuple[str, ...]
) -> None:
    (house / name).write_text(content)
    before = counts(house)
    refused(run("import", name, "--campaign", "fresh"), *said)
    assert counts(house) == before


def test_an_import_that_breaks_late_writes_nothing(house: Path) -> None:
    (house / "long.csv").write_text(HEADER + "x,y,1\n" * 5_000 + "x,y,7\n")
    before = counts(house)
    refused(run("import", "long.csv", "--campaign", "fresh"), "long.csv", "row 5001", "'grade'")
    assert counts(house) == before


def test_an_import_adds_all_votes_once(house: Path) -> None:
    (house / "v.csv").write_text(VOTES)
    result = run("import", "v.csv", "--campaign", "fresh", "--title", "Fresh ones")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "v.csv: imported 5 votes into 'fresh'\n"
    after = counts(house)
    assert after["import_rows"] == 5  # until the worker seals them
    refused(run("import", "v.csv", "--campaign", "fresh"), "v.csv", "before")
    assert counts(house) == after


# --- export -------------------------------------------------------------------------------------


def test_an_export_is_what_the_http_call_gives(living: World, data: Path) -> None:
    for form in ("jsonl", "csv"):
        result = run("export", f"out.{form}")
        assert (result.exit_code, result.stderr) == (0, "")
        position = living.store.votes.position()
        assert result.stdout.startswith(f"out.{form}: the log up to position {position}\n")
        assert ("has no manifest" in result.stdout) is (form == "csv")
        answer = living.voter().get(f"/api/votes?format={form}", buffered=True)
        assert (data / f"out.{form}").read_bytes() == answer.get_data()
    written = ["out.csv", "out.jsonl", "out.jsonl.manifest.json"]
    assert sorted(path.name for path in data.iterdir()) == written


def test_an_export_is_of_a_signed_head_or_says_that_there_is_none(house: Path) -> None:
    (house / "v.csv").write_text(VOTES)
    run("import", "v.csv", "--campaign", "fresh")
    with sealed(house) as store:
        result = run("export", "out.jsonl", "--campaign", "fresh")
        position = store.votes.position()
        assert f"up to position {position}\n" in result.stdout
        assert "no head of the log has been signed yet" in result.stdout
        assert not (house / "out.jsonl.manifest.json").exists()
        lease = store.leases.take("worker", "w", store.leases.look("worker"))
        assert lease is not None
        store.trees.add_head(lease, Head(2, "ab" * 32, "t", "of another log"))
        refused(run("export", "other.jsonl", "--campaign", "fresh"), "log's first 2 records")
        refused(
            run("export", "other.jsonl", "--campaign", "fresh", "--until", "3"),
            "No signed head of 3 records",
            "the nearest is of 2",
        )
        assert not (house / "other.jsonl").exists()
        result = run("export", "out.csv", "--campaign", "fresh", "--until", "3")
        assert "up to position 3\n" in result.stdout


def test_a_restore_says_which_key_signs_from_now_on(house: Path) -> None:
    assert run("backup", "saved.tar").exit_code == 0
    for number, (options, said) in enumerate(
        [
            (["--new-key"], "signed with a new key"),
            (["--same-key"], "The same key"),
            ([], "same key"),
        ]
    ):
        (house / "data").rename(house / f"before-{number}")
        result = run("restore", "saved.tar", *options)
        assert (result.exit_code, result.stderr) == (0, "")
        assert said in result.stdout


def test_an_export_can_be_rated_to_the_numbers_of_the_board(living: World, data: Path) -> None:
    run("export", "out.jsonl")
    board = living.voter().get("/api/board").json
    rated = run("rate", "out.jsonl", "--method", board["method"], "--format", "json").stdout
    rows = json.loads(rated)["rows"]
    expected = {row["model"]: row["rating"] for row in board["rows"] if row["rating"] is not None}
    assert {row["model"]: row["rating"] for row in rows} == pytest.approx(expected, abs=1e-6)


def test_nobody_elses_votes_are_imported_among_this_arenas_own(living: World, data: Path) -> None:
    (data / "mine.csv").write_text("model_a,model_b,winner\nx,y,model_a\n")
    refused(run("import", "mine.csv", "--campaign", "online"), "mine.csv", "own battles")


@pytest.mark.parametrize("campaign", ["Bad ID", "../x", "", "-x", "a" * 65])
def test_a_campaigns_id_must_fit_an_address(living: World, data: Path, campaign: str) -> None:
    (data / "mine.csv").write_text("model_a,model_b,winner\nx,y,model_a\n")
    refused(run("import", "mine.csv", f"--campaign={campaign}"), "--campaign", "small letters")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("out.txt", ".jsonl"),
        ("out", ".jsonl"),
        ("out.arrow", ".jsonl"),
        ("nowhere/out.jsonl", "cannot be written"),
        ("/proc/out.jsonl", "cannot be written"),
        ("folder.jsonl", "cannot be written"),
        ("a-file/out.jsonl", "cannot be written"),
        ("x" * 300 + ".jsonl", "cannot be written"),
    ],
)
def test_an_export_that_cannot_be_written_leaves_nothing(
    living: World, data: Path, file: str, said: str
) -> None:
    (data / "folder.jsonl").mkdir()
    (data / "a-file").write_text("kept")
    refused(run("export", file), file, said)
    assert sorted(path.name for path in data.iterdir()) == ["a-file", "folder.jsonl"]
    assert (data / "a-file").read_text() == "kept"
    assert not list((data / "folder.jsonl").iterdir())


def test_an_export_to_a_full_disk_keeps_the_older_file(living: World, data: Path) -> None:
    older = data / "out.jsonl"
    older.write_text("an older export")

    def fill_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))

    result = subprocess.run(
        [sys.executable, "-m", "arena.cli", "export", "out.jsonl"],
        cwd=data,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=fill_the_disk,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2, result.stderr
    assert (result.stdout, len(result.stderr.splitlines())) == ("", 1)
    assert "out.jsonl: cannot be written: File too large" in result.stderr
    assert older.read_text() == "an older export"
    assert [path.name for path in data.iterdir()] == ["out.jsonl"]


def test_a_campaign_that_is_not_public_cannot_be_named(living: World, data: Path) -> None:
    for command in (["export", "out.jsonl"], ["board"]):
        refused(run(*command, "--campaign", "nope"), "nope")
    assert not list(data.iterdir())


# --- board, database, verify --------------------------------------------------------------------


def test_board_prints_the_published_board(living: World) -> None:
    result = run("board")
    assert (result.exit_code, result.stderr) == (0, "")
    for row in living.voter().get("/api/board").json["rows"]:
        assert row["name"] in result.stdout
    refused(run("board", "--category", "nope"), "nope")


def test_a_board_that_is_not_published_is_one_line(house: Path) -> None:
    refused(run("board"), "online", "published")


def test_upgrading_twice_changes_nothing(house: Path) -> None:
    before = counts(house)
    result = run("db", "upgrade")
    assert (result.exit_code, result.stdout) == (0, "The database is up to date.\n")
    assert counts(house) == before


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("models = 1", "arena.toml"),
        ("[[models", "arena.toml"),
        ("[[models]]\nid = 'x'", "'base_url'"),
        ("[[models]]\nid = 'x'\nbase_url = 'ftp://x'\nmodel = 'x'", "'base_url'"),
        ("[[models]]\nid = 'x'\nkey = 'sk-secret'", "'key'"),
    ],
)
def test_a_roster_that_cannot_be_read_is_one_line(house: Path, toml: str, said: str) -> None:
    (house / "arena.toml").write_text(toml)
    for command in ("db upgrade", "models check"):
        result = run(*command.split())
        refused(result, "arena.toml", said)
        assert "sk-secret" not in result.stderr


def test_a_data_folder_that_cannot_be_made_is_one_line(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "a-file").write_text("")
    monkeypatch.setenv("ARENA_DATA", str(data / "a-file" / "data"))
    refused(run("db", "upgrade"), "ARENA_DATA", "a-file")


def test_a_database_of_a_newer_program_is_one_line(house: Path) -> None:
    engine = create_engine(f"sqlite:///{house}/data/arena.db")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    for command in (["db", "upgrade"], ["board"], ["export", "x.csv"]):
        refused(run(*command), "9999")
    assert not (house / "x.csv").exists()


def test_verify_needs_the_manifest_beside_the_file(data: Path) -> None:
    refused(run("verify", "out.jsonl"), "out.jsonl.manifest.json", "cannot be read")


# --- models check -------------------------------------------------------------------------------


class _Model(BaseHTTPRequestHandler):
    """An endpoint that answers, unless the path says that it refuses."""

    seen: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.seen.append(self.headers.get("Authorization", ""))
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/refuse"):
            self.send_error(401)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for delta, finish in (({"content": "Hello to you."}, None), ({}, "stop")):
            chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_models_check_asks_every_model_and_prints_a_table(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_MODEL_KEY", "sk-secret-of-the-test")
    with endpoint() as address:
        (house / "arena.toml").write_text(
            f"[[models]]\nid = 'good'\nbase_url = '{address}/v1'\nmodel = 'x'\n"
            "api_key_env = 'TEST_MODEL_KEY'\n"
        )
        result = run("models", "check")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.split() == ["good", "ok", "'Hello", "to", "you.'"]
        assert _Model.seen[-1] == "Bearer sk-secret-of-the-test"
        with (house / "arena.toml").open("a") as roster:
            roster.write(
                f"[[models]]\nid = 'bad'\nbase_url = '{address}/refuse'\nmodel = 'x'\n"
                "api_key_env = 'TEST_MODEL_KEY'\n"
                f"[[models]]\nid = 'keyless'\nbase_url = '{address}/v1'\nmodel = 'x'\n"
                "api_key_env = 'TEST_NO_SUCH_KEY'\n"
            )
        result = run("models", "check")
    assert result.exit_code == 1
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert lines["good"].split()[1] == "ok"
    assert "FAILED" in lines["bad"]
    assert "TEST_NO_SUCH_KEY" in lines["keyless"]
    assert "sk-secret" not in result.output


def test_models_check_without_models_is_one_line(house: Path) -> None:
    refused(run("models", "check"), "arena.toml", "[[models]]")


def test_seal_appends_the_record_and_says_where_its_boards_will_be(living: World) -> None:
    result = run("seal", "--statement", "The round is over.", "--statement-zh", "本轮结束。")
    assert result.exit_code == 0, result.output
    assert "/api/sealed?campaign=online" in result.output
    client = living.voter()

    def listed() -> list[dict[str, str]]:
        found: list[dict[str, str]] = client.get("/api/sealed").json["sealed"]
        return [one for one in found if one["boards"]]

    (sealed,) = wait_until(listed, 10, what="the sealed board")
    assert (sealed["statement"], sealed["statement_zh"]) == ("The round is over.", "本轮结束。")


def test_seal_refuses_in_one_line_what_it_cannot_seal(house: Path) -> None:
    refused(run("seal", "--campaign", "nowhere", "--statement", "Over."), "nowhere")
    refused(run("seal", "--statement", " "), "statement")
    refused(run("seal"), "--statement")
