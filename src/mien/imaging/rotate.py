"""Quarter turns: turn images clockwise, and faces found in them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from mien.types import Faces

if TYPE_CHECKING:
    from numpy.typing import NDArray

Degrees = Literal[0, 90, 180, 270]
TURNS: tuple[Degrees, ...] = (0, 90, 180, 270)
"""Degrees, clockwise."""


def turn_image(image_hwc: NDArray[np.uint8], degrees: int) -> NDArray[np.uint8]:
    """Return an image, uint8 [h, w, c], turned clockwise by 0, 90, 180 or 270 degrees."""
    # rot90 turns counter-clockwise, and returns a view with negative strides.
    return np.ascontiguousarray(np.rot90(image_hwc, -degrees // 90))


def turn_back(faces: Faces, degrees: int, width: int, height: int) -> Faces:
    """Return faces found in a turned image in the coordinates of the image before its turn.

    Args:
        faces: found after a clockwise turn by `degrees`.
        degrees: 0, 90, 180 or 270.
        width: of the image before its turn, in pixels.
        height: of the image before its turn, in pixels.
    """
    if not degrees:
        return faces
    # A turn swaps corners: minimum and maximum make a box of them again.
    corners = _points_back(faces.boxes_xyxy.reshape(-1, 2, 2), degrees, width, height)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    marks = faces.landmarks_n52
    if marks is not None:
        marks = _points_back(marks, degrees, width, height)
    return Faces(boxes.astype(np.float32), faces.scores_n, marks)


def _points_back(
    points: NDArray[np.float32], degrees: int, width: int, height: int
) -> NDArray[np.float32]:
    u, v = points[..., 0], points[..., 1]
    x, y = {90: (v, height - u), 180: (width - u, height - v), 270: (width - v, u)}[degrees]
    return np.stack([x, y], axis=-1).astype(np.float32)
