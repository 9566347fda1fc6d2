#!/usr/bin/env python3
"""Does the automatic choice of the rating model keep its promises? Evidence by simulation.

Voters of known populations vote on models of known strength. For each population and size of log
the table shows, with standard errors, how much smaller the mean squared error of the strengths is
than Bradley-Terry's (1.20: by a factor of 1.2; the best common scale is taken out, as grades and
ties stretch it), for every graded variant and for what `ratings.choice` picks.

    .venv/bin/python scripts/simulate_choice.py [--quick] [--rounds N] [--only TEXT] [--raw]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from ratings import bradley_terry, graded
from ratings.choice import choose
from ratings.comparisons import BoolArray, FloatArray, IntArray, Outcome, PairCounts

VARIANTS = ("bt", "pooled", "by_voter_habit", "stereotype")


@dataclass(frozen=True)
class Size:
    """A log: how many votes, models and voters; and what the voters and their records are like."""

    name: str = "20 k votes × 50 models"
    votes: int = 20_000
    models: int = 50
    voters: int = 400
    skill: float = 0.7
    tie: float = 0.35
    much: float = 1.5
    winner_only: float = 0.0
    voters_known: bool = True
    rounds: float = 1.0


SIZES = [
    Size(),
    Size("2 k votes", votes=2_000, voters=100, rounds=2),
    Size("5 k votes", votes=5_000, voters=100),
    Size("100 k votes", votes=100_000, voters=2_000, rounds=0.5),
    Size("1 k votes × 10 models", votes=1_000, models=10, voters=50, rounds=3),
    Size("20 k votes × 10 models", models=10, rounds=2),
    Size("2.5 k votes × 250 models", votes=2_500, models=250, voters=100, rounds=0.3),
    Size("100 k votes × 250 models", votes=100_000, models=250, voters=2_000, rounds=0.15),
    Size("5 votes a voter", voters=4_000),
    Size("500 votes a voter", voters=40),
    Size("voters unknown", voters_known=False),
    Size("ties rare", tie=0.05),
    Size("ties frequent", tie=1.0, much=2.0),
    Size("half of the votes winner-only", winner_only=0.5),
    Size("strengths close (SD 0.2)", skill=0.2),
]


# --- voters -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Votes:
    """Votes [n] and what lies behind them: strengths [M], and by how much A looked better."""

    theta: FloatArray
    model_a: IntArray
    model_b: IntArray
    voter: IntArray
    lead: FloatArray


Habit = Callable[[Generator, Size, Votes], tuple[FloatArray | float, BoolArray]]
"""From which lead a voter calls a winner, and where they would say "much better" [n]."""


def coins(rng: Generator, n: int, chance: FloatArray | float) -> BoolArray:
    heads: BoolArray = rng.random(n) < chance
    return heads


def informative(_: Generator, size: Size, votes: Votes) -> tuple[float, BoolArray]:
    """All voters have the same thresholds."""
    return size.tie, np.abs(votes.lead) > size.much


def scales_differ(rng: Generator, size: Size, votes: Votes) -> tuple[FloatArray, BoolArray]:
    """Each voter multiplies both thresholds by a factor of their own."""
    factor = np.exp(rng.normal(0, 0.6, size.voters))[votes.voter]
    return size.tie * factor, np.abs(votes.lead) > size.much * factor


def opposite_habits(rng: Generator, size: Size, votes: Votes) -> tuple[float, BoolArray]:
    """Half of the voters say "much better" of nearly any win, the others of nearly none."""
    much = size.tie + np.where(coins(rng, size.voters, 0.5), 0.1, 3.5)[votes.voter]
    return size.tie, np.abs(votes.lead) > much


def regardless(rng: Generator, size: Size, votes: Votes) -> tuple[float, BoolArray]:
    """Opposite habits that do not look at the lead in six of ten votes, and do in the others."""
    often = np.where(coins(rng, size.voters, 0.5), 0.95, 0.05)[votes.voter]
    blind = coins(rng, size.votes, 0.6)
    return size.tie, np.where(blind, coins(rng, size.votes, often), np.abs(votes.lead) > size.much)


def noise(rng: Generator, size: Size, _: Votes) -> tuple[float, BoolArray]:
    """A coin decides between the steps."""
    return size.tie, coins(rng, size.votes, 0.5)


def own_noise(rng: Generator, size: Size, votes: Votes) -> tuple[float, BoolArray]:
    """Every voter has a biased coin of their own."""
    return size.tie, coins(rng, size.votes, rng.beta(0.7, 0.7, size.voters)[votes.voter])


def another_quality(rng: Generator, size: Size, votes: Votes) -> tuple[float, BoolArray]:
    """The step says how showy the winner is, which has nothing to do with its strength."""
    showy = rng.normal(0, 1, size.models)
    winner = np.where(votes.lead > 0, votes.model_a, votes.model_b)
    return size.tie, rng.logistic(size=size.votes) + np.abs(votes.lead) - size.much > showy[winner]


POPULATIONS: dict[str, Habit] = {
    "informative": informative,
    "scales differ": scales_differ,
    "opposite habits": opposite_habits,
    "habits, regardless": regardless,
    "noise": noise,
    "noise, own rates": own_noise,
    "another quality": another_quality,
}


def drawn(rng: Generator, size: Size, habit: Habit) -> tuple[Votes, IntArray]:
    """Votes of a population, and their outcomes [n]."""
    theta = rng.normal(0, size.skill, size.models)
    a = rng.integers(0, size.models, size.votes)
    b = (a + rng.integers(1, size.models, size.votes)) % size.models
    lead = theta[a] - theta[b] + rng.logistic(size=size.votes)
    votes = Votes(theta - theta.mean(), a, b, rng.integers(0, size.voters, size.votes), lead)
    tie, much = habit(rng, size, votes)
    step = np.where(np.abs(lead) < tie, 0, np.where(much, 2, 1)) * np.sign(lead).astype(np.int64)
    outcome = Outcome.tie - step
    bare = Outcome.tied - np.sign(step)
    return votes, np.where(coins(rng, size.votes, size.winner_only), bare, outcome)


# --- one log, many logs -------------------------------------------------------------------------


@dataclass(frozen=True)
class Round:
    """Mean squared errors by variant, and what was chosen on what evidence."""

    scaled: dict[str, float]
    raw: dict[str, float]
    chosen: str
    slight_score: float | None
    estimated: dict[str, float]


def one_round(rng: Generator, size: Size, habit: Habit) -> Round:
    votes, outcome = drawn(rng, size, habit)
    counts, groups = counted(votes, outcome, size)
    choice = choose(counts, groups)
    fits = {
        "bt": bradley_terry.fit(counts),
        "pooled": graded.fit(counts),
        "by_voter_habit": graded.fit([group for group in groups if group.counts.any()]),
        "stereotype": graded.stereotype(counts),
    }
    theta = {variant: fitted.theta - fitted.theta.mean() for variant, fitted in fits.items()}
    scale = {variant: (y @ votes.theta) / (y @ y) for variant, y in theta.items()}
    return Round(
        scaled={v: float(((scale[v] * y - votes.theta) ** 2).mean()) for v, y in theta.items()},
        raw={v: float(((y - votes.theta) ** 2).mean()) for v, y in theta.items()},
        chosen=choice.variant or "bt",
        slight_score=choice.slight_score,
        estimated={variant: gain.gain for variant, gain in choice.gains.items()},
    )


def counted(votes: Votes, outcome: IntArray, size: Size) -> tuple[PairCounts, list[PairCounts]]:
    voter = votes.voter if size.voters_known else np.full_like(votes.voter, -1)
    habit = graded.strata_by_habit(voter, outcome)
    groups = [PairCounts(size.models) for _ in range(graded.HABITS)]
    for number, group in enumerate(groups):
        own = habit == number
        group.add(votes.model_a[own], votes.model_b[own], outcome[own])
    counts = PairCounts(size.models)
    counts.add(votes.model_a, votes.model_b, outcome)
    return counts, groups


@dataclass(frozen=True)
class Ratio:
    """How many times smaller the mean squared error is than Bradley-Terry's."""

    value: float
    se: float

    @classmethod
    def of(cls, rounds: list[Round], pick: Callable[[Round], str], *, raw: bool = False) -> Ratio:
        errors = [one.raw if raw else one.scaled for one in rounds]
        base = np.array([error["bt"] for error in errors])
        own = np.array([error[pick(one)] for error, one in zip(errors, rounds, strict=True)])
        value = base.mean() / own.mean()
        rest = (base - value * own) / own.mean()  # delta method
        return cls(float(value), float(rest.std(ddof=1) / np.sqrt(len(rounds))))

    def __str__(self) -> str:
        return f"{self.value:.2f} ±{self.se:.2f}"


