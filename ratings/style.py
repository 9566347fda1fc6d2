"""Style control: Bradley-Terry strengths at equal style, from per-vote covariates.

A wins against b with probability σ(θ_a − θ_b + β·x), where x [K] says how much more of each
element of style (length, headers, lists, bold) a's answer has: θ is how strong the models are at
equal style, x = 0. Covariates differ from vote to vote, so pair counts are not sufficient, and
every pass goes over all votes, a chunk at a time.

Sources: Li, Angelopoulos & Chiang (2024), https://blog.lmarena.ai/blog/2024/style-control/, for
the model; Albert & Anderson (1984), https://doi.org/10.1093/biomet/71.1.1, for when its maximum is
finite; White (1982), https://doi.org/10.2307/1912526, and Liang & Zeger (1986),
https://doi.org/10.1093/biomet/73.1.13, for the intervals of votes and of voters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve
from scipy.linalg.lapack import dpotrf
from scipy.sparse import csr_array
from scipy.special import ndtri

from ratings.comparisons import BoolArray, FloatArray, IndexArray, Outcome, PairCounts
from ratings.connectivity import Connectivity, connectivity
from ratings.errors import BadComparisons, BadParameter

TOLERANCE = 1e-9
"""A fit has converged when Newton's last step moved no vote's log odds by more than this through
any one parameter, in nats (relative to that part of the log odds where it is over 1)."""

MAX_PASSES = 30
"""Over all votes. Four are usual, and one more for each nat by which votes are one-sided."""

SAMPLE = 100_000
"""So many votes, evenly spread over the log, are fitted first when there are far more."""

COLLINEAR = 1e-8
"""A covariate is refused when a smaller share of its information than this is its own."""

_FAR_MORE = 3
_ENDLESS = 0.1  # nats: a last step so long means that there is no maximum
_DENSE = 0.1  # from this share of cells on, a product of plain matrices is faster
_CHUNK = 1 << 15  # the columns of a chunk stay in the cache

_SCORE = np.zeros(len(Outcome))
_SCORE[[Outcome.a_much_better, Outcome.a_better, Outcome.a_won]] = 1.0
_SCORE[[Outcome.tie, Outcome.tied]] = 0.5

Ids = npt.NDArray[np.integer]
Table = npt.NDArray[np.floating] | npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """Covariates `values` float32[n, K] of n votes, and the `scale` [K] they were divided by.

    Fitted to them, a coefficient is in nats per `scale`; coefficient / scale is in nats per unit
    of (a − b)/(a + b): between an answer that has all of the element and one without any.
    """

    values: npt.NDArray[np.float32]
    scale: FloatArray


def contrast(style_a: npt.ArrayLike, style_b: npt.ArrayLike) -> Contrast:
    """Covariates from the counts of style elements in both answers, [n, K] each.

    (a − b)/(a + b), 0 where both are 0, is divided by its root mean square over the votes. No mean
    is subtracted (FastChat and arena-rank do): 0 stays equal style, and a vote with its sides
    swapped has the same values with the other sign.

    Raises `BadComparisons` with the row of a count that is negative or not finite, and
    `BadParameter` for an element of which the two answers always have as much.
    """
    a, b = _table(style_a, "style_a"), _table(style_b, "style_b")
    if a.shape != b.shape:
        raise BadComparisons(f"style_a has the shape {a.shape}, style_b {b.shape}")
    values = np.empty(a.shape, dtype=np.float32)
    squares = np.zeros(a.shape[1])
    for start in range(0, len(a), _CHUNK):
        rows = slice(start, start + _CHUNK)
        of_a, of_b = (np.asarray(side[rows], dtype=np.float64) for side in (a, b))
        for side, name in ((of_a, "style_a"), (of_b, "style_b")):
            bad = ~(np.isfinite(side) & (side >= 0))
            _check_rows(bad, f"a count of {name} is negative or not finite", start)
        both = of_a + of_b
        share = np.divide(of_a - of_b, both, out=np.zeros_like(both), where=both > 0)
        squares += np.square(share).sum(axis=0)
        values[rows] = share
    if not squares.all():
        raise BadParameter(f"covariate {np.argmin(squares)} is constant: both answers have as much")
    scale = np.sqrt(squares / len(a))
    values /= scale.astype(np.float32)
    return Contrast(values, scale)


@dataclass(frozen=True, slots=True, eq=False)
class StyleFit:
    """Strengths `theta` [M] at equal style and `coefficients` [K], with their intervals.

    Strengths are in nats, centred on the rated models of their component; `lower`, `upper` [M] are
    their bounds at confidence `level`, `covariance` [M, M] is what these rest on. A model that
    cannot be rated has NaN, and open bounds, −inf and inf. Coefficients are in nats per unit of the
    covariates as they were given. `passes` went over all votes.
    """

    theta: FloatArray
    lower: FloatArray
    upper: FloatArray
    covariance: FloatArray
    coefficients: FloatArray
    coefficient_covariance: FloatArray
    level: float
    converged: bool
    passes: int

    @property
    def se(self) -> FloatArray:
        """Standard errors [M] of the strengths."""
        return _errors(self.covariance)

    @property
    def coefficient_se(self) -> FloatArray:
        """Standard errors [K] of the coefficients."""
        return _errors(self.coefficient_covariance)


def _errors(covariance: FloatArray) -> FloatArray:
    variance = covariance.diagonal()
    # rounding can leave one below 0 where every vote of a model is all but certain
    return np.sqrt(np.where(variance > 0, variance, np.nan))


def fit(
    model_a: npt.ArrayLike,
    model_b: npt.ArrayLike,
    outcome: npt.ArrayLike,
    covariates: npt.ArrayLike,
    n_models: int,
    *,
    voter: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> StyleFit:
    """Fit strengths and coefficients to n votes: the exact maximum, without any ridge.

    `model_a`, `model_b` are integer arrays [n] of ids below `n_models`, `outcome` an integer array
    [n] of `Outcome`, `covariates` [n, K] finite numbers (float32 will do) that change their sign
    when sides are swapped, K ≥ 0. A tie counts as two half votes, one for each side.

    Intervals at confidence `level` are Huber-White's: a vote is the unit, or all votes of a voter
    where `voter` [n], integers, is given. As in `intervals.sandwich`, the votes of a model that
    only ever tied enter the spread with the variance of the model, p(1 − p).

    Only votes inside the largest tier (see `connectivity`) of each component count, and only its
    models are rated: the place of others has no finite maximum. Where several tiers are the
    largest, none of the component is rated. The coefficients are common to all components.

    Raises `BadComparisons` with the row of a bad vote, or when no two models can be rated, and
    `BadParameter` for a `level` not between 0 and 1 and for a covariate that is constant, that
    models and other covariates tell, or whose coefficient has no finite maximum.
    """
    if not 0 < level < 1:
        raise BadParameter(f"the confidence level must be between 0 and 1, not {level}")
    counts = PairCounts(n_models)
    counts.add(model_a, model_b, outcome)
    votes = _votes(model_a, model_b, outcome, covariates, counts)
    people = None if voter is None else _people(voter, len(votes.a))
    found = _newton(votes, _start(votes))
    half = cho_solve((found.factor, True), _spread(votes, found.position, people))
    return _result(votes, found, cho_solve((found.factor, True), half.T), level)


@dataclass(frozen=True, slots=True, eq=False)
class _Votes:
    """The votes, and what they rate.

    A position is [m + K]: the strengths of m rated models, then the coefficients. `reach` [m + K]
    is how many nats of a vote's log odds one unit of each can be: 1, and a covariate's largest
    size. `place` [M] is where a model is among the rated, −1 for the others; `tiers` [m, T] says
    in which tier; `tied` [m] have only ties. Only `rows` count.
    """

    a: Ids
    b: Ids
    outcome: Ids
    covariates: Table
    reach: FloatArray
    rows: slice | IndexArray
    place: IndexArray
    tiers: FloatArray
    tied: BoolArray

    @property
    def m(self) -> int:
        return len(self.tiers)

    @property
    def k(self) -> int:
        return len(self.reach) - len(self.tiers)

    def indices(self) -> IndexArray:
        """The rows that count [n]."""
        return np.arange(len(self.a))[self.rows]

    def parts(self) -> Iterator[slice | IndexArray]:
        """The rows, a chunk at a time."""
        if isinstance(self.rows, slice):
            return (slice(i, i + _CHUNK) for i in range(0, len(self.a), _CHUNK))
        return iter(np.split(self.rows, range(_CHUNK, len(self.rows), _CHUNK)))

    def chunk(self, rows: slice | IndexArray) -> _Chunk:
        x = np.asarray(self.covariates[rows], dtype=np.float64, order="C")
        a, b = self.place.take(self.a[rows]), self.place.take(self.b[rows])
        return _Chunk(a, b, _SCORE.take(self.outcome[rows]), x, self.m)


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """Some votes: places `a`, `b` [n] of m models, the `score` [n] of a, and `x` [n, K]."""

    a: IndexArray
    b: IndexArray
    score: FloatArray
    x: FloatArray
    m: int

    def log_odds(self, position: FloatArray) -> FloatArray:
        """log(p / (1 − p)) [n], where p is the probability that a wins."""
        theta, beta = position[: self.m], position[self.m :]
        log_odds: FloatArray = theta.take(self.a) - theta.take(self.b) + self.x @ beta
        return log_odds

    def sums(self, weight: FloatArray) -> FloatArray:
        """Σ weight · z [m + K], where z is the slope of a vote's log odds."""
        as_a, as_b = (np.bincount(side, weight, self.m) for side in (self.a, self.b))
        return np.concatenate([as_a - as_b, weight @ self.x])

    def signed(self, weight: FloatArray) -> csr_array:
        """Σ weight · z [m + K] by votes: `weight` in the column of a, −`weight` in that of b."""
        sides, signs = np.stack([self.a, self.b], axis=1), np.stack([weight, -weight], axis=1)
        begins = np.arange(0, 2 * len(weight) + 1, 2)
        return csr_array((signs.ravel(), sides.ravel(), begins), shape=(len(weight), self.m))


