"""The runner: streams both endpoints of every running battle, paces what voters see, and commits.

Threads: one per answer reads its endpoint; one paces all battles on a fixed tick and is the only
writer of frames; a few commit, so that an fsync never holds up a stream; one keeps the lease and
hears of stops and skips; one probes models that rest; the main one takes in battles.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
from functools import partial

from arena import identity, logs, metrics
from arena.battle import FAILED, INTERRUPTED, SIDES, Answer, Battle, Frame, Leak, Message, Side
from arena.breaker import Prober
from arena.checkup import Checkup
from arena.errors import EndpointError, LeaseLost, LiveLost, Unavailable
from arena.interfaces import (
    AnswerStream,
    Deadlines,
    EndpointFactory,
    Finished,
    Lease,
    LiveBuffer,
    LiveFrame,
    ModelEntry,
    Store,
)
from arena.leases import RUNNER, Watch
from arena.pacing import Lockstep

_log = logging.getLogger(__name__)

_TRIES = 5  # waits of 0.5, 1, 2 and 4 seconds: a restarting endpoint comes back
_RETRY_SECONDS = 0.5
_COMMIT_RETRY_SECONDS = 1.0
_COMMITTERS = 4
_SIGNAL_SECONDS = 0.4


@dataclass(slots=True)
class _Side:
    """One answer on its way. `arrived` is filled by its reader, everything else by the pacer."""

    model: ModelEntry
    messages: Sequence[Message]
    lookout: identity.Lookout
    arrived: deque[str] = field(default_factory=deque)
    pending: str = ""
    shown: list[str] = field(default_factory=list)
    shown_length: int = 0
    shows_text: bool = False
    stream: AnswerStream | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    stopped: bool = False
    finished: Finished | None = None
    failed_at: float = math.inf
    error: EndpointError | None = None
    ttft: float | None = None
    duration: float | None = None

    def cancel(self) -> None:
        self.cancelled.set()
        if self.stream is not None:
            self.stream.cancel()

    def fail(self, error: EndpointError) -> None:
        self.failed_at, self.error = time.monotonic(), error

    def receive(self) -> int:
        """Take in what has arrived; returns the number of code points received so far."""
        while self.arrived:
            self.pending += self.arrived.popleft()
        return self.shown_length + len(self.pending)

    def show(self, step: int) -> str:
        text, self.pending = self.pending[:step], self.pending[step:]
        self.shown.append(text)
        self.lookout.see(text)
        self.shown_length += len(text)
        self.shows_text = self.shows_text or bool(text.strip())
        return text

    def answer(self) -> Answer:
        """What was shown. Stopped by the voter, its end is that, though the endpoint's came too."""
        finished = None if self.stopped else self.finished
        finished = finished or Finished("stopped")
        return Answer(
            "".join(self.shown), finished.reason, finished.tokens, self.ttft, self.duration
        )


@dataclass(slots=True)
class _RunningTurn:
    """One turn of one battle while it is streamed."""

    battle: Battle
    number: int
    sides: tuple[_Side, _Side]
    frames: list[Frame] = field(default_factory=list)
    stopping: bool = False
    ending: bool = False
    pace: Lockstep = field(default_factory=Lockstep)
    context: Context = field(default_factory=copy_context)
    taken_in: float = field(default_factory=time.monotonic)

    def tick(self, now: float) -> LiveFrame | None:
        """Advance both sides in lockstep; None when there is nothing to show.

        `now` is by the clock of `taken_in`.
        """
        if self.stopping and not self.stoppable:
            self.pace.latest = 0.0  # what is there to judge comes at once
        a, b = self.sides
        ended = a.finished is not None, b.finished is not None  # before receiving
        step = self.pace.step(now - self.taken_in, (a.receive(), b.receive()), ended)
        if step == (0, 0):
            return None
        frame = Frame(a.show(step[0]), b.show(step[1]))
        self.frames.append(frame)
        if len(self.frames) == 1:
            metrics.FIRST_FRAME.labels(metrics.here()).observe(now - self.taken_in)
        return LiveFrame(self.battle.id, self.number, len(self.frames) - 1, frame)

    def failure(self) -> tuple[Side, EndpointError] | None:
        """The side that failed first: it ended the turn, and the other may yet have answered."""
        first = min((0, 1), key=lambda index: self.sides[index].failed_at)
        error = self.sides[first].error
        return None if error is None else (SIDES[first], error)

    @property
    def complete(self) -> bool:
        return all(
            side.finished is not None and not side.arrived and not side.pending
            for side in self.sides
        )

    @property
    def stoppable(self) -> bool:
        """A stop waits until there is something of both sides to judge."""
        return self.stopping and all(side.shows_text for side in self.sides)

    def stop(self) -> None:
        """End both answers where they are shown to be: alike, whichever was complete already."""
        for side in self.sides:
            side.stopped = True

    def cancel(self) -> None:
        for side in self.sides:
            side.cancel()

    def leaks(self) -> list[Leak]:
        """The names that the shown text gives away, one of a side at most."""
        found = zip(SIDES, (side.lookout.found() for side in self.sides), strict=True)
        return [Leak(side, name) for side, name in found if name is not None]

    def steps(self) -> list[tuple[int, int]]:
        return [(len(frame.a), len(frame.b)) for frame in self.frames]


