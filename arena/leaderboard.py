"""Boards from votes: the only caller of the rating engine.

A board is a pure function of the votes and the method's configuration: neither a warm start nor,
but for Elo, the order of the votes changes it. (The stereotype model alone is not concave: there a
far start could in principle end at another maximum.)
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rfc8785
from scipy.special import expit

from arena import categories
from arena.boards import METHODS, OVERALL, VARIANTS, document
from arena.clock import now
from arena.errors import InvalidField
from arena.records import Record
from arena.tally import Tally
from arena.vote_file import Progress, read_ballots
from ratings import bradley_terry, graded, scale
from ratings.choice import MIN_VOTES, Choice, choose
from ratings.comparisons import BoolArray, FloatArray, Outcome, PairCounts
from ratings.connectivity import connectivity
from ratings.diagnostics import Calibration, Diagnosis, diagnose, win_rates
from ratings.elo import Elo, K
from ratings.errors import BadParameter
from ratings.fitting import TOLERANCE, Fit, Start
from ratings.intervals import Ballots, Intervals, bootstrap, sandwich
from ratings.pairs import pairs_of
from ratings.ranking import rank

LEVEL = 0.95
METHOD_NAMES = METHODS[1:]
INTERVALS = ("sandwich", "bootstrap")
WEIGHTS = ("inverse_propensity",)
RANKS = ("pairwise", "simultaneous")

_FITS = {
    "bt": bradley_terry.fit,
    "davidson": bradley_terry.davidson,
    "rao-kupper": bradley_terry.rao_kupper,
}
_FARTHEST_ANCHOR = 1_000_000
_SCORES = np.zeros(len(Outcome))
"""What side A scored, by outcome."""
_SCORES[[Outcome.a_much_better, Outcome.a_better, Outcome.a_won]] = 1.0
_SCORES[[Outcome.tie, Outcome.tied]] = 0.5
_BOOTSTRAP_ROUNDS = 1000
_SEED = 20260101
"""Randomness of bootstrap and simultaneous ranks: fixed, so that anyone gets the same board."""


@dataclass(frozen=True, slots=True)
class Method:
    """How votes become ratings; `config` pins every number.

    `variant` is one of `VARIANTS` for `graded` and None otherwise. `clustered` lets the votes of
    one voter depend on each other in the sandwich. `anchor` is a model and the rating it has.

    Raises `InvalidField` for a name, a variant or an option that is unknown, and for options that
    do not go together.
    """

    name: str = "bt"
    variant: str | None = None
    interval: str = "sandwich"
    clustered: bool = False
    weights: str | None = None
    ranks: str = "pairwise"
    anchor: tuple[str, float] | None = None

    def __post_init__(self) -> None:
        _one_of("method", self.name, METHOD_NAMES)
        _one_of("interval", self.interval, INTERVALS)
        _one_of("ranks", self.ranks, RANKS)
        if self.weights is not None:
            _one_of("weights", self.weights, WEIGHTS)
        if self.name == "graded":
            _one_of("variant", self.variant or "pooled", VARIANTS)
            object.__setattr__(self, "variant", self.variant or "pooled")
        elif self.variant is not None:
            raise InvalidField(f"The method '{self.name}' has no variants.", field="variant")
        if self.anchor is not None and not abs(self.anchor[1]) <= _FARTHEST_ANCHOR:
            raise InvalidField(
                f"The anchor's rating must be a number up to {_FARTHEST_ANCHOR:,}.", field="anchor"
            )
        if self.name == "elo":
            self._refuse_what_elo_lacks()
        resampled = self.interval == "bootstrap"
        if resampled and (self.clustered or self.weights):
            raise InvalidField(
                "The bootstrap knows neither voters nor weights; use interval=sandwich.",
                field="interval",
            )

    def _refuse_what_elo_lacks(self) -> None:
        plain = {"interval": "sandwich", "clustered": False, "weights": None, "ranks": "pairwise"}
        for name, value in plain.items():
            if getattr(self, name) != value:
                raise InvalidField(
                    "The method 'elo' has no intervals, ranges of ranks or weights.", field=name
                )

    def config(self) -> dict[str, Any]:
        """Everything that a board depends on besides the votes."""
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
            "level": LEVEL,
            "min_votes": 1,
            "unbounded": "one virtual tie, open interval",
            "tolerance": TOLERANCE,
        }

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Method:
        anchor = data.get("anchor")
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        return cls(**{**known, "anchor": anchor and (anchor[0], float(anchor[1]))})


def _one_of(field: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise InvalidField(
            f"The {field} '{name}' is unknown; it is one of {', '.join(known)}.", field=field
        )


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of the configuration's RFC 8785 JSON, hex."""
    return hashlib.sha256(rfc8785.dumps(dict(config))).hexdigest()


