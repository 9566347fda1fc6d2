from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from arena.boards import OVERALL
from arena.categories import UNFILTERED
from arena.errors import BadFile, InvalidField
from arena.leaderboard import (
    METHOD_NAMES,
    Board,
    Method,
    Row,
    board_json,
    config_hash,
    decision,
    decision_is_due,
    method_record,
    rate_file,
    supported,
)
from arena.leaderboard import compute as compute_by
from arena.tally import Tally, Vote

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
GRADES = {2: "model_a", 1: "model_a", 0: "tie", -1: "model_b", -2: "model_b"}


def tally_of(votes) -> Tally:
    tally = Tally()
    for seq, vote in enumerate(votes, 1):
        tally.add(Vote(seq, *vote))
    return tally


def compute(tally, method=None, **options) -> Board:
    return compute_by(tally, method or Method(), **options)


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


# --- rating ---------------------------------------------------------------------------------


def test_the_crowd_votes_agree_with_the_reference_fit():
    expected = json.loads(REFERENCE.read_text())["llmfao_bt_half"]
    board = rate_file(CROWD_VOTES)[OVERALL]
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
    warm = compute(tally_of(votes), warm=earlier.warm)
    for model, strength in cold.warm.theta.items():
        assert warm.warm.theta[model] == pytest.approx(strength, abs=1e-9)


def test_a_warm_start_may_lack_models_and_have_others():
    warm = compute(tally_of([*RING, ("gone", "a", 2, "model_a")])).warm
    board = compute(
        tally_of([*RING, ("new", "a", 1, "model_a"), ("a", "new", 1, "model_a")]), warm=warm
    )
    cold = compute(tally_of([*RING, ("new", "a", 1, "model_a"), ("a", "new", 1, "model_a")]))
    assert row_of(board, "new").rating == pytest.approx(row_of(cold, "new").rating)


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
    fixed = compute(tally_of(RING), Method(anchor=("b", 1114)))
    assert row_of(fixed, "b").rating == pytest.approx(1114)
    shift = 1114 - row_of(free, "b").rating
    for model in "abc":
        assert row_of(fixed, model).rating == pytest.approx(row_of(free, model).rating + shift)
    assert fixed.config["anchor"] == {"model": "b", "rating": 1114.0}


@pytest.mark.parametrize(
    "anchor", [("nobody", 1000.0), ("quiet", 1000.0), ("a", math.nan), ("a", 1e300)]
)
def test_an_anchor_that_cannot_hold_is_refused(anchor):
    with pytest.raises(InvalidField, match="anchor") as caught:
        compute(tally_of(RING), Method(anchor=anchor))
    assert caught.value.field == "anchor"


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"name": "magic"}, "method", "'magic' is unknown; it is one of graded, bt"),
        ({"interval": "magic"}, "interval", "'magic' is unknown; it is one of sandwich"),
        ({"name": "graded", "variant": "magic"}, "variant", "'magic' is unknown"),
        ({"variant": "pooled"}, "variant", "'bt' has no variants"),
        ({"weights": "magic"}, "weights", "'magic' is unknown"),
        ({"ranks": "magic"}, "ranks", "'magic' is unknown"),
        ({"interval": "bootstrap", "clustered": True}, "interval", "neither voters nor weights"),
        ({"name": "elo", "interval": "bootstrap"}, "interval", "'elo' has no intervals"),
        ({"name": "elo", "clustered": True}, "clustered", "'elo' has no intervals"),
        ({"name": "elo", "weights": "inverse_propensity"}, "weights", "'elo' has no intervals"),
        ({"name": "elo", "ranks": "simultaneous"}, "ranks", "'elo' has no intervals"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options, field, words, tmp_path):
    with pytest.raises(InvalidField, match=words) as caught:
        Method(**options)
    assert caught.value.field == field
    options["name"] = options.get("name", "bt")
    with pytest.raises(InvalidField, match=words):  # before the file is looked for
        rate_file(tmp_path / "missing.csv", **options)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadFile, match="cannot be read"):
        rate_file(tmp_path / "missing.csv")


