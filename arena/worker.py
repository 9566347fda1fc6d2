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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from arena import boards, categories, metrics, sealing
from arena.boards import OVERALL
from arena.clock import now, rfc3339
from arena.counting import Event, Page, Pages
from arena.erasure import RETENTION
from arena.errors import ArenaError, ForkedLog, InvalidField, LeaseLost, Unavailable
from arena.events import Teller
from arena.interfaces import Head, Lease, LiveBuffer, PairTable, Snapshot, Store
from arena.leaderboard import (
    METHOD_NAMES,
    Board,
    Method,
    Warm,
    compute,
    config_hash,
    decision,
    decision_is_due,
)
from arena.leases import WORKER, Watch, take_if_abandoned
from arena.memory import give_back, keep_for_boards
from arena.notes import Signer
from arena.records import LogRow
from arena.tally import Tally
from arena.tree import Heads

_log = logging.getLogger(__name__)

MIN_CATEGORY_VOTES = 20
"""A category has a board from this many votes on: a few votes tell nothing."""

_SEAL_BATCH = 5_000
_PUBLISH_SECONDS = 0.5  # a board is published at most this often, however fast votes come
_OTHER_METHODS_SECONDS = 5.0  # the same, for boards of methods that are not the campaign's own
_SHARE_OF_TIME = 4  # a board that takes long to compute rests this many times as long
_FIGURES_SECONDS = 30.0  # how well a model fits is told at most this often: it takes long
_HEAD_SECONDS = 1.0  # what is sealed waits at most so long for a board to be signed with
_VOID_RATES_SECONDS = 60.0  # they are counted over all battles: over a second for a million
_UNHURRIED_SECONDS = 0.5  # so long boards are published with what is drawn beside them
_THIN_SECONDS = 60.0
_DOWNLOADS_TAKE = timedelta(hours=1)  # whoever has the rows of a head asks for its manifest then
_THIN_BATCH = 500  # votes wait for the transaction
_TELL_SECONDS = 1.0
_ERASE_SECONDS = 60.0
_ERASE_RESTORED_SECONDS = 3600.0  # no index leads to them: all texts are looked through
_ERASE_BATCH = 50  # votes wait for this transaction too
_FAILED_SECONDS = 60.0  # a board that fails is left alone for so long


class Worker:
    """Works while it holds the lease; a second worker waits until the first is silent."""

    def __init__(
        self,
        store: Store,
        live: LiveBuffer,
        *,
        signer: Signer,
        poll: float,
        lease_seconds: float,
        retention_days: int | None = None,
    ) -> None:
        self.id = secrets.token_hex(8)
        self._store = store
        self._live = live
        self._signer = signer
        self._poll = poll
        self._retention = None if retention_days is None else timedelta(retention_days)
        self._beat_seconds = lease_seconds / 3
        self._watch = Watch(store.leases, lease_seconds)

    def run(self, stop: threading.Event) -> None:
        """Take the lease, work, and begin again when it is lost, until `stop` is set."""
        keep_for_boards(2**23)
        while not stop.is_set():
            try:
                lease = take_if_abandoned(self._store.leases, self._watch, WORKER, self.id)
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
        with _Heart(self._store, lease, self._beat_seconds) as heart:
            heads = Heads(self._store.votes, self._store.trees, self._signer, lease, heart.check)
            shift = _Shift(self._store, self._live, lease, heart, heads, retention=self._retention)
            while not stop.is_set():
                heart.check()
                if shift.seal() == _SEAL_BATCH:
                    continue  # a large import: no board of half of it
                if shift.tell():
                    continue  # they are sealed first
                shift.erase_old()
                waiting = shift.publish()
                self._live.wait_for_work(
                    min(_PUBLISH_SECONDS / 2 if waiting else self._poll, self._beat_seconds)
                )


