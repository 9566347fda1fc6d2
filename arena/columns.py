"""Columns of CSV, JSON Lines and Parquet files, read as a stream by row or by batch.

Memory does not grow with the file. What a column means is not known here: see `arena.vote_file`.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from arena.errors import BadFile
from arena.memory import bounded

Progress = Callable[[int], None]

MAX_LINE = 64 * 2**20
"""Longest line in bytes: a file without line ends must not fill the memory."""

MAX_CELL = 16 * 2**20
"""Longest CSV cell in characters; conversations are single cells."""

_FEW_ROWS = 256
_PARQUET_ROWS = 2**14
_PARQUET_BYTES = 16 * 2**20
_BUFFER_BYTES = 2**20
_MEMORY_BYTES = 2**29  # beyond what the process has
_PROGRESS_STEP = 2**18
_SHOWN = 200
_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

_T = TypeVar("_T")

Row = tuple[int, Mapping[str, Any]]
"""A row's number, from 1 at the first data row and blank lines included, and its cells by column.

A cell is a `str`, a number, a bool, a list or a dict, as far as the format knows them; one that
is missing or None is absent.
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows by column. A column that is not there is absent from all of them."""

    numbers: Sequence[int]
    columns: dict[str, Sequence[Any]]

    def rows(self) -> Iterator[Row]:
        """The same, row by row."""
        for number, *cells in zip(self.numbers, *self.columns.values(), strict=True):
            yield number, dict(zip(self.columns, cells, strict=True))


class Table(Protocol):
    """An open file. A row that cannot be read raises `BadFile` after those before it were given."""

    @property
    def header(self) -> Sequence[str] | None:
        """The names of all columns, None where each row has its own."""

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """The cells of these columns (others may be among them), row by row."""

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """The same by batches of at most 16,384 rows: much faster."""


@contextmanager
def open_table(path: Path, progress: Progress) -> Iterator[Table]:
    """Open a `.csv`, `.jsonl` or `.parquet` file.

    `progress` is told how many more bytes have been read, now and then and at the end.
    Raises `BadFile` naming file and row, here or when rows are read.
    """
    tables: dict[str, Callable[[BinaryIO, str, Progress], Table]] = {
        ".csv": _Csv,
        ".jsonl": _Jsonl,
        ".parquet": _Parquet,
    }
    table = tables.get(path.suffix.lower())
    if table is None:
        *others, last = tables
        raise BadFile(f"the name must end in {', '.join(others)} or {last}", file=str(path))
    try:
        with path.open("rb") as file:
            yield table(file, str(path), progress)
    except OSError as error:
        raise BadFile(f"cannot be read: {error.strerror}", file=str(path)) from error


# --- text ---------------------------------------------------------------------------------------


class _Lines:
    """The lines of a UTF-8 file: `number` and `size` (bytes) of those that were read so far."""

    def __init__(self, file: BinaryIO, name: str, progress: Progress) -> None:
        self.name = name
        self.number = 0
        self.size = 0
        self._file = file
        self._progress = progress

    def __iter__(self) -> Iterator[str]:
        told = 0
        while line := self._file.readline(MAX_LINE + 1):
            self.number += 1
            self.size += len(line)
            if self.size - told >= _PROGRESS_STEP:
                self._progress(self.size - told)
                told = self.size
            yield self._decode(line)
        self._progress(self.size - told)
        if self.number == 0:
            raise _empty(self.name)

    def _decode(self, line: bytes) -> str:
        if len(line) > MAX_LINE:
            raise BadFile(f"line {self.number} is longer than {MAX_LINE} bytes", file=self.name)
        try:
            # a byte order mark is allowed at the very start only
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise BadFile(f"line {self.number} is not UTF-8 text", file=self.name) from error


def _empty(file: str) -> BadFile:
    return BadFile("the file is empty", file=file)


def _gathered(items: Iterator[_T]) -> Iterator[list[_T]]:
    """Short lists of items: of long ones the garbage collector makes more work than parsing."""
    problem: BadFile | None = None
    while problem is None:
        taken: list[_T] = []
        try:
            taken.extend(islice(items, _FEW_ROWS))
        except BadFile as error:
            problem = error  # what came before it stays in the list
        if not taken:
            break
        yield taken
    if problem is not None:
        raise problem


class _Csv:
    """Cells are text; empty ones are absent."""

    def __init__(self, file: BinaryIO, name: str, progress: Progress) -> None:
        csv.field_size_limit(MAX_CELL)  # the module's own limit is less than a long conversation
        self._lines = _Lines(file, name, progress)
        self._reader = csv.reader(self._lines, strict=True)
        try:
            self.header: Sequence[str] = [cell.strip() for cell in next(self._reader, [])]
        except csv.Error as error:
            raise BadFile(f"the header is not valid CSV: {error}", file=name) from error

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        places = self._places(columns)
        for number, cells in enumerate(self._records(), 1):
            if cells:
                yield number, {name: cells[place] or None for name, place in places.items()}

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        places = self._places(columns)
        last = 0
        for records in _gathered(self._records()):
            first, last = last + 1, last + len(records)
            yield Batch(
                # a blank line has no cells
                list(compress(range(first, last + 1), records)),
                {name: [row[at] or None for row in records if row] for name, at in places.items()},
            )

    def _places(self, columns: Sequence[str]) -> dict[str, int]:
        return {name: self.header.index(name) for name in columns if name in self.header}

    def _records(self) -> Iterator[list[str]]:
        """The cells of every row, none where the line is blank."""
        width, number, name = len(self.header), 0, self._lines.name
        try:
            for number, cells in enumerate(self._reader, 1):
                if cells and len(cells) != width:
                    problem = f"{len(cells)} cells, but the header has {width}"
                    raise BadFile(problem, file=name, row=number)
                yield cells
        except csv.Error as error:
            raise BadFile(f"not valid CSV: {error}", file=name, row=number + 1) from error


class _Jsonl:
    """One JSON object a line."""

    header = None

    def __init__(self, file: BinaryIO, name: str, progress: Progress) -> None:
        self._lines = _Lines(file, name, progress)

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        lines = self._lines
        for line in lines:
            if not line.strip():
                continue
            try:
                fields = json.loads(line)
            except (ValueError, RecursionError) as error:
                problem = error.msg if isinstance(error, json.JSONDecodeError) else "out of range"
                raise BadFile(
                    f"not valid JSON: {problem}", file=lines.name, row=lines.number
                ) from error
            if not isinstance(fields, dict):
                raise BadFile("not a JSON object", file=lines.name, row=lines.number)
            yield lines.number, fields

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        for rows in _gathered(self.rows(columns)):
            yield Batch(
                [number for number, _ in rows],
                {name: [fields.get(name) for _, fields in rows] for name in columns},
            )


# --- Parquet ------------------------------------------------------------------------------------


class _Parquet:
    """Only the columns asked for are read, page by page. Times become seconds since 1970 (UTC)."""

    def __init__(self, file: BinaryIO, name: str, progress: Progress) -> None:
        # what reads no Parquet file must not wait for this import
        import pyarrow  # noqa: PLC0415
        import pyarrow.parquet  # noqa: PLC0415

        self._arrow = pyarrow
        self._name = name
        self._progress = progress
        self._size = os.fstat(file.fileno()).st_size
        if self._size == 0:
            raise _empty(name)
        with self._reading():
            self._table = pyarrow.parquet.ParquetFile(
                file, buffer_size=_BUFFER_BYTES, page_checksum_verification=True
            )
            self.header: Sequence[str] = self._table.schema_arrow.names

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        for batch in self._batches(columns, _FEW_ROWS):
            yield from batch.rows()

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        return self._batches(columns, _PARQUET_ROWS)

    def _batches(self, columns: Sequence[str], at_most: int) -> Iterator[Batch]:
        present = [name for name in columns if name in self.header]
        done = told = 0
        for batch in self._arrow_batches(present, at_most):
            first, done = done + 1, done + batch.num_rows
            cells = {name: self._cells(name, first, batch.column(name)) for name in present}
            yield Batch(range(first, done + 1), cells)
            read = self._size * done // max(self._table.metadata.num_rows, done)
            self._progress(read - told)
            told = read
        self._progress(self._size - told)

    def _arrow_batches(self, present: Sequence[str], at_most: int) -> Iterator[Any]:
        rows = min(at_most, self._rows_of_memory())
        with self._reading():
            batches = self._table.iter_batches(rows, columns=present)
        while True:
            with self._reading():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _rows_of_memory(self) -> int:
        """As many rows as take about `_PARQUET_BYTES`, where they are longest."""
        # Arrow ends the whole process when it is asked for the columns of damaged metadata
        groups = map(self._table.metadata.row_group, range(self._table.metadata.num_row_groups))
        longest = max(
            (group.total_byte_size / max(group.num_rows, 1) for group in groups), default=0
        )
        return max(1, int(_PARQUET_BYTES / max(longest, 1)))

    def _cells(self, name: str, first: int, column: Any) -> Sequence[Any]:
        try:
            with self._affordable():
                return self._values(column)
        except ValueError as error:
            unreadable = (i for i, cell in enumerate(column) if not _is_readable(cell))
            row = first + next(unreadable, 0)
            problem = "is not UTF-8 text" if isinstance(error, UnicodeError) else str(error)
            raise BadFile(problem, file=self._name, row=row, field=name) from error

    def _values(self, column: Any) -> Sequence[Any]:
        """Python values; of a column without nesting each distinct one is made once."""
        pa = self._arrow
        if pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("ms"))
        if pa.types.is_timestamp(column.type):
            units = _UNITS[column.type.unit]
            times = column.cast(pa.int64()).to_pylist()
            return [None if time is None else time / units for time in times]
        try:
            coded = column.dictionary_encode()
        except pa.ArrowNotImplementedError:
            return list(column.to_pylist())
        value_of = dict(enumerate(coded.dictionary.to_pylist()))
        return list(map(value_of.get, coded.indices.to_pylist()))

    @contextmanager
    def _affordable(self) -> Iterator[None]:
        """What is a megabyte in the file may stand in it for any number of rows."""
        try:
            with bounded(_MEMORY_BYTES):
                yield
        except MemoryError as error:
            raise BadFile(
                f"its rows take more than {_MEMORY_BYTES // 2**20:,} MiB of memory at once: "
                "write it again with shorter texts or smaller row groups",
                file=self._name,
            ) from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with self._affordable():
                yield
        except (self._arrow.ArrowException, OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's fault, not the content's
            problem = " ".join(str(error).split())[:_SHOWN]
            raise BadFile(f"not a valid Parquet file: {problem}", file=self._name) from error


def _is_readable(cell: Any) -> bool:
    try:
        cell.as_py()
    except ValueError:
        return False
    return True
