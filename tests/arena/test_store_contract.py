"""The promises of `interfaces.Store`, kept alike in memory, by SQLite and by PostgreSQL."""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import event, text
from sqlalchemy.exc import DataError

from arena.battle import Answer, BattleState, Leak, Message, TurnState, WholeBattle
from arena.circuit import Circuit, CircuitState
from arena.clock import now, today
from arena.errors import (
    BadFile,
    Conflict,
    Erased,
    ForkedLog,
    LeaseLost,
    NoRoom,
    TooMany,
    Unavailable,
)
from arena.events import MODEL_TYPES
from arena.interfaces import (
    Act,
    Campaign,
    GivenVote,
    Head,
    Invitation,
    Lease,
    LeaseSeen,
    ModelEntry,
    Node,
    Outcome,
    PairTable,
    Published,
    Rated,
    Room,
    SealedBoard,
    Snapshot,
    Store,
    StoredVote,
    Usage,
)
from arena.metrics import RECORDS
from arena.records import IDENTITY_LEAK, LEAF_FIELDS, Content, Record, remark
from arena.store import SqlStore, open_store
from arena.store.battles import _erased, _New
from arena.store.engine import Database
from arena.store.migrate import upgrade
from arena.store.tables import metadata
from tests.fakes import (
    ANSWERS,
    CAMPAIGN,
    MODELS,
    STEPS,
    FakeStore,
    a_battle,
    a_remark,
    a_turn,
    a_vote,
    at_once,
    log_rows,
)

OTHER = replace(CAMPAIGN, id="other", position=5, public=False)
OPENING = Message("user", "Who? 🙂"), Message("assistant", "Somebody.")


# --- the three stores ---------------------------------------------------------------------------


def migrated(url: str) -> SqlStore:
    database = Database(url)
    upgrade(database)
    database.close()
    return open_store(url)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A migrated database file that holds nothing."""
    path = tmp_path_factory.mktemp("template") / "arena.db"
    migrated(f"sqlite:///{path}").close()
    return path.read_bytes()


@pytest.fixture(scope="session")
def postgres_store(postgres_server_url: str) -> Iterator[SqlStore]:
    """A migrated database of its own; `store` empties it for each test."""
    store = migrated(postgres_server_url.replace("postgresql:", "postgresql+psycopg:", 1))
    yield store
    store.close()


def emptied(store: SqlStore) -> SqlStore:
    names = ", ".join(table.name for table in metadata.sorted_tables)
    with store._db.write() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    return SqlStore(store._db)  # one that remembers nothing


@pytest.fixture(params=["fake", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store with the default campaign and a second, private one."""
    if request.param == "fake":
        made: Store = FakeStore()
    elif request.param == "postgres":
        made = emptied(request.getfixturevalue("postgres_store"))
    else:
        path = tmp_path / "arena.db"
        path.write_bytes(request.getfixturevalue("sqlite_template"))
        made = open_store(f"sqlite:///{path}")
    made.campaigns.add(CAMPAIGN)
    made.campaigns.add(OTHER)
    yield made
    if isinstance(made, SqlStore) and request.param == "sqlite":
        made.close()


# --- small steps that many tests take -----------------------------------------------------------


def start(store: Store, battle_id: str = "b1", **changes: Any) -> None:
    store.battles.add(a_battle(battle_id, **changes), a_turn(battle_id))


def make_ready(store: Store, battle_id: str = "b1", **changes: Any) -> None:
    start(store, battle_id, **changes)
    assert store.battles.claim(battle_id, "r1")
    assert finish(store, battle_id)


def finish(store: Store, battle_id: str = "b1", number: int = 1, runner: str = "r1") -> bool:
    return store.battles.finish_turn(battle_id, number, ANSWERS, STEPS, runner)


def fail(store: Store, battle_id: str = "b1", number: int = 1, runner: str = "r1") -> bool:
    return store.battles.fail_turn(
        battle_id, number, reason="endpoint_failed", side="b", error="it broke", runner=runner
    )


def vote(store: Store, battle_id: str = "b1", record_id: str = "v1", turn: int = 1) -> bool:
    given = GivenVote(*a_vote(record_id, battle_id), "ann", turn, "k", "d")
    return store.votes.add_votes([given]) != [None]


def unnamed(vote: StoredVote | None) -> Any:
    """What two stores must agree on: each gives the voter a pseudonym of its own."""
    return vote and (replace(vote.record, voter=None), vote.idempotency_key, vote.request_digest)


def state(store: Store, battle_id: str = "b1") -> BattleState:
    battle = store.battles.get(battle_id)
    assert battle is not None
    return battle.state


def worker_lease(store: Store) -> Lease:
    lease = store.leases.take("worker", "w1", store.leases.look("worker"))
    assert lease is not None
    return lease


def seal_all(store: Store) -> Lease:
    lease = worker_lease(store)
    while store.votes.seal(lease, 1000):
        pass
    return lease


def sequence(store: Store) -> list[tuple[int, str]]:
    return [(row.seq, row.id) for row in store.votes.counted(0, 100_000)]


# --- battles and turns --------------------------------------------------------------------------


def test_a_started_battle_reads_back_as_it_was_given(store: Store) -> None:
    battle = a_battle(language="zh", category_tag="math", redrawn_from="b0")
    store.battles.add(battle, a_turn())
    assert store.battles.get("b1") == battle
    assert store.battles.turns("b1") == [a_turn()]
    assert store.battles.turn("b1", 1) == a_turn()


def test_what_does_not_exist_reads_as_nothing(store: Store) -> None:
    assert store.battles.get("b1") is None
    assert store.battles.turns("b1") == []
    assert store.battles.turn("b1", 1) is None
    assert store.battles.claim("b1", "r1") is None
    assert store.votes.vote_of("b1") is None
    assert store.votes.counted_record("v1") is None
    assert store.campaigns.get("nothing") is None
    assert store.snapshots.latest("online", "overall") is None
    assert store.leases.look("worker") is None
    assert not finish(store) and not fail(store) and not vote(store)
    assert not store.battles.add_turn(a_turn(number=2))
    assert not store.battles.skip("b1") and not store.battles.request_stop("b1")


def test_a_finished_turn_reads_back_with_its_answers_and_steps(store: Store) -> None:
    make_ready(store)
    turn = store.battles.turn("b1", 1)
    assert turn is not None
    assert turn.state is TurnState.ready
    assert turn.answers() == ANSWERS
    assert turn.steps == STEPS
    assert [frame.a for frame in turn.frames()] == ["Alpha", " answers.", ""]
    assert "".join(frame.b for frame in turn.frames()) == ANSWERS[1].text


def test_a_claimed_battle_is_running_and_no_longer_waiting(store: Store) -> None:
    start(store, "b1", created_at="2026-01-01T00:00:02.000Z")
    start(store, "b0", created_at="2026-01-01T00:00:03.000Z")
    start(store, "b2", created_at="2026-01-01T00:00:01.000Z")
    assert store.battles.waiting() == ["b2", "b1", "b0"]
    claimed = store.battles.claim("b1", "r1")
    assert claimed is not None and claimed.state is BattleState.running
    assert store.battles.waiting() == ["b2", "b0"]
    assert store.battles.claimed() == {"r1": [("b1", 1)]}


def test_only_the_runner_that_claimed_a_turn_can_end_it(store: Store) -> None:
    start(store)
    store.battles.claim("b1", "r1")
    assert not finish(store, runner="r2") and not fail(store, runner="r2")
    assert not finish(store, number=2) and not fail(store, number=2)
    assert state(store) is BattleState.running
    assert finish(store)
    assert not finish(store) and not fail(store)


def test_a_failed_first_turn_voids_the_battle_and_counts_against_its_model(store: Store) -> None:
    start(store)
    store.battles.claim("b1", "r1")
    assert fail(store)
    assert state(store) is BattleState.void
    turn = store.battles.turn("b1", 1)
    assert turn is not None
    assert (turn.state, turn.void_reason) == (TurnState.void, "endpoint_failed")
    assert store.battles.voids_by_model() == {"m1": 1}
    assert store.battles.claimed() == {}


def test_void_rates_are_of_battles_that_are_over_by_campaign(store: Store) -> None:
    start(store)
    store.battles.claim("b1", "r1")
    assert fail(store)  # m1 failed
    make_ready(store, "b2")
    assert store.battles.void_rates() == {"online": {"m0": 0.0, "m1": 1.0}}  # b2 is still blind
    assert store.battles.skip("b2")
    assert store.battles.void_rates() == {"online": {"m0": 0.0, "m1": 0.5}}


def test_a_void_without_a_guilty_side_counts_against_no_model(store: Store) -> None:
    start(store)
    store.battles.claim("b1", "r1")
    assert store.battles.fail_turn(
        "b1", 1, reason="interrupted", side=None, error=None, runner="r1"
    )
    assert store.battles.voids_by_model() == {}


def test_a_failed_follow_up_is_withdrawn_and_the_battle_ready_again(store: Store) -> None:
    make_ready(store)
    assert store.battles.add_turn(a_turn(number=2))
    assert state(store) is BattleState.running
    assert store.battles.waiting() == ["b1"]
    assert store.battles.claim("b1", "r2")
    assert fail(store, number=2, runner="r2")
    battle = store.battles.get("b1")
    assert battle is not None
    assert (battle.state, battle.turn) == (BattleState.ready, 2)
    ends = [(turn.state, turn.void_reason) for turn in store.battles.turns("b1")]
    assert ends == [(TurnState.ready, None), (TurnState.void, "endpoint_failed")]
    assert vote(store, turn=2)


def test_the_next_follow_up_leaves_the_reason_with_the_one_that_failed(store: Store) -> None:
    make_ready(store)
    store.battles.add_turn(a_turn(number=2))
    store.battles.claim("b1", "r1")
    fail(store, number=2)
    assert store.battles.add_turn(a_turn(number=3))
    reasons = [turn.void_reason for turn in store.battles.turns("b1")]
    assert reasons == [None, "endpoint_failed", None]


def test_a_follow_up_must_be_the_next_turn_of_a_ready_battle(store: Store) -> None:
    start(store)
    assert not store.battles.add_turn(a_turn(number=2))
    store.battles.claim("b1", "r1")
    assert not store.battles.add_turn(a_turn(number=2))
    finish(store)
    assert not store.battles.add_turn(a_turn(number=1))
    assert not store.battles.add_turn(a_turn(number=3))
    assert len(store.battles.turns("b1")) == 1
    assert store.battles.add_turn(a_turn(number=2, prompt="And now?"))
    assert [turn.prompt for turn in store.battles.turns("b1")] == ["Why?", "And now?"]


def test_skipping_ends_any_battle_that_is_not_over(store: Store) -> None:
    for battle_id in ("created", "running", "ready", "voted", "void"):
        start(store, battle_id)
    for battle_id in ("running", "ready", "voted", "void"):
        store.battles.claim(battle_id, "r1")
    for battle_id in ("ready", "voted"):
        finish(store, battle_id)
    vote(store, "voted")
    fail(store, "void")
    skipped = {name: store.battles.skip(name) for name in ("created", "running", "ready")}
    assert skipped == {"created": True, "running": True, "ready": True}
    assert not store.battles.skip("voted") and not store.battles.skip("void")
    assert not store.battles.skip("created")
    assert store.battles.by_state() == {"skipped": 3, "voted": 1, "void": 1}
    assert store.battles.waiting() == []
    assert not finish(store, "running")


def test_a_skipped_battle_leaves_no_turn_running(store: Store) -> None:
    start(store, "early")
    start(store, "late")
    store.battles.claim("late", "r1")
    make_ready(store, "judged")
    for battle_id in ("early", "late", "judged"):
        store.battles.skip(battle_id)
    states = {name: store.battles.turns(name)[0].state for name in ("early", "late", "judged")}
    assert states == {
        "early": TurnState.void,
        "late": TurnState.void,
        "judged": TurnState.ready,
    }


def test_a_stop_is_kept_until_the_turn_ends(store: Store) -> None:
    start(store)
    assert store.battles.request_stop("b1")
    store.battles.claim("b1", "r1")
    assert store.battles.interrupted(["b1", "unknown"]) == {"b1": "stop"}
    assert finish(store)
    battle = store.battles.get("b1")
    assert battle is not None and not battle.stop_requested
    assert not store.battles.request_stop("b1")
    store.battles.add_turn(a_turn(number=2))
    store.battles.claim("b1", "r1")
    assert store.battles.interrupted(["b1"]) == {}


def test_battles_that_left_the_running_state_are_told_to_their_runner(store: Store) -> None:
    for battle_id in ("b1", "b2", "b3"):
        start(store, battle_id)
        store.battles.claim(battle_id, "r1")
    store.battles.skip("b1")
    store.battles.request_stop("b2")
    assert store.battles.interrupted(["b1", "b2", "b3"]) == {"b1": "leave", "b2": "stop"}
    assert store.battles.interrupted([]) == {}


def test_running_battles_are_counted_in_all_and_for_one_voter(store: Store) -> None:
    start(store, "b1")
    start(store, "b2", voter="bob")
    store.battles.claim("b2", "r1")
    make_ready(store, "b3")
    assert store.battles.running() == (0, 2)
    assert store.battles.running("ann") == (1, 2)
    assert store.battles.running("bob") == (1, 2)
    assert store.battles.running("eve") == (0, 2)


def test_a_battle_is_read_whole(store: Store) -> None:
    make_ready(store)
    battle = store.battles.get("b1")
    assert battle is not None
    assert store.battles.whole("b1") == WholeBattle(battle, tuple(store.battles.turns("b1")))
    assert store.battles.whole("unknown") is None


def test_a_battle_that_goes_on_with_a_conversation_keeps_it(store: Store) -> None:
    make_voted(store)
    battle = a_battle("b2", continued_from="b1")
    store.battles.add(battle, a_turn("b2"), OPENING)
    assert store.battles.whole("b2") == WholeBattle(battle, (a_turn("b2"),), OPENING)
    store.votes.erase(["b1"], "voter")
    assert store.battles.whole("b2") == WholeBattle(battle, (a_turn("b2"),), OPENING)
    store.votes.erase(["b2"], "voter")
    after = store.battles.whole("b2")
    assert after is not None and after.opening == ()


