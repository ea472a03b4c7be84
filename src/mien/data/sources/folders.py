"""Folders of classes: `happy/*.jpg`, or `train/happy/*.jpg` with a folder per split above.

The second is also the form in which FER2013 is handed around on Kaggle (`train/`, `test/`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.data.sources.collection import SPLIT_NAMES, Collection, index_labels, split_name
from mien.data.sources.pictures import read_crops
from mien.errors import DataError
from mien.files import plain
from mien.labels import SEVEN, class_name

if TYPE_CHECKING:
    from collections.abc import Callable


def read_folders(
    path: Path, size: int, progress: Callable[[int, int], None] | None = None
) -> Collection:
    """Read a folder of class folders, or of split folders that hold class folders.

    Pictures that cannot be read are listed in `skipped`; hidden files and folders are left out.

    Raises:
        DataError: no class folder, or no picture in them, or a misspelt class.
    """
    try:
        found = _list_pictures(path)
    except OSError as error:
        raise DataError(
            f"cannot read {error.filename}: {error.strerror}",
            hint="give a folder that you may read",
        ) from error
    if not found:
        raise DataError(
            f"{path} holds no class folders with pictures",
            hint="expected CLASS/picture.jpg, such as happy/1.jpg, or train/happy/1.jpg",
        )
    crops, kept, skipped = read_crops([file for file, _, _ in found], size, progress)
    label_names, labels = index_labels([found[i][1] for i in kept], SEVEN)
    return Collection(
        name=path.resolve().name,
        images_nhw=crops,
        label_names=label_names,
        labels_n=labels,
        sources_n=np.array(
            [plain(found[i][0].relative_to(path).as_posix()) for i in kept], np.str_
        ),
        splits_n=np.array([found[i][2] for i in kept], "<U10"),
        subjects_n=np.full(len(kept), "", np.str_),
        skipped=skipped,
    )


def _list_pictures(path: Path) -> list[tuple[Path, str, str]]:
    """Return (file, label, split) of every file two or three levels down."""
    found: list[tuple[Path, str, str]] = []
    for folder in _folders(path):
        inner = _folders(folder)
        if inner and folder.name.lower() in SPLIT_NAMES:
            split = split_name(folder.name, str(folder))
            for class_folder in inner:
                found += [(file, _class(class_folder), split) for file in _files(class_folder)]
        else:
            found += [(file, _class(folder), "") for file in _files(folder)]
    return found


def _class(folder: Path) -> str:
    return class_name(plain(folder.name), str(folder))


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
