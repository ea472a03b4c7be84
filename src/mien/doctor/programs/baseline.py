"""A baseline for any inputs: kernel ridge regression, predictions on training data leave-one-out.

The better of a linear and a Gaussian kernel (width: the median distance), with the penalty of the
lowest leave-one-out error (Allen's PRESS, 1974). It shows what inputs and labels allow without a
training loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_FITTED = 600
"""Training examples that the baseline is fitted on, at most."""
MAX_FEATURES = 3072
MAX_RANGES = 5.0
"""Distance from a column's median, in interquartile ranges, that a value has at most: 6.7
deviations of a normal distribution, which one value in 5e10 exceeds."""
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)


def standardized(
    train_nd: NDArray[np.float64], other_md: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both with the training data's mean 0 and deviation 1, non-finite values as 0."""
    # Every n-th feature of a large image is enough for a baseline.
    step = max(1, train_nd.shape[1] // MAX_FEATURES)
    parts = [np.nan_to_num(x[:, ::step], posinf=0.0, neginf=0.0) for x in (train_nd, other_md)]
    parts = _clipped(parts[0], parts[1])
    mean, spread = parts[0].mean(axis=0), parts[0].std(axis=0)
    # A feature that hardly varies would be noise, blown up.
    spread = np.where(spread < 1e-3 * max(float(spread.max(initial=0)), 1e-12), np.inf, spread)
    return (parts[0] - mean) / spread, np.clip((parts[1] - mean) / spread, -30, 30)


def _clipped(
    train_nd: NDArray[np.float64], other_md: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Return both with the values far outside a column's middle half moved to MAX_RANGES from it.

    A constant such as -999 for missing values would hide the values that are there.
    """
    low, middle, high = np.quantile(train_nd, [0.25, 0.5, 0.75], axis=0)
    # Of a column that is mostly one value, such as a count of 0, the others say everything.
    reach = np.where(high > low, MAX_RANGES * (high - low), np.inf)
    return [np.clip(x, middle - reach, middle + reach) for x in (train_nd, other_md)]


def kernel_baseline(
    train_nd: NDArray[np.float64], targets_nk: NDArray[np.float64], other_md: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scores of the training data by fits without each, and of other data.

    Args:
        train_nd: features, at most MAX_FITTED rows.
        targets_nk: one-hot labels, or values.
        other_md: features to predict.
    """
    x, z = standardized(train_nd, other_md)
    ones = np.ones(len(x))
    best: tuple[float, NDArray[np.float64], NDArray[np.float64]] | None = None
    for inner, outer in _kernels(x, z):
        # One decomposition serves all penalties.
        values, vectors = np.linalg.eigh(inner)
        # Equal inputs have a trace of 0: a penalty of their own leaves the mean.
        scale = max(float(np.trace(inner)) / len(x), 1e-12)
        projected, projected_ones = vectors.T @ targets_nk, vectors.T @ ones
        for penalty in PENALTIES:
            weights = 1 / (np.maximum(values, 0) + penalty * scale)
            solved_ones = vectors @ (weights * projected_ones)
            solved = vectors @ (weights[:, None] * projected)
            offset = solved.sum(axis=0) / solved_ones.sum()
            coefficients = solved - solved_ones[:, None] * offset
            # The intercept is left out with the example: with many features its trace in the
            # residual would give the label away.
            diagonal = (vectors**2 * weights).sum(axis=1) - solved_ones**2 / solved_ones.sum()
            # The residual of a fit without the example: coefficient over the inverse's diagonal
            # (PRESS; Cawley and Talbot 2004 for a kernel with an intercept).
            residual = coefficients / np.maximum(diagonal, 1e-9)[:, None]
            error = float((residual**2).sum())
            if best is None or error < best[0]:
                best = (error, targets_nk - residual, outer @ coefficients + offset)
    assert best is not None  # noqa: S101 - there are two kernels
    return best[1], best[2]


def _kernels(
    x: NDArray[np.float64], z: NDArray[np.float64]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    linear = x @ x.T, z @ x.T
    # Squared distances from products: |a - b|² = a² + b² - 2ab, which rounding may take below 0.
    square = np.diag(linear[0])
    inner = np.maximum(square[:, None] + square - 2 * linear[0], 0)
    outer = np.maximum((z**2).sum(axis=1)[:, None] + square - 2 * linear[1], 0)
    width = max(float(np.median(inner)), 1e-9)
    return [linear, (np.exp(-inner / width), np.exp(-outer / width))]
