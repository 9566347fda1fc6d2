"""Campaigns: which there are, and the one that is meant when none is named."""

from __future__ import annotations

from arena.errors import NotFound
from arena.interfaces import Campaign, CampaignStore

DEFAULT = Campaign(
    id="online",
    kind="online",
    title="Open battles",
    title_zh="公开对战",
    description="Any prompt, two anonymous models, your judgement.",
    description_zh="任意提问，两个匿名模型，由您评判。",
    consent=(
        "Your prompt goes to two models; prompt, answers and vote are stored under a random "
        "name and published with the log, so write nothing private."
    ),
    consent_zh=(
        "您的提问会发送给两个模型；提问、回答与投票以随机代号保存，并随日志公开，请勿填写隐私内容。"
    ),
    license="CC BY 4.0",
    position=0,
)


class Campaigns:
    """Reads campaigns; a private one is as if it were not there."""

    def __init__(self, store: CampaignStore) -> None:
        self._store = store

    def public(self) -> list[Campaign]:
        return [campaign for campaign in self._store.all() if campaign.public]

    def get(self, campaign_id: str | None) -> Campaign:
        """The campaign of this id, or the default one.

        Raises `NotFound` when it does not exist or is not public.
        """
        campaign = self._store.get(campaign_id if campaign_id is not None else DEFAULT.id)
        if campaign is None or not campaign.public:
            raise NotFound(
                f"There is no campaign '{campaign_id}'. /api/campaigns lists them.",
                field="campaign",
            )
        return campaign
