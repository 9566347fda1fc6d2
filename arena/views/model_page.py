"""A page for each model: its profile, its place on the boards, its opponents, shared battles."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import Blueprint, render_template
from markupsafe import Markup

from arena import figures, figures_svg, roster
from arena.boards import OVERALL
from arena.errors import NotFound
from arena.figures import Row
from arena.interfaces import Campaign, Summary
from arena.views import blindness, context, schemas
from arena.views.context import services
from arena.views.gallery import Gallery, category_title, file_address
from arena.views.language import language, remember, template_words, text

blueprint = Blueprint("models", __name__)
blueprint.after_request(remember)

_OPPONENTS = 5
_BATTLES = 10


@blueprint.get("/models/<path:model>")
def model(model: str) -> str:
    campaign, profile, board = _known(model)
    row = next((row for row in board["rows"] if row["model"] == model), None) if board else None
    gallery = None if board is None else Gallery(campaign, OVERALL, board, model)
    is_rated = row is not None and row["rating"] is not None
    opponents = gallery.pairs.opponents(model) if is_rated and gallery and gallery.pairs else []
    half = min(_OPPONENTS, (len(opponents) + 1) // 2)
    weakest, strongest = opponents[:half], opponents[half:][-_OPPONENTS:][::-1]
    audit = blindness.newest(campaign)
    recognised = blindness.of_model(audit, model)
    names = {} if board is None else {row["model"]: row["name"] for row in board["rows"]}
    return render_template(
        "model.html",
        page="board",
        model=model,
        profile=profile,
        campaign=campaign,
        elsewhere=_campaigns_of(model),
        board=board,
        row=row if is_rated else None,
        void_rate=row and row["void_rate"],
        outcomes=_outcomes(board, row) if board and row and is_rated else [],
        history=gallery.figure("history") if gallery and is_rated else None,
        weakest=weakest,
        strongest=strongest,
        few=figures.FEW_VOTES,
        names=names,
        strengths=_strengths(campaign, model, board) if board and is_rated else [],
        category_title=category_title,
        battles=_shared(model, campaign),
        audit=audit,
        recognised=recognised,
        recognised_picture=_picture(recognised) if recognised else None,
        files=partial(file_address, campaign, OVERALL, model),
        **template_words(),
    )


def _known(model: str) -> tuple[Campaign, dict[str, Any], Row | None]:
    """The campaign to show, what is known of the model, and the board.

    Raises `NotFound` where the reader may see no campaign that has the model.
    """
    if "\x00" in model:
        raise NotFound("There is no such model.")
    wish = schemas.word("campaign")
    tried = context.campaigns() if wish is None else [context.campaign(wish)]
    listed = {
        one["id"]: one for one in roster.public(services().store.roster.history(), _ids(tried))
    }
    boards = [(campaign, _board(campaign)) for campaign in tried]
    for campaign, board in boards:
        rows = [] if board is None else board["rows"]
        row = next((row for row in rows if row["model"] == model), None)
        if row is not None:
            return campaign, {**row, **listed.get(model, {})}, board
    if model in listed and boards:
        return boards[0][0], listed[model], boards[0][1]
    raise NotFound("There is no such model on the boards that you may see.")


def _ids(campaigns: list[Campaign]) -> set[str]:
    return {campaign.id for campaign in campaigns}


def _board(campaign: Campaign, category: str = OVERALL) -> Row | None:
    try:
        return services().boards.get(campaign, category).document
    except NotFound:
        return None  # not published yet


def _campaigns_of(model: str) -> list[Campaign]:
    """The campaigns on whose boards the model stands."""
    boards = ((campaign, _board(campaign)) for campaign in context.campaigns())
    return [
        campaign
        for campaign, board in boards
        if board is not None and any(row["model"] == model for row in board["rows"])
    ]


def _picture(recognised: Row) -> Markup:
    t = partial(text, language())
    name = t("figures.title.blindness")
    drawn = figures_svg.blindness(
        [("", recognised["told_pair"])], name, t("figures.reading.blindness")
    )
    return Markup(drawn.inline())  # noqa: S704  as in `gallery.Figure`


def _outcomes(board: Row, row: Row) -> list[tuple[str, int]]:
    """The model's votes in parts, by name."""
    parts = figures.outcomes(row, graded=figures.is_graded(board))
    return list(zip(figures.OUTCOMES[len(parts)], parts, strict=True))


def _strengths(campaign: Campaign, model: str, whole: Row) -> list[figures.Strength]:
    """The model on the boards of all categories, best first."""
    offered = services().boards.offered(campaign).get(campaign.id, {})
    found = [
        strength
        for category in offered
        if category != OVERALL
        and (board := _board(campaign, category)) is not None
        and (strength := figures.strength(model, category, board, whole)) is not None
    ]
    return sorted(found, key=lambda one: -one.lead)


def _shared(model: str, campaign: Campaign) -> list[Summary]:
    return services().store.battles.shared_with(model, [campaign.id], _BATTLES)
