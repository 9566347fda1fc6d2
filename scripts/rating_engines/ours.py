"""Our own engine. A board is ratings with their intervals."""

from __future__ import annotations

import numpy as np

from rating_engines.votes import Job, Votes
from ratings import bradley_terry, graded, intervals
from ratings import style as style_control
from ratings.comparisons import Outcome, PairCounts, count_names
from ratings.fitting import Fit, Start

MEANING = {"model_a": Outcome.a_won, "tie": Outcome.tied, "model_b": Outcome.b_won}


def _counted(votes: Votes) -> PairCounts:
    counts = PairCounts(votes.n_models)
    counts.add(votes.a, votes.b, votes.grade)
    return counts


def _board(counts: PairCounts, start: Start | None = None) -> Fit:
    fitted = bradley_terry.fit(counts, start=start)
    intervals.sandwich(fitted)
    return fitted


def arrays(votes: Votes) -> Job:
    return Job(lambda: _board(_counted(votes)), theta=lambda fitted: fitted.theta)


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
    def call() -> Fit:
        fitted = graded.fit(_counted(votes))
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


def style(votes: Votes) -> Job:
    features = votes.features
    return Job(lambda: style_control.fit(votes.a, votes.b, votes.grade, features, votes.n_models))


def bootstrap_100(votes: Votes) -> Job:
    counts = _counted(votes)

    def call() -> None:
        fitted = bradley_terry.fit(counts)
        intervals.bootstrap(fitted, np.random.default_rng(0), rounds=100)

    return Job(call)
