"""The operator's area: signing in, and what all its pages share.

Every page works without JavaScript: forms are posted and answered by 303. Other parts of the area
are blueprints made by `operator_blueprint`, registered in `create_app` and named in `SECTIONS`.
"""

from __future__ import annotations

from typing import Any

from flask import (
    Blueprint,
    current_app,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from werkzeug.wrappers import Response as AnyResponse

from arena.clock import now
from arena.errors import TooMany, Unauthorized
from arena.interfaces import Act
from arena.views import schemas
from arena.views.context import (
    OPERATOR_COOKIE,
    OPERATOR_COOKIE_SECONDS,
    is_operator,
    is_secure,
    network,
    operator_cookie,
    require_operator,
    services,
)
from arena.views.language import remember, template_words

SECTIONS = (
    ("operator.overview", "overview"),
    ("operator_models.models", "models"),
    ("admin_campaigns.campaigns", "campaigns"),
    ("admin_moderation.moderation", "moderation"),
    ("operator.audit", "audit"),
)
"""The area's navigation: an endpoint, and the name of its text `admin.nav.…`."""

_ACTS_SHOWN = 50


def operator_blueprint(name: str, module: str) -> Blueprint:
    """A blueprint under `/admin` of which nothing is served to anybody but the operator."""
    blueprint = Blueprint(name, module, url_prefix="/admin")
    blueprint.before_request(only_operators)
    blueprint.after_request(remember)
    return blueprint


def only_operators() -> AnyResponse | None:
    """Let the operator pass; a page that was asked for without a token leads to the sign-in.

    Raises `Unauthorized` for everything else.
    """
    if is_operator():
        return None
    if request.method in ("GET", "HEAD") and "Authorization" not in request.headers:
        return redirect(url_for("operator.overview", next=request.path), 303)
    require_operator()
    return None


def operator_page(template: str, **values: Any) -> str:
    """Render a page of the area; its template extends `admin/base.html`."""
    served = current_app.view_functions
    places = dict(SECTIONS)
    homes = {place.split(".")[0]: name for place, name in SECTIONS}
    return render_template(
        template,
        page="admin",
        endpoint=request.endpoint,
        section=places.get(request.endpoint or "") or homes.get(request.blueprint or ""),
        sections=[section for section in SECTIONS if section[0] in served],
        **template_words(),
        **values,
    )


blueprint = Blueprint("operator", __name__, url_prefix="/admin")
blueprint.after_request(remember)


# --- sessions -----------------------------------------------------------------------------------


def _sign_in(problem: str | None = None) -> str:
    return render_template(
        "admin/sign_in.html",
        page="admin",
        problem=problem,
        closed=services().settings.admin_token is None,
        wish=_wish(),
        **template_words(),
    )


def _wish() -> str:
    """The page of the area that was asked for before the sign-in."""
    wish = request.values.get("next", "")
    return wish if wish.startswith("/admin/") else "/admin"


@blueprint.post("/session")
def sign_in() -> AnyResponse:
    """Open a session for the right token."""
    audit = services().store.audit
    try:
        cookie = operator_cookie(request.form.get("token", ""))
    except Unauthorized:
        if services().settings.admin_token is not None:
            audit.add(Act(now(), "session.refused", details={"network": network()}))
        return make_response(_sign_in("wrong"), Unauthorized.status)
    except TooMany as error:
        refused = make_response(_sign_in("too_many"), error.status)
        refused.headers["Retry-After"] = str(error.retry_after)
        return refused
    audit.add(Act(now(), "session.open", details={"network": network()}))
    response = redirect(_wish(), 303)
    response.set_cookie(
        OPERATOR_COOKIE,
        cookie,
        max_age=OPERATOR_COOKIE_SECONDS,
        httponly=True,
        samesite="Strict",
        secure=is_secure(),
    )
    return response


@blueprint.post("/session/end")
def sign_out() -> AnyResponse:
    """End this browser's session."""
    require_operator()
    services().store.audit.add(Act(now(), "session.end", details={"network": network()}))
    response = redirect(url_for("operator.overview"), 303)
    response.delete_cookie(OPERATOR_COOKIE, httponly=True, samesite="Strict")
    return response


# --- overview and audit -------------------------------------------------------------------------


@blueprint.get("")
def overview() -> AnyResponse | str:
    """The state of everything; to others, the sign-in."""
    if not is_operator():
        return _sign_in()
    return operator_page("admin/overview.html", vitals=services().vitals.look(), at=now())


@blueprint.get("/audit")
def audit() -> AnyResponse | str:
    """What operators did, newest first."""
    refused = only_operators()
    if refused is not None:
        return refused
    before = schemas.whole_number("before", 0)
    entries = services().store.audit.page(before or None, _ACTS_SHOWN + 1)
    return operator_page(
        "admin/audit.html",
        entries=entries[:_ACTS_SHOWN],
        plain=_plain,
        older=entries[_ACTS_SHOWN - 1].n if len(entries) > _ACTS_SHOWN else None,
        is_newest=not before,
    )


def _plain(value: Any) -> str:
    """A detail of an act in words."""
    match value:
        case None:
            return "–"
        case dict():
            return ", ".join(f"{name} {_plain(part)}" for name, part in value.items()) or "–"
        case list():
            return ", ".join(map(_plain, value)) or "–"
    return str(value)


def plain(text: str) -> str:
    """One line of what can be seen."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