@pytest.mark.parametrize("link", ["continued_from", "redrawn_from"])
def test_a_battle_takes_nothing_over_that_was_erased_meanwhile(store: Store, link: str) -> None:
    make_voted(store)
    store.votes.erase(["b1"], "voter")
    with pytest.raises(Erased):
        store.battles.add(a_battle("b2", **{link: "b1"}), a_turn("b2"), OPENING)
    assert store.battles.get("b2") is None


def test_a_redraw_of_a_void_battle_needs_only_that_one(store: Store) -> None:
    make_voted(store)
    start(store, "b2", continued_from="b1")
    store.votes.erase(["b1"], "voter")
    start(store, "b3", redrawn_from="b2", continued_from="b1")
    assert store.battles.get("b3") is not None


@pytest.mark.postgres
def test_what_a_battle_takes_over_is_not_erased_before_the_battle_is_there(
    postgres_store: SqlStore,
) -> None:
    store = emptied(postgres_store)
    store.campaigns.add(CAMPAIGN)
    make_voted(store)
    with ThreadPoolExecutor(1) as pool, store._db.write() as adding:
        assert _erased(adding, ["b1"]) == set()
        erasing = pool.submit(store.votes.erase, ["b1"], "operator")
        with pytest.raises(FutureTimeout):
            erasing.result(0.3)
        adding.commit()
        assert erasing.result(5) == ["b1"]


def test_battles_that_took_over_from_one_are_found_at_any_remove(store: Store) -> None:
    links: tuple[dict[str, str], ...] = (
        {},
        {"continued_from": "b1"},
        {"continued_from": "b2"},
        {"redrawn_from": "b3", "continued_from": "b2"},
        {},
        {"redrawn_from": "b5"},
    )
    for number, link in enumerate(links, 1):
        start(store, f"b{number}", **link)
    assert sorted(store.battles.kept_of("b1")) == ["b1", "b2", "b3", "b4"]
    assert sorted(store.battles.kept_of("b5")) == ["b5", "b6"]
    store.votes.erase(["b1", "b3"], "voter")
    assert sorted(store.battles.kept_of("b1")) == ["b2", "b4"]
    assert store.battles.kept_of("unknown") == []


def test_a_failed_follow_up_counts_against_its_model_too(store: Store) -> None:
    make_ready(store)
    assert store.battles.add_turn(a_turn(number=2))
    assert store.battles.claim("b1", "r1")
    assert store.battles.fail_turn(
        "b1", 2, reason="endpoint_failed", side="b", error="broken", runner="r1"
    )
    battle = store.battles.get("b1")
    assert battle is not None and battle.state is BattleState.ready
    assert store.battles.voids_by_model() == {battle.model_b: 1}
    assert store.battles.void_rates() == {}
    assert store.battles.skip("b1")
    assert store.battles.void_rates()["online"][battle.model_b] == 0.5  # one of two turns


def test_a_report_changes_nothing_of_the_battle(store: Store) -> None:
    make_ready(store)
    before = store.battles.get("b1"), store.battles.turns("b1")
    store.battles.report("b1", "ann", "rude 😡")
    assert (store.battles.get("b1"), store.battles.turns("b1")) == before


def test_sixteen_runners_claim_a_battle_and_one_gets_it(store: Store) -> None:
    for battle_id in ("b1", "b2", "b3"):
        start(store, battle_id)
        calls = [lambda i=i, b=battle_id: store.battles.claim(b, f"r{i}") for i in range(16)]
        winners = [i for i, battle in enumerate(at_once(calls)) if battle is not None]
        assert len(winners) == 1
        assert finish(store, battle_id, runner=f"r{winners[0]}")


def test_only_one_of_many_contrary_moves_wins(store: Store) -> None:
    for round_number in range(3):
        battle_id = f"b{round_number}"
        make_ready(store, battle_id)
        moves: list[Callable[[], bool]] = [
            *(lambda b=battle_id, i=i: vote(store, b, f"{b}-{i}") for i in range(6)),
            *[lambda b=battle_id: store.battles.skip(b)] * 5,
            *[lambda b=battle_id: store.battles.add_turn(a_turn(b, 2))] * 5,
        ]
        random.Random(round_number).shuffle(moves)  # noqa: S311  an order, not a secret
        won = sum(at_once(moves))
        # a follow-up may still be skipped, everything else is the end
        assert won == 1 or (won == 2 and state(store, battle_id) is BattleState.skipped)
        voted = state(store, battle_id) is BattleState.voted
        assert voted == (store.votes.vote_of(battle_id) is not None)


def fits(act: Callable[[], Any]) -> bool:
    """Whether there was room for it."""
    try:
        return act() is not False
    except (TooMany, NoRoom):
        return False


def test_sixty_four_battles_of_one_voter_at_once_fill_their_places_exactly(store: Store) -> None:
    room = Room(each=3, together=50)
    adds = [
        lambda n=n: store.battles.add(a_battle(f"b{n}"), a_turn(f"b{n}"), room=room)
        for n in range(64)
    ]
    assert sum(at_once([lambda add=add: fits(add) for add in adds])) == 3
    assert store.battles.running("ann") == (3, 3)


def test_sixty_four_voters_at_once_fill_the_places_of_all_exactly(store: Store) -> None:
    room = Room(each=3, together=7)
    adds = [
        lambda n=n: store.battles.add(
            a_battle(f"b{n}", voter=f"voter {n}"), a_turn(f"b{n}"), room=room
        )
        for n in range(64)
    ]
    assert sum(at_once([lambda add=add: fits(add) for add in adds])) == 7
    assert store.battles.running().together == 7


def test_battles_that_begin_together_are_judged_one_by_one(store: Store) -> None:
    if not isinstance(store, SqlStore):
        pytest.skip("of SQL only")
    make_voted(store, "gone")
    store.votes.erase(["gone"], "voter")
    start(store, "runs")
    room = Room(each=2, together=4)
    brought = [
        _New(a_battle("b1"), a_turn("b1"), OPENING, room),
        _New(a_battle("b2"), a_turn("b2"), (), room),  # Ann's third
        _New(a_battle("b3", redrawn_from="gone", voter="bob"), a_turn("b3"), (), room),
        _New(a_battle("b4", voter="bob"), a_turn("b4"), (), room),
        _New(a_battle("b5"), a_turn("b5"), (), None),
        _New(a_battle("b6", voter="eve"), a_turn("b6"), (), room),  # the fifth of all
    ]
    refusals = store.battles._add(brought)
    kinds = [None, TooMany, Erased, None, None, NoRoom]
    assert [refusal and type(refusal) for refusal in refusals] == kinds
    for new, refusal in zip(brought, refusals, strict=True):
        whole = WholeBattle(new.battle, (new.turn,), tuple(new.opening))
        assert store.battles.whole(new.battle.id) == (None if refusal else whole)


def test_one_that_cannot_be_written_takes_no_other_with_it(store: Store) -> None:
    start(store, "b0")
    ids = ["b1", "b0", "b2", "b0", "b3"]

    def added(battle_id: str) -> bool:
        try:
            start(store, battle_id)
        except Exception:  # noqa: BLE001  whatever the store says of a second one
            return False
        return True

    found = at_once([lambda battle_id=battle_id: added(battle_id) for battle_id in ids])
    assert sorted(zip(ids, found, strict=True)) == [
        ("b0", False),
        ("b0", False),
        ("b1", True),
        ("b2", True),
        ("b3", True),
    ]


def test_follow_ups_take_places_too(store: Store) -> None:
    for number in range(8):
        make_ready(store, f"b{number}", voter=f"voter {number % 2}")
    follow = [
        lambda n=n, room=room: fits(lambda: store.battles.add_turn(a_turn(f"b{n}", 2), room=room))
        for room in [Room(each=2, together=3)]
        for n in range(8)
    ]
    assert sum(at_once(follow)) == 3
    assert max(store.battles.running(f"voter {n}").own for n in range(2)) == 2
    assert not fits(lambda: store.battles.add_turn(a_turn("nobody's", 2), room=Room(1, 9)))


@pytest.mark.postgres
def test_whoever_hangs_while_it_counts_battles_does_not_hold_up_the_others(
    postgres_store: SqlStore,
) -> None:
    store, room = emptied(postgres_store), Room(each=3, together=7)
    store.campaigns.add(CAMPAIGN)
    with store._db.write() as hanging:
        store.battles._wait_to_count(hanging)
        until = hanging.execute(text("SHOW idle_in_transaction_session_timeout")).scalar()
        patience = hanging.execute(text("SHOW lock_timeout")).scalar()
        assert (until, patience) == ("5s", "2s")
        with pytest.raises(Unavailable):
            store.battles.add(a_battle(), a_turn(), room=room)
    store.battles.add(a_battle(), a_turn(), room=room)


class BattleMoves(RuleBasedStateMachine):
    """Whatever order the moves come in, SQL and the fake give the same results."""

    template = b""
    ids = st.sampled_from(["b1", "b2"])
    runners = st.sampled_from(["r1", "r2"])
    numbers = st.integers(1, 3)

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory(prefix="arena-moves-")
        path = Path(self.folder.name) / "arena.db"
        path.write_bytes(self.template)
        self.sql = open_store(f"sqlite:///{path}")
        self.fake = FakeStore()
        self.votes = itertools.count()
        for one in (self.sql, self.fake):
            one.campaigns.add(CAMPAIGN)
            for battle_id in ("b1", "b2"):
                start(one, battle_id, created_at=f"2026-01-01T00:00:00.{battle_id}Z")

    def teardown(self) -> None:
        self.sql.close()
        self.folder.cleanup()

    def same(self, move: Callable[[Store], Any]) -> None:
        assert move(self.sql) == move(self.fake)

    @rule(b=ids, r=runners)
    def claim(self, b: str, r: str) -> None:
        self.same(lambda store: store.battles.claim(b, r))

    @rule(b=ids, n=numbers, r=runners)
    def finish(self, b: str, n: int, r: str) -> None:
        self.same(lambda store: finish(store, b, n, r))

    @rule(b=ids, n=numbers, r=runners)
    def fail(self, b: str, n: int, r: str) -> None:
        self.same(lambda store: fail(store, b, n, r))

    @rule(b=ids, n=numbers)
    def follow_up(self, b: str, n: int) -> None:
        self.same(lambda store: store.battles.add_turn(a_turn(b, n)))

    @rule(b=ids)
    def skip(self, b: str) -> None:
        self.same(lambda store: store.battles.skip(b))

    @rule(b=ids)
    def stop(self, b: str) -> None:
        self.same(lambda store: store.battles.request_stop(b))

    @rule(b=ids, n=numbers)
    def vote(self, b: str, n: int) -> None:
        record_id = f"v{next(self.votes)}"
        self.same(lambda store: vote(store, b, record_id, n))

    @rule(b=ids)
    def answer_at_once(self, b: str) -> None:
        """Claim and finish the battle's latest turn: so that later turns come up often."""
        battle = self.fake.battles.get(b)
        assert battle is not None
        self.claim(b, "r1")
        self.finish(b, battle.turn, "r1")

    @invariant()
    def everything_reads_alike(self) -> None:
        for b in ("b1", "b2"):
            self.same(lambda store, b=b: store.battles.get(b))
            self.same(lambda store, b=b: store.battles.turns(b))
            self.same(lambda store, b=b: unnamed(store.votes.vote_of(b)))
        self.same(lambda store: store.battles.waiting())
        self.same(lambda store: store.battles.claimed())
        self.same(lambda store: store.battles.interrupted(["b1", "b2"]))
        self.same(lambda store: store.battles.by_state())
        self.same(lambda store: store.battles.voids_by_model())
        self.same(lambda store: store.usage.total())
        self.same(lambda store: (store.battles.running(), store.votes.unsealed()))
        self.same(lambda store: sorted(map(outcome_facts, store.votes.outcomes(["online"]))))


def outcome_facts(outcome: Outcome) -> tuple[str, str, str | None, str | None]:
    return outcome.battle.id, outcome.type, outcome.side, outcome.error


def test_every_order_of_moves_has_the_same_results_in_sql_and_in_the_fake(
    sqlite_template: bytes,
) -> None:
    BattleMoves.template = sqlite_template
    run_state_machine_as_test(
        BattleMoves, settings=settings(max_examples=15, stateful_step_count=25, deadline=None)
    )


# --- votes --------------------------------------------------------------------------------------


def test_a_vote_needs_a_ready_battle_at_the_turn_the_voter_saw(store: Store) -> None:
    start(store)
    assert not vote(store)
    store.battles.claim("b1", "r1")
    assert not vote(store)
    finish(store)
    assert not vote(store, turn=2)
    assert store.votes.unsealed() == 0
    assert vote(store)
    assert state(store) is BattleState.voted
    assert not vote(store, record_id="v2")
    assert store.votes.unsealed() == 1


def test_a_refused_vote_leaves_nothing_behind(store: Store) -> None:
    make_ready(store)
    store.battles.skip("b1")
    assert not vote(store)
    assert store.votes.vote_of("b1") is None
    assert store.votes.counted_record("v1") is None
    seal_all(store)
    assert store.votes.position() == 0


def test_the_vote_of_a_battle_is_read_with_its_receipt_and_request(store: Store) -> None:
    make_ready(store)
    vote(store)
    found = store.votes.vote_of("b1")
    assert found is not None
    record = replace(a_vote("v1", "b1")[0], voter=found.record.voter)
    assert (found.record, found.hash) == (record, record.leaf())
    assert (found.idempotency_key, found.request_digest) == ("k", "d")


LEAKS = (Leak("a", "qwen"), Leak("b", "openai"))


def test_a_turn_keeps_which_answer_gave_which_name_away(store: Store) -> None:
    start(store)
    store.battles.claim("b1", "r1")
    assert store.battles.finish_turn("b1", 1, ANSWERS, STEPS, "r1", leaks=LEAKS)
    make_ready(store, "b2")
    assert [turn.leaks for turn in store.battles.turns("b1")] == [LEAKS]
    whole, plain = store.battles.whole("b1"), store.battles.whole("b2")
    assert whole is not None and whole.leaks() == {"a": "qwen", "b": "openai"}
    assert plain is not None and plain.leaks() == {}


def test_an_erasure_removes_what_a_turn_says_of_its_text(store: Store) -> None:
    start(store)
    store.battles.claim("b1", "r1")
    store.battles.finish_turn("b1", 1, ANSWERS, STEPS, "r1", leaks=LEAKS)
    assert store.votes.erase(["b1"], "voter") == ["b1"]
    assert [turn.leaks for turn in store.battles.turns("b1")] == [()]


