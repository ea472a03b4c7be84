"""Are the whole numbers that a regression predicts classes, whose order means nothing?

A baseline for classes is compared with a rounded regression on the same examples. Where numbers
measure something, as a count or a grade does, the regression knows about as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mien.doctor.programs.baseline import MAX_FITTED, kernel_baseline
from mien.doctor.programs.examples import distinct_rows
from mien.doctor.programs.measurements import ClassLike
from mien.doctor.programs.trees import features, tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from mien.doctor.programs.recording import Recording
    from mien.doctor.programs.task import Task

MIN_CLASSES, MAX_CLASSES = 3, 30
"""Distinct numbers: two may stand for a probability, more are rarely classes."""
MIN_ROWS = 60


def class_like_of(watch: Recording, task: Task, outputs: list[Tensor] | None) -> ClassLike | None:
    """Return how well targets are known as classes and as numbers; None if they are no classes.

    Args:
        watch: of the loop.
        task: that it learns.
        outputs: of the kept training examples, in batches.
    """
    if task.kind != "regression":
        return None
    labels = _labels(watch)
    inputs = features(watch.train.inputs)
    if labels is None or inputs is None or len(inputs) != len(labels):
        return None
    known, indices = np.unique(labels, return_inverse=True)
    if not MIN_CLASSES <= len(known) <= MAX_CLASSES or np.ptp(known) != len(known) - 1:
        return None
    # A small data set is seen several times, and a copy would give a left-out label away.
    rows = np.random.default_rng(0).permutation(distinct_rows(inputs))[:MAX_FITTED]
    if len(rows) < max(MIN_ROWS, 3 * len(known)):
        return None
    as_classes, _ = kernel_baseline(inputs[rows], np.eye(len(known))[indices[rows]], inputs[:1])
    as_values, _ = kernel_baseline(inputs[rows], labels[rows][:, None], inputs[:1])
    truth = indices[rows]
    own = None if outputs is None else torch.cat([o.reshape(-1) for o in outputs]).numpy()
    if own is None or len(own) != len(labels):
        return None

    def found(values: NDArray[np.float64]) -> float:
        nearest = np.clip(np.round(values - known[0]), 0, len(known) - 1)
        return float((nearest == truth).mean())

    return ClassLike(
        distinct=len(known),
        low=float(known[0]),
        high=float(known[-1]),
        examples=len(rows),
        as_classes=float((as_classes.argmax(axis=1) == truth).mean()),
        as_values=found(as_values[:, 0]),
        network=found(own[rows].astype(np.float64)),
        commonest=float(np.bincount(truth).max() / len(truth)),
    )


def _labels(watch: Recording) -> NDArray[np.float64] | None:
    """Return the kept targets, one whole number each; None for others."""
    found = [next(tensors(batch), None) for batch in watch.train.targets]
    known = [t.detach().cpu().double().numpy().reshape(len(t), -1) for t in found
             if t is not None and t.ndim]  # fmt: skip
    if not known or len(known) < len(found) or any(part.shape[1] != 1 for part in known):
        return None
    labels: NDArray[np.float64] = np.concatenate(known)[:, 0]
    whole = bool(np.isfinite(labels).all()) and bool((labels == np.round(labels)).all())
    return labels if whole else None
