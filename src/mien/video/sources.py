"""Video sources: files, cameras, network streams, raw frames in a pipe, arrays, single images.

`Source.frames` is the one generator of frames, whatever they come from.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from mien.errors import ConfigError, SourceError
from mien.imaging.codec import SUFFIXES, decode_image, read_image
from mien.predict.folders import VIDEO_SUFFIXES, walk_folder
from mien.predict.sources import is_video
from mien.storage import file_name, list_files, read_content, storage_address
from mien.video.animation import has_frames
from mien.video.decode import LOG, read_address, read_file
from mien.video.frame import Frame
from mien.video.stream import is_stream, read_camera, read_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from mien.video.select import Selection

DEFAULT_RATE = 30.0
"""Frames a second of raw frames and arrays, which carry no times."""


@dataclass(frozen=True, slots=True)
class Source:
    """Something with frames.

    Attributes:
        name: as given; the name in results.
        kind: 'video', 'image', 'stream', 'camera', 'raw' or 'arrays'.
        read: yields its frames, from the selection's start or shortly before on.
        path: of the file, where it is one.
        position: number of its first frame among those selected; above 0 where it is resumed.
    """

    name: str
    kind: str
    read: Callable[[Selection], Iterator[Frame]]
    path: Path | None = None
    position: int = 0

    @property
    def live(self) -> bool:
        """Whether frames arrive in real time and cannot wait."""
        return self.kind in ("camera", "stream")

    def frames(self, selection: Selection) -> Iterator[Frame]:
        """Yield the frames that are selected.

        Raises:
            SourceError: it cannot be read or has no frame in the selection; or it broke off,
                after its last good frame.
        """
        # An empty selection would otherwise look like a video without faces.
        count = 0
        for frame in selection.apply(self.read(selection), live=self.live):
            count += 1
            yield frame
        if not count and self.kind != "image":
            raise _no_frame(self.name, selection)


def _no_frame(name: str, selection: Selection) -> SourceError:
    end = "its end" if selection.end_s is None else f"{selection.end_s:g} s"
    return SourceError(
        f"{name} has no frame from {selection.start_s:g} s to {end}",
        hint="is it shorter? times count from its own start, 0 s",
    )


def list_sources(
    specs: Iterable[str | Path | int],
    *,
    raw: RawFormat | None = None,
    warn: Callable[[str], None] = LOG.warning,
) -> Iterator[Source]:
    """Yield a source for each spec, and for each video and image in a folder or glob, sorted.

    Args:
        specs: paths, folders, globs, addresses of streams and of files, 'camera:0' or a number,
            '-' for raw frames.
        raw: size and rate of raw frames.
        warn: called with one line for each reconnection and each odd property of a video; by
            default the logger 'mien.video'.

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
        elif (address := storage_address(text)) is not None:
            yield from _at_address(address, warn)
        else:
            yield from _files(Path(spec), warn)


def _files(path: Path, warn: Callable[[str], None]) -> Iterator[Source]:
    if path.is_dir():
        files = walk_folder(path)
        found = sorted([*files.images, *files.videos])
    elif has_magic(str(path)) and not path.exists():
        found = [Path(p) for p in glob(str(path), recursive=True)]  # noqa: PTH207  (an absolute pattern too)
    else:
        yield _file(path, warn)
        return
    if not found:
        raise SourceError(
            f"{path} holds no videos and no images",
            hint="check the path; other files are read only if they are given by name",
        )
    yield from (_file(p, warn) for p in sorted(found))


def _file(path: Path, warn: Callable[[str], None]) -> Source:
    # Animated images and videos with an image's suffix are read as videos.
    is_image = path.suffix.lower() in SUFFIXES and not is_video(path) and not has_frames(path)
    if is_image:
        return Source(str(path), "image", lambda _: _image(path), path)
    return Source(str(path), "video", lambda selection: read_file(path, selection, warn=warn), path)


def _at_address(address: str, warn: Callable[[str], None]) -> Iterator[Source]:
    found = list_files(address)
    if found != [address]:
        known = SUFFIXES | VIDEO_SUFFIXES
        found = [file for file in found if Path(file_name(file)).suffix.lower() in known]
    if not found:
        raise SourceError(
            f"{address} holds no videos and no images",
            hint="check the address; other files are read only if they are given by name",
        )
    for file in found:
        if Path(file_name(file)).suffix.lower() in SUFFIXES:
            yield Source(file, "image", lambda _, file=file: _image_at(file))  # type: ignore[misc]
        else:
            yield Source(
                file, "video",
                lambda selection, file=file: read_address(file, selection, warn=warn),  # type: ignore[misc]
            )  # fmt: skip


def _image_at(address: str) -> Iterator[Frame]:
    yield Frame.of(address, 0, 0.0, decode_image(read_content(address), address))


def _image(path: Path) -> Iterator[Frame]:
    yield Frame.of(str(path), 0, 0.0, read_image(path))


def _camera(number: str) -> Source:
    if not number.isdecimal():
        raise ConfigError(f"a camera has a number, got {number!r}", hint="for example camera:0")
    return Source(f"camera:{number}", "camera", lambda _: read_camera(int(number)))


@dataclass(frozen=True, slots=True)
class RawFormat:
    """Raw frames: uint8 RGB, row by row, without a header.

    Attributes:
        width: in pixels.
        height: in pixels.
        rate: frames a second; gives the times.
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
            raise ConfigError(f"rate: {rate} is out of range, above 0", hint="frames a second")
        if size is None:
            return None
        width, _, height = size.lower().partition("x")
        if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            raise ConfigError(f"size: {size!r} is not WIDTHxHEIGHT in pixels", hint="e.g. 1280x720")
        return cls(int(width), int(height), rate or DEFAULT_RATE)


def raw_source(raw: RawFormat | None, stream: IO[bytes], name: str = "-") -> Source:
    """Return the raw RGB frames on a stream as a source.

    Raises:
        ConfigError: no format is given.
    """
    if raw is None:
        raise ConfigError(
            "raw frames on standard input need their size",
            hint="give size, such as 1280x720, and rate, such as 30; "
            "ffmpeg -i IN -f rawvideo -pix_fmt rgb24 - writes such frames",
        )
    return Source(name, "raw", lambda _: _raw(raw, stream, name))


def _raw(raw: RawFormat, stream: IO[bytes], name: str) -> Iterator[Frame]:
    length = raw.width * raw.height * 3
    # The buffered reader waits for a full frame: fewer bytes mean the end of the pipe.
    index = 0
    while content := stream.read(length):
        if len(content) < length:
            raise SourceError(
                f"{name} ends within frame {index}: {len(content)} of {length} bytes",
                hint="is the size right, and are the pixels rgb24?",
            )
        # A view of the bytes: no copy is made.
        pixels = np.frombuffer(content, np.uint8).reshape(raw.height, raw.width, 3)
        yield Frame.of(name, index, index / raw.rate, pixels)
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
        if not isinstance(pixels, np.ndarray):
            raise SourceError(
                f"frame {index} must be an array, uint8 [h, w, 3] RGB, got {type(pixels).__name__}",
                hint="read image files with mien predict, or with Reader.read_many in Python",
            )
        if pixels.dtype != np.uint8 or len(pixels.shape) != 3 or pixels.shape[2] != 3:
            raise SourceError(
                f"frame {index} must be uint8 [h, w, 3] RGB, got {pixels.dtype} "
                f"{list(pixels.shape)}",
                hint="scale values to 0-255 and put the channels last; Reader.read reads one image",
            )
        yield Frame.of(name, index, float(time_s), pixels)