def test_the_configuration_pins_every_number():
    config = compute(tally_of(RING)).config
    assert config == {
        "exclusions": "applied",
        "identity_leaks": "excluded",
        "method": "bt",
        "variant": None,
        "ties": "half_win",
        "interval": "sandwich",
        "rounds": None,
        "clustered": None,
        "weights": None,
        "ranks": "pairwise",
        "seed": None,
        "level": 0.95,
        "scale": {"base": 10, "width": 400.0, "mean": 1000.0},
        "anchor": None,
        "min_votes": 1,
        "unbounded": "one virtual tie, open interval",
        "tolerance": 1e-9,
    }
    assert json.loads(json.dumps(config)) == config


def test_the_board_of_all_votes_says_so_in_its_configuration():
    tally = tally_of(RING)
    for name in ("bt", "elo"):
        board = compute(tally, Method(name), category=UNFILTERED)
        assert board.config == Method(name).config() | {"identity_leaks": "included"}
        assert board.rows == compute(tally, Method(name)).rows


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
    assert row_of(rate_file(path)[OVERALL], "x").votes == 1


# --- methods --------------------------------------------------------------------------------


def graded_votes(count, models=12, seed=0, voters=0):
    """Votes of a world in which the grade informs: a threshold model of equal steps."""
    rng = np.random.default_rng(seed)
    strength = np.linspace(1, -1, models)
    for _ in range(count):
        a, b = rng.choice(models, 2, replace=False)
        latent = strength[a] - strength[b] + rng.logistic()
        grade = int(np.searchsorted([-1.5, -0.4, 0.4, 1.5], latent)) - 2
        voter = f"v{rng.integers(voters)}" if voters else None
        yield (f"m{a}", f"m{b}", grade, GRADES[grade], voter)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_every_method_orders_a_clear_ladder(name):
    board = compute(tally_of(graded_votes(3000, models=6)), Method(name))
    assert [row.model for row in board.rows] == [f"m{i}" for i in range(6)]
    assert board.method == board.config["method"] == name
    assert board.converged


@pytest.mark.parametrize("variant", ["pooled", "by_voter_habit", "stereotype"])
def test_graded_has_variants_that_agree_where_voters_are_alike(variant):
    tally = tally_of(graded_votes(4000, models=6, voters=20))
    board = compute(tally, Method("graded", variant))
    pooled = compute(tally, Method("graded"))
    assert board.config["variant"] == variant
    assert [row.model for row in board.rows] == [row.model for row in pooled.rows]


def test_the_order_of_the_votes_matters_to_elo_alone():
    votes = list(graded_votes(400))
    for name in METHOD_NAMES:
        straight = compute(tally_of(votes), Method(name))
        turned = compute(tally_of(votes[::-1]), Method(name))
        assert (straight.rows != turned.rows) == (name == "elo")


def test_elo_claims_no_interval():
    board = compute(tally_of(graded_votes(400, models=6)), Method("elo", anchor=("m0", 1200.0)))
    assert [row.rank for row in board.rows] == [1, 2, 3, 4, 5, 6]
    assert row_of(board, "m0").rating == pytest.approx(1200)
    for row in board.rows:
        shown = row.to_json()
        assert shown["rating_lower"] is shown["rating_upper"] is shown["rank_lower"] is None


def test_clustered_intervals_are_wider_where_voters_repeat_themselves():
    votes = [vote for vote in graded_votes(400, voters=40) for _ in range(5)]
    plain, clustered = (
        compute(tally_of(votes), Method(clustered=clustered)) for clustered in (False, True)
    )
    for row, wide in zip(plain.rows, clustered.rows, strict=True):
        assert wide.rating == row.rating
        assert wide.rating_upper - wide.rating > 1.5 * (row.rating_upper - row.rating)


def test_votes_without_voters_cannot_be_clustered_by_them():
    with pytest.raises(InvalidField, match="No vote says who cast it") as caught:
        compute(tally_of(graded_votes(50)), Method(clustered=True))
    assert caught.value.field == "clustered"


def test_too_few_voters_make_no_clustered_interval():
    with pytest.raises(InvalidField, match="2 voters are too few") as caught:
        compute(tally_of(graded_votes(50, voters=2)), Method(clustered=True))
    assert caught.value.field == "clustered"


