"""What is read: images for `list_images`, and for `list_sources` anything that has frames.

`Source.frames` is the one generator of frames: of an image, a video file, a camera, a network
stream, raw frames on standard input, or arrays.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from glob import glob, has_magic
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from mien.errors import ConfigError, SourceError, counted
from mien.imaging.codec import SUFFIXES, read_image
from mien.imaging.load import ImageInput, check_path, image_input
from mien.predict.folders import VIDEO_SUFFIXES, is_folder, walk_folder
from mien.video.animation import has_frames
from mien.video.decode import LOG, read_file
from mien.video.frame import Frame
from mien.video.stream import is_stream, read_camera, read_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from mien.imaging.codec import Decoded
    from mien.predict.folders import FolderFiles
    from mien.types import Image
    from mien.video.select import Selection

DEFAULT_RATE = 30.0


_NAMES = "images are named .jpg, .png, .webp, .gif, .tif, .heic or alike"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An image to read, or a place where none was found.

    Attributes:
        path: of the file; the name of an image that is in memory.
        error: why there is nothing to read, else None.
        image: the image itself, where it is not a file.
        keep_bytes: whether its reading may keep the bytes of an encoded image.
        decoded: its pixels, where they were loaded already.
    """

    path: Path
    error: str | None = None
    image: ImageInput | None = None
    keep_bytes: bool = False
    decoded: Decoded | None = None

    @classmethod
    def of(cls, image: object, channels: str = "rgb", *, keep_bytes: bool = False) -> ImageSource:
        """Return one image in any form; see `mien.imaging.load.image_input`.

        Raises:
            SourceError: not an image.
            ConfigError: `channels` is neither 'rgb' nor 'bgr'.
        """
        found = image_input(image, channels)
        return cls(Path(found.name), None, found, keep_bytes)

    @property
    def name(self) -> str:
        """Shown in results: the path, or the kind of image, such as 'array'."""
        return str(self.path)

    def load(self) -> Decoded:
        """Return the pixels, uint8 [h, w, 3] RGB, and notes.

        Raises:
            SourceError: it cannot be read.
        """
        return self.decoded or (self.image or image_input(self.path)).load()

    def origin(self) -> Image | None:
        """Return what can load the pixels later."""
        if self.image is None:
            return ImageInput(self.path, self.name)
        origin = self.image.origin()
        # Thousands of encoded images would fill the memory; one may be kept.
        bulky = isinstance(origin, ImageInput) and isinstance(origin.value, bytes)
        return None if bulky and not self.keep_bytes else origin


def list_inputs(images: Iterable[object], channels: str = "rgb") -> Iterator[ImageSource]:
    """Yield the images in files and folders, as `list_images` does, in memory, and in sources.

    A value that is not an image, such as None, becomes a source with an error in its place.
    """
    for image in images:
        try:
            if isinstance(image, ImageSource):
                yield image
            elif isinstance(image, str | PathLike):
                yield from list_images([check_path(image)])
            else:
                yield ImageSource.of(image, channels)
        except SourceError as error:
            name = str(image) if isinstance(image, str | Path) else type(image).__name__
            yield ImageSource(Path(name), f"{error.message}; {error.hint}")


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
    return f"{found.folder} holds no images; {_NAMES}"


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


@dataclass(frozen=True, slots=True)
class Source:
    """Something with frames.

    Attributes:
        name: as given; stands in the results.
        kind: 'video', 'image', 'stream', 'camera', 'raw' or 'arrays'.
        read: makes its frames, from about the selection's start on.
        path: of the file, where it is one.
        position: how many selected frames come before its first: where a video is gone on with.
    """

    name: str
    kind: str
    read: Callable[[Selection], Iterator[Frame]]
    path: Path | None = None
    position: int = 0

    @property
    def live(self) -> bool:
        """Whether frames come when they please."""
        return self.kind in ("camera", "stream")

    def frames(self, selection: Selection) -> Iterator[Frame]:
        """Yield the frames that are selected.

        Raises:
            SourceError: it cannot be read; or it broke off, after its last good frame.
        """
        count = 0
        for frame in selection.apply(self.read(selection), live=self.live):
            count += 1
            yield frame
        if not count and self.kind != "image":
            raise _nothing(self.name, selection)


def _nothing(name: str, selection: Selection) -> SourceError:
    end = "its end" if selection.end_s is None else f"{selection.end_s:g} s"
    return SourceError(
        f"{name} has no frame from {selection.start_s:g} s to {end}",
        hint="is it shorter? times count from its own start",
    )


def list_sources(
    specs: Iterable[str | Path | int],
    *,
    raw: RawFormat | None = None,
    warn: Callable[[str], None] = LOG.warning,
) -> Iterator[Source]:
    """Yield a source for each spec, and for each video and image in a folder or glob, sorted.

    Args:
        specs: paths, folders, globs, addresses, 'camera:0' or a number, '-' for raw frames.
        raw: size and rate of raw frames.
        warn: called with reconnections, and of what is odd in a video; by default the logger
            'mien.video'.

    Raises:
        ConfigError: '-' without a size.
        SourceError: a folder or glob without videos and images.
    """
    for spec in specs:
        text = str(spec)
        if isinstance(spec, int) or text.startswith("camera:"):
            yield _camera(text.removeprefix("camera:"))
        elif text == "-":
            yield raw_source(raw, sys.stdin.buffer)
        elif is_stream(text):
            yield Source(text, "stream", lambda _, a=text: read_stream(a, warn=warn))  # type: ignore[misc]
        else:
            yield from _files(Path(spec), warn)


