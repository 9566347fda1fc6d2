"""The voter's use-cases: what is refused and with which error, and that one vote is one vote."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from arena.battle import Battle, BattleState, Grade, Leak, Reveal
from arena.battles import Ballot, Battles, Limits, Place, check_text
from arena.campaigns import Campaigns
from arena.errors import (
    AlreadyVoted,
    ArenaError,
    BattleSkipped,
    BattleVoid,
    CampaignClosed,
    Conflict,
    InvalidField,
    NoModels,
    NoRoom,
    NotFound,
    TooEarly,
    TooMany,
    Unavailable,
)
from arena.interfaces import GivenVote, StoredVote
from tests.fakes import ANSWERS, CAMPAIGN, MODELS, SIGNER, STEPS, FakeLive, FakeStore, at_once
from tests.services import wait_until

LIMITS = Limits(prompt_chars=100, turns=3, running_per_voter=2, running=5, waiting_per_network=3)
BALLOT = Ballot(Grade.a_better, reasons=("clear",), comment="well said")


class World:
    """The use-cases over fakes, and a runner's moves."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.store = FakeStore()
        self.live = FakeLive()
        self.store.campaigns.add(CAMPAIGN)
        self.store.roster.replace(MODELS, "t1")
        campaigns = Campaigns(self.store.campaigns)
        self.battles = Battles(
            self.store,
            self.live,
            campaigns,
            limits,
            random.Random(7),  # noqa: S311  reproducible draws
            signer=SIGNER,
        )

    def start(self, voter: str = "ann") -> str:
        return self.battles.start(voter, "Why?").battle.id

    def answer(self, battle_id: str, *leaks: Leak) -> None:
        battle = self.store.battles.claim(battle_id, "r1")
        assert battle is not None
        assert self.store.battles.finish_turn(
            battle_id, battle.turn, ANSWERS, STEPS, "r1", leaks=leaks
        )

    def fail(self, battle_id: str) -> None:
        battle = self.store.battles.claim(battle_id, "r1")
        assert battle is not None
        assert self.store.battles.fail_turn(
            battle_id, battle.turn, reason="endpoint_failed", side="a", error="e", runner="r1"
        )

    def ready(self, voter: str = "ann") -> str:
        battle_id = self.start(voter)
        self.answer(battle_id)
        return battle_id

    def in_state(self, state: str) -> str:
        battle_id = self.start()
        if state == "running":
            self.store.battles.claim(battle_id, "r1")
        elif state == "void":
            self.fail(battle_id)
        elif state == "skipped":
            self.battles.skip("ann", battle_id)
        elif state in ("ready", "voted"):
            self.answer(battle_id)
        if state == "voted":
            self.battles.vote("ann", battle_id, BALLOT)
        assert self.battle(battle_id).state == state
        return battle_id

    def battle(self, battle_id: str) -> Battle:
        battle = self.store.battles.get(battle_id)
        assert battle is not None
        return battle

    def votes(self) -> int:
        return self.store.votes.unsealed()


@pytest.fixture
def world() -> World:
    return World()


# --- starting -----------------------------------------------------------------------------------


def test_a_started_battle_is_committed_with_its_draw_before_a_runner_is_woken(
    world: World,
) -> None:
    begun = world.battles.start("ann", "Why?\r\nReally?")
    battle = begun.battle
    assert world.store.battles.whole(battle.id) == begun
    assert world.live.next_battle(0.1) == battle.id
    assert battle.state is BattleState.created
    assert (battle.campaign, battle.voter) == ("online", "ann")
    assert battle.model_a != battle.model_b
    assert battle.propensity == 1 / 12
    assert (battle.sampling_rule, battle.roster_revision) == ("uniform", 1)
    assert world.store.battles.turns(battle.id)[0].prompt == "Why?\nReally?"


def test_without_redis_a_battle_is_started_all_the_same(world: World) -> None:
    world.live.away = True
    battle_id = world.start()
    assert world.store.battles.waiting() == [battle_id]


