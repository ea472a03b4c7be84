"""Counts of images per class, split and subject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mien.data.show import NO_LABEL, count_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.data.dataset import Dataset


def measure_balance(dataset: Dataset) -> dict[str, Any]:
    """Return class counts per split of the source, imbalance and subjects, as JSON types.

    'imbalance' is the size of the largest class over that of the smallest non-empty one.
    """
    counts = count_table(dataset, dataset.source_splits_n)
    sizes = [sum(row.values()) for name, row in counts.items() if name != NO_LABEL]
    # Without empty classes, whose ratio would be infinite.
    sizes = [size for size in sizes if size]
    return {
        "counts": counts,
        "imbalance": round(max(sizes) / min(sizes), 2) if sizes else None,
        "subjects": _count_subjects(dataset.subjects_n, dataset.source_splits_n),
    }


def _count_subjects(
    subjects_n: NDArray[np.str_], splits_n: NDArray[np.str_]
) -> dict[str, int | float] | None:
    """Return the number of subjects, and of images per subject; None where there are none."""
    known = subjects_n != ""
    if not known.any():
        return None
    _, counts = np.unique(subjects_n[known], return_counts=True)
    train = known & (splits_n == "train")
    held_out = known & ((splits_n == "validation") | (splits_n == "test"))
    shared = set(subjects_n[train].tolist()) & set(subjects_n[held_out].tolist())
    return {
        "n": len(counts),
        "images_known": int(known.sum()),
        "min": int(counts.min()),
        "median": float(np.median(counts)),
        "max": int(counts.max()),
        "in_train_and_held_out": len(shared),
    }
