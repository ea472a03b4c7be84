"""The videos behind the rows: where their files are, single frames, and crops of faces.

Nothing is stored: JPEGs are kept in memory, up to a number, and are gone with the process.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mien.errors import SourceError
from mien.imaging.crop import Framing, crop_faces, squares
from mien.video.locate import Located, frames_at, locate_video
from mien.video.select import Selection
from mien.video.sources import list_sources
from mien.viewer.results import ROUNDING_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.viewer.results import SourceRows

STRIP_FACES = 6
"""Faces of a contact strip."""
FACE_SIDE = 112
"""Pixels of a face on it; twice of what the page shows, for dense screens."""
FACE_FRAMING = Framing(scale=1.35)
"""Wider than a model's crop, so that people recognise who it is."""
FRAME_SIDE = 960
"""Longer side of a single frame that is sent in place of a video."""
QUALITY = 82
MAX_KEPT = 512
"""JPEGs kept in memory, about 3 MB of faces."""


def find_video(rows: SourceRows, folder: Path, videos: Path | None = None) -> Located:
    """Return the file of a source, or else its annotated copy beside the rows.

    Args:
        rows: of the source.
        folder: of the results.
        videos: folder to look into first, or None.
    """
    found = locate_video(rows.name, folder, videos)
    if found.path is not None:
        return found
    stem = rows.file.name[: -len(rows.file.suffix)]
    copy = rows.file.with_name(f"{stem}.annotated.mp4")
    if copy.is_file():
        return Located(copy, f"{found.note}; this is its annotated copy")
    return Located(None, f"{found.note}: the timeline is shown without a video")


def frame_at(path: Path, time_s: float) -> NDArray[np.uint8]:
    """Return the frame that is shown at a moment, uint8 [h, w, 3] RGB.

    Raises:
        SourceError: the file cannot be read, or has no frame there.
    """
    # From a little before: the last frame before the moment is the one that is shown.
    start_s = max(time_s - 0.5, 0.0)
    source = next(iter(list_sources([path], warn=lambda line: None)))
    shown = None
    for frame in source.read(Selection(start_s=start_s)):
        if shown is not None and frame.time_s > time_s + ROUNDING_S:
            break
        shown = frame
        if frame.time_s >= time_s - ROUNDING_S:
            break
    if shown is None:
        raise SourceError(f"{path} has no frame at {time_s:g} s", hint="is the video complete?")
    return shown.pixels


def strip_rows(
    rows: SourceRows, chosen_m: NDArray[np.int64], count: int = STRIP_FACES
) -> NDArray[np.int64]:
    """Return the rows of a contact strip: of each part of a lane's time, the best detection.

    Args:
        rows: of the source.
        chosen_m: int64 [m], rows of the lane, by time.
        count: maximum number of faces.
    """
    read = chosen_m[rows.code_n[chosen_m] <= len(rows.labels)]
    chosen = read if len(read) else chosen_m
    parts = [part for part in np.array_split(chosen, count) if len(part)]
    return np.array([part[rows.score_n[part].argmax()] for part in parts], np.int64)


class Images:
    """Makes JPEGs of frames and faces, and keeps those made last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._lock = Lock()

    def face(self, path: Path, rows: SourceRows, row: int) -> bytes:
        """Return a face as JPEG, FACE_SIDE pixels square.

        Raises:
            SourceError: the video cannot be read.
        """

        def make() -> Image.Image:
            pixels = frame_at(path, float(rows.time_n[row]))
            box = squares(rows.box_n4[row][None], FACE_FRAMING)[0]
            return _square(pixels, box)

        return self._get((path, row), make)

    def frame(self, path: Path, time_s: float) -> bytes:
        """Return the frame at a moment as JPEG, its longer side FRAME_SIDE pixels at most.

        Raises:
            SourceError: the video cannot be read.
        """

        def make() -> Image.Image:
            image = Image.fromarray(frame_at(path, time_s))
            image.thumbnail((FRAME_SIDE, FRAME_SIDE), Image.Resampling.BILINEAR)
            return image

        return self._get((path, "frame", round(time_s, 3)), make)

    def _get(self, key: tuple[object, ...], make: Callable[[], Image.Image]) -> bytes:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        stream = io.BytesIO()
        make().save(stream, "JPEG", quality=QUALITY)
        with self._lock:
            self._kept[key] = stream.getvalue()
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return stream.getvalue()


def _square(pixels_hwc: NDArray[np.uint8], box_4: NDArray[np.float32]) -> Image.Image:
    """Return a square of an image, moved inwards at the edges, at FACE_SIDE pixels."""
    height, width = pixels_hwc.shape[:2]
    x0, y0, x1, _ = (float(value) for value in box_4)
    side = min(x1 - x0, width, height)
    left, top = min(max(x0, 0), width - side), min(max(y0, 0), height - side)
    box = (left, top, left + side, top + side)
    size = (FACE_SIDE, FACE_SIDE)
    return Image.fromarray(pixels_hwc).resize(size, Image.Resampling.BILINEAR, box=box)


def crops_at(
    path: Path, rows: SourceRows, chosen: Sequence[int], framing: Framing, size: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the crop of each row as a model sees it, by time; near frames are decoded together.

    Args:
        path: of the video.
        rows: of the source.
        chosen: rows.
        framing: of the detector.
        size: height and width in pixels.

    Yields:
        The row, and its crop, uint8 [size, size], grey. Rows whose frame the video lacks are left
        out.

    Raises:
        SourceError: the video cannot be read.
    """
    for place, pixels in frames_at(path, [float(rows.time_n[row]) for row in chosen]):
        row = chosen[place]
        yield row, crop_faces(pixels, rows.box_n4[row][None], framing, size)[0]
