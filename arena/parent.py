"""Processes that must not outlive the one that started them."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from signal import Signals
from typing import Any

_PR_SET_PDEATHSIG = 1


def death_signal(number: Signals) -> Callable[[], None] | None:
    """A function that makes the kernel send its caller this signal when its parent dies.

    None where the system is not Linux. The function only makes a system call, so it may be called
    between fork and exec. The kernel watches the thread that started the process.
    """
    if sys.platform != "linux":
        return None
    prctl: Any = ctypes.CDLL(None).prctl
    value = int(number)
    return lambda: prctl(_PR_SET_PDEATHSIG, value, 0, 0, 0)
