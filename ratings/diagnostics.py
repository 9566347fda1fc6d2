"""Can this board be believed: win rates, calibration, goodness of fit, and where it is surprised.

Everything is computed from pair rows, and costs the same whatever the number of votes. Calibration
and goodness of fit look at the votes inside tiers: what tiers did to each other was one-sided, a
fit foretells it with certainty, and there is nothing to check.

Sources: Cox (1958, https://doi.org/10.1093/biomet/45.3-4.562) for the calibration slope, van
Houwelingen & le Cessie (1990, https://doi.org/10.1002/sim.4780091109) for leaving out the vote
that is foretold; Cochran (1954, https://doi.org/10.2307/3001616) for where χ² holds; DerSimonian
& Laird (1986, https://doi.org/10.1016/0197-2456(86)90046-2) for the variance beyond chance; Jiang,
Lim, Yao & Ye (2011, https://doi.org/10.1007/s10107-010-0419-x) for the split of a board into
strengths and cycles; Hoeffding (1963, https://doi.org/10.1080/01621459.1963.10500830, theorem 1)
for the bound on surprise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import chdtrc, expit, logit, ndtri, rel_entr, xlogy

from ratings.comparisons import FloatArray, IndexArray, Outcome
from ratings.errors import BadParameter
from ratings.fitting import Fit, Problem, inverted
from ratings.likelihood import Likelihood
from ratings.pairs import Pairs, summed

Scale = Literal["win, tie or loss", "expected score"]
"""What a log-loss is of. The two are not comparable: a tie as half a win and half a loss costs at
least log 2 even to one who foresaw it."""

WEIGHTED = "votes have weights, a χ² is of counts"
HALF_WINS = "ties count as half wins, which is no probability of a tie"
NO_FREEDOM = "there are as many parameters as independent counts"
TOO_FEW = "too few votes per pair: an expected count is below 1, or a fifth of them below 5"

_SCORE: FloatArray = np.array([1.0, 1.0, 0.5, 0.0, 0.0, 1.0, 0.5, 0.0])
"""What side A scores, by outcome."""

_DECIDED: FloatArray = np.array([[1.0], [0.5], [0.0]])
"""The same of a win, a tie and a loss."""

_GRADES = 5
_MAX_STEPS = 100
_SMALL_STEP = 1e-6  # Newton's error after it is of the order of its square
_FIVE, _ONE, _A_FIFTH = 5.0, 1.0, 0.2  # Cochran's rule
_TINY = 1e-9
_EDGE = 1e-12
_ROUNDING = 1e-16


@dataclass(frozen=True, slots=True, eq=False)
class WinRates:
    """What i scores against j, a tie being a half: `predicted`, `observed` [M, M], and `votes`.

    Read a row: this model would win (and won) such a share against each other one. `predicted` is
    NaN across components and `observed` where two never met; both are on the diagonal.
    """

    predicted: FloatArray
    observed: FloatArray
    votes: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Whether what was expected to happen in 70 % of votes did happen in 70 %.

    Each pair is seen from its favourite: expected scores are from ½ to 1. The B bins hold about
    as many votes each: the mean `predicted` and `observed` score [B], bounds on the latter [B] at
    confidence `level` and the `votes` [B]. Read them in a row: where the predicted score lies
    outside the bounds in several bins, gaps on the board do not mean the win rates they claim.

    `error` is the mean distance of predicted and observed over bins (expected calibration error),
    `error_by_chance` what a perfect board would show: read the first as trouble only when it is
    well above the second.

    `slope` is how far the log-odds of a vote that the fit has not seen must be stretched to fit
    best, and `slope_se` its standard error: 0.9 says that all gaps are a tenth too wide. Inside
    the bins the fit has seen every vote; for the slope each vote is foretold without itself, by
    one Newton step, because Bradley-Terry's slope on its own votes is 1 by construction.
    It is a quasi-likelihood (Papke & Wooldridge 1996), so that half wins are proper outcomes. There
    is no intercept: which model of a pair is named first means nothing, and an intercept would
    depend on it. NaN where there are no votes, or no finite slope.
    """

    predicted: FloatArray
    observed: FloatArray
    lower: FloatArray
    upper: FloatArray
    votes: FloatArray
    error: float
    error_by_chance: float
    slope: float
    slope_se: float
    level: float


