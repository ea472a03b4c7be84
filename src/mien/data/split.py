"""Leak-free splits: the source's own where it has them, else a seeded stratified hold-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.data.notices import Notice
from mien.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRENGTH = {"excluded": 0, "": 0, "train": 1, "validation": 2, "test": 3}
"""Of copies in several splits, those in the strongest stay and the others are excluded."""


@dataclass(frozen=True, slots=True)
class Splits:
    """Which image goes where.

    Attributes:
        splits_n: str [n], 'train', 'validation', 'test' or 'excluded'.
        excluded: images taken out of a split because a copy is graded in a stronger one.
        held_out: whether validation was cut from training here.
        rule: in words, for people.
        notices: what speaks against figures on this split.
    """

    splits_n: NDArray[np.str_]
    excluded: int
    held_out: bool
    rule: str
    notices: tuple[Notice, ...] = ()


def make_splits(
    labels_n: NDArray[np.int64],
    groups_n: NDArray[np.int64],
    subjects_n: NDArray[np.str_],
    source_splits_n: NDArray[np.str_],
    *,
    share: float = 0.15,
    seed: int = 0,
) -> Splits:
    """Split images so that no group of copies, and no held-out subject, is on both sides.

    Rows without a split of their own count as training. Validation that the source does not
    have is held out of its training rows; a test set without targets (label -1) stays 'test'.

    Args:
        labels_n: int64 [n], -1 where there is none.
        groups_n: int64 [n], copies share a number.
        subjects_n: str [n], '' where unknown.
        source_splits_n: str [n], 'train', 'validation', 'test' or ''.
        share: of the training images to hold out, below 1; 0 holds none out.
        seed: of the hold-out.

    Raises:
        DataError: there is nothing to train on, or too little to hold any out.
    """
    if not 0 <= share < 1:
        raise DataError(
            f"validation: the share to hold out must be at least 0 and below 1, got {share:g}",
            hint="for example 0.15; 0 holds nothing out",
        )
    splits = np.where(source_splits_n == "", "train", source_splits_n).astype("<U10")
    splits[(splits != "test") & (labels_n < 0)] = "excluded"  # nothing to learn or grade
    unlabelled = int((splits == "excluded").sum())
    splits = exclude_copies(splits, groups_n)
    excluded = int((splits == "excluded").sum()) - unlabelled
    if not (splits == "train").any():
        raise _nothing_left(splits, excluded)
    own = sorted(set(splits.tolist()) - {"excluded"})
    rule = f"the source's own splits ({', '.join(own)})"
    if "validation" in own:
        return Splits(splits, excluded, False, rule)
    kept = "; the source's own test split kept" if "test" in own else ""
    if share == 0:
        rule = f"nothing held out, as asked for (validation 0){kept}"
        return Splits(splits, excluded, False, rule, (_NOTHING_HELD_OUT,))
    train = np.flatnonzero(splits == "train")
    chosen = hold_out(labels_n[train], groups_n[train], subjects_n[train], share, seed)
    splits[train[chosen]] = "validation"
    by = "by subject" if (subjects_n[train] != "").any() else "by group of copies"
    rule = f"{share:.0%} of training held out, stratified, {by}, seed {seed}{kept}"
    part = len(chosen) / len(train)
    if part <= max(2 * share, share + 0.1):
        return Splits(splits, excluded, True, rule)
    rule = rule.replace("of training held out", f"of training asked for, {part:.0%} held out")
    message = (
        f"{part:.0%} of the training images were held out, not {share:.0%}: copies and subjects "
        "tie the images into few groups, and no group is in two splits"
    )
    notice = Notice("large-validation", message, len(chosen))
    return Splits(splits, excluded, True, rule, (notice,))


_NOTHING_HELD_OUT = Notice(
    "no-validation",
    "nothing is held out: mien train and mien export need a validation split, and figures on "
    "images that a model learnt from say little",
    0,
)


def _nothing_left(splits: NDArray[np.str_], excluded: int) -> DataError:
    graded = sorted({"validation", "test"} & set(splits.tolist()))
    if excluded:
        return DataError(
            f"all {excluded:,} training images are copies of images in {' or '.join(graded)}: "
            "nothing is left to train on",
            hint="check whether the source's splits are the same folder; or give it without splits",
        )
    if graded:
        return DataError(
            f"every labelled image is in the {' or '.join(graded)} split: nothing is left to "
            "train on",
            hint="name a train split in the source, or give it without splits",
        )
    return DataError(
        "no image has a label: nothing is left to train on", hint="check the source's labels"
    )


def exclude_copies(splits_n: NDArray[np.str_], groups_n: NDArray[np.int64]) -> NDArray[np.str_]:
    """Return the splits with every copy of a more strongly split image marked 'excluded'."""
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

    Units (images tied by a subject or by copies) are taken in random order; one is held out
    where that brings the held-out counts per class nearer to their goals.

    Raises:
        DataError: the images are tied into a single unit, or are too few to hold any out.
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
        unit = _one_that_can_go(counts, goal)
        if unit < 0:
            raise DataError(
                f"{len(labels_n)} images in {len(names)} independent groups are too few to hold "
                f"{100 * share:g}% out: near-duplicates and images of one subject stay together",
                hint="add images of other people; or set duplicates to 'exact', which lets near-"
                "duplicates into both splits (figures then are too good); or validation to 0",
            )
        chosen[unit] = True
    return np.flatnonzero(chosen[unit_n])


def _one_that_can_go(counts_uk: NDArray[np.int64], goal_k: NDArray[np.float64]) -> int:
    """Return the unit nearest to the goal that has every class and leaves every class, or -1."""
    present = counts_uk.sum(axis=0) > 0
    fits = ((counts_uk > 0) & (counts_uk.sum(axis=0) - counts_uk > 0))[:, present].all(axis=1)
    if not fits.any():
        return -1
    return int(np.where(fits, np.abs(goal_k - counts_uk).sum(axis=1), np.inf).argmin())


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
