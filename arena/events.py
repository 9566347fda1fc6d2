"""The dated public records of who plays, and by which rules, that the log does not have yet.

That a model enters a campaign, changes, leaves it, or comes out of private campaigns follows from
the roster's revisions and the log's own `campaign` records alone. So these records say the same
whenever, and in whatever parts, they are told, and what they say tells which of them the log has
already. Their ids are random: whoever may ask for an id cannot ask for a guess.
"""

from __future__ import annotations

import heapq
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from arena.interfaces import Campaign, Lease, ModelEntry, RosterRevision, Store
from arena.records import Record

_log = logging.getLogger(__name__)

MADE, CHANGED, FOUND = "made", "changed", "found"
"""Why a campaign is told: its operator made or changed it, or it was there and nothing told it."""

MODEL_TYPES = ("entry", "change", "retirement", "disclosure")

_TAKES_BATTLES = "online"  # the kind of campaign that a roster plays in

VotesOf = Callable[[str, Set[str], str], int]
"""How many votes a model had in some campaigns before a time."""


def campaign_record(
    campaign: Campaign, told: Mapping[str, Any] | None, at: str, *, made: bool = False
) -> Record | None:
    """What a campaign is from `at` on; None where the log's newest record, `told`, says just that.

    Its `consent` is the digest by which votes name the text that stands in its data.
    """
    data = campaign.to_json()
    del data["id"]
    changed = sorted(name for name, value in data.items() if told and told.get(name) != value)
    if told is not None and not changed:
        return None
    return Record(
        id=secrets.token_hex(16),
        type="campaign",
        campaign=campaign.id,
        timestamp=at,
        reason=MADE if made else FOUND if told is None else CHANGED,
        data=data | {"changed": changed},
        consent=campaign.consent_digest(),
    )


def missing(
    history: Sequence[RosterRevision], log: Sequence[Record], votes_of: VotesOf
) -> list[Record]:
    """The records about models that the log lacks, in the order in which it should get them.

    `history` has every revision of the roster, `log` the sealed records of `campaign` and
    `MODEL_TYPES` of all campaigns, both oldest first. What another arena's log said of models that
    never stood in this roster stays as it is.
    """
    walk = _Walk({_fact(record) for record in log}, votes_of)
    parts: tuple[Iterable[_Item], ...] = (
        (record for record in log if record.type == "campaign"),
        history,
        (record for record in log if record.type != "campaign"),
    )
    for item in heapq.merge(*parts, key=_place):
        walk.step += 1
        if isinstance(item, RosterRevision):
            walk.revise(item)
            continue
        try:
            (walk.change_campaign if item.type == "campaign" else walk.believe)(item)
        except Exception as error:  # noqa: BLE001  one odd record must not hide all that follows
            _log.error("record %s is left out of what is told: %r", item.id, error)
    return walk.missing


class Teller:
    """Keeps the log's dated records complete, under the lease of its one worker."""

    def __init__(self, store: Store, lease: Lease) -> None:
        self._store = store
        self._lease = lease
        self._told: tuple[frozenset[str], int, int] | None = None

    def tell(self, campaigns: Iterable[str]) -> int:
        """Append what the log lacks about these campaigns, or else about the models in them.

        Returns how many records there were: once they are sealed, more may follow from them.
        Whatever was committed before must be sealed. Raises `LeaseLost`.
        """
        votes, known = self._store.votes, frozenset(campaigns)
        history = self._store.roster.history()
        newest = votes.events(known, ["campaign"], limit=1)
        seen = known, len(history), (newest[0].seq if newest else None) or 0
        if seen == self._told:
            return 0
        told = self._store.campaigns.tell(self._lease, known)
        if not told:
            log = [row.record for row in reversed(votes.events(known, ("campaign", *MODEL_TYPES)))]
            records = missing(history, log, votes.votes_of)
            if records:
                votes.append([(record, None) for record in records], self._lease)
            told, self._told = len(records), seen
        return told


def _since(record: Record) -> str:
    """From when on a record holds: that a campaign is found says that it was there before."""
    return "" if record.reason == FOUND and record.type == "campaign" else record.timestamp


_Item = Record | RosterRevision


def _place(item: _Item) -> tuple[str, int]:
    """When it happened: what a record tells of a revision or a campaign comes behind that."""
    if isinstance(item, RosterRevision):
        return item.at, 1
    return _since(item), 0 if item.type == "campaign" else 2


_Fact = tuple[str, str, Any, Any, str]


def _fact(record: Record) -> _Fact:
    """Which of all facts a record tells."""
    data = record.data or {}
    place = data.get("model"), data.get("roster_revision")
    return record.type, record.campaign, *place, record.timestamp


def _about(entry: ModelEntry) -> dict[str, Any]:
    """What the public knows of a model."""
    return entry.about() | {"modalities": list(entry.modalities)}


def _behind(entry: ModelEntry) -> tuple[Any, ...]:
    """What answers in its name: that it changed is told, what it is concerns the operator alone."""
    return entry.protocol, entry.base_url, entry.model, entry.parameters


@dataclass(slots=True)
class _Stand:
    """A model in a campaign as it was told last; `behind` is None where another arena told it."""

    plays: bool
    about: dict[str, Any]
    behind: tuple[Any, ...] | None = None


