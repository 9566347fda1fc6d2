from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PAGES = """
import resource
import sys

import numpy as np

from arena import memory

if sys.argv[1] == "kept":
    memory.keep_for_boards()
else:
    memory.return_blocks(2**20)
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    board = [np.ones(2**16) for _ in range(8)]
    del board
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_what_a_board_freed_is_there_for_the_next_one():
    def pages(how: str) -> int:
        child = [sys.executable, "-c", PAGES, how]
        return int(subprocess.run(child, check=True, capture_output=True, text=True).stdout)

    assert pages("kept") < pages("given back") / 5
