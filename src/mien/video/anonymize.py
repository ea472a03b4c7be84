"""Frames with every face in them hidden, before anything is drawn or kept of them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mien.imaging.anonymize import blur_faces
from mien.video.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mien.types import FrameReading

AROUND_S = 0.4
"""A face found at one moment is hidden so long before and after it too: detectors miss some."""
MAX_WAITING = 30


def hidden(
    seen: Iterable[tuple[Frame, FrameReading]],
) -> Iterator[tuple[Frame, FrameReading]]:
    """Yield the frames with all places blurred where a face is or may be, and their readings.

    Hidden are all detections, also weak ones and those not confirmed, and whoever is followed
    and not seen just now; each for a while before and after.
    """
    waiting: deque[tuple[Frame, FrameReading]] = deque()
    past: deque[Frame] = deque()
    for frame, reading in seen:
        waiting.append((frame, reading))
        newest = frame.time_s
        while waiting and (newest - waiting[0][0].time_s > AROUND_S or len(waiting) > MAX_WAITING):
            yield _hide(waiting, past)
    while waiting:
        yield _hide(waiting, past)


def _hide(
    waiting: deque[tuple[Frame, FrameReading]], past: deque[Frame]
) -> tuple[Frame, FrameReading]:
    frame, reading = waiting[0]
    while past and frame.time_s - past[0].time_s > AROUND_S:
        past.popleft()
    near = [*past, *(other for other, _ in waiting)]
    boxes = [box for other in near for box in other.perhaps_xyxy]
    waiting.popleft()
    bare = Frame.bare(reading)
    bare.perhaps_xyxy = frame.perhaps_xyxy
    past.append(bare)
    return _blurred(frame, boxes), reading


def _blurred(frame: Frame, boxes: list[NDArray[np.float32]]) -> Frame:
    return Frame(
        frame.source, frame.index, frame.time_s, frame.size,
        lambda: blur_faces(frame.pixels, boxes), frame.pts,
    )  # fmt: skip