@pytest.mark.parametrize(
    "prompt", ["", "   \n\t", "\u200b\u2060", "x" * 101, "nul \0", "bell \a", "half \ud800"]
)
def test_a_prompt_nobody_can_have_meant_is_refused(world: World, prompt: str) -> None:
    with pytest.raises(InvalidField) as refused:
        world.battles.start("ann", prompt)
    assert refused.value.field == "prompt"
    assert world.store.battles.by_state() == {}


@pytest.mark.parametrize("prompt", ["x" * 100, "你好 🙂", "a\tb\nc", "?", "👩‍👩‍👧‍👦", "\r\nx\r"])
def test_any_visible_text_within_the_limit_is_a_prompt(prompt: str) -> None:
    assert check_text(prompt, "prompt", 100) == prompt.replace("\r\n", "\n").replace("\r", "\n")


def test_unknown_private_and_closed_campaigns_take_no_battles(world: World) -> None:
    world.store.campaigns.add(replace(CAMPAIGN, id="private", public=False))
    world.store.campaigns.add(replace(CAMPAIGN, id="closed", state="closed"))
    for campaign, error in (
        ("nothing", NotFound),
        ("private", NotFound),
        ("closed", CampaignClosed),
    ):
        with pytest.raises(error):
            world.battles.start("ann", "Why?", campaign)
    assert world.store.battles.by_state() == {}


def test_a_battle_needs_two_models_of_its_campaign(world: World) -> None:
    world.store.campaigns.add(replace(CAMPAIGN, id="other"))
    only = replace(MODELS[0], campaigns=("other",)), replace(MODELS[1], state="retired")
    world.store.roster.replace([*only, MODELS[2]], "t2")
    with pytest.raises(NoModels):
        world.battles.start("ann", "Why?")
    pair = world.battles.start("ann", "Why?", "other").battle
    assert {pair.model_a, pair.model_b} == {"m0", "m2"}


def test_all_pairs_and_sides_are_drawn_about_equally_often() -> None:
    world = World(replace(LIMITS, running=10_000, running_per_voter=10_000))
    drawn: Counter[tuple[str, str]] = Counter()
    for _ in range(2_400):
        battle = world.battles.start("ann", "Why?").battle
        drawn[battle.model_a, battle.model_b] += 1
        world.store.battles.rows.clear()
    assert len(drawn) == 12
    assert all(140 < count < 260 for count in drawn.values()), drawn


def test_too_many_running_battles_are_refused_for_the_voter_and_for_all(world: World) -> None:
    world.start()
    world.start()
    with pytest.raises(TooMany):
        world.start()
    for voter in ("bob", "bob", "eve"):
        world.start(voter)
    with pytest.raises(Unavailable):
        world.start("zoe")
    with pytest.raises(TooMany):
        world.start()
    world.answer(world.store.battles.waiting()[0])
    with pytest.raises(NoRoom):
        world.start()  # there is one place, and Zoe came first
    world.start("zoe")
    world.answer(world.store.battles.waiting()[0])
    world.start()
    assert not world.live.line


def test_whoever_waits_in_line_is_let_in_in_the_order_of_coming(world: World) -> None:
    full = [world.start(voter) for voter in ("v1", "v2", "v3", "v4", "v5")]
    assert world.battles.place("ann") == Place(has_room=False, ahead=0)
    assert world.battles.place("bob") == Place(has_room=False, ahead=1)
    assert world.battles.place("eve") == Place(has_room=False, ahead=2)
    world.answer(full[0])
    world.answer(full[1])
    assert [world.battles.place(voter).has_room for voter in ("ann", "bob", "eve")] == [
        True,
        True,
        False,
    ]
    world.start("bob")
    world.battles.leave_line("ann")
    assert world.battles.place("eve") == Place(has_room=True, ahead=0)


def test_voters_that_one_network_invents_do_not_fill_the_line(world: World) -> None:
    for voter in ("v1", "v2", "v3", "v4", "v5"):
        world.start(voter)
    for number in range(50):
        assert not world.battles.place(f"ghost {number}", "one network").has_room
        assert not world.battles.place(None, "another").has_room
    assert world.battles.place("ann", "home") == Place(has_room=False, ahead=3)


