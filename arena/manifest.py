"""The signed manifest of an export: what the log was then, and which boards stood on it.

With it whoever has the export's rows can prove that each is in the signed log, that none is missing
where all records were wanted, and that the published boards follow from them: `arena.verify`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import rfc8785

from arena.errors import ForkedLog, NotFound
from arena.interfaces import Campaign, Head, SealedBoard, Snapshot, Store
from arena.notes import Signer
from arena.tree import FANOUT, Tree

FORMAT = "arena-export/1"
SUFFIX = ".manifest.json"
"""Of the manifest's name, behind the whole name of the export."""

_MOST_SPANS = 4_096
_PAGE = 4_096
_DETAILS = ("converged", "components")


@dataclass(frozen=True, slots=True)
class File:
    """The export as a file: its name, its rows and the SHA-256 of its bytes (hex)."""

    name: str
    rows: int
    sha256: str


class Digest:
    """Takes in a file's pieces, one row each, as they pass."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._rows = 0

    def of(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same pieces."""
        for piece in pieces:
            self._hash.update(piece)
            self._rows += 1
            yield piece

    def file(self, name: str) -> File:
        """What has passed."""
        return File(name, self._rows, self._hash.hexdigest())


class Manifests:
    """Writes manifests of what the log was at some position."""

    def __init__(self, store: Store, signer: Signer) -> None:
        self._store = store
        self._signer = signer
        self._tree = Tree(store.votes, store.trees)

    def check(self, position: int) -> Head:
        """The head that the worker signed of this position, where the log still has its root.

        Raises as `write` does.
        """
        trees = self._store.trees
        head = trees.head(position)
        if head is None:
            nearest = trees.nearest(position)
            there = "none is kept yet" if nearest is None else f"the nearest is of {nearest.size}"
            raise NotFound(
                f"No signed head of {position} records is kept, and a manifest is of one: {there}.",
                field="position",
            )
        try:
            root = self._tree.root(position).hex()
        except ValueError:
            raise ForkedLog(position, head.root, None) from None
        if root != head.root:
            raise ForkedLog(position, head.root, root)
        return head

    def write(
        self,
        campaigns: Sequence[Campaign],
        *,
        position: int,
        after: int = 0,
        file: File | None = None,
    ) -> Iterator[bytes]:
        """The manifest of an export of the sealed records of these campaigns with after < `seq` ≤
        position, piece by piece: its RFC 8785 JSON, and the signature over that behind it.

        It must be begun when the last row has been read: what was erased meanwhile is told here.
        Raises `NotFound` where no head of `position` is kept, and `ForkedLog` where the log has
        another root by now, before the first piece.
        """
        return self._pieces(campaigns, self.check(position), after, file)

    def _pieces(
        self, campaigns: Sequence[Campaign], head: Head, after: int, file: File | None
    ) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for piece in self._members(campaigns, head, after, file):
            digest.update(piece)
            yield piece
        digest.update(b"}")
        text = f"arena manifest v1\n{self._signer.name}\n{digest.hexdigest()}\n"
        yield b',"signature":%s}\n' % rfc8785.dumps(self._signer.sign(text))

    def _members(
        self, campaigns: Sequence[Campaign], head: Head, after: int, file: File | None
    ) -> Iterator[bytes]:
        """All members, in the order of RFC 8785, without the last brace."""
        position, store, ids = head.size, self._store, [campaign.id for campaign in campaigns]
        gaps = _subtrees(self._left_out(ids, position, after))
        first = next(gaps, None)
        proof = chain(() if first is None else (first,), gaps)
        # what is left out in front cannot be counted again
        boards: Iterable[Snapshot] = () if after else store.snapshots.standing(ids, position)
        sealed: Sequence[SealedBoard] = () if after else store.sealed.until(ids, position)
        yield b'{"after":%d' % after
        yield from _list("campaigns", map(_campaign, campaigns))
        yield b',"complete":%s' % (b"true" if first is None else b"false")
        yield from _list("erased_later", store.votes.erased_after(ids, position))
        yield b',"file":' + rfc8785.dumps(None if file is None else asdict(file))
        yield b',"format":' + rfc8785.dumps(FORMAT)
        yield b',"head":' + rfc8785.dumps(self._note(head))
        yield b',"key":' + rfc8785.dumps(self._signer.to_json())
        yield b',"position":%d' % position
        yield from _list("proof", (self._proved(start, stop) for start, stop in proof))
        yield from _list("sealed", map(asdict, sealed))
        yield from _list("snapshots", map(_board, boards))
        yield b',"spans":' + rfc8785.dumps(self._spans(position))

    def _note(self, head: Head) -> str:
        """The note that is kept; where an earlier key signed it, this key says the very same."""
        if self._signer.has_signed(head.note):
            return head.note
        return self._signer.head(head.size, bytes.fromhex(head.root), head.timestamp)

    def _left_out(self, campaigns: Sequence[str], position: int, after: int) -> Iterator[range]:
        """The leaves (from 0) of the records that the export does not have, in order."""
        if after:
            yield range(min(after, position))
        others = [one.id for one in self._store.campaigns.all() if one.id not in campaigns]
        while others and (places := self._store.votes.places(others, after, position, _PAGE)):
            for seq in places:
                yield range(seq - 1, seq)
            after = places[-1]

    def _proved(self, start: int, stop: int) -> list[Any]:
        return [start + 1, stop, self._tree.subtree(start, stop).hex()]

    def _spans(self, position: int) -> dict[str, Any]:
        """The roots of all whole subtrees of one width, by which a wrong record is found.

        Few records have a root each, that is their leaf; of many, as many as the tree keeps nodes.
        """
        width = 1 if position <= _MOST_SPANS else FANOUT
        while position // width > _MOST_SPANS:
            width *= 2
        starts = range(0, position - width + 1, width)
        # the last one first: where the tree keeps no nodes yet, it then makes each block once
        roots = [self._tree.subtree(start, start + width).hex() for start in reversed(starts)]
        return {"roots": roots[::-1], "width": width}


def _subtrees(gaps: Iterable[range]) -> Iterator[tuple[int, int]]:
    """The maximal complete subtrees that cover these leaves, as (start, stop)."""
    for gap in _joined(gaps):
        start = gap.start
        while start < gap.stop:
            most = 1 << ((gap.stop - start).bit_length() - 1)
            width = min(most, start & -start) if start else most
            yield start, start + width
            start += width


def _joined(gaps: Iterable[range]) -> Iterator[range]:
    """The same without borders between those that touch."""
    open_gap = range(0)
    for gap in gaps:
        if gap.start == open_gap.stop:
            open_gap = range(open_gap.start, gap.stop)
            continue
        yield open_gap
        open_gap = gap
    yield open_gap


def _list(name: str, values: Iterable[Any]) -> Iterator[bytes]:
    yield b',"%s":[' % name.encode()
    for number, value in enumerate(values):
        yield (b"," if number else b"") + rfc8785.dumps(value)
    yield b"]"


def _campaign(campaign: Campaign) -> dict[str, Any]:
    return asdict(campaign)


def _board(board: Snapshot) -> dict[str, Any]:
    told = asdict(board)
    details = told.pop("details")
    return told | {name: details.get(name) for name in _DETAILS}
