"""Runs a command in its own process and measures its time and peak memory; used by others here."""

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
"""An intermediate process: ru_maxrss of a child forked from a large process includes its size."""


def watched(command: Sequence[str | Path]) -> tuple[float, float]:
    """Run a command; return its seconds, 0.02 of them for Python itself, and its peak MB."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-S", "-c", WATCH, *command],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
    )  # fmt: skip
    return time.perf_counter() - started, float(done.stdout.split()[-1]) / 1024