def test_the_bootstrap_agrees_with_the_sandwich_and_repeats_itself():
    tally = tally_of(graded_votes(3000))
    sandwich, one, again = (
        compute(tally, Method(interval=name)) for name in ("sandwich", "bootstrap", "bootstrap")
    )
    assert one == again
    for row, drawn in zip(sandwich.rows, one.rows, strict=True):
        assert drawn.rating_upper - drawn.rating_lower == pytest.approx(
            row.rating_upper - row.rating_lower, rel=0.15
        )


def test_votes_of_rare_pairs_weigh_more_by_inverse_propensity():
    votes = [("a", "b", 1, "model_a", None, 0.9)] * 90 + [("b", "a", 1, "model_a", None, 0.1)] * 10
    board = compute(tally_of(votes), Method(weights="inverse_propensity"))
    assert row_of(board, "a").rating == pytest.approx(row_of(board, "b").rating)
    assert row_of(board, "a").votes == 100


def test_votes_without_a_propensity_cannot_be_weighted():
    with pytest.raises(InvalidField, match="7 votes have no propensity"):
        compute(tally_of(RING), Method(weights="inverse_propensity"))


def test_simultaneous_ranks_are_never_bolder():
    tally = tally_of(graded_votes(600))
    bold, careful = (compute(tally, Method(ranks=r)) for r in ("pairwise", "simultaneous"))
    for row in bold.rows:
        assert row_of(careful, row.model).rank <= row.rank
        assert row_of(careful, row.model).rank_upper >= row.rank_upper


def test_what_being_side_a_gains_is_told_or_why_it_cannot_be():
    votes = list(graded_votes(500))
    told = compute(tally_of(votes)).fit["side_effect"]
    assert abs(told["rating"]) < 3 * told["se"] and told["problem"] is None
    one_side = [("star", f"m{i % 3}", 1 - 2 * (i % 2), GRADES[1 - 2 * (i % 2)]) for i in range(30)]
    untold = compute(tally_of(one_side)).fit["side_effect"]
    assert untold["rating"] is None and "same model" in untold["problem"]


# --- the choice of a method -----------------------------------------------------------------


def test_votes_with_informative_grades_support_the_graded_model():
    choice = supported(tally_of(graded_votes(4000)))
    assert choice.method == "graded"


def test_votes_without_grades_support_bradley_terry():
    choice = supported(tally_of([("a", "b", None, "model_a"), ("b", "a", None, "tie")] * 3000))
    assert choice.method == "bt"


def test_a_file_is_rated_by_what_its_votes_support(tmp_path):
    path = tmp_path / "votes.csv"
    lines = [f"{a},{b},{grade}" for a, b, grade, *_ in graded_votes(4000)]
    path.write_text("model_a,model_b,grade\n" + "\n".join(lines))
    board = rate_file(path)[OVERALL]
    assert board.method == "graded"
    assert board.evidence["reason"]
    assert rate_file(path, "bt")[OVERALL].evidence is None


def test_a_decision_is_due_when_the_graded_votes_have_doubled():
    tally, due, decided = Tally(), [], 0
    for seq, vote in enumerate(graded_votes(5000), 1):
        tally.add(Vote(seq, *vote))
        if seq % 100 == 0 and decision_is_due(tally, decided):
            decided = seq
            due.append(seq)
    assert all(later == 2 * earlier for earlier, later in pairwise(due))
    assert len(due) >= 2


def test_a_decision_is_a_record_that_pins_method_and_evidence():
    record = decision("online", tally_of(graded_votes(4000)))
    assert (record.type, record.campaign) == ("method", "online")
    method = Method.from_json(json.loads(json.dumps(record.data["method"])))
    assert method.name == "graded"
    assert record.data["automatic"] and record.data["votes"] == 4000
    assert record.reason == record.data["evidence"]["reason"]


def test_an_operators_method_is_pinned_for_good():
    data = method_record("online", "As last year.", Method("bt")).data
    assert not data["automatic"]
    assert Method.from_json(data["method"]) == Method("bt")


def test_a_method_survives_being_written_down():
    for method in (Method("graded", anchor=("a", 1000.0)), Method(clustered=True), Method("elo")):
        assert Method.from_json(json.loads(json.dumps(method.to_json()))) == method


