"""The voter's use-cases: start, follow up, vote, skip, stop, report, share.

Every one of them belongs to the voter who started the battle; to anybody else it does not exist.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import rfc8785

from arena import categories, roster
from arena.battle import (
    SIDES,
    Answer,
    Battle,
    BattleState,
    BlindBattle,
    Grade,
    Reveal,
    Side,
    Turn,
    TurnState,
)
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
    NotFound,
    TooEarly,
    TooMany,
    Unavailable,
)
from arena.interfaces import LiveBuffer, RosterRevision, Store, StoredVote
from arena.records import Content, Conversation, Record, new_salt

_NOT_YOURS = "There is no such battle of yours."
REASONS = ("correct", "complete", "clear", "instructions", "style", "harmless")
MAX_COMMENT_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one voter and this arena may ask for."""

    prompt_chars: int
    turns: int
    running_per_voter: int
    running: int


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


class Battles:
    """The use-cases over a store and a live buffer. `rng` draws pairs and sides."""

    def __init__(
        self,
        store: Store,
        live: LiveBuffer,
        campaigns: Campaigns,
        limits: Limits,
        rng: random.Random,
    ) -> None:
        self._store = store
        self._live = live
        self._campaigns = campaigns
        self._limits = limits
        self._rng = rng

    # --- reading ----------------------------------------------------------------------------

    def get(self, voter: str, battle_id: str) -> Battle:
        """The voter's own battle.

        Raises `NotFound` when it is unknown or somebody else's, `Erased` when its text is gone.
        """
        return _own(self._store.battles.get(battle_id), voter)

    def view(self, voter: str, battle_id: str) -> dict[str, Any]:
        """The blind projection; after the vote, what it revealed too. Raises as `get` does."""
        battle, turns = self._store.battles.whole(battle_id) or (None, [])
        battle = _own(battle, voter)
        seen = BlindBattle.of(battle, turns).to_json()
        if battle.state is BattleState.voted:
            vote = self._store.votes.vote_of(battle_id)
            if vote is not None:
                shared = {"shared": battle.shared_at is not None}
                seen |= self._reveal(vote).to_json() | shared
        return seen

    def shared(
        self, voter: str, battle_id: str, reader: Reader = STRANGER
    ) -> dict[str, Any] | None:
        """A battle that another voter shares: everything but its receipt and events.

        None for any other battle, the voter's own included.
        """
        battle, turns = self._store.battles.whole(battle_id) or (None, [])
        if battle is None or battle.shared_at is None or battle.voter == voter:
            return None
        vote = self._store.votes.vote_of(battle_id)
        visible = {campaign.id for campaign in self._campaigns.visible(reader)}
        if vote is None or battle.campaign not in visible:
            return None
        seen = BlindBattle.of(battle, turns).to_json() | self._reveal(vote).to_json()
        return {name: seen[name] for name in seen if name not in ("events", "receipt")}

    # --- starting ---------------------------------------------------------------------------

    def start(
        self,
        voter: str,
        prompt: str,
        campaign_id: str | None = None,
        redraw_of: str | None = None,
        *,
        reader: Reader = STRANGER,
    ) -> Battle:
        """Draw a pair, commit it, wake a runner.

        `redraw_of` names the voter's void battle whose prompt is tried again; `reader` says which
        private campaigns the voter may play in. Raises `InvalidField`, `NotFound`,
        `InvitationNeeded`, `CampaignClosed`, `NoModels`, `TooMany`, `Unavailable`.
        """
        prompt = check_text(prompt, "prompt", self._limits.prompt_chars)
        campaign = self._campaigns.get(campaign_id, reader)
        if campaign.state != "open":
            raise CampaignClosed(f"The campaign '{campaign.id}' takes no new battles.")
        if redraw_of is not None and self.get(voter, redraw_of).state is not BattleState.void:
            raise InvalidField("Only a void battle can be drawn again.", field="redraw_of")
        self._refuse_too_many(voter)
        revision = self._store.roster.current()
        pair = roster.draw(self._playing(revision, campaign.id), self._rng)
        described = categories.describe([prompt])
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
            redrawn_from=redraw_of,
        )
        self._store.battles.add(battle, Turn(battle.id, 1, prompt, TurnState.running))
        self._live.wake_runner(battle.id)
        return battle

    def _playing(self, revision: RosterRevision, campaign_id: str) -> list[str]:
        """The models that may be drawn now; raises `NoModels` where budgets leave too few."""
        models = roster.active(revision, campaign_id)
        if not roster.has_budgets(revision):
            return models
        spent = roster.spent(revision, self._store.usage.of_day(today()))
        return roster.within_budget(models, spent)

    def follow_up(self, voter: str, battle_id: str, prompt: str) -> None:
        """Ask both models again, in the same conversation.

        Raises `InvalidField`, `NotFound`, a `Conflict` by state, `TooMany`, `Unavailable`.
        """
        prompt = check_text(prompt, "prompt", self._limits.prompt_chars)
        battle = self.get(voter, battle_id)
        _require(battle, BattleState.ready)
        if battle.turn >= self._limits.turns:
            raise Conflict(f"A conversation has at most {self._limits.turns} turns; please vote.")
        self._refuse_too_many(voter)
        turn = Turn(battle_id, battle.turn + 1, prompt, TurnState.running)
        earlier = [turn.prompt for turn in self._store.battles.turns(battle_id)]
        described = categories.describe([*earlier, prompt])
        if not self._store.battles.add_turn(turn, described.language, described.category_tag):
            _require(self.get(voter, battle_id), BattleState.ready)
            raise TooEarly("This battle changed at the same moment; look at it again.")
        self._live.wake_runner(battle_id)

    def _refuse_too_many(self, voter: str) -> None:
        if self._store.battles.running(voter) >= self._limits.running_per_voter:
            raise TooMany(
                f"At most {self._limits.running_per_voter} battles may run at once; "
                "wait for one to finish, or skip it.",
                retry_after=5,
            )
        if self._store.battles.running() >= self._limits.running:
            raise Unavailable(
                "All places are taken at this moment. Please try again in a few seconds.",
                retry_after=5,
            )

    # --- ending -----------------------------------------------------------------------------

    def vote(
        self, voter: str, battle_id: str, ballot: Ballot, idempotency_key: str | None = None
    ) -> Reveal:
        """Store the vote, then reveal from what was stored.

        The same key and ballot give the same answer for ever. Raises `NotFound`, `InvalidField`,
        a `Conflict` by state, `Unavailable` (then there is no acknowledged vote).
        """
        ballot = _checked(ballot)
        battle = self.get(voter, battle_id)
        written = False
        if battle.state is not BattleState.voted:
            _require(battle, BattleState.ready)
            written = self._commit(battle, ballot, idempotency_key)
        vote = self._store.votes.vote_of(battle_id)
        if vote is None:  # moved on meanwhile, and not by another vote
            _require(self.get(voter, battle_id), BattleState.ready)
            raise TooEarly("This battle changed at the same moment; look at it again.")
        repeated = (
            idempotency_key is not None
            and vote.idempotency_key == idempotency_key
            and vote.request_digest == ballot.digest()
        )
        if not (written or repeated):
            raise AlreadyVoted("This battle has its one vote already.")
        return self._reveal(vote)

    def _commit(self, battle: Battle, ballot: Ballot, idempotency_key: str | None) -> bool:
        turns = [
            turn for turn in self._store.battles.turns(battle.id) if turn.state is TurnState.ready
        ]
        content = Content(
            salt=new_salt(),
            conversation_a=conversation(turns, "a"),
            conversation_b=conversation(turns, "b"),
            comment=ballot.comment,
        )
        pseudonym = self._store.votes.pseudonym(battle.voter, battle.campaign)
        if len(turns) < battle.turn:  # a follow-up failed and was withdrawn: it is not voted on
            described = categories.describe([turn.prompt for turn in turns])
            battle = replace(
                battle, language=described.language, category_tag=described.category_tag
            )
        record = vote_record(battle, turns, ballot, content, pseudonym)
        written = self._store.votes.add_vote(
            record,
            content,
            turn=battle.turn,
            idempotency_key=idempotency_key,
            request_digest=ballot.digest(),
        )
        if written:
            self._live.wake_worker()
        return written

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

    def _reveal(self, vote: StoredVote) -> Reveal:
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
        )


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


