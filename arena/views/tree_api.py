"""`/api/log/head`, `/api/log/inclusion`, `/api/log/consistency`: the log's tree and its proofs."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request

from arena.errors import InvalidField, NotFound
from arena.notes import signer_of
from arena.proofs import UNKNOWN_RECORD
from arena.views import context, schemas
from arena.views.context import services
from arena.views.openapi import operation

blueprint = Blueprint("tree", __name__, url_prefix="/api/log")

_DAY = 86_400


@blueprint.get("/head")
@operation(
    "A signed head of the log's tree, and the key it is signed with",
    answers={200: schemas.SignedHeadView},
    refusals=(404, 422, 503),
    query={"size": "Of so many records; default: the newest head."},
)
def head() -> Response:
    size, proofs = _given("size"), services().proofs
    found = proofs.head(size)
    keys = proofs.keys(services().signer)
    key = next((key for key in keys if key["name"] == signer_of(found.note)), keys[0])
    others = [other for other in keys if other != key]
    return _kept(found.to_json() | {"key": key, "keys": others}, is_fixed=size is not None)


@blueprint.get("/inclusion")
@operation(
    "Proof that a record is in the log (RFC 6962, 2.1.1)",
    answers={200: schemas.InclusionView},
    refusals=(404, 422, 503),
    query={
        "seq": "The record's place in the log, from 1.",
        "id": "Or the record's id.",
        "size": "In the log of so many records; default: that of the newest signed head.",
    },
)
def inclusion() -> Response:
    proofs, size = services().proofs, _given("size")
    seq, record_id = _given("seq"), schemas.word("id")
    if seq is not None and record_id is None:
        answer = proofs.inclusion(seq, size).to_json()
    elif seq is None and record_id is not None:
        answer = proofs.inclusion_of(_readable(record_id), size).to_json() | {"id": record_id}
    else:
        raise InvalidField("Give 'seq' or 'id', one of them.", field="seq")
    return _kept(answer, is_fixed=size is not None)


@blueprint.get("/consistency")
@operation(
    "Proof that the log of some size begins with that of another (RFC 6962, 2.1.2)",
    answers={200: schemas.ConsistencyView},
    refusals=(404, 422, 503),
    query={
        "from": "The smaller number of records, from 1.",
        "to": "The larger one; default: that of the newest signed head.",
    },
)
def consistency() -> Response:
    first, second = _given("from"), _given("to")
    if first is None:
        raise InvalidField("'from' is missing.", field="from")
    found = services().proofs.consistency(first, second)
    return _kept(found.to_json(), is_fixed=second is not None)


def _readable(record_id: str) -> str:
    """The id, unless it is of a record that the reader may not know of: then it is as unknown.

    A vote's id is random, and who has it was given its receipt, which must be checkable for good.
    """
    found = services().store.votes.counted_record(record_id)
    if found is not None and found.type != "vote":
        if found.campaign not in {campaign.id for campaign in context.campaigns()}:
            raise NotFound(UNKNOWN_RECORD, field="id")
    return record_id


def _given(name: str) -> int | None:
    return schemas.whole_number(name, 0) if request.args.get(name) else None


def _kept(answer: dict[str, Any], *, is_fixed: bool) -> Response:
    """What is said of fixed sizes stays true, and may be kept by whoever may read it."""
    response = jsonify(answer)
    if is_fixed:
        whose = "private" if services().settings.private else "public"
        response.headers["Cache-Control"] = f"{whose}, max-age={_DAY}, immutable"
    return response
