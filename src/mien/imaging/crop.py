"""Face alignment: from an image and boxes to the grey crops that every model takes.

Data import, training and prediction all crop here. A classic bug of this field is a crop that is
squashed at inference but not in training, so the id below is stored in each model file and
compared when a model is loaded. If the arithmetic changes, the id must change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALIGNMENT_ID = "square-1"
"""Square, upright, grey (ITU-R 601 luma), edge pixels repeated outside, antialiased bilinear."""


@dataclass(frozen=True, slots=True)
class Framing:
    """How a detector's box becomes the square around a face that models are trained on.

    Attributes:
        scale: side of the square over the longer side of the box.
        shift_x: of the centre to the right, in sides of the square.
        shift_y: of the centre downwards, in sides of the square.
    """

    scale: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0


WHOLE = Framing()
"""For boxes that are face crops already."""


def squares(boxes_xyxy: NDArray[np.float32], framing: Framing) -> NDArray[np.float32]:
    """Return the squares, float32 [n, 4] in pixels (x0, y0, x1, y1), that frame the boxes."""
    boxes = np.asarray(boxes_xyxy, np.float32).reshape(-1, 4)
    size = boxes[:, 2:] - boxes[:, :2]
    # The longer side: a square keeps the face's proportions, which a stretched box would not.
    side = np.maximum(size.max(axis=1) * framing.scale, 1.0)  # at least a pixel
    shift = np.array([framing.shift_x, framing.shift_y], np.float32)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + side[:, None] * shift
    half = side[:, None] / 2
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def crop_faces(
    image_hwc: NDArray[np.uint8], boxes_xyxy: NDArray[np.float32], framing: Framing, size: int
) -> NDArray[np.uint8]:
    """Cut the faces out of an image.

    Args:
        image_hwc: uint8 [h, w, 3] RGB, or [h, w] grey.
        boxes_xyxy: float32 [n, 4] in pixels.
        framing: of the detector that found the boxes.
        size: height and width of a crop, in pixels.

    Returns:
        uint8 [n, size, size], grey. A square crop of exactly this size is returned bit for bit.
    """
    frames = squares(boxes_xyxy, framing)
    crops = [_crop(image_hwc, frame, size) for frame in frames]
    return np.stack(crops) if crops else np.zeros((0, size, size), np.uint8)


def crop_whole(image_hwc: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return the whole image as one crop, uint8 [size, size]: it is a face crop already.

    An image that is not square is not squashed: its longer side fills the crop and its edge
    pixels are repeated on the shorter side.
    """
    height, width = image_hwc.shape[:2]
    box = np.array([[0, 0, width, height]], np.float32)
    return crop_faces(image_hwc, box, WHOLE, size).reshape(size, size)


def _crop(image_hwc: NDArray[np.uint8], frame: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    height, width = image_hwc.shape[:2]
    x0, y0, x1, y1 = (float(v) for v in frame)
    left, top = int(np.floor(x0)), int(np.floor(y0))
    bottom, right = max(int(np.ceil(y1)), top + 1), max(int(np.ceil(x1)), left + 1)
    # Whole pixels around the frame...
    if top >= 0 and bottom <= height and left >= 0 and right <= width:
        grey = _grey(image_hwc[top:bottom, left:right])
    else:  # ...and clipped indices repeat the image's edge outside it.
        rows = np.clip(np.arange(top, bottom), 0, height - 1)
        columns = np.clip(np.arange(left, right), 0, width - 1)
        grey = _grey(image_hwc[rows[:, None], columns])
    box = (x0 - left, y0 - top, min(x1 - left, right - left), min(y1 - top, bottom - top))
    # Resampling would blur crops of the right size, such as FER2013's, on import.
    if grey.shape == (size, size) and box == (0, 0, size, size):
        return grey
    resized = Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized, np.uint8)


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if len(pixels.shape) == 2:
        return pixels
    # Pillow's integer luma, which the web page's private mode computes bit for bit as well.
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"), np.uint8)
