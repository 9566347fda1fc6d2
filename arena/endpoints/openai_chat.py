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
from arena.battle import Message
from arena.endpoints.openai_reply import Reply, error_message
from arena.endpoints.sse import Event, EventDecoder
from arena.endpoints.text import quote
from arena.endpoints.transport import WireTransport
from arena.endpoints.wire import READ_EVERY, Wire
from arena.errors import (
    BadSetting,
    EndpointBroken,
    EndpointDeclined,
    EndpointEmpty,
    EndpointError,
    EndpointRefused,
    EndpointUnreachable,
)
from arena.interfaces import Deadlines, Finished, ModelEntry

RESERVED_PARAMETERS = frozenset({"model", "messages", "stream"})

_RETRY_AFTER_CAP = 3600.0
_AFTER_FINISH = 2.0
_MAX_ERROR_BYTES = 1 << 16
_ESCAPED_BYTES = 12  # of one character beyond U+FFFF: two \uXXXX
_MAX_WRAPPING_BYTES = 1 << 18
_JSON = "application/json"
_EVENT_STREAM = "text/event-stream"
_PASSING = frozenset({408, 409, 425, 429})
"""Refusals that the same request may not meet again, beside every 5xx (as OpenAI's own clients
have it, and RFC 8470 for 425)."""
_OF_THE_QUESTION = frozenset({400, 413, 422})
"""Refusals that a prompt can bring about: it is too long, say, or against the provider's rules."""


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
        # So much the longest answer may take in one event or body; a runner holds hundreds.
        self._max_bytes = _MAX_WRAPPING_BYTES + _ESCAPED_BYTES * deadlines.max_chars
        self._wire = Wire(deadlines, read_every)

    def cancel(self) -> None:
        self._wire.cancel()

    def __iter__(self) -> Iterator[str | Finished]:
        reply = Reply(self._key)
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

    def _texts(self, reply: Reply) -> Generator[str, None, None]:
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

    def _streamed(self, response: httpx.Response, reply: Reply) -> Iterator[str]:
        decoder = EventDecoder(self._max_bytes)
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

    def _whole(self, response: httpx.Response, reply: Reply) -> Iterator[str]:
        """The answer of a server that does not stream."""
        body = _read(response, self._max_bytes)
        if len(body) > self._max_bytes:
            raise EndpointBroken(f"The endpoint's answer is longer than {self._max_bytes} bytes.")
        yield reply.take([Event(body.decode("utf-8-sig", "replace"))], part="message")

    def _refuse(self, response: httpx.Response) -> None:
        """Raise the error that a response other than a readable 200 means."""
        status = response.status_code
        if status == httpx.codes.OK:
            if _media_type(response) not in (_JSON, _EVENT_STREAM):
                said = quote(_header(response, "content-type"), self._key)
                raise EndpointRefused(f"The endpoint answered with content type '{said}'.")
            if _is_encoded(response):
                raise EndpointRefused("The endpoint answered with a compressed body.")
            return
        said = quote(self._error_text(response), self._key)
        detail = f"The endpoint answered {status}" + (f": {said}" if said else ".")
        if status in _PASSING or response.is_server_error:
            raise EndpointUnreachable(detail, retry_after=_retry_after(response, time.time()))
        raise (EndpointDeclined if status in _OF_THE_QUESTION else EndpointRefused)(detail)

    def _error_text(self, response: httpx.Response) -> str:
        if _is_encoded(response):
            return ""
        self._wire.allow(_AFTER_FINISH)
        try:
            text = _read(response, _MAX_ERROR_BYTES).decode("utf-8", "replace")
        except EndpointError:  # the status says enough
            return ""
        try:
            return error_message(json.loads(text)) or text
        except (ValueError, RecursionError):
            return text


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
    return _header(response, "content-type").partition(";")[0].strip().lower()


def _is_encoded(response: httpx.Response) -> bool:
    return _header(response, "content-encoding").lower() not in ("", "identity")


def _header(response: httpx.Response, name: str) -> str:
    return str(response.headers.get(name, "")).strip()


def _read(response: httpx.Response, limit: int) -> bytearray:
    """The body up to the first read beyond `limit` bytes."""
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > limit:
            break
    return body


def _retry_after(response: httpx.Response, now: float) -> float | None:
    """The `Retry-After` in seconds (RFC 9110 §10.2.3), capped; None when there is no such."""
    value = _header(response, "retry-after")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), _RETRY_AFTER_CAP) if math.isfinite(seconds) else None