# --- boards -------------------------------------------------------------------------------------


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
        """The row as the contract has it: infinite bounds are null."""
        row = {name: getattr(self, name) for name in _ROW_FIELDS}
        for bound in ("rating_lower", "rating_upper"):
            if not math.isfinite(row[bound]):
                row[bound] = None
        row["grades"] = list(self.grades)
        return row


_ROW_FIELDS = tuple(f.name for f in fields(Row))


@dataclass(frozen=True, slots=True)
class Warm:
    """Where an earlier fit of a board ended, by model, for a warm start of the next."""

    theta: Mapping[str, float]
    start: Start

    def known(self, names: list[str]) -> Start:
        theta = np.array([self.theta.get(name, math.nan) for name in names], dtype=np.float64)
        return replace(self.start, theta=theta)


@dataclass(frozen=True, slots=True)
class Board:
    """Rated models, best first, with the configuration that pins every number.

    `fit` tells how well the model fits: see `_fit_figures`. `evidence` is why this method was
    chosen, where it was. `pairs` are those behind the board: see `pair_data`.
    """

    method: str
    config: dict[str, Any]
    rows: tuple[Row, ...]
    converged: bool
    components: int
    fit: dict[str, Any] | None
    evidence: dict[str, Any] | None
    warm: Warm | None = field(compare=False)
    pairs: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Votes:
    """The votes of one board, with models by their place in `names`."""

    tally: Tally
    category: str
    names: list[str]
    counts: PairCounts

    @classmethod
    def of(cls, tally: Tally, category: str = OVERALL) -> _Votes:
        return cls(tally, category, *tally.counted(category))

    def ballots(self) -> Ballots:
        return self.tally.ballots(self.names, self.category)

    def habits(self) -> Ballots | None:
        """The ballots in groups by how often voters use the outer grades.

        None where that cannot be known: no vote has a grade, or none has a voter.
        """
        ballots = self.ballots()
        if not self.counts.graded.any() or (ballots.voter < 0).all():
            return None
        group = graded.strata_by_habit(ballots.voter, ballots.outcome)
        return replace(ballots, group=np.unique(group, return_inverse=True)[1])

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
        ballots = replace(self.ballots(), weight=self.weight())
        return _count(ballots, len(self.names), np.ones(len(ballots.outcome), np.bool_))

    def weight(self) -> FloatArray:
        """1/propensity of every vote, 1 on the average."""
        propensity = self.tally.propensities(self.category)
        unknown = int(np.isnan(propensity).sum())
        if unknown:
            raise InvalidField(
                f"{unknown} votes have no propensity, so they cannot be weighted by it.",
                field="weights",
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


def supported(tally: Tally) -> Choice:
    """Which model the votes support (`ratings.choice`)."""
    votes = _Votes.of(tally)
    return choose(votes.counts, votes.by_habit())


def decision_is_due(tally: Tally, decided_at: int) -> bool:
    """Whether the votes should be asked (again) which model they support.

    First when there are enough graded ones, then whenever their number has doubled. `decided_at` is
    the number of graded votes at the last decision, which the log keeps.
    """
    return tally.graded() >= max(MIN_VOTES, 2 * decided_at)


def decision(campaign: str, tally: Tally) -> Record:
    """The record that pins the method which the votes support."""
    choice = supported(tally)
    return method_record(
        campaign,
        choice.reason,
        Method(choice.method, choice.variant),
        votes=tally.graded(),
        evidence=choice.to_json(),
    )


def method_record(
    campaign: str,
    reason: str,
    method: Method | None,
    *,
    votes: int = 0,
    evidence: dict[str, Any] | None = None,
) -> Record:
    """The public record of how a campaign's votes are rated from here on.

    Without evidence an operator pins the method for good; without a method the operator asks for
    a decision by the votes, now and whenever their number has doubled.
    """
    return Record(
        id=secrets.token_hex(16),
        type="method",
        campaign=campaign,
        timestamp=now(),
        reason=reason,
        data={
            "method": None if method is None else method.to_json(),
            "automatic": method is None or evidence is not None,
            "votes": votes,
            "evidence": evidence,
        },
    )


def compute(
    tally: Tally,
    method: Method,
    *,
    category: str = OVERALL,
    warm: Warm | None = None,
    evidence: dict[str, Any] | None = None,
    figures: bool = True,
    pairs: bool = False,
) -> Board:
    """Rate all models of a tally, or of one of its categories.

    Without `figures` the board does not tell how well the model fits, which takes as long as the
    rating itself. With `pairs` it tells what every two models did against each other; their
    calibration belongs to the figures. `warm` is the `warm` of an earlier board: it saves steps and
    changes nothing beyond 1e-9 nats.

    Raises `InvalidField` for an anchor that has no votes here, and for intervals or weights that
    these votes cannot have.
    """
    votes = _Votes.of(tally, category)
    if method.name == "elo":
        return _elo_board(votes, method, evidence, pairs=pairs)
    anchor = _anchor(votes.names, method.anchor)
    fitted = _fitted(votes, method, None if warm is None else warm.known(votes.names))
    intervals = _intervals(votes, method, fitted)
    simultaneous = np.random.default_rng(_SEED) if method.ranks == "simultaneous" else None
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
    found = diagnose(fitted) if figures else None
    return Board(
        method=method.name,
        config=method.config(),
        rows=rows,
        converged=fitted.converged,
        components=fitted.connectivity.n_components,
        fit=None if found is None else _fit_figures(votes, method, fitted, found),
        evidence=evidence,
        pairs=pair_data(
            votes.names,
            votes.counts,
            win_rates(fitted).predicted,
            None if found is None else found.calibration,
        )
        if pairs
        else None,
        warm=Warm(dict(zip(votes.names, fitted.theta.tolist(), strict=True)), fitted.start()),
    )


def _fitted(votes: _Votes, method: Method, start: Start | None, *, side: bool = False) -> Fit:
    counts = votes.counts if method.weights is None else votes.weighted()
    if method.name != "graded":
        return _FITS[method.name](counts, side=side, start=start)
    if method.variant == "stereotype":
        return graded.stereotype(counts, side=side, start=start)
    weighted = method.weights is not None
    groups = votes.by_habit(weighted=weighted) if method.variant == "by_voter_habit" else None
    return graded.fit(groups or counts, side=side, start=start)


def _intervals(votes: _Votes, method: Method, fitted: Fit) -> Intervals:
    if method.interval == "bootstrap":
        rng = np.random.default_rng(_SEED)
        return bootstrap(fitted, rng, rounds=_BOOTSTRAP_ROUNDS, level=LEVEL)
    if not method.clustered:
        return sandwich(fitted, LEVEL)
    grouped = votes.habits() if method.variant == "by_voter_habit" else None
    ballots = replace(
        grouped or votes.ballots(), weight=None if method.weights is None else votes.weight()
    )
    if len(ballots.voter) and ballots.voter.max() < 0:
        raise InvalidField(
            "No vote says who cast it, so intervals cannot go by voter.", field="clustered"
        )
    try:
        return sandwich(fitted, LEVEL, ballots)
    except BadParameter as error:
        raise InvalidField(f"{str(error).capitalize()}.", field="clustered") from error


def _elo_board(
    votes: _Votes, method: Method, evidence: dict[str, Any] | None, *, pairs: bool
) -> Board:
    """Online Elo in log order. It has no honest interval, so no bounds and no range of ranks."""
    names, counts, ballots = votes.names, votes.counts, votes.ballots()
    elo = Elo(len(names))
    elo.update(ballots.model_a, ballots.model_b, _SCORES[ballots.outcome])
    rating = elo.result().ratings
    anchor = _anchor(names, method.anchor)
    if anchor is not None:
        rating += anchor.rating - rating[anchor.model]
    component = connectivity(counts.wins() + counts.ties()).component
    unknown = np.full(len(names), None)
    together = component[:, None] == component
    better = (rating[:, None] > rating) & together
    foretold = expit((rating[:, None] - rating) / scale.PER_NAT)
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
    return Board(
        method=method.name,
        config=method.config(),
        rows=rows,
        converged=True,
        components=int(component.max(initial=-1)) + 1,
        fit=None,
        evidence=evidence,
        warm=None,
        pairs=pair_data(names, counts, np.where(together, foretold, np.nan)) if pairs else None,
    )


def pair_data(
    names: list[str],
    counts: PairCounts,
    predicted: FloatArray,
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """What every two of M models did against each other, small enough to be sent whole.

    `graded` rows are i < j (places in `models`) and five counts as i sees them, from won much to
    lost much; `winner_only` rows i < j and won, tied, lost. `predicted` is what i scores against j
    by the model (a tie is a half): rows i of [M, M] right of the diagonal, None across components.
    """
    rows = pairs_of(counts)
    places, votes = np.stack([rows.first, rows.second]), rows.votes
    parts = {}
    for name, part in (("graded", votes[:5]), ("winner_only", votes[5:])):
        met = part.any(axis=0)
        parts[name] = np.concatenate([places[:, met], part[:, met]]).astype(np.int64).T.tolist()
    return {
        "models": names,
        **parts,
        "predicted": [
            [None if math.isnan(share) else round(share, 4) for share in row[place + 1 :]]
            for place, row in enumerate(predicted.tolist())
        ],
        "calibration": calibration and _bins(calibration),
    }


def _bins(calibration: Calibration) -> list[dict[str, float]]:
    """The bins of `ratings.diagnostics.Calibration`, a row each."""
    names = ("predicted", "observed", "lower", "upper", "votes")
    columns = [getattr(calibration, name).tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _fit_figures(votes: _Votes, method: Method, fitted: Fit, found: Diagnosis) -> dict[str, Any]:
    """How well the model fits: `ratings.diagnostics` says how to read calibration and goodness.

    `parameters` are the model's local ones in nats, a group of voters each; `side_effect` is what
    being shown first gains, in rating points.
    """
    parameters = [
        dict(zip(fitted.likelihood.parameters, column, strict=True))
        for column in fitted.local.T.tolist()
    ]
    sided = _fitted(votes, method, fitted.start(), side=True)
    side: dict[str, Any] = {"rating": None, "se": None, "problem": sided.side_problem}
    if sided.side is not None:
        se = sandwich(sided, LEVEL).side_se
        side |= {
            "rating": scale.PER_NAT * sided.side,
            "se": scale.PER_NAT * se if se is not None and math.isfinite(se) else None,
        }
    calibration, goodness = found.calibration, found.goodness
    figures = {
        "log_loss": goodness.log_loss,
        "log_loss_of_constant": goodness.baseline,
        "dispersion": goodness.dispersion,
        "spin": scale.PER_NAT * goodness.spin,
        "spin_p_value": goodness.spin_p_value,
        "calibration_error": calibration.error,
        "calibration_error_by_chance": calibration.error_by_chance,
        "calibration_slope": calibration.slope,
        "calibration_slope_se": calibration.slope_se,
    }
    return {
        "log_likelihood": fitted.log_likelihood(),
        "log_loss_of": goodness.scale,
        **{name: float(value) if np.isfinite(value) else None for name, value in figures.items()},
        "parameters": parameters,
        "side_effect": side,
    }


def _anchor(names: list[str], anchor: tuple[str, float] | None) -> scale.Anchor | None:
    if anchor is None:
        return None
    model, rating = anchor
    if model not in names:
        raise InvalidField(f"The anchor '{model}' has no votes here.", field="anchor")
    return scale.Anchor(names.index(model), rating)


def _rows(votes: _Votes, **columns: npt.NDArray[Any]) -> tuple[Row, ...]:
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
    return tuple(sorted(rated, key=lambda row: (-row.rating, row.model)))


def board_json(board: Board, *, file: str, category: str = OVERALL) -> dict[str, Any]:
    """The object of `GET /api/board` for a board that was not published, and where it is from."""
    return {
        **document(
            method=board.method,
            config=board.config,
            config_hash=config_hash(board.config),
            rows=[row.to_json() for row in board.rows],
            fit=board.fit,
            evidence=board.evidence,
            converged=board.converged,
            components=board.components,
        ),
        "category": None if category == OVERALL else category,
        "file": file,
    }


def rate_file(
    path: Path,
    name: str = "auto",
    *,
    variant: str | None = None,
    by: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Board]:
    """Rate the models of a vote file; votes with an `excluded_reason` do not count.

    Without `by` there is one board, `OVERALL`; with `category`, `language` or `turns` one for each
    of its values that votes have. `name` is a method, or `auto`: then the votes decide, once for
    all boards. `options` are those of `Method`.

    Raises `InvalidField` for options, these before reading where they can be wrong without votes,
    and `BadFile` for the file.
    """
    automatic = name == "auto"
    if automatic:
        name = "bt" if variant is None else "graded"
    method = Method(name, variant, **options)
    tally = read_tally(path, by, progress)
    evidence = None
    if automatic and variant is None:
        choice = supported(tally)
        method = Method(choice.method, choice.variant, **options)
        evidence = choice.to_json()
    keys = [key for key in tally.categories() if by is None or key != OVERALL]
    if not keys and tally.votes():
        raise InvalidField(f"No vote has a {by}, so there is nothing to part them by.", field="by")
    return {
        key: compute(tally, method, category=key, evidence=evidence) for key in keys or [OVERALL]
    }


def read_tally(path: Path, by: str | None, progress: Progress | None) -> Tally:
    """The votes of a file, with their categories of the kind `by`."""
    tally, row = Tally(), 0
    sliced = None if by is None else _BY[by]
    columns = ["voter", "propensity", *([sliced] if sliced else [])]
    for batch in read_ballots(path, progress, columns):
        seq = range(row, row := row + len(batch))
        keys = sliced and [_file_categories(sliced, value) for value in batch.columns[sliced]]
        tally.add_columns(
            seq=seq,
            model_a=batch.model_a,
            model_b=batch.model_b,
            grade=batch.grade,
            winner=batch.winner,
            voter=batch.columns["voter"],
            propensity=batch.columns["propensity"],
            categories=keys or None,
        )
    return tally


_BY = {"category": "category_tag", "language": "language", "turns": "turns"}


def _file_categories(by: str, value: Any) -> tuple[str, ...]:
    """A file's own words are its categories; a `category_tag` may hold several."""
    if value is None:
        return ()
    if by == "turns":
        return categories.of_vote(language=None, category_tag=None, turns=value)
    tags = value.split(",") if by == "category_tag" else [value]
    shown = ("".join(filter(str.isprintable, tag)).strip() for tag in tags)
    return tuple(f"'{tag}'" if tag == OVERALL else tag for tag in shown if tag)
