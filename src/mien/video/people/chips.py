"""Aligned colour chips of faces, as dlib's network was trained on, and how good each one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHIP = 150
"""Side of a chip in pixels."""
# Mean positions of landmarks 37-42 and 43-48 (eyes), 31 (tip of the nose), 49 and 55 (mouth) in
# dlib's chips with padding 0.25 (dlib/image_transforms/interpolation.h, get_face_chip_details).
MEAN_FACE_52 = np.array(
    [[47.55, 46.60], [100.48, 46.60], [74.01, 76.56], [50.41, 103.02], [97.61, 103.02]]
)
IN_BOX_52 = np.array([[0.31, 0.41], [0.69, 0.41], [0.5, 0.59], [0.35, 0.77], [0.65, 0.77]])
"""About where landmarks lie in a detector's box, for detectors that give none."""
EYES_PX = float(MEAN_FACE_52[1, 0] - MEAN_FACE_52[0, 0])
"""Distance of the eyes in a chip, in pixels: a face with less is enlarged, and worth less."""
MAX_TURN = 0.75
"""Distance of the nose from the middle of the eyes, along them, in halves of their distance, from
which on a face is not frontal at all."""


class Placement(NamedTuple):
    """The similarity transform from a chip to its image, on points as complex numbers x + iy.

    Attributes:
        scale: rotation and scale; its absolute value is image pixels per chip pixel.
        offset: where the chip's corner lies in the image.
    """

    scale: complex
    offset: complex


def place(box_xyxy: NDArray[np.float32], landmarks_52: NDArray[np.float32] | None) -> Placement:
    """Return where a face's chip lies: the least-squares fit of its landmarks.

    Args:
        box_xyxy: float32 [4], pixels.
        landmarks_52: float32 [5, 2], pixels, or None.
    """
    if landmarks_52 is None:
        corner, size = box_xyxy[:2], box_xyxy[2:] - box_xyxy[:2]
        landmarks_52 = (corner + IN_BOX_52 * size).astype(np.float32)
    chip = MEAN_FACE_52 @ np.array([1, 1j])
    image = landmarks_52.astype(np.float64) @ np.array([1, 1j])
    # Complex factors are rotations and scales, so the fit can mirror or shear nothing.
    centred = chip - chip.mean()
    scale = complex(np.vdot(centred, image - image.mean()) / np.vdot(centred, centred).real)
    return Placement(scale, complex(image.mean() - scale * chip.mean()))


def worth(placement: Placement, score: float, landmarks_52: NDArray[np.float32] | None) -> float:
    """Return how well a chip shows a face, 0 to 1: large, frontal, and certainly a face.

    Args:
        placement: of the chip.
        score: of the detector, 0 to 1.
        landmarks_52: float32 [5, 2], pixels, or None.
    """
    frontal = 0.5 if landmarks_52 is None else 1 - min(_turn(landmarks_52) / MAX_TURN, 1.0)
    return min(abs(placement.scale), 1.0) * score * (0.2 + 0.8 * frontal)


def _turn(landmarks_52: NDArray[np.float32]) -> float:
    # Cheaper than a head pose, of which only an order is needed here.
    across = landmarks_52[1].astype(np.float64) - landmarks_52[0]
    nose = landmarks_52[2] - landmarks_52[:2].mean(axis=0, dtype=np.float64)
    return float(2 * abs(nose @ across) / max(float(across @ across), 1e-6))


def cut_chip(
    image_hwc: NDArray[np.uint8], placement: Placement, side: int = CHIP
) -> NDArray[np.uint8]:
    """Return a chip, uint8 [side, side, 3] RGB; what lies outside of the image is black.

    Args:
        image_hwc: uint8 [h, w, 3] RGB.
        placement: from `place`.
        side: of the chip in pixels; its content is the same.
    """
    scale, offset = placement
    corners = scale * np.array([0, CHIP, CHIP * 1j, CHIP + CHIP * 1j]) + offset
    height, width = image_hwc.shape[:2]
    left = int(np.clip(corners.real.min() - 2, 0, max(width - 1, 0)))
    top = int(np.clip(corners.imag.min() - 2, 0, max(height - 1, 0)))
    right = int(np.clip(corners.real.max() + 3, left + 1, width))
    bottom = int(np.clip(corners.imag.max() + 3, top + 1, height))
    # Only the face's surroundings become a Pillow image: a whole frame would be copied.
    part = Image.fromarray(np.ascontiguousarray(image_hwc[top:bottom, left:right]))
    offset -= complex(left, top)
    scale *= CHIP / side
    # Bilinear sampling of a much larger face would skip pixels.
    reduced = max(int(abs(scale)), 1)
    if reduced > 1:
        part = part.reduce(reduced)
        scale, offset = scale / reduced, offset / reduced
    found = part.transform(
        (side, side),
        Image.Transform.AFFINE,
        (scale.real, -scale.imag, offset.real, scale.imag, scale.real, offset.imag),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(found, np.uint8)
