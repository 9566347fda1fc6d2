"""The roster: `arena.toml` read strictly, models that come and go, and the draw."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from arena import roster
from arena.errors import BadFile, NoModels
from arena.interfaces import ModelEntry, RosterRevision, Usage
from tests.fakes import MODELS, FakeDatabase, FakeRoster

MODEL = """
[[models]]
id = "qwen"
base_url = "https://models.example/v1"
model = "qwen-7b"
"""

FULL = """
[[models]]
id = "qwen"
name = "千问"
organization = "Ali"
license = "Apache-2.0"
link = "https://example.com"
protocol = "openai"
base_url = "https://models.example/v1"
model = "qwen-7b"
api_key_env = "QWEN_KEY"
parameters = { temperature = 0.7, stop = ["x"] }
modalities = ["text", "image"]
campaigns = ["online"]
state = "retired"
price = 2.5
daily_tokens = 1000000
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "arena.toml"


@pytest.fixture
def store() -> FakeRoster:
    return FakeRoster(FakeDatabase())


# --- reading the file ---------------------------------------------------------------------------


def test_an_entry_needs_an_id_an_address_and_a_model_only(config: Path) -> None:
    config.write_text(MODEL)
    assert roster.read(config) == [
        ModelEntry("qwen", "qwen", base_url="https://models.example/v1", model="qwen-7b")
    ]


def test_every_field_of_an_entry_is_read(config: Path) -> None:
    config.write_text(FULL, encoding="utf-8")
    assert roster.read(config) == [
        ModelEntry(
            id="qwen",
            name="千问",
            organization="Ali",
            license="Apache-2.0",
            link="https://example.com",
            base_url="https://models.example/v1",
            model="qwen-7b",
            api_key_env="QWEN_KEY",
            parameters={"temperature": 0.7, "stop": ["x"]},
            modalities=("text", "image"),
            campaigns=("online",),
            state="retired",
            price=2.5,
            daily_tokens=1_000_000,
        )
    ]


def test_a_file_without_models_is_an_empty_roster(config: Path) -> None:
    config.write_text("# nothing yet\n")
    assert roster.read(config) == []


@pytest.mark.parametrize(
    ("text", "row", "field"),
    [
        ("not toml", None, None),
        ("models = 3", None, None),
        ('[models]\nid = "x"', None, None),
        ("models = [3]", None, None),
        (MODEL + 'colour = "red"', 1, "colour"),
        (MODEL + 'api_key = "secret"', 1, "api_key"),
        (MODEL.replace('"qwen"', "7"), 1, "id"),
        (MODEL.replace('"qwen"', '" "'), 1, "id"),
        (MODEL.replace('id = "qwen"', ""), 1, "id"),
        (MODEL.replace('model = "qwen-7b"', ""), 1, "model"),
        (MODEL.replace("https:", "ftp:"), 1, "base_url"),
        (MODEL.replace("https:", "demo:"), 1, "base_url"),
        (MODEL + 'state = "asleep"', 1, "state"),
        (MODEL + 'modalities = "text"', 1, "modalities"),
        (MODEL + "modalities = [1]", 1, "modalities"),
        (MODEL + "campaigns = [1]", 1, "campaigns"),
        (MODEL + "parameters = [1]", 1, "parameters"),
        (MODEL + "parameters = { since = 2026-01-01 }", 1, "parameters"),
        (MODEL + "parameters = { temperature = nan }", 1, "parameters"),
        (MODEL + 'api_key_env = "sk-0123"', 1, "api_key_env"),
        (MODEL + "price = -1", 1, "price"),
        (MODEL + "price = nan", 1, "price"),
        (MODEL + "price = true", 1, "price"),
        (MODEL + "daily_tokens = 0", 1, "daily_tokens"),
        (MODEL + "daily_tokens = 1.5", 1, "daily_tokens"),
        (MODEL + MODEL.replace("https:", "ftp:"), 2, "base_url"),
    ],
)
def test_what_cannot_be_meant_is_refused_naming_row_and_field(
    config: Path, text: str, row: int | None, field: str | None
) -> None:
    config.write_text(text)
    with pytest.raises(BadFile) as refused:
        roster.read(config)
    assert (refused.value.file, refused.value.row) == (str(config), row)
    assert refused.value.field == field


def test_a_file_that_is_no_text_or_not_there_is_refused(config: Path) -> None:
    with pytest.raises(BadFile):
        roster.read(config)
    config.write_bytes(b"\xff\xfe")
    with pytest.raises(BadFile):
        roster.read(config)


