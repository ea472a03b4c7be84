"""Several labels at once: each is a decision of its own, with a base rate of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mien.doctor.evidence import Predictions
from mien.doctor.programs.measurements import LabelScore
from mien.doctor.programs.settings import criterion_setting
from mien.doctor.programs.split import Split
from mien.doctor.programs.splits import baseline_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.doctor.programs.recording import Recording
    from mien.doctor.programs.task import Task


def judge_labels(watch: Recording, task: Task, train: Split, validation: Split | None) -> None:
    """Fill in the task's predictions, each label of an example as one prediction of two classes."""
    k = train.targets.shape[1]
    task.names = ("absent", "present")
    # BCELoss and BCEWithLogitsLoss have the same chance level, whatever the activation.
    bounded = bool(train.outputs.min() >= 0 and train.outputs.max() <= 1)
    rates = train.targets.mean(axis=0)
    counts = train.targets.sum(axis=0)
    task.class_counts_k = np.array([train.targets.size - counts.sum(), counts.sum()])
    task.is_log_loss = True
    chance, uniform = constant_losses(watch, rates)
    task.chance, task.uniform = chance * task.loss_scale, uniform * task.loss_scale
    left_out, other = baseline_scores(train, train.targets, validation, k)
    # The baseline is fitted on a part: what is judged beside it is the same part.
    part = len(left_out) or len(train.targets)
    known = Split(train.outputs[:part], train.targets[:part], None)
    task.train = _pairs(known, left_out, rates, bounded)
    if validation is not None:
        task.validation = _pairs(validation, other, rates, bounded)
    task.add_accuracies()
    names = watch.classes if watch.classes and len(watch.classes) == k else None
    task.labels = _labels(
        names or tuple(f"label {i}" for i in range(k)), counts, rates, validation, other, bounded
    )


def constant_losses(watch: Recording, rates_k: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean log loss of the best constants and of probabilities of one half.

    Both with the criterion's weights.

    Args:
        watch: of the loop.
        rates_k: base rate of each label.
    """
    p = np.clip(rates_k, 1e-9, 1 - 1e-9)
    positive, weight = (
        _values(criterion_setting(watch.criterion, name), len(p))
        for name in ("pos_weight", "weight")
    )
    # The best constant under a weight of the positive examples.
    q = positive * p / (positive * p + 1 - p)
    losses = -(positive * p * np.log(q) + (1 - p) * np.log(1 - q))
    halves = (positive * p + 1 - p) * math.log(2)
    return float((weight * losses).mean()), float((weight * halves).mean())


def _values(given: Any, k: int) -> NDArray[np.float64]:
    if not isinstance(given, torch.Tensor) or given.numel() not in (1, k):
        return np.ones(k)
    found = given.detach().double().reshape(-1).cpu().numpy()
    return np.broadcast_to(found, (k,))


def sigmoid(logits: NDArray[np.float64], bounded: bool) -> NDArray[np.float64]:
    """Return probabilities of outputs; the same where they are `bounded` by 0 and 1."""
    # Outputs within 0 and 1 have gone through a sigmoid already. Clipped: exp overflows above 709.
    return logits if bounded else 1 / (1 + np.exp(-np.clip(logits, -60, 60)))


def _two(values: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = values.reshape(-1)
    return np.stack([1 - flat, flat], axis=1)


def _pairs(
    split: Split, baseline: NDArray[np.float64], rates: NDArray[np.float64], bounded: bool
) -> Predictions:
    """Return a prediction for each example and label."""
    finite = bool(np.isfinite(split.outputs).all())
    return Predictions(
        split.targets.reshape(-1).astype(np.int64),
        _two(sigmoid(split.outputs, bounded)) if finite else None,
        _two(baseline) if len(baseline) else np.zeros((0, 2)),
        _two(np.broadcast_to(rates, split.targets.shape)),
    )


def _labels(
    names: tuple[str, ...], counts: NDArray[np.float64], rates: NDArray[np.float64],
    validation: Split | None, other: NDArray[np.float64], bounded: bool,
) -> tuple[LabelScore, ...]:  # fmt: skip
    k = len(names)
    positives, found, baseline = np.zeros(k), np.zeros(k), np.zeros(k)
    if validation is not None and np.isfinite(validation.outputs).all():
        wanted = validation.targets == 1
        positives = wanted.sum(axis=0)
        found = (wanted & (sigmoid(validation.outputs, bounded) > 0.5)).sum(axis=0)
        if len(other):
            baseline = (wanted & (other > 0.5)).sum(axis=0)
    return tuple(
        LabelScore(
            name, int(counts[i]), float(rates[i]), int(positives[i]), int(found[i]),
            int(baseline[i]) if len(other) else None,
        )
        for i, name in enumerate(names)
    )  # fmt: skip
