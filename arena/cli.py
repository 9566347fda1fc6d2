"""The `arena` command. Errors made on purpose end in one line on stderr and exit status 2."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import click

from arena import (
    __version__,
    backup,
    board_svg,
    board_text,
    endpoints,
    log,
    logs,
    memory,
    metrics,
    open_files,
    roster,
    supervisor,
)
from arena.addresses import is_shared
from arena.boards import METHODS, OVERALL, VARIANTS, Boards
from arena.campaigns import DEFAULT, OPERATOR, Campaigns
from arena.checkup import Checkup
from arena.clock import now
from arena.demo import seed
from arena.demo.roster import demo_entries, demo_processes
from arena.embedded import redis_command, redis_url
from arena.errors import (
    ArenaError,
    BadFile,
    BadSetting,
    Conflict,
    InvalidField,
    Unavailable,
)
from arena.interfaces import Campaign, Columns, ModelEntry
from arena.live import RedisLive
from arena.settings import Settings
from arena.store import SqlStore, open_store
from arena.store.engine import Database
from arena.store.migrate import upgrade
from arena.vote_file import read_votes

_log = logging.getLogger(__name__)

USAGE_ERROR = 2
_STANDARD_OUTPUT = Path("-")


class _Refusal(click.ClickException):
    """What the user did wrong, in one line."""

    exit_code = USAGE_ERROR

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"arena: {' '.join(self.message.split())}", file=file, err=True)


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "arena"
        raise _Refusal(f"{error.format_message()} See '{path} --help'.") from error
    except ArenaError as error:
        raise _Refusal(str(error)) from error


class _Group(click.Group):
    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        with _one_line():
            return super().parse_args(context, args)

    def invoke(self, context: click.Context) -> Any:
        with _one_line():
            return super().invoke(context)


def _settings(**overrides: Any) -> Settings:
    settings = Settings.from_environment(os.environ)
    given = {name: value for name, value in overrides.items() if value is not None}
    return replace(settings, **given)


def _shared_settings(*, signs: bool = False) -> Settings:
    """The settings of a process that may be one of many machines'.

    What all of them must be given is then never made up here: a key of this machine alone would
    sign cookies that the others refuse.
    """
    settings = _settings()
    if is_shared(settings.database_url):
        given = {"REDIS_URL": settings.redis_url}
        if signs:
            given["ARENA_SECRET_KEY"] = settings.given_secret_key
        missing = " and ".join(name for name, value in given.items() if value is None)
        if missing:
            raise BadSetting(
                f"Set {missing}, alike on every machine: DATABASE_URL is a PostgreSQL, which "
                "machines share ('openssl rand -hex 32' makes a key). For one machine alone, "
                "'arena up' needs neither."
            )
    return settings


@contextmanager
def _reachable(settings: Settings) -> Iterator[None]:
    """Say in one line why the database cannot be opened."""
    try:
        yield
    except Unavailable as error:
        if is_shared(settings.database_url):
            reason = getattr(error.__cause__, "orig", error.__cause__)
            raise BadSetting(f"DATABASE_URL: PostgreSQL cannot be used: {reason}") from error
        raise BadSetting(
            f"The database cannot be opened: is {settings.data} the data folder (ARENA_DATA), "
            "or DATABASE_URL the database? 'arena db upgrade' makes a new one there."
        ) from error


@contextmanager
def _opened(settings: Settings) -> Iterator[SqlStore]:
    with _reachable(settings):
        store = open_store(settings.database_url)
    try:
        yield store
    finally:
        store.close()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="arena")
def main() -> None:
    """Blind battles between generative models, five-step votes, honest ratings."""


# --- processes ----------------------------------------------------------------------------------


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on (PORT, 8000).")
@click.option("--demo/--no-demo", default=True, help="Small models and votes to begin with.")
def up(port: int | None, demo: bool) -> None:
    """Everything on this machine: Redis, web, runner, worker, demo endpoints."""
    settings = _settings(port=port)
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
        _prepare(settings, demo=entries)
        if demo:
            _seed(settings, say)

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
    python = [sys.executable, "-m"]
    children = [] if server is None else [supervisor.redis_child(server)]
    if demo:
        folder = endpoints.demo_folder(settings)
        folder.mkdir(parents=True, exist_ok=True)
        children += [
            supervisor.Child(name, [sys.executable, *argv, str(folder)], env, essential=False)
            for name, argv in demo_processes()
        ]
    return [
        *children,
        supervisor.Child("runner", [*python, "arena.cli", "runner"], env),
        supervisor.web_child(settings, env),
        # last: voters wait for the others, and it loads the most
        supervisor.Child("worker", [*python, "arena.cli", "worker"], env),
    ]


def _prepare(settings: Settings, demo: list[ModelEntry] | None = None) -> None:
    """Bring schema, default campaign and roster up to date."""
    try:
        if not is_shared(settings.database_url):
            settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(
            f"ARENA_DATA: the folder {settings.data} cannot be made: {error.strerror}."
        ) from error
    database = Database(settings.database_url)
    try:
        with _reachable(settings):
            upgrade(database)
        store = SqlStore(database)
        store.campaigns.add(DEFAULT)
        roster.refresh(store.roster, settings.config, now(), demo)
    finally:
        database.close()


def _seed(settings: Settings, say: Callable[[str], None]) -> None:
    """Give a first visitor a living board, through the same import that any user has."""
    with _opened(settings) as store:
        if store.campaigns.get(seed.CAMPAIGN.id) is None:
            count = log.import_file(store.votes, seed.CAMPAIGN, seed.VOTES, lambda _: None)
            say(f"demo: imported {count} real votes into '{seed.CAMPAIGN.title}'")


@main.command()
def web() -> None:
    """One web server (gunicorn), with ARENA_WEB_WORKERS processes."""
    from gunicorn.app.wsgiapp import run  # type: ignore[import-untyped]  # noqa: PLC0415  as below

    settings = _shared_settings(signs=True)
    logs.configure(settings.log_level, settings.log_format, "web")
    with _opened(settings) as store:
        if not is_shared(settings.database_url):
            roster.refresh(store.roster, settings.config, now())
        elif roster.is_news(store.roster.current(), settings.config):
            # of machines that each had a file of their own, the last one to start would win
            _log.warning(
                "the roster is another one than %s: 'arena db upgrade' would read it",
                settings.config,
            )
    _allow_files(open_files.needed_by_web(settings), "ARENA_WEB_THREADS")
    # in this process: to begin anew as `python -m gunicorn` would load everything once more
    sys.argv = supervisor.web_command(settings)[2:]
    run()


@main.command()
def runner() -> None:
    """One runner: streams the two endpoints of battles."""
    from arena.runner import Runner  # noqa: PLC0415  other commands start without it

    settings = _shared_settings()
    logs.configure(settings.log_level, settings.log_format, "runner")
    _allow_files(open_files.needed_by_runner(settings), "ARENA_RUNNER_CAPACITY")
    memory.share_heaps()
    metrics.share(settings.metrics, "runner")
    with _opened(settings) as store:
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


@main.command()
def worker() -> None:
    """The worker: seals the log, rates, publishes boards. A second one waits."""
    from arena.worker import Worker  # noqa: PLC0415  it loads numpy and scipy

    settings = _shared_settings()
    logs.configure(settings.log_level, settings.log_format, "worker")
    metrics.share(settings.metrics, "worker")
    with _opened(settings) as store:
        live = RedisLive(redis_url(settings), ttl=settings.live_ttl_seconds)
        Worker(
            store,
            live,
            poll=settings.poll_seconds,
            lease_seconds=settings.lease_seconds,
            retention_days=settings.retention_days,
        ).run(_stop_on_signal())
        live.close()


def _allow_files(needed: int, cause: str) -> None:
    if problem := open_files.shortage(needed, cause):
        _log.warning(problem)


def _stop_on_signal() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


# --- models and database ------------------------------------------------------------------------


@main.group()
def models() -> None:
    """The roster."""


@models.command("check")
def check_models() -> None:
    """Ask every endpoint of the roster one short prompt and print a table."""
    settings = _settings()
    with _opened(settings) as store:
        entries = roster.merged(store.roster.current(), settings.config)
    if not entries:
        raise BadFile("no model is configured; add [[models]]", file=str(settings.config))
    checkup = Checkup(endpoints.factory(settings), endpoints.deadlines(settings))
    width = max(len(entry.id) for entry in entries)
    failed = False
    for entry in entries:
        click.echo(f"{entry.id:<{width}}  ", nl=False)
        checked = checkup.ask(entry)
        failed = failed or checked.error is not None
        said = f"FAILED  {checked.error}" if checked.error else f"ok      {checked.text[:60]!r}"
        click.echo(said)
    if failed:
        raise SystemExit(1)


@main.group()
def db() -> None:
    """The database."""


@db.command("upgrade")
def upgrade_database() -> None:
    """Bring the schema, the default campaign and the roster up to date."""
    settings = _settings()
    _prepare(settings)
    click.echo("The database is up to date.")


@main.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
def make_backup(file: Path) -> None:
    """Write database, keys and arena.toml into one FILE, while the service runs.

    Who has the file can read every vote's text and sign voters' cookies: keep it safe.
    """
    settings = _settings()
    made = backup.create(settings, file.absolute(), _progress)
    click.echo(f"{file}: the log up to position {made.log_position}, {_listed(made)}")
    if settings.given_secret_key is not None:
        click.echo("ARENA_SECRET_KEY comes from the environment and is not in it: keep it too.")


@main.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
def take_back(file: Path) -> None:
    """Bring back what 'arena backup' wrote to FILE: all of it, over nothing, or nothing of it."""
    settings = _settings()
    with supervisor.only_one(settings.data / "arena.lock"):
        taken = backup.restore(settings, file, _progress)
    click.echo(f"{file}: restored up to position {taken.log_position} of {taken.created_at}")
    click.echo("Run 'arena db upgrade', or 'arena up', which does it.")


def _listed(made: backup.Manifest) -> str:
    return ", ".join(made.files)


# --- boards -------------------------------------------------------------------------------------


def _anchor(_context: click.Context, _option: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    name, _, rating = value.rpartition("=")
    try:
        return name, float(rating)
    except ValueError:
        raise click.BadParameter("write it as NAME=1000.") from None


def _campaign_id(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if not re.fullmatch("[a-z0-9][a-z0-9-]{0,63}", value):
        raise click.BadParameter("use small letters, digits and hyphens, such as llmfao-2023.")
    return value


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="auto",
    show_default=True,
    help="auto: the one that the votes support.",
)
@click.option(
    "--variant",
    type=click.Choice(VARIANTS),
    help="Of the method graded.",
)
@click.option("--interval", type=click.Choice(["sandwich", "bootstrap"]), default="sandwich")
@click.option("--clustered", is_flag=True, help="Let votes of one voter depend on each other.")
@click.option(
    "--weights", type=click.Choice(["inverse_propensity"]), help="By how rarely a pair was drawn."
)
@click.option("--ranks", type=click.Choice(["pairwise", "simultaneous"]), default="pairwise")
@click.option("--anchor", callback=_anchor, metavar="NAME=1000", help="Fix a model's rating.")
@click.option(
    "--by", type=click.Choice(["category", "language", "turns"]), help="One board for each."
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.svg", help="Draw it too.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table")
def rate(
    *, file: Path, by: str | None, plot: Path | None, form: str, method: str, **options: Any
) -> None:
    """Ratings of any vote FILE (CSV, JSONL or Parquet with model_a, model_b, grade or winner)."""
    from arena import leaderboard  # noqa: PLC0415  it loads numpy and scipy

    with _file_progress(file, "reading") as progress:
        boards = leaderboard.rate_file(file, method, by=by, progress=progress, **options)
    documents = {
        key: leaderboard.board_json(board, file=str(file), category=key)
        for key, board in boards.items()
    }
    if plot is not None:
        pictures = {
            _picture_of(plot, key if by else None, place): board_svg.to_svg(document).encode()
            for place, (key, document) in enumerate(documents.items(), 1)
        }
        for path, picture in pictures.items():
            log.export_file([picture], path)
    if form == "csv":
        click.echo(board_text.to_csv(documents.values(), by_category=by is not None), nl=False)
    elif form == "json":
        shown = {"file": str(file), "boards": [*documents.values()]} if by else documents[OVERALL]
        click.echo(json.dumps(shown, ensure_ascii=False))
    else:
        tables = {key: board_text.to_table(document) for key, document in documents.items()}
        titled = [f"{key}\n\n{table}" if by else table for key, table in tables.items()]
        click.echo("\n".join(titled), nl=False)


def _picture_of(plot: Path, category: str | None, place: int) -> Path:
    """The file of a category's picture: its key where that can be a name, else its place."""
    if not plot.stem:
        raise BadFile("a picture needs a name such as board.svg", file=str(plot))
    if category is None:
        return plot
    plain = re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,60}", category)
    return plot.with_stem(f"{plot.stem}-{category if plain else place}")


