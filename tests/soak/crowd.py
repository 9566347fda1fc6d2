"""Voters who keep battling and voting whatever happens, and the book of what they were promised."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.voter import Seen, Voter

_RETRY_SECONDS = 0.1
_REQUEST_SECONDS = 6.0
_PATIENCE_SECONDS = 240.0
_TURNS = 3


@dataclass(frozen=True)
class Promise:
    """An acknowledged vote."""

    battle: str
    grade: int
    receipt: str


@dataclass
class Book:
    """What voters tried, what they were promised, and what should never have happened."""

    promises: list[Promise] = field(default_factory=list)
    tried: dict[str, int] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)


class _GaveUp(Exception):
    """The soak is over, or the arena did not come back."""


class Crowd:
    """So many voters, each in a thread of its own, as a context manager.

    At the end everybody ends the battle that they are in.
    """

    def __init__(self, url: str, size: int, seed: str, book: Book) -> None:
        self.book = book
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._live,
                args=(url, random.Random(f"{seed}/{number}")),  # noqa: S311  reproducible choices
                name=f"voter-{number}",
            )
            for number in range(size)
        ]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def _live(self, url: str, rng: random.Random) -> None:
        while not self._closing.is_set():
            try:
                with Voter(url, timeout=_REQUEST_SECONDS) as voter:
                    person = Person(voter, self.book, rng)
                    for _ in range(rng.randint(1, 8)):
                        self.book.outcomes[person.battle()] += 1
                        if self._closing.wait(rng.uniform(0, 0.3)):
                            return
            except _GaveUp as reason:
                self.book.complaints.append(str(reason))
            except Exception as error:  # noqa: BLE001  a voter that dies must be heard of
                self.book.complaints.append(f"{type(error).__name__}: {error}")


class Person:
    """One voter's way through battles, trying again as a browser does."""

    def __init__(self, voter: Voter, book: Book, rng: random.Random) -> None:
        self._voter = voter
        self._book = book
        self._rng = rng

    def battle(self) -> str:
        """One battle to its end; how it ended."""
        started = self._insist(self._start, "start")
        if started.status_code != 201:
            return f"start refused: {started.status_code}"
        battle = str(started.json()["id"])
        for turn in range(1, _TURNS + 1):
            if self._follow(battle) == "void" and turn == 1:
                return "void"
            if turn == _TURNS or self._rng.random() > 0.1:
                break
            self._insist(lambda: self._follow_up(battle), "follow up", (201, 409))
        choice = self._rng.random()
        if choice < 0.05:
            return "left"
        if choice < 0.1:
            self._insist(lambda: self._post(battle, "skip"), "skip", (204,))
            return "skipped"
        return self._vote(battle)

    def _start(self) -> httpx.Response:
        return self._voter.http.post("/api/battles", json={"prompt": "Say something."})

    def _follow_up(self, battle: str) -> httpx.Response:
        return self._post(battle, "turns", {"prompt": "And why?"})

    def _post(self, battle: str, act: str, body: Any = None, key: str = "") -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return self._voter.http.post(f"/api/battles/{battle}/{act}", json=body, headers=headers)

    def _follow(self, battle: str) -> str:
        """Follow the stream of the latest turn to its end, and compare it with what is kept."""
        seen, end = Seen(), time.monotonic() + _PATIENCE_SECONDS
        while seen.end is None:
            try:
                for _ in self._voter.events(battle, seen):
                    pass
            except httpx.TransportError:
                time.sleep(_RETRY_SECONDS)
            if time.monotonic() > end:
                raise _GaveUp(f"battle {battle} is stuck: {self._voter.look(battle)}")
        whole = self._insist(lambda: self._voter.http.get(f"/api/battles/{battle}"), "look").json()
        last = whole["turns"][-1]
        if last["state"] == "ready":
            kept = {"a": last["answer_a"], "b": last["answer_b"]}
            if seen.texts != kept:
                self._book.complaints.append(f"{battle} showed {seen.texts}, and keeps {kept}")
        return str(whole["state"])

    def _vote(self, battle: str) -> str:
        grade, key = self._rng.randint(-2, 2), f"key-{battle}"
        self._book.tried[battle] = grade
        ballot = {"grade": grade}
        answer = self._insist(lambda: self._post(battle, "vote", ballot, key), "vote", (200,))
        if answer.status_code != 200:
            return f"vote refused: {answer.status_code}"
        self._book.promises.append(Promise(battle, grade, answer.json()["receipt"]))
        if self._rng.random() < 0.2:
            again = self._insist(lambda: self._post(battle, "vote", ballot, key), "vote again")
            if again.content != answer.content:
                self._book.complaints.append(f"{battle}: {answer.text} became {again.text}")
            self._insist(lambda: self._post(battle, "vote", ballot, "other"), "revote", (409,))
        return "voted"

    def _insist(
        self, ask: Callable[[], httpx.Response], what: str, wanted: tuple[int, ...] = (200, 201)
    ) -> httpx.Response:
        """Ask until there is an answer that is neither an outage nor 'too many'."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                answer = ask()
            except httpx.TransportError:
                time.sleep(_RETRY_SECONDS)
                continue
            if answer.status_code == 500:
                self._book.complaints.append(f"{what}: {answer.text}")
            if answer.status_code not in (429, 500, 502, 503, 504):
                if answer.status_code not in wanted:
                    self._book.complaints.append(f"{what}: {answer.status_code} {answer.text}")
                return answer
            time.sleep(_RETRY_SECONDS)
        raise _GaveUp(f"the arena did not come back for a voter who wanted to {what}")