def a_leak(record: Record, side: str) -> Record:
    data = {"side": side, "name": "qwen"}
    return replace(remark("flag", record, IDENTITY_LEAK, record.timestamp), data=data)


def test_the_flags_of_a_vote_are_committed_with_it_and_follow_it(store: Store) -> None:
    make_ready(store)
    record, content = a_vote("v1", "b1")
    flags = tuple(a_leak(record, side) for side in ("a", "b"))
    (stored,) = store.votes.add_votes([GivenVote(record, content, "ann", 1, "k", "d", flags)])
    assert stored is not None
    assert store.votes.unsealed() == 3
    seal_all(store)
    vote, *said = store.votes.counted(0, 9)
    assert (vote.seq, vote.id) == (1, "v1")
    assert [(row.seq, row.type, row.target, row.reason, row.data) for row in said] == [
        (n, "flag", "v1", IDENTITY_LEAK, {"side": side, "name": "qwen"})
        for n, side in ((2, "a"), (3, "b"))
    ]
    found = store.votes.find("v1")
    assert found is not None and found.flags == (IDENTITY_LEAK, IDENTITY_LEAK)


def test_flags_of_a_vote_that_lost_are_not_written(store: Store) -> None:
    make_ready(store)
    vote(store)
    record, content = a_vote("v2", "b1")
    given = GivenVote(record, content, "ann", 1, None, "d", (a_leak(record, "a"),))
    assert store.votes.add_votes([given]) == [None]
    assert store.votes.unsealed() == 1


def test_votes_that_are_added_together_are_each_stored_or_not(store: Store) -> None:
    for battle_id in ("b1", "b2", "voted"):
        make_ready(store, battle_id)
    vote(store, "voted", "v0")
    told = [("v1", "b1", 1), ("v2", "b1", 1), ("v3", "voted", 1), ("v4", "b2", 2), ("v5", "b9", 1)]
    told.append(("v6", "b2", 1))
    votes = [
        GivenVote(*a_vote(name, battle), f"voter of {name}", turn, name, "d")
        for name, battle, turn in told
    ]
    stored = store.votes.add_votes(votes)
    assert [one and one.record.id for one in stored] == ["v1", None, None, None, None, "v6"]
    assert stored[0] == store.votes.vote_of("b1") and stored[-1] == store.votes.vote_of("b2")
    assert [one.idempotency_key for one in stored if one] == ["v1", "v6"]
    assert store.votes.unsealed() == 3


def test_no_votes_are_added_together(store: Store) -> None:
    assert store.votes.add_votes([]) == []


def test_flags_of_votes_that_are_added_together_are_each_of_their_vote(store: Store) -> None:
    numbers = range(16)
    given = []
    for number in numbers:
        make_ready(store, f"b{number}")
        record, content = a_vote(f"v{number}", f"b{number}")
        flags = (a_leak(record, "b"),) if number % 2 else ()
        given.append(GivenVote(record, content, "a", 1, None, "d", flags))
    assert None not in store.votes.add_votes(given)
    seal_all(store)
    log = store.votes.counted(0, 99)
    places = {row.id: row.seq for row in log if row.type == "vote"}
    flagged = {row.target: row.seq for row in log if row.type == "flag"}
    assert flagged.keys() == {f"v{number}" for number in numbers if number % 2}
    assert all(flagged[vote] == places[vote] + 1 for vote in flagged)


def test_sixty_four_votes_at_once_leave_exactly_one_record(store: Store) -> None:
    make_ready(store)
    won = at_once([lambda i=i: vote(store, "b1", f"v{i}") for i in range(64)])
    assert sum(won) == 1
    found = store.votes.vote_of("b1")
    assert found is not None and found.record.id == f"v{won.index(True)}"
    assert store.votes.unsealed() == 1


def voted_as(store: Store, battle_id: str, voter: str, campaign: str = "online") -> str:
    """The voter's name in the log, by a vote on a battle that is ready."""
    given = a_vote(f"v-{battle_id}", battle_id, campaign=campaign)
    (stored,) = store.votes.add_votes([GivenVote(*given, voter, 1, None, "d")])
    assert stored is not None and stored == store.votes.vote_of(battle_id)
    return str(stored.record.voter)


def test_votes_on_many_battles_at_once_are_each_stored_for_their_battle(store: Store) -> None:
    numbers = range(24)
    for number in numbers:
        make_ready(store, f"b{number}")
    assert all(at_once([lambda n=n: vote(store, f"b{n}", f"v{n}") for n in numbers]))
    found = [store.votes.vote_of(f"b{number}") for number in numbers]
    assert [one and one.record.id for one in found] == [f"v{number}" for number in numbers]
    assert len({one and one.record.voter for one in found}) == 1
    assert all(one and one.hash == one.record.leaf() for one in found)
    contents = [store.votes.content(f"v{number}") for number in numbers]
    assert contents == [a_vote(f"v{number}", f"b{number}")[1] for number in numbers]


def test_a_voter_keeps_one_pseudonym_per_campaign(store: Store) -> None:
    for number, campaign in enumerate(("online", "online", "other", "online")):
        make_ready(store, f"b{number}", campaign=campaign)
    first = voted_as(store, "b0", "ann")
    assert voted_as(store, "b1", "ann") == first
    others = {voted_as(store, "b2", "ann", "other"), voted_as(store, "b3", "bob")}
    assert len({first, "ann", *others}) == 4


def test_the_first_eight_votes_of_a_voter_at_once_have_one_pseudonym(store: Store) -> None:
    for voter in ("ann", "bob"):
        battle_ids = [f"{voter}-{number}" for number in range(8)]
        for battle_id in battle_ids:
            make_ready(store, battle_id)
        names = at_once([lambda b=b, v=voter: voted_as(store, b, v) for b in battle_ids])
        assert len(set(names)) == 1


# --- imports ------------------------------------------------------------------------------------

IMPORTED = replace(CAMPAIGN, id="imported", title="Imported")


def imported_rows(count: int = 3, *, broken_at: int | None = None) -> Iterator[Any]:
    for number in range(1, count + 1):
        if number == broken_at:
            raise BadFile("cannot be read", file="votes.csv", row=number)
        yield a_vote(f"v{number}", campaign="imported")


def test_an_import_appends_every_row_and_makes_its_campaign(store: Store) -> None:
    assert store.votes.import_file(IMPORTED, "digest", imported_rows()) == 3
    assert store.campaigns.get("imported") == IMPORTED
    assert store.votes.unsealed() == 3


def test_votes_are_counted_among_the_records_that_come_with_them(store: Store) -> None:
    rows = [a_vote("v1"), a_remark("x1", "exclusion", "v1", "spam"), a_vote("v2")]
    assert store.votes.append(rows) == 2
    assert store.votes.unsealed() == 3


def test_an_import_of_more_rows_than_one_batch_is_complete_and_in_order(store: Store) -> None:
    assert store.votes.import_file(IMPORTED, "digest", imported_rows(2_345)) == 2_345
    seal_all(store)
    assert sequence(store) == [(n, f"v{n}") for n in range(1, 2_346)]


@pytest.mark.parametrize("row", [1, 2, 1_500])
def test_an_import_that_breaks_leaves_nothing_not_even_its_campaign(store: Store, row: int) -> None:
    with pytest.raises(BadFile):
        store.votes.import_file(IMPORTED, "digest", imported_rows(2_000, broken_at=row))
    assert store.votes.unsealed() == 0
    assert store.campaigns.get("imported") is None
    assert store.votes.import_file(IMPORTED, "digest", imported_rows()) == 3


def test_the_same_file_is_refused_a_second_time_in_the_same_campaign_only(store: Store) -> None:
    store.votes.import_file(IMPORTED, "digest", imported_rows())
    with pytest.raises(Conflict):
        store.votes.import_file(IMPORTED, "digest", imported_rows())
    assert store.votes.unsealed() == 3
    elsewhere = [a_vote("w1", campaign="other")]
    assert store.votes.import_file(OTHER, "digest", elsewhere) == 1


def test_the_same_file_imported_eight_times_at_once_is_there_once(store: Store) -> None:
    def one(number: int) -> str:
        rows = [a_vote(f"{number}-{i}", campaign="imported") for i in range(5)]
        try:
            return f"imported {store.votes.import_file(IMPORTED, 'digest', rows)}"
        except Conflict:
            return "refused"

    results = at_once([lambda n=n: one(n) for n in range(8)])
    assert sorted(results) == ["imported 5"] + ["refused"] * 7
    assert store.votes.unsealed() == 5


# --- sealing ------------------------------------------------------------------------------------


