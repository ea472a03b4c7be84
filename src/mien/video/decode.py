"""Video files, streams and cameras to frames, through PyAV."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mien.errors import MissingExtraError, SourceError
from mien.model.runtime import cores
from mien.storage import open_file
from mien.video.animation import is_animation, read_animation
from mien.video.clock import Clock
from mien.video.display import Display, to_rgb
from mien.video.frame import Frame, LazyPixels
from mien.video.seek import packets_from
from mien.video.skip import Skipper, can_skip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mien.video.select import Selection

CUT_SHORT_S = 0.5
"""Seconds: a file that ends so much earlier than its header says is reported as cut short; FFmpeg
takes the cut for the end."""
EXTRA_THREADS, MAX_THREADS = 2, 16
"""Decoding threads beyond the cores, and the maximum; each keeps a decoded frame in memory."""
LOG = logging.getLogger("mien.video")
"""Gets the warnings about a source where the caller passes no `warn`."""
DAMAGED = "the file is cut short or damaged; what could be read before is kept"


def load_av() -> Any:
    """Return PyAV, with FFmpeg's own log silenced.

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
    address: str | IO[bytes],
    name: str,
    *,
    kind: str | None = None,
    options: dict[str, str] | None = None,
    timeout_s: float | None = None,
) -> Iterator[tuple[Any, Any]]:
    """Open what FFmpeg can read; give the container and its first video stream.

    Args:
        address: a path or URL, a camera's name, or a file to read from.
        name: for messages.
        kind: FFmpeg's name of the container; None detects it by content, never by the suffix.
        options: for FFmpeg.
        timeout_s: seconds without an answer after which the source is given up.

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
            # The cover of a song is an image, not a video.
            if not int(s.disposition) & int(av.stream.Disposition.attached_pic)
        ]  # fmt: skip
        if not streams:
            raise SourceError(
                f"{name} has no video in it, only {_contents(container)}", hint="give a video"
            )
        if streams[0].codec_context is None:
            raise SourceError(
                f"{name} uses a codec that FFmpeg cannot decode", hint="convert it to MP4 (H.264)"
            )
        yield container, streams[0]


def use_threads(stream: Any) -> None:
    """Decode frames and slices in parallel; live streams keep the lower delay of one thread."""
    stream.thread_type = "AUTO"
    # Each thread decodes a frame of its own, and frames are given in order: where one takes long,
    # the others need frames to continue. FFmpeg's default is one thread more than cores.
    stream.codec_context.thread_count = min(cores() + EXTRA_THREADS, MAX_THREADS)


def _contents(container: Any) -> str:
    kinds = {s.type for s in container.streams if s.type != "video"}
    images = ["a cover image"] if len(container.streams.video) else []
    return " and ".join(images + sorted(kinds)) or "nothing"


def reason(error: BaseException) -> str:
    """Return the reason that FFmpeg or the system gives, in a few words."""
    text = getattr(error, "strerror", None) or str(error)
    return text.strip().rstrip(".") or type(error).__name__


def read_file(
    path: Path,
    selection: Selection,
    *,
    name: str | None = None,
    kind: str | None = None,
    warn: Callable[[str], None] = LOG.warning,
) -> Iterator[Frame]:
    """Yield the frames of a video file from `selection.start_s` or shortly before on.

    Frames are as displayed: display matrix and pixel aspect ratio are applied, interlaced frames
    are deinterlaced. Damaged frames are skipped; a file without one readable frame is an error.
    Animated images are read too.

    Args:
        path: of the file.
        selection: of its frames; only its start matters here.
        name: in messages and results; the path where None.
        kind: as for `opened`.
        warn: called with one line for each jump of the clock and each odd property.

    Raises:
        SourceError: missing, no video, nothing to decode, or cut short (after its last frame).
    """
    name = str(path) if name is None else name
    if not path.exists():
        raise SourceError(f"cannot read {name}: no such file", hint="check the path")
    if path.is_file() and not path.stat().st_size:
        raise SourceError(f"cannot read {name}: the file is empty", hint="copy or record it again")
    if is_animation(path):
        yield from read_animation(path, name)
        return
    with opened(f"file:{path}", name, kind=kind) as (container, stream):
        use_threads(stream)
        yield from frames_of(container, stream, name, selection=selection, warn=warn)


def read_address(
    address: str, selection: Selection, *, warn: Callable[[str], None] = LOG.warning
) -> Iterator[Frame]:
    """Yield the frames of a video file at an address; see `read_file`.

    Only the parts of the file that are needed are transferred, in containers with an index.

    Raises:
        SourceError: as `read_file`; also where the storage cannot be read.
    """
    with open_file(address) as file, opened(file, address) as (container, stream):
        use_threads(stream)
        yield from frames_of(container, stream, address, selection=selection, warn=warn)


def frames_of(
    container: Any,
    stream: Any,
    name: str,
    *,
    selection: Selection | None = None,
    offset_s: float = 0.0,
    warn: Callable[[str], None] = LOG.warning,
) -> Iterator[Frame]:
    """Yield an open stream's frames.

    Args:
        container: from `opened`.
        stream: likewise.
        name: of the source in the results.
        selection: of its frames: those from the key frame before its start on are given, and those
            that it does not look at may be left undecoded; None decodes all.
        offset_s: seconds added to all times, for streams that were reconnected.
        warn: as for `read_file`.
    """
    av = load_av()
    clock = Clock(container, stream, offset_s, warn, name)
    display = Display(container, stream, warn, name)
    scout = Clock(container, stream)
    start_s = 0.0 if selection is None else selection.start_s
    packets = packets_from(av, container, stream, start_s, clock, scout)
    skipper = None
    if selection is not None and selection.looks_at and can_skip(container, stream, clock):
        skipper = Skipper(stream.codec_context, clock, selection.looks_at, start_s)
        packets = skipper.send(packets)
    decoded = _Deinterlacer(av, stream, skipper).apply(_decode(av, packets))
    count, broken, size = 0, None, (0, 0)
    for item in decoded if skipper is None else skipper.merge(decoded):
        # One damaged packet must not end a video; the error is reported after the last good frame.
        if isinstance(item, BaseException):
            broken = item
            continue
        count += 1
        skipped = isinstance(item, av.Packet)
        frame = _skipped(item, clock, size, name) if skipped else _frame(item, clock, display, name)
        size = frame.size
        yield frame
    _check_end(count, broken, clock, name)


def _check_end(count: int, broken: BaseException | None, clock: Clock, name: str) -> None:
    """Raise a SourceError where a source had no frame, is damaged, or ends early."""
    if not count:
        why = f": {reason(broken)}" if broken is not None else ""
        raise SourceError(
            f"{name} holds no frame that can be decoded{why}",
            hint="the file is empty, cut short or damaged",
        )
    if broken is not None:
        raise SourceError(f"{name} is damaged after {count} frames: {reason(broken)}", hint=DAMAGED)
    missing = clock.missing_s()
    if missing > max(CUT_SHORT_S, 1.5 * clock.step_s):
        raise SourceError(
            f"{name} is cut short: {missing:.1f} s are missing after {count} frames",
            hint=DAMAGED,
        )


def _frame(decoded: Any, clock: Clock, display: Display, name: str) -> Frame:
    index, time_s, pts = clock.frame(decoded)
    width, height, orientation = display.of(decoded)
    size = (height, width) if orientation.transpose else (width, height)
    pixels = LazyPixels(lambda: to_rgb(decoded, width, height, orientation))
    return Frame(name, index, time_s, size, pixels, pts)


def _skipped(packet: Any, clock: Clock, size: tuple[int, int], name: str) -> Frame:
    index, time_s, pts = clock.frame(packet)
    return Frame.skipped(name, index, time_s, size, pts)


def _decode(av: Any, packets: Iterator[Any]) -> Iterator[Any]:
    """Yield decoded frames, and errors where packets cannot be decoded or read further."""
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


class _Deinterlacer:
    """Deinterlaces frames with FFmpeg's bwdif; passes others on unchanged."""

    def __init__(self, av: Any, stream: Any, skipper: Skipper | None = None) -> None:
        self._av, self._stream, self._skipper = av, stream, skipper
        self._graph: Any = None

    def apply(self, frames: Iterator[Any]) -> Iterator[Any]:
        """Yield one frame for each, with its timestamp; errors pass through."""
        for frame in frames:
            if isinstance(frame, BaseException):
                yield frame
                continue
            # Built only at the first interlaced frame: the filter delays frames, and most videos
            # need none.
            if self._graph is None and not frame.interlaced_frame:
                yield frame
                continue
            if self._graph is None:
                if self._skipper is not None:
                    self._skipper.stop()  # the filter needs the frames before and after each
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
            # The filter counts in a time base of its own; the clock expects the stream's.
            if frame.time_base and frame.pts is not None:
                frame.pts = round(frame.pts * frame.time_base / self._stream.time_base)
                frame.time_base = self._stream.time_base
            yield frame
