"""Small OpenAI-compatible endpoints for tests: the request's `model` says how it behaves."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKENS = {"quick": (12, 0.005), "brisk": (20, 0.04), "steady": (60, 0.05)}
"""By model: how many tokens, and the seconds between two."""


def words(model: str) -> list[str]:
    """The tokens that a model answers with."""
    return [f"{model}{number} " for number in range(TOKENS[model][0])]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["model"] == "broken":
            self.send_error(400, "this model always fails")
            return
        self.begin()
        with suppress(OSError):  # the reader went away
            for word in words(body["model"]):
                time.sleep(TOKENS[body["model"]][1])
                self.send({"index": 0, "delta": {"content": word}, "finish_reason": None})
            self.send({"index": 0, "delta": {}, "finish_reason": "stop"})
            self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()

    def send(self, choice: dict[str, object]) -> None:
        self.wfile.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def _served(handler: type[_Handler]) -> Iterator[str]:
    """Serve on a free port; yields the base URL for `arena.toml`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def upstream() -> Iterator[str]:
    """Serve on a free port; yields the base URL for `arena.toml`."""
    with _served(_Handler) as url:
        yield url


def roster(base_url: str, behaviours: list[str]) -> str:
    """An `arena.toml` with one model for each behaviour, `model-0`, `model-1`, …"""
    return "".join(
        f'[[models]]\nid = "model-{number}"\nmodel = "{behaviour}"\nbase_url = "{base_url}"\n'
        for number, behaviour in enumerate(behaviours)
    )


@dataclass
class Reply:
    """How a model of a `Stage` answers: pieces of `text`, `pause` seconds apart.

    It waits for `gate` (if any) before the piece `gate_at`. `status` other than 200 refuses;
    with `breaks` the connection ends without a finish reason.
    """

    text: str = "An answer."
    pieces: int = 4
    pause: float = 0.02
    finish: str = "stop"
    status: int = 200
    breaks: bool = False
    gate: threading.Event | None = None
    gate_at: int = 0

    def parts(self) -> list[str]:
        size = max(1, -(-len(self.text) // self.pieces))
        return [self.text[start : start + size] for start in range(0, len(self.text), size)]


class Stage:
    """An OpenAI-compatible endpoint of models `left` and `right` whose answers a test decides."""

    MODELS = ("left", "right")

    def __init__(self) -> None:
        self.replies = {model: Reply() for model in self.MODELS}
        self.asked: list[dict[str, Any]] = []
        self.url = ""

    def says(self, text: str, **how: Any) -> None:
        """Both models answer so from now on."""
        self.replies = {model: Reply(text, **how) for model in self.MODELS}

    def roster(self) -> str:
        """Its `arena.toml`."""
        return "".join(
            f'[[models]]\nid = "{model}"\nname = "The {model} one"\norganization = "Stage"\n'
            f'model = "{model}"\nbase_url = "{self.url}"\n'
            for model in self.MODELS
        )

    @contextmanager
    def open(self) -> Iterator[Stage]:
        """Serve on a free port."""
        stage = self

        class Handler(_Handler):
            def do_POST(self) -> None:
                stage.answer(self)

        with _served(Handler) as self.url:
            yield self

    def answer(self, handler: _Handler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        self.asked.append(body)
        reply = self.replies[body["model"]]
        if reply.status != HTTPStatus.OK:
            handler.send_error(reply.status, "as the test wished")
            return
        handler.begin()
        with suppress(OSError):  # the reader went away
            for number, part in enumerate(reply.parts()):
                if reply.gate is not None and number == reply.gate_at:
                    reply.gate.wait(60)
                time.sleep(reply.pause)
                handler.send({"index": 0, "delta": {"content": part}, "finish_reason": None})
            if not reply.breaks:
                handler.send({"index": 0, "delta": {}, "finish_reason": reply.finish})
                handler.wfile.write(b"data: [DONE]\n\n")
        handler.close_connection = True