def test_sealing_numbers_committed_records_from_one_without_gaps(store: Store) -> None:
    store.votes.append([a_vote(f"v{i}") for i in range(5)])
    lease = worker_lease(store)
    assert store.votes.position() == 0
    assert [store.votes.seal(lease, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert sequence(store) == [(i + 1, f"v{i}") for i in range(5)]
    assert (store.votes.position(), store.votes.unsealed()) == (5, 0)
    store.votes.append([a_vote("v5")])
    assert (store.votes.position(), store.votes.unsealed()) == (5, 1)
    store.votes.seal(lease, 100)
    assert store.votes.position() == 6


def test_method_records_come_with_their_data_in_log_order_once_sealed(store: Store) -> None:
    data = {"method": {"name": "graded"}, "evidence": {"gain": 1.25, "se": None}}
    first, second = (
        Record(name, "method", CAMPAIGN.id, "2026-01-02T03:04:05.678Z", reason="So.", data=data)
        for name in ("e1", "e2")
    )
    lease = worker_lease(store)
    store.votes.append([(first, None), a_vote("v1"), (second, None)], lease)
    assert store.votes.events([CAMPAIGN.id]) == []
    store.votes.seal(lease, 10)
    events = store.votes.events([CAMPAIGN.id])
    assert [(row.seq, row.record, row.hash) for row in events] == [
        (3, second, second.leaf()),
        (1, first, first.leaf()),
    ]
    assert store.votes.events(["elsewhere"]) == []
    counted = store.votes.counted(0, 10)
    assert [record.data for record in counted] == [data, None, data]


def an_event(name: str, kind: str, campaign: str = "online") -> tuple[Record, None]:
    return Record(name, kind, campaign, now(), data={"model": "m"}), None


def test_events_are_read_newest_first_by_campaign_and_type_and_in_pages(store: Store) -> None:
    store.votes.append([an_event("e1", "entry"), a_vote("v1"), an_event("e2", "retirement")])
    store.votes.append([an_event("e3", "entry", "other"), an_event("e4", "entry")])
    assert store.votes.events(["online", "other"]) == [], "not sealed yet"
    seal_all(store)
    store.votes.append([an_event("e5", "entry")])

    def read(*campaigns: str, **how: Any) -> list[tuple[int | None, str]]:
        return [(row.seq, row.record.id) for row in store.votes.events(campaigns, **how)]

    assert read("online") == [(5, "e4"), (3, "e2"), (1, "e1")]
    assert read("online", "other", types=["entry"]) == [(5, "e4"), (4, "e3"), (1, "e1")]
    assert read("online", "other", limit=2) == [(5, "e4"), (4, "e3")]
    assert read("online", "other", before=4, limit=1) == [(3, "e2")]
    assert read() == read("online", types=[]) == []


def test_the_votes_on_a_model_are_counted_by_campaign_and_time(store: Store) -> None:
    for number, (campaign, models) in enumerate(
        [("online", "ab"), ("other", "ba"), ("other", "bc"), ("other", "ab")]
    ):
        record, content = a_vote(
            f"v{number}",
            campaign=campaign,
            model_a=models[0],
            model_b=models[1],
            timestamp=at(number),
        )
        store.votes.append([(record, content)])
    store.votes.append([a_remark("x", "flag", "v1", "a")])
    assert store.votes.votes_of("a", ["other"], at(9)) == 2
    assert store.votes.votes_of("a", ["other"], at(3)) == 1
    assert store.votes.votes_of("a", ["online", "other"], at(9)) == 3
    assert store.votes.votes_of("a", [], at(9)) == 0


def told(store: Store) -> list[tuple[str, str | None, str]]:
    """What the log says of campaigns, sealed or not: which one, why, and its consent."""
    seal_all(store)
    rows = store.votes.events(["online", "other", "new"], ["campaign"])
    return [
        (row.record.campaign, row.record.reason, (row.record.data or {})["consent"])
        for row in reversed(rows)
    ]


def test_what_an_operator_makes_and_changes_is_told_in_the_same_transaction(store: Store) -> None:
    made = replace(CAMPAIGN, id="new")
    assert store.campaigns.add(made, Act(at(1), "campaign.create", "new"))
    assert not store.campaigns.add(made, Act(at(2), "campaign.create", "new"))
    change = Act(at(3), "campaign.change", "new")
    assert store.campaigns.change("new", {"consent": "Second."}, change)
    assert not store.campaigns.change("none", {"consent": "Third."}, change)
    assert store.campaigns.change("online", {"consent": "Fourth."}, change)
    first = CAMPAIGN.consent
    assert told(store) == [
        *(("new", "made", first), ("new", "changed", "Second.")),
        *(("online", "found", first), ("online", "changed", "Fourth.")),
    ]
    digests = [row.record.consent for row in store.votes.events(["new", "online"], ["campaign"])]
    assert digests[1] == digests[3] == CAMPAIGN.consent_digest()
    for row in store.votes.events(["new", "online"]):
        assert row.record.leaf() == row.hash


def test_the_worker_tells_campaigns_that_nothing_has_told_and_each_once(store: Store) -> None:
    lease = worker_lease(store)
    assert store.campaigns.tell(lease, ["other", "online", "none"]) == 2
    assert store.campaigns.tell(lease, ["online", "other"]) == 0
    store.leases.release(lease)
    with pytest.raises(LeaseLost):
        store.campaigns.tell(replace(lease, fence=99), ["online"])
    found = [(name, why) for name, why, _ in told(store)]
    assert found == [("online", "found"), ("other", "found")]


def test_changes_of_a_campaign_at_the_same_moment_are_told_as_they_came(store: Store) -> None:
    acts = [Act(at(n), "campaign.change", "online", {"n": n}) for n in range(8)]
    at_once(
        [lambda act=act: store.campaigns.change("online", {"consent": act.at}, act) for act in acts]
    )
    log = told(store)
    assert [why for _, why, _ in log] == ["found", *["changed"] * 8]
    assert {text for *_, text in log} == {CAMPAIGN.consent, *(act.at for act in acts)}
    newest = store.campaigns.get("online")
    assert newest is not None and log[-1][2] == newest.consent


def test_a_revision_of_the_roster_keeps_the_reason_that_was_given(store: Store) -> None:
    store.roster.replace(MODELS[:2], at(1), reason="A better one came.")
    store.roster.replace(MODELS[:2], at(2), reason="Nothing changed.")
    store.roster.replace(MODELS[:1], at(3))
    assert [one.reason for one in store.roster.history()] == ["A better one came.", None]


def test_a_battle_keeps_the_consent_of_its_last_turn_and_so_does_its_vote(store: Store) -> None:
    make_ready(store, consent="first")
    assert store.battles.add_turn(a_turn(number=2), consent="second")
    battle = store.battles.get("b1")
    assert battle is not None and battle.consent == "second"
    assert store.battles.claim("b1", "r1") and finish(store, number=2)
    given = GivenVote(*a_vote("v1", "b1", consent="second"), "ann", 2, None, "d")
    (stored,) = store.votes.add_votes([given])
    assert stored is not None and stored.record.consent == "second"
    seal_all(store)
    exported = store.votes.exported(0, 9, 9, ["online"])
    assert exported is not None and exported["consent"] == ["second"]


def test_a_worker_whose_lease_was_taken_seals_and_publishes_nothing(store: Store) -> None:
    store.votes.append([a_vote("v1")])
    stale = worker_lease(store)
    fresh = worker_lease(store)
    assert fresh.fence == stale.fence + 1
    with pytest.raises(LeaseLost):
        store.votes.seal(stale, 10)
    with pytest.raises(LeaseLost):
        store.snapshots.publish(stale, a_snapshot())
    with pytest.raises(LeaseLost):
        store.votes.append([a_vote("v2")], stale)
    with pytest.raises(LeaseLost):
        store.leases.renew(stale)
    assert store.votes.position() == 0
    assert store.snapshots.latest("online", "overall") is None
    assert store.votes.seal(fresh, 10) == 1


def test_records_written_while_two_workers_fight_are_sealed_once_each(store: Store) -> None:
    """Four writers, and two workers that keep taking the lease from each other."""
    writing = threading.Event()
    writing.set()

    def write(writer: int) -> None:
        for batch in range(12):
            store.votes.append([a_vote(f"{writer}-{batch}-{i}") for i in range(3)])

    def work(name: str) -> int:
        sealed, lease = 0, None
        while writing.is_set() or store.votes.unsealed():
            if lease is None:
                lease = store.leases.take("worker", name, store.leases.look("worker"))
                continue
            try:
                sealed += store.votes.seal(lease, 5)
            except LeaseLost:
                lease = None
            if sealed % 3 == 0:  # be stolen from now and then
                lease = store.leases.take("worker", name, store.leases.look("worker"))
        return sealed

    def write_all() -> int:
        at_once([lambda w=w: write(w) for w in range(4)])
        writing.clear()
        return 0

    counts = at_once([write_all, lambda: work("w1"), lambda: work("w2")])
    log = sequence(store)
    assert sum(counts) == 4 * 12 * 3
    assert [seq for seq, _ in log] == list(range(1, 145))
    assert len({name for _, name in log}) == 144
    for writer in range(4):  # what one writer committed first comes first
        mine = [name for _, name in log if name.startswith(f"{writer}-")]
        assert mine == [f"{writer}-{b}-{i}" for b in range(12) for i in range(3)]


def test_a_reader_that_follows_the_log_page_by_page_misses_nothing(store: Store) -> None:
    """Readers that go on after the last number they saw never skip a record sealed later."""
    done = threading.Event()

    def read() -> list[str]:
        seen: list[str] = []
        after = 0
        while True:
            last_look = done.is_set()
            page = store.votes.counted(after, 7)
            seen += [row.id for row in page]
            after = page[-1].seq if page else after
            if not page and last_look:
                return seen

    def write() -> list[str]:
        lease = worker_lease(store)

        def append(writer: int) -> None:
            for i in range(10):
                store.votes.append([a_vote(f"{writer}-{i}")])
                store.votes.seal(lease, 3)

        at_once([lambda w=w: append(w) for w in range(4)])
        while store.votes.seal(lease, 100):
            pass
        done.set()
        return []

    seen, _ = at_once([read, write])
    assert len(seen) == len(set(seen)) == 40


# --- reading the log ----------------------------------------------------------------------------


def test_only_sealed_records_are_read_and_only_of_the_campaigns_asked_for(store: Store) -> None:
    store.votes.append([a_vote("v1"), a_vote("v2", campaign="other"), a_vote("v3")])
    seal_all(store)
    store.votes.append([a_vote("v4")])

    def ids(after: int, until: int, limit: int, campaigns: list[str]) -> list[str]:
        page = store.votes.exported(after, until, limit, campaigns)
        return [] if page is None else page["id"]

    assert ids(0, 99, 99, ["online"]) == ["v1", "v3"]
    assert ids(0, 99, 99, ["online", "other"]) == ["v1", "v2", "v3"]
    assert ids(0, 99, 1, ["online"]) == ["v1"]
    assert ids(1, 99, 99, ["online"]) == ["v3"]
    assert ids(0, 2, 99, ["online"]) == ["v1"]
    assert ids(0, 99, 99, []) == []


def test_flags_and_exclusions_are_joined_in_only_up_to_the_position_asked_for(store: Store) -> None:
    store.votes.append(
        [
            a_vote("v1"),
            a_vote("v2"),
            a_remark("f1", "flag", "v1", "identity_leak"),
            a_remark("x1", "exclusion", "v1", "spam"),
            a_remark("f2", "flag", "v1", "too_fast"),
            a_remark("x2", "exclusion", "v1", "bot"),
        ]
    )
    seal_all(store)
    history = []
    for until in range(1, 7):
        first, *others = log_rows(store.votes, "online", until=until)
        history.append((first["flags"], first["excluded_reason"]))
        assert not any(row["flags"] or row["excluded_reason"] for row in others)
    assert history == [
        ([], None),
        ([], None),
        (["identity_leak"], None),
        (["identity_leak"], "spam"),
        (["identity_leak", "too_fast"], "spam"),
        (["identity_leak", "too_fast"], "bot"),
    ]


def test_what_rating_needs_is_read_in_order_and_by_record(store: Store) -> None:
    store.votes.append(
        [
            a_vote("v1", grade=None, winner="tie"),
            a_remark("x1", "exclusion", "v1", "spam"),
        ]
    )
    seal_all(store)
    first, second = store.votes.counted(0, 10)
    assert (first.seq, first.type, first.model_a, first.model_b) == (1, "vote", "m0", "m1")
    assert (first.grade, first.winner, first.target) == (None, "tie", None)
    assert (second.seq, second.type, second.target, second.winner) == (2, "exclusion", "v1", None)
    assert store.votes.counted(1, 10) == [second]
    assert store.votes.counted(0, 1) == [first]
    assert store.votes.counted_record("v1") == first


def test_battles_without_a_vote_are_told_with_reason_and_guilty_side(store: Store) -> None:
    make_ready(store, "voted")
    vote(store, "voted")
    start(store, "failed")
    store.battles.claim("failed", "r1")
    fail(store, "failed")
    start(store, "skipped")
    store.battles.skip("skipped")
    start(store, "elsewhere", campaign="other")
    store.battles.skip("elsewhere")
    start(store, "open")
    found = {outcome.battle.id: outcome for outcome in store.votes.outcomes(["online"])}
    assert set(found) == {"failed", "skipped"}
    assert outcome_facts(found["failed"]) == ("failed", "void", "b", "it broke")
    assert outcome_facts(found["skipped"]) == ("skipped", "skip", None, None)
    assert found["failed"].reason == "endpoint_failed"
    assert all(outcome.timestamp.endswith("Z") for outcome in found.values())
    assert list(store.votes.outcomes([])) == []


TEXTS = (
    "plain",
    "多说一点：模型甲更好。",
    "مرحبا بالعالم \u200f(من اليمين)\u200f",
    "👩‍👩‍👧‍👦 e\u0301 🏳️‍🌈 𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "tab\tand\nnewline \u2028 \u0085 \\u0000 % ' \" ;",
    "long " * 40_000,
)


@pytest.mark.parametrize("said", TEXTS, ids=["plain", "zh", "rtl", "emoji", "odd", "long"])
def test_every_text_comes_back_exactly_as_it_went_in(store: Store, said: str) -> None:
    store.battles.add(a_battle(), a_turn(prompt=said))
    store.battles.claim("b1", "r1")
    answers = (Answer(said, "stop"), Answer(said[::-1], "stop"))
    assert store.battles.finish_turn("b1", 1, answers, [(len(said), len(said))], "r1")
    turn = store.battles.turn("b1", 1)
    assert turn is not None and turn.prompt == said and turn.answers() == answers
    content = Content("0f" * 32, [{"role": "user", "content": [{"type": "text", "text": said}]}])
    given = GivenVote(*a_vote("v1", "b1", content=content), "ann", 1, said[:100], "d")
    assert store.votes.add_votes([given]) != [None]
    row = store.votes.find("v1")
    assert row is not None and row.content == content
    assert row.content.digest() == row.record.content_digest


# the log's numbers come from clocks and counters: finite doubles, integers JSON readers keep exact
floats = st.none() | st.floats(0, 1e9) | st.sampled_from([0.1 + 0.2, 1 / 3, 5e-324, 1e22, 0.0])
short_text = st.none() | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | short_text,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
conversations = st.none() | st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": json_values}),
    max_size=3,
)
contents = st.builds(
    Content,
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    conversations,
    conversations,
    short_text,
)


@st.composite
def votes(draw: st.DrawFn) -> tuple[Record, Content]:
    """Any vote whatsoever that can be in a log; its id is set by the test."""
    content = draw(contents)
    optional = {
        **dict.fromkeys(
            ("voter", "language", "category_tag", "finish_a", "sampling_rule"), short_text
        ),
        **dict.fromkeys(("ttft_a", "ttft_b", "duration_a", "duration_b", "propensity"), floats),
        **dict.fromkeys(
            ("turns", "tokens_a", "roster_revision"), st.none() | st.integers(0, 2**31 - 1)
        ),
        "grade": st.sampled_from([None, -2, -1, 0, 1, 2]),
        "both_bad": st.sampled_from([None, True, False]),
        "reasons": st.lists(st.text("abc√ 好", max_size=4), max_size=3).map(tuple),
    }
    return a_vote("", content=content, **{name: draw(value) for name, value in optional.items()})


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batch=st.lists(votes(), min_size=1, max_size=4))
def test_every_record_read_back_still_has_the_hash_that_fixed_it(
    store: Store, batch: list[tuple[Record, Content]]
) -> None:
    before = store.votes.position()
    rows = [
        (replace(record, id=f"{before}-{i}"), content) for i, (record, content) in enumerate(batch)
    ]
    store.votes.append(rows)
    seal_all(store)
    for written, content in rows:
        row = store.votes.find(written.id)
        assert row is not None and (row.record, row.content) == (written, content)
        assert row.record.leaf() == row.hash == written.leaf()
        assert row.content is not None
        assert row.content.digest() == row.record.content_digest


@pytest.mark.postgres
def test_a_text_that_postgresql_cannot_hold_is_no_outage(postgres_store: SqlStore) -> None:
    """Whoever meets an outage tries again; this one would try for ever."""
    with pytest.raises(DataError):
        postgres_store.battles.add(a_battle(), a_turn(prompt="nul \0"))


# --- snapshots, campaigns, roster ---------------------------------------------------------------


def a_snapshot(**changes: Any) -> Snapshot:
    snapshot = Snapshot(
        campaign="online",
        category="overall",
        method="bt",
        log_position=1,
        published_at="2026-01-02T03:04:05.678Z",
        config={"method": "bt", "tolerance": 1e-9, "anchor": None},
        config_hash="h",
        rows=[{"model": "模型 🦙", "rating": 1000.1 + 1e-10, "rating_upper": None, "rank": 1}],
        voters=7,
    )
    return replace(snapshot, **changes)


def test_the_newest_snapshot_is_read_per_campaign_category_and_method(store: Store) -> None:
    lease = worker_lease(store)
    published = [
        a_snapshot(),
        a_snapshot(log_position=2),
        a_snapshot(method="elo"),
        a_snapshot(category="zh", log_position=3),
        a_snapshot(campaign="other", log_position=4),
    ]
    for snapshot in published:
        store.snapshots.publish(lease, snapshot)
    assert store.snapshots.latest("online", "overall") == published[2]
    assert store.snapshots.latest("online", "overall", "bt") == published[1]
    assert store.snapshots.latest("online", "zh") == published[3]
    assert store.snapshots.latest("other", "overall") == published[4]
    assert store.snapshots.latest("online", "overall", "graded") is None
    assert store.snapshots.offered(["online", "nowhere"]) == {
        "online": {"overall": ["bt", "elo"], "zh": ["bt"]},
        "nowhere": {},
    }


def test_without_a_method_the_newest_official_snapshot_is_meant(store: Store) -> None:
    lease = worker_lease(store)
    official = a_snapshot(details={"evidence": {"gain": 1.25}, "fit": None})
    store.snapshots.publish(lease, official)
    store.snapshots.publish(lease, a_snapshot(method="elo", official=False, log_position=2))
    store.snapshots.publish(lease, a_snapshot(official=False, log_position=3))
    assert store.snapshots.latest("online", "overall") == official
    newest = store.snapshots.latest("online", "overall", "bt")
    assert newest is not None and newest.log_position == 3


def test_dropped_snapshots_are_gone_and_the_others_stay(store: Store) -> None:
    lease = worker_lease(store)
    for position in range(5):
        store.snapshots.publish(lease, a_snapshot(log_position=position, category=f"c{position}"))
    kept = store.snapshots.published()
    assert [snapshot.category for snapshot in kept] == ["c0", "c1", "c2", "c3", "c4"]
    assert kept[0] == Published(kept[0].id, "online", "c0", "bt", "2026-01-02T03:04:05.678Z")
    store.snapshots.drop(lease, [kept[1].id, kept[3].id, 999])
    assert store.snapshots.published() == [kept[0], kept[2], kept[4]]
    stale, lease = lease, worker_lease(store)
    with pytest.raises(LeaseLost):
        store.snapshots.drop(stale, [kept[0].id])
    assert len(store.snapshots.published()) == 3


