"""Work that many threads bring at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from arena.errors import Unavailable
from arena.together import Together
from tests.services import wait_until


class Rounds:
    """Work that waits in its first round until it may go on, and remembers what it was given."""

    def __init__(self, most: int = 64) -> None:
        self.given: list[list[int]] = []
        self.may_go_on = threading.Event()
        self.together = Together(self.work, most)

    def work(self, items: Sequence[int]) -> list[int]:
        self.given.append(list(items))
        assert self.may_go_on.wait(10)
        if 13 in items:
            raise ValueError("13 cannot be done")
        if 99 in items:
            raise Unavailable("away")
        if items == [66]:
            raise SystemExit
        return [10 * item for item in items]

    def at_once(self, first: int, others: Sequence[int]) -> list[int | str]:
        """The results (or errors) of the first item, and of others that come meanwhile."""

        def do(item: int) -> int | str:
            try:
                return self.together.do(item)
            except (ValueError, Unavailable, SystemExit) as error:
                return type(error).__name__

        with ThreadPoolExecutor(1 + len(others)) as pool:
            begun = [pool.submit(do, first)]
            wait_until(lambda: self.given, what="the first round")
            for place, item in enumerate(others, 1):
                begun.append(pool.submit(do, item))
                wait_until(lambda n=place: len(self.together._waiting) == n, what="the others")
            self.may_go_on.set()
            return [one.result(10) for one in begun]


def test_what_comes_during_a_round_is_done_in_the_next_one_together() -> None:
    rounds = Rounds()
    assert rounds.at_once(1, [2, 3, 4]) == [10, 20, 30, 40]
    assert [sorted(given) for given in rounds.given] == [[1], [2, 3, 4]]


def test_a_round_takes_no_more_than_it_may() -> None:
    rounds = Rounds(most=2)
    assert rounds.at_once(1, [2, 3, 4]) == [10, 20, 30, 40]
    assert [len(given) for given in rounds.given] == [1, 2, 1]


def test_an_item_that_fails_fails_no_other() -> None:
    rounds = Rounds()
    assert rounds.at_once(1, [2, 13, 4]) == [10, 20, "ValueError", 40]


def test_an_outage_is_everybodys_and_is_not_tried_again_for_each() -> None:
    rounds = Rounds()
    assert rounds.at_once(1, [2, 99, 4]) == [10, *["Unavailable"] * 3]
    assert len(rounds.given) == 2


def test_an_outage_that_comes_between_items_is_not_tried_again_for_each() -> None:
    rounds = Rounds()
    assert rounds.at_once(1, [13, 99, 4]) == [10, "ValueError", "Unavailable", "Unavailable"]
    assert rounds.given[2:] == [[13], [99]]


def test_a_thread_that_ends_amid_others_says_so_to_all_that_it_has_not_done() -> None:
    rounds = Rounds()
    assert rounds.at_once(1, [13, 66, 4]) == [10, "ValueError", "SystemExit", "SystemExit"]


def test_who_is_done_does_not_wait_for_the_next_round() -> None:
    may_end = [threading.Event() for _ in range(3)]
    begun: list[Sequence[int]] = []

    def work(items: Sequence[int]) -> Sequence[int]:
        begun.append(items)
        assert may_end[len(begun) - 1].wait(10)
        return items

    together = Together(work, 64)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(together.do, 0)
        wait_until(lambda: len(begun) == 1, what="the first round")
        second = [pool.submit(together.do, item) for item in (1, 2, 3, 4)]
        wait_until(lambda: len(together._waiting) == len(second), what="the others")
        may_end[0].set()
        wait_until(lambda: len(begun) == 2, what="the second round")
        third = pool.submit(together.do, 5)
        wait_until(lambda: together._waiting, what="the last")
        may_end[1].set()
        try:
            assert [one.result(5) for one in (first, *second)] == [0, 1, 2, 3, 4]
        finally:
            may_end[2].set()
        assert third.result(5) == 5


def test_nobody_waits_for_a_thread_that_ended_in_its_round() -> None:
    def work(items: Sequence[int]) -> list[int]:
        raise SystemExit(f"in the midst of {items}")

    together = Together(work, 64)
    for item in (1, 2):
        with pytest.raises(SystemExit):
            together.do(item)
