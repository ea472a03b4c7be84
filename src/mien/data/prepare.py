"""From a labelled collection to a dataset on disk: read `prepare` first."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.data.audit.apply import apply_table
from mien.data.duplicates import Copies, find_copies, perceptual_hashes, pixel_hashes
from mien.data.manifest import Dataset, refuse_existing, save_dataset
from mien.data.sources.registry import read_source
from mien.data.split import Splits, make_splits
from mien.errors import DataError
from mien.vision.align import ALIGNMENT_ID

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mien.data.sources.collection import Collection


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """How a collection becomes a dataset.

    Attributes:
        form: of the source; found out where empty.
        votes: a CSV of raters' votes to join by row, or None.
        size: height and width of a crop, in pixels.
        validation: share of training to hold out where the source has no validation.
        seed: of that hold-out.
        force: replace a dataset that stands at the destination.
        apply: an audit's table to obey, or None.
    """

    form: str = ""
    votes: Path | None = None
    size: int = 48
    validation: float = 0.15
    seed: int = 0
    force: bool = False
    apply: Path | None = None


def prepare(
    source: Path,
    folder: Path,
    options: PrepareOptions,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Dataset:
    """Read a collection, find its copies, split it without leaks, and write it as a dataset.

    Args:
        source: a folder or file in one of the forms of `mien.data.sources`.
        folder: to write.
        options: see there.
        progress: told the stage, and how much of it is done.

    Raises:
        DataError: the source cannot be used, or `folder` stands already.
        WriteError: the folder could not be written; nothing is left of it.
    """
    refuse_existing(folder, force=options.force)
    collection = read_source(
        source, options.form, options.votes, options.size, lambda d, t: progress("reading", d, t)
    )
    edited: dict[str, int] = {}
    if options.apply is not None:
        collection, edited = apply_table(collection, options.apply)
    check_classes(collection, source)
    copies = find_copies(collection.images_nhw, lambda d, t: progress("finding copies", d, t))
    splits = make_splits(
        collection.labels_n,
        copies.groups_n,
        collection.subjects_n,
        collection.splits_n,
        share=options.validation,
        seed=options.seed,
    )
    return write_collection(
        collection, copies, splits, folder, force=options.force, more_facts=edited
    )


def write_collection(
    collection: Collection,
    copies: Copies,
    splits: Splits,
    folder: Path,
    *,
    force: bool = False,
    more_facts: dict[str, int] | None = None,
) -> Dataset:
    """Write a split collection as a dataset folder, with lists of what was found beside it."""
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
        facts={**_facts(collection, copies, splits, len(conflicts)), **(more_facts or {})},
    )
    skipped = [[record.source, record.reason] for record in collection.skipped]
    return save_dataset(
        dataset,
        folder,
        source_splits_n=collection.splits_n,
        sha256_n=pixel_hashes(collection.images_nhw).tolist(),
        phash_n=perceptual_hashes(collection.images_nhw).tolist(),
        extra_files={
            "copies.csv": _csv(["group", "source", "label", "split"], _copy_rows(dataset, copies)),
            "conflicts.csv": _csv(["group", "labels", "sources"], conflicts),
            "skipped.csv": _csv(["source", "reason"], skipped),
        },
        force=force,
    )


def check_classes(collection: Collection, source: Path) -> None:
    """Raise a DataError where there is no picture, or only one class."""
    names = [collection.label_names[i] for i in np.unique(collection.labels_n) if i >= 0]
    if len(names) < 2:
        found = f"only the class {names[0]!r}" if names else "no labelled picture"
        skipped = f" ({len(collection.skipped)} unreadable)" if collection.skipped else ""
        raise DataError(
            f"{source} holds {found}{skipped}",
            hint="a classifier needs pictures of at least two classes",
        )


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
        "copied_pictures": int(sum(len(rows) for rows in members.values())),
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
