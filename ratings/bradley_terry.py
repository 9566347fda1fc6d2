"""Bradley-Terry strengths, and its three-outcome relatives that model the tie.

Sources: Bradley & Terry (1952), https://doi.org/10.2307/2334029; Hunter (2004),
https://doi.org/10.1214/aos/1079120141; Davidson (1970),
https://doi.org/10.1080/01621459.1970.10481082; Rao & Kupper (1967),
https://doi.org/10.1080/01621459.1967.10482901.
"""

from __future__ import annotations

from ratings.comparisons import PairCounts
from ratings.fitting import Fit, Start
from ratings.fitting import fit as _fit
from ratings.likelihood import BRADLEY_TERRY, DAVIDSON, RAO_KUPPER, Likelihood
from ratings.pairs import pairs_of


def fit(counts: PairCounts, *, side: bool = False, start: Start | None = None) -> Fit:
    """P(i beats j) = σ(θ_i − θ_j); a tie is half a win to each, grades do not enter."""
    return _winners(BRADLEY_TERRY, counts, side=side, start=start)


def davidson(counts: PairCounts, *, side: bool = False, start: Start | None = None) -> Fit:
    """P(win) : P(tie) : P(loss) = e^{d/2} : ν : e^{−d/2}; the local parameter is log ν."""
    return _winners(DAVIDSON, counts, side=side, start=start)


def rao_kupper(counts: PairCounts, *, side: bool = False, start: Start | None = None) -> Fit:
    """A tie when |d + logistic noise| < t1: P(win) = σ(d − t1). Rao and Kupper's θ is e^{t1}."""
    return _winners(RAO_KUPPER, counts, side=side, start=start)


def _winners(likelihood: Likelihood, counts: PairCounts, *, side: bool, start: Start | None) -> Fit:
    pairs = pairs_of(counts, ordered=side, winners=True)
    return _fit(likelihood, pairs, side=side, start=start)
