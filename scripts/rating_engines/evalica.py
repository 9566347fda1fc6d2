"""evalica: Bradley-Terry and Newman (Davidson) by fixed-point iteration in Rust, no intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from evalica import Winner, bradley_terry

from rating_engines.votes import Job, Votes

WINNERS = (Winner.X, Winner.X, Winner.Draw, Winner.Y, Winner.Y)


def names(votes: Votes) -> Job:
    """The call of its documentation."""
    columns = votes.columns()
    winners = [WINNERS[grade] for grade in votes.grade.tolist()]
    return Job(
        lambda: bradley_terry(columns["model_a"], columns["model_b"], winners),
        theta=lambda result: np.log(result.scores[votes.models].to_numpy()),
    )


def arrays(votes: Votes) -> Job:
    """Its fastest call: arrays that index a given `index`."""
    index = pd.Index(range(votes.n_models))
    winners = [WINNERS[grade] for grade in votes.grade.tolist()]
    return Job(
        lambda: bradley_terry(votes.a, votes.b, winners, index=index),
        theta=lambda result: np.log(result.scores[index].to_numpy()),
    )