def test_the_history_of_snapshots_is_newest_first_and_without_rows(store: Store) -> None:
    lease = worker_lease(store)
    for position in (1, 2, 3):
        store.snapshots.publish(lease, a_snapshot(log_position=position))
    store.snapshots.publish(lease, a_snapshot(campaign="other", log_position=4))
    history = store.snapshots.history(["online"], 2)
    assert [row["log_position"] for row in history] == [3, 2]
    expected = asdict(a_snapshot(log_position=3))
    del expected["rows"], expected["config"], expected["details"]
    assert {name: value for name, value in history[0].items() if name != "id"} == expected
    assert len(store.snapshots.history(["online", "other"], 99)) == 4
    assert store.snapshots.history([], 99) == []


def test_the_history_of_one_category_is_that_of_its_official_boards(store: Store) -> None:
    lease = worker_lease(store)
    others = [{"category": "zh"}, {"campaign": "other"}, {"official": False, "method": "elo"}]
    for changes in ({}, *others, {"log_position": 2}):
        store.snapshots.publish(lease, a_snapshot(**changes))
    history = store.snapshots.history(["online"], 99, "overall")
    assert [row["log_position"] for row in history] == [2, 1]
    assert len(store.snapshots.history(["online"], 1, "overall")) == 1


def test_a_snapshot_is_found_by_its_id_as_long_as_it_is_kept(store: Store) -> None:
    lease = worker_lease(store)
    snapshots = [a_snapshot(), a_snapshot(log_position=2, details={"fit": None})]
    for snapshot in snapshots:
        store.snapshots.publish(lease, snapshot)
    ids = [one.id for one in store.snapshots.published()]
    assert [store.snapshots.get(number) for number in ids] == snapshots
    store.snapshots.drop(lease, ids[:1])
    assert store.snapshots.get(ids[0]) is None
    assert store.snapshots.get(10**15) is None


def a_pair_table(**changes: Any) -> PairTable:
    data = {"models": ["模型 🦙", "b"], "graded": [[0, 1, 1, 0, 0, 0, 2]], "predicted": [[0.5], []]}
    table = PairTable("online", "overall", 1, "2026-01-02T03:04:05.678Z", data)
    return replace(table, **changes)


def test_a_pair_table_is_replaced_by_the_next_one_of_its_board(store: Store) -> None:
    lease = worker_lease(store)
    assert store.figures.pairs("online", "overall") is None
    assert store.figures.positions() == {}
    store.figures.save(lease, a_pair_table())
    store.figures.save(lease, a_pair_table(category="zh", log_position=3))
    newest = a_pair_table(log_position=2, data={"models": [], "graded": []})
    store.figures.save(lease, newest)
    assert store.figures.pairs("online", "overall") == newest
    assert store.figures.pairs("online", "zh") == a_pair_table(category="zh", log_position=3)
    assert store.figures.pairs("other", "overall") is None
    assert store.figures.positions() == {("online", "overall"): 2, ("online", "zh"): 3}


def test_a_worker_whose_lease_was_taken_saves_no_pair_table(store: Store) -> None:
    stale = worker_lease(store)
    store.figures.save(stale, a_pair_table())
    worker_lease(store)
    with pytest.raises(LeaseLost):
        store.figures.save(stale, a_pair_table(log_position=2))
    assert store.figures.positions() == {("online", "overall"): 1}


def a_rated_row(model: str, rating: float, **changes: Any) -> dict[str, Any]:
    row = {"model": model, "rank": 1, "rating": rating, "rating_lower": rating - 5.5}
    return {**row, "rating_upper": None, "votes": 3, **changes}


def test_a_history_is_of_these_models_on_the_official_boards_of_one_category(store: Store) -> None:
    lease = worker_lease(store)
    names = ("模型 🦙", 'it\'s "b"', "c")
    for position, count in ((1, 1), (2, 3)):
        rows = [a_rated_row(name, 1000.25 + position) for name in names[:count]]
        store.snapshots.publish(lease, a_snapshot(log_position=position, rows=rows))
    other = [a_rated_row(names[0], 1.0)]
    store.snapshots.publish(lease, a_snapshot(category="zh", rows=other))
    store.snapshots.publish(lease, a_snapshot(campaign="other", rows=other))
    store.snapshots.publish(lease, a_snapshot(method="elo", official=False, rows=other))
    at = a_snapshot().published_at
    assert store.figures.history("online", "overall", names[:2], 9) == [
        Rated(names[0], 1, at, 1001.25, 995.75, None, 1),
        Rated(names[0], 2, at, 1002.25, 996.75, None, 1),
        Rated(names[1], 2, at, 1002.25, 996.75, None, 1),
    ]
    assert store.figures.history("online", "overall", ["nobody"], 9) == []
    assert store.figures.history("online", "overall", [], 9) == []


def test_a_long_history_keeps_its_ends_and_is_thinned_evenly(store: Store) -> None:
    lease = worker_lease(store)
    for position in range(1, 22):
        rows = [a_rated_row("m", 1000.0)]
        store.snapshots.publish(lease, a_snapshot(log_position=position, rows=rows))
    positions = [one.log_position for one in store.figures.history("online", "overall", ["m"], 5)]
    assert positions == [1, 6, 11, 16, 21]


def test_campaigns_come_by_position_then_id_and_read_back_whole(store: Store) -> None:
    late = Campaign(
        **{**asdict(CAMPAIGN), "id": "a-late", "position": 7, "state": "closed", "credit": "©"}
    )
    for campaign in (late, replace(CAMPAIGN, id="b", position=5), replace(CAMPAIGN, id="z")):
        assert store.campaigns.add(campaign)
    assert [campaign.id for campaign in store.campaigns.all()] == [
        "online",
        "z",
        "b",
        "other",
        "a-late",
    ]
    assert store.campaigns.get("a-late") == late


def test_a_campaign_is_added_once_and_never_overwritten(store: Store) -> None:
    again = replace(CAMPAIGN, title="Another title")
    assert not store.campaigns.add(again)
    assert store.campaigns.get("online") == CAMPAIGN
    fresh = replace(CAMPAIGN, id="fresh")
    added = at_once(
        [lambda i=i: store.campaigns.add(replace(fresh, title=str(i))) for i in range(8)]
    )
    assert sum(added) == 1
    found = store.campaigns.get("fresh")
    assert found is not None and found.title == str(added.index(True))


def acts(store: Store) -> list[Act]:
    """What operators did, oldest first."""
    return [entry.act for entry in reversed(store.audit.page(None, 99))]


def test_a_campaign_changes_together_with_its_audit_row_or_not_at_all(store: Store) -> None:
    added, changed, lost = (Act(at(n), f"act-{n}", "mine", {"n": n}) for n in range(3))
    mine = replace(CAMPAIGN, id="mine")
    assert store.campaigns.add(mine, added)
    assert not store.campaigns.add(replace(mine, title="Again"), lost)
    assert store.campaigns.change("mine", {"state": "closed", "public": False}, changed)
    assert not store.campaigns.change("nobody's", {"state": "closed"}, lost)
    assert store.campaigns.get("mine") == replace(mine, state="closed", public=False)
    assert store.campaigns.get("online") == CAMPAIGN
    assert acts(store) == [added, changed]


def test_a_change_for_new_campaigns_is_refused_once_there_is_a_battle(store: Store) -> None:
    act = Act(at(1), "campaign.change", "online")
    texts = {"publish_text": True}
    assert store.campaigns.change("online", texts, act, without_battles=True)
    store.battles.add(a_battle(), a_turn())
    assert not store.campaigns.change("online", texts, act, without_battles=True)
    assert store.campaigns.change("online", {"title": "Fine"}, act)
    assert acts(store) == [act, act]


def test_invitations_are_kept_newest_first_and_revoked_once(store: Store) -> None:
    first = Invitation("d1", "online", "for the class", at(1), at(9))
    second = Invitation("d2", "other", "", at(2))
    made = [Act(at(n), "invite", f"d{n}") for n in (1, 2)]
    store.campaigns.invite(first, made[0])
    store.campaigns.invite(second, made[1])
    assert store.campaigns.invitations() == [second, first]
    assert store.campaigns.invited(["d1", "d3"]) == [first]
    assert store.campaigns.invited([]) == []
    revoked = Act(at(3), "revoke", "d1")
    assert store.campaigns.revoke("d1", at(3), revoked)
    assert not store.campaigns.revoke("d1", at(4), Act(at(4), "revoke", "d1"))
    assert not store.campaigns.revoke("d3", at(4), Act(at(4), "revoke", "d3"))
    assert store.campaigns.invited(["d1"]) == [replace(first, revoked_at=at(3))]
    assert acts(store) == [*made, revoked]


def test_the_roster_gets_a_new_revision_only_when_something_changed(store: Store) -> None:
    assert (store.roster.current().revision, store.roster.current().entries) == (0, ())
    first = store.roster.replace(MODELS, "t1")
    assert (first.revision, first.at, first.entries) == (1, "t1", MODELS)
    assert store.roster.replace(list(MODELS), "t2") == first
    retired = [replace(MODELS[0], state="retired"), *MODELS[1:]]
    assert store.roster.replace(retired, "t3").revision == 2
    assert store.roster.replace(retired[::-1], "t4").revision == 3
    assert store.roster.replace([], "t5").revision == 4
    assert [(r.revision, r.at) for r in store.roster.history()] == [
        (1, "t1"),
        (2, "t3"),
        (3, "t4"),
        (4, "t5"),
    ]
    assert store.roster.current() == store.roster.history()[-1]
    assert store.roster.at(1) == first
    assert store.roster.at(9).entries == ()


def test_a_revision_is_read_once_and_one_that_another_process_made_is_not_missed(
    store: Store,
) -> None:
    elsewhere = SqlStore(store._db) if isinstance(store, SqlStore) else store
    store.roster.replace(MODELS, "t1")
    (first,) = store.roster.history()
    elsewhere.roster.replace(MODELS[1:], "t2")
    again, second = store.roster.history()
    assert again is first
    assert (second.revision, second.entries) == (2, MODELS[1:])
    store.roster.history().clear()
    assert store.roster.history() == elsewhere.roster.history() == [first, second]


def test_a_roster_entry_reads_back_with_every_field(store: Store) -> None:
    entry = ModelEntry(
        id="qwen",
        name="千问 🌟",
        base_url="https://models.example/v1",
        model="qwen",
        api_key_env="KEY",
        parameters={"temperature": 0.7, "stop": ["a", "b"], "nested": {"x": None}},
        organization="Ali",
        license="Apache-2.0",
        link="https://example.com",
        modalities=("text", "image"),
        state="retired",
        campaigns=("online", "other"),
        price=2.5,
        daily_tokens=1_000_000,
    )
    store.roster.replace([entry], "t1")
    assert store.roster.current().entries == (entry,)
    assert store.roster.replace([entry], "t2").revision == 1


def test_the_digest_of_the_file_stays_until_another_is_given(store: Store) -> None:
    assert store.roster.replace(MODELS, "t1", file_digest="d1").file_digest == "d1"
    assert store.roster.replace(MODELS[:2], "t2").file_digest == "d1"
    same = store.roster.replace(MODELS[:2], "t3", file_digest="d2")
    assert (same.revision, same.at, same.file_digest) == (2, "t2", "d2")
    assert store.roster.current() == same
    assert [one.file_digest for one in store.roster.history()] == ["d1", "d2"]


def test_a_change_of_the_roster_is_written_with_its_act_or_not_at_all(store: Store) -> None:
    store.roster.replace(MODELS, "t1")
    act = Act("t2", "model.retire", "m0", {"why": "模型"})
    store.roster.replace(MODELS[1:], "t2", after=1, act=act)
    store.roster.replace(MODELS[1:], "t3", after=2, act=replace(act, act="nothing changed"))
    with pytest.raises(Conflict):
        store.roster.replace(MODELS, "t4", after=1, act=replace(act, act="too late"))
    assert [entry.act for entry in store.audit.page(None, 9)] == [act]
    assert store.roster.current().entries == MODELS[1:]


def test_of_many_changes_made_after_one_revision_one_is_written(store: Store) -> None:
    store.roster.replace(MODELS, "t1")

    def retire(model: ModelEntry) -> bool:
        rest = [entry for entry in MODELS if entry is not model]
        act = Act("t2", "model.retire", model.id)
        try:
            store.roster.replace(rest, "t2", after=1, act=act)
        except Conflict:
            return False
        return True

    assert sum(at_once([lambda model=model: retire(model) for model in MODELS])) == 1
    assert len(store.roster.history()) == 2
    assert len(store.audit.page(None, 9)) == 1


# --- the log's tree -----------------------------------------------------------------------------


def some_nodes(level: int, numbers: range) -> list[Node]:
    return [Node(level, number, bytes([level, number]) * 16) for number in numbers]


def a_head(size: int, root: str = "ab" * 32) -> Head:
    return Head(size, root, "2026-01-02T03:04:05.678Z", f"note of {size}\n")


def test_nodes_are_read_by_level_and_range(store: Store) -> None:
    lease = worker_lease(store)
    store.trees.save(lease, [*some_nodes(1, range(5)), *some_nodes(2, range(1))])
    assert store.trees.nodes(1, 3, 256) == {n: bytes([1, n]) * 16 for n in (3, 4)}
    assert store.trees.nodes(2, 0, 256) == {0: bytes([2, 0]) * 16}
    assert store.trees.nodes(1, 5, 256) == store.trees.nodes(3, 0, 256) == {}
    assert store.trees.whole() == {1: 5, 2: 1}


def test_nodes_that_are_kept_again_replace_the_old_ones(store: Store) -> None:
    lease = worker_lease(store)
    store.trees.save(lease, some_nodes(1, range(3)))
    store.trees.save(lease, [Node(1, 1, b"x" * 32), Node(1, 2, b"y" * 32), Node(1, 3, b"z" * 32)])
    found = store.trees.nodes(1, 0, 256)
    assert found == {0: bytes([1, 0]) * 16, 1: b"x" * 32, 2: b"y" * 32, 3: b"z" * 32}


def test_a_level_with_a_gap_is_not_whole(store: Store) -> None:
    assert store.trees.whole() == {}
    store.trees.save(worker_lease(store), [*some_nodes(1, range(2)), *some_nodes(2, range(1, 3))])
    assert store.trees.whole() == {1: 2, 2: 0}


