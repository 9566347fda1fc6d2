"""One log line and the request's metrics for everything that is answered, and the request's id.

A line has the route's template and no path, query, header, cookie or address: those may hold what
nobody but the voter should know.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from flask import Flask, request

from arena import logs, metrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9A-Fa-f-]{16,64}")  # of nginx, UUIDs, trace ids; no room for a message
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = frozenset({"/static/<path:filename>", "/healthz", "/readyz", "/metrics"})
_ROUTE, _PROBLEM = "arena.route", "arena.problem"
_FIRST_REFUSAL = 400


def install(app: Flask) -> None:
    """Watch every request of the app, those that its guard refuses too."""
    app.before_request(_name_route)
    app.wsgi_app = _Watch(app.wsgi_app)  # type: ignore[method-assign]  # Flask's own way


def name_problem(slug: str) -> None:
    """Say of which type the refusal of this request is."""
    request.environ[_PROBLEM] = slug


def name_route(environ: WSGIEnvironment, rule: str) -> None:
    """Say to which route a request went; of those that reach the app it is known."""
    environ[_ROUTE] = rule


def _name_route() -> None:
    if request.url_rule is not None:
        name_route(request.environ, request.url_rule.rule)


class _Watch:
    """The app with a watcher around each request."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(16)
        logs.bind(request_id=request_id)
        answer = _Answer(environ)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            answer.begins(int(status[:3]), headers)
            return start_response(status, [*headers, ("X-Request-ID", request_id)], exc_info)

        answer.body = self._app(environ, start)
        return answer


class _Answer:
    """The body on its way out; its end is the request's end."""

    def __init__(self, environ: WSGIEnvironment) -> None:
        self.body: Iterable[bytes] = ()
        self._environ = environ
        self._started = time.perf_counter()
        self._status = 0
        self._streams = False
        self._bytes = 0

    def begins(self, status: int, headers: list[tuple[str, str]]) -> None:
        self._status = status
        self._streams = ("Content-Type", "text/event-stream; charset=utf-8") in headers
        if self._streams:
            metrics.STREAMS.labels(self._route).inc()

    @property
    def _route(self) -> str:
        return str(self._environ.get(_ROUTE, "none"))

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.body:
            self._bytes += len(piece)
            yield piece

    def close(self) -> None:
        """Called by the server, also when the reader went away."""
        try:
            if hasattr(self.body, "close"):
                self.body.close()
        finally:
            self._tell()
            logs.clear()

    def _tell(self) -> None:
        seconds = time.perf_counter() - self._started
        method = self._environ["REQUEST_METHOD"]
        method = method if method in _METHODS else "other"
        route, problem = self._route, self._environ.get(_PROBLEM)
        metrics.REQUESTS.labels(route, method, self._status).inc()
        if self._streams:
            metrics.STREAMS.labels(route).dec()
        else:
            metrics.REQUEST_TIME.labels(route).observe(seconds)
        if problem is not None:
            metrics.REFUSALS.labels(route, problem).inc()
        quiet = route in _QUIET and self._status < _FIRST_REFUSAL
        fields = {
            "method": method,
            "route": route,
            "status": self._status,
            "ms": round(seconds * 1000, 1),
            "bytes": self._bytes,
            **({} if problem is None else {"problem": problem}),
        }
        _log.log(logging.DEBUG if quiet else logging.INFO, "request", extra={"fields": fields})
