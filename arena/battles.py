"""The voter's use-cases: start, continue, follow up, vote, skip, stop, report, share.

Every one of them belongs to the voter who started the battle; to anybody else it does not exist.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import rfc8785

from arena import categories, logs, metrics, roster
from arena.battle import (
    SIDES,
    Answer,
    Battle,
    BattleState,
    BlindBattle,
    Grade,
    Message,
    Reveal,
    Side,
    Turn,
    TurnState,
    WholeBattle,
    prompts_of,
)
from arena.breaker import Resting
from arena.campaigns import STRANGER, Campaigns, Reader
from arena.clock import now, today
from arena.errors import (
    AlreadyVoted,
    BattleSkipped,
    BattleVoid,
    CampaignClosed,
    Conflict,
    Erased,
    InvalidField,
    LiveLost,
    NotFound,
    TooEarly,
)
from arena.interfaces import (
    GivenVote,
    LineShare,
    LiveBuffer,
    Room,
    RosterRevision,
    Store,
    StoredVote,
)
from arena.notes import Signer
from arena.records import IDENTITY_LEAK, Content, Conversation, Record, new_salt, remark
from arena.together import Together

_NOT_YOURS = "There is no such battle of yours."
_THE_VOTERS = frozenset({"events", "receipt", "signed_receipt"})
REASONS = ("correct", "complete", "clear", "instructions", "style", "harmless")
MAX_COMMENT_CHARS = 2_000
_VOTES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What one voter, one network and this arena may ask for."""

    prompt_chars: int
    turns: int
    running_per_voter: int
    running: int
    waiting_per_network: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a voter stands who wants a battle: whether there is room, and how many come first."""

    has_room: bool
    ahead: int


@dataclass(frozen=True, slots=True)
class Ballot:
    """A vote as the voter gave it."""

    grade: Grade
    both_bad: bool = False
    reasons: tuple[str, ...] = ()
    comment: str | None = None

    def __post_init__(self) -> None:
        if self.both_bad and self.grade is not Grade.tie:
            raise InvalidField("'both_bad' goes with a tie (grade 0) only.", field="both_bad")
        unknown = set(self.reasons) - set(REASONS)
        if unknown:
            raise InvalidField(
                f"'{min(unknown)}' is not one of {', '.join(REASONS)}.", field="reasons"
            )

    def digest(self) -> str:
        """What makes a repeated request the same request."""
        body: dict[str, Any] = {
            "grade": int(self.grade),
            "both_bad": self.both_bad,
            "reasons": list(self.reasons),
            "comment": self.comment,
        }
        return hashlib.sha256(rfc8785.dumps(body)).hexdigest()


@dataclass(frozen=True, slots=True)
class Continuation:
    """The side of a voted battle whose conversation a new battle goes on with."""

    battle_id: str
    side: Side


@dataclass(frozen=True, slots=True)
class _Origin:
    """What a new battle takes over from an earlier one of its voter."""

    campaign: str | None = None
    opening: tuple[Message, ...] = ()
    redrawn_from: str | None = None
    continued_from: str | None = None


class Battles:
    """The use-cases over a store and a live buffer.

    `rng` draws pairs and sides, `signer` signs receipts.
    """

    def __init__(
        self,
        store: Store,
        live: LiveBuffer,
        campaigns: Campaigns,
        limits: Limits,
        rng: random.Random,
        *,
        signer: Signer,
    ) -> None:
        self._store = store
        self._live = live
        self._campaigns = campaigns
        self._limits = limits
        self._room = Room(limits.running_per_voter, limits.running)
        self._rng = rng
        self._signer = signer
        self._resting = Resting(store.circuits)
        self._voting = Together(self._add_votes, _VOTES_AT_ONCE)

    # --- reading ----------------------------------------------------------------------------

    def get(self, voter: str, battle_id: str) -> Battle:
        """The voter's own battle.

        Raises `NotFound` when it is unknown or somebody else's, `Erased` when its text is gone.
        """
        return _own(self._store.battles.get(battle_id), voter)

    def _whole(self, voter: str, battle_id: str) -> WholeBattle:
        """The voter's own battle with all that is said in it. Raises as `get` does."""
        whole = self._store.battles.whole(battle_id)
        if whole is None:
            raise NotFound(_NOT_YOURS)
        _own(whole.battle, voter)
        return whole

    def view(self, voter: str, battle_id: str) -> dict[str, Any]:
        """The blind projection; after the vote, what it revealed too. Raises as `get` does."""
        whole = self._whole(voter, battle_id)
        battle = whole.battle
        seen = BlindBattle.of(whole).to_json()
        if battle.state is BattleState.voted:
            vote = self._store.votes.vote_of(battle_id)
            if vote is not None:
                seen |= self._reveal(vote, whole).to_json() | {
                    "shared": battle.shared_at is not None,
                    "excluded_reason": self._store.votes.uncounted([battle_id]).get(battle_id),
                }
        return seen

    def shared(
        self, voter: str, battle_id: str, reader: Reader = STRANGER
    ) -> dict[str, Any] | None:
        """A battle that another voter shares: everything but its receipts and events.

        None for any other battle, the voter's own included.
        """
        whole = self._store.battles.whole(battle_id)
        if whole is None or whole.battle.shared_at is None or whole.battle.voter == voter:
            return None
        vote = self._store.votes.vote_of(battle_id)
        visible = {campaign.id for campaign in self._campaigns.visible(reader)}
        if vote is None or whole.battle.campaign not in visible:
            return None
        seen = BlindBattle.of(whole).to_json() | self._reveal(vote, whole).to_json()
        return {name: seen[name] for name in seen if name not in _THE_VOTERS}

    # --- starting ---------------------------------------------------------------------------

    def start(
        self,
        voter: str,
        prompt: str,
        campaign_id: str | None = None,
        redraw_of: str | None = None,
        continue_from: Continuation | None = None,
        *,
        reader: Reader = STRANGER,
        network: str = "",
    ) -> WholeBattle:
        """Draw a pair, commit it, wake a runner.

        `redraw_of` names the voter's void battle whose prompt is tried again, `continue_from` one
        with its vote whose conversation goes on; both stay in that battle's campaign. `reader`
        says which private campaigns the voter may play in, `network` as one of whom they wait.
        Raises `InvalidField`, `NotFound`, `Erased`, `Conflict`, `InvitationNeeded`,
        `CampaignClosed`, `NoModels`, `TooMany`, `Unavailable`.
        """
        prompt = check_text(prompt, "prompt", self._limits.prompt_chars)
        origin = self._origin(voter, redraw_of, continue_from)
        if origin.campaign is not None and campaign_id not in (None, origin.campaign):
            raise InvalidField(
                f"The battle that this one goes back to is of the campaign '{origin.campaign}'.",
                field="campaign",
            )
        campaign = self._campaigns.get(origin.campaign or campaign_id, reader)
        if campaign.state != "open":
            raise CampaignClosed(f"The campaign '{campaign.id}' takes no new battles.")
        self._wait_for_a_place(voter, network)
        revision = self._store.roster.current()
        pair = roster.draw(self._playing(revision, campaign.id), self._rng)
        described = categories.describe([*prompts_of(origin.opening), prompt])
        battle = Battle(
            id=secrets.token_urlsafe(16),
            campaign=campaign.id,
            voter=voter,
            state=BattleState.created,
            model_a=pair.model_a,
            model_b=pair.model_b,
            propensity=pair.propensity,
            sampling_rule=pair.sampling_rule,
            roster_revision=revision.revision,
            created_at=now(),
            language=described.language,
            category_tag=described.category_tag,
            redrawn_from=origin.redrawn_from,
            continued_from=origin.continued_from,
            consent=campaign.consent_digest(),
        )
        logs.bind(battle=battle.id)
        turn = Turn(battle.id, 1, prompt, TurnState.running)
        self._store.battles.add(battle, turn, origin.opening, self._room)
        self.leave_line(voter)
        self._live.wake_runner(battle.id)
        return WholeBattle(battle, (turn,), tuple(origin.opening))

    def _origin(
        self, voter: str, redraw_of: str | None, continue_from: Continuation | None
    ) -> _Origin:
        if redraw_of is not None and continue_from is not None:
            raise InvalidField(
                "Give 'redraw_of' or 'continue_from', not both.", field="continue_from"
            )
        if redraw_of is not None:
            whole = self._whole(voter, redraw_of)
            if whole.battle.state is not BattleState.void:
                raise InvalidField("Only a void battle can be drawn again.", field="redraw_of")
            void = whole.battle
            return _Origin(void.campaign, whole.opening, void.id, void.continued_from)
        if continue_from is not None:
            whole = self._whole(voter, continue_from.battle_id)
            if whole.battle.state is not BattleState.voted:
                raise Conflict("Only a battle with its vote can be continued.")
            self._refuse_too_long(len(whole.prompts()))
            opening = whole.messages(continue_from.side)
            return _Origin(whole.battle.campaign, opening, continued_from=whole.battle.id)
        return _Origin()

    def _refuse_too_long(self, prompts: int) -> None:
        """Raises `Conflict` when a conversation of so many prompts takes no other."""
        if prompts >= self._limits.turns:
            raise Conflict(f"A conversation has at most {self._limits.turns} turns.")

    def _playing(self, revision: RosterRevision, campaign_id: str) -> list[str]:
        """The models that may be drawn now.

        Raises `NoModels` where budgets, or rests after failures, leave too few.
        """
        models = roster.active(revision, campaign_id)
        if roster.has_budgets(revision):
            spent = roster.spent(revision, self._store.usage.of_day(today()))
            models = roster.within_budget(models, spent)
        return roster.reachable(models, self._resting.models())

    def follow_up(self, voter: str, battle_id: str, prompt: str, *, network: str = "") -> None:
        """Ask both models again, in the same conversation. `network` is as in `start`.

        Raises `InvalidField`, `NotFound`, a `Conflict` by state, `TooMany`, `Unavailable`.
        """
        prompt = check_text(prompt, "prompt", self._limits.prompt_chars)
        whole = self._whole(voter, battle_id)
        battle = whole.battle
        _require(battle, BattleState.ready)
        self._refuse_too_long(len(prompts_of(whole.opening)) + battle.turn)
        self._wait_for_a_place(voter, network)
        turn = Turn(battle_id, battle.turn + 1, prompt, TurnState.running)
        described = categories.describe([*whole.prompts(), prompt])
        campaign = self._store.campaigns.get(battle.campaign)
        consent = battle.consent if campaign is None else campaign.consent_digest()
        if not self._store.battles.add_turn(
            turn, described.language, described.category_tag, consent, self._room
        ):
            _require(self.get(voter, battle_id), BattleState.ready)
            raise TooEarly("This battle changed at the same moment; look at it again.")
        self.leave_line(voter)
        self._live.wake_runner(battle_id)

    # --- the line for a place -----------------------------------------------------------------

    def place(self, voter: str | None, network: str = "") -> Place:
        """Where this voter stands; without room, they wait in line from now on.

        A stranger only looks. Whoever could come in and does not is soon out of the line.
        """
        return self._stand(voter, network, self._store.battles.running().together)

    def _stand(self, voter: str | None, network: str, running: int) -> Place:
        free = self._room.together - running
        try:
            ahead = self._live.ahead(voter or "")
            if ahead >= free:
                if voter is not None:
                    share = LineShare(network, self._limits.waiting_per_network)
                    ahead = self._live.ahead(voter, share)
                return Place(has_room=False, ahead=ahead)
        except LiveLost:  # nobody knows who came first: whoever asks next may come in
            return Place(has_room=free > 0, ahead=0)
        return Place(has_room=True, ahead=ahead)

    def leave_line(self, voter: str) -> None:
        """Wait no longer. Repeating it changes nothing."""
        with suppress(LiveLost):
            self._live.leave_line(voter)

    def _wait_for_a_place(self, voter: str, network: str) -> None:
        """Refuse before a pair is drawn what would be refused anyway, or whoever is not next."""
        running = self._store.battles.running(voter)
        self._room.check(running.own, 0)
        if not self._stand(voter, network, running.together).has_room:
            self._room.check(0, self._room.together)

    # --- ending -----------------------------------------------------------------------------

    @metrics.outcomes(metrics.VOTES)
    def vote(
        self, voter: str, battle_id: str, ballot: Ballot, idempotency_key: str | None = None
    ) -> Reveal:
        """Store the vote, then reveal from what was stored.

        The same key and ballot give the same answer for ever. Raises `NotFound`, `InvalidField`,
        a `Conflict` by state, `Unavailable` (then there is no acknowledged vote).
        """
        ballot = _checked(ballot)
        whole = self._whole(voter, battle_id)
        if whole.battle.state is not BattleState.voted:
            _require(whole.battle, BattleState.ready)
            committed = self._commit(whole, ballot, idempotency_key)
            if committed is not None:
                return self._reveal(committed, whole)
        vote = self._store.votes.vote_of(battle_id)
        if vote is None:  # moved on meanwhile, and not by another vote
            _require(self.get(voter, battle_id), BattleState.ready)
            raise TooEarly("This battle changed at the same moment; look at it again.")
        repeated = (
            idempotency_key is not None
            and vote.idempotency_key == idempotency_key
            and vote.request_digest == ballot.digest()
        )
        if not repeated:
            raise AlreadyVoted("This battle has its one vote already.")
        return self._reveal(vote, whole)

    def _commit(
        self, whole: WholeBattle, ballot: Ballot, idempotency_key: str | None
    ) -> StoredVote | None:
        battle = whole.battle
        content = Content(
            salt=new_salt(),
            conversation_a=conversation(whole.messages("a")),
            conversation_b=conversation(whole.messages("b")),
            comment=ballot.comment,
        )
        record = vote_record(whole, ballot, content)
        given = GivenVote(
            record,
            content,
            voter=battle.voter,
            turn=battle.turn,
            idempotency_key=idempotency_key,
            request_digest=ballot.digest(),
            flags=leak_flags(record, whole),
        )
        return self._voting.do(given)

    def _add_votes(self, votes: Sequence[GivenVote]) -> list[StoredVote | None]:
        """Votes of a moment share one transaction and one wake-up."""
        stored = self._store.votes.add_votes(votes)
        if any(stored):
            self._live.wake_worker()
        return stored

    def skip(self, voter: str, battle_id: str) -> None:
        """Leave without a vote. Repeating it changes nothing."""
        battle = self.get(voter, battle_id)
        if not self._store.battles.skip(battle.id):
            battle = self.get(voter, battle_id)
            if battle.state is not BattleState.skipped:
                _require(battle, BattleState.ready)

    def stop(self, voter: str, battle_id: str) -> None:
        """End the answers where they are; a battle that is `ready` has nothing to stop."""
        battle = self.get(voter, battle_id)
        if not self._store.battles.request_stop(battle.id):
            _require(self.get(voter, battle_id), BattleState.ready)

    def report(
        self, voter: str, battle_id: str, reason: str | None, side: Side | None = None
    ) -> None:
        """Tell the operator about an answer, or about both; changes nothing else.

        A later report about the same side replaces it.
        """
        text = "" if reason is None else check_text(reason, "reason", MAX_COMMENT_CHARS)
        self._store.battles.report(self.get(voter, battle_id).id, voter, text, side)

    def share(self, voter: str, battle_id: str) -> None:
        """Let anybody read the voter's battle. Repeating it changes nothing.

        Raises `NotFound`, `Erased`, and `Conflict` before its vote or in a private campaign.
        """
        battle = self.get(voter, battle_id)
        campaign = self._store.campaigns.get(battle.campaign)
        if campaign is None or not campaign.public:
            raise Conflict("A battle of a private campaign cannot be shared.")
        if not self._store.battles.share(battle.id):
            self.get(voter, battle_id)
            raise Conflict("Only a battle with its vote can be shared.")

    def unshare(self, voter: str, battle_id: str) -> None:
        """Let nobody else read it any more. Repeating it changes nothing."""
        self._store.battles.unshare(self.get(voter, battle_id).id)

    def _reveal(self, vote: StoredVote, whole: WholeBattle) -> Reveal:
        record = vote.record
        revision = self._store.roster.at(record.roster_revision or 0)  # as they were called then
        about = roster.known([revision])
        models = {"a": record.model_a or "", "b": record.model_b or ""}
        return Reveal(
            grade=record.grade or 0,
            both_bad=bool(record.both_bad),
            model_a=models["a"],
            model_b=models["b"],
            about_a=about[models["a"]].about(),
            about_b=about[models["b"]].about(),
            receipt=vote.hash,
            signed_receipt=self.signed_receipt(vote),
            leaks=whole.leaks(),
        )

    def voted(self, voter: str, battle_id: str) -> StoredVote:
        """The vote of the voter's own battle, also when its text is erased.

        Raises `NotFound` when it is unknown or somebody else's, `Conflict` when it has no vote.
        """
        _mine(self._store.battles.get(battle_id), voter)
        vote = self._store.votes.vote_of(battle_id)
        if vote is None:
            raise Conflict("This battle has no vote.")
        return vote

    def signed_receipt(self, vote: StoredVote) -> str:
        """The promise that this vote is in the log; always the same for the same vote."""
        record = vote.record
        return self._signer.receipt(record.id, vote.hash, record.timestamp)


