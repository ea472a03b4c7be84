"""The mean of an autocorrelated series, and how many independent values it is worth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mien.intervals import UNDEFINED, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_EFFECTIVE = 3.0
"""Independent values below which a series has no interval: its variance is not known."""


def effective_size(x_n: NDArray[np.float64]) -> float:
    """Return how many independent values have the same variance of the mean as this series.

    n / (1 + 2 sum over lags k of (1 - k/n) rho_k) (Bayley and Hammersley 1946, "The 'effective'
    number of independent observations in an autocorrelated time series"), where the sum ends
    before the first pair of neighboring lags whose sum is not positive (Geyer 1992, "Practical
    Markov chain Monte Carlo", the initial positive sequence). At most n.

    Args:
        x_n: float64 [n], at even steps, without nan.
    """
    n = len(x_n)
    if n < 2:
        return float(n)
    centered = x_n - x_n.mean()
    variance = float(centered @ centered) / n
    if variance < 1e-12:
        # A constant series tells nothing about its variance.
        return 1.0
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centered, size)
    # Divided by n and not n - k: this is rho_k already times (1 - k/n).
    rho = np.fft.irfft(spectrum * spectrum.conj(), size)[:n] / (n * variance)
    # From lag 0, as Geyer has it: 1 + 2 sum(rho_k from 1) = 2 sum of pairs - 1.
    pairs = rho[: n // 2 * 2].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    total = float(pairs[: ends[0] if len(ends) else len(pairs)].sum())
    return float(min(n, max(1.0, n / max(2 * total - 1, 1e-9))))


def quantile_975(df: float) -> float:
    """Return the 97.5% quantile of Student's t (Abramowitz and Stegun 26.7.5), df of 2 or more."""
    z = 1.959964
    terms = (
        z**3 + z,
        5 * z**5 + 16 * z**3 + 3 * z,
        3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z,
        79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z,
    )
    scales = (4, 96, 384, 92160)
    return z + sum(t / s / df**k for k, (t, s) in enumerate(zip(terms, scales, strict=True), 1))


class MeanOf:
    """A mean with the variance of an autocorrelated series.

    Attributes:
        mean: of the values; nan without any.
        n: number of values.
        effective: how many independent ones they are worth.
        variance: of the mean; nan where `effective` is below MIN_EFFECTIVE.
    """

    def __init__(self, mean: float, n: int, effective: float, variance: float) -> None:
        self.mean, self.n, self.effective, self.variance = mean, n, effective, variance

    @classmethod
    def of(cls, x_n: NDArray[np.float64]) -> MeanOf:
        """Return the mean of a series, float64 [n] without nan."""
        if not len(x_n):
            return cls(math.nan, 0, 0.0, math.nan)
        effective = effective_size(x_n)
        known = effective >= MIN_EFFECTIVE
        variance = float(x_n.var()) / (effective - 1) if known else math.nan
        return cls(float(x_n.mean()), len(x_n), effective, variance)

    @classmethod
    def pooled(cls, parts: list[MeanOf]) -> MeanOf:
        """Return the mean of several series together, each with its number of values."""
        parts = [one for one in parts if one.n]
        n = sum(one.n for one in parts)
        if not n:
            return cls(math.nan, 0, 0.0, math.nan)
        mean = sum(one.mean * one.n for one in parts) / n
        variance = sum(one.variance * (one.n / n) ** 2 for one in parts)
        return cls(mean, n, sum(one.effective for one in parts), variance)

    def minus(self, other: MeanOf) -> Estimate:
        """Return the difference of two independent means with its 95% interval (Welch 1947)."""
        value = self.mean - other.mean
        variance = self.variance + other.variance
        if math.isnan(value):
            return UNDEFINED
        if math.isnan(variance):
            return Estimate(value, math.nan, math.nan)
        parts = ((self.variance, self.effective), (other.variance, other.effective))
        scale = sum(v * v / (n - 1) for v, n in parts if v > 0)
        df = variance * variance / scale if scale > 0 else math.inf
        half = quantile_975(max(df, 2.0)) * math.sqrt(variance)
        return Estimate(value, value - half, value + half)

    @property
    def half(self) -> float:
        """Half of the mean's own 95% interval."""
        return quantile_975(max(self.effective - 1, 2.0)) * math.sqrt(self.variance)
