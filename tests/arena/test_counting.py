"""Pages of the counted log: kept or made anew, the boards are the same."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import Any

import pytest

import arena.counting
from arena.counting import Page, Pages
from arena.interfaces import Counted, Lease
from arena.leaderboard import Method, compute, method_record
from arena.records import IDENTITY_LEAK
from arena.tally import Tally
from tests.fakes import CAMPAIGN, FakeStore, a_remark, a_vote

PAGE = 32


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena.counting, "PAGE", PAGE)
    monkeypatch.setattr(arena.counting, "_BATCH", 7)  # no divisor of a page


class Log:
    """A log that grows, and the worker's lease on it."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.store.campaigns.add(CAMPAIGN)
        self.random = random.Random(5)  # noqa: S311  reproducible votes
        self.number = 0
        lease = self.store.leases.take("worker", "w", None)
        assert isinstance(lease, Lease)
        self.lease = lease

    def votes(self, count: int) -> None:
        rows = []
        for _ in range(count):
            self.number += 1
            a, b = self.random.sample(["m0", "m1", "m2"], 2)
            campaign = self.random.choice(["online", "other"])
            odd = self.random.random() < 0.1
            row = a_vote(
                f"v{self.number}",
                campaign=campaign,
                model_a=a,
                model_b=a if odd else b,
                voter=self.random.choice([None, "p1", "p2"]),
                language=self.random.choice([None, "zh", "en"]),
            )
            rows.append(row)
        self.store.votes.append(rows)
        self.store.votes.seal(self.lease, 1_000)

    def remark(self, kind: str, target: str, reason: str = "spam") -> None:
        self.number += 1
        self.store.votes.append([a_remark(f"x{self.number}", kind, target, reason)])
        self.store.votes.seal(self.lease, 1_000)

    def pages(self, position: int = 0) -> list[Page]:
        return list(Pages(self.store, self.lease).after(position))


def counted(pages: list[Page]) -> dict[str, Any]:
    """Everything that boards are made of: tallies and events."""
    found: dict[str, Any] = {"events": [event for page in pages for event in page.events]}
    for campaign in ("online", "other"):
        tally = Tally()
        for page in pages:
            if campaign in page.campaigns():
                page.count(campaign, tally)
        found[campaign] = {
            key: (tally.votes(key), tally.voters(key), compute(tally, Method(), category=key).rows)
            for key in tally.categories()
        }
    return found


def afresh(log: Log) -> dict[str, Any]:
    """The same, counted record by record without any page."""
    records: list[Counted] = log.store.votes.counted(0, 10_000)
    pages = Pages(log.store, log.lease)
    return counted([Page.of([record], pages._vote_at) for record in records])


