"""The 'folders' source: `happy/*.jpg`, or `train/happy/*.jpg` with one folder per split.

FER2013 on Kaggle is arranged in the second way (`train/`, `test/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.data.dataset import Dataset
from mien.data.sources.fields import index_labels
from mien.data.sources.images import ImageCropper
from mien.data.sources.walk import Tree, walk_classes
from mien.errors import DataError
from mien.files import plain
from mien.labels import SEVEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def read_folders(
    path: Path,
    size: int,
    progress: Callable[[int, int], None] | None = None,
    cropper: ImageCropper | None = None,
) -> Dataset:
    """Read a folder of class folders, or of split folders that hold class folders.

    A class folder's subfolders belong to the class. Images that cannot be read, hidden ones and
    those outside of the class folders are listed in `skipped`.

    Args:
        path: folder to read.
        size: height and width of a crop, in pixels.
        progress: called with (done, total), in images.
        cropper: how images become crops; ImageCropper() where None.

    Raises:
        DataError: no class folder, no image in them, or a misspelt class.
    """
    tree = walk_classes(path)
    if not tree.images:
        raise _no_images(path, tree)
    files = [file for file, _, _ in tree.images]
    # Relative, so that a dataset does not tell where it was made, and is the same elsewhere.
    names = [plain(file.relative_to(path).as_posix()) for file in files]
    crops = (cropper or ImageCropper()).read(files, names, size, progress)
    kept = [tree.images[i] for i in crops.kept]
    label_names, labels = index_labels([label for _, label, _ in kept], SEVEN)
    return Dataset.unsplit(
        name=path.resolve().name,
        images_nhw=crops.images_nhw,
        label_names=label_names,
        labels_n=labels,
        sources_n=np.array([names[i] for i in crops.kept], np.str_),
        source_splits_n=np.array([split for _, _, split in kept], "<U10"),
        skipped=(*tree.skipped, *crops.skipped),
        notes=tuple(crops.notes),
        declared=tuple(dict.fromkeys(tree.classes)),
        origins=crops.origins,
        thumbnails=tuple(crops.thumbnails),
        facts=crops.facts(),
    )


def _no_images(path: Path, tree: Tree) -> DataError:
    hint = "expected CLASS/NAME.jpg, such as happy/1.jpg, or train/happy/1.jpg"
    if tree.classes:
        names = ", ".join(dict.fromkeys(tree.classes))
        return DataError(f"{path}: the class folders hold no images: {names}", hint=hint)
    loose = sum(record.kind == "outside-class" for record in tree.skipped)
    images = f", but {loose:,} image{'' if loose == 1 else 's'} outside of any" if loose else ""
    return DataError(f"{path} holds no class folders with images{images}", hint=hint)
