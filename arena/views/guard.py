"""What holds for every request and answer: origin check, headers, cookie, errors."""

from __future__ import annotations

import json
import logging

from flask import Flask, Response, g, render_template, request
from werkzeug import exceptions
from werkzeug.exceptions import HTTPException

from arena import logs
from arena.errors import (
    CrossOrigin,
    InvitationNeeded,
    MalformedRequest,
    NotFound,
    RequestError,
    TooLarge,
    Unauthorized,
)
from arena.views.access import name_problem
from arena.views.context import (
    VOTER_COOKIE,
    VOTER_COOKIE_SECONDS,
    is_secure,
    known_voter,
    network,
    reader,
    services,
)
from arena.views.language import template_words
from arena.views.openapi import PROBLEM_TYPE
from arena.views.rates import limited_as, rates

_log = logging.getLogger(__name__)

_LONGEST_TEXT = 300  # what a client sent is not sent back at any length
_FOR_PROGRAMS = ("/api/", "/healthz", "/readyz", "/metrics")
_OPEN_TO_STRANGERS = ("/static/", "/join/", "/admin", "/healthz", "/readyz", "/metrics")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types dompurify"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), browsing-topics=()",
    # Not no-referrer: with it browsers post our own forms with "Origin: null".
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def install(app: Flask) -> None:
    """Put the guard before and behind every view of the app."""
    app.before_request(_refuse_other_origins)
    app.before_request(_refuse_too_often)
    app.before_request(_refuse_strangers)
    app.after_request(_finish)
    app.register_error_handler(RequestError, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _defect)


def _refuse_other_origins() -> None:
    """A page of another site must not act for a voter; clients without a browser send no Origin."""
    if request.method in _SAFE_METHODS:
        return
    origin = request.headers.get("Origin")
    foreign = (
        request.headers.get("Sec-Fetch-Site") == "cross-site"
        if origin is None
        else origin not in (f"http://{request.host}", f"https://{request.host}")
    )
    if foreign:
        raise CrossOrigin("Requests that change something must come from this site's own pages.")


def _refuse_too_often() -> None:
    """Raises `TooOften`. Whoever has no cookie, or drops it, is held by the network's rate."""
    found = services()
    what = limited_as(request.endpoint, request.method)
    if what is None:
        return
    of_voter, of_network = rates(found.settings, what)
    for rate, key in ((of_voter, known_voter()), (of_network, network())):
        if key is not None and not found.limits.hit(rate, key):
            raise found.limits.refusal(rate, key)


def _refuse_strangers() -> None:
    """In an arena that is private altogether, a stranger sees only that an invitation is needed."""
    found = services()
    if (
        found.settings.private
        and not request.path.startswith(_OPEN_TO_STRANGERS)
        and not found.campaigns.admits(reader())
    ):
        raise InvitationNeeded("This arena is for invited people only.")


def _finish(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    if "new_voter_cookie" in g:
        response.set_cookie(
            VOTER_COOKIE,
            g.new_voter_cookie,
            max_age=VOTER_COOKIE_SECONDS,
            httponly=True,
            samesite="Lax",
            secure=is_secure(),
        )
    return response


def _answer(status: int, slug: str, title: str, detail: str, field: str | None) -> Response:
    """A problem for programs, a page for people."""
    detail = _shortened(detail)
    name_problem(slug)
    if request.path.startswith(_FOR_PROGRAMS) and request.path != "/api/docs":
        body = {
            "type": PROBLEM_TYPE.format(slug=slug),
            "title": title,
            "status": status,
            "detail": detail,
            "request_id": logs.request_id(),
        }
        if field is not None:
            body["field"] = _shortened(field)
        return Response(
            json.dumps(body, ensure_ascii=False), status, mimetype="application/problem+json"
        )
    page = render_template(
        "error.html", page="error", status=status, slug=slug, detail=detail, **template_words()
    )
    return Response(page, status, mimetype="text/html")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def _refused(error: RequestError) -> Response:
    response = _answer(error.status, error.slug, error.title, error.detail, error.field)
    if isinstance(error, Unauthorized):
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _http_error(error: HTTPException) -> Response:
    match error:
        case exceptions.RequestEntityTooLarge():
            limit = services().settings.max_body_bytes
            return _refused(TooLarge(f"The body may have at most {limit} bytes."))
        case exceptions.NotFound():
            return _refused(NotFound("There is nothing at this address."))
        case exceptions.BadRequest():
            return _refused(MalformedRequest("The request cannot be understood."))
    status, title = error.code or 500, error.name
    slug = title.lower().replace(" ", "-")
    response = _answer(status, slug, title, error.description or title, None)
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _defect(error: Exception) -> Response:
    _log.exception("a defect of ours at %s %s", request.method, request.url_rule, exc_info=error)
    return _answer(
        500, "internal-error", "Internal error", "This is our fault, and it has been logged.", None
    )
