#!/usr/bin/env python3
"""Can timing and sizes tell which model is on which side? Simulated battles and a classifier.

Two of ten kinds of upstream answer; a browser receives frames, and a gradient-boosting classifier
sees everything of them except the words, is told the pair, and says which side is which. Ways of
sending stand side by side over the same answers: a relay without a defence that forwards each chunk
when it arrives, and the arena's own pacing (`arena.runner`, ticked by a simulated clock), with and
without the part that hides the end of the shorter answer. What that part costs is printed too: how
much longer turns last than until both answers are there.

    .venv/bin/python scripts/side_channels.py [--battles 10000] [--seed 1]
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[1]))

from arena import identity
from arena.battle import Battle, BattleState
from arena.interfaces import Deadlines, Finished, ModelEntry
from arena.pacing import Lockstep, Pace, Step
from arena.relay import HEARTBEAT_SECONDS
from arena.runner import _RunningTurn, _Side

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Pair = tuple[int, int]
Lengths = Callable[[Generator, int], int]

TICK = 0.1
TOKEN = 4  # code points
SHORTEST, LONGEST = 8, 2000  # code points of an answer
GOAL = 0.55


# --- the upstreams ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Upstream:
    """How one model's endpoint sends: tokens a second, seconds to the first, and its habits."""

    name: str
    speed: float
    first: float
    chunk: int = TOKEN
    """Code points of one chunk."""
    jitter: float = 0.3
    """Of the time of one token: its standard deviation over its mean."""
    flush: float = 0.0
    """Seconds between two flushes of a buffer on the way; 0: none."""
    pause: float = 0.0
    """The chance of a pause for thought before a token; it takes 0.5 to 3 seconds."""
    end: float | None = None
    """Seconds, on average, from the last text to the end of the stream (a count of the tokens may
    come before it); None: the end is a token like all others."""

    def answer(self, rng: Generator, length: int) -> Arrivals:
        """One answer of so many code points."""
        tokens = math.ceil(length / TOKEN)
        pace = rng.lognormal(0, 0.12) / self.speed
        shape = self.jitter**-2
        gaps = rng.gamma(shape, pace / shape, tokens)
        gaps += (rng.random(tokens) < self.pause) * rng.uniform(0.5, 3, tokens)
        gaps[0] += self.first * rng.lognormal(0, 0.35)
        per_char = np.repeat(np.cumsum(gaps), TOKEN)[:length]
        if self.chunk < TOKEN:  # a token is sent letter by letter
            per_char = per_char - np.tile(np.arange(TOKEN)[::-1], tokens)[:length] * pace / TOKEN
        ends = np.append(np.arange(self.chunk, length, self.chunk), length)
        times = np.maximum.accumulate(per_char[ends - 1])
        if self.flush:
            times = np.ceil(times / self.flush + rng.random()) * self.flush
        end = rng.gamma(shape, pace / shape) if self.end is None else rng.exponential(self.end)
        return Arrivals(times, np.diff(ends, prepend=0), times[-1] + end)


@dataclass(frozen=True)
class Arrivals:
    """When [n] how many code points [n] of an answer arrive, and when its end does; seconds."""

    times: Floats
    sizes: Ints
    end: float

    @property
    def length(self) -> int:
        return int(self.sizes.sum())


UPSTREAMS = (
    Upstream("crawling", 5, 0.8),
    Upstream("slow, irregular", 9, 0.5, jitter=1.2),
    Upstream("letter by letter", 20, 0.4, chunk=1),
    Upstream("pausing", 30, 0.5, pause=0.01, end=0.3),
    Upstream("in bursts", 35, 0.6, flush=1.0, end=0.0),
    Upstream("slow start", 40, 6.0, chunk=2 * TOKEN),
    Upstream("steady", 50, 0.3, jitter=0.1),
    Upstream("by paragraph", 60, 0.5, chunk=300, end=0.0),
    Upstream("by sentence", 90, 0.3, chunk=80),
    Upstream("fast", 200, 0.15, chunk=5 * TOKEN, end=0.3),
)
PAIRS = tuple(combinations(range(len(UPSTREAMS)), 2))


def alike(rng: Generator, _: int) -> int:
    """An answer's length: the same distribution whatever the model."""
    return int(np.clip(rng.lognormal(math.log(600), 0.8), SHORTEST, LONGEST))


def differing(rng: Generator, model: int) -> int:
    """Lengths of models that are brief or talkative, in no order of their speeds."""
    factor = 2 ** (2 * (7 * model % len(UPSTREAMS)) / (len(UPSTREAMS) - 1) - 1)
    return int(np.clip(rng.lognormal(math.log(600 * factor), 0.8), SHORTEST, LONGEST))


