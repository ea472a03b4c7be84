"""Is there a face on a crop? A cheap score for thousands, a detection for a few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mien.predict.detectors.mtcnn import Mtcnn

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARGIN = 0.25
"""Repeated edge pixels around a crop, as a fraction of its side: MTCNN needs context."""
SIDE = 144
"""Side to which a crop with its margin is scaled, in pixels."""


class CropFaces:
    """Finds faces on grey crops with the networks of MTCNN.

    Args:
        threads: CPU threads (0 = all cores).

    Raises:
        ModelFileError: the detector's weights are missing or damaged.
    """

    def __init__(self, threads: int = 0) -> None:
        self._detector = Mtcnn(threads=threads)

    def scores(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return how much each crop, uint8 [n, s, s], looks like a face, float32 [n], 0 to 1."""
        return self._detector.face_scores(crops_nhw)

    def has_face(self, crop_hw: NDArray[np.uint8]) -> bool:
        """Return whether the whole detector finds a face on one crop, uint8 [s, s]."""
        padded = np.pad(crop_hw, round(MARGIN * len(crop_hw)), mode="edge")
        large = np.asarray(Image.fromarray(padded).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        views = (large, np.ascontiguousarray(large[:, ::-1]))  # MTCNN often finds only one of them
        return any(len(self._detector.detect(np.repeat(v[:, :, None], 3, axis=2))) for v in views)
