"""Battles: the domain's records, the legal moves between states, and what a voter may see.

`BlindBattle` is the only projection of a battle that may reach a browser before the vote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Literal

from arena.errors import InvalidField

Side = Literal["a", "b"]
SIDES: tuple[Side, Side] = ("a", "b")


class Grade(IntEnum):
    """The five-step preference scale, from the left side's point of view."""

    a_much_better = 2
    a_better = 1
    tie = 0
    b_better = -1
    b_much_better = -2

    @property
    def winner(self) -> str:
        """The three-way collapse: `model_a`, `model_b` or `tie`."""
        return "model_a" if self > 0 else "model_b" if self < 0 else "tie"

    @classmethod
    def parse(cls, value: object) -> Grade:
        """Read a grade given as −2…2 or by name.

        Raises `InvalidField` for anything else (booleans and floats included).
        """
        if isinstance(value, str) and value in cls.__members__:
            return cls[value]
        if type(value) is int and value in cls._value2member_map_:
            return cls(value)
        names = ", ".join(f"{g.value} ({g.name})" for g in cls)
        raise InvalidField(f"The grade must be one of {names}.", field="grade")


class BattleState(StrEnum):
    created = "created"
    running = "running"
    ready = "ready"
    voted = "voted"
    skipped = "skipped"
    void = "void"


MOVES: dict[BattleState, frozenset[BattleState]] = {
    BattleState.created: frozenset({BattleState.running, BattleState.skipped, BattleState.void}),
    BattleState.running: frozenset({BattleState.ready, BattleState.skipped, BattleState.void}),
    # ready → running is a follow-up turn
    BattleState.ready: frozenset(
        {BattleState.running, BattleState.voted, BattleState.skipped, BattleState.void}
    ),
    BattleState.voted: frozenset(),
    BattleState.skipped: frozenset(),
    BattleState.void: frozenset(),
}


def sources_of(target: BattleState) -> frozenset[BattleState]:
    """The states from which `target` may be entered: what a conditional UPDATE must name."""
    return frozenset(state for state, targets in MOVES.items() if target in targets)


class TurnState(StrEnum):
    running = "running"
    ready = "ready"
    void = "void"


FAILED, INTERRUPTED, SKIPPED = "endpoint_failed", "interrupted", "skipped"
"""Why a turn is void: a model failed, its runner went away, the voter left."""

