"""`/api/battles`: start, follow, vote; what is the voter's own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, jsonify, request

from arena.battle import BlindBattle
from arena.battles import Ballot, Continuation
from arena.clock import now, today
from arena.errors import MalformedRequest, NotFound
from arena.interfaces import LINE_RETRY_SECONDS
from arena.relay import Event
from arena.views import schemas
from arena.views.context import known_voter, network, reader, services, voter
from arena.views.downloads import download
from arena.views.openapi import operation

blueprint = Blueprint("battles", __name__, url_prefix="/api/battles")

LISTED, MOST_LISTED = 20, 100

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,200}")


@blueprint.url_value_preprocessor
def check_id(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    """Raises `NotFound` for what no battle can be called."""
    if values and not _ID.fullmatch(values["battle_id"]):
        raise NotFound("There is no such battle of yours.")


def _view(battle_id: str) -> dict[str, Any]:
    return services().battles.view(voter(), battle_id)


@blueprint.post("")
@operation(
    "Start a battle",
    body=schemas.NewBattle,
    answers={201: schemas.BattleView},
    refusals=(400, 403, 404, 409, 410, 413, 422, 429, 503),
    gives={"Location": "The battle's address."},
)
def start() -> tuple[Response, int, dict[str, str]]:
    body = schemas.read_body(schemas.NewBattle)
    earlier = body.continue_from
    begun = services().battles.start(
        voter(),
        body.prompt,
        body.campaign,
        body.redraw_of,
        None if earlier is None else Continuation(earlier.battle, earlier.side),
        reader=reader(),
        network=network(),
    )
    seen = BlindBattle.of(begun).to_json()
    return jsonify(seen), 201, {"Location": f"/api/battles/{begun.battle.id}"}


@blueprint.get("")
@operation(
    "Your battles, newest first",
    answers={200: schemas.BattlesView},
    refusals=(422, 503),
    query={
        "before": "Go on after this battle: `next` of the answer before.",
        "limit": f"At most so many, up to {MOST_LISTED}; default {LISTED}.",
    },
)
def mine() -> Response:
    limit = min(schemas.whole_number("limit", LISTED), MOST_LISTED)
    battles, following = battles_page(limit)
    return jsonify({"battles": battles, "next": following})


def battles_page(limit: int) -> tuple[list[dict[str, Any]], str | None]:
    """One page of the voter's battles as `?before=` asks for it, and the `before` of the next."""
    who, before = known_voter(), schemas.word("before")
    found = [] if who is None else services().belongings.page(who, before, limit + 1)
    return found[:limit], found[limit - 1]["id"] if limit and len(found) > limit else None


