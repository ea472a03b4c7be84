"""Video files, streams and cameras to frames, through PyAV: the only file that reads with it."""

from __future__ import annotations

from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import MissingExtraError, SourceError
from mien.predict.video.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mien.predict.video.select import Selection

CUT_SHORT_S = 0.5
"""A file that ends so much before it says is reported: FFmpeg takes the cut for the end."""
DAMAGED = "the file is cut short or damaged; what could be read before is kept"


def load_av() -> Any:
    """Return PyAV, with FFmpeg's own chatter silenced.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import av
        import av.logging
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("video", "reading video") from error
    # Not set_level: that makes FFmpeg's threads call into Python, whose lock a closing decoder
    # holds while it waits for those very threads. FFmpeg's own level knows no Python.
    av.logging.set_libav_level(av.logging.PANIC)
    return av


@contextmanager
def opened(
    address: str,
    name: str,
    *,
    kind: str | None = None,
    options: dict[str, str] | None = None,
    timeout_s: float | None = None,
) -> Iterator[tuple[Any, Any]]:
    """Open what FFmpeg can read; give the container and its first video stream.

    Args:
        address: a path or URL, or a camera's name.
        name: for messages.
        kind: FFmpeg's name of the container; found by content where None, never by the suffix.
        options: for FFmpeg.
        timeout_s: after which a source that does not answer is given up.

    Raises:
        SourceError: missing, unreadable, no video in it.
    """
    av = load_av()
    try:
        container = av.open(
            address, format=kind, options=options or {}, timeout=timeout_s,
            metadata_errors="replace",
        )  # fmt: skip
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(
            f"cannot read {name}: {reason(error)}",
            hint="check the path, and that it is a video that FFmpeg can read",
        ) from error
    with container:
        streams = [
            s for s in container.streams.video
            # The cover of a song is a picture, not a video.
            if not int(s.disposition) & int(av.stream.Disposition.attached_pic)
        ]  # fmt: skip
        if not streams:
            has = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
            raise SourceError(f"{name} has no video in it, only {has}", hint="give a video")
        if streams[0].codec_context is None:
            raise SourceError(
                f"{name} is in a code that FFmpeg cannot decode", hint="convert it to MP4 (H.264)"
            )
        yield container, streams[0]


def reason(error: BaseException) -> str:
    """Return what FFmpeg or the system says, in a few words."""
    text = getattr(error, "strerror", None) or str(error)
    return text.strip().rstrip(".") or type(error).__name__


def read_file(
    path: Path, selection: Selection, *, name: str | None = None, kind: str | None = None
) -> Iterator[Frame]:
    """Yield the frames of a video file from about `selection.start_s` on.

    Rotation flags are applied, interlaced frames are made whole. A damaged place is passed over;
    a file without one readable frame is an error.

    Args:
        path: of the file.
        selection: of its frames; only where it starts matters here.
        name: in messages and results; the path where None.
        kind: as for `opened`.

    Raises:
        SourceError: missing, no video, nothing to decode, or cut short (after its last frame).
    """
    name = str(path) if name is None else name
    if not path.exists():
        raise SourceError(f"cannot read {name}: no such file", hint="check the path")
    with opened(f"file:{path}", name, kind=kind) as (container, stream):
        stream.thread_type = "AUTO"
        yield from frames_of(container, stream, name, start_s=selection.start_s)


def frames_of(
    container: Any, stream: Any, name: str, *, start_s: float = 0.0, offset_s: float = 0.0
) -> Iterator[Frame]:
    """Yield an open stream's frames.

    Args:
        container: as `opened` gave it.
        stream: likewise.
        name: of the source in the results.
        start_s: sought for; the frames from the key frame before are given too.
        offset_s: added to all times: for streams that were connected anew.
    """
    av = load_av()
    clock = _Clock(container, stream, offset_s)
    if start_s > 0:
        try:
            container.seek(clock.to_pts(start_s), stream=stream, backward=True, any_frame=False)
            clock.sought = True
        except (av.error.FFmpegError, OSError):
            clock.sought = False  # cannot be sought in: read from the start and pass over
    whole = _Deinterlacer(av, stream)
    count, broken = 0, None
    for decoded in whole.apply(_decode(av, container, stream)):
        if isinstance(decoded, BaseException):
            broken = decoded
            continue
        count += 1
        yield clock.frame(decoded, name)
    if not count:
        why = f": {reason(broken)}" if broken is not None else ""
        raise SourceError(
            f"{name} holds no frame that can be decoded{why}",
            hint="the file is empty, cut short or damaged",
        )
    if broken is not None:
        raise SourceError(f"{name} is damaged after {count} frames: {reason(broken)}", hint=DAMAGED)
    missing = clock.missing_s()
    if missing > CUT_SHORT_S:
        raise SourceError(
            f"{name} is cut short: it should go on for {missing:.1f} s more after {count} frames",
            hint=DAMAGED,
        )


def _decode(av: Any, container: Any, stream: Any) -> Iterator[Any]:
    """Yield decoded frames, and errors where packets cannot be decoded or read further."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError) as error:
            yield error
            return
        try:
            yield from packet.decode()
        except av.error.EOFError:
            return
        except (av.error.FFmpegError, OSError) as error:
            yield error