def test_a_follow_up_waits_in_line_like_everybody(world: World) -> None:
    talk = world.ready("ann")
    for voter in ("v1", "v2", "v3", "v4", "v5"):
        world.start(voter)
    with pytest.raises(NoRoom):
        world.battles.follow_up("ann", talk, "And then?")
    assert world.battles.place("bob") == Place(has_room=False, ahead=1)


def test_without_redis_there_is_no_line_and_whoever_asks_when_there_is_room_gets_it(
    world: World,
) -> None:
    full = [world.start(voter) for voter in ("v1", "v2", "v3", "v4", "v5")]
    world.battles.place("ann")
    world.live.away = True
    with pytest.raises(NoRoom):
        world.start("bob")
    assert world.battles.place("bob") == Place(has_room=False, ahead=0)
    world.answer(full[0])
    world.start("bob")


def started_at_once(world: World, voters: Sequence[str]) -> int:
    """How many of them got a battle, all asking at the same moment."""

    def attempt(voter: str) -> bool:
        try:
            world.start(voter)
        except (TooMany, Unavailable):
            return False
        return True

    return sum(at_once([lambda voter=voter: attempt(voter) for voter in voters]))


def test_a_voter_who_asks_many_times_at_once_gets_no_more_than_their_places(world: World) -> None:
    assert started_at_once(world, ["ann"] * 64) == LIMITS.running_per_voter


def test_many_voters_at_once_get_no_more_than_the_places_of_the_arena(world: World) -> None:
    voters = [f"voter {number}" for number in range(64)]
    assert started_at_once(world, voters) == LIMITS.running


def test_a_redraw_names_the_battle_it_comes_from(world: World) -> None:
    void = world.in_state("void")
    again = world.battles.start("ann", "Why?", redraw_of=void).battle
    assert again.redrawn_from == void
    with pytest.raises(NotFound):
        world.battles.start("bob", "Why?", redraw_of=void)


# --- whose battle it is -------------------------------------------------------------------------


def test_to_anybody_else_a_battle_does_not_exist(world: World) -> None:
    battle_id = world.ready()
    for name, call in every_use(world).items():
        for voter, target in (("bob", battle_id), ("ann", "nothing")):
            with pytest.raises(NotFound):
                call(voter, target)
            assert world.battle(battle_id).state is BattleState.ready, name
    assert world.votes() == 0
    assert world.store.battles.open_reports(10) == []


def every_use(world: World) -> dict[str, Any]:
    return {
        "get": world.battles.get,
        "view": world.battles.view,
        "follow_up": lambda voter, target: world.battles.follow_up(voter, target, "And?"),
        "vote": lambda voter, target: world.battles.vote(voter, target, BALLOT),
        "skip": world.battles.skip,
        "stop": world.battles.stop,
        "report": lambda voter, target: world.battles.report(voter, target, "rude"),
        "share": world.battles.share,
        "unshare": world.battles.unshare,
    }


# --- each state's refusals ----------------------------------------------------------------------

OK = None
REFUSALS: dict[str, dict[str, type[ArenaError] | None]] = {
    "created": {"vote": TooEarly, "follow_up": TooEarly, "skip": OK, "stop": OK},
    "running": {"vote": TooEarly, "follow_up": TooEarly, "skip": OK, "stop": OK},
    "ready": {"vote": OK, "follow_up": OK, "skip": OK, "stop": OK},
    "voted": {
        "vote": AlreadyVoted,
        "follow_up": AlreadyVoted,
        "skip": AlreadyVoted,
        "stop": AlreadyVoted,
    },
    "skipped": {
        "vote": BattleSkipped,
        "follow_up": BattleSkipped,
        "skip": OK,
        "stop": BattleSkipped,
    },
    "void": {
        "vote": BattleVoid,
        "follow_up": BattleVoid,
        "skip": BattleVoid,
        "stop": BattleVoid,
    },
}


