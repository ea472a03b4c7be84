"""Which frames of a source are read: from, to, every n-th, at most so many a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mien.predict.video.frame import Frame


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

    def apply(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the chosen frames, and stop at the end without reading further."""
        slot = -1
        for frame in frames:
            if frame.time_s < self.start_s:
                continue
            if self.end_s is not None and frame.time_s >= self.end_s:
                return
            if frame.index % self.every:
                continue
            if self.fps is not None:
                # One frame a slot of 1/fps seconds; the small term forgives rounded timestamps.
                now = int((frame.time_s - self.start_s) * self.fps + 1e-6)
                if now <= slot:
                    continue
                slot = now
            yield frame
