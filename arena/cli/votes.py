"""Commands for the vote log: out of it, into it, and what proves it."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from arena import log, restoring, verify
from arena.addresses import is_shared
from arena.campaigns import DEFAULT, OPERATOR, Campaigns
from arena.cli.environment import settings_given
from arena.cli.preparing import prepare
from arena.cli.progress import file_progress_bar, progress_bar
from arena.cli.refusals import Refusal
from arena.cli.stores import opened
from arena.errors import BadFile, BadSetting, Conflict, InvalidField
from arena.interfaces import Campaign, Columns, Lease
from arena.leases import WORKER, Watch, take_if_abandoned
from arena.manifest import SUFFIX, Digest, Manifests
from arena.notes import Signer
from arena.sealing import Sealings
from arena.settings import Settings
from arena.store import SqlStore
from arena.tree import Heads

_STANDARD_OUTPUT = Path("-")


def _campaign_id(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> str | None:
    if value is not None and not re.fullmatch("[a-z0-9][a-z0-9-]{0,63}", value):
        raise click.BadParameter("use small letters, digits and hyphens, such as llmfao-2023.")
    return value


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--campaign", "named", multiple=True, help="Only this campaign (or several); default: public."
)
@click.option("--outcomes", type=click.Choice(["votes", "all"]), default="votes")
@click.option("--format", "form", type=click.Choice(log.FORMATS), help="Default: as FILE is named.")
@click.option("--after", type=click.IntRange(0), default=0, help="Only records after this seq.")
@click.option(
    "--until",
    type=click.IntRange(0),
    help="The log position that it stands for, for JSONL the size of a signed head; default: of "
    "the newest one.",
)
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
    form, settings = form or _format_of(file), settings_given()
    with opened(settings) as store:
        campaigns = Campaigns(store.campaigns)
        chosen = [campaigns.get(one, OPERATOR) for one in named] or campaigns.public()
        head, newest = store.trees.head(), store.votes.position()
        covered = newest if head is None else head.size  # so far the rows can be verified
        position = min(covered if until is None else until, newest)
        pages = log.pages(
            store.votes, chosen, after=after, until=position, outcomes=outcomes == "all"
        )
        if file == _STANDARD_OUTPUT:
            _pour(log.encode(pages, form))
            return
        manifests = None
        if form == "jsonl" and head is not None:
            manifests = Manifests(store, _signer(settings))
            manifests.check(position)  # before anything is written
        digest = Digest()
        with progress_bar(position - after, "exporting") as progress:
            pieces = log.encode(_counted(pages, progress), form)
            log.export_file(pieces if manifests is None else digest.of(pieces), file)
        if manifests is not None:
            written = manifests.write(
                chosen, position=position, after=after, file=digest.file(file.name)
            )
            log.export_file(written, file.with_name(file.name + SUFFIX))
    click.echo(f"{file}: the log up to position {position}")
    if form != "jsonl":
        click.echo(f"It has no manifest and cannot be verified: only JSONL has one, not {form}.")
    elif manifests is None:
        click.echo(
            "It has no manifest and cannot be verified: no head of the log has been signed yet, "
            "which 'arena worker' does ('arena up' runs it)."
        )


def _signer(settings: Settings) -> Signer:
    """Who signs for this arena; it is never made up for one that others share."""
    if is_shared(settings.database_url) and not settings.has_signing_key():
        raise BadSetting(
            "Set ARENA_SIGNING_KEY as it is for web and worker: DATABASE_URL is a PostgreSQL, and "
            "all machines sign its log with one key."
        )
    return settings.signer()


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


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--campaign",
    callback=_campaign_id,
    help="Its id, such as llmfao-2023; made when it does not exist.",
)
@click.option("--title", help="The new campaign's title; default: its id.")
@click.option("--credit", default="", help="Who collected the votes.")
@click.option("--license", "licence", default="", help="Their licence.")
@click.option("--source", default="", help="Where they come from (an address).")
@click.option("--key", metavar="VERIFIER_KEY", help="The key that must have signed a whole log.")
def import_log(
    *,
    file: Path,
    campaign: str | None,
    title: str | None,
    credit: str,
    licence: str,
    source: str,
    key: str | None,
) -> None:
    """Append the votes of FILE (CSV, JSONL or Parquet) to a campaign: all of them or none.

    Without --campaign FILE is the export (JSONL, with its manifest) of a whole log, which becomes
    the log of this system, that must have none yet: with all records, campaigns, sealed boards and
    proofs. Anybody can sign a log of their own: --key says whose it must be.
    """
    if campaign is None:
        _restore(file, key)
        return
    if key is not None:
        raise click.UsageError("--key is of a whole log, without --campaign.")
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
    with opened(settings_given()) as store, file_progress_bar(file, "importing") as progress:
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


def _restore(file: Path, key: str | None) -> None:
    if not file.with_name(file.name + SUFFIX).is_file():
        raise BadFile(
            f"there is no {file.name}{SUFFIX} beside it, so it is not the export of a whole log. "
            "Votes alone go into a campaign: give --campaign ID",
            file=str(file),
        )
    report = _verified(file, key=key, boards=True)
    if report.status:
        raise BadFile("is not what was signed, so nothing of it was imported", file=str(file))
    whole = restoring.Whole(report.manifest, report.sha256)
    whole.read(file)  # or the database would be made for nothing
    settings = settings_given()
    prepare(settings)
    with opened(settings) as store, _worker_lease(settings, store) as lease:
        try:
            with file_progress_bar(file, "importing") as progress:
                position = restoring.restore_log(store, lease, file, whole, progress)
            heads = Heads(store.votes, store.trees, settings.signer(), lease, lambda: None)
            store.trees.add_head(lease, heads.at(position))
        except Conflict as error:
            raise BadFile(str(error), file=str(file)) from error
    click.echo(f"{file}: the log up to position {position}. The worker publishes its boards.")


@contextmanager
def _worker_lease(settings: Settings, store: SqlStore) -> Iterator[Lease]:
    """The worker's lease, once a worker that was killed has been silent for long enough."""
    watch = Watch(store.leases, settings.lease_seconds)
    holder, until = f"import-{os.getpid()}", time.monotonic() + 2 * settings.lease_seconds
    while (lease := take_if_abandoned(store.leases, watch, WORKER, holder)) is None:
        if time.monotonic() > until:
            raise BadSetting("A worker is at work on this log. Stop it, then import.")
        time.sleep(settings.lease_seconds / 10)
    try:
        yield lease
    finally:
        store.leases.release(lease)


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", metavar="VERIFIER_KEY", help="The key that must have signed.")
@click.option("--no-boards", is_flag=True, help="Check the records, recompute no board.")
def verify_log(*, file: Path, key: str | None, no_boards: bool) -> None:
    """Check an export (JSONL) against its signed manifest, and recompute its boards.

    Prints one line for each failure: seq, field, kind. The exit status is 0 when all holds, 1 when
    not, and 2 when there is nothing that could be checked.
    """
    report = _verified(file, key=key, boards=not no_boards)
    click.echo(str(report))
    raise SystemExit(report.status)


def _verified(file: Path, *, key: str | None, boards: bool) -> verify.Report:
    try:
        with file_progress_bar(file, "verifying") as progress:
            report = verify.verify(
                file, key=key, boards=boards, on_failure=click.echo, progress=progress
            )
    except verify.Unreadable as error:
        raise Refusal(str(error)) from error
    for note in report.notes:
        click.echo(f"arena: {note}", err=True)
    return report


@click.command("seal")
@click.option("--campaign", default=DEFAULT.id, show_default=True)
@click.option("--statement", required=True, help="What is sealed here and why.")
@click.option("--statement-zh", default="", help="The same in Chinese.")
def seal_board(*, campaign: str, statement: str, statement_zh: str) -> None:
    """Seal the boards of a campaign as the votes so far make them, for ever (封榜).

    A sealed board can be neither changed nor removed.
    """
    with opened(settings_given()) as store:
        found = Campaigns(store.campaigns).get(campaign, OPERATOR)
        record = Sealings(store).seal(found, statement, statement_zh)
    click.echo(
        f"Record {record.id} seals '{found.id}'. The worker gives it its place in the log and "
        f"computes the boards; /api/sealed?campaign={found.id} then tells where they are."
    )
