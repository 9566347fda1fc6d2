"""Sealed boards: exactly the votes up to the seal, made once, and never another thing again."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import rfc8785

import arena.counting
import arena.worker
from arena.errors import InvalidField, LeaseLost, NotFound, Unavailable
from arena.interfaces import Act, Lease, ModelEntry, SealedBoard
from arena.leaderboard import Method, method_record
from arena.leases import WORKER
from arena.merkle import root_of
from arena.records import LogRow, Record
from arena.sealing import LONGEST_STATEMENT, Seal, Sealings, sealed_record, sealing_record
from arena.store import open_store
from tests.arena.test_store_contract import emptied, postgres_store, sqlite_template
from tests.arena.test_worker import IMPORTED, World, rounded
from tests.fakes import CAMPAIGN, SIGNER, FakeStore, a_battle, a_turn, a_vote, log_rows
from tests.services import wait_until

__all__ = ["postgres_store", "sqlite_template"]  # fixtures

STATEMENT = "The spring round is over."
NAMED = ModelEntry("m0", "Alder", organization="Grove", license="MIT", base_url="http://x")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena.worker, "_PUBLISH_SECONDS", 0.05)
    monkeypatch.setattr(arena.worker, "_FAILED_SECONDS", 0.1)


@pytest.fixture(params=["fake", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "fake":
        yield World(FakeStore())
    elif request.param == "postgres":
        yield World(emptied(request.getfixturevalue("postgres_store")))
    else:
        path = tmp_path / "arena.db"
        path.write_bytes(request.getfixturevalue("sqlite_template"))
        store = open_store(f"sqlite:///{path}")
        yield World(store)
        store.close()


@pytest.fixture
def fake() -> World:
    return World(FakeStore())


# --- steps --------------------------------------------------------------------------------------


def seal(world: World, campaign: str = "online", statement: str = STATEMENT) -> str:
    """An operator seals; the record's id."""
    sealed = world.store.campaigns.get(campaign)
    assert sealed is not None
    record = Sealings(world.store).seal(sealed, statement, "春季赛结束。")
    world.live.wake_worker()
    return record.id


def boards_of(world: World, sealing: str) -> dict[str, SealedBoard]:
    """The boards of one sealing, once they are made."""

    def made() -> dict[str, SealedBoard]:
        every = world.store.sealed.until(["online", "imported"], 10**9)
        return {board.category: board for board in every if board.sealing == sealing}

    return wait_until(made, 10, what="the sealed boards")


def read(store: object, board: SealedBoard) -> Seal:
    return Sealings(store).get(CAMPAIGN, board.log_position, board.category)


def expect_recomputed(world: World, board: SealedBoard) -> None:
    """Assert that the board is what an export of just these records gives."""
    published = world.board()
    assert published is not None
    as_snapshot = replace(
        published,
        category=board.category,
        log_position=board.log_position,
        config=board.document["config"],
    )
    told = [{name: row[name] for name in world.recomputed(as_snapshot)[0]} for row in rows(board)]
    assert [rounded(row) for row in told] == list(map(rounded, world.recomputed(as_snapshot)))


def rows(board: SealedBoard) -> list[dict[str, object]]:
    found: list[dict[str, object]] = board.document["rows"]
    return found


def counted(board: SealedBoard) -> int:
    return sum(row["votes"] for row in board.document["rows"]) // 2


def sealed_event(world: World, sealing: str) -> LogRow:
    (row,) = (
        row
        for row in world.store.sealed.records(["online", "imported"])
        if row.record.type == "sealed" and (row.record.data or {})["sealing"] == sealing
    )
    return row


# --- what is sealed -----------------------------------------------------------------------------


def test_a_sealed_board_holds_every_vote_before_the_seal_and_none_after(world: World) -> None:
    world.votes(30)
    sealing = seal(world)
    world.votes(20)
    with world.working():
        board = boards_of(world, sealing)["overall"]
        assert world.wait_for_board().log_position > board.log_position
    assert (board.log_position, counted(board)) == (31, 30)
    assert board.document["log_position"] == 31
    expect_recomputed(world, board)


