"""The operator's reports and votes: what was reported, taken down, flagged, excluded."""

from __future__ import annotations

from flask import redirect, request, url_for
from werkzeug.wrappers import Response

from arena.battle import Grade
from arena.errors import Conflict, InvalidField
from arena.moderation import MAX_REASON_CHARS, Moderation
from arena.views import schemas
from arena.views.admin import operator_blueprint, operator_page
from arena.views.context import services

blueprint = operator_blueprint("admin_moderation", __name__)

_DONE = ("dismissed", "taken_down", "excluded")


def _moderation() -> Moderation:
    return Moderation(services().store, services().live)


@blueprint.get("/moderation")
def moderation() -> str:
    """Open reports, the vote that is looked for, and the votes that something was said of."""
    return _page()


def _page(problem: str | None = None) -> str:
    wanted = (schemas.word("find") or "").strip()
    found = _moderation().find(wanted) if wanted else None
    done = request.args.get("done")
    return operator_page(
        "admin/moderation.html",
        wanted=wanted,
        found=found,
        cases=[case for case in _moderation().open_cases() if not case.is_same_as(found)],
        remarked=_moderation().remarked(),
        names={entry.id: entry.name for entry in services().store.roster.current().entries},
        grades={int(grade): grade.name for grade in Grade},
        max_reason_chars=MAX_REASON_CHARS,
        done=done if done in _DONE else None,
        problem=problem,
    )


@blueprint.post("/moderation/battles/<battle_id>/dismiss")
def dismiss(battle_id: str) -> Response:
    """Close the reports about a battle."""
    _moderation().dismiss(battle_id)
    return _back("dismissed")


@blueprint.post("/moderation/battles/<name>/take-down")
def take_down(name: str) -> Response:
    """Erase for good the text of a battle, or of a vote whose battle is not here."""
    _moderation().take_down(name)
    return _back("taken_down")


@blueprint.post("/moderation/votes/<vote_id>/exclude")
def exclude(vote_id: str) -> Response | tuple[str, int]:
    """Leave a vote out of the boards."""
    try:
        _moderation().exclude(vote_id, request.form.get("reason", ""))
    except InvalidField as error:
        return _page("reason"), error.status
    except Conflict as error:
        return _page("excluded"), error.status
    return _back("excluded")


def _back(done: str) -> Response:
    """To the vote that was looked for, if one was."""
    wanted = request.args.get("find")
    return redirect(url_for("admin_moderation.moderation", find=wanted, done=done), 303)
