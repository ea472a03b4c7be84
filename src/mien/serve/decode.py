"""Uploaded bytes to pixels: identified by content, refused by size and shape, then decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.errors import SourceError
from mien.imaging.codec import decode_image
from mien.serve.sniff import image_kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_ASPECT_RATIO = 50
"""Longer side over shorter side: the detector pads, and its memory grows with this ratio."""


class UnknownKindError(SourceError):
    """The content is not an image in a supported format."""


def decode(content: bytes, name: str, max_pixels: int) -> NDArray[np.uint8]:
    """Return an uploaded image as uint8 [h, w, 3] RGB.

    Args:
        content: encoded image.
        name: name of the image in messages.
        max_pixels: maximum number of pixels; a larger image is refused by its header.

    Raises:
        UnknownKindError: not a supported format.
        SourceError: damaged, too large, or too elongated.
    """
    if image_kind(content[:16]) is None:
        raise UnknownKindError(
            f"{name}: unsupported image format",
            hint="supported: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF",
        )
    pixels = decode_image(content, name, max_pixels)
    check_shape(pixels.shape[1], pixels.shape[0], name)
    return pixels


def check_shape(width: int, height: int, name: str) -> None:
    """Refuse images that are far longer than wide, or wider than long.

    Raises:
        SourceError: the aspect ratio is above MAX_ASPECT_RATIO.
    """
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise SourceError(
            f"{name}: aspect ratio of {width:,} x {height:,} pixels is above {MAX_ASPECT_RATIO}:1",
            hint="split it into parts",
        )
