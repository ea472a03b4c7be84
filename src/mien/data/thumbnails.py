"""Thumbnails for the page of an import, with the detected faces framed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from mien.report.palette import FRAME_CHOSEN, FRAME_OTHER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mien.data.faces import FaceCrop

SIDE = 192
"""Longer side of a thumbnail, in pixels."""
SHOWN = 60
"""Maximum number of images of one kind on the page; skipped.csv lists all."""


def make_thumbnail(image_hwc: NDArray[np.uint8], found: FaceCrop) -> bytes:
    """Return a JPEG of an image, uint8 [h, w, 3], with its detected faces framed."""
    image = Image.fromarray(image_hwc)
    width = image.width
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    scale = image.width / width
    pen = ImageDraw.Draw(image)
    for box in found.boxes_xyxy:
        x0, y0, x1, y1 = (float(v) * scale for v in box)
        taken = found.origin.box is not None and tuple(float(v) for v in box) == found.origin.box
        colour = FRAME_CHOSEN if taken else FRAME_OTHER
        # Rounding may put the right edge of a tiny face left of its left one, which Pillow refuses.
        pen.rectangle((x0, y0, max(x1, x0), max(y1, y0)), outline=colour, width=2)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