def _chance(log_odds: FloatArray) -> FloatArray:
    chance: FloatArray = 0.5 + 0.5 * np.tanh(0.5 * log_odds)  # σ, and it cannot overflow
    return chance


def _variance(log_odds: FloatArray) -> FloatArray:
    """p(1 − p), exact to its last digits however near p is to 1."""
    odds = np.exp(-np.abs(log_odds))
    variance: FloatArray = odds / np.square(1.0 + odds)
    return variance


class _Products:
    """Σ weight · z zᵀ [m + K, m + K], where z is the slope of a vote's log odds."""

    def __init__(self, votes: _Votes) -> None:
        self._pairs = np.zeros((votes.m, votes.m))
        self._cross = np.zeros((votes.m, votes.k))
        self._inner = np.zeros((votes.k, votes.k))

    def add(self, chunk: _Chunk, weight: FloatArray) -> None:
        np.add.at(self._pairs.reshape(-1), chunk.a * chunk.m + chunk.b, weight)
        self._cross += chunk.signed(weight).T @ chunk.x
        self._inner += chunk.x.T @ (weight[:, None] * chunk.x)

    def matrix(self) -> FloatArray:
        met = self._pairs + self._pairs.T
        models = np.diag(met.sum(axis=1)) - met
        return np.block([[models, self._cross], [self._cross.T, self._inner]])


