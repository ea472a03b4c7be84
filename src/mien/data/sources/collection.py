"""What every source gives: labelled crops, before copies are found and splits are made."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SPLIT_NAMES = {
    "": "",
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "publictest": "validation",
    "test": "test",
    "testing": "test",
    "privatetest": "test",
}
"""How sources name their splits. FER2013's PublicTest is validation, PrivateTest is test."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image that could not be used, or that was used with a note, and why.

    Attributes:
        source: path or name.
        reason: in words.
        kind: one of mien.data.notices.KINDS.
    """

    source: str
    reason: str
    kind: str = "unreadable"


@dataclass(frozen=True, slots=True)
class Shown:
    """An image on the page.

    Attributes:
        source: its name.
        kind: why it was left out, or '' where its face was taken.
        reason: in words.
        jpeg: the thumbnail.
    """

    source: str
    kind: str
    reason: str
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in its image a crop comes from.

    Attributes:
        width: of the image as displayed, in pixels.
        height: likewise.
        box: the detector's (left, top, right, bottom) in pixels; None where the whole image
            is the crop.
        score: the detector's, 0 to 1; None likewise.
        landmarks: five (x, y) in pixels, where the detector gives them.
    """

    width: int
    height: int
    box: tuple[float, ...] | None = None
    score: float | None = None
    landmarks: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class Collection:
    """Labelled crops from one source; all arrays share their first axis.

    Attributes:
        name: of the collection.
        images_nhw: uint8 [n, size, size], grey.
        label_names: what `labels_n` indexes into.
        labels_n: int64 [n], -1 where there is none.
        sources_n: str [n], path or row.
        splits_n: str [n], the source's own split in our spelling, '' where it has none.
        subjects_n: str [n], '' where unknown.
        votes_nk: float32 [n, k] or None.
        vote_names: names of the votes' columns, in our spelling.
        skipped: files that could not be used.
        notes: images that were used, with something to know about them.
        declared: classes that the source names, whether or not they hold an image.
        origins: where each crop comes from, [n]; empty where the source holds crops itself.
        shown: images for the import's page.
        facts: of the reading, as JSON types: how faces were found.
    """

    name: str
    images_nhw: NDArray[np.uint8]
    label_names: tuple[str, ...]
    labels_n: NDArray[np.int64]
    sources_n: NDArray[np.str_]
    splits_n: NDArray[np.str_]
    subjects_n: NDArray[np.str_]
    votes_nk: NDArray[np.float32] | None = None
    vote_names: tuple[str, ...] = ()
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[Skipped] = field(default_factory=list)
    declared: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = ()
    shown: list[Shown] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images_nhw)

    def subset(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Collection:
        """Return the rows of a mask or of indices; what was skipped stays listed."""
        rows = np.arange(len(self))[chosen]
        return replace(
            self,
            images_nhw=self.images_nhw[chosen],
            labels_n=self.labels_n[chosen],
            sources_n=self.sources_n[chosen],
            splits_n=self.splits_n[chosen],
            subjects_n=self.subjects_n[chosen],
            votes_nk=None if self.votes_nk is None else self.votes_nk[chosen],
            origins=tuple(self.origins[i] for i in rows) if self.origins else (),
        )


def check_size(size: int) -> None:
    """Raise a ConfigError for a height and width of crops that no model file can have."""
    if not 8 <= size <= 1024:
        raise ConfigError(f"--size must be from 8 to 1024 pixels, got {size}", hint="usual: 48")


def split_name(text: str, where: str) -> str:
    """Return our spelling of a split's name; an unknown one is a DataError naming `where`."""
    key = text.strip().lower().replace("_", "").replace("-", "").replace(" ", "")
    if key not in SPLIT_NAMES:
        raise DataError(
            f"{where}: unknown split {text!r}",
            hint="use train, validation or test (or Training, PublicTest, PrivateTest)",
        )
    return SPLIT_NAMES[key]


def index_labels(
    labels: Sequence[str], order: Sequence[str] = ()
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the label names (in `order` first, then sorted) and each row's index; '' is -1."""
    present = set(labels) - {""}
    names = tuple([name for name in order if name in present])
    names += tuple(sorted(present - set(names)))
    index = {name: i for i, name in enumerate(names)}
    return names, np.array([index.get(label, -1) for label in labels], np.int64)
