"""Which frames of a source are read: from, to, every n-th, at most so many a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien.errors import ConfigError, SourceError
from mien.video.pace import SamplingInterval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mien.video.frame import Frame


TICK_S = 2e-6
"""Between two frames at least: rows have times to a microsecond."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Part of a source.

    Attributes:
        start_s: first moment, in seconds of the player's clock.
        end_s: frames at or after it are left out; None reads to the end.
        every: 1 reads all frames, n each n-th.
        fps: at most so many frames a second, chosen by their timestamps; None reads all.
    """

    start_s: float = 0.0
    end_s: float | None = None
    every: int = 1
    fps: float | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"--every must be at least 1, got {self.every}", hint="1 reads all")
        if self.fps is not None and not self.fps > 0:
            raise ConfigError(f"--fps must be above 0, got {self.fps}", hint="for example 10")
        if not self.start_s >= 0:
            raise ConfigError(f"--start must not be negative, got {self.start_s}", hint="seconds")
        if self.end_s is not None and not self.end_s > self.start_s:
            raise ConfigError(
                f"--end {self.end_s:g} does not come after --start {self.start_s:g}",
                hint="both are seconds of the player's clock",
            )

    def apply(self, frames: Iterable[Frame], *, live: bool = False) -> Iterator[Frame]:
        """Yield the chosen frames, and stop at the end without reading further.

        Their times rise strictly, whatever the source says. Each frame waits for the next chosen
        one, which says until when it stands (`Frame.until_s`).

        Args:
            frames: of a source, in order.
            live: yield each at once, without `until_s`.

        Raises:
            SourceError: as `frames` does, after the last frame.
        """
        chosen: Frame | None = None
        end = _End(self.end_s)
        broken: SourceError | None = None
        try:
            for frame in self._choose(end.watch(frames)):
                if live:
                    yield frame
                    continue
                if chosen is not None:
                    chosen.until_s = frame.time_s
                    yield chosen
                chosen = frame
        except SourceError as error:
            broken = error
        if chosen is not None:
            chosen.until_s = end.time_s
            yield chosen
        if broken is not None:
            raise broken

    def _choose(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        slot = -1
        for frame in frames:
            if frame.time_s < self.start_s or frame.index % self.every:
                continue
            if self.fps is not None:
                # One frame a slot of 1/fps seconds; the small term forgives rounded timestamps.
                now = int((frame.time_s - self.start_s) * self.fps + 1e-6)
                if now <= slot:
                    continue
                slot = now
            yield frame


class _End:
    """Watches all frames of a source pass, chosen or not: where does it end?

    Attributes:
        time_s: so far; None before a second frame says how long one lasts.
    """

    def __init__(self, end_s: float | None) -> None:
        self._end_s = end_s
        self.time_s: float | None = None

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames before the end, at times that rise."""
        interval, last = SamplingInterval(), float("-inf")
        for frame in frames:
            frame.time_s = last = max(frame.time_s, last + TICK_S)
            if self._end_s is not None and last >= self._end_s:
                self.time_s = self._end_s
                return
            step = interval.add(last)
            if step:
                self.time_s = last + step
            yield frame