@main.command()
@click.option("--campaign", default=DEFAULT.id, show_default=True)
@click.option("--category", default=OVERALL, show_default=True)
@click.option("--method", type=click.Choice(METHODS), default="auto", show_default=True)
def board(campaign: str, category: str, method: str) -> None:
    """The current board in the terminal."""
    with _opened(_settings()) as store:
        found = Campaigns(store.campaigns).get(campaign, OPERATOR)
        published = Boards(store).get(found, category, method)
    click.echo(board_text.to_table(published.document), nl=False)


@main.command("method")
@click.argument("name", type=click.Choice(METHODS))
@click.option("--campaign", default=DEFAULT.id, show_default=True)
@click.option("--variant", type=click.Choice(VARIANTS), help="Of the method graded.")
@click.option("--reason", required=True, help="Why; it is published.")
def pin_method(name: str, campaign: str, variant: str | None, reason: str) -> None:
    """Rate a campaign by method NAME from now on; auto asks its votes, now and as they double.

    The change is a public record in the log: no board changes its method silently.
    """
    from arena import leaderboard  # noqa: PLC0415  it loads numpy and scipy

    if name == "auto" and variant is not None:
        raise click.BadParameter(
            "the votes choose it with the method auto.", param_hint="--variant"
        )
    pinned = None if name == "auto" else leaderboard.Method(name, variant)
    with _opened(_settings()) as store:
        found = Campaigns(store.campaigns).get(campaign, OPERATOR)
        record = leaderboard.method_record(found.id, reason, pinned)
        store.votes.append([(record, None)])
    click.echo(f"The log has it: '{found.id}' is rated by '{name}'. The worker follows.")


