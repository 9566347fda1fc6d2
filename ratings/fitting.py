"""The exact maximum of a likelihood over pairs of models, by Newton's method.

One engine for every model of `ratings.likelihood`: strengths θ, an optional side effect β (by how
much being shown first helps) and the local parameters ν of each group of voters, all at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ratings.comparisons import MIRROR, BoolArray, FloatArray, IndexArray, Outcome
from ratings.connectivity import Connectivity, connectivity
from ratings.errors import BadParameter
from ratings.likelihood import Likelihood, Slopes
from ratings.pairs import Pairs, summed

TOLERANCE = 1e-9
"""A fit has converged when Newton's last step moved no parameter by more than this, in nats."""

MAX_STEPS = 100

_BLOCK = 2**16
"""Numbers that are told of a block of rows: few calls, and all of it in the processor's cache."""

_FAR = 30.0
"""A side effect or a local parameter beyond this, in nats, is on its way to infinity: e^30 votes
could not hold it."""

_FLAT = 1e-13
"""What is left of a parameter's information, given all others, where they told all of it."""

_LONGEST = 1e4
"""No step moves anything by more than this, in nats: what is flat would carry it to infinity."""

_SURE_STEP = 1.0
"""A step of θ alone that moves no strength by more than half of this, and so no difference by more
than this, cannot overshoot: a logistic likelihood of θ is generalised self-concordant (Bach 2010,
https://doi.org/10.1214/09-EJS521), and the second-order bound holds up to 1.79."""

_QUADRATIC = 4e-8
"""After a step of θ alone that moves no strength by more than this, the next one would be far
shorter than `TOLERANCE`: it has at most this share of the step's energy, by the same bound. The
information before the step is that at the maximum to some 1e-7 of itself."""

Factor = tuple[FloatArray, bool]
"""What `scipy.linalg.cho_factor` gives."""


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Where an earlier fit ended: θ [M] in nats (NaN where unknown), β, and ν [R, G]."""

    theta: FloatArray
    side: float = 0.0
    local: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Strengths `theta` [M] in nats, and how they were reached.

    Each component is centred apart, on the models of its core tiers. Inside a tier, strengths are
    the exact maximum of the likelihood of the votes inside tiers, whatever tiers did to each other.
    The place of one tier against another has no finite maximum: there `theta` is the estimate with
    one virtual tie between every two tiers that met, shared out over their votes.

    `side` is the gain of being shown first, in nats (None: not asked for, or not identifiable: see
    `side_problem`); `local` [R, G] are the likelihood's local `parameters`, a column a group.

    A local parameter is infinite where a group of voters never chose a kind of outcome, and where
    few votes agree too well (a win and the ties of a round of three fit ever better as all
    differences grow). Half a vote between equals of each such kind, or with `held` of every kind,
    then holds it.

    `factor` is that of the information at the maximum, in the centred gauge; None without a strict
    maximum.
    """

    theta: FloatArray
    side: float | None
    side_problem: str | None
    local: FloatArray
    likelihood: Likelihood
    pairs: Pairs
    connectivity: Connectivity
    held: bool
    factor: Factor | None
    converged: bool
    steps: int

    def start(self) -> Start:
        """For a warm start of a later fit."""
        return Start(self.theta, self.side or 0.0, self.local)

    @property
    def inside(self) -> BoolArray:
        """Whether both models of a row are of one tier [P]."""
        tier = self.connectivity.tier
        inside: BoolArray = tier[self.pairs.first] == tier[self.pairs.second]
        return inside

    def problem(self) -> Problem:
        """What was maximised: the rows inside tiers, and half a vote for kinds that need it."""
        rows = _with_kinds(self.likelihood, self.pairs.where(self.inside), every=self.held)
        return Problem(self.likelihood, rows, self.connectivity.tier, sided=self.side is not None)

    def log_likelihood(self) -> float:
        """Of the votes inside tiers, at the estimate."""
        return self.problem().value(self.point())

    def point(self) -> FloatArray:
        """All free parameters in one vector: θ, β where there is one, ν by groups."""
        side = [] if self.side is None else [self.side]
        return np.concatenate([self.theta, side, self.local.T.ravel()])