@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """A position, and the slope and (minus) the curvature of the log likelihood there.

    They are in nats: positions times `reach`, slopes over it.
    """

    position: FloatArray
    slope: FloatArray
    curvature: FloatArray

    def distance(self, step: FloatArray) -> float:
        """The longest part of a step, in nats; relative to its position where that is over 1."""
        return float(np.max(np.abs(step) / np.maximum(np.abs(self.position), 1.0)))


@dataclass(frozen=True, slots=True, eq=False)
class _Maximum:
    """The maximum, and the lower Cholesky `factor` of the curvature, every tier centred."""

    position: FloatArray
    factor: FloatArray
    converged: bool
    passes: int


def _newton(
    votes: _Votes, start: FloatArray, *, prior: float = 0.0, tolerance: float = TOLERANCE
) -> _Maximum:
    """Maximise the log likelihood less ½ `prior` |position|²."""
    here = _point(votes, start, prior)
    factor = _factor(votes, here.curvature)
    step: FloatArray = cho_solve((factor, True), here.slope)
    passes = 1
    while here.distance(step) > tolerance and passes < MAX_PASSES:
        ahead = _point(votes, here.position + step, prior)
        passes += 1
        # too far is where it goes down again half as steeply as it went up, or more
        if ahead.slope @ step < -0.5 * (here.slope @ step):
            step = step / 2
            continue
        here, factor = ahead, _factor(votes, ahead.curvature)
        step = cho_solve((factor, True), here.slope)
    converged = here.distance(step) <= tolerance
    if not converged and votes.k and np.abs(step).max() > _ENDLESS:
        raise BadParameter(
            f"covariate {np.argmax(np.abs(step[votes.m :]))} has no finite coefficient: no vote "
            "speaks against making it larger for ever"
        )
    return _Maximum(here.position + step, factor, converged, passes)