def test_its_document_is_the_boards_object_with_statement_time_and_names(fake: World) -> None:
    fake.store.roster.replace([NAMED], "2026-01-01T00:00:00.000Z")
    fake.votes(30)
    sealing = seal(fake)
    with fake.working():
        board = boards_of(fake, sealing)["overall"]
    document = board.document
    (record,) = (r for r in fake.store.sealed.records(["online"]) if r.record.id == sealing)
    assert document["sealing"] == sealing
    assert document["sealed_at"] == document["published_at"] == record.record.timestamp
    assert (document["statement"], document["statement_zh"]) == (STATEMENT, "春季赛结束。")
    assert (document["title"], document["title_zh"]) == ("Open", "公开")
    assert document["config"]["method"] == document["method"] == "bt"
    assert document["fit"]["log_position"] == board.log_position
    alder = next(row for row in document["rows"] if row["model"] == "m0")
    assert (alder["name"], alder["organization"], alder["license"]) == ("Alder", "Grove", "MIT")
    assert {row["void_rate"] for row in document["rows"]} == {None}


def test_the_log_has_the_digests_of_what_was_sealed(fake: World) -> None:
    fake.votes(30)
    sealing = seal(fake)
    with fake.working():
        board = boards_of(fake, sealing)["overall"]
        wait_until(lambda: sealed_event(fake, sealing).seq, 5, what="the record's place")
    event = sealed_event(fake, sealing)
    assert event.seq is not None and event.seq > board.log_position
    assert event.record.data == {
        "sealing": sealing,
        "log_position": 31,
        "boards": {"overall": hashlib.sha256(rfc8785.dumps(board.document)).hexdigest()},
    }
    assert event.hash == event.record.leaf()
    assert read(fake.store, board).is_intact


def test_every_category_with_a_board_is_sealed_with_its_own_digest(fake: World) -> None:
    tagged = [a_vote(f"zh-{n}", language="zh") for n in range(20)]
    fake.store.votes.append([*tagged, *(a_vote(f"en-{n}", language="en") for n in range(19))])
    sealing = seal(fake)
    fake.store.votes.append([a_vote("en-late", language="en")])  # its board comes too late
    with fake.working():
        made = boards_of(fake, sealing)
    assert {category: counted(board) for category, board in made.items()} == {
        "overall": 39,
        "zh": 20,
    }
    assert (sealed_event(fake, sealing).record.data or {})["boards"] == {
        category: board.digest for category, board in made.items()
    }


def test_a_category_that_its_method_cannot_rate_has_no_board_to_seal(fake: World) -> None:
    fake.store.votes.append([a_vote(f"zh-{n}", language="zh") for n in range(20)])
    fake.store.votes.append([a_vote("fr", model_a="m2", language="fr")])
    anchored = Method("bt", anchor=("m2", 1000.0))
    fake.store.votes.append([(method_record("online", "By m2.", anchored), None)])
    sealing = seal(fake)
    with fake.working():
        assert boards_of(fake, sealing).keys() == {"overall"}


def test_a_board_may_be_sealed_before_there_is_any_vote(fake: World) -> None:
    sealing = seal(fake)
    fake.votes(3)
    with fake.working():
        board = boards_of(fake, sealing)["overall"]
    assert (board.log_position, rows(board)) == (1, [])


def test_a_campaign_can_be_sealed_again_and_each_seal_keeps_its_own_votes(fake: World) -> None:
    fake.votes(10)
    first = seal(fake)
    fake.votes(10)
    with fake.working():
        boards_of(fake, first)
        fake.votes(5)
        second = seal(fake, statement="The summer round is over.")
        boards_of(fake, second)
    found = [boards_of(fake, one)["overall"] for one in (first, second)]
    assert list(map(counted, found)) == [10, 25]
    told = Sealings(fake.store).told(CAMPAIGN)
    assert [one.statement for one in told] == ["The summer round is over.", STATEMENT]
    assert [one.position for one in told] == [found[1].log_position, found[0].log_position]
    assert [one.boards for one in told] == [{"overall": b.digest} for b in reversed(found)]


def test_other_campaigns_are_no_part_of_it(fake: World) -> None:
    fake.store.campaigns.add(IMPORTED)
    fake.votes(5)
    fake.votes(25, "imported")
    sealing = seal(fake, "imported")
    with fake.working():
        made = boards_of(fake, sealing)
    assert counted(made["overall"]) == 25
    assert {board.campaign for board in made.values()} == {"imported"}
    assert fake.store.sealed.until(["online"], 10**9) == []


