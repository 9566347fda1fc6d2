"""What this process may take, and what it gives back."""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS = Path("/proc/self/status")
# of <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
_GLIBC_KEEPS = 2**17


@contextmanager
def bounded(more: int) -> Iterator[None]:
    """Let this process take at most `more` bytes more than it has; beyond, `MemoryError` rises.

    Only Linux can tell and hold the bound; elsewhere there is none.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = _data() + more
    others = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    if not _STATUS.exists() or any(limit <= bound for limit in others):
        yield
        return
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data() -> int:
    """Bytes of private memory that this process can write to."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), 0)


def give_back() -> None:
    """Return what was freed to the system: glibc keeps most of it, and others need it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def return_blocks(size: int, keep: int = _GLIBC_KEEPS) -> None:
    """Let freed blocks of `size` bytes or more go back to the system, and of others what lies on
    top beyond `keep` bytes.

    By itself glibc learns to keep ever larger ones, and what comes next lies between their remains:
    the worker's columns (40 MB of 160 at a million votes), or pages and boards of web (25 of 220).
    """
    _set_malloc(_M_MMAP_THRESHOLD, size)
    _set_malloc(_M_TRIM_THRESHOLD, keep)
    _set_malloc(_M_TOP_PAD, keep)  # what is left when more than that goes back


def keep_for_boards(size: int = 2**25) -> None:
    """Keep so many bytes of what a board has freed for the next one.

    What went back is cleared page by page when it is taken again: half of the time of a graded
    board of 250 models.
    """
    return_blocks(2**20, keep=size)


def share_heap() -> None:
    """Let all threads allocate in one heap; glibc would make sixteen, and fill each.

    To be called before there are threads. Python's own lock lets one thread allocate at a time.
    """
    _set_malloc(_M_ARENA_MAX, 1)


def _set_malloc(option: int, value: int) -> None:
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(option, value)