def fit(
    likelihood: Likelihood, pairs: Pairs, *, side: bool = False, start: Start | None = None
) -> Fit:
    """Fit a likelihood to `pairs` (ordered ones where `side` is asked for).

    `start` makes a warm start; the result does not depend on it beyond the tolerance. Without
    votes every strength is 0. Raises `BadParameter` when `start` has another number of models.
    """
    if start is not None and start.theta.shape != (pairs.n_models,):
        raise BadParameter(f"start must have one value per model, {pairs.n_models}")
    joined = connectivity(_held_up(likelihood, pairs))
    rows = pairs.where(joined.tier[pairs.first] == joined.tier[pairs.second])
    side_problem = _side_problem(Problem(likelihood, rows, joined.tier)) if side else None
    for sided, held in _attempts(likelihood, sided=side and side_problem is None):
        with_kinds = _with_kinds(likelihood, rows, every=held)
        problem = Problem(likelihood, with_kinds, joined.tier, sided=sided)
        found = _maximum(problem, _beginning(problem, pairs, start))
        if found.converged:
            break
    if side and side_problem is None and not sided:
        side_problem = "the votes put no bound on what side A gains: it explains them ever better"
    theta, beta, local = problem.parts(found.point)
    placed = [
        _place_tiers(likelihood, pairs, joined, component, theta, beta, local)
        for component in range(joined.n_components)
    ]
    return Fit(
        theta=theta,
        side=beta if sided else None,
        side_problem=side_problem,
        local=local,
        likelihood=likelihood,
        pairs=pairs,
        connectivity=joined,
        held=held,
        factor=found.factor,
        converged=found.converged and all(one.converged for one in placed),
        steps=max([found.steps, *(one.steps for one in placed)]),
    )