@dataclass(frozen=True, slots=True, eq=False)
class GoodnessOfFit:
    """How well the strengths tell the votes inside tiers.

    `votes` were judged, `left_out` lie between tiers. Losses are in nats per vote on `scale`.

    - `log_loss`: how surprised the board is by a vote. Read it between `baseline` (one who knows
      how often votes are tied, and how often side A wins where there is a side effect, but not who
      plays) and `saturated` (one who knows the frequencies of every pair): how much of the way
      from the first to the second a line of strengths goes. Losses of two methods compare only on
      one scale, and on the votes that made them.
    - `deviance`: twice the log-likelihood that is lost against knowing every pair's frequencies;
      of grades where the fit looks at them. Read it against `degrees`, the frequencies less the
      `parameters`: about equal for a true model with many votes per pair.
    - `p_value`: the chance of such a misfit (Pearson's X²) under a true model, None where the
      counts do not carry it, with `p_value_problem`. A small one says that the model is not exact;
      with a million votes none is, so look at `spin` for how much it matters.
    - `dispersion`: mean squared standardised residual of the pairs' scores. 1 is chance alone; at
      2 pairs scatter as if half of the votes were copies of others.
    - `spin`: standard deviation, in nats (173.7 rating points), of what a pair has of its own
      beyond the difference of two strengths: cycles, favourite opponents. Read it as how far a
      pair's true gap typically is from the one on the board; 0 is a perfect line. `spin_p_value`:
      the chance of so much on a perfect line. It holds with few votes per pair, but takes some
      dozens per model: with twenty it is below 0.05 in one of eight boards instead of twenty.

    NaN where there are no votes, or no pair closes a circle.
    """

    votes: float
    left_out: float
    scale: Scale
    log_loss: float
    baseline: float
    saturated: float
    parameters: int
    deviance: float
    degrees: int
    p_value: float | None
    p_value_problem: str | None
    dispersion: float
    spin: float
    spin_p_value: float


@dataclass(frozen=True, slots=True, eq=False)
class Surprises:
    """The S pairs that surprise the board most, largest first; of `pairs` that met inside tiers.

    `first` is the model of the pair that did better than expected: it scored `observed`, not
    `predicted` [S], in `votes` [S]. `residual` [S] is the signed root of the pair's deviance,
    over its standard deviation: that of a tie and of a pair's pull on its own prediction are
    taken into account. Read those above `threshold` as real: under a true model, even one of all
    pairs is there with probability 1 − `level` at most, however few votes a pair has. `beyond`
    counts them, listed or not.
    """

    first: IndexArray
    second: IndexArray
    votes: FloatArray
    observed: FloatArray
    predicted: FloatArray
    residual: FloatArray
    threshold: float
    beyond: int
    pairs: int
    level: float


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """All figures of one fit."""

    win_rates: WinRates
    calibration: Calibration
    goodness: GoodnessOfFit
    surprises: Surprises


def diagnose(fitted: Fit, *, level: float = 0.95, bins: int = 10, most: int = 10) -> Diagnosis:
    """All figures of one fit, with at most `bins` calibration bins and the `most` surprises.

    Raises `BadParameter` when `level` is not between 0 and 1, `bins` below 1 or `most` below 0.
    """
    _check(level, bins)
    if most < 0:
        raise BadParameter(f"there cannot be {most} most surprising pairs")
    rows = _Rows.of(fitted, fitted.pairs)
    influence = _Influence.of(rows)
    scores = _PairScores.of(rows, influence)
    return Diagnosis(
        win_rates=win_rates(fitted),
        calibration=_calibration(rows, influence.left_out(), bins, level),
        goodness=_goodness(rows, scores),
        surprises=_surprises(scores, most, level),
    )


def win_rates(fitted: Fit) -> WinRates:
    """Scores of every two models, predicted and observed.

    Predictions are those of equal sides: the mean of both orders. With several groups of voters
    they are the mean of the groups' predictions, weighted by votes.
    """
    votes = fitted.pairs.winners()
    won, tied = votes.matrix([Outcome.a_won]), votes.matrix([Outcome.tied])
    met = won + won.T + tied
    return WinRates(_predicted(fitted), _ratio(won + tied / 2, met), met)


