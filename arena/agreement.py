"""How far voters agree with each other, and judges with people.

A *unit* is one question put about one pair of models, whichever side each was shown on. Where the
answers were drawn anew for every voter, what reads as disagreement holds the answers' own
variation too.

Which of a unit's models comes first is a convention, so that A and B are no categories of their
own: every figure that corrects for chance counts each unit in both orders, its interval as one.
Otherwise a unit that all give to the first model would weigh differently from one that all give to
the second, and renaming the models would change the result.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
import rfc8785

from arena.vote_file import VoteRow
from ratings.agreement import Agreement, Weights, alpha, kappa, pair_agreement, raw_agreement
from ratings.comparisons import IntArray


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one voter said about one unit.

    `score` is the grade (−2…2) where `graded`, else only who won (−1, 0, 1), and positive for the
    same model in every judgement of the unit. A `unit` or `voter` of None is not known.
    """

    unit: Hashable | None
    voter: str | None
    judge: bool
    score: int
    graded: bool

    def __post_init__(self) -> None:
        if abs(self.score) > (2 if self.graded else 1):
            raise ValueError(f"{self.score} is no {'grade' if self.graded else 'winner'}")

    @property
    def winner(self) -> int:
        """1, 0 (a tie) or −1."""
        return (self.score > 0) - (self.score < 0)


@dataclass(frozen=True, slots=True)
class BetweenPeople:
    """Agreement of people with each other, over the units that two or more of them judged.

    `same_winner` is the share of all pairs of voters of a unit who named the same winner, a tie
    being one; `same_decided` that among pairs who both named a model, where chance brings ½.
    `alpha` is Krippendorff's, ordinal, on the winner (a tie lies between), `alpha_grade` the same
    on the five steps, of graded votes only: None where no person gave a grade.
    """

    voters: int
    votes: int
    units: int
    same_winner: Agreement
    same_decided: Agreement
    alpha: Agreement
    alpha_grade: Agreement | None


@dataclass(frozen=True, slots=True)
class JudgeAndPeople:
    """Agreement of one judge with people, over the units that both judged.

    `same_winner` and `same_decided` compare the judge with every single person, so that they can
    be held against those between people. The rest compares with the people of a unit as one:
    `same_majority` (raw), `kappa` and `weighted_kappa` (linear) with the winner most of them
    named, a tie where no winner has more votes than each other; `weighted_kappa_grade` (linear)
    with their median grade, rounded towards the tie: None where not both gave grades.
    """

    judge: str
    votes: int
    same_winner: Agreement
    same_decided: Agreement
    same_majority: Agreement
    kappa: Agreement
    weighted_kappa: Agreement
    weighted_kappa_grade: Agreement | None


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """All figures of one set of votes.

    `left_out` counts votes whose question or voter is not known; `repeated` those that their
    voter replaced by a later one about the same unit.
    """

    people: BetweenPeople
    judges: tuple[JudgeAndPeople, ...]
    left_out: int
    repeated: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: figures that are undefined and bounds that are open are null."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    def to_text(self) -> str:
        """The report for a terminal: a paragraph for people, one for each judge."""
        lines = _people_lines(self.people)
        for judge in self.judges:
            lines += ["", *_judge_lines(judge)]
        if self.left_out:
            lines += [
                "",
                f"Left out, their question or voter is not known: {self.left_out:,}.",
            ]
        if self.repeated:
            lines += ["", f"Replaced by a later vote of the same voter: {self.repeated:,}."]
        return "\n".join(lines) + "\n"


# --- from votes to judgements -------------------------------------------------------------------


def asked(vote: VoteRow) -> Hashable | None:
    """The question of a vote: as its file names it, else all that its user said, if known."""
    if vote.question is not None:
        return vote.question
    said = [message for message in vote.conversation_a or () if message["role"] == "user"]
    if not said:
        return None
    # a digest, because conversations are long
    return hashlib.sha256(rfc8785.dumps([turn.get("content") for turn in said])).digest()


def judgements(votes: Iterable[VoteRow], *, judges: bool = False) -> Iterator[Judgement]:
    """Turn votes that count into judgements, their scores to the order of the models' names.

    `judges` says whose votes they are where a vote has no `voter_kind`: a judge's or a person's.
    """
    for vote in votes:
        if vote.excluded_reason is not None:
            continue
        question = asked(vote)
        first, second = sorted((vote.model_a, vote.model_b))
        score = _WINNERS[vote.winner] if vote.grade is None else vote.grade
        yield Judgement(
            unit=None if question is None else (question, first, second),
            voter=vote.voter,
            judge=judges if vote.voter_kind is None else vote.voter_kind == "judge",
            score=score if first == vote.model_a else -score,
            graded=vote.grade is not None,
        )


_WINNERS = {"model_a": 1, "tie": 0, "model_b": -1}


# --- figures ------------------------------------------------------------------------------------


def report(given: Iterable[Judgement]) -> AgreementReport:
    """Compute every figure. Of two judgements of one voter about one unit the later counts."""
    known: dict[tuple[Hashable, str, bool], Judgement] = {}
    left_out = total = 0
    for judgement in given:
        total += 1
        if judgement.unit is None or judgement.voter is None:
            left_out += 1
        else:
            known[judgement.unit, judgement.voter, judgement.judge] = judgement
    people: _Units = defaultdict(list)
    judges: dict[str, _Units] = defaultdict(lambda: defaultdict(list))
    for (unit, voter, judge), judgement in known.items():
        (judges[voter] if judge else people)[unit].append(judgement)
    return AgreementReport(
        people=_between(people),
        judges=tuple(_against(name, judges[name], people) for name in sorted(judges)),
        left_out=left_out,
        repeated=total - left_out - len(known),
    )


