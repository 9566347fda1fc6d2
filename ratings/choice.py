"""Which model the votes support: do the grades tell more about strength than who won?

Grades help where "much better" means a larger lead, and hurt where it is a voter's habit, or
chance. So each graded model is held against Bradley-Terry on the same votes, by the mean squared
error of its strengths: their variance is the sandwich's, and what separates them from the winners'
strengths beyond chance is counted as their bias. Nothing has to be held out or drawn at random,
and the cost does not depend on the number of votes.

Sources: Claeskens & Hjort (2003, https://doi.org/10.1198/016214503000000819) for choosing a model
by the estimated error of what it is asked for; Hausman (1978, https://doi.org/10.2307/1913827) for
the contrast of an efficient estimate with a safe one. The evidence is in `ratings/README.md`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ratings import bradley_terry, graded
from ratings.comparisons import FloatArray, PairCounts
from ratings.errors import BadParameter
from ratings.fitting import Fit, rejoined
from ratings.intervals import Intervals, sandwich
from ratings.likelihood import Likelihood

Method = Literal["bt", "graded"]
Variant = Literal["pooled", "by_voter_habit", "stereotype"]

MIN_GAIN = 1.05
"""What a graded model must gain by the estimate: less is not worth a model harder to explain."""

MIN_VOTES = 1000
MIN_VOTES_PER_MODEL = 10
"""With fewer graded votes strengths are mostly noise, and so is the estimate of a gain."""

MIN_MODELS = 10
"""With fewer models a bias is hard to see: it takes many distances to tell it from chance."""

_MANY_TIMES = 10.0
_HOW: dict[Variant, str] = {
    "pooled": "with thresholds that all voters share",
    "by_voter_habit": "with thresholds by voter habit",
    "stereotype": "with a learned score of a slight win",
}


@dataclass(frozen=True, slots=True)
class Gain:
    """By how much a graded model is more accurate than Bradley-Terry.

    `gain` is Bradley-Terry's mean squared error over the graded model's, strengths on a common
    scale, and `se` its standard error. `variance` is the same without the bias; `bias` is the
    squared distance of the two beyond chance, in units of Bradley-Terry's variance (negative:
    they are closer than chance would have them). `scale` turns the graded strengths into
    Bradley-Terry's units: near 1 with thresholds, near 0.6 for the stereotype.
    """

    gain: float
    se: float
    variance: float
    bias: float
    scale: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The model that the votes support, and the evidence.

    `slight_score` is what "better" counts where "much better" counts 1, with its standard error.
    `votes` are those with a grade. `gains` holds each variant that was tried. Where the votes
    were too few to try any, `gains` is empty and the score None. `reason` is for people.
    """

    method: Method
    variant: Variant | None
    slight_score: float | None
    slight_score_se: float | None
    votes: float
    gains: Mapping[Variant, Gain]
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a snapshot."""
        return asdict(self)


def choose(counts: PairCounts, groups: Sequence[PairCounts] | None = None) -> Choice:
    """Choose between Bradley-Terry and the graded models.

    `groups` are the same votes parted by the habit of their voters (`graded.strata_by_habit`);
    without them voters cannot be told apart. Only the largest tier enters the evidence: the models
    that wins and ties join both ways.

    Raises `BadParameter` when the groups do not hold the same votes as `counts`.
    """
    parts = [counts] if groups is None else list(groups)
    same_models = {part.n_models for part in parts} == {counts.n_models}
    if not (same_models and np.allclose(sum(part.counts for part in parts), counts.counts)):
        raise BadParameter("the groups must hold the same votes as the counts")
    votes = float(counts.graded.sum())
    if not votes:
        return _winners_only(votes, "No vote has a grade; graded would equal Rao-Kupper's model")
    winners = bradley_terry.fit(counts)
    size = np.bincount(winners.connectivity.tier)
    models = np.flatnonzero(winners.connectivity.tier == size.argmax())
    if len(size) > 1:
        counts, parts = counts.selected(models), [part.selected(models) for part in parts]
        winners = bradley_terry.fit(counts)
    enough = max(MIN_VOTES, MIN_VOTES_PER_MODEL * len(models))
    if len(models) < MIN_MODELS:
        return _winners_only(
            votes, f"It takes {MIN_MODELS} models, joined by wins and ties both ways, to see a bias"
        )
    if counts.graded.sum() < enough:
        return _winners_only(votes, f"It takes {enough:,} graded votes to tell whether they inform")
    return _chosen(winners, counts, [part for part in parts if part.counts.any()], votes)


def _winners_only(votes: float, reason: str) -> Choice:
    return Choice("bt", None, None, None, votes, {}, f"{reason}; only winners count.")


def _chosen(winners: Fit, counts: PairCounts, parts: list[PairCounts], votes: float) -> Choice:
    spread = sandwich(winners)
    if winners.theta @ winners.theta < 2 * np.trace(spread.covariance):
        return _winners_only(votes, "Strengths do not yet differ by more than chance")
    stereotype = graded.stereotype(counts)
    gains = {
        variant: _gain(winners, spread, fitted)
        for variant, fitted in _variants(counts, parts, stereotype)
    }
    best = _best(gains)
    informs = gains[best].gain >= MIN_GAIN
    score, se = _slight_score(stereotype)
    return Choice(
        method="graded" if informs else "bt",
        variant=best if informs else None,
        slight_score=score,
        slight_score_se=se,
        votes=votes,
        gains=gains,
        reason=_reason(score, best, gains[best]),
    )


def _slight_score(stereotype: Fit) -> tuple[float | None, float | None]:
    """ŝ and its standard error; None where the votes put no bound on it."""
    score, se = float(stereotype.local[-1, 0]), float(sandwich(stereotype).local_se[-1, 0])
    if not (stereotype.converged and math.isfinite(score) and math.isfinite(se)):
        return None, None
    return score, se


def _best(gains: Mapping[Variant, Gain]) -> Variant:
    """The stereotype, whose strengths are on another scale, only where thresholds do not do."""
    gain = {variant: found.gain for variant, found in gains.items()}
    thresholds = max((v for v in gain if v != "stereotype"), key=gain.__getitem__)
    return thresholds if gain[thresholds] >= MIN_GAIN else max(gain, key=gain.__getitem__)


def _variants(
    counts: PairCounts, parts: list[PairCounts], stereotype: Fit
) -> Iterator[tuple[Variant, Fit]]:
    pooled = graded.fit(counts)
    yield "pooled", pooled
    if len(parts) > 1:
        yield "by_voter_habit", graded.fit(parts, start=pooled.start())
    if stereotype.converged:  # the one model that is not concave
        yield "stereotype", stereotype


def _gain(winners: Fit, spread: Intervals, fitted: Fit) -> Gain:
    """Held against Bradley-Terry: x its strengths, y the graded ones, c·y those on its scale."""
    variance_y, covariance = _joint(winners, fitted)
    x, y, variance_x = winners.theta, fitted.theta, spread.covariance
    signal = y @ y - np.trace(variance_y)  # without the noise, which would flatten the slope
    scale = (x @ y - np.trace(covariance)) / signal
    contrast = x - scale * y
    noise = variance_x + scale**2 * variance_y - scale * (covariance + covariance.T)
    error_x, error_y = np.trace(variance_x), scale**2 * np.trace(variance_y)
    bias = contrast @ contrast - np.trace(noise)
    gain = error_x / (error_y + max(bias, 0.0))
    by_scale = 2 * np.sqrt(max(y @ noise @ y, 0.0)) / abs(scale * signal)
    by_bias = gain / error_x * np.sqrt(2 * (noise**2).sum()) if bias > 0 else 0.0
    return Gain(
        gain=float(gain),
        se=float(gain * np.hypot(by_scale, by_bias)),
        variance=float(error_x / error_y),
        bias=float(bias / error_x),
        scale=float(scale),
    )


def _joint(winners: Fit, fitted: Fit) -> tuple[FloatArray, FloatArray]:
    """Sandwich covariance [M, M] of the graded strengths, and of the winners' with them."""
    problem, point, m = fitted.problem(), fitted.point(), len(winners.theta)
    lead = problem.lead(winners.theta, 0.0)
    win, win_local, own, own_local, local_local = rejoined(
        _squared(winners.likelihood, fitted.likelihood, *block)
        for block in problem.in_blocks(point, np.vstack([problem.rows.squares, lead]))
    )
    both = problem.information(win, win_local, np.zeros_like(local_local))
    own = problem.information(own, own_local, local_local)
    bread = cho_factor(problem.grounded(problem.slopes(point)[1]))
    safe = winners.problem()
    safe_bread = cho_factor(safe.grounded(safe.slopes(winners.point())[1]))
    variance = cho_solve(bread, cho_solve(bread, own).T)[:m, :m]
    covariance = cho_solve(safe_bread, cho_solve(bread, both[:, :m])[:m].T)
    return variance, covariance


