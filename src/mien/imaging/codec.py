"""Image files to RGB pixels as displayed, and back.

The size is read from the header before anything is decoded, so that a small file that would
decompress to gigabytes is refused.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mien.errors import ConfigError, SourceError
from mien.files import write_bytes
from mien.imaging.jpeg import lacks_end_marker, with_end_marker
from mien.installation import install_command

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAX_PIXELS = 100_000_000
"""Larger images are refused: 100 megapixels are 300 MB in memory."""

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .png .bmp .gif .webp .tif .tiff .ppm .pgm .pbm .heic .heif .avif".split()  # noqa: SIM905
)
"""Endings of file names, in lower case, that count as images in a folder."""

READERS = frozenset(
    "AVIF BMP DIB GIF HEIF JPEG MPO PNG PPM TIFF WEBP".split()  # noqa: SIM905
)
"""Pillow reads more formats; for some it starts other programs (Ghostscript for EPS)."""

JPEGS, ANIMATED = ("JPEG", "MPO"), ("GIF", "WEBP", "PNG", "AVIF")
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
WITH_ALPHA = ("LA", "PA", "RGBA")
PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}

WRITERS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}

HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
"""A HEIC file has one of these after its first 'ftyp'."""


NO_END_MARKER = "the JPEG lacks its end marker; every pixel was there"

FIRST_FRAME = "an animation: only its first frame was read; mien video reads them all"
FIRST_PAGE = "a file of several pages: only the first was read"


class Decoded(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: uint8 [h, w, 3] RGB.
        notes: oddities of the file that did not prevent reading it.
    """

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...] = ()


class Reduced(NamedTuple):
    """A JPEG decoded at a half, a quarter or an eighth of its size.

    Attributes:
        pixels: uint8 [h, w, 3] RGB, as displayed.
        factor: pixels of the image to one of these, a side: 2, 4 or 8.
        width: of the image as displayed, in pixels.
        height: of the image as displayed, in pixels.
    """

    pixels: NDArray[np.uint8]
    factor: int
    width: int
    height: int


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return the image in a file, uint8 [h, w, 3] RGB; see `decode_image`.

    Raises:
        SourceError: the file is missing, unreadable, empty, or cannot be decoded.
    """
    return decode_image(read_content(path), str(path))


def read_content(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        SourceError: the file is missing or unreadable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error.strerror}", hint="check the path and its permissions"
        ) from error
    except ValueError as error:  # a NUL character, as in a damaged list of paths
        raise SourceError(f"cannot read {path}: {error}", hint="check the path") from error


def decode_image(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return an encoded image as uint8 [h, w, 3] RGB, turned as its EXIF data says.

    Transparency is laid on white, 16-bit values are scaled to 8 bits, an animation gives its
    first frame.

    Args:
        content: of a JPEG, PNG, WebP, GIF, BMP, TIFF, PNM, AVIF or (with the extra `heic`)
            HEIC file.
        name: for error messages.
        max_pixels: maximum width x height; larger images are refused by their header.

    Raises:
        SourceError: not an image, damaged, or too large.
    """
    return decode_with_notes(content, name, max_pixels).pixels


