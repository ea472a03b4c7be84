"""No detection: each image is one face crop already (`Reader(faces="whole")`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.imaging.crop import WHOLE
from mien.predict.detectors.base import has_pixels
from mien.types import Faces

if TYPE_CHECKING:
    from numpy.typing import NDArray


class WholeImage:
    """Returns one box, the whole image, with score 1."""

    name = "whole"
    framing = WHOLE

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        """Return the image's own box."""
        if not has_pixels(image_hwc):
            return Faces.none()
        height, width = image_hwc.shape[:2]
        return Faces(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32))
