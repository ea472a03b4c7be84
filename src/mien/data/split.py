"""Leak-free splits: the source's own where it has them, else a seeded stratified hold-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRENGTH = {"excluded": 0, "": 0, "train": 1, "validation": 2, "test": 3}
"""Of copies in several splits, those in the strongest stay and the others are excluded."""


@dataclass(frozen=True, slots=True)
class Splits:
    """Which picture goes where.

    Attributes:
        splits_n: str [n], 'train', 'validation', 'test' or 'excluded'.
        excluded: pictures taken out of a split because a copy is graded in a stronger one.
        held_out: whether validation was cut from training here.
        rule: in words, for people.
    """

    splits_n: NDArray[np.str_]
    excluded: int
    held_out: bool
    rule: str


def make_splits(
    labels_n: NDArray[np.int64],
    groups_n: NDArray[np.int64],
    subjects_n: NDArray[np.str_],
    source_splits_n: NDArray[np.str_],
    *,
    share: float = 0.15,
    seed: int = 0,
) -> Splits:
    """Split pictures so that no group of copies, and no held-out subject, is on both sides.

    Rows without a split of their own count as training. Validation that the source does not
    have is held out of its training rows; a test set without targets (label -1) stays 'test'.

    Args:
        labels_n: int64 [n], -1 where there is none.
        groups_n: int64 [n], copies share a number.
        subjects_n: str [n], '' where unknown.
        source_splits_n: str [n], 'train', 'validation', 'test' or ''.
        share: of the training pictures to hold out, above 0 and below 1.
        seed: of the hold-out.

    Raises:
        DataError: there is nothing to train on, or too little to hold any out.
    """
    if not 0 < share < 1:
        raise DataError(
            f"the validation share must be above 0 and below 1, got {share:g}",
            hint="for example --validation 0.15",
        )
    splits = np.where(source_splits_n == "", "train", source_splits_n).astype("<U10")
    splits[(splits != "test") & (labels_n < 0)] = "excluded"  # nothing to learn or grade
    unlabelled = int((splits == "excluded").sum())
    splits = exclude_copies(splits, groups_n)
    excluded = int((splits == "excluded").sum()) - unlabelled
    if not (splits == "train").any():
        raise DataError(
            "no labelled picture is left to train on", hint="check the source's labels and splits"
        )
    own = sorted(set(splits.tolist()) - {"excluded"})
    held_out = "validation" not in own
    rule = f"the source's own splits ({', '.join(own)})"
    if held_out:
        train = np.flatnonzero(splits == "train")
        chosen = hold_out(labels_n[train], groups_n[train], subjects_n[train], share, seed)
        splits[train[chosen]] = "validation"
        by = "by subject" if (subjects_n[train] != "").any() else "by group of copies"
        rule = f"{share:.0%} of training held out, stratified, {by}, seed {seed}"
        if "test" in own:
            rule += "; the source's own test split kept"
    return Splits(splits, excluded, held_out, rule)


def exclude_copies(splits_n: NDArray[np.str_], groups_n: NDArray[np.int64]) -> NDArray[np.str_]:
    """Return the splits with every copy of a more strongly split picture marked 'excluded'."""
    strength = np.array([STRENGTH[s] for s in splits_n.tolist()], np.int64)
    _, inverse = np.unique(groups_n, return_inverse=True)
    strongest = np.zeros(inverse.max(initial=-1) + 1, np.int64)
    np.maximum.at(strongest, inverse, strength)
    return np.where(strength == strongest[inverse], splits_n, "excluded").astype("<U10")


def hold_out(
    labels_n: NDArray[np.int64],
    groups_n: NDArray[np.int64],
    subjects_n: NDArray[np.str_],
    share: float,
    seed: int,
) -> NDArray[np.int64]:
    """Return the rows to hold out: whole subjects and groups, about `share` of every class.

    Units (pictures tied by a subject or by copies) are taken in random order; one is held out
    where that brings the held-out counts per class nearer to their goals.

    Raises:
        DataError: the pictures are tied into a single unit, or are too few to hold any out.
    """
    names, unit_n = np.unique(units(groups_n, subjects_n), return_inverse=True)
    classes = int(labels_n.max(initial=0)) + 1
    counts = np.zeros((len(names), classes), np.int64)
    np.add.at(counts, (unit_n, labels_n), 1)
    goal = counts.sum(axis=0) * share
    taken = np.zeros(classes)
    chosen = np.zeros(len(names), bool)
    order = np.random.default_rng(seed).permutation(len(names))
    for unit in order:
        before = np.abs(goal - taken)
        after = np.abs(goal - taken - counts[unit])
        if after.sum() < before.sum() and not _would_empty(chosen, unit):
            chosen[unit] = True
            taken += counts[unit]
    if not chosen.any():
        raise DataError(
            f"{len(labels_n)} pictures in {len(names)} independent groups are too few to hold "
            f"{100 * share:g}% out",
            hint="add pictures (of other people), or give splits in the source",
        )
    return np.flatnonzero(chosen[unit_n])


def _would_empty(chosen: NDArray[np.bool_], unit: int) -> bool:
    return bool(chosen.sum() + 1 >= len(chosen)) and not chosen[unit]


def units(groups_n: NDArray[np.int64], subjects_n: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return the connected components of 'same group' and 'same known subject', int64 [n]."""
    n = len(groups_n)
    if not (subjects_n != "").any():
        return groups_n
    _, group = np.unique(groups_n, return_inverse=True)
    _, subject = np.unique(subjects_n, return_inverse=True)
    unit = np.arange(n)
    known = subjects_n != ""
    while True:  # spread the smallest number until nothing changes; a few rounds suffice
        before = unit.copy()
        unit = _smallest(unit, group, np.ones(n, bool))
        unit = _smallest(unit, subject, known)
        if np.array_equal(unit, before):
            return unit


def _smallest(
    unit: NDArray[np.int64], key: NDArray[np.int64], member: NDArray[np.bool_]
) -> NDArray[np.int64]:
    least = np.full(int(key.max(initial=0)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(least, key[member], unit[member])
    return np.where(member, np.minimum(unit, least[key]), unit)
