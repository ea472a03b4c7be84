"""Which faces are good enough to be classified; the others get a reason and no prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.imaging.boxes import overlap

if TYPE_CHECKING:
    from numpy.typing import NDArray

GOOD, SMALL, BLURRED, TURNED = "good", "small", "blurred", "turned"
CUT, COVERED = "cut", "covered"
REASONS = (SMALL, BLURRED, TURNED, CUT, COVERED)

NARROW = 0.72
"""Distance between the eyes over that from eyes to mouth, of a narrow face seen from the front."""
NOSE = 0.7
"""How far the nose protrudes, in halves of the distance between the eyes."""


@dataclass(frozen=True, slots=True)
class QualityGate:
    """Limits; 0 disables one.

    Attributes:
        min_side: minimum of the box's longer side in pixels; 24 is half a crop's side.
        min_sharpness: minimum `sharpness`; chosen by eye, to refuse only smooth blurs.
        max_turn: maximum `turn`.
        min_inside: minimum fraction of the box inside the image, 0 to 1.
        max_covered: maximum fraction of the box inside another face's box, 0 to 1.
    """

    min_side: float = 24.0
    min_sharpness: float = 0.004
    max_turn: float = 0.75
    min_inside: float = 0.6
    max_covered: float = 0.3

    def judge(
        self,
        box_xyxy: NDArray[np.float32],
        size: tuple[int, int],
        crop_hw: NDArray[np.uint8],
        landmarks_52: NDArray[np.float32] | None,
        others_xyxy: NDArray[np.float32] | None = None,
    ) -> str:
        """Return 'good', or the first reason against classifying the face.

        Args:
            box_xyxy: float32 [4], pixels.
            size: (width, height) of the image.
            crop_hw: uint8 [s, s], the grey crop that would be classified.
            landmarks_52: float32 [5, 2], pixels, where the detector gives them.
            others_xyxy: float32 [m, 4], boxes that may be in front of this one.
        """
        x0, y0, x1, y1 = (float(v) for v in box_xyxy)
        if max(x1 - x0, y1 - y0) < self.min_side:
            return SMALL
        # The checks are ordered from cheap to expensive.
        shown = max(min(x1, size[0]) - max(x0, 0.0), 0.0) * max(min(y1, size[1]) - max(y0, 0.0), 0)
        if shown < self.min_inside * (x1 - x0) * (y1 - y0):
            return CUT
        if self.max_covered and others_xyxy is not None and len(others_xyxy):
            shared = overlap(box_xyxy, others_xyxy, over="smaller")
            if float(shared.max()) > self.max_covered:
                return COVERED
        if self.max_turn and landmarks_52 is not None and turn(landmarks_52) > self.max_turn:
            return TURNED
        if self.min_sharpness and sharpness(crop_hw) < self.min_sharpness:
            return BLURRED
        return GOOD


def sharpness(crop_hw: NDArray[np.uint8]) -> float:
    """Return the variance of the crop's Laplacian over its own variance: 0 is a smooth blur.

    Contrast and brightness cancel out.
    """
    grey = crop_hw.astype(np.float32)
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return float(laplacian.var() / max(float(grey.var()), 1.0))


def turn(landmarks_52: NDArray[np.float32]) -> float:
    """Return how far a head is turned to its side: 0 is frontal, 0.7 is about 45 degrees.

    The larger of two measures, neither of which a tilted head changes: how far the nose is from the
    middle of the eyes, 0, to below one of them, 1; and how much closer together the eyes are than
    even a narrow face's, which still works when the head is bowed too.
    """
    eyes = landmarks_52[:2].astype(np.float64)
    across = eyes[1] - eyes[0]
    width = float(np.hypot(*across))
    if width < 1e-3:
        return float("inf")
    middle = eyes.mean(axis=0)
    nose = float(abs((landmarks_52[2] - middle) @ across)) / width / (width / 2)
    down = float(np.hypot(*(landmarks_52[3:].mean(axis=0) - middle)))
    left = min(width / max(NARROW * down, 1e-3), 1.0)
    return max(nose, NOSE * float(np.sqrt(1 - left**2)) / left)
