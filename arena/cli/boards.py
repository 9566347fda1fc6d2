"""Commands that rate votes, and that show what was rated."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import click

from arena import board_svg, board_text, log
from arena.boards import METHODS, OVERALL, VARIANTS, Boards
from arena.campaigns import DEFAULT, OPERATOR, Campaigns
from arena.cli.environment import settings_given
from arena.cli.progress import file_progress_bar, progress_bar
from arena.cli.stores import opened
from arena.errors import BadFile, Conflict
from arena.memory import keep_for_boards
from arena.vote_file import read_votes


def _anchor(_context: click.Context, _option: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    name, _, rating = value.rpartition("=")
    try:
        return name, float(rating)
    except ValueError:
        raise click.BadParameter("write it as NAME=1000.") from None


@click.command()
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

    keep_for_boards()
    with file_progress_bar(file, "reading") as progress:
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


@click.command()
@click.option("--campaign", default=DEFAULT.id, show_default=True)
@click.option("--category", default=OVERALL, show_default=True)
@click.option("--method", type=click.Choice(METHODS), default="auto", show_default=True)
def board(campaign: str, category: str, method: str) -> None:
    """The current board in the terminal."""
    with opened(settings_given()) as store:
        found = Campaigns(store.campaigns).get(campaign, OPERATOR)
        published = Boards(store).get(found, category, method)
    click.echo(board_text.to_table(published.document), nl=False)


@click.command("method")
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
    with opened(settings_given()) as store:
        found = Campaigns(store.campaigns).get(campaign, OPERATOR)
        record = leaderboard.method_record(found.id, reason, pinned)
        store.votes.append([(record, None)])
    click.echo(f"The log has it: '{found.id}' is rated by '{name}'. The worker follows.")


@click.group()
def audit() -> None:
    """What the log says about the arena itself."""


@audit.command("blindness")
@click.option("--campaign", default=DEFAULT.id, show_default=True)
@click.option("--publish", is_flag=True, help="Append the figures to the log; without the words.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
def audit_blindness(*, campaign: str, publish: bool, seed: int, form: str) -> None:
    """How recognisable each model of a campaign is by the words of its answers.

    A classifier learns from the log's answers and is asked, told the pair, which side of other
    battles is which model: 50 % would be perfectly blind.
    """
    # on two busy cores two threads took forty times as long
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from arena import blindness  # noqa: PLC0415  it loads numpy and scipy

    with opened(settings_given()) as store:
        found = Campaigns(store.campaigns).get(campaign, OPERATOR)
        if publish and not found.publish_text:
            raise Conflict(
                f"The consent of '{found.id}' does not let its texts be published, nor figures "
                "made from them. Without --publish they are for you alone."
            )
        position, sample = store.votes.position(), blindness.Sample(seed)
        with progress_bar(position, "reading") as progress:
            sample.take_log(store.votes, found, position, published=publish, progress=progress)
        with progress_bar(blindness.FITS, "fitting") as progress:
            result = blindness.audit(sample, progress)
        if publish:
            store.votes.append([(blindness.record(found, result, position), None)])
    if form == "json":
        click.echo(json.dumps(result.to_json(words=True), ensure_ascii=False))
    else:
        click.echo(result.to_text(), nl=False)
    if publish:
        click.echo("The log has it; the campaign's pages show it once it is sealed.", err=True)


@click.command("agreement")
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

    with file_progress_bar(file, "reading") as progress:
        found = list(agreement.judgements(read_votes(file, progress)))
    if judges is not None:
        with file_progress_bar(judges, "reading") as progress:
            found += agreement.judgements(read_votes(judges, progress), judges=True)
    report = agreement.report(found)
    if form == "json":
        click.echo(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        click.echo(report.to_text(), nl=False)
