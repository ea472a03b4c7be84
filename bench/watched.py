"""A command in a process of its own: how long it takes, and how large it becomes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

WATCH = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
assert status == 0
print(used.ru_maxrss)
"""
"""Started by a large process, a small one would be told to have been as large: so one between."""


def watched(command: Sequence[str | Path]) -> tuple[float, float]:
    """Run a command; return seconds, a Python's start of 0.02 s among them, and MB at most."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-S", "-c", WATCH, *command],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
    )  # fmt: skip
    return time.perf_counter() - started, float(done.stdout.split()[-1]) / 1024
