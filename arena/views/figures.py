"""Pictures of a board with their numbers."""

from __future__ import annotations

import re
from functools import partial

from flask import Blueprint, Response, render_template

from arena.boards import OVERALL
from arena.errors import NotFound
from arena.figures import Row
from arena.interfaces import Campaign
from arena.views import context, schemas
from arena.views.context import services
from arena.views.gallery import (
    COURSES,
    NAMES,
    TOPS,
    Figure,
    Gallery,
    address,
    category_title,
    file_address,
    models_of_history,
    top,
)
from arena.views.language import language, moment, remember, template_words, text
from arena.views.openapi import operation

blueprint = Blueprint("figures", __name__)
blueprint.after_request(remember)

_BOARD = {
    "campaign": "Default: the open campaign.",
    "category": f"Default: {OVERALL}.",
}
_VALIDATOR = {"If-None-Match": "The `ETag` you have: 304 while it is the newest."}


# --- numbers ------------------------------------------------------------------------------------


@blueprint.get("/api/board/pairs")
@operation(
    "What every two models of a board did against each other",
    answers={200: schemas.PairsView, 304: None},
    refusals=(404, 422, 503),
    query=_BOARD,
    headers=_VALIDATOR,
    gives={"ETag": "Changes with the counts, at most every 30 seconds."},
)
def pairs() -> Response:
    campaign, category = _place()
    found = services().figures.sent(campaign, category)
    if found is None:
        raise NotFound("No pairs of this board have been published. /api/boards lists the boards.")
    return context.kept_by_validator(campaign, *found)


@blueprint.get("/api/board/history")
@operation(
    "How ratings went: models on the boards that are kept, oldest first",
    answers={200: schemas.HistoryView, 304: None},
    refusals=(404, 422, 503),
    query={**_BOARD, "model": f"Default: the {COURSES} best of the board."},
    headers=_VALIDATOR,
    gives={"ETag": "Changes with the points."},
)
def history() -> Response:
    campaign, category = _place()
    board = services().boards.get(campaign, category).document
    models = models_of_history(board, schemas.word("model"))
    answer = services().figures.history(campaign, category, models)
    return context.kept_by_validator(campaign, answer.body, answer.etag)


def _place() -> tuple[Campaign, str]:
    """The campaign and the category that are asked for."""
    campaign = context.campaign(schemas.word("campaign"))
    return campaign, schemas.word("category") or OVERALL


# --- pictures -----------------------------------------------------------------------------------


@blueprint.get("/board/figures")
def page() -> str:
    campaign, category = _place()
    found = services()
    offered = found.boards.offered(campaign).get(campaign.id, {})
    try:
        board: Row | None = found.boards.get(campaign, category).document
    except NotFound:
        if category != OVERALL:
            raise
        board = None  # the worker has not published yet
    gallery = None if board is None else Gallery(campaign, category, board)
    return render_template(
        "figures.html",
        page="board",
        campaign=campaign,
        category=category,
        board=board,
        gallery=gallery,
        figures=[] if gallery is None else [gallery.figure(name) for name in NAMES],
        names=NAMES,
        tops=TOPS,
        campaigns=context.campaigns(),
        categories=[(key, category_title(key)) for key in offered],
        category_title=category_title(category),
        address=partial(address, campaign, category),
        files=partial(file_address, campaign, category, None),
        top=top(),
        **template_words(),
    )


@blueprint.get("/board/figures/<name>.<form>")
def file(name: str, form: str) -> Response:
    """A picture as SVG or its numbers as CSV, to keep."""
    if name not in NAMES or form not in ("svg", "csv"):
        raise NotFound("There is no such picture.")
    campaign, category = _place()
    board = services().boards.get(campaign, category).document
    gallery = Gallery(campaign, category, board, schemas.word("model"))
    figure = gallery.figure(name)
    if figure is None:
        raise NotFound("There are no votes for this picture yet.")
    parts = (campaign.id, *([category] if category != OVERALL else []), name)
    kept = re.sub(r"[^A-Za-z0-9.-]+", "-", "-".join(["arena", *parts]))
    content = figure.table.to_csv() if form == "csv" else _svg(gallery, figure)
    return Response(
        content,
        mimetype={"csv": "text/csv", "svg": "image/svg+xml"}[form],
        headers={"Content-Disposition": f'attachment; filename="{kept}.{form}"'},
    )


def _svg(gallery: Gallery, figure: Figure) -> str:
    lang, campaign = language(), gallery.campaign
    title = campaign.title_zh if lang == "zh" and campaign.title_zh else campaign.title
    parts = [title, category_title(gallery.category)]
    parts += [text(lang, "board.as_of", position=f"{figure.log_position:,}")]
    parts += [moment(lang, gallery.board["published_at"])]
    return figure.picture.file(" · ".join(parts), [figure.picture.description])