def calibration_on(
    fitted: Fit, votes: Pairs, *, level: float = 0.95, bins: int = 10
) -> Calibration:
    """Calibration on votes that the fit has never seen, such as those cast since.

    Raises `BadParameter` as `diagnose`, and when `votes` are of other models or groups of voters.
    """
    _check(level, bins)
    known = fitted.pairs
    if (votes.n_models, votes.n_groups) != (known.n_models, known.n_groups):
        raise BadParameter("the votes must be of the fit's models and groups of voters")
    rows = _Rows.of(fitted, votes)
    return _calibration(rows, rows.log_odds[None], bins, level)


def _check(level: float, bins: int) -> None:
    if not 0 < level < 1:
        raise BadParameter(f"the confidence level must be between 0 and 1, not {level}")
    if bins < 1:
        raise BadParameter(f"calibration needs at least 1 bin, not {bins}")


def _ratio(part: FloatArray, whole: FloatArray | IndexArray) -> FloatArray:
    """NaN where the whole is 0."""
    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _predicted(fitted: Fit) -> FloatArray:
    m, joined = fitted.pairs.n_models, fitted.connectivity
    first, second = np.triu_indices(m, 1)
    together = joined.component[first] == joined.component[second]
    first, second = first[together], second[together]
    lead = fitted.theta[first] - fitted.theta[second]
    sides = [0.0] if fitted.side is None else [fitted.side, -fitted.side]
    weight = fitted.pairs.totals().sum(axis=0)
    score = sum(
        share * _points(fitted.likelihood.chances(lead + side, local[:, None])) / len(sides)
        for share, local in zip(weight / max(weight.sum(), _EDGE), fitted.local.T, strict=True)
        for side in sides
    )
    predicted = np.full((m, m), np.nan)
    predicted[first, second], predicted[second, first] = score, 1 - score
    return predicted


def _points(decided: FloatArray) -> FloatArray:
    """The score [P] of wins, ties and losses [3, P], or of their probabilities."""
    points: FloatArray = decided[0] + decided[1] / 2
    return points


# --- votes beside what was expected of them -----------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Votes inside tiers, P rows, and what a fit expects of them at its leads [P].

    `decided` [3, P] are the `votes` [P] that were won, tied and lost, `squares` [3, P] the sums of
    their squared weights; `chances` [3, P] and the `expected` score [P] are of one vote.
    """

    fitted: Fit
    problem: Problem
    lead: FloatArray
    local: FloatArray
    decided: FloatArray
    squares: FloatArray
    votes: FloatArray
    chances: FloatArray
    expected: FloatArray

    @classmethod
    def of(cls, fitted: Fit, votes: Pairs) -> _Rows:
        tier = fitted.connectivity.tier
        inside = votes.where(tier[votes.first] == tier[votes.second])
        problem = Problem(fitted.likelihood, inside, tier, sided=fitted.side is not None)
        theta, beta, local = problem.parts(fitted.point())
        lead, by_row = problem.lead(theta, beta), problem.by_row(local)
        winners = inside.winners()
        # a tie is what a win and a loss leave, to within rounding
        chances = np.maximum(fitted.likelihood.chances(lead, by_row), _ROUNDING)
        return cls(
            fitted=fitted,
            problem=problem,
            lead=lead,
            local=by_row,
            decided=winners.votes[_GRADES:],
            squares=winners.squares[_GRADES:],
            votes=winners.votes.sum(axis=0),
            chances=chances,
            expected=np.clip(_points(chances), _EDGE, 1 - _EDGE),
        )

    @property
    def pairs(self) -> Pairs:
        return self.problem.rows

    @property
    def log_odds(self) -> FloatArray:
        """Of the expected score."""
        log_odds: FloatArray = logit(self.expected)
        return log_odds

    def with_ties(self) -> FloatArray:
        """Chances [3, P] that leave room for ties, where the likelihood knows of none.

        The expected scores stay; ties get their share of the variance of all votes.
        """
        if _knows_ties(self.fitted.likelihood):
            return self.chances
        expected = self.expected
        variance = expected * (1 - expected)
        share = self.decided[1].sum() / max(4 * variance @ self.votes, _EDGE)
        tied = min(share, 1.0) * 4 * variance
        return np.stack([expected - tied / 2, tied, 1 - expected - tied / 2])


def _knows_ties(likelihood: Likelihood) -> bool:
    return any(Outcome.tied in kind for kind in likelihood.kinds)


def _knows_grades(likelihood: Likelihood) -> bool:
    return Outcome.a_better not in likelihood.one_sided


def _moments(chances: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Variance and fourth central moment [P] of one vote's score."""
    squares = (_DECIDED - _points(chances)) ** 2
    weighted = chances * squares
    return np.maximum(weighted.sum(axis=0), 0.0), (weighted * squares).sum(axis=0)


