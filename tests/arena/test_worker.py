"""The worker: whatever happens, the published board is what a clean recompute of the log gives."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import arena.counting
import arena.worker
from arena.categories import UNFILTERED, of_vote
from arena.errors import Unavailable
from arena.events import Teller, missing
from arena.interfaces import Head, Lease, Snapshot, Store
from arena.leaderboard import METHOD_NAMES, Method, compute, config_hash, decision, method_record
from arena.merkle import root_of
from arena.records import IDENTITY_LEAK, Content, Record
from arena.store import open_store
from arena.store.engine import Database
from arena.store.migrate import upgrade
from arena.tally import Tally, Vote
from arena.worker import MIN_CATEGORY_VOTES, Worker
from tests.fakes import (
    CAMPAIGN,
    SIGNER,
    FakeLive,
    FakeStore,
    a_remark,
    a_vote,
    at_once,
    log_rows,
)
from tests.services import wait_until

LEASE_SECONDS = 0.6
IMPORTED = replace(CAMPAIGN, id="imported", position=50)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena.worker, "_PUBLISH_SECONDS", 0.05)
    monkeypatch.setattr(arena.worker, "_OTHER_METHODS_SECONDS", 0.05)
    # log positions are counted here; what is told of campaigns and models: tests/arena/test_events
    monkeypatch.setattr(Teller, "tell", lambda *_: 0)


class World:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.live = FakeLive()
        self.random = random.Random(3)  # noqa: S311  reproducible votes
        self.number = 0
        store.campaigns.add(CAMPAIGN)

    def worker(self) -> Worker:
        return Worker(self.store, self.live, signer=SIGNER, poll=0.05, lease_seconds=LEASE_SECONDS)

    @contextmanager
    def working(self, worker: Worker | None = None) -> Iterator[Worker]:
        """A worker at work in a thread; at the end it is told to stop, and has."""
        worker = worker or self.worker()
        stop = threading.Event()
        failures: list[BaseException] = []

        def run() -> None:
            try:
                worker.run(stop)
            except BaseException as error:  # noqa: BLE001  told to the test below
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield worker
        finally:
            stop.set()
            thread.join(10)
            assert not thread.is_alive()
            assert failures == []

    def votes(self, count: int, campaign: str = "online") -> list[str]:
        """Append votes between four models; their record ids."""
        rows: list[tuple[Record, Content | None]] = []
        for _ in range(count):
            self.number += 1
            a, b = self.random.sample(["m0", "m1", "m2", "m3"], 2)
            grade, winner = self.random.choice([(2, "model_a"), (0, "tie"), (-1, "model_b")])
            rows.append(
                a_vote(
                    f"v{self.number}",
                    campaign=campaign,
                    model_a=a,
                    model_b=b,
                    grade=grade,
                    winner=winner,
                )
            )
        self.store.votes.append(rows)
        self.live.wake_worker()
        return [record.id for record, _ in rows]

    def remark(self, kind: str, target: str, reason: str = "spam") -> None:
        self.number += 1
        self.store.votes.append([a_remark(f"x{self.number}", kind, target, reason)])
        self.live.wake_worker()

    def board(self, campaign: str = "online") -> Snapshot | None:
        return self.store.snapshots.latest(campaign, "overall")

    def wait_for_board(self, campaign: str = "online") -> Snapshot:
        """The board once it stands for everything written so far."""

        def current() -> Snapshot | None:
            board = self.board(campaign)
            done = self.store.votes.unsealed() == 0 and board is not None
            return board if done and self.is_current(board) else None

        return wait_until(current, 5, what=f"the board of {campaign}")

    def is_current(self, board: Snapshot | None) -> bool:
        assert board is not None
        log = self.store.votes.counted(0, 10_000)
        own = (row.seq for row in log if row.campaign == board.campaign)
        return board.log_position >= max(own, default=0)

    def history(self) -> list[tuple[str, int]]:
        """The official boards that were published, newest first."""
        rows = self.store.snapshots.history(["online", "imported"], 999)
        return [(row["campaign"], row["log_position"]) for row in rows if row["official"]]

    def recomputed(self, board: Snapshot) -> list[dict[str, Any]]:
        """The rows of a board that is computed anew from the log up to its position."""
        tally = Tally()
        for row in log_rows(self.store.votes, board.campaign, until=board.log_position):
            if row["type"] == "vote" and row["excluded_reason"] is None:
                tally.add(
                    Vote(
                        row["seq"],
                        row["model_a"],
                        row["model_b"],
                        row["grade"],
                        row["winner"],
                        row["voter"],
                        categories=of_vote(
                            language=row["language"],
                            category_tag=row["category_tag"],
                            turns=row["turns"],
                            voter_kind=row["voter_kind"],
                        ),
                    )
                )
        config = board.config
        method = Method(config["method"], config.get("variant"))
        return [row.to_json() for row in compute(tally, method, category=board.category).rows]

    def assert_clean(self, board: Snapshot) -> None:
        assert [rounded(row) for row in board.rows] == [
            rounded(row) for row in self.recomputed(board)
        ]


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """A board's row to a tenth of what is shown: a warm start may differ in the last bits."""
    return {name: round(v, 3) if isinstance(v, float) else v for name, v in row.items()}