class _Clock:
    """Timestamps and numbers of frames."""

    def __init__(self, container: Any, stream: Any, offset_s: float) -> None:
        self._stream = stream
        self._base: Fraction = stream.time_base or Fraction(1, 90_000)
        self._rate: Fraction = stream.average_rate or stream.guessed_rate or Fraction(30)
        # The player's clock starts where the first of all streams does, in microseconds.
        start = container.start_time
        own = stream.start_time
        self._start = Fraction(start, 1_000_000) if start is not None else Fraction(0)
        if own is not None and abs(own * self._base - self._start) < Fraction(1, 500_000):
            self._start = own * self._base  # the same moment, without the microseconds' rounding
        self._first: int | None = own
        self._offset, self._next = offset_s, 0
        self._last = -1.0
        self.sought = False

    def missing_s(self) -> float:
        """Return how much of the stream's own length did not come; 0 where it names none."""
        own = self._stream.duration
        if own is not None:
            end = float((self._first or 0) * self._base - self._start + own * self._base)
        else:
            # Matroska names each stream's end in words, such as 00:00:02.000000000.
            words = self._stream.metadata.get("DURATION", "0:0:0").split(":")
            hours, minutes, seconds = (float(word) for word in words)
            end = 3600 * hours + 60 * minutes + seconds
        return end - self._last

    def to_pts(self, time_s: float) -> int:
        return int((Fraction(time_s) + self._start) / self._base)

    def frame(self, decoded: Any, name: str) -> Frame:
        pts = decoded.pts
        if pts is None:  # raw streams have no timestamps
            exact = self._next / self._rate
        else:
            # FFmpeg may have changed the base on the way through a filter.
            exact = pts * (decoded.time_base or self._base) - self._start
        if self.sought and pts is not None:
            # Only where reading began inside: the number follows from the time and the rate.
            first = self._first or 0
            self._next = round((pts * self._base - first * self._base) * self._rate)
            self.sought = False
        index, self._next = self._next, self._next + 1
        turns = _quarter_turns(decoded)
        size = (decoded.width, decoded.height)
        # Some files' timestamps step back; time does not.
        self._last = max(float(exact) + self._offset, self._last)
        return Frame(
            name, index, self._last, size[::-1] if turns % 2 else size,
            lambda: to_rgb(decoded, turns), pts,
        )  # fmt: skip


def to_rgb(decoded: Any, turns: int = 0) -> NDArray[np.uint8]:
    """Return a decoded frame as uint8 [h, w, 3] RGB, turned left by quarter turns."""
    pixels: NDArray[np.uint8] = decoded.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _quarter_turns(decoded: Any) -> int:
    return round((decoded.rotation or 0) / 90) % 4


class _Deinterlacer:
    """Makes interlaced frames whole with FFmpeg's bwdif; leaves others as they are."""

    def __init__(self, av: Any, stream: Any) -> None:
        self._av, self._stream = av, stream
        self._graph: Any = None

    def apply(self, frames: Iterator[Any]) -> Iterator[Any]:
        """Yield the frames, one for each, with their timestamps."""
        for frame in frames:
            if isinstance(frame, BaseException):
                yield frame
                continue
            if self._graph is None and not frame.interlaced_frame:
                yield frame
                continue
            if self._graph is None:
                self._graph = self._build(frame)
            self._graph.push(frame)
            yield from self._pull()
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pull()

    def _build(self, frame: Any) -> Any:
        graph = self._av.filter.Graph()
        source = graph.add_buffer(template=self._stream, time_base=self._stream.time_base)
        # One frame out for each in; frames that are not interlaced pass unchanged.
        filters = [graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")]
        for before, after in zip([source, *filters[:-1]], filters, strict=True):
            before.link_to(after)
        graph.configure()
        return graph

    def _pull(self) -> Iterator[Any]:
        while True:
            try:
                frame = self._graph.pull()
            except (self._av.error.BlockingIOError, self._av.error.EOFError):
                return
            if frame.time_base and frame.pts is not None:
                frame.pts = round(frame.pts * frame.time_base / self._stream.time_base)
                frame.time_base = self._stream.time_base
            yield frame
