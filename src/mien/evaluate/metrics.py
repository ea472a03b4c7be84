"""Classification metrics with sample weights: a bootstrap resample is a vector of counts.

`y_true_n` is int64 [n], the ground truth; `probs_nk` float [n, k], the predicted probabilities;
weights float [n], how often each row counts (1 for plain metrics).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 15
"""Equal-width bins of confidence, as in Guo et al. 2017."""
FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier")
"""What `Rows.figures` returns, in that order."""
HEADLINES = (*FIGURES, "calibration_error")
"""Every headline metric of an evaluation; the last comes from `calibration.calibration_error`."""


def confusion_matrix(
    y_true_n: NDArray[np.int64],
    y_pred_n: NDArray[np.int64],
    classes: int,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return counts, float64 [k, k]: rows are the ground truth, columns the predictions."""
    # One pass: each pair of classes has a number of its own.
    flat = np.bincount(y_true_n * classes + y_pred_n, weights, classes * classes)
    return flat.reshape(classes, classes).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Rows:
    """Per-row terms of the metrics, computed once for any number of weightings.

    Attributes:
        y_true_n: int64 [n], the ground truth.
        y_pred_n: int64 [n], the most probable class.
        classes: number of classes, k.
        log_loss_n: float64 [n], -log of the true class's probability.
        brier_n: float64 [n], summed squared error over the classes, 0 to 2.
        confidence_n: float64 [n], probability of the predicted class.
        bins_n: int64 [n], the bin of that confidence.
    """

    y_true_n: NDArray[np.int64]
    y_pred_n: NDArray[np.int64]
    classes: int
    log_loss_n: NDArray[np.float64]
    brier_n: NDArray[np.float64]
    confidence_n: NDArray[np.float64]
    bins_n: NDArray[np.int64]

    @classmethod
    def of(cls, y_true_n: NDArray[np.int64], probs_nk: NDArray[np.float32]) -> Rows:
        """Return the rows for ground truth, int64 [n], and probabilities, float [n, k]."""
        probs = probs_nk.astype(np.float64)
        n, classes = probs.shape
        own = probs[np.arange(n), y_true_n]
        truth = np.eye(classes)[y_true_n]
        confidence = probs.max(axis=1)
        return cls(
            y_true_n=y_true_n,
            y_pred_n=probs.argmax(axis=1),
            classes=classes,
            # Clipped: one certain mistake must not make the mean infinite.
            log_loss_n=-np.log(np.clip(own, 1e-15, 1)),
            brier_n=((probs - truth) ** 2).sum(axis=1),
            confidence_n=confidence,
            # A confidence on an edge belongs to the bin below it: (low, high].
            bins_n=np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1),
        )

    @property
    def support_k(self) -> NDArray[np.int64]:
        """Number of images of each class, int64 [k]."""
        return np.bincount(self.y_true_n, minlength=self.classes)

    def figures(self, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Return the FIGURES, float64 [5], under `weights`.

        Averages over classes are nan where a class has no image: a mean over the other classes
        would be another metric, and 1.0 for a model that always predicts the one class.
        """
        w = np.ones(len(self.y_true_n)) if weights is None else weights
        total = w.sum()
        table = confusion_matrix(self.y_true_n, self.y_pred_n, self.classes, w)
        _, recall, f1 = per_class(table)
        # Without an image of a class its recall is undefined, and so is the mean over classes.
        whole = bool((table.sum(axis=1) > 0).all())
        return np.array(
            [
                np.trace(table) / total,
                recall.mean() if whole else np.nan,
                f1.mean() if whole else np.nan,
                (w * self.log_loss_n).sum() / total,
                (w * self.brier_n).sum() / total,
            ]
        )


def per_class(
    confusion: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return precision, recall and F1 of each class, float64 [k]; 0 where undefined."""
    hits = np.diag(confusion)
    predicted, actual = confusion.sum(axis=0), confusion.sum(axis=1)
    # Weighted counts may be fractions, so the floor is tiny rather than 1.
    precision = hits / np.maximum(predicted, 1e-12)
    recall = hits / np.maximum(actual, 1e-12)
    f1 = 2 * hits / np.maximum(predicted + actual, 1e-12)
    return precision, recall, f1
