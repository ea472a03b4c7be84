"""Which files of a folder are logs, and what to say where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.errors import SourceError, counted

if TYPE_CHECKING:
    from pathlib import Path

TABLES = (".csv", ".tsv")
"""Suffixes of tables, in lower case."""
LISTED = 3
"""Names that a message lists at most."""
COUNTED = (
    "these count: a run folder that mien train wrote (its config.json has a recipe), TensorBoard's "
    "event files (events.out.tfevents...), and tables (.csv, .tsv)"
)


def is_events(path: Path) -> bool:
    """Return whether a file's name is that of TensorBoard's event files."""
    return "tfevents" in path.name


def log_files(path: Path) -> list[Path]:
    """Return the event files and tables of a folder, searched in depth, or the file itself.

    Raises:
        SourceError: there is none.
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder", hint=f"check the path; {COUNTED}")
    files = [file for file in path.rglob("*") if file.is_file()]
    logs = [file for file in files if is_events(file) or file.suffix.lower() in TABLES]
    if not logs:
        raise SourceError(f"{path}: no log found: {_content(path, files)}", hint=COUNTED)
    # Sorted by name, which begins with the time in event files: a resumed training follows its
    # start.
    return sorted(logs)


def _content(folder: Path, files: list[Path]) -> str:
    if not files:
        return "the folder holds no file"
    names = sorted(str(file.relative_to(folder)) for file in files)
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return f"the folder holds {counted(len(names), 'other file')}: " + ", ".join(
        names[:LISTED]
    ) + more  # fmt: skip
