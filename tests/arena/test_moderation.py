"""Reports and doubtful votes: what the operator sees and does, and what that leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from arena.battles import Continuation
from arena.errors import Conflict, InvalidField, NotFound
from arena.moderation import Moderation
from tests.arena.http_world import ADMIN_TOKEN, CheckedClient, World
from tests.arena.test_battles import BALLOT
from tests.arena.test_battles import World as Fakes
from tests.fakes import a_vote
from tests.services import wait_until

OPERATOR = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


@pytest.fixture
def fakes() -> Fakes:
    return Fakes()


@pytest.fixture
def moderation(fakes: Fakes) -> Moderation:
    return Moderation(fakes.store, fakes.live)


def acts(fakes: Fakes) -> list[tuple[str, str | None]]:
    return [(entry.act.act, entry.act.target) for entry in fakes.store.audit.page(None, 50)]


def erased(fakes: Fakes, battle_id: str) -> bool:
    whole = fakes.store.battles.whole(battle_id)
    assert whole is not None
    return whole.battle.erased_at is not None and not whole.opening and not any(whole.prompts())


# --- the use-cases ------------------------------------------------------------------------------


def test_reports_are_grouped_by_battle_with_what_was_said(
    fakes: Fakes, moderation: Moderation
) -> None:
    quiet, loud = fakes.in_state("voted"), fakes.ready()
    fakes.in_state("skipped")
    fakes.battles.report("ann", quiet, "rude", "a")
    fakes.battles.report("ann", loud, "odd")
    fakes.battles.report("ann", quiet, None, "b")
    first, second = moderation.open_cases()
    assert first.battle == fakes.battle(quiet) and first.vote is not None
    assert [(report.side, report.reason) for report in first.reports] == [("a", "rude"), ("b", "")]
    assert first.turns[0].answers()[0].text == "Alpha answers."
    assert second.battle == fakes.battle(loud) and second.vote is None


def test_dismissed_reports_are_gone_and_nothing_else_is(
    fakes: Fakes, moderation: Moderation
) -> None:
    battle_id = fakes.ready()
    moderation.dismiss(battle_id)
    fakes.battles.report("ann", battle_id, "rude")
    moderation.dismiss(battle_id)
    moderation.dismiss(battle_id)
    assert moderation.open_cases() == []
    assert fakes.battle(battle_id).erased_at is None
    assert acts(fakes) == [("report.dismiss", battle_id)]


def test_a_taken_down_battle_has_no_text_and_its_vote_counts_on(
    fakes: Fakes, moderation: Moderation
) -> None:
    battle_id = fakes.in_state("voted")
    fakes.battles.report("ann", battle_id, "rude")
    moderation.take_down(battle_id)
    moderation.take_down(battle_id)
    assert moderation.open_cases() == []
    case = moderation.find(battle_id)
    assert case is not None and case.vote is not None and case.vote.content is None
    assert [turn.prompt for turn in case.turns] == [""]
    assert case.vote.excluded_reason is None
    assert acts(fakes) == [("battle.take_down", battle_id)]
    with pytest.raises(NotFound):
        moderation.take_down("nothing")


def test_a_text_that_is_taken_down_is_so_in_all_battles_that_went_on_with_it(
    fakes: Fakes, moderation: Moderation
) -> None:
    first = fakes.in_state("voted")
    later = fakes.battles.start("ann", "And?", continue_from=Continuation(first, "a")).battle.id
    fakes.fail(later)
    again = fakes.battles.start("ann", "And?", redraw_of=later).battle.id
    fakes.answer(again)
    fakes.battles.vote("ann", again, BALLOT)
    last = fakes.battles.start("ann", "Or?", continue_from=Continuation(again, "b")).battle.id
    other = fakes.in_state("voted")
    moderation.take_down(again)
    assert [erased(fakes, name) for name in (first, later, again, last)] == [0, 0, 1, 1]
    moderation.take_down(first)
    assert [erased(fakes, name) for name in (first, later, again, last)] == [1, 1, 1, 1]
    assert not erased(fakes, other)
    page = fakes.store.audit.page(None, 50)
    assert [entry.act.details for entry in page] == [{"later": [later]}, {"later": [last]}]


def test_an_excluded_vote_has_one_exclusion_with_its_reason(
    fakes: Fakes, moderation: Moderation
) -> None:
    battle_id = fakes.in_state("voted")
    vote = fakes.store.votes.vote_of(battle_id)
    assert vote is not None
    moderation.exclude(vote.record.id, "  spam ")
    with pytest.raises(Conflict):
        moderation.exclude(vote.record.id, "again")
    (row,) = moderation.remarked()
    assert (row.record, row.excluded_reason) == (vote.record, "spam")
    assert acts(fakes) == [("vote.exclude", vote.record.id)]
    assert fakes.votes() == 2


@pytest.mark.parametrize("reason", ["", "   ", "two\nlines", "x" * 201, "bell \a"])
def test_a_vote_is_not_excluded_without_a_reason_in_one_line(
    fakes: Fakes, moderation: Moderation, reason: str
) -> None:
    vote = fakes.store.votes.vote_of(fakes.in_state("voted"))
    assert vote is not None
    with pytest.raises(InvalidField):
        moderation.exclude(vote.record.id, reason)
    with pytest.raises(NotFound):
        moderation.exclude("nothing", "spam")
    assert acts(fakes) == [] and fakes.votes() == 1


def test_a_vote_is_found_by_battle_receipt_or_id_also_without_a_battle(
    fakes: Fakes, moderation: Moderation
) -> None:
    battle_id = fakes.in_state("voted")
    vote = fakes.store.votes.vote_of(battle_id)
    assert vote is not None
    for name in (battle_id, vote.hash, vote.record.id):
        case = moderation.find(name)
        assert case is not None and case.battle == fakes.battle(battle_id)
    fakes.store.votes.append([a_vote("imported")])
    case = moderation.find("imported")
    assert case is not None and case.battle is None and case.vote is not None
    assert moderation.find(fakes.ready()) is not None
    assert moderation.find("nothing") is None


# --- over HTTP ----------------------------------------------------------------------------------


def reported(voter: CheckedClient, prompt: str = "hello") -> tuple[str, str]:
    """A voted and reported battle: its id and receipt."""
    reveal = voter.voted(prompt)
    path = f"/api/battles/{reveal['battle']}/report"
    assert voter.post(path, json={"reason": f"About {prompt}", "side": "b"}).status_code == 204
    return reveal["battle"], reveal["receipt"]


def test_the_section_is_the_operators_only(world: World, voter: CheckedClient) -> None:
    battle_id, receipt = reported(voter)
    page = voter.get(f"/admin/moderation?find={receipt}")
    assert page.status_code == 303
    for act in (
        f"battles/{battle_id}/dismiss",
        f"battles/{battle_id}/take-down",
        f"votes/{receipt}/exclude",
    ):
        assert voter.post(f"/admin/moderation/{act}").status_code == 401
        assert voter.get(f"/admin/moderation/{act}", headers=OPERATOR).status_code == 405
    assert world.counts()["audit"] == 0
    battle = world.store.battles.get(battle_id)
    assert battle is not None and battle.erased_at is None


def test_the_operator_reads_a_report_as_plain_text_and_takes_the_battle_down(
    world: World, voter: CheckedClient
) -> None:
    battle_id, receipt = reported(voter, "<b>Zq77</b>")
    page = voter.get("/admin/moderation", headers=OPERATOR).get_data(as_text=True)
    assert page.count("&lt;b&gt;Zq77&lt;/b&gt;") >= 2 and "<b>Zq77" not in page
    answer = voter.post(f"/admin/moderation/battles/{battle_id}/take-down", headers=OPERATOR)
    assert answer.status_code == 303
    for query in ("", f"?find={battle_id}", f"?find={receipt}"):
        page = voter.get(f"/admin/moderation{query}", headers=OPERATOR).get_data(as_text=True)
        assert "Zq77" not in page
    assert voter.get(f"/api/battles/{battle_id}").status_code == 410


def test_an_excluded_vote_leaves_the_board_at_the_next_publication(
    world: World, voter: CheckedClient
) -> None:
    receipt = reported(voter)[1]

    def votes() -> int:
        """The board's votes once it stands for the whole log."""
        position = world.wait_sealed()

        def board() -> Any:
            found = voter.get("/api/board").json
            return found if found.get("log_position", 0) >= position else None

        return sum(row["votes"] for row in wait_until(board, what="the board")["rows"])

    found = world.store.votes.find(receipt)
    assert found is not None
    before = votes()
    path = f"/admin/moderation/votes/{found.record.id}/exclude?find={receipt}"
    assert voter.post(path, headers=OPERATOR, data={"reason": ""}).status_code == 422
    assert voter.post(path, headers=OPERATOR, data={"reason": "spam"}).status_code == 303
    assert voter.post(path, headers=OPERATOR, data={"reason": "spam"}).status_code == 409
    assert votes() == before - 2, "one vote less for each of the two models"
    page = voter.get("/admin/moderation", headers=OPERATOR).get_data(as_text=True)
    assert "excluded: spam" in page
