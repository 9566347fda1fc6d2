from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from arena import leaderboard
from arena.errors import BadFile, InvalidField
from arena.leaderboard import (
    Board,
    Row,
    Tally,
    board_json,
    check_interval,
    check_method,
    compute,
    config_hash,
    rate_file,
)

ROOT = Path(__file__).parents[2]
CROWD_VOTES = ROOT / "arena" / "demo" / "llmfao_crowd_votes.csv"
REFERENCE = ROOT / "tests" / "data" / "reference_ratings.json"

RING = [
    ("a", "b", 2, "model_a"),
    ("b", "c", 1, "model_a"),
    ("a", "c", -1, "model_b"),
    ("c", "a", 0, "tie"),
    ("a", "b", 0, "both_bad"),
    ("b", "a", None, "tie"),
    ("c", "b", None, "model_b"),
]


def tally_of(votes) -> Tally:
    tally = Tally()
    tally.add_many(votes)
    return tally


def random_votes(count, models=12, seed=0):
    rng = np.random.default_rng(seed)
    kinds = [(2, "model_a"), (-1, "model_b"), (0, "tie"), (None, "model_a"), (None, "tie")]
    names = [f"m{i}" for i in range(models)]
    return [
        (*rng.choice(names, 2, replace=False).tolist(), *kinds[rng.integers(len(kinds))])
        for _ in range(count)
    ]


def row_of(board: Board, model: str) -> Row:
    return next(row for row in board.rows if row.model == model)


# --- counting -------------------------------------------------------------------------------


def test_a_row_counts_votes_from_its_models_own_view():
    row = row_of(compute(tally_of(RING)), "a")
    assert (row.votes, row.wins, row.losses, row.ties) == (5, 1, 1, 3)
    assert row.grades == (1, 0, 2, 1, 0)


def test_a_both_bad_vote_is_a_tie():
    flagged = compute(tally_of([*RING, ("a", "b", None, "both_bad")]))
    plain = compute(tally_of([*RING, ("a", "b", None, "tie")]))
    assert flagged == plain


def test_one_by_one_or_all_at_once_the_tally_is_the_same(monkeypatch):
    monkeypatch.setattr(leaderboard, "_BUFFERED_VOTES", 7)  # many flushes, at every remainder
    votes = random_votes(500)
    tally = Tally()
    for vote in votes:
        tally.add(*vote)
    assert tally.votes == tally_of(votes).votes == 500
    assert compute(tally) == compute(tally_of(votes))
    assert sum(row.votes for row in compute(tally).rows) == 1000


def test_more_votes_than_the_buffer_holds_are_all_counted():
    tally = tally_of(RING * 30_000)
    assert tally.votes == 210_000
    assert row_of(compute(tally), "a").grades == (30_000, 0, 60_000, 30_000, 0)


def test_a_removed_vote_leaves_no_trace():
    tally = tally_of([*RING, ("a", "newcomer", 2, "model_a")])
    tally.remove("a", "newcomer", 2, "model_a")
    assert tally.votes == len(RING)
    assert compute(tally) == compute(tally_of(RING))


def test_a_vote_that_was_never_counted_cannot_be_removed():
    tally = tally_of(RING)
    with pytest.raises(ValueError, match="never counted"):
        tally.remove("a", "b", 1, "model_a")
    with pytest.raises(ValueError, match="no vote of z to remove"):
        tally.remove("a", "z", 1, "model_a")
    assert tally.votes == len(RING)


@pytest.mark.parametrize(
    "vote",
    [
        ("a", "b", 2, "model_b"),
        ("a", "b", 0, "model_a"),
        ("a", "b", 3, "model_a"),
        ("a", "b", None, "nobody"),
        ("a", "a", 1, "model_a"),
    ],
)
def test_a_vote_that_makes_no_sense_is_refused(vote):
    tally = Tally()
    with pytest.raises(ValueError, match=r"do not make a vote|compared with itself"):
        tally.add(*vote)
    assert tally.votes == 0


# --- rating ---------------------------------------------------------------------------------


def test_the_crowd_votes_agree_with_the_reference_fit():
    expected = json.loads(REFERENCE.read_text())["llmfao_bt_half"]
    board = rate_file(CROWD_VOTES)
    assert board.converged and board.components == 1
    assert len(board.rows) == 59
    for model, rating, se in zip(
        expected["models"], expected["rating"], expected["se"], strict=True
    ):
        row = row_of(board, model)
        assert row.rating == pytest.approx(rating, abs=1e-5)
        assert row.rating_upper - row.rating == pytest.approx(1.959964 * se, abs=1e-3)


def test_rows_come_best_first_and_equal_ones_by_name():
    votes = [("b", "a", 0, "tie"), ("c", "a", 1, "model_a"), ("c", "b", 1, "model_a")]
    assert [row.model for row in compute(tally_of(votes)).rows] == ["c", "a", "b"]


def test_no_votes_make_an_empty_board():
    board = compute(Tally())
    assert (board.rows, board.components, board.converged) == ((), 0, True)


def test_the_order_of_the_votes_does_not_matter():
    votes = random_votes(300)
    shuffled = [votes[i] for i in np.random.default_rng(1).permutation(len(votes))]
    assert compute(tally_of(votes)) == compute(tally_of(shuffled))


def test_a_warm_start_agrees_with_the_cold_one():
    votes = random_votes(400)
    earlier = compute(tally_of(votes[:350]))
    cold = compute(tally_of(votes))
    warm = compute(tally_of(votes), start=earlier.start)
    for model, strength in cold.start.items():
        assert warm.start[model] == pytest.approx(strength, abs=1e-9)


