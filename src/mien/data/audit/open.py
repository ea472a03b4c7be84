"""What can be audited: a dataset that was imported, or any source that could be."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from mien.data.dataset import load_dataset, load_source_splits
from mien.data.sources.collection import Collection, Skipped
from mien.data.sources.registry import read_source
from mien.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.data.sources.images import ImageCropper


def open_subject(
    path: Path,
    form: str = "",
    votes: Path | None = None,
    size: int = 48,
    progress: Callable[[int, int], None] | None = None,
    cropper: ImageCropper | None = None,
) -> tuple[Collection, NDArray[np.str_] | None]:
    """Return a collection with its source's splits, and a dataset's own splits beside it.

    Args:
        path: a dataset folder, or any source that `mien data import` reads.
        form: of a source; found out where empty.
        votes: FERPlus's vote file for a source.
        size: of a source's crops, in pixels.
        progress: called with (done, total) while a source is read.
        cropper: how a source's image files become crops; whole where None.

    Raises:
        DataError: neither, damaged, or without any image.
    """
    if (path / "dataset.json").is_file():
        return _from_dataset(path)
    collection = read_source(path, form, votes, size, progress, cropper)
    if not len(collection):
        reasons = "".join(f"; {s.source}: {s.reason}" for s in collection.skipped[:3])
        raise DataError(
            f"none of the {len(collection.skipped)} files in {path} is an image that can be "
            f"read{reasons}",
            hint="give a folder of images by class, or a dataset that mien data import made",
        )
    return collection, None


def _from_dataset(path: Path) -> tuple[Collection, NDArray[np.str_]]:
    dataset = load_dataset(path)
    if not len(dataset):
        raise DataError(f"the dataset {path} holds no image", hint="import it again")
    collection = Collection(
        name=dataset.name,
        images_nhw=np.asarray(dataset.images_nhw),
        label_names=dataset.label_names,
        labels_n=dataset.labels_n,
        sources_n=dataset.sources_n,
        splits_n=load_source_splits(path),
        subjects_n=dataset.subjects_n,
        votes_nk=dataset.votes_nk,
        vote_names=dataset.vote_names,
        skipped=_skipped(path / "skipped.csv"),
    )
    return collection, dataset.splits_n


def _skipped(path: Path) -> list[Skipped]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in list(csv.reader(file))[1:] if len(row) in (2, 3)]
            return [Skipped(*row) for row in rows]
    except OSError:
        return []  # a dataset that was written by another program may lack the list
