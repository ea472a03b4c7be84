"""Which mien runs here: driver and workers must have the same, or rows would differ by machine."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import mien
from mien.errors import ClusterError


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The code of one process.

    Attributes:
        mien: version.
        code: SHA-256 of mien's Python files: two clones may have the same version.
        python: version, without the patch: pickles of others may not load.
    """

    mien: str
    code: str
    python: str


@cache
def fingerprint() -> Fingerprint:
    """Return what this process runs."""
    root = Path(mien.__file__).parent
    digest = sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Fingerprint(mien.__version__, digest.hexdigest(), python)


def check_same(worker: Fingerprint, where: str) -> None:
    """Raise a ClusterError unless a worker runs the same code as this process.

    Args:
        worker: its fingerprint.
        where: the worker, for the message.
    """
    own = fingerprint()
    if worker == own:
        return
    if worker.mien != own.mien:
        found = f"mien {worker.mien}, this process has mien {own.mien}"
    elif worker.python != own.python:
        found = f"Python {worker.python}, this process has Python {own.python}"
    else:
        found = f"other code of mien {own.mien} than this process"
    raise ClusterError(
        f"{where} has {found}: rows would depend on the machine",
        hint="install the same mien and Python everywhere",
    )
