"""OpenAI-compatible chat completions: `POST {base_url}/chat/completions`, streamed as SSE."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from arena import __version__
from arena.endpoints.sse import Event, EventDecoder
from arena.endpoints.text import TextCleaner, quote
from arena.endpoints.transport import WireTransport
from arena.endpoints.wire import READ_EVERY, Wire
from arena.errors import (
    BadSetting,
    EndpointBroken,
    EndpointEmpty,
    EndpointError,
    EndpointRefused,
    EndpointUnreachable,
)
from arena.interfaces import Deadlines, Finished, Message, ModelEntry

FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "eos": "stop",  # Together: together-python, types/common.py, FinishReason
    "model_length": "length",  # Mistral: OpenAPI document, ChatCompletionChoice.finish_reason
}
"""Every ending we know, as the API's own three. `tool_calls` is none: we offer no tools."""

RESERVED_PARAMETERS = frozenset({"model", "messages", "stream"})

_RETRY_AFTER_CAP = 3600.0
_AFTER_FINISH = 2.0
_MAX_BODY_BYTES = 4 << 20
_MAX_ERROR_BYTES = 1 << 16
_JSON = "application/json"
_EVENT_STREAM = "text/event-stream"


class OpenAIChat:
    """The endpoint of one roster entry.

    `address` gives the base URL at every question, `read_every` is explained at `Wire`. The
    entry's `parameters` go into the request's body (null leaves a default of ours out), but
    `system`, which becomes the system message.

    Raises `BadSetting` when the parameters cannot be sent.
    """

    def __init__(
        self, entry: ModelEntry, address: Callable[[], str], read_every: float = READ_EVERY
    ) -> None:
        self._entry = entry
        self._address = address
        self._read_every = read_every
        _check_parameters(entry)

    def ask(self, messages: Sequence[Message], deadlines: Deadlines) -> ChatAnswer:
        """Prepare the question; it is sent when the answer is iterated.

        Raises `EndpointRefused` when the key is missing, `EndpointUnreachable` when the address
        is not known yet.
        """
        key = _key(self._entry)
        headers = {
            "accept": "text/event-stream, application/json",
            "accept-encoding": "identity",  # nothing to unpack: no decompression bombs
            "connection": "close",
            "content-type": "application/json",
            "user-agent": f"arena/{__version__}",
        }
        if key:
            headers["authorization"] = f"Bearer {key}"
        base = httpx.URL(self._address())
        url = base.copy_with(path=f"{base.path.rstrip('/')}/chat/completions")
        body = json.dumps(self._body(messages)).encode()
        request = httpx.Request("POST", url, headers=headers, content=body)
        return ChatAnswer(request, key, deadlines, self._read_every)

    def _body(self, messages: Sequence[Message]) -> dict[str, Any]:
        parameters = dict(self._entry.parameters)
        system = parameters.pop("system", None)
        talk = [{"role": "system", "content": system}] if system else []
        talk += [{"role": message.role, "content": message.text} for message in messages]
        body = {"stream_options": {"include_usage": True}} | parameters
        body |= {"model": self._entry.model, "messages": talk, "stream": True}
        return {name: value for name, value in body.items() if value is not None}


class ChatAnswer:
    """One answer being written. Iterate it once; dropping the iterator closes the connection."""

    def __init__(
        self, request: httpx.Request, key: str | None, deadlines: Deadlines, read_every: float
    ) -> None:
        self._request = request
        self._key = key
        self._room = deadlines.max_chars
        self._wire = Wire(deadlines, read_every)

    def cancel(self) -> None:
        self._wire.cancel()

    def __iter__(self) -> Iterator[str | Finished]:
        reply = _Reply(self._key)
        blank = True
        with closing(self._texts(reply)) as texts:
            for text in texts:
                shown = text[: self._room]
                self._room -= len(shown)
                blank = blank and not shown.strip()
                if shown:
                    yield shown
                if len(shown) < len(text):
                    reply.finish, reply.tokens = "length", None
                    break
        if reply.finish is None:
            raise EndpointBroken("The answer ended without a finish_reason.")
        if blank:
            raise EndpointEmpty("The answer has no text.")
        yield Finished(reply.finish, reply.tokens)

    def _texts(self, reply: _Reply) -> Generator[str, None, None]:
        begun = False
        with httpx.Client(transport=WireTransport(self._wire), trust_env=False) as client:
            response = client.send(self._request, stream=True)
            self._refuse(response)
            read = self._whole if _media_type(response) == _JSON else self._streamed
            for text in filter(None, read(response, reply)):
                if not begun:
                    begun = True
                    self._wire.begun()
                yield text

    def _streamed(self, response: httpx.Response, reply: _Reply) -> Iterator[str]:
        decoder = EventDecoder()
        ending = False
        try:
            for chunk in response.iter_raw():
                yield reply.take(decoder.feed(chunk))
                if reply.complete:
                    return
                if reply.finish is not None and not ending:
                    ending = True
                    self._wire.allow(_AFTER_FINISH)
        except EndpointError:
            # The answer is whole; only its token count may be missing.
            if reply.finish is None:
                raise

    def _whole(self, response: httpx.Response, reply: _Reply) -> Iterator[str]:
        """The answer of a server that does not stream."""
        body = _read(response, _MAX_BODY_BYTES)
        if len(body) > _MAX_BODY_BYTES:
            raise EndpointBroken(f"The endpoint's answer is longer than {_MAX_BODY_BYTES} bytes.")
        yield reply.take([Event(body.decode("utf-8", "replace"))], part="message")

    def _refuse(self, response: httpx.Response) -> None:
        """Raise the error that a response other than a readable 200 means."""
        status = response.status_code
        if status == httpx.codes.OK:
            problem = _unreadable(response)
            if problem:
                raise EndpointRefused(f"The endpoint answered with {problem}.")
            return
        said = quote(self._error_text(response), self._key)
        detail = f"The endpoint answered {status}" + (f": {said}" if said else ".")
        if status == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
            raise EndpointUnreachable(detail, retry_after=_retry_after(response, time.time()))
        raise EndpointRefused(detail)

    def _error_text(self, response: httpx.Response) -> str:
        if _is_encoded(response):
            return ""
        self._wire.allow(_AFTER_FINISH)
        try:
            text = _read(response, _MAX_ERROR_BYTES).decode("utf-8", "replace")
        except EndpointError:  # the status says enough
            return ""
        try:
            return _error_message(json.loads(text)) or text
        except (ValueError, RecursionError):
            return text


