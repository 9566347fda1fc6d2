"""The settings that a command is given."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from arena.addresses import is_shared
from arena.errors import BadSetting
from arena.settings import Settings


def settings_given(**overrides: Any) -> Settings:
    settings = Settings.from_environment(os.environ)
    given = {name: value for name, value in overrides.items() if value is not None}
    return replace(settings, **given)


def settings_shared(*, cookies: bool = False, signs: bool = False) -> Settings:
    """The settings of a process that may be one of many machines', and signs `cookies` or notes.

    What all of them must be given is then never made up here: a key of this machine alone would
    sign what the others refuse.
    """
    settings = settings_given()
    if is_shared(settings.database_url):
        given = {"REDIS_URL": settings.redis_url}
        if cookies:
            given["ARENA_SECRET_KEY"] = settings.given_secret_key
        if signs:
            given["ARENA_SIGNING_KEY"] = settings.shared_signing_key()
        missing = ", ".join(name for name, value in given.items() if value is None)
        if missing:
            raise BadSetting(
                f"Set {missing}, alike on every machine: DATABASE_URL is a PostgreSQL, which "
                "machines share ('openssl rand -hex 32' makes a key). For one machine alone, "
                "'arena up' needs neither."
            )
    return settings
