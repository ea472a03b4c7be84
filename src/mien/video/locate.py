"""The files of videos whose rows exist already, and frames of them at the rows' times."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien.storage import storage_address
from mien.video.select import Selection
from mien.video.sources import list_sources
from mien.video.stream import is_stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

NEAR_S = 3.0
"""Frames less than this apart are decoded in one pass: a jump to a frame decodes about as much."""
SAME_S = 2e-4
"""Seconds by which the times of a frame may differ: rows have microseconds."""


@dataclass(frozen=True, slots=True)
class Located:
    """The file of a source.

    Attributes:
        path: None where there is none.
        note: why there is none, or what stands in its place; '' where all is as expected.
    """

    path: Path | None
    note: str = ""


def locate_video(name: str, folder: Path, videos: Path | None = None) -> Located:
    """Return the file of a source by its name in rows: the path as `mien video` was given it.

    It is looked for at that path, from the current folder and from those of the results and above,
    and under its file name in these two.

    Args:
        name: of the source.
        folder: of the rows.
        videos: folder to look into first, or None.
    """
    if name == "-" or name.startswith("camera:") or is_stream(name):
        return Located(None, f"{name}: a camera or stream is not stored")
    given, plain = Path(name), Path(name).name
    # At an address a path is no file's, but a copy may have its file name.
    is_address = storage_address(name) is not None
    places = [] if is_address else [given, folder / given, folder.parent / given]
    near = [*places, folder / plain, folder.parent / plain]
    if videos is not None:
        # An absolute path would lead out of the folder.
        inside = [] if is_address or given.is_absolute() else [videos / given]
        near = [*inside, videos / plain, *near]
    for place in near:
        if place.is_file():
            return Located(place.resolve())
    if is_address:
        return Located(None, f"{name} is at an address, and no copy is beside the results")
    return Located(None, f"{name} was not found")


def frames_at(path: Path, times_s: Sequence[float]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the frames of rows, near ones decoded in one pass.

    Args:
        path: of the video.
        times_s: of the frames, in seconds, in any order.

    Yields:
        The index into `times_s`, by time, and the pixels, uint8 [h, w, 3] RGB. Times at which the
        video has no frame, as in another video of the same name, are left out.

    Raises:
        SourceError: the file cannot be read.
    """
    order = sorted(range(len(times_s)), key=lambda place: times_s[place])
    for part in _parts(order, times_s):
        (source,) = list_sources([path], warn=lambda line: None)
        start_s, end_s = times_s[part[0]], times_s[part[-1]]
        waiting = iter(part)
        place: int | None = next(waiting)
        for frame in source.frames(Selection(max(start_s - SAME_S, 0.0), end_s + SAME_S)):
            while place is not None and times_s[place] <= frame.time_s + SAME_S:
                if abs(times_s[place] - frame.time_s) <= SAME_S:
                    yield place, frame.pixels
                place = next(waiting, None)


def _parts(order: list[int], times_s: Sequence[float]) -> Iterator[list[int]]:
    """Yield the frames in parts of the video that are decoded in one pass."""
    part: list[int] = []
    for place in order:
        if part and times_s[place] - times_s[part[-1]] > NEAR_S:
            yield part
            part = []
        part.append(place)
    if part:
        yield part
