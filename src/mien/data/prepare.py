"""From labelled images to a dataset folder: read `prepare` first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mien.data.audit.apply import apply_table
from mien.data.build import split_dataset, write_dataset
from mien.data.dataset import refuse_existing
from mien.data.duplicates import find_duplicates, pixel_hashes
from mien.data.notices import Notice, file_notices
from mien.data.sources.images import ImageCropper
from mien.data.sources.registry import read_source
from mien.data.split import make_splits
from mien.data.subjects import name_subjects
from mien.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mien.data.dataset import Dataset
    from mien.data.faces import FaceDetector


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """How labelled images become a dataset.

    Attributes:
        format: name of the source's format, one of mien.data.sources.registry.SOURCES; '' detects
            it.
        votes: FERPlus's vote CSV, joined by row, or None.
        size: height and width of a crop, 8 to 1024 pixels.
        validation: fraction of the training images to hold out where the source has no validation
            split, at least 0 and below 1; 0 holds nothing out.
        seed: seed of the hold-out.
        force: replace an existing dataset in the destination folder.
        apply: an audit's CSV whose drop and relabel actions are applied, or None.
        faces: 'auto', 'find' or 'whole'; see mien.data.sources.images.ImageCropper.
        subjects: 'filename' or 'folder' to take subjects from names, else ''.
        duplicates: which duplicates stay in one split: 'near' (and exact ones) or 'exact'.
    """

    format: str = ""
    votes: Path | None = None
    size: int = 48
    validation: float = 0.15
    seed: int = 0
    force: bool = False
    apply: Path | None = None
    faces: str = "auto"
    subjects: str = ""
    duplicates: str = "near"


DUPLICATES = ("near", "exact")


def prepare(
    source: Path,
    folder: Path,
    options: PrepareOptions,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    make_detector: Callable[[], FaceDetector] | None = None,
) -> Dataset:
    """Read labelled images, find duplicates, split without leaks, and write a dataset folder.

    Args:
        source: a folder or file in one of the formats of `mien.data.sources.registry`.
        folder: folder to write.
        options: see PrepareOptions.
        progress: called with (stage, done, total); total is 0 while it is unknown.
        make_detector: returns a face detector for photos, such as
            mien.predict.detectors.registry.make_detector; called only where photos are found.

    Raises:
        ConfigError: an option has an unknown value or is out of range.
        DataError: the source cannot be used, or `folder` exists already.
        WriteError: the folder could not be written; nothing is left of it.
    """
    if options.duplicates not in DUPLICATES:
        raise ConfigError(
            f"duplicates: unknown value {options.duplicates!r}",
            hint=did_you_mean(options.duplicates, DUPLICATES) + f"allowed: {', '.join(DUPLICATES)}",
        )
    # Before the source is read, which may take minutes.
    refuse_existing(folder, force=options.force)
    cropper = ImageCropper(options.faces, make_detector)
    dataset, edited, notices = _read(source, options, progress, cropper)
    # On the crops, not the files: copies in another format or size have nearly equal crops.
    duplicates = find_duplicates(
        dataset.images_nhw, lambda done, total: progress("finding duplicates", done, total)
    )
    kept_together_n = duplicates.groups_n
    if options.duplicates == "exact":
        # The groups are written as found all the same: only the split ignores the near ones.
        _, kept_together_n = np.unique(pixel_hashes(dataset.images_nhw), return_inverse=True)
        notices.append(_NEAR_ACROSS)
    splits = make_splits(
        dataset.labels_n,
        kept_together_n,
        dataset.subjects_n,
        dataset.source_splits_n,
        fraction=options.validation,
        seed=options.seed,
        ways_out=_ways_out(options),
    )
    # The facts keep what was edited and what was warned of, for whoever opens the dataset later.
    dataset = split_dataset(dataset, duplicates, splits, more_facts=edited, notices=notices)
    return write_dataset(dataset, folder, force=options.force)


def _ways_out(options: PrepareOptions) -> list[str]:
    """Return the options that hold images together, and what changing them costs."""
    cost = "(metrics are then too optimistic)"
    if options.subjects:
        return [f"leave subjects out, which lets one subject into both splits {cost}"]
    if options.duplicates == "near":
        return [f"set duplicates to 'exact', which lets near-duplicates into both splits {cost}"]
    return []


_NEAR_ACROSS = Notice(
    "near-duplicates-split",
    "near-duplicates may be in two splits, as requested: metrics on this dataset are too "
    "optimistic",
    0,
)


def _read(
    source: Path,
    options: PrepareOptions,
    progress: Callable[[str, int, int], None],
    cropper: ImageCropper,
) -> tuple[Dataset, dict[str, int], list[Notice]]:
    """Return the unsplit dataset after all edits, the counts of the edits, and warnings."""
    dataset = read_source(
        source,
        options.format,
        options.votes,
        options.size,
        lambda done, total: progress("reading", done, total),
        cropper,
    )
    edited: dict[str, int] = {}
    if options.apply is not None:
        dataset, edited = apply_table(dataset, options.apply)
    # After the edits, which may drop the last image of a class.
    check_classes(dataset, source)
    if not options.subjects:
        return dataset, edited, []
    subjects_n, notice = name_subjects(dataset, options.subjects)
    return replace(dataset, subjects_n=subjects_n), edited, [notice]


def check_classes(dataset: Dataset, source: Path) -> None:
    """Raise a DataError where there is no labelled image, or only one class."""
    names = [dataset.label_names[i] for i in np.unique(dataset.labels_n) if i >= 0]
    # One class alone teaches a classifier to say that one word.
    if len(names) >= 2:
        return
    found = f"only the class {names[0]!r}" if names else "no labelled image"
    lost = [notice.message for notice in file_notices(dataset.skipped)]
    hint = "a classifier needs images of at least two classes"
    if any(record.kind == "missing" for record in dataset.skipped):
        hint = "paths in a list are relative to the folder of the list; check them"
    elif any(record.kind in ("no-face", "several-faces") for record in dataset.skipped):
        hint += "; faces='whole' reads images that are face crops already as they are"
    raise DataError(f"{source} holds {found}{': ' if lost else ''}{'; '.join(lost)}", hint=hint)
