"""Commands that run: all of one machine, or one process of many machines.

Each loads what it needs when it is called. `arena up` loads what its children share, then forks
them: it is in memory once.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection

import click

from arena import logs, memory, metrics, open_files, supervisor
from arena.addresses import is_shared
from arena.cli.environment import settings_given, settings_shared
from arena.demo.roster import demo_entries, demo_processes
from arena.embedded import redis_command, redis_url
from arena.errors import ArenaError, BadSetting
from arena.interfaces import ModelEntry
from arena.parent import death_signal
from arena.settings import Settings

_log = logging.getLogger(__name__)

_BEHIND_WEB = 5
"""Added to a runner's niceness: on a busy machine voters are answered first, and text comes no
later. Not to the worker's: while it seals, votes wait for it."""

_SHARED = ("arena.app", "arena.cli.stores", "arena.endpoints", "gunicorn.app.wsgiapp")
"""What web needs, and with it most of what runner and worker do."""


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on (PORT, 8000).")
@click.option("--demo/--no-demo", default=True, help="Small models and votes to begin with.")
def up(port: int | None, demo: bool) -> None:
    """Everything on this machine: Redis, web, runner, worker, demo endpoints."""
    settings = settings_given(port=port)
    form = logs.resolved(settings.log_format, sys.stdout)
    settings = replace(settings, log_format=form)
    logs.configure(settings.log_level, form, "arena")
    say = click.echo if form == logs.TEXT else _log.info
    _allow_files(open_files.needed_by_web(settings), "ARENA_WEB_THREADS")
    _allow_files(open_files.needed_by_runner(settings), "ARENA_RUNNER_CAPACITY")
    entries, notices = demo_entries() if demo else ([], [])
    for notice in notices:
        say(f"demo: {notice}")

    def prepare() -> None:
        supervisor.check_port(settings.host, settings.port)
        if problem := _apart(partial(_prepare, settings, entries, say if demo else None)):
            raise BadSetting(problem)
        _load_what_is_shared()

    def banner() -> None:
        shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104  compared, not bound
        text = f"Arena is up: http://{shown}:{settings.port}"
        say(text if form == logs.JSON else f"\n  {text}   (Ctrl-C stops it)\n")

    status = supervisor.run(
        _children(settings, demo=demo),
        lock=settings.data / "arena.lock",
        prepare=prepare,
        banner=banner,
        out=sys.stdout,
        form=form,
    )
    raise SystemExit(status)


def _children(settings: Settings, *, demo: bool) -> list[supervisor.Child]:
    server = redis_command(settings)
    env = {
        "ARENA_DATA": str(settings.data),
        "PORT": str(settings.port),
        "REDIS_URL": redis_url(settings),
        "ARENA_LOG_FORMAT": logs.resolved(settings.log_format, sys.stdout),
        "OPENBLAS_NUM_THREADS": "1",  # two were up to nine times slower beside busy neighbours
        "PYTHONUNBUFFERED": "1",
    }
    children = [] if server is None else [supervisor.redis_child(server)]
    if demo:
        folder = settings.demo_folder
        folder.mkdir(parents=True, exist_ok=True)
        children += [
            supervisor.Child(name, [sys.executable, *argv, str(folder)], env=env, essential=False)
            for name, argv in demo_processes()
        ]
    return [
        *children,
        supervisor.Child("runner", call=partial(_command, "runner"), env=env),
        supervisor.web_child(settings, partial(_serve, settings), env),
        # last: voters wait for the others, and it loads the most
        supervisor.Child("worker", call=partial(_command, "worker"), env=env | _own_keys(settings)),
    ]


def _load_what_is_shared() -> None:
    """Import what several of web, runner and worker need, before they are forked.

    A collection in one of them would write to each object, and so copy it.
    """
    for name in _SHARED:
        import_module(name)
    gc.collect()
    gc.freeze()


def _command(name: str) -> None:
    """What `arena NAME` does."""
    from arena.cli import main  # noqa: PLC0415  it imports this module

    main.main([name], prog_name="arena")


def _own_keys(settings: Settings) -> dict[str, str]:
    """What a worker beside a PostgreSQL must be given, also where this machine is the only one."""
    if not is_shared(settings.database_url):
        return {}
    return {"ARENA_SIGNING_KEY": settings.signing_key()}


def _apart(work: Callable[[], str | None]) -> str | None:
    """The result of work done in a process that ends with it.

    This process runs for months, and need not keep all that the work loads. Raises `SystemExit`
    when the other process fails; it has said why.
    """
    context = get_context("fork")
    reading, writing = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(work, writing), daemon=True)
    process.start()
    writing.close()
    try:
        found: str | None = reading.recv()
    except EOFError:
        process.join()
        if process.exitcode != 1:  # else it has said why
            _log.critical("what prepares ended early, with status %s", process.exitcode)
        raise SystemExit(1) from None
    process.join()
    return found


