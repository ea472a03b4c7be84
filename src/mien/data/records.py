"""What a data source records about single files, beside the crops themselves; the splits."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SPLITS = ("train", "validation", "test", "excluded")
"""'excluded' holds duplicates of images in a stronger split, and images that nothing can use."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was skipped, or that was read with a warning, and why.

    Attributes:
        source: path or name, as in Dataset.sources_n.
        reason: for people.
        kind: for programs, one of mien.data.notices.KINDS.
    """

    source: str
    reason: str
    kind: str = "unreadable"


def read_skipped(path: Path) -> tuple[Skipped, ...]:
    """Return the skipped files that a dataset's skipped.csv lists; empty where there is none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in list(csv.reader(file))[1:] if len(row) in (2, 3)]
    except FileNotFoundError:  # a dataset that another program wrote may lack the list
        return ()
    return tuple(Skipped(*row) for row in rows)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small image for the page of an import.

    Attributes:
        source: path or name, as in Dataset.sources_n.
        kind: why the image was skipped, or '' where its face was cropped.
        reason: the same, for people.
        jpeg: the encoded thumbnail.
    """

    source: str
    kind: str
    reason: str
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in its image file a crop comes from.

    Attributes:
        width: width of the image as displayed, in pixels.
        height: height of the image as displayed, in pixels.
        box: the detector's (left, top, right, bottom) in pixels; None where the whole image
            is the crop.
        score: the detector's confidence, 0 to 1; None where the whole image is the crop.
        landmarks: five (x, y) in pixels, where the detector gives them.
    """

    width: int
    height: int
    box: tuple[float, ...] | None = None
    score: float | None = None
    landmarks: tuple[tuple[float, ...], ...] | None = None