def _point(votes: _Votes, position: FloatArray, prior: float) -> _Point:
    slope, products = np.zeros_like(position), _Products(votes)
    for chunk in map(votes.chunk, votes.parts()):
        log_odds = chunk.log_odds(position / votes.reach)
        slope += chunk.sums(chunk.score - _chance(log_odds))
        products.add(chunk, _variance(log_odds))
    curvature = products.matrix() / np.outer(votes.reach, votes.reach)
    return _Point(
        position,
        slope / votes.reach - prior * position,
        curvature + prior * np.eye(len(position)),
    )


def _factor(votes: _Votes, curvature: FloatArray) -> FloatArray:
    m, centred = votes.m, curvature.copy()
    # of the size of its diagonal: the condition number must not depend on the number of votes
    centred[:m, :m] += np.trace(curvature[:m, :m]) / m**2 * (votes.tiers @ votes.tiers.T)
    factor, failed = dpotrf(centred, lower=True, clean=True)
    pivots = np.square(factor.diagonal()[m:])
    if failed:
        pivots[max(failed - 1 - m, 0) :] = 0.0
    told = pivots <= COLLINEAR * centred.diagonal()[m:]
    if told.any():
        raise BadParameter(
            f"covariate {np.argmax(told)} has no coefficient of its own: the models and the "
            "covariates before it tell its value"
        )
    return np.asarray(factor)