# --- rules --------------------------------------------------------------------------------------

_REFUSALS: dict[BattleState, tuple[type[Conflict], str]] = {
    BattleState.created: (TooEarly, "The answers are not complete yet."),
    BattleState.running: (TooEarly, "The answers are not complete yet."),
    BattleState.voted: (AlreadyVoted, "This battle has its one vote already."),
    BattleState.skipped: (BattleSkipped, "This battle was skipped."),
    BattleState.void: (
        BattleVoid,
        "This battle is void, so it takes no vote.",
    ),
}


def _mine(battle: Battle | None, voter: str) -> Battle:
    if battle is None or battle.voter != voter:
        raise NotFound(_NOT_YOURS)
    logs.bind(battle=battle.id)
    return battle


def _own(battle: Battle | None, voter: str) -> Battle:
    battle = _mine(battle, voter)
    if battle.erased_at is not None:
        raise Erased("The text of this battle has been erased for good.")
    return battle


def _require(battle: Battle, state: BattleState) -> None:
    if battle.state is not state:
        error, detail = _REFUSALS[battle.state]
        raise error(detail, retry_after=2 if error is TooEarly else None)


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t"


def _is_visible(char: str) -> bool:
    return unicodedata.category(char)[0] not in "ZC"


def check_text(text: str, name: str, limit: int) -> str:
    """The text with `\\n` line ends, if a person can have meant it.

    Raises `InvalidField` when it has nothing visible, is over `limit` code points, or holds
    control characters or lone surrogates.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > limit:
        raise InvalidField(
            f"'{name}' has {len(text)} characters; at most {limit} are accepted.", field=name
        )
    if any(map(_is_control, text)):
        raise InvalidField(f"'{name}' holds control characters; remove them.", field=name)
    if not any(map(_is_visible, text)):
        raise InvalidField(f"'{name}' is empty; write something.", field=name)
    return text


def _checked(ballot: Ballot) -> Ballot:
    if ballot.comment is None or not ballot.comment.strip():
        comment = None
    else:
        comment = check_text(ballot.comment, "comment", MAX_COMMENT_CHARS)
    return Ballot(ballot.grade, ballot.both_bad, ballot.reasons, comment)


def conversation(messages: Sequence[Message]) -> Conversation:
    """A conversation in the export's form: a list of messages with typed content."""
    return [
        {"role": message.role, "content": [{"type": "text", "text": message.text}]}
        for message in messages
    ]


