"""Statistics across seeds: intervals, paired tests, effect sizes, correction.

Trainings with the same seed draw the same images and order, so cells are compared seed by seed.
The test is the paired t test: with five seeds the exact Wilcoxon test cannot give less than 0.0625
whatever the data. Correction over all comparisons of a study: Holm 1979.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds with its 95% t interval; not finite with fewer than two values."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference over seeds.

    Attributes:
        mean: with its 95% interval.
        p: two-sided, of no difference (paired t test).
        effect: Hedges' g of the differences: mean over deviation, corrected for few seeds.
        wins: seeds in which it was above 0.
    """

    mean: Mean
    p: float
    effect: float
    wins: int


def mean_interval(
    values: Sequence[float], bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Mean:
    """Return the mean with its t interval, cut at what the measure can be.

    Args:
        values: one for each seed.
        bounds: the least and the largest value of the measure: 0 and 1 for an accuracy. With
            few seeds that lie far apart, the interval reaches past them.
    """
    from scipy import stats

    x = np.asarray(values, np.float64)
    if len(x) < 2:
        value = float(x.mean()) if len(x) else math.nan
        return Mean(value, -math.inf, math.inf, len(x))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    middle = float(x.mean())
    return Mean(middle, max(middle - half, bounds[0]), min(middle + half, bounds[1]), len(x))


def paired(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Return first minus second, seed by seed.

    Raises:
        ValueError: the two differ in length.
    """
    from scipy import stats

    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values cannot be paired")
    x = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    mean = mean_interval(x.tolist())
    wins = int((x > 0).sum())
    if len(x) < 2:
        return Difference(mean, 1.0, math.nan, wins)
    deviation = float(x.std(ddof=1))
    if deviation < 1e-12:
        same = abs(mean.value) < 1e-12
        return Difference(mean, 1.0 if same else 0.0, 0.0 if same else math.inf, wins)
    t = mean.value / (deviation / math.sqrt(len(x)))
    p = float(2 * stats.t.sf(abs(t), len(x) - 1))
    correction = 1 - 3 / (4 * (len(x) - 1) - 1)
    return Difference(mean, p, mean.value / deviation * correction, wins)


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values corrected for their number (Holm 1979), in the order given."""
    order = np.argsort(ps, kind="stable")
    corrected, largest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[int(i)] = largest
    return corrected
