"""Videos that are written: any images, and the annotated copy of a video with its sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from mien.errors import MissingExtraError
from mien.files import write_error
from mien.imaging.draw import FrameAnnotator
from mien.video.clock import Clock
from mien.video.decode import load_av
from mien.video.seek import is_indexed
from mien.video.sinks.base import Sink

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from mien.video.frame import FrameResult
    from mien.video.summary import Summary

ENCODERS = ("libx264", "libopenh264", "libvpx-vp9", "mpeg4")
"""In order of preference: browsers play the first three; x264 is the fastest by far."""
TICKS = 90_000
"""Timestamps a second: exact enough for any container."""
COPIED = ("aac", "mp3")
"""Sound that MP4 takes as it is; other sound is encoded as AAC."""


class ClipWriter:
    """Writes images as an MP4 video; a context manager that aborts on errors.

    The file is written beside as .part and renamed by `close`. Timestamps are those of the frames,
    from 0 on.

    Args:
        path: of the video to write.
        sound: a video file whose sound is kept, from the first frame's moment on.
    """

    def __init__(self, path: Path, sound: Path | None = None) -> None:
        self.path = path
        # Hidden, so that no program takes the unfinished file for a video.
        self._part = path.with_name(f".{path.name}.part")
        self._sound_path = sound
        self._av = load_av()
        self._container: Any = None
        self._stream: Any = None
        self._sound: _Sound | None = None
        self._first_s = 0.0
        self._last_pts = -1

    def __enter__(self) -> ClipWriter:
        return self

    def write(self, pixels_hwc: NDArray[np.uint8], time_s: float) -> None:
        """Write pixels, uint8 [h, w, 3] RGB, as the frame of a moment, in seconds.

        Raises:
            WriteError: the disk is full, or the like.
        """
        try:
            if self._container is None:
                self._open(pixels_hwc.shape[1], pixels_hwc.shape[0], time_s)
            even = self._fitted(pixels_hwc)
            image = self._av.VideoFrame.from_ndarray(even, format="rgb24")
            pts = round((time_s - self._first_s) * TICKS)
            # Encoders refuse timestamps that do not rise.
            self._last_pts = max(pts, self._last_pts + 1)
            image.pts, image.time_base = self._last_pts, Fraction(1, TICKS)
            if self._sound is not None:
                self._sound.write_until(time_s)
            self._container.mux(self._stream.encode(image))
        except OSError as error:
            raise write_error(self.path, error) from error

    def _fitted(self, pixels_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return pixels of the video's size: cut to even sides; smaller where the size changes."""
        height, width = self._stream.height, self._stream.width
        if max(abs(pixels_hwc.shape[0] - height), abs(pixels_hwc.shape[1] - width)) <= 1:
            return np.ascontiguousarray(pixels_hwc[:height, :width])
        inside = ImageOps.pad(Image.fromarray(pixels_hwc), (width, height))
        return np.asarray(inside)

    def _open(self, width: int, height: int, time_s: float) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The index in front, so that browsers play it while it loads.
        options = {"movflags": "+faststart"}
        self._container = self._av.open(str(self._part), "w", format="mp4", options=options)
        self._stream = self._add_stream()
        # yuv420p, which every browser plays, has one colour for 2 x 2 pixels: even sides.
        self._stream.width, self._stream.height = max(width // 2 * 2, 2), max(height // 2 * 2, 2)
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)
        self._first_s = time_s
        if self._sound_path is not None:
            self._sound = _Sound.open(self._av, self._sound_path, self._container, time_s)

    def _add_stream(self) -> Any:
        options = {"preset": "veryfast", "crf": "21"}
        for name in ENCODERS:
            try:
                return self._container.add_stream(
                    name, rate=30, options=options if name == "libx264" else {}
                )
            except (ValueError, self._av.error.FFmpegError):
                continue
        raise MissingExtraError.of("video", "writing video")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def close(self) -> None:
        """Finish the video and give it its name; without a frame there is no file.

        Raises:
            WriteError: the disk is full, or the like.
        """
        if self._container is None:
            return
        container, self._container = self._container, None
        try:
            container.mux(self._stream.encode())
            if self._sound is not None:
                self._sound.write_until(self._first_s + self._last_pts / TICKS + 0.05)
                self._sound.finish()
            container.close()
            self._part.replace(self.path)
        except OSError as failure:
            raise write_error(self.path, failure) from failure
        finally:
            self._clean_up()

    def abort(self) -> None:
        """Give up: no file is left."""
        container, self._container = self._container, None
        try:
            if container is not None:
                container.close()
        except OSError:
            return  # the error that led here is the one to report
        finally:
            self._clean_up()

    def _clean_up(self) -> None:
        sound, self._sound = self._sound, None
        if sound is not None:
            sound.close()
        self._part.unlink(missing_ok=True)