class _Reply:
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
        finish = choice.get("finish_reason")
        if finish:
            if finish not in FINISH_REASONS:
                raise EndpointBroken(
                    f"The answer ended with '{quote(str(finish), self._key)}', which is no known "
                    "finish_reason."
                )
            self.finish = FINISH_REASONS[finish]
        return _content(_object(choice.get(part) or {}, part))

    def _parse(self, event: Event) -> dict[str, Any]:
        try:
            chunk = json.loads(event.data)
        except (ValueError, RecursionError):
            chunk = None
        said = _error_message(chunk)
        if said is not None or event.event == "error":
            said = quote(said or event.data, self._key)
            raise EndpointBroken(f"The endpoint reported an error: {said}")
        if chunk is None:
            said = quote(event.data, self._key)
            raise EndpointBroken(f"The endpoint sent malformed JSON: {said}")
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
        if type(tokens) is int and tokens >= 0:
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
    # Parts of other types (a model's thinking, say) are not the answer.
    texts = [_object(part, "part").get("text") for part in content if part.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


def _error_message(payload: Any) -> str | None:
    """What a JSON error says; None when the payload reports no error.

    Known shapes: `{"error": {"message": …}}`, `{"error": "…"}`.
    """
    error = payload.get("error") if isinstance(payload, dict) else None
    if not error:
        return None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else json.dumps(error)


def _check_parameters(entry: ModelEntry) -> None:
    reserved = sorted(RESERVED_PARAMETERS & entry.parameters.keys())
    if reserved:
        raise BadSetting(f"Model '{entry.id}': parameters may not set '{reserved[0]}'.")
    if not isinstance(entry.parameters.get("system", ""), str):
        raise BadSetting(f"Model '{entry.id}': the parameter 'system' must be a text.")
    try:
        json.dumps(entry.parameters, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadSetting(f"Model '{entry.id}': parameters are not JSON: {error}.") from error


def _key(entry: ModelEntry) -> str | None:
    if entry.api_key_env is None:
        return None
    key = os.environ.get(entry.api_key_env, "").strip()
    if not key:
        raise EndpointRefused(
            f"Model '{entry.id}' needs its key in the environment variable {entry.api_key_env}, "
            "which is not set."
        )
    # Checked here, because the protocol engine would quote a bad header in its error.
    if not (key.isascii() and key.isprintable()):
        raise EndpointRefused(
            f"The environment variable {entry.api_key_env} holds characters no key can have."
        )
    return key


def _media_type(response: httpx.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_encoded(response: httpx.Response) -> bool:
    return response.headers.get("content-encoding", "identity").strip().lower() != "identity"


def _unreadable(response: httpx.Response) -> str | None:
    """What makes a 200 response no answer, or None."""
    media_type = _media_type(response)
    if media_type not in (_JSON, _EVENT_STREAM):
        return f"content type '{quote(media_type, None)}'"
    return "a compressed body" if _is_encoded(response) else None


def _read(response: httpx.Response, limit: int) -> bytes:
    """The body up to the first read beyond `limit` bytes."""
    body = b""
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > limit:
            break
    return body


def _retry_after(response: httpx.Response, now: float) -> float | None:
    """Seconds of `Retry-After` (RFC 9110 §10.2.3: seconds or a date), capped; None if unreadable."""
    value = response.headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except ValueError:
            return None
    return min(max(seconds, 0.0), _RETRY_AFTER_CAP) if math.isfinite(seconds) else None
