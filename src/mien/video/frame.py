"""One frame of a source, whose pixels are made only when somebody asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from mien.types import FrameReading


class Frame:
    """A moment of a source.

    Args:
        source: its name in results.
        index: number of the frame in the source, from 0.
        time_s: seconds on the player's clock.
        size: (width, height) as displayed, in pixels.
        make: returns the pixels, uint8 [h, w, 3] RGB, as displayed.
        pts: timestamp in the container's time base.
    """

    __slots__ = (
        "_make", "_pixels", "index", "perhaps_xyxy", "pts", "size", "source", "time_s", "until_s",
    )  # fmt: skip

    def __init__(
        self,
        source: str,
        index: int,
        time_s: float,
        size: tuple[int, int],
        make: Callable[[], NDArray[np.uint8]],
        pts: int | None = None,
    ) -> None:
        self.source, self.index, self.time_s, self.size = source, index, time_s, size
        self.pts = pts
        self.until_s: float | None = None
        """When the next selected frame comes, or the source ends; None where nobody knows yet."""
        self.perhaps_xyxy: list[NDArray[np.float32]] = []
        """Where a face is, or may be: more than is read, for whoever hides faces."""
        self._make: Callable[[], NDArray[np.uint8]] | None = make
        self._pixels: NDArray[np.uint8] | None = None

    @classmethod
    def bare(cls, reading: FrameReading) -> Frame:
        """Return the frame of a reading whose pixels are gone."""

        def none() -> NDArray[np.uint8]:
            raise RuntimeError("the pixels of a past frame are gone")

        size = (reading.width, reading.height)
        return cls(reading.source, reading.frame, reading.time_s, size, none, reading.pts)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The pixels, uint8 [h, w, 3] RGB; converted once."""
        if self._pixels is None:
            assert self._make is not None  # noqa: S101  (one of the two is always there)
            self._pixels, self._make = self._make(), None
        return self._pixels
