"""Boards as text."""

import csv
import io

from arena.board_text import to_csv, to_table
from arena.boards import UNRATED
from arena.leaderboard import Method, board_json, compute
from arena.tally import Tally, Vote

RING = [("a", "b", 1, "model_a"), ("b", "c", 1, "model_a"), ("c", "a", 2, "model_a")]
STAR = ('sta"r,', "a", 2, "model_a")
QUIET = {"model": "quiet", "name": "quiet", "organization": "", "license": "", **UNRATED}


def document(votes, unrated=()):
    tally = Tally()
    for seq, vote in enumerate(votes):
        tally.add(Vote(seq, *vote))
    board = board_json(compute(tally, Method()), file="votes.csv")
    return {**board, "rows": [*board["rows"], *unrated]}


def test_the_csv_has_every_number_in_full():
    board = document([*RING, STAR], [QUIET])
    lines = list(csv.DictReader(io.StringIO(to_csv([board]))))
    assert [line["model"] for line in lines] == [row["model"] for row in board["rows"]]
    for line, row in zip(lines, board["rows"], strict=True):
        assert line["rating"] == ("" if row["rating"] is None else repr(row["rating"]))
        assert line["won_much"] == (str(row["grades"][0]) if any(row["grades"]) else "")
    assert lines[0]["model"] == 'sta"r,' and lines[0]["rating_upper"] == ""


def test_the_table_is_aligned_beside_wide_names():
    votes = [("通义", "b", 1, "model_a"), ("b", "通义", 1, "model_a")]
    assert to_table(document(votes, [{**QUIET, "name": "e\u0301"}])) == (
        "rank  model  rating   95 % interval  votes  wins  losses  ties\n"
        " 1–2  b      1000.0  759.2 … 1240.8      2     1       1     0\n"
        " 1–2  通义   1000.0  759.2 … 1240.8      2     1       1     0\n"
        "   –  e\u0301           –               –      0     0       0     0\n"
        "\n"
        "Method: bt.\n"
        "What being side A gains cannot be told: "
        "the votes put no bound on what side A gains: it explains them ever better.\n"
    )


def test_the_table_shows_open_ends_and_unrated_models():
    table = to_table(document([*RING, STAR], [QUIET]))
    (star,) = (line for line in table.splitlines() if "sta" in line)
    (quiet,) = (line for line in table.splitlines() if "quiet" in line)
    assert "… ∞" in star
    assert quiet.split() == ["–", "quiet", "–", "–", "0", "0", "0", "0"]


def test_a_method_without_intervals_shows_none():
    board = document(RING)
    board["config"] = {**board["config"], "interval": None}
    for row in board["rows"]:
        row.update(rating_lower=None, rating_upper=None, rank_lower=None, rank_upper=None)
    assert "∞" not in to_table(board) and " – " in to_table(board)


def test_the_table_warns_where_components_cannot_be_compared():
    assert "component" not in to_table(document(RING))
    table = to_table(document([*RING, ("x", "y", 1, "model_a")]))
    assert "component" in table.splitlines()[0]
    assert "\nRatings and ranks of different components cannot be compared.\n" in table


def test_the_table_says_why_its_method_was_chosen_and_what_cannot_be_told():
    board = document(RING)
    board["method"], board["config"]["variant"] = "graded", "by_voter_habit"
    board["evidence"] = {"reason": "Grades inform."}
    board["fit"]["side_effect"] = {"rating": None, "se": None, "problem": "it is so"}
    assert to_table(board).endswith(
        "\n\nMethod: graded (by voter habit). Grades inform.\n"
        "What being side A gains cannot be told: it is so.\n"
    )


def test_boards_of_categories_are_one_csv():
    boards = [{**document(RING), "category": key} for key in ("zh", "en")]
    lines = list(csv.DictReader(io.StringIO(to_csv(boards, by_category=True))))
    assert [line["category"] for line in lines] == ["zh"] * 3 + ["en"] * 3
