"""The pages: a server-rendered shell; `static/js` brings it to life."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from threading import Lock
from typing import Any

from cachetools import LRUCache, cached
from flask import Blueprint, current_app, render_template
from markupsafe import Markup

from arena import categories
from arena.battle import Grade
from arena.battles import MAX_COMMENT_CHARS, REASONS
from arena.boards import METHODS, OVERALL, Encoded
from arena.campaigns import DEFAULT
from arena.errors import Erased, NotFound
from arena.interfaces import Campaign, Head
from arena.log import FORMATS
from arena.views import board_page, context, schemas
from arena.views.battle_api import check_id
from arena.views.board_page import Wish
from arena.views.context import services, voter
from arena.views.language import language, remember, template_words
from arena.views.openapi import document, operation

_PAST_BOARDS = 1_000
_RENDERED = 2**22
"""Characters of rendered tables that are kept: everybody who follows a board asks for the same at
the same moment. The board behind one, which is larger, is not kept with it."""

blueprint = Blueprint("pages", __name__)
blueprint.url_value_preprocessor(check_id)
blueprint.after_request(remember)


def _page(template: str, page: str, **values: Any) -> str:
    return render_template(template, page=page, **template_words(), **values)


@blueprint.get("/")
@blueprint.get("/battles/<battle_id>")
def battle(battle_id: str | None = None) -> tuple[str, int]:
    found = services()
    who = voter()  # the first answer brings the voter's cookie
    shared = found.battles.shared(who, battle_id, context.reader()) if battle_id else None
    if shared is not None:
        campaign = context.campaign(shared["campaign"])
        grade = Grade(shared["grade"]).name
        return _page("shared.html", "shared", battle=shared, grade=grade, campaign=campaign), 200
    campaigns = [campaign for campaign in context.campaigns() if campaign.state == "open"]
    if not campaigns and battle_id is None:
        context.campaign(None)  # is it that none is open, or that the reader was not invited?
    page = _page(
        "battle.html",
        "battle",
        campaigns=campaigns,
        campaign=_chosen(campaigns),
        rated=[key for key, boards in found.boards.offered(*context.campaigns()).items() if boards],
        private=[campaign.id for campaign in context.campaigns() if not campaign.public],
        battle_id=battle_id,
        max_prompt_chars=found.settings.max_prompt_chars,
        max_comment_chars=MAX_COMMENT_CHARS,
        max_turns=found.settings.max_turns,
        reasons=REASONS,
    )
    return page, 200 if battle_id is None else _status(who, battle_id)


def _status(who: str, battle_id: str) -> int:
    """Of the voter's battle: the page itself explains why there is nothing to see."""
    try:
        services().battles.get(who, battle_id)
    except (NotFound, Erased) as error:
        return error.status
    return 200


def _chosen(campaigns: list[Campaign]) -> Campaign | None:
    """The campaign that is wished for, else the default one, else any; None when it is closed."""
    wish = schemas.word("campaign")
    open_ones = {campaign.id: campaign for campaign in campaigns}
    if wish is None:
        return open_ones.get(DEFAULT.id, next(iter(campaigns), None))
    return open_ones.get(context.campaign(wish).id)


@blueprint.get("/board")
def board() -> str:
    number = schemas.word("snapshot")
    if number:
        return _past_board(schemas.natural(number, "snapshot"))
    campaign = context.campaign(schemas.word("campaign"))
    wish = board_page.Wish.asked(campaign.id)
    published = _published(campaign, wish.category, wish.method)
    own = _published(campaign, wish.category, METHODS[0])
    offered = services().boards.offered(campaign)[campaign.id]
    return _page(
        "board.html",
        "board",
        campaign=campaign,
        campaigns=context.campaigns(),
        categories=_titles({*offered, wish.category}),
        methods=offered.get(wish.category, []),
        own_method=own and own.document["method"],
        sealings=services().sealings.told(campaign),
        **_shown(campaign, published, wish),
    )


