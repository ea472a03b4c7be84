"""One frame of a source, immutable; its pixels are converted when they are first asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from mien.types import FrameReading


class LazyPixels:
    """Pixels that are made on first use and kept: frames that nobody looks at cost nothing.

    Args:
        make: returns the pixels, uint8 [h, w, 3] RGB; called once at most.
    """

    __slots__ = ("_make", "_pixels")

    def __init__(self, make: Callable[[], NDArray[np.uint8]]) -> None:
        self._make: Callable[[], NDArray[np.uint8]] | None = make
        self._pixels: NDArray[np.uint8] | None = None

    def get(self) -> NDArray[np.uint8]:
        """Return the pixels, uint8 [h, w, 3] RGB."""
        if self._pixels is None:
            assert self._make is not None  # noqa: S101  (one of the two is always there)
            # `make` holds the decoder's own frame: dropped, or both copies would stay in memory.
            self._pixels, self._make = self._make(), None
        return self._pixels


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a source. `dataclasses.replace` copies it; the copies share their pixels.

    Attributes:
        source: its name in results.
        index: number of the frame in the source, from 0.
        time_s: seconds on the player's clock.
        size: (width, height) as displayed, in pixels.
        lazy_pixels: makes the pixels as displayed.
        pts: timestamp in the container's time base; None where there is no container.
        decoded: whether there are pixels; False where the decoder skipped a frame that nobody looks
            at, as `Selection.looks_at` allows.
        until_s: time of the next selected frame, or the end of the source, in seconds; None
            where that is not known yet.
    """

    source: str
    index: int
    time_s: float
    size: tuple[int, int]
    lazy_pixels: LazyPixels = field(repr=False, compare=False)
    pts: int | None = None
    until_s: float | None = None
    decoded: bool = True

    @classmethod
    def of(
        cls,
        source: str,
        index: int,
        time_s: float,
        pixels_hwc: NDArray[np.uint8],
        pts: int | None = None,
    ) -> Frame:
        """Return a frame whose pixels, uint8 [h, w, 3] RGB, are in memory already."""
        size = (pixels_hwc.shape[1], pixels_hwc.shape[0])
        return cls(source, index, time_s, size, LazyPixels(lambda: pixels_hwc), pts)

    @classmethod
    def without_pixels(cls, reading: FrameReading) -> Frame:
        """Return the frame of a reading from an earlier run; asking for its pixels is an error."""

        def fail() -> NDArray[np.uint8]:
            raise RuntimeError(f"frame {reading.frame} of {reading.source} has no pixels any more")

        size = (reading.width, reading.height)
        lazy = LazyPixels(fail)
        return cls(reading.source, reading.frame, reading.time_s, size, lazy, reading.pts)

    @classmethod
    def skipped(
        cls, source: str, index: int, time_s: float, size: tuple[int, int], pts: int | None
    ) -> Frame:
        """Return a frame that was not decoded; asking for its pixels is an error."""

        def fail() -> NDArray[np.uint8]:
            raise RuntimeError(f"frame {index} of {source} was not decoded")

        return cls(source, index, time_s, size, LazyPixels(fail), pts, decoded=False)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The pixels, uint8 [h, w, 3] RGB; converted once."""
        return self.lazy_pixels.get()


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What the pipeline gives for a frame.

    Attributes:
        frame: the frame.
        reading: its tracked faces.
        candidates_xyxy: float32 [4] boxes, pixels, of every place where a face is or may be:
            weak detections and tracks without a detection too. Only frames that the detector
            ran on have them. Anonymization covers them all.
    """

    frame: Frame
    reading: FrameReading
    candidates_xyxy: tuple[NDArray[np.float32], ...] = ()
