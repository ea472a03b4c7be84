"""Bins of a timeline, and how two neighbours become one: the levels of detail of every timeline.

The viewer makes them from all rows at once (`mien.viewer.levels`), the page of a video from frame
to frame (`mien.video.sinks.lanes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NONE = 255
"""Code of a moment without a face."""
SCALE = 255
"""A probability of 1 in the bytes that are sent."""


@dataclass(frozen=True, slots=True)
class Level:
    """Bins of one width.

    Attributes:
        probs_bk3: uint8 [bins, k, 3]: mean, minimum and maximum, 0 to SCALE; all 0 where no face
            was classified.
        code_b: uint8 [bins], the most frequent label: an index of the labels, k for unsure, k + 1
            for a face that was not classified, or NONE.
    """

    probs_bk3: NDArray[np.uint8]
    code_b: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Bins:
    """Bins before they are rounded.

    Attributes:
        sum_bk: float32 [bins, k], sum of the probabilities, each times its weight.
        min_bk: float32 [bins, k], inf where no face was classified.
        max_bk: float32 [bins, k], -inf where no face was classified.
        weight_b: float32 [bins], of the classified faces: a number of finer bins, or seconds.
        count_bc: [bins, k + 2], weight of each label; k is unsure, k + 1 was not classified.
    """

    sum_bk: NDArray[np.float32]
    min_bk: NDArray[np.float32]
    max_bk: NDArray[np.float32]
    weight_b: NDArray[np.float32]
    count_bc: NDArray[np.int32] | NDArray[np.float32]

    def halved(self) -> Bins:
        """Return bins of twice the width."""
        if len(self.weight_b) % 2:
            return Bins(
                *(np.concatenate([part, np.full_like(part[:1], empty)])
                  for part, empty in self._parts())
            ).halved()  # fmt: skip
        halves = [part.reshape(-1, 2, *part.shape[1:]) for part, _ in self._parts()]
        return Bins(
            halves[0].sum(axis=1), halves[1].min(axis=1), halves[2].max(axis=1),
            halves[3].sum(axis=1), halves[4].sum(axis=1),
        )  # fmt: skip

    def _parts(self) -> tuple[tuple[NDArray[np.float32] | NDArray[np.int32], float], ...]:
        return (
            (self.sum_bk, 0), (self.min_bk, np.inf), (self.max_bk, -np.inf),
            (self.weight_b, 0), (self.count_bc, 0),
        )  # fmt: skip

    def level(self, k: int) -> Level:
        """Return the bins as they are sent."""
        weight_b1 = self.weight_b[:, None]
        mean_bk = self.sum_bk / np.where(weight_b1 > 0, weight_b1, 1)
        probs = np.stack([mean_bk, self.min_bk, self.max_bk], axis=2)
        probs = np.where(weight_b1[:, :, None] > 0, probs, 0)
        seen = self.count_bc.sum(axis=1) > 0
        code_b = np.where(seen, self.count_bc.argmax(axis=1), NONE)
        return Level(np.rint(probs * SCALE).astype(np.uint8), code_b.astype(np.uint8))
