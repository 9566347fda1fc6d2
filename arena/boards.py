"""Published boards, as anyone may read them. Nothing is computed here: see `arena.leaderboard`."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from arena import categories, roster
from arena.clock import rfc3339
from arena.errors import InvalidField, NotFound
from arena.interfaces import Campaign, Head, ModelEntry, Published, Snapshot, Store

OVERALL = "overall"
VARIANTS = ("pooled", "by_voter_habit", "stereotype")
METHODS = ("auto", "graded", "bt", "davidson", "rao-kupper", "elo")

_FRESH_SECONDS = 0.25
_OFFER_SECONDS = 1.0
_PAST_SECONDS = 60.0
_PAST_REMEMBERED = 8  # of 250 models one has about a megabyte
_UNASKED_SECONDS = 10.0
_T = TypeVar("_T")


class Recent(Generic[_T]):
    """What `read` found by some key, at most `seconds` old; of more than `most` keys the newest.

    When it has grown too old one caller reads it anew; the others have the old one meanwhile. What
    nobody asked for in a while is forgotten.
    """

    def __init__(self, seconds: float, read: Callable[..., _T], most: int = 128) -> None:
        self._seconds = seconds
        self._read = read
        self._most = most
        self._lock = threading.Lock()
        self._found: dict[tuple[Any, ...], tuple[float, _T]] = {}

    def get(self, *key: Any) -> _T:
        """What `read(*key)` found; whatever it raises rises and is not remembered."""
        at = time.monotonic()
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                if at < found[0]:
                    return found[1]
                self._found[key] = (at + self._seconds, found[1])
        try:
            fresh = self._read(*key)
        except Exception:
            with self._lock:
                self._found.pop(key, None)
            raise
        with self._lock:
            self._found.pop(key, None)
            self._found[key] = (at + self._seconds, fresh)
            while len(self._found) > self._most or self._oldest() < at - _UNASKED_SECONDS:
                del self._found[next(iter(self._found))]  # keys come from whoever asks
        return fresh

    def _oldest(self) -> float:
        """Until when the one was good that was read longest ago."""
        return next(iter(self._found.values()))[0]


@dataclass(frozen=True, slots=True)
class Encoded:
    """What anyone may read, as JSON bytes with their strong validator, and the object behind them.

    Two are equal when their validators are, so that what is made of one can be remembered.
    """

    document: dict[str, Any] = field(compare=False)
    body: bytes = field(compare=False)
    etag: str

    @classmethod
    def of(cls, document: dict[str, Any]) -> Encoded:
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        return cls(document, body, hashlib.sha256(body).hexdigest()[:32])


class Boards:
    """Reads the newest snapshots. A board is at most a quarter of a second old."""

    def __init__(self, store: Store) -> None:
        self._snapshots = store.snapshots
        self._roster = store.roster
        self._campaigns = store.campaigns
        self._boards = Recent(_FRESH_SECONDS, self._read)
        self._past = Recent(_PAST_SECONDS, self._read_past, _PAST_REMEMBERED)
        self._offers = Recent(_OFFER_SECONDS, self._offer)
        self._public = Recent(_OFFER_SECONDS, self._is_public)
        self._figures = store.figures
        self._trees = store.trees

    def get(self, campaign: Campaign, category: str = OVERALL, method: str = "auto") -> Encoded:
        """The newest board. Raises `NotFound` or `InvalidField` when there is none such."""
        if method not in METHODS:
            raise InvalidField(f"'method' must be one of {', '.join(METHODS)}.", field="method")
        return self._boards.get(campaign, category, method)

    def past(self, number: int, visible: Collection[Campaign]) -> tuple[Campaign, Encoded]:
        """The snapshot with this id, if it is of one of these campaigns, and which of them.

        Its models are called as they were then. Raises `NotFound`.
        """
        found: Encoded | None = self._past.get(number)
        for campaign in visible if found is not None else ():
            if found is not None and found.document["campaign"] == campaign.id:
                return campaign, found
        raise NotFound(
            f"No past board {number} is kept here; older ones are thinned out. "
            "/api/boards lists those that are."
        )

    def _read_past(self, number: int) -> Encoded | None:
        snapshot = self._snapshots.get(number)
        if snapshot is None:
            return None
        models = roster.known(roster.until(self._roster.history(), snapshot.published_at))
        head = self._trees.head(snapshot.log_position)
        return Encoded.of(board_document(snapshot, models, (), {}, head))

    def offered(self, *campaigns: Campaign) -> dict[str, dict[str, list[str]]]:
        """The boards of campaigns: by category in the order of menus, their methods."""
        return self._offers.get(*(campaign.id for campaign in campaigns))

    def _offer(self, *campaigns: str) -> dict[str, dict[str, list[str]]]:
        found = self._snapshots.offered(campaigns)
        return {campaign: _in_order(boards) for campaign, boards in found.items()}

    def is_public(self, campaign_id: str) -> bool:
        """Whether anybody may see the campaign's boards (as of a second ago)."""
        return self._public.get(campaign_id)

    def _is_public(self, campaign_id: str) -> bool:
        campaign = self._campaigns.get(campaign_id)
        return campaign is not None and campaign.public

    def _read(self, campaign: Campaign, category: str, method: str) -> Encoded:
        snapshot = self._snapshots.latest(
            campaign.id, category, None if method == "auto" else method
        )
        if snapshot is None:
            raise NotFound(
                f"No board of campaign '{campaign.id}', category '{category}', method '{method}' "
                "has been published. /api/boards lists those that were."
            )
        history = self._roster.history()
        is_open = history and campaign.state == "open"
        candidates = roster.active(history[-1], campaign.id) if is_open else []
        void_rates = self._figures.void_rates(campaign.id)
        head = self._trees.head(snapshot.log_position)
        document = board_document(snapshot, roster.known(history), candidates, void_rates, head)
        return Encoded.of(document)


