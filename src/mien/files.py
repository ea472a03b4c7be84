"""Atomic writes of files and folders, hashes, JSON and CSV."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import math
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mien.errors import MienError, SourceError
from mien.installation import upgrade_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


MAX_NAMES = 2000
"""Names in a folder that are compared with a missing file's name; more would take seconds."""
CHECK_PATH = "check the path"
"""Hint of errors about files that exist elsewhere, or not at all."""


class WriteError(MienError):
    """A file or folder that could not be written: no space, no permission, no such folder."""


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; rename it to `path` when the block succeeds.

    A crash, a full disk or an exception leaves an existing file at `path` unchanged. A symbolic
    link stays a link, and its target is replaced; a device or a pipe is written to in place.

    Raises:
        WriteError: the file could not be written.
    """
    path, special = _target(path)
    if special:
        with _device(path) as device:
            yield device
        return
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        ) as stream:
            temporary = Path(stream.name)
            yield stream
            stream.flush()
            # Before the rename: some file systems would otherwise keep the new name of an empty
            # file.
            os.fsync(stream.fileno())
        # mkstemp makes private files; give the permissions that an ordinary open() would.
        # Reading the mask is possible only by setting it.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise write_error(path, error) from error
        raise


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Create a temporary folder beside `folder`; move it to `folder` when the block succeeds.

    An existing folder is replaced then, and is unchanged after an error.

    Raises:
        WriteError: the folder, or a file in it, could not be written.
    """
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(
            tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part")
        )
        yield temporary
        # mkdtemp makes folders that only their owner can enter.
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except (OSError, WriteError) as error:
        cause = error.__cause__ if isinstance(error, WriteError) else error
        if not isinstance(cause, OSError):
            raise
        # Name the requested folder, not the temporary one that the user never sees.
        raise write_error(folder, cause) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _target(path: Path) -> tuple[Path, bool]:
    """Return the target of `path`, and whether it is neither file nor folder."""
    try:
        special = path.exists() and not path.is_file() and not path.is_dir()
        # Through a link to its target: renaming would replace the link itself.
        return (path.resolve() if path.is_symlink() and not special else path), special
    except OSError as error:
        raise write_error(path, error) from error
    except RuntimeError as error:  # pathlib before Python 3.13 on a circle of links
        circle = OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        raise write_error(path, circle) from error


@contextmanager
def _device(path: Path) -> Iterator[IO[bytes]]:
    """Open a path that is neither file nor folder: /dev/stdout, /dev/null, a named pipe."""
    try:
        with path.open("wb") as stream:
            yield stream
    except OSError as error:
        raise write_error(path, error) from error


def sweep(folder: Path) -> None:
    """Remove the temporary files in `folder` of writers that were killed."""
    for part in folder.glob(".*.part"):
        if part.is_file():
            part.unlink(missing_ok=True)


def write_error(path: Path | str, error: OSError) -> WriteError:
    """Return the error for a `path` that could not be written, with a hint by its cause."""
    hints = {
        errno.ENOSPC: "free some space or write to another disk; nothing already written was lost",
        errno.EFBIG: "files may not grow so large (ulimit -f); nothing already written was lost",
        errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
        errno.EDQUOT: "your disk quota is used up; free some space or write elsewhere",
        errno.EACCES: "choose a folder that you may write to",
        errno.EROFS: "the disk is read-only; choose another folder",
        errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
        errno.EEXIST: "a part of the path is a file, not a folder; choose another path",
        errno.EBADF: "standard output is closed; open it, or write to a file",
        errno.EISDIR: "the path is a folder; give a file name",
    }
    reason = error.strerror or str(error)
    hint = hints.get(error.errno or 0, "check the path and the disk, then try again")
    return WriteError(f"cannot write {path}: {reason}", hint=hint)


