"""The sealed log as rating needs it, page by page.

A whole page is a pure function of its 65,536 records, which never change: it is made once and kept,
about 1 MB, so that a worker that starts reads few large pages instead of a million rows. Whatever
is kept may be lost at any moment, and is then made anew.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from arena import categories
from arena.interfaces import Counted, Lease, Store
from arena.records import IDENTITY_LEAK
from arena.tally import Tally, numbered, voter_keys
from ratings.comparisons import outcome_of

_log = logging.getLogger(__name__)

PAGE = 2**16
"""Records of a whole page."""

_BATCH = 2**12  # a record takes a kilobyte until it is in a column
_FORMAT = 2  # of what is kept and of what it means; another one is made anew
_DIGEST = 32  # bytes in front of it
_TYPES: dict[str, type] = {
    "seq": np.int64,
    "model_a": np.int32,
    "model_b": np.int32,
    "outcome": np.int8,
    "voter": np.int64,
    "propensity": np.float32,
    "kind": np.int32,
}
_VoteAt = Callable[[str], tuple[str, int] | None]


class Kind(NamedTuple):
    """What tells to which boards a vote belongs."""

    campaign: str
    language: str | None
    category_tag: str | None
    turns: int | None
    voter_kind: str | None

    def categories(self) -> tuple[str, ...]:
        fields = self._asdict()
        del fields["campaign"]
        return categories.of_vote(**fields)


@dataclass(frozen=True, slots=True)
class Event:
    """A record that is no vote. `vote` is the campaign and `seq` of the one that it takes out of
    boards."""

    seq: int
    type: str
    campaign: str
    data: dict[str, Any] | None = None
    vote: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """The records with first ≤ `seq` ≤ last; votes that make no sense are left out.

    `columns` are those of `Tally.add_coded`, with places in `models` and `kinds`.
    """

    first: int
    last: int
    models: list[str]
    kinds: list[Kind]
    columns: dict[str, npt.NDArray[Any]]
    events: list[Event]

    @classmethod
    def of(cls, records: Sequence[Counted], vote_at: _VoteAt) -> Page:
        """The page of consecutive records, at least one; `vote_at` says where a vote is by id."""
        votes, events = [], []
        for record in records:
            if record.type != "vote":
                events.append(_event(record, vote_at))
                continue
            try:
                said = outcome_of(record.grade, record.winner or "")
                if record.model_a == record.model_b:
                    raise ValueError(f"model {record.model_a!r} is compared with itself")
            except ValueError as error:  # one odd record must not stop all boards
                _log.error("record %s is left out of the board: %s", record.id, error)
                continue
            votes.append((record, said))
        models: dict[str, int] = {}
        kinds: dict[Kind, int] = {}
        found = {
            "seq": [vote.seq for vote, _ in votes],
            "model_a": numbered([vote.model_a or "" for vote, _ in votes], models),
            "model_b": numbered([vote.model_b or "" for vote, _ in votes], models),
            "outcome": [said for _, said in votes],
            "voter": voter_keys([vote.voter for vote, _ in votes]),
            "propensity": [vote.propensity for vote, _ in votes],
            "kind": numbered([_kind(vote) for vote, _ in votes], kinds),
        }
        columns: dict[str, npt.NDArray[Any]] = {
            name: np.array(found[name], kind) for name, kind in _TYPES.items()
        }
        return cls(records[0].seq, records[-1].seq, list(models), list(kinds), columns, events)

    @classmethod
    def joined(cls, pages: Sequence[Page]) -> Page:
        """One page of several that follow each other."""
        models: dict[str, int] = {}
        kinds: dict[Kind, int] = {}
        parts = []
        for page in pages:
            model, kind = numbered(page.models, models), numbered(page.kinds, kinds)
            parts.append(
                page.columns
                | {name: model[page.columns[name]] for name in ("model_a", "model_b")}
                | {"kind": kind[page.columns["kind"]]}
            )
        columns = {name: np.concatenate([part[name] for part in parts]) for name in _TYPES}
        events = [event for page in pages for event in page.events]
        return cls(pages[0].first, pages[-1].last, list(models), list(kinds), columns, events)

    def until(self, position: int) -> Page:
        """Its records up to this position."""
        if self.last <= position:
            return self
        chosen = self.columns["seq"] <= position
        columns = {name: column[chosen] for name, column in self.columns.items()}
        events = [event for event in self.events if event.seq <= position]
        return replace(self, last=position, columns=columns, events=events)

    def to_bytes(self) -> bytes:
        words = {
            "first": self.first,
            "last": self.last,
            "models": self.models,
            "kinds": self.kinds,
            "events": [asdict(event) for event in self.events],
        }
        buffer = io.BytesIO()
        text = np.frombuffer(json.dumps(words).encode(), np.uint8)
        np.savez_compressed(buffer, words=text, **self.columns)  # type: ignore[arg-type]  # its stub
        archive = buffer.getvalue()
        return _digest(archive) + archive

    @classmethod
    def from_bytes(cls, data: bytes) -> Page | None:
        """What `to_bytes` gave; None when it is damaged or of another format."""
        digest, archive = data[:_DIGEST], data[_DIGEST:]
        if digest != _digest(archive):
            return None
        with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
            words = json.loads(arrays["words"].tobytes())
            return cls(
                words["first"],
                words["last"],
                words["models"],
                [Kind(*kind) for kind in words["kinds"]],
                {name: arrays[name] for name in _TYPES},
                [_kept_event(fields) for fields in words["events"]],
            )

    def campaigns(self) -> list[str]:
        """The campaigns that have records here."""
        named = [*(kind.campaign for kind in self.kinds), *(one.campaign for one in self.events)]
        return list(dict.fromkeys(named))

    def count(self, campaign: str, tally: Tally) -> set[str]:
        """Add the votes of one campaign to its tally; returns the categories that they are in."""
        ours = np.array([kind.campaign == campaign for kind in self.kinds], np.bool_)
        if not ours.any():
            return set()
        chosen = slice(None) if ours.all() else ours[self.columns["kind"]]
        kinds = [kind.categories() if kind.campaign == campaign else () for kind in self.kinds]
        columns = {name: column[chosen] for name, column in self.columns.items()}
        tally.add_coded(models=self.models, kinds=kinds, **columns)
        return {key for keys in kinds for key in keys}


def _digest(archive: bytes) -> bytes:
    """Tells before any of an archive is read that it is whole, and of this format."""
    return hashlib.sha256(b"%d\n" % _FORMAT + archive).digest()


def _kind(vote: Counted) -> Kind:
    return Kind(vote.campaign, vote.language, vote.category_tag, vote.turns, vote.voter_kind)


def _event(record: Counted, vote_at: _VoteAt) -> Event:
    is_leak = record.type == "flag" and record.reason == IDENTITY_LEAK
    takes_out = record.target is not None and (record.type == "exclusion" or is_leak)
    vote = vote_at(record.target or "") if takes_out else None
    return Event(record.seq, record.type, record.campaign, record.data, vote)


def _kept_event(fields: dict[str, Any]) -> Event:
    vote = fields.pop("vote")
    return Event(**fields, vote=vote and (vote[0], vote[1]))


class Pages:
    """Reads the log by pages under a lease, and keeps the whole ones for the next worker."""

    def __init__(self, store: Store, lease: Lease) -> None:
        self._votes = store.votes
        self._kept = store.pages
        self._lease = lease

    def after(self, position: int) -> Iterator[Page]:
        """What is sealed after this position."""
        while (page := self._next(position)) is not None:
            yield page
            position = page.last
            if position % PAGE == 0 and page.first != position - PAGE + 1:
                self._make(position // PAGE - 1)

    def until(self, position: int) -> Iterator[Page]:
        """What is sealed up to this position, which there is, from the beginning."""
        for page in self.after(0):
            yield page.until(position)
            if page.last >= position:
                return

    def _next(self, position: int) -> Page | None:
        number, done = divmod(position, PAGE)
        if not done:
            kept = self._kept.get(number)
            page = None if kept is None else Page.from_bytes(kept)
            if page is not None and (page.first, page.last) == (position + 1, position + PAGE):
                return page
            if self._votes.position() >= position + PAGE:
                return self._make(number)
        return self._read(position, PAGE - done)

    def _make(self, number: int) -> Page:
        parts: list[Page] = []
        while not parts or parts[-1].last < (number + 1) * PAGE:
            position = parts[-1].last if parts else number * PAGE
            part = self._read(position, (number + 1) * PAGE - position)
            assert part is not None  # noqa: S101  what is sealed stays
            parts.append(part)
        page = Page.joined(parts)
        self._kept.save(self._lease, number, page.to_bytes())
        return page

    def _read(self, position: int, limit: int) -> Page | None:
        records = self._votes.counted(position, min(limit, _BATCH))
        return Page.of(records, self._vote_at) if records else None

    def _vote_at(self, record_id: str) -> tuple[str, int] | None:
        vote = self._votes.counted_record(record_id)
        return (vote.campaign, vote.seq) if vote is not None and vote.type == "vote" else None