def _in_order(boards: Mapping[str, list[str]]) -> dict[str, list[str]]:
    keys = [OVERALL, *categories.in_order(boards.keys() & categories.TITLES.keys())]
    return {key: boards[key] for key in keys if key in boards}


UNRATED: dict[str, Any] = {
    **dict.fromkeys(
        ("rank", "rank_lower", "rank_upper", "rating", "rating_lower", "rating_upper"), None
    ),
    **dict.fromkeys(("votes", "wins", "losses", "ties"), 0),
    "grades": [0, 0, 0, 0, 0],
    "component": None,
    "mean_win_rate": None,
}


def board_document(
    snapshot: Snapshot,
    models: Mapping[str, ModelEntry],
    candidates: Sequence[str],
    void_rates: Mapping[str, float],
    head: Head | None = None,
) -> dict[str, Any]:
    """The snapshot, what is known of its models, and the `candidates` nobody has judged yet."""
    rated = {row["model"] for row in snapshot.rows}
    unrated = [{"model": model, **UNRATED} for model in candidates if model not in rated]
    return document(
        method=snapshot.method,
        config=snapshot.config,
        config_hash=snapshot.config_hash,
        rows=[*snapshot.rows, *unrated],
        models=models,
        void_rates=void_rates,
        published=snapshot,
        head=head,
        **{name: snapshot.details.get(name) for name in _DETAILS},
    )


_DETAILS = ("fit", "evidence", "converged", "components")


def document(
    *,
    method: str,
    config: dict[str, Any],
    config_hash: str,
    rows: Sequence[dict[str, Any]],
    models: Mapping[str, ModelEntry] = MappingProxyType({}),
    void_rates: Mapping[str, float] = MappingProxyType({}),
    published: Snapshot | None = None,
    head: Head | None = None,
    fit: dict[str, Any] | None = None,
    evidence: dict[str, Any] | None = None,
    converged: bool | None = None,
    components: int | None = None,
) -> dict[str, Any]:
    """The object of `GET /api/board`; the facts of its publication are null where it had none.

    `fit` tells how well the model fits the votes, `evidence` why this method was chosen. What the
    roster and the battles say of the models is of now, and no part of the snapshot.
    """
    return {
        "log_position": published and published.log_position,
        "tree_head": head and head.to_json(),
        "method": method,
        "config": config,
        "config_hash": config_hash,
        "published_at": published and published.published_at,
        "campaign": published and published.campaign,
        "category": published and published.category,
        "voters": published and published.voters,
        "fit": fit,
        "evidence": evidence,
        "converged": converged,
        "components": components,
        "rows": [
            {**row, **_about(row["model"], models), "void_rate": void_rates.get(row["model"])}
            for row in rows
        ],
    }


def _about(model: str, models: Mapping[str, ModelEntry]) -> dict[str, Any]:
    """How a model is called; of an imported one its id is all we know."""
    if model in models:
        return models[model].about()
    return {"name": model, "organization": "", "license": "", "link": ""}


_NEWEST = 20
_STEPS = ((timedelta(hours=1), 16), (timedelta(days=2), 13))
_DAY = 10


def superseded(published: Sequence[Published], at: datetime) -> list[int]:
    """Ids of the snapshots that need not be kept; `published` is in order of publication.

    Of each board are kept: the newest twenty, the last of each minute for an hour, the last of
    each hour for two days, and the last of each day for ever. Of a board that is not its campaign's
    own only the newest: no history is told of it, and there are five for each that is.
    """
    kept: dict[tuple[str, ...], int] = {}
    newest: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for snapshot in published:
        board = (snapshot.campaign, snapshot.category, snapshot.method)
        if not snapshot.official:
            kept[board] = snapshot.id
            continue
        newest[board].append(snapshot.id)
        kept[*board, _period(snapshot.published_at, at)] = snapshot.id  # later ones replace it
    needed = {*kept.values(), *(number for ids in newest.values() for number in ids[-_NEWEST:])}
    return [snapshot.id for snapshot in published if snapshot.id not in needed]


def _period(time: str, at: datetime) -> str:
    """The minute, hour or day (as RFC 3339 begins) of which one snapshot is kept."""
    for age, length in _STEPS:
        if time >= rfc3339(at - age):
            return time[:length]
    return time[:_DAY]
