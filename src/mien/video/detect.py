"""Runs the detector on the planned frames, in a thread of its own.

Tracks depend on all detections before; detections depend on nothing. So the detector works on the
next frames while the tracks of the last ones are updated, classified and written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.imaging.crop import crop_faces
from mien.imaging.reduce import reduce_by
from mien.predict.detectors.base import RefinesLandmarks
from mien.types import Faces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from mien.predict.detectors.base import Detector
    from mien.video.frame import Frame
    from mien.video.plan import FrameJob

SHORTER_SIDE = 360
"""Pixels: larger frames are reduced by a whole factor for the detector, to this or more."""


def detect_faces(
    jobs: Iterable[FrameJob], detector: Detector, crop_size: int
) -> Iterator[FrameJob]:
    """Yield the jobs in order; those with `detect` get their detections and crops."""
    for job in jobs:
        if job.detect:
            job.detections, job.crops_nhw = find_faces(job.frame, detector, crop_size)
        yield job


def find_faces(frame: Frame, detector: Detector, crop_size: int) -> tuple[Faces, NDArray[np.uint8]]:
    """Return the faces of a frame, and their grey crops, uint8 [n, crop_size, crop_size]."""
    factor = max(1, min(frame.size) // SHORTER_SIDE)
    # A whole factor is a plain mean of pixels: faster than resampling, and without shifts.
    pixels = reduce_by(frame.pixels, factor)
    found = detector.detect(pixels)
    if isinstance(detector, RefinesLandmarks):
        found = detector.refine(pixels, found)
    if factor > 1:
        marks = found.landmarks_n52
        found = Faces(
            found.boxes_xyxy * np.float32(factor),
            found.scores_n,
            None if marks is None else marks * np.float32(factor),
        )
    # Crops come from the full frame: reduced pixels would blur small faces.
    return found, crop_faces(frame.pixels, found.boxes_xyxy, detector.framing, crop_size)