class Runner:
    """Streams battles until told to stop. Any number of runners may share a store."""

    def __init__(
        self,
        store: Store,
        live: LiveBuffer,
        endpoints: EndpointFactory,
        *,
        deadlines: Deadlines,
        tick: float,
        capacity: int,
        poll: float,
        lease_seconds: float,
    ) -> None:
        self.id = secrets.token_hex(8)
        self._store = store
        self._live = live
        self._endpoints = endpoints
        self._deadlines = deadlines
        self._tick = tick
        self._capacity = capacity
        self._poll = poll
        self._beat_seconds = lease_seconds / 3
        self._others = Watch(store.leases, lease_seconds)
        self._prober = Prober(store, Checkup(endpoints, deadlines), deadlines.total)
        self._turns: dict[str, _RunningTurn] = {}
        self._claiming: str | None = None
        self._redis_away = False
        self._lock = threading.Lock()
        self._committers = ThreadPoolExecutor(_COMMITTERS, thread_name_prefix="commit")
        self._closing = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then void what is still running, so that nothing is stuck."""
        lease = self._store.leases.take(_lease_name(self.id), self.id, None)
        if lease is None:
            raise LeaseLost(f"runner {self.id} cannot register")
        helpers = [
            threading.Thread(target=self._pace, name="pace"),
            threading.Thread(target=self._watch, args=(lease,), name="watch"),
            threading.Thread(target=self._prober.run, args=(self._closing,), name="probes"),
        ]
        for thread in helpers:
            thread.start()
        try:
            self._take_in(stop)
        finally:
            self._closing.set()
            for thread in helpers:
                thread.join()
            for turn in self._running():
                self._end(turn, self._let_go)
            self._committers.shutdown(wait=True)
            self._void_unknown(self._store.battles.claimed().get(self.id, []))
            self._store.leases.forget(lease.name)

    # --- taking in --------------------------------------------------------------------------

    def _take_in(self, stop: threading.Event) -> None:
        polled = -math.inf
        while not stop.is_set():
            if len(self._turns) >= self._capacity:
                stop.wait(self._tick)
                continue
            try:
                if time.monotonic() - polled >= self._poll:
                    polled = time.monotonic()
                    logs.bind(request_id=None)  # that of the last wake-up
                    for battle_id in self._store.battles.waiting():
                        self._begin(battle_id)
                woken = self._live.next_battle(self._poll)
                if woken is not None:
                    self._begin(woken)
            except Unavailable as error:
                _log.warning("cannot take in battles: %s", error)
                stop.wait(self._poll)

    def _begin(self, battle_id: str) -> None:
        """Claim a battle and stream it. A claim that fails half-way is found by `_watch`."""
        if len(self._turns) >= self._capacity:
            return
        self._claiming = battle_id
        try:
            battle = self._store.battles.claim(battle_id, self.id)
            if battle is None:
                return
            turn = self._prepared(battle)
            with self._lock:
                self._turns[battle_id] = turn
        finally:
            self._claiming = None
        self._tell_running()
        turn.context.run(_log.info, "streams a turn")
        for side in turn.sides:
            run = turn.context.copy().run
            threading.Thread(target=run, args=(self._read, side), name="read", daemon=True).start()

    def _prepared(self, battle: Battle) -> _RunningTurn:
        whole = self._store.battles.whole(battle.id)
        assert whole is not None  # noqa: S101  it has just been claimed
        entries = {entry.id: entry for r in self._store.roster.history() for entry in r.entries}
        models = [entries[battle.model(side)] for side in SIDES]
        names = identity.names_of(models, whole.prompts())
        a, b = (
            _Side(model, whole.messages(side), identity.Lookout(names))
            for model, side in zip(models, SIDES, strict=True)
        )
        context = logs.context(battle=battle.id, turn=battle.turn)
        pace = Lockstep(self._deadlines.total)
        return _RunningTurn(battle, battle.turn, (a, b), pace=pace, context=context)

    # --- reading one answer -----------------------------------------------------------------

    def _read(self, side: _Side) -> None:
        started, outcome = time.monotonic(), "answered"
        try:
            self._read_with_retries(side, started)
        except EndpointError as error:
            outcome = "cancelled" if side.cancelled.is_set() else type(error).__name__
            side.fail(error)
        except Exception as error:  # noqa: BLE001  a defect of ours is a failed side, not a hang
            _log.exception("reading from %s met a defect of ours", side.model.id)
            outcome = "defect"
            side.fail(EndpointError(f"internal: {type(error).__name__}"))
        side.duration = round(time.monotonic() - started, 3)
        _tell_answer(side, outcome)

    def _read_with_retries(self, side: _Side, started: float) -> None:
        """Before its first byte the same model may be asked again; after it, never."""
        first_byte = self._deadlines.first_byte
        for attempt in range(1, _TRIES + 1):
            try:
                self._read_once(side, started, first_byte)
                return
            except EndpointError as error:
                wait = error.retry_after or _RETRY_SECONDS * 2 ** (attempt - 1)
                left = self._deadlines.first_byte - (time.monotonic() - started)
                first_byte = left - wait
                if (
                    not error.retryable
                    or side.ttft is not None
                    or side.cancelled.is_set()
                    or attempt == _TRIES
                    or first_byte <= 0
                ):
                    raise
                side.cancelled.wait(wait)

    def _read_once(self, side: _Side, started: float, first_byte: float) -> None:
        deadlines = replace(self._deadlines, first_byte=first_byte)
        side.stream = self._endpoints(side.model).ask(side.messages, deadlines)
        if side.cancelled.is_set():  # between the last look and now
            side.stream.cancel()
        for piece in side.stream:
            if isinstance(piece, Finished):
                side.duration = round(time.monotonic() - started, 3)
                side.finished = piece
            else:
                if side.ttft is None:
                    side.ttft = round(time.monotonic() - started, 3)
                side.arrived.append(piece)

    # --- pacing -----------------------------------------------------------------------------

    def _pace(self) -> None:
        due = time.monotonic()
        while not self._closing.is_set():
            due = max(due + self._tick, time.monotonic())
            self._closing.wait(due - time.monotonic())
            metrics.TICK_LAG.labels(metrics.here()).observe(max(0.0, time.monotonic() - due))
            try:
                self._pace_once()
            except Exception:  # noqa: BLE001  the other battles go on
                _log.exception("a tick failed")

    def _pace_once(self) -> None:
        frames, complete = [], []
        for turn in self._running():
            failure = turn.failure()  # before the other side is cancelled, which looks like one
            if failure is not None:
                self._end(turn, partial(self._fail, failure=failure))
                continue
            if turn.stoppable:
                turn.stop()
                self._end(turn, self._finish)
                continue
            frame = turn.tick(time.monotonic())
            if frame is not None:
                frames.append(frame)
            if turn.complete:
                complete.append(turn)
        self._push(frames)
        for turn in complete:  # so that the end is told after the last frames
            self._end(turn, self._finish)

    def _push(self, frames: Sequence[LiveFrame]) -> None:
        """Without Redis nothing is lost: a list with a gap is written anew from memory."""
        try:
            metrics.FRAMES.labels(metrics.here()).inc(len(frames))
            for battle_id in self._live.push(frames):
                turn = self._turns.get(battle_id)
                if turn is not None:
                    self._live.replace(battle_id, turn.number, turn.frames)
            self._redis_away = False
        except LiveLost as error:
            if not self._redis_away:  # said once, not at every tick
                _log.warning("frames wait for Redis: %s", error)
            self._redis_away = True

    def _running(self) -> list[_RunningTurn]:
        with self._lock:
            return [turn for turn in self._turns.values() if not turn.ending]

    # --- ending a turn ----------------------------------------------------------------------

    def _end(self, turn: _RunningTurn, commit: Callable[[_RunningTurn], bool]) -> None:
        """Take the turn out of the pacing and commit its end off this thread."""
        with self._lock:
            if turn.ending:
                return
            turn.ending = True
        turn.cancel()
        self._committers.submit(turn.context.copy().run, self._commit, turn, commit)

    def _commit(self, turn: _RunningTurn, commit: Callable[[_RunningTurn], bool]) -> None:
        """Commit, however long the database is away: the answers exist only here until then."""
        try:
            while not self._committed(turn, commit):
                if self._closing.wait(_COMMIT_RETRY_SECONDS):
                    return  # the next runner finds the battle abandoned and voids it
            _log.info("the turn's end is committed")
            self._live.ended(turn.battle.id, turn.number)
        except Exception:  # noqa: BLE001  in a pool nobody else would hear of it
            _log.exception("the end of %s cannot be stored; it will be void", turn.battle.id)
        finally:
            with self._lock:
                if self._turns.get(turn.battle.id) is turn:  # and not its follow-up already
                    del self._turns[turn.battle.id]
            self._tell_running()

    def _tell_running(self) -> None:
        metrics.TURNS_RUNNING.labels(metrics.here()).set(len(self._turns))

    @staticmethod
    def _committed(turn: _RunningTurn, commit: Callable[[_RunningTurn], bool]) -> bool:
        try:
            commit(turn)
        except Unavailable as error:
            _log.warning("the end of %s waits for the database: %s", turn.battle.id, error)
            return False
        return True

    @metrics.timed(metrics.TURN_COMMITS, "ready")
    def _finish(self, turn: _RunningTurn) -> bool:
        a, b = turn.sides
        return self._store.battles.finish_turn(
            turn.battle.id,
            turn.number,
            (a.answer(), b.answer()),
            turn.steps(),
            self.id,
            leaks=turn.leaks(),
        )

    @metrics.timed(metrics.TURN_COMMITS, "failed")
    def _fail(self, turn: _RunningTurn, failure: tuple[Side, EndpointError]) -> bool:
        side, error = failure
        kind, model = type(error).__name__, turn.battle.model(side)
        # what the endpoint said may quote the prompt, so it goes to SQL and not to a log line
        _log.warning("battle %s is void: %s of %s", turn.battle.id, kind, model)
        return self._store.battles.fail_turn(
            turn.battle.id,
            turn.number,
            reason=FAILED,
            side=side,
            error=f"{kind}: {error}",
            runner=self.id,
            retry_after=error.retry_after,
        )

    @metrics.timed(metrics.TURN_COMMITS, "interrupted")
    def _let_go(self, turn: _RunningTurn) -> bool:
        """The voter left (then it is skipped already, perhaps erased), or this runner stops."""
        with suppress(LiveLost):  # then it goes by itself, when its time is over
            self._live.replace(turn.battle.id, turn.number, [])
        return self._void(turn.battle.id, turn.number, self.id)

    def _void(self, battle_id: str, number: int, runner: str) -> bool:
        """End a turn by nobody's failure."""
        return self._store.battles.fail_turn(
            battle_id, number, reason=INTERRUPTED, side=None, error=None, runner=runner
        )

    # --- the lease, stops and skips, and runners that died -------------------------------------

    def _watch(self, lease: Lease) -> None:
        beat = time.monotonic()
        while not self._closing.wait(_SIGNAL_SECONDS):
            try:
                self._hear_voters()
                self._void_abandoned()
                if time.monotonic() - beat >= self._beat_seconds:  # idle too: operators look
                    beat = time.monotonic()
                    self._store.leases.renew(lease)
            except Unavailable as error:
                _log.warning("cannot look after battles: %s", error)
            except Exception:  # noqa: BLE001  the lease must be kept
                _log.exception("looking after battles failed")

    def _hear_voters(self) -> None:
        with self._lock:
            ids = list(self._turns)
        if not ids:
            return
        for battle_id, wish in self._store.battles.interrupted(ids).items():
            turn = self._turns.get(battle_id)
            if turn is None:
                continue
            if wish == "stop":
                turn.stopping = True
            else:
                self._end(turn, self._let_go)

    def _void_abandoned(self) -> None:
        """Battles of runners that fell silent, and claims of ours that came to nothing.

        A silent runner's lease stays: should it only have been slow, it goes on with new battles.
        """
        claimed = self._store.battles.claimed()
        self._void_unknown(claimed.pop(self.id, []))
        self._others.keep_only([_lease_name(runner) for runner in claimed])
        for runner, held in claimed.items():
            if self._others.is_abandoned(_lease_name(runner)):
                for battle_id, number in held:
                    self._void(battle_id, number, runner)
                    self._live.ended(battle_id, number)

    def _void_unknown(self, held: Sequence[tuple[str, int]]) -> None:
        """End battles that carry our name and that we do not stream.

        One that we took in or ended since `held` was read is at another turn or state by now, so
        this does not touch it.
        """
        for battle_id, number in held:
            if battle_id != self._claiming and battle_id not in self._turns:
                self._void(battle_id, number, self.id)
                self._live.ended(battle_id, number)


def _tell_answer(side: _Side, outcome: str) -> None:
    """For the operator alone: how the model did. What it said, or why, is in SQL."""
    model, seconds = side.model.id, side.duration or 0.0
    metrics.CALLS.labels(model, outcome).inc()
    metrics.CALL_TIME.labels(model).observe(seconds)
    if side.ttft is not None:
        metrics.CALL_FIRST_TEXT.labels(model).observe(side.ttft)
    fields = {"model": model, "outcome": outcome, "ttft": side.ttft, "seconds": seconds}
    _log.info("an endpoint's answer ended", extra={"fields": fields})


def _lease_name(runner: str) -> str:
    return f"{RUNNER}{runner}"
