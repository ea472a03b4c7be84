"""What an upload is, by its first bytes: names and content types of clients are not believed.

A list of what is allowed, not of what is not: Pillow would hand PostScript to a program, and FFmpeg
would follow a playlist to other files and addresses.
"""

from __future__ import annotations

from mien.imaging.codec import HEIC_BRANDS
from mien.video.animation import animated

AVIF = (b"avif", b"avis")


def image_kind(head: bytes) -> str | None:
    """Return the kind of image that begins with `head`, at least 16 bytes; None if it is none."""
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
    """Return FFmpeg's name of the container that begins with `head`; None if it is no video.

    Animated images are videos too; 'webp' and 'avif' are read without FFmpeg.
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
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return "mpegts"
    return None