def test_a_warm_start_may_lack_models_and_have_others():
    board = compute(tally_of(RING), start={"a": 1.0, "gone": 3.0})
    assert row_of(board, "a").rating == pytest.approx(row_of(compute(tally_of(RING)), "a").rating)


def test_a_model_that_won_everything_has_no_upper_bound_and_moves_nobody():
    board = compute(tally_of([*RING * 5, *[("star", "a", 2, "model_a")] * 20]))
    star = row_of(board, "star")
    assert star.rating_upper == math.inf
    assert star.to_json()["rating_upper"] is None
    assert 1000 < star.rating_lower < star.rating < 2000
    assert (star.rank, star.rank_lower, star.rank_upper) == (1, 1, 1)
    without = compute(tally_of(RING * 5))
    for model in "abc":
        assert row_of(board, model).rating == pytest.approx(row_of(without, model).rating)
        assert row_of(board, model).rank == row_of(without, model).rank + 1


def test_components_are_rated_apart():
    apart = [("x", "y", 1, "model_a"), ("y", "x", 1, "model_a")]
    board = compute(tally_of([*RING, *apart]))
    assert board.components == 2
    assert [row_of(board, model).component for model in "abcxy"] == [1, 1, 1, 2, 2]
    assert row_of(board, "x").rating == row_of(board, "y").rating == 1000.0
    assert row_of(board, "x").rank_upper == 2


# --- options --------------------------------------------------------------------------------


def test_an_anchor_fixes_one_rating_and_keeps_all_differences():
    free = compute(tally_of(RING))
    fixed = compute(tally_of(RING), anchor=("b", 1114))
    assert row_of(fixed, "b").rating == pytest.approx(1114)
    shift = 1114 - row_of(free, "b").rating
    for model in "abc":
        assert row_of(fixed, model).rating == pytest.approx(row_of(free, model).rating + shift)
    assert fixed.config["anchor"] == {"model": "b", "rating": 1114.0}


@pytest.mark.parametrize("anchor", [("nobody", 1000.0), ("quiet", 1000.0), ("a", math.nan)])
def test_an_anchor_that_cannot_hold_is_refused(anchor):
    with pytest.raises(InvalidField, match="anchor") as caught:
        compute(tally_of(RING), anchor=anchor)
    assert caught.value.field == "anchor"


def test_auto_stands_for_bradley_terry():
    assert check_method("auto") == check_method("bt") == "bt"
    assert compute(tally_of(RING)).method == "bt"


@pytest.mark.parametrize("name", ["graded", "davidson", "rao-kupper", "elo"])
def test_a_later_method_is_not_available_yet(name):
    with pytest.raises(InvalidField, match=f"'{name}' is not available yet; .*auto, bt") as caught:
        check_method(name)
    assert caught.value.field == "method"


def test_a_later_interval_is_not_available_yet():
    with pytest.raises(InvalidField, match="'bootstrap' is not available yet; available: sandwich"):
        check_interval("bootstrap")


@pytest.mark.parametrize(
    ("check", "field"), [(check_method, "method"), (check_interval, "interval")]
)
def test_an_unknown_option_is_refused(check, field):
    with pytest.raises(InvalidField, match=f"The {field} 'magic' is unknown") as caught:
        check("magic")
    assert caught.value.field == field


def test_options_are_refused_before_a_file_is_read(tmp_path):
    with pytest.raises(InvalidField):
        rate_file(tmp_path / "missing.csv", method="magic")
    with pytest.raises(InvalidField):
        rate_file(tmp_path / "missing.csv", interval="magic")
    with pytest.raises(BadFile):
        rate_file(tmp_path / "missing.csv")


def test_the_configuration_pins_every_number():
    config = compute(tally_of(RING)).config
    assert config == {
        "method": "bt",
        "ties": "half_win",
        "interval": "sandwich",
        "level": 0.95,
        "scale": {"base": 10, "width": 400.0, "mean": 1000.0},
        "anchor": None,
        "min_votes": 1,
        "unbounded": "one virtual tie, open interval",
        "tolerance": 1e-9,
    }
    assert json.loads(json.dumps(config)) == config


def test_the_configuration_hash_is_that_of_its_canonical_json():
    assert config_hash({"b": 1.0, "a": None}) == config_hash({"a": None, "b": 1})
    assert config_hash({"a": 1}) == (
        "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    )


def test_excluded_votes_do_not_count(tmp_path):
    path = tmp_path / "votes.jsonl"
    rows = [
        {"model_a": "x", "model_b": "y", "winner": "model_a"},
        {"model_a": "x", "model_b": "y", "winner": "model_a", "excluded_reason": "flood"},
        {"type": "exclusion", "target": "x", "reason": "flood"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert row_of(rate_file(path), "x").votes == 1


# --- showing --------------------------------------------------------------------------------


def test_the_json_is_the_object_of_the_board_call():
    shown = board_json(compute(tally_of(RING)), file="votes.csv")
    assert list(shown) == [
        *("log_position", "method", "config", "config_hash", "published_at"),
        *("campaign", "category", "voters", "rows"),
        *("file", "converged", "components"),
    ]
    assert shown["log_position"] is None and shown["published_at"] is None
    assert (shown["file"], shown["converged"], shown["components"]) == ("votes.csv", True, 1)
    assert list(shown["rows"][0]) == [
        *("model", "rank", "rank_lower", "rank_upper"),
        *("rating", "rating_lower", "rating_upper"),
        *("votes", "wins", "losses", "ties", "grades", "component"),
        *("name", "organization", "license", "link"),
    ]
    json.dumps(shown, allow_nan=False)