@dataclass(slots=True)
class _Hidden:
    """Where, since when and since which step a model played out of the public's sight."""

    step: int
    since: str
    campaigns: set[str] = field(default_factory=set)


class _Walk:
    """What campaigns and roster were, from one change to the next, and what nobody told of it."""

    def __init__(self, told: Set[_Fact], votes_of: VotesOf) -> None:
        self.step = 0
        self.missing: list[Record] = []
        self._told = told
        self._found: set[_Fact] = set()
        self._votes_of = votes_of
        self._revision = RosterRevision(0, "", ())
        self._reason: str | None = None
        self._public: dict[str, bool] = {}  # by campaign, of those that take battles
        self._stands: dict[str, dict[str, _Stand]] = {}
        self._hidden: dict[str, _Hidden] = {}
        self._shown: dict[str, int] = {}  # the step in which the public first saw a model

    def revise(self, revision: RosterRevision) -> None:
        """From here on the roster is this."""
        self._revision, self._reason = revision, revision.reason
        for campaign in self._public:
            self._settle(campaign, revision.at)

    def change_campaign(self, record: Record) -> None:
        """From here on a campaign is as its record says."""
        campaign, data = record.campaign, record.data or {}
        if data.get("kind") != _TAKES_BATTLES:
            return
        was_public = self._public.get(campaign)
        self._public[campaign], self._reason = bool(data.get("public")), None
        if was_public is None:
            self._settle(campaign, record.timestamp)
        elif self._public[campaign] and not was_public:
            for model, stand in self._stands.get(campaign, {}).items():
                if stand.plays:
                    self._show(campaign, model, record.timestamp)

    def believe(self, record: Record) -> None:
        """What another arena's log tells of a model; what this one told was found already."""
        if _fact(record) in self._found:
            return
        data = record.data or {}
        stands = self._stands.setdefault(record.campaign, {})
        stand = stands.setdefault(data.get("model", ""), _Stand(plays=False, about={}))
        if record.type == "retirement":
            stand.plays = False
        elif record.type == "change":
            stand.about |= {name: to["to"] for name, to in data.get("changed", {}).items()}
        elif record.type == "entry":
            stand.plays = True
            stand.about = {name: data.get(name) for name in _ABOUT}
            self._note(record.campaign, data["model"], record.timestamp)

    def _settle(self, campaign: str, at: str) -> None:
        """Tell how a campaign's models differ from what was told of them."""
        stands = self._stands.setdefault(campaign, {})
        playing = {one.id: one for one in self._revision.entries if one.plays_in(campaign)}
        for model, stand in stands.items():
            if stand.plays and model not in playing and stand.behind is not None:
                stand.plays = False
                self._tell("retirement", campaign, model, at, {"name": stand.about["name"]})
        for model, entry in playing.items():
            before, fresh = stands.get(model), _Stand(True, _about(entry), _behind(entry))
            stands[model] = fresh
            is_new = before is None or not before.plays
            if is_new:
                self._tell("entry", campaign, model, at, fresh.about)
            if before is not None:
                self._tell_change(campaign, model, at, before, fresh)
            if is_new:
                self._show(campaign, model, at)

    def _tell_change(
        self, campaign: str, model: str, at: str, before: _Stand, fresh: _Stand
    ) -> None:
        changed = {
            name: {"from": before.about.get(name), "to": value}
            for name, value in fresh.about.items()
            if before.about.get(name) != value
        }
        behind = before.behind is not None and before.behind != fresh.behind
        if changed or behind:
            data = {"name": fresh.about["name"], "changed": changed, "behind": behind}
            self._tell("change", campaign, model, at, data)

    def _note(self, campaign: str, model: str, at: str) -> _Hidden | None:
        """Keep where a model is first seen; where it played until now, if the public just learns
        of it."""
        if not self._public.get(campaign, False):
            hidden = self._hidden.setdefault(model, _Hidden(self.step, at))
            hidden.campaigns.add(campaign)
            return None
        before = self._hidden.get(model)
        is_first = self._shown.setdefault(model, self.step) == self.step
        return before if is_first and before is not None and before.step < self.step else None

    def _show(self, campaign: str, model: str, at: str) -> None:
        hidden = self._note(campaign, model, at)
        if hidden is None or self._is_told("disclosure", campaign, model, at):
            return
        data = {
            "name": self._stands[campaign][model].about["name"],
            "private_since": hidden.since,
            "private_battles": self._votes_of(model, hidden.campaigns, at),
        }
        self._tell("disclosure", campaign, model, at, data)

    def _is_told(self, kind: str, campaign: str, model: str, at: str) -> bool:
        """Whether the log says this fact, which follows here, already."""
        fact = (kind, campaign, model, self._revision.revision, at)
        self._found.add(fact)
        return fact in self._told

    def _tell(self, kind: str, campaign: str, model: str, at: str, data: dict[str, Any]) -> None:
        if not self._is_told(kind, campaign, model, at):
            facts = {"model": model, **data, "roster_revision": self._revision.revision}
            name = secrets.token_hex(16)
            self.missing.append(Record(name, kind, campaign, at, reason=self._reason, data=facts))


_ABOUT = tuple(_about(ModelEntry(id="", name="")))
