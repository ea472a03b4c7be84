"""Decoded frames as they are displayed: pixels made square, the display matrix applied."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from fractions import Fraction
from math import hypot
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from mien.video.clock import DISCONTINUOUS, container_kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MAX_ASPECT = 10
"""A larger ratio of a pixel's width and height, either way, is taken for an error."""
MAX_MOOV = 16_000_000
"""Bytes of a 'moov' box that are searched for the stated aspect ratio."""
MIN_LIKENESS = 0.99985
"""Cosine of one degree: a matrix further from all eight orientations gives a warning."""


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight orientations of an image: transposed first, then mirrored.

    Attributes:
        transpose: rows become columns.
        left_right: mirrored left to right.
        upside_down: mirrored top to bottom.
    """

    transpose: bool = False
    left_right: bool = False
    upside_down: bool = False

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return pixels, uint8 [h, w, 3], in this orientation."""
        if self == UPRIGHT:
            return pixels
        if self.transpose:
            pixels = pixels.transpose(1, 0, 2)
        across, down = -1 if self.left_right else 1, -1 if self.upside_down else 1
        return np.ascontiguousarray(pixels[::down, ::across])


UPRIGHT = Orientation()


def orientation(matrix: bytes) -> tuple[Orientation, float]:
    """Return the orientation nearest to a display matrix, and how near: a cosine, -1 to 1.

    Args:
        matrix: nine int32, a b u c d v x y w, as FFmpeg keeps them: a point (x, y) is shown at
            (a x + c y, b x + d y), apart from the image's origin. A zoom does not matter.
    """
    # 16.16 fixed-point numbers in native byte order, as FFmpeg gives them; only ratios matter.
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
    length = hypot(a, b, c, d) * hypot(1, 1)
    if not length:
        return UPRIGHT, 0.0
    straight, crossed = abs(a) + abs(d), abs(b) + abs(c)
    if crossed > straight:
        return Orientation(True, c < 0, b < 0), crossed / length
    return Orientation(False, a < 0, d < 0), straight / length


class Display:
    """How the frames of a stream are displayed.

    Args:
        container: PyAV's.
        stream: of video.
        warn: called with one line for each property that cannot be applied.
        name: of the source, for these lines.
    """

    def __init__(self, container: Any, stream: Any, warn: Callable[[str], None], name: str) -> None:
        self._stream, self._warn, self._name = stream, warn, name
        # In these the aspect ratio is coded in the images, and may change during a broadcast.
        self._changes = container_kind(container) in DISCONTINUOUS
        self._seen: tuple[int, int, int] | None = None
        self._orientation = UPRIGHT
        self._warned: Fraction | None = None
        self._aspect_ratio = self._aspect()
        # FFmpeg gives 0 for files that state no ratio, which is common, and for those that state 0.
        if not stream.sample_aspect_ratio and (stated := stated_aspect(container)) is not None:
            self._refuse(*stated)

    def of(self, decoded: Any) -> tuple[int, int, Orientation]:
        """Return (width, height) with square pixels, before the orientation, and that."""
        width, height, rotation = decoded.width, decoded.height, decoded.rotation
        # A frame that was asked for its side data is freed late, by the garbage collector: only
        # those are asked that may be the first with another matrix.
        if (width, height, rotation) != self._seen:
            self._seen = width, height, rotation
            matrix = decoded.side_data.get("DISPLAYMATRIX")
            self._orientation = UPRIGHT if matrix is None else self._nearest(bytes(matrix))
        aspect = self._aspect() if self._changes else self._aspect_ratio
        if aspect != 1:
            width = max(round(width * aspect), 1)
        return width, height, self._orientation

    def _aspect(self) -> Fraction:
        aspect = self._stream.sample_aspect_ratio
        if self._changes:
            aspect = self._stream.codec_context.sample_aspect_ratio or aspect
        if not aspect or aspect == 1:
            return Fraction(1)  # 0 means unknown
        if not Fraction(1, MAX_ASPECT) <= aspect <= MAX_ASPECT:
            if aspect != self._warned:
                self._refuse(aspect.numerator, aspect.denominator)
            self._warned = aspect
            return Fraction(1)
        return Fraction(aspect)

    def _refuse(self, width: int, height: int) -> None:
        self._warn(
            f"{self._name}: its pixels' aspect ratio, {width}:{height}, cannot be right; it is "
            "taken as 1:1"
        )

    def _nearest(self, matrix: bytes) -> Orientation:
        found, likeness = orientation(matrix)
        if likeness < MIN_LIKENESS:
            self._warn(
                f"{self._name}: its display matrix is not a mirror or a quarter turn; the "
                "nearest of them is applied"
            )
        return found


def stated_aspect(container: Any) -> tuple[int, int] | None:
    """Return the (width, height) of a pixel that an MP4 or MOV file states; None without one.

    Only for files: the 'moov' box of a stream cannot be read twice.
    """
    path = Path(str(container.name).removeprefix("file:"))
    if container_kind(container) != "mov" or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            moov = _read_moov(file)
    except OSError:
        return None
    at = moov.find(b"pasp") + 4
    return struct.unpack(">II", moov[at : at + 8]) if 4 <= at <= len(moov) - 8 else None


def _read_moov(file: BinaryIO) -> bytes:
    """Return the first bytes of a file's 'moov' box; none where it has no such box."""
    while len(head := file.read(16)) >= 8:
        size, name = struct.unpack(">I4s", head[:8])
        if size == 1 and len(head) == 16:  # the size follows in 64 bits
            size = struct.unpack(">Q", head[8:])[0]
        if name == b"moov":
            return head + file.read(min(size, MAX_MOOV))
        if size < 8:  # 0: the box reaches to the end of the file
            break
        file.seek(size - len(head), os.SEEK_CUR)
    return b""


def displayed_size(container: Any, stream: Any) -> tuple[int, int]:
    """Return a stream's (width, height) with square pixels, before any turn."""
    display = Display(container, stream, lambda text: None, "")
    return max(round(stream.width * display._aspect()), 1), stream.height


def to_rgb(
    decoded: Any, width: int, height: int, orientation: Orientation = UPRIGHT
) -> NDArray[np.uint8]:
    """Return a decoded frame as uint8 [h, w, 3] RGB, scaled, then oriented."""
    if (width, height) == (decoded.width, decoded.height):
        pixels: NDArray[np.uint8] = decoded.to_ndarray(format="rgb24")
    else:
        pixels = decoded.to_ndarray(format="rgb24", width=width, height=height)
    return orientation.apply(pixels)
