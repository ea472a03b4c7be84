"""Faces made unrecognisable: so few cells remain of each that no identity can be in them."""

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
"""Of the box, added on every side: hair, ears and chin tell people apart too."""


def blur_faces(
    image_hwc: NDArray[np.uint8], boxes_xyxy: Iterable[NDArray[np.float32]]
) -> NDArray[np.uint8]:
    """Return a copy of the image, uint8 [h, w, 3] RGB, with an ellipse around each box blurred.

    The cells' means are all that is left of the pixels inside, so nothing can bring them back.
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
    share = CELLS / max(x1 - x0, y1 - y0, 1.0)
    cells = (max(1, round(size[0] * share)), max(1, round(size[1] * share)))
    patch = source.crop((left, top, right, bottom)).resize(cells, Image.Resampling.BOX)
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, *size), min(size) * 0.35, fill=255)
    canvas.paste(patch.resize(size, Image.Resampling.BICUBIC), (left, top), mask)
