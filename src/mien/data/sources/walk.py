"""Walk a tree of class folders: images by class and split, and the files that are skipped."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from mien.data.records import Skipped
from mien.data.sources.fields import SPLIT_NAMES, split_name
from mien.errors import DataError
from mien.files import plain
from mien.imaging.codec import SUFFIXES
from mien.labels import EIGHT, canonical, class_name


@dataclass(slots=True)
class Tree:
    """The images of a folder.

    Attributes:
        images: (file, label, split) of every file in a class folder, however deep.
        skipped: images outside of the class folders, and hidden ones.
        classes: names of all class folders in our spelling, including those without any image.
    """

    images: list[tuple[Path, str, str]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)


def walk_classes(path: Path) -> Tree:
    """Return the images in class folders, or in split folders that hold class folders.

    A class folder's subfolders belong to the class.

    Raises:
        DataError: a folder cannot be read, a class is misspelt, or the classes lie a level deeper.
    """
    tree = Tree()
    try:
        _collect(path, path, "", tree)
    except OSError as error:
        raise DataError(
            f"cannot read {error.filename}: {error.strerror}",
            hint="give a folder that you may read",
        ) from error
    return tree


def _collect(path: Path, root: Path, split: str, tree: Tree) -> None:
    folders = _folders(path)
    _refuse_deeper_classes(path, folders)
    for file in sorted(path.iterdir()):
        if file.suffix.lower() in SUFFIXES and file.is_file():
            tree.skipped.append(_skipped(file, root, "outside-class"))
    for folder in folders:
        if not split and folder.name.lower() in SPLIT_NAMES and _folders(folder):
            _collect(folder, root, split_name(folder.name, str(folder)), tree)
            continue
        label = class_name(plain(folder.name), str(folder))
        tree.classes.append(label)
        for file, parts in _files(folder):
            if any(part.startswith(".") for part in parts):
                if file.suffix.lower() in SUFFIXES:
                    tree.skipped.append(_skipped(file, root, "hidden"))
                continue
            within = parts[0] if len(parts) > 1 and parts[0].lower() in SPLIT_NAMES else ""
            own = split or split_name(within, str(folder))  # happy/train/1.jpg is read too
            tree.images.append((file, label, own))


def _skipped(file: Path, root: Path, kind: str) -> Skipped:
    reasons = {
        "outside-class": "outside of any class folder",
        "hidden": "its name starts with a dot",
    }
    return Skipped(plain(file.relative_to(root).as_posix()), reasons[kind], kind)


def _refuse_deeper_classes(path: Path, folders: list[Path]) -> None:
    """Raise a DataError where expressions are folders within folders that are none.

    anna/happy/1.jpg would otherwise be read as one class per subject.
    """
    # One known name is enough: a dataset may have classes of its own beside.
    if any(canonical(f.name) in EIGHT or f.name.lower() in SPLIT_NAMES for f in folders):
        return
    inner = {f.name: folder for folder in folders for f in _folders(folder)}
    classes = [n for n in inner if canonical(n) in EIGHT or n.lower() in SPLIT_NAMES]
    if len(classes) < 2:
        return
    raise DataError(
        f"the class folders of {path} are one level deeper: {inner[classes[0]].name}/{classes[0]}",
        hint=f"give {folders[0]}"
        if len(folders) == 1
        else "rename them to CLASS/SUBJECT/1.jpg, or give a CSV of path,label,split,subject",
    )


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(folder: Path) -> list[tuple[Path, tuple[str, ...]]]:
    """Return the files of a folder and of its subfolders, each with its path's parts below it.

    Links to folders are followed, each folder once.
    """
    found: list[tuple[Path, tuple[str, ...]]] = []
    seen: set[tuple[int, int]] = set()

    def fail(error: OSError) -> None:
        raise error

    for here, inner, names in os.walk(folder, onerror=fail, followlinks=True):
        status = Path(here).stat()
        if (status.st_dev, status.st_ino) in seen:  # a circle of links
            inner.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        parent = Path(here)
        above = parent.relative_to(folder).parts
        found += [(parent / name, (*above, name)) for name in names]
    # Sorted by name, since the order of the file system would decide the splits.
    return sorted(found, key=lambda item: item[1])