# --- into the store -----------------------------------------------------------------------------

DEMO = (
    ModelEntry("small", "Small", base_url="demo:smollm", model="m"),
    ModelEntry("eliza", "Eliza", base_url="demo:eliza", model="m"),
)


def test_refreshing_makes_a_revision_only_when_something_changed(
    store: FakeRoster, config: Path
) -> None:
    config.write_text(MODEL)
    assert roster.refresh(store, config, "t1").revision == 1
    assert roster.refresh(store, config, "t2").revision == 1
    config.write_text(MODEL + 'license = "MIT"')
    assert roster.refresh(store, config, "t3").revision == 2


def test_demo_models_stay_until_the_demo_replaces_them(store: FakeRoster, config: Path) -> None:
    config.write_text(MODEL)
    roster.refresh(store, config, "t1", DEMO)
    kept = roster.refresh(store, config, "t2")
    assert [entry.id for entry in kept.entries] == ["small", "eliza", "qwen"]
    assert [entry.id for entry in roster.refresh(store, config, "t3", DEMO[:1]).entries] == [
        "small",
        "qwen",
    ]
    assert [entry.id for entry in roster.refresh(store, config, "t4", []).entries] == ["qwen"]


def test_what_an_operator_changed_holds_until_the_file_changes(
    store: FakeRoster, config: Path
) -> None:
    config.write_text(MODEL)
    before = roster.refresh(store, config, "t1", DEMO)
    changed = [replace(entry, state="retired") for entry in before.entries] + [MODELS[0]]
    store.replace(changed, "t2")
    for demo in (None, DEMO):
        assert roster.refresh(store, config, "t3", demo).entries == (*changed,)
    config.write_text("# the same models\n" + MODEL.replace("\n", "\n\n"))
    assert roster.refresh(store, config, "t4").entries == (*changed,)
    config.unlink()
    assert roster.refresh(store, config, "t5").entries == (*changed,)
    config.write_text(MODEL)
    assert roster.refresh(store, config, "t6").entries == (*changed,)
    config.write_text(MODEL + 'name = "Qwen"')
    fresh = roster.refresh(store, config, "t7")
    assert [(entry.id, entry.state) for entry in fresh.entries] == [
        ("small", "retired"),
        ("eliza", "retired"),
        ("qwen", "active"),
    ]


def test_a_file_that_changed_to_what_the_operator_had_done_is_taken_over(
    store: FakeRoster, config: Path
) -> None:
    config.write_text(MODEL)
    roster.refresh(store, config, "t1")
    store.replace([replace(store.current().entries[0], license="MIT")], "t2")
    config.write_text(MODEL + 'license = "MIT"')
    assert roster.refresh(store, config, "t3").revision == 2
    store.replace([replace(store.current().entries[0], state="retired")], "t4")
    assert roster.refresh(store, config, "t5").revision == 3


def test_without_a_file_only_the_demos_models_play(store: FakeRoster, config: Path) -> None:
    assert roster.refresh(store, config, "t1").entries == ()
    assert roster.refresh(store, config, "t2", DEMO).entries == DEMO


@pytest.mark.parametrize(
    "text", [MODEL + MODEL, MODEL.replace('"qwen"', '"small"')], ids=["twice", "like a demo model"]
)
def test_an_id_that_is_used_twice_changes_nothing(
    store: FakeRoster, config: Path, text: str
) -> None:
    config.write_text(text)
    with pytest.raises(BadFile) as refused:
        roster.refresh(store, config, "t1", DEMO)
    assert refused.value.field == "id"
    assert store.history() == []


# --- who plays, who is known --------------------------------------------------------------------


SEEN = frozenset({"online"})


def revision(number: int, *entries: ModelEntry) -> RosterRevision:
    return RosterRevision(number, f"t{number}", entries)


def test_only_active_models_of_the_campaign_are_drawn_in_roster_order() -> None:
    entries = (
        replace(MODELS[3], campaigns=("online", "other")),
        MODELS[0],
        replace(MODELS[1], state="retired"),
        replace(MODELS[2], campaigns=("other",)),
    )
    assert roster.active(revision(1, *entries), "online") == ["m3", "m0"]
    assert roster.active(revision(1, *entries), "other") == ["m3", "m0", "m2"]


