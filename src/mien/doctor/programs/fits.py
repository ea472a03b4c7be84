"""How well a regression's values are predicted on both splits, beside the baseline's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_EXAMPLES = 30
"""Validation examples from which means of squared errors have an interval that can be trusted."""


@dataclass(frozen=True, slots=True)
class ValueFit:
    """R² on both splits, and how sure it is that the network is worse than the baseline.

    Attributes:
        n: validation examples.
        train: R² of the network on training examples.
        validation: R² of the network on validation.
        baseline: R² of the baseline on validation, fitted on training examples.
        gap_low: lower end of the 95% interval of `train` minus `validation`.
        excess_low: lower end of the 95% interval of the network's squared error on validation minus
            the baseline's, paired by example, over the targets' variance: a difference of R².
    """

    n: int
    train: float
    validation: float
    baseline: float
    gap_low: float
    excess_low: float


def fit_of(
    train: float,
    targets_nk: NDArray[np.float64],
    network_nk: NDArray[np.float64],
    baseline_nk: NDArray[np.float64],
    centre_k: NDArray[np.float64],
) -> ValueFit | None:
    """Return the fit; None with few examples, or where a prediction is missing or not finite.

    Args:
        train: R² of the network on training examples.
        targets_nk: of validation.
        network_nk: predictions of the network.
        baseline_nk: predictions of the baseline.
        centre_k: mean of the training targets, which R² compares with.
    """
    n = len(targets_nk)
    if n < MIN_EXAMPLES or not targets_nk.shape == network_nk.shape == baseline_nk.shape:
        return None
    own, other, constant = (
        ((targets_nk - values) ** 2).sum(axis=1) for values in (network_nk, baseline_nk, centre_k)
    )
    scale = float(constant.mean())
    if not math.isfinite(train) or not np.isfinite(own + other).all() or scale <= 0:
        return None
    held = 1 - float(own.mean()) / scale
    return ValueFit(
        n=n,
        train=train,
        validation=held,
        baseline=1 - float(other.mean()) / scale,
        gap_low=train - held - 1.96 * _error_of_mean(own) / scale,
        excess_low=(float((own - other).mean()) - 1.96 * _error_of_mean(own - other)) / scale,
    )


def _error_of_mean(values_n: NDArray[np.float64]) -> float:
    return float(values_n.std(ddof=1)) / math.sqrt(len(values_n))