# --- what a browser receives --------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """Of one turn: when [n] so many code points of both sides [n, 2] came, and the end; seconds.

    Everything else that is sent (ids, JSON, headers) follows from these and the words.
    """

    times: Floats
    sizes: Ints
    end: float


Sides = tuple[Arrivals, Arrivals]


def relayed(sides: Sides) -> Seen:
    """No defence: each chunk is forwarded as it arrives."""
    times = np.concatenate([side.times for side in sides])
    order = np.argsort(times, kind="stable")
    sizes = np.zeros((len(times), 2), np.int64)
    sizes[: len(sides[0].times), 0] = sides[0].sizes
    sizes[len(sides[0].times) :, 1] = sides[1].sizes
    return Seen(times[order], sizes[order], max(side.end for side in sides))


_MODEL = ModelEntry("m", "M", base_url="http://nowhere.test", model="m")
_BATTLE = Battle("b", "online", "v", BattleState.running, "m", "m", 1.0, "uniform", 1, "now")


def _side() -> _Side:
    return _Side(_MODEL, [], identity.Lookout(identity.names_of([_MODEL])))


def paced(sides: Sides, phase: float, pace: Lockstep) -> Seen:
    """As the runner sends it: its own code, at ticks of a simulated clock."""
    turn = _RunningTurn(_BATTLE, 1, (_side(), _side()), pace=pace, taken_in=0.0)
    due = [np.ceil(side.times / TICK + phase).astype(int).tolist() for side in sides]
    ends = [math.ceil(side.end / TICK + phase) for side in sides]
    texts = [["x" * size for size in side.sizes.tolist()] for side in sides]
    at, times, tick = [0, 0], [], 0
    while not turn.complete:
        tick += 1
        for number, side in enumerate(turn.sides):
            while at[number] < len(due[number]) and due[number][at[number]] <= tick:
                side.arrived.append(texts[number][at[number]])
                at[number] += 1
            if ends[number] <= tick and side.finished is None:
                side.finished = Finished("stop")
        if turn.tick(tick * TICK) is not None:
            times.append(tick)
    return Seen(np.array(times) * TICK, np.array(turn.steps()), tick * TICK)


RELAY, NO_WAIT, ARENA = "a relay without a defence", "lockstep without the wait", "the pacing"


def sent(rng: Generator, how: str, sides: Sides) -> Seen:
    if how == RELAY:
        return relayed(sides)
    return paced(sides, rng.random(), Lockstep(Deadlines().total if how == ARENA else 0.0))


# --- what an observer makes of it ---------------------------------------------------------------

Features = dict[str, float]
_PLACES = (0.1, 0.25, 0.5, 0.75, 0.9)


def features(seen: Seen, pair: Pair) -> Features:
    """Numbers of one turn in terms of the longer and the shorter answer, which all can see.

    So the question is whether the pair's first model wrote the longer one. The observer knows the
    arena's code.
    """
    lengths = seen.sizes.sum(axis=0)
    long, short = (0, 1) if lengths[0] >= lengths[1] else (1, 0)
    found: Features = {
        "pair": PAIRS.index(pair),
        "longer": float(lengths[long]),
        "shorter": float(lengths[short]),
        "is a longer": float(long == 0),
        "events": float(len(seen.times)),
        "end": seen.end,
        "heartbeats": float((np.diff(seen.times, prepend=0) // HEARTBEAT_SECONDS).sum()),
    }
    for name, side in (("long", long), ("short", short)):
        own = seen.sizes[:, side] > 0
        course = _course(seen.times[own], seen.sizes[own, side])
        found |= {f"{name} {what}": value for what, value in course.items()}
        for place, model in enumerate(pair):
            it = UPSTREAMS[model]
            expected = it.first + lengths[side] / TOKEN / it.speed
            found[f"end - {place} as {name}"] = seen.end - expected
            found[f"end / {place} as {name}"] = seen.end / expected
    equal = seen.sizes[:, 0] == seen.sizes[:, 1]
    together = len(equal) if equal.all() else int(np.argmin(equal))
    for back in (0, 1, 2):  # the first steps of the rest may be equal too
        if 1 <= together - back < len(seen.times):
            pause = _pause(seen, together - back, lengths[[long, short]], pair)
            found |= {f"{what} ({back})": value for what, value in pause.items()}
    return found


def _course(times: Floats, sizes: Ints) -> Features:
    """Statistics of one side's arrivals: the first and last ones, and how they are spread."""
    gaps = np.diff(times)
    if not len(gaps):
        return {"first": float(times[0]), "last": float(times[0])}
    found = {
        "first": float(times[0]),
        "last": float(times[-1]),
        "first size": float(sizes[0]),
        "last size": float(sizes[-1]),
        "size before": float(sizes[-2]),
        "last gap": float(gaps[-1]),
        "gap before": float(gaps[-2]) if len(gaps) > 1 else math.nan,
        "rate": float(sizes[1:].sum() / max(times[-1] - times[0], TICK)),
        "gap mean": float(gaps.mean()),
        "gap sd": float(gaps.std()),
        "gap most": float(gaps.max()),
        "size sd": float(sizes.std()),
        "size most": float(sizes.max()),
        "count": float(len(times)),
    }
    for values, what in ((gaps, "gap"), (sizes, "size")):
        at = np.quantile(values, _PLACES)
        found |= {f"{what} at {q}": float(v) for q, v in zip(_PLACES, at, strict=True)}
    return found


