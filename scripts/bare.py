"""What the benchmarks compare with: Flask, gunicorn and one row in a database, and nothing else."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
from flask import Flask, Response, jsonify, request

_ETAG = "constant"
_MOST_BODY = 2**20  # bytes
_TICK_SECONDS = 0.1


def make() -> Flask:
    """What gunicorn calls: `bare:make()`."""
    app = Flask("bare")
    app.config["MAX_CONTENT_LENGTH"] = _MOST_BODY  # the server wants to know
    local = threading.local()
    url = os.environ["BARE_DATABASE"]
    placeholder = "%s" if url.startswith("postgresql") else "?"
    insert = f"INSERT INTO bare (body) VALUES ({placeholder})"  # noqa: S608 - one of two marks

    def database() -> Any:
        if not hasattr(local, "connection"):
            if url.startswith("postgresql"):
                local.connection = psycopg.connect(url, autocommit=True)
            else:
                local.connection = sqlite3.connect(url, isolation_level=None, timeout=30)
                local.connection.execute("PRAGMA journal_mode=WAL")
                local.connection.execute("PRAGMA synchronous=FULL")
        return local.connection

    def answer() -> Response:
        return jsonify({"grade": 1, "model_a": "m0", "model_b": "m1", "receipt": "0" * 64})

    @app.post("/echo")
    def echo() -> Response:
        request.get_json()
        return answer()

    @app.post("/insert")
    def insert_one() -> Response:
        database().execute(insert, (request.get_data(as_text=True),))
        return answer()

    @app.get("/constant")
    def constant() -> Response:
        response = answer()
        response.set_etag(_ETAG)
        response.make_conditional(request)
        return response

    @app.get("/ticks/<int:count>")
    def ticks(count: int) -> Response:
        return Response(_written(count), mimetype="text/event-stream")

    return app


def _written(count: int) -> Iterator[str]:
    due = time.monotonic()
    for _ in range(count):
        due += _TICK_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))
        yield f"data: {time.monotonic() * 1000}\n\n"
