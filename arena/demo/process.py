"""What the demo models' processes have in common: they publish an address and die in time."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from arena.parent import death_signal

_LOOK_EVERY = 1.0


def follow_parent() -> int:
    """Arrange to be terminated with the parent process (Linux); returns the parent's id.

    The kernel watches the thread that started this process: a supervisor must start it from a
    thread that lives as long as it does.
    """
    parent = os.getppid()
    ask = death_signal(signal.SIGTERM)
    if ask is not None:
        ask()
    # A Ctrl-C must not wait for a model that is still loading in foreign code.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return parent


def publish_until_stopped(folder: Path, name: str, url: str, parent: int) -> None:
    """Keep `url` in `folder/name.url` until SIGTERM, SIGINT or the parent's death."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    path = folder / f"{name}.url"
    draft = folder / f"{name}.url.{os.getpid()}"
    draft.write_text(f"{url}\n", encoding="ascii")
    draft.replace(path)
    try:
        while os.getppid() == parent:
            time.sleep(_LOOK_EVERY)
    finally:
        path.unlink(missing_ok=True)


def _exit(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