def _past_board(number: int) -> str:
    """A board as it was published once, and is kept."""
    campaign, past = services().boards.past(number, context.campaigns())
    wish = replace(
        Wish.asked(campaign.id),
        category=past.document["category"],
        method=past.document["method"],
        snapshot=str(number),
    )
    return _page(
        "board.html",
        "board",
        campaign=campaign,
        campaigns=context.campaigns(),
        categories=_titles({wish.category}),
        methods=[],
        **_shown(campaign, past, wish),
    )


def _shown(campaign: Campaign, board: Encoded | None, wish: Wish) -> dict[str, Any]:
    """What of a board the reader asked for, if there is one."""
    return {
        "wish": wish,
        "columns": board_page.COLUMNS,
        "board": board and board.document,
        "table": board and board_page.table(board, wish),
        "rows": board and _board_table(board, campaign.id, wish, language()),
    }


@blueprint.get("/board/past")
def past_boards() -> str:
    """The boards that are kept of one category, the newest first."""
    campaign = context.campaign(schemas.word("campaign"))
    category = schemas.word("category") or OVERALL
    history = services().store.snapshots.history([campaign.id], _PAST_BOARDS, category)
    if category != OVERALL and not history:
        raise NotFound(f"Campaign '{campaign.id}' has no board of category '{category}'.")
    return _page(
        "past.html",
        "board",
        campaign=campaign,
        category=category,
        titles=_titles({category}),
        boards=history,
        sealings=services().sealings.told(campaign),
    )


def _published(campaign: Campaign, category: str, method: str) -> Encoded | None:
    """The board, or None where it may yet come; raises `NotFound` for a category that is none."""
    try:
        return services().boards.get(campaign, category, method)
    except NotFound:
        if category not in {OVERALL, *categories.TITLES}:
            raise
        return None


def _titles(keys: Collection[str]) -> dict[str, str]:
    """The titles of categories in the reader's language, in the order of menus."""
    ordered = categories.in_order(set(keys) - {OVERALL})
    return {key: getattr(categories.title(key), language()) for key in ordered}


@cached(
    LRUCache(_RENDERED, getsizeof=len),
    key=lambda published, *asked: (published.etag, *asked),
    lock=Lock(),
)
def _board_table(published: Encoded, campaign: str, wish: Wish, lang: str) -> Markup:
    """The rendered table; `lang` is the language of the request."""
    rendered = _page(
        "_board_table.html",
        "board",
        campaign=campaign,
        wish=wish,
        board=published.document,
        table=board_page.table(published, wish),
    )
    # half of what a browser makes of a large table would be the space between its elements
    return Markup(re.sub(r">\s+<", "><", rendered))  # noqa: S704  escaped by the template


@blueprint.get("/log")
def log() -> str:
    campaigns = context.campaigns()
    boards = {one.id: _published(one, OVERALL, METHODS[0]) for one in campaigns}
    return _page(
        "log.html",
        "log",
        campaigns=campaigns,
        position=services().store.votes.position(),
        head=_head(),
        key=services().signer.to_json(),
        formats=FORMATS,
        votes={name: _votes(board) for name, board in boards.items() if board is not None},
        sealings=services().sealings.told(*campaigns),
    )


def _head() -> Head | None:
    """The newest signed head of the log; None before the first one."""
    try:
        return services().proofs.head()
    except NotFound:
        return None


def _votes(board: Encoded) -> int:
    """How many votes a board counts; each stands in the rows of two models."""
    total: int = sum(row["votes"] for row in board.document["rows"])
    return total // 2


@blueprint.get("/log/receipt")
def receipt() -> str:
    return _page("receipt.html", "log")


@blueprint.get("/about")
def about() -> str:
    return _page("about.html", "about")


@blueprint.get("/api/docs")
@operation("This document, for readers", answers={200: "text/html", 403: "text/html"}, refusals=())
def docs() -> str:
    return _page("docs.html", "docs", api=document(current_app))
