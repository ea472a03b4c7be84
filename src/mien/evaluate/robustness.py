"""How much a model loses to each corruption: read `measure_robustness` first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import DataError
from mien.evaluate.bootstrap import paired_accuracy
from mien.evaluate.corruption import CORRUPTIONS, corrupt
from mien.evaluate.evaluate import FEWEST
from mien.evaluate.predictions import PredictionTable, predict_table, yardstick_of

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
        corruption: its name.
        strength: in the corruption's unit.
        accuracy: on the corrupted images.
        drop: clean accuracy minus that one; its interval is of the paired difference.
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
        model: its name.
        data: the dataset's name.
        split: of it.
        yardstick: 'panel' where there are votes, else 'raw'.
        n: images.
        clean: accuracy on the images as they are.
        losses: in the order of the corruptions, weak to strong.
        mean_drop: over all losses, with its interval.
        seed: of the corruptions' randomness.
    """

    model: str
    data: str
    split: str
    yardstick: str
    n: int
    clean: float
    losses: tuple[Loss, ...]
    mean_drop: Estimate
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return the whole as JSON types."""
        return {
            "yardstick": self.yardstick,
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
    """Let a model answer a split's images as they are and corrupted, and compare.

    Graded by the raters' panel where there are votes, else by the raw labels.

    Args:
        scorer: the model.
        dataset: whose `split` is taken.
        split: 'train', 'validation' or 'test'.
        labels: to choose among, where fewer than the model's.
        corruptions: to try.
        seed: of the corruptions' randomness.
        progress: called with (done, total) after each strength.

    Raises:
        DataError: no such split, or too few images in it carry one of the labels.
        ConfigError: a label that the model does not know.
    """
    chosen = dataset.split(split)
    table = predict_table(scorer, chosen, labels)
    yardstick, right = yardstick_of(table)
    known = np.flatnonzero(right >= 0)
    if len(known) < FEWEST:
        raise DataError(
            f"only {len(known)} images of {dataset.name}'s {split} split have a right answer",
            hint="too few to say anything; evaluate on more images",
        )
    graded = chosen.subset(known)
    images = np.asarray(graded.images_nhw)
    clean = _hits(table, known, right[known])
    settings = [(corruption, s) for corruption in corruptions for s in corruption.strengths]
    losses, changed = [], []
    for number, (corruption, strength) in enumerate(settings, 1):
        worse = replace(graded, images_nhw=corrupt(images, corruption, strength, seed))
        hits = _hits(predict_table(scorer, worse, labels), slice(None), right[known])
        drop = paired_accuracy(clean, hits, graded.groups_n)
        losses.append(Loss(corruption.name, strength, float(hits.mean()), drop))
        changed.append(hits)
        progress(number, len(settings))
    return Robustness(
        model=scorer.name, data=dataset.name, split=split, yardstick=yardstick, n=len(known),
        clean=float(clean.mean()), losses=tuple(losses), seed=seed,
        mean_drop=paired_accuracy(clean, np.mean(changed, axis=0), graded.groups_n),
    )  # fmt: skip


def _hits(
    table: PredictionTable, rows: NDArray[np.int64] | slice, y_true_n: NDArray[np.int64]
) -> NDArray[np.float64]:
    hits: NDArray[np.bool_] = table.logits_nk[rows].argmax(axis=1) == y_true_n
    return hits.astype(np.float64)
