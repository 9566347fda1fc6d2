"""`/api/votes`: the log, streamed."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from arena import export_process, log
from arena.errors import InvalidField
from arena.views import context, schemas
from arena.views.context import services
from arena.views.downloads import download
from arena.views.openapi import operation

blueprint = Blueprint("log", __name__, url_prefix="/api")


@blueprint.get("/votes")
@operation(
    "The log in sequence order, one row a record",
    answers={200: tuple(media.partition(";")[0] for media in log.MEDIA_TYPES.values())},
    refusals=(404, 422, 503),
    query={
        "format": "jsonl (default), csv or parquet.",
        "campaign": "Default: all that you may see.",
        "after": "Only records after this seq.",
        "outcomes": "'all' adds voids and skips behind the votes.",
    },
)
def votes() -> Response:
    found = services()
    form = log.check_format(request.args.get("format", "jsonl"))
    outcomes = request.args.get("outcomes", "votes")
    if outcomes not in ("votes", "all"):
        raise InvalidField("'outcomes' must be 'votes' or 'all'.", field="outcomes")
    named = schemas.word("campaign")
    campaigns = context.campaigns() if named is None else [context.campaign(named)]
    after = schemas.whole_number("after", 0)
    until = found.store.votes.position()
    chosen: dict[str, Any] = {"after": after, "until": until, "outcomes": outcomes == "all"}
    if form == "parquet":
        ids = [campaign.id for campaign in campaigns]
        pieces = export_process.parquet(found.settings, ids, **chosen)
    else:
        pieces = log.encode(log.pages(found.store.votes, campaigns, **chosen), form)
    return download(
        pieces,
        found.parquets if form == "parquet" else found.exports,
        log.MEDIA_TYPES[form],
        {
            "Content-Disposition": f'attachment; filename="arena-votes-{until}.{form}"',
            "Arena-Log-Position": str(until),
        },
    )