@pytest.mark.parametrize(
    ("used", "left"), [({}, "m0 m1 m2"), ({"m0": 9, "m1": 99}, "m0 m1 m2"), ({"m0": 10}, "m1 m2")]
)
def test_a_model_is_left_out_once_its_budget_is_used_up(used: dict[str, int], left: str) -> None:
    limited = revision(1, replace(MODELS[0], daily_tokens=10), *MODELS[1:3])
    assert roster.has_budgets(limited)
    assert not roster.has_budgets(revision(1, *MODELS))
    today = {model: Usage(tokens=tokens) for model, tokens in used.items()}
    models = roster.active(limited, "online")
    assert roster.within_budget(models, roster.spent(limited, today)) == left.split()


def test_budgets_that_leave_one_model_say_when_it_goes_on() -> None:
    with pytest.raises(NoModels, match="midnight UTC") as refused:
        roster.within_budget(["m0", "m1"], {"m0"})
    assert 0 < (refused.value.retry_after or 0) <= 86_400
    assert roster.within_budget(["m0"], {"m0"}) == []  # too few anyway: the draw says so


def test_models_that_left_are_known_as_they_were_described_last() -> None:
    history = [
        revision(1, MODELS[0], MODELS[1]),
        revision(2, replace(MODELS[0], name="Renamed")),
        revision(3, MODELS[2]),
    ]
    known = roster.known(history)
    assert {id: entry.name for id, entry in known.items()} == {
        "m0": "Renamed",
        "m1": "Model 1",
        "m2": "Model 2",
    }


def test_entry_and_retirement_are_dated_and_a_return_ends_the_retirement() -> None:
    retired = replace(MODELS[1], state="retired")
    history = [
        revision(1, MODELS[0], MODELS[1]),
        revision(2, MODELS[0], retired),
        revision(3, retired),
        revision(4, MODELS[0], retired),
        revision(5, MODELS[0], retired, MODELS[2]),
    ]
    dates = {
        row["id"]: (row["entered_at"], row["retired_at"]) for row in roster.public(history, SEEN)
    }
    assert dates == {"m0": ("t1", None), "m1": ("t1", "t2"), "m2": ("t5", None)}


def test_the_public_roster_tells_neither_address_nor_parameters() -> None:
    secret = replace(
        MODELS[0], base_url="http://secret", api_key_env="SECRET", parameters={"secret": 1}
    )
    assert "secret" not in str(roster.public([revision(1, secret)], SEEN)).lower()


# --- the draw -----------------------------------------------------------------------------------


@pytest.mark.parametrize("models", [[], ["m0"]])
def test_fewer_than_two_models_cannot_be_drawn(models: list[str]) -> None:
    with pytest.raises(NoModels):
        roster.draw(models, random.Random(1))  # noqa: S311  reproducible draws


def test_every_ordered_pair_is_drawn_with_its_stated_propensity() -> None:
    rng = random.Random(1)  # noqa: S311  reproducible draws
    models = ["a", "b", "c", "d"]
    draws = [roster.draw(models, rng) for _ in range(24_000)]
    assert {draw.propensity for draw in draws} == {1 / 12}
    assert {draw.sampling_rule for draw in draws} == {"uniform"}
    counts = Counter((draw.model_a, draw.model_b) for draw in draws)
    assert len(counts) == 12
    # chi-squared with 11 degrees of freedom: 31.3 is the 99.9 % point
    assert sum((count - 2_000) ** 2 / 2_000 for count in counts.values()) < 31.3


def test_the_draw_is_a_function_of_its_random_source() -> None:
    first, second = (
        [roster.draw(["a", "b", "c"], rng) for _ in range(20)]
        for rng in (random.Random(5), random.Random(5))  # noqa: S311  reproducible draws
    )
    assert first == second


def test_a_model_is_known_only_while_it_plays_where_the_reader_may_look() -> None:
    elsewhere = replace(MODELS[1], name="Its new name", campaigns=("private",))
    history = [
        revision(1, MODELS[0], replace(MODELS[2], campaigns=("private",))),
        revision(2, MODELS[0], MODELS[1]),
        revision(3, MODELS[0], elsewhere),
    ]
    seen = {
        row["id"]: (row["entered_at"], row["retired_at"]) for row in roster.public(history, SEEN)
    }
    assert seen == {"m0": ("t1", None), "m1": ("t2", "t3")}
    assert "Its new name" not in str(roster.public(history, SEEN))
    assert {row["id"] for row in roster.public(history, SEEN | {"private"})} == {"m0", "m1", "m2"}
