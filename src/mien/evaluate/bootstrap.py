"""Intervals by bootstrap over groups of duplicates, and others where a bootstrap would collapse.

Duplicates of one image are not independent, so whole groups are resampled with replacement (the
cluster bootstrap; Field and Welsh 2007), and the 2.5% and 97.5% quantiles taken. Where a proportion
rests on few errors, or none, resamples cannot differ enough: see `few_errors_estimates`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mien.evaluate.calibration import calibration_error
from mien.evaluate.class_metrics import f1_of_jaccard
from mien.evaluate.metrics import confusion_matrix
from mien.intervals import UNDEFINED
from mien.intervals import Estimate as Estimate
from mien.intervals import wilson as wilson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mien.evaluate.metrics import Rows

RESAMPLES = 1000
LEVEL = 0.95
FEW = 10
"""Right or wrong predictions below which the bootstrap of a proportion is not used: the usual rule
for when a binomial is close to normal."""


def headline_estimates(
    rows: Rows, groups_n: NDArray[np.int64], *, resamples: int = RESAMPLES, seed: int = 0
) -> list[Estimate]:
    """Return the estimates of metrics.HEADLINES, in that order."""
    # The same resamples for every metric, the calibration error included.
    weights = np.stack(list(group_weights(groups_n, resamples, seed)))
    draws = np.stack([rows.figures(w) for w in weights])
    estimates = _estimates(rows.figures(), draws)
    few = few_errors_estimates(rows, groups_n)
    for place, estimate in enumerate(few):
        estimates[place] = estimate or estimates[place]
    error = calibration_error(rows, groups_n, weights, (1 - LEVEL) / 2)
    if few[0] is not None:
        # It is at least the gap to the accuracy, which may lie anywhere in its interval.
        ends = np.abs(rows.confidence_n.mean() - [estimates[0].low, estimates[0].high])
        error = replace(error, high=max(error.high, float(ends.max())))
    return [*estimates, error]


def few_errors_estimates(rows: Rows, groups_n: NDArray[np.int64]) -> list[Estimate | None]:
    """Return accuracy, balanced accuracy and macro F1 where too few predictions are wrong or right.

    A model without an error has none in any resample: its bootstrap interval is 1 to 1. With
    fewer than FEW errors (or hits; for averages in any one class) the accuracy gets Wilson's
    interval, and averages over classes the one that follows from Wilson's of each class (MOVER;
    Zou and Donner 2008); F1 by way of TP / (TP + FP + FN), which is a proportion (Lam, Gopal and
    Qian 2023, arXiv:2309.14621). Duplicates of one image count once in n.

    Returns:
        An estimate for each, None where the bootstrap serves or the figure is not defined.
    """
    table = confusion_matrix(rows.y_true_n, rows.y_pred_n, rows.classes)
    hits, support = np.diag(table), table.sum(axis=1)
    union = support + table.sum(axis=0) - hits
    # Duplicates are one observation: counting each would make the interval too narrow.
    once = len(np.unique(groups_n)) / len(groups_n)
    accuracy = balanced = macro = None
    if min(hits.sum(), len(groups_n) - hits.sum()) < FEW:
        accuracy = wilson(hits.sum() * once, len(groups_n) * once)
    if (support > 0).all() and np.minimum(hits, support - hits).min() < FEW:
        recalls = [wilson(h * once, n * once) for h, n in zip(hits, support, strict=True)]
        balanced = mean_estimate(recalls)
        jaccard = [wilson(h * once, n * once) for h, n in zip(hits, union, strict=True)]
        macro = mean_estimate([f1_of_jaccard(j) for j in jaccard])
    return [accuracy, balanced, macro]


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of independent estimates, with the interval that follows from theirs."""
    value, low, high = np.array([[e.value, e.low, e.high] for e in estimates]).T
    # Halves of intervals add in squares, each side by itself, since Wilson's are not symmetric.
    below, above = np.sqrt(((value - low) ** 2).sum()), np.sqrt(((high - value) ** 2).sum())
    middle, k = value.mean(), len(estimates)
    return Estimate(float(middle), float(middle - below / k), float(middle + above / k))


def paired_difference(
    first: Rows,
    second: Rows,
    groups_n: NDArray[np.int64],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Estimate]:
    """Return the estimates of first minus second for metrics.FIGURES, on the same images.

    Both models are measured on the same resamples, so images that are hard for both cancel out.
    """
    values = first.figures() - second.figures()
    draws = np.stack(
        [first.figures(w) - second.figures(w) for w in group_weights(groups_n, resamples, seed)]
    )
    return _estimates(values, draws)


def paired_accuracy(
    first_n: NDArray[np.float64],
    second_n: NDArray[np.float64],
    groups_n: NDArray[np.int64],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the mean of `first_n` minus that of `second_n`, on the same images.

    Args:
        first_n: float64 [n], 1 where the first model is right, else 0; or a mean over repetitions.
        second_n: float64 [n], the same for the second model.
        groups_n: int64 [n], duplicates of one image share a number.
        resamples: number of resamples of the groups.
        seed: seed of the resampling.
    """
    _, inverse = np.unique(groups_n, return_inverse=True)
    sizes = np.bincount(inverse).astype(np.float64)
    sums = np.bincount(inverse, first_n - second_n)
    rng = np.random.default_rng(seed)
    draws = np.empty((resamples, 1))
    for row in range(resamples):
        # Sums by group first: a resample then costs as many additions as there are groups.
        chosen = rng.integers(len(sizes), size=len(sizes))
        draws[row] = sums[chosen].sum() / sizes[chosen].sum()
    return _estimates(np.array([(first_n - second_n).mean()]), draws)[0]


def group_weights(
    groups_n: NDArray[np.int64], resamples: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    """Yield, for each resample, how often each row was sampled, float64 [n]."""
    rng = np.random.default_rng(seed)
    _, inverse = np.unique(groups_n, return_inverse=True)
    groups = int(inverse.max(initial=-1)) + 1
    for _ in range(resamples):
        counts = np.bincount(rng.integers(groups, size=groups), minlength=groups)
        # Counts instead of copied rows: the metrics take weights.
        yield counts[inverse].astype(np.float64)


def _estimates(values: NDArray[np.float64], draws: NDArray[np.float64]) -> list[Estimate]:
    tail = (1 - LEVEL) / 2
    estimates = []
    for value, column in zip(values, draws.T, strict=True):
        defined = column[~np.isnan(column)]  # a resample may lack a rare class
        if np.isnan(value) or not len(defined):
            estimates.append(UNDEFINED)
            continue
        low, high = np.quantile(defined, [tail, 1 - tail])
        estimates.append(Estimate(float(value), float(low), float(high)))
    return estimates
