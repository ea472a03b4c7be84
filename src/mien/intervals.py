"""A proportion, its text and its Wilson interval, used wherever mien counts something."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95% interval; all three are nan where the figure is not defined."""

    value: float
    low: float
    high: float

    @property
    def is_defined(self) -> bool:
        """Whether there is a figure at all."""
        return not math.isnan(self.value)

    def to_dict(self) -> dict[str, float | None]:
        """Return the figure as JSON types; null for what is not defined."""
        bounds = {"value": self.value, "low": self.low, "high": self.high}
        return {k: None if math.isnan(v) else round(v, 6) for k, v in bounds.items()}


UNDEFINED = Estimate(math.nan, math.nan, math.nan)
"""The estimate of a figure that is not defined."""


def percent(probability: float) -> str:
    """Return a probability as text for people: never 0% or 100%."""
    return ">99%" if probability > 0.99 else "<1%" if probability < 0.01 else f"{probability:.0%}"


def wilson(hits: float, n: float) -> Estimate:
    """Return the proportion hits / n with its 95% Wilson interval (Wilson 1927)."""
    if n <= 0:
        return Estimate(float("nan"), 0.0, 1.0)
    z = 1.959964
    fraction = hits / n
    middle = (fraction + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(fraction * (1 - fraction) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At 0 and 1 rounding could leave the fraction itself just outside.
    return Estimate(
        fraction,
        float(max(0, min(fraction, middle - half))),
        float(min(1, max(fraction, middle + half))),
    )
