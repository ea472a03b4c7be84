"""What every face detector does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mien.imaging.crop import Framing
    from mien.types import Faces


class Detector(Protocol):
    """Finds faces in one image; keeps nothing between images.

    Attributes:
        name: recorded in every result.
        framing: from its boxes to the square that models are trained on; measured by
            bench/framing.py.

    One that may look at several images at the same time, in threads, says `parallel = True`.
    """

    name: str
    framing: Framing

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        """Return the faces in an image, uint8 [h, w, 3] RGB, which is left as it is."""
        ...
