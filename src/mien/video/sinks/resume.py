"""Where to resume a video whose reading was cut off, from the rows that are left.

The rows are kept up to their last complete frame. Reading starts a few seconds before that, at a
frame that the detector ran on, so that the filters and the plan of detections are what they were.
The results of those seconds are matched with the rows, which tells the tracks' numbers, and
dropped. Saving the state of tracker and filters instead would mean writing it with every frame, and
keeping its format for ever.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import SourceError
from mien.files import read_json
from mien.imaging.boxes import overlap
from mien.video.pace import SamplingInterval
from mien.video.plan import VideoSettings
from mien.video.sinks.reread import complete_frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mien.types import FrameReading, TrackedFace
    from mien.video.frame import Frame, FrameResult
    from mien.video.select import Selection
    from mien.video.sinks.row_file import RowFile
    from mien.video.sources import Source

SAME_TRACK_IOU = 0.5
"""Two boxes in one frame that overlap so much belong to the same track."""
SAME_TIME_S = 1e-5
"""Rows have times to a microsecond; seeking and reading may differ by some of them."""
TIME_UNIT_S = 1e-6
SAME_LAP_S = 0.5
"""A clock that restarts repeats its timestamps; those of one lap are closer than this in time."""


def about(source: Source, run: dict[str, Any]) -> dict[str, Any]:
    """Return what must be equal for rows to be resumed: the file, and how it is read."""
    file = None
    if source.path is not None and source.path.exists():
        stat = source.path.stat()
        # Not the content: hashing a long video would take longer than resuming saves.
        file = [stat.st_size, stat.st_mtime_ns]
    return {"source": source.name, "file": file, **run}


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a video is resumed.

    Attributes:
        part: the file with the rows of the earlier run.
        kind: of the rows: 'csv' or 'json'.
        labels: of the model.
        keep: bytes of the part that hold complete frames.
        first: the frame to read from.
        position: of that frame among those selected.
        last: number of the last frame that is kept.
        faces: of the frames from `first` to `last`, by frame number.
        last_track: the highest track number.
    """

    part: Path
    kind: str
    labels: tuple[str, ...]
    keep: int
    first: FrameReading
    position: int
    last: int
    faces: dict[int, tuple[TrackedFace, ...]]
    last_track: int

    @classmethod
    def find(
        cls, rows: RowFile, expected: dict[str, Any], settings: VideoSettings, labels: Sequence[str]
    ) -> ResumePoint | None:
        """Return where to resume; None where the source must be read from its start.

        Args:
            rows: not opened yet.
            expected: what the note beside those rows has to say; see `about`.
            settings: of the reading.
            labels: of the model.
        """
        try:
            if not rows.part.exists() or read_json(rows.note) != expected:
                return None
            return cls._search(rows.part, rows.kind, tuple(labels), settings)
        except (SourceError, OSError, ValueError, KeyError, TypeError):
            return None  # not rows of ours, or a note that was cut off too

    @classmethod
    def _search(
        cls, part: Path, kind: str, labels: tuple[str, ...], settings: VideoSettings
    ) -> ResumePoint | None:
        plan = settings.planner()
        recent: deque[tuple[int, bool, FrameReading]] = deque()
        interval = SamplingInterval()
        last_track = keep = 0
        for position, (end, reading) in enumerate(complete_frames(part, kind, labels)):
            detect, _ = plan.at(position, reading.time_s)
            every_s = interval.add(reading.time_s)
            recent.append((position, detect, reading))
            last_track = max([last_track, *(face.track for face in reading.faces)])
            keep = end
            if detect:
                _drop_before_start(recent, reading.time_s - settings.memory_s(every_s))
        if not recent:
            return None
        faces = {reading.frame: reading.faces for _, _, reading in recent}
        position, _, first = recent[0]
        last = recent[-1][2].frame
        return cls(part, kind, labels, keep, first, position, last, faces, last_track)

    def past(self) -> Iterator[FrameReading]:
        """Yield the frames that are kept. Call it before the part is opened for writing."""
        for _, reading in complete_frames(self.part, self.kind, self.labels):
            yield reading

    def source(self, source: Source) -> Source:
        """Return a source whose first frame is `first`, numbered as in the complete source."""
        return replace(
            source, read=lambda selection: self._frames(source, selection), position=self.position
        )

    def _frames(self, source: Source, selection: Selection) -> Iterator[Frame]:
        found = False
        near = replace(selection, start_s=max(self.first.time_s - SAME_TIME_S, 0.0), end_s=None)
        shift = 0
        for frame in source.read(near):
            if not found:
                if frame.time_s > self.first.time_s + SAME_TIME_S:
                    break
                # After seeking a frame's number is an estimate; the rows have the right one.
                found, shift = self._is_first(frame), self.first.frame - frame.index
            if found:
                yield replace(frame, index=frame.index + shift)
        if not found:  # seeking missed the frame: read from the start and skip
            yield from (f for f in source.read(selection) if f.index >= self.first.frame)

    def _is_first(self, frame: Frame) -> bool:
        if frame.pts is not None and self.first.pts is not None:
            # A clock that restarts gives the same timestamps twice, at other times.
            near = abs(frame.time_s - self.first.time_s) < SAME_LAP_S
            return frame.pts == self.first.pts and near
        # Times in rows are rounded to a microsecond: half of one up or down, and rounding again.
        return abs(frame.time_s - self.first.time_s) < 2 * TIME_UNIT_S

    def join(self, results: Iterable[FrameResult]) -> Iterator[FrameResult]:
        """Yield the results after `last`, with the track numbers of the rows.

        Args:
            results: of the source that `source` returned.
        """
        votes: dict[int, Counter[int]] = {}
        numbers: dict[int, int] | None = None
        last_track = self.last_track
        for result in results:
            reading = result.reading
            if reading.frame <= self.last:
                for new, old in _pairs(reading.faces, self.faces.get(reading.frame, ())):
                    votes.setdefault(new, Counter())[old] += 1
                continue
            if numbers is None:
                numbers = _elect(votes)
            for face in reading.faces:
                if face.track not in numbers:
                    last_track += 1
                    numbers[face.track] = last_track
            faces = (replace(face, track=numbers[face.track]) for face in reading.faces)
            ordered = tuple(sorted(faces, key=lambda face: face.track))
            yield replace(result, reading=replace(reading, faces=ordered))


