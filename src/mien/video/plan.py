"""What passes between following and reading: settings, and faces placed in frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mien.errors import ConfigError
from mien.video.pace import lost_after
from mien.video.quality import QualityGate
from mien.video.smooth import FADE_INTERVALS, TIME_CONSTANT_S, make_smoother

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mien.types import Faces
    from mien.video.frame import Frame
    from mien.video.track import Detection, Track

DETECT_S, READ_S = 0.2, 1 / 15
"""Seconds from one detection, and from one reading, to the next."""
DETECTED, BETWEEN, PREDICTED = "detected", "between", "predicted"


@dataclass(frozen=True, slots=True)
class Settings:
    """How people are followed and read.

    Attributes:
        detect_every: frames from one detection to the next; None goes by time, 0.2 s.
        read_every: frames from one reading of the expressions to the next; None goes by time,
            15 a second. Detected frames are always read.
        live: answer for each frame at once, rather than when the next detection is known.
        smooth: 'exponential', 'one-euro' or 'none'.
        smooth_s: time constant of exponential smoothing.
        lost_s: a person unseen for longer is new when they come back; where frames are rare, for
            longer than two and a half sampling intervals.
        min_confidence: below it a face is 'unsure'; None takes the model's own.
        gate: which faces are fit to be read.
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
        make_smoother(self.smooth, self.smooth_s)  # complains now, not at the first face
        for name in ("detect_every", "read_every"):
            if (getattr(self, name) or 1) < 1:
                option = "--" + name.replace("_", "-")
                raise ConfigError(f"{option} must be at least 1", hint="1 takes every frame")

    def detect_interval_s(self, interval_s: float) -> float:
        """Return the least seconds between detections, at a sampling interval in seconds."""
        return interval_s * (self.detect_every or 1)

    def memory_s(self, interval_s: float) -> float:
        """Return after how many seconds nothing of the past shows in a reading, to four digits.

        Args:
            interval_s: the sampling interval.
        """
        step = self.detect_interval_s(interval_s)
        smooth = max(self.smooth_s, FADE_INTERVALS * step)
        return 2 * lost_after(self.lost_s, step) + 12 * smooth + max(1.2, 6 * step)

    def planner(self) -> Planner:
        """Return what tells for each frame of one source what is done with it."""
        return Planner(_Due(self.detect_every, DETECT_S), _Due(self.read_every, READ_S))

    def plan(self, frames: Iterable[Frame], position: int = 0) -> Iterator[FrameJob]:
        """Yield the frames with what is to be done with them; make the pixels that it needs.

        Frames alone decide, by their order and timestamps: the same frames give the same plan.

        Args:
            frames: of one source, in order.
            position: of the first one, where reading goes on inside; the detector runs on it.
        """
        planner = self.planner()
        for number, frame in enumerate(frames, start=position):
            now = FrameJob(frame, *planner.at(number, frame.time_s))
            if now.detect or now.read:
                frame.pixels  # noqa: B018  (converts them, in the thread that reads ahead)
            yield now


class _Due:
    def __init__(self, every: int | None, seconds: float) -> None:
        self._every, self._seconds, self._last = every, seconds, float("-inf")

    def at(self, position: int, time_s: float, wanted: bool = False) -> bool:
        if self._every is not None:
            return wanted or position % self._every == 0
        # A millisecond forgives timestamps that a container rounded.
        due = wanted or time_s - self._last >= self._seconds - 1e-3
        if due:
            self._last = time_s
        return due


@dataclass(frozen=True, slots=True)
class Planner:
    """Tells on which frames the detector runs, and which are read."""

    _detected: _Due
    _read: _Due

    def at(self, position: int, time_s: float) -> tuple[bool, bool]:
        """Return (detect, read) for the next frame; `position` counts frames from 0."""
        detect = self._detected.at(position, time_s)
        return detect, self._read.at(position, time_s, wanted=detect)


@dataclass(slots=True)
class FaceInFrame:
    """A person's face in a frame, before it is read."""

    person: Track
    box_xyxy: NDArray[np.float32]
    origin: str
    sighting: Detection
    """The nearest detection; the frame's own where `origin` says so."""


@dataclass(slots=True)
class FrameJob:
    """A frame whose faces' places are being worked out.

    Attributes:
        frame: the frame.
        detect: whether the detector is to run on it.
        read: whether its expressions are to be read.
        faces: what the detector found; None where it did not run.
        crops_nhw: uint8 [n, size, size], the grey crops of those faces.
        spots: the people in it.
    """

    frame: Frame
    detect: bool = False
    read: bool = False
    faces: Faces | None = None
    crops_nhw: NDArray[np.uint8] | None = None
    spots: list[FaceInFrame] = field(default_factory=list)
