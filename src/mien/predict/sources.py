"""Paths and folders to a list of pictures, in the order given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien.vision.codec import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_NAMES = "pictures are named .jpg, .png, .webp, .gif, .tif, .heic or alike"


@dataclass(frozen=True, slots=True)
class PictureSource:
    """A picture file to read, or a place where none was found.

    Attributes:
        path: of the file.
        error: why there is nothing to read, else None.
    """

    path: Path
    error: str | None = None


def list_pictures(paths: Iterable[Path]) -> Iterator[PictureSource]:
    """Yield each file, and the pictures in each folder and its subfolders, sorted by name.

    In a folder only files with a picture's suffix count; a file that is named is always tried.
    A folder without pictures is a source with an error, so that it is not passed over in silence.
    """
    for path in paths:
        if not path.is_dir():
            yield PictureSource(path)
            continue
        found = sorted(
            p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not _hidden(p, path)
        )
        if not found:
            yield PictureSource(path, f"{path} holds no pictures; {_NAMES}")
        yield from (PictureSource(p) for p in found)


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
