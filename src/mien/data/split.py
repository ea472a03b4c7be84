"""Leak-free splits: the source's own where it has them, else a seeded stratified hold-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.data.notices import Notice
from mien.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

STRENGTH = {"excluded": 0, "": 0, "train": 1, "validation": 2, "test": 3}
"""Duplicates stay in their strongest split, and are excluded from the weaker ones."""


@dataclass(frozen=True, slots=True)
class Splits:
    """The split of every image.

    Attributes:
        splits_n: str [n], 'train', 'validation', 'test' or 'excluded'.
        excluded: number of images excluded because a duplicate is in a stronger split.
        held_out: whether validation was held out of training here.
        rule: how the dataset was split, for people.
        notices: reasons to distrust metrics on these splits.
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
    fraction: float = 0.15,
    seed: int = 0,
    ways_out: Sequence[str] = (),
) -> Splits:
    """Split images so that no group of duplicates, and no held-out subject, is on both sides.

    Rows without a split of their own count as training. Where the source has no validation split,
    one is held out of its training rows. A test set without labels (-1) stays 'test'.

    Args:
        labels_n: int64 [n], -1 where there is none.
        groups_n: int64 [n], duplicates share a number.
        subjects_n: str [n], '' where unknown.
        source_splits_n: str [n], 'train', 'validation', 'test' or ''.
        fraction: fraction of the training images to hold out, at least 0 and below 1.
        seed: seed of the hold-out.
        ways_out: what else a caller can do where too few images are independent; for the hint.

    Raises:
        DataError: `fraction` is out of range, or too few training images are left.
    """
    if not 0 <= fraction < 1:
        raise DataError(
            f"validation: {fraction:g} is out of range, must be at least 0 and below 1",
            hint="for example 0.15; 0 holds nothing out",
        )
    splits, excluded = _source_splits(labels_n, groups_n, source_splits_n)
    own = sorted(set(splits.tolist()) - {"excluded"})
    rule = f"the source's own splits ({', '.join(own)})"
    if "validation" in own:
        return Splits(splits, excluded, False, rule)
    # A test split stays as published, or figures could not be compared with others'.
    kept = "; the source's own test split kept" if "test" in own else ""
    if fraction == 0:
        rule = f"nothing held out, as requested (validation 0){kept}"
        return Splits(splits, excluded, False, rule, (_NOTHING_HELD_OUT,))
    train = np.flatnonzero(splits == "train")
    chosen = hold_out(labels_n[train], groups_n[train], subjects_n[train], fraction, seed, ways_out)
    splits[train[chosen]] = "validation"
    by = "by subject" if (subjects_n[train] != "").any() else "by group of duplicates"
    actual = len(chosen) / len(train)
    notices = _size_notices(actual, fraction, len(chosen))
    amount = f"{fraction:.0%} of training held out"
    if notices:
        amount = f"{fraction:.0%} of training requested, {actual:.0%} held out"
    rule = f"{amount}, stratified, {by}, seed {seed}{kept}"
    return Splits(splits, excluded, True, rule, notices)


def _source_splits(
    labels_n: NDArray[np.int64], groups_n: NDArray[np.int64], source_splits_n: NDArray[np.str_]
) -> tuple[NDArray[np.str_], int]:
    """Return the source's splits without leaks, and how many duplicates were excluded for it.

    Raises:
        DataError: no training image is left.
    """
    # Images without a split may be trained on; a test split has to be named.
    splits = np.where(source_splits_n == "", "train", source_splits_n).astype("<U10")
    splits[(splits != "test") & (labels_n < 0)] = "excluded"  # no use in training or validation
    unlabelled = int((splits == "excluded").sum())
    splits = exclude_duplicates(splits, groups_n)
    excluded = int((splits == "excluded").sum()) - unlabelled
    if not (splits == "train").any():
        raise _nothing_left(splits, excluded)
    return splits, excluded


def _size_notices(actual: float, fraction: float, count: int) -> tuple[Notice, ...]:
    """Return a warning where far more than `fraction` of the training images were held out."""
    if actual <= max(2 * fraction, fraction + 0.1):
        return ()
    message = (
        f"{actual:.0%} of the training images were held out, not {fraction:.0%}: duplicates and "
        "subjects tie the images into few groups, and a group is never divided"
    )
    return (Notice("large-validation", message, count),)


_NOTHING_HELD_OUT = Notice(
    "no-validation",
    "no validation split: mien train, mien study and mien export cannot use this dataset; import "
    "it again with validation above 0, such as 0.15, to train on it",
    0,
)


