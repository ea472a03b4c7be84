"""Warnings of an import: one notice per kind, with a count and the first names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset
    from mien.data.records import Skipped

KINDS = {
    "missing": ("file was not found", "files were not found"),
    "not-an-image": (
        "file in the class folders is not an image",
        "files in the class folders are not images",
    ),
    "unreadable": ("image could not be read", "images could not be read"),
    "outside-class": (
        "image outside of any class folder was skipped",
        "images outside of any class folder were skipped",
    ),
    "hidden": ("hidden image was skipped", "hidden images were skipped"),
    "no-face": (
        "image was skipped: no face was found in it",
        "images were skipped: no face was found in them",
    ),
    "several-faces": (
        "image was skipped: it shows several faces of similar size",
        "images were skipped: they show several faces of similar size",
    ),
    "no-end-marker": (
        "JPEG file has no end marker; all its pixels were read",
        "JPEG files have no end marker; all their pixels were read",
    ),
    "animation": (
        "animation was read as its first frame only",
        "animations were read as their first frames only",
    ),
    "small-face": (
        "face is smaller than a crop and was upscaled",
        "faces are smaller than a crop and were upscaled",
    ),
}
"""Kinds of file warnings in the order of the output, with their singular and plural wording."""
NAMED = 3
"""Maximum number of names in a notice."""
MIN_PER_CLASS = 10
"""Number of images below which a class is reported as rare."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning of an import.

    Attributes:
        kind: for programs, such as 'missing' or 'rare-class'.
        message: for people, one line.
        count: number of files, images or classes that it is about.
        examples: the first names, at most NAMED.
    """

    kind: str
    message: str
    count: int
    examples: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the notice as JSON types."""
        return {
            "kind": self.kind,
            "message": self.message,
            "count": self.count,
            "examples": list(self.examples),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Notice:
        """Return the notice that `to_dict` described."""
        return cls(**{**values, "examples": tuple(values["examples"])})


def file_notices(records: Sequence[Skipped]) -> list[Notice]:
    """Return a notice for each kind of file that was skipped, or read with a warning."""
    notices = []
    # In this order whatever the order of the files, so that two imports can be compared.
    for kind, (one, several) in KINDS.items():
        own = [record for record in records if record.kind == kind]
        if not own:
            continue
        # A few names suffice to find the cause; the count tells how common it is.
        names = [r.source for r in own[:NAMED]]
        shown = [_named(r) if kind == "unreadable" else r.source for r in own[:NAMED]]
        more = f" and {len(own) - NAMED:,} more" if len(own) > NAMED else ""
        message = f"{len(own):,} {one if len(own) == 1 else several}: {', '.join(shown)}{more}"
        notices.append(Notice(kind, message, len(own), tuple(names)))
    return notices


def _named(record: Skipped) -> str:
    # Reasons begin with the name, which would stand there twice.
    return f"{record.source} ({record.reason.partition(record.source)[2].strip() or record.reason})"


def class_notices(dataset: Dataset, splits_n: NDArray[np.str_]) -> list[Notice]:
    """Return warnings about classes: without images, rare, or missing from a split."""
    labels, names = dataset.labels_n, dataset.label_names
    counts = {name: int((labels == i).sum()) for i, name in enumerate(names)}
    notices = []
    # Classes that the source declares, such as an empty folder.
    empty = [name for name in dict.fromkeys(dataset.declared) if not counts.get(name)]
    if empty:
        message = f"{_classes(empty)} no image: {', '.join(empty)}"
        notices.append(Notice("empty-class", message, len(empty), tuple(empty)))
    rare = {name: n for name, n in counts.items() if 0 < n < MIN_PER_CLASS}
    if rare:
        listed = ", ".join(f"{name} ({n})" for name, n in rare.items())
        message = f"{_classes(list(rare))} fewer than {MIN_PER_CLASS} images: {listed}"
        notices.append(Notice("rare-class", message, len(rare), tuple(rare)))
    present = [i for i, name in enumerate(names) if counts[name]]
    for split in ("train", "validation", "test"):
        inside = labels[(splits_n == split) & (labels >= 0)]
        absent = [names[i] for i in present if not (inside == i).any()]
        if len(inside) and absent:
            effect = "it cannot be learnt" if split == "train" else "metrics on it do not cover it"
            message = f"the {split} split has no image of {_or(absent)}: {effect}"
            notices.append(Notice("split-without-class", message, len(absent), tuple(absent)))
    return notices


def unlabelled_notices(dataset: Dataset) -> list[Notice]:
    """Return a notice for images without a label outside of a test split: nothing uses them."""
    rows = np.flatnonzero((dataset.labels_n < 0) & (dataset.source_splits_n != "test"))
    if not len(rows):
        return []
    names = tuple(str(s) for s in dataset.sources_n[rows[:NAMED]])
    more = f" and {len(rows) - NAMED:,} more" if len(rows) > NAMED else ""
    subject = (
        "1 image without a label was"
        if len(rows) == 1
        else (f"{len(rows):,} images without a label were")
    )
    return [Notice("unlabelled", f"{subject} excluded: {', '.join(names)}{more}", len(rows), names)]


def _classes(names: Sequence[str]) -> str:
    return "1 class has" if len(names) == 1 else f"{len(names)} classes have"


def _or(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} or {names[-1]}"
