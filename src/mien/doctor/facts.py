"""Figures that several rules need, derived from the evidence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mien.evaluate.bootstrap import Estimate, wilson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mien.doctor.evidence import Answers, Evidence
    from mien.train.loop.signals import EpochSignals, StartSignals


def at_full_rate(evidence: Evidence) -> list[EpochSignals]:
    """Return the measured epochs with at least half of the largest learning rate."""
    measured = [e for e in evidence.signals if e.measured]
    peak = max((e.lr for e in measured), default=0.0)
    return [e for e in measured if e.lr >= peak / 2]


def middle(values: list[float | None]) -> float | None:
    """Return the median of the values that are known, or None."""
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None


def updates(epochs: list[EpochSignals]) -> dict[str, float]:
    """Return each layer's median step over its weights."""
    names = epochs[0].layers if epochs else {}
    return {
        name: float(np.median([e.layers[name].update for e in epochs if name in e.layers]))
        for name in names
    }


def growth(evidence: Evidence) -> float:
    """Return the typical length of a weight in the first measured epoch over its first length."""
    for epoch in evidence.signals:
        shares = [
            layer.weight / max(evidence.initial[name], 1e-12)
            for name, layer in epoch.layers.items()
            if name in evidence.initial
        ]
        if shares:
            return float(np.median(shares))
    return 1.0


def decay(evidence: Evidence) -> float:
    """Return the share that weight decay takes off the weights in each step."""
    rate = max((e.lr for e in evidence.signals), default=0.0)
    return rate * evidence.recipe.optimizer.weight_decay


def gradients(epoch: EpochSignals) -> dict[str, float]:
    """Return each layer's gradient over its weights, so that layers can be compared."""
    return {n: layer.gradient / max(layer.weight, 1e-12) for n, layer in epoch.layers.items()}


def first_half(gradients: Mapping[str, float]) -> float:
    """Return the least gradient of the layers' first half over the largest of any layer."""
    values = list(gradients.values())
    return min(values[: max(1, len(values) // 2)]) / max(max(values), 1e-30)


def loss_curve(evidence: Evidence) -> list[float]:
    """Return the training loss over the whole training, in short stretches."""
    return [loss for epoch in evidence.signals for loss in epoch.losses]


def start(evidence: Evidence) -> StartSignals | None:
    """Return what was so before the first step; None where it was not recorded."""
    return next((e.start for e in evidence.signals if e.start), None)


def first_loss(evidence: Evidence) -> float:
    """Return the loss of the first batch, or of the first few; 0 where there is none."""
    before = start(evidence)
    if before is not None:
        return math.inf if before.loss is None else before.loss
    return next((e.losses[0] for e in evidence.signals if e.losses), 0.0)


def spike(evidence: Evidence) -> float:
    """Return the highest training loss over the first, or over that of knowing nothing."""
    curve = loss_curve(evidence)
    if not curve:
        return 1.0
    return max(curve) / max(first_loss(evidence), math.log(len(evidence.recipe.learnt_labels)))


def falling(evidence: Evidence) -> float:
    """Return the share by which the training loss fell over the last third of the training.

    By a straight line through it, so that one good batch does not decide.
    """
    curve = np.array(loss_curve(evidence))
    last = curve[len(curve) * 2 // 3 :]
    if len(last) < 6:
        return 0.0
    slope, start = np.polyfit(np.linspace(0, 1, len(last)), last, 1)
    return float(-slope / max(start, 1e-6))


def accuracy(y_true_n: NDArray[np.int64], scores_nk: NDArray[np.float64] | None) -> Estimate | None:
    """Return the accuracy with its 95% Wilson interval; None without answers."""
    if scores_nk is None or not len(y_true_n):
        return None
    return wilson(float((scores_nk.argmax(axis=1) == y_true_n).sum()), len(y_true_n))


def chance(answers: Answers) -> float:
    """Return the accuracy of always answering the most common class."""
    counts = np.bincount(answers.y_true_n)
    return float(counts.max(initial=0) / max(1, counts.sum()))


def confident_error(y_true_n: NDArray[np.int64], scores_nk: NDArray[np.float64]) -> Estimate:
    """Return the share wrong among the most confident tenth, with its 95% interval.

    Where labels are right, the answers given most confidently are nearly all right, however hard
    the rest is; wrong labels contradict confident and unsure answers alike.
    """
    wrong, n = confident_contradictions(y_true_n, scores_nk)
    return wilson(wrong, n)


def confident_contradictions(
    y_true_n: NDArray[np.int64], scores_nk: NDArray[np.float64]
) -> tuple[int, int]:
    """Return how many of the most confident tenth contradict their label, and that tenth's size."""
    ordered = np.sort(scores_nk, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    chosen = np.argsort(-margin, kind="stable")[: max(1, len(margin) // 10)]
    return int((scores_nk[chosen].argmax(axis=1) != y_true_n[chosen]).sum()), len(chosen)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Return first minus second with the interval of two independent shares (Newcombe 1998)."""
    value = first.value - second.value
    low = value - np.hypot(first.value - first.low, second.high - second.value)
    high = value + np.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, float(low), float(high))