@main.command("agreement")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--with",
    "judges",
    type=click.Path(path_type=Path),
    help="Votes of judges on the same questions, in another file.",
)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
def show_agreement(file: Path, judges: Path | None, form: str) -> None:
    """How far the voters of FILE agree, and judges with people."""
    from arena import agreement  # noqa: PLC0415  it loads numpy and scipy

    with _file_progress(file, "reading") as progress:
        found = list(agreement.judgements(read_votes(file, progress)))
    if judges is not None:
        with _file_progress(judges, "reading") as progress:
            found += agreement.judgements(read_votes(judges, progress), judges=True)
    report = agreement.report(found)
    if form == "json":
        click.echo(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        click.echo(report.to_text(), nl=False)


# --- the log ------------------------------------------------------------------------------------


@main.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--campaign", "named", multiple=True, help="Only this campaign (or several); default: public."
)
@click.option("--outcomes", type=click.Choice(["votes", "all"]), default="votes")
@click.option("--format", "form", type=click.Choice(log.FORMATS), help="Default: as FILE is named.")
@click.option("--after", type=click.IntRange(0), default=0, help="Only records after this seq.")
@click.option("--until", type=click.IntRange(0), help="The log position that it stands for.")
def export_log(
    *,
    file: Path,
    named: tuple[str, ...],
    outcomes: str,
    form: log.Format | None,
    after: int,
    until: int | None,
) -> None:
    """Write the sealed log to FILE (.jsonl, .csv or .parquet; - is the standard output)."""
    form = form or _format_of(file)
    with _opened(_settings()) as store:
        campaigns = Campaigns(store.campaigns)
        chosen = [campaigns.get(one, OPERATOR) for one in named] or campaigns.public()
        position = store.votes.position() if until is None else until
        pages = log.pages(
            store.votes, chosen, after=after, until=position, outcomes=outcomes == "all"
        )
        if file == _STANDARD_OUTPUT:
            _pour(log.encode(pages, form))
            return
        with _progress(position - after, "exporting") as progress:
            log.export_file(log.encode(_counted(pages, progress), form), file)
    click.echo(f"{file}: the log up to position {position}")


