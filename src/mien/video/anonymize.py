"""Sinks that get every frame with all faces blurred, before anything is drawn or kept of it."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from mien.imaging.anonymize import blur_faces
from mien.video.frame import LazyPixels
from mien.video.sinks.base import Sink

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mien.types import FrameReading
    from mien.video.frame import FrameResult
    from mien.video.summary import Summary

    Boxes = tuple[NDArray[np.float32], ...]

AROUND_S = 0.4
"""Seconds before and after a detection for which its place is blurred: detectors miss faces."""
MAX_WAITING = 30
"""Frames kept back at most, whatever the frame rate."""


class AnonymizedSinks(Sink):
    """Passes results on to other sinks, with every place blurred where a face is or may be.

    That is all detections, weak and unconfirmed ones too, and all tracks that the detector missed;
    each for AROUND_S before and after. So results are passed on AROUND_S later.

    Args:
        sinks: that must not see a face.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks
        self._waiting: deque[FrameResult] = deque()
        self._past: deque[tuple[float, Boxes]] = deque()

    @property
    def resumable(self) -> bool:
        """Whether all of the sinks can resume."""
        return all(sink.resumable for sink in self._sinks)

    def replay(self, reading: FrameReading) -> None:
        """See `Sink.replay`."""
        for sink in self._sinks:
            sink.replay(reading)

    def open(self) -> None:
        """See `Sink.open`."""
        for sink in self._sinks:
            sink.open()

    def write(self, result: FrameResult) -> None:
        """Keep a frame back until the detections shortly after it are known."""
        self._waiting.append(result)
        newest_s = result.frame.time_s
        while (
            newest_s - self._waiting[0].frame.time_s > AROUND_S or len(self._waiting) > MAX_WAITING
        ):
            self._pass_on()

    def close(self, summary: Summary) -> None:
        """See `Sink.close`."""
        while self._waiting:
            self._pass_on()
        for sink in self._sinks:
            sink.close(summary)

    def abort(self) -> None:
        """See `Sink.abort`."""
        # Frames that wait are lost on purpose: their neighbours, which would blur them, will not
        # come.
        self._waiting.clear()
        for sink in reversed(self._sinks):
            sink.abort()

    def _pass_on(self) -> None:
        frame = self._waiting[0].frame
        while self._past and frame.time_s - self._past[0][0] > AROUND_S:
            self._past.popleft()
        # Faces of both sides in time: a face that a detector misses in one frame is rarely
        # elsewhere.
        near = [boxes for _, boxes in self._past]
        near += [result.candidates_xyxy for result in self._waiting]
        boxes = [box for group in near for box in group]
        result = self._waiting.popleft()
        # Only the boxes of past frames are kept, not their pixels.
        self._past.append((frame.time_s, result.candidates_xyxy))
        blurred = LazyPixels(lambda: blur_faces(frame.pixels, boxes))
        for sink in self._sinks:
            sink.write(replace(result, frame=replace(frame, lazy_pixels=blurred)))
