"""arenakit: Bradley-Terry by minorisation and maximisation from pair counts, and a bootstrap."""

from __future__ import annotations

import numpy as np
from arenakit import Arena, bootstrap, fit_bt
from arenakit.schema import A_WINS, B_WINS, TIE

from rating_engines.votes import Job, Votes

CODES = np.array([A_WINS, A_WINS, TIE, B_WINS, B_WINS], dtype=np.int8)


def _arena(votes: Votes) -> Arena:
    # Arena(…) takes one pydantic object per vote: minutes and gigabytes. Its own `subset` and
    # `restrict` fill an empty one like this.
    arena: Arena = object.__new__(Arena)
    arena.models = votes.models
    arena.a, arena.b = votes.a.astype(np.int32), votes.b.astype(np.int32)
    arena.y = CODES[votes.grade]
    arena.item = arena.voter = None
    return arena


def arrays(votes: Votes) -> Job:
    arena = _arena(votes)
    return Job(lambda: fit_bt(arena.counts()), theta=lambda fitted: fitted.scores)


def bootstrap_100(votes: Votes) -> Job:
    arena = _arena(votes)
    return Job(lambda: bootstrap(arena, n_resamples=100), warm_up=False)
