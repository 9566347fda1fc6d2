"""What the chunks of an OpenAI-compatible chat completion say: text, ending, token count."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from arena.endpoints.sse import Event
from arena.endpoints.text import TextCleaner, quote
from arena.errors import EndpointBroken

ENDINGS = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "eos": "stop",  # Together: together-python, types/common.py, FinishReason
    "model_length": "length",  # Mistral: OpenAPI document, ChatCompletionChoice.finish_reason
}
"""Every ending we know, as the API's own three. `tool_calls` is none: we offer no tools."""

_MOST_TOKENS = 2**31 - 1  # what an SQL integer holds; more is no honest count


class Reply:
    """What the events of one answer have said so far."""

    def __init__(self, key: str | None) -> None:
        self.finish: str | None = None
        self.tokens: int | None = None
        self.complete = False
        self._key = key
        self._cleaner = TextCleaner()

    def take(self, events: Sequence[Event], part: str = "delta") -> str:
        """The text that these events add. Raises `EndpointBroken` for what is no answer."""
        texts = []
        for event in events:
            if event.data == "[DONE]":
                self.complete = True
                break
            if self.finish is None:
                texts.append(self._chunk(event, part))
            else:
                self._late(event)
        text = self._cleaner.clean("".join(texts))
        return text if self.finish is None else text + self._cleaner.end()

    def _chunk(self, event: Event, part: str) -> str:
        chunk = self._parse(event)
        self._count(chunk)
        choice = _first_choice(chunk)
        text = _content(_object(choice.get(part) or {}, part))
        finish = choice.get("finish_reason")
        if finish:
            self.finish = ENDINGS.get(finish) if isinstance(finish, str) else None
            if self.finish is None:
                said = quote(str(finish), self._key)
                raise EndpointBroken(f"The answer ended with the unknown finish_reason '{said}'.")
        return text

    def _parse(self, event: Event) -> dict[str, Any]:
        try:
            chunk = json.loads(event.data)
        except (ValueError, RecursionError):
            if event.event != "error":
                said = quote(event.data, self._key)
                raise EndpointBroken(f"The endpoint sent malformed JSON: {said}") from None
            chunk = None
        error = error_message(chunk)
        if error is not None or event.event == "error":
            said = quote(error or event.data, self._key)
            raise EndpointBroken(f"The endpoint reported an error: {said}")
        return _object(chunk, "chunk")

    def _late(self, event: Event) -> None:
        """After the end only the token count is of interest, and nothing can be wrong any more."""
        try:
            self._count(_object(json.loads(event.data), "chunk"))
        except (ValueError, RecursionError, EndpointBroken):
            return

    def _count(self, chunk: dict[str, Any]) -> None:
        usage = chunk.get("usage")
        tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
        if type(tokens) is int and 0 <= tokens <= _MOST_TOKENS:
            self.tokens = tokens


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise EndpointBroken(f"The endpoint sent a {what} that is not a JSON object.")
    return value


def _first_choice(chunk: dict[str, Any]) -> dict[str, Any]:
    """The first answer's part of a chunk; empty where a chunk carries something else."""
    choices = chunk.get("choices") or []
    if not isinstance(choices, list):
        raise EndpointBroken("The endpoint sent choices that are not a list.")
    for choice in choices:
        if not _object(choice, "choice").get("index"):
            return _object(choice, "choice")
    return {}


def _content(message: dict[str, Any]) -> str:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise EndpointBroken("The endpoint sent content that is neither text nor parts.")
    parts = [_object(part, "part") for part in content]
    # Parts of other types (a model's thinking, say) are not the answer.
    texts = [part.get("text") for part in parts if part.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


def error_message(payload: Any) -> str | None:
    """What a JSON error says; None when the payload reports no error.

    Known shapes: `{"error": {"message": …}}`, `{"error": "…"}`.
    """
    error = payload.get("error") if isinstance(payload, dict) else None
    if not error:
        return None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else json.dumps(error)