@pytest.mark.parametrize(
    ("state", "use", "error"),
    [(state, use, error) for state, uses in REFUSALS.items() for use, error in uses.items()],
)
def test_each_state_refuses_what_it_must_with_its_own_error(
    world: World, state: str, use: str, error: type[ArenaError] | None
) -> None:
    battle_id = world.in_state(state)
    before, votes = world.battle(battle_id), world.votes()
    call = every_use(world)[use]
    if error is None:
        call("ann", battle_id)
        return
    with pytest.raises(error) as refused:
        call("ann", battle_id)
    assert type(refused.value) is error
    assert world.battle(battle_id) == before
    assert world.votes() == votes


# --- following up, stopping, reporting ----------------------------------------------------------


def test_a_conversation_ends_at_its_last_turn(world: World) -> None:
    battle_id = world.ready()
    for _ in range(2):
        world.battles.follow_up("ann", battle_id, "And then?")
        assert world.battle(battle_id).state is BattleState.running
        world.answer(battle_id)
    with pytest.raises(Conflict, match="at most 3 turns"):
        world.battles.follow_up("ann", battle_id, "And then?")
    assert world.battle(battle_id).state is BattleState.ready


def test_a_follow_up_counts_as_a_running_battle_and_wakes_a_runner(world: World) -> None:
    battle_id = world.ready()
    world.live.next_battle(0.1)
    world.battles.follow_up("ann", battle_id, "And?")
    assert world.live.next_battle(0.1) == battle_id
    world.start()
    with pytest.raises(TooMany):
        world.start()
    assert not world.store.battles.add_turn(world.store.battles.turns(battle_id)[1])


def test_a_stop_is_asked_for_while_it_runs_and_is_nothing_afterwards(world: World) -> None:
    battle_id = world.start()
    world.battles.stop("ann", battle_id)
    assert world.battle(battle_id).stop_requested
    world.answer(battle_id)
    world.battles.stop("ann", battle_id)
    assert not world.battle(battle_id).stop_requested


def test_a_report_is_kept_with_its_reason(world: World) -> None:
    battle_id = world.ready()
    world.battles.report("ann", battle_id, "rude", "a")
    world.battles.report("ann", battle_id, None)
    kept = world.store.battles.reports_of("ann")
    assert {(report.side, report.reason) for report in kept} == {("a", "rude"), (None, "")}
    with pytest.raises(InvalidField):
        world.battles.report("ann", battle_id, "bell \a")


# --- voting -------------------------------------------------------------------------------------


def test_a_vote_reveals_what_was_stored_and_wakes_the_worker(world: World) -> None:
    battle_id = world.ready()
    battle = world.battle(battle_id)
    reveal = world.battles.vote("ann", battle_id, BALLOT)
    stored = world.store.votes.vote_of(battle_id)
    assert stored is not None
    assert (reveal.grade, reveal.both_bad) == (1, False)
    assert (reveal.model_a, reveal.model_b) == (battle.model_a, battle.model_b)
    assert reveal.about_a["name"] == f"Model {battle.model_a[1]}"
    assert reveal.receipt == stored.hash == stored.record.leaf()
    assert world.live._worker_bell.qsize() == 1


def test_the_stored_vote_holds_the_draw_the_measures_and_no_voter(world: World) -> None:
    battle_id = world.ready()
    world.battles.follow_up("ann", battle_id, "And?")
    world.answer(battle_id)
    world.battles.vote("ann", battle_id, BALLOT)
    stored = world.store.votes.vote_of(battle_id)
    assert stored is not None
    record, battle = stored.record, world.battle(battle_id)
    assert (record.type, record.campaign, record.battle_id) == ("vote", "online", battle_id)
    assert (record.model_a, record.model_b) == (battle.model_a, battle.model_b)
    assert (record.grade, record.winner, record.both_bad) == (1, "model_a", False)
    assert (record.propensity, record.sampling_rule, record.roster_revision) == (
        1 / 12,
        "uniform",
        1,
    )
    assert (record.turns, record.voter_kind, record.reasons) == (2, "person", ("clear",))
    assert (record.tokens_a, record.tokens_b) == (8, None)
    assert (record.duration_a, record.duration_b) == (3.0, 4.0)
    assert (record.ttft_a, record.ttft_b) == (0.125, 0.25)
    assert (record.finish_a, record.finish_b) == ("stop", "length")
    assert record.voter not in (None, "", "ann")


