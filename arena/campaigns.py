"""Campaigns: which there are, who may see them, and what their operator does with them.

A private campaign is reached by an invitation. To everybody else it is as if it were not there.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from arena.clock import now, rfc3339
from arena.errors import InvalidField, InvitationNeeded, NotFound
from arena.interfaces import Act, Campaign, CampaignStore, Invitation

DEFAULT = Campaign(
    id="online",
    kind="online",
    title="Open battles",
    title_zh="公开对战",
    description="Any prompt, two anonymous models, your judgement.",
    description_zh="任意提问，两个匿名模型，由你评判。",
    consent=(
        "Your prompt goes to two models; prompt, answers and vote are stored under a random "
        "name and published with the log until you delete their text, so write nothing private."
    ),
    consent_zh=(
        "你的提问会发送给两个模型；提问、回答与投票以随机代号保存并随日志公开，"
        "文字可由你随时删除，请勿填写隐私内容。"
    ),
    license="CC BY 4.0",
    position=0,
)


@dataclass(frozen=True, slots=True)
class Reader:
    """Who looks: a stranger, a guest with the digests of invitations, or the operator."""

    invitations: tuple[str, ...] = ()
    is_operator: bool = False


STRANGER = Reader()
OPERATOR = Reader(is_operator=True)


class Campaigns:
    """The campaigns as each reader may see them.

    Invitations are looked up on every call, so that a revoked or expired one ends at once.
    """

    def __init__(self, store: CampaignStore) -> None:
        self._store = store

    def public(self) -> list[Campaign]:
        """Those that anybody may see."""
        return self.visible(STRANGER)

    def visible(self, reader: Reader) -> list[Campaign]:
        """Those that this reader may see, in their order."""
        invited = self._invited(reader)
        return [
            campaign
            for campaign in self._store.all()
            if campaign.public or reader.is_operator or campaign.id in invited
        ]

    def get(self, campaign_id: str | None, reader: Reader = STRANGER) -> Campaign:
        """The campaign of this id, or the default one.

        Raises `NotFound` when it does not exist for this reader, and `InvitationNeeded` when it is
        the default one: that there is one is no secret.
        """
        campaign = self._store.get(campaign_id if campaign_id is not None else DEFAULT.id)
        if campaign is not None and (
            campaign.public or reader.is_operator or campaign.id in self._invited(reader)
        ):
            return campaign
        if campaign_id is None:
            raise InvitationNeeded("The battles here are by invitation only.")
        raise NotFound(
            f"There is no campaign '{campaign_id}'. /api/campaigns lists them.", field="campaign"
        )

    def admits(self, reader: Reader) -> bool:
        """Whether an arena that is private altogether lets this reader in."""
        return reader.is_operator or bool(self._invited(reader))

    def _invited(self, reader: Reader) -> frozenset[str]:
        if not reader.invitations:
            return frozenset()
        at = now()
        found = self._store.invited(reader.invitations)
        return frozenset(one.campaign for one in found if one.is_live(at))

    # --- invitations ------------------------------------------------------------------------

    def accept(self, secret: str) -> Invitation:
        """The invitation behind a link's secret; raises `InvitationNeeded` when it is not live."""
        for invitation in self._store.invited([digest_of(secret)]):
            if invitation.is_live(now()):
                return invitation
        raise InvitationNeeded(
            "This invitation does not hold: the link is incomplete, or it has expired or been "
            "revoked. Ask whoever sent it for a new one."
        )

    def invitations(self) -> list[Invitation]:
        """All that were ever made, newest first."""
        return self._store.invitations()

    def invite(self, campaign: Campaign, note: str = "", days: int | None = None) -> str:
        """Make an invitation, for ever or for some days. Returns its secret, which is not kept."""
        secret = secrets.token_urlsafe(24)
        at = now()
        ends = None if days is None else rfc3339(datetime.now(UTC) + timedelta(days=days))
        invitation = Invitation(digest_of(secret), campaign.id, note, at, ends)
        details = {"invitation": invitation.digest[:12], "note": note, "expires_at": ends}
        self._store.invite(invitation, Act(at, "invitation.create", campaign.id, details))
        return secret

    def revoke(self, digest: str) -> None:
        """End an invitation and whatever it granted; repeating it changes nothing."""
        at = now()
        for invitation in self._store.invited([digest]):
            details = {"invitation": digest[:12], "note": invitation.note}
            self._store.revoke(
                digest, at, Act(at, "invitation.revoke", invitation.campaign, details)
            )

    # --- the operator's campaigns -------------------------------------------------------------

    def create(self, campaign_id: str, texts: Mapping[str, Any]) -> Campaign:
        """A new open campaign, with the fields that the operator fills in.

        Raises `InvalidField` for the first that cannot be used: see `problems`.
        """
        campaign = drafted(campaign_id, texts)
        _refuse(problems(campaign))
        act = Act(now(), "campaign.create", campaign_id, dict(texts))
        if not self._store.add(campaign, act):
            raise InvalidField(f"There is a campaign '{campaign_id}' already.", field="id")
        return campaign

    def change(self, campaign: Campaign, texts: Mapping[str, Any]) -> None:
        """Give a campaign other texts and rules; only what differs is written and told.

        Raises `InvalidField` as `create` does, and when texts would be published that voters gave
        under another consent.
        """
        changes = {name: value for name, value in texts.items() if getattr(campaign, name) != value}
        changed = drafted(campaign.id, texts, campaign)
        _refuse(problems(changed))
        if not changes:
            return
        publishes = _publishes(changed) and not _publishes(campaign)
        act = Act(now(), "campaign.change", campaign.id, changes)
        if not self._store.change(campaign.id, changes, act, without_battles=publishes):
            raise InvalidField(
                "This campaign has battles whose texts were not to be published. Make a new one.",
                field="publish_text",
            )

    def set_open(self, campaign: Campaign, is_open: bool) -> None:
        """Let a campaign take battles, or no more; its board and log stay as they are."""
        state = "open" if is_open else "closed"
        if campaign.kind != DEFAULT.kind:
            raise InvalidField("Imported votes take no battles.", field="state")
        if campaign.state != state:
            act = Act(now(), f"campaign.{'open' if is_open else 'close'}", campaign.id)
            self._store.change(campaign.id, {"state": state}, act)


