"""Boards from votes: the only caller of the rating engine.

A board is a pure function of the votes and the method's configuration (`ratings.board`): neither a
warm start nor, but for Elo, the order of the votes changes it.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rfc8785

from arena import categories
from arena.boards import METHODS, OVERALL, VARIANTS, document
from arena.clock import now
from arena.errors import InvalidField
from arena.records import Record
from arena.tally import Tally
from arena.vote_file import Progress, read_ballots
from ratings import scale
from ratings.board import LEVEL, Options, Rated, Row, Votes, fit, rate
from ratings.choice import MIN_VOTES, Choice, choose
from ratings.comparisons import FloatArray, PairCounts
from ratings.diagnostics import Calibration, Diagnosis, diagnose, win_rates
from ratings.errors import BadOption
from ratings.fitting import Fit, Start
from ratings.intervals import sandwich
from ratings.pairs import pairs_of

METHOD_NAMES = METHODS[1:]
INTERVALS = ("sandwich", "bootstrap")
WEIGHTS = ("inverse_propensity",)
RANKS = ("pairwise", "simultaneous")

_FARTHEST_ANCHOR = 1_000_000


@dataclass(frozen=True, slots=True)
class Method(Options):
    """Options that were checked: how the votes of a campaign become ratings.

    Raises `InvalidField` for a name, a variant or an option that is unknown, and for options that
    do not go together.
    """

    def __post_init__(self) -> None:
        _one_of("method", self.name, METHOD_NAMES)
        _one_of("interval", self.interval, INTERVALS)
        _one_of("ranks", self.ranks, RANKS)
        if self.weights is not None:
            _one_of("weights", self.weights, WEIGHTS)
        if self.name == "graded":
            _one_of("variant", self.variant or "pooled", VARIANTS)
            object.__setattr__(self, "variant", self.variant or "pooled")
        elif self.variant is not None:
            raise InvalidField(f"The method '{self.name}' has no variants.", field="variant")
        if self.anchor is not None and not abs(self.anchor[1]) <= _FARTHEST_ANCHOR:
            raise InvalidField(
                f"The anchor's rating must be a number up to {_FARTHEST_ANCHOR:,}.", field="anchor"
            )
        if self.name == "elo":
            self._refuse_what_elo_lacks()
        resampled = self.interval == "bootstrap"
        if resampled and (self.clustered or self.weights):
            raise InvalidField(
                "The bootstrap knows neither voters nor weights; use interval=sandwich.",
                field="interval",
            )

    def _refuse_what_elo_lacks(self) -> None:
        plain = {"interval": "sandwich", "clustered": False, "weights": None, "ranks": "pairwise"}
        for name, value in plain.items():
            if getattr(self, name) != value:
                raise InvalidField(
                    "The method 'elo' has no intervals, ranges of ranks or weights.", field=name
                )

    def config(self, category: str = OVERALL) -> dict[str, Any]:
        """Everything that a board depends on besides the votes."""
        leaks = "included" if category == categories.UNFILTERED else "excluded"
        return {"exclusions": "applied", "identity_leaks": leaks, **self.pinned()}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Method:
        anchor = data.get("anchor")
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        return cls(**{**known, "anchor": anchor and (anchor[0], float(anchor[1]))})


def _one_of(field: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise InvalidField(
            f"The {field} '{name}' is unknown; it is one of {', '.join(known)}.", field=field
        )


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of the configuration's RFC 8785 JSON, hex."""
    return hashlib.sha256(rfc8785.dumps(dict(config))).hexdigest()


# --- boards -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Warm:
    """Where an earlier fit of a board ended, by model, for a warm start of the next."""

    theta: Mapping[str, float]
    start: Start

    @classmethod
    def of(cls, names: list[str], fitted: Fit) -> Warm:
        return cls(dict(zip(names, fitted.theta.tolist(), strict=True)), fitted.start())

    def known(self, names: list[str]) -> Start:
        theta = np.array([self.theta.get(name, math.nan) for name in names], dtype=np.float64)
        return replace(self.start, theta=theta)


@dataclass(frozen=True, slots=True)
class Board:
    """Rated models, best first, with the configuration that pins every number.

    `fit` tells how well the model fits: see `_fit_figures`. `evidence` is why this method was
    chosen, where it was. `pairs` are those behind the board: see `pair_data`.
    """

    method: str
    config: dict[str, Any]
    rows: tuple[Row, ...]
    converged: bool
    components: int
    fit: dict[str, Any] | None
    evidence: dict[str, Any] | None
    warm: Warm | None = field(compare=False)
    pairs: dict[str, Any] | None = None