def test_the_newest_head_is_that_of_the_largest_size(store: Store) -> None:
    assert store.trees.head() is None
    lease = worker_lease(store)
    for size in (0, 12, 9):
        store.trees.add_head(lease, a_head(size))
    assert store.trees.head() == a_head(12)
    assert store.trees.head(9) == a_head(9)
    assert store.trees.head(0) == a_head(0)
    assert store.trees.head(10) is None


def test_a_size_has_one_root_for_ever_which_another_key_may_sign(store: Store) -> None:
    lease = worker_lease(store)
    store.trees.add_head(lease, a_head(3))
    anew = replace(a_head(3), timestamp="later", note="another note")
    store.trees.add_head(lease, anew)
    assert store.trees.head(3) == anew
    with pytest.raises(ForkedLog, match="first 3 records"):
        store.trees.add_head(lease, a_head(3, "cd" * 32))
    assert store.trees.head(3) == anew


def test_the_head_that_is_nearest_to_a_size_is_found(store: Store) -> None:
    assert store.trees.nearest(5) is None
    lease = worker_lease(store)
    for size in (2, 6, 12):
        store.trees.add_head(lease, a_head(size))
    found = [store.trees.nearest(size) for size in (0, 4, 5, 12, 99)]
    assert found == [a_head(2), a_head(2), a_head(6), a_head(12), a_head(12)]


def test_every_key_that_heads_were_signed_with_is_kept_once(store: Store) -> None:
    assert store.trees.keys() == []
    lease = worker_lease(store)
    for key in ("a+1+A", "b+2+B", "a+1+A"):
        store.trees.add_key(lease, key)
        time.sleep(0.002)  # times have milliseconds
    assert store.trees.keys() == ["b+2+B", "a+1+A"]


def test_a_snapshot_and_its_head_are_published_together_or_not_at_all(store: Store) -> None:
    lease = worker_lease(store)
    store.snapshots.publish(lease, a_snapshot(log_position=3), a_head(3))
    assert store.trees.head() == a_head(3)
    store.snapshots.publish(lease, a_snapshot(log_position=3, category="zh"), a_head(3))
    with pytest.raises(ForkedLog):
        store.snapshots.publish(lease, a_snapshot(log_position=3), a_head(3, "cd" * 32))
    assert len(store.snapshots.published()) == 2
    worker_lease(store)
    with pytest.raises(LeaseLost):
        store.snapshots.publish(lease, a_snapshot(log_position=4), a_head(4))
    assert store.trees.head() == a_head(3)


def test_heads_stay_while_a_board_names_them_and_the_newest_always(store: Store) -> None:
    lease = worker_lease(store)
    for size in (1, 2, 4, 7):
        store.snapshots.publish(lease, a_snapshot(log_position=size), a_head(size))
    for size in (3, 5, 9):
        store.trees.add_head(lease, a_head(size))
    store.votes.append([(a_sealing("s1"), None)])
    sealed = SealedBoard("s1", "overall", "online", 5, {}, "digest")
    assert store.sealed.add(lease, [sealed], a_sealing("s2"))
    first, *_ = (snapshot.id for snapshot in store.snapshots.published())
    store.snapshots.drop(lease, [first])
    store.trees.drop_heads(lease, a_head(1).timestamp)
    assert store.trees.head(3) is not None  # as young as that
    store.trees.drop_heads(lease, "9999")
    kept = [size for size in range(12) if store.trees.head(size) is not None]
    assert kept == [2, 4, 5, 7, 9]


def a_sealing(record_id: str) -> Record:
    return Record(record_id, "sealing", "online", "2026-01-02T03:04:05.678Z", reason="Done.")


def test_only_who_holds_the_lease_writes_the_tree(store: Store) -> None:
    old = worker_lease(store)
    worker_lease(store)
    writes: list[Callable[[], None]] = [
        lambda: store.trees.save(old, some_nodes(1, range(1))),
        lambda: store.trees.add_head(old, a_head(1)),
        lambda: store.trees.add_key(old, "a+1+A"),
        lambda: store.trees.drop_heads(old, "9999"),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    assert (store.trees.whole(), store.trees.head(), store.trees.keys()) == ({}, None, [])


def test_leaves_are_read_in_the_order_of_the_log(store: Store) -> None:
    rows = [a_vote(f"v{number}") for number in range(5)]
    store.votes.append(rows)
    assert store.votes.leaves(0, 10) == []
    assert store.votes.place_of("v3") is None
    seal_all(store)
    leaves = [bytes.fromhex(record.leaf()) for record, _ in rows]
    assert store.votes.leaves(0, 10) == leaves
    assert store.votes.leaves(2, 2) == leaves[2:4]
    assert store.votes.leaves(5, 10) == []
    assert store.votes.place_of("v3") == 4
    assert store.votes.place_of("nobody") is None


# --- audit and usage ----------------------------------------------------------------------------


def test_the_audit_log_is_read_from_the_newest_on_in_pages(store: Store) -> None:
    assert store.audit.page(None, 9) == []
    assert store.audit.last("a") is None
    acts = [Act(f"t{n}", "ab"[n % 2], f"of {n}", {"n": n, "list": ["x", None]}) for n in range(5)]
    for act in acts:
        store.audit.add(act)
    newest = store.audit.page(None, 2)
    assert [entry.act for entry in newest] == acts[:2:-1]
    rest = store.audit.page(newest[-1].n, 9)
    assert [entry.act for entry in rest] == acts[2::-1]
    assert store.audit.page(rest[-1].n, 9) == []
    last = store.audit.last("a")
    assert last is not None
    assert last.act == acts[4]


def test_what_models_do_is_counted_where_a_turn_ends(store: Store) -> None:
    days = {today()}
    make_ready(store, "b1", model_a="m0", model_b="m1")
    make_ready(store, "b2", model_a="m1", model_b="m0")
    assert not finish(store, "b1")  # the turn is over: nothing is counted twice
    start(store, "b3", model_a="m0", model_b="m2")
    assert store.battles.claim("b3", "r1")
    assert fail(store, "b3")
    assert not fail(store, "b3")
    days.add(today())
    beta = 6  # 22 letters without a count of the endpoint's
    both = Usage(answers=2, failures=0, tokens=4 + beta, ttft=0.375, duration=3.5)
    assert store.usage.total() == {"m0": both, "m1": both, "m2": Usage(failures=1)}
    by_day = [store.usage.of_day(day) for day in days]
    assert sum(use.answers for used in by_day for use in used.values()) == 4
    assert store.usage.of_day("2000-01-01") == {}


def test_a_turn_that_nobody_failed_counts_for_nobody(store: Store) -> None:
    start(store)
    assert store.battles.claim("b1", "r1")
    assert store.battles.fail_turn(
        "b1", 1, reason="interrupted", side=None, error=None, runner="r1"
    )
    assert store.usage.total() == {}


def test_turns_that_end_at_once_are_all_counted(store: Store) -> None:
    sides = [("m0", "m1"), ("m1", "m0")] * 12
    for number, (model_a, model_b) in enumerate(sides):
        start(store, f"b{number}", model_a=model_a, model_b=model_b)
        assert store.battles.claim(f"b{number}", "r1")
    assert all(at_once([lambda n=n: finish(store, f"b{n}") for n in range(len(sides))]))
    total = store.usage.total()
    assert {model: use.answers for model, use in total.items()} == {"m0": 24, "m1": 24}
    assert {use.tokens for use in total.values()} == {12 * 4 + 12 * 6}


# --- circuits -----------------------------------------------------------------------------------


def fail_often(store: Store, times: int = 4, model: str = "m0", **how: Any) -> Circuit:
    """This model fails so often in battles; its circuit then."""
    for number in range(times):
        battle = f"{model}-{times}-{number}"
        start(store, battle, model_a=model, model_b="m9")
        assert store.battles.claim(battle, "r1")
        assert store.battles.fail_turn(
            battle,
            1,
            reason="endpoint_failed",
            side="a",
            error="EndpointTimeout: The prompt was: Why?",
            runner="r1",
            **how,
        )
    return {circuit.model: circuit for circuit in store.circuits.all()}[model]


def test_a_model_that_never_failed_has_no_circuit(store: Store) -> None:
    make_ready(store)
    assert store.circuits.all() == []
    assert store.circuits.failures() == {}
    assert not store.circuits.close("m0")


def test_failures_open_a_circuit_and_are_counted_by_kind(store: Store) -> None:
    before = now()
    assert fail_often(store, 3).state is CircuitState.closed
    circuit = fail_often(store, 1)
    assert circuit.state is CircuitState.open
    assert (circuit.error, circuit.rest, circuit.probes) == ("EndpointTimeout", 15.0, 0)
    assert circuit.error_at is not None and before <= circuit.error_at <= now()
    assert store.circuits.failures() == {("m0", "EndpointTimeout"): 4}
    asked = fail_often(store, 1, "m1", retry_after=60.0)
    assert (asked.state, asked.rest) == (CircuitState.open, 60.0)
    assert [circuit.model for circuit in store.circuits.all()] == ["m0", "m1"]


@pytest.mark.parametrize("kind", ["EndpointDeclined", "EndpointEmpty", "EndpointError"])
def test_failures_that_a_prompt_can_bring_about_are_counted_and_move_no_circuit(
    store: Store, kind: str
) -> None:
    before = fail_often(store, 3)
    for number in range(6):
        start(store, f"b{number}")
        assert store.battles.claim(f"b{number}", "r1")
        assert store.battles.fail_turn(
            f"b{number}", 1, reason="endpoint_failed", side="a", error=f"{kind}: no", runner="r1"
        )
    assert store.circuits.all() == [before]
    assert store.circuits.failures()["m0", kind] == 6


def test_answers_let_failures_be_forgotten(store: Store) -> None:
    failing = fail_often(store, 2).failing
    make_ready(store, "b1", model_a="m1", model_b="m0")
    (circuit,) = store.circuits.all()
    assert circuit.failing == pytest.approx(failing * 0.8)


def test_a_probe_is_begun_once_and_ended_once(store: Store) -> None:
    seen = fail_often(store)
    probe = store.circuits.begin_probe(seen)
    assert probe == seen.probing()
    assert store.circuits.begin_probe(seen) is None
    assert store.circuits.end_probe(probe, "EndpointRefused", 100.0)
    assert not store.circuits.end_probe(probe, None)
    (circuit,) = store.circuits.all()
    assert (circuit.state, circuit.rest, circuit.error) == (
        CircuitState.open,
        100.0,
        "EndpointRefused",
    )
    again = store.circuits.begin_probe(circuit)
    assert again is not None
    assert store.circuits.end_probe(again, None)
    (circuit,) = store.circuits.all()
    assert circuit.state is CircuitState.closed
    assert store.circuits.begin_probe(circuit) is None
    assert store.circuits.failures() == {("m0", "EndpointTimeout"): 4}


def test_of_many_that_would_probe_one_does(store: Store) -> None:
    seen = fail_often(store)
    begun = at_once([lambda: store.circuits.begin_probe(seen)] * 12)
    assert sum(probe is not None for probe in begun) == 1


def test_a_model_that_was_seen_to_answer_is_drawn_again(store: Store) -> None:
    probe = store.circuits.begin_probe(fail_often(store))
    assert probe is not None
    assert store.circuits.close("m0")
    assert not store.circuits.close("m0")
    assert not store.circuits.end_probe(probe, "EndpointTimeout")
    (circuit,) = store.circuits.all()
    assert circuit.state is CircuitState.closed


def test_failures_and_answers_of_the_same_moment_are_all_counted(store: Store) -> None:
    for number in range(24):
        start(store, f"b{number}", model_a=f"m{number % 3}", model_b=f"m{(number + 1) % 3}")
        assert store.battles.claim(f"b{number}", "r1")
    ends = [lambda n=n: (finish if n % 4 else fail)(store, f"b{n}") for n in range(24)]
    assert all(at_once(ends))
    assert sum(store.circuits.failures().values()) == 6
    assert sum(use.failures for use in store.usage.total().values()) == 6
    assert sum(store.battles.voids_by_model().values()) == 6


# --- leases -------------------------------------------------------------------------------------


def test_a_lease_is_taken_as_it_was_seen_and_its_fence_grows(store: Store) -> None:
    first = store.leases.take("worker", "w1", None)
    assert first == Lease("worker", "w1", 1)
    seen = store.leases.look("worker")
    assert seen == LeaseSeen("w1", 1, 0)
    assert store.leases.take("worker", "w2", None) is None
    assert store.leases.take("worker", "w2", seen) == Lease("worker", "w2", 2)
    assert store.leases.take("worker", "w3", seen) is None
    assert store.leases.look("worker") == LeaseSeen("w2", 2, 0)


def test_held_leases_are_seen_at_one_look(store: Store) -> None:
    assert store.leases.held() == {}
    worker = store.leases.take("worker", "w1", None)
    assert worker is not None
    store.leases.renew(worker)
    store.leases.take("runner:r1", "r1", None)
    seen = {"worker": LeaseSeen("w1", 1, 1), "runner:r1": LeaseSeen("r1", 1, 0)}
    assert store.leases.held() == seen
    store.leases.release(worker)
    assert store.leases.held() == {"runner:r1": LeaseSeen("r1", 1, 0)}


def test_a_lease_that_moved_since_it_was_seen_cannot_be_taken(store: Store) -> None:
    lease = worker_lease(store)
    seen = store.leases.look("worker")
    store.leases.renew(lease)
    moved = store.leases.look("worker")
    assert seen is not None and moved is not None and moved.beat > seen.beat
    assert store.leases.take("worker", "w2", seen) is None
    store.leases.renew(lease)


def test_sealing_and_publishing_are_signs_of_life_too(store: Store) -> None:
    lease = worker_lease(store)
    beats = [store.leases.look("worker")]
    store.votes.seal(lease, 1)
    beats.append(store.leases.look("worker"))
    store.snapshots.publish(lease, a_snapshot())
    beats.append(store.leases.look("worker"))
    assert len({seen.beat for seen in beats if seen is not None}) == 3


def test_a_released_lease_is_free_but_its_fence_still_grows(store: Store) -> None:
    lease = worker_lease(store)
    store.leases.release(lease)
    seen = store.leases.look("worker")
    assert seen is not None and seen.holder is None
    with pytest.raises(LeaseLost):
        store.leases.renew(lease)
    again = store.leases.take("worker", "w2", seen)
    assert again is not None and again.fence == lease.fence + 1


def test_releasing_a_lost_lease_does_not_free_the_new_holders(store: Store) -> None:
    stale = worker_lease(store)
    fresh = worker_lease(store)
    store.leases.release(stale)
    store.leases.renew(fresh)


def test_a_forgotten_lease_is_gone_and_cannot_be_renewed(store: Store) -> None:
    lease = worker_lease(store)
    store.leases.forget("worker")
    store.leases.forget("worker")
    assert store.leases.look("worker") is None
    with pytest.raises(LeaseLost):
        store.leases.renew(lease)


@pytest.mark.parametrize("held_before", [False, True])
def test_sixteen_workers_take_a_lease_and_one_gets_it(store: Store, held_before: bool) -> None:
    if held_before:
        worker_lease(store)
    seen = store.leases.look("worker")
    taken = at_once([lambda i=i: store.leases.take("worker", f"w{i}", seen) for i in range(16)])
    (lease,) = [lease for lease in taken if lease is not None]
    store.leases.renew(lease)


def test_a_store_that_can_be_reached_answers_a_ping(store: Store) -> None:
    store.ping()


# --- what voters own ----------------------------------------------------------------------------


def make_voted(store: Store, battle_id: str = "b1", **changes: Any) -> None:
    make_ready(store, battle_id, **changes)
    assert vote(store, battle_id, f"v-{battle_id}")


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02}.000Z"


