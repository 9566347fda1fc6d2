"""The worker: seals the log, counts what is new, fits, publishes. One at a time, by lease.

Its memory (the tallies) is a pure function of the sealed log, rebuilt when it starts or when the
lease was lost; every write of it carries the lease's fence in the same transaction.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections import defaultdict

from arena.boards import OVERALL
from arena.clock import now
from arena.errors import LeaseLost, Unavailable
from arena.interfaces import Counted, Lease, LiveBuffer, Snapshot, Store
from arena.leaderboard import Board, Tally, Vote, compute, config_hash, default_config
from arena.leases import Watch, take_if_abandoned

_log = logging.getLogger(__name__)

LEASE = "worker"
_SEAL_BATCH = 5_000
_COUNT_BATCH = 20_000
_PUBLISH_SECONDS = 0.5  # a board is published at most this often, however fast votes come


class Worker:
    """Works while it holds the lease; a second worker waits until the first is silent."""

    def __init__(
        self, store: Store, live: LiveBuffer, *, poll: float, lease_seconds: float
    ) -> None:
        self.id = secrets.token_hex(8)
        self._store = store
        self._live = live
        self._poll = poll
        self._beat_seconds = lease_seconds / 3
        self._watch = Watch(store.leases, lease_seconds)

    def run(self, stop: threading.Event) -> None:
        """Take the lease, work, and begin again when it is lost, until `stop` is set."""
        while not stop.is_set():
            try:
                lease = take_if_abandoned(self._store.leases, self._watch, LEASE, self.id)
                if lease is None:
                    stop.wait(self._beat_seconds / 2)
                    continue
                _log.info("worker %s holds the lease, fence %d", self.id, lease.fence)
                self._work(lease, stop)
                self._store.leases.release(lease)
            except LeaseLost as error:
                _log.warning("starting over: %s", error)
            except Unavailable as error:
                _log.warning("waiting for the database: %s", error)
                stop.wait(1.0)

    def _work(self, lease: Lease, stop: threading.Event) -> None:
        shift = _Shift(self._store, self._live, lease)
        beat = time.monotonic()
        while not stop.is_set():
            if time.monotonic() - beat >= self._beat_seconds:
                beat = time.monotonic()
                self._store.leases.renew(lease)
            if shift.seal() == _SEAL_BATCH:
                continue  # a large import: no board of half of it
            waiting = shift.publish()
            self._live.wait_for_work(
                _PUBLISH_SECONDS if waiting else min(self._poll, self._beat_seconds)
            )


class _Shift:
    """The work under one lease, with the tallies of everything sealed so far."""

    def __init__(self, store: Store, live: LiveBuffer, lease: Lease) -> None:
        self._store = store
        self._live = live
        self._lease = lease
        self._position = 0
        self._tallies: dict[str, Tally] = defaultdict(Tally)
        self._changed_at: dict[str, int] = {}  # log position of a campaign's last record
        self._excluded: set[str] = set()
        self._voters: dict[str, set[str]] = defaultdict(set)
        self._fits: dict[str, Board] = {}
        self._published: dict[str, float] = {}
        self._count()
        self._dirty = {
            campaign.id for campaign in store.campaigns.all() if self._is_stale(campaign.id)
        }

    def seal(self) -> int:
        """Give committed records their place and count them; returns how many."""
        if not self._store.votes.unsealed():  # a read costs no fsync
            return 0
        sealed = self._store.votes.seal(self._lease, _SEAL_BATCH)
        self._dirty |= self._count()
        return sealed

    def _count(self) -> set[str]:
        """Count what was sealed since the last time; returns the campaigns it touched."""
        touched = set()
        while page := self._store.votes.counted(self._position, _COUNT_BATCH):
            for record in page:
                try:
                    campaign = self._count_one(record)
                except ValueError as error:  # one odd record must not stop all boards
                    _log.error("record %s is left out of the board: %s", record.id, error)
                    continue
                self._changed_at[campaign] = record.seq
                touched.add(campaign)
            self._position = page[-1].seq
            self._store.leases.renew(self._lease)
        return touched

    def _count_one(self, record: Counted) -> str:
        """Count a record; returns the campaign whose board it changes."""
        if record.type == "vote":
            self._tallies[record.campaign].add(*_vote_of(record))
            if record.voter is not None:
                self._voters[record.campaign].add(record.voter)
        elif record.type == "exclusion" and record.target not in self._excluded:
            vote = self._store.votes.counted_record(record.target or "")
            if vote is not None and vote.type == "vote":
                self._tallies[vote.campaign].remove(*_vote_of(vote))
                self._excluded.add(vote.id)
                return vote.campaign
        return record.campaign

    def _is_stale(self, campaign: str) -> bool:
        """Whether the campaign has no board, or one of a shorter log or of another method."""
        snapshot = self._store.snapshots.latest(campaign, OVERALL)
        return (
            snapshot is None
            or snapshot.log_position < self._changed_at.get(campaign, 0)
            or snapshot.config_hash != config_hash(default_config())
        )

    def publish(self) -> bool:
        """Publish the boards that changed; True when one has to wait for its turn."""
        for campaign in sorted(self._dirty):
            age = time.monotonic() - self._published.get(campaign, -math.inf)
            if age >= _PUBLISH_SECONDS:
                self._publish(campaign)
        return bool(self._dirty)

    def _publish(self, campaign: str) -> None:
        before = self._fits.get(campaign)
        board = compute(self._tallies[campaign], start=before.start if before else None)
        snapshot = Snapshot(
            campaign=campaign,
            category=OVERALL,
            method=board.method,
            log_position=self._position,
            published_at=now(),
            config=board.config,
            config_hash=config_hash(board.config),
            rows=[row.to_json() for row in board.rows],
            voters=len(self._voters[campaign]),
        )
        self._store.snapshots.publish(self._lease, snapshot)
        self._fits[campaign] = board
        self._published[campaign] = time.monotonic()
        self._dirty.discard(campaign)
        self._live.announce(snapshot.announcement())
        _log.info("published %s at log position %d", campaign, snapshot.log_position)


def _vote_of(record: Counted) -> Vote:
    return record.model_a or "", record.model_b or "", record.grade, record.winner or ""