_Units = defaultdict[Hashable, list[Judgement]]


def _between(people: _Units) -> BetweenPeople:
    votes = [judgement for unit in people.values() for judgement in unit]
    winners = [(judgement.unit, judgement.winner) for judgement in votes]
    grades = [(judgement.unit, judgement.score) for judgement in votes if judgement.graded]
    return BetweenPeople(
        voters=len({judgement.voter for judgement in votes}),
        votes=len(votes),
        units=sum(len(unit) > 1 for unit in people.values()),
        same_winner=pair_agreement(*_coded(winners)),
        same_decided=pair_agreement(*_coded([rating for rating in winners if rating[1]])),
        alpha=_alpha(winners),
        alpha_grade=_alpha(grades) if grades else None,
    )


def _against(name: str, judge: _Units, people: _Units) -> JudgeAndPeople:
    shared = [(verdict, people[unit]) for unit, (verdict,) in judge.items() if unit in people]
    single = [
        (number, verdict.winner, vote.winner)
        for number, (verdict, votes) in enumerate(shared)
        for vote in votes
    ]
    majority = [(verdict.winner, _majority(votes)) for verdict, votes in shared]
    grades = [
        (verdict.score, _median([vote.score for vote in votes if vote.graded]))
        for verdict, votes in shared
        if verdict.graded and any(vote.graded for vote in votes)
    ]
    return JudgeAndPeople(
        judge=name,
        votes=len(judge),
        same_winner=_raw(single),
        same_decided=_raw([row for row in single if row[1] and row[2]]),
        same_majority=_raw([(number, *row) for number, row in enumerate(majority)]),
        kappa=_kappa(majority, "none"),
        weighted_kappa=_kappa(majority, "linear"),
        weighted_kappa_grade=_kappa(grades, "linear") if grades else None,
    )


def _majority(votes: list[Judgement]) -> int:
    (winner, most), *others = Counter(vote.winner for vote in votes).most_common()
    return winner if all(count < most for _, count in others) else 0


def _median(grades: list[int]) -> int:
    return int(median(grades))  # int() rounds towards 0, the tie


def _raw(rows: list[tuple[int, int, int]]) -> Agreement:
    """Of rows (unit, one, other)."""
    unit, one, other = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return raw_agreement(one, other, cluster=unit)


def _alpha(ratings: list[tuple[Hashable, int]]) -> Agreement:
    unit, value = _coded(ratings)
    return alpha(
        np.concatenate([2 * unit, 2 * unit + 1]),
        np.concatenate([value, -value]),
        "ordinal",
        cluster=np.concatenate([unit, unit]),
    )


def _kappa(rows: list[tuple[int, int]], weights: Weights) -> Agreement:
    one, other = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    return kappa(
        np.concatenate([one, -one]),
        np.concatenate([other, -other]),
        weights=weights,
        cluster=np.tile(np.arange(len(rows)), 2),
    )


def _coded(ratings: list[tuple[Hashable, int]]) -> tuple[IntArray, IntArray]:
    numbers: dict[Hashable, int] = {}
    unit = [numbers.setdefault(unit, len(numbers)) for unit, _ in ratings]
    return np.array(unit, dtype=np.int64), np.array([v for _, v in ratings], dtype=np.int64)


# --- JSON and text ------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case float() if not math.isfinite(value):
            return None
    return value


def _people_lines(people: BetweenPeople) -> list[str]:
    lines = [
        f"Between people: {people.voters:,} voters, {people.votes:,} votes, "
        f"{people.units:,} units judged by two or more",
        _share("same winner", people.same_winner),
        _share("same winner, ties apart", people.same_decided),
        _corrected("alpha of the winner", people.alpha),
    ]
    if people.alpha_grade is not None:
        lines.append(_corrected("alpha of the grade", people.alpha_grade))
    return lines


def _judge_lines(judge: JudgeAndPeople) -> list[str]:
    lines = [
        f"Judge {judge.judge} and people: {judge.votes:,} votes, "
        f"{judge.same_majority.units:,} units judged by both",
        _share("same winner as one person", judge.same_winner),
        _share("the same, ties apart", judge.same_decided),
        _share("same winner as most people", judge.same_majority),
        _corrected("kappa with most people", judge.kappa),
        _corrected("weighted kappa", judge.weighted_kappa),
    ]
    if judge.weighted_kappa_grade is not None:
        lines.append(_corrected("weighted kappa of the grade", judge.weighted_kappa_grade))
    return lines


def _share(label: str, found: Agreement) -> str:
    return _line(label, found, lambda value: f"{value:.1%}".replace("%", " %"))


def _corrected(label: str, found: Agreement) -> str:
    return _line(label, found, lambda value: f"{value:.3f}".replace("-", "−"))


def _line(label: str, found: Agreement, number: Callable[[float], str]) -> str:
    if found.undefined is not None:
        return f"  {label:<27}       –  {found.undefined}"
    bounds = f"{number(found.lower)} … {number(found.upper)}"
    return f"  {label:<27}  {number(found.value):>6}  {bounds:<17}  {found.units:,} units"