def _pause(seen: Seen, at: int, lengths: Ints, pair: Pair) -> Features:
    """The standstill before frame `at` and the course from there on: against what was left, both
    speeds, and what the pacing foresees."""
    level = int(seen.sizes[:at].sum(axis=0).min())
    left = float(max(1, lengths[0] - level))
    pause = float(seen.times[at] - seen.times[at - 1])
    rate = level / max(TICK, seen.times[at - 1] - seen.times[0])
    seconds = np.diff(seen.times[:at], prepend=0)
    steps = [Step(*step) for step in zip(seconds, seen.sizes[:at, 0].tolist(), strict=True)]
    pace, shown = Pace.of(steps), seen.sizes[at:].max(axis=1).cumsum()
    late = seen.times[at:] - seen.times[at - 1] - [pace.seconds(int(amount)) for amount in shown]
    gaps = np.diff(seen.times[at - 1 :])
    found = {
        "pause": pause,
        "left": left,
        "left / pause": left / pause if pause else math.nan,
        "left / pause / rate": left / pause / rate if pause and rate else math.nan,
        "shorter - level": float(lengths[1] - level),
        "late at first": float(late[0]),
        "late at last": float(late[-1]),
        "late at most": float(late.max()),
        "late mean": float(late.mean()),
        "rest gap most": float(gaps.max()),
        "rest gap most / most": float(gaps.max() / seconds.max()),
        "rest gap sd": float(gaps.std()),
    }
    for place, model in enumerate(pair):
        speed = UPSTREAMS[model].speed * TOKEN
        found[f"pause · speed {place} / left"] = pause * speed / left
        found[f"rate / speed {place}"] = rate / speed
    return found


@dataclass(frozen=True)
class Battles:
    """Many battles: by sender what was seen [n, features] with the features' names, and by battle
    the pair [n], the length of the shorter answer [n], the seconds until both answers were there
    [n], and whether the pair's first model wrote the longer one [n]."""

    seen: dict[str, Floats]
    names: dict[str, list[str]]
    pairs: Ints
    shorter: Ints
    there: Floats
    truth: Bools


def simulate(
    seed: int,
    count: int,
    hows: Sequence[str],
    lengths: Lengths = alike,
    pairs: Sequence[Pair] = PAIRS,
) -> Battles:
    """Battles of these pairs in turn, each sent in these ways; one past the deadline is void."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[Features]] = {how: [] for how in hows}
    told, shorter, there, truth = [], [], [], []
    while len(told) < count:
        pair = pairs[len(told) % len(pairs)]
        models = pair if rng.random() < 0.5 else pair[::-1]  # noqa: PLR2004  a coin
        a, b = (UPSTREAMS[model].answer(rng, lengths(rng, model)) for model in models)
        if max(a.end, b.end) > Deadlines().total:
            continue
        for how in hows:
            rows[how].append(features(sent(rng, how, (a, b)), pair))
        told.append(PAIRS.index(pair))
        shorter.append(min(a.length, b.length))
        there.append(max(a.end, b.end))
        truth.append((a.length >= b.length) == (models[0] == pair[0]))
    names = {how: sorted({key for row in found for key in row}) for how, found in rows.items()}
    table = {
        how: np.array([[row.get(key, math.nan) for key in names[how]] for row in found])
        for how, found in rows.items()
    }
    return Battles(
        table, names, np.array(told), np.array(shorter), np.array(there), np.array(truth)
    )


def guess(seen: Floats, names: Sequence[str], truth: Bools, seed: int, rounds: int = 250) -> Bools:
    """Whether each battle was guessed rightly [n], by a classifier that was fitted to others."""
    model = HistGradientBoostingClassifier(
        max_iter=rounds,
        learning_rate=0.05,
        l2_regularization=1.0,
        categorical_features=[names.index("pair")],
        random_state=seed,
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    with threadpool_limits(1):  # threads that wait for each other cost more than they save
        right: Bools = cross_val_predict(model, seen, truth, cv=folds) == truth
    return right


@dataclass(frozen=True)
class Share:
    """A share of `count`, with Wilson's 95 % interval."""

    value: float
    lower: float
    upper: float
    count: int

    @classmethod
    def of(cls, right: Bools) -> Share:
        n, p, z = len(right), float(right.mean()), 1.96
        centre, half = p + z * z / 2 / n, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
        whole = 1 + z * z / n
        return cls(p, (centre - half) / whole, (centre + half) / whole, n)

    def __str__(self) -> str:
        return f"{self.value:6.1%}  [{self.lower:.1%}, {self.upper:.1%}]  of {self.count}"


