"""The sampling interval of a source, and the duration that each frame counts for.

Frames come every 4 ms or every 10 s: by the video's own rate, or because only some are read.
Settings in seconds (when a track is lost, what a gap is, how fast the past fades) are therefore
never shorter than some sampling intervals. Both classes here take a median, so that one pause or
jump of the clock among regular frames changes nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

Item = TypeVar("Item")

GAP_S = 0.5
"""Maximum seconds that a frame counts for, and that a face may be missing within an episode; or
the sampling intervals of the next two constants, if those are longer."""
GAP_INTERVALS = 2.5
"""Maximum sampling intervals that a frame counts for: sampling picks among a video's own frames, so
that the step between two may be twice the usual one."""
UNSEEN_INTERVALS = 1.25
"""One missed sample does not end an episode."""
LOST_INTERVALS = 2.5
"""One missed sample does not end a track."""
_RECENT, _NEAR = 5, 4


class SamplingInterval:
    """The median of the last five steps between frames, in seconds; 0 before the second frame."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._steps: deque[float] = deque(maxlen=_RECENT)
        self.seconds = 0.0

    def add(self, time_s: float) -> float:
        """Add the moment of a frame; return the interval."""
        if self._last is not None:
            self._steps.append(time_s - self._last)
            self.seconds = _median(self._steps)
        self._last = time_s
        return self.seconds


def lost_after(lost_s: float, interval_s: float) -> float:
    """Return after how many seconds without a detection a track ends, at a sampling interval."""
    return max(lost_s, LOST_INTERVALS * interval_s)


@dataclass(frozen=True, slots=True)
class Standing(Generic[Item]):
    """A frame and the time that it counts for.

    Attributes:
        item: what was added with the frame.
        start_s: its own moment.
        end_s: the next frame's moment, or earlier where that is far away.
        interval_s: the sampling interval around it.
    """

    item: Item
    start_s: float
    end_s: float
    interval_s: float

    @property
    def gap_s(self) -> float:
        """A face that is back within so many seconds after `end_s` was not away."""
        return max(GAP_S, UNSEEN_INTERVALS * self.interval_s)

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.end_s - self.start_s


class Pace(Generic[Item]):
    """Gives each frame the time that it counts for, a few frames later.

    A frame counts until the next one, but no longer than GAP_S or GAP_INTERVALS usual steps, the
    median of the nine steps around. The last one counts until the source ends, or for one usual
    step.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, Item]] = deque()
        self._steps: deque[float] = deque()
        self._before = 0

    def add(self, time_s: float, item: Item) -> Iterator[Standing[Item]]:
        """Add a frame, whose time must not go back; yield the frames that are decided by it."""
        if self._waiting:
            self._steps.append(max(time_s - self._waiting[-1][0], 0.0))
        self._waiting.append((time_s, item))
        while len(self._steps) - self._before > _NEAR:
            yield self._decide()

    def finish(self, end_s: float | None = None) -> Iterator[Standing[Item]]:
        """Yield the rest; `end_s` is where the source ends, None where that is not known."""
        usual = _median(self._steps)
        while len(self._waiting) > 1:
            yield self._decide()
        while self._waiting:
            time_s, item = self._waiting.popleft()
            if end_s is None:
                end_s = time_s + usual
            if usual:  # without it, a single frame counts for the whole source
                end_s = min(end_s, time_s + _limit(usual))
            yield Standing(item, time_s, max(end_s, time_s), usual)

    def _decide(self) -> Standing[Item]:
        time_s, item = self._waiting.popleft()
        usual = _median(self._steps)
        step = min(self._steps[self._before], _limit(usual))
        if self._before < _NEAR:
            self._before += 1
        else:
            self._steps.popleft()
        return Standing(item, time_s, time_s + step, usual)


def _limit(usual_s: float) -> float:
    return max(GAP_S, GAP_INTERVALS * usual_s)


def _median(steps: deque[float]) -> float:
    # The lower of two middle ones: a step of the video itself, not a mean of two that never occurs.
    return sorted(steps)[(len(steps) - 1) // 2] if steps else 0.0
