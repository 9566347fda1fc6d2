"""How the difference of two strengths makes each outcome likely: two families.

`Threshold`: a latent difference d + logistic noise is compared with thresholds (cumulative logit:
McCullagh 1980, https://doi.org/10.1111/j.2517-6161.1980.tb01109.x; for pairs Agresti 1992,
https://doi.org/10.2307/2347562). Bradley-Terry, Rao-Kupper (1967) and the five-step graded model
are its members. Every outcome lies between two thresholds and log(σ(x) − σ(y)) =
log σ(x) + log σ(−y) + log(1 − e^{y−x}), so that all of it is logistic regression, once per
threshold, plus a term that depends on the gaps alone.

`Choice`: P(k) ∝ exp(φ_k·d + α_k) (Anderson's stereotype model, 1984,
https://doi.org/10.1111/j.2517-6161.1984.tb01270.x). Davidson (1970,
https://doi.org/10.1080/01621459.1970.10481082) is its member with three outcomes.

A likelihood has local parameters ν that every group of voters has for itself: [R, G].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import logsumexp, softmax

from ratings.comparisons import BoolArray, FloatArray, IndexArray, Outcome

_K = len(Outcome)
_ALL: IndexArray = np.arange(_K)
_MUCH = (Outcome.a_much_better, Outcome.b_much_better)
_SLIGHT = (Outcome.a_better, Outcome.b_better)
_TIES = (Outcome.tie, Outcome.tied)
_A_WINS = (Outcome.a_much_better, Outcome.a_better, Outcome.a_won)
_B_WINS = (Outcome.b_much_better, Outcome.b_better, Outcome.b_won)


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """Derivatives of the log-likelihood of P rows by d and by the row's local ν (R of them).

    `by_d` [P], `by_local` [R, P] are first derivatives; `d_d` [P], `d_local` [R, P] and
    `local_local` [R, R, P] are second ones, with the sign turned: an information.
    """

    by_d: FloatArray
    by_local: FloatArray
    d_d: FloatArray
    d_local: FloatArray
    local_local: FloatArray


Moments = tuple[FloatArray, FloatArray, FloatArray]
"""Second moments of the scores of P rows: by d [P], by d and ν [R, P], by ν [R, R, P]."""


class Likelihood(Protocol):
    """What a fit needs to know of a model. P rows; `local` [R, P] are the local parameters."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the R local parameters."""
        ...

    @property
    def one_sided(self) -> tuple[Outcome, ...]:
        """Outcomes for side A that stay likely however much stronger it is."""
        ...

    @property
    def kinds(self) -> tuple[tuple[Outcome, ...], ...]:
        """Sets of outcomes, of either side, that must occur or a local parameter is infinite."""
        ...

    def start(self, votes: FloatArray) -> FloatArray:
        """Local parameters [R] to begin with, from the total votes [8] of a group."""
        ...

    def possible(self, local: FloatArray) -> bool:
        """Whether all of these local parameters [R, G] make probabilities."""
        ...

    def told(self, votes: FloatArray) -> FloatArray:
        """What the likelihood needs of the votes [8, P]: sums of them [Q, P], made once a fit."""
        ...

    def values(self, d: FloatArray, local: FloatArray, told: FloatArray) -> FloatArray:
        """The log-likelihood [P] of what was `told` [Q, P]."""
        ...

    def slopes(self, d: FloatArray, local: FloatArray, told: FloatArray) -> Slopes: ...

    def scores(
        self, d: FloatArray, local: FloatArray, outcomes: IndexArray = _ALL
    ) -> tuple[FloatArray, FloatArray]:
        """Derivatives of one vote's log-likelihood, by d [K, P] and by ν [K, R, P].

        K is 8, or the number of `outcomes` that were asked for.
        """
        ...

    def expected(self, d: FloatArray, local: FloatArray, votes: FloatArray) -> Moments:
        """The moments of the scores of votes [8, P] as they are if the likelihood is true."""
        ...

    def chances(self, d: FloatArray, local: FloatArray) -> FloatArray:
        """Probability [3, P] that A wins, that they tie, that B wins."""
        ...


