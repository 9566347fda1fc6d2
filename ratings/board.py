"""A board: from counted votes and the method's options to rows, with nothing left to choose.

The same votes and the same options give the same rows to far below what is shown, wherever and
whenever they are computed: a fit starts anywhere and ends at the maximum, and randomness is seeded.
(The stereotype model alone is not concave: there a far start could in principle end at another
maximum.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from ratings import bradley_terry, graded, scale
from ratings.comparisons import BoolArray, FloatArray, Outcome, PairCounts
from ratings.connectivity import connectivity
from ratings.elo import Elo, K
from ratings.errors import BadOption, BadParameter
from ratings.fitting import TOLERANCE, Fit, Start
from ratings.intervals import Ballots, Intervals, bootstrap, sandwich
from ratings.ranking import rank

LEVEL = 0.95

_FITS = {
    "bt": bradley_terry.fit,
    "davidson": bradley_terry.davidson,
    "rao-kupper": bradley_terry.rao_kupper,
}
_SCORES = np.zeros(len(Outcome))
"""What side A scored, by outcome."""
_SCORES[[Outcome.a_much_better, Outcome.a_better, Outcome.a_won]] = 1.0
_SCORES[[Outcome.tie, Outcome.tied]] = 0.5
_AT_ONCE = 2**16  # votes whose scores are in memory
_BOOTSTRAP_ROUNDS = 1000
_SEED = 20260101
"""Randomness of bootstrap and simultaneous ranks: fixed, so that anyone gets the same board."""


@dataclass(frozen=True, slots=True)
class Options:
    """How votes become ratings; `pinned` says every number.

    `name` is `bt`, `davidson`, `rao-kupper`, `graded` or `elo`; `variant` is `pooled`,
    `by_voter_habit` or `stereotype` for `graded` and None otherwise. `interval` is `sandwich` or
    `bootstrap`; `clustered` lets the votes of one voter depend on each other in the sandwich;
    `weights` may be `inverse_propensity`, `ranks` is `pairwise` or `simultaneous`. `anchor` is a
    model and the rating it has.
    """

    name: str = "bt"
    variant: str | None = None
    interval: str = "sandwich"
    clustered: bool = False
    weights: str | None = None
    ranks: str = "pairwise"
    anchor: tuple[str, float] | None = None

    @property
    def is_random(self) -> bool:
        """Whether random numbers are behind the board."""
        return self.interval == "bootstrap" or self.ranks == "simultaneous"

    def pinned(self) -> dict[str, Any]:
        """Everything that a board depends on besides which votes it is of."""
        shared = {
            "method": self.name,
            "scale": {"base": scale.BASE, "width": scale.WIDTH, "mean": scale.MEAN},
            "anchor": self.anchor and {"model": self.anchor[0], "rating": float(self.anchor[1])},
        }
        if self.name == "elo":
            return shared | {"k": K, "interval": None}
        return shared | {
            "variant": self.variant,
            "ties": "half_win" if self.name == "bt" else "modelled",
            "interval": self.interval,
            "rounds": _BOOTSTRAP_ROUNDS if self.interval == "bootstrap" else None,
            "clustered": "voter" if self.clustered else None,
            "weights": self.weights,
            "ranks": self.ranks,
            "seed": _SEED if self.is_random else None,
            "level": LEVEL,
            "min_votes": 1,
            "unbounded": "one virtual tie, open interval",
            "tolerance": TOLERANCE,
        }

    @classmethod
    def of(cls, pinned: Mapping[str, Any]) -> Self:
        """The options that pin this.

        Raises `BadParameter` for what no options of this program pin.
        """
        try:
            anchor = pinned["anchor"]
            options = cls(
                name=pinned["method"],
                variant=pinned.get("variant"),
                interval=pinned["interval"] or "sandwich",
                clustered=pinned.get("clustered") is not None,
                weights=pinned.get("weights"),
                ranks=pinned.get("ranks", "pairwise"),
                anchor=anchor and (anchor["model"], float(anchor["rating"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadParameter("the configuration is incomplete") from error
        if options.name not in (*_FITS, "graded", "elo") or options.pinned() != pinned:
            raise BadParameter("the configuration is of another program")
        return options


# --- votes --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """The votes of one board: models by their place in `names`, which are sorted.

    `ballots` gives them one by one, in log order, and `propensity` [n] the probability with which
    each one's pair was drawn, NaN where unknown; few methods ask for them.
    """

    names: list[str]
    counts: PairCounts
    ballots: Callable[[], Ballots]
    propensity: Callable[[], FloatArray]

    def habits(self) -> Ballots | None:
        """The ballots in groups by how often voters use the outer grades.

        None where that cannot be known: no vote has a grade, or none has a voter.
        """
        ballots = self.ballots()
        if not self.counts.graded.any() or (ballots.voter < 0).all():
            return None
        group = graded.strata_by_habit(ballots.voter, ballots.outcome)
        there = np.bincount(group, minlength=graded.HABITS) > 0
        return replace(ballots, group=(np.cumsum(there, dtype=np.int8) - 1)[group])

    def by_habit(self, *, weighted: bool = False) -> list[PairCounts] | None:
        """Counts of each group of `habits`."""
        ballots = self.habits()
        if ballots is None or ballots.group is None:
            return None
        group = ballots.group
        ballots = replace(ballots, weight=self.weight() if weighted else None)
        return [
            _count(ballots, len(self.names), np.equal(group, number))
            for number in range(int(group.max()) + 1)
        ]

    def weighted(self) -> PairCounts:
        """The counts by `weight`."""
        ballots = replace(self.ballots(), weight=self.weight())
        return _count(ballots, len(self.names), np.ones(len(ballots.outcome), np.bool_))

    def weight(self) -> FloatArray:
        """1/propensity of every vote, 1 on the average.

        Raises `BadOption` where a vote has no propensity.
        """
        propensity = self.propensity()
        unknown = int(np.isnan(propensity).sum())
        if unknown:
            raise BadOption(
                f"{unknown} votes have no propensity, so they cannot be weighted by it.",
                option="weights",
            )
        weight: FloatArray = 1 / propensity
        return weight / weight.mean() if len(weight) else weight


def _count(ballots: Ballots, n_models: int, chosen: BoolArray) -> PairCounts:
    weight = ballots.weight
    counts = PairCounts(n_models, weighted=weight is not None)
    counts.add(
        ballots.model_a[chosen],
        ballots.model_b[chosen],
        ballots.outcome[chosen],
        None if weight is None else weight[chosen],
    )
    return counts


# --- rows ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One model of a board. Ratings are on the Elo scale, a bound may be infinite.

    Ranks hold inside the row's `component` (from 1, the largest): models of different components
    share no scale. `grades` counts the graded votes as the model sees them, from won much to lost
    much. `mean_win_rate` is HELM's: the mean, over the opponents met, of the share won (ties half).
    """

    model: str
    rank: int
    rank_lower: int | None
    rank_upper: int | None
    rating: float
    rating_lower: float
    rating_upper: float
    votes: int
    wins: int
    losses: int
    ties: int
    grades: tuple[int, int, int, int, int]
    component: int
    mean_win_rate: float

    def to_json(self) -> dict[str, Any]:
        """The row as it is published: infinite bounds are null."""
        row = {name: getattr(self, name) for name in _ROW_FIELDS}
        for bound in ("rating_lower", "rating_upper"):
            if not math.isfinite(row[bound]):
                row[bound] = None
        row["grades"] = list(self.grades)
        return row