def test_the_stored_text_is_the_conversation_of_each_side(world: World) -> None:
    battle_id = world.ready()
    world.battles.follow_up("ann", battle_id, "Fails")
    world.fail(battle_id)
    world.battles.follow_up("ann", battle_id, "And?")
    world.answer(battle_id)
    world.battles.vote("ann", battle_id, replace(BALLOT, comment="  "))
    row = world.store.votes.find(battle_id)
    assert row is not None and row.content is not None and row.content.comment is None
    said = [
        (message["role"], message["content"][0]["text"])
        for message in row.content.conversation_b or []
    ]
    answer = ANSWERS[1].text
    assert said == [
        ("user", "Why?"),
        ("assistant", answer),
        ("user", "And?"),
        ("assistant", answer),
    ]
    assert row.record.turns == 2


def test_a_failed_follow_up_leaves_the_last_complete_turn_to_vote_on(world: World) -> None:
    battle_id = world.ready()
    world.battles.follow_up("ann", battle_id, "And?")
    with pytest.raises(TooEarly):
        world.battles.vote("ann", battle_id, BALLOT)
    world.fail(battle_id)
    world.battles.vote("ann", battle_id, BALLOT)
    stored = world.store.votes.vote_of(battle_id)
    assert stored is not None and stored.record.turns == 1


def test_the_same_key_and_ballot_give_the_same_reveal_for_ever(world: World) -> None:
    battle_id = world.ready()
    first = world.battles.vote("ann", battle_id, BALLOT, "key")
    renamed = [replace(model, name="Another name") for model in MODELS]
    for _ in range(3):
        assert world.battles.vote("ann", battle_id, BALLOT, "key") == first
    assert world.votes() == 1
    world.store.roster.replace(renamed, "t2")
    again = world.battles.vote("ann", battle_id, BALLOT, "key")
    assert (again.receipt, again.model_a) == (first.receipt, first.model_a)


@pytest.mark.parametrize(
    ("first_key", "key", "ballot"),
    [
        ("key", "another", BALLOT),
        ("key", None, BALLOT),
        (None, None, BALLOT),
        (None, "key", BALLOT),
        ("key", "key", replace(BALLOT, grade=Grade.a_much_better)),
        ("key", "key", replace(BALLOT, comment=None)),
        ("key", "key", replace(BALLOT, reasons=())),
        ("key", "key", Ballot(Grade.tie, both_bad=True)),
    ],
)
def test_anything_but_the_same_request_is_a_second_vote(
    world: World, first_key: str | None, key: str | None, ballot: Ballot
) -> None:
    battle_id = world.ready()
    world.battles.vote("ann", battle_id, BALLOT, first_key)
    with pytest.raises(AlreadyVoted):
        world.battles.vote("ann", battle_id, ballot, key)
    assert world.votes() == 1


def test_one_key_may_serve_two_battles(world: World) -> None:
    reveals = [world.battles.vote("ann", world.ready(), BALLOT, "key") for _ in range(2)]
    assert reveals[0].receipt != reveals[1].receipt
    assert world.votes() == 2


def attempt(world: World, battle_id: str, ballot: Ballot, key: str | None) -> Reveal | None:
    try:
        return world.battles.vote("ann", battle_id, ballot, key)
    except AlreadyVoted:
        return None


def test_of_sixty_four_votes_at_once_exactly_one_succeeds(world: World) -> None:
    battle_id = world.ready()
    reveals = at_once([lambda: attempt(world, battle_id, BALLOT, None)] * 64)
    (reveal,) = [reveal for reveal in reveals if reveal is not None]
    assert world.votes() == 1
    stored = world.store.votes.vote_of(battle_id)
    assert stored is not None and stored.hash == reveal.receipt


