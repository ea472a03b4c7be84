"""No detection: each picture is one face crop already (`--faces whole`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.imaging.crop import WHOLE
from mien.types import Faces

if TYPE_CHECKING:
    from numpy.typing import NDArray


class WholePicture:
    """Answers one box, the whole picture, with score 1."""

    name = "whole"
    framing = WHOLE

    def detect(self, picture_hwc: NDArray[np.uint8]) -> Faces:
        """Return the picture's own box."""
        height, width = picture_hwc.shape[:2]
        return Faces(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32))
