"""Previews of a video for scrubbing: sheets of its key frames, made when the page asks for them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image

from mien.video.key_frames import key_frames

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 320
"""Longer side of a preview, in pixels."""
COLUMNS = 5
SHEET = COLUMNS * COLUMNS
"""Previews on one sheet."""
MAX_SHEETS = 8
"""200 previews, as many as a screen's timeline has steps of some pixels: about 2 MB of JPEG."""
MIN_STEP_S = 1.0
"""Seconds between two previews at least: within them the browser's own seeking is quick."""
QUALITY = 75


@dataclass(frozen=True, slots=True)
class Sheet:
    """Some previews of a video, spread over all of it; row by row in one image.

    Attributes:
        jpeg: the image.
        times_s: of the previews' key frames, in seconds.
        size: (width, height) of a preview, in pixels.
        sheets: number of sheets of this video.
    """

    jpeg: bytes
    times_s: tuple[float, ...]
    size: tuple[int, int]
    sheets: int


def sheet_times(end_s: float, number: int) -> tuple[list[float], int]:
    """Return the moments of a sheet's previews, and how many sheets there are.

    Each sheet is spread over the whole video, so that the first one serves everywhere.

    Args:
        end_s: of the video.
        number: of the sheet, from 0.
    """
    count = min(max(int(end_s / MIN_STEP_S), 1), MAX_SHEETS * SHEET)
    sheets = -(-count // SHEET)
    places = range(number, count, sheets) if 0 <= number < sheets else ()
    return [(place + 0.5) * end_s / count for place in places], sheets


@lru_cache(maxsize=4 * MAX_SHEETS)
def make_sheet(path: Path, end_s: float, number: int) -> Sheet | None:
    """Return a sheet; None where there is none of this number, or no key frame can be sought.

    Args:
        path: of the video.
        end_s: of the video, in seconds.
        number: of the sheet, from 0.

    Raises:
        SourceError: the video cannot be read.
    """
    wanted, sheets = sheet_times(end_s, number)
    times: list[float] = []
    images: list[Image.Image] = []
    for time_s, pixels in key_frames(path, wanted, SIDE):
        # Of several moments behind one key frame the image is the same.
        if not times or time_s > times[-1]:
            times.append(round(time_s, 3))
            images.append(Image.fromarray(pixels))
    if not images:
        return None
    width, height = images[0].size
    rows = -(-len(images) // COLUMNS)
    whole = Image.new("RGB", (COLUMNS * width, rows * height))
    for place, image in enumerate(images):
        fitting = image if image.size == (width, height) else image.resize((width, height))
        whole.paste(fitting, (place % COLUMNS * width, place // COLUMNS * height))
    stream = io.BytesIO()
    whole.save(stream, "JPEG", quality=QUALITY)
    return Sheet(stream.getvalue(), tuple(times), (width, height), sheets)
