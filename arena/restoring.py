"""A whole log out of its export: verified first, then all of it or nothing."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from arena.clock import now
from arena.errors import BadFile
from arena.interfaces import Campaign, Lease, SealedBoard, Store
from arena.records import LEAF_FIELDS, Content, LogRow, Record, remark
from arena.sealing import digest_of, sealed_record
from arena.vote_file import Progress

ERASED_ELSEWHERE = "erased where the log came from"
"""Why a text is missing whose erasure came behind the position of the export."""


@dataclass(frozen=True, slots=True)
class Whole:
    """An export that was found to hold, by what was read then: the bytes of its manifest, and the
    SHA-256 of its own (hex)."""

    manifest: bytes
    sha256: str

    def read(self, path: Path) -> dict[str, Any]:
        """The manifest.

        Raises `BadFile` for an export that has not all records: those alone are no log.
        """
        manifest: dict[str, Any] = json.loads(self.manifest)
        if not manifest["complete"]:
            raise BadFile(
                "leaves out records of other campaigns or from before, so it is not the whole log "
                "and cannot be taken over as one. Its votes can be imported into a campaign with "
                "--campaign",
                file=str(path),
            )
        return manifest


def restore_log(store: Store, lease: Lease, path: Path, whole: Whole, progress: Progress) -> int:
    """Make the log of an empty system the one of this export; returns its position.

    What is taken over are the very bytes, of export and manifest, that were found to hold. Raises
    `BadFile` where the export was changed since, or where a record or a sealed board is of a form
    that this arena cannot follow, and `Conflict` and `LeaseLost`; nothing is written then.
    """
    manifest = whole.read(path)
    campaigns = [Campaign(**campaign) for campaign in manifest["campaigns"]]
    sealed = [SealedBoard(**board) for board in manifest["sealed"]]
    restored = _Restored(path, whole.sha256, manifest["erased_later"], sealed, progress)
    store.votes.restore(lease, campaigns, restored.rows(), sealed)
    position: int = manifest["position"]
    return position


class _Restored:
    def __init__(
        self,
        path: Path,
        sha256: str,
        erased_later: list[str],
        sealed: list[SealedBoard],
        progress: Progress,
    ) -> None:
        self._path = path
        self._sha256 = sha256
        self._erased = set(erased_later)
        self._progress = progress
        self._sealed: dict[str, list[SealedBoard]] = defaultdict(list)
        for board in sealed:
            self._sealed[board.sealing].append(board)

    def rows(self) -> Iterator[LogRow]:
        """The sealed records in their order; then those that the log will say behind them: of
        texts that were erased, and of the digests of sealed boards."""
        erasures, sealings, told = [], dict[str, LogRow](), set[str]()
        for row in self._lines():
            if row["seq"] is None:
                continue  # a void or a skip stands beside the log
            record = self._record(row)
            content = None
            if row["salt"] is not None:
                content = Content(*(row[name] for name in Content.__slots__))
            elif record.id in self._erased:
                erasures.append(record)
            found = LogRow(row["seq"], record, record.leaf(), content)
            if record.type == "sealing":
                sealings[record.id] = found
            elif record.type == "sealed":
                told.add(self._checked(record, sealings))
            yield found
        at = now()
        for record in erasures:
            yield _pending(remark("erasure", record, ERASED_ELSEWHERE, at))
        for sealing in sorted(self._sealed.keys() - told):
            record = sealed_record(self._sealed[sealing])
            self._checked(record, sealings)
            yield _pending(record)

    def _lines(self) -> Iterator[dict[str, Any]]:
        digest = hashlib.sha256()
        with self._path.open("rb") as file:
            for line in file:
                digest.update(line)
                self._progress(len(line))
                try:
                    yield json.loads(line)
                except ValueError:
                    break
        if digest.hexdigest() != self._sha256:
            raise BadFile("changed while it was read", file=str(self._path))

    def _record(self, row: dict[str, Any]) -> Record:
        fields = {name: row[name] for name in LEAF_FIELDS}
        winner = "tie" if row["winner"] == "both_bad" else row["winner"]
        record = Record(**{**fields, "winner": winner, "reasons": tuple(row["reasons"])})
        form = _FORMS.get(record.type)
        if form is not None:
            try:
                form.model_validate({"timestamp": record.timestamp, "data": record.data})
            except ValidationError as error:
                first = error.errors()[0]
                raise BadFile(
                    f"a record of type '{record.type}' cannot be followed: {first['msg']}",
                    file=f"{self._path}, seq {row['seq']}",
                    field=".".join(map(str, first["loc"])),
                ) from error
        return record

    def _checked(self, record: Record, sealings: dict[str, LogRow]) -> str:
        """The sealing that a record of `sealed` is about. Raises `BadFile` unless its boards are
        all there, each with the digest that it tells, and of the place of that sealing."""
        told = record.data or {}
        sealing, boards = told["sealing"], self._sealed[told["sealing"]]
        found = sealings.get(sealing)
        place = None if found is None else (found.record.campaign, found.seq)
        holds = told["boards"] == {board.category: digest_of(board.document) for board in boards}
        for board in boards:
            holds &= board.digest == told["boards"].get(board.category)
            holds &= (board.campaign, board.log_position) == place
        if not holds:
            raise BadFile(
                f"each sealed board of sealing {sealing} must be in the manifest as the log tells "
                "it",
                file=str(self._path),
            )
        return str(sealing)


def _pending(record: Record) -> LogRow:
    return LogRow(None, record, record.leaf())


# --- what a record of an event must say ---------------------------------------------------------


class _Form(BaseModel):
    """What pages and worker need of an event's data; whatever else it says stays as it is."""

    model_config = ConfigDict(strict=True)


def _is_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


_Time = Annotated[str, AfterValidator(_is_time)]
_Data = TypeVar("_Data", bound=_Form)


class _Event(_Form, Generic[_Data]):
    timestamp: _Time
    data: _Data


class _Named(_Form):
    name: str


class _Method(_Form):
    method: _Named | None
    automatic: bool
    votes: int
    evidence: dict[str, Any] | None


class _Campaign(_Form):
    kind: str
    state: str
    public: bool
    publish_text: bool
    title: str
    title_zh: str
    description: str
    description_zh: str
    consent: str
    consent_zh: str
    credit: str
    license: str
    source: str
    changed: list[str]


class _Model(_Form):
    model: str
    name: str
    roster_revision: int


class _Entry(_Model):
    organization: str
    license: str
    link: str


class _To(_Form):
    to: Any


class _Change(_Model):
    changed: dict[str, _To]


class _Disclosure(_Model):
    private_since: _Time
    private_battles: int


class _Sealing(_Form):
    statement: str


class _Sealed(_Form):
    sealing: str
    log_position: int
    boards: dict[str, str]
    problem: str | None = None


class _Audit(_Form):
    log_position: int
    models: list[dict[str, Any]]


_FORMS: dict[str, type[_Event[Any]]] = {
    "method": _Event[_Method],
    "campaign": _Event[_Campaign],
    "entry": _Event[_Entry],
    "change": _Event[_Change],
    "retirement": _Event[_Model],
    "disclosure": _Event[_Disclosure],
    "sealing": _Event[_Sealing],
    "sealed": _Event[_Sealed],
    "blindness": _Event[_Audit],
}
"""Of each of `EVENT_TYPES`."""
