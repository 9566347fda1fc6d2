"""The log as Parquet: the rows of the JSONL export with the same names and types.

Conversations are lists of messages as in lmarena-ai/arena-human-preference-140k. A message that is
more than a role and plain text (an imported one may be) is in `json` as it is. `data` of a record
is JSON text, because each kind of record has other fields there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from arena.interfaces import Columns
from arena.records import EXPORT_FIELDS

_GROUP_ROWS = 2**16
_GROUP_BYTES = 32 * 2**20

_PART = pa.struct([("type", pa.string()), ("text", pa.string())])
_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.list_(_PART)), ("json", pa.string())])
_TYPES: dict[str, Any] = {
    **dict.fromkeys(("seq", "grade", "turns", "tokens_a", "tokens_b"), pa.int64()),
    **dict.fromkeys(("ttft_a", "ttft_b", "duration_a", "duration_b"), pa.float64()),
    **dict.fromkeys(("reasons", "flags"), pa.list_(pa.string())),
    **dict.fromkeys(("conversation_a", "conversation_b"), pa.list_(_MESSAGE)),
    "propensity": pa.float64(),
    "roster_revision": pa.int64(),
    "both_bad": pa.bool_(),
}
SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in EXPORT_FIELDS])


def encode(pages: Iterable[Columns]) -> Iterator[bytes]:
    """The file, piece by piece; a piece is a group of rows of some megabytes."""
    sink = _Sink()
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd") as writer:
        for group in _groups(pages):
            writer.write_table(group, row_group_size=_GROUP_ROWS)
            yield sink.take()
    yield sink.take()


def _groups(pages: Iterable[Columns]) -> Iterator[Any]:
    """Tables that are worth a row group each: small groups read slowly."""
    batches: list[Any] = []
    rows = size = 0
    for page in pages:
        batches.append(_batch(page))
        rows, size = rows + batches[-1].num_rows, size + batches[-1].nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield pa.Table.from_batches(batches)
            batches, rows, size = [], 0, 0
    if batches:
        yield pa.Table.from_batches(batches)


def _batch(page: Columns) -> Any:
    converted = dict(page)
    for name in ("conversation_a", "conversation_b"):
        converted[name] = [
            None if said is None else list(map(_message, said)) for said in page[name]
        ]
    converted["data"] = [None if data is None else _text(data) for data in page["data"]]
    arrays = [pa.array(converted[field.name], field.type) for field in SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _message(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if message.keys() == {"role", "content"} and isinstance(content, list):
        if all(map(_is_plain, content)):
            return message
    return {"role": message["role"], "content": None, "json": _text(message)}


def _is_plain(part: Any) -> bool:
    return (
        isinstance(part, dict)
        and part.keys() == {"type", "text"}
        and all(isinstance(text, str) for text in part.values())
    )


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _Sink:
    """A file that is taken away while it is being written."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """What is left is taken afterwards."""
