"""What an import passes over, and what it warns of: one notice a kind, with a count and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.data.sources.collection import Collection, Skipped

KINDS = {
    "missing": ("file was not found", "files were not found"),
    "not-a-image": (
        "file in the class folders is not an image",
        "files in the class folders are not images",
    ),
    "unreadable": ("image could not be read", "images could not be read"),
    "outside-class": (
        "image lies in no class folder and was passed over",
        "images lie in no class folder and were passed over",
    ),
    "hidden": ("hidden image was passed over", "hidden images were passed over"),
    "no-face": (
        "image was left out: no face was found in it",
        "images were left out: no face was found in them",
    ),
    "several-faces": (
        "image was left out: it shows several faces of similar size",
        "images were left out: they show several faces of similar size",
    ),
    "no-end-marker": (
        "JPEG file without its end marker was read; all its pixels are there",
        "JPEG files without their end marker were read; all their pixels are there",
    ),
    "animation": (
        "animation was read: its first frame only",
        "animations were read: their first frame only",
    ),
    "small-face": (
        "face is smaller than a crop and was enlarged",
        "faces are smaller than a crop and were enlarged",
    ),
}
"""Kinds of files with trouble, in the order of the output: one such file, and several."""
NAMED = 3
"""Names that a notice shows."""
FEW = 10
"""Images of a class below which training it is warned of."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a user should know of an import.

    Attributes:
        kind: for programs, such as 'missing' or 'rare-class'.
        message: for people, one line.
        count: of the files, images or classes that it is about.
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


def file_notices(records: Sequence[Skipped]) -> list[Notice]:
    """Return a notice for each kind of file that was passed over or read with a note."""
    notices = []
    for kind, (one, several) in KINDS.items():
        own = [record for record in records if record.kind == kind]
        if not own:
            continue
        names = [r.source for r in own[:NAMED]]
        shown = [_named(r) if kind == "unreadable" else r.source for r in own[:NAMED]]
        more = f" and {len(own) - NAMED:,} more" if len(own) > NAMED else ""
        message = f"{len(own):,} {one if len(own) == 1 else several}: {', '.join(shown)}{more}"
        notices.append(Notice(kind, message, len(own), tuple(names)))
    return notices


def _named(record: Skipped) -> str:
    return f"{record.source} ({record.reason.partition(record.source)[2].strip() or record.reason})"


def class_notices(collection: Collection, splits_n: NDArray[np.str_]) -> list[Notice]:
    """Return what is to be known of classes: without images, rare, missing from a split."""
    notices = []
    labels, names = collection.labels_n, collection.label_names
    counts = {name: int((labels == i).sum()) for i, name in enumerate(names)}
    empty = [name for name in dict.fromkeys(collection.declared) if not counts.get(name)]
    if empty:
        message = f"{_classes(empty)} no image: {', '.join(empty)}"
        notices.append(Notice("empty-class", message, len(empty), tuple(empty)))
    rare = {name: n for name, n in counts.items() if 0 < n < FEW}
    if rare:
        listed = ", ".join(f"{name} ({n})" for name, n in rare.items())
        message = f"{_classes(list(rare))} fewer than {FEW} images: {listed}"
        notices.append(Notice("rare-class", message, len(rare), tuple(rare)))
    present = [i for i, name in enumerate(names) if counts[name]]
    for split in ("train", "validation", "test"):
        inside = labels[(splits_n == split) & (labels >= 0)]
        absent = [names[i] for i in present if not (inside == i).any()]
        if len(inside) and absent:
            message = (
                f"the {split} split has no image of {_or(absent)}: figures on it say nothing of "
                f"{'it' if len(absent) == 1 else 'them'}"
            )
            if split == "train":
                message = f"the train split has no image of {_or(absent)}: it cannot be learnt"
            notices.append(Notice("split-without-class", message, len(absent), tuple(absent)))
    return notices


def row_notices(collection: Collection) -> list[Notice]:
    """Return a notice for images without a label outside of a test split: nothing uses them."""
    chosen = (collection.labels_n < 0) & (collection.splits_n != "test")
    return _rows_notice(collection, chosen, "unlabelled", "without a label", "excluded")


def _rows_notice(
    collection: Collection, chosen: NDArray[np.bool_], kind: str, what: str, done: str
) -> list[Notice]:
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return []
    names = tuple(str(s) for s in collection.sources_n[rows[:NAMED]])
    more = f" and {len(rows) - NAMED:,} more" if len(rows) > NAMED else ""
    images = "image" if len(rows) == 1 else "images"
    verb = "was" if len(rows) == 1 else "were"
    message = f"{len(rows):,} {images} {what} {verb} {done}: {', '.join(names)}{more}"
    return [Notice(kind, message, len(rows), names)]


def _classes(names: Sequence[str]) -> str:
    return "1 class has" if len(names) == 1 else f"{len(names)} classes have"


def _or(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} or {names[-1]}"
