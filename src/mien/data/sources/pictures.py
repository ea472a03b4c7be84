"""Picture files to crops, with a record of each that could not be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.data.sources.collection import Skipped
from mien.errors import SourceError
from mien.vision.align import crop_whole
from mien.vision.codec import read_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def read_crops(
    files: Sequence[Path], size: int, progress: Callable[[int, int], None] | None = None
) -> tuple[NDArray[np.uint8], list[int], list[Skipped]]:
    """Return the crops of the readable pictures, their positions in `files`, and the others."""
    crops: list[NDArray[np.uint8]] = []
    kept: list[int] = []
    skipped: list[Skipped] = []
    for position, file in enumerate(files):
        try:
            crops.append(crop_whole(read_picture(file), size))
            kept.append(position)
        except SourceError as error:
            skipped.append(Skipped(str(file), error.message))
        if progress:
            progress(position + 1, len(files))
    images = np.stack(crops) if crops else np.zeros((0, size, size), np.uint8)
    return images, kept, skipped