# --- thresholds ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Threshold:
    """A member of the threshold family, as tables.

    B thresholds c = signs·ν, `signs` [B, R]. An outcome k counts `over` [8, B] as an observation
    above a threshold, and `under` [8, B] as one below it; `gap` [8, R] is the width of its place
    between two of them (0 for an outer place).
    """

    parameters: tuple[str, ...]
    one_sided: tuple[Outcome, ...]
    kinds: tuple[tuple[Outcome, ...], ...]
    signs: FloatArray
    over: FloatArray
    under: FloatArray
    gap: FloatArray

    def start(self, votes: FloatArray) -> FloatArray:
        share = votes / max(votes.sum(), 1.0)
        ties = share[Outcome.tie] + share[Outcome.tied]
        slight = share[Outcome.a_better] + share[Outcome.b_better]
        below = np.array([ties, ties + slight])[: len(self.parameters)]
        steps = 2 * np.arctanh(np.clip(below, 0.01, 0.98))  # P(|noise| < t) = tanh(t/2)
        steps += 0.05 * np.arange(len(steps))  # apart, whatever was clipped
        return np.asarray(steps)

    def possible(self, local: FloatArray) -> bool:
        return bool((self._gaps(local)[self._inner()] > 0).all())

    def told(self, votes: FloatArray) -> FloatArray:
        """Observations above and below each threshold, then the votes between two of them."""
        return np.concatenate([self.over.T @ votes, self.under.T @ votes, votes[self._inner()]])

    def values(self, d: FloatArray, local: FloatArray, told: FloatArray) -> FloatArray:
        u = self._above(d, local)
        over, under, between = self._parts(told)
        # log σ(−u) = log σ(u) − u
        total: FloatArray = ((over + under) * _log_sigmoid(u) - under * u).sum(axis=0)
        if len(between):
            gaps = np.log(-np.expm1(-self._gaps(local)[self._inner()]))
            total = total + (between * gaps).sum(axis=0)
        return total

    def slopes(self, d: FloatArray, local: FloatArray, told: FloatArray) -> Slopes:
        s, rest = _sigmoid(self._above(d, local))
        over, under, between = self._parts(told)
        slope, bend = over * rest - under * s, (over + under) * (s * rest)
        inner, signs = self._inner(), self.signs
        by_gap, gap_bend = self._gap_slopes(local, between, inner)
        return Slopes(
            by_d=slope.sum(axis=0),
            by_local=self.gap[inner].T @ by_gap - signs.T @ slope,
            d_d=bend.sum(axis=0),
            d_local=-signs.T @ bend,
            local_local=_outer(signs, bend) + _outer(self.gap[inner], gap_bend),
        )

    def scores(
        self, d: FloatArray, local: FloatArray, outcomes: IndexArray = _ALL
    ) -> tuple[FloatArray, FloatArray]:
        s, rest = _sigmoid(self._above(d, local))
        over, under = self.over[outcomes], self.under[outcomes]
        by_local = _by_sign(under, self.signs) @ s - _by_sign(over, self.signs) @ rest
        inner = self._inner()[outcomes]
        places = outcomes[inner]
        by_gap, _ = self._gap_slopes(local, np.ones((len(places), d.size)), places)
        by_local[inner] += np.einsum("kr,kp->krp", self.gap[places], by_gap)
        return over @ rest - under @ s, by_local

    def expected(self, d: FloatArray, local: FloatArray, votes: FloatArray) -> Moments:
        seen = self.slopes(d, local, self.told(votes))
        return seen.d_d, seen.d_local, seen.local_local

    def chances(self, d: FloatArray, local: FloatArray) -> FloatArray:
        return _three_way(self, d, local)

    def _parts(self, told: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        n = len(self.signs)
        return told[:n], told[n : 2 * n], told[2 * n :]

    def _above(self, d: FloatArray, local: FloatArray) -> FloatArray:
        """How far [B, P] the difference lies above each threshold."""
        above: FloatArray = d - self.signs @ local
        return above

    def _inner(self) -> BoolArray:
        inner: BoolArray = np.asarray(self.gap.any(axis=1))
        return inner

    def _gaps(self, local: FloatArray) -> FloatArray:
        gaps: FloatArray = self.gap @ local
        return gaps

    def _gap_slopes(
        self, local: FloatArray, votes: FloatArray, inner: IndexArray | BoolArray
    ) -> tuple[FloatArray, FloatArray]:
        """First and minus second derivative [I, P] of votes·log(1 − e^{−gap}) by the gap.

        Of the `inner` outcomes only, like `votes` [I, P].
        """
        rest = np.expm1(self._gaps(local)[inner])
        return votes / rest, votes * (1 + rest) / rest**2


def _by_sign(observed: FloatArray, signs: FloatArray) -> FloatArray:
    """What outcomes [K, B] observe of each threshold, by each parameter behind it [K, R, B]."""
    by_sign: FloatArray = observed[:, None] * signs.T
    return by_sign


def _threshold(
    parameters: tuple[str, ...],
    one_sided: tuple[Outcome, ...],
    kinds: tuple[tuple[Outcome, ...], ...],
    signs: list[list[float]],
    places: dict[Outcome, tuple[int | None, int | None]],
) -> Threshold:
    """`places` says between which two thresholds (None: no bound) an outcome lies."""
    over, under = np.zeros((_K, len(signs))), np.zeros((_K, len(signs)))
    gap = np.zeros((_K, len(parameters)))
    table = np.array(signs, dtype=np.float64).reshape(len(signs), len(parameters))
    for outcome, (low, high) in places.items():
        if low is not None:
            over[outcome, low] = 1.0
        if high is not None:
            under[outcome, high] = 1.0
        if low is not None and high is not None:
            gap[outcome] = table[high] - table[low]
    return Threshold(parameters, one_sided, kinds, table, over, under, gap)


def _bradley_terry() -> Threshold:
    """One threshold at 0; a tie is half an observation on each side of it."""
    over, under = np.zeros((_K, 1)), np.zeros((_K, 1))
    over[list(_A_WINS)] = under[list(_B_WINS)] = 1.0
    over[list(_TIES)] = under[list(_TIES)] = 0.5
    return Threshold((), _A_WINS, (), np.zeros((1, 0)), over, under, np.zeros((_K, 0)))


BRADLEY_TERRY = _bradley_terry()

RAO_KUPPER = _threshold(
    ("t1",),
    _A_WINS,
    (_A_WINS + _B_WINS, _TIES),
    [[-1], [1]],
    {
        **dict.fromkeys(_A_WINS, (1, None)),
        **dict.fromkeys(_TIES, (0, 1)),
        **dict.fromkeys(_B_WINS, (None, 0)),
    },
)

GRADED = _threshold(
    ("t1", "t2"),
    (Outcome.a_much_better, Outcome.a_won),
    (_MUCH, _SLIGHT, _TIES),
    [[0, -1], [-1, 0], [1, 0], [0, 1]],
    {
        Outcome.a_much_better: (3, None),
        Outcome.a_better: (2, 3),
        Outcome.tie: (1, 2),
        Outcome.b_better: (0, 1),
        Outcome.b_much_better: (None, 0),
        Outcome.a_won: (2, None),
        Outcome.tied: (1, 2),
        Outcome.b_won: (None, 1),
    },
)


# --- choices ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A member of the choice family, as tables over its C answers.

    Answer c has the weight exp(φ_c·d + α_c) with φ = `fixed` + s·`free` [C] and α = `levels`·ν
    [C, A]; the local parameters are the A levels and, where any `free` is not 0, the score s.
    `members` [8, C] says which answers an outcome may stand for.
    """

    parameters: tuple[str, ...]
    one_sided: tuple[Outcome, ...]
    kinds: tuple[tuple[Outcome, ...], ...]
    fixed: FloatArray
    free: FloatArray
    levels: FloatArray
    members: BoolArray

    def start(self, votes: FloatArray) -> FloatArray:
        seen = self.members.T @ votes + 0.5
        even = np.log(seen / np.sqrt(seen[0] * seen[-1]))
        levels = self.levels.T @ even / self.levels.sum(axis=0)
        return np.append(levels, 0.5) if self.free.any() else levels

    def possible(self, local: FloatArray) -> bool:
        return bool(np.isfinite(local).all())

    def told(self, votes: FloatArray) -> FloatArray:
        """The votes as they are."""
        return votes

    def values(self, d: FloatArray, local: FloatArray, told: FloatArray) -> FloatArray:
        eta, total = self._weights(d, local), np.zeros(d.shape)
        for outcome in np.flatnonzero(told.any(axis=1)):
            own = self.members[outcome]
            behind = logsumexp(eta[~own], axis=0) - logsumexp(eta[own], axis=0)
            total -= told[outcome] * np.logaddexp(0.0, behind)  # exact where it is nearly 0
        return total

    def slopes(self, d: FloatArray, local: FloatArray, told: FloatArray) -> Slopes:
        eta, by = self._weights(d, local), self._by(d, local)
        p = softmax(eta, axis=0)
        bend, pull = told.sum(axis=0) * _covariance(by, p), np.zeros_like(p)
        for outcome in np.flatnonzero(told.any(axis=1)).tolist():
            share = self._share(eta, outcome)
            pull += told[outcome] * self._surprise(p, share, outcome)
            bend -= told[outcome] * _covariance(by, share)
        slope = np.einsum("zcp,cp->zp", by, pull)
        if self.free.any():
            twist = self.free @ pull  # d and s are multiplied
            bend[0, -1] -= twist
            bend[-1, 0] -= twist
        return Slopes(slope[0], slope[1:], bend[0, 0], bend[0, 1:], bend[1:, 1:])

    def scores(
        self, d: FloatArray, local: FloatArray, outcomes: IndexArray = _ALL
    ) -> tuple[FloatArray, FloatArray]:
        eta, by = self._weights(d, local), self._by(d, local)
        p = softmax(eta, axis=0)
        pulls = np.array(
            [self._surprise(p, self._share(eta, outcome), outcome) for outcome in outcomes]
        ).reshape(len(outcomes), *p.shape)
        slopes = np.einsum("zcp,kcp->kzp", by, pulls)
        return slopes[:, 0], slopes[:, 1:]

    def expected(self, d: FloatArray, local: FloatArray, votes: FloatArray) -> Moments:
        bend = votes.sum(axis=0) * _covariance(
            self._by(d, local), softmax(self._weights(d, local), axis=0)
        )
        return bend[0, 0], bend[0, 1:], bend[1:, 1:]

    def chances(self, d: FloatArray, local: FloatArray) -> FloatArray:
        return _three_way(self, d, local)

    def _weights(self, d: FloatArray, local: FloatArray) -> FloatArray:
        """log of the weight [C, P] of each answer."""
        eta: FloatArray = self._phi(local) * d + self.levels @ local[: self.levels.shape[1]]
        return eta

    def _phi(self, local: FloatArray) -> FloatArray:
        score = local[-1] if self.free.any() else np.zeros(local.shape[1:])
        return self.fixed[:, None] + self.free[:, None] * score

    def _by(self, d: FloatArray, local: FloatArray) -> FloatArray:
        """Derivatives [1 + R, C, P] of the log weights by d and ν."""
        shape = (len(self.fixed), d.size)
        levels = [np.broadcast_to(column[:, None], shape) for column in self.levels.T]
        score = [self.free[:, None] * d] if self.free.any() else []
        return np.stack([np.broadcast_to(self._phi(local), shape), *levels, *score])

    def _share(self, eta: FloatArray, outcome: int) -> FloatArray:
        """Probability [C, P] of each answer, given that the outcome may stand for it."""
        return softmax(np.where(self.members[outcome][:, None], eta, -np.inf), axis=0)

    def _surprise(self, p: FloatArray, share: FloatArray, outcome: int) -> FloatArray:
        """share − p [C, P], to full precision where the outcome was nearly certain."""
        others = np.where(self.members[outcome][:, None], 0.0, p)
        surprise: FloatArray = share * others.sum(axis=0) - others
        return surprise


def _choice(
    parameters: tuple[str, ...],
    one_sided: tuple[Outcome, ...],
    kinds: tuple[tuple[Outcome, ...], ...],
    answers: list[tuple[float, float, list[float], tuple[Outcome, ...]]],
) -> Choice:
    """`answers`: fixed score, free score, levels, and the outcomes that may stand for it."""
    fixed, free, levels, outcomes = zip(*answers, strict=True)
    members = np.array([[outcome in own for own in outcomes] for outcome in Outcome])
    return Choice(
        parameters, one_sided, kinds, np.array(fixed), np.array(free), np.array(levels), members
    )


DAVIDSON = _choice(
    ("log_nu",),
    _A_WINS,
    (_A_WINS + _B_WINS, _TIES),
    [(0.5, 0.0, [0.0], _A_WINS), (0.0, 0.0, [1.0], _TIES), (-0.5, 0.0, [0.0], _B_WINS)],
)

STEREOTYPE = _choice(
    ("tie_level", "slight_level", "slight_score"),
    (Outcome.a_much_better, Outcome.a_won),
    (_MUCH, _SLIGHT, _TIES),
    [
        (0.5, 0.0, [0.0, 0.0], (Outcome.a_much_better, Outcome.a_won)),
        (0.0, 0.5, [0.0, 1.0], (Outcome.a_better, Outcome.a_won)),
        (0.0, 0.0, [1.0, 0.0], _TIES),
        (0.0, -0.5, [0.0, 1.0], (Outcome.b_better, Outcome.b_won)),
        (-0.5, 0.0, [0.0, 0.0], (Outcome.b_much_better, Outcome.b_won)),
    ],
)


# --- shared -------------------------------------------------------------------------------------


def _sigmoid(u: FloatArray) -> tuple[FloatArray, FloatArray]:
    """σ(u) and 1 − σ(u), both to full precision."""
    small = np.exp(-np.abs(u))  # numpy's exp is several times faster than scipy's expit
    large = 1 / (1 + small)
    small *= large
    ahead = u >= 0
    return np.where(ahead, large, small), np.where(ahead, small, large)


def _log_sigmoid(u: FloatArray) -> FloatArray:
    value: FloatArray = np.minimum(u, 0.0) - np.log(1 + np.exp(-np.abs(u)))
    return value


def _three_way(likelihood: Likelihood, d: FloatArray, local: FloatArray) -> FloatArray:
    def chance(outcome: Outcome) -> FloatArray:
        one = np.zeros((_K, d.size))
        one[outcome] = 1.0
        return np.exp(likelihood.values(d, local, likelihood.told(one)))

    won, lost = chance(Outcome.a_won), chance(Outcome.b_won)
    return np.stack([won, 1 - won - lost, lost])


def _outer(table: FloatArray, weight: FloatArray) -> FloatArray:
    """Σ_b weight_b·t_b·t_bᵀ [R, R, P] for the rows t_b of `table` [B, R] and `weight` [B, P]."""
    n, r = table.shape
    products = (table[:, :, None] * table[:, None, :]).reshape(n, r * r)
    return (products.T @ weight).reshape(r, r, weight.shape[1])


def _covariance(by: FloatArray, p: FloatArray) -> FloatArray:
    """Covariance [Z, Z, P] of `by` [Z, C, P] under probabilities `p` [C, P]."""
    weighted = by * p
    mean = weighted.sum(axis=1)
    covariance: FloatArray = np.einsum("ycp,zcp->yzp", weighted, by) - mean[:, None] * mean[None]
    return covariance
