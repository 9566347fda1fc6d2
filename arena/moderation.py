"""What the operator does about reported answers and doubtful votes. Every act is audited."""

from __future__ import annotations

from dataclasses import dataclass

from arena import erasure
from arena.battle import Battle, Message, Turn
from arena.battles import check_text
from arena.clock import now
from arena.errors import Conflict, InvalidField, NotFound
from arena.interfaces import Act, LiveBuffer, Report, Store
from arena.records import LogRow, remark

MAX_REASON_CHARS = 200
CASES = 50
"""How many reports or votes are shown at once."""


@dataclass(frozen=True, slots=True)
class Case:
    """What there is to decide about.

    An imported vote, or one of a log that was restored, has no battle here; a skipped battle has no
    vote.
    """

    battle: Battle | None
    turns: tuple[Turn, ...]
    vote: LogRow | None
    reports: tuple[Report, ...] = ()
    opening: tuple[Message, ...] = ()

    def is_same_as(self, other: Case | None) -> bool:
        """Whether both are about one battle."""
        return other is not None and self.battle is not None and self.battle == other.battle


class Moderation:
    """The operator's view of battles and votes, names and all."""

    def __init__(self, store: Store, live: LiveBuffer) -> None:
        self._store = store
        self._live = live

    def open_cases(self) -> list[Case]:
        """Battles with open reports, the longest waiting first."""
        reports = self._open_reports()
        return [self._case(battle_id, reports) for battle_id in reports]

    def _open_reports(self) -> dict[str, list[Report]]:
        by_battle: dict[str, list[Report]] = {}
        for report in self._store.battles.open_reports(CASES):
            by_battle.setdefault(report.battle_id, []).append(report)
        return by_battle

    def _case(self, battle_id: str, reports: dict[str, list[Report]]) -> Case:
        vote = self._store.votes.find(battle_id)
        said = tuple(reports.get(battle_id, ()))
        whole = self._store.battles.whole(battle_id)
        if whole is None:
            return Case(None, (), vote, said)
        return Case(whole.battle, whole.turns, vote, said, whole.opening)

    def find(self, name: str) -> Case | None:
        """The vote with this id or receipt, or the battle with this id."""
        vote = self._store.votes.find(name)
        battle_id = (vote and vote.record.battle_id) or name
        case = self._case(battle_id, self._open_reports())
        if case.battle is not None:
            return case
        return None if vote is None else Case(None, (), vote)

    def remarked(self) -> list[LogRow]:
        """Flagged and excluded votes, by the newest remark first."""
        return self._store.votes.remarked(CASES)

    def dismiss(self, battle_id: str) -> None:
        """Close the battle's reports; nothing else changes."""
        self._store.battles.handle_reports(battle_id, Act(now(), "report.dismiss", battle_id))

    def take_down(self, name: str) -> None:
        """Erase for good the text of what `find` finds, and close its reports. The vote stays.

        Battles that went on with its text, or drew its prompt again, are erased with it. Raises
        `NotFound`.
        """
        case = self.find(name)
        if case is None:
            raise NotFound("There is no such battle.")
        if case.battle is not None:
            self._take_down_battle(case.battle.id)
        elif case.vote is not None:
            vote_id = case.vote.record.id
            act = Act(now(), "battle.take_down", vote_id)
            self._store.votes.erase_votes([vote_id], erasure.OPERATOR, act=act)
            self._live.wake_worker()

    def _take_down_battle(self, battle_id: str) -> None:
        # again, because another can have gone on with one of them just before it was erased
        while kept := self._store.battles.kept_of(battle_id):
            later = sorted(set(kept) - {battle_id})
            act = Act(now(), "battle.take_down", battle_id, {"later": later} if later else {})
            erasure.erase(self._store, self._live, kept, erasure.OPERATOR, act)

    def exclude(self, vote_id: str, reason: str) -> None:
        """Leave a vote out of every board from now on. The log says so, with the reason.

        Raises `NotFound`, `InvalidField`, and `Conflict` when it is excluded already.
        """
        reason = check_text(reason.strip(), "reason", MAX_REASON_CHARS)
        if "\n" in reason:
            raise InvalidField("'reason' must be one line.", field="reason")
        found = self._store.votes.find(vote_id)
        if found is None:
            raise NotFound("There is no such vote.")
        if found.excluded_reason is not None:
            raise Conflict("This vote is excluded already.")
        act = Act(now(), "vote.exclude", found.record.id, {"reason": reason})
        exclusion = remark("exclusion", found.record, reason, act.at)
        self._store.votes.append([(exclusion, None)], act=act)
        self._live.wake_worker()
