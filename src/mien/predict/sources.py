"""Image sources: files, folders, and images in memory. Videos are in `mien.video.sources`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import SourceError, counted
from mien.imaging.codec import SUFFIXES, decode_reduced
from mien.imaging.codec import read_content as read_file
from mien.imaging.load import ImageInput, check_path, image_input
from mien.predict.folders import VIDEO_SUFFIXES, is_folder, walk_folder
from mien.storage import file_name, list_files, read_content, storage_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mien.imaging.codec import Decoded, Reduced
    from mien.predict.folders import FolderFiles
    from mien.types import Image

IMAGE_SUFFIXES = "images have suffixes such as .jpg, .png, .webp, .gif, .tif or .heic"
"""What counts as an image in a folder, for messages."""
PIXELS_PER_BYTE = 8
"""Of a JPEG; photos have two to six."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An image to read, or a place where none was found.

    Attributes:
        path: of the file, or the name of an image in memory.
        error: why there is nothing to read, else None.
        image: the image itself, where it is not a file.
        keep_bytes: whether its reading may keep the bytes of an encoded image.
        decoded: its pixels, where they were loaded already.
        reduced: its reduced pixels, likewise.
        address: where it is, if that is not this machine; see `mien.storage`.
    """

    path: Path
    error: str | None = None
    image: ImageInput | None = None
    keep_bytes: bool = False
    decoded: Decoded | None = None
    reduced: Reduced | None = None
    address: str | None = None

    @classmethod
    def at(cls, address: str) -> ImageSource:
        """Return the image at an address; nothing is read yet."""
        return cls(Path(file_name(address)), address=address)

    @classmethod
    def of(cls, image: object, channels: str = "rgb", *, keep_bytes: bool = False) -> ImageSource:
        """Return one image in any form; see `mien.imaging.load.image_input`.

        Raises:
            SourceError: `image` is not an image.
            ConfigError: `channels` is neither 'rgb' nor 'bgr'.
        """
        address = storage_address(image) if isinstance(image, str | PathLike) else None
        if address is not None:
            return cls.at(address)
        found = image_input(image, channels)
        return cls(Path(found.name), None, found, keep_bytes)

    @property
    def name(self) -> str:
        """The name in results: the path or address, or what kind of image was given."""
        return self.address or str(self.path)

    def load(self) -> Decoded:
        """Return the pixels, uint8 [h, w, 3] RGB, and notes.

        Raises:
            SourceError: it cannot be read, or is a video.
        """
        if self.decoded is not None:
            return self.decoded
        if self.address is not None:
            return RemoteImage(self.address).load()
        image = self.image or image_input(self.path)
        try:
            return image.load()
        # Only after decoding fails: animated images have frames and are images all the same.
        except SourceError as error:
            if isinstance(image.value, Path) and is_video(image.value):
                raise SourceError(
                    f"{self.name} is a video, not an image",
                    hint="read it with mien video, or with Reader.stream in Python",
                ) from error
            raise

    def load_reduced(self, min_pixels: int) -> Reduced | None:
        """Return a large JPEG reduced; None for any other image: see `decode_reduced`.

        Args:
            min_pixels: width x height from which details are needless; 0 if never.
        """
        if self.reduced is not None or self.decoded is not None:
            return self.reduced
        if self.address is not None:  # fetching it twice costs more than decoding it whole
            return None
        value = self.path if self.image is None else self.image.value
        # Of most files the size tells that they are not so large, or decoded in no time.
        least = min_pixels // PIXELS_PER_BYTE
        try:
            if isinstance(value, Path):
                value = read_file(value) if value.stat().st_size >= least else b""
        except (OSError, ValueError, SourceError):  # `load` says what is wrong
            return None
        if not min_pixels or not isinstance(value, bytes) or len(value) < least:
            return None
        return decode_reduced(value, self.name, min_pixels)

    def origin(self) -> Image | None:
        """Return where the pixels can be had later."""
        if self.address is not None:
            return RemoteImage(self.address)
        if self.image is None:
            return ImageInput(self.path, self.name)
        # Encoded bytes of many images would stay in memory as long as their readings.
        origin = self.image.origin()
        bulky = isinstance(origin, ImageInput) and isinstance(origin.value, bytes)
        return None if bulky and not self.keep_bytes else origin


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """An image at an address; its bytes are read when they are needed, and not kept."""

    address: str

    def load(self) -> Decoded:
        """Return the pixels, uint8 [h, w, 3] RGB, and notes.

        Raises:
            SourceError: it cannot be read.
        """
        return ImageInput(read_content(self.address), self.address).load()


def is_video(path: Path) -> bool:
    """Return whether a file is a video, by its suffix or, whatever its name, its first bytes.

    False where the file cannot be read, and for animated images.
    """
    try:
        with path.open("rb") as stream:
            # No more: a folder may hold thousands of files on a slow disk.
            head = stream.read(12)
    except (OSError, ValueError):
        return False
    if head.startswith((b"\x1aE\xdf\xa3", b"OggS", b"FLV")) or head[8:12] == b"AVI ":
        return True
    # HEIC and AVIF images are of the same family of files as MP4; the brand tells them apart.
    is_mp4 = head[4:8] == b"ftyp" and head[8:12] in _VIDEO_BRANDS
    return is_mp4 or path.suffix.lower() in VIDEO_SUFFIXES


_VIDEO_BRANDS = (b"isom", b"iso2", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V ")


def list_inputs(images: Iterable[object], channels: str = "rgb") -> Iterator[ImageSource]:
    """Yield the images in files and folders, as `list_images` does, and those in memory.

    What is not an image, such as None, becomes a source with an error.
    """
    for image in images:
        try:
            if isinstance(image, ImageSource):
                yield image
            elif isinstance(image, str | PathLike):
                yield from list_one(image)
            else:
                yield ImageSource.of(image, channels)
        except SourceError as error:
            name = str(image) if isinstance(image, str | Path) else type(image).__name__
            yield ImageSource(Path(name), f"{error.message}; {error.hint}")


def list_one(place: str | PathLike[str]) -> Iterator[ImageSource]:
    """Return the image at a path or an address, or those of a folder there, one by one.

    Raises:
        SourceError: an empty path, an address of a kind that is not read, or one without files.
    """
    address = storage_address(place)
    # No generator itself: a wrong path is reported by the call, not by the first reading.
    return list_images([check_path(place)]) if address is None else iter(images_at(address))


def images_at(address: str) -> list[ImageSource]:
    """Return the image at an address, or the images of the folder or glob there.

    Raises:
        SourceError: there is none, or the storage cannot be read.
    """
    files = list_files(address)
    if files == [address]:
        return [ImageSource.at(address)]
    images = [file for file in files if Path(file_name(file)).suffix.lower() in SUFFIXES]
    if not images:
        raise SourceError(f"{address} holds no images", hint=IMAGE_SUFFIXES)
    return [ImageSource.at(file) for file in images]


def list_images(paths: Iterable[Path]) -> Iterator[ImageSource]:
    """Yield each file, and the images in each folder and its subfolders, sorted by name.

    In a folder only files with an image's suffix count; a file that is named is always tried.
    A folder without images is a source with an error, so that it is not skipped in silence.
    """
    for path in paths:
        if is_folder(path):
            yield from images_in(walk_folder(path))
        else:
            yield ImageSource(path)


def images_in(found: FolderFiles) -> list[ImageSource]:
    """Return the images of a folder, or one source with an error where there are none."""
    others = sorted([*found.videos, *found.others])
    if others:
        names = ", ".join(p.name for p in others[:3])
        have = "has" if len(others) == 1 else "have"
        count = counted(len(others), "file")
        _LOG.info("%s: %s %s no image suffix: %s", found.folder, count, have, names)
    # A source with an error, so that the folder is counted and listed like a file.
    if not found.images:
        return [ImageSource(found.folder, _without_images(found))]
    return [ImageSource(path) for path in found.images]


def _without_images(found: FolderFiles) -> str:
    if found.videos:
        count = counted(len(found.videos), "video")
        return (
            f"{found.folder} holds no images, but {count}; read videos with Reader.stream or "
            "mien video"
        )
    return f"{found.folder} holds no images; {IMAGE_SUFFIXES}"
