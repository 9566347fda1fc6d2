"""Published boards: what is remembered of them for a moment, and which are kept."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from arena.boards import Boards, Recent, superseded
from arena.categories import TITLES
from arena.clock import rfc3339
from arena.interfaces import Published, Snapshot
from tests.fakes import CAMPAIGN, FakeStore

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def published(*ages: timedelta, method: str = "bt", first: int = 1) -> list[Published]:
    """Boards of these ages, oldest first."""
    moments = (rfc3339(NOW - age) for age in sorted(ages, reverse=True))
    return [
        Published(number, "online", "overall", method, moment)
        for number, moment in enumerate(moments, first)
    ]


def kept(boards: list[Published]) -> list[str]:
    dropped = set(superseded(boards, NOW))
    return [board.published_at for board in boards if board.id not in dropped]


def test_the_newest_twenty_are_kept_however_close_they_are():
    boards = published(*(timedelta(milliseconds=500 * i) for i in range(50)))
    assert superseded(boards, NOW) == [board.id for board in boards[:30]]


def test_older_ones_are_thinned_to_one_a_minute_an_hour_and_a_day():
    seconds = published(*(timedelta(seconds=10 * i) for i in range(6 * 60 * 24 * 4)))
    times = kept(seconds)[:-20]
    hour_ago, two_days_ago = rfc3339(NOW - timedelta(hours=1)), rfc3339(NOW - timedelta(days=2))
    minutes = [t for t in times if t >= hour_ago]
    hours = [t for t in times if two_days_ago <= t < hour_ago]
    days = [t for t in times if t < two_days_ago]
    assert len({t[:16] for t in minutes}) == len(minutes) > 50
    assert len({t[:13] for t in hours}) == len(hours) == 47
    assert len({t[:10] for t in days}) == len(days) == 3
    assert all(t[17:19] == "50" for t in minutes)  # the last of its minute


def test_boards_are_thinned_each_for_itself():
    ages = [timedelta(milliseconds=100 * i) for i in range(20)]
    boards = published(*ages) + published(*ages, method="elo", first=100)
    assert superseded(boards, NOW) == []


def test_what_was_thinned_once_is_not_thinned_further_at_the_same_time():
    boards = published(*(timedelta(minutes=7 * i) for i in range(2000)))
    dropped = set(superseded(boards, NOW))
    left = [board for board in boards if board.id not in dropped]
    assert superseded(left, NOW) == []
    assert superseded([], NOW) == []


def test_of_boards_that_are_not_the_campaigns_own_only_the_newest_is_kept():
    official = published(*(timedelta(seconds=i) for i in range(5)))
    others = [replace(board, id=board.id + 100, method="elo", official=False) for board in official]
    both = sorted(official + others, key=lambda board: board.published_at)
    assert superseded(both, NOW) == [101, 102, 103, 104]


# --- what is remembered for a moment ------------------------------------------------------------


def test_a_recent_answer_is_given_again_and_an_old_one_is_read_anew() -> None:
    asked: list[str] = []
    lasting, fleeting = Recent(60, asked.append), Recent(0, asked.append)
    for _ in range(3):
        lasting.get("a")
        fleeting.get("b")
    assert asked == ["a", "b", "b", "b"]


def test_while_one_reads_anew_the_others_have_what_was_known() -> None:
    reading, go_on = threading.Event(), threading.Event()
    answers = iter(["old", "new"])

    def read() -> str:
        answer = next(answers)
        if answer == "new":
            reading.set()
            assert go_on.wait(5)
        return answer

    recent = Recent(0.05, read)
    assert recent.get() == "old"
    threading.Event().wait(0.06)
    found: list[str] = []
    slow = threading.Thread(target=lambda: found.append(recent.get()))
    slow.start()
    assert reading.wait(5)
    assert recent.get() == "old"
    go_on.set()
    slow.join()
    assert found == ["new"]


def test_a_refusal_is_not_remembered() -> None:
    answers = iter([1, ValueError("away"), 2])

    def read() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    recent = Recent(0, read)
    assert recent.get() == 1
    with pytest.raises(ValueError, match="away"):
        recent.get()
    assert recent.get() == 2


def test_of_endlessly_many_keys_only_the_newest_are_remembered() -> None:
    asked: list[int] = []
    recent = Recent(60, asked.append, most=3)
    for key in range(9):
        recent.get(key)
    asked.clear()
    for key in (8, 7, 6, 5):
        recent.get(key)
    assert asked == [5]


def test_what_nobody_asks_for_any_more_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 2.0, 13.0, 14.0])
    monkeypatch.setattr("arena.boards.time.monotonic", lambda: next(clock))
    asked: list[str] = []
    recent = Recent(1.5, asked.append)
    for key in ("once", "often", "often", "often"):
        recent.get(key)
    assert asked == ["once", "often", "often"]
    assert recent._found.keys() == {("often",)}


def a_store(*boards: tuple[str, str]) -> FakeStore:
    """A store with an empty board of each category and method."""
    store = FakeStore()
    store.campaigns.add(CAMPAIGN)
    lease = store.leases.take("worker", "w", None)
    assert lease is not None
    for category, method in boards:
        store.snapshots.publish(
            lease,
            Snapshot(
                campaign="online",
                category=category,
                method=method,
                log_position=1,
                published_at="2026-01-02T03:04:05.678Z",
                config={},
                config_hash="0" * 64,
                rows=[],
                voters=0,
            ),
        )
    return store


def test_the_boards_on_offer_stand_in_the_order_of_menus() -> None:
    store = a_store(("zh", "bt"), ("people", "bt"), ("overall", "elo"), ("overall", "bt"))
    offered = Boards(store).offered(CAMPAIGN)["online"]
    assert list(offered) == ["overall", "people", "zh"]
    assert offered["overall"] == ["bt", "elo"]
    assert next(iter(TITLES)) == "people"


def test_a_category_that_is_no_longer_known_is_not_on_offer() -> None:
    assert Boards(a_store(("overall", "bt"), ("astrology", "bt"))).offered(CAMPAIGN) == {
        "online": {"overall": ["bt"]}
    }


def test_a_campaign_is_public_only_when_it_says_so() -> None:
    boards = Boards(a_store())
    assert boards.is_public("online")
    assert not boards.is_public("nowhere")
