"""The sampling interval of a source, and for how long each of its frames stands.

Frames come every 4 ms or every 10 s: by the video's own rate, or because only some are read. What
is said in seconds (for how long somebody may be unseen, what a gap is, how fast the past fades)
is therefore never shorter than some sampling intervals. Both classes here take a median, so that
one pause or jump of the clock among regular frames changes nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

Item = TypeVar("Item")

GAP_S = 0.5
"""A frame stands for at most this long, and a person may be unseen for this long within an
episode; or for as many sampling intervals as the next two say, if that is longer."""
GAP_INTERVALS = 2.5
"""A frame stands for at most so many: sampling picks among a video's own frames, so that the
step between two may be twice the usual one."""
UNSEEN_INTERVALS = 1.25
"""One missed sample does not end an episode."""
LOST_INTERVALS = 2.5
"""One missed sample does not lose a person."""
_RECENT, _NEAR = 5, 4


class SamplingInterval:
    """The median of the last five steps, in seconds; 0 before the second moment."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._steps: deque[float] = deque(maxlen=_RECENT)
        self.seconds = 0.0

    def add(self, time_s: float) -> float:
        """Take a moment in; return the interval."""
        if self._last is not None:
            self._steps.append(time_s - self._last)
            self.seconds = _median(self._steps)
        self._last = time_s
        return self.seconds


def lost_after(lost_s: float, interval_s: float) -> float:
    """Return after how many seconds unseen a person is lost, at a sampling interval."""
    return max(lost_s, LOST_INTERVALS * interval_s)


@dataclass(frozen=True, slots=True)
class Standing(Generic[Item]):
    """A frame, and the time that it stands for.

    Attributes:
        item: what was handed in with it.
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
        """Whoever is seen again within so many seconds after `end_s` was not away."""
        return max(GAP_S, UNSEEN_INTERVALS * self.interval_s)

    @property
    def seconds(self) -> float:
        """For how long it stands."""
        return self.end_s - self.start_s


class Pace(Generic[Item]):
    """Says of each frame for how long it stands, a few frames later.

    A frame stands until the next one, for GAP_S or GAP_INTERVALS usual steps at most: the median
    of the nine steps around. The last one stands until the source ends, or for one usual step.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, Item]] = deque()
        self._steps: deque[float] = deque()
        self._before = 0

    def add(self, time_s: float, item: Item) -> Iterator[Standing[Item]]:
        """Take a frame in, whose time must not go back; yield those that are decided now."""
        if self._waiting:
            self._steps.append(max(time_s - self._waiting[-1][0], 0.0))
        self._waiting.append((time_s, item))
        while len(self._steps) - self._before > _NEAR:
            yield self._decide()

    def finish(self, end_s: float | None = None) -> Iterator[Standing[Item]]:
        """Yield the rest; `end_s` is where the source ends, None where nobody knows."""
        usual = _median(self._steps)
        while len(self._waiting) > 1:
            yield self._decide()
        while self._waiting:
            time_s, item = self._waiting.popleft()
            if end_s is None:
                end_s = time_s + usual
            if usual:  # a single frame may stand for a whole source
                end_s = min(end_s, time_s + _most(usual))
            yield Standing(item, time_s, max(end_s, time_s), usual)

    def _decide(self) -> Standing[Item]:
        time_s, item = self._waiting.popleft()
        usual = _median(self._steps)
        step = min(self._steps[self._before], _most(usual))
        if self._before < _NEAR:
            self._before += 1
        else:
            self._steps.popleft()
        return Standing(item, time_s, time_s + step, usual)


def _most(usual_s: float) -> float:
    return max(GAP_S, GAP_INTERVALS * usual_s)


def _median(steps: deque[float]) -> float:
    return sorted(steps)[(len(steps) - 1) // 2] if steps else 0.0