def chosen(one: Round) -> str:
    return one.chosen


def always(variant: str) -> Callable[[Round], str]:
    return lambda _: variant


# --- the table ----------------------------------------------------------------------------------


def row(name: str, rounds: list[Round], *, raw: bool) -> str:
    ratios = [Ratio.of(rounds, always(variant), raw=raw) for variant in VARIANTS[1:]]
    estimates = [mean(one.estimated.get(variant) for one in rounds) for variant in VARIANTS[1:]]
    cells = [f"{ratio} ({estimate})" for ratio, estimate in zip(ratios, estimates, strict=True)]
    score = mean(one.slight_score for one in rounds)
    picks = Counter(map(chosen, rounds))
    often = ", ".join(f"{100 * picks[v] / len(rounds):.0f} % {v}" for v in VARIANTS if picks[v])
    automatic = f"**{Ratio.of(rounds, chosen, raw=raw)}**"
    return f"| {' | '.join([name, score, *cells, automatic, often])} |"


def mean(values: Iterable[float | None]) -> str:
    """Over the logs that had evidence."""
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.2f}" if known else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100, help="logs of the first size")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    parser.add_argument("--only", default="", help="only sizes whose name contains this")
    parser.add_argument("--raw", action="store_true", help="leave the scale of each fit as it is")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for size in SIZES:
        if args.only not in size.name:
            continue
        print(f"\n### {size.name}\n")
        print("| voters | ŝ | pooled (estimated) | by habit | stereotype | automatic | chosen |")
        print("|---|---|---|---|---|---|---|")
        for name, habit in POPULATIONS.items():
            rounds = max(4, round(args.rounds * size.rounds / (10 if args.quick else 1)))
            rng = np.random.default_rng([args.seed, *name.encode(), *size.name.encode()])
            results = []
            for number in range(rounds):
                progress(f"{size.name}, {name}: {number} of {rounds} logs")
                results.append(one_round(rng, size, habit))
            progress("")
            print(row(name, results, raw=args.raw), flush=True)


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
