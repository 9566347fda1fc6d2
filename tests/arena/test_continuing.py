"""Going on with one side of a voted battle: a new pair, blind again, with the same history."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from arena import categories
from arena.battle import BattleState, Message, Side, WholeBattle
from arena.battles import Continuation, conversation
from arena.errors import CampaignClosed, Conflict, InvalidField, InvitationNeeded, NotFound
from arena.interfaces import Finished
from tests.arena.http_world import ADMIN_TOKEN, CheckedClient, World, problem
from tests.arena.test_battles import BALLOT
from tests.arena.test_battles import World as Fakes
from tests.arena.test_mine import NAMES, text
from tests.fakes import ANSWERS, CAMPAIGN

SAID_A, SAID_B = (answer.text for answer in ANSWERS)


@pytest.fixture
def fakes() -> Fakes:
    return Fakes()


def go_on(fakes: Fakes, battle_id: str, side: Side = "a", prompt: str = "And?") -> str:
    return fakes.battles.start("ann", prompt, continue_from=Continuation(battle_id, side)).battle.id


def whole(fakes: Fakes, battle_id: str) -> WholeBattle:
    found = fakes.store.battles.whole(battle_id)
    assert found is not None
    return found


def talk(*texts: str) -> tuple[Message, ...]:
    """A conversation of these texts, prompts and answers by turns."""
    return tuple(
        Message("assistant" if number % 2 else "user", said) for number, said in enumerate(texts)
    )


# --- the use-case -------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "said"), [("a", SAID_A), ("b", SAID_B)])
def test_a_battle_goes_on_with_the_side_that_its_voter_chose(
    fakes: Fakes, side: Side, said: str
) -> None:
    source = fakes.in_state("voted")
    battle = whole(fakes, go_on(fakes, source, side))
    assert battle.opening == talk("Why?", said)
    assert [turn.prompt for turn in battle.turns] == ["And?"]
    assert battle.battle.continued_from == source
    assert battle.battle.state is BattleState.created
    assert battle.battle.campaign == fakes.battle(source).campaign


def test_the_pair_of_a_battle_that_goes_on_is_drawn_anew(fakes: Fakes) -> None:
    source = fakes.in_state("voted")
    pairs = set()
    for _ in range(40):
        battle = fakes.battle(go_on(fakes, source))
        pairs.add((battle.model_a, battle.model_b))
        fakes.battles.skip("ann", battle.id)
    assert len(pairs) > 8, "of twelve ordered pairs"


def test_a_withdrawn_follow_up_is_not_gone_on_with(fakes: Fakes) -> None:
    source = fakes.ready()
    fakes.battles.follow_up("ann", source, "Fails")
    fakes.fail(source)
    fakes.battles.vote("ann", source, BALLOT)
    assert whole(fakes, go_on(fakes, source)).opening == talk("Why?", SAID_A)


def test_what_a_battle_went_on_with_is_gone_on_with_too(fakes: Fakes) -> None:
    second = go_on(fakes, fakes.in_state("voted"), "b")
    fakes.answer(second)
    fakes.battles.vote("ann", second, BALLOT)
    third = whole(fakes, go_on(fakes, second, "a", "Then?"))
    assert third.opening == talk("Why?", SAID_B, "And?", SAID_A)


@pytest.mark.parametrize("state", ["created", "running", "ready", "skipped", "void"])
def test_only_a_battle_with_its_vote_can_be_gone_on_with(fakes: Fakes, state: str) -> None:
    source = fakes.in_state(state)
    before = fakes.store.battles.by_state()
    with pytest.raises(Conflict, match="with its vote"):
        go_on(fakes, source)
    assert fakes.store.battles.by_state() == before


def test_somebody_else_s_battle_cannot_be_gone_on_with(fakes: Fakes) -> None:
    source = fakes.in_state("voted")
    fakes.battles.share("ann", source)
    with pytest.raises(NotFound):
        fakes.battles.start("bob", "And?", continue_from=Continuation(source, "a"))


def test_a_conversation_stays_in_its_campaign(fakes: Fakes) -> None:
    fakes.store.campaigns.add(replace(CAMPAIGN, id="other"))
    first = fakes.battles.start("ann", "Why?", "other").battle.id
    fakes.answer(first)
    fakes.battles.vote("ann", first, BALLOT)
    goes_on = Continuation(first, "a")
    with pytest.raises(InvalidField) as refused:
        fakes.battles.start("ann", "And?", "online", continue_from=goes_on)
    assert refused.value.field == "campaign"
    assert fakes.battle(go_on(fakes, first)).campaign == "other"
    assert (
        fakes.battles.start("ann", "And?", "other", continue_from=goes_on).battle.campaign
        == "other"
    )


def test_a_closed_campaign_takes_no_more_of_a_conversation(fakes: Fakes) -> None:
    source = fakes.in_state("voted")
    fakes.store.campaigns._rows[CAMPAIGN.id] = replace(CAMPAIGN, state="closed")
    with pytest.raises(CampaignClosed):
        go_on(fakes, source)


def test_a_private_campaign_takes_more_only_from_those_it_admits(fakes: Fakes) -> None:
    source = fakes.in_state("voted")
    fakes.store.campaigns._rows[CAMPAIGN.id] = replace(CAMPAIGN, public=False)
    with pytest.raises((NotFound, InvitationNeeded)):
        go_on(fakes, source)


def test_the_opening_counts_towards_the_longest_conversation(fakes: Fakes) -> None:
    source = fakes.ready()
    fakes.battles.follow_up("ann", source, "And then?")
    fakes.answer(source)
    fakes.battles.vote("ann", source, BALLOT)
    last = go_on(fakes, source)  # the third prompt of three
    fakes.answer(last)
    with pytest.raises(Conflict, match="at most 3 turns"):
        fakes.battles.follow_up("ann", last, "One more?")
    fakes.battles.vote("ann", last, BALLOT)
    with pytest.raises(Conflict, match="at most 3 turns"):
        go_on(fakes, last)


def test_a_void_battle_is_drawn_again_with_its_opening(fakes: Fakes) -> None:
    source = fakes.in_state("voted")
    void = go_on(fakes, source)
    fakes.fail(void)
    fakes.store.votes.erase([source], "voter")
    again = whole(fakes, fakes.battles.start("ann", "And?", redraw_of=void).battle.id)
    assert again.opening == talk("Why?", SAID_A)
    assert (again.battle.redrawn_from, again.battle.continued_from) == (void, source)


def test_a_battle_cannot_go_back_to_two(fakes: Fakes) -> None:
    void, voted = fakes.in_state("void"), fakes.in_state("voted")
    with pytest.raises(InvalidField, match="not both"):
        fakes.battles.start("ann", "x", redraw_of=void, continue_from=Continuation(voted, "a"))


def test_the_log_has_the_whole_conversation_that_was_judged(fakes: Fakes) -> None:
    battle_id = go_on(fakes, fakes.in_state("voted"), "b", "And?")
    fakes.answer(battle_id)
    fakes.battles.vote("ann", battle_id, BALLOT)
    found = fakes.store.votes.find(battle_id)
    assert found is not None and found.content is not None
    content, record = found.content, found.record
    assert content.conversation_a == conversation(talk("Why?", SAID_B, "And?", SAID_A))
    assert content.conversation_b == conversation(talk("Why?", SAID_B, "And?", SAID_B))
    assert record.content_digest == content.digest()
    assert record.turns == 2
    assert (record.tokens_a, record.duration_a) == (ANSWERS[0].tokens, ANSWERS[0].duration)


def test_the_opening_says_what_a_battle_is_about_too(fakes: Fakes) -> None:
    prompt = "用 Python 写一个函数,计算斐波那契数列。"
    source = fakes.battles.start("ann", prompt).battle.id
    fakes.answer(source)
    fakes.battles.vote("ann", source, BALLOT)
    battle_id = go_on(fakes, source, prompt="OK?")
    expected = categories.describe([prompt, "OK?"])
    assert expected != categories.describe(["OK?"])
    battle = fakes.battle(battle_id)
    assert (battle.language, battle.category_tag) == (expected.language, expected.category_tag)
    fakes.answer(battle_id)
    fakes.battles.follow_up("ann", battle_id, "Hm?")
    fakes.fail(battle_id)  # withdrawn, so that the vote describes what is left
    fakes.battles.vote("ann", battle_id, BALLOT)
    vote = fakes.store.votes.vote_of(battle_id)
    assert vote is not None
    assert (vote.record.language, vote.record.category_tag) == (
        expected.language,
        expected.category_tag,
    )


# --- over HTTP ----------------------------------------------------------------------------------


def continued(voter: CheckedClient, source: str, side: str = "a", prompt: str = "go on") -> str:
    return voter.ready(prompt, continue_from={"battle": source, "side": side})


@pytest.fixture
def source(world: World, voter: CheckedClient) -> dict[str, Any]:
    """A voted battle in which each model said something of its own."""
    world.answers("begin", m0=["Zero.", Finished("stop")], m1=["One.", Finished("stop")])
    with world.pinned("m0", "m1"):
        return voter.voted("begin")


def test_a_battle_that_goes_on_is_blind_and_shows_its_opening(
    voter: CheckedClient, source: dict[str, Any]
) -> None:
    battle_id = continued(voter, source["battle"], "b")
    seen = voter.get(f"/api/battles/{battle_id}").json
    assert seen["opening"] == [
        {"role": "user", "text": "begin"},
        {"role": "assistant", "text": "One."},
    ]
    assert [turn["prompt"] for turn in seen["turns"]] == ["go on"]
    assert not NAMES.search(json.dumps(seen))
    assert source["battle"] not in json.dumps(seen)
    reveal = voter.post(f"/api/battles/{battle_id}/vote", json={"grade": -1})
    assert reveal.status_code == 200
    assert voter.get(f"/api/battles/{battle_id}").json["opening"] == seen["opening"]


def test_what_cannot_be_gone_on_with_is_refused_as_other_calls_do(
    world: World, voter: CheckedClient, source: dict[str, Any]
) -> None:
    unvoted, gone = voter.ready(), voter.voted()["battle"]
    voter.delete(f"/api/battles/{gone}")
    world.add_campaign("over")
    over = voter.ready(campaign="over")
    voter.post(f"/api/battles/{over}/vote", json={"grade": 0})
    world.set_campaign("over", state="closed")

    def start(client: CheckedClient, battle: str, **fields: Any) -> Any:
        earlier = {"battle": battle, "side": "a"}
        return client.post("/api/battles", json={"prompt": "x", "continue_from": earlier, **fields})

    with world.nothing_written():
        problem(start(voter, unvoted), 409, "conflict")
        problem(start(voter, gone), 410, "erased")
        problem(start(world.voter(), source["battle"]), 404, "not-found")
        problem(start(voter, source["battle"], campaign="nope"), 422, "invalid-field")
        problem(start(voter, over), 409, "campaign-closed")


def test_the_opening_is_shown_wherever_the_battle_is(
    world: World, voter: CheckedClient, source: dict[str, Any]
) -> None:
    battle_id = continued(voter, source["battle"])
    voter.post(f"/api/battles/{battle_id}/vote", json={"grade": 0})
    voter.post(f"/api/battles/{battle_id}/report", json={"side": "a"})
    voter.post(f"/api/battles/{battle_id}/share")
    stranger = world.voter()
    assert stranger.get(f"/api/battles/{battle_id}").json["opening"][1]["text"] == "Zero."
    page = text(stranger.get(f"/battles/{battle_id}"))
    assert page.count("Zero.") == 1 and page.index("begin") < page.rindex("go on")
    assert source["battle"] not in page
    listed = {battle["id"]: battle for battle in voter.get("/api/battles").json["battles"]}
    assert listed[battle_id]["continued"] and not listed[source["battle"]]["continued"]
    assert text(voter.get("/mine")).count("Goes on with an earlier conversation") == 1
    exported = json.loads(text(voter.get("/api/battles/export")))["battles"]
    assert [one["opening"] for one in exported if one["id"] == battle_id] == [
        [{"role": "user", "text": "begin"}, {"role": "assistant", "text": "Zero."}]
    ]
    moderation = voter.get("/admin/moderation", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert "Zero." in text(moderation)


def test_the_earlier_battle_may_be_erased_and_this_one_goes_on(
    world: World, voter: CheckedClient, source: dict[str, Any]
) -> None:
    battle_id = continued(voter, source["battle"])
    assert voter.delete(f"/api/battles/{source['battle']}").status_code == 204
    assert len(voter.get(f"/api/battles/{battle_id}").json["opening"]) == 2
    before = world.counts()["openings"]
    assert voter.delete(f"/api/battles/{battle_id}").status_code == 204
    assert world.counts()["openings"] == before - 1
    exported = text(voter.get("/api/battles/export"))
    assert "Zero." not in exported and "go on" not in exported
