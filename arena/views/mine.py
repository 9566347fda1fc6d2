"""`/mine`: the voter's own battles and what may be done with them, by forms that need no script."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from arena.battle import Grade
from arena.views.battle_api import LISTED, battles_page, check_id
from arena.views.context import (
    INVITATIONS_COOKIE,
    VOTER_COOKIE,
    campaigns,
    known_voter,
    services,
)
from arena.views.language import remember, template_words

blueprint = Blueprint("own", __name__, url_prefix="/mine")
blueprint.url_value_preprocessor(check_id)
blueprint.after_request(remember)

_DONE = ("deleted", "unshared", "forgotten")


@blueprint.get("")
def battles() -> str:
    """One page of the battles; a stranger gets no cookie for looking."""
    found, older = battles_page(LISTED)
    done = request.args.get("done")
    return render_template(
        "mine.html",
        page="mine",
        battles=found,
        older=older,
        before=request.args.get("before"),
        titles={campaign.id: campaign for campaign in campaigns()},
        grades={int(grade): grade.name for grade in Grade},
        done=done if done in _DONE else None,
        is_known=known_voter() is not None,
        retention_days=services().settings.retention_days,
        **template_words(),
    )


@blueprint.post("/<battle_id>/delete")
def delete(battle_id: str) -> Response:
    """Erase the text of one battle."""
    if who := known_voter():
        services().belongings.erase(who, battle_id)
    return _back("deleted")


@blueprint.post("/<battle_id>/unshare")
def unshare(battle_id: str) -> Response:
    """Let nobody else read it any more."""
    if who := known_voter():
        services().battles.unshare(who, battle_id)
    return _back("unshared")


@blueprint.post("/forget")
def forget() -> Response:
    """Erase everything, and be a stranger from now on."""
    if who := known_voter():
        services().belongings.forget(who)
    response = redirect(url_for("own.battles", done="forgotten"), 303)
    for cookie in (VOTER_COOKIE, INVITATIONS_COOKIE):
        response.delete_cookie(cookie, httponly=True, samesite="Lax")
    return response


def _back(done: str) -> Response:
    """To the page that the form stood on."""
    return redirect(url_for("own.battles", before=request.args.get("before"), done=done), 303)