def digest_of(secret: str) -> str:
    """What is kept of a link's secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


# --- what a campaign must be ----------------------------------------------------------------

_BLANK = replace(
    DEFAULT, title="", title_zh="", description="", description_zh="", license="", position=50
)
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
LIMITS = {
    **{"title": 80, "title_zh": 80, "license": 120},
    **{"description": 400, "description_zh": 400, "consent": 600, "consent_zh": 600},
}
"""Longest texts, in characters."""


def drafted(campaign_id: str, texts: Mapping[str, Any], base: Campaign = _BLANK) -> Campaign:
    """A campaign with these texts and rules, not stored and not checked."""
    return replace(base, id=campaign_id, **texts)


def problems(campaign: Campaign) -> dict[str, str]:
    """What keeps a campaign from being used, by field: `missing`, `too_long` or `not_an_id`."""
    found = {}
    if not _ID.fullmatch(campaign.id):
        found["id"] = "not_an_id"
    for name, limit in LIMITS.items():
        text = getattr(campaign, name)
        if name in ("title", "consent") and not text.strip():
            found[name] = "missing"
        elif len(text) > limit:
            found[name] = "too_long"
    return found


def _publishes(campaign: Campaign) -> bool:
    """Whether anybody may read what its voters wrote."""
    return campaign.public and campaign.publish_text


def _refuse(found: Mapping[str, str]) -> None:
    for name, problem in found.items():
        raise InvalidField(f"'{name}' cannot be used: {problem.replace('_', ' ')}.", field=name)