def _start(votes: _Votes) -> FloatArray:
    zero = np.zeros_like(votes.reach)
    rows = votes.indices()
    if len(rows) < _FAR_MORE * SAMPLE:
        return zero
    sample = replace(votes, rows=rows[:: len(rows) // SAMPLE])
    # the prior stands in for votes that the sample left out, and is no part of the fit
    return _newton(sample, zero, prior=1.0, tolerance=1e-2).position


def _spread(votes: _Votes, position: FloatArray, people: Ids | None) -> FloatArray:
    """Σ z zᵀ [m + K, m + K], where z is the slope of one vote, or of all votes of a person."""
    products, total = _Products(votes), np.zeros((len(position), len(position)))
    for rows in votes.parts() if people is None else _by_person(votes, people):
        chunk = votes.chunk(rows)
        log_odds = chunk.log_odds(position / votes.reach)
        # a tie leaves hardly a residual because it is half a win, not because it is certain
        tied = votes.tied.take(chunk.a) | votes.tied.take(chunk.b)
        expected = np.where(tied, _variance(log_odds), 0.0)
        residual = np.where(tied, 0.0, chunk.score - _chance(log_odds))
        if people is None:
            products.add(chunk, expected + np.square(residual))
        else:
            products.add(chunk, expected)
            total += _squared_sums(chunk, residual, people[rows])
    return (total + products.matrix()) / np.outer(votes.reach, votes.reach)


def _by_person(votes: _Votes, people: Ids) -> list[IndexArray]:
    """The rows, person by person, in parts that divide nobody's."""
    rows = votes.indices()
    rows = rows[np.argsort(people[rows], kind="stable")]
    first = np.append(np.flatnonzero(_changes(people[rows])), len(rows))
    cuts = first[np.searchsorted(first, range(_CHUNK, len(rows), _CHUNK))]
    return [part for part in np.split(rows, np.unique(cuts)) if len(part)]


def _changes(people: Ids) -> BoolArray:
    return np.append(True, people[1:] != people[:-1])


def _squared_sums(chunk: _Chunk, residual: FloatArray, people: Ids) -> FloatArray:
    first = np.flatnonzero(_changes(people))
    shape = (len(first), len(people))
    begins = np.append(first, len(people))
    of_person = csr_array((np.ones(len(people)), np.arange(len(people)), begins), shape=shape)
    by_model = of_person @ chunk.signed(residual)
    by_x = of_person @ (residual[:, None] * chunk.x)
    cross = by_model.T @ by_x
    if by_model.nnz > _DENSE * by_model.shape[0] * by_model.shape[1]:
        plain = by_model.toarray()
        models = plain.T @ plain
    else:
        models = (by_model.T @ by_model).toarray()
    return np.block([[models, cross], [cross.T, by_x.T @ by_x]])


def _result(votes: _Votes, found: _Maximum, covariance: FloatArray, level: float) -> StyleFit:
    m, rated, reach = votes.m, np.flatnonzero(votes.place >= 0), votes.reach[votes.m :]
    theta = np.full(len(votes.place), np.nan)
    theta[rated] = found.position[:m]
    of_models = np.full((len(theta), len(theta)), np.nan)
    of_models[np.ix_(rated, rated)] = covariance[:m, :m]
    margin = -float(ndtri((1 - level) / 2)) * _errors(of_models)
    return StyleFit(
        theta=theta,
        lower=np.nan_to_num(theta - margin, nan=-np.inf),
        upper=np.nan_to_num(theta + margin, nan=np.inf),
        covariance=of_models,
        coefficients=found.position[m:] / reach,
        coefficient_covariance=covariance[m:, m:] / np.outer(reach, reach),
        level=level,
        converged=found.converged,
        passes=found.passes,
    )


def _votes(
    model_a: npt.ArrayLike,
    model_b: npt.ArrayLike,
    outcome: npt.ArrayLike,
    covariates: npt.ArrayLike,
    counts: PairCounts,
) -> _Votes:
    """Votes that `counts` has checked, with what they rate."""
    a, b, x = np.asarray(model_a), np.asarray(model_b), _table(covariates, "covariates")
    if len(x) != len(a):
        raise BadComparisons(f"{len(a)} votes have {len(x)} rows of covariates")
    wins, ties = counts.wins(), counts.ties()
    joined = connectivity(wins + ties / 2)
    rated = _rated_tiers(joined)
    if not len(rated):
        raise BadComparisons("no two models can be rated: every vote between any two went one way")
    inside = np.isin(joined.tier, rated)
    together = (joined.tier[:, None] == joined.tier) & inside
    decided = np.where(together, wins + wins.T, 0.0).sum(axis=1) > 0
    outside = (wins + ties)[~together].any()
    return _Votes(
        a=a,
        b=b,
        outcome=np.asarray(outcome),
        covariates=x,
        reach=np.append(np.ones(inside.sum()), _largest(x)),
        rows=np.flatnonzero(together[a, b]) if outside else slice(None),
        place=np.where(inside, np.cumsum(inside) - 1, -1),
        tiers=(joined.tier[inside, None] == rated).astype(np.float64),
        tied=~decided[inside],
    )


def _rated_tiers(joined: Connectivity) -> IndexArray:
    """Tiers of two models or more that are the only largest ones of their component."""
    component = np.zeros(joined.n_tiers, dtype=np.intp)
    component[joined.tier] = joined.component
    largest = np.bincount(component[joined.core], minlength=joined.n_components)
    crowded = np.bincount(joined.tier, minlength=joined.n_tiers) > 1
    return np.flatnonzero(joined.core & crowded & (largest[component] == 1))


def _largest(covariates: Table) -> FloatArray:
    """The largest size [K] of each covariate, all of which must be finite and not constant."""
    low, high = np.full(covariates.shape[1], np.inf), np.full(covariates.shape[1], -np.inf)
    for start in range(0, len(covariates), _CHUNK):
        columns = np.ascontiguousarray(covariates[start : start + _CHUNK].T)
        np.minimum(low, columns.min(axis=1), out=low)
        np.maximum(high, columns.max(axis=1), out=high)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        _check_rows(~np.isfinite(covariates), "a covariate is not finite", 0)
    if (constant := low == high).any():
        k = int(np.argmax(constant))
        raise BadParameter(f"covariate {k} is constant, always {low[k]:g}: it is no style")
    largest: FloatArray = np.maximum(-low, high)
    return largest


def _table(values: npt.ArrayLike, name: str) -> Table:
    table = np.asarray(values)
    numbers = np.isdtype(table.dtype, ("integral", "real floating"))
    if table.ndim != 2 or not numbers:  # noqa: PLR2004 - a table
        raise BadComparisons(f"{name} must be a table of numbers, one row per vote")
    return table


def _people(voter: npt.ArrayLike, n: int) -> Ids:
    people = np.asarray(voter)
    if people.shape != (n,) or not np.issubdtype(people.dtype, np.integer):
        raise BadComparisons(f"voter must be an array of integers, one for each of {n} votes")
    return people


def _check_rows(bad: BoolArray, problem: str, start: int) -> None:
    if bad.any():
        raise BadComparisons(problem, row=start + int(np.argmax(bad.any(axis=1))))
