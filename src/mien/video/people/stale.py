"""Whether reading videos again would make people.json wrong; imported by every `mien video`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "people.json"


def refuse_stale(folder: Path) -> None:
    """Raise a ConfigError if a folder has people whose tracks a new run would number again."""
    if (folder / FILE_NAME).exists():
        raise ConfigError(
            f"{folder / FILE_NAME} says which tracks of the rows in {folder} show which person; "
            "reading the videos again would number the tracks again",
            hint="set resume to read only what is missing, write to another folder, or delete "
            "that file first",
        )
