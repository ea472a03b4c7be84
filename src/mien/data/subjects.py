"""Who is on an image, by the name of its file or folder, where the source does not say."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from mien.data.notices import Notice
from mien.errors import ConfigError, did_you_mean
from mien.labels import canonical

if TYPE_CHECKING:
    from mien.data.sources.collection import Collection

WAYS = ("filename", "folder")


def name_subjects(collection: Collection, way: str) -> tuple[Collection, list[Notice]]:
    """Return the collection with subjects from its names, and a notice of the risk.

    Args:
        collection: without subjects.
        way: 'filename' takes what stands before the first `_`, `-`, `.` or space of the file's
            name (anna_03.jpg is anna), else the name without its last digits (anna03.jpg); 'folder'
            the folder that holds the file, unless that is the class.

    Raises:
        ConfigError: another way, or the source names subjects or none can be told by these names.
    """
    if way not in WAYS:
        raise ConfigError(
            f"subjects: {way!r} is not a way to tell subjects",
            hint=did_you_mean(way, WAYS) + f"known: {', '.join(WAYS)}",
        )
    if (collection.subjects_n != "").any():
        raise ConfigError(
            "subjects: the source names its subjects already", hint="leave the setting out"
        )
    texts = [text.replace("\\", "/") for text in collection.sources_n.tolist()]
    tell = _by_file if way == "filename" else _by_folder
    labels = [collection.label_names[i] if i >= 0 else "" for i in collection.labels_n]
    subjects = [tell(PurePosixPath(t), label) for t, label in zip(texts, labels, strict=True)]
    known = sorted(set(subjects) - {""})
    if len(known) < 2:
        raise ConfigError(
            f"subjects: {len(known)} subjects are told by the {way}",
            hint="name files SUBJECT_1.jpg or order them CLASS/SUBJECT/1.jpg; or give a CSV of "
            "path,label,subject",
        )
    message = (
        f"{len(known):,} subjects are told by the {way} ({', '.join(known[:3])}"
        f"{', …' if len(known) > 3 else ''}): where that is wrong, one person is in two splits and "
        "figures are too good"
    )
    notice = Notice("subjects-by-name", message, len(known), tuple(known[:3]))
    return replace(collection, subjects_n=np.array(subjects, np.str_)), [notice]


def _by_file(path: PurePosixPath, _: str) -> str:
    first = re.split(r"[_\-. ]", path.stem, maxsplit=1)[0]
    return first if first != path.stem else path.stem.rstrip("0123456789")


def _by_folder(path: PurePosixPath, label: str) -> str:
    name = path.parent.name
    return "" if canonical(name) == label else name
