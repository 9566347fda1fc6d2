"""Which of the published boards are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from arena.boards import superseded
from arena.clock import rfc3339
from arena.interfaces import Published

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
