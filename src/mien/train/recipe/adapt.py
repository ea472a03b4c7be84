"""Adapts a recipe to the data: decides its 'auto' values. Read `adapted` first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mien.errors import DataError
from mien.labels import EIGHT, LABEL_SETS, label_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mien.data.dataset import Dataset
    from mien.train.recipe.recipe import Recipe

AUTO = "auto"
VOTED = "three"
"""Value of `labels = "auto"` where raters' votes are learnt."""


def adapted(recipe: Recipe, dataset: Dataset) -> Recipe:
    """Return the recipe with each 'auto' of `labels` and `targets.kind` decided by the data.

    `targets.kind` becomes 'votes' if the data have raters' votes for all learnt classes, and a
    training image has `targets.min_votes` of them, else 'labels'. `labels` becomes happy, neutral,
    sad if votes are learnt, else all labels of the training images. If labels are learnt,
    `targets.classes` and `extra_labels` are cleared, because they are about votes. If there are
    fewer training images than a batch, the batch size becomes a quarter of their number. A recipe
    without 'auto' is returned unchanged.

    Raises:
        DataError: `labels` is 'auto' and the training images have fewer than two labels.
    """
    if AUTO not in (recipe.labels, recipe.targets.kind):
        return recipe
    targets = recipe.targets
    if targets.kind == AUTO:
        classes = label_set(targets.classes or (VOTED if recipe.labels == AUTO else recipe.labels))
        most = max_votes(dataset, classes, dataset.splits_n == "train")
        voted = most >= max(targets.min_votes, 1)
        targets = replace(targets, kind="votes" if voted else "labels")
    learns_votes = targets.kind == "votes"
    if not learns_votes:
        targets = replace(targets, classes="")
    labels = recipe.labels
    if labels == AUTO:
        labels = VOTED if learns_votes else _as_setting(_labels_of(dataset))
    extra = recipe.extra_labels if targets.classes else ""
    recipe = replace(recipe, labels=labels, targets=targets, extra_labels=extra)
    n = int((dataset.splits_n == "train").sum())
    if 4 <= n < recipe.fit.batch_size:
        recipe = replace(recipe, fit=replace(recipe.fit, batch_size=max(2, n // 4)))
    return recipe


def max_votes(
    dataset: Dataset, classes: Sequence[str], chosen_n: NDArray[np.bool_] | None = None
) -> float:
    """Return the largest number of votes for `classes` that an image has.

    It is 0 where the dataset has no votes, or none for one of the classes.

    Args:
        dataset: images with or without votes.
        classes: labels whose votes are counted.
        chosen_n: bool [n], images to look at; all where None.
    """
    names = dataset.vote_names
    if dataset.votes_nk is None or not set(classes) <= set(names):
        return 0.0
    columns = [names.index(name) for name in classes]
    votes_n = dataset.votes_nk[:, columns].sum(axis=1)
    return float((votes_n if chosen_n is None else votes_n[chosen_n]).max(initial=0))


def _labels_of(dataset: Dataset) -> tuple[str, ...]:
    """Return the labels of the training images, FERPlus's first, in its order."""
    used = dataset.labels_n[dataset.splits_n == "train"]
    present = {dataset.label_names[i] for i in used if i >= 0}
    if len(present) < 2:
        raise DataError(
            f"{dataset.name}: training needs images of at least two labels, found "
            f"{', '.join(present) or 'none'}",
            hint="import images of a second label as well: one folder for each label",
        )
    unusable = sorted(label for label in present if "," in label)
    if unusable:
        raise DataError(
            f"{dataset.name}: the label {unusable[0]!r} has a comma in its name",
            hint="rename its folder, or the label in its table, and import again",
        )
    known = [label for label in EIGHT if label in present]
    return (*known, *sorted(present - set(known)))


def _as_setting(labels: tuple[str, ...]) -> str:
    """Return labels in a recipe's form: the name of a label set, or a list with commas."""
    named = [name for name, own in LABEL_SETS.items() if own == labels]
    return named[0] if named else ",".join(labels)
