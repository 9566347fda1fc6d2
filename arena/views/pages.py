"""The pages: a server-rendered shell; `static/js` brings it to life."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app, render_template, request

from arena.boards import METHODS, OVERALL
from arena.campaigns import DEFAULT
from arena.errors import NotFound
from arena.interfaces import Campaign
from arena.views import schemas
from arena.views.context import services, voter
from arena.views.language import remember, template_words
from arena.views.openapi import document, operation

blueprint = Blueprint("pages", __name__)
blueprint.after_request(remember)


def _page(template: str, page: str, **values: Any) -> str:
    return render_template(template, page=page, **template_words(), **values)


@blueprint.get("/")
@blueprint.get("/battles/<battle_id>")
def battle(battle_id: str | None = None) -> str:
    found = services()
    voter()  # the first answer brings the voter's cookie
    campaigns = [campaign for campaign in found.campaigns.public() if campaign.state == "open"]
    return _page(
        "battle.html",
        "battle",
        campaigns=campaigns,
        campaign=_chosen(campaigns),
        battle_id=battle_id,
        max_prompt_chars=found.settings.max_prompt_chars,
    )


def _chosen(campaigns: list[Campaign]) -> Campaign | None:
    """The campaign that is wished for, else the default one, else any; None when all are closed."""
    wish = request.args.get("campaign")
    open_ones = {campaign.id: campaign for campaign in campaigns}
    if wish is not None and wish not in open_ones:
        raise NotFound("There is no open campaign of this name.", field="campaign")
    return open_ones.get(wish or DEFAULT.id, next(iter(campaigns), None))


@blueprint.get("/board")
def board() -> str:
    found = services()
    campaign = found.campaigns.get(schemas.word("campaign"))
    category = schemas.word("category") or OVERALL
    method = request.args.get("method", METHODS[0])
    try:
        document = found.boards.get(campaign, category, method).document
    except NotFound:
        if (category, method) != (OVERALL, METHODS[0]):
            raise
        document = None  # the worker has not published yet
    return _page(
        "_board_table.html" if "fragment" in request.args else "board.html",
        "board",
        board=document,
        campaign=campaign,
        campaigns=found.campaigns.public(),
    )


@blueprint.get("/log")
def log() -> str:
    return _page("log.html", "log", campaigns=services().campaigns.public())


@blueprint.get("/about")
def about() -> str:
    return _page("about.html", "about")


@blueprint.get("/api/docs")
@operation("This document, for readers", answers={200: "text/html"}, refusals=())
def docs() -> str:
    return _page("docs.html", "docs", api=document(current_app))
