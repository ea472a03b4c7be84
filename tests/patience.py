"""Waiting for what must come, however busy the machine is, and ending what was started.

No test asserts how long anything took, and none waits a fixed time and hopes: it waits for the
event itself, with a bound that only a fault reaches.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 240.0
"""The bound of every wait in the tests; that of a whole test, 300 s, stands in pyproject.toml."""


def until(true: Callable[[], object], step_s: float = 0.01) -> None:
    """Ask again and again until it is true."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(step_s)


@contextmanager
def child(command: Sequence[str | Path], **told: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process that is gone afterwards, and its pipes closed, whatever the test did."""
    process = subprocess.Popen([str(word) for word in command], **told)
    try:
        yield process
    finally:
        process.terminate()  # a server ends its workers; one that was killed leaves them
        try:
            process.wait(PATIENCE_S / 8)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
