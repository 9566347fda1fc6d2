"""Parquet for web, written by a process of its own.

The library that writes it takes 100 MB, and what serves streams must not be busy for minutes. The
process reads SQL itself and writes to a pipe, so a slow reader holds it up, and nothing else: it
has no transaction open while it writes. It ends when its reader does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

from arena.errors import Unavailable
from arena.settings import Settings

_PIECE = 2**16


def parquet(
    settings: Settings, campaigns: Sequence[str], *, after: int, until: int, outcomes: bool
) -> Iterator[bytes]:
    """The log of these campaigns as a Parquet file, piece by piece.

    Raises `Unavailable` when the process fails: the file is cut off then.
    """
    command = [sys.executable, "-m", "arena.cli", "export", "-", "--format", "parquet"]
    command += [f"--campaign={campaign}" for campaign in campaigns]
    command += [
        f"--after={after}",
        f"--until={until}",
        f"--outcomes={'all' if outcomes else 'votes'}",
    ]
    env = os.environ | {
        "ARENA_DATA": str(settings.data),
        "DATABASE_URL": settings.database_url,
        "ARENA_CONFIG": str(settings.config),
    }
    with subprocess.Popen(  # noqa: S603 - our own command line
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None  # noqa: S101  it is a pipe
        try:
            while piece := process.stdout.read1(_PIECE):  # type: ignore[attr-defined]  # buffered
                yield piece
            if process.wait():
                raise Unavailable("The export ended early; ask for it again.", retry_after=2)
        finally:
            process.kill()