_ROW_FIELDS = tuple(f.name for f in fields(Row))


@dataclass(frozen=True, slots=True, eq=False)
class Rated:
    """The rows, best first, and what is behind them.

    `fitted` is None for Elo, which fits nothing; `foretold` [M, M] is then the share that i is to
    score against j, NaN across components, and None for all other methods.
    """

    rows: tuple[Row, ...]
    converged: bool
    components: int
    fitted: Fit | None = None
    foretold: FloatArray | None = None


def rate(votes: Votes, options: Options, start: Start | None = None) -> Rated:
    """Rate all models that have votes. A `start` saves steps and changes nothing beyond 1e-9 nats.

    Raises `BadOption` for an anchor that has no votes here, and for intervals or weights that these
    votes cannot have.
    """
    anchor = _anchor(votes.names, options.anchor)
    if options.name == "elo":
        return _elo(votes, anchor)
    fitted = fit(votes, options, start)
    intervals = _intervals(votes, options, fitted)
    simultaneous = np.random.default_rng(_SEED) if options.ranks == "simultaneous" else None
    ranks = rank(fitted, intervals, simultaneous)
    zero = scale.zero_points(fitted.theta, fitted.connectivity, anchor)
    rows = _rows(
        votes,
        rank=ranks.rank,
        rank_lower=ranks.lower,
        rank_upper=ranks.upper,
        rating=scale.to_rating(fitted.theta, zero),
        rating_lower=scale.to_rating(intervals.lower, zero),
        rating_upper=scale.to_rating(intervals.upper, zero),
        component=fitted.connectivity.component + 1,
    )
    return Rated(rows, fitted.converged, fitted.connectivity.n_components, fitted)


