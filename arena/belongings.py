"""What a voter owns: their battles as a list and as a file, and deleting them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from arena import erasure, roster
from arena.battle import BattleState
from arena.battles import Battles
from arena.errors import Erased
from arena.interfaces import LiveBuffer, ModelEntry, Store, Summary

BEGINNING = 200
"""How much of a prompt a list shows, in characters."""

_PAGE = 100


class Belongings:
    """The voter's own things, as blind as the battle itself: no name before the vote."""

    def __init__(self, store: Store, live: LiveBuffer, battles: Battles) -> None:
        self._store = store
        self._live = live
        self._battles = battles

    def page(self, voter: str, before: str | None, limit: int) -> list[dict[str, Any]]:
        """The voter's battles, newest first, from the one after the battle `before` on."""
        found = self._store.battles.of_voter(voter, before=before, limit=limit)
        about = self._about(found)
        uncounted = self._store.votes.uncounted([summary.battle.id for summary in found])
        return [_listed(summary, about, uncounted) for summary in found]

    def _about(self, found: list[Summary]) -> dict[int, dict[str, ModelEntry]]:
        """The models of each roster revision that voted battles were drawn from."""
        revisions = {one.battle.roster_revision for one in found if one.grade is not None}
        return {number: roster.known([self._store.roster.at(number)]) for number in revisions}

    def export(self, voter: str) -> Iterator[dict[str, Any]]:
        """Everything that is stored of the voter's battles, newest first.

        Raises `Unavailable` at once, so that no answer is begun without a database.
        """
        reports: dict[str, list[dict[str, Any]]] = {}
        for report in self._store.battles.reports_of(voter):
            reports.setdefault(report.battle_id, []).append(asdict(report))
        return self._with_reports(voter, reports)

    def _with_reports(
        self, voter: str, reports: Mapping[str, list[dict[str, Any]]]
    ) -> Iterator[dict[str, Any]]:
        before = None
        while page := self._store.battles.of_voter(voter, before=before, limit=_PAGE, erased=True):
            for summary in page:
                yield self._whole(voter, summary) | {
                    "reports": reports.get(summary.battle.id, []),
                }
            before = page[-1].battle.id

    def _whole(self, voter: str, summary: Summary) -> dict[str, Any]:
        battle = summary.battle
        try:
            whole = self._battles.view(voter, battle.id)
        except Erased:
            names = ("id", "campaign", "state", "created_at")
            whole = {name: getattr(battle, name) for name in names} | {"erased": True}
        whole.pop("events", None)
        vote = self._store.votes.vote_of(battle.id)
        if vote is None:
            return whole
        content = self._store.votes.content(vote.record.id)
        return whole | {
            "grade": vote.record.grade,
            "both_bad": vote.record.both_bad,
            "model_a": vote.record.model_a,
            "model_b": vote.record.model_b,
            "reasons": list(vote.record.reasons),
            "comment": None if content is None else content.comment,
            "voted_at": vote.record.timestamp,
            "voter": vote.record.voter,
            "receipt": vote.hash,
            "signed_receipt": self._battles.signed_receipt(vote),
        }

    def erase(self, voter: str, battle_id: str) -> None:
        """Erase the text of the voter's own battle. Repeating it changes nothing.

        Raises `NotFound` when it is unknown or somebody else's.
        """
        with suppress(Erased):
            self._battles.get(voter, battle_id)
            erasure.erase(self._store, self._live, [battle_id], erasure.VOTER)

    def forget(self, voter: str) -> None:
        """Erase everything of the voter, who is a stranger from then on."""
        erasure.forget(self._store, self._live, voter)


def _listed(
    summary: Summary, about: dict[int, dict[str, ModelEntry]], uncounted: Mapping[str, str | None]
) -> dict[str, Any]:
    battle = summary.battle
    beginning = summary.prompt[:BEGINNING]
    row: dict[str, Any] = {
        "id": battle.id,
        "campaign": battle.campaign,
        "state": battle.state,
        "turn": battle.turn,
        "continued": battle.continued_from is not None,
        "created_at": battle.created_at,
        "prompt": beginning if beginning == summary.prompt else f"{beginning}…",
    }
    if battle.state is BattleState.voted and summary.grade is not None:
        names = about[battle.roster_revision]
        row |= {
            "shared": battle.shared_at is not None,
            "grade": summary.grade,
            "both_bad": bool(summary.both_bad),
            "counted": battle.id not in uncounted,
            "excluded_reason": uncounted.get(battle.id),
            "model_a": battle.model_a,
            "model_b": battle.model_b,
            "about_a": names[battle.model_a].about(),
            "about_b": names[battle.model_b].about(),
        }
    return row
