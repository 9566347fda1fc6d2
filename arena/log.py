"""The log as files: export of the sealed sequence, import of anybody's votes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from arena.clock import now
from arena.errors import BadFile, InvalidField
from arena.interfaces import Campaign, Columns, Outcome, VoteLog
from arena.records import EXPORT_FIELDS, Content, Record, new_salt, remark
from arena.vote_file import Progress, VoteRow, read_votes

Format = Literal["jsonl", "csv", "parquet"]
FORMATS: tuple[Format, ...] = ("jsonl", "csv", "parquet")
MEDIA_TYPES = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
_PAGE = 1_024
_TEXTS = ("conversation_a", "conversation_b", "comment", "salt")


def check_format(name: str) -> Format:
    """Raises `InvalidField` for a format that cannot be written."""
    for known in FORMATS:
        if name == known:
            return known
    raise InvalidField(f"'format' must be one of {', '.join(FORMATS)}.", field="format")


# --- export -------------------------------------------------------------------------------------


def pages(
    votes: VoteLog,
    campaigns: Sequence[Campaign],
    *,
    after: int = 0,
    until: int | None = None,
    outcomes: bool = False,
) -> Iterator[Columns]:
    """The sealed records of these campaigns in sequence order, then (if asked) voids and skips.

    They come by column, a thousand at a time, fewer where texts are long; whoever takes long to
    write one keeps nothing of the database. `until` fixes the log position that the whole export
    stands for; None means the newest. Text is given only where the campaign's consent covers it.
    """
    if until is None:
        until = votes.position()
    consent = {campaign.id: campaign.publish_text for campaign in campaigns}
    while page := votes.exported(after, until, _PAGE, list(consent)):
        yield _consented(page, consent)
        after = page["seq"][-1]
    if outcomes:
        found = map(_outcome_row, votes.outcomes(list(consent)))
        while some := list(islice(found, _PAGE)):
            yield {name: [row[name] for row in some] for name in EXPORT_FIELDS}


def _consented(page: Columns, consent: Mapping[str, bool]) -> Columns:
    given = [consent[campaign] for campaign in page["campaign"]]
    if all(given):
        return page
    return page | {
        name: [text if is_given else None for text, is_given in zip(page[name], given, strict=True)]
        for name in _TEXTS
    }


def rows(pages: Iterable[Columns]) -> Iterator[dict[str, Any]]:
    """The same row by row."""
    for page in pages:
        for cells in zip(*page.values(), strict=True):
            yield dict(zip(page, cells, strict=True))


def _outcome_row(outcome: Outcome) -> dict[str, Any]:
    battle = outcome.battle
    row: dict[str, Any] = dict.fromkeys(EXPORT_FIELDS)
    return row | {
        "type": outcome.type,
        "id": battle.id,
        "campaign": battle.campaign,
        "battle_id": battle.id,
        "timestamp": outcome.timestamp,
        "model_a": battle.model_a,
        "model_b": battle.model_b,
        "turns": battle.turn,
        "propensity": battle.propensity,
        "sampling_rule": battle.sampling_rule,
        "roster_revision": battle.roster_revision,
        "reasons": [],
        "flags": [f"side_{outcome.side}"] if outcome.side else [],
        "reason": outcome.reason,
    }


def encode(pages: Iterable[Columns], form: Format) -> Iterator[bytes]:
    """The rows as a file, piece by piece. In CSV, lists are JSON inside their cell."""
    if form == "parquet":
        # who writes no Parquet, as web, never loads its library
        from arena import parquet  # noqa: PLC0415

        yield from parquet.encode(pages)
    elif form == "csv":
        yield _csv_line(EXPORT_FIELDS)
        for row in rows(pages):
            yield _csv_line(map(_cell, row.values()))
    else:
        for row in rows(pages):
            yield json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict | bool):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return "" if value is None else value


def _csv_line(cells: Iterable[Any]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue().encode()


def export_file(pieces: Iterable[bytes], path: Path) -> None:
    """Write a file that is either whole or not there.

    Raises `BadFile` when it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise BadFile(f"cannot be written: {error.strerror}", file=str(path)) from error
    finally:
        with suppress(OSError):  # it was never there
            partial.unlink()


# --- import -------------------------------------------------------------------------------------


def import_file(votes: VoteLog, campaign: Campaign, path: Path, progress: Progress) -> int:
    """Append every vote of a CSV or JSONL file to a campaign; all of them or none.

    Raises `BadFile` naming file, row and field, and `Conflict` when this file was imported into
    this campaign before.
    """
    imported_at = now()
    return votes.import_file(
        campaign,
        _digest(path),
        chain.from_iterable(
            _imported(row, campaign.id, imported_at) for row in read_votes(path, progress)
        ),
    )


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadFile(f"cannot be read: {error.strerror}", file=str(path)) from error


def _imported(
    row: VoteRow, campaign: str, imported_at: str
) -> Iterator[tuple[Record, Content | None]]:
    """The vote's record and, where the file says that it does not count, its exclusion."""
    content = None
    if row.conversation_a or row.conversation_b or row.comment:
        content = Content(new_salt(), row.conversation_a, row.conversation_b, row.comment)
    record = Record(
        id=secrets.token_hex(16),
        type="vote",
        campaign=campaign,
        timestamp=row.timestamp or imported_at,
        model_a=row.model_a,
        model_b=row.model_b,
        grade=row.grade,
        winner=row.winner,
        both_bad=row.both_bad,
        reasons=row.reasons,
        voter=row.voter,
        voter_kind=row.voter_kind or "import",
        language=row.language,
        category_tag=row.category_tag,
        turns=row.turns,
        propensity=row.propensity,
        content_digest=content.digest() if content else None,
    )
    yield record, content
    if row.excluded_reason is not None:
        yield remark("exclusion", record, row.excluded_reason, imported_at), None
