"""`/api/votes`: the log, streamed."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from arena import export_process, log
from arena.errors import ForkedLog, InvalidField, Unavailable
from arena.manifest import SUFFIX, Manifests
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
        "until": "Only records up to this seq, and what is said of them up to there; default: "
        "the size of the newest signed head.",
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
    position = found.store.votes.position()
    until = min(schemas.whole_number("until", _covered(position)), position)
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


def _covered(otherwise: int) -> int:
    """The size of the newest signed head: so far rows can be checked."""
    newest = services().store.trees.head()
    return otherwise if newest is None else newest.size


@blueprint.get("/log/manifest")
@operation(
    "The signed manifest of the rows that /api/votes gives at a log position",
    answers={200: schemas.ManifestView},
    refusals=(404, 422, 503),
    query={
        "position": "As the header Arena-Log-Position of the rows says, which must be the size of "
        "a signed head; default: of the newest one.",
        "campaign": "As it was asked for the rows.",
        "after": "Likewise.",
    },
)
def manifest() -> Response:
    found = services()
    named = schemas.word("campaign")
    campaigns = context.campaigns() if named is None else [context.campaign(named)]
    position = schemas.whole_number("position", _covered(0))
    try:
        written = Manifests(found.store, found.signer).write(
            campaigns, position=position, after=schemas.whole_number("after", 0)
        )
    except ForkedLog as error:
        raise Unavailable(
            f"The log's first {position} records are not those whose head was signed, so nothing "
            "is signed of them. The operator has to find out why."
        ) from error
    name = f"arena-votes-{position}.jsonl{SUFFIX}"
    return download(
        written,
        found.exports,
        "application/json",
        {"Content-Disposition": f'attachment; filename="{name}"'},
    )