# --- how far votes pull on their own predictions ------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Influence:
    """The inverse information [Z, Z], one vote's information [P] and its scores by d [8, P].

    `by_d` [P] and `by_local` [R, P] are derivatives of the expected score of one vote.
    """

    rows: _Rows
    inverse: FloatArray
    information: FloatArray
    scores: FloatArray
    by_d: FloatArray
    by_local: FloatArray

    @classmethod
    def of(cls, rows: _Rows) -> _Influence:
        fitted, n = rows.fitted, rows.lead.size
        problem, point = fitted.problem(), fitted.point()
        theta, beta, local = problem.parts(point)
        bend = fitted.likelihood.slopes(
            problem.lead(theta, beta), problem.by_row(local), problem.told
        )
        information = problem.information(bend.d_d, bend.d_local, bend.local_local)
        scores, by_local = fitted.likelihood.scores(rows.lead, rows.local)
        won, tied = Outcome.a_won, Outcome.tied
        chance, tie = rows.chances[0], rows.chances[1] / 2
        return cls(
            rows=rows,
            inverse=inverted(problem.grounded(information)),
            information=bend.d_d[:n] / rows.votes,  # the votes between equals come last
            scores=scores,
            by_d=chance * scores[won] + tie * scores[tied],
            by_local=chance * by_local[won] + tie * by_local[tied],
        )

    def left_out(self) -> FloatArray:
        """Log-odds [8, P] of a vote's expected score, as foretold without that vote."""
        pairs, expected = self.rows.pairs, self.rows.expected
        others = np.zeros((len(self.inverse) - pairs.n_models, self.by_d.size))
        others[: self.rows.problem.sided] = 1.0
        reach = self.variance(pairs.first, pairs.second, np.ones(self.by_d.size), others)
        rest = 1 - self.information * reach
        pull = np.divide(reach, rest, out=np.zeros_like(reach), where=rest > _TINY)
        slope = self.by_d / (expected * (1 - expected))
        log_odds: FloatArray = self.rows.log_odds - slope * pull * self.scores
        return log_odds

    def variance(
        self, first: IndexArray, second: IndexArray, lead: FloatArray, others: FloatArray
    ) -> FloatArray:
        """Variances [Q] of combinations lead·(θ_first − θ_second) + others·(β, ν)."""
        m = self.rows.pairs.n_models
        own, cross, rest = self.inverse[:m, :m], self.inverse[m:, :m], self.inverse[m:, m:]
        spread = own.diagonal()
        variance = lead**2 * (spread[first] + spread[second] - 2 * own[first, second])
        if len(others):
            variance += 2 * lead * (others * (cross[:, first] - cross[:, second])).sum(axis=0)
            variance += (others * (rest @ others)).sum(axis=0)
        return variance