@pytest.mark.parametrize("votes", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 3 * PAGE + 5])
def test_pages_kept_or_made_anew_count_the_same(votes: int) -> None:
    log = Log()
    if votes:
        log.votes(votes)
    first = log.pages()
    assert counted(first) == afresh(log)
    assert sorted(log.store.pages.kept) == list(range(votes // PAGE))
    again = log.pages()
    assert counted(again) == afresh(log)
    assert [page.last for page in again[: votes // PAGE]] == [
        (number + 1) * PAGE for number in range(votes // PAGE)
    ]


def test_pages_are_kept_as_the_log_grows_past_them() -> None:
    log, position = Log(), 0
    for votes in (1, PAGE - 2, 3, 2 * PAGE, 1):
        log.votes(votes)
        position = max((page.last for page in log.pages(position)), default=position)
    assert sorted(log.store.pages.kept) == [0, 1, 2]
    assert counted(log.pages()) == afresh(log)


def test_what_is_said_of_a_vote_comes_with_its_place() -> None:
    log = Log()
    log.votes(5)
    log.remark("flag", "v2")
    log.remark("exclusion", "v2")
    log.remark("flag", "v3", IDENTITY_LEAK)
    log.remark("flag", "unknown", IDENTITY_LEAK)
    log.store.votes.append([(method_record("online", "why", Method("elo")), None)])
    log.votes(PAGE)
    log.pages()
    (page, *_) = log.pages()
    flag, exclusion, leak, stray, method = page.events
    place, leaked = (
        next(row for row in log.store.votes.counted(0, 9) if row.id == vote)
        for vote in ("v2", "v3")
    )
    assert (flag.vote, exclusion.vote) == (None, (place.campaign, 2))
    assert (leak.vote, stray.vote) == ((leaked.campaign, 3), None)
    assert method.data is not None and method.data["method"]["name"] == "elo"


@pytest.mark.parametrize("spoil", [lambda _: b"", lambda data: data[:-30], lambda data: data[30:]])
def test_a_damaged_page_is_made_anew(spoil: Any) -> None:
    log = Log()
    log.votes(PAGE)
    log.pages()
    good = log.store.pages.kept[0]
    log.store.pages.kept[0] = spoil(good)
    assert Page.from_bytes(log.store.pages.kept[0]) is None
    assert counted(log.pages()) == afresh(log)
    assert Page.from_bytes(log.store.pages.kept[0]) is not None


def test_no_flipped_bit_goes_unseen_or_stops_the_worker() -> None:
    log = Log()
    log.votes(PAGE)
    log.pages()
    good = log.store.pages.kept[0]
    for place in range(len(good)):
        flipped = good[place] ^ 1 << log.random.randrange(8)
        assert Page.from_bytes(good[:place] + bytes([flipped]) + good[place + 1 :]) is None


def test_a_whole_page_in_the_place_of_another_is_made_anew() -> None:
    log = Log()
    log.votes(2 * PAGE)
    log.pages()
    kept = log.store.pages.kept
    expected = dict(kept)
    kept[0] = kept[1]
    assert counted(log.pages()) == afresh(log)
    assert kept == expected


def test_a_page_of_another_format_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    log.votes(PAGE)
    log.pages()
    before = log.store.pages.kept[0]
    monkeypatch.setattr(arena.counting, "_FORMAT", 0)
    log.pages()
    assert log.store.pages.kept[0] != before


WINNERS = ("model_a", "model_b", "tie", "both_bad", "", None)
MEANING = (2, "5e619d79efdba9503fd874522bc7462c4f20c52698f52a3c184ac386102ae71e")
"""The format, and a digest of what it makes of the records below."""


def test_a_page_means_what_it_meant_when_its_format_was_named() -> None:
    """Pages outlive the program that made them. When this fails, raise `_FORMAT`, then set both."""
    plain = Counted(0, "", "vote", "online", "m0", "m1", 1, "model_a", *[None] * 8)
    changes: list[dict[str, Any]] = [
        {"grade": grade, "winner": winner}
        for grade in (-3, -2, -1, 0, 1, 2, None)
        for winner in WINNERS
    ]
    changes += [
        {"model_b": "m0"},
        {"voter": "p1", "voter_kind": "judge", "propensity": 1 / 3},
        {"voter": "声", "language": "zh", "category_tag": "math", "turns": 3, "campaign": "other"},
        {"type": "exclusion", "target": "1"},
        {"type": "exclusion", "target": "nothing"},
        {"type": "flag", "target": "1"},
        {"type": "flag", "target": "1", "reason": IDENTITY_LEAK},
        {"type": "flag", "target": "nothing", "reason": IDENTITY_LEAK},
        {"type": "method", "data": {"method": {"name": "elo"}}},
    ]
    records = [
        replace(plain, seq=seq, id=str(seq), **change) for seq, change in enumerate(changes, 1)
    ]
    page = Page.of(records, {"1": ("online", 1)}.get)
    words = (page.first, page.last, page.models, page.kinds, page.events)
    digest = hashlib.sha256(repr(words).encode())
    for name, column in sorted(page.columns.items()):
        digest.update(f"{name} {column.dtype.str} ".encode() + column.tobytes())
    assert (arena.counting._FORMAT, digest.hexdigest()) == MEANING