def total(board: Snapshot) -> int:
    return sum(row["votes"] for row in board.rows) // 2


@pytest.fixture(params=["fake", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "fake":
        yield World(FakeStore())
        return
    url = f"sqlite:///{tmp_path}/arena.db"
    database = Database(url)
    upgrade(database)
    database.close()
    store = open_store(url)
    yield World(store)
    store.close()


@pytest.fixture
def fake() -> World:
    return World(FakeStore())


# --- what is published --------------------------------------------------------------------------


def pair_votes(world: World, category: str = "overall") -> int:
    table = world.store.figures.pairs("online", category)
    rows = [] if table is None else [*table.data["graded"], *table.data["winner_only"]]
    return sum(sum(votes) for _, _, *votes in rows)


def test_the_pairs_behind_a_board_come_with_its_first_publication(world: World) -> None:
    world.votes(30)
    with world.working():
        board = world.wait_for_board()
        wait_until(lambda: pair_votes(world) == 30, 5, what="the pairs")
    table = world.store.figures.pairs("online", "overall")
    assert table is not None and table.log_position == board.log_position
    assert table.data["models"] == sorted(row["model"] for row in board.rows)
    assert table.data["calibration"] is not None


def test_pairs_follow_the_votes_after_a_while_also_in_categories(
    fake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena.worker, "_FIGURES_SECONDS", 0.2)
    rows = [
        a_vote(f"zh{number}", language="zh", model_a=f"m{number % 3}", model_b="m3")
        for number in range(MIN_CATEGORY_VOTES + 5)
    ]
    fake.store.votes.append(rows[:-5])
    with fake.working():
        wait_until(lambda: pair_votes(fake, "zh") == MIN_CATEGORY_VOTES, 5, what="the first pairs")
        fake.store.votes.append(rows[-5:])
        fake.live.wake_worker()
        for category in ("zh", "overall"):
            wait_until(
                lambda key=category: pair_votes(fake, key) == len(rows), 5, what="newer pairs"
            )


def test_pairs_that_an_earlier_worker_left_behind_are_caught_up_without_a_new_vote(
    fake: World,
) -> None:
    fake.votes(10)
    with fake.working():
        fake.wait_for_board()
        fake.votes(10)
        fake.wait_for_board()
    assert pair_votes(fake) == 10  # the next ones were not due yet
    with fake.working():
        wait_until(lambda: pair_votes(fake) == 20, 5, what="the pairs of all votes")


def test_the_board_is_that_of_a_clean_recompute_after_every_batch(world: World) -> None:
    with world.working():
        for count in (1, 7, 60):
            world.votes(count)
            board = world.wait_for_board()
            world.assert_clean(board)
    assert total(board) == board.log_position == 68
    assert (board.category, board.method) == ("overall", "bt")
    assert board.config_hash == config_hash(board.config)


def test_votes_that_come_while_the_worker_works_are_all_counted_once(world: World) -> None:
    with world.working():

        def write(writer: int) -> None:
            for i in range(20):
                world.store.votes.append([a_vote(f"{writer}-{i}")])

        at_once([lambda w=w: write(w) for w in range(3)])
        board = world.wait_for_board()
    assert total(board) == 60
    world.assert_clean(board)


def test_a_campaign_without_votes_has_an_empty_board(fake: World) -> None:
    with fake.working():
        board = fake.wait_for_board()
    assert (board.rows, board.log_position) == ([], 0)


def test_campaigns_have_boards_of_their_own_and_only_the_changed_one_is_published(
    fake: World,
) -> None:
    fake.store.campaigns.add(IMPORTED)
    fake.votes(5)
    fake.votes(9, "imported")
    with fake.working():
        first = {campaign: fake.wait_for_board(campaign) for campaign in ("online", "imported")}
        published = len(fake.history())
        fake.votes(1, "imported")
        second = fake.wait_for_board("imported")
    assert [total(first["online"]), total(first["imported"]), total(second)] == [5, 9, 10]
    assert len(fake.history()) == published + 1
    assert fake.board("online") == first["online"]


def test_every_publication_is_announced_without_its_rows(fake: World) -> None:
    with fake.live.boards() as followers, fake.working():
        fake.votes(3)
        board = fake.wait_for_board()
        announced = wait_until(lambda: news_of(fake, board), what="the news")
        assert followers.get(1) is not None
    assert announced["campaign"] == "online"
    assert announced["log_position"] == board.log_position
    assert announced["config_hash"] == board.config_hash
    assert "rows" not in announced and "config" not in announced


def news_of(world: World, board: Snapshot) -> dict[str, Any] | None:
    return next((news for news in world.live.announced if news == board.announcement()), None)


def test_boards_are_published_at_a_bounded_rate_and_the_last_vote_is_still_in(
    fake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena.worker, "_PUBLISH_SECONDS", 0.3)
    started = time.monotonic()
    with fake.working():
        for _ in range(40):
            fake.votes(1)
            time.sleep(0.005)
        board = fake.wait_for_board()
        took = time.monotonic() - started
    assert total(board) == 40
    assert len(fake.history()) <= took / 0.3 + 2


# --- heads of the log's tree ----------------------------------------------------------------------


def newest_head(world: World) -> Head | None:
    return world.store.trees.head()


def expect_signed(world: World, size: int) -> Head:
    """The head of this size; it is the signed root of so many records."""
    head = world.store.trees.head(size)
    assert head is not None
    root = root_of(world.store.votes.leaves(0, size))
    assert head == Head(size, root.hex(), head.timestamp, SIGNER.head(size, root, head.timestamp))
    return head


def idle_lease(world: World) -> Lease:
    lease = world.store.leases.take("worker", "other", world.store.leases.look("worker"))
    assert lease is not None
    return lease


def test_every_board_is_published_with_the_signed_head_of_its_position(world: World) -> None:
    with world.working():
        for count in (1, 7, 300):
            world.votes(count)
            world.wait_for_board()
    positions = {position for _, position in world.history()}
    assert 308 in positions
    for position in positions:
        expect_signed(world, position)
    first = root_of(world.store.votes.leaves(0, 256))
    assert world.store.trees.nodes(1, 0, 256) == {0: first}


def test_a_worker_that_starts_again_signs_no_size_anew(world: World) -> None:
    world.votes(6)
    with world.working():
        world.wait_for_board()
    head = expect_signed(world, 6)
    with world.working() as worker:
        wait_until(lambda: holder(world) == worker.id, what="the lease")
        time.sleep(0.2)
        assert newest_head(world) == head
        world.votes(1)
        world.wait_for_board()
    expect_signed(world, 7)


def test_records_sealed_by_a_worker_that_died_before_publishing_are_signed_by_the_next(
    fake: World,
) -> None:
    fake.votes(6)
    with fake.working():
        fake.wait_for_board()
    fake.votes(300)
    lease = idle_lease(fake)
    fake.store.votes.seal(lease, 1000)
    fake.store.leases.release(lease)
    with fake.working():
        fake.wait_for_board()
    expect_signed(fake, 306)


def test_a_head_without_its_board_is_kept_and_the_board_comes_with_it(fake: World) -> None:
    fake.votes(6)
    lease = idle_lease(fake)
    fake.store.votes.seal(lease, 100)
    root = root_of(fake.store.votes.leaves(0, 6)).hex()
    left = Head(6, root, "2026-01-02T03:04:05.678Z", f"{SIGNER.name}\ndied then")
    fake.store.trees.add_head(lease, left)
    fake.store.leases.release(lease)
    with fake.working():
        assert fake.wait_for_board().log_position == 6
    assert fake.store.trees.head(6) == left


def test_records_are_signed_in_time_also_when_no_board_can_be_published(
    fake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise ValueError("as an example")

    monkeypatch.setattr(arena.worker, "compute", failing)
    monkeypatch.setattr(arena.worker, "_HEAD_SECONDS", 0.05)
    with fake.working():
        for size in (5, 9):
            fake.votes(size - fake.store.votes.position())
            wait_until(lambda n=size: fake.store.trees.head(n), 5, what="the head")
            expect_signed(fake, size)
    assert fake.board() is None


@pytest.mark.parametrize("size", [6, 7, 20])
def test_a_log_that_another_head_was_signed_for_is_sealed_on_but_never_published(
    fake: World, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    fake.votes(6)
    with fake.working():
        before = fake.wait_for_board()
    lease = idle_lease(fake)
    if size == 6:  # what was signed stays, and the records are others now
        fake.store.votes._rows[2].hash = "00" * 32
    else:
        fake.store.trees.add_head(lease, Head(size, "ab" * 32, "t", "of another log"))
    fake.store.leases.release(lease)
    with fake.working(), caplog.at_level("ERROR"):
        fake.votes(1)
        wait_until(lambda: fake.store.votes.unsealed() == 0, what="the sealing")
        wait_until(lambda: "restore --new-key" in caplog.text, what="the alarm")
        fake.votes(1)
        wait_until(lambda: fake.store.votes.position() == 8, what="the sealing")
        time.sleep(0.3)
    assert fake.board() == before
    assert fake.store.trees.head(8) is None
    assert len([one for one in caplog.records if "signed head" in one.getMessage()]) == 1


def test_heads_go_with_the_boards_that_were_thinned(
    fake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena.worker, "_THIN_SECONDS", 0.05)
    with fake.working():
        fake.votes(3)
        fake.wait_for_board()
    lease = idle_lease(fake)
    fake.store.trees.add_head(lease, Head(1, "ab" * 32, "2026-01-02", "of no board"))
    fake.store.leases.release(lease)
    with fake.working():
        wait_until(lambda: fake.store.trees.head(1) is None, what="the thinning")
    expect_signed(fake, 3)


# --- exclusions ---------------------------------------------------------------------------------


def test_an_exclusion_takes_its_vote_out_once_however_often_it_is_said(world: World) -> None:
    with world.working():
        victim = world.votes(10)[3]
        assert total(world.wait_for_board()) == 10
        world.remark("exclusion", victim)
        world.remark("exclusion", victim)
        board = world.wait_for_board()
        assert total(board) == 9
        world.assert_clean(board)
    with world.working():  # counted from the start
        world.votes(1)
        board = world.wait_for_board()
    assert total(board) == 10
    world.assert_clean(board)


@pytest.mark.parametrize("kind", ["flag", "correction", "erasure"])
def test_other_remarks_leave_the_vote_counted(fake: World, kind: str) -> None:
    victim = fake.votes(4)[0]
    fake.remark(kind, victim)
    with fake.working():
        board = fake.wait_for_board()
    assert total(board) == 4
    assert board.log_position == 5


def test_an_exclusion_of_something_else_than_a_vote_stops_nothing(fake: World) -> None:
    victim = fake.votes(4)[0]
    fake.remark("flag", victim)
    fake.remark("exclusion", f"x{fake.number}")
    fake.remark("exclusion", "nothing at all")
    with fake.working():
        board = fake.wait_for_board()
    assert total(board) == 4


# --- flags ------------------------------------------------------------------------------------


def total_of(world: World, category: str) -> int:
    board = published(world, "bt", category)
    return -1 if board is None else total(board)


def test_a_vote_whose_answer_named_itself_counts_only_where_all_votes_do(world: World) -> None:
    with world.working():
        victim = world.votes(10)[3]
        assert total(world.wait_for_board()) == 10
        assert world.store.snapshots.latest("online", UNFILTERED) is None
        for _ in range(2):
            world.remark("flag", victim, IDENTITY_LEAK)
        world.remark("flag", "nothing at all", IDENTITY_LEAK)
        assert total(world.wait_for_board()) == 9
        wait_until(lambda: total_of(world, UNFILTERED) == 10, what="the board of all votes")
        world.votes(2)
        wait_until(lambda: total_of(world, UNFILTERED) == 12, what="the board of all votes")
    with world.working():  # counted from the start
        world.votes(1)
        wait_until(lambda: total_of(world, UNFILTERED) == 13, what="the board of all votes")
        board = world.wait_for_board()
    assert total(board) == 12
    assert board.config["identity_leaks"] == "excluded"
    whole = published(world, "bt", UNFILTERED)
    assert whole is not None and whole.config["identity_leaks"] == "included"
    for one in (board, whole):
        assert one.config_hash == config_hash(one.config)
    assert board.config_hash != whole.config_hash


def test_the_board_of_all_votes_loses_a_flagged_vote_that_is_excluded(fake: World) -> None:
    victim = fake.votes(10)[3]
    fake.remark("flag", victim, IDENTITY_LEAK)
    with fake.working():
        wait_until(lambda: total_of(fake, UNFILTERED) == 10, what="the board of all votes")
        fake.remark("exclusion", victim)
        wait_until(lambda: total_of(fake, UNFILTERED) == 9, what="the board without it")
        assert total(fake.wait_for_board()) == 9


# --- restarts and rivals ------------------------------------------------------------------------


def test_an_exclusion_said_in_another_campaign_changes_the_board_of_its_vote(fake: World) -> None:
    fake.store.campaigns.add(IMPORTED)
    fake.store.votes.append([a_vote("v1"), a_vote("v2", campaign=IMPORTED.id)])
    fake.store.votes.append([a_remark("e1", "exclusion", "v2", "flood")])  # in the first campaign
    with fake.working():
        wait_until(lambda: fake.board() is not None, what="a board")
        wait_until(
            lambda: (board := fake.board(IMPORTED.id)) is not None and board.log_position == 3,
            what="the other board",
        )
    board, other = fake.board(), fake.board(IMPORTED.id)
    assert board is not None and [row["votes"] for row in board.rows] == [1, 1]
    assert other is not None and other.rows == []


def test_a_restart_publishes_nothing_when_nothing_changed(world: World) -> None:
    world.votes(6)
    with world.working():
        world.wait_for_board()
    before = world.history()
    with world.working() as worker:
        wait_until(lambda: holder(world) == worker.id, what="the lease")
        time.sleep(0.3)
    assert world.history() == before


def test_votes_sealed_by_a_worker_that_died_before_publishing_are_published_by_the_next(
    fake: World,
) -> None:
    fake.votes(6)
    with fake.working():
        fake.wait_for_board()
    fake.votes(4)
    lease = fake.store.leases.take("worker", "dead", fake.store.leases.look("worker"))
    assert lease is not None
    assert fake.store.votes.seal(lease, 100) == 4
    fake.store.leases.release(lease)
    with fake.working():
        board = fake.wait_for_board()
    assert total(board) == 10


def test_a_board_of_another_method_configuration_is_published_anew(fake: World) -> None:
    fake.votes(6)
    with fake.working():
        board = fake.wait_for_board()
    lease = fake.store.leases.take("worker", "older", fake.store.leases.look("worker"))
    assert lease is not None
    fake.store.snapshots.publish(lease, replace(board, config_hash="of an older program"))
    fake.store.leases.release(lease)
    with fake.working():
        wait_until(lambda: current_hash(fake) == board.config_hash, what="the new board")


def current_hash(world: World) -> str | None:
    board = world.board()
    return board.config_hash if board else None


def holder(world: World) -> str | None:
    seen = world.store.leases.look("worker")
    return seen.holder if seen else None


def test_a_second_worker_waits_and_goes_on_at_once_when_the_first_stops(fake: World) -> None:
    first, second = fake.worker(), fake.worker()
    with fake.working(first):
        wait_until(lambda: holder(fake) == first.id, what="the first to hold the lease")
        with fake.working(second):
            fake.votes(5)
            fake.wait_for_board()
            time.sleep(LEASE_SECONDS * 2)
            assert holder(fake) == first.id
    stopped = fake.worker()
    with fake.working(stopped):
        wait_until(lambda: holder(fake) == stopped.id, LEASE_SECONDS / 2, what="the lease")


def test_a_silent_worker_is_replaced_after_its_lease_and_loses_nothing(fake: World) -> None:
    fake.votes(5)
    dead = fake.store.leases.take("worker", "dead", None)
    assert dead is not None
    started = time.monotonic()
    with fake.working() as worker:
        wait_until(lambda: holder(fake) == worker.id, what="the lease")
        assert time.monotonic() - started >= LEASE_SECONDS
        assert total(fake.wait_for_board()) == 5


def test_a_worker_that_lost_its_lease_counts_anew_and_publishes_the_truth(fake: World) -> None:
    with fake.working() as worker:
        fake.votes(5)
        fake.wait_for_board()
        thief = fake.store.leases.take("worker", "thief", fake.store.leases.look("worker"))
        if thief is None:  # its beat moved between the look and the taking
            thief = fake.store.leases.take("worker", "thief", fake.store.leases.look("worker"))
        assert thief is not None
        fake.votes(4)
        fake.store.votes.seal(thief, 2)
        fake.store.leases.release(thief)
        wait_until(lambda: holder(fake) == worker.id, what="the lease again")
        board = fake.wait_for_board()
    assert total(board) == 9
    fake.assert_clean(board)


def test_a_database_that_is_away_for_a_while_only_delays_the_board(
    fake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake.working():
        fake.votes(3)
        fake.wait_for_board()
        real, refusals = fake.store.votes.seal, iter(range(2))

        def refusing(*arguments: Any) -> int:
            for _ in refusals:
                raise Unavailable("away")
            return real(*arguments)

        monkeypatch.setattr(fake.store.votes, "seal", refusing)
        fake.votes(3)
        board = fake.wait_for_board()
    assert total(board) == 6


def test_without_redis_new_votes_are_found_by_polling(fake: World) -> None:
    fake.live.away = True
    with fake.working():
        fake.votes(3)
        assert total(fake.wait_for_board()) == 3


# --- methods ------------------------------------------------------------------------------------


def graded_rows(count: int, first: int = 0, **fields: Any) -> list[tuple[Record, Content | None]]:
    """Votes whose grades inform: much better means stronger than better."""
    draw = random.Random(first)  # noqa: S311  reproducible votes
    rows = []
    for number in range(first, first + count):
        a, b = draw.sample(range(12), 2)
        u = draw.random()
        latent = 0.2 * (b - a) + math.log(u / (1 - u))
        grade = sum(latent > bound for bound in (-1.5, -0.4, 0.4, 1.5)) - 2
        winner = "tie" if grade == 0 else "model_a" if grade > 0 else "model_b"
        names = {"model_a": f"m{a}", "model_b": f"m{b}"}
        rows.append(a_vote(f"g{number}", grade=grade, winner=winner, **names, **fields))
    return rows


def published(world: World, method: str, category: str = "overall") -> Snapshot | None:
    return world.store.snapshots.latest("online", category, method)


def test_every_method_has_a_board_and_one_of_them_is_official(world: World) -> None:
    world.votes(40)
    with world.working():
        wait_until(
            lambda: all(
                (board := published(world, name)) and board.log_position == 40
                for name in METHOD_NAMES
            ),
            what="all boards",
        )
    for name in METHOD_NAMES:
        board = published(world, name)
        assert board is not None and board.official == (name == "bt")
        world.assert_clean(board)
    assert world.board() == published(world, "bt")


def test_the_votes_decide_the_method_and_the_log_tells_when_and_why(fake: World) -> None:
    fake.store.votes.append(graded_rows(3000))
    with fake.working():
        wait_until(
            lambda: (board := fake.board()) and board.method == "graded", 20, what="the change"
        )
    (event,) = fake.store.votes.events(["online"], ["method"])
    assert event.seq == 3001 and event.record.data is not None
    board = fake.board()
    assert board is not None and board.log_position >= 3001
    assert board.details["evidence"] == event.record.data["evidence"]
    fake.assert_clean(board)


def test_a_decision_that_was_made_is_not_made_again_after_a_restart(fake: World) -> None:
    fake.store.votes.append(graded_rows(3000))
    for _ in range(2):
        with fake.working():
            wait_until(lambda: (board := fake.board()) and board.method == "graded", 20, what="it")
            time.sleep(0.3)
    assert len(fake.store.votes.events(["online"], ["method"])) == 1


def test_an_operators_method_is_followed_and_stays(fake: World) -> None:
    fake.store.votes.append([(method_record("online", "As last year.", Method("davidson")), None)])
    fake.store.votes.append(graded_rows(3000))
    with fake.working():
        board = fake.wait_for_board()
        time.sleep(0.3)
    assert board.method == "davidson" and board.official
    assert len(fake.store.votes.events(["online"], ["method"])) == 1
    fake.assert_clean(board)


def test_an_operator_may_ask_the_votes_to_decide_again(fake: World) -> None:
    fake.store.votes.append([(method_record("online", "As last year.", Method("bt")), None)])
    fake.store.votes.append(graded_rows(3000))
    fake.store.votes.append([(method_record("online", "Let the votes decide.", None), None)])
    with fake.working():
        wait_until(
            lambda: (board := fake.board()) and board.method == "graded", 20, what="the change"
        )
    events = fake.store.votes.events(["online"], ["method"])
    assert [event.seq for event in reversed(events)] == [1, 3002, 3003]


def test_a_decision_that_comes_after_the_operators_word_is_not_followed(fake: World) -> None:
    late = decision("online", tally_of_rows(graded_rows(3000)))
    fake.store.votes.append([(method_record("online", "As last year.", Method("bt")), None)])
    fake.store.votes.append([(late, None), *graded_rows(30)])
    with fake.working():
        board = fake.wait_for_board()
    assert (board.method, board.details["evidence"]) == ("bt", None)


def tally_of_rows(rows: list[tuple[Record, Content | None]]) -> Tally:
    tally = Tally()
    for seq, (r, _) in enumerate(rows, 1):
        tally.add(Vote(seq, r.model_a or "", r.model_b or "", r.grade, r.winner or ""))
    return tally


def test_people_have_a_board_of_their_own_where_others_vote_too(fake: World) -> None:
    fake.votes(MIN_CATEGORY_VOTES)
    with fake.working():
        fake.wait_for_board()
        assert list(fake.store.snapshots.offered(["online"])["online"]) == ["overall"]
        judged = [a_vote(f"j{i}", voter_kind="judge", voter=f"j{i}") for i in range(3)]
        fake.store.votes.append(judged)
        fake.live.wake_worker()
        people = wait_until(
            lambda: fake.store.snapshots.latest("online", "people"), what="the people's board"
        )
    assert sum(row["votes"] for row in people.rows) == 2 * MIN_CATEGORY_VOTES
    fake.assert_clean(people)


def test_a_board_tells_whether_it_converged_and_is_in_one_piece(fake: World) -> None:
    pairs = [("m0", "m1"), ("m2", "m3")]
    fake.store.votes.append(
        [a_vote(f"p{i}", model_a=a, model_b=b) for i, (a, b) in enumerate(pairs)]
    )
    with fake.working():
        board = fake.wait_for_board()
    assert (board.details["converged"], board.details["components"]) == (True, 2)


def test_a_request_to_decide_is_answered_however_few_the_votes(fake: World) -> None:
    fake.store.votes.append(graded_rows(30))
    fake.store.votes.append([(method_record("online", "Graded.", Method("graded")), None)])
    fake.store.votes.append([(method_record("online", "Decide.", None), None)])
    with fake.working():
        wait_until(lambda: (board := fake.board()) and board.method == "bt", what="the answer")
    assert len(fake.store.votes.events(["online"], ["method"])) == 3


def test_a_board_that_fails_stops_no_other_board(
    fake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = arena.worker.compute

    def failing(tally: Tally, method: Method, **options: Any) -> Any:
        if method.name == "davidson":
            raise ValueError("as an example")
        return real(tally, method, **options)

    monkeypatch.setattr(arena.worker, "compute", failing)
    fake.votes(5)
    with fake.working():
        for name in ("bt", "elo", "graded", "rao-kupper"):
            wait_until(lambda n=name: published(fake, n), what=name)
    assert published(fake, "davidson") is None


def test_a_category_whose_votes_were_excluded_is_published_without_them(fake: World) -> None:
    fake.store.votes.append(graded_rows(MIN_CATEGORY_VOTES, language="zh"))
    with fake.working():
        wait_until(lambda: published(fake, "bt", "zh"), what="the board")
        fake.remark("exclusion", "g3")
        wait_until(
            lambda: (b := published(fake, "bt", "zh")) and total(b) == MIN_CATEGORY_VOTES - 1,
            what="the board without it",
        )


def test_a_method_record_that_makes_no_sense_stops_nothing(fake: World) -> None:
    odd = method_record("online", "Magic.", None)
    fake.store.votes.append([(replace(odd, data={"method": {"name": "magic"}}), None)])
    fake.votes(5)
    with fake.working():
        assert total(fake.wait_for_board()) == 5


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("method", {"method": "x", "automatic": True, "evidence": None, "votes": 0}),
        ("entry", {"name": "x"}),
        ("change", {"model": "x", "changed": {"name": "y"}}),
        ("campaign", {"kind": ["online"], "changed": 7}),
        ("sealed", {"sealing": ["a"], "boards": {}}),
    ],
)
def test_a_record_of_another_form_stops_neither_boards_nor_what_is_told(
    fake: World, kind: str, data: dict[str, Any]
) -> None:
    odd = Record("q" * 32, kind, "online", "2026-01-01T00:00:00.000Z", data=data)
    fake.store.votes.append([(odd, None)])
    fake.votes(5)
    with fake.working():
        wait_until(
            lambda: (board := fake.board()) is not None and total(board) == 5, what="the board"
        )
    assert missing([], [odd], fake.store.votes.votes_of) == []


# --- categories ---------------------------------------------------------------------------------


def test_a_category_with_enough_votes_has_a_board_of_its_own(world: World) -> None:
    enough = MIN_CATEGORY_VOTES
    world.store.votes.append(graded_rows(enough, language="zh", category_tag="coding,hard"))
    world.store.votes.append(graded_rows(enough - 1, first=1000, language="de"))
    with world.working():
        for category in ("zh", "coding", "hard", "overall"):
            wait_until(lambda c=category: published(world, "bt", c), what=category)
            board = published(world, "bt", category)
            assert board is not None
            world.assert_clean(board)
    offered = world.store.snapshots.offered(["online"])["online"]
    assert list(offered) == ["coding", "hard", "overall", "zh"]


def test_only_the_boards_that_a_vote_touches_are_published(fake: World) -> None:
    fake.store.votes.append(graded_rows(30, language="zh"))
    fake.store.votes.append(graded_rows(30, first=100, language="en"))
    with fake.working():
        for category in ("zh", "en", "overall"):
            wait_until(lambda c=category: published(fake, "elo", c), what=category)
        fake.store.votes.append(graded_rows(1, first=200, language="zh"))
        fake.live.wake_worker()
        for category in ("zh", "overall"):
            wait_until(
                lambda c=category: (b := published(fake, "bt", c)) and b.log_position == 61,
                what=category,
            )
        time.sleep(0.3)
    board = published(fake, "bt", "en")
    assert board is not None and board.log_position == 60


def test_an_excluded_vote_leaves_the_boards_of_its_categories(fake: World) -> None:
    fake.store.votes.append(graded_rows(30, language="zh"))
    with fake.working():
        wait_until(lambda: published(fake, "bt", "zh"), what="the board")
        fake.remark("exclusion", "g7")
        wait_until(
            lambda: (b := published(fake, "bt", "zh")) and b.log_position == 31, what="the change"
        )
    board = published(fake, "bt", "zh")
    assert board is not None and total(board) == 29
    fake.assert_clean(board)


# --- old boards ---------------------------------------------------------------------------------


def test_old_boards_are_thinned(fake: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena.worker, "_THIN_SECONDS", 0.05)
    with fake.working():
        fake.votes(1)
        board = fake.wait_for_board()
    lease = fake.store.leases.take("worker", "old", fake.store.leases.look("worker"))
    assert lease is not None
    for minute in range(60):
        at = f"2020-01-01T10:{minute:02}:00.000Z"
        fake.store.snapshots.publish(lease, replace(board, method="old", published_at=at))
    fake.store.leases.release(lease)
    with fake.working():
        wait_until(lambda: len(olds(fake)) == 20, what="the thinning")


def olds(world: World) -> list[str]:
    return [s.published_at for s in world.store.snapshots.published() if s.method == "old"]


def test_void_rates_are_published_for_all_web_processes_alike(
    fake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena.worker, "_VOID_RATES_SECONDS", 0.05)
    told = {"online": {"m0": 0.25}}
    monkeypatch.setattr(fake.store.battles, "void_rates", lambda: told)
    with fake.working():
        wait_until(lambda: fake.store.figures.void_rates("online"), 5, what="the rates")
        assert fake.store.figures.void_rates("online") == {"m0": 0.25}
        told = {"online": {"m0": 0.5}}
        wait_until(
            lambda: fake.store.figures.void_rates("online") == {"m0": 0.5}, 5, what="new rates"
        )


def test_a_worker_that_finds_pages_publishes_the_same_board(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena.counting, "PAGE", 16)
    votes = world.votes(50)
    world.remark("exclusion", votes[3])
    with world.working():
        world.wait_for_board()
    assert world.store.pages.get(2) is not None
    world.remark("exclusion", votes[20])  # in a page that is kept
    world.votes(1)
    with world.working():
        board = world.wait_for_board()
    assert total(board) == 49
    world.assert_clean(board)