def test_votes_of_a_moment_share_a_transaction_and_a_wake_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    battle_ids = [world.ready() for _ in range(8)]
    add, wake = world.store.votes.add_votes, world.live.wake_worker
    done: list[int | str] = []

    def add_votes(votes: Sequence[GivenVote]) -> list[StoredVote | None]:
        if not done:  # until all others wait
            wait_until(lambda: len(world.battles._voting._waiting) == 7, what="the others")
        done.append(len(votes))
        return add(votes)

    monkeypatch.setattr(world.store.votes, "add_votes", add_votes)
    monkeypatch.setattr(world.live, "wake_worker", lambda: (done.append("woken"), wake()))
    votes = [lambda one=one: attempt(world, one, BALLOT, None) for one in battle_ids]
    reveals = at_once(votes)
    assert done == [1, "woken", 7, "woken"]
    for battle_id, reveal in zip(battle_ids, reveals, strict=True):
        stored = world.store.votes.vote_of(battle_id)
        assert stored is not None and reveal is not None and stored.hash == reveal.receipt


def test_a_vote_that_came_too_late_wakes_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    battle_id = world.ready()
    add = world.store.votes.add_votes

    def add_votes(votes: Sequence[GivenVote]) -> list[StoredVote | None]:
        world.battles.skip("ann", battle_id)
        return add(votes)

    monkeypatch.setattr(world.store.votes, "add_votes", add_votes)
    with pytest.raises(BattleSkipped):
        world.battles.vote("ann", battle_id, BALLOT)
    assert world.live._worker_bell.empty() and world.votes() == 0


def test_sixty_four_repeats_of_one_request_at_once_all_get_its_answer(world: World) -> None:
    battle_id = world.ready()
    reveals = at_once([lambda: attempt(world, battle_id, BALLOT, "key")] * 64)
    assert None not in reveals
    assert len({reveal.receipt for reveal in reveals if reveal is not None}) == 1
    assert world.votes() == 1


def away(*_: object, **__: object) -> Any:
    raise Unavailable("The database is away.")


def test_a_vote_that_cannot_be_stored_is_not_acknowledged(world: World) -> None:
    battle_id = world.ready()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.store.votes, "add_votes", away)
        with pytest.raises(Unavailable):
            world.battles.vote("ann", battle_id, BALLOT, "key")
    assert world.votes() == 0
    assert world.battle(battle_id).state is BattleState.ready
    assert world.battles.vote("ann", battle_id, BALLOT, "key").grade == 1


def test_a_vote_whose_answer_got_lost_can_be_asked_for_again_by_its_key(world: World) -> None:
    battle_id = world.ready()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.store.roster, "at", away)
        with pytest.raises(Unavailable):
            world.battles.vote("ann", battle_id, BALLOT, "key")
    assert world.battles.vote("ann", battle_id, BALLOT, "key").grade == 1
    assert world.votes() == 1


@pytest.mark.parametrize("grade", [2, 1, -1, -2])
def test_both_bad_goes_with_a_tie_only(grade: int) -> None:
    with pytest.raises(InvalidField) as refused:
        Ballot(Grade(grade), both_bad=True)
    assert refused.value.field == "both_bad"
    assert Ballot(Grade.tie, both_bad=True).both_bad


def test_unknown_reasons_and_impossible_comments_are_refused(world: World) -> None:
    with pytest.raises(InvalidField) as refused:
        Ballot(Grade.tie, reasons=("clear", "nice"))
    assert refused.value.field == "reasons"
    battle_id = world.ready()
    for comment in ("x" * 2_001, "nul \0"):
        with pytest.raises(InvalidField) as refused:
            world.battles.vote("ann", battle_id, Ballot(Grade.tie, comment=comment))
        assert refused.value.field == "comment"
    assert world.votes() == 0


# --- what the voter sees ------------------------------------------------------------------------


