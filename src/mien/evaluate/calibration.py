"""The calibration error without the bias of noise in its bins: read `calibration_error` first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.evaluate.metrics import BINS
from mien.intervals import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.evaluate.metrics import Rows


def calibration_error(
    rows: Rows,
    groups_n: NDArray[np.int64],
    weights_rn: NDArray[np.float64],
    tail: float,
) -> Estimate:
    """Return the debiased root-mean-square calibration error with its interval.

    The plug-in error of bins (the ECE of Guo et al. 2017 likewise) counts the noise of each bin's
    accuracy as miscalibration, and every bootstrap resample adds as much again: its interval
    then lies above the figure. Here the noise's variance is estimated in each bin and subtracted
    (Kumar, Liang and Ma 2019, "Verified uncertainty calibration", arXiv:1909.10155; for scores
    Bröcker 2012), from the resamples twice, so that they scatter around the figure.

    Args:
        rows: predictions and confidences; 15 bins of equal width.
        groups_n: int64 [n], duplicates of one image share a number; they are not independent.
        weights_rn: float64 [resamples, n], how often each row was sampled.
        tail: probability below the interval, and above it.

    Returns:
        0 to 1; 0 where no miscalibration stands out from the noise.
    """
    # A bin's mean residual is its confidence minus its accuracy.
    residual_n = rows.confidence_n - (rows.y_pred_n == rows.y_true_n)
    counts = np.bincount(rows.bins_n, minlength=BINS).astype(np.float64)
    sums = np.bincount(rows.bins_n, residual_n, BINS)
    mean = sums / np.maximum(counts, 1)
    # The variance of each bin's sum: groups of duplicates are sampled together.
    _, group_n = np.unique(groups_n, return_inverse=True)
    # A group's images may lie in several bins; each part is one observation of its bin.
    cells, cell_n = np.unique(group_n * BINS + rows.bins_n, return_inverse=True)
    deviations = np.bincount(cell_n, residual_n - mean[rows.bins_n])
    groups = np.bincount(cells % BINS, minlength=BINS).astype(np.float64)
    variance = np.bincount(cells % BINS, deviations**2, BINS).astype(np.float64)
    known = groups > 1  # one group alone has no variance to estimate
    variance[known] = variance[known] * groups[known] / (groups[known] - 1)
    noise = (variance[known] / counts[known]).sum() / len(residual_n)
    plugin = (sums[known] ** 2 / counts[known]).sum() / len(residual_n)
    # Twice: once for the sample's own noise, once for the noise that resampling adds to it.
    draws = np.array([_plugin(rows.bins_n, residual_n, w, known) for w in weights_rn]) - 2 * noise
    value = plugin - noise
    low, high = np.quantile(draws, [tail, 1 - tail])
    # The debiased square may be negative, where the gaps are smaller than their noise.
    bounds = np.sqrt(np.maximum([value, min(low, value), max(high, value)], 0.0))
    return Estimate(*map(float, bounds))


def _plugin(
    bins_n: NDArray[np.int64],
    residual_n: NDArray[np.float64],
    weights_n: NDArray[np.float64],
    known: NDArray[np.bool_],
) -> float:
    """Return the mean squared gap over the `known` bins, of a weighted sample, with its noise."""
    counts = np.bincount(bins_n, weights_n, BINS)
    sums = np.bincount(bins_n, weights_n * residual_n, BINS)
    used = known & (counts > 0)
    return float((sums[used] ** 2 / counts[used]).sum() / weights_n.sum())