class _Heart:
    """Shows that the lease's holder lives, from a thread of its own: a large fit takes longer than
    a lease. Every write still proves the lease in its own transaction.
    """

    def __init__(self, store: Store, lease: Lease, seconds: float) -> None:
        self._store = store
        self._lease = lease
        self._seconds = seconds
        self._stop = threading.Event()
        self._lost: LeaseLost | None = None
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def __enter__(self) -> _Heart:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raises `LeaseLost` when somebody else holds the lease."""
        if self._lost is not None:
            raise self._lost

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._store.leases.renew(self._lease)
            except LeaseLost as error:
                self._lost = error
                return
            except Unavailable as error:
                _log.warning("no heartbeat: %s", error)


@dataclass(frozen=True, slots=True, order=True)
class _Key:
    """One board: official ones first, then in the order of campaigns, categories and methods."""

    other: bool
    campaign: str
    category: str
    method: str

    def __str__(self) -> str:
        return f"{self.campaign}/{self.category}/{self.method}"


class _Campaign:
    """What was counted of one campaign, and the method its log pins."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.methods = _methods(Method())
        self.automatic = True
        self.asked = False  # by the operator, to decide now
        self.published: set[str] = set()  # categories that have a board
        self.decided_at = 0  # graded votes when the method was decided
        self.evidence: dict[str, Any] | None = None
        self.excluded: set[int] = set()
        self.changed: dict[str, int] = {}  # log position of a category's last record

    def touch(self, seq: int, touched: Iterable[str]) -> None:
        for category in touched:
            self.changed[category] = max(seq, self.changed.get(category, 0))

    def pin(self, data: dict[str, Any]) -> None:
        """Follow a `method` record: a decision, or an operator's wish to have one made.

        A decision that was under way while the operator pinned a method comes too late.
        """
        if data["evidence"] is not None and not self.automatic:
            return
        self.automatic = data["automatic"]
        self.asked = data["automatic"] and data["method"] is None
        self.decided_at = data["votes"]
        self.evidence = data["evidence"]
        if data["method"] is not None:
            self.methods = _methods(Method.from_json(data["method"]))

    def boards(self, campaign: str) -> Iterator[tuple[_Key, _Pinned]]:
        """The boards this campaign has now, each with its method."""
        # one that was published and has lost its last vote is published without it
        there = sorted({*self.tally.categories(), *self.published})
        for category in filter(self._has_board, there):
            for pinned in self.methods:
                key = _Key(pinned.other, campaign, category, pinned.method.name)
                yield key, replace(pinned, config_hash=_hash_of(pinned.method, category))

    def _has_board(self, category: str) -> bool:
        if category in {OVERALL, categories.UNFILTERED, *self.published}:
            return True
        votes = self.tally.votes(category)
        if category == categories.PEOPLE and votes == self.tally.votes():
            return False  # nobody else votes here: it would be the whole board once more
        return votes >= MIN_CATEGORY_VOTES


class _Counts:
    """What was counted of the log up to `position`: a pure function of that part of it."""

    def __init__(self) -> None:
        self.position = 0
        self.campaigns: dict[str, _Campaign] = defaultdict(_Campaign)
        self.sealings = 0

    def add(self, page: Page) -> None:
        """Count the records that follow."""
        for name in page.campaigns():
            campaign = self.campaigns[name]
            touched = page.count(name, campaign.tally)
            campaign.touch(page.last, {OVERALL, categories.UNFILTERED, *touched})
        for event in page.events:
            try:
                self._follow(event)
            except Exception as error:  # noqa: BLE001  one odd record must not stop all boards
                _log.error("the record at %d is left out of the board: %s", event.seq, error)
        self.position = page.last

    def _follow(self, event: Event) -> None:
        if event.type == "method":
            campaign = self.campaigns[event.campaign]
            campaign.pin(event.data or {})
            campaign.touch(event.seq, campaign.tally.categories())
        elif event.type == "sealing":
            self.sealings += 1
        elif event.type == "exclusion" and event.vote is not None:
            name, seq = event.vote
            campaign = self.campaigns[name]
            if seq not in campaign.excluded:
                campaign.excluded.add(seq)
                campaign.touch(event.seq, {categories.UNFILTERED, *campaign.tally.remove(seq)})
        elif event.type == "flag" and event.vote is not None:
            name, seq = event.vote
            campaign = self.campaigns[name]
            campaign.touch(event.seq, campaign.tally.flag(seq))


