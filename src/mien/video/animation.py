"""Animated images as videos. FFmpeg reads GIF and APNG; Pillow reads WebP and AVIF here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mien.errors import SourceError
from mien.imaging.codec import MAX_PIXELS
from mien.video.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

DEFAULT_S = 0.1
"""Seconds for a frame that says 0, as in browsers."""
KINDS = frozenset({"AVIF", "GIF", "PNG", "WEBP"})
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, RuntimeError, Image.DecompressionBombError)


def animated(head: bytes) -> str | None:
    """Return 'gif', 'webp', 'avif' or 'apng' where a file of this head may be an animation.

    Args:
        head: the file's first bytes, 64 or more.
    """
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    # Only the extended form has a flag byte; its second bit says whether there are frames.
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X":
        return "webp" if head[20:21] and head[20] & 2 else None
    if head[4:12] == b"ftypavis":
        return "avif"
    # The chunk must stand before the first image data, so the first bytes are enough.
    if head.startswith(b"\x89PNG\r\n\x1a\n") and b"acTL" in head:
        return "apng"
    return None


def has_frames(path: Path) -> bool:
    """Return whether a file is an animated image of more than one frame, by its content."""
    try:
        with path.open("rb") as stream:
            if animated(stream.read(512)) is None:
                return False
        with Image.open(path, formats=sorted(KINDS)) as image:
            return int(getattr(image, "n_frames", 1)) > 1
    except _DAMAGE:
        return False


def is_animation(path: Path) -> bool:
    """Return whether a file is an animation that FFmpeg does not read and `read_animation` does."""
    try:
        with path.open("rb") as stream:
            return animated(stream.read(64)) in ("webp", "avif")
    except OSError:
        return False


def size_of(path: Path) -> tuple[int, int]:
    """Return an animated image's (width, height), from its header.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        with Image.open(path, formats=sorted(KINDS)) as image:
            return image.size
    except _DAMAGE as error:
        raise SourceError(f"cannot read {path.name}: {error}", hint="is it damaged?") from error


def read_animation(path: Path, name: str) -> Iterator[Frame]:
    """Yield the frames of an animated image; transparent pixels are composed on white.

    Raises:
        SourceError: unreadable, or damaged (after its last frame).
    """
    time_s, index = 0.0, 0
    try:
        with Image.open(path, formats=sorted(KINDS)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise SourceError(
                    f"{name} is too large: {image.width:,} x {image.height:,} pixels",
                    hint=f"at most {MAX_PIXELS // 1_000_000} megapixels are read",
                )
            # In order: most frames hold only what changed since the one before.
            for index in range(getattr(image, "n_frames", 1)):
                image.seek(index)
                pixels = _on_white(image)
                yield Frame.of(name, index, time_s, pixels, round(1000 * time_s))
                # A duration of 0 is not "at once": browsers show such frames for a tenth of a
                # second.
                time_s += (image.info.get("duration") or 1000 * DEFAULT_S) / 1000
    except _DAMAGE as error:
        raise SourceError(
            f"{name} is damaged after {index} frames: {error}",
            hint="the file is cut short or damaged; what could be read before is kept",
        ) from error


def _on_white(image: Image.Image) -> NDArray[np.uint8]:
    layer = image.convert("RGBA")
    whole = Image.new("RGBA", layer.size, "white")
    whole.alpha_composite(layer)
    return np.asarray(whole.convert("RGB"), np.uint8)