def _votes_of(tally: Tally, category: str = OVERALL) -> Votes:
    names, counts = tally.counted(category)
    return Votes(
        names,
        counts,
        ballots=partial(tally.ballots, names, category),
        propensity=partial(tally.propensities, category),
    )


def supported(tally: Tally) -> Choice:
    """Which model the votes support (`ratings.choice`)."""
    votes = _votes_of(tally)
    return choose(votes.counts, votes.by_habit())


def decision_is_due(tally: Tally, decided_at: int) -> bool:
    """Whether the votes should be asked (again) which model they support.

    First when there are enough graded ones, then whenever their number has doubled. `decided_at` is
    the number of graded votes at the last decision, which the log keeps.
    """
    return tally.graded() >= max(MIN_VOTES, 2 * decided_at)


def decision(campaign: str, tally: Tally) -> Record:
    """The record that pins the method which the votes support."""
    choice = supported(tally)
    return method_record(
        campaign,
        choice.reason,
        Method(choice.method, choice.variant),
        votes=tally.graded(),
        evidence=choice.to_json(),
    )


def method_record(
    campaign: str,
    reason: str,
    method: Method | None,
    *,
    votes: int = 0,
    evidence: dict[str, Any] | None = None,
) -> Record:
    """The public record of how a campaign's votes are rated from here on.

    Without evidence an operator pins the method for good; without a method the operator asks for
    a decision by the votes, now and whenever their number has doubled.
    """
    return Record(
        id=secrets.token_hex(16),
        type="method",
        campaign=campaign,
        timestamp=now(),
        reason=reason,
        data={
            "method": None if method is None else method.to_json(),
            "automatic": method is None or evidence is not None,
            "votes": votes,
            "evidence": evidence,
        },
    )


def compute(
    tally: Tally,
    method: Method,
    *,
    category: str = OVERALL,
    warm: Warm | None = None,
    evidence: dict[str, Any] | None = None,
    figures: bool = True,
    pairs: bool = False,
) -> Board:
    """Rate all models of a tally, or of one of its categories.

    Without `figures` the board does not tell how well the model fits, which takes as long as the
    rating itself. With `pairs` it tells what every two models did against each other; their
    calibration belongs to the figures. `warm` is the `warm` of an earlier board: it saves steps and
    changes nothing beyond 1e-9 nats.

    Raises `InvalidField` for an anchor that has no votes here, and for intervals or weights that
    these votes cannot have.
    """
    votes = _votes_of(tally, category)
    try:
        rated = rate(votes, method, None if warm is None else warm.known(votes.names))
    except BadOption as error:
        raise InvalidField(str(error), field=error.option) from error
    fitted, fit_figures, found = rated.fitted, None, None
    if figures and fitted is not None:
        found = diagnose(fitted)
        fit_figures = _fit_figures(votes, method, fitted, found)
    return Board(
        method=method.name,
        config=method.config(category),
        rows=rated.rows,
        converged=rated.converged,
        components=rated.components,
        fit=fit_figures,
        evidence=evidence,
        pairs=_pairs(votes, rated, found) if pairs else None,
        warm=None if fitted is None else Warm.of(votes.names, fitted),
    )


def _pairs(votes: Votes, rated: Rated, found: Diagnosis | None) -> dict[str, Any]:
    predicted = rated.foretold if rated.fitted is None else win_rates(rated.fitted).predicted
    assert predicted is not None  # noqa: S101  who fits nothing foretells
    calibration = None if found is None else found.calibration
    return pair_data(votes.names, votes.counts, predicted, calibration)


