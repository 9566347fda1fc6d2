"""FastChat's release on PyPI: scikit-learn's logistic regression on a dense matrix of all votes."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType

from rating_engines.votes import Job, Votes

_fastchat = find_spec("fastchat")
if _fastchat is None:
    raise ModuleNotFoundError("No module named 'fastchat'", name="fastchat")
# fastchat.model's __init__ imports torch and transformers, which its ratings do not use
_model = ModuleType("fastchat.model")
_model.__path__ = [f"{path}/model" for path in _fastchat.submodule_search_locations or ()]
sys.modules["fastchat.model"] = _model

import numpy as np  # noqa: E402 - after the stand-in, as all imports below
import pandas as pd  # noqa: E402
from fastchat.serve.monitor.elo_analysis import (  # noqa: E402
    compute_elo_mle_with_tie,
    get_bootstrap_result,
)


def names(votes: Votes) -> Job:
    frame = pd.DataFrame(votes.columns())
    return Job(
        lambda: compute_elo_mle_with_tie(frame),
        theta=lambda elo: elo[votes.models].to_numpy() * np.log(10.0) / 400.0,
    )


def bootstrap_100(votes: Votes) -> Job:
    """One round stands for 100: each resamples and fits anew, and they share no work."""
    frame = pd.DataFrame(votes.columns())
    return Job(
        lambda: get_bootstrap_result(frame, compute_elo_mle_with_tie, num_round=1),
        times=100,
    )