def _own(battle: Battle | None, voter: str) -> Battle:
    if battle is None or battle.voter != voter:
        raise NotFound(_NOT_YOURS)
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


def conversation(turns: Sequence[Turn], side: Side) -> Conversation:
    """One side's conversation in the export's form: a list of messages with typed content."""

    def message(role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": [{"type": "text", "text": text}]}

    messages = []
    for turn in turns:
        answer = turn.answers()[SIDES.index(side)]
        messages += [message("user", turn.prompt), message("assistant", answer.text)]
    return messages


def vote_record(
    battle: Battle, turns: Sequence[Turn], ballot: Ballot, content: Content, pseudonym: str
) -> Record:
    """The log's record of a vote. Tokens and durations are sums over the turns, times to first
    token and finish reasons those of the last turn; durations in seconds."""
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
        voter=pseudonym,
        voter_kind="person",
        language=battle.language,
        category_tag=battle.category_tag,
        turns=len(turns),
        propensity=battle.propensity,
        sampling_rule=battle.sampling_rule,
        roster_revision=battle.roster_revision,
        content_digest=content.digest(),
        **measures,
    )


def _total(answers: Sequence[Answer], part: Callable[[Answer], Any]) -> Any:
    parts = [part(answer) for answer in answers]
    if any(value is None for value in parts):
        return None
    total = sum(parts)
    return round(total, 3) if isinstance(total, float) else total
