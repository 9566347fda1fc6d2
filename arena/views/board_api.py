"""`/api/board` and what there is: campaigns, models, boards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify, request

from arena import roster
from arena.boards import OVERALL
from arena.interfaces import Subscription
from arena.relay import HEARTBEAT_SECONDS
from arena.views import schemas
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
)
def board() -> Response:
    found = services()
    published = found.boards.get(
        found.campaigns.get(request.args.get("campaign")),
        request.args.get("category", OVERALL),
        request.args.get("method", "auto"),
    )
    response = Response(published.body, mimetype="application/json")
    response.set_etag(published.etag)
    response.headers["Cache-Control"] = "no-cache"
    response.make_conditional(request)
    return response


@blueprint.get("/board/events")
@operation(
    "Server-sent event `snapshot` on every publication",
    answers={200: "text/event-stream"},
    refusals=(503,),
)
def board_events() -> Response:
    found = services()
    found.streams.take()
    response = event_stream(_announcements(found))
    response.call_on_close(found.streams.give_back)
    return response


def _announcements(found: Services) -> Iterator[str]:
    public = {campaign.id for campaign in found.campaigns.public()}
    yield ": open\n\n"
    with found.live.boards() as subscription:
        while True:
            yield _next_announcement(subscription, public)


def _next_announcement(subscription: Subscription[dict[str, Any]], public: set[str]) -> str:
    snapshot = subscription.get(timeout=HEARTBEAT_SECONDS)
    if snapshot is None or snapshot["campaign"] not in public:
        return ": still here\n\n"
    return f"event: snapshot\ndata: {json.dumps(snapshot, separators=(',', ':'))}\n\n"


@blueprint.get("/boards")
@operation("Boards that were published, newest first", answers={200: None}, refusals=(503,))
def boards() -> Response:
    found = services()
    public = [campaign.id for campaign in found.campaigns.public()]
    return jsonify({"boards": found.store.snapshots.history(public, _HISTORY)})


@blueprint.get("/campaigns")
@operation("Campaigns with their rules and consent", answers={200: None}, refusals=(503,))
def campaigns() -> Response:
    return jsonify({"campaigns": [asdict(c) for c in services().campaigns.public()]})


@blueprint.get("/models")
@operation("The roster, with dated entries and retirements", answers={200: None}, refusals=(503,))
def models() -> Response:
    history = services().store.roster.history()
    return jsonify(
        {
            "revision": history[-1].revision if history else 0,
            "models": roster.public(history),
        }
    )