def test_the_view_is_blind_until_the_vote_and_repeats_the_reveal_after_it(world: World) -> None:
    battle_id = world.ready()
    before = world.battles.view("ann", battle_id)
    assert not {"model_a", "model_b", "receipt", "grade"} & set(before)
    told = json.dumps(before).replace(battle_id, "")  # at random it holds any two letters
    assert not any(name in told for name in ("Model", "m0", "m1", "m2", "m3"))
    reveal = world.battles.vote("ann", battle_id, BALLOT)
    after = world.battles.view("ann", battle_id)
    assert {name: after[name] for name in reveal.to_json()} == reveal.to_json()
    assert after["state"] == "voted"


@pytest.mark.parametrize("state", ["created", "running", "ready", "skipped", "void"])
def test_no_state_before_the_vote_names_a_model(world: World, state: str) -> None:
    seen = json.dumps(world.battles.view("ann", world.in_state(state)))
    assert not any(f'"m{number}"' in seen or f"Model {number}" in seen for number in range(4))


def test_private_campaigns_are_as_if_they_were_not_there(world: World) -> None:
    private = replace(CAMPAIGN, id="private", public=False)
    world.store.campaigns.add(private)
    campaigns = Campaigns(world.store.campaigns)
    assert campaigns.public() == [CAMPAIGN]
    assert campaigns.get(None) == campaigns.get("online") == CAMPAIGN
    with pytest.raises(NotFound):
        campaigns.get("private")


# --- answers that named themselves --------------------------------------------------------------


def leaky(world: World, *turns: tuple[Leak, ...]) -> str:
    """A battle with these leaks in its turns, ready for its vote."""
    battle_id = world.start()
    world.answer(battle_id, *turns[0])
    for leaks in turns[1:]:
        world.battles.follow_up("ann", battle_id, "And?")
        world.answer(battle_id, *leaks)
    return battle_id


def flags_of(world: World) -> list[tuple[str | None, dict[str, Any] | None]]:
    log, leases = world.store.votes, world.store.leases
    lease = leases.take("worker", "w1", leases.look("worker"))
    assert lease is not None
    log.seal(lease, 99)
    return [(row.target, row.data) for row in log.counted(0, 99) if row.type == "flag"]


def test_a_vote_on_answers_that_named_themselves_is_flagged_once_for_each_side(
    world: World,
) -> None:
    battle_id = leaky(
        world,
        (Leak("b", "qwen"),),
        (Leak("b", "tongyi"),),
        (Leak("a", "openai"), Leak("b", "qwen")),
    )
    reveal = world.battles.vote("ann", battle_id, BALLOT)
    assert reveal.leaks == {"a": "openai", "b": "qwen"}
    vote = world.store.votes.vote_of(battle_id)
    assert vote is not None
    assert sorted(flags_of(world), key=str) == [
        (vote.record.id, {"side": "a", "name": "openai"}),
        (vote.record.id, {"side": "b", "name": "qwen"}),
    ]
    assert world.battles.view("ann", battle_id)["leaks"] == {"a": "openai", "b": "qwen"}


def test_a_vote_on_other_answers_has_no_flag(world: World) -> None:
    battle_id = world.ready()
    assert world.battles.vote("ann", battle_id, BALLOT).leaks == {}
    assert flags_of(world) == []


def test_a_repeated_request_adds_no_flag_and_tells_the_same(world: World) -> None:
    battle_id = leaky(world, (Leak("a", "qwen"),))
    first = world.battles.vote("ann", battle_id, BALLOT, "key")
    assert world.battles.vote("ann", battle_id, BALLOT, "key") == first
    assert len(flags_of(world)) == 1


def test_an_answer_that_named_itself_looks_like_any_other_before_the_vote(world: World) -> None:
    views = []
    for leaks in ((), (Leak("a", "qwen"), Leak("b", "openai"))):
        battle_id = leaky(world, leaks)
        view = world.battles.view("ann", battle_id)
        views.append(
            {name: view[name] for name in view if name not in ("id", "events", "created_at")}
        )
        world.battles.skip("ann", battle_id)
    assert views[0] == views[1]