def _nothing_left(splits: NDArray[np.str_], excluded: int) -> DataError:
    """Return the error for a source without a training image, by its cause."""
    others = sorted({"validation", "test"} & set(splits.tolist()))
    if excluded:
        return DataError(
            f"all {excluded:,} training images are duplicates of images in {' or '.join(others)}: "
            "nothing is left to train on",
            hint="check whether two splits are the same folder; or remove the source's splits",
        )
    if others:
        return DataError(
            f"every labelled image is in the {' or '.join(others)} split: nothing is left to "
            "train on",
            hint="name a train split in the source, or remove the splits from it",
        )
    return DataError(
        "no image has a label: nothing is left to train on", hint="check the source's labels"
    )


def exclude_duplicates(splits_n: NDArray[np.str_], groups_n: NDArray[np.int64]) -> NDArray[np.str_]:
    """Return the splits, with every image that has a duplicate in a stronger split 'excluded'."""
    strength = np.array([STRENGTH[s] for s in splits_n.tolist()], np.int64)
    _, inverse = np.unique(groups_n, return_inverse=True)
    strongest = np.zeros(inverse.max(initial=-1) + 1, np.int64)
    np.maximum.at(strongest, inverse, strength)
    # Duplicates within one split stay: they do not leak.
    return np.where(strength == strongest[inverse], splits_n, "excluded").astype("<U10")


def hold_out(
    labels_n: NDArray[np.int64],
    groups_n: NDArray[np.int64],
    subjects_n: NDArray[np.str_],
    fraction: float,
    seed: int,
    ways_out: Sequence[str] = (),
) -> NDArray[np.int64]:
    """Return the rows to hold out: whole subjects and groups, about `fraction` of every class.

    Units (images tied by a subject or by duplicates) are visited in random order; one is held out
    where that brings the held-out counts per class nearer to their goals. scikit-learn's
    StratifiedGroupKFold gives other splits and only fractions of 1/k, so it is not used.

    Raises:
        DataError: the images are tied into a single unit, or are too few to hold any out.
    """
    names, unit_n = np.unique(units(groups_n, subjects_n), return_inverse=True)
    classes = int(labels_n.max(initial=0)) + 1
    counts = np.zeros((len(names), classes), np.int64)
    np.add.at(counts, (unit_n, labels_n), 1)
    goal = counts.sum(axis=0) * fraction
    taken = np.zeros(classes)
    chosen = np.zeros(len(names), bool)
    # Greedy, in random order: exact goals would be a knapsack problem over all classes.
    order = np.random.default_rng(seed).permutation(len(names))
    for unit in order:
        before = np.abs(goal - taken)
        after = np.abs(goal - taken - counts[unit])
        # Over all classes at once, since a unit with several labels cannot be divided.
        if after.sum() < before.sum() and not _would_empty(chosen, unit):
            chosen[unit] = True
            taken += counts[unit]
    # Every unit alone overshoots the goals, as with few large subjects.
    if not chosen.any():
        unit = _best_single_unit(counts, goal)
        if unit < 0:
            raise DataError(
                f"{len(labels_n)} images in {len(names)} independent groups are too few to hold "
                f"{100 * fraction:g}% out: duplicates and images of one subject stay together",
                hint="; or ".join(
                    ["add images of other subjects", *ways_out,
                     "set validation to 0, which makes a dataset for evaluation only"]
                ),
            )  # fmt: skip
        chosen[unit] = True
    return np.flatnonzero(chosen[unit_n])


def _best_single_unit(counts_uk: NDArray[np.int64], goal_k: NDArray[np.float64]) -> int:
    """Return the unit nearest to the goal that has every class and leaves every class, or -1."""
    present = counts_uk.sum(axis=0) > 0
    fits = ((counts_uk > 0) & (counts_uk.sum(axis=0) - counts_uk > 0))[:, present].all(axis=1)
    if not fits.any():
        return -1
    return int(np.where(fits, np.abs(goal_k - counts_uk).sum(axis=1), np.inf).argmin())


def _would_empty(chosen: NDArray[np.bool_], unit: int) -> bool:
    # At least one unit stays in the training split.
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
    # Label propagation: the smallest number spreads until nothing changes, in a few rounds.
    while True:
        before = unit.copy()
        unit = _smallest(unit, group, np.ones(n, bool))
        unit = _smallest(unit, subject, known)
        if np.array_equal(unit, before):
            return unit


def _smallest(
    unit: NDArray[np.int64], key: NDArray[np.int64], member: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return for each member the smallest unit of its key; other rows keep theirs."""
    smallest = np.full(int(key.max(initial=0)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(smallest, key[member], unit[member])
    return np.where(member, np.minimum(unit, smallest[key]), unit)