def pair_data(
    names: list[str],
    counts: PairCounts,
    predicted: FloatArray,
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """What every two of M models did against each other, small enough to be sent whole.

    `graded` rows are i < j (places in `models`) and five counts as i sees them, from won much to
    lost much; `winner_only` rows i < j and won, tied, lost. `predicted` is what i scores against j
    by the model (a tie is a half): rows i of [M, M] right of the diagonal, None across components.
    """
    rows = pairs_of(counts)
    places, votes = np.stack([rows.first, rows.second]), rows.votes
    parts = {}
    for name, part in (("graded", votes[:5]), ("winner_only", votes[5:])):
        met = part.any(axis=0)
        parts[name] = np.concatenate([places[:, met], part[:, met]]).astype(np.int64).T.tolist()
    return {
        "models": names,
        **parts,
        "predicted": [
            [None if math.isnan(share) else round(share, 4) for share in row[place + 1 :]]
            for place, row in enumerate(predicted.tolist())
        ],
        "calibration": calibration and _bins(calibration),
    }


def _bins(calibration: Calibration) -> list[dict[str, float]]:
    """The bins of `ratings.diagnostics.Calibration`, a row each."""
    names = ("predicted", "observed", "lower", "upper", "votes")
    columns = [getattr(calibration, name).tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _fit_figures(votes: Votes, method: Method, fitted: Fit, found: Diagnosis) -> dict[str, Any]:
    """How well the model fits: `ratings.diagnostics` says how to read calibration and goodness.

    `parameters` are the model's local ones in nats, a group of voters each; `side_effect` is what
    being shown first gains, in rating points.
    """
    parameters = [
        dict(zip(fitted.likelihood.parameters, column, strict=True))
        for column in fitted.local.T.tolist()
    ]
    sided = fit(votes, method, fitted.start(), side=True)
    side: dict[str, Any] = {"rating": None, "se": None, "problem": sided.side_problem}
    if sided.side is not None:
        se = sandwich(sided, LEVEL).side_se
        side |= {
            "rating": scale.PER_NAT * sided.side,
            "se": scale.PER_NAT * se if se is not None and math.isfinite(se) else None,
        }
    calibration, goodness = found.calibration, found.goodness
    figures = {
        "log_loss": goodness.log_loss,
        "log_loss_of_constant": goodness.baseline,
        "dispersion": goodness.dispersion,
        "spin": scale.PER_NAT * goodness.spin,
        "spin_p_value": goodness.spin_p_value,
        "calibration_error": calibration.error,
        "calibration_error_by_chance": calibration.error_by_chance,
        "calibration_slope": calibration.slope,
        "calibration_slope_se": calibration.slope_se,
    }
    return {
        "log_likelihood": fitted.log_likelihood(),
        "log_loss_of": goodness.scale,
        **{name: float(value) if np.isfinite(value) else None for name, value in figures.items()},
        "parameters": parameters,
        "side_effect": side,
    }


def board_json(board: Board, *, file: str, category: str = OVERALL) -> dict[str, Any]:
    """The object of `GET /api/board` for a board that was not published, and where it is from."""
    return {
        **document(
            method=board.method,
            config=board.config,
            config_hash=config_hash(board.config),
            rows=[row.to_json() for row in board.rows],
            fit=board.fit,
            evidence=board.evidence,
            converged=board.converged,
            components=board.components,
        ),
        "category": None if category == OVERALL else category,
        "file": file,
    }


def rate_file(
    path: Path,
    name: str = "auto",
    *,
    variant: str | None = None,
    by: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Board]:
    """Rate the models of a vote file; votes with an `excluded_reason` do not count.

    Without `by` there is one board, `OVERALL`; with `category`, `language` or `turns` one for each
    of its values that votes have. `name` is a method, or `auto`: then the votes decide, once for
    all boards. `options` are those of `Method`.

    Raises `InvalidField` for options, these before reading where they can be wrong without votes,
    and `BadFile` for the file.
    """
    automatic = name == "auto"
    if automatic:
        name = "bt" if variant is None else "graded"
    method = Method(name, variant, **options)
    tally = read_tally(path, by, progress)
    evidence = None
    if automatic and variant is None:
        choice = supported(tally)
        method = Method(choice.method, choice.variant, **options)
        evidence = choice.to_json()
    keys = [key for key in tally.categories() if by is None or key != OVERALL]
    if not keys and tally.votes():
        raise InvalidField(f"No vote has a {by}, so there is nothing to part them by.", field="by")
    return {
        key: compute(tally, method, category=key, evidence=evidence) for key in keys or [OVERALL]
    }


def read_tally(path: Path, by: str | None, progress: Progress | None) -> Tally:
    """The votes of a file, with their categories of the kind `by`."""
    tally, row = Tally(), 0
    sliced = None if by is None else _BY[by]
    columns = ["voter", "propensity", *([sliced] if sliced else [])]
    for batch in read_ballots(path, progress, columns):
        seq = range(row, row := row + len(batch))
        keys = sliced and [_file_categories(sliced, value) for value in batch.columns[sliced]]
        tally.add_columns(
            seq=seq,
            model_a=batch.model_a,
            model_b=batch.model_b,
            grade=batch.grade,
            winner=batch.winner,
            voter=batch.columns["voter"],
            propensity=batch.columns["propensity"],
            categories=keys or None,
        )
    return tally


_BY = {"category": "category_tag", "language": "language", "turns": "turns"}


def _file_categories(by: str, value: Any) -> tuple[str, ...]:
    """A file's own words are its categories; a `category_tag` may hold several."""
    if value is None:
        return ()
    if by == "turns":
        return categories.of_vote(language=None, category_tag=None, turns=value)
    tags = value.split(",") if by == "category_tag" else [value]
    shown = ("".join(filter(str.isprintable, tag)).strip() for tag in tags)
    return tuple(
        f"'{tag}'" if tag in (OVERALL, categories.UNFILTERED) else tag for tag in shown if tag
    )