@dataclass(frozen=True)
class Cost:
    """How much longer turns last than until both answers are there: seconds, shares of the turn."""

    turn: float
    excess: Floats
    shares: Floats

    @classmethod
    def of(cls, battles: Battles, how: str) -> Cost:
        end = battles.seen[how][:, battles.names[how].index("end")]
        excess = end - battles.there
        return cls(float(end.mean()), excess, excess / end)

    @property
    def share(self) -> float:
        """Of all the time that turns last."""
        return float(self.excess.mean() / self.turn)

    def __str__(self) -> str:
        def spread(values: Floats, form: str) -> str:
            figures = (values.mean(), np.median(values), np.quantile(values, 0.9), values.max())
            return ", ".join(format(figure, form) for figure in figures)

        return (
            f"{self.turn:.1f} s, {self.share:.0%} of it after both answers were there; mean,"
            f" median, p90, most: {spread(self.excess, '.1f')} s; {spread(self.shares, '.0%')}"
        )


# --- the report ---------------------------------------------------------------------------------


def classes(battles: Battles) -> dict[str, Bools]:
    """Which battles [n] belong to each class of pairs, and to each class of lengths."""
    speeds = np.array([[UPSTREAMS[model].speed for model in pair] for pair in PAIRS])
    ratio = (speeds.max(axis=1) / speeds.min(axis=1))[battles.pairs]
    found = {
        "one up to 2 times as fast": ratio <= 2,  # noqa: PLR2004  named beside it
        "2 to 5 times": (ratio > 2) & (ratio <= 5),  # noqa: PLR2004
        "more than 5 times": ratio > 5,  # noqa: PLR2004
    }
    for number, upstream in enumerate(UPSTREAMS):
        with_it = np.array([number in pair for pair in PAIRS])
        found[f"with {upstream.name}"] = with_it[battles.pairs]
    for low, high in pairwise((0, 100, 300, 1000, LONGEST + 1)):
        of_size = (battles.shorter >= low) & (battles.shorter < high)
        found[f"shorter answer {low} to {high - 1}"] = of_size
    return found


def report(battles: Battles, how: str, seed: int) -> Share:
    """Print what the classifier makes of one way of sending."""
    seen, names = battles.seen[how], battles.names[how]
    right = guess(seen, names, battles.truth, seed)
    share = Share.of(right)
    print(f"\n{how}: {share}")
    print(f"  turns last {Cost.of(battles, how)}")
    for name, chosen in classes(battles).items():
        if chosen.any():
            print(f"  {name:32}{Share.of(right[chosen])}", flush=True)
    return share


def report_differing(count: int, seed: int) -> None:
    """The harder case: lengths that differ by model tell by themselves, however they are sent."""
    battles = simulate(seed, count, [ARENA], differing)
    seen, names = battles.seen[ARENA], battles.names[ARENA]
    known = ["longer", "pair", "shorter"]
    lengths = seen[:, [names.index(name) for name in known]]
    print("\nlengths that differ by model (up to 4 times): the words' number tells by itself")
    print(
        f"  lengths alone                   {Share.of(guess(lengths, known, battles.truth, seed))}"
    )
    print(f"  and all that the pacing shows   {Share.of(guess(seen, names, battles.truth, seed))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--battles", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{options.battles} battles, {len(PAIRS)} pairs, seed {options.seed}: guessed rightly")
    battles = simulate(options.seed, options.battles, [RELAY, NO_WAIT, ARENA])
    shares = {how: report(battles, how, options.seed) for how in battles.seen}
    report_differing(options.battles // 2, options.seed)
    kept = "kept" if shares[ARENA].value <= GOAL else "MISSED"
    print(f"\ngoal: at most {GOAL:.0%} by the pacing: {kept} ({shares[ARENA].value:.1%});", end=" ")
    print(f"without a defence {shares[RELAY].value:.1%}")


if __name__ == "__main__":
    main()
