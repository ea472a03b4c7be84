"""Metrics for each group of a column: age group, sex, skin tone, lighting, source of the images.

A group is compared with all other images of the split. All intervals rest on Wilson's, with n
divided by the design effect of duplicates and subjects (Rao and Scott 1992): images of one person
are alike, and count for less than images of as many people. A bootstrap would collapse in small
groups without an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.data.split import units
from mien.evaluate.bootstrap import mean_estimate
from mien.intervals import UNDEFINED, Estimate, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MIN_GROUP = 30
"""Images of a group, or of all others, below which no difference is claimed."""
ALPHA = 0.05
"""Probability that any group of a column is called different where none is."""


@dataclass(frozen=True, slots=True)
class GroupMetrics:
    """One group of a column.

    Attributes:
        name: the value of the column.
        n: images of the group.
        accuracy: fraction classified correctly.
        balanced_accuracy: mean recall over the classes; not defined where a class is missing.
        recalls: recall of each class, in the order of the labels.
        difference: accuracy of the group minus that of all other images; not defined without any.
        p_value: of the hypothesis that both accuracies are equal; None where `too_few`.
        p_adjusted: the same, adjusted by Holm over the groups of the column.
        too_few: the group, or the rest, has fewer than MIN_GROUP images.
    """

    name: str
    n: int
    accuracy: Estimate
    balanced_accuracy: Estimate
    recalls: tuple[Estimate, ...]
    difference: Estimate
    p_value: float | None
    p_adjusted: float | None
    too_few: bool

    @property
    def differs(self) -> bool:
        """Whether the accuracy differs from the rest's, after Holm's correction."""
        return self.p_adjusted is not None and self.p_adjusted < ALPHA


@dataclass(frozen=True, slots=True)
class ColumnGroups:
    """The groups of one column.

    Attributes:
        column: name of the column.
        ground_truth: 'consensus' or 'raw', what the predictions are compared with.
        labels: the classes, in the order of `GroupMetrics.recalls`.
        n: images of all groups.
        accuracy: over all groups, with its interval.
        groups: the largest group first, equally large ones by name.
    """

    column: str
    ground_truth: str
    labels: tuple[str, ...]
    n: int
    accuracy: Estimate
    groups: tuple[GroupMetrics, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the groups as JSON types; null for what is not defined or not claimed."""
        return {
            "ground_truth": self.ground_truth,
            "n": self.n,
            "accuracy": self.accuracy.to_dict(),
            "min_n": MIN_GROUP,
            "values": [
                {
                    "value": group.name,
                    "n": group.n,
                    "accuracy": group.accuracy.to_dict(),
                    "balanced_accuracy": group.balanced_accuracy.to_dict(),
                    "recall": {
                        label: recall.to_dict()
                        for label, recall in zip(self.labels, group.recalls, strict=True)
                    },
                    "difference": group.difference.to_dict(),
                    "p_value": group.p_value,
                    "p_holm": group.p_adjusted,
                    "differs": group.differs,
                    "too_few": group.too_few,
                }
                for group in self.groups
            ],
        }


@dataclass(frozen=True, slots=True)
class GradedRows:
    """The images of a split that have ground truth.

    Attributes:
        y_true_n: int64 [n], ground truth, an index into `labels`.
        y_pred_n: int64 [n], predictions.
        labels: the classes.
        duplicates_n: int64 [n], duplicates of one image share a number.
        subjects_n: str [n], '' where unknown.
    """

    y_true_n: NDArray[np.int64]
    y_pred_n: NDArray[np.int64]
    labels: tuple[str, ...]
    duplicates_n: NDArray[np.int64]
    subjects_n: NDArray[np.str_]


def group_metrics(
    rows: GradedRows, values_n: NDArray[np.str_], column: str, ground_truth: str
) -> ColumnGroups:
    """Return the metrics of each group, and its difference to all other images.

    The interval of a difference is Newcombe's hybrid score interval (1998, method 10). The test is
    the two-sided score test of two proportions with Yates's continuity correction (1934), both at
    the effective numbers of images. p values are adjusted over the groups of the column
    (Holm 1979); two groups are one comparison, tested once.

    Args:
        rows: predictions and ground truth.
        values_n: str [n], the group of each image.
        column: name of the column. Where it is 'subject', images of one subject are not treated
            as dependent: each group is a subject, about whom alone the claim is made.
        ground_truth: 'consensus' or 'raw'.
    """
    # A subject's images are alike, so they count as one cluster; unless the groups are the
    # subjects.
    clusters_n = rows.duplicates_n
    if column != "subject":
        clusters_n = units(rows.duplicates_n, rows.subjects_n)
    correct_n = rows.y_true_n == rows.y_pred_n
    names, counts = np.unique(values_n, return_counts=True)
    # Largest first; by name between equals, so that two runs print the same table.
    order = sorted(range(len(names)), key=lambda i: (-int(counts[i]), str(names[i])))
    measured = [_measure(rows, values_n == names[i], str(names[i]), clusters_n) for i in order]
    tested = [i for i, group in enumerate(measured) if group.p_value is not None]
    p_values = [p for group in measured if (p := group.p_value) is not None]
    # Two groups are one comparison, seen from both sides.
    # Holm's correction would count that one comparison twice.
    adjusted = p_values if len(measured) == 2 else holm(p_values)
    by_place = dict(zip(tested, adjusted, strict=True))
    return ColumnGroups(
        column=column,
        ground_truth=ground_truth,
        labels=rows.labels,
        n=len(values_n),
        accuracy=_proportion(correct_n, clusters_n, rows.duplicates_n)[0],
        groups=tuple(
            GroupMetrics(
                g.name, g.n, g.accuracy, g.balanced_accuracy, g.recalls, g.difference, g.p_value,
                by_place.get(place), g.too_few,
            )
            for place, g in enumerate(measured)
        ),
    )  # fmt: skip


