"""Image sources: files, folders, and images in memory. Videos are in `mien.video.sources`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import SourceError
from mien.imaging.codec import SUFFIXES
from mien.imaging.load import Given, check_path, given_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mien.imaging.codec import Decoded
    from mien.types import Image

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv .mxf".split()  # noqa: SIM905
)
"""Suffixes of videos: image sources refuse these files, and a folder of them is read as videos."""
_NAMES = "images have suffixes such as .jpg, .png, .webp, .gif, .tif or .heic"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An image to read, or a place where none was found.

    Attributes:
        path: of the file, or the name of an image in memory.
        error: why there is nothing to read, else None.
        given: the image itself, where it is not a file.
        kept: whether its reading may keep the bytes of an encoded image.
        decoded: its pixels, where they were loaded already.
    """

    path: Path
    error: str | None = None
    given: Given | None = None
    kept: bool = False
    decoded: Decoded | None = None

    @classmethod
    def of(cls, image: object, channels: str = "rgb", *, kept: bool = False) -> ImageSource:
        """Return one image in any form; see `mien.imaging.load.given_image`.

        Raises:
            SourceError: `image` is not an image.
            ConfigError: another order of channels than 'rgb' and 'bgr'.
        """
        given = given_image(image, channels)
        return cls(Path(given.name), None, given, kept)

    @property
    def name(self) -> str:
        """The name in results: the path, or what kind of image was given."""
        return str(self.path)

    def load(self) -> Decoded:
        """Return the pixels, uint8 [h, w, 3] RGB, and notes.

        Raises:
            SourceError: it cannot be read, or is a video.
        """
        if self.decoded is not None:
            return self.decoded
        given = self.given or given_image(self.path)
        try:
            return given.load()
        # Only after decoding fails: animated images have frames and are images all the same.
        except SourceError as error:
            if isinstance(given.value, Path) and is_video(given.value):
                raise SourceError(
                    f"{self.name} is a video, not an image",
                    hint="read it with mien video, or with Reader.stream in Python",
                ) from error
            raise

    def origin(self) -> Image | None:
        """Return where the pixels can be had later."""
        if self.given is None:
            return Given(self.path, self.name)
        # Encoded bytes of many images would stay in memory as long as their readings.
        origin = self.given.origin()
        bulky = isinstance(origin, Given) and isinstance(origin.value, bytes)
        return None if bulky and not self.kept else origin


def is_video(path: Path) -> bool:
    """Return whether a file is a video, by its suffix or, whatever its name, its first bytes.

    False where the file cannot be read, and for animated images.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(12)
    except (OSError, ValueError):
        return False
    if head.startswith((b"\x1aE\xdf\xa3", b"OggS", b"FLV")) or head[8:12] == b"AVI ":
        return True
    # HEIC and AVIF images are of the same family of files as MP4; the brand tells them apart.
    is_mp4 = head[4:8] == b"ftyp" and head[8:12] in _VIDEO_BRANDS
    return is_mp4 or path.suffix.lower() in VIDEO_SUFFIXES


_VIDEO_BRANDS = (b"isom", b"iso2", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V ")


def list_given(images: Iterable[object], channels: str = "rgb") -> Iterator[ImageSource]:
    """Yield the images in files and folders, as `list_images` does, and those in memory.

    What is not an image, such as None, becomes a source with an error.
    """
    for image in images:
        try:
            if isinstance(image, str | PathLike):
                yield from list_images([check_path(image)])
            else:
                yield ImageSource.of(image, channels)
        except SourceError as error:
            name = str(image) if isinstance(image, str | Path) else type(image).__name__
            yield ImageSource(Path(name), f"{error.message}; {error.hint}")


def list_images(paths: Iterable[Path]) -> Iterator[ImageSource]:
    """Yield each file, and the images in each folder and its subfolders, sorted by name.

    In a folder only files with an image's suffix count; a file that is given by name is always
    tried. A folder without images becomes a source with an error, so that it is not skipped
    silently.
    """
    for path in paths:
        if not is_folder(path):
            yield ImageSource(path)
            continue
        # Hidden folders hold caches and thumbnails of the same images.
        files = [p for p in path.rglob("*") if not is_hidden(p, path) and not is_folder(p)]
        found = sorted(p for p in files if p.suffix.lower() in SUFFIXES)
        others = [p for p in files if p.suffix.lower() not in SUFFIXES]
        if others:
            names = ", ".join(p.name for p in sorted(others)[:3])
            _LOG.info("%s: %d files have no suffix of an image: %s", path, len(others), names)
        if not found:
            yield ImageSource(path, _without_images(path, others))
        yield from (ImageSource(p) for p in found)


def _without_images(path: Path, others: list[Path]) -> str:
    videos = sum(p.suffix.lower() in VIDEO_SUFFIXES for p in others)
    if videos:
        count = f"{videos} video{'s' if videos > 1 else ''}"
        return f"{path} holds no images, but {count}; read videos with Reader.stream or mien video"
    return f"{path} holds no images; {_NAMES}"


def is_folder(path: Path) -> bool:
    """Return whether `path` is a folder; False for names that the system refuses (too long)."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_hidden(path: Path, folder: Path) -> bool:
    """Return whether a name below `folder` on the way to `path` begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
