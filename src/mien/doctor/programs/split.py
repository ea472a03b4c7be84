"""Outputs and targets of a kept sample as rows; `splits.split_of` makes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(slots=True)
class Split:
    """Outputs and targets of a kept sample.

    Attributes:
        outputs: float64 [m, k], of m examples or positions.
        targets: class indices [m, 1], or values and labels [m, j], float64.
        rows: inputs of the baseline, float64 [m, d]; None if they have no such form.
        counts_k: of the classes at all positions, float64 [k]; None for one row an example.
        each: positions of an example, median; 1 for one row an example.
        ignored: class index that the loss ignores; None for one row an example.
        turned: the classes of masks turned in several ways, at the same positions, int64 [m].
    """

    outputs: NDArray[np.float64]
    targets: NDArray[np.float64]
    rows: NDArray[np.float64] | None
    counts_k: NDArray[np.float64] | None = None
    each: float = 1
    ignored: int | None = None
    turned: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def is_dense(self) -> bool:
        """Whether the rows are positions."""
        return self.counts_k is not None
