"""Bars for what takes long."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click


@contextmanager
def progress_bar(length: int, label: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, when that is a terminal."""
    shown = sys.stderr.isatty()
    with click.progressbar(length=length, label=label, file=sys.stderr, hidden=not shown) as bar:
        yield bar.update


@contextmanager
def file_progress_bar(file: Path, label: str) -> Iterator[Callable[[int], None]]:
    with progress_bar(file.stat().st_size if file.is_file() else 0, label) as update:
        yield update
