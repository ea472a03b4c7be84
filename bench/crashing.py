"""A detector for bench/scale.py; in a module of its own, so that workers can import it."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.predict.detectors.whole import WholeImage


class Crashing:
    """Takes whole images, and kills its process at those with a red corner."""

    name = "crashing"

    def __init__(self) -> None:
        self._inner = WholeImage()
        self.framing = self._inner.framing

    def detect(self, image_hwc: NDArray[np.uint8]) -> Any:
        if image_hwc[0, 0, 0] > 200 and image_hwc[0, 0, 1] < 50:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._inner.detect(image_hwc)