def _pour(pieces: Iterable[bytes]) -> None:
    """Write to the standard output until it has all, or nobody reads it any more."""
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(1)  # Python would complain once more when it closes the stream


def _format_of(file: Path) -> log.Format:
    try:
        return log.check_format(file.suffix.removeprefix(".").lower())
    except InvalidField as error:
        raise BadFile(
            f"{error} The name's end says which, as in votes.jsonl.", file=str(file)
        ) from error


def _counted(pages: Iterator[Columns], progress: Callable[[int], None]) -> Iterator[Columns]:
    for page in pages:
        progress(len(page["seq"]))
        yield page


@main.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--campaign",
    required=True,
    callback=_campaign_id,
    help="Its id, such as llmfao-2023; made when it does not exist.",
)
@click.option("--title", help="The new campaign's title; default: its id.")
@click.option("--credit", default="", help="Who collected the votes.")
@click.option("--license", "licence", default="", help="Their licence.")
@click.option("--source", default="", help="Where they come from (an address).")
def import_log(
    *, file: Path, campaign: str, title: str | None, credit: str, licence: str, source: str
) -> None:
    """Append the votes of FILE (CSV, JSONL or Parquet) to a campaign: all of them or none."""
    made = Campaign(
        id=campaign,
        kind="offline",
        title=title or campaign,
        title_zh=title or campaign,
        description="",
        description_zh="",
        consent="",
        consent_zh="",
        credit=credit,
        license=licence,
        source=source,
        state="closed",
    )
    with _opened(_settings()) as store, _file_progress(file, "importing") as progress:
        there = store.campaigns.get(campaign)
        if there is not None and there.kind != made.kind:
            raise BadFile(
                f"'{campaign}' is for this arena's own battles; choose another campaign",
                file=str(file),
            )
        try:
            count = log.import_file(store.votes, made, file, progress)
        except Conflict as error:
            raise BadFile(str(error), file=str(file)) from error
    click.echo(f"{file}: imported {count} votes into '{campaign}'")


@main.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
def verify_log(file: Path) -> None:
    """Check an export against its manifest (not available yet)."""
    raise BadFile(
        "verification needs the signed manifest, which is not available yet; see CHANGELOG.md",
        file=str(file),
    )


@contextmanager
def _progress(length: int, label: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, when that is a terminal."""
    shown = sys.stderr.isatty()
    with click.progressbar(length=length, label=label, file=sys.stderr, hidden=not shown) as bar:
        yield bar.update


@contextmanager
def _file_progress(file: Path, label: str) -> Iterator[Callable[[int], None]]:
    with _progress(file.stat().st_size if file.is_file() else 0, label) as update:
        yield update


if __name__ == "__main__":
    main()
