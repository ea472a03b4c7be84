"""Long videos in parts: where each is cut, and how tracks continue from one part to the next.

Each part starts some seconds before its cut, at a frame that the detector runs on in the whole
video too, so that the tracker and the filters have forgotten whatever came before (the same as
when an interrupted video is resumed, see `mien.video.sinks.resume`). The faces of these seconds,
which two parts have, tell which track continues which.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from mien.errors import MienError, SourceError
from mien.types import FrameReading
from mien.video.clock import Clock
from mien.video.decode import load_av, opened
from mien.video.frame import Frame, FrameResult
from mien.video.pace import SamplingInterval
from mien.video.seek import is_indexed
from mien.video.sinks.resume import ResumePoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mien.types import TrackedFace
    from mien.video.session import Session

MIN_PART_MEMORIES = 2.0
"""A part is at least so many times as long as what it reads before its cut."""


@dataclass(frozen=True, slots=True)
class VideoPart:
    """The unit of work: a video, or a part of one.

    Attributes:
        video: number of the video in the run.
        source: its path.
        part: number of the part, from 0.
        first: the frame that reading starts at; None for the video's start.
        position: of that frame among the selected ones.
        cut: number of the frame that the part's own rows start at; 0 for the video's start.
        end: number of the first frame that is left to the next part; None for the video's end.
    """

    video: int
    source: str
    part: int = 0
    first: FrameReading | None = None
    position: int = 0
    cut: int = 0
    end: int | None = None

    def resume_point(self, labels: Sequence[str]) -> ResumePoint | None:
        """Return where reading starts, in the form that sources know."""
        if self.first is None:
            return None
        return ResumePoint(
            Path(), "json", tuple(labels), 0, self.first, self.position, self.cut - 1, {}, 0
        )


def cut_video(video: int, source: str, session: Session, part_s: float) -> list[VideoPart]:
    """Return the parts of a video; one, where it cannot be cut exactly.

    The container's timestamps are read, which takes a second for an hour; nothing is decoded. A
    video is not cut whose clock jumps or is made up, and whose container has no index.

    Args:
        video: number in the run.
        source: path.
        session: how it is read.
        part_s: seconds of a part; 0 cuts nothing.
    """
    whole = [VideoPart(video, source)]
    if part_s <= 0:
        return whole
    try:
        frames = _timestamps(Path(source), part_s)
        selected = list(session.selection.apply(frames)) if frames else []
    except (MienError, OSError):
        return whole  # what is wrong with it is reported when it is read
    if not selected:
        return whole
    return _cut(video, source, session, selected, part_s)


def _timestamps(path: Path, part_s: float) -> list[Frame]:
    """Return the frames of a video without pixels; none where it is short or has no exact clock."""
    av = load_av()
    if not path.is_file():
        return []
    with opened(f"file:{path}", str(path)) as (container, stream):
        duration = container.duration
        if duration is None or duration / 1e6 < 2 * part_s or not is_indexed(container):
            return []
        jumps: list[str] = []
        clock = Clock(container, stream, 0.0, jumps.append, str(path))
        if clock.by_dts:
            return []
        stamps = []
        try:
            for packet in container.demux(stream):
                if packet.size:
                    stamps.append((packet.pts, packet.duration))
        except (av.error.FFmpegError, OSError):
            return []
        if any(pts is None for pts, _ in stamps):
            return []
        frames = []
        for pts, duration in sorted(stamps):
            shown = SimpleNamespace(pts=pts, dts=pts, duration=duration, time_base=stream.time_base)
            index, time_s, stamp = clock.frame(shown)
            reading = FrameReading(str(path), index, stamp, time_s, 0, 0)
            frames.append(Frame.without_pixels(reading))
        return [] if jumps else frames


def _cut(
    video: int, source: str, session: Session, frames: Sequence[Frame], part_s: float
) -> list[VideoPart]:
    settings = session.settings
    planner, interval = settings.planner(), SamplingInterval()
    detected: list[tuple[int, Frame]] = []
    slowest = 0.0
    for position, frame in enumerate(frames):
        slowest = max(slowest, interval.add(frame.time_s))
        if planner.at(position, frame.time_s)[0]:
            detected.append((position, frame))
    memory_s = settings.memory_s(slowest)
    part_s = max(part_s, MIN_PART_MEMORIES * memory_s)
    parts = [VideoPart(video, source)]
    next_s = frames[0].time_s + part_s
    for number, (_, frame) in enumerate(detected):
        # A short rest is left to the last part.
        if frame.time_s < next_s or frames[-1].time_s - frame.time_s < memory_s:
            continue
        earlier = [d for d in detected[:number] if d[1].time_s <= frame.time_s - memory_s]
        position, first = earlier[-1]
        start = FrameReading(source, first.index, first.pts, first.time_s, 0, 0)
        parts[-1] = replace(parts[-1], end=frame.index)
        parts.append(VideoPart(video, source, len(parts), start, position, frame.index))
        next_s = frame.time_s + part_s
    return parts


def read_part(session: Session, part: VideoPart) -> tuple[list[FrameReading], SourceError | None]:
    """Return the frames of a part, with those before its cut, and why the video broke off."""
    from contextlib import closing

    from mien.video.sources import list_sources

    readings: list[FrameReading] = []
    try:
        source = next(iter(list_sources([part.source])))
        point = part.resume_point(session.labels)
        if point is not None:
            source = point.source(source)
        with closing(session.results(source)) as results:
            for result in results:
                if part.end is not None and result.reading.frame >= part.end:
                    break
                readings.append(result.reading)
    except SourceError as error:
        return readings, error
    return readings, None


def join_parts(
    parts: Sequence[tuple[VideoPart, list[FrameReading]]], labels: Sequence[str]
) -> Iterator[FrameReading]:
    """Yield the frames of a whole video, each once, with tracks numbered as in one run.

    Args:
        parts: consecutive ones from the first on, with the frames that `read_part` gave.
        labels: of the model.

    Raises:
        SourceError: two parts do not have the same frames where they overlap, as in a damaged
            video.
    """
    last_track = 0
    previous: dict[int, tuple[TrackedFace, ...]] = {}
    for part, readings in parts:
        joined: list[FrameReading] = []
        if part.first is None:
            joined = readings
        else:
            shared = {r.frame: r.faces for r in readings if r.frame < part.cut}
            expected = {k: v for k, v in previous.items() if k >= part.first.frame}
            if list(shared) != list(expected):
                raise SourceError(
                    f"{part.source} cannot be joined at frame {part.cut:,}: its parts have other "
                    "frames",
                    hint="it may be damaged; read it in one part: split_seconds=0",
                )
            point = replace(_point(part, labels), faces=expected, last_track=last_track)
            results = (FrameResult(Frame.without_pixels(r), r) for r in readings)
            joined = [result.reading for result in point.join(results)]
        yield from joined
        last_track = max([last_track, *(f.track for r in joined for f in r.faces)])
        previous = {r.frame: r.faces for r in joined}


def _point(part: VideoPart, labels: Sequence[str]) -> ResumePoint:
    point = part.resume_point(labels)
    assert point is not None  # noqa: S101  (the caller has looked)
    return point