def test_the_method_that_the_log_pins_up_to_the_seal_is_the_one(fake: World) -> None:
    fake.votes(30)
    pinned = method_record("online", "As last year.", Method("davidson"))
    fake.store.votes.append([(pinned, None)])
    sealing = seal(fake)
    fake.store.votes.append([(method_record("online", "Another.", Method("elo")), None)])
    with fake.working():
        board = boards_of(fake, sealing)["overall"]
    assert board.document["method"] == "davidson"
    expect_recomputed(fake, board)


def test_a_seal_in_the_middle_of_a_counted_page_parts_it(
    fake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena.counting, "PAGE", 16)
    early = fake.votes(19)
    fake.remark("exclusion", early[2])
    sealing = seal(fake)
    fake.votes(30)
    fake.remark("exclusion", early[3])
    with fake.working():
        board = boards_of(fake, sealing)["overall"]
        fake.wait_for_board()
    assert fake.store.pages.get(21 // 16) is not None  # the page that the seal is in
    assert (board.log_position, counted(board)) == (21, 18)
    expect_recomputed(fake, board)
    with fake.working():  # and so it is of a page that was kept before the seal was looked for
        later = seal(fake)
        fake.votes(30)
        other = boards_of(fake, later)["overall"]
    assert counted(other) == 47
    expect_recomputed(fake, other)


def test_a_seal_in_the_middle_of_a_sealed_batch_parts_it(
    fake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena.worker, "_SEAL_BATCH", 10)
    fake.votes(14)
    sealing = seal(fake)
    fake.votes(14)
    with fake.working():
        board = boards_of(fake, sealing)["overall"]
        fake.wait_for_board()
    assert (board.log_position, counted(board)) == (15, 14)


def test_votes_that_keep_coming_are_in_or_out_by_their_place_alone(fake: World) -> None:
    stop = threading.Event()
    names = iter(range(10**6))

    def vote() -> None:
        while not stop.wait(0.005):
            fake.store.votes.append([a_vote(f"late-{next(names)}")])

    voters = threading.Thread(target=vote)
    fake.votes(20)
    with fake.working():
        voters.start()
        try:
            found = [boards_of(fake, seal(fake))["overall"] for _ in range(3)]
        finally:
            stop.set()
            voters.join(10)
        fake.wait_for_board()
    for board in found:
        until = log_rows(fake.store.votes, "online", until=board.log_position)
        assert counted(board) == sum(row["type"] == "vote" for row in until)
        expect_recomputed(fake, board)
    assert counted(found[0]) < counted(found[2])


# --- nothing changes it -------------------------------------------------------------------------


def test_nothing_that_happens_later_changes_a_sealed_board(world: World) -> None:
    store = world.store
    store.roster.replace([NAMED], "2026-01-01T00:00:00.000Z")
    votes = world.votes(30)
    store.battles.add(a_battle("b-text"), a_turn("b-text"))
    sealing = seal(world)
    with world.working():
        board = boards_of(world, sealing)["overall"]
        before = read(world.store, board)
        world.remark("exclusion", votes[0])
        world.remark("flag", votes[1])
        store.votes.erase(["b-text"], "asked for")
        store.votes.append([(method_record("online", "Now so.", Method("elo")), None)])
        renamed = replace(NAMED, name="Birch", organization="Hedge", state="retired")
        store.roster.replace([renamed], "2027-01-01T00:00:00.000Z")
        store.campaigns.change("online", {"title": "The only true board"}, Act("t", "change"))
        world.votes(10)
        world.wait_for_board()
        seal(world)
    ids = [one.id for one in store.snapshots.published()]
    with lease(world) as held:
        store.snapshots.drop(held, ids)
    with world.working():
        world.wait_for_board()
    after = read(world.store, board)
    assert (after.body, after.digest, after.is_intact) == (before.body, before.digest, True)
    assert Sealings(store).later(board) == 10


def test_a_board_that_somebody_changed_in_the_database_is_found_out(fake: World) -> None:
    fake.votes(20)
    with fake.working():
        board = boards_of(fake, seal(fake))["overall"]
    sealed = fake.store.sealed
    changed = {**board.document, "statement": "We won."}
    for forged in (
        replace(board, document=changed),
        replace(board, document=changed, digest=hashlib.sha256(rfc8785.dumps(changed)).hexdigest()),
    ):
        tampered = Tampered(sealed, forged)
        assert not read(with_sealed(fake, tampered), board).is_intact
    # also when the log's record was changed to fit, and not its leaf
    forged_record = sealed_record([replace(board, digest=forged.digest)])
    rewritten = Tampered(sealed, forged, forged_record)
    assert not read(with_sealed(fake, rewritten), board).is_intact
    assert read(fake.store, board).is_intact


class Tampered:
    """The sealed boards of a database in which somebody wrote."""

    def __init__(self, sealed: object, board: SealedBoard, record: object = None) -> None:
        self._sealed = sealed
        self._board = board
        self._record = record

    def get(self, *_: object) -> SealedBoard:
        return self._board

    def records(self, campaigns: list[str]) -> list[LogRow]:
        found = self._sealed.records(campaigns)  # type: ignore[attr-defined]
        if self._record is None:
            return found
        return [
            replace(row, record=self._record) if row.record.type == "sealed" else row
            for row in found
        ]


def with_sealed(fake: World, sealed: Tampered) -> object:
    class Store:
        votes = fake.store.votes

    store = Store()
    store.sealed = sealed
    return store


# --- whatever dies in between -------------------------------------------------------------------


def test_a_worker_that_dies_before_the_boards_leaves_them_to_the_next(world: World) -> None:
    world.votes(20)
    sealing = seal(world)
    with lease(world) as held:
        world.store.votes.seal(held, 100)  # and there it died
    world.votes(10)
    with world.working():
        board = boards_of(world, sealing)["overall"]
    assert (board.log_position, counted(board)) == (21, 20)


def test_boards_that_cannot_be_kept_are_tried_again_and_told_once(
    fake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.votes(20)
    failures = [Unavailable("The database is away."), ValueError("a defect")]
    add = fake.store.sealed.add

    def failing(*args: object) -> bool:
        if failures:
            raise failures.pop()
        return add(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(fake.store.sealed, "add", failing)
    sealing = seal(fake)
    with fake.working():
        boards_of(fake, sealing)
        fake.votes(1)
        fake.wait_for_board()
    assert failures == []
    assert sealed_event(fake, sealing).seq is not None


def test_a_restart_seals_nothing_twice(fake: World) -> None:
    fake.votes(20)
    sealing = seal(fake)
    with fake.working():
        before = boards_of(fake, sealing)
        wait_until(lambda: sealed_event(fake, sealing).seq, 5, what="the record's place")
    fake.votes(5)
    with fake.working():
        fake.wait_for_board()
    assert boards_of(fake, sealing) == before
    assert len(fake.store.sealed.records(["online"])) == 2


def test_a_board_that_cannot_be_rated_delays_no_other_seal(fake: World) -> None:
    fake.store.campaigns.add(IMPORTED)
    fake.votes(20, "imported")
    nobody = Method("bt", anchor=("nobody", 1000.0))
    fake.store.votes.append([(method_record("online", "A mistake.", nobody), None)])
    seal(fake)
    possible = seal(fake, "imported")
    with fake.working():
        assert counted(boards_of(fake, possible)["overall"]) == 20


def test_a_seal_that_gives_no_board_says_why_once_and_for_ever(world: World) -> None:
    nobody = Method("bt", anchor=("nobody", 1000.0))
    world.store.votes.append([(method_record("online", "A mistake.", nobody), None)])
    world.votes(20)
    sealing = seal(world)
    with world.working():
        wait_until(
            lambda: len([row for row in world.store.sealed.records(["online"]) if row.seq]) == 2,
            10,
            what="what the log says",
        )
    data = sealed_event(world, sealing).record.data or {}
    assert (data["boards"], data["log_position"]) == ({}, 22)
    assert "nobody" in data["problem"]
    (told,) = Sealings(world.store).told(CAMPAIGN)
    assert (told.boards, told.problem) == ({}, data["problem"])
    assert told.to_json()["problem"] == data["problem"]
    with world.working():
        world.votes(5)
    assert len(world.store.sealed.records(["online"])) == 2


def test_an_odd_record_of_another_seal_stops_no_seal(world: World) -> None:
    odd = ({"sealing": ["a"], "boards": [1]}, {"sealing": {}}, None)
    world.store.votes.append(
        (Record(f"odd{n}", "sealed", "online", "2026-01-01T00:00:00.000Z", data=data), None)
        for n, data in enumerate(odd)
    )
    world.votes(20)
    sealing = seal(world)
    with world.working():
        boards_of(world, sealing)
    assert Sealings(world.store).told(CAMPAIGN)[0].position == 24


def test_a_seal_that_is_left_over_stops_no_worker_that_starts(fake: World) -> None:
    nobody = Method("bt", anchor=("nobody", 1000.0))
    fake.store.votes.append([(method_record("online", "A mistake.", nobody), None)])
    seal(fake)
    fake.votes(20)
    fake.store.votes.append([(method_record("online", "Put right.", Method("bt")), None)])
    with fake.working():
        fake.wait_for_board()
    fake.votes(5)
    with fake.working():
        assert fake.wait_for_board().log_position > 25


def test_the_head_of_the_seals_very_position_is_in_the_document_and_stays(world: World) -> None:
    world.votes(20)
    sealing = seal(world)
    world.votes(10)
    with world.working():
        board = boards_of(world, sealing)["overall"]
        world.wait_for_board()
        world.votes(5)
        world.wait_for_board()
    with lease(world) as held:
        world.store.trees.drop_heads(held, "9999")
    root = root_of(world.store.votes.leaves(0, 21))
    head = world.store.trees.head(21)
    assert head is not None
    assert board.document["tree_head"] == head.to_json()
    assert (head.size, head.root) == (21, root.hex())
    assert head.note == SIGNER.head(21, root, head.timestamp)


@contextmanager
def lease(world: World) -> Iterator[Lease]:
    """The worker's lease for the time of the block."""
    leases = world.store.leases
    taken = leases.take(WORKER, "test", leases.look(WORKER))
    assert taken is not None
    yield taken
    leases.release(taken)


# --- the store ----------------------------------------------------------------------------------


def a_board(sealing: str = "s1", **changes: object) -> SealedBoard:
    board = SealedBoard(sealing, "overall", "online", 7, {"rows": [], "share": 0.1}, "d1")
    return replace(board, **changes)  # type: ignore[arg-type]


def test_boards_are_added_once_with_their_record_or_not_at_all(world: World) -> None:
    sealed = world.store.sealed
    boards = [a_board(), a_board(category="zh", digest="d2")]
    with lease(world) as held:
        assert sealed.add(held, boards, sealed_record(boards))
        assert not sealed.add(held, [a_board(digest="other")], sealed_record([a_board()]))
    assert sealed.until(["online"], 7) == boards
    assert sealed.until(["online"], 6) == sealed.until(["elsewhere"], 7) == []
    assert sealed.get("online", 7, "zh") == boards[1]
    assert sealed.get("online", 7, "de") is sealed.get("online", 8, "zh") is None
    (row,) = sealed.records(["online"])
    assert (row.seq, row.record.data) == (None, sealed_record(boards).data)


def test_whoever_lost_the_lease_seals_nothing(world: World) -> None:
    with lease(world) as lost:
        pass
    with lease(world), pytest.raises(LeaseLost):
        world.store.sealed.add(lost, [a_board()], sealed_record([a_board()]))
    assert world.store.sealed.until(["online"], 9) == []
    assert world.store.sealed.records(["online"]) == []


def test_a_sealing_waits_from_its_place_on_until_its_boards_are_there(world: World) -> None:
    sealed, sealing = world.store.sealed, seal(world)
    assert sealed.waiting() == []
    with lease(world) as held:
        world.store.votes.seal(held, 9)
        assert [(row.seq, row.record.id) for row in sealed.waiting()] == [(1, sealing)]
        sealed.add(held, [a_board(sealing)], sealed_record([a_board(sealing)]))
        assert sealed.waiting() == []


# --- the operator -------------------------------------------------------------------------------


def test_a_sealing_is_an_act_of_an_operator_with_its_statement(fake: World) -> None:
    seal(fake)
    (entry,) = fake.store.audit.page(None, 5)
    assert (entry.act.act, entry.act.target) == ("campaign.seal", "online")
    assert entry.act.details == {"statement": STATEMENT}


@pytest.mark.parametrize("statement", ["", " \t", "\x00", "x" * (LONGEST_STATEMENT + 1)])
def test_a_seal_needs_a_statement_that_can_be_read(fake: World, statement: str) -> None:
    with pytest.raises(InvalidField) as refused:
        Sealings(fake.store).seal(CAMPAIGN, statement)
    assert refused.value.field == "statement"
    assert fake.store.sealed.records(["online"]) == []


def test_a_statement_is_one_line_of_what_can_be_seen() -> None:
    record = sealing_record(CAMPAIGN, " It\nis \x1bover\u202e. ")
    assert record.reason == "It is over ."


def test_what_was_never_sealed_is_not_found(fake: World) -> None:
    with pytest.raises(NotFound):
        Sealings(fake.store).get(CAMPAIGN, 3)
