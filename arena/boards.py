"""Published boards, as anyone may read them. Nothing is computed here: see `arena.leaderboard`."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from arena import roster
from arena.clock import rfc3339
from arena.errors import InvalidField, NotFound
from arena.interfaces import Campaign, ModelEntry, Published, RosterStore, Snapshot, SnapshotStore

OVERALL = "overall"
VARIANTS = ("pooled", "by_voter_habit", "stereotype")
METHODS = ("auto", "graded", "bt", "davidson", "rao-kupper", "elo")
_FRESH_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class PublishedBoard:
    """A board as JSON bytes with its strong validator, and as the object behind them."""

    document: dict[str, Any]
    body: bytes
    etag: str


class Boards:
    """Reads the newest snapshots. Each answer is at most a quarter of a second old."""

    def __init__(self, snapshots: SnapshotStore, roster_store: RosterStore) -> None:
        self._snapshots = snapshots
        self._roster = roster_store
        self._lock = threading.Lock()
        self._cache: dict[tuple[str, str, str], tuple[float, PublishedBoard]] = {}

    def get(
        self, campaign: Campaign, category: str = OVERALL, method: str = "auto"
    ) -> PublishedBoard:
        """The newest board. Raises `NotFound` or `InvalidField` when there is none such."""
        if method not in METHODS:
            raise InvalidField(f"'method' must be one of {', '.join(METHODS)}.", field="method")
        key = (campaign.id, category, method)
        with self._lock:
            cached = self._cache.get(key)
        if cached is not None and time.monotonic() - cached[0] < _FRESH_SECONDS:
            return cached[1]
        board = self._read(campaign, category, method)
        with self._lock:
            self._cache[key] = (time.monotonic(), board)
        return board

    def _read(self, campaign: Campaign, category: str, method: str) -> PublishedBoard:
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
        document = board_document(snapshot, roster.known(history), candidates)
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        return PublishedBoard(document, body, hashlib.sha256(body).hexdigest()[:32])


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
    snapshot: Snapshot, models: Mapping[str, ModelEntry], candidates: Sequence[str]
) -> dict[str, Any]:
    """The snapshot, how its models are called, and the `candidates` nobody has judged yet."""
    rated = {row["model"] for row in snapshot.rows}
    unrated = [{"model": model, **UNRATED} for model in candidates if model not in rated]
    return document(
        method=snapshot.method,
        config=snapshot.config,
        config_hash=snapshot.config_hash,
        rows=[*snapshot.rows, *unrated],
        models=models,
        published=snapshot,
        **{name: snapshot.details.get(name) for name in ("fit", "evidence")},
    )


def document(
    *,
    method: str,
    config: dict[str, Any],
    config_hash: str,
    rows: Sequence[dict[str, Any]],
    models: Mapping[str, ModelEntry] = MappingProxyType({}),
    published: Snapshot | None = None,
    fit: dict[str, Any] | None = None,
    evidence: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The object of `GET /api/board`; the facts of its publication are null where it had none.

    `fit` tells how well the model fits the votes, `evidence` why this method was chosen.
    """
    return {
        "log_position": published and published.log_position,
        "method": method,
        "config": config,
        "config_hash": config_hash,
        "published_at": published and published.published_at,
        "campaign": published and published.campaign,
        "category": published and published.category,
        "voters": published and published.voters,
        "fit": fit,
        "evidence": evidence,
        "rows": [{**row, **_about(row["model"], models)} for row in rows],
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
    each hour for two days, and the last of each day for ever.
    """
    kept: dict[tuple[str, ...], int] = {}
    newest: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for snapshot in published:
        board = (snapshot.campaign, snapshot.category, snapshot.method)
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
