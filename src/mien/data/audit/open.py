"""Open what is audited: a dataset folder, or any source that can be imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.data.dataset import load_dataset
from mien.data.sources.registry import read_source
from mien.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mien.data.dataset import Dataset
    from mien.data.sources.images import ImageCropper


def open_dataset(
    path: Path,
    format: str = "",
    votes: Path | None = None,
    size: int = 48,
    progress: Callable[[int, int], None] | None = None,
    cropper: ImageCropper | None = None,
) -> Dataset:
    """Return the dataset of a folder, or the unsplit dataset of a source.

    Args:
        path: a dataset folder, for which the other arguments are ignored; or a source.
        format: format of a source, one of mien.data.sources.registry.SOURCES; '' detects it.
        votes: FERPlus's vote file for a source.
        size: height and width of a source's crops, 8 to 1024 pixels.
        progress: called with (done, total) while a source is read.
        cropper: how a source's image files become crops; whole where None.

    Raises:
        DataError: neither a dataset nor a source, damaged, or without any image.
    """
    # A dataset folder first: it holds images.npy and no class folders.
    if (path / "dataset.json").is_file():
        dataset = load_dataset(path)
        if not len(dataset):
            raise DataError(f"the dataset {path} has no images", hint="import it again")
        return dataset
    dataset = read_source(path, format, votes, size, progress, cropper)
    if not len(dataset):
        reasons = "".join(f"; {s.source}: {s.reason}" for s in dataset.skipped[:3])
        raise DataError(
            f"none of the {len(dataset.skipped)} files in {path} is an image that can be "
            f"read{reasons}",
            hint="give a folder of images by class, or a dataset that mien data import made",
        )
    return dataset
