"""A voter without a browser: an HTTP client with a cookie jar."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from tests.services import wait_until

T = TypeVar("T")


@dataclass
class Seen:
    """What the event stream of one turn has brought so far."""

    texts: dict[str, str] = field(default_factory=lambda: {"a": "", "b": ""})
    last_id: str | None = None
    end: str | None = None


class Voter:
    """One voter of an arena at `url`."""

    def __init__(self, url: str, timeout: float = 20) -> None:
        self.http = httpx.Client(base_url=url, timeout=timeout, trust_env=False)

    def __enter__(self) -> Voter:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def start(self, prompt: str = "Say something.") -> str:
        answer = self.http.post("/api/battles", json={"prompt": prompt})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def look(self, battle: str) -> dict[str, Any]:
        answer = self.http.get(f"/api/battles/{battle}")
        assert answer.status_code == 200, answer.text
        seen: dict[str, Any] = answer.json()
        return seen

    def wait_for(self, battle: str, state: str, timeout: float = 20) -> dict[str, Any]:
        return wait_until(
            lambda: (seen := self.look(battle))["state"] == state and seen, timeout, what=state
        )

    def events(self, battle: str, seen: Seen) -> Iterator[str]:
        """Follow the stream into `seen`, continuing after its last event; yields event names."""
        headers = {"Last-Event-ID": seen.last_id} if seen.last_id else {}
        name, event_id = "", ""
        with self.http.stream("GET", f"/api/battles/{battle}/events", headers=headers) as answer:
            for line in answer.iter_lines():
                key, _, value = line.partition(": ")
                if key == "event":
                    name = value
                elif key == "id":
                    event_id = value
                elif key == "data":
                    data = json.loads(value)
                    if name == "delta":
                        seen.texts[data["side"]] += data["text"]
                    else:
                        seen.end = name
                    seen.last_id = event_id
                    yield name

    def vote(self, battle: str, grade: int, key: str | None = None) -> httpx.Response:
        return self.http.post(
            f"/api/battles/{battle}/vote",
            json={"grade": grade},
            headers={"Idempotency-Key": key or secrets.token_hex(8)},
        )


def patiently(act: Callable[[], T], timeout: float = 30) -> T:
    """Do as a browser does when the server is away: try again."""
    end = time.monotonic() + timeout
    while True:
        try:
            result = act()
        except httpx.TransportError:
            pass
        else:
            if getattr(result, "status_code", 200) < 500:
                return result
        assert time.monotonic() < end, "the arena did not come back"
        time.sleep(0.1)


def voted_battle(url: str, grade: int) -> str:
    """One battle from prompt to acknowledged vote, by a voter who tries again; its receipt."""
    with Voter(url) as voter:
        battle = patiently(voter.start)
        patiently(lambda: voter.wait_for(battle, "ready"))
        key = f"key-{battle}"
        answer = patiently(lambda: voter.vote(battle, grade, key))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["receipt"])
