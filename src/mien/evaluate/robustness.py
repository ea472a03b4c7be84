"""How much accuracy a model loses under each corruption: read `measure_robustness` first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import DataError
from mien.evaluate.bootstrap import paired_accuracy
from mien.evaluate.corruption import CORRUPTIONS, corrupt
from mien.evaluate.evaluate import MIN_IMAGES
from mien.evaluate.predictions import PredictionTable, ground_truth_of, predict_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset
    from mien.evaluate.bootstrap import Estimate
    from mien.evaluate.corruption import Corruption
    from mien.evaluate.predictions import Scorer


@dataclass(frozen=True, slots=True)
class Loss:
    """A model under one corruption of one strength.

    Attributes:
        corruption: the corruption's name.
        strength: strength in the corruption's unit.
        accuracy: accuracy on the corrupted images.
        drop: clean accuracy minus that one, with the interval of the paired difference.
    """

    corruption: str
    strength: float
    accuracy: float
    drop: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Return the loss as JSON types."""
        return {
            "corruption": self.corruption,
            "strength": self.strength,
            "accuracy": round(self.accuracy, 6),
            "drop": self.drop.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Robustness:
    """A model under every corruption.

    Attributes:
        model: the model's name.
        data: the dataset's name.
        split: the dataset's split.
        ground_truth: 'consensus' where there are votes, else 'raw'.
        n: number of images.
        clean: accuracy on the images as they are.
        losses: one for each corruption and strength, weak to strong.
        mean_drop: mean drop over all losses, with its interval.
        seed: seed of the corruptions' randomness.
    """

    model: str
    data: str
    split: str
    ground_truth: str
    n: int
    clean: float
    losses: tuple[Loss, ...]
    mean_drop: Estimate
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return the results as JSON types."""
        return {
            "ground_truth": self.ground_truth,
            "n": self.n,
            "seed": self.seed,
            "clean": round(self.clean, 6),
            "mean_drop": self.mean_drop.to_dict(),
            "losses": [loss.to_dict() for loss in self.losses],
        }


def measure_robustness(
    scorer: Scorer,
    dataset: Dataset,
    split: str,
    labels: tuple[str, ...] = (),
    *,
    corruptions: Sequence[Corruption] = CORRUPTIONS,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Robustness:
    """Classify a split's images as they are and corrupted, and compare the accuracy.

    The ground truth is the rater consensus where there are votes, else the raw label.

    Args:
        scorer: the model.
        dataset: images with labels, votes or both.
        split: 'train', 'validation' or 'test'.
        labels: labels to choose among; empty for all of the model's.
        corruptions: corruptions to apply, each at all of its strengths.
        seed: seed of the corruptions' randomness.
        progress: progress callback, called with (done, total) after each strength.

    Raises:
        DataError: no such split, or too few images in it carry one of the labels.
        ConfigError: a label that the model does not have.
    """
    chosen = dataset.split(split)
    table = predict_table(scorer, chosen, labels)
    ground_truth, y_true = ground_truth_of(table)
    # Only images with ground truth are corrupted: the others could not be graded.
    known = np.flatnonzero(y_true >= 0)
    _refuse_few(len(known), f"{dataset.name}'s {split} split")
    graded = chosen.subset(known)
    images = np.asarray(graded.images_nhw)
    clean = _hits(table, known, y_true[known])
    # Flat, so that progress counts every strength.
    settings = [(corruption, s) for corruption in corruptions for s in corruption.strengths]
    losses, changed = [], []
    for number, (corruption, strength) in enumerate(settings, 1):
        worse = replace(graded, images_nhw=corrupt(images, corruption, strength, seed))
        hits = _hits(predict_table(scorer, worse, labels), slice(None), y_true[known])
        # Paired: the same faces, clean and corrupted, so that their own difficulty cancels.
        drop = paired_accuracy(clean, hits, graded.groups_n)
        losses.append(Loss(corruption.name, strength, float(hits.mean()), drop))
        changed.append(hits)
        progress(number, len(settings))
    return Robustness(
        model=scorer.name, data=dataset.name, split=split, ground_truth=ground_truth, n=len(known),
        clean=float(clean.mean()), losses=tuple(losses), seed=seed,
        mean_drop=paired_accuracy(clean, np.mean(changed, axis=0), graded.groups_n),
    )  # fmt: skip


def _refuse_few(n: int, where: str) -> None:
    if n < MIN_IMAGES:
        raise DataError(
            f"only {n} images of {where} have ground truth", hint="evaluate on more images"
        )


def _hits(
    table: PredictionTable, rows: NDArray[np.int64] | slice, y_true_n: NDArray[np.int64]
) -> NDArray[np.float64]:
    hits: NDArray[np.bool_] = table.logits_nk[rows].argmax(axis=1) == y_true_n
    return hits.astype(np.float64)
