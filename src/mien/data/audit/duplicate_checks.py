"""What copies do to a collection: conflicting labels, and tests that are answered by memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.data.audit.problem import DROP, KEEP, NOTE, SEVERE, WARNING, Problem
from mien.intervals import Estimate, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.data.duplicates import Copies

GRADED = ("test", "validation")


@dataclass(frozen=True, slots=True)
class Leak:
    """How much of a graded split has a copy in training.

    Attributes:
        split: 'test' or 'validation'.
        n: its images.
        exact: of them, with the same pixels in training.
        copied: of them, with an exact or near copy in training.
        training: training images that are such copies.
    """

    split: str
    n: int
    exact: int
    copied: int
    training: int

    @property
    def share(self) -> Estimate:
        """The share with a copy in training, with its 95% Wilson interval."""
        return wilson(self.copied, self.n)


def measure_leaks(
    splits_n: NDArray[np.str_], groups_n: NDArray[np.int64], pixels_n: NDArray[np.int64]
) -> list[Leak]:
    """Return the leak from training into each graded split that there is.

    Args:
        splits_n: str [n].
        groups_n: int64 [n], exact and near copies share a number.
        pixels_n: int64 [n], the same pixels share a number.
    """
    train = splits_n == "train"
    leaks = []
    for split in GRADED:
        graded = splits_n == split
        if graded.any() and train.any():
            copied = np.isin(groups_n, groups_n[train]) & graded
            exact = np.isin(pixels_n, pixels_n[train]) & graded
            training = np.isin(groups_n, groups_n[graded]) & train
            counts = (int(m.sum()) for m in (graded, exact, copied, training))
            leaks.append(Leak(split, *counts))
    return leaks


def check_copies(
    copies: Copies,
    pixels_n: NDArray[np.int64],
    labels_n: NDArray[np.int64],
    label_names: Sequence[str],
    splits_n: NDArray[np.str_],
    sources_n: NDArray[np.str_],
) -> list[Problem]:
    """Return the copies, the conflicts among them and the training copies of graded images.

    Args:
        copies: as found.
        pixels_n: int64 [n], row of the first image with the same pixels.
        labels_n: int64 [n], -1 for none.
        label_names: of the labels.
        splits_n: str [n], the source's own splits.
        sources_n: str [n].
    """
    problems = [
        Problem(int(i), "exact-copy", NOTE, f"of {sources_n[j]}", score=1.0, other=int(j))
        for i, j in enumerate(pixels_n)
        if i != j
    ]
    for (i, j), score in zip(copies.near_pairs.tolist(), copies.near_scores, strict=True):
        text = f"of {sources_n[i]}; fine detail correlates {score:.2f}"
        problems.append(Problem(j, "near-copy", NOTE, text, score=float(score), other=i))
    for members in copies.members().values():
        problems += _conflicts(members, pixels_n, labels_n, label_names)
        problems += _across(members, splits_n, sources_n)
    return problems


def _conflicts(
    members: NDArray[np.int64],
    pixels_n: NDArray[np.int64],
    labels_n: NDArray[np.int64],
    label_names: Sequence[str],
) -> list[Problem]:
    """Return the members of a group whose labels differ; the outvoted exact copies may go."""
    members = members[labels_n[members] >= 0]
    kinds, counts = np.unique(labels_n[members], return_counts=True)
    if len(kinds) < 2:
        return []
    words = ", ".join(f"{c} {label_names[k]}" for k, c in zip(kinds, counts, strict=True))
    problems = []
    for row in members.tolist():
        same = members[pixels_n[members] == pixels_n[row]]
        exact = bool((labels_n[same] != labels_n[row]).any())
        other = next(int(m) for m in members if labels_n[m] != labels_n[row])
        if exact:
            other = next(int(m) for m in same if labels_n[m] != labels_n[row])
        votes = np.bincount(labels_n[same], minlength=len(label_names))
        outvoted = exact and votes[labels_n[row]] < votes.max()
        text = f"labelled {label_names[labels_n[row]]}; its copies: {words}"
        severity, action = SEVERE if exact else WARNING, DROP if outvoted else KEEP
        score = 1.0 + outvoted if exact else 0.0
        problems.append(Problem(row, "conflict", severity, text, action, score=score, other=other))
    return problems


def _across(
    members: NDArray[np.int64], splits_n: NDArray[np.str_], sources_n: NDArray[np.str_]
) -> list[Problem]:
    graded = [int(m) for m in members if splits_n[m] in GRADED]
    if not graded:
        return []
    return [
        Problem(
            int(m),
            "copy-across-splits",
            SEVERE,
            f"in training, with a copy in {splits_n[graded[0]]}: {sources_n[graded[0]]}",
            score=1.0,
            other=graded[0],
        )
        for m in members
        if splits_n[m] == "train"
    ]
