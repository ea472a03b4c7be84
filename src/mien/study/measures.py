"""The measures of a training, and their ranges; `measure` computes them from its epochs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import min_first_half
from mien.train.loop.validate import true_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.data.dataset import Dataset
    from mien.train.loop.signals import EpochSignals
    from mien.train.recipe.recipe import Recipe
    from mien.train.run.metrics import EpochMetrics

MEASURES = {
    "accuracy": "validation accuracy after the last epoch",
    "balanced_accuracy": "mean of the classes' recalls on validation after the last epoch",
    "best_accuracy": "validation accuracy of the best epoch",
    "train_accuracy": "accuracy on training images after the last epoch",
    "gap": "training accuracy minus validation accuracy after the last epoch",
    "min_loss": "minimum validation loss over the epochs",
    "min_loss_epoch": "epoch of the minimum validation loss, from 1",
    "loss_rise": "final over minimum validation loss",
    "loss_spread": "standard deviation of the validation loss over the second half of the epochs, "
    "around a fitted straight line",
    "gradient_ratio": "log10 of the smallest gradient of the first half of the layers over the "
    "largest of any layer, each over its weights",
    "reduction_ratio": "actual over predicted loss reduction of a step, at the full learning rate",
    "update_ratio": "log10 of the median layer's update over its weights in the first epoch",
    "dead_units": "fraction of units with the same output for every image of a batch, mean over "
    "the activation layers, at the end",
}
"""Measures of a training; accuracies are fractions from 0 to 1."""
BOUNDS = {
    "accuracy": (0.0, 1.0),
    "balanced_accuracy": (0.0, 1.0),
    "best_accuracy": (0.0, 1.0),
    "train_accuracy": (0.0, 1.0),
    "gap": (-1.0, 1.0),
    "min_loss": (0.0, math.inf),
    "min_loss_epoch": (1.0, math.inf),
    "loss_rise": (1.0, math.inf),
    "loss_spread": (0.0, math.inf),
    "dead_units": (0.0, 1.0),
}
"""Range of each measure: fractions, differences of fractions, final over minimum loss."""
MIN_FITTED = 4
"""Epochs that `loss_spread` needs: a straight line through fewer leaves next to nothing."""


def points(measure: str) -> bool:
    """Return whether a measure is a fraction, to be shown in percentage points."""
    return measure in {"dead_units", "gap"} or measure.endswith("accuracy")


def measure(
    history: Sequence[EpochMetrics], signals: Sequence[EpochSignals]
) -> dict[str, float | None]:
    """Return the measures of a training; None for what could not be measured.

    Args:
        history: metrics of its epochs, one or more.
        signals: of its epochs.
    """
    last = history[-1]
    losses = [m.validation_loss for m in history]
    measured = [s for s in signals if s.measured]
    peak = max((s.lr for s in measured), default=0.0)
    # Warm-up and decayed epochs say nothing about the learning rate that was set.
    full = [s for s in measured if s.lr >= peak / 2]
    ratios = [s.gain for s in full if s.gain is not None]
    start = next((s.start for s in signals if s.start), None)
    updates = [layer.update for layer in measured[0].layers.values()] if measured else []
    stuck = list(measured[-1].stuck.values()) if measured else []
    return {
        "accuracy": last.validation_accuracy,
        "balanced_accuracy": last.validation_balanced,
        "best_accuracy": max(m.validation_accuracy for m in history),
        "train_accuracy": last.train_accuracy,
        "gap": last.gap,
        "min_loss": min(losses),
        "min_loss_epoch": float(1 + int(np.argmin(losses))),
        "loss_rise": last.validation_loss / max(min(losses), 1e-9),
        "loss_spread": spread_around_line(losses[len(losses) // 2 :]),
        "gradient_ratio": _log10(min_first_half(start.gradients))
        if start is not None and start.gradients
        else None,
        "reduction_ratio": float(np.median(ratios)) if ratios else None,
        "update_ratio": _log10(float(np.median(updates))) if updates else None,
        "dead_units": float(np.mean(stuck)) if stuck else None,
    }


def spread_around_line(values: Sequence[float]) -> float | None:
    """Return the standard deviation around a fitted straight line; None for under four values.

    The line removes a steady fall or rise, such as that of an overfitting network, so that only
    the jumps from epoch to epoch remain.
    """
    if len(values) < MIN_FITTED:
        return None
    x, y = np.arange(len(values)), np.asarray(values, np.float64)
    residuals = y - np.polyval(np.polyfit(x, y, 1), x)
    # The line uses up two degrees of freedom.
    return float(np.sqrt((residuals**2).sum() / (len(values) - 2)))


def measure_diverged(part: Dataset, recipe: Recipe) -> dict[str, float | None]:
    """Return the measures of a training with a NaN loss: it predicts the most common class."""
    y_true = true_labels(part.split("validation"), recipe)
    known = y_true[y_true >= 0]
    majority = float(np.bincount(known).max() / max(1, len(known)))
    names = ("accuracy", "best_accuracy", "train_accuracy")
    values: dict[str, float | None] = {**dict.fromkeys(MEASURES), **dict.fromkeys(names, majority)}
    # One constant label has a recall of 1 in its class and 0 in the others.
    return {**values, "balanced_accuracy": 1 / max(1, len(np.unique(known))), "gap": 0.0}


def _log10(value: float) -> float:
    # A ratio of 0, as of a layer without gradients, must stay finite: it goes into a mean.
    return math.log10(max(value, 1e-12))
