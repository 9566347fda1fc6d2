"""Readers who have the newest board already, answered before anything else is done.

Many ask for one board again and again, and most of them have it. Once one of them was told so
(304), the same answer is given for a moment to everybody who asks the same. It is given neither to
guests nor to the operator, who may see more than others, and it costs less than counting the
request for a limit would.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask

from arena.views.access import name_route
from arena.views.context import INVITATIONS_COOKIE, OPERATOR_COOKIE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PATH = "/api/board"
_SECONDS = 0.1
_MOST = 256  # what they ask for is theirs to choose
_NOT_MODIFIED = "304 NOT MODIFIED"
_OF_ONE_ANSWER = frozenset({"date", "set-cookie"})

_Headers = list[tuple[str, str]]
_Asked = tuple[str, str, str]


def install(app: Flask) -> None:
    """Put the short cut before the app."""
    app.wsgi_app = _ShortCut(app.wsgi_app)  # type: ignore[method-assign]  # Flask's own way


class _ShortCut:
    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._told: dict[_Asked, tuple[float, _Headers]] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = _asked(environ)
        if asked is None:
            return self._app(environ, start_response)
        until, headers = self._told.get(asked, (0.0, []))
        if time.monotonic() < until:
            name_route(environ, _PATH)
            start_response(_NOT_MODIFIED, list(headers))
            return ()
        return self._app(environ, self._remembering(asked, start_response))

    def _remembering(self, asked: _Asked, start_response: StartResponse) -> StartResponse:
        def start(status: str, headers: _Headers, exc_info: Any = None) -> Any:
            if status == _NOT_MODIFIED:
                if len(self._told) >= _MOST:
                    self._told.clear()
                kept = [pair for pair in headers if pair[0].lower() not in _OF_ONE_ANSWER]
                self._told[asked] = (time.monotonic() + _SECONDS, kept)
            return start_response(status, headers, exc_info)

        return start


def _asked(environ: WSGIEnvironment) -> _Asked | None:
    """What a reader like any other asks for; None for everything else."""
    validator = environ.get("HTTP_IF_NONE_MATCH")
    if environ.get("PATH_INFO") != _PATH or environ["REQUEST_METHOD"] != "GET" or validator is None:
        return None
    cookies = environ.get("HTTP_COOKIE", "")
    if OPERATOR_COOKIE in cookies or INVITATIONS_COOKIE in cookies:
        return None
    if "HTTP_AUTHORIZATION" in environ:
        return None
    return environ.get("QUERY_STRING", ""), validator, environ.get("HTTP_ACCEPT_ENCODING", "")
