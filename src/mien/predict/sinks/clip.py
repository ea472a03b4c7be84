"""The annotated copy of a video, with its sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError
from mien.files import write_error
from mien.predict.video.decode import load_av
from mien.vision.draw import FrameAnnotator

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from mien.predict.video.frame import Frame
    from mien.types import FrameReading

ENCODERS = ("libx264", "libopenh264", "libvpx-vp9", "mpeg4")
"""In order of preference: browsers play the first three; x264 is the fastest by far."""
TICKS = 90_000
"""Of a second: exact enough for any container's timestamps."""
COPIED = ("aac", "mp3")
"""Sound that MP4 takes as it is; other sound is encoded as AAC."""


class ClipWriter:
    """Writes frames with their readings drawn on them as MP4; a context manager.

    The file is written beside as .part and renamed at the good end. Timestamps are those of the
    frames, beginning at 0.

    Args:
        path: of the video to write.
        sound: a video file whose sound is kept, from the first frame's moment on.
    """

    def __init__(self, path: Path, sound: Path | None = None) -> None:
        self.path = path
        self._part = path.with_name(f".{path.name}.part")
        self._sound_path = sound
        self._annotator = FrameAnnotator()
        self._av = load_av()
        self._container: Any = None
        self._stream: Any = None
        self._sound: _Sound | None = None
        self._first_s = 0.0
        self._last_pts = -1

    def __enter__(self) -> ClipWriter:
        return self

    def append(self, frame: Frame, reading: FrameReading) -> None:
        """Draw a frame and write it.

        Raises:
            WriteError: the disk is full, or the like.
        """
        drawn = self._annotator.draw(frame.pixels, reading.faces, frame.time_s)
        self.write(drawn, frame.time_s)

    def write(self, pixels_hwc: NDArray[np.uint8], time_s: float) -> None:
        """Write pixels, uint8 [h, w, 3] RGB, as the frame of a moment."""
        try:
            if self._container is None:
                self._open(pixels_hwc.shape[1], pixels_hwc.shape[0], time_s)
            even = pixels_hwc[: self._stream.height, : self._stream.width]
            picture = self._av.VideoFrame.from_ndarray(even.copy(), format="rgb24")
            pts = round((time_s - self._first_s) * TICKS)
            self._last_pts = max(pts, self._last_pts + 1)
            picture.pts, picture.time_base = self._last_pts, Fraction(1, TICKS)
            if self._sound is not None:
                self._sound.write_until(time_s)
            self._container.mux(self._stream.encode(picture))
        except OSError as error:
            raise write_error(self.path, error) from error

    def _open(self, width: int, height: int, time_s: float) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The index in front, so that browsers play it while it loads.
        options = {"movflags": "+faststart"}
        self._container = self._av.open(str(self._part), "w", format="mp4", options=options)
        self._stream = self._add_stream()
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
        if self._container is None:
            return
        try:
            if kind is None:
                self._container.mux(self._stream.encode())
                if self._sound is not None:
                    self._sound.write_until(self._first_s + self._last_pts / TICKS + 0.05)
                    self._sound.finish()
            self._container.close()
            if kind is None:
                self._part.replace(self.path)
        except OSError as failure:
            if kind is None:
                raise write_error(self.path, failure) from failure
        finally:
            if self._sound is not None:
                self._sound.close()
            self._part.unlink(missing_ok=True)


class _Sound:
    """The sound of a file, written along with the pictures."""

    def __init__(self, av: Any, source: Any, stream: Any, container: Any, first_s: float) -> None:
        self._av, self._source, self._container = av, source, container
        start = source.start_time
        self._offset = Fraction(start, 1_000_000) if start is not None else Fraction(0)
        self._first_s = first_s
        self._copy = stream.codec_context.name in COPIED
        if self._copy:
            self._out = container.add_stream_from_template(stream)
        else:
            self._out = container.add_stream("aac", rate=stream.codec_context.sample_rate or 48_000)
        if first_s > 0:
            source.seek(int(first_s * 1_000_000 + float(self._offset * 1_000_000)))
        self._packets = source.demux(stream)
        self._next: Any = None
        self._samples = 0

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
            if self._next is None or self._time(self._next) >= time_s:
                return
            packet, self._next = self._next, None
            if self._time(packet) >= self._first_s - 0.03:
                self._write(packet)

    def finish(self) -> None:
        """Write what the encoder holds back."""
        if not self._copy:
            self._container.mux(self._out.encode(None))

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _take(self) -> Any:
        try:
            packet = next(self._packets)
        except (StopIteration, self._av.error.FFmpegError, OSError):
            return None  # the sound ends, or breaks off, before the pictures
        return None if packet.dts is None else packet

    def _time(self, packet: Any) -> float:
        return float(packet.pts * packet.time_base - self._offset)

    def _write(self, packet: Any) -> None:
        if self._copy:
            shift = round((Fraction(self._first_s) + self._offset) / packet.time_base)
            packet.pts, packet.dts = max(packet.pts - shift, 0), max(packet.dts - shift, 0)
            packet.stream = self._out
            self._container.mux(packet)
            return
        try:
            frames = packet.decode()
        except (self._av.error.FFmpegError, OSError):
            return  # a damaged piece of sound is left out
        for frame in frames:
            if frame.pts is not None:
                shift = round((Fraction(self._first_s) + self._offset) / frame.time_base)
                frame.pts = max(frame.pts - shift, 0)
            self._container.mux(self._out.encode(frame))
