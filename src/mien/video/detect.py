"""Planned frames to found faces, in a thread of their own: a detection waits for nobody's place.

Who is who depends on the detections before; the detections depend on nothing. So the detector
works on the next frames while the last ones' people are followed, read and written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mien.imaging.crop import crop_faces
from mien.types import Faces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from mien.predict.detectors.base import Detector
    from mien.video.frame import Frame
    from mien.video.plan import FrameJob

SHORTER_SIDE = 360
"""Larger frames are halved, thirded... for the detector, down to no less than this."""


def with_faces(
    planned: Iterable[FrameJob], detector: Detector, crop_size: int
) -> Iterator[FrameJob]:
    """Yield the planned frames, in order; those that are to be detected hold their faces."""
    for now in planned:
        if now.detect:
            now.faces, now.crops_nhw = find_faces(now.frame, detector, crop_size)
        yield now


def find_faces(frame: Frame, detector: Detector, crop_size: int) -> tuple[Faces, NDArray[np.uint8]]:
    """Return the faces of a frame, and their grey crops, uint8 [n, crop_size, crop_size]."""
    factor = max(1, min(frame.size) // SHORTER_SIDE)
    pixels = frame.pixels
    if factor > 1:
        pixels = np.asarray(Image.fromarray(pixels).reduce(factor))
    found = detector.detect(pixels)
    if factor > 1:
        marks = found.landmarks_n52
        found = Faces(
            found.boxes_xyxy * np.float32(factor),
            found.scores_n,
            None if marks is None else marks * np.float32(factor),
        )
    return found, crop_faces(frame.pixels, found.boxes_xyxy, detector.framing, crop_size)
