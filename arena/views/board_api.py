"""`/api/board` and what there is: campaigns, models, boards."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Blueprint, Response, jsonify, request

from arena import categories, roster
from arena.boards import METHODS, OVERALL
from arena.campaigns import STRANGER, Reader
from arena.interfaces import LookAgain
from arena.records import LogRow
from arena.relay import HEARTBEAT_SECONDS
from arena.views import context, schemas
from arena.views.battle_api import event_stream
from arena.views.context import Services, services
from arena.views.openapi import operation

blueprint = Blueprint("boards", __name__, url_prefix="/api")

_HISTORY = 1_000


@blueprint.get("/board")
@operation(
    "The newest board",
    answers={200: schemas.BoardView, 304: None},
    refusals=(404, 422, 503),
    query={
        "campaign": "Default: the open campaign.",
        "category": f"Default: {OVERALL}.",
        "method": "Default: auto, the method this campaign publishes.",
    },
    headers={"If-None-Match": "The `ETag` you have: 304 while it is the newest."},
    gives={"ETag": "Changes with whatever the board says."},
)
def board() -> Response:
    found = services()
    chosen = context.campaign(schemas.word("campaign"))
    published = found.boards.get(
        chosen,
        schemas.word("category") or OVERALL,
        request.args.get("method", "auto"),
    )
    return context.kept_by_validator(chosen, published.body, published.etag)


@blueprint.get("/board/events")
@operation(
    "Server-sent event `snapshot` on every publication",
    answers={200: "text/event-stream"},
    refusals=(503,),
)
def board_events() -> Response:
    found = services()
    give_back = found.streams.take()
    response = event_stream(_announcements(found, context.reader()))
    response.call_on_close(give_back)
    return response


def _announcements(found: Services, reader: Reader) -> Iterator[str]:
    with found.live.boards() as subscription:
        yield ": open\n\n"  # from here on nothing is missed
        while True:
            message = subscription.get(timeout=HEARTBEAT_SECONDS)
            if message is None:
                yield ": still here\n\n"
            elif isinstance(message, LookAgain):
                yield from map(_snapshot_event, _newest(found, reader))
            elif _may_see(found, reader, message["campaign"]):
                yield _snapshot_event(message)


def _snapshot_event(snapshot: dict[str, Any]) -> str:
    return f"event: snapshot\ndata: {json.dumps(snapshot, separators=(',', ':'))}\n\n"


def _newest(found: Services, reader: Reader) -> Iterator[dict[str, Any]]:
    """The current boards, for followers who may have missed their announcements."""
    for campaign in found.campaigns.visible(reader):
        snapshot = found.store.snapshots.latest(campaign.id, OVERALL)
        if snapshot is not None:
            yield snapshot.announcement()


def _may_see(found: Services, reader: Reader, campaign_id: str) -> bool:
    if found.boards.is_public(campaign_id):  # of every follower and message: asked of no database
        return True
    return reader != STRANGER and any(
        campaign.id == campaign_id for campaign in found.campaigns.visible(reader)
    )


@blueprint.get("/boards")
@operation(
    "Boards that were published, newest first",
    answers={200: schemas.BoardsView},
    refusals=(503,),
)
def boards() -> Response:
    visible = [campaign.id for campaign in context.campaigns()]
    return jsonify({"boards": services().store.snapshots.history(visible, _HISTORY)})


@blueprint.get("/boards/<number>")
@operation(
    "A past board, by its id",
    answers={200: schemas.BoardView, 304: None},
    refusals=(404, 422, 503),
    headers={"If-None-Match": "The `ETag` you have: 304."},
    gives={"ETag": "A past board does not change."},
)
def past(number: str) -> Response:
    shown, board = services().boards.past(schemas.natural(number, "number"), context.campaigns())
    return context.kept_by_validator(shown, board.body, board.etag)


@blueprint.get("/campaigns")
@operation(
    "Campaigns with their rules and consent",
    answers={200: schemas.CampaignsView},
    refusals=(503,),
)
def campaigns() -> Response:
    found = services()
    visible = context.campaigns()
    offered = found.boards.offered(*visible)
    events = found.store.votes.events([campaign.id for campaign in visible], ["method"])[::-1]
    return jsonify(
        {
            "campaigns": [
                {
                    **campaign.to_json(),
                    "categories": _categories(offered[campaign.id]),
                    "methods": [
                        _method_event(row) for row in events if row.record.campaign == campaign.id
                    ],
                }
                for campaign in visible
            ]
        }
    )


def _categories(boards: Iterable[str]) -> list[dict[str, str]]:
    titles = ((key, categories.title(key)) for key in boards if key != OVERALL)
    return [{"id": key, "title": title.en, "title_zh": title.zh} for key, title in titles]


def _method_event(row: LogRow) -> dict[str, Any]:
    data = row.record.data or {}
    method = data.get("method") or {}
    return {
        "log_position": row.seq,
        "at": row.record.timestamp,
        "method": method.get("name", METHODS[0]),
        "variant": method.get("variant"),
        "automatic": data.get("automatic", True),
        "reason": row.record.reason,
        "evidence": data.get("evidence"),
    }


@blueprint.get("/models")
@operation(
    "The roster, with dated entries and retirements",
    answers={200: schemas.ModelsView},
    refusals=(503,),
)
def models() -> Response:
    history = services().store.roster.history()
    return jsonify(
        {
            "revision": history[-1].revision if history else 0,
            "models": roster.public(history, {campaign.id for campaign in context.campaigns()}),
        }
    )
