"""arena-rank, LMArena's engine: Bradley-Terry by L-BFGS in jax, with a sandwich.

Every figure is of a warm process; the first call compiles for several seconds more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from arena_rank.models.bradley_terry import BradleyTerry
from arena_rank.models.contextual_bradley_terry import ContextualBradleyTerry
from arena_rank.utils.data_utils import ContextualPairDataset, PairDataset

from rating_engines.votes import Job, Votes


def _board(frame: Any, **options: Any) -> Any:
    data = PairDataset.from_pandas(frame, **options)
    # a fitted object would return its old fit
    model = BradleyTerry(n_competitors=data.n_competitors)
    return {key: np.asarray(value) for key, value in model.compute_ratings_and_cis(data).items()}


def _theta(board: dict[str, Any]) -> Any:
    return (board["ratings"] - 1000.0) * np.log(10.0) / 400.0


def names(votes: Votes) -> Job:
    frame = pd.DataFrame(votes.columns())
    return Job(lambda: _board(frame), theta=_theta)


def _frame(votes: Votes) -> Any:
    return pd.DataFrame({"model_a": votes.a, "model_b": votes.b, "winner": votes.points()})


def arrays(votes: Votes) -> Job:
    frame = _frame(votes)
    return Job(lambda: _board(frame, outcome_map=float), theta=_theta)


def style(votes: Votes) -> Job:
    columns = [f"x{k}" for k in range(votes.features.shape[1])]
    frame = _frame(votes).join(pd.DataFrame(votes.features, columns=columns))

    def call() -> Any:
        data = ContextualPairDataset.from_pandas(
            frame, columns, outcome_map=float, reweighted=False
        )
        model = ContextualBradleyTerry(data.n_competitors, data.n_features)
        board = model.compute_ratings_and_cis(data)
        return {key: np.asarray(value) for key, value in board.items()}

    return Job(call)
