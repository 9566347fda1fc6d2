#!/usr/bin/env python3
"""The log as a file: rows a second and memory of `arena export`, beside plain SQL and pyarrow.

A SQLite log of votes without conversations is made, and exported as each format. The baseline in
the same run reads the same columns of the same table with the standard library's sqlite3 and writes
them with pyarrow, as a careful script would: 50,000 rows at a time.

    .venv/bin/python scripts/bench_export.py [--votes 1000000] [--models 250]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from machine import Report, Spent, arena, spend
from pyarrow import parquet
from synthetic_log import world

GOAL_ROWS, GOAL_MB = 50_000, 300

PLAIN = """
import json, sqlite3, sys
import pyarrow as pa, pyarrow.parquet as pq
from arena.parquet import SCHEMA
joined = {"conversation_a", "conversation_b", "salt", "comment", "flags", "excluded_reason"}
names = [name for name in SCHEMA.names if name not in joined | {"reasons"}]
schema = pa.schema([SCHEMA.field(name) for name in names])
query = f"SELECT {', '.join(names)} FROM records WHERE seq > ? ORDER BY seq LIMIT 50000"
connection, after = sqlite3.connect(sys.argv[1]), 0
with pq.ParquetWriter(sys.argv[2], schema, compression="zstd") as writer:
    while rows := connection.execute(query, [after]).fetchall():
        columns = dict(zip(names, zip(*rows)))
        columns["both_bad"] = list(map(bool, columns["both_bad"]))
        arrays = [pa.array(columns[field.name], field.type) for field in schema]
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        after = columns["seq"][-1]
"""


def measure(report: Report, options: argparse.Namespace) -> None:
    runs: dict[str, Spent] = {}
    with world(options.votes, options.models) as place:
        plain, database = place.folder / "plain.parquet", place.settings.data / "arena.db"
        command = [sys.executable, "-c", PLAIN, str(database), str(plain)]
        runs["plain SQL + pyarrow, flat columns"] = base = spend(command, place.env)
        for form in ("parquet", "jsonl", "csv"):
            file = place.folder / f"log.{form}"
            runs[f"arena export, {form}"] = spend(arena("export", str(file)), place.env)
            rows = rows_of(file)
            report.expect(rows == options.votes, f"{form} has {rows:,} of {options.votes:,} rows")
    for name, run in runs.items():
        report.add(
            name,
            f"{options.votes / run.seconds:,.0f} rows/s, {run.peak_mb:.0f} MB "
            f"({options.votes / run.cpu:,.0f} rows a second of one core)",
            goal=f"≥ {GOAL_ROWS:,}/s, ≤ {GOAL_MB} MB" if name.endswith(", parquet") else "",
            ratio="" if run is base else f"processor time × {run.cpu / base.cpu:.2f}",
        )


def rows_of(file: Path) -> int:
    if file.suffix == ".parquet":
        return int(parquet.read_metadata(file).num_rows)
    with file.open("rb") as lines:
        return sum(1 for _ in lines) - (file.suffix == ".csv")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=250)
    options = parser.parse_args()
    with Report() as report:
        measure(report, options)


if __name__ == "__main__":
    main()
