"""The power of a comparison: the difference that its seeds can detect, and the seeds it needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mien.study.sequential import critical_t

if TYPE_CHECKING:
    from collections.abc import Callable

POWER = 0.8
"""Probability of detecting the minimum detectable difference."""
MAX_SEEDS = 1000
"""Seeds that `seeds_needed` tries, at most."""


def fixed_t(n: int, alpha: float) -> float:
    """Return the critical |t| of the two-sided paired t test of n pairs, for one look only."""
    from scipy import stats

    return float(stats.t.ppf(1 - alpha / 2, n - 1)) if n >= 2 else math.inf


def detectable_difference(n: int, deviation: float, alpha: float, *, sequential: bool) -> float:
    """Return the true difference that n pairs detect with probability 0.8.

    From the noncentral t distribution. With sequential testing, earlier looks add to the power,
    so the figure is an upper limit of the detectable difference.

    Args:
        n: pairs.
        deviation: standard deviation of the paired differences, 0 or more.
        alpha: two-sided error rate, after correction for multiple testing.
        sequential: whether the threshold is that of the e-value instead of the t test.
    """
    from scipy import optimize, stats

    threshold = (critical_t if sequential else fixed_t)(n, alpha)
    if math.isinf(threshold):
        return math.inf
    if deviation == 0:
        return 0.0

    def missing(shift: float) -> float:
        return float(stats.nct.sf(threshold, n - 1, shift)) - POWER

    # brentq needs a bracket with a change of sign: power rises with the shift.
    high = threshold + 1
    while missing(high) < 0:
        high *= 2
    return float(optimize.brentq(missing, 0.0, high, xtol=1e-3)) * deviation / math.sqrt(n)


def seeds_needed(
    difference: float, deviation: float, alpha: float, *, sequential: bool
) -> int | None:
    """Return the number of pairs that detects `difference` with probability 0.8.

    Returns:
        None for more than MAX_SEEDS.
    """

    def enough(n: int) -> bool:
        return detectable_difference(n, deviation, alpha, sequential=sequential) <= difference

    return smallest(enough)


def smallest(enough: Callable[[int], bool]) -> int | None:
    """Return the smallest n, 2 to MAX_SEEDS, that is enough; larger ones must be enough too."""
    low, high = 2, MAX_SEEDS
    if not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low
