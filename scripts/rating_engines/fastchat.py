"""FastChat's last engine (`rating_systems` of its repository): L-BFGS-B from data frames.

Its releases on PyPI end before this module: see `fschat`. Style control has no intervals here.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from fastchat.serve.monitor.rating_systems import (
    compute_bootstrap_bt,
    compute_bt,
    fit_contextual_bt,
)

from rating_engines.votes import Job, Votes


def names(votes: Votes) -> Job:
    frame = pd.DataFrame(votes.columns())
    return Job(
        lambda: compute_bt(frame),
        theta=lambda ratings: ratings[votes.models].to_numpy() * np.log(10.0) / 400.0,
    )


def style(votes: Votes) -> Job:
    matchups = np.column_stack([votes.a, votes.b])
    features, points = votes.features.astype(np.float64), votes.points()
    return Job(lambda: fit_contextual_bt(matchups, features, points, votes.models))


def bootstrap_100(votes: Votes) -> Job:
    frame = pd.DataFrame(votes.columns())
    return Job(lambda: compute_bootstrap_bt(frame, num_round=100), warm_up=False)
