"""Duplicates of a dataset: conflicting labels, and leaks from training into validation and test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.data.audit.problem import DROP, KEEP, NOTE, SEVERE, WARNING, Problem
from mien.data.duplicates import group_members
from mien.intervals import Estimate, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.data.duplicates import Duplicates

HELD_OUT = ("test", "validation")


@dataclass(frozen=True, slots=True)
class Leak:
    """The images of a held-out split that have a duplicate in training.

    Attributes:
        split: 'test' or 'validation'.
        n: number of its images.
        exact: number of them with the same pixels as a training image.
        duplicated: number of them with an exact or near-duplicate in training.
        training: number of training images that are such duplicates.
    """

    split: str
    n: int
    exact: int
    duplicated: int
    training: int

    @property
    def fraction(self) -> Estimate:
        """Fraction with a duplicate in training, with its 95% Wilson interval."""
        return wilson(self.duplicated, self.n)


def measure_leaks(
    splits_n: NDArray[np.str_], groups_n: NDArray[np.int64], pixels_n: NDArray[np.int64]
) -> list[Leak]:
    """Return the leak from training into each held-out split that has images.

    Args:
        splits_n: str [n].
        groups_n: int64 [n], exact and near-duplicates share a number.
        pixels_n: int64 [n], images with the same pixels share a number.
    """
    train = splits_n == "train"
    leaks = []
    for split in HELD_OUT:
        held_out = splits_n == split
        if held_out.any() and train.any():
            # By group: a duplicate of a duplicate leaks too.
            duplicated = np.isin(groups_n, groups_n[train]) & held_out
            exact = np.isin(pixels_n, pixels_n[train]) & held_out
            training = np.isin(groups_n, groups_n[held_out]) & train
            counts = (int(m.sum()) for m in (held_out, exact, duplicated, training))
            leaks.append(Leak(split, *counts))
    return leaks


def check_duplicates(
    duplicates: Duplicates,
    pixels_n: NDArray[np.int64],
    labels_n: NDArray[np.int64],
    label_names: Sequence[str],
    splits_n: NDArray[np.str_],
    sources_n: NDArray[np.str_],
) -> list[Problem]:
    """Return duplicates, conflicts among their labels, and duplicates across splits.

    Args:
        duplicates: duplicates among the images.
        pixels_n: int64 [n], row of the first image with the same pixels.
        labels_n: int64 [n], -1 for none.
        label_names: names of the labels.
        splits_n: str [n], the source's own splits.
        sources_n: str [n], names of the images.
    """
    problems = [
        Problem(int(i), "exact-duplicate", NOTE, f"of {sources_n[j]}", score=1.0, other=int(j))
        for i, j in enumerate(pixels_n)
        if i != j
    ]
    pairs = zip(duplicates.near_pairs.tolist(), duplicates.near_scores, strict=True)
    for (i, j), score in pairs:
        text = f"of {sources_n[i]}; fine detail correlates {score:.2f}"
        problems.append(Problem(j, "near-duplicate", NOTE, text, score=float(score), other=i))
    for members in group_members(duplicates.groups_n).values():
        problems += _conflicts(members, pixels_n, labels_n, label_names)
        problems += _across(members, splits_n, sources_n)
    return problems


def _conflicts(
    members: NDArray[np.int64],
    pixels_n: NDArray[np.int64],
    labels_n: NDArray[np.int64],
    label_names: Sequence[str],
) -> list[Problem]:
    """Return the members of a group whose labels differ; drop the outvoted exact duplicates."""
    # An image without a label contradicts no other.
    members = members[labels_n[members] >= 0]
    kinds, counts = np.unique(labels_n[members], return_counts=True)
    if len(kinds) < 2:
        return []
    words = ", ".join(f"{c} {label_names[k]}" for k, c in zip(kinds, counts, strict=True))
    problems = []
    for row in members.tolist():
        same = members[pixels_n[members] == pixels_n[row]]
        exact = bool((labels_n[same] != labels_n[row]).any())
        # The page shows the two beside each other.
        other = next(int(m) for m in members if labels_n[m] != labels_n[row])
        if exact:
            other = next(int(m) for m in same if labels_n[m] != labels_n[row])
        votes = np.bincount(labels_n[same], minlength=len(label_names))
        # A tie drops no image: neither label is more likely.
        outvoted = exact and votes[labels_n[row]] < votes.max()
        text = f"labelled {label_names[labels_n[row]]}; its duplicates: {words}"
        # Near-duplicates may be two frames with different expressions; equal pixels cannot.
        severity, action = SEVERE if exact else WARNING, DROP if outvoted else KEEP
        score = 1.0 + outvoted if exact else 0.0
        problems.append(Problem(row, "conflict", severity, text, action, score=score, other=other))
    return problems


def _across(
    members: NDArray[np.int64], splits_n: NDArray[np.str_], sources_n: NDArray[np.str_]
) -> list[Problem]:
    """Return the training images of a group that has images in a held-out split."""
    # The training image is the finding, not the one held out: dropping it ends the leak, and
    # leaves published splits as they are.
    held_out = [int(m) for m in members if splits_n[m] in HELD_OUT]
    if not held_out:
        return []
    return [
        Problem(
            int(m),
            "duplicate-across-splits",
            SEVERE,
            f"in train, with a duplicate in {splits_n[held_out[0]]}: {sources_n[held_out[0]]}",
            score=1.0,
            other=held_out[0],
        )
        for m in members
        if splits_n[m] == "train"
    ]