def fit(votes: Votes, options: Options, start: Start | None = None, *, side: bool = False) -> Fit:
    """The maximum of the method's likelihood, if wanted with the effect of being shown first."""
    counts = votes.counts if options.weights is None else votes.weighted()
    if options.name != "graded":
        return _FITS[options.name](counts, side=side, start=start)
    if options.variant == "stereotype":
        return graded.stereotype(counts, side=side, start=start)
    weighted = options.weights is not None
    groups = votes.by_habit(weighted=weighted) if options.variant == "by_voter_habit" else None
    return graded.fit(groups or counts, side=side, start=start)


def _intervals(votes: Votes, options: Options, fitted: Fit) -> Intervals:
    if options.interval == "bootstrap":
        rng = np.random.default_rng(_SEED)
        return bootstrap(fitted, rng, rounds=_BOOTSTRAP_ROUNDS, level=LEVEL)
    if not options.clustered:
        return sandwich(fitted, LEVEL)
    grouped = votes.habits() if options.variant == "by_voter_habit" else None
    ballots = replace(
        grouped or votes.ballots(), weight=None if options.weights is None else votes.weight()
    )
    if len(ballots.voter) and ballots.voter.max() < 0:
        raise BadOption(
            "No vote says who cast it, so intervals cannot go by voter.", option="clustered"
        )
    try:
        return sandwich(fitted, LEVEL, ballots)
    except BadParameter as error:
        raise BadOption(f"{str(error).capitalize()}.", option="clustered") from error


def _elo(votes: Votes, anchor: scale.Anchor | None) -> Rated:
    """Online Elo in log order. It has no honest interval, so no bounds and no range of ranks."""
    names, counts, ballots = votes.names, votes.counts, votes.ballots()
    elo = Elo(len(names))
    for start in range(0, len(ballots.outcome), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        elo.update(ballots.model_a[part], ballots.model_b[part], _SCORES[ballots.outcome[part]])
    rating = elo.result().ratings
    if anchor is not None:
        rating += anchor.rating - rating[anchor.model]
    component = connectivity(counts.wins() + counts.ties()).component
    unknown = np.full(len(names), None)
    together = component[:, None] == component
    better = (rating[:, None] > rating) & together
    rows = _rows(
        votes,
        rank=1 + better.sum(axis=0),
        rank_lower=unknown,
        rank_upper=unknown,
        rating=rating,
        rating_lower=np.full(len(names), -np.inf),
        rating_upper=np.full(len(names), np.inf),
        component=component + 1,
    )
    return Rated(
        rows,
        converged=True,
        components=int(component.max(initial=-1)) + 1,
        foretold=np.where(together, expit((rating[:, None] - rating) / scale.PER_NAT), np.nan),
    )


def _anchor(names: list[str], anchor: tuple[str, float] | None) -> scale.Anchor | None:
    if anchor is None:
        return None
    model, rating = anchor
    if model not in names:
        raise BadOption(f"The anchor '{model}' has no votes here.", option="anchor")
    return scale.Anchor(names.index(model), rating)


def _rows(votes: Votes, **columns: npt.NDArray[Any]) -> tuple[Row, ...]:
    counts = votes.counts
    wins, ties = counts.wins(), counts.ties()
    columns |= {
        "votes": (wins + wins.T + ties).sum(axis=1).astype(np.int64),
        "wins": wins.sum(axis=1).astype(np.int64),
        "losses": wins.sum(axis=0).astype(np.int64),
        "ties": ties.sum(axis=1).astype(np.int64),
        "mean_win_rate": counts.mean_win_rates(),
    }
    cells = zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True)
    rated = [
        Row(name, grades=tuple(seen), **dict(zip(columns, row, strict=True)))
        for name, seen, row in zip(votes.names, counts.grades().tolist(), cells, strict=True)
    ]
    # equals are in the order of their names, whatever rounding makes of them
    return tuple(sorted(rated, key=lambda row: (-round(row.rating, 6), row.model)))
