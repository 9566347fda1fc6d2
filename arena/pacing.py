"""How far both answers are shown at each tick, so that timing does not tell which model is where.

Both sides advance alike, the slower one setting the pace. That alone would tell who is slow at the
end of the shorter answer: if the slow model wrote it, the other one is done by then; if it wrote
the longer one, both stand still until it is done too. So the rest is shown no sooner than it would
come at the latest if the longer answer were the slower model's, whoever wrote it. That moment
follows from what was shown, and from nothing else; it is the same with the sides swapped. Only an
answer that comes still later can be noticed: `scripts/side_channels.py` measures how often, and
what the wait costs.

Pure: no clock, no text, no names on a page. Times are seconds since the turn began, amounts code
points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

_STEP = 8  # code points; whole chunks of an endpoint would show where its words end
_DRAIN_TICKS = 8  # what no longer waits is shown within about a second
_DRAIN_STEP = 48
_BLOCKS = 8  # waits in a row belong together: a stall may slow many steps
_ERRORS = 3  # standard errors: so seldom does the slower model's answer come later than foreseen
_END_SECONDS = 0.5  # some endpoints tell an answer's end, or count its tokens, after its last text
_MOST_TIMES = 10  # no wait is longer than so many times what came before it
_LEAST_SECONDS = 4.0  # but so long it may be in any case


def next_step(received: tuple[int, int], shown: tuple[int, int], complete: bool) -> tuple[int, int]:
    """How many more code points of each side to show at this tick.

    Until both answers are complete both sides show the same amount, a multiple of `_STEP`: what
    the slower one has. So neither the end of the shorter one nor the slower one's way of cutting
    its text into chunks can be seen.
    """
    if not complete:
        step = min(received) // _STEP * _STEP - shown[0]
        return step, step
    left = received[0] - shown[0], received[1] - shown[1]
    step = max(_DRAIN_STEP, math.ceil(max(left) / _DRAIN_TICKS))
    return min(step, left[0]), min(step, left[1])


@dataclass(frozen=True, slots=True)
class Step:
    """What was shown of both sides in lockstep, and how long after the step before it."""

    seconds: float
    amount: int


@dataclass(frozen=True, slots=True)
class Pace:
    """The pace of some steps: how long more code points take at the latest, going on like that."""

    amount: int
    mean: float
    """Seconds a code point."""
    variance: float
    """Of the seconds, a code point."""
    longest: float
    """Seconds between two steps; what is left may come in one piece after so long."""

    @classmethod
    def of(cls, steps: Sequence[Step]) -> Pace:
        """Of one step or more. The first one's time is that to the first token, so it counts only
        if there is no other."""
        known = steps[1:] or steps
        amount = sum(step.amount for step in known)
        mean = sum(step.seconds for step in known) / amount
        variances = []
        for size in {1, max(1, len(known) // _BLOCKS)}:
            blocks = [known[at : at + size] for at in range(0, len(known), size)]
            errors = [sum(step.seconds - mean * step.amount for step in block) for block in blocks]
            variances.append(sum(error**2 for error in errors) / amount)
        return cls(amount, mean, max(variances), max(step.seconds for step in known))

    def seconds(self, left: int) -> float:
        """The mean, some standard errors of a prediction (the mean is itself estimated), and the
        longest gap."""
        error = math.sqrt(self.variance * left * (1 + left / self.amount))
        return self.mean * left + _ERRORS * error + self.longest


@dataclass(slots=True)
class Lockstep:
    """The course of one turn, tick by tick. From second `latest` on no complete answer waits."""

    latest: float = math.inf
    shown: tuple[int, int] = (0, 0)
    steps: list[Step] = field(default_factory=list)
    _stepped: float = 0.0
    _due: float | None = None

    def step(
        self, now: float, received: tuple[int, int], ended: tuple[bool, bool]
    ) -> tuple[int, int]:
        """One tick: how many more code points of each side to show.

        `received` is what each side has by now, `ended` whether that is all.
        """
        step = self._together(now, received) if self._due is None else (0, 0)
        if step == (0, 0):
            step = self._rest(now, received, ended)
        self.shown = self.shown[0] + step[0], self.shown[1] + step[1]
        return step

    def _together(self, now: float, received: tuple[int, int]) -> tuple[int, int]:
        step = next_step(received, self.shown, False)
        if step[0]:
            self.steps.append(Step(now - self._stepped, step[0]))
            self._stepped = now
        return step

    def _rest(
        self, now: float, received: tuple[int, int], ended: tuple[bool, bool]
    ) -> tuple[int, int]:
        if not all(ended):
            return 0, 0
        if self._due is None:
            self._due = self._due_at(received)
        return (
            (0, 0) if now < min(self._due, self.latest) else next_step(received, self.shown, True)
        )

    def _due_at(self, received: tuple[int, int]) -> float:
        """The second before which the rest is not shown."""
        if not self.steps or received[0] == received[1]:
            return 0.0  # no pace was seen to go on at, or there is nothing to hide
        wait = _END_SECONDS + Pace.of(self.steps).seconds(max(received) - self.shown[0])
        return self._stepped + min(wait, max(_LEAST_SECONDS, _MOST_TIMES * self._stepped))