def decode_with_notes(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decode as `decode_image` does, and return notes about oddities of the file.

    A JPEG without its end marker is read if no pixel is missing; an animation gives its first
    frame. Both get a note.
    """
    if not content:
        raise SourceError(f"{name} is empty (0 bytes)", hint="the file was not written fully")
    _register_heic(content, name)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # Pillow warns about odd metadata and large sizes, which we check
        image = _open(content, name, max_pixels)
        try:
            several = getattr(image, "is_animated", False)
            notes = (FIRST_FRAME,) if several and image.format in ANIMATED else ()
            notes = (FIRST_PAGE,) if several and image.format == "TIFF" else notes
            try:
                image.load()
                if image.format in JPEGS and lacks_end_marker(content):
                    notes = (NO_END_MARKER,)  # the decoder did not need it
            except OSError:
                # A JPEG that only lacks its end marker has all pixels; others are cut short.
                whole = with_end_marker(content) if image.format in JPEGS else None
                if whole is None:
                    raise
                image = Image.open(io.BytesIO(whole))
                notes = (NO_END_MARKER,)
            return Decoded(as_displayed(image, in_place=True), notes)
        except DAMAGE as error:
            raise SourceError(
                f"{name} is damaged: {error}", hint="the file was cut short or changed"
            ) from error


def decode_reduced(content: bytes, name: str, min_pixels: int) -> Reduced | None:
    """Return a large JPEG reduced while it is decoded, which takes a third of the time.

    None for every other file, and for a damaged one: `decode_with_notes` says what is wrong.

    Args:
        content: of the file.
        name: for error messages.
        min_pixels: width x height from which details are needless. The factor is the largest power
            of two up to the whole factor that leaves no more pixels than that.
    """
    if not content.startswith(b"\xff\xd8") or lacks_end_marker(content):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = _open(content, name, MAX_PIXELS)
            least = math.ceil(math.sqrt(image.width * image.height / min_pixels))
            factor = next((f for f in (8, 4, 2) if f <= least), 1)
            if factor == 1 or image.format not in JPEGS:
                return None
            whole = image.size
            image.draft(None, (whole[0] // factor, whole[1] // factor))
            if image.size != tuple(-(-side // factor) for side in whole):
                return None
            turned = image.getexif().get(ORIENTATION, 1) in SIDEWAYS
            pixels = as_displayed(image, in_place=True)
        except (*DAMAGE, SourceError):
            return None
    width, height = whole[::-1] if turned else whole
    return Reduced(pixels, factor, width, height)


def _open(content: bytes, name: str, max_pixels: int) -> Image.Image:
    """Return an image whose header was read and checked."""
    try:
        image = Image.open(io.BytesIO(content))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, RuntimeError) as error:
        raise SourceError(f"{name} is not an image that can be read", hint=_USE_OTHERS) from error
    except Image.DecompressionBombError as error:
        raise SourceError(
            f"{name} is too large: over {max_pixels / 1e6:g} megapixels, the maximum",
            hint=_TOO_LARGE,
        ) from error
    if image.format not in READERS:
        raise SourceError(
            f"{name} is an image in the format {image.format}, which is not supported",
            hint=_USE_OTHERS,
        )
    check_size(image.size, name, max_pixels)
    return image


def check_size(size: tuple[int, int], name: str, max_pixels: int = MAX_PIXELS) -> None:
    """Raise a SourceError for a size (width, height) with more than `max_pixels` pixels."""
    width, height = size
    if width * height > max_pixels:
        raise SourceError(
            f"{name} is too large: {width:,} x {height:,} pixels, over the maximum of "
            f"{max_pixels / 1e6:g} megapixels",
            hint=_TOO_LARGE,
        )


def write_image(path: Path, image_hwc: NDArray[np.uint8]) -> None:
    """Write pixels, uint8 [h, w, 3] RGB or [h, w] grey; the file is never half written.

    Raises:
        ConfigError: the suffix is not one of WRITERS.
        WriteError: the file could not be written.
    """
    kind = WRITERS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(
            f"cannot write an image to {path.name}: unknown suffix {path.suffix!r}",
            hint=f"use one of the suffixes {', '.join(WRITERS)}",
        )
    buffer = io.BytesIO()
    options = {"quality": 92} if kind != "PNG" else {}
    Image.fromarray(image_hwc).save(buffer, kind, **options)
    write_bytes(path, buffer.getvalue())


_TOO_LARGE = "scale it down first"
_USE_OTHERS = "use JPEG, PNG, WebP, GIF or TIFF"
DAMAGE = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, RuntimeError, struct.error,
    zlib.error, OverflowError, TypeError,
)  # fmt: skip
"""Exceptions that Pillow's decoders raise for damaged files."""


def as_displayed(image: Image.Image, *, in_place: bool = False) -> NDArray[np.uint8]:
    """Return a Pillow image of any mode as uint8 [h, w, 3] RGB, turned as its EXIF data says.

    Args:
        image: the image.
        in_place: whether it may be changed, which saves a copy.

    Raises:
        ValueError: a mode that Pillow cannot convert; its decoders raise more, see `DAMAGE`.
    """
    if in_place:
        ImageOps.exif_transpose(image, in_place=True)  # copies nothing if it is upright already
    elif image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    return _to_rgb(image)


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    # Pillow converts these to RGB by no direct way.
    if image.mode in PREMULTIPLIED:
        image = image.convert(PREMULTIPLIED[image.mode])
    # Before any conversion: Pillow clips 16-bit grey at 255, which turns most of it white.
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep_grey(image)
    if image.mode in WITH_ALPHA or "transparency" in image.info:
        layer = image.convert("RGBA")
        # On white, as viewers and printers show it; the hidden color of clear pixels is arbitrary.
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"), np.uint8)


def _from_deep_grey(image: Image.Image) -> NDArray[np.uint8]:
    """Scale 16-bit (or 32-bit) grey to 8 bits; Pillow's own conversion would clip it."""
    values = np.asarray(image, np.float64)
    if image.mode == "F" and values.max(initial=0) <= 1:
        values = values * 255
    elif values.max(initial=0) > 255:
        # 257 and not 256: 65,535 becomes 255, and 8-bit values stored as 16 bits come back exactly.
        values = values / 257
    grey = np.clip(np.round(values), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _register_heic(content: bytes, name: str) -> None:
    """Register pillow-heif with Pillow if `content` is HEIC: importing it takes time."""
    if content[4:8] != b"ftyp" or content[8:12] not in HEIC_BRANDS:
        return
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError as error:
        raise SourceError(
            f"{name} is a HEIC image, which needs a package that is not installed",
            hint=f"install it: {install_command('heic')}",
        ) from error
    register_heif_opener()
