"""Composition root of the web process."""

from __future__ import annotations

import gc
import os
import random
import signal
from typing import Any

from flask import Flask
from limits.storage import RedisStorage
from werkzeug.middleware.proxy_fix import ProxyFix

from arena import endpoints, logs, memory, metrics
from arena.attempts import Attempts
from arena.battles import Battles, Limits
from arena.belongings import Belongings
from arena.boards import Boards
from arena.campaigns import Campaigns
from arena.categories import language
from arena.checkup import Checkup
from arena.embedded import redis_url
from arena.figures import Figures
from arena.limits import RateLimits
from arena.live import RedisLive
from arena.operators import Operators
from arena.parent import death_signal
from arena.proofs import Proofs
from arena.redis_client import connect
from arena.relay import Relay
from arena.sealing import Sealings
from arena.settings import Settings
from arena.store import open_store
from arena.views import (
    access,
    admin,
    admin_campaigns,
    admin_models,
    admin_moderation,
    battle_api,
    blindness,
    board_api,
    compression,
    events,
    figures,
    guard,
    health,
    invite,
    log_api,
    mine,
    model_page,
    openapi,
    pages,
    revalidation,
    sealed,
    tree_api,
)
from arena.views.context import Services, StreamSlots
from arena.views.language import STATIC
from arena.vitals import Vitals

_THREADS_KEPT_FREE = 15  # of each process, for everything that is answered at once
_EXPORTS = 4
_PARQUETS = 1  # each is a process of 300 MB
_QUICK_SECONDS = 0.5  # no answer waits longer than this for a limit to be counted


def build_services(settings: Settings) -> Services:
    """The real parts. Raises `BadSetting` when the database's schema is not this program's."""
    store = open_store(settings.database_url)
    live = RedisLive(redis_url(settings), ttl=settings.live_ttl_seconds)
    limits = RateLimits(_counters(redis_url(settings)))
    campaigns = Campaigns(store.campaigns)
    checkup = Checkup(endpoints.factory(settings), endpoints.deadlines(settings))
    bounds = Limits(
        prompt_chars=settings.max_prompt_chars,
        turns=settings.max_turns,
        running_per_voter=settings.max_running_per_voter,
        running=settings.max_running,
        waiting_per_network=settings.address_factor * settings.max_running_per_voter,
    )
    signer = settings.signer()
    battles = Battles(store, live, campaigns, bounds, random.SystemRandom(), signer=signer)
    return Services(
        settings=settings,
        secret_key=settings.secret_key(),
        signer=signer,
        store=store,
        live=live,
        campaigns=campaigns,
        battles=battles,
        belongings=Belongings(store, live, battles),
        boards=Boards(store),
        figures=Figures(store.figures),
        sealings=Sealings(store),
        proofs=Proofs(store.votes, store.trees),
        relay=Relay(store.battles, live),
        operators=Operators(store, checkup, os.environ),
        vitals=Vitals(store, live, settings.data, settings.lease_seconds),
        streams=StreamSlots(
            max(1, settings.web_threads - _EXPORTS - _PARQUETS - _THREADS_KEPT_FREE),
            each=settings.streams_per_voter,
        ),
        exports=StreamSlots(_EXPORTS, each=1),
        parquets=StreamSlots(_PARQUETS, each=1),
        limits=limits,
        attempts=Attempts(limits),
    )


def _counters(url: str) -> RedisStorage:
    """Where rate limits are counted; it raises the library's `StorageError` without Redis."""
    pool = connect(url, patience=_QUICK_SECONDS).connection_pool
    return RedisStorage("redis://", connection_pool=pool, wrap_exceptions=True)


def create_app(settings: Settings, services: Services | None = None) -> Flask:
    """The web application; tests hand in `services` of their own."""
    app = Flask("arena", static_folder=str(STATIC), template_folder="templates")
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = None  # revalidate by ETag: modules stay in step
    app.url_map.strict_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's default provider has it
    app.extensions["arena"] = services or build_services(settings)
    if settings.proxy_hops:
        hops = settings.proxy_hops
        trusting = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)
        app.wsgi_app = trusting  # type: ignore[method-assign]  # as Flask's documentation has it
    revalidation.install(app)
    access.install(app)
    guard.install(app)
    compression.install(app)
    for part in (battle_api, blindness, board_api, log_api, tree_api, openapi, invite, health):
        app.register_blueprint(part.blueprint)
    for part in (pages, events, figures, sealed, model_page, mine):
        app.register_blueprint(part.blueprint)
    for part in (admin, admin_models, admin_campaigns, admin_moderation):
        app.register_blueprint(part.blueprint)
    return app


def when_ready(_server: object) -> None:
    """What gunicorn calls before it forks: what is loaded so far stays shared memory.

    A collection in a worker would write to each object, and so copy it.
    """
    memory.share_heap()
    memory.return_blocks(2**17)
    language.model()
    gc.collect()
    gc.freeze()


def post_fork(_server: object, worker: Any) -> None:
    """What gunicorn calls first in each worker process: `--config python:arena.app`.

    So its master imports this module once, and the workers it forks start at once. An orphan with
    an open stream would keep itself, and the port, alive.
    """
    ask = death_signal(signal.SIGKILL)
    if ask is not None:
        ask()
        if os.getppid() != worker.ppid:  # the master died in between
            os._exit(1)


def child_exit(_server: object, worker: Any) -> None:
    """What gunicorn's master calls when a worker process has ended."""
    worker.forget()


def wsgi() -> Flask:
    """What gunicorn calls in each worker process: `arena.app:wsgi()`."""
    settings = Settings.from_environment(os.environ)
    logs.configure(settings.log_level, settings.log_format, "web")
    metrics.share(settings.metrics, "web")
    return create_app(settings)
