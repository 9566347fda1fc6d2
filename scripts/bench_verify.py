"""How long an export takes to verify, and in how much memory: `scripts/bench_verify.py [ROWS]`.

A log of invented votes of 100 models (seed 1) is exported with its manifest, then checked by
`arena/verify.py` in a process of its own, first without boards and then with one that was
published of all votes.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from synthetic_log import votes

from arena import log
from arena.boards import OVERALL
from arena.campaigns import DEFAULT
from arena.clock import now
from arena.interfaces import Snapshot
from arena.leaderboard import Method, compute, config_hash
from arena.manifest import SUFFIX, Digest, Manifests
from arena.notes import Signer
from arena.records import LogRow, Record
from arena.store import SqlStore, open_store
from arena.store.engine import Database
from arena.store.migrate import upgrade
from arena.tally import Tally, Vote

MODELS = 100
_MEGABYTE = 1024  # of what the system counts, in kilobytes


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "votes.jsonl"
        _export(_filled(Path(folder), count), path)
        for options in (["--no-boards"], []):
            _verify(path, count, options)


def _filled(folder: Path, count: int) -> SqlStore:
    url = f"sqlite:///{folder / 'arena.db'}"
    database = Database(url)
    upgrade(database)
    database.close()
    store = open_store(url)
    lease = store.leases.take("worker", "bench", None)
    assert lease is not None  # noqa: S101  nobody else is there
    tally = Tally()

    def sealed() -> Iterator[LogRow]:
        for seq, fields in enumerate(votes(count, MODELS, count // 20, seed=1), 1):
            vote: Any = fields
            record = Record(**vote)
            tally.add(
                Vote(seq, vote["model_a"], vote["model_b"], vote["grade"], vote["winner"],
                     vote["voter"], vote["propensity"])
            )  # fmt: skip
            yield LogRow(seq, record, record.leaf())

    store.votes.restore(lease, [DEFAULT], sealed())
    board, config = compute(tally, Method(), figures=False), Method().config()
    store.snapshots.publish(
        lease,
        Snapshot(
            DEFAULT.id, OVERALL, board.method, count, now(), config, config_hash(config),
            [row.to_json() for row in board.rows], tally.voters(),
            details={"converged": board.converged, "components": board.components},
        ),
    )  # fmt: skip
    return store


def _export(store: SqlStore, path: Path) -> None:
    position, digest, started = store.votes.position(), Digest(), time.monotonic()
    log.export_file(
        digest.of(log.encode(log.pages(store.votes, [DEFAULT], until=position), "jsonl")), path
    )
    print(f"export      {position / (time.monotonic() - started):>9,.0f} rows/s")
    started = time.monotonic()
    written = Manifests(store, Signer(bytes(32))).write(
        [DEFAULT], position=position, file=digest.file(path.name)
    )
    log.export_file(written, path.with_name(path.name + SUFFIX))
    print(f"manifest    {time.monotonic() - started:>9.1f} s")
    store.close()


def _verify(path: Path, count: int, options: list[str]) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "arena.verify", *options, path],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True,
    )  # fmt: skip
    took = time.monotonic() - started
    # the largest of all children so far: the one with boards comes last
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / _MEGABYTE
    print(f"verify      {count / took:>9,.0f} rows/s  {memory:,.0f} MB  {done.stdout.strip()}")


if __name__ == "__main__":
    main()
