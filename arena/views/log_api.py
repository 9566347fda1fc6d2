"""`/api/votes`: the log, streamed."""

from __future__ import annotations

from flask import Blueprint, Response, request

from arena import log
from arena.errors import InvalidField
from arena.views import context, schemas
from arena.views.context import services
from arena.views.openapi import operation

blueprint = Blueprint("log", __name__, url_prefix="/api")


@blueprint.get("/votes")
@operation(
    "The log in sequence order, one row a record",
    answers={200: tuple(media.partition(";")[0] for media in log.MEDIA_TYPES.values())},
    refusals=(404, 422, 503),
    query={
        "format": "jsonl (default) or csv; parquet later.",
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
    rows = log.rows(
        found.store.votes, campaigns, after=after, until=until, outcomes=outcomes == "all"
    )
    found.exports.take()
    response = Response(
        log.encode(rows, form),
        content_type=log.MEDIA_TYPES[form],
        headers={
            "Content-Disposition": f'attachment; filename="arena-votes-{until}.{form}"',
            "Arena-Log-Position": str(until),
        },
    )
    response.call_on_close(found.exports.give_back)
    return response