@pytest.mark.parametrize("habit", ["never much", "much at random"])
def test_a_decision_can_always_be_written_down(habit):
    """The stereotype model has no finite score here; the log's JSON knows no infinity."""
    rng = np.random.default_rng(5)
    votes = []
    for a, b, grade, winner, _ in graded_votes(3000):
        size = 1 if habit == "never much" else 1 + rng.integers(2)
        votes.append((a, b, int(np.sign(grade)) * int(size), winner))
    record = decision("online", tally_of(votes))
    assert len(record.leaf()) == 64
    json.dumps(record.data, allow_nan=False)


def test_weights_count_in_every_variant():
    rare = [("m0", "m1", 1, "model_a", "v1", 0.1), ("m1", "m0", 1, "model_a", "v2", 0.9)] * 40
    votes = [*((*vote, 0.5) for vote in graded_votes(1500, models=6, voters=20)), *rare]
    for variant in ("pooled", "by_voter_habit", "stereotype"):
        plain, weighted = (
            compute(tally_of(votes), Method("graded", variant, weights=weights))
            for weights in (None, "inverse_propensity")
        )
        assert abs(row_of(weighted, "m0").rating - row_of(plain, "m0").rating) > 5


def test_weights_and_clusters_go_together():
    votes = [(*vote, 0.5) for vote in graded_votes(600, voters=40)]
    method = Method(weights="inverse_propensity", clustered=True)
    plain = Method(clustered=True)
    for row in compute(tally_of(votes), method).rows:
        alike = row_of(compute(tally_of(votes), plain), row.model)
        assert row.rating_upper == pytest.approx(alike.rating_upper)


# --- categories -----------------------------------------------------------------------------


def test_a_file_is_rated_by_its_categories(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text(
        "model_a,model_b,winner,category_tag,language,turns\n"
        + 'x,y,model_a,"coding,math",en,1\nx,y,model_b,math,zh,2\nx,y,tie,,,\n' * 5
    )
    by_category = rate_file(path, by="category")
    assert {key: row_of(board, "x").votes for key, board in by_category.items()} == {
        "coding": 5,
        "math": 10,
    }
    assert set(rate_file(path, by="language")) == {"en", "zh"}
    assert set(rate_file(path, by="turns")) == {"multi-turn", "single-turn"}


def test_a_category_that_is_called_like_the_whole_is_not_the_whole(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text(
        "model_a,model_b,winner,category_tag\n" + "x,y,tie,overall\nx,y,tie,a\x1b[2J\n" * 3
    )
    boards = rate_file(path, by="category")
    assert {key: row_of(board, "x").votes for key, board in boards.items()} == {
        "'overall'": 3,
        "a[2J": 3,
    }


def test_votes_without_categories_cannot_be_parted_by_them(tmp_path):
    with pytest.raises(InvalidField, match="No vote has a language") as caught:
        rate_file(CROWD_VOTES, "bt", by="language")
    assert caught.value.field == "by"
    (tmp_path / "none.csv").write_text("model_a,model_b,winner\n")
    assert list(rate_file(tmp_path / "none.csv", "bt", by="language")) == [OVERALL]


# --- showing --------------------------------------------------------------------------------


def test_the_json_is_the_object_of_the_board_call():
    shown = board_json(compute(tally_of(RING)), file="votes.csv")
    assert list(shown) == [
        *("log_position", "tree_head", "method", "config", "config_hash", "published_at"),
        *("campaign", "category", "voters", "fit", "evidence"),
        *("converged", "components", "rows", "file"),
    ]
    assert shown["log_position"] is None and shown["published_at"] is None
    assert (shown["file"], shown["converged"], shown["components"]) == ("votes.csv", True, 1)
    assert list(shown["rows"][0]) == [
        *("model", "rank", "rank_lower", "rank_upper"),
        *("rating", "rating_lower", "rating_upper"),
        *("votes", "wins", "losses", "ties", "grades", "component", "mean_win_rate"),
        *("name", "organization", "license", "link", "void_rate"),
    ]
    json.dumps(shown, allow_nan=False)
