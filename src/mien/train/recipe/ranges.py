"""The ranges of settings: numbers that a setting's type annotation allows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

UNBOUNDED = 1e9
"""A range that ends here or later is described as open: no setting needs larger numbers."""


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included unless excluded here; never NaN or infinite.

    Attributes:
        low: smallest number.
        high: largest number.
        above: whether `low` itself is excluded.
        below: whether `high` itself is excluded.
    """

    low: float = 0
    high: float = UNBOUNDED
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        inside = self.low <= value <= self.high and value not in (math.inf, -math.inf)
        excluded = (self.above and value == self.low) or (self.below and value == self.high)
        return inside and not excluded

    def __str__(self) -> str:
        """Return the range in words: '0 to 1', 'at least 2', 'above 0 and below 1'."""
        if not self.above and not self.below and self.high < UNBOUNDED:
            return f"{self.low:g} to {self.high:g}"
        low = f"above {self.low:g}" if self.above else f"at least {self.low:g}"
        if self.high >= UNBOUNDED:
            return low
        return f"{low} and " + (f"below {self.high:g}" if self.below else f"at most {self.high:g}")


Fraction = Annotated[float, Range(0, 1)]
NonNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, math.inf, above=True)]
Dropout = Annotated[float, Range(0, 1, below=True)]
"""A probability of dropping something; 1 would drop everything."""
Count = Annotated[int, Range(0)]
PositiveCount = Annotated[int, Range(0, math.inf, above=True)]