@blueprint.get("/export")
@operation(
    "All that is stored of your battles",
    answers={200: schemas.OwnDataView},
    refusals=(503,),
    gives={"Content-Disposition": "A file to keep."},
)
def export() -> Response:
    who = known_voter()
    battles = iter(()) if who is None else services().belongings.export(who)
    name = f"arena-my-battles-{today()}.json"
    return download(
        (text.encode() for text in _own_data(battles)),
        services().exports,
        "application/json",
        {"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _own_data(battles: Iterator[dict[str, Any]]) -> Iterator[str]:
    """The document, battle by battle: an eager voter has more than a process should hold."""
    yield f'{{"exported_at": "{now()}", "battles": ['
    for number, battle in enumerate(battles):
        yield ("," if number else "") + "\n" + json.dumps(battle, ensure_ascii=False, indent=1)
    yield "\n]}\n"


@blueprint.get("/queue")
@operation(
    "Where you stand when all places are taken; asking keeps your place in line",
    answers={200: schemas.PlaceView},
    refusals=(503,),
)
def place() -> Response:
    found = services().battles.place(known_voter(), network())
    return jsonify(
        {"has_room": found.has_room, "ahead": found.ahead, "retry_after": LINE_RETRY_SECONDS}
    )


@blueprint.delete("/queue")
@operation("Wait in line no longer", answers={204: None}, refusals=(403,))
def leave_line() -> tuple[str, int]:
    services().battles.leave_line(voter())
    return "", 204


@blueprint.get("/<battle_id>")
@operation(
    "Look at your battle, or at one that its voter shares",
    answers={200: schemas.ReadableView},
    refusals=(404, 410, 503),
)
def look(battle_id: str) -> Response:
    try:
        return jsonify(_view(battle_id))
    except NotFound:
        shared = services().battles.shared(voter(), battle_id, reader())
        if shared is None:
            raise
        return jsonify(shared)


@blueprint.delete("/<battle_id>")
@operation(
    "Erase the text of your battle for good; a vote stays in the log without it",
    answers={204: None},
    refusals=(403, 404, 503),
)
def erase(battle_id: str) -> tuple[str, int]:
    services().belongings.erase(voter(), battle_id)
    return "", 204


@blueprint.post("/<battle_id>/share")
@operation(
    "Let anybody read your battle, names and vote with it",
    answers={204: None},
    refusals=(403, 404, 409, 410, 503),
)
def share(battle_id: str) -> tuple[str, int]:
    services().battles.share(voter(), battle_id)
    return "", 204


@blueprint.delete("/<battle_id>/share")
@operation("Let nobody else read it any more", answers={204: None}, refusals=(403, 404, 410, 503))
def unshare(battle_id: str) -> tuple[str, int]:
    services().battles.unshare(voter(), battle_id)
    return "", 204


@blueprint.post("/<battle_id>/turns")
@operation(
    "Ask both models again",
    body=schemas.NewTurn,
    answers={201: schemas.BattleView},
    refusals=(400, 403, 404, 409, 410, 413, 422, 429, 503),
)
def follow_up(battle_id: str) -> tuple[Response, int]:
    body = schemas.read_body(schemas.NewTurn)
    services().battles.follow_up(voter(), battle_id, body.prompt, network=network())
    return jsonify(_view(battle_id)), 201


@blueprint.post("/<battle_id>/vote")
@operation(
    "Vote, and learn the names",
    body=schemas.Vote,
    answers={200: schemas.RevealView},
    refusals=(400, 403, 404, 409, 410, 413, 422, 503),
    headers={"Idempotency-Key": "Same key and body: the same answer for ever."},
)
def vote(battle_id: str) -> Response:
    body = schemas.read_body(schemas.Vote)
    ballot = Ballot(body.grade, body.both_bad, tuple(body.reasons), body.comment)
    reveal = services().battles.vote(voter(), battle_id, ballot, _idempotency_key())
    return jsonify(reveal.to_json())


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise MalformedRequest("'Idempotency-Key' must have 1 to 200 visible ASCII characters.")
    return key


@blueprint.get("/<battle_id>/proof")
@operation(
    "Your vote as the log has it, with what proves that it is there",
    answers={200: schemas.VoteProofView},
    refusals=(404, 409, 503),
)
def proof(battle_id: str) -> Response:
    found = services()
    vote = found.battles.voted(voter(), battle_id)
    key, *earlier = found.proofs.keys(found.signer)
    inclusion = found.proofs.inclusion_if_covered(vote.record.id)
    return jsonify(
        {
            "record": vote.record.body(),
            "leaf": vote.hash,
            "signed_receipt": found.battles.signed_receipt(vote),
            "key": key,
            "keys": earlier,
            "inclusion": None if inclusion is None else inclusion.to_json(),
        }
    )


@blueprint.post("/<battle_id>/stop")
@operation("End the answers here", answers={204: None}, refusals=(403, 404, 409, 410, 503))
def stop(battle_id: str) -> tuple[str, int]:
    services().battles.stop(voter(), battle_id)
    return "", 204


@blueprint.post("/<battle_id>/skip")
@operation("Leave without a vote", answers={204: None}, refusals=(403, 404, 409, 410, 503))
def skip(battle_id: str) -> tuple[str, int]:
    services().battles.skip(voter(), battle_id)
    return "", 204


@blueprint.post("/<battle_id>/report")
@operation(
    "Tell the operator about an answer",
    body=schemas.Report,
    answers={204: None},
    refusals=(400, 403, 404, 410, 413, 422, 503),
)
def report(battle_id: str) -> tuple[str, int]:
    body = schemas.read_body(schemas.Report)
    services().battles.report(voter(), battle_id, body.reason, body.side)
    return "", 204


@blueprint.get("/<battle_id>/events")
@operation(
    "Follow a turn: server-sent events `delta`, at last `ready` or `void`",
    answers={200: "text/event-stream", 204: None},
    refusals=(404, 410, 422, 503),
    query={"turn": "Default: the latest turn."},
    headers={"Last-Event-ID": "Continue after this event; unknown: from the start."},
)
def events(battle_id: str) -> Response:
    found = services()
    battle = found.battles.get(voter(), battle_id)
    turn = found.store.battles.turn(battle_id, schemas.whole_number("turn", battle.turn))
    if turn is None:
        raise NotFound("This battle has no such turn.", field="turn")
    last_event_id = request.headers.get("Last-Event-ID")
    if found.relay.is_over(turn, last_event_id):
        return Response(status=204)
    give_back = found.streams.take()
    response = event_stream(_told(found.relay.follow(turn, last_event_id)))
    response.call_on_close(give_back)
    return response


def event_stream(pieces: Iterator[str]) -> Response:
    """A response of server-sent events that no proxy may hold back."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(pieces, mimetype="text/event-stream", headers=headers)


def _told(events: Iterator[Event | None]) -> Iterator[str]:
    yield ": open\n\n"  # the headers go out at once, however long the models think
    for event in events:
        yield _sse(event)


def _sse(event: Event | None) -> str:
    if event is None:
        return ": still here\n\n"
    data = json.dumps(event.data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.id}\nevent: {event.name}\ndata: {data}\n\n"
