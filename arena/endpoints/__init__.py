"""Endpoints: one small module per wire protocol, chosen by the roster entry's `protocol`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx

from arena.endpoints.openai_chat import OpenAIChat
from arena.errors import BadSetting, EndpointUnreachable
from arena.interfaces import Deadlines, Endpoint, EndpointFactory, ModelEntry
from arena.settings import Settings

PROTOCOLS: dict[str, Callable[[ModelEntry, Callable[[], str]], Endpoint]] = {
    "openai": OpenAIChat,
}

_DEMO = "demo:"


def build(entry: ModelEntry, *, demo_folder: Path | None) -> Endpoint:
    """The endpoint of a roster entry.

    A `base_url` of the form `demo:NAME` is looked up at every question in the file
    `demo_folder/NAME.url`, which the demo model's process keeps.

    Raises `BadSetting` when the protocol is unknown or the entry cannot be used.
    """
    protocol = PROTOCOLS.get(entry.protocol)
    if protocol is None:
        known = ", ".join(sorted(PROTOCOLS))
        raise BadSetting(
            f"Model '{entry.id}': the protocol '{entry.protocol}' is unknown; known: {known}."
        )
    if entry.base_url.startswith(_DEMO):
        name = entry.base_url.removeprefix(_DEMO)
        return protocol(entry, partial(_demo_address, name, demo_folder))
    _check_address(entry)
    return protocol(entry, lambda: entry.base_url)


def factory(settings: Settings) -> EndpointFactory:
    """Builds endpoints as these settings have it."""
    return partial(build, demo_folder=settings.demo_folder)


def deadlines(settings: Settings) -> Deadlines:
    """How long an endpoint may take for what."""
    return Deadlines(
        connect=settings.connect_seconds,
        first_byte=settings.first_byte_seconds,
        stall=settings.stall_seconds,
        total=settings.total_seconds,
        max_chars=settings.max_answer_chars,
    )


def _demo_address(name: str, folder: Path | None) -> str:
    if folder is None:
        raise EndpointUnreachable("The demo models are switched off.")
    try:
        return (folder / f"{name}.url").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise EndpointUnreachable(f"The demo model {name} is not up yet.") from None


def _check_address(entry: ModelEntry) -> None:
    try:
        url = httpx.URL(entry.base_url)
    except httpx.InvalidURL as error:
        raise BadSetting(f"Model '{entry.id}': base_url cannot be read: {error}.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise BadSetting(f"Model '{entry.id}': base_url must be an http or https address.")
    if url.userinfo:
        raise BadSetting(
            f"Model '{entry.id}': base_url may not hold a password; name a variable in api_key_env."
        )