@dataclass(frozen=True, slots=True, eq=False)
class _PairScores:
    """What `first` scored in all votes of a pair, whoever was shown first; Q pairs.

    `variance` is that of `points` under the fit, of which the share `own` went into `expected`;
    `kurtosis` is their excess, and `pull` the derivative of `expected` by the difference d.
    """

    first: IndexArray
    second: IndexArray
    votes: FloatArray
    squares: FloatArray
    points: FloatArray
    expected: FloatArray
    variance: FloatArray
    own: FloatArray
    kurtosis: FloatArray
    pull: FloatArray

    @classmethod
    def of(cls, rows: _Rows, influence: _Influence) -> _PairScores:
        fold, votes = _Fold.of(rows.pairs), rows.votes
        squares, (spread, fourth) = rows.squares.sum(axis=0), _moments(rows.with_ties())
        variance = fold.sums(squares * spread)
        excess = fold.sums(squares**3 / votes**2 * (fourth - 3 * spread**2))
        pull = fold.sums(votes * influence.by_d)
        others = influence.variance(
            fold.first, fold.second, pull, fold.of_parameters(rows, influence)
        )
        nominal = fold.sums(votes * _moments(rows.chances)[0])
        return cls(
            first=fold.first,
            second=fold.second,
            votes=fold.sums(votes),
            squares=fold.sums(squares),
            points=fold.scores(_points(rows.decided), votes),
            expected=fold.scores(votes * rows.expected, votes),
            variance=variance,
            own=np.clip(_over(others, nominal), 0.0, 1.0),
            kurtosis=_over(excess, variance**2),
            pull=pull,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Fold:
    """Rows [P] of either order and of any group, gathered in Q pairs with `first` < `second`."""

    first: IndexArray
    second: IndexArray
    pair: IndexArray
    turned: FloatArray

    @classmethod
    def of(cls, pairs: Pairs) -> _Fold:
        m = pairs.n_models
        low, high = np.minimum(pairs.first, pairs.second), np.maximum(pairs.first, pairs.second)
        cells, pair = np.unique(low * m + high, return_inverse=True)
        first, second = np.divmod(cells, max(m, 1))
        return cls(first, second, pair, np.where(pairs.first > pairs.second, -1.0, 1.0))

    def sums(self, values: FloatArray) -> FloatArray:
        return summed(self.pair, values, self.first.size)

    def scores(self, points: FloatArray, votes: FloatArray) -> FloatArray:
        """What the pair's `first` scored, where a row's first scored `points` in `votes`."""
        return self.sums(np.where(self.turned > 0, points, votes - points))

    def of_parameters(self, rows: _Rows, influence: _Influence) -> FloatArray:
        """Derivatives of the expected scores by the side effect and the local parameters."""
        weight, group = rows.votes * self.turned, rows.pairs.group
        side = [self.sums(weight * influence.by_d)] if rows.problem.sided else []
        local = [
            self.sums(np.where(group == g, weight * values, 0.0))
            for g in range(rows.pairs.n_groups)
            for values in influence.by_local
        ]
        return np.array([*side, *local]).reshape(len(side) + len(local), self.first.size)


def _over(part: FloatArray, whole: FloatArray) -> FloatArray:
    """0 where the whole is (nearly) 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > _TINY)


# --- calibration --------------------------------------------------------------------------------


def _calibration(rows: _Rows, log_odds: FloatArray, bins: int, level: float) -> Calibration:
    """`log_odds` [8 or 1, P] are those of the slope."""
    expected = _points(rows.chances)
    turned = expected < 1 / 2
    decided = np.where(turned, rows.decided[::-1], rows.decided)
    squares = np.where(turned, rows.squares[::-1], rows.squares)
    favourite = np.maximum(expected, 1 - expected)
    place = _equal_bins(favourite, rows.votes, bins)
    size = int(place.max(initial=-1)) + 1
    votes = summed(place, rows.votes, size)
    observed = summed(place, _points(decided), size) / votes
    kinds = np.stack([summed(place, kind, size) for kind in squares])
    variance = (kinds * (_DECIDED - observed) ** 2).sum(axis=0) / votes**2
    foretold = summed(place, squares.sum(axis=0) * _moments(rows.with_ties())[0], size) / votes**2
    predicted = summed(place, rows.votes * favourite, size) / votes
    lower, upper = _wilson(observed, variance, votes**2 / kinds.sum(axis=0), level)
    slope, slope_se = _slope(rows.pairs, log_odds)
    share = votes / votes.sum()
    return Calibration(
        predicted=predicted,
        observed=observed,
        lower=lower,
        upper=upper,
        votes=votes,
        error=_mean(share, np.abs(observed - predicted)),
        error_by_chance=_mean(share, np.sqrt(2 / np.pi * foretold)),
        slope=slope,
        slope_se=slope_se,
        level=level,
    )


def _mean(share: FloatArray, values: FloatArray) -> float:
    return float(share @ values) if share.size else math.nan


def _equal_bins(values: FloatArray, weight: FloatArray, bins: int) -> IndexArray:
    """The bin of each value [P], of about equal weight; none is empty."""
    order = np.argsort(values, kind="stable")
    middle = np.cumsum(weight[order]) - weight[order] / 2
    ascending = (bins * middle / max(weight.sum(), _EDGE)).astype(np.intp)
    place = np.zeros(len(order), dtype=np.intp)
    place[order[1:]] = np.cumsum(np.diff(ascending) > 0)
    return place


def _wilson(
    mean: FloatArray, variance: FloatArray, votes: FloatArray, level: float
) -> tuple[FloatArray, FloatArray]:
    """Wilson's bounds (1927, https://doi.org/10.1080/01621459.1927.10502953) of a mean score.

    A score with ties varies less than a proportion: as that of more votes, which are put in their
    place (Korn & Graubard 1998, Survey Methodology 24). Where nothing varies, `votes` stand.
    """
    z2 = float(ndtri((1 - level) / 2)) ** 2
    of_one = mean * (1 - mean)
    n = np.divide(of_one, variance, out=votes.copy(), where=variance > _TINY * of_one / votes)
    centre = (mean + z2 / (2 * n)) / (1 + z2 / n)
    margin = np.sqrt(z2 * (of_one / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return centre - margin, centre + margin


def _slope(pairs: Pairs, log_odds: FloatArray) -> tuple[float, float]:
    """The b whose σ(b·log-odds) fits the scores best, and its standard error."""
    cells = np.nonzero(pairs.votes)
    x = np.broadcast_to(log_odds, pairs.votes.shape)[cells]
    votes, squares, score = pairs.votes[cells], pairs.squares[cells], _SCORE[cells[0]]
    x2, b = x**2, 1.0
    for _ in range(_MAX_STEPS):
        p = expit(b * x)
        bend = votes @ (p * (1 - p) * x2)
        if not bend > _EDGE * votes.sum():
            break
        rest = (score - p) * x
        step = float(np.clip((votes @ rest) / bend, -1.0, 1.0))
        b += step
        if abs(step) <= _SMALL_STEP:
            return b, math.sqrt(float(squares @ rest**2)) / float(bend)
    return math.nan, math.nan


# --- goodness of fit ----------------------------------------------------------------------------


def _goodness(rows: _Rows, scores: _PairScores) -> GoodnessOfFit:
    fitted, votes = rows.fitted, float(rows.votes.sum())
    cells, chances = _cells(rows, rows.decided), _cells(rows, rows.chances)
    tables = _tables(rows)
    parameters = len(fitted.theta) - fitted.connectivity.n_tiers + rows.problem.sided
    parameters += fitted.local.size
    degrees = sum((len(counts) - 1) * counts.shape[1] for counts, _ in tables) - parameters
    p_value, problem = _p_value(rows, tables, degrees)
    dispersion, spin, spin_p_value = _spin(scores)
    return GoodnessOfFit(
        votes=votes,
        left_out=float(fitted.pairs.votes.sum()) - votes,
        scale="win, tie or loss" if len(cells) == len(_DECIDED) else "expected score",
        log_loss=_loss(cells, chances),
        baseline=_loss(cells, _cells(rows, _constant(rows))),
        saturated=_loss(cells, cells / rows.votes),
        parameters=parameters,
        deviance=max(2 * sum(float(rel_entr(*table).sum()) for table in tables), 0.0),
        degrees=max(degrees, 0),
        p_value=p_value,
        p_value_problem=problem,
        dispersion=dispersion,
        spin=spin,
        spin_p_value=spin_p_value,
    )


def _cells(rows: _Rows, decided: FloatArray) -> FloatArray:
    """What is foretold: [3, P], or [2, P] of scores where the likelihood knows of no ties."""
    if _knows_ties(rows.fitted.likelihood):
        return decided
    return np.stack([_points(decided), _points(decided[::-1])])


def _loss(cells: FloatArray, chances: FloatArray) -> float:
    """Nats per vote."""
    return 0.0 - float(xlogy(cells, chances).sum() / cells.sum()) if cells.size else math.nan


def _constant(rows: _Rows) -> FloatArray:
    """Chances [3, P] by frequency in each group; of either side alike, but for a side effect."""
    pairs = rows.pairs
    total = np.stack([summed(pairs.group, kind, pairs.n_groups) for kind in rows.decided])
    if not rows.problem.sided:
        total = total + total[::-1]
    return _over(total, np.broadcast_to(total.sum(axis=0), total.shape))[:, pairs.group]


def _tables(rows: _Rows) -> list[tuple[FloatArray, FloatArray]]:
    """Counts and expected counts [K, T] of what the likelihood looks at, T rows with votes."""
    likelihood, votes = rows.fitted.likelihood, rows.pairs.votes
    if not _knows_grades(likelihood):
        return [_table(_cells(rows, rows.decided), _cells(rows, rows.chances))]
    much = np.zeros((2, *votes.shape))
    much[[0, 1], [Outcome.a_much_better, Outcome.b_much_better]] = 1.0
    a_much, b_much = (
        np.exp(likelihood.values(rows.lead, rows.local, likelihood.told(one))) for one in much
    )
    won, tied, lost = rows.chances
    grades = np.maximum(np.stack([a_much, won - a_much, tied, lost - b_much, b_much]), _ROUNDING)
    return [_table(votes[:_GRADES], grades), _table(votes[_GRADES:], rows.chances)]


def _table(counts: FloatArray, chances: FloatArray) -> tuple[FloatArray, FloatArray]:
    total = counts.sum(axis=0)
    some = total > 0
    return counts[:, some], (total * chances)[:, some]


def _p_value(
    rows: _Rows, tables: list[tuple[FloatArray, FloatArray]], degrees: int
) -> tuple[float | None, str | None]:
    """Of Pearson's X², which keeps to χ² at smaller counts than the deviance; or why not."""
    expected = np.concatenate([table.ravel() for _, table in tables])
    if rows.pairs.weighted is not None:
        return None, WEIGHTED
    if not _knows_ties(rows.fitted.likelihood) and rows.decided[1].any():
        return None, HALF_WINS
    if degrees <= 0:
        return None, NO_FREEDOM
    if expected.min() < _ONE or (expected < _FIVE).mean() > _A_FIFTH:
        return None, TOO_FEW
    pearson = sum(float(((seen - table) ** 2 / table).sum()) for seen, table in tables)
    return float(chdtrc(degrees, pearson)), None


def _spin(scores: _PairScores) -> tuple[float, float, float]:
    """Dispersion, spin and its p-value: by the first two moments of the sum of squares.

    Its mean is that of χ² whatever the counts, its variance is not: few votes on a lopsided pair
    make rare, large squares. The excess kurtosis says how much, and Satterthwaite's multiple of a
    χ² has both moments.
    """
    free = np.where(scores.variance > _TINY, 1 - scores.own, 0.0)
    mean = float(free.sum())
    if mean < _TINY:
        return math.nan, math.nan, math.nan
    total = float(_over((scores.points - scores.expected) ** 2, scores.variance).sum())
    variance = 2 * mean + float(free**2 @ scores.kurtosis)
    pull = float(_over(scores.pull**2, scores.variance) @ free)
    excess = (total - mean) / pull if pull > 0 else 0.0
    size = 2 * mean / variance
    return total / mean, math.sqrt(max(excess, 0.0)), float(chdtrc(size * mean, size * total))


# --- surprises ----------------------------------------------------------------------------------


def _surprises(scores: _PairScores, most: int, level: float) -> Surprises:
    observed, predicted = scores.points / scores.votes, scores.expected / scores.votes
    one_way, pairs = observed > predicted, len(observed)
    of_binomial = scores.squares * predicted * (1 - predicted)
    free = (1 - scores.own) * _over(scores.variance, of_binomial)
    information = rel_entr(observed, predicted) + rel_entr(1 - observed, 1 - predicted)
    effective = scores.votes**2 / scores.squares
    residual = np.sqrt(_over(2 * effective * np.maximum(information, 0.0), free))
    threshold = math.sqrt(2 * math.log(2 * max(pairs, 1) / (1 - level)))
    top = np.argsort(-residual, kind="stable")[:most]
    return Surprises(
        first=np.where(one_way, scores.first, scores.second)[top],
        second=np.where(one_way, scores.second, scores.first)[top],
        votes=scores.votes[top],
        observed=np.where(one_way, observed, 1 - observed)[top],
        predicted=np.where(one_way, predicted, 1 - predicted)[top],
        residual=residual[top],
        threshold=threshold,
        beyond=int((residual > threshold).sum()),
        pairs=pairs,
        level=level,
    )