def _tell(work: Callable[[], str | None], result: Connection) -> None:
    if die_with_parent := death_signal(signal.SIGKILL):
        die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent hears them too, and says so
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    try:
        result.send(work())
    except Exception:  # noqa: BLE001  whatever it is, it is told here, where it is known
        _log.critical("nothing could be prepared", exc_info=True)
        raise SystemExit(1) from None


def _prepare(
    settings: Settings, entries: list[ModelEntry], say: Callable[[str], None] | None
) -> str | None:
    """Bring the database up to date; with `say`, give a first visitor a living board.

    Its votes come through the same import that any user has. Returns what went wrong.
    """
    from arena import log  # noqa: PLC0415  as the function above has it
    from arena.cli.preparing import prepare  # noqa: PLC0415
    from arena.cli.stores import opened  # noqa: PLC0415
    from arena.demo import seed  # noqa: PLC0415

    try:
        prepare(settings, demo=entries)
        if say is not None:
            with opened(settings) as store:
                if store.campaigns.get(seed.CAMPAIGN.id) is None:
                    count = log.import_file(store.votes, seed.CAMPAIGN, seed.VOTES, lambda _: None)
                    say(f"demo: imported {count} real votes into '{seed.CAMPAIGN.title}'")
    except ArenaError as error:
        return str(error)
    return None


@click.command()
def web() -> None:
    """One web server (gunicorn), with ARENA_WEB_WORKERS processes."""
    from arena import roster  # noqa: PLC0415
    from arena.cli.stores import opened  # noqa: PLC0415
    from arena.clock import now  # noqa: PLC0415

    settings = settings_shared(cookies=True, signs=True)
    logs.configure(settings.log_level, settings.log_format, "web")
    with opened(settings) as store:
        if not is_shared(settings.database_url):
            roster.refresh(store.roster, settings.config, now())
        elif roster.is_news(store.roster.current(), settings.config):
            # of machines that each had a file of their own, the last one to start would win
            _log.warning(
                "the roster is another one than %s: 'arena db upgrade' would read it",
                settings.config,
            )
    _allow_files(open_files.needed_by_web(settings), "ARENA_WEB_THREADS")
    _serve(settings)


def _serve(settings: Settings) -> None:
    """Be gunicorn's master."""
    from gunicorn.app.wsgiapp import run  # type: ignore[import-untyped]  # noqa: PLC0415

    logs.configure(settings.log_level, settings.log_format, "web")
    # in this process: to begin anew as `python -m gunicorn` would load everything once more
    sys.argv = supervisor.web_command(settings)[2:]
    run()


@click.command()
def runner() -> None:
    """One runner: streams the two endpoints of battles."""
    _be_called("arena runner")
    os.nice(_BEHIND_WEB)
    from arena import endpoints  # noqa: PLC0415
    from arena.cli.stores import opened  # noqa: PLC0415
    from arena.live import RedisLive  # noqa: PLC0415
    from arena.runner import Runner  # noqa: PLC0415

    settings = settings_shared()
    logs.configure(settings.log_level, settings.log_format, "runner")
    _allow_files(open_files.needed_by_runner(settings), "ARENA_RUNNER_CAPACITY")
    memory.share_heap()
    metrics.share(settings.metrics, "runner")
    with opened(settings) as store:
        live = RedisLive(redis_url(settings), ttl=settings.live_ttl_seconds)
        Runner(
            store,
            live,
            endpoints.factory(settings),
            deadlines=endpoints.deadlines(settings),
            tick=settings.tick_ms / 1000,
            capacity=settings.runner_capacity,
            poll=settings.poll_seconds,
            lease_seconds=settings.lease_seconds,
        ).run(_stop_on_signal())
        live.close()


@click.command()
def worker() -> None:
    """The worker: seals the log, rates, publishes boards. A second one waits."""
    _be_called("arena worker")
    from arena.cli.stores import opened  # noqa: PLC0415
    from arena.live import RedisLive  # noqa: PLC0415
    from arena.worker import Worker  # noqa: PLC0415

    settings = settings_shared(signs=True)
    logs.configure(settings.log_level, settings.log_format, "worker")
    memory.share_heap()
    metrics.share(settings.metrics, "worker")
    with opened(settings) as store:
        live = RedisLive(redis_url(settings), ttl=settings.live_ttl_seconds)
        Worker(
            store,
            live,
            signer=settings.signer(),
            poll=settings.poll_seconds,
            lease_seconds=settings.lease_seconds,
            retention_days=settings.retention_days,
        ).run(_stop_on_signal())
        live.close()


def _be_called(name: str) -> None:
    """Tell `ps` apart what `arena up` forked. On macOS the library breaks what was forked."""
    if sys.platform == "linux":
        from setproctitle import setproctitle  # noqa: PLC0415  it is nowhere else

        setproctitle(name)


def _allow_files(needed: int, cause: str) -> None:
    if problem := open_files.shortage(needed, cause):
        _log.warning(problem)


def _stop_on_signal() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
