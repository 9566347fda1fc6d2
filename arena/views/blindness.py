"""How recognisable the models of a campaign are, as its operator published it last."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from arena.boards import Encoded
from arena.errors import NotFound
from arena.interfaces import Campaign
from arena.views import context, schemas
from arena.views.context import services
from arena.views.openapi import operation

blueprint = Blueprint("blindness", __name__, url_prefix="/api")


@blueprint.get("/campaigns/<campaign_id>/blindness")
@operation(
    "How recognisable each model is by its words, as it was published last",
    answers={200: schemas.BlindnessView, 304: None},
    refusals=(404, 503),
    headers={"If-None-Match": "The `ETag` you have: 304 while it is the newest."},
    gives={"ETag": "Changes with every publication."},
)
def blindness(campaign_id: str) -> Response:
    if "\x00" in campaign_id:
        raise NotFound("There is no such campaign. /api/campaigns lists them.")
    campaign = context.campaign(campaign_id)
    found = newest(campaign)
    if found is None:
        raise NotFound("No audit of this campaign's blindness has been published.")
    answer = Encoded.of(found)
    return context.kept_by_validator(campaign, answer.body, answer.etag)


def newest(campaign: Campaign) -> dict[str, Any] | None:
    """The newest published audit of a campaign, with its place in the log."""
    found = services().store.votes.events([campaign.id], ["blindness"], limit=1)
    if not found:
        return None
    row = found[0]
    dated = {"campaign": campaign.id, "seq": row.seq, "published_at": row.record.timestamp}
    return dated | (row.record.data or {})


def of_model(found: dict[str, Any] | None, model: str) -> dict[str, Any] | None:
    """What an audit says of one model; None where it was not judged."""
    models = [] if found is None else found["models"]
    return next((one for one in models if one["model"] == model), None)
