"""Resize square grey crops with the same function that crops faces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.imaging.crop import crop_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray


def resize_crops(images_nhw: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return the crops at `size`, uint8 [n, size, size]; those of that size stay as they are."""
    if images_nhw.shape[1:] == (size, size):
        return images_nhw
    crops = [crop_whole(image, size) for image in images_nhw]
    return np.stack(crops) if crops else np.zeros((0, size, size), np.uint8)
