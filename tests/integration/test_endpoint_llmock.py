"""Our endpoint against a foreign OpenAI-style server: `llmock`, with its own faults."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from llmock.testing import LLMockServer

from arena.battle import Message
from arena.endpoints import build
from arena.errors import (
    EndpointBroken,
    EndpointDeclined,
    EndpointEmpty,
    EndpointError,
    EndpointRefused,
    EndpointTimeout,
    EndpointUnreachable,
)
from arena.interfaces import AnswerStream, Deadlines, Finished, ModelEntry

TEXT = "One word after another, until there is nothing left to say."


@pytest.fixture(scope="module")
def server() -> Iterator[LLMockServer]:
    with LLMockServer() as running:
        yield running


@pytest.fixture(autouse=True)
def forgotten(server: LLMockServer) -> None:
    httpx.post(f"{server.url}/_llmock/reset", trust_env=False).raise_for_status()


def stage(server: LLMockServer, *behaviors: dict[str, Any]) -> None:
    url = f"{server.url}/_llmock/scenario"
    httpx.post(url, json={"behaviors": behaviors}, trust_env=False).raise_for_status()


def ask(server: LLMockServer, deadlines: Deadlines | None = None) -> AnswerStream:
    entry = ModelEntry(id="m", name="M", base_url=server.base_url("openai"), model="gpt-4o")
    endpoint = build(entry, demo_folder=None)
    return endpoint.ask([Message("user", "Hello there")], deadlines or Deadlines(stall=1.0))


def test_a_streamed_answer_arrives_whole_with_its_tokens(server: LLMockServer) -> None:
    stage(server, {"type": "reply", "text": TEXT})
    *pieces, finished = ask(server)
    assert "".join(str(piece) for piece in pieces) == TEXT
    assert isinstance(finished, Finished) and finished.reason == "stop"
    assert finished.tokens is not None and finished.tokens > 5


def test_the_servers_own_ending_is_kept(server: LLMockServer) -> None:
    stage(server, {"type": "reply", "text": TEXT, "finish_reason": "length"})
    assert list(ask(server))[-1].reason == "length"  # type: ignore[union-attr]


FAULTS: dict[str, tuple[dict[str, Any], type[EndpointError]]] = {
    "429": ({"type": "fail", "status": 429}, EndpointUnreachable),
    "500": ({"type": "fail", "status": 500}, EndpointUnreachable),
    "503": ({"type": "fail", "status": 503, "message": "overloaded"}, EndpointUnreachable),
    "400": ({"type": "fail", "status": 400}, EndpointDeclined),
    "401": ({"type": "fail", "status": 401}, EndpointRefused),
    "truncated": ({"type": "stream_fault", "kind": "truncate", "after_chunks": 3}, EndpointBroken),
    "cut off": ({"type": "stream_fault", "kind": "disconnect", "after_chunks": 3}, EndpointBroken),
    "cut off at once": (
        {"type": "stream_fault", "kind": "disconnect", "after_chunks": 0},
        EndpointBroken,
    ),
    "malformed": ({"type": "stream_fault", "kind": "malformed"}, EndpointBroken),
    "empty": ({"type": "reply", "text": " "}, EndpointEmpty),
    "a tool call": (
        {"type": "reply", "tool_calls": [{"name": "get_weather", "arguments": {}}]},
        EndpointBroken,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_its_error(server: LLMockServer, name: str) -> None:
    behavior, expected = FAULTS[name]
    stage(server, behavior, {"type": "reply", "text": TEXT})
    with pytest.raises(EndpointError) as error:
        list(ask(server))
    assert type(error.value) is expected


def test_the_time_to_wait_is_passed_on(server: LLMockServer) -> None:
    stage(server, {"type": "fail", "status": 429, "retry_after": 3})
    with pytest.raises(EndpointUnreachable) as error:
        list(ask(server))
    assert error.value.retry_after == 3.0


SLOWNESS = {
    "a slow start": {"type": "delay", "seconds": 3.0},
    "a slow first token": {"type": "slow_first_token", "seconds": 3.0},
    "a stall": {"type": "stream_fault", "kind": "stall", "after_chunks": 4, "stall_seconds": 3.0},
}


@pytest.mark.parametrize("name", SLOWNESS)
def test_every_slowness_meets_its_deadline(server: LLMockServer, name: str) -> None:
    stage(server, {"type": "reply", "text": TEXT}, SLOWNESS[name])
    start = time.monotonic()
    with pytest.raises(EndpointTimeout):
        list(ask(server, Deadlines(first_byte=0.5, stall=0.5)))
    assert 0.5 <= time.monotonic() - start < 1.5


def test_a_slowness_within_the_deadlines_is_waited_for(server: LLMockServer) -> None:
    stage(server, {"type": "reply", "text": TEXT}, {"type": "slow_first_token", "seconds": 0.4})
    assert list(ask(server))[-1].reason == "stop"  # type: ignore[union-attr]