def _drop_before_start(recent: deque[tuple[int, bool, FrameReading]], old_s: float) -> None:
    """Drop the frames before the newest one, of those with a detection, that is old enough."""
    starts = [
        k for k, (_, detect, reading) in enumerate(recent) if detect and reading.time_s <= old_s
    ]
    for _ in range(starts[-1] if starts else 0):
        recent.popleft()


def _pairs(new: Sequence[TrackedFace], old: Sequence[TrackedFace]) -> Iterator[tuple[int, int]]:
    """Yield (track number now, track number in the rows) of each face that both runs have."""
    if not old:
        return
    boxes = np.array([face.box for face in old], np.float32)
    for face in new:
        shared = overlap(np.array(face.box, np.float32), boxes)
        best = int(shared.argmax())
        if shared[best] >= SAME_TRACK_IOU:
            yield face.track, old[best].track


def _elect(votes: dict[int, Counter[int]]) -> dict[int, int]:
    """Give each new number the old one it shares most frames with; none is given twice."""
    # Most shared frames first, then the lower number, so that the result does not depend on chance.
    ranked = sorted(
        ((count, new, old) for new, c in votes.items() for old, count in c.items()),
        key=lambda item: (-item[0], item[1]),
    )
    numbers: dict[int, int] = {}
    for _, new, old in ranked:
        if new not in numbers and old not in numbers.values():
            numbers[new] = old
    return numbers
