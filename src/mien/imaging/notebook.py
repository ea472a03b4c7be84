"""Readings as images: drawn, shown, saved, and as HTML for notebooks."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from mien.errors import MienError, SourceError
from mien.imaging.codec import write_image
from mien.imaging.draw import COLOURS, OTHER, annotate
from mien.imaging.load import image_input
from mien.intervals import percent
from mien.report.page import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mien.imaging.codec import Decoded
    from mien.imaging.draw import DrawableFace

SIDE, SMALL_SIDE = 480, 160
"""Longer side of thumbnails in notebooks, in pixels: of one reading, and of each of several."""
MAX_IMAGES, MAX_FACES = 12, 20
"""Readings, and faces of one, that a notebook shows; the rest is counted."""


class Pixels(Protocol):
    """Where the pixels of a reading come from, such as mien.imaging.load.ImageInput."""

    def load(self) -> Decoded | None:
        """Return the pixels, or None if they were freed."""
        ...


class DrawableReading(Protocol):
    """An image with its faces, such as mien.types.ImageReading."""

    @property
    def source(self) -> str:
        """The path as given, or what kind of image was given."""
        ...

    @property
    def width(self) -> int:
        """Of the image as displayed, in pixels."""
        ...

    @property
    def height(self) -> int:
        """Of the image as displayed, in pixels."""
        ...

    @property
    def faces(self) -> Sequence[DrawableFace]:
        """From left to right."""
        ...

    @property
    def error(self) -> str | None:
        """Why the image could not be read, else None."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What is odd about the image."""
        ...

    @property
    def origin(self) -> Pixels | None:
        """Where the pixels are; None where they are not kept."""
        ...


def draw_reading(
    reading: DrawableReading, image: object = None, channels: str = "rgb"
) -> NDArray[np.uint8]:
    """Return the image of a reading, uint8 [h, w, 3] RGB, with its faces drawn on it.

    Args:
        reading: the faces to draw.
        image: the same image, in any form that `Reader.read` takes; None reads the file again, or
            uses the image that was passed to `Reader.read` while it is in memory.
        channels: channel order of `image`, 'rgb' or 'bgr'.

    Raises:
        SourceError: the image cannot be read, was freed, or has another size.
    """
    input_ = reading.origin if image is None else image_input(image, channels)
    decoded = None if input_ is None else input_.load()
    if decoded is None:
        raise SourceError(
            f"the image {reading.source!r} is not kept in memory",
            hint="pass it again: annotate(image), show(image), save(path, image)",
        )
    pixels = decoded.pixels
    height, width = pixels.shape[:2]
    # The boxes of another image would be drawn at wrong places without any error.
    if (width, height) != (reading.width, reading.height):
        raise SourceError(
            f"the image is {width} x {height} pixels; {reading.source!r} was "
            f"{reading.width} x {reading.height} when it was read",
            hint="pass the image that was read",
        )
    return annotate(pixels, reading.faces)


def save_reading(
    reading: DrawableReading, path: str | Path, image: object = None, channels: str = "rgb"
) -> Path:
    """Write the drawn image as JPEG, PNG or WebP, by the suffix; return the path.

    Raises:
        SourceError: see `draw_reading`.
        ConfigError: another suffix.
    """
    write_image(Path(path), draw_reading(reading, image, channels))
    return Path(path)


def show_image(pixels_hwc: NDArray[np.uint8], title: str) -> None:
    """Show pixels in the notebook that this runs in, else in the system's viewer.

    Raises:
        SourceError: there is no notebook, no screen or no viewer.
    """
    image = Image.fromarray(pixels_hwc)
    # From sys.modules and not by import: who runs in a notebook has loaded it already.
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    # IPython in a terminal has a shell without a kernel, and cannot show images.
    if shell is not None and hasattr(shell, "kernel"):
        sys.modules["IPython"].display.display(image)
        return
    from PIL import ImageShow

    # Without a screen Pillow's viewers fail in the background, without an error.
    screen = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if not screen or not ImageShow.show(image, title):
        raise SourceError(
            "there is no screen or no viewer to show an image with",
            hint="save(path) writes it to a file",
        )


def jpeg_bytes(pixels_hwc: NDArray[np.uint8], side: int, quality: int = 80) -> bytes:
    """Return pixels as a JPEG whose longer side is at most `side`."""
    image = Image.fromarray(pixels_hwc)
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def reading_html(reading: DrawableReading, side: int = SIDE) -> str:
    """Return a table of the faces beside a thumbnail with their boxes; all text is escaped."""
    return render("notebook.html", readings=[_shown(reading, side)], more=0)


def readings_html(readings: Sequence[DrawableReading]) -> str:
    """Return the first readings as HTML, and how many more there are."""
    shown = [_shown(one, SMALL_SIDE) for one in readings[:MAX_IMAGES]]
    return render("notebook.html", readings=shown, more=max(0, len(readings) - MAX_IMAGES))


def _shown(reading: DrawableReading, side: int) -> dict[str, object]:
    size = f"{reading.width} x {reading.height}"
    more = len(reading.faces) - MAX_FACES
    lines = [f"and {more} more faces"] if more > 0 else []
    lines += [reading.error] if reading.error else [] if reading.faces else ["no face"]
    return {
        "source": reading.source,
        "about": f"{reading.source}, {size}" if reading.error is None else reading.source,
        "jpeg": _thumbnail(reading, side),
        "rows": [_row(number, face) for number, face in enumerate(reading.faces[:MAX_FACES])],
        "lines": [*lines, *reading.notes],
    }


def _row(number: int, face: DrawableFace) -> dict[str, object]:
    return {
        "number": number,
        "colour": "#{:02x}{:02x}{:02x}".format(*COLOURS.get(face.label, OTHER)),
        "label": f"{face.label} {percent(face.confidence)}",
        "probabilities": ", ".join(
            f"{name} {percent(p)}" for name, p in face.probabilities.items()
        ),
        "box": " ".join(f"{v:.0f}" for v in face.box),
    }


def _thumbnail(reading: DrawableReading, side: int) -> bytes | None:
    if reading.error is not None:
        return None
    try:
        return jpeg_bytes(draw_reading(reading), side)
    except MienError:  # the file is gone; the table is still worth showing
        return None
