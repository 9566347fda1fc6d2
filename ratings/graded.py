"""Strengths from five-step grades: how much better tells more than who won."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ratings.comparisons import Outcome, PairCounts
from ratings.errors import BadComparisons
from ratings.fitting import Fit, Start
from ratings.fitting import fit as _fit
from ratings.likelihood import GRADED, RAO_KUPPER, STEREOTYPE
from ratings.pairs import pairs_of

HABITS = 6
"""Groups of `strata_by_habit`: by fifths of the share of extreme steps, and the unknown."""

_UNKNOWN_HABIT = HABITS - 1
_FIFTHS = (0.2, 0.4, 0.6, 0.8)
_PRIOR_VOTES = 5
_FEWEST_VOTES = 3
_EXTREME = np.zeros(len(Outcome), np.bool_)
_EXTREME[[Outcome.a_much_better, Outcome.b_much_better]] = True
_DECISIVE = _EXTREME.copy()
_DECISIVE[[Outcome.a_better, Outcome.b_better]] = True


def fit(
    counts: PairCounts | Sequence[PairCounts], *, side: bool = False, start: Start | None = None
) -> Fit:
    """Proportional-odds cumulative logit (Agresti 1992, https://doi.org/10.2307/2347562).

    d = θ_a − θ_b (+ β with `side`) plus logistic noise falls between the thresholds −t2, −t1, t1,
    t2. A sequence of counts is one of groups of voters, each with thresholds of its own. Votes
    that name a winner only count as the union of their grades; where all votes are such, t2 does
    not exist and the model is Rao and Kupper's.
    """
    groups = [counts] if isinstance(counts, PairCounts) else list(counts)
    likelihood = GRADED if any(group.graded.any() for group in groups) else RAO_KUPPER
    return _fit(likelihood, pairs_of(counts, ordered=side), side=side, start=start)


def stereotype(counts: PairCounts, *, side: bool = False, start: Start | None = None) -> Fit:
    """Anderson's stereotype model (1984), with a learned score s of a slight win.

    P(grade) ∝ exp(φ·d + α), φ = ½·(1, s, 0, −s, −1) and α symmetric. s near 1 says that "much
    better" tells no more than "better": the grade does not inform.
    """
    return _fit(STEREOTYPE, pairs_of(counts, ordered=side), side=side, start=start)


def strata_by_habit(voter: npt.ArrayLike, outcome: npt.ArrayLike) -> npt.NDArray[np.int8]:
    """Group [n], 0 … `HABITS` − 1, of each vote by how its voter uses the extreme steps.

    `voter` [n] holds any integers, negative where unknown; `outcome` [n] `Outcome`s. A voter's
    share of extreme steps among their grades other than ties is shrunk towards everyone's by
    five votes and falls into a fifth of 0 … 1: groups 0 to 4. Voters with fewer than three such
    grades, and unknown ones, are group 5. Fixed bounds keep voters of one habit together, where
    quantiles would part them by luck.

    Raises `BadComparisons` when the arrays differ in length.
    """
    voters, outcomes = np.asarray(voter), np.asarray(outcome)
    if voters.dtype not in (np.int32, np.int64):
        voters = voters.astype(np.int64)
    if outcomes.dtype.kind != "i":
        outcomes = outcomes.astype(np.intp)
    if voters.shape != outcomes.shape:
        raise BadComparisons(f"{voters.size} voters gave {outcomes.size} outcomes")
    known = voters >= 0
    label, count = _labels(np.where(known, voters, -1))
    extreme = np.bincount(label[_EXTREME[outcomes]], minlength=count)
    decisive = np.bincount(label[_DECISIVE[outcomes]], minlength=count)
    usual = extreme.sum() / max(decisive.sum(), 1)
    share = (extreme + _PRIOR_VOTES * usual) / (decisive + _PRIOR_VOTES)
    habit = np.searchsorted(_FIFTHS, share, side="right").astype(np.int8)
    habit[decisive < _FEWEST_VOTES] = _UNKNOWN_HABIT
    by_vote: npt.NDArray[np.int8] = habit[label]
    by_vote[~known] = _UNKNOWN_HABIT
    return by_vote


def _labels(voters: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.integer], int]:
    """A number for each of `voters`, which are -1 or more, and how many numbers there may be.

    Voters that are numbered already, as most are, keep theirs but for a shift: to sort them would
    take five times the memory.
    """
    most = int(voters.max(initial=-1)) + 2
    if most <= 2 * len(voters) + 2:
        return voters + 1, most
    distinct, label = np.unique(voters, return_inverse=True)
    return label, len(distinct)