def _files(path: Path, warn: Callable[[str], None]) -> Iterator[Source]:
    if path.is_dir():
        kinds = SUFFIXES | VIDEO_SUFFIXES
        found = [p for p in path.rglob("*") if p.suffix.lower() in kinds and not _hidden(p, path)]
    elif has_magic(str(path)) and not path.exists():
        found = [Path(p) for p in glob(str(path), recursive=True)]  # noqa: PTH207  (an absolute pattern too)
    else:
        yield _file(path, warn)
        return
    if not found:
        raise SourceError(f"{path} holds no videos and no images", hint="check the path")
    yield from (_file(p, warn) for p in sorted(found))


def _file(path: Path, warn: Callable[[str], None]) -> Source:
    # A video by its content whatever its name says; an image only where it is one.
    if path.suffix.lower() in SUFFIXES and _is_image(path):
        return Source(str(path), "image", lambda _: _image(path), path)
    return Source(str(path), "video", lambda selection: read_file(path, selection, warn=warn), path)


def _is_image(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            head = stream.read(12)
    except OSError:
        return True  # reading it will say why
    videos = head.startswith((b"\x1aE\xdf\xa3", b"OggS", b"FLV")) or head[8:12] == b"AVI "
    if videos or (head[4:8] == b"ftyp" and head[8:12] in _VIDEO_BRANDS):
        return False
    return not has_frames(path)


_VIDEO_BRANDS = (b"isom", b"iso2", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V ")


def _image(path: Path) -> Iterator[Frame]:
    pixels = read_image(path)
    yield Frame(str(path), 0, 0.0, (pixels.shape[1], pixels.shape[0]), lambda: pixels)


def _camera(number: str) -> Source:
    if not number.isdecimal():
        raise ConfigError(f"a camera has a number, got {number!r}", hint="for example camera:0")
    return Source(f"camera:{number}", "camera", lambda _: read_camera(int(number)))


@dataclass(frozen=True, slots=True)
class RawFormat:
    """Raw frames: uint8 RGB, row by row, without any header.

    Attributes:
        width: in pixels.
        height: in pixels.
        rate: frames a second, which gives the times.
    """

    width: int
    height: int
    rate: float = DEFAULT_RATE

    @classmethod
    def parse(cls, size: str | None, rate: float | None) -> RawFormat | None:
        """Return the format of '1280x720', or None for None.

        Raises:
            ConfigError: no such size, or a rate that is not above 0.
        """
        if rate is not None and not rate > 0:
            raise ConfigError(f"--rate must be above 0, got {rate}", hint="frames a second")
        if size is None:
            return None
        width, _, height = size.lower().partition("x")
        if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            raise ConfigError(f"--size must be WIDTHxHEIGHT, got {size!r}", hint="e.g. 1280x720")
        return cls(int(width), int(height), rate or DEFAULT_RATE)


def raw_source(raw: RawFormat | None, stream: IO[bytes], name: str = "-") -> Source:
    """Return the raw RGB frames on a stream as a source.

    Raises:
        ConfigError: no format is given.
    """
    if raw is None:
        raise ConfigError(
            "raw frames on standard input need their size",
            hint="--size 1280x720 --rate 30; ffmpeg -i IN -f rawvideo -pix_fmt rgb24 - makes them",
        )
    return Source(name, "raw", lambda _: _raw(raw, stream, name))


def _raw(raw: RawFormat, stream: IO[bytes], name: str) -> Iterator[Frame]:
    length = raw.width * raw.height * 3
    index = 0
    while content := stream.read(length):
        if len(content) < length:
            raise SourceError(
                f"{name} ends within frame {index}: {len(content)} of {length} bytes",
                hint="is --size right, and are the pixels rgb24?",
            )
        pixels = np.frombuffer(content, np.uint8).reshape(raw.height, raw.width, 3)
        yield Frame(name, index, index / raw.rate, (raw.width, raw.height), lambda p=pixels: p)  # type: ignore[misc]
        index += 1
    if not index:
        raise SourceError(f"{name} gave no frame", hint="the program before the pipe sent nothing")


def array_source(
    arrays: Iterable[NDArray[np.uint8] | tuple[float, NDArray[np.uint8]]],
    rate: float = DEFAULT_RATE,
    name: str = "arrays",
) -> Source:
    """Return arrays, uint8 [h, w, 3] RGB, or pairs (time in seconds, array), as a source."""
    return Source(name, "arrays", lambda _: _arrays(arrays, rate, name))


def _arrays(
    arrays: Iterable[NDArray[np.uint8] | tuple[float, NDArray[np.uint8]]], rate: float, name: str
) -> Iterator[Frame]:
    for index, item in enumerate(arrays):
        time_s, pixels = item if isinstance(item, tuple) else (index / rate, item)
        if pixels.dtype != np.uint8 or len(pixels.shape) != 3 or pixels.shape[2] != 3:
            raise SourceError(
                f"frame {index} must be uint8 [h, w, 3] RGB, got {pixels.dtype} "
                f"{list(pixels.shape)}",
                hint="scale values to 0-255 and put the channels last",
            )
        size = (pixels.shape[1], pixels.shape[0])
        yield Frame(name, index, float(time_s), size, lambda p=pixels: p)  # type: ignore[misc]
