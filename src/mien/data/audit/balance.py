"""How a collection is spread over classes, splits and subjects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mien.data.show import NO_LABEL, count_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.data.sources.collection import Collection


def measure_balance(collection: Collection) -> dict[str, Any]:
    """Return counts per class and split, the imbalance, and counts of subjects, as JSON types.

    'imbalance' is the largest class over the smallest one that has any image.
    """
    counts = count_table(collection)
    sizes = [sum(row.values()) for name, row in counts.items() if name != NO_LABEL]
    sizes = [size for size in sizes if size]
    return {
        "counts": counts,
        "imbalance": round(max(sizes) / min(sizes), 2) if sizes else None,
        "subjects": _subjects(collection.subjects_n, collection.splits_n),
    }


def _subjects(
    subjects_n: NDArray[np.str_], splits_n: NDArray[np.str_]
) -> dict[str, int | float] | None:
    """Return how many subjects there are and how many images each has; None where unknown."""
    known = subjects_n != ""
    if not known.any():
        return None
    _, counts = np.unique(subjects_n[known], return_counts=True)
    train = known & (splits_n == "train")
    graded = known & ((splits_n == "validation") | (splits_n == "test"))
    shared = set(subjects_n[train].tolist()) & set(subjects_n[graded].tolist())
    return {
        "n": len(counts),
        "images_known": int(known.sum()),
        "least": int(counts.min()),
        "median": float(np.median(counts)),
        "most": int(counts.max()),
        "in_training_and_graded": len(shared),
    }
