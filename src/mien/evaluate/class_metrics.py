"""Precision, recall and F1 of each class, each with its n and a 95% interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.intervals import UNDEFINED, Estimate, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.evaluate.metrics import Rows


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """One class of an evaluation.

    Attributes:
        label: the class.
        n: images whose ground truth is the class.
        n_predicted: images that the model predicted to be of it.
        recall: fraction of the `n` images that were predicted rightly; not defined for n = 0.
        precision: fraction of the `n_predicted` images that are of the class; not defined where
            the model never predicts it.
        f1: harmonic mean of the two; not defined for n = 0.
    """

    label: str
    n: int
    n_predicted: int
    recall: Estimate
    precision: Estimate
    f1: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as JSON types; null for what is not defined."""
        return {
            "n": self.n,
            "n_predicted": self.n_predicted,
            "recall": self.recall.to_dict(),
            "precision": self.precision.to_dict(),
            "f1": self.f1.to_dict(),
        }


def class_metrics(
    rows: Rows, groups_n: NDArray[np.int64], labels: tuple[str, ...]
) -> tuple[ClassMetrics, ...]:
    """Return the metrics of each class, with Wilson intervals.

    Recall and precision are proportions. F1 is a function of TP / (TP + FP + FN), which is one too
    (Lam, Gopal and Qian 2023, arXiv:2309.14621), so the ends of its interval are transformed.

    Args:
        rows: ground truth and predictions.
        groups_n: int64 [n]; duplicates of one image share a number and count once in an interval's
            n, because they are not independent.
        labels: names of the classes.
    """
    found = []
    for index, label in enumerate(labels):
        true, predicted = rows.y_true_n == index, rows.y_pred_n == index
        hit = true & predicted
        # F1 is no proportion, but J is, and F1 rises with it: its interval follows from J's.
        jaccard = _proportion(hit, true | predicted, groups_n) if true.any() else UNDEFINED
        found.append(
            ClassMetrics(
                label=label,
                n=int(true.sum()),
                n_predicted=int(predicted.sum()),
                recall=_proportion(hit, true, groups_n),
                precision=_proportion(hit, predicted, groups_n),
                f1=f1_of_jaccard(jaccard),
            )
        )
    return tuple(found)


def f1_of_jaccard(jaccard: Estimate) -> Estimate:
    """Return F1 = 2 J / (1 + J) for J = TP / (TP + FP + FN), with the ends of its interval."""
    return Estimate(*(2 * v / (1 + v) for v in (jaccard.value, jaccard.low, jaccard.high)))


def _proportion(
    hit_n: NDArray[np.bool_], among_n: NDArray[np.bool_], groups_n: NDArray[np.int64]
) -> Estimate:
    n = int(among_n.sum())
    if n == 0:
        return UNDEFINED
    # Duplicates count once in n, and hits in proportion.
    once = len(np.unique(groups_n[among_n])) / n
    return wilson(hit_n.sum() * once, n * once)