def listed(store: Store, before: str | None = None, limit: int = 10, **more: Any) -> list[str]:
    found = store.battles.of_voter("ann", before=before, limit=limit, **more)
    return [summary.battle.id for summary in found]


def test_a_voters_battles_are_listed_newest_first_with_prompt_and_vote(store: Store) -> None:
    start(store, "b1", created_at=at(1))
    make_voted(store, "b3", created_at=at(2))
    start(store, "b2", created_at=at(2))
    start(store, "b4", created_at=at(3), voter="bob")
    found = store.battles.of_voter("ann", before=None, limit=10)
    assert [one.battle.id for one in found] == ["b3", "b2", "b1"]
    assert [(one.prompt, one.grade, one.both_bad) for one in found] == [
        ("Why?", 1, False),
        ("Why?", None, None),
        ("Why?", None, None),
    ]


def test_a_list_goes_on_after_the_battle_that_was_seen_last(store: Store) -> None:
    for number in range(5):
        start(store, f"b{number}", created_at=at(number // 2))
    start(store, "bob's", created_at=at(9), voter="bob")
    assert listed(store, limit=2) == ["b4", "b3"]
    assert listed(store, before="b3", limit=2) == ["b2", "b1"]
    assert listed(store, before="b0") == []
    assert listed(store, before="bob's") == listed(store, before="nothing") == []


def test_erased_battles_are_listed_only_where_they_are_asked_for(store: Store) -> None:
    start(store, "b1", created_at=at(1))
    start(store, "b2", created_at=at(2))
    store.votes.erase(["b2"], "voter")
    assert listed(store) == ["b1"]
    assert listed(store, erased=True) == ["b2", "b1"]
    assert listed(store, before="b2") == ["b1"]


def test_only_a_voted_battle_can_be_shared_and_keeps_its_first_time(store: Store) -> None:
    make_ready(store)
    assert not store.battles.share("b1") and not store.battles.share("nothing")
    assert vote(store)
    assert store.battles.share("b1")
    first = shared_at(store)
    assert first is not None
    assert store.battles.share("b1")
    assert shared_at(store) == first
    store.battles.unshare("b1")
    store.battles.unshare("b1")
    assert shared_at(store) is None


def shared_at(store: Store) -> str | None:
    battle = store.battles.get("b1")
    assert battle is not None
    return battle.shared_at


def test_the_shared_battles_of_a_model_are_of_these_campaigns_on_either_side(store: Store) -> None:
    sides = {"b1": ("m0", "m1"), "b2": ("m1", "m0"), "b3": ("m2", "m1"), "b4": ("m0", "m2")}
    for battle_id, (model_a, model_b) in sides.items():
        make_voted(store, battle_id, model_a=model_a, model_b=model_b)
        assert store.battles.share(battle_id)
    make_voted(store, "b5", campaign=OTHER.id)
    assert store.battles.share("b5")
    make_voted(store, "b6")

    def shared(model: str, *campaigns: str, limit: int = 10) -> set[str]:
        found = store.battles.shared_with(model, campaigns, limit)
        return {one.battle.id for one in found}

    assert shared("m0", CAMPAIGN.id) == {"b1", "b2", "b4"}
    assert shared("m0", CAMPAIGN.id, OTHER.id) == {"b1", "b2", "b4", "b5"}
    assert len(shared("m0", CAMPAIGN.id, limit=2)) == 2
    assert shared("m3", CAMPAIGN.id) == shared("m0") == set()
    store.battles.unshare("b1")
    store.votes.erase(["b2"], "voter")
    assert shared("m0", CAMPAIGN.id) == {"b4"}


def test_a_report_is_kept_once_for_a_voter_battle_and_side(store: Store) -> None:
    make_ready(store)
    for voter, side, reason in (
        ("ann", None, "odd"),
        ("ann", "a", "rude"),
        ("ann", "a", "very rude"),
        ("ann", None, "odd, really"),
        ("bob", "a", "too"),
    ):
        store.battles.report("b1", voter, reason, side)
    kept = [(report.side, report.reason) for report in store.battles.reports_of("ann")]
    assert sorted(kept, key=str) == [("a", "very rude"), (None, "odd, really")]
    assert len(store.battles.open_reports(10)) == 3
    assert len(store.battles.open_reports(2)) == 2


def test_what_is_said_of_a_battle_is_found_without_reading_the_log(store: Store) -> None:
    if not isinstance(store, SqlStore):
        pytest.skip("of SQL only")
    asked: list[str] = []
    engine = store._db.engine

    def remember(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", remember)
    try:
        assert store.votes.find("no-such-battle") is None
    finally:
        event.remove(engine, "before_cursor_execute", remember)
    conditions = [
        re.sub(r"[%:?].*", "", s.rsplit(" AND ", 1)[-1]) for s in asked if "contents" in s
    ]
    assert conditions == ["records.id = ", "records.battle_id = "], "a hash has no index"


def test_a_report_that_comes_after_an_erasure_leaves_no_text(store: Store) -> None:
    start(store)
    store.votes.erase(["b1"], "operator")
    store.battles.report("b1", "ann", "it says my name")
    assert store.battles.reports_of("ann") == store.battles.open_reports(10) == []


def test_two_reports_at_the_same_moment_are_one(store: Store) -> None:
    make_ready(store)
    at_once([lambda: store.battles.report("b1", "ann", "rude", "b")] * 8)
    assert len(store.battles.open_reports(10)) == 1


def test_handled_reports_are_closed_with_the_operators_act_until_they_come_again(
    store: Store,
) -> None:
    make_ready(store)
    act = Act(at(7), "report.dismiss", "b1", {"why": "fine"})
    assert not store.battles.handle_reports("b1", act)
    store.battles.report("b1", "ann", "rude", "a")
    store.battles.report("b1", "ann", "odd")
    assert store.battles.handle_reports("b1", act)
    assert not store.battles.handle_reports("b1", act)
    assert store.battles.open_reports(10) == []
    assert {report.handled_at for report in store.battles.reports_of("ann")} == {at(7)}
    assert [entry.act for entry in store.audit.page(None, 10)] == [act]
    store.battles.report("b1", "ann", "again", "a")
    assert [report.reason for report in store.battles.open_reports(10)] == ["again"]


# --- erasure ------------------------------------------------------------------------------------


def texts(store: Store, battle_id: str = "b1") -> list[str]:
    """Every text that the store gives of a battle."""
    whole = store.battles.whole(battle_id)
    assert whole is not None
    found = [message.text for message in whole.opening]
    for turn in whole.turns:
        found.append(turn.prompt)
        found += [answer.text for answer in (turn.answer_a, turn.answer_b) if answer is not None]
    stored = store.votes.find(battle_id)
    if stored is not None and stored.content is not None:
        found += [stored.content.salt, str(stored.content.comment)]
    found += [report.reason for report in store.battles.reports_of("ann")]
    return [text for text in found if text]


def test_an_erased_battle_has_no_text_and_its_vote_stays_provable(store: Store) -> None:
    make_voted(store)
    store.battles.share("b1")
    store.battles.report("b1", "ann", "rude", "a")
    before = store.votes.find("b1")
    assert before is not None and before.content is not None and len(texts(store)) > 4

    assert store.votes.erase(["b1"], "voter") == ["b1"]
    assert texts(store) == []
    battle = store.battles.get("b1")
    assert battle is not None and battle.erased_at is not None and battle.shared_at is None
    assert battle.state is BattleState.voted
    assert store.battles.turns("b1")[0].frames() == []
    after = store.votes.find("b1")
    assert after is not None and after.content is None
    assert (after.record, after.hash) == (before.record, before.hash)
    assert after.record.leaf() == after.hash
    assert after.record.content_digest == before.content.digest()
    assert store.votes.content(after.record.id) is None
    vote = store.votes.vote_of("b1")
    assert vote is not None and (vote.idempotency_key, vote.request_digest) == (None, None)
    assert store.battles.open_reports(10) == []


def test_an_erasure_is_a_record_of_the_log_with_its_reason(store: Store) -> None:
    make_voted(store)
    seal_all(store)
    store.votes.erase(["b1"], "retention")
    seal_all(store)
    vote_row, erasure = log_rows(store.votes, CAMPAIGN.id)
    assert (erasure["type"], erasure["target"]) == ("erasure", vote_row["id"])
    assert (erasure["reason"], erasure["campaign"]) == ("retention", CAMPAIGN.id)
    fields = {name: erasure[name] for name in LEAF_FIELDS} | {"reasons": ()}
    assert Record(**fields).leaf() == erasure["hash"]
    assert [vote_row[name] for name in ("conversation_a", "comment", "salt")] == [None] * 3
    assert vote_row["grade"] == 1


def test_erasing_again_changes_nothing(store: Store) -> None:
    make_voted(store)
    act = Act(at(1), "battle.erase", "b1")
    assert store.votes.erase(["b1"], "voter", act=act) == ["b1"]
    battle, waiting = store.battles.get("b1"), store.votes.unsealed()
    assert store.votes.erase(["b1", "nothing"], "operator", act=act) == []
    assert store.battles.get("b1") == battle
    assert store.votes.unsealed() == waiting == 2
    assert len(store.audit.page(None, 10)) == 1


@pytest.mark.parametrize("begun", ["created", "running", "ready", "follow-up", "void"])
def test_a_battle_without_a_vote_is_over_when_it_is_erased(store: Store, begun: str) -> None:
    start(store)
    if begun != "created":
        store.battles.claim("b1", "r1")
    if begun in ("ready", "follow-up"):
        finish(store)
    if begun == "follow-up":
        assert store.battles.add_turn(a_turn(number=2, prompt="And then?"))
    if begun == "void":
        fail(store)
    assert store.votes.erase(["b1"], "voter") == ["b1"]
    assert texts(store) == []
    assert state(store) is (BattleState.void if begun == "void" else BattleState.skipped)
    assert TurnState.running not in {turn.state for turn in store.battles.turns("b1")}
    assert not finish(store) and not vote(store) and not store.battles.share("b1")
    assert store.votes.unsealed() == 0
    outcomes = list(store.votes.outcomes([CAMPAIGN.id]))
    assert [outcome.error for outcome in outcomes] == [None]


def test_a_vote_and_an_erasure_at_the_same_moment_leave_no_text(store: Store) -> None:
    for number in range(6):
        battle_id = f"b{number}"
        make_ready(store, battle_id)
        at_once(
            [
                lambda name=battle_id: vote(store, name, f"v-{name}"),
                lambda name=battle_id: store.votes.erase([name], "voter"),
            ]
        )
        assert texts(store, battle_id) == []
        voted = store.votes.vote_of(battle_id) is not None
        assert state(store, battle_id) is (BattleState.voted if voted else BattleState.skipped)


def test_many_battles_are_erased_in_one_transaction_under_a_lease(store: Store) -> None:
    for number in range(3):
        make_voted(store, f"b{number}", created_at=at(number))
    assert store.battles.kept(at(2), 10) == ["b0", "b1"]
    assert store.battles.kept(at(9), 2) == ["b0", "b1"]
    stale = worker_lease(store)
    fresh = worker_lease(store)
    with pytest.raises(LeaseLost):
        store.votes.erase(["b0", "b1"], "retention", lease=stale)
    assert store.battles.kept(at(9), 10) == ["b0", "b1", "b2"]
    erased = store.votes.erase(["b0", "b1"], "retention", lease=fresh)
    assert sorted(erased) == ["b0", "b1"]
    assert store.battles.kept(at(9), 10) == ["b2"]


def test_a_voter_is_forgotten_once_all_their_battles_are_erased(store: Store) -> None:
    names = {}
    for battle_id, voter in (("b1", "ann"), ("b2", "bob")):
        make_ready(store, battle_id, voter=voter)
        names[voter] = voted_as(store, battle_id, voter)
    store.battles.report("b1", "ann", "rude")
    assert not store.votes.forget("ann")
    assert listed(store) == ["b1"]
    store.votes.erase(["b1"], "voter")
    assert store.votes.forget("ann")
    assert store.votes.forget("ann")
    assert listed(store, erased=True) == [] and store.battles.reports_of("ann") == []
    battle = store.battles.get("b1")
    assert battle is not None and battle.voter == ""
    for battle_id, voter in (("b3", "ann"), ("b4", "bob")):
        make_ready(store, battle_id, voter=voter)
        assert (voted_as(store, battle_id, voter) == names[voter]) is (voter == "bob")


# --- what the operator looks for ----------------------------------------------------------------


def test_a_vote_is_found_by_its_id_its_battle_or_its_receipt(store: Store) -> None:
    make_voted(store)
    stored = store.votes.vote_of("b1")
    assert stored is not None
    for name in ("v-b1", "b1", stored.hash):
        found = store.votes.find(name)
        assert found is not None and found.record == stored.record and found.content is not None
        assert found.seq is None
    store.votes.append([a_remark("x1", "exclusion", "v-b1", "spam")])
    found = store.votes.find("b1")
    assert found is not None and found.excluded_reason == "spam"
    assert store.votes.find("x1") is store.votes.find("nothing") is None


def test_a_voter_can_be_told_which_votes_no_board_counts_and_why(store: Store) -> None:
    for name in ("b1", "b2", "b3", "b4"):
        make_voted(store, name)
    store.votes.append([a_remark("x1", "flag", "v-b1", "identity_leak")])
    store.votes.append([a_remark("x2", "exclusion", "v-b2", "spam")])
    store.votes.append([a_remark("x3", "exclusion", "v-b2", "bot")])
    store.votes.append([a_remark("x4", "flag", "v-b2", "identity_leak")])
    store.votes.append([a_remark("x5", "flag", "v-b4", "too quick")])
    assert store.votes.uncounted(["b1", "b2", "b3", "b4", "b5"]) == {"b1": None, "b2": "bot"}
    assert store.votes.uncounted(["b3"]) == store.votes.uncounted([]) == {}


def test_flagged_and_excluded_votes_are_listed_by_the_newest_remark(store: Store) -> None:
    for name in ("b1", "b2", "b3"):
        make_voted(store, name)
    store.votes.append([a_remark("x1", "flag", "v-b1", "identity_leak")])
    store.votes.append([a_remark("x2", "exclusion", "v-b2", "spam")])
    store.votes.erase(["b3"], "voter")
    store.votes.append([a_remark("x3", "exclusion", "v-b1", "leak")])
    found = store.votes.remarked(10)
    assert [row.record.id for row in found] == ["v-b1", "v-b2"]
    assert (found[0].flags, found[0].excluded_reason) == (("identity_leak",), "leak")
    assert [row.record.id for row in store.votes.remarked(1)] == ["v-b1"]


def test_an_operators_act_is_written_with_the_record_it_is_about(store: Store) -> None:
    make_voted(store)
    act = Act(at(3), "vote.exclude", "v-b1", {"reason": "spam"})
    store.votes.append([a_remark("x1", "exclusion", "v-b1", "spam")], act=act)
    (entry,) = store.audit.page(None, 10)
    assert entry.act == act


def test_on_sqlite_erased_text_is_in_the_file_no_more(tmp_path: Path) -> None:
    path = tmp_path / "arena.db"
    sql = migrated(f"sqlite:///{path}")
    sql.campaigns.add(CAMPAIGN)
    word = b"Zq81f3cb0a77"
    sql.battles.add(a_battle(), a_turn(prompt=f"{word.decode()} " * 2_000))
    sql.battles.add(a_battle("b2"), a_turn("b2", prompt=word.decode()))
    continued = a_battle("b3", continued_from="b1")
    sql.battles.add(continued, a_turn("b3"), [Message("user", f"{word.decode()} " * 2_000)])
    sql.close()
    assert word in path.read_bytes()
    sql = open_store(f"sqlite:///{path}")
    sql.votes.erase(["b1", "b2", "b3"], "voter")
    sql.close()
    assert word not in path.read_bytes()


# --- imports and voters beside each other -------------------------------------------------------


def test_an_import_counts_only_when_its_last_row_is_there(store: Store) -> None:
    """Votes go on meanwhile, and are sealed before it."""
    make_ready(store, voter="ann")
    lease = worker_lease(store)

    def rows() -> Iterator[Any]:
        yield from imported_rows(1_200)
        if not isinstance(store, FakeStore):  # which holds everybody up
            assert store.campaigns.get("imported") is None
            assert (store.votes.unsealed(), store.votes.seal(lease, 5_000)) == (0, 0)
            assert store.votes.find("v1") is None and store.votes.remarked(10) == []
            assert store.votes.append([a_vote("before")]) == 1
            assert store.votes.seal(lease, 5_000) == 1
        yield a_remark("x1", "exclusion", "v1", "spam")

    assert store.votes.import_file(IMPORTED, "digest", rows()) == 1_200
    assert store.votes.unsealed() == 1_201
    store.votes.append([a_vote("after")])
    assert store.votes.seal(lease, 1_000) == 1_000
    assert store.votes.unsealed() == 202
    assert store.votes.seal(lease, 5_000) == 202
    names = [name for _, name in sequence(store)]
    assert [name for name in names if name[0] == "v"] == [f"v{n}" for n in range(1, 1_201)]
    sql = [] if isinstance(store, FakeStore) else ["before", "after"]
    assert names[: len(sql)] == sql
    assert [number for number, _ in sequence(store)] == list(range(1, len(names) + 1))
    row = store.votes.find("v1")
    assert row is not None and (row.record, row.content) == a_vote("v1", campaign="imported")
    assert row.excluded_reason == "spam"


def test_imports_are_sealed_whole_and_in_the_order_in_which_they_were_done(store: Store) -> None:
    """A board of half an import would be published otherwise."""

    def bring(name: str, count: int) -> list[str]:
        ids = [f"{name}-{number}" for number in range(count)]
        rows = [a_vote(record_id, campaign="imported") for record_id in ids]
        assert store.votes.import_file(IMPORTED, name, rows) == count
        return ids

    lease = worker_lease(store)
    expected = bring("first", 700)
    assert store.votes.seal(lease, 600) == 600
    for name in ("second", "third", "fourth"):
        expected += bring(name, 7)
    assert store.votes.seal(lease, 5_000) == 121
    assert [name for _, name in sequence(store)] == expected
    assert store.votes.unsealed() == store.votes.seal(lease, 5_000) == 0


def counted_records() -> dict[str, float]:
    (metric,) = RECORDS.collect()
    return {s.labels["type"]: s.value for s in metric.samples if s.name.endswith("_total")}


def test_records_are_counted_when_they_are_committed(store: Store) -> None:
    if not isinstance(store, SqlStore):
        pytest.skip("of SQL only")
    before, lease = counted_records(), worker_lease(store)
    stale = replace(lease, fence=9)

    def written() -> dict[str, float]:
        after = counted_records()
        return {kind: more for kind in after if (more := after[kind] - before.get(kind, 0))}

    def broken() -> Iterator[Any]:
        yield from (a_vote(f"lost-{number}") for number in range(1_000))
        raise BadFile("cannot be read", file="votes.csv", row=1_001)

    with pytest.raises(BadFile):
        store.votes.append(broken())
    with pytest.raises(LeaseLost):
        store.votes.append([a_vote("v1")], stale)
    assert written() == {}
    store.votes.append([a_vote("v1"), a_remark("x1", "exclusion", "v1", "spam")])
    make_voted(store)
    store.votes.erase(["b1"], "voter")
    assert written() == {"vote": 2, "exclusion": 1, "erasure": 1}
    store.votes.import_file(
        IMPORTED,
        "digest",
        [a_vote("i1", campaign="imported"), a_vote("i2"), a_remark("x2", "exclusion", "i1", "")],
    )
    with pytest.raises(LeaseLost):
        store.votes.seal(stale, 100)
    assert written()["vote"] == 2, "an import is not in the log yet"
    store.votes.seal(lease, 100)
    assert written() == {"vote": 4, "exclusion": 2, "erasure": 1}


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_an_import_that_was_killed_leaves_nothing_and_is_cleaned_up_by_the_next_try(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    if kind == "postgres":
        url = str(request.getfixturevalue("postgres_url"))
    else:
        url = f"sqlite:///{tmp_path}/arena.db"
    store = migrated(url)
    child = os.fork()
    if child == 0:
        rows = itertools.chain(imported_rows(1_700), iter(lambda: os.kill(os.getpid(), 9), 1))
        open_store(url).votes.import_file(IMPORTED, "digest", rows)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL

    def left() -> int:
        with store._db.read() as connection:
            return connection.execute(text("SELECT count(*) FROM import_rows")).scalar_one()

    assert left() == 1_500, "it was in its midst"
    assert store.campaigns.all() == []
    assert (store.votes.unsealed(), store.votes.seal(worker_lease(store), 10_000)) == (0, 0)
    assert store.votes.import_file(IMPORTED, "digest", imported_rows(10)) == 10
    assert left() == 10
    assert store.votes.seal(worker_lease(store), 10_000) == 10
    assert left() == 0
    store.close()


def test_void_rates_count_every_pair_and_every_turn_on_both_sides(store: Store) -> None:
    pairs = itertools.permutations(["m0", "m1", "m2"], 2)
    for number, (model_a, model_b) in enumerate(pairs):
        name = f"b{number}"
        start(store, name, model_a=model_a, model_b=model_b)
        assert store.battles.claim(name, "r1")
        if number % 2:
            assert fail(store, name)
        else:
            assert finish(store, name)
            assert store.battles.add_turn(a_turn(name, 2))
            assert store.battles.skip(name)
    rates = store.battles.void_rates()["online"]
    assert rates == void_rates_by_hand(store)
    assert len(set(rates.values())) > 1


def void_rates_by_hand(store: Store) -> dict[str, float]:
    asked, failed = Counter[str](), Counter[str]()
    for number in range(6):
        found = store.battles.whole(f"b{number}")
        assert found is not None
        for model in (found.battle.model_a, found.battle.model_b):
            asked[model] += found.battle.turn
        if found.battle.state is BattleState.void:
            failed[found.battle.model_b] += 1
    return {model: failed[model] / asked[model] for model in asked}


def test_pages_of_the_counted_log_are_kept_replaced_and_fenced(store: Store) -> None:
    lease = store.leases.take("worker", "w", None)
    assert lease is not None
    assert store.pages.get(0) is None
    store.pages.save(lease, 0, b"one\x00")
    store.pages.save(lease, 3, b"three")
    store.pages.save(lease, 0, b"another")
    assert (store.pages.get(0), store.pages.get(3)) == (b"another", b"three")
    with pytest.raises(LeaseLost):
        store.pages.save(replace(lease, fence=9), 0, b"stale")
    assert store.pages.get(0) == b"another"


def test_void_rates_are_published_by_campaign_and_fenced(store: Store) -> None:
    lease = store.leases.take("worker", "w", None)
    assert lease is not None
    assert store.figures.void_rates("online") == {}
    for rate in (0.5, 0.25):
        store.figures.save_void_rates(lease, {"online": {"m0": rate, "m1": 0.0}})
        assert store.figures.void_rates("online") == {"m0": rate, "m1": 0.0}
    store.figures.save_void_rates(lease, {})
    with pytest.raises(LeaseLost):
        store.figures.save_void_rates(replace(lease, fence=9), {"online": {}})
    assert store.figures.void_rates("online") == {"m0": 0.25, "m1": 0.0}


def test_exports_say_the_same_of_every_store_up_to_every_position(store: Store) -> None:
    said = [{"role": "user", "content": [{"type": "text", "text": "你好"}]}]
    content = Content("ab" * 32, said, [], "fine")
    rows = [
        a_vote("v1", content=content, reasons=("clear", "correct"), ttft_a=0.5),
        a_vote("v2", grade=0, winner="tie", both_bad=True),
        a_remark("f1", "flag", "v1", "identity_leak"),
        a_remark("f2", "flag", "v1", "injection"),
        a_remark("x1", "exclusion", "v2", "spam"),
        a_remark("x2", "exclusion", "v2", "worse"),
        a_vote("v3"),
    ]
    plain = FakeStore()
    for one in (store, plain):
        one.votes.append(rows)
        assert one.votes.seal(worker_lease(one), 6) == 6
    for until in range(7):
        found = log_rows(store.votes, "online", until=until, limit=2)
        assert [row["seq"] for row in found] == list(range(1, until + 1))
        assert found == log_rows(plain.votes, "online", until=until)
    assert store.votes.exported(0, 6, 10, ["other"]) is None


def test_long_conversations_come_in_small_pages(store: Store) -> None:
    long = [{"role": "user", "content": [{"type": "text", "text": "x" * 2**20}]}]
    content = Content("ab" * 32, long, long)
    store.votes.append([a_vote(f"v{number}", content=content) for number in range(20)])
    lease = store.leases.take("worker", "w", None)
    assert lease is not None
    store.votes.seal(lease, 20)
    page = store.votes.exported(0, 20, 4_096, ["online"])
    assert page is not None and 0 < len(page["seq"]) < 20


def explained(store: SqlStore, *tables: str) -> list[str]:
    """How SQLite goes about what is asked of these tables from here on, step by step."""
    plans: list[str] = []

    def explain(
        _connection: Any, cursor: Any, statement: str, values: Any, _context: Any, many: bool
    ) -> None:
        if not many and any(table in statement for table in tables):
            steps = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            plans.extend(step[3] for step in steps)

    event.listen(store._db.engine, "before_cursor_execute", explain)
    return plans


def test_on_sqlite_no_look_at_some_battles_reads_all_of_them(tmp_path: Path) -> None:
    store = migrated(f"sqlite:///{tmp_path}/arena.db")
    plans = explained(store, "battles")
    store.battles.running("ann")
    store.battles.waiting()
    store.battles.claimed()
    store.battles.by_state()
    store.battles.void_rates()
    store.battles.voids_by_model()
    list(store.votes.outcomes([CAMPAIGN.id]))
    assert len(plans) > 7
    assert [plan for plan in plans if "SCAN" in plan and " INDEX " not in plan] == []
    store.close()


def test_on_sqlite_no_look_at_events_walks_through_votes(tmp_path: Path) -> None:
    store = migrated(f"sqlite:///{tmp_path}/arena.db")
    plans = explained(store, "FROM records")
    for before in (None, 9):
        store.votes.events([CAMPAIGN.id], before=before, limit=51)
        store.votes.events([CAMPAIGN.id], ["blindness"], before=before, limit=1)
        store.votes.events([CAMPAIGN.id, "other"], MODEL_TYPES, before=before)
    store.sealed.records([CAMPAIGN.id])
    store.sealed.waiting()
    plans = [plan for plan in plans if "B-TREE" not in plan]
    assert len(plans) >= 8
    assert [plan for plan in plans if "ix_records_events" not in plan] == []
    store.close()


def test_on_sqlite_votes_that_come_together_read_no_other_battle(tmp_path: Path) -> None:
    store = migrated(f"sqlite:///{tmp_path}/arena.db")
    store.campaigns.add(CAMPAIGN)
    ids = ["b1", "b2", "b3"]
    for one in ids:
        make_ready(store, one)
    given = [GivenVote(*a_vote(f"v{one}", one), f"voter {one}", 1, None, "d") for one in ids]
    plans = explained(store, "battles", "pseudonyms")
    assert None not in store.votes.add_votes(given)
    scans = [plan for plan in plans if "SCAN" in plan and "CONSTANT ROW" not in plan]
    assert plans and scans == []
    store.close()
