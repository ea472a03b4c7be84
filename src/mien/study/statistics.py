"""Statistics across seeds: intervals, paired tests, effect sizes, multiple comparisons.

Trainings with the same seed use the same images and order, so cells are compared seed by seed.
The test is the paired t test: with five seeds the exact Wilcoxon test cannot fall below p = 0.0625,
whatever the data. Correction over all comparisons of a study: Holm 1979, which scipy lacks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL = 0.95
EQUAL = 1e-12
"""Standard deviation below which all differences are equal, and a t test would divide by zero."""


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
        p_value: of the two-sided paired t test; the null hypothesis is no difference.
        hedges_g: effect size of the differences (Hedges 1981): their mean over their standard
            deviation, corrected for small n.
        wins: seeds in which the difference is above 0.
    """

    mean: Mean
    p_value: float
    hedges_g: float
    wins: int


def mean_interval(
    values: Sequence[float], bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Mean:
    """Return the mean with its 95% t interval, clipped to the range of the measure.

    Args:
        values: one for each seed.
        bounds: minimum and maximum of the measure: 0 and 1 for an accuracy. With few seeds that
            lie far apart, the interval would reach past them.
    """
    from scipy import stats  # it takes half a second to import

    x = np.asarray(values, np.float64)
    if len(x) < 2:
        value = float(x.mean()) if len(x) else math.nan
        return Mean(value, -math.inf, math.inf, len(x))
    mean = float(x.mean())
    low = high = mean
    if x.std(ddof=1) > 0:  # scipy gives nan where all values are equal
        low, high = map(float, stats.t.interval(LEVEL, len(x) - 1, mean, stats.sem(x)))
    return Mean(mean, max(low, bounds[0]), min(high, bounds[1]), len(x))


def paired(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Return the paired difference first minus second, seed by seed.

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
    # Equal differences have no t statistic: scipy would divide by zero.
    deviation = float(x.std(ddof=1))
    if deviation < EQUAL:
        same = abs(mean.value) < EQUAL
        return Difference(mean, 1.0 if same else 0.0, 0.0 if same else math.inf, wins)
    p_value = float(stats.ttest_rel(first, second).pvalue)
    # Without the correction the effect size of five seeds is a quarter too large.
    correction = 1 - 3 / (4 * (len(x) - 1) - 1)
    return Difference(mean, p_value, mean.value / deviation * correction, wins)


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values corrected for multiple comparisons (Holm 1979), in the given order."""
    order = np.argsort(ps, kind="stable")
    corrected, largest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        # Step-down: a corrected value is never below that of a smaller p.
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[int(i)] = largest
    return corrected
