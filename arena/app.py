"""Composition root of the web process."""

from __future__ import annotations

import os
import random
import signal

from flask import Flask

from arena import endpoints, logs
from arena.attempts import Attempts
from arena.battles import Battles, Limits
from arena.belongings import Belongings
from arena.boards import Boards
from arena.campaigns import Campaigns
from arena.checkup import Checkup
from arena.embedded import redis_url
from arena.figures import Figures
from arena.live import RedisLive
from arena.operators import Operators
from arena.parent import death_signal
from arena.relay import Relay
from arena.settings import Settings
from arena.store import open_store
from arena.views import (
    admin,
    admin_campaigns,
    admin_models,
    admin_moderation,
    battle_api,
    board_api,
    compression,
    figures,
    guard,
    health,
    invite,
    log_api,
    mine,
    openapi,
    pages,
)
from arena.views.context import Services, StreamSlots
from arena.views.language import STATIC
from arena.vitals import Vitals

_THREADS_KEPT_FREE = 16  # of each process, for everything that is answered at once
_EXPORTS = 4


def build_services(settings: Settings) -> Services:
    """The real parts. Raises `BadSetting` when the database's schema is not this program's."""
    store = open_store(settings.database_url)
    live = RedisLive(redis_url(settings), ttl=settings.live_ttl_seconds)
    campaigns = Campaigns(store.campaigns)
    checkup = Checkup(endpoints.factory(settings), endpoints.deadlines(settings))
    limits = Limits(
        prompt_chars=settings.max_prompt_chars,
        turns=settings.max_turns,
        running_per_voter=settings.max_running_per_voter,
        running=settings.max_running,
    )
    battles = Battles(store, live, campaigns, limits, random.SystemRandom())
    return Services(
        settings=settings,
        secret_key=settings.secret_key(),
        store=store,
        live=live,
        campaigns=campaigns,
        battles=battles,
        belongings=Belongings(store, live, battles),
        boards=Boards(store),
        figures=Figures(store.figures),
        relay=Relay(store.battles, live),
        operators=Operators(store, checkup, os.environ),
        vitals=Vitals(store, live, settings.data, settings.lease_seconds),
        streams=StreamSlots(max(1, settings.web_threads - _EXPORTS - _THREADS_KEPT_FREE)),
        exports=StreamSlots(_EXPORTS),
    )


def create_app(settings: Settings, services: Services | None = None) -> Flask:
    """The web application; tests hand in `services` of their own."""
    app = Flask("arena", static_folder=str(STATIC), template_folder="templates")
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = None  # revalidate by ETag: modules stay in step
    app.url_map.strict_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's default provider has it
    app.extensions["arena"] = services or build_services(settings)
    app.extensions["arena.attempts"] = Attempts()
    guard.install(app)
    compression.install(app)
    for part in (battle_api, board_api, figures, log_api, openapi, pages, mine, invite, health):
        app.register_blueprint(part.blueprint)
    for part in (admin, admin_models, admin_campaigns, admin_moderation):
        app.register_blueprint(part.blueprint)
    return app


def wsgi() -> Flask:
    """What gunicorn calls in each worker process: `arena.app:wsgi()`."""
    ask = death_signal(signal.SIGKILL)
    if ask is not None:  # an open stream would keep an orphan, and the port with it, alive
        ask()
    settings = Settings.from_environment(os.environ)
    logs.configure(settings.log_level)
    return create_app(settings)