def _squared(
    winners: Likelihood, graded: Likelihood, d: FloatArray, local: FloatArray, columns: FloatArray
) -> tuple[FloatArray, ...]:
    """Products of the scores of rows, times their votes: of both likelihoods (by d, d and ν), then
    of the graded one alone (by d, d and ν, ν). `columns` are votes [8, P] and the winners' d [P].
    """
    votes, lead = columns[:-1], columns[-1]
    by_win, _ = winners.scores(lead, np.zeros((0, 1)))
    by_d, by_local = graded.scores(d, local)
    weighted = votes[:, None] * by_local
    return (
        (votes * by_d * by_win).sum(axis=0),
        np.einsum("kp,krp->rp", by_win, weighted),
        (votes * by_d**2).sum(axis=0),
        np.einsum("kp,krp->rp", by_d, weighted),
        np.einsum("krp,ksp->rsp", weighted, by_local),
    )


def _reason(score: float | None, variant: Variant, gain: Gain) -> str:
    if score is None:
        counts = 'The votes do not tell what "much better" counts'
    else:
        times = f"{1 / score:.1f}" if score * _MANY_TIMES > 1 else f"over {_MANY_TIMES:.0f}"
        counts = f'"Much better" counts {times} times "better"'
    accurate = f"{gain.gain:.2f} times as accurate as from winners alone"
    if gain.gain >= MIN_GAIN:
        return f"{counts}: strengths from grades, {_HOW[variant]}, are {accurate}; grades count."
    far = gain.bias > MIN_GAIN - 1
    but = f"{counts}, but strengths from grades depart from the winners' beyond chance"
    return (
        f"{but if far else counts}: grades would at best be {accurate}, and it takes "
        f"{MIN_GAIN}; only winners count."
    )