def _measure(
    rows: GradedRows, chosen_n: NDArray[np.bool_], name: str, clusters_n: NDArray[np.int64]
) -> GroupMetrics:
    """Return one group, with its p value not yet adjusted."""
    correct_n = rows.y_true_n == rows.y_pred_n

    def proportion(among_n: NDArray[np.bool_]) -> tuple[Estimate, float]:
        return _proportion(correct_n[among_n], clusters_n[among_n], rows.duplicates_n[among_n])

    accuracy, n = proportion(chosen_n)
    recalls = tuple(proportion(chosen_n & (rows.y_true_n == k))[0] for k in range(len(rows.labels)))
    complete = all(recall.is_defined for recall in recalls)
    rest, n_rest = proportion(~chosen_n)
    count = int(chosen_n.sum())
    too_few = min(count, len(chosen_n) - count) < MIN_GROUP
    return GroupMetrics(
        name=name,
        n=count,
        accuracy=accuracy,
        balanced_accuracy=mean_estimate(recalls) if complete else UNDEFINED,
        recalls=recalls,
        difference=newcombe(accuracy, rest),
        p_value=None if too_few else score_test(accuracy.value, n, rest.value, n_rest),
        p_adjusted=None,
        too_few=too_few,
    )


def _proportion(
    correct_n: NDArray[np.bool_], clusters_n: NDArray[np.int64], duplicates_n: NDArray[np.int64]
) -> tuple[Estimate, float]:
    """Return the fraction that is right, and the number of independent images it is worth."""
    n = len(correct_n)
    if n == 0:
        return UNDEFINED, 0.0
    # Duplicates count once in any case: with few errors, their effect cannot be measured.
    once = len(np.unique(duplicates_n)) / n
    effective = min(n * once, n / design_effect(correct_n, clusters_n))
    return wilson(float(correct_n.mean()) * effective, effective), effective


def design_effect(correct_n: NDArray[np.bool_], clusters_n: NDArray[np.int64]) -> float:
    """Return by how much clusters inflate the variance of a proportion, 1 or more.

    It is the variance of a ratio of cluster totals over the binomial variance (Rao and Scott 1992);
    1 where each image is its own cluster, and where it is not defined: with one cluster, or where
    all predictions are right or all wrong.

    Args:
        correct_n: bool [n], whether each prediction is right.
        clusters_n: int64 [n], dependent images share a number.
    """
    _, inverse = np.unique(clusters_n, return_inverse=True)
    n, clusters, value = len(correct_n), int(inverse.max(initial=-1)) + 1, correct_n.mean()
    # Without an error, or without a hit, there is no variance that could be inflated.
    if clusters < 2 or clusters == n or value in (0, 1):
        return 1.0
    residuals = np.bincount(inverse, correct_n - value)
    variance = clusters / (clusters - 1) * (residuals**2).sum() / n**2
    # Not below 1: images of one person do not count for more than images of as many people.
    return max(1.0, float(variance / (value * (1 - value) / n)))


def newcombe(first: Estimate, second: Estimate) -> Estimate:
    """Return first minus second, two proportions with Wilson intervals (Newcombe 1998)."""
    if not (first.is_defined and second.is_defined):
        return UNDEFINED
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, value - below, value + above)


def score_test(first: float, n_first: float, second: float, n_second: float) -> float:
    """Return the two-sided p value of two equal proportions, with Yates's continuity correction.

    Args:
        first: a proportion, 0 to 1.
        n_first: the number of independent images it rests on, above 0.
        second: the other proportion.
        n_second: its number of images.
    """
    pooled = (first * n_first + second * n_second) / (n_first + n_second)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / n_first + 1 / n_second))
    # Yates's correction: the counts are whole numbers, the normal distribution is not.
    gap = abs(first - second) - (1 / n_first + 1 / n_second) / 2
    # erfc(z / sqrt(2)) is the two-sided tail of the normal distribution.
    return 1.0 if spread == 0 or gap <= 0 else math.erfc(gap / spread / math.sqrt(2))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number by Holm's step-down method (1979), 0 to 1."""
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(1.0, largest)
    return adjusted
