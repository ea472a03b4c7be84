"""Which frames of a source are read: from, to, every n-th, at most so many a second."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mien.errors import ConfigError, SourceError
from mien.video.pace import SamplingInterval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mien.video.frame import Frame


TICK_S = 2e-6
"""Minimum seconds between two frames: rows have times to a microsecond."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Part of a source.

    Attributes:
        start_s: first moment, in seconds of the player's clock, 0 or more.
        end_s: frames at or after it are left out; None reads to the end.
        every: 1 reads all frames, n each n-th.
        fps: maximum frames a second, chosen by their timestamps; None reads all.
        looks_at: whether pixels are needed, of a frame's number among the selected ones and its
            time in seconds, asked once for each in order. Others may be `Frame.skipped`. None needs
            those of all frames.
    """

    start_s: float = 0.0
    end_s: float | None = None
    every: int = 1
    fps: float | None = None
    looks_at: Callable[[int, float], bool] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(
                f"every: {self.every} is out of range, 1 or more", hint="1 reads all frames"
            )
        if self.fps is not None and not self.fps > 0:
            raise ConfigError(f"fps: {self.fps} is out of range, above 0", hint="for example 10")
        if not self.start_s >= 0:
            raise ConfigError(
                f"start_s: {self.start_s} is out of range, 0 or more", hint="give seconds"
            )
        if self.end_s is not None and not self.end_s > self.start_s:
            raise ConfigError(
                f"end_s: {self.end_s:g} does not come after start_s, {self.start_s:g}",
                hint="both are seconds of the player's clock",
            )

    def apply(self, frames: Iterable[Frame], *, live: bool = False) -> Iterator[Frame]:
        """Yield the selected frames, and stop at the end without reading further.

        Their times rise strictly, whatever the source says. Each frame waits for the next selected
        one, whose time is its `Frame.until_s`.

        Args:
            frames: of a source, in order.
            live: yield each at once, without `until_s`.

        Raises:
            SourceError: as `frames` does, after the last frame.
        """
        pending: Frame | None = None
        end = _EndTracker(self.end_s)
        broken: SourceError | None = None
        try:
            for frame in self._choose(end.pass_through(frames)):
                if live:
                    yield frame
                    continue
                if pending is not None:
                    yield replace(pending, until_s=frame.time_s)
                pending = frame
        except SourceError as error:
            broken = error
        if pending is not None:
            yield replace(pending, until_s=end.time_s)
        if broken is not None:
            raise broken

    def _choose(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        last_slot = -1
        for frame in frames:
            if frame.time_s < self.start_s or frame.index % self.every:
                continue
            if self.fps is not None:
                # One frame per slot of 1/fps seconds; the small term forgives rounded timestamps.
                slot = int((frame.time_s - self.start_s) * self.fps + 1e-6)
                if slot <= last_slot:
                    continue
                last_slot = slot
            yield frame


class _EndTracker:
    """Sees all frames of a source, selected or not, and works out where the source ends.

    Attributes:
        time_s: the end as far as known; None before a second frame tells how long one lasts.
    """

    def __init__(self, end_s: float | None) -> None:
        self._end_s = end_s
        self.time_s: float | None = None

    def pass_through(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames before the end, with times that rise strictly."""
        interval, last = SamplingInterval(), float("-inf")
        for frame in frames:
            # Times in rows identify frames, so two must never be equal.
            last = max(frame.time_s, last + TICK_S)
            if self._end_s is not None and last >= self._end_s:
                self.time_s = self._end_s
                return
            step = interval.add(last)
            if step:
                self.time_s = last + step
            yield frame if last == frame.time_s else replace(frame, time_s=last)
