"""JPEG files without an end marker: tell complete images from truncated ones."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

END = b"\xff\xd9"
START_OF_SCAN = 0xDA
PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
FRAMES = (0xC0, 0xC1, *PROGRESSIVE)
STANDALONE = (0x01, 0xD8, *range(0xD0, 0xD8))
"""Markers without a length and a body."""
FILLINGS = (b"\x00" * 64, b"\x55" * 64, b"\xaa" * 64)
COEFFICIENTS = 64


def lacks_end_marker(content: bytes) -> bool:
    """Return whether no end marker follows the last scan of a JPEG file.

    A marker's bytes never occur within a scan.
    """
    # The last one: thumbnails inside the file have end markers of their own.
    end = content.rfind(END)
    return end < 0 or content.find(b"\xff\xda", end) >= 0


def with_end_marker(content: bytes) -> bytes | None:
    """Return a truncated JPEG with an end marker, or None if pixels are missing.

    A decoder does not use the bytes after the last block of the last scan. So the image is decoded
    with different bytes there: if all give the same pixels, no pixel was missing.

    Args:
        content: of a JPEG file without its end marker.
    """
    # Half of the end marker may have been written.
    kept = content.removesuffix(b"\xff")
    if not _all_scans(kept):
        return None
    first: np.ndarray | None = None
    for filling in FILLINGS:
        with Image.open(io.BytesIO(kept + filling + END)) as image:
            pixels = np.asarray(image)
        if first is not None and not np.array_equal(pixels, first):
            return None
        first = pixels
    return kept + END


def _all_scans(content: bytes) -> bool:
    """Return whether the scans in the file cover every coefficient of every component."""
    left: dict[int, np.ndarray] = {}
    progressive = False
    for marker, body in _segments(content):
        if marker in FRAMES:
            progressive = marker in PROGRESSIVE
            count = body[5]
            left = {body[6 + 3 * i]: np.ones(COEFFICIENTS, bool) for i in range(count)}
        elif marker == START_OF_SCAN:
            # A scan's header: its number of components, two bytes for each, then the spectral
            # range.
            count = body[0]
            first, last, bits = body[1 + 2 * count : 4 + 2 * count]
            for i in range(count):
                own = left.get(body[1 + 2 * i])
                if own is None:
                    return False
                if not progressive:
                    own[:] = False
                elif bits & 15 == 0:  # no later scan refines these coefficients
                    own[first : last + 1] = False
    return bool(left) and not any(own.any() for own in left.values())


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each marker and its body; stop at the first truncated one."""
    at = 0
    while (at := content.find(b"\xff", at)) >= 0 and at + 4 <= len(content):
        marker = content[at + 1]
        if marker in (0x00, 0xFF) or marker in STANDALONE:  # stuffed or fill bytes, restarts
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(content[at + 2 : at + 4])
        body = content[at + 4 : at + 2 + length]
        if length < 2 or len(body) < length - 2:
            return
        yield marker, body
        at += 2 + length
