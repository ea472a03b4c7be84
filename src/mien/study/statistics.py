"""Statistics across seeds: intervals, paired tests, effect sizes, multiple comparisons.

Trainings with the same seed use the same images and order, so cells are compared seed by seed.
The test is the paired t test: with five seeds the exact Wilcoxon test cannot fall below p = 0.0625,
whatever the data. Where seeds are added until a claim is decided, it is the e-value of `sequential`
instead. Correction for multiple testing: Holm 1979, which scipy lacks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mien.study.sequential import EQUAL, anytime_p_value, confidence_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds with its t interval; not finite with fewer than two values."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference over seeds.

    Attributes:
        mean: with its interval.
        p_value: two-sided, paired; the null hypothesis is no difference.
        hedges_g: effect size of the differences (Hedges 1981): their mean over their standard
            deviation, corrected for small n.
        wins: seeds in which the difference is above 0.
        deviation: standard deviation of the differences; nan with fewer than two.
    """

    mean: Mean
    p_value: float
    hedges_g: float
    wins: int
    deviation: float = math.nan


def mean_interval(
    values: Sequence[float],
    bounds: tuple[float, float] = (-math.inf, math.inf),
    level: float = LEVEL,
) -> Mean:
    """Return the mean with its t interval, clipped to the range of the measure.

    Args:
        values: one for each seed.
        bounds: minimum and maximum of the measure: 0 and 1 for an accuracy. With few seeds that
            lie far apart, the interval would reach past them.
        level: confidence level, 0 to 1.
    """
    from scipy import stats  # it takes half a second to import

    x = np.asarray(values, np.float64)
    if len(x) < 2:
        value = float(x.mean()) if len(x) else math.nan
        return Mean(value, -math.inf, math.inf, len(x))
    mean = float(x.mean())
    low = high = mean
    if x.std(ddof=1) > 0:  # scipy gives nan where all values are equal
        low, high = map(float, stats.t.interval(level, len(x) - 1, mean, stats.sem(x)))
    return Mean(mean, max(low, bounds[0]), min(high, bounds[1]), len(x))


def paired(first: Sequence[float], second: Sequence[float], level: float = LEVEL) -> Difference:
    """Return the paired difference first minus second, seed by seed, by the paired t test.

    Args:
        first: a value for each seed.
        second: the other cell's value for each seed.
        level: confidence level of the interval, 0 to 1.

    Raises:
        ValueError: the two differ in length.
    """
    from scipy import stats

    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values cannot be paired")
    x = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    mean = mean_interval(x.tolist(), level=level)
    wins = int((x > 0).sum())
    if len(x) < 2:
        return Difference(mean, 1.0, math.nan, wins)
    # Equal differences have no t statistic: scipy would divide by zero.
    deviation = float(x.std(ddof=1))
    # Of equal differences the p value is 0 by definition, unless all of them are 0.
    if deviation < EQUAL:
        same = abs(mean.value) < EQUAL
        return Difference(mean, 1.0 if same else 0.0, 0.0 if same else math.inf, wins, 0.0)
    p_value = float(stats.ttest_rel(first, second).pvalue)
    # Without the correction the effect size of five seeds is a quarter too large.
    correction = 1 - 3 / (4 * (len(x) - 1) - 1)
    return Difference(mean, p_value, mean.value / deviation * correction, wins, deviation)


def paired_sequential(
    first: Sequence[float], second: Sequence[float], level: float = LEVEL
) -> Difference:
    """Return the paired difference with an interval and a p value that hold at any stopping time.

    Args:
        first: a value for each seed, in the order of the seeds.
        second: the other cell's value for each seed.
        level: confidence level of the interval, 0 to 1.

    Raises:
        ValueError: the two differ in length.
    """
    once = paired(first, second, level)
    x = (np.asarray(first, np.float64) - np.asarray(second, np.float64)).tolist()
    low, high = confidence_sequence(x, 1 - level)
    mean = Mean(once.mean.value, low, high, once.mean.n)
    return replace(once, mean=mean, p_value=anytime_p_value(x))


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values corrected for multiple comparisons (Holm 1979), in the given order."""
    order = np.argsort(ps, kind="stable")
    corrected, largest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        # Step-down: a corrected value is never below that of a smaller p.
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[int(i)] = largest
    return corrected
