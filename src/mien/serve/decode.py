"""Uploaded bytes to pixels: told by content, refused by size and shape, then decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.errors import SourceError
from mien.imaging.codec import decode_image
from mien.serve.sniff import image_kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_OBLONG = 50
"""Times that an image may be longer than it is wide: the detector's memory grows with it."""


class UnknownKindError(SourceError):
    """Bytes that are no image of a kind that is read."""


def decode(content: bytes, name: str, max_pixels: int) -> NDArray[np.uint8]:
    """Return an uploaded image as uint8 [h, w, 3] RGB.

    Args:
        content: of the upload.
        name: for messages.
        max_pixels: more are refused by the header.

    Raises:
        UnknownKindError: no kind of image that is read here.
        SourceError: damaged, too large, or too oblong.
    """
    if image_kind(content[:16]) is None:
        raise UnknownKindError(
            f"{name} is of no kind that is read here", hint="send JPEG, PNG, WebP, GIF or TIFF"
        )
    pixels = decode_image(content, name, max_pixels)
    check_shape(pixels.shape[1], pixels.shape[0], name)
    return pixels


def check_shape(width: int, height: int, name: str) -> None:
    """Refuse what is far longer than wide.

    Raises:
        SourceError: it is.
    """
    if max(width, height) > MAX_OBLONG * min(width, height):
        raise SourceError(
            f"{name} is too oblong: {width:,} x {height:,} pixels", hint="send it in parts"
        )
