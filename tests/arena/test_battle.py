"""The domain: grades, legal moves, frames, and what a voter may see before the vote."""

from __future__ import annotations

import json
from typing import Any

import pytest

from arena.battle import (
    MOVES,
    SIDES,
    Answer,
    BattleState,
    BlindBattle,
    Frame,
    Grade,
    Message,
    Reveal,
    Side,
    Turn,
    TurnState,
    WholeBattle,
    sources_of,
)
from arena.errors import InvalidField
from tests.fakes import ANSWERS, STEPS, a_battle, a_turn


@pytest.mark.parametrize(
    ("given", "grade", "winner"),
    [
        (2, Grade.a_much_better, "model_a"),
        (1, Grade.a_better, "model_a"),
        (0, Grade.tie, "tie"),
        (-1, Grade.b_better, "model_b"),
        (-2, Grade.b_much_better, "model_b"),
        ("a_much_better", Grade.a_much_better, "model_a"),
        ("a_better", Grade.a_better, "model_a"),
        ("tie", Grade.tie, "tie"),
        ("b_better", Grade.b_better, "model_b"),
        ("b_much_better", Grade.b_much_better, "model_b"),
    ],
)
def test_a_grade_is_read_as_a_number_or_a_name(given: object, grade: Grade, winner: str) -> None:
    assert Grade.parse(given) is grade
    assert grade.winner == winner


@pytest.mark.parametrize(
    "given", [3, -3, True, False, 1.0, 0.0, "1", "", "A_BETTER", "both_bad", None, [], {}, 2**70]
)
def test_anything_else_is_no_grade(given: object) -> None:
    with pytest.raises(InvalidField) as refused:
        Grade.parse(given)
    assert refused.value.field == "grade"


def test_the_states_move_only_as_the_contract_says() -> None:
    legal = {
        ("created", "running"),
        ("created", "skipped"),
        ("created", "void"),
        ("running", "ready"),
        ("running", "skipped"),
        ("running", "void"),
        ("ready", "running"),
        ("ready", "voted"),
        ("ready", "skipped"),
        ("ready", "void"),
    }
    assert {(source, target) for source in MOVES for target in MOVES[source]} == legal
    assert {(source, target) for target in BattleState for source in sources_of(target)} == legal


def test_the_frames_of_a_turn_are_rebuilt_from_answers_and_steps() -> None:
    turn = Turn("b1", 1, "Why?", TurnState.ready, *ANSWERS, steps=STEPS)
    assert turn.frames() == [
        Frame("Alpha", "Beta "),
        Frame(" answers.", "has more "),
        Frame("", "to say."),
    ]


def test_a_turn_without_answers_has_nothing_to_judge() -> None:
    with pytest.raises(ValueError, match="no answers yet"):
        a_turn().answers()


def test_each_side_names_its_model() -> None:
    assert (a_battle().model("a"), a_battle().model("b")) == ("m0", "m1")


SECRETS: dict[str, Any] = {
    "model_a": "secret-a",
    "model_b": "secret-b",
    "propensity": 0.123456,
    "sampling_rule": "secret-rule",
    "roster_revision": 987_654,
    "voter": "secret-voter",
}


def test_the_blind_view_holds_nothing_that_tells_the_models_apart() -> None:
    answers = (
        Answer("same", "stop", tokens=424_242, ttft=0.987654, duration=9.87654),
        Answer("same", "stop", tokens=535_353, ttft=0.876543, duration=8.76543),
    )
    turns = [
        Turn("b1", 1, "Why?", TurnState.ready, *answers, steps=((4, 4),)),
        Turn("b1", 2, "And?", TurnState.running),
        Turn("b1", 3, "Then?", TurnState.void),
    ]
    battle = a_battle(state=BattleState.running, language="zh", category_tag="math", **SECRETS)
    opening = Message("user", "Who?"), Message("assistant", "Somebody.")
    seen = BlindBattle.of(WholeBattle(battle, tuple(turns), opening)).to_json()
    text = json.dumps(seen)
    for secret in (*SECRETS.values(), 424_242, 535_353, 0.987654, 0.876543, 9.87654, 8.76543):
        assert str(secret) not in text
    assert set(seen) == {
        "id",
        "campaign",
        "state",
        "turn",
        "created_at",
        "events",
        "opening",
        "turns",
        "void_reason",
    }
    assert seen["turns"] == [
        {
            "turn": 1,
            "state": "ready",
            "prompt": "Why?",
            "answer_a": "same",
            "answer_b": "same",
            "finish_a": "stop",
            "finish_b": "stop",
        },
        {"turn": 2, "state": "running", "prompt": "And?"},
        {"turn": 3, "state": "void", "prompt": "Then?"},
    ]
    assert seen["opening"] == [
        {"role": "user", "text": "Who?"},
        {"role": "assistant", "text": "Somebody."},
    ]
    assert seen["events"] == "/api/battles/b1/events"


def test_a_conversation_is_the_opening_then_the_side_s_own_without_void_turns() -> None:
    opening = Message("user", "Who?"), Message("assistant", "Somebody.")
    turns = (
        Turn("b1", 1, "Why?", TurnState.ready, Answer("left", "stop"), Answer("right", "stop")),
        Turn("b1", 2, "Failed", TurnState.void),
        Turn("b1", 3, "And?", TurnState.running),
    )
    whole = WholeBattle(a_battle(), turns, opening)
    said: dict[Side, str] = {"a": "left", "b": "right"}
    for side in SIDES:
        assert [message.text for message in whole.messages(side)] == (
            ["Who?", "Somebody.", "Why?", said[side], "And?"]
        )
    assert whole.prompts() == ["Who?", "Why?", "And?"]


def test_a_reveal_is_written_as_the_contract_names_it() -> None:
    about = {"name": "M 0"}, {"name": "M 1"}
    reveal = Reveal(1, False, "m0", "m1", *about, "ff", "note", {"b": "m 1"})
    assert reveal.to_json() == {
        "grade": 1,
        "both_bad": False,
        "model_a": "m0",
        "model_b": "m1",
        "about_a": {"name": "M 0"},
        "about_b": {"name": "M 1"},
        "receipt": "ff",
        "signed_receipt": "note",
        "leaks": {"b": "m 1"},
    }
