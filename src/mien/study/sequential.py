"""Tests that stay valid however often one looks: e-values for the paired t test.

The e-value after n pairs is the Bayes factor of the t test with the effect size distributed as
N(0, PRIOR_VARIANCE) against the effect size 0 (Gönen et al. 2005). Under the null hypothesis it is
a test martingale for scale-invariant observations (Lai 1976; Wang and Ramdas 2025, "Anytime-valid
t-tests and confidence sequences for Gaussian means with unknown variance"; Pérez-Ortiz et al. 2024,
"E-statistics, group invariance and anytime-valid testing"). By Ville's inequality (1939) it exceeds
1 / alpha at any time with probability alpha at most, whatever the variance, so that one may test
after every seed and stop when the claim is decided (Ramdas et al. 2023, "Game-theoretic statistics
and safe anytime-valid inference"). The differences are assumed Gaussian, as in the t test.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

PRIOR_VARIANCE = 4.0
"""Variance of the effect size (mean over standard deviation). A wide one decides large effects with
four or five seeds, and costs small effects about a tenth more seeds: a change of the recipe that
matters usually moves the accuracy by more than one standard deviation of the seeds."""

EQUAL = 1e-12
"""Range or standard deviation below which all differences are equal."""
MIN_EQUAL = 10
"""Equal differences from which the interval is a point. No test of Gaussian differences can judge
them; ten of ten equal ones leave another outcome a probability of at most 26% (with 95%)."""
UNBOUNDED = (-math.inf, math.inf)


def e_values(differences: ArrayLike) -> NDArray[np.float64]:
    """Return the e-value after each number of pairs, against a mean of 0.

    Args:
        differences: float [..., n], in the order of the seeds; the last axis is the seeds'.

    Returns:
        Float64 [..., n]; 1 after the first pair, whose size says nothing without a scale.
    """
    x = np.asarray(differences, np.float64)
    n = np.arange(1, x.shape[-1] + 1)
    total, squares = np.cumsum(x, -1), np.cumsum(x * x, -1)
    explained = total**2 / n
    # The sum of squares around the mean; rounding may take it below 0 where all are equal.
    residual = np.maximum(squares - explained, 1e-24)
    # With u = t² / (n - 1) the Bayes factor needs no t, and no division where n is 1.
    u = explained / residual
    r = 1 + n * PRIOR_VARIANCE
    logs = -0.5 * np.log(r) + n / 2 * (np.log1p(u) - np.log1p(u / r))
    # exp overflows above 709; an e-value of e^700 decides any claim.
    values: NDArray[np.float64] = np.exp(np.minimum(logs, 700.0))
    values[..., :1] = 1.0
    return values


def anytime_p_value(differences: Sequence[float]) -> float:
    """Return the p value that holds at any stopping time: 1 over the largest e-value so far."""
    if not len(differences) or not np.any(differences):
        return 1.0
    # The largest so far, since Ville's inequality bounds the maximum over all looks.
    return float(min(1.0, 1 / e_values(differences).max()))


def critical_t(n: int, alpha: float) -> float:
    """Return the |t| of n pairs above which the e-value exceeds 1 / alpha; infinite for small n."""
    if n < 2:
        return math.inf
    r = 1 + n * PRIOR_VARIANCE
    # The e-value solved for t at 1 / alpha. Where c >= r no finite t reaches it.
    c = (math.sqrt(r) / alpha) ** (2 / n)
    return math.sqrt((n - 1) * (c - 1) / (1 - c / r)) if c < r else math.inf


def confidence_sequence(differences: Sequence[float], alpha: float) -> tuple[float, float]:
    """Return an interval of the mean that holds at all times together, with 1 - alpha.

    It is the intersection over all numbers of pairs so far, so that a decision stays one.

    Args:
        differences: in the order of the seeds.
        alpha: error rate, 0 to 1, both excluded.
    """
    x = np.asarray(differences, np.float64)
    if len(x) and np.ptp(x) < EQUAL:
        # Equal differences have no scale: they come from trainings that all fail alike, say.
        return UNBOUNDED if len(x) < MIN_EQUAL else (float(x[0]), float(x[0]))
    low, high = now = UNBOUNDED
    for n in range(2, len(x) + 1):
        t, deviation = critical_t(n, alpha), float(x[:n].std(ddof=1))
        # Equal differences at first, of trainings that both failed, say nothing about later ones.
        if math.isinf(t) or deviation < EQUAL:
            continue
        mean, reach = float(x[:n].mean()), t * deviation / math.sqrt(n)
        now = mean - reach, mean + reach
        low, high = max(low, now[0]), min(high, now[1])
    # An empty intersection means that the differences were not Gaussian: the present look counts.
    return (low, high) if low <= high else now