def vote_record(whole: WholeBattle, ballot: Ballot, content: Content) -> Record:
    """The log's record of a vote, still without its voter's pseudonym.

    `turns` counts all prompts of the conversation, those of the opening too. What was measured is
    of this battle's own answers only: tokens and durations are sums over its turns, times to first
    token and finish reasons those of the last one; durations in seconds.
    """
    battle = whole.battle
    turns = [turn for turn in whole.turns if turn.state is TurnState.ready]
    prompts = whole.prompts()
    language, category_tag = battle.language, battle.category_tag
    if len(turns) < battle.turn:  # a follow-up failed and was withdrawn: it is not voted on
        described = categories.describe(prompts)
        language, category_tag = described.language, described.category_tag
    measures: dict[str, Any] = {}
    for side in SIDES:
        answers = [turn.answers()[SIDES.index(side)] for turn in turns]
        measures |= {
            f"tokens_{side}": _total(answers, lambda answer: answer.tokens),
            f"duration_{side}": _total(answers, lambda answer: answer.duration),
            f"ttft_{side}": answers[-1].ttft,
            f"finish_{side}": answers[-1].finish,
        }
    return Record(
        id=secrets.token_hex(16),
        type="vote",
        campaign=battle.campaign,
        timestamp=now(),
        battle_id=battle.id,
        model_a=battle.model_a,
        model_b=battle.model_b,
        grade=int(ballot.grade),
        winner=ballot.grade.winner,
        both_bad=ballot.both_bad,
        reasons=ballot.reasons,
        voter_kind="person",
        language=language,
        category_tag=category_tag,
        turns=len(prompts),
        propensity=battle.propensity,
        sampling_rule=battle.sampling_rule,
        roster_revision=battle.roster_revision,
        content_digest=content.digest(),
        consent=battle.consent,
        **measures,
    )


def leak_flags(vote: Record, whole: WholeBattle) -> tuple[Record, ...]:
    """A flag for each side that gave a name away in any turn that is voted on."""
    return tuple(
        replace(
            remark("flag", vote, IDENTITY_LEAK, vote.timestamp), data={"side": side, "name": name}
        )
        for side, name in whole.leaks().items()
    )


def _total(answers: Sequence[Answer], part: Callable[[Answer], Any]) -> Any:
    parts = [part(answer) for answer in answers]
    if any(value is None for value in parts):
        return None
    total = sum(parts)
    return round(total, 3) if isinstance(total, float) else total
