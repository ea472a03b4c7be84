"""Inputs and outputs at addresses, for commands that work with paths of this machine.

A folder or file to write is made on this machine and uploaded once it is complete: what is at an
address is never half a file.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from mien.errors import ConfigError
from mien.files import sha256
from mien.storage import (
    check_writable,
    exists,
    fetch,
    file_name,
    list_files,
    storage_address,
    upload,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

P = TypeVar("P", bound=Path | None)

LAST = ("manifest.json", "dataset.json", "run.json")
"""Files that say that a folder is complete; uploaded after the others."""
RESUMED = (".summary.json", *LAST)
"""Files of an earlier run, by their ends, that tell what is done already."""


@contextmanager
def local_input(path: P) -> Iterator[P]:
    """Yield a path of this machine for one that may be an address: its files are fetched first.

    Raises:
        SourceError: it cannot be read.
    """
    address = storage_address(path)
    if address is None or (address.startswith("hf://") and _is_model(address)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="mien-") as folder:
        yield cast("P", fetch(address, Path(folder)))


def _is_model(address: str) -> bool:
    """Return whether an hf:// address is USER/NAME: a model, which is fetched in its own way."""
    return address.removeprefix("hf://").partition("@")[0].count("/") == 1


@contextmanager
def local_output(path: P, *, resume: bool = False, new: bool = False) -> Iterator[P]:
    """Yield a path of this machine; what the block has written there is uploaded at its end.

    After an error it stays on this machine, and a later call with `resume` continues there.

    Args:
        path: of a file or folder, or its address.
        resume: keep what an interrupted run has left.
        new: refuse a file or folder that is there already.

    Raises:
        ConfigError: with `new`.
        WriteError: nothing can be written there; raised before the block, too.
    """
    address = storage_address(path)
    if address is None:
        yield path
        return
    check_writable(address)
    if new and not resume and exists(address):
        raise ConfigError(
            f"out: {address} is there already", hint="give another address, or resume=True"
        )
    staged = _staging() / sha256(address.encode())[:16] / file_name(address)
    if not resume:
        shutil.rmtree(staged.parent, ignore_errors=True)
    staged.parent.mkdir(parents=True, exist_ok=True)
    if resume:
        _fetch_state(address, staged)
    try:
        yield cast("P", staged)
    except BaseException as error:
        import typer  # here: predictions of files of this machine start without it

        if isinstance(error, typer.Exit):  # an exit code is no error of the block
            _upload(staged, address)
        elif any(staged.parent.iterdir()):
            print(f"not uploaded: what was written stays in {staged}", file=sys.stderr)
        raise
    _upload(staged, address)


def _upload(staged: Path, address: str) -> None:
    if staged.exists():
        upload(staged, address, LAST)
        print(f"uploaded to {address}", file=sys.stderr)
    shutil.rmtree(staged.parent, ignore_errors=True)


def _fetch_state(address: str, staged: Path) -> None:
    """Fetch the small files of an earlier run that tell what is done already."""
    if not exists(address):
        return
    for file in list_files(address):
        relative = file.removeprefix(address.rstrip("/")).strip("/")
        wanted = relative and "/" not in relative and relative.endswith(RESUMED)
        if wanted and not (staged / relative).exists():
            staged.mkdir(exist_ok=True)
            fetch(file, staged)


def _staging() -> Path:
    """Return the folder of outputs that are not uploaded yet."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / (
        "AppData/Local" if sys.platform == "win32" else ".cache"
    )
    return Path(home) / "mien" / "outputs"
