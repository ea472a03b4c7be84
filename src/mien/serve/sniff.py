"""Format of an upload by its first bytes; file names and content types of clients are ignored.

This is an allow-list: Pillow would pass PostScript to Ghostscript, and FFmpeg would follow a
playlist to other files and URLs.
"""

from __future__ import annotations

from mien.imaging.codec import HEIC_BRANDS
from mien.video.animation import animated

AVIF = (b"avif", b"avis")


def image_kind(head: bytes) -> str | None:
    """Return the image format, or None if it is not supported.

    Args:
        head: first bytes of the file, at least 16.
    """
    for start, kind in (
        (b"\xff\xd8\xff", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"GIF87a", "gif"),
        (b"GIF89a", "gif"),
        (b"BM", "bmp"),
        (b"II*\x00", "tiff"),
        (b"MM\x00*", "tiff"),
    ):
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp" and head[8:12] in AVIF:
        return "avif"
    if head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS:
        return "heic"
    return None


def video_kind(head: bytes) -> str | None:
    """Return FFmpeg's name of the container format, or None if it is not supported.

    Animated images count as videos; 'webp' and 'avif' are decoded without FFmpeg.

    Args:
        head: first bytes of the file, at least 377 to recognise MPEG-TS.
    """
    for start, kind in (
        (b"\x1aE\xdf\xa3", "matroska"),
        (b"OggS", "ogg"),
        (b"FLV\x01", "flv"),
        (b"\x00\x00\x01\xba", "mpeg"),
        (b"0&\xb2u\x8ef\xcf\x11", "asf"),
    ):
        if head.startswith(start):
            return kind
    if (moving := animated(head)) is not None:
        return moving
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide") and image_kind(head) is None:
        return "mov"
    # An MPEG-TS file has the sync byte 0x47 at the start of each packet of 188 bytes.
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return "mpegts"
    return None
