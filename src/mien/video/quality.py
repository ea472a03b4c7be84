"""Which faces are good enough to be classified; the others get a reason and no prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.imaging.boxes import overlap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.imaging.pose import HeadPose

GOOD, SMALL, BLURRED, TURNED = "good", "small", "blurred", "turned"
CUT, COVERED = "cut", "covered"
REASONS = (SMALL, BLURRED, TURNED, CUT, COVERED)


@dataclass(frozen=True, slots=True)
class QualityGate:
    """Limits; 0 disables one.

    Attributes:
        min_side: minimum of the box's longer side in pixels; 24 is half a crop's side.
        min_sharpness: minimum `sharpness`; chosen by eye, to refuse only smooth blurs.
        max_yaw: maximum degrees that a head is turned to either side, as measured: large angles
            come out too small, 45 as 38 to 42.
        min_inside: minimum fraction of the box inside the image, 0 to 1.
        max_covered: maximum fraction of the box inside another face's box, 0 to 1.
    """

    min_side: float = 24.0
    min_sharpness: float = 0.004
    max_yaw: float = 38.5
    min_inside: float = 0.6
    max_covered: float = 0.3

    def judge(
        self,
        box_xyxy: NDArray[np.float32],
        size: tuple[int, int],
        crop_hw: NDArray[np.uint8],
        pose: HeadPose | None,
        others_xyxy: NDArray[np.float32] | None = None,
    ) -> str:
        """Return 'good', or the first reason against classifying the face.

        Args:
            box_xyxy: float32 [4], pixels.
            size: (width, height) of the image.
            crop_hw: uint8 [s, s], the grey crop that would be classified.
            pose: of the head, where the detector gives landmarks.
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
        # Landmarks in one place have no angle, and are no face from the front either.
        if self.max_yaw and pose is not None and not abs(pose.yaw) <= self.max_yaw:
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
    return _variance(laplacian) / max(_variance(grey), 1.0)


def _variance(values: NDArray[np.float32]) -> float:
    # ndarray.var takes twice as long for so few values.
    centred = (values - np.add.reduce(values, axis=None) / np.float32(values.size)).reshape(-1)
    return float(centred @ centred) / values.size