@dataclass(frozen=True, slots=True)
class _Pinned:
    """A method with the hash of its configuration; `other` than the campaign's own."""

    method: Method
    config_hash: str
    other: bool


def _methods(official: Method) -> list[_Pinned]:
    others = [Method(name) for name in METHOD_NAMES if name != official.name]
    return [
        _Pinned(method, _hash_of(method, OVERALL), method is not official)
        for method in (official, *others)
    ]


@lru_cache(maxsize=2**14)  # for all boards: they are asked for in turn, a shorter memory has none
def _hash_of(method: Method, category: str) -> str:
    return config_hash(method.config(category))


def _snapshot(
    key: _Key,
    board: Board,
    config_hash: str,
    *,
    tally: Tally,
    position: int,
    at: str,
    fit: dict[str, Any] | None,
) -> Snapshot:
    return Snapshot(
        campaign=key.campaign,
        category=key.category,
        method=board.method,
        log_position=position,
        published_at=at,
        config=board.config,
        config_hash=config_hash,
        rows=[row.to_json() for row in board.rows],
        voters=tally.voters(key.category),
        official=not key.other,
        details={
            "fit": fit,
            "evidence": board.evidence,
            "converged": board.converged,
            "components": board.components,
        },
    )


class _Shift:
    """The work under one lease, with the tallies of everything sealed so far."""

    def __init__(
        self,
        store: Store,
        live: LiveBuffer,
        lease: Lease,
        heart: _Heart,
        heads: Heads,
        *,
        retention: timedelta | None,
    ) -> None:
        self._store = store
        self._live = live
        self._lease = lease
        self._heart = heart
        self._heads = heads
        self._is_forked = False
        self._head_at = -math.inf  # and of which size the newest head is
        self._head_size = -1
        self._teller = Teller(store, lease)
        self._tell_at = -math.inf
        self._pages = Pages(store, lease)
        self._counts = _Counts()
        self._campaigns = self._counts.campaigns
        self._warm: dict[_Key, Warm | None] = {}
        self._published: dict[_Key, tuple[int, str]] = {}  # log position and configuration
        self._rests_until: dict[_Key, float] = {}
        self._figures: dict[tuple[_Key, str], dict[str, Any]] = {}
        self._figures_from: dict[tuple[_Key, str], float] = {}
        self._pairs = store.figures.positions()
        self._void_rates: dict[str, dict[str, float]] | None = None
        self._void_rates_at = -math.inf
        self._thin_at = -math.inf
        self._retention = retention
        self._erase_at = -math.inf
        self._erase_restored_at = -math.inf
        self._sealings = 0  # that have their boards
        self._sealings_from = -math.inf
        for campaign in store.campaigns.all():
            self._campaigns[campaign.id].touch(0, [OVERALL])
            offered = store.snapshots.offered([campaign.id])
            self._campaigns[campaign.id].published |= offered[campaign.id].keys()
        self._count()

    def seal(self) -> int:
        """Give committed records their place and count them; returns how many."""
        if not self._store.votes.unsealed():  # a read costs no fsync
            return 0
        with metrics.timed(metrics.WORK, "seal"):
            sealed = self._store.votes.seal(self._lease, _SEAL_BATCH)
        self._count()
        return sealed

    @metrics.timed(metrics.WORK, "count")
    def _count(self) -> None:
        """Count what was sealed since the last time."""
        for page in self._pages.after(self._counts.position):
            self._counts.add(page)
            self._heart.check()

    # --- sealed boards --------------------------------------------------------------------------

    def _make_all_sealed(self) -> None:
        """Make the boards of every sealing that has its place and no boards yet."""
        counted, made = self._counts.sealings, 0
        if self._sealings == counted or time.monotonic() < self._sealings_from:
            return
        self._sealings_from = time.monotonic() + _FAILED_SECONDS
        waiting = self._store.sealed.waiting()
        for row in waiting:
            with self._alone(f"the sealing of {row.record.campaign} at {row.seq}"):
                self._make_sealed_boards(row)
                made += 1
        if made == len(waiting):
            self._sealings, self._sealings_from = counted, -math.inf

    def _make_sealed_boards(self, row: LogRow) -> None:
        """Of all records up to this one and of no other, whatever was counted since."""
        name, position = row.record.campaign, row.seq or 0
        counts = _Counts()
        for page in self._pages.until(position):
            counts.add(page)
            self._heart.check()
        head = self._heads.at(position)
        self._store.trees.add_head(self._lease, head)
        history = self._store.roster.history()
        try:
            made = [
                sealing.sealed_board(row, board, history, head)
                for board in self._boards_to_seal(name, counts, row.record.timestamp)
            ]
        except (ForkedLog, LeaseLost, Unavailable):
            raise
        except (ArenaError, ArithmeticError, ValueError) as error:
            # the same records will never give another answer
            self._store.votes.append([(sealing.failed_record(row, str(error)), None)], self._lease)
            _log.error("%s sealed at %d gives no board: %s", name, position, error)
            return
        self._store.sealed.add(self._lease, made, sealing.sealed_record(made))
        _log.info("sealed %d boards of %s at log position %d", len(made), name, position)

    def _boards_to_seal(self, name: str, counts: _Counts, at: str) -> Iterator[Snapshot]:
        """The campaign's official boards, computed from nothing but what was counted."""
        campaign = counts.campaigns[name]
        for key, pinned in campaign.boards(name):
            if key.other:
                continue
            try:
                board = compute(
                    campaign.tally,
                    pinned.method,
                    category=key.category,
                    evidence=campaign.evidence,
                    figures=key.category == OVERALL,
                )
            except InvalidField as error:  # such as an anchor that no vote here knows
                if key.category == OVERALL:
                    raise
                _log.error("%s has no board to seal at %d: %s", key, counts.position, error)
                continue
            self._heart.check()
            yield _snapshot(
                key,
                board,
                pinned.config_hash,
                tally=campaign.tally,
                position=counts.position,
                at=at,
                fit=board.fit and {"log_position": counts.position, **board.fit},
            )

    # --- publishing -----------------------------------------------------------------------------

    def publish(self) -> bool:
        """Publish what changed; True when something has to wait for its turn.

        Nothing any more of a log that is not the one whose head was signed: that would be a second
        truth.
        """
        if self._is_forked:
            return False
        try:
            self._make_all_sealed()
            is_waiting = self._publish_boards()
            return self._publish_head() or is_waiting
        except ForkedLog as error:
            _log.error("%s", error)
            self._is_forked = True
            return False

    def _publish_head(self) -> bool:
        """Sign records that no board came with; True when they have to wait."""
        if self._counts.position == self._head_size:
            return False
        if time.monotonic() < self._head_at + _HEAD_SECONDS:
            return True
        head = self._heads.at(self._counts.position)
        self._store.trees.add_head(self._lease, head)
        self._has_head(head)
        return False

    def _has_head(self, head: Head) -> None:
        self._head_size, self._head_at = head.size, time.monotonic()

    def _publish_boards(self) -> bool:
        """Publish the boards that changed; True when some have to wait for their turn.

        New votes come first. What is drawn beside a board takes longer than the board itself: of
        many boards all but the first few get it later, one at a time, and so come the boards that
        no campaign calls its own.
        """
        self._tell_void_rates()
        self._thin()
        stale = list(self._stale())
        due = [board for board in stale if time.monotonic() >= self._rest_of(board[0])]
        others = sorted((b for b in due if b[0].other), key=lambda b: (self._rest_of(b[0]), b[0]))
        # the board of all votes first: it is the one that is looked at
        official = sorted(
            (b for b in due if not b[0].other), key=lambda b: (b[0].category != OVERALL, b[0])
        )
        hurry_from = time.monotonic() + _UNHURRIED_SECONDS
        new = [board for board in official if not self._is_current(*board)]
        drawn = [board for board in official if board not in new]
        for key, pinned in (*new, *drawn[:1], *others[:1]):
            with self._alone(f"board {key}"):
                self._rests_until[key] = time.monotonic() + _FAILED_SECONDS
                hurry = (key, pinned) in new and time.monotonic() > hurry_from
                self._publish(key, pinned, figures=not hurry)
            self._heart.check()
        self._decide()
        return bool(stale)

    def _rest_of(self, key: _Key) -> float:
        return self._rests_until.get(key, -math.inf)

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        """What goes wrong with one board or decision must not stop the others."""
        try:
            yield
        except (ForkedLog, LeaseLost, Unavailable):
            raise
        except Exception as error:  # noqa: BLE001  whatever an odd record led to
            _log.error("%s fails, and is tried again later: %s", what, error, exc_info=True)

    def _stale(self) -> Iterator[tuple[_Key, _Pinned]]:
        for name, campaign in self._campaigns.items():
            for key, pinned in campaign.boards(name):
                changed = campaign.changed.get(key.category, 0)
                if not self._is_current(key, pinned) or self._figures_are_old(key, pinned, changed):
                    yield key, pinned

    def _is_current(self, key: _Key, pinned: _Pinned) -> bool:
        """Whether the newest board is of these votes and this configuration."""
        position, config = self._known(key)
        changed = self._campaigns[key.campaign].changed.get(key.category, 0)
        return position >= changed and config == pinned.config_hash

    def _figures_are_old(self, key: _Key, pinned: _Pinned, changed: int) -> bool:
        kind = (key, pinned.config_hash)
        figures = self._figures.get(kind)
        is_old = figures is not None and figures["log_position"] < changed
        if not key.other:
            is_old = is_old or self._pairs.get((key.campaign, key.category), -1) < changed
        return is_old and time.monotonic() >= self._figures_from.get(kind, -math.inf)

    def _save_pairs(self, board: Snapshot, data: dict[str, Any]) -> None:
        place = (board.campaign, board.category)
        table = PairTable(*place, board.log_position, board.published_at, data)
        self._store.figures.save(self._lease, table)
        self._pairs[place] = board.log_position

    def _known(self, key: _Key) -> tuple[int, str]:
        """Log position and configuration of the newest board."""
        if key not in self._published:
            found = self._store.snapshots.latest(
                key.campaign, key.category, key.method if key.other else None
            )
            self._published[key] = (
                (-1, "")
                if found is None
                else (
                    found.log_position,
                    found.config_hash,
                )
            )
        return self._published[key]

    def _publish(self, key: _Key, pinned: _Pinned, *, figures: bool) -> None:
        """Publish a board, if wanted with its `figures` unless they were told a moment ago."""
        campaign, started = self._campaigns[key.campaign], time.monotonic()
        kind = (key, pinned.config_hash)
        is_time = figures and started >= self._figures_from.get(kind, started)
        board = metrics.timed(metrics.WORK, "fit")(compute)(
            campaign.tally,
            pinned.method,
            category=key.category,
            warm=self._warm.get(key),
            evidence=None if key.other else campaign.evidence,
            figures=is_time and key.category == OVERALL,
            pairs=is_time and not key.other,
        )
        if board.rows and is_time:  # the first votes need not wait
            self._figures_from[kind] = started + _FIGURES_SECONDS
        if board.fit is not None:
            self._figures[kind] = {"log_position": self._counts.position, **board.fit}
        snapshot = _snapshot(
            key,
            board,
            pinned.config_hash,
            tally=campaign.tally,
            position=self._counts.position,
            at=now(),
            fit=self._figures.get(kind),
        )
        with metrics.timed(metrics.WORK, "publish"):
            head = self._heads.at(snapshot.log_position)
            self._store.snapshots.publish(self._lease, snapshot, head)
            self._has_head(head)
        if board.pairs is not None:
            self._save_pairs(snapshot, board.pairs)
        campaign.published.add(key.category)
        self._warm[key] = board.warm
        self._published[key] = (snapshot.log_position, snapshot.config_hash)
        ended = time.monotonic()
        pace = _OTHER_METHODS_SECONDS if key.other else _PUBLISH_SECONDS
        self._rests_until[key] = ended + max(pace, _SHARE_OF_TIME * (ended - started))
        self._live.announce(snapshot.announcement())
        _log.info("published %s at log position %d", key, snapshot.log_position)

    def _decide(self) -> None:
        """Append the records of decisions that are due; they count once they are sealed."""
        for name, campaign in self._campaigns.items():
            due = campaign.asked or decision_is_due(campaign.tally, campaign.decided_at)
            if not (campaign.automatic and due):
                continue
            campaign.asked, campaign.decided_at = False, campaign.tally.graded()
            with self._alone(f"the decision about {name}"):
                record = decision(name, campaign.tally)
                self._store.votes.append([(record, None)], self._lease)
                _log.info("method of %s: %s", name, record.reason)

    def tell(self) -> bool:
        """Append the dated records that the log lacks; True when it is to be sealed again."""
        if time.monotonic() < self._tell_at:
            return False
        self._tell_at = time.monotonic() + _TELL_SECONDS
        campaigns = [campaign.id for campaign in self._store.campaigns.all()]
        if self.seal() == _SEAL_BATCH:  # what an import says of a campaign came with it
            return True
        told = 0
        with self._alone("telling what changed"):
            told = self._teller.tell(campaigns)
        if told:
            self._tell_at = -math.inf
            _log.info("told %d changes of campaigns and models", told)
        return told > 0

    # --- keeping house --------------------------------------------------------------------------

    def erase_old(self) -> None:
        """Erase the text of battles that are older than the retention, a few at a time."""
        if self._retention is None:
            return
        until = rfc3339(datetime.now(UTC) - self._retention)
        self._erase_old_battles(until)
        self._erase_old_restored(until)

    def _erase_old_battles(self, until: str) -> None:
        if time.monotonic() < self._erase_at:
            return
        old = self._store.battles.kept(until, _ERASE_BATCH)
        if old:
            self._store.votes.erase(old, RETENTION, lease=self._lease)
            _log.info("erased the text of %d battles begun before %s", len(old), until)
        if len(old) < _ERASE_BATCH:
            self._erase_at = time.monotonic() + _ERASE_SECONDS

    def _erase_old_restored(self, until: str) -> None:
        """The same of votes whose battles are in the system that their log came from."""
        if time.monotonic() < self._erase_restored_at:
            return
        old = self._store.votes.kept(until, _ERASE_BATCH)
        if old:
            self._store.votes.erase_votes(old, RETENTION, lease=self._lease)
            _log.info("erased the text of %d restored votes from before %s", len(old), until)
        if len(old) < _ERASE_BATCH:
            self._erase_restored_at = time.monotonic() + _ERASE_RESTORED_SECONDS

    def _tell_void_rates(self) -> None:
        """Publish them here, once for all: web processes that count alone would differ."""
        if time.monotonic() < self._void_rates_at:
            return
        self._void_rates_at = time.monotonic() + _VOID_RATES_SECONDS
        rates = self._store.battles.void_rates()
        if rates != self._void_rates:
            self._store.figures.save_void_rates(self._lease, rates)
            self._void_rates = rates

    def _thin(self) -> None:
        if time.monotonic() >= self._thin_at:
            self._thin_at = time.monotonic() + _THIN_SECONDS
            give_back()
            old = boards.superseded(self._store.snapshots.published(), datetime.now(UTC))
            if old:
                self._store.snapshots.drop(self._lease, old[:_THIN_BATCH])
            self._store.trees.drop_heads(self._lease, rfc3339(datetime.now(UTC) - _DOWNLOADS_TAKE))
            if len(old) > _THIN_BATCH:
                self._thin_at = time.monotonic()
