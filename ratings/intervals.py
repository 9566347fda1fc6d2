"""How sure the strengths are: sandwich, clusters, bootstrap; open where no maximum is finite.

Sources: Huber (1967) and White (1982, https://doi.org/10.2307/1912526) for the sandwich; Liang &
Zeger (1986, https://doi.org/10.1093/biomet/73.1.13) for its clustered form; Efron (1979,
https://doi.org/10.1214/aos/1176344552) for the bootstrap; Hirji, Tsiatis & Mehta (1989,
https://doi.org/10.1080/00031305.1989.10475600) for bounds from the exact probability of a
one-sided result.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.blas import dtrsm
from scipy.sparse import csr_array
from scipy.special import ndtri

from ratings.comparisons import MIRROR, BoolArray, FloatArray, IndexArray, Outcome
from ratings.connectivity import connectivity
from ratings.errors import BadParameter
from ratings.fitting import Factor, Fit, Problem, fit, rejoined
from ratings.likelihood import Likelihood, Moments
from ratings.pairs import Pairs

MIN_CLUSTERS = 10
"""Fewer voters than this tell too little of how voters differ for a clustered interval."""

_SAME = ((Outcome.tie, Outcome.tied), (Outcome.a_better,), (Outcome.b_better,))
"""Answers that may be all that a model ever gets, and its strength finite."""

_OTHERS = np.array([[outcome not in same for outcome in Outcome] for same in _SAME], dtype=float)
"""[3, 8]: all answers but these."""

_FEW = 25
_FARTHEST = 1e6
_ROUNDING = 1e-9
_CHORDS = 12
_THREADS = 2
"""numpy lets go of the interpreter's lock often enough for two, not for more."""
_LARGE = 16.0
"""The shape from which a gamma variate is nearly enough the cube of a normal one."""
_LEFT = 0.01
"""How far from its maximum a round may end, in standard errors of a strength alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """Bounds [M] in nats at confidence `level`, ±inf where open, and the covariance behind them.

    `covariance` [M, M] has one block per tier, in the gauge that centres the tier; it is 0 between
    tiers, whose places against each other have no covariance. `side_se` and `local_se` [R, G] are
    the standard errors of the side effect (None without one) and of the local parameters.
    """

    lower: FloatArray
    upper: FloatArray
    covariance: FloatArray
    side_se: float | None
    local_se: FloatArray
    level: float

    @property
    def se(self) -> FloatArray:
        """Standard errors [M], in nats."""
        return np.sqrt(np.maximum(self.covariance.diagonal(), 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class Ballots:
    """The votes that were counted, one by one [n]: who cast them.

    `voter` holds any integers; negative ones mean unknown, and are voters of their own. `group`
    is each vote's group of voters where the fit has several, `weight` its weight where it has any.
    """

    model_a: npt.NDArray[np.integer]
    model_b: npt.NDArray[np.integer]
    outcome: npt.NDArray[np.integer]
    voter: npt.NDArray[np.integer]
    group: npt.NDArray[np.integer] | None = None
    weight: FloatArray | None = None


def sandwich(fitted: Fit, level: float = 0.95, ballots: Ballots | None = None) -> Intervals:
    """Intervals at confidence `level` from the pair counts of a fit.

    V = A⁻¹ B A⁻¹ with A the information of all free parameters and B the sum of squared scores,
    without any ridge: A is inverted in the centred gauge. With `ballots` B sums the squares of
    each voter's summed scores, so that votes of one person need not be independent.

    Where nothing joins models to the others but pairs of a single answer each (ties, or slight
    wins), scores are near 0 because strengths were fitted to that answer, not because they are well
    known: these votes enter B with the likelihood's own variance. So do those of a model with fewer
    than 25 votes where ties or grades are modelled: squares of so few scores cover 92 %, the
    likelihood's variance 95 %. A model with a single voter has scores that cancel in their sum: its
    votes enter one by one.

    A tier beside its component's core has an open interval. Its closed end is where the tier's
    results against the tiers under (or over) it would have had probability (1 − level)/2, the
    others in place at their own bounds, and is widened by the standard error inside the tier. Both
    ends are open for a tier that no chain of one-sided results joins to the whole core, and for
    a model without votes. All ends are where the fit did not converge.

    Raises `BadParameter` when `level` is not between 0 and 1, when fewer than `MIN_CLUSTERS`
    voters cast the `ballots`, or when these lack the groups or weights of the fit.
    """
    _check_level(level)
    problem, point = fitted.problem(), fitted.point()
    spread = _spread(problem, point) if ballots is None else _clustered(problem, point, ballots)
    bread = fitted.factor
    covariance = np.diag(np.full(len(point), np.inf))
    if bread is not None:
        found = _between(bread, spread)
        if found.diagonal().min(initial=0.0) > -_ROUNDING:  # else A is too flat to be inverted
            covariance = found
    variance = np.maximum(covariance.diagonal()[: len(fitted.theta)], 0.0)
    margin = -float(ndtri((1 - level) / 2)) * np.sqrt(variance)
    return _intervals(fitted, covariance, fitted.theta - margin, fitted.theta + margin, level)


def bootstrap(
    fitted: Fit, rng: np.random.Generator, *, rounds: int = 1000, level: float = 0.95
) -> Intervals:
    """Percentile intervals from `rounds` fits to resampled votes.

    Every vote inside a tier gets a weight of mean and variance 1 (exponential: Rubin 1981,
    https://doi.org/10.1214/aos/1176345338), which for all votes of a pair and outcome together is
    one gamma variate, so that a round costs the same whatever the number of votes, and no round
    parts the models of a tier. Open ends are those of `sandwich`.

    Raises `BadParameter` when `level` is not between 0 and 1, `rounds` is below 2, or votes have
    weights.
    """
    _check_level(level)
    if rounds < 2:  # noqa: PLR2004
        raise BadParameter(f"the bootstrap needs at least 2 rounds, not {rounds}")
    if fitted.pairs.weighted is not None:
        raise BadParameter("weighted votes cannot be drawn anew; use the sandwich")
    samples = _resampled(fitted, rng, rounds)
    m = len(fitted.theta)
    tail = (1 - level) / 2
    lower, upper = np.quantile(samples[:, :m], [tail, 1 - tail], axis=0)
    covariance = np.atleast_2d(np.cov(samples, rowvar=False))
    # an estimate at the edge of few votes may lie outside of its own resamples
    lower, upper = np.minimum(lower, fitted.theta), np.maximum(upper, fitted.theta)
    return _intervals(fitted, covariance, lower, upper, level)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise BadParameter(f"the confidence level must be between 0 and 1, not {level}")


def _intervals(
    fitted: Fit, covariance: FloatArray, lower: FloatArray, upper: FloatArray, level: float
) -> Intervals:
    """Open the bounds where there is no finite maximum; `covariance` is of all parameters."""
    joined, m = fitted.connectivity, len(fitted.theta)
    same_tier = joined.tier[:, None] == joined.tier
    se = np.sqrt(np.maximum(covariance.diagonal(), 0.0))
    sided = fitted.side is not None
    tail = (1 - level) / 2
    under = _floors(fitted, joined.above, tail, 1.0)
    over = _floors(fitted, joined.above.T, tail, -1.0)
    return Intervals(
        lower=lower + under[joined.tier],
        upper=upper - over[joined.tier],
        covariance=np.where(same_tier, covariance[:m, :m], 0.0),
        side_se=float(se[m]) if sided else None,
        local_se=se[m + sided :].reshape(fitted.local.shape[::-1]).T,
        level=level,
    )


def _between(bread: Factor, filling: FloatArray) -> FloatArray:
    """A⁻¹ B A⁻¹ [Z, Z], as U⁻¹ (U⁻ᵀ B U⁻¹) U⁻ᵀ with the factor U of A = UᵀU."""
    upper, _ = bread
    found = dtrsm(1.0, upper, filling.T, trans_a=1)
    found = dtrsm(1.0, upper, found, side=1, overwrite_b=1)
    found = dtrsm(1.0, upper, found, overwrite_b=1)
    found = dtrsm(1.0, upper, found, side=1, trans_a=1, overwrite_b=1)
    between: FloatArray = found.T  # rows together again, as numpy has them
    return between


# --- the sum of squared scores ------------------------------------------------------------------


def _spread(problem: Problem, point: FloatArray, apart: BoolArray | None = None) -> FloatArray:
    """B [Z, Z] of independent votes; only of the rows `apart` [P], where given."""
    rows, likelihood = problem.rows, problem.likelihood
    squares = rows.squares if apart is None else np.where(apart, rows.squares, 0.0)
    seen = np.flatnonzero(squares.any(axis=1))
    blocks = problem.in_blocks(point, squares)
    moments = rejoined(
        _moments(own[seen], *likelihood.scores(d, local, seen)) for d, local, own in blocks
    )
    scarce = _scarce(likelihood, rows)
    if scarce.any():
        expected = rejoined(
            likelihood.expected(*block) for block in problem.in_blocks(point, squares)
        )
        moments = [np.where(scarce, *either) for either in zip(expected, moments, strict=True)]
    return problem.information(*moments)


def _moments(squares: FloatArray, by_d: FloatArray, by_local: FloatArray) -> Moments:
    """Σ over a row's votes of the squared scores: by d [P], d and ν [R, P], ν [R, R, P]."""
    weighted = squares * by_d
    local = squares[:, None] * by_local
    return (
        (weighted * by_d).sum(axis=0),
        np.einsum("kp,krp->rp", weighted, by_local),
        np.einsum("krp,ksp->rsp", local, by_local),
    )


def _scarce(likelihood: Likelihood, rows: Pairs) -> BoolArray:
    """Rows [P] whose scores tell too little of how much scores vary."""
    real = rows.first != rows.second
    scarce: BoolArray = _bridges(rows) & real
    if likelihood.kinds:  # scores of many sizes: the sum of few of their squares is mostly small
        equal = replace(rows, votes=rows.equal_votes() * real)
        few = equal.had_by_model(list(Outcome)) < _FEW
        scarce |= (few[rows.first] | few[rows.second]) & real
    return scarce


def _bridges(rows: Pairs) -> BoolArray:
    """Rows [P] between parts that only rows of a single answer each join: the fit meets it."""
    others, total = _OTHERS @ rows.votes, rows.votes.sum(axis=0)
    single: BoolArray = (others <= _ROUNDING * total).any(axis=0)
    if not single.any():
        return single
    joined = np.zeros((rows.n_models, rows.n_models), dtype=np.bool_)
    joined[rows.first[~single], rows.second[~single]] = True
    part = connectivity(joined | joined.T).component
    bridges: BoolArray = part[rows.first] != part[rows.second]
    return bridges


def _clustered(problem: Problem, point: FloatArray, ballots: Ballots) -> FloatArray:
    rows, m = problem.rows, problem.rows.n_models
    _check_ballots(rows, ballots)
    row, sign, outcome, kept = _located(rows, ballots, sided=problem.sided)
    voter, clusters = _voters(ballots.voter[kept])
    if clusters < MIN_CLUSTERS:
        raise BadParameter(
            f"{clusters} voters are too few for intervals by voter; it takes {MIN_CLUSTERS}"
        )
    lone = _lone(rows, row, voter)
    apart = (
        lone[rows.first]
        | lone[rows.second]
        | _scarce(problem.likelihood, rows)
        | (rows.first == rows.second)
    )
    theta, beta, local = problem.parts(point)
    scores, by_local = problem.likelihood.scores(problem.lead(theta, beta), problem.by_row(local))
    weight = np.where(apart, 0.0, 1.0)[row]
    if ballots.weight is not None:
        weight *= ballots.weight[kept]
    by_d = sign * scores[outcome, row] * weight
    parts = [(ballots.model_a[kept], by_d), (ballots.model_b[kept], -by_d)]
    if problem.sided:
        parts.append((np.full(len(row), m), by_d))
    r = by_local.shape[1]
    for i in range(r):
        column = m + problem.sided + i + r * rows.group[row]
        parts.append((column, by_local[outcome, i, row] * weight))
    columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    summed = csr_array(
        (values, (np.tile(voter, len(parts)), columns)), shape=(clusters, len(point))
    )
    together: FloatArray = (summed.T @ summed).toarray() * clusters / (clusters - 1)
    return together + _spread(problem, point, apart)


def _check_ballots(rows: Pairs, ballots: Ballots) -> None:
    if ballots.group is None and rows.n_groups > 1:
        raise BadParameter("the fit has groups of voters; the ballots must say of which each is")
    if (ballots.weight is None) != (rows.weighted is None):
        raise BadParameter("the votes that were fitted and the ballots must have the same weights")


def _lone(rows: Pairs, row: IndexArray, voter: IndexArray) -> BoolArray:
    """Models [M] on which a single voter voted."""
    models = np.concatenate([rows.first[row], rows.second[row]])
    pairs = np.unique(models * (voter.max(initial=0) + 1) + np.tile(voter, 2))
    voters = np.bincount(pairs // (voter.max(initial=0) + 1), minlength=rows.n_models)
    lone: BoolArray = voters == 1
    return lone


def _located(
    rows: Pairs, ballots: Ballots, *, sided: bool
) -> tuple[IndexArray, FloatArray, npt.NDArray[np.integer], BoolArray]:
    """Row, direction and outcome in it of each vote, and which votes have a row inside a tier."""
    m, g = rows.n_models, rows.n_groups
    place = np.full(m * m * g, -1, dtype=np.intp)
    real = np.flatnonzero(rows.first != rows.second)
    place[(rows.first[real] * m + rows.second[real]) * g + rows.group[real]] = real
    turned = (ballots.model_a > ballots.model_b) & (not sided)
    first = np.where(turned, ballots.model_b, ballots.model_a).astype(np.intp)
    second = np.where(turned, ballots.model_a, ballots.model_b)
    row = place[(first * m + second) * g + (0 if ballots.group is None else ballots.group)]
    kept = row >= 0
    outcome = np.where(turned, MIRROR[ballots.outcome], ballots.outcome)[kept]
    return row[kept], np.where(turned, -1.0, 1.0)[kept], outcome, kept


def _voters(voter: npt.NDArray[np.integer]) -> tuple[IndexArray, int]:
    known = voter >= 0
    distinct, label = np.unique(voter[known], return_inverse=True)
    place = np.empty(len(voter), dtype=np.intp)
    place[known] = label
    place[~known] = len(distinct) + np.arange((~known).sum())
    return place, len(distinct) + int((~known).sum())


# --- resampling ---------------------------------------------------------------------------------


def _resampled(fitted: Fit, rng: np.random.Generator, rounds: int) -> npt.NDArray[np.float64]:
    """Estimates [rounds, Z] of all free parameters, each tier centred."""
    problem, point = fitted.problem(), fitted.point()
    rows = problem.rows
    equals = np.flatnonzero(rows.first == rows.second)  # they stay as they are
    draw = _gammas(rows.votes)

    def resample(seed: IndexArray) -> FloatArray:
        votes = draw(np.random.Generator(np.random.SFC64(seed)))  # the quickest of numpy's
        votes[:, equals] = rows.votes[:, equals]
        again = replace(problem, rows=replace(rows, votes=votes))
        found = None if fitted.factor is None else _near(again, point)
        return _refitted(fitted, again.rows) if found is None else found

    with ThreadPoolExecutor(_THREADS) as pool:
        samples = np.stack(list(pool.map(resample, rng.integers(2**63, size=(rounds, 2)))))
    _centre(samples[:, : len(fitted.theta)], fitted)
    return samples


def _gammas(shapes: FloatArray) -> Callable[[np.random.Generator], FloatArray]:
    """What draws a gamma variate of each of these shapes; 0 of shape 0.

    From a shape of 16 on it is Wilson and Hilferty's cube of a normal one
    (https://doi.org/10.1073/pnas.17.12.684), in half the time: mean and variance are off by less
    than 2e-5 of the variance, the ends of a 95 % interval by 0.002 standard deviations.
    """
    flat = shapes.ravel()
    small, large = np.flatnonzero((flat > 0) & (flat < _LARGE)), np.flatnonzero(flat >= _LARGE)
    few, many = flat[small], flat[large]
    spread = 1 / (3 * np.sqrt(many))
    centre = 1 - spread**2

    def draw(rng: np.random.Generator) -> FloatArray:
        drawn = np.zeros_like(flat)
        drawn[small] = rng.standard_gamma(few)
        root = rng.standard_normal(len(many))
        root *= spread
        root += centre
        drawn[large] = many * root * root * root
        return drawn.reshape(shapes.shape)

    return draw


def _near(problem: Problem, point: FloatArray) -> FloatArray | None:
    """The maximum near `point`, by the information there; None when not reached.

    Steps by one information shrink by about the same ratio each: what is left after the last is
    told by the last two.
    """
    slope, information = problem.slopes(point)
    information = problem.grounded(information)
    try:
        factor = cho_factor(information)
    except LinAlgError:
        return None
    scale = np.sqrt(information.diagonal())
    before = -np.inf
    for _ in range(_CHORDS):
        step = cho_solve(factor, slope)
        point = point + step
        if not problem.likelihood.possible(problem.parts(point)[2]):
            break
        size = float((np.abs(step) * scale).max())
        if size**2 <= _LEFT * (before - size):  # the sum of the steps to come
            return point
        before, slope = size, problem.gradient(point)
    return None


def _refitted(fitted: Fit, rows: Pairs) -> FloatArray:
    real = rows.where((rows.first != rows.second) & rows.votes.any(axis=0))
    sided = fitted.side is not None
    found = fit(fitted.likelihood, real, side=sided, start=fitted.start())
    if sided and found.side is None:
        found = replace(found, side=fitted.side)
    return found.point()


def _centre(theta: FloatArray, fitted: Fit) -> None:
    """Shift each sample [rounds, M], in place, so that tiers have the means that were fitted."""
    tier = fitted.connectivity.tier
    size = np.bincount(tier)
    means = np.array([np.bincount(tier, sample - fitted.theta) / size for sample in theta])
    theta -= means[:, tier]


# --- open ends ----------------------------------------------------------------------------------


def _floors(fitted: Fit, above: BoolArray, tail: float, sign: float) -> FloatArray:
    """How far below its estimate each tier may lie [K]: 0 for a sole core, −inf where unbounded.

    With `sign` −1 the same is asked of the world upside down.
    """
    joined = fitted.connectivity
    floors = np.full(joined.n_tiers, -np.inf)
    component = np.zeros(joined.n_tiers, dtype=np.intp)
    component[joined.tier] = joined.component
    height = sign * fitted.theta
    known = np.where(joined.core[joined.tier], height, -np.inf)
    for tier in np.argsort(above.sum(axis=1), kind="stable"):  # what it is above comes first
        core = joined.core & (component == component[tier])
        core[tier] = False
        if not above[tier][core].all():
            continue
        inside = joined.tier == tier
        if not core.any():
            floors[tier] = 0.0 if inside.sum() > 1 else -np.inf
            continue
        floors[tier] = _floor(fitted, inside, known, tail, sign)
        if not joined.core[tier]:
            known[inside] = height[inside] + floors[tier]
    return floors


def _floor(fitted: Fit, inside: BoolArray, known: FloatArray, tail: float, sign: float) -> float:
    """The shift ≤ 0 of a tier at which all its one-sided results have probability `tail`."""
    from scipy.optimize import brentq  # noqa: PLC0415  12 MB, and most boards have one tier

    rows = _wins_over_known(fitted, inside, known, sign)
    if not rows.first.size:
        return -np.inf
    height = np.where(inside, sign * fitted.theta, known)
    lead = sign * (height[rows.first] - height[rows.second]) + (fitted.side or 0.0)
    lift = sign * np.where(inside[rows.first], 1.0, -1.0)
    local, told = fitted.local[:, rows.group], fitted.likelihood.told(rows.equal_votes())

    def surplus(shift: float) -> float:
        value = fitted.likelihood.values(lead + shift * lift, local, told).sum()
        return float(value) - float(np.log(tail))

    low, high = -1.0, 1.0
    while surplus(low) > 0 and low > -_FARTHEST:
        low *= 2
    while surplus(high) < 0 and high < _FARTHEST:
        high *= 2
    if surplus(low) > 0 or surplus(high) < 0:  # a stereotype whose s is not between −1 and 1
        return -np.inf
    return min(float(brentq(surplus, low, high, xtol=1e-12)), 0.0)


def _wins_over_known(fitted: Fit, inside: BoolArray, known: FloatArray, sign: float) -> Pairs:
    """The rows in which models `inside` won (lost, upside down) against models that are known."""
    pairs, one_sided = fitted.pairs, list(fitted.likelihood.one_sided)
    a_won, b_won = pairs.any_of(one_sided), pairs.any_of(MIRROR[one_sided])
    as_first, as_second = (a_won, b_won) if sign > 0 else (b_won, a_won)
    others = ~inside & np.isfinite(known)
    return pairs.where(
        (inside[pairs.first] & others[pairs.second] & as_first)
        | (inside[pairs.second] & others[pairs.first] & as_second)
    )
