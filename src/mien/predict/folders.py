"""One walk through a folder: which images and which videos lie in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mien.imaging.codec import SUFFIXES

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv .mxf".split()  # noqa: SIM905
)
"""Endings of file names, in lower case, that count as videos in a folder."""


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """The files in a folder and its subfolders by their names, each group sorted.

    Attributes:
        folder: that was walked.
        images: with an image's suffix.
        videos: with a video's suffix.
        others: with any other.
    """

    folder: Path
    images: tuple[Path, ...]
    videos: tuple[Path, ...]
    others: tuple[Path, ...]


def walk_folder(folder: Path) -> FolderFiles:
    """Return the files in a folder and its subfolders; no file is opened.

    Names that start with a dot are left out, and links to folders are not followed, for they may
    form a circle. A subfolder that may not be read counts as empty.
    """
    images: list[Path] = []
    videos: list[Path] = []
    others: list[Path] = []
    for where, folders, files in os.walk(folder):
        # In place, which keeps os.walk out of them: .git and caches may hold thousands of files.
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.startswith("."):
                continue
            path = Path(where, name)
            suffix = path.suffix.lower()
            group = images if suffix in SUFFIXES else videos if suffix in VIDEO_SUFFIXES else others
            group.append(path)
    return FolderFiles(folder, *(tuple(sorted(group)) for group in (images, videos, others)))


def is_folder(path: Path) -> bool:
    """Return whether `path` is a folder; False for a name that is too long to be one."""
    try:
        return path.is_dir()
    except OSError:
        return False
