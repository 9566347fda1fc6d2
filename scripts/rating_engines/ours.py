"""Our own engine. A board is ratings with their intervals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rating_engines.votes import Job, Votes
from ratings import bradley_terry, graded, intervals
from ratings import style as style_control
from ratings.comparisons import Outcome, PairCounts
from ratings.fitting import Fit, Start
from ratings.names import count_names
from ratings.update import Warm

IdArray = npt.NDArray[np.integer]

MEANING = {"model_a": Outcome.a_won, "tie": Outcome.tied, "model_b": Outcome.b_won}


def _prepared(votes: Votes) -> tuple[IdArray, IdArray, IdArray]:
    """As small as arenakit is given them."""
    return votes.a.astype(np.int32), votes.b.astype(np.int32), votes.grade.astype(np.int8)


def _counted(votes: Votes) -> PairCounts:
    return _count(votes.n_models, *_prepared(votes))


def _count(n_models: int, a: IdArray, b: IdArray, outcome: IdArray) -> PairCounts:
    counts = PairCounts(n_models)
    counts.add(a, b, outcome)
    return counts


def _board(counts: PairCounts, start: Start | None = None) -> Fit:
    fitted = bradley_terry.fit(counts, start=start)
    intervals.sandwich(fitted)
    return fitted


def arrays(votes: Votes) -> Job:
    columns = _prepared(votes)
    return Job(lambda: _board(_count(votes.n_models, *columns)), theta=lambda fitted: fitted.theta)


def live(votes: Votes) -> Job:
    counts = _counted(votes)
    return Job(lambda: _board(counts), theta=lambda fitted: fitted.theta)


def names(votes: Votes) -> Job:
    columns = votes.columns()

    def call() -> Fit:
        _, counts = count_names(columns["model_a"], columns["model_b"], columns["winner"], MEANING)
        return _board(counts)

    return Job(call, theta=lambda fitted: fitted.theta)


def graded_arrays(votes: Votes) -> Job:
    columns = _prepared(votes)

    def call() -> Fit:
        fitted = graded.fit(_count(votes.n_models, *columns))
        intervals.sandwich(fitted)
        return fitted

    return Job(call)


def one_more_exact(votes: Votes) -> Job:
    counts = _counted(votes)
    start = _board(counts).start()

    def call() -> Fit:
        counts.add([0], [1], [Outcome.a_better])
        return _board(counts, start)

    return Job(call)


def one_more_approximate(votes: Votes) -> Job:
    """A hundred votes, told as the time of one."""
    warm = Warm(bradley_terry.fit(_counted(votes)))
    pairs = [divmod(i * 7919, votes.n_models) for i in range(1, 2 * 100)]
    some = [(a % votes.n_models, b) for a, b in pairs if a % votes.n_models != b][:100]

    def call() -> None:
        for a, b in some:
            warm.add(a, b, Outcome.a_better)

    return Job(call, times=1 / len(some))


def style(votes: Votes) -> Job:
    features, (a, b, outcome) = votes.features, _prepared(votes)
    return Job(lambda: style_control.fit(a, b, outcome, features, votes.n_models))


def bootstrap_100(votes: Votes) -> Job:
    counts = _counted(votes)

    def call() -> None:
        fitted = bradley_terry.fit(counts)
        intervals.bootstrap(fitted, np.random.default_rng(0), rounds=100)

    return Job(call)
