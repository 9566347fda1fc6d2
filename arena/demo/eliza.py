"""ELIZA (Weizenbaum 1966), a model of another kind, behind a small OpenAI-compatible server.

The engine and its script are those of the package `eliza-gpt`. Its server is not used: it
answers 500 to a text without letters or digits, 413 above 16 KiB, and its patterns can take half
a minute on one long line, for everyone at once.

Run as `python -m arena.demo.eliza FOLDER`; the address appears in `FOLDER/eliza.url`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

from arena.demo.process import follow_parent, publish_until_stopped

NAME = "eliza"
Answer = Callable[[list[str]], str]

_HEARD_CHARS = 400  # the patterns' time grows with the cube of the length: here about 20 ms
_SECONDS_PER_WORD = 0.04
_SPEAKER = "Eliza:"
_PROMPT = "\nYou: "


def load_engine() -> Answer:
    """ELIZA's answer to what a person has said so far, oldest first.

    Raises `ImportError` when the package is not installed.
    """
    engine = import_module("eliza_gpt.v1")
    lock = threading.Lock()  # the script remembers which of its lines came last

    def answer(said: list[str]) -> str:
        memory: list[str] = []
        reply = ""
        with lock:
            for text in said:
                reply = engine.run_eliza(
                    _heard(text),
                    engine.script,
                    engine.general_script["substitutions"],
                    memory,
                    engine.memory_inputs,
                )
        return reply.removesuffix(_PROMPT).removeprefix(_SPEAKER).strip() or "Please go on."

    return answer


def _heard(text: str) -> str:
    """The end of a text; the engine breaks where there is nothing but punctuation."""
    heard = text[-_HEARD_CHARS:]
    return heard if any(map(str.isalnum, heard)) else "nothing"


class _Handler(BaseHTTPRequestHandler):
    answer: Answer

    def do_POST(self) -> None:
        try:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = [m["content"] for m in question["messages"] if m["role"] == "user"]
            text = type(self).answer(said)
        except (KeyError, TypeError, ValueError, AttributeError):
            self.send_error(HTTPStatus.BAD_REQUEST, "This is not a chat completion request")
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        with suppress(ConnectionError):  # the client may leave at any time
            for event in _events(text):
                self.wfile.write(f"data: {event}\n\n".encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: this is a demo."""


def _events(text: str) -> Iterator[str]:
    words = text.split(" ")
    for number, word in enumerate(words):
        time.sleep(_SECONDS_PER_WORD)
        yield _chunk({"content": f" {word}" if number else word})
    yield _chunk({}, "stop")
    yield json.dumps({"choices": [], "usage": {"completion_tokens": len(words)}})
    yield "[DONE]"


def _chunk(delta: dict[str, str], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({"object": "chat.completion.chunk", "choices": [choice]})


def main(folder: Path) -> None:
    parent = follow_parent()
    (folder / f"{NAME}.url").unlink(missing_ok=True)
    # The package imports a module called `utils`, which must not be one in the user's folder.
    sys.path[:] = [place for place in sys.path if place not in ("", os.getcwd())]
    try:
        _Handler.answer = staticmethod(load_engine())
    except ImportError as error:
        sys.exit(f"The demo model ELIZA cannot start: {error}.")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    publish_until_stopped(folder, NAME, f"http://127.0.0.1:{server.server_port}/v1", parent)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