# --- what is maximised --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A likelihood of rows as a function of one vector: θ [M], β where `sided`, ν [G·R].

    θ is free up to a shift of each `block` [M]; `offset` [P] is added to the differences, and with
    `local` [R, G] the local parameters are given and not free.
    """

    likelihood: Likelihood
    rows: Pairs
    block: IndexArray
    sided: bool = False
    offset: FloatArray | float = 0.0
    local: FloatArray | None = None
    told: FloatArray = field(init=False)
    """[Q, P]: what the likelihood needs of the rows' votes."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "told", self.likelihood.told(self.rows.votes))

    def parts(self, point: FloatArray) -> tuple[FloatArray, float, FloatArray]:
        """θ [M], β, ν [R, G]."""
        m = self.rows.n_models
        beta = float(point[m]) if self.sided else 0.0
        if self.local is not None:
            return point[:m], beta, self.local
        r = len(self.likelihood.parameters)
        return point[:m], beta, point[m + self.sided :].reshape(self.rows.n_groups, r).T

    def lead(self, theta: FloatArray, beta: float) -> FloatArray:
        """d [P]: by how much `first` is ahead."""
        lead: FloatArray = theta[self.rows.first] - theta[self.rows.second] + self.offset
        return lead + beta * self._shown() if self.sided else lead

    def value(self, point: FloatArray) -> float:
        if not self.likelihood.possible(self.parts(point)[2]):
            return -np.inf
        rows = self.in_blocks(point, self.told)
        return float(sum(self.likelihood.values(*block).sum() for block in rows))

    def slopes(self, point: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The gradient [Z] and the information [Z, Z]: minus the second derivative."""
        rows = self._slopes_of_rows(point)
        return self._gradient(rows), self.information(rows.d_d, rows.d_local, rows.local_local)

    def gradient(self, point: FloatArray) -> FloatArray:
        """The first derivative [Z]."""
        return self._gradient(self._slopes_of_rows(point))

    def _slopes_of_rows(self, point: FloatArray) -> Slopes:
        blocks = (self.likelihood.slopes(*rows) for rows in self.in_blocks(point, self.told))
        names = [one.name for one in fields(Slopes)]
        return Slopes(*rejoined([getattr(block, name) for name in names] for block in blocks))

    def in_blocks(
        self, point: FloatArray, columns: FloatArray
    ) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
        """d, ν and `columns` [Q, P] of the rows, in blocks that stay in the processor's cache."""
        theta, beta, local = self.parts(point)
        lead, at_row = self.lead(theta, beta), self.by_row(local)
        length = _BLOCK // len(columns)
        for start in range(0, max(len(lead), 1), length):
            part = slice(start, start + length)
            own = at_row if at_row.shape[1] == 1 else at_row[:, part]
            yield lead[part], own, columns[:, part]

    def information(
        self, d_d: FloatArray, d_local: FloatArray, local_local: FloatArray
    ) -> FloatArray:
        """Σ_rows of (d, ν) second moments [P], [R, P], [R, R, P], in the free parameters [Z, Z]."""
        m, s = self.rows.n_models, self.sided
        r = 0 if self.local is not None else len(d_local)
        if not s and not r:
            return self.laplacian(d_d)
        total = np.zeros((m + s + r * self.rows.n_groups,) * 2)
        total[:m, :m] = self.laplacian(d_d)
        if s:
            shown = self._shown()
            total[m, m] = d_d @ shown
            total[m, :m] = total[:m, m] = self.pull(d_d * shown)
        for i in range(r):
            column = m + s + i + r * np.arange(self.rows.n_groups)
            cross = self._pull_by_group(d_local[i])
            total[:m, column], total[column, :m] = cross, cross.T
            if s:
                total[m, column] = total[column, m] = self._by_group(d_local[i] * self._shown())
            for j in range(r):
                total[column, column - i + j] = self._by_group(local_local[i, j])
        return total

    def grounded(self, singular: FloatArray) -> FloatArray:
        """Make an information invertible without moving any difference inside a block.

        What is added to a block is of the size of its diagonal: the condition number must not
        depend on the number of votes.
        """
        m = self.rows.n_models
        size = np.bincount(self.block)
        weight = np.bincount(self.block, singular.diagonal()[:m]) / size**2
        weight[weight == 0] = 1.0
        regular = singular.copy()
        if len(size) == 1:
            regular[:m, :m] += weight[0]
        else:
            same = self.block[:, None] == self.block
            regular[:m, :m] += np.where(same, weight[self.block], 0.0)
        return regular

    def _gradient(self, rows: Slopes) -> FloatArray:
        side = [rows.by_d @ self._shown()] if self.sided else []
        free = () if self.local is not None else rows.by_local
        local = np.array([self._by_group(row) for row in free]).reshape(
            len(free), self.rows.n_groups
        )
        return np.concatenate([self.pull(rows.by_d), side, local.T.ravel()])

    def _shown(self) -> FloatArray:
        """1 where `first` was really shown first; 0 for the votes between equals."""
        return np.not_equal(self.rows.first, self.rows.second).astype(np.float64)

    def by_row(self, local: FloatArray) -> FloatArray:
        """The local parameters of each row: [R, P], or [R, 1] where all rows share them."""
        return local if local.shape[1] == 1 else local[:, self.rows.group]

    def _by_group(self, values: FloatArray) -> FloatArray:
        return summed(self.rows.group, values, self.rows.n_groups)

    def pull(self, values: FloatArray) -> FloatArray:
        """Σ of `values` [P], + for `first` and − for `second` [M]."""
        m = self.rows.n_models
        return summed(self.rows.first, values, m) - summed(self.rows.second, values, m)

    def _pull_by_group(self, values: FloatArray) -> FloatArray:
        rows, g = self.rows, self.rows.n_groups
        size = rows.n_models * g
        pull = summed(rows.first * g + rows.group, values, size)
        pull -= summed(rows.second * g + rows.group, values, size)
        return pull.reshape(rows.n_models, g)

    def laplacian(self, weight: FloatArray) -> FloatArray:
        laplacian = self.rows.between(weight)
        degree = laplacian.sum(axis=1)
        np.negative(laplacian, out=laplacian)
        laplacian.flat[:: self.rows.n_models + 1] += degree
        return laplacian


@dataclass(frozen=True, slots=True, eq=False)
class _Maximum:
    point: FloatArray
    converged: bool
    steps: int
    factor: Factor | None = None


def _maximum(problem: Problem, point: FloatArray) -> _Maximum:
    if not problem.rows.n_models:
        return _Maximum(point, converged=True, steps=0)
    only_strengths = point.size == problem.rows.n_models
    enough = _QUADRATIC if only_strengths else TOLERANCE
    reached: float | None = None
    for steps in range(1, MAX_STEPS + 1):
        slope, information = problem.slopes(point)
        step, factor = _solved(problem.grounded(information), slope)
        size = np.abs(step).max()
        step *= min(1.0, _LONGEST / max(size, _LONGEST))
        if only_strengths and 2 * size <= _SURE_STEP:
            reached = None
        else:
            step, reached = _climbed(problem, point, step, reached)
        point = point + step
        if size <= enough:
            return _Maximum(point, factor is not None, steps, factor)
        if np.abs(point[problem.rows.n_models :]).max(initial=0.0) > _FAR:
            break
    return _Maximum(point, converged=False, steps=steps)


def _climbed(
    problem: Problem, point: FloatArray, step: FloatArray, reached: float | None
) -> tuple[FloatArray, float]:
    """The step, halved until it does not lose, and the value it reaches."""
    before = problem.value(point) if reached is None else reached
    slack = 1e-12 * abs(before)  # rounding, near the maximum
    while (value := problem.value(point + step)) < before - slack and np.abs(step).max() > 0:
        step = step / 2
    return step, value


def _solved(information: FloatArray, slope: FloatArray) -> tuple[FloatArray, Factor | None]:
    """Newton's step, and the factor of an information that is positive definite beyond rounding."""
    size = np.abs(information.diagonal())
    size[size == 0] = 1.0
    ridge = 0.0
    while True:
        try:
            factor = cho_factor(information + np.diag(ridge * size) if ridge else information)
        except LinAlgError:  # not concave here: a shorter, surer step
            ridge = max(10 * ridge, 1e-3)
            continue
        step: FloatArray = cho_solve(factor, slope)
        pivots = factor[0].diagonal() ** 2
        strict = ridge == 0 and bool((pivots > _FLAT * size).all())
        return step, factor if strict else None


def rejoined(blocks: Iterable[Sequence[FloatArray]]) -> list[FloatArray]:
    """The arrays [..., P] of blocks of rows, each as one."""
    return [np.concatenate(parts, axis=-1) for parts in zip(*blocks, strict=True)]


def inverted(information: FloatArray) -> FloatArray:
    """The inverse of a grounded information; 0 for what no vote says anything about."""
    try:
        inverse = np.linalg.inv(information)
    except np.linalg.LinAlgError:
        inverse = np.linalg.pinv(information, hermitian=True)
    return inverse.astype(np.float64, copy=False)


# --- where it begins ----------------------------------------------------------------------------


def _beginning(problem: Problem, pairs: Pairs, start: Start | None) -> FloatArray:
    """The likelier of a cold and a warm start."""
    likelihood, rows = problem.likelihood, problem.rows
    totals = rows.totals().T if likelihood.parameters else np.zeros((0, len(Outcome)))
    local = np.concatenate([np.zeros(0), *(likelihood.start(total) for total in totals)])
    side = [0.0] if problem.sided else []
    cold = np.concatenate([_cold(pairs), side, local])
    if start is None:
        return cold
    known = np.isfinite(start.theta)
    given = [np.nan_to_num(start.side)] if problem.sided else []
    fits = start.local is not None and start.local.shape == (
        len(likelihood.parameters),
        rows.n_groups,
    )
    warm = np.concatenate(
        [
            np.where(known, start.theta, cold[: rows.n_models]),
            given,
            start.local.T.ravel() if fits and start.local is not None else local,
        ]
    )
    # a start far off would leave no curvature for Newton's first step
    return warm if problem.value(warm) > problem.value(cold) else cold


def _cold(pairs: Pairs) -> FloatArray:
    """Where scores alone put each model [M]: over the mean of its opponents by its log odds.

    Opponents of different strength, of variance s², draw scores towards a half: log odds of
    (θ - mean) / √(1 + πs²/8) are seen (MacKay 1992, https://doi.org/10.1162/neco.1992.4.5.720: a
    logistic curve under a normal). Opponents are first placed by their own log odds, which hold
    what they owe to their opponents in turn: half of the mean is taken, as if of two who met. Then
    all are placed over opponents so placed.
    """
    points = pairs.points()
    scored, lost = points.sum(axis=1), points.sum(axis=0)
    spare = np.where((scored > 0) & (lost > 0), 0.0, 0.5)
    seen: FloatArray = np.log((scored + spare) / (lost + spare))
    met = points + points.T
    votes = np.where(scored + lost > 0, scored + lost, 1.0)
    start = seen
    for share in (0.5, 1.0):
        mean, square = (met @ np.stack([start, start**2], axis=1)).T / votes
        start = share * mean + np.sqrt(1 + np.pi / 8 * np.maximum(square - mean**2, 0.0)) * seen
    return start


def _held_up(likelihood: Likelihood, pairs: Pairs) -> BoolArray:
    """[M, M]: whether a vote keeps i from falling for ever behind j."""
    lost = MIRROR[list(likelihood.one_sided)]
    return pairs.had([outcome for outcome in Outcome if outcome not in lost])


def _attempts(likelihood: Likelihood, *, sided: bool) -> list[tuple[bool, bool]]:
    """What to fit until there is a maximum: (with a side effect, with half votes that hold ν)."""
    held = (False, True) if likelihood.kinds else (False,)
    return [
        (with_side, hold) for with_side in ((True, False) if sided else (False,)) for hold in held
    ]


def _with_kinds(likelihood: Likelihood, rows: Pairs, *, every: bool) -> Pairs:
    """A kind of outcome that nobody of a group chose (or `every` one) gets half a vote of equals.

    Otherwise its threshold would be infinite, or fall on another. A vote is one of usual weight.
    """
    if not likelihood.kinds:
        return rows
    seen = rows.totals()
    missing = [
        (group, kind)
        for kind in likelihood.kinds
        for group in np.flatnonzero(every | (seen[list(kind)].sum(axis=0) == 0))
    ]
    if not missing or not rows.n_models:
        return rows
    usual = rows.squares.sum() / rows.votes.sum() if rows.votes.any() else 1.0  # weight
    votes = np.zeros((len(Outcome), len(missing)))
    for row, (_, kind) in enumerate(missing):
        votes[kind[0], row] += 0.25 * usual
        votes[MIRROR[kind[0]], row] += 0.25 * usual
    equals = np.zeros(len(missing), dtype=np.intp)
    return replace(
        rows,
        first=np.append(rows.first, equals),
        second=np.append(rows.second, equals),
        group=np.append(rows.group, [group for group, _ in missing]),
        votes=np.concatenate([rows.votes, votes], axis=1),
        weighted=None
        if rows.weighted is None
        else np.concatenate([rows.weighted, usual * votes], axis=1),
    )


def _side_problem(problem: Problem) -> str | None:
    """Why the votes cannot tell a gain of side A from strength; None when they can.

    They can when no strengths explain a lead of 1 of every A side: when some closed round of pairs
    has another number of A sides than of B sides.
    """
    rows = problem.rows
    if not rows.first.size:
        return "no votes went both ways, so that strength alone explains them"
    lead = np.ones(len(rows.first))
    normal = problem.grounded(problem.laplacian(lead))
    explained = problem.lead(_solved(normal, problem.pull(lead))[0], 0.0)
    if np.abs(lead - explained).max() > 1e-6:  # noqa: PLR2004 - rounding
        return None
    return "every vote showed the same model of its pair (or of its round of pairs) as side A"


# --- tiers --------------------------------------------------------------------------------------


def _place_tiers(  # noqa: PLR0917  what was found so far, and where
    likelihood: Likelihood,
    pairs: Pairs,
    joined: Connectivity,
    component: int,
    theta: FloatArray,
    beta: float,
    local: FloatArray,
) -> _Maximum:
    """Centre a component's strengths in place, after its tiers were set against each other."""
    inside = joined.members(component)
    tiers, label = np.unique(joined.tier[inside], return_inverse=True)
    for tier in tiers:
        members = joined.tier == tier
        theta[members] -= theta[members].mean()
    placed = _Maximum(np.zeros(len(tiers)), converged=True, steps=0)
    if len(tiers) > 1:
        place = np.full(pairs.n_models, -1, dtype=np.intp)
        place[inside] = label
        rows = pairs.where((place[pairs.first] >= 0) & (place[pairs.first] != place[pairs.second]))
        problem = Problem(
            likelihood,
            _between_tiers(rows, place, len(tiers)),
            np.zeros(len(tiers), dtype=np.intp),
            offset=theta[rows.first] - theta[rows.second] + beta,
            local=local,
        )
        placed = _maximum(problem, _cold(problem.rows))
    core = joined.core[joined.tier[inside]]
    found = theta[inside] + placed.point[label]
    theta[inside] = found - found[core].mean()
    return placed


def _between_tiers(rows: Pairs, place: IndexArray, n_tiers: int) -> Pairs:
    """The rows as votes of tiers, with one virtual tie of usual weight where two tiers met."""
    first, second = place[rows.first], place[rows.second]
    met = np.minimum(first, second) * n_tiers + np.maximum(first, second)
    total = rows.votes.sum(axis=0)
    votes = rows.votes.copy()
    in_all = np.bincount(met, total, n_tiers**2)[met]
    usual = np.bincount(met, rows.squares.sum(axis=0), n_tiers**2)[met] / in_all
    votes[Outcome.tied] += usual * total / in_all
    return replace(rows, n_models=n_tiers, first=first, second=second, votes=votes)
