"""From a labelled collection to a dataset on disk: read `prepare` first."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.data.audit.apply import apply_table
from mien.data.dataset import Dataset, refuse_existing, save_dataset
from mien.data.duplicates import Copies, find_copies, perceptual_hashes, pixel_hashes
from mien.data.import_page import import_page
from mien.data.notices import Notice, class_notices, file_notices, row_notices
from mien.data.sources.images import ImageCropper
from mien.data.sources.registry import read_source
from mien.data.split import Splits, make_splits
from mien.data.subjects import name_subjects
from mien.errors import ConfigError, DataError, did_you_mean
from mien.imaging.crop import ALIGNMENT_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mien.data.faces import FaceDetector
    from mien.data.sources.collection import Collection


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """How a collection becomes a dataset.

    Attributes:
        form: of the source; found out where empty.
        votes: a CSV of raters' votes to join by row, or None.
        size: height and width of a crop, in pixels.
        validation: share of training to hold out where the source has no validation; 0 for none.
        seed: of that hold-out.
        force: replace a dataset that stands at the destination.
        apply: an audit's table to obey, or None.
        faces: 'auto', 'find' or 'whole'; see mien.data.sources.images.ImageCropper.
        subjects: 'filename' or 'folder' to tell subjects by them, else ''.
        duplicates: which stay in one split: 'near' (and exact ones) or 'exact'.
    """

    form: str = ""
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
    """Read a collection, find its copies, split it without leaks, and write it as a dataset.

    Args:
        source: a folder or file in one of the forms of `mien.data.sources`.
        folder: to write.
        options: see there.
        progress: called with the stage, and how much of it is done.
        make_detector: makes what finds the faces on photos, such as
            mien.predict.detectors.registry.make_detector; called only where it is needed.

    Raises:
        ConfigError: an option has a value that is not known.
        DataError: the source cannot be used, or `folder` stands already.
        WriteError: the folder could not be written; nothing is left of it.
    """
    if options.duplicates not in DUPLICATES:
        raise ConfigError(
            f"duplicates: {options.duplicates!r} is not a kind of duplicates",
            hint=did_you_mean(options.duplicates, DUPLICATES) + f"known: {', '.join(DUPLICATES)}",
        )
    refuse_existing(folder, force=options.force)
    cropper = ImageCropper(options.faces, make_detector)
    collection = read_source(
        source,
        options.form,
        options.votes,
        options.size,
        lambda d, t: progress("reading", d, t),
        cropper,
    )
    edited: dict[str, int] = {}
    if options.apply is not None:
        collection, edited = apply_table(collection, options.apply)
    check_classes(collection, source)
    notices: list[Notice] = []
    if options.subjects:
        collection, notices = name_subjects(collection, options.subjects)
    copies = find_copies(collection.images_nhw, lambda d, t: progress("finding copies", d, t))
    tied = copies.groups_n
    if options.duplicates == "exact":
        _, tied = np.unique(pixel_hashes(collection.images_nhw), return_inverse=True)
        notices.append(_NEAR_ACROSS)
    splits = make_splits(
        collection.labels_n,
        tied,
        collection.subjects_n,
        collection.splits_n,
        share=options.validation,
        seed=options.seed,
    )
    return write_collection(
        collection, copies, splits, folder, force=options.force, more_facts=edited, notices=notices
    )


_NEAR_ACROSS = Notice(
    "near-duplicates-split",
    "near-duplicates may lie in two splits, as asked for: figures on this dataset are too good",
    0,
)


def write_collection(
    collection: Collection,
    copies: Copies,
    splits: Splits,
    folder: Path,
    *,
    force: bool = False,
    more_facts: dict[str, int] | None = None,
    notices: Sequence[Notice] = (),
) -> Dataset:
    """Write a split collection as a dataset folder, with lists of what was found beside it."""
    told = [*collect_notices(collection, splits), *notices]
    conflicts = find_conflicts(collection, copies)
    dataset = Dataset(
        name=collection.name,
        images_nhw=collection.images_nhw,
        label_names=collection.label_names,
        labels_n=collection.labels_n,
        votes_nk=collection.votes_nk,
        vote_names=collection.vote_names,
        splits_n=splits.splits_n,
        groups_n=copies.groups_n,
        sources_n=collection.sources_n,
        subjects_n=collection.subjects_n,
        facts={
            **_facts(collection, copies, splits, len(conflicts)),
            **collection.facts,
            **(more_facts or {}),
            "warnings": [notice.to_dict() for notice in told],
        },
    )
    skipped = [[record.source, record.reason, record.kind] for record in collection.skipped]
    page = {"import.html": import_page(collection, told)} if collection.shown else {}
    return save_dataset(
        dataset,
        folder,
        source_splits_n=collection.splits_n,
        sha256_n=pixel_hashes(collection.images_nhw).tolist(),
        phash_n=perceptual_hashes(collection.images_nhw).tolist(),
        extra_files={
            "copies.csv": _csv(["group", "source", "label", "split"], _copy_rows(dataset, copies)),
            "conflicts.csv": _csv(["group", "labels", "sources"], conflicts),
            "skipped.csv": _csv(["source", "reason", "kind"], skipped),
            **page,
        },
        extra_columns=_origin_columns(collection),
        force=force,
    )


def collect_notices(collection: Collection, splits: Splits) -> list[Notice]:
    """Return what a user should know of an import, files first, in a fixed order."""
    faces = collection.facts.get("faces", {})
    doubt = faces.get("doubt", "")
    return [
        *file_notices([*collection.skipped, *collection.notes]),
        *([Notice("faces", f"{faces['why']}; {doubt}", len(collection))] if doubt else []),
        *row_notices(collection),
        *class_notices(collection, splits.splits_n),
        *splits.notices,
    ]


def _origin_columns(collection: Collection) -> dict[str, list[Any]]:
    origins = collection.origins
    if not origins:
        return {}
    return {
        "source_width": [o.width for o in origins],
        "source_height": [o.height for o in origins],
        "face_box": [None if o.box is None else list(o.box) for o in origins],
        "face_score": [o.score for o in origins],
        "face_landmarks": [
            None if o.landmarks is None else [v for point in o.landmarks for v in point]
            for o in origins
        ],
    }


def check_classes(collection: Collection, source: Path) -> None:
    """Raise a DataError where there is no image, or only one class."""
    names = [collection.label_names[i] for i in np.unique(collection.labels_n) if i >= 0]
    if len(names) >= 2:
        return
    found = f"only the class {names[0]!r}" if names else "no labelled image"
    lost = [notice.message for notice in file_notices(collection.skipped)]
    hint = "a classifier needs images of at least two classes"
    if any(record.kind == "missing" for record in collection.skipped):
        hint = "paths in a list are relative to the folder of the list; check them"
    elif any(record.kind in ("no-face", "several-faces") for record in collection.skipped):
        hint += "; faces='whole' takes images that are face crops already as they are"
    raise DataError(f"{source} holds {found}{': ' if lost else ''}{'; '.join(lost)}", hint=hint)


def find_conflicts(collection: Collection, copies: Copies) -> list[list[Any]]:
    """Return one row per group of copies whose labels differ: group, labels, sources."""
    rows: list[list[Any]] = []
    for group, members in copies.members().items():
        labels = [i for i in collection.labels_n[members].tolist() if i >= 0]
        if len(set(labels)) > 1:
            names = [collection.label_names[i] for i in labels]
            sources = collection.sources_n[members].tolist()
            rows.append([group, " ".join(names), " ".join(sources)])
    return rows


def _facts(
    collection: Collection, copies: Copies, splits: Splits, conflicts: int
) -> dict[str, Any]:
    members = copies.members()
    return {
        "alignment": ALIGNMENT_ID,
        "split_rule": splits.rule,
        "held_out": splits.held_out,
        "excluded_copies": splits.excluded,
        "exact_groups": copies.exact_groups,
        "near_pairs": len(copies.near_pairs),
        "copy_groups": len(members),
        "copied_images": int(sum(len(rows) for rows in members.values())),
        "conflicting_groups": conflicts,
        "skipped": len(collection.skipped),
    }


def _copy_rows(dataset: Dataset, copies: Copies) -> list[list[Any]]:
    return [
        [
            group,
            dataset.sources_n[row],
            dataset.label_names[dataset.labels_n[row]] if dataset.labels_n[row] >= 0 else "",
            dataset.splits_n[row],
        ]
        for group, members in copies.members().items()
        for row in members
    ]


def _csv(header: list[str], rows: list[list[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()
