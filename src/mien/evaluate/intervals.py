"""Intervals by bootstrap over groups of copies.

Copies of one picture are not independent, so whole groups are drawn with replacement (the
cluster bootstrap; Field and Welsh 2007), and the 2.5% and 97.5% quantiles taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.interval import Estimate as Estimate
from mien.interval import wilson as wilson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mien.evaluate.metrics import Rows

RESAMPLES = 1000
LEVEL = 0.95


def headline_estimates(
    rows: Rows, groups_n: NDArray[np.int64], *, resamples: int = RESAMPLES, seed: int = 0
) -> list[Estimate]:
    """Return the estimates of metrics.HEADLINES, in that order."""
    values = rows.headlines()
    draws = np.stack([rows.headlines(w) for w in group_weights(groups_n, resamples, seed)])
    return _estimates(values, draws)


def paired_difference(
    first: Rows,
    second: Rows,
    groups_n: NDArray[np.int64],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Estimate]:
    """Return the estimates of first minus second for metrics.HEADLINES, on the same pictures.

    Both models are measured on the same resamples, so what is hard for both cancels out.
    """
    values = first.headlines() - second.headlines()
    draws = np.stack(
        [first.headlines(w) - second.headlines(w) for w in group_weights(groups_n, resamples, seed)]
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
    """Return the mean of `first_n` minus that of `second_n`, on the same pictures.

    Args:
        first_n: float64 [n], how right the first model was: 1 or 0, or a mean over several tries.
        second_n: of the second, likewise.
        groups_n: int64 [n], copies of one picture share a number.
        resamples: of groups.
        seed: of the resampling.
    """
    _, inverse = np.unique(groups_n, return_inverse=True)
    sizes = np.bincount(inverse).astype(np.float64)
    sums = np.bincount(inverse, first_n - second_n)
    rng = np.random.default_rng(seed)
    draws = np.empty((resamples, 1))
    for row in range(resamples):
        drawn = rng.integers(len(sizes), size=len(sizes))
        draws[row] = sums[drawn].sum() / sizes[drawn].sum()
    return _estimates(np.array([(first_n - second_n).mean()]), draws)[0]


def group_weights(
    groups_n: NDArray[np.int64], resamples: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    """Yield, for each resample, how often each row was drawn, float64 [n]."""
    rng = np.random.default_rng(seed)
    _, inverse = np.unique(groups_n, return_inverse=True)
    groups = int(inverse.max(initial=-1)) + 1
    for _ in range(resamples):
        counts = np.bincount(rng.integers(groups, size=groups), minlength=groups)
        yield counts[inverse].astype(np.float64)


def _estimates(values: NDArray[np.float64], draws: NDArray[np.float64]) -> list[Estimate]:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return [
        Estimate(float(v), float(a), float(b)) for v, a, b in zip(values, low, high, strict=True)
    ]
