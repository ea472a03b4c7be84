"""Subjects from the names of files or folders, where the source does not name them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from mien.data.notices import NAMED, Notice
from mien.errors import ConfigError, did_you_mean
from mien.labels import canonical

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.data.dataset import Dataset

RULES = ("filename", "folder")


def name_subjects(dataset: Dataset, rule: str) -> tuple[NDArray[np.str_], Notice]:
    """Return subjects taken from the names of the images, str [n], and a warning about the risk.

    Args:
        dataset: without subjects.
        rule: 'filename' takes the part of the file's name before the first `_`, `-`, `.` or space
            (anna_03.jpg is anna), else the name without its last digits (anna03.jpg); 'folder'
            takes the folder that holds the file, unless that is the class.

    Raises:
        ConfigError: unknown rule, the source names subjects already, or the names give fewer than
            two subjects.
    """
    if rule not in RULES:
        raise ConfigError(
            f"subjects: unknown value {rule!r}",
            hint=did_you_mean(rule, RULES) + f"allowed: {', '.join(RULES)}",
        )
    if (dataset.subjects_n != "").any():
        raise ConfigError(
            "subjects: the source names its subjects already", hint="leave the setting out"
        )
    texts = [text.replace("\\", "/") for text in dataset.sources_n.tolist()]
    read = _by_file if rule == "filename" else _by_folder
    labels = [dataset.label_names[i] if i >= 0 else "" for i in dataset.labels_n]
    subjects = [read(PurePosixPath(t), label) for t, label in zip(texts, labels, strict=True)]
    known = sorted(set(subjects) - {""})
    if len(known) < 2:
        raise ConfigError(
            f"subjects: found {len(known)} by {rule}, at least 2 are needed",
            hint="name files SUBJECT_1.jpg or order them CLASS/SUBJECT/1.jpg; or give a CSV of "
            "path,label,subject",
        )
    message = (
        f"{len(known):,} subjects were taken from the {rule} ({', '.join(known[:NAMED])}"
        f"{', …' if len(known) > NAMED else ''}): where a name is wrong, one subject is in two "
        "splits and metrics are too optimistic"
    )
    notice = Notice("subjects-by-name", message, len(known), tuple(known[:NAMED]))
    return np.array(subjects, np.str_), notice


def _by_file(path: PurePosixPath, _: str) -> str:
    # CK+ (S010_004_00000017.png) and JAFFE (KA.HA1.29.tiff) put the subject first.
    first = re.split(r"[_\-. ]", path.stem, maxsplit=1)[0]
    return first if first != path.stem else path.stem.rstrip("0123456789")


def _by_folder(path: PurePosixPath, label: str) -> str:
    name = path.parent.name
    # CLASS/1.jpg has no folder of a subject.
    return "" if canonical(name) == label else name
