"""Agreement with other people's engines on the same votes."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import pairwise

import choix
import evalica
import numpy as np
import pytest

from ratings import bradley_terry
from ratings.comparisons import FloatArray, Outcome, PairCounts
from ratings.names import count_names
from tests.ratings.rating_helpers import DATA

CROWD_VOTES = DATA.parents[1] / "arena" / "demo" / "llmfao_crowd_votes.csv"
MEANING = {"model_a": Outcome.a_won, "tie": Outcome.tied, "model_b": Outcome.b_won}
EVALICA = {
    "model_a": evalica.Winner.X,
    "tie": evalica.Winner.Draw,
    "model_b": evalica.Winner.Y,
}


@dataclass(frozen=True)
class Votes:
    """One list per column, as a peer takes them."""

    model_a: list[str]
    model_b: list[str]
    winner: list[str]

    def rows(self) -> list[tuple[str, str, str]]:
        return list(zip(self.model_a, self.model_b, self.winner, strict=True))

    def counted(self) -> tuple[list[str], PairCounts]:
        return count_names(self.model_a, self.model_b, self.winner, MEANING)

    def decided(self) -> Votes:
        return columns([row for row in self.rows() if row[2] != "tie"])


def columns(rows: list[tuple[str, str, str]]) -> Votes:
    return Votes(*map(list, zip(*rows, strict=True)))


def crowd_votes() -> Votes:
    with CROWD_VOTES.open(encoding="utf-8", newline="") as file:
        return columns([(v["model_a"], v["model_b"], v["winner"]) for v in csv.DictReader(file)])


def random_votes(seed: int, n_models: int = 12, n_votes: int = 3000) -> Votes:
    """Votes on every model, of very different strengths, met very differently often."""
    rng = np.random.default_rng(seed)
    names = [f"m{i:02d}" for i in range(n_models)]
    busy = rng.dirichlet(np.full(n_models, 2.0))
    a = rng.choice(n_models, n_votes, p=busy)
    b = (a + rng.integers(1, n_models, n_votes)) % n_models
    lead = np.linspace(-1.5, 1.5, n_models)[a] - np.linspace(-1.5, 1.5, n_models)[b]
    latent = lead + rng.logistic(size=n_votes)
    winner = np.select([latent > 0.5, latent < -0.5], ["model_a", "model_b"], "tie").tolist()
    for stronger, weaker in pairwise(range(n_models)):  # one tier, with ties or without
        a, b = np.append(a, [stronger, weaker]), np.append(b, [weaker, stronger])
        winner += ["model_a", "model_a"]
    return Votes([names[i] for i in a], [names[i] for i in b], winner)


def of_evalica(method, votes: Votes, names: list[str]) -> tuple[FloatArray, object]:
    """Centred strengths in nats, and the result; converged far beyond evalica's default."""
    result = method(
        votes.model_a,
        votes.model_b,
        [EVALICA[winner] for winner in votes.winner],
        tolerance=1e-14,
        limit=100_000,
    )
    theta = np.log(result.scores[names].to_numpy())
    return theta - theta.mean(), result


EVERY_LOG = pytest.mark.parametrize(
    "votes",
    [crowd_votes(), *(random_votes(seed) for seed in range(3))],
    ids=["crowd", "random 0", "random 1", "random 2"],
)


@EVERY_LOG
def test_bradley_terry_with_half_wins_is_evalicas(votes):
    names, counts = votes.counted()
    theirs, _ = of_evalica(evalica.bradley_terry, votes, names)
    assert np.abs(bradley_terry.fit(counts).theta - theirs).max() < 1e-10


@EVERY_LOG
def test_davidsons_model_is_evalicas_newman(votes):
    names, counts = votes.counted()
    theirs, result = of_evalica(evalica.newman, votes, names)
    ours = bradley_terry.davidson(counts)
    assert np.abs(ours.theta - theirs).max() < 1e-10
    # Newman (2023) writes a tie as 2v·√(πi·πj)
    assert np.exp(ours.local.item()) == pytest.approx(2 * result.v, rel=1e-10)


@EVERY_LOG
def test_bradley_terry_without_ties_is_choixs(votes):
    decided = votes.decided()
    names, counts = decided.counted()
    ids = {name: i for i, name in enumerate(names)}
    winner_first = [
        (ids[a], ids[b]) if winner == "model_a" else (ids[b], ids[a])
        for a, b, winner in decided.rows()
    ]
    theirs = choix.ilsr_pairwise(len(names), winner_first, tol=1e-12)
    assert np.abs(bradley_terry.fit(counts).theta - (theirs - theirs.mean())).max() < 1e-10
