"""The interface of every face detector.

A new detector is one file here and one line in `registry.py`; tests/contracts/test_detectors.py
then checks it with all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.imaging.crop import Framing
    from mien.types import Faces


class Detector(Protocol):
    """Finds faces in one image; keeps no state from one image to the next.

    A detector whose `detect` may run in several threads at once sets `parallel = True`; one that
    reduces every image to at most n pixels sets `enough_pixels = n`, so that large JPEGs are
    decoded reduced. It can be pickled: a `Reader` that is sent to other processes takes its
    detector along.

    Attributes:
        name: recorded in every result.
        framing: from its boxes to the square that models are trained on; measured by
            bench/framing.py.
    """

    name: str
    framing: Framing

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        """Return the faces in an image, from left to right where the detector sorts them.

        The same image gives the same faces, bit for bit; an image without pixels gives none.

        Args:
            image_hwc: uint8 [h, w, 3] RGB; it is not changed.

        Raises:
            ValueError: another dtype or shape (see `has_pixels`).
        """
        ...


@runtime_checkable
class RefinesLandmarks(Protocol):
    """A detector whose landmarks can be improved at a cost; videos do so, for the head pose."""

    def refine(self, image_hwc: NDArray[np.uint8], faces: Faces) -> Faces:
        """Return the faces with better landmarks.

        Args:
            image_hwc: uint8 [h, w, 3] RGB, in which `detect` found them.
            faces: the faces.
        """
        ...


def has_pixels(image_hwc: NDArray[np.uint8]) -> bool:
    """Return whether an image has any pixel; detectors call it first.

    Raises:
        ValueError: it is not uint8 [h, w, 3]. Libraries would read other values as garbage.
    """
    if image_hwc.dtype != np.uint8 or image_hwc.ndim != 3 or image_hwc.shape[2] != 3:
        raise ValueError(
            f"an image must be uint8 [h, w, 3] RGB, got {image_hwc.dtype} {list(image_hwc.shape)}"
        )
    return image_hwc.size > 0
