#!/usr/bin/env python3
"""The log as a file: rows a second and memory of `arena export`, beside plain SQL and pyarrow.

A SQLite log of votes without conversations is made, and exported as each format. The baseline in
the same run reads the same columns of the same table with the standard library's sqlite3 and writes
them with pyarrow, as a careful script would: 50,000 rows at a time.

    .venv/bin/python scripts/bench_export.py [--votes 1000000] [--models 250]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from synthetic_log import Figure, arena, show, world

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


@dataclass(frozen=True, slots=True)
class Run:
    """What a process took: seconds by the clock and of the processor, and megabytes at its peak."""

    seconds: float
    cpu: float
    peak_mb: float


def timed(command: list[str], env: dict[str, str]) -> Run:
    started = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} failed")
    seconds = time.monotonic() - started
    return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def report(options: argparse.Namespace) -> list[Figure]:
    with (
        world(options.votes, options.models) as place,
        tempfile.TemporaryDirectory(prefix="arena-bench-") as folder,
    ):
        database = str(place.settings.data / "arena.db")
        env = place.env | {"PYTHONPATH": str(Path(__file__).parents[1])}
        plain = [sys.executable, "-c", PLAIN, database, f"{folder}/plain.parquet"]
        runs = {"plain SQL + pyarrow, flat columns": timed(plain, env)}
        for form in ("parquet", "jsonl", "csv"):
            runs[f"arena export, {form}"] = timed(arena("export", f"{folder}/log.{form}"), env)
    figures = []
    for name, run in runs.items():
        goal = f"≥ {GOAL_ROWS:,}/s, ≤ {GOAL_MB} MB" if name.endswith("parquet") else ""
        result = (
            f"{options.votes / run.seconds:,.0f} rows/s, {run.peak_mb:.0f} MB "
            f"({options.votes / run.cpu:,.0f} rows a second of one core)"
        )
        figures.append(Figure(name, goal, result))
    slow, base = runs["arena export, parquet"], runs["plain SQL + pyarrow, flat columns"]
    figures.append(
        Figure("parquet beside plain, processor time", "", f"× {slow.cpu / base.cpu:.2f}")
    )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=250)
    options = parser.parse_args()
    show(report(options))


if __name__ == "__main__":
    main()
