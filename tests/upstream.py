"""A small OpenAI-compatible endpoint for tests: the request's `model` says how it behaves."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKENS = {"quick": (12, 0.005), "steady": (60, 0.05)}
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
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        with suppress(OSError):  # the reader went away
            for word in words(body["model"]):
                time.sleep(TOKENS[body["model"]][1])
                self._send({"index": 0, "delta": {"content": word}, "finish_reason": None})
            self._send({"index": 0, "delta": {}, "finish_reason": "stop"})
            self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _send(self, choice: dict[str, object]) -> None:
        self.wfile.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def upstream() -> Iterator[str]:
    """Serve on a free port; yields the base URL for `arena.toml`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def roster(base_url: str, behaviours: list[str]) -> str:
    """An `arena.toml` with one model for each behaviour, `model-0`, `model-1`, …"""
    return "".join(
        f'[[models]]\nid = "model-{number}"\nmodel = "{behaviour}"\nbase_url = "{base_url}"\n'
        for number, behaviour in enumerate(behaviours)
    )