class AnnotatedVideo(Sink):
    """Writes a copy of the video with the readings drawn on it.

    It cannot resume: a video that was cut off cannot be continued, and is rendered again.

    Args:
        path: see `ClipWriter`.
        sound: likewise.
    """

    def __init__(self, path: Path, sound: Path | None = None) -> None:
        self._writer = ClipWriter(path, sound)
        self._annotator = FrameAnnotator()

    def write(self, result: FrameResult) -> None:
        """Draw a frame and write it.

        Raises:
            WriteError: the disk is full, or the like.
        """
        frame = result.frame
        drawn = self._annotator.draw(frame.pixels, result.reading.faces, frame.time_s)
        self._writer.write(drawn, frame.time_s)

    def close(self, summary: Summary) -> None:
        """Finish the video.

        Raises:
            WriteError: the disk is full, or the like.
        """
        self._writer.close()

    def abort(self) -> None:
        """Leave no file."""
        self._writer.abort()


class _Sound:
    """The sound of a file, written in step with the images."""

    def __init__(self, av: Any, source: Any, stream: Any, container: Any, first_s: float) -> None:
        self._av, self._source, self._container = av, source, container
        # The same clock as the images': where it jumps, both continue alike.
        self._clock = Clock(source, stream)
        self._first_s = first_s
        # Copied where possible: encoding again costs time and quality.
        self._copy = stream.codec_context.name in COPIED
        if self._copy:
            self._out = container.add_stream_from_template(stream)
        else:
            self._out = container.add_stream("aac", rate=stream.codec_context.sample_rate or 48_000)
        if first_s > 0 and is_indexed(source):
            source.seek(self._clock.to_pts(first_s), stream=stream)
        self._packets = source.demux(stream)
        self._next: tuple[Any, Fraction] | None = None

    @classmethod
    def open(cls, av: Any, path: Path, container: Any, first_s: float) -> _Sound | None:
        """Return the sound of a file, or None where it has none."""
        source = av.open(f"file:{path}", metadata_errors="replace")
        if not source.streams.audio:
            source.close()
            return None
        return cls(av, source, source.streams.audio[0], container, first_s)

    def write_until(self, time_s: float) -> None:
        """Write what sounds before a moment."""
        while True:
            if self._next is None:
                self._next = self._take()
            if self._next is None or self._next[1] >= time_s:
                return
            (packet, sounds_s), self._next = self._next, None
            if sounds_s >= self._first_s - 0.03:
                self._write(packet, sounds_s)

    def finish(self) -> None:
        """Write what the encoder holds back."""
        if not self._copy:
            self._container.mux(self._out.encode(None))

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _take(self) -> tuple[Any, Fraction] | None:
        try:
            packet = next(self._packets)
        except (StopIteration, self._av.error.FFmpegError, OSError):
            return None  # the sound ends, or breaks off, before the images
        return None if packet.dts is None else (packet, self._clock.packet(packet)[0])

    def _write(self, packet: Any, sounds_s: Fraction) -> None:
        pts = round((sounds_s - Fraction(self._first_s)) / packet.time_base)
        packet.pts = packet.dts = max(pts, 0)
        if self._copy:
            packet.stream = self._out
            self._container.mux(packet)
            return
        try:
            frames = packet.decode()
        except (self._av.error.FFmpegError, OSError):
            return  # a damaged piece of sound is left out
        for frame in frames:
            self._container.mux(self._out.encode(frame))
