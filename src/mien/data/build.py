"""From an unsplit dataset to a split one, and to a folder: what import and drawn faces share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mien.data.dataset import Dataset, fingerprint, save_dataset
from mien.data.duplicates import group_members
from mien.data.import_page import import_page
from mien.data.notices import Notice, class_notices, file_notices, unlabelled_notices
from mien.files import csv_text
from mien.imaging.crop import ALIGNMENT_ID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mien.data.duplicates import Duplicates
    from mien.data.split import Splits


def split_dataset(
    dataset: Dataset,
    duplicates: Duplicates,
    splits: Splits,
    *,
    more_facts: Mapping[str, int] | None = None,
    notices: Sequence[Notice] = (),
) -> Dataset:
    """Return the dataset with its splits, groups of duplicates, facts and fingerprint.

    Args:
        dataset: unsplit, as a source returns it.
        duplicates: what `find_duplicates` found in it.
        splits: what `make_splits` decided.
        more_facts: further counts for `Dataset.facts`.
        notices: further warnings, after those about files, classes and splits.
    """
    warnings = [*collect_notices(dataset, splits), *notices]
    # The fingerprint covers splits and groups, so it is computed from the finished dataset.
    split = replace(dataset, splits_n=splits.splits_n, groups_n=duplicates.groups_n)
    facts = {
        **_count_facts(split, duplicates, splits),
        **dataset.facts,
        **(more_facts or {}),
        "warnings": [notice.to_dict() for notice in warnings],
    }
    return replace(split, facts=facts, fingerprint=fingerprint(split))


def write_dataset(dataset: Dataset, folder: Path, *, force: bool = False) -> Dataset:
    """Write a split dataset as a folder, with lists of its duplicates and label conflicts.

    Raises:
        DataError, WriteError: as `save_dataset` does.
    """
    files = {
        "duplicates.csv": csv_text(["group", "source", "label", "split"], _duplicate_rows(dataset)),
        "conflicts.csv": csv_text(["group", "labels", "sources"], find_conflicts(dataset)),
    }
    if dataset.thumbnails:
        notices = [Notice.from_dict(warning) for warning in dataset.facts["warnings"]]
        files["import.html"] = import_page(dataset, notices)
    return save_dataset(dataset, folder, extra_files=files, force=force)


def collect_notices(dataset: Dataset, splits: Splits) -> list[Notice]:
    """Return what a user should know about an import, files first, in a fixed order."""
    faces = dataset.facts.get("faces", {})
    doubt = faces.get("doubt", "")
    return [
        *file_notices([*dataset.skipped, *dataset.notes]),
        *([Notice("faces", f"{faces['why']}; {doubt}", len(dataset))] if doubt else []),
        *unlabelled_notices(dataset),
        *class_notices(dataset, splits.splits_n),
        *splits.notices,
    ]


def find_conflicts(dataset: Dataset) -> list[list[Any]]:
    """Return one row per group of duplicates whose labels differ: group, labels, sources."""
    rows: list[list[Any]] = []
    for group, members in group_members(dataset.groups_n).items():
        # An image without a label contradicts no other.
        labels = [i for i in dataset.labels_n[members].tolist() if i >= 0]
        if len(set(labels)) > 1:
            names = [dataset.label_names[i] for i in labels]
            sources = dataset.sources_n[members].tolist()
            rows.append([group, " ".join(names), " ".join(sources)])
    return rows


def _count_facts(dataset: Dataset, duplicates: Duplicates, splits: Splits) -> dict[str, Any]:
    members = group_members(dataset.groups_n)
    return {
        # Crops of another crop function would not fit the models of this one.
        "alignment": ALIGNMENT_ID,
        "split_rule": splits.rule,
        "held_out": splits.held_out,
        "excluded_duplicates": splits.excluded,
        "exact_duplicate_groups": duplicates.exact_groups,
        "near_duplicate_pairs": len(duplicates.near_pairs),
        "duplicate_groups": len(members),
        "duplicate_images": int(sum(len(rows) for rows in members.values())),
        "conflicting_groups": len(find_conflicts(dataset)),
        "skipped": len(dataset.skipped),
    }


def _duplicate_rows(dataset: Dataset) -> list[list[Any]]:
    return [
        [
            group,
            dataset.sources_n[row],
            dataset.label_names[dataset.labels_n[row]] if dataset.labels_n[row] >= 0 else "",
            dataset.splits_n[row],
        ]
        for group, members in group_members(dataset.groups_n).items()
        for row in members
    ]
