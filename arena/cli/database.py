"""Commands for the database, its backups, and the roster in it."""

from __future__ import annotations

from pathlib import Path

import click

from arena import backup, endpoints, roster, supervisor
from arena.checkup import Checkup
from arena.cli.environment import settings_given
from arena.cli.preparing import prepare
from arena.cli.progress import progress_bar
from arena.cli.stores import opened
from arena.errors import BadFile


@click.group()
def models() -> None:
    """The roster."""


@models.command("check")
def check_models() -> None:
    """Ask every endpoint of the roster one short prompt and print a table."""
    settings = settings_given()
    with opened(settings) as store:
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


@click.group()
def db() -> None:
    """The database."""


@db.command("upgrade")
def upgrade_database() -> None:
    """Bring the schema, the default campaign and the roster up to date."""
    settings = settings_given()
    prepare(settings)
    click.echo("The database is up to date.")


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
def make_backup(file: Path) -> None:
    """Write database, keys and arena.toml into one FILE, while the service runs.

    Who has the file can read every vote's text and sign cookies, receipts and the log's heads: keep
    it safe.
    """
    settings = settings_given()
    made = backup.create(settings, file.absolute(), progress_bar)
    click.echo(f"{file}: the log up to position {made.log_position}, {_listed(made)}")
    for name, key in (
        ("ARENA_SECRET_KEY", settings.given_secret_key),
        ("ARENA_SIGNING_KEY", settings.given_signing_key),
    ):
        if key is not None:
            click.echo(f"{name} comes from the environment and is not in it: keep it too.")


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--new-key/--same-key",
    "new_key",
    default=False,
    help="Sign with a new key from now on, wherever the arena signed anything after the backup.",
)
def take_back(file: Path, new_key: bool) -> None:
    """Bring back what 'arena backup' wrote to FILE: all of it, over nothing, or nothing of it.

    The log goes on from the backup. Where it had gone on before, the same key would now sign
    another log of the same length: nobody could tell this from a forgery. Give --new-key then.
    """
    settings = settings_given()
    with supervisor.only_one(settings.data / "arena.lock"):
        taken = backup.restore(settings, file, progress_bar, new_key=new_key)
    click.echo(f"{file}: restored up to position {taken.log_position} of {taken.created_at}")
    if new_key:
        click.echo(
            "What follows is signed with a new key. Announce it, and what was lost: whoever knows "
            "the old key is warned, and votes given after the backup are not in the log any more."
        )
    else:
        click.echo(
            "The same key signs. If it signed anything after the backup, the log contradicts that "
            "now: take the restored data away and restore with --new-key."
        )
    click.echo("Run 'arena db upgrade', or 'arena up', which does it.")


def _listed(made: backup.Manifest) -> str:
    return ", ".join(made.files)
