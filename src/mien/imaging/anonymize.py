"""Blur faces: each is reduced to so few cells that they cannot show an identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

CELLS = 5
"""Cells across a face: FER's smallest readable faces have 48."""
MARGIN = 0.3
"""Fraction of the box added on every side: hair, ears and chin identify people too."""


def blur_faces(
    image_hwc: NDArray[np.uint8], boxes_xyxy: Iterable[NDArray[np.float32]]
) -> NDArray[np.uint8]:
    """Return a copy of the image, uint8 [h, w, 3] RGB, with an ellipse around each box blurred.

    Only the means of the cells remain of the pixels inside, so that the blur cannot be undone.
    """
    canvas = Image.fromarray(image_hwc)
    source = canvas.copy()  # overlapping faces are each blurred from the original
    for box in boxes_xyxy:
        _blur_one(canvas, source, box)
    return np.asarray(canvas, np.uint8)


def _blur_one(canvas: Image.Image, source: Image.Image, box: NDArray[np.float32]) -> None:
    x0, y0, x1, y1 = (float(v) for v in box)
    pad_x, pad_y = MARGIN * (x1 - x0), MARGIN * (y1 - y0)
    left, top = max(int(x0 - pad_x), 0), max(int(y0 - pad_y), 0)
    right = min(int(np.ceil(x1 + pad_x)), canvas.width)
    bottom = min(int(np.ceil(y1 + pad_y)), canvas.height)
    if right - left < 1 or bottom - top < 1:
        return
    size = (right - left, bottom - top)
    # Relative to the face and not in pixels: a large face would stay recognisable.
    scale = CELLS / max(x1 - x0, y1 - y0, 1.0)
    cells = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    # Averages over cells cannot be inverted; a Gaussian blur can, in part.
    patch = source.crop((left, top, right, bottom)).resize(cells, Image.Resampling.BOX)
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, *size), min(size) * 0.35, fill=255)
    canvas.paste(patch.resize(size, Image.Resampling.BICUBIC), (left, top), mask)