FINISH_REASONS = frozenset({"stop", "length", "content_filter", "stopped"})
"""How an answer may end: the API's three reasons, and `stopped` by the voter."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What one tick shows: equal-sized steps of both answers, in code points."""

    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One model's complete answer. Times are seconds, `tokens` as the endpoint counted them."""

    text: str
    finish: str
    tokens: int | None = None
    ttft: float | None = None
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Leak:
    """A name by which the answer of one `side` told who one of the two models is."""

    side: Side
    name: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation: role `user` or `assistant`."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One prompt and, once `ready`, its two answers and the steps in which they were shown.

    A `void` turn has its reason instead: a model failed, its runner went away, or the voter left.
    """

    battle_id: str
    number: int
    prompt: str
    state: TurnState
    answer_a: Answer | None = None
    answer_b: Answer | None = None
    steps: tuple[tuple[int, int], ...] = ()
    void_reason: str | None = None
    leaks: tuple[Leak, ...] = ()

    def answers(self) -> tuple[Answer, Answer]:
        """Both answers of a complete turn.

        Raises `ValueError` when the turn is not `ready`: there is nothing to judge yet.
        """
        if self.answer_a is None or self.answer_b is None:
            raise ValueError(f"turn {self.number} of battle {self.battle_id} has no answers yet")
        return self.answer_a, self.answer_b

    def frames(self) -> list[Frame]:
        """The frames that were shown, rebuilt from the stored answers."""
        answer_a, answer_b = self.answers()
        frames, at_a, at_b = [], 0, 0
        for size_a, size_b in self.steps:
            frames.append(
                Frame(answer_a.text[at_a : at_a + size_a], answer_b.text[at_b : at_b + size_b])
            )
            at_a, at_b = at_a + size_a, at_b + size_b
        return frames


@dataclass(frozen=True, slots=True)
class Battle:
    """One prompt (or conversation) answered by two models, one vote at most.

    Of an erased battle the prompts and answers are empty. A shared one may be read by anybody.
    `consent` is the `records.consent_digest` of the text in force when its last turn was begun.
    """

    id: str
    campaign: str
    voter: str
    state: BattleState
    model_a: str
    model_b: str
    propensity: float
    sampling_rule: str
    roster_revision: int
    created_at: str
    turn: int = 1
    language: str | None = None
    category_tag: str | None = None
    redrawn_from: str | None = None
    continued_from: str | None = None
    consent: str | None = None
    stop_requested: bool = False
    shared_at: str | None = None
    erased_at: str | None = None

    def model(self, side: Side) -> str:
        return self.model_a if side == "a" else self.model_b


def prompts_of(messages: Sequence[Message]) -> list[str]:
    """What the voter wrote in a conversation."""
    return [message.text for message in messages if message.role == "user"]


@dataclass(frozen=True, slots=True)
class WholeBattle:
    """A battle and all that is said in it, as of one moment.

    `opening` is the earlier conversation that it goes on with, the same on both sides.
    """

    battle: Battle
    turns: tuple[Turn, ...]
    opening: tuple[Message, ...] = ()

    def messages(self, side: Side) -> tuple[Message, ...]:
        """The conversation as this side has it; void turns are not part of it."""
        messages = list(self.opening)
        for turn in self.turns:
            if turn.state is TurnState.void:
                continue
            messages.append(Message("user", turn.prompt))
            if turn.state is TurnState.ready:
                messages.append(Message("assistant", turn.answers()[SIDES.index(side)].text))
        return tuple(messages)

    def prompts(self) -> list[str]:
        """All prompts of the conversation, those of the opening first; void turns are left out."""
        return prompts_of(self.messages("a"))

    def leaks(self) -> dict[Side, str]:
        """The first name that each side gave away in the turns that count; most give none."""
        found: dict[Side, str] = {}
        for turn in self.turns:
            for leak in turn.leaks:
                found.setdefault(leak.side, leak.name)
        return found


@dataclass(frozen=True, slots=True)
class Reveal:
    """What the voter learns from the committed vote.

    `leaks` are the names that answers gave away, by side: such a vote is flagged.
    """

    grade: int
    both_bad: bool
    model_a: str
    model_b: str
    about_a: dict[str, Any]
    about_b: dict[str, Any]
    receipt: str
    signed_receipt: str
    leaks: dict[Side, str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _blind_turn(turn: Turn) -> dict[str, Any]:
    seen: dict[str, Any] = {"turn": turn.number, "state": turn.state, "prompt": turn.prompt}
    if turn.state is TurnState.ready:
        answer_a, answer_b = turn.answers()
        seen |= {
            "answer_a": answer_a.text,
            "answer_b": answer_b.text,
            "finish_a": answer_a.finish,
            "finish_b": answer_b.finish,
        }
    return seen


@dataclass(frozen=True, slots=True)
class BlindBattle:
    """The voter's view: no names, no metrics, no sampling facts, no roster revision."""

    id: str
    campaign: str
    state: BattleState
    turn: int
    created_at: str
    opening: tuple[dict[str, Any], ...] = field(default_factory=tuple)
    turns: tuple[dict[str, Any], ...] = field(default_factory=tuple)
    void_reason: str | None = None

    @classmethod
    def of(cls, whole: WholeBattle) -> BlindBattle:
        battle, turns = whole.battle, whole.turns
        return cls(
            id=battle.id,
            campaign=battle.campaign,
            state=battle.state,
            turn=battle.turn,
            created_at=battle.created_at,
            opening=tuple(asdict(message) for message in whole.opening),
            turns=tuple(_blind_turn(turn) for turn in turns),
            void_reason=turns[-1].void_reason,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "campaign": self.campaign,
            "state": self.state,
            "turn": self.turn,
            "created_at": self.created_at,
            "events": f"/api/battles/{self.id}/events",
            "opening": list(self.opening),
            "turns": list(self.turns),
            "void_reason": self.void_reason,
        }
