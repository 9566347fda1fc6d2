"""Sealed boards: their permanent pages, their JSON, and the list of them."""

from __future__ import annotations

import re
from collections.abc import Collection

from flask import Blueprint, Response, jsonify, render_template

from arena import board_svg, categories
from arena.boards import OVERALL, Encoded
from arena.interfaces import Campaign
from arena.sealing import Seal
from arena.views import board_page, context, schemas
from arena.views.board_page import SealedWish
from arena.views.context import services
from arena.views.language import language, remember, template_words, text
from arena.views.openapi import operation

blueprint = Blueprint("sealed", __name__)
blueprint.after_request(remember)

_FOR_EVER = 365 * 24 * 3600


@blueprint.get("/api/sealed")
@operation(
    "Boards that were sealed, the newest first",
    answers={200: schemas.SealedBoardsView},
    refusals=(404, 422, 503),
    query={"campaign": "Default: all that you may see."},
)
def boards() -> Response:
    named = schemas.word("campaign")
    campaigns = context.campaigns() if named is None else [context.campaign(named)]
    return jsonify({"sealed": [one.to_json() for one in services().sealings.told(*campaigns)]})


@blueprint.get("/api/sealed/<campaign_id>/<position>")
@operation(
    "A sealed board: bytes whose SHA-256 is the digest in the log",
    answers={200: schemas.SealedView, 304: None},
    refusals=(404, 422, 503),
    query={"category": f"Default: {OVERALL}."},
    headers={"If-None-Match": "The `ETag` you have: 304."},
    gives={
        "ETag": "The digest of the board as it is kept now.",
        "Arena-Seal": "intact, or broken where the log names another digest.",
    },
)
def board(campaign_id: str, position: str) -> Response:
    campaign, seal = _asked(campaign_id, position)
    response = context.kept_by_validator(campaign, seal.body, seal.digest)
    response.headers["Arena-Seal"] = "intact" if seal.is_intact else "broken"
    if campaign.public and seal.is_intact:
        who = "private" if services().settings.private else "public"
        response.headers["Cache-Control"] = f"{who}, max-age={_FOR_EVER}, immutable"
    return response


@blueprint.get("/sealed/<campaign_id>/<position>")
def page(campaign_id: str, position: str) -> str:
    """The permanent page of a sealed board."""
    campaign, seal = _asked(campaign_id, position)
    asked = board_page.Wish.asked(campaign.id)
    place = str(seal.board.log_position)
    wish = SealedWish(campaign.id, asked.category, sort=asked.sort, position=place)
    document = seal.board.document
    sealed = Encoded(document, seal.body, seal.digest)
    return render_template(
        "sealed.html",
        page="board",
        campaign=campaign,
        board=document,
        seal=seal,
        wish=wish,
        table=board_page.table(sealed, wish),
        categories=_titles(seal.categories),
        later=services().sealings.later(seal.board),
        **template_words(),
    )


@blueprint.get("/sealed/<campaign_id>/<position>/board.svg")
def picture(campaign_id: str, position: str) -> Response:
    """The board as a picture, to keep."""
    campaign, seal = _asked(campaign_id, position)
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"arena-{campaign.id}-{seal.board.log_position}")
    return Response(
        board_svg.to_svg(seal.board.document),
        mimetype="image/svg+xml",
        headers={"Content-Disposition": f'attachment; filename="{name}.svg"'},
    )


def _asked(campaign_id: str, position: str) -> tuple[Campaign, Seal]:
    """The campaign and its board that are asked for; raises `NotFound` or `InvalidField`."""
    campaign = context.campaign(campaign_id)
    at, category = schemas.natural(position, "position"), schemas.word("category")
    return campaign, services().sealings.get(campaign, at, category or OVERALL)


def _titles(keys: Collection[str]) -> dict[str, str]:
    """In the order of menus. One that there is no more, its board is still there, has only its
    key."""
    known = categories.in_order(set(keys) & categories.TITLES.keys())
    gone = sorted(set(keys) - {OVERALL, *known})
    titles = {key: getattr(categories.title(key), language()) for key in known}
    return {OVERALL: text(language(), "board.overall"), **titles, **{key: key for key in gone}}