def plain(text: str) -> str:
    r"""Return `text` with characters that UTF-8 cannot encode escaped, such as `\udcff`.

    These come from file names that are not UTF-8. In a JSON string the escape decodes to the same
    character again.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_text(path: Path, text: str) -> None:
    """Write `text` atomically as UTF-8; see `plain` for names that are not UTF-8."""
    with atomic_write(path) as stream:
        stream.write(plain(text).encode("utf-8"))


def write_by_name(path: Path, save: Callable[[Path], object]) -> None:
    """Write a file atomically by a library that opens it by its name, not a stream.

    Args:
        path: of the file.
        save: writes the file at the path that it gets, which has the same suffix.

    Raises:
        WriteError: the file could not be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / f"file{path.suffix}"
        save(place)
        write_bytes(path, place.read_bytes())


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` atomically."""
    with atomic_write(path) as stream:
        stream.write(content)


def write_json(path: Path, value: Any) -> None:
    """Write `value` atomically as indented JSON; NaN and infinity are a ValueError."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """Return JSON types with None in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> Any:
    """Return the JSON value in `path`; a missing or invalid file is a SourceError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}", hint=CHECK_PATH) from error
    except ValueError as error:
        raise SourceError(
            f"{path} is not valid JSON: {error}", hint="the file is damaged; create it again"
        ) from error


@dataclass(frozen=True, slots=True)
class JsonKind:
    """A kind of JSON file with a schema version, and the words of its errors.

    Attributes:
        noun: name of what the file describes, such as 'dataset'.
        newest: newest schema version that is read.
        required: keys that every version has, beside 'schema'.
        error: class of the errors.
        if_missing: hint where the file cannot be read.
        if_damaged: hint where it is not JSON.
    """

    noun: str
    newest: int
    required: tuple[str, ...]
    error: type[MienError]
    if_missing: str
    if_damaged: str


def read_schema_json(path: Path, kind: JsonKind, shown: Path | None = None) -> dict[str, Any]:
    """Return the object in a JSON file that carries a schema version, 'schema'.

    Args:
        path: the file.
        kind: what it must hold.
        shown: path to name in messages, such as the folder that the user gave; `path` where None.

    Raises:
        MienError: of class `kind.error`: the file cannot be read, is not JSON, lacks a required
            key, or has a newer schema version.
    """
    where = path if shown is None else shown
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        named = f"is not a {kind.noun} of mien: it has no {path.name}"
        raise kind.error(
            f"{path}: no such file" if shown is None else f"{shown} {named}", hint=kind.if_missing
        ) from error
    except OSError as error:
        raise kind.error(
            f"{where} is not a {kind.noun} of mien: cannot read {path.name} ({error.strerror})",
            hint=kind.if_missing,
        ) from error
    except ValueError as error:
        raise kind.error(f"{path} is damaged: {error}", hint=kind.if_damaged) from error
    if not isinstance(values, dict) or not isinstance(values.get("schema"), int):
        raise kind.error(f"{path} was not written by mien: no schema version", hint=CHECK_PATH)
    # Before the keys: a newer version may have renamed them.
    if values["schema"] > kind.newest:
        raise kind.error(
            f"{where} has {kind.noun} schema {values['schema']}; "
            f"this mien reads up to {kind.newest}",
            hint=f"upgrade mien: {upgrade_command()}",
        )
    missing = [key for key in kind.required if key not in values]
    if missing:
        raise kind.error(f"{path} was not written by mien: no key {missing[0]!r}", hint=CHECK_PATH)
    return values


def csv_text(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return the text of a CSV file with a header line; lines end in a newline."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def near_file(path: Path) -> str:
    """Return "did you mean 'x'? " for a file beside `path` with nearly the same name, or ""."""
    try:
        names = [entry.name for entry in islice(os.scandir(path.parent), MAX_NAMES)]
    except (OSError, ValueError):
        return ""
    by_case = {name.lower(): name for name in names if name != path.name}
    near = get_close_matches(path.name.lower(), by_case, n=1, cutoff=0.6)
    return f"did you mean {str(path.with_name(by_case[near[0]]))!r}? " if near else ""


def sha256(content: bytes | memoryview) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, without reading it into memory at once."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
