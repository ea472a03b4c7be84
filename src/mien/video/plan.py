"""Settings of the video flow, and the job that travels through it with each frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mien.errors import ConfigError
from mien.video.pace import lost_after
from mien.video.quality import QualityGate
from mien.video.smooth import FADE_INTERVALS, TIME_CONSTANT_S, make_smoother

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mien.types import Faces
    from mien.video.frame import Frame
    from mien.video.track import Detection, Track

DETECT_S, CLASSIFY_S = 0.2, 1 / 15
"""Default seconds from one detection, and from one classification, to the next."""
DETECTED, BETWEEN, PREDICTED = "detected", "between", "predicted"
"""Where the box of a face comes from; see `TrackedFace.origin`."""


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """How faces are tracked and classified.

    Attributes:
        detect_every: frames from one detection to the next, 1 or more; None goes by time, 0.2 s.
        read_every: frames from one classification to the next, 1 or more; None goes by time, 15
            a second. Frames that the detector ran on are always classified.
        live: yield each frame at once, rather than when the next detection is known.
        smooth: 'exponential', 'one-euro' or 'none'.
        smooth_s: time constant of exponential smoothing in seconds, 0 or more.
        lost_s: seconds without a detection after which a track ends; where frames are rare, at
            least two and a half sampling intervals.
        min_confidence: decision threshold, 0 to 1: below it a face is 'unsure'; None takes the
            model's own threshold.
        gate: which faces are good enough to be classified.
    """

    detect_every: int | None = None
    read_every: int | None = None
    live: bool = False
    smooth: str = "exponential"
    smooth_s: float = TIME_CONSTANT_S
    lost_s: float = 1.0
    min_confidence: float | None = None
    gate: QualityGate = field(default_factory=QualityGate)

    def __post_init__(self) -> None:
        make_smoother(self.smooth, self.smooth_s)  # raises here, not at the first face
        for name in ("detect_every", "read_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(
                    f"{name}: {value} is out of range, 1 or more", hint="1 takes every frame"
                )

    def detect_interval_s(self, interval_s: float) -> float:
        """Return the minimum seconds between detections, at a sampling interval in seconds."""
        return interval_s * (self.detect_every or 1)

    def memory_s(self, interval_s: float) -> float:
        """Return after how many seconds nothing of the past shows in a row, to four digits.

        Args:
            interval_s: the sampling interval in seconds.
        """
        step = self.detect_interval_s(interval_s)
        smooth = max(self.smooth_s, FADE_INTERVALS * step)
        return 2 * lost_after(self.lost_s, step) + 12 * smooth + max(1.2, 6 * step)

    def planner(self) -> Planner:
        """Return a planner for one source."""
        return Planner(
            _Schedule(self.detect_every, DETECT_S), _Schedule(self.read_every, CLASSIFY_S)
        )

    def looks_at(self, position: int = 0) -> Callable[[int, float], bool]:
        """Return a new function for `Selection.looks_at` that says what `plan` will look at.

        Args:
            position: as for `plan`.
        """
        planner = self.planner()
        return lambda number, time_s: any(planner.at(position + number, time_s))

    def plan(self, frames: Iterable[Frame], position: int = 0) -> Iterator[FrameJob]:
        """Yield a job for each frame; convert the pixels of those that will be looked at.

        Only the order and timestamps of the frames decide: the same frames give the same plan.

        Args:
            frames: of one source, in order.
            position: number of the first frame among the selected ones; above 0 where a video
                is resumed, and the detector runs on that frame.
        """
        planner = self.planner()
        for number, frame in enumerate(frames, start=position):
            if not frame.decoded:  # it was not to be looked at
                yield FrameJob(frame)
                continue
            detect, classify = planner.at(number, frame.time_s)
            if detect or classify:
                frame.pixels  # noqa: B018  (converts them, in the thread that prefetches)
            yield FrameJob(frame, detect, classify)


class _Schedule:
    """When something is due: each n-th frame, or each so many seconds."""

    def __init__(self, every: int | None, seconds: float) -> None:
        self._every, self._seconds, self._last = every, seconds, float("-inf")

    def at(self, position: int, time_s: float, forced: bool = False) -> bool:
        if self._every is not None:
            return forced or position % self._every == 0
        # A millisecond forgives timestamps that a container rounded.
        due = forced or time_s - self._last >= self._seconds - 1e-3
        if due:
            self._last = time_s
        return due


@dataclass(frozen=True, slots=True)
class Planner:
    """Decides which frames are detected and which are classified."""

    _detection: _Schedule
    _classification: _Schedule

    def at(self, position: int, time_s: float) -> tuple[bool, bool]:
        """Return (detect, classify) for the next frame; `position` counts frames from 0."""
        detect = self._detection.at(position, time_s)
        # A detected frame is converted anyway, so classifying it is cheap.
        return detect, self._classification.at(position, time_s, forced=detect)


@dataclass(slots=True)
class FaceInFrame:
    """The face of a track in one frame, before it is classified.

    Attributes:
        track: whose face it is.
        box_xyxy: float32 [4], pixels.
        origin: DETECTED, BETWEEN or PREDICTED.
        detection: the nearest one; the frame's own where `origin` is DETECTED.
    """

    track: Track
    box_xyxy: NDArray[np.float32]
    origin: str
    detection: Detection


@dataclass(slots=True)
class FrameJob:
    """A frame on its way through the flow; each stage fills in its part.

    Attributes:
        frame: the frame.
        detect: whether the detector is to run on it.
        classify: whether its faces are to be classified.
        detections: what the detector found; None where it did not run.
        crops_nhw: uint8 [n, size, size], the grey crops of those detections.
        faces: the faces of the tracks in it.
        candidates_xyxy: see `FrameResult`.
    """

    frame: Frame
    detect: bool = False
    classify: bool = False
    detections: Faces | None = None
    crops_nhw: NDArray[np.uint8] | None = None
    faces: list[FaceInFrame] = field(default_factory=list)
    candidates_xyxy: tuple[NDArray[np.float32], ...] = ()
