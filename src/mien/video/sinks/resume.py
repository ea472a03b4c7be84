"""The rest of a video that was cut off: read on from where its rows end.

The rows are kept up to their last whole frame. Reading begins a few seconds before that, at a
frame that the detector ran on, so that the filters and the plan of detections are what they were;
what is read there anew is compared with the rows, which tells who has which number, and dropped.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import SourceError
from mien.files import read_json, write_json
from mien.imaging.boxes import overlap
from mien.video.pace import SamplingInterval
from mien.video.plan import Settings
from mien.video.sinks.reread import whole_frames

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mien.predict.sources import Source
    from mien.types import FrameReading, TrackedFace
    from mien.video.frame import Frame
    from mien.video.select import Selection
    from mien.video.sinks.row_file import RowFile

SAME = 0.5
"""Two boxes in one frame that share so much are one person's."""


def about(source: Source, run: dict[str, Any]) -> dict[str, Any]:
    """Return what must be the same for rows to be gone on with: the file, and how it is read."""
    file = None
    if source.path is not None and source.path.exists():
        found = source.path.stat()
        file = [found.st_size, found.st_mtime_ns]
    return {"source": source.name, "file": file, **run}


def note(rows: RowFile, content: dict[str, Any]) -> None:
    """Write beside unfinished rows what they are of; `forget` takes it away."""
    write_json(_note(rows), content)


def forget(rows: RowFile) -> None:
    """Take the note away: the rows are whole."""
    _note(rows).unlink(missing_ok=True)


def _note(rows: RowFile) -> Path:
    return rows.part.with_name(f".{rows.part.name}.json")


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a video goes on.

    Attributes:
        keep: bytes of the part that hold whole frames.
        first: the frame to read from.
        position: of that frame among those selected.
        last: number of the last frame that is kept.
        faces: of the frames from `first` to `last`, by frame number.
        tracks: the highest number of a person.
    """

    keep: int
    first: FrameReading
    position: int
    last: int
    faces: dict[int, tuple[TrackedFace, ...]]
    tracks: int

    @classmethod
    def of(
        cls, rows: RowFile, content: dict[str, Any], settings: Settings, labels: Sequence[str]
    ) -> ResumePoint | None:
        """Return the rest of what was cut off; None where it must be read from its start.

        Args:
            rows: not entered yet.
            content: as the note of those rows has to be.
            settings: of the reading.
            labels: of the model.
        """
        try:
            if not rows.part.exists() or read_json(_note(rows)) != content:
                return None
            return cls._search(whole_frames(rows.part, rows.kind, labels), settings)
        except (SourceError, OSError, ValueError, KeyError, TypeError):
            return None  # no rows of ours, or a note that was cut too

    @classmethod
    def _search(
        cls, frames: Iterator[tuple[int, FrameReading]], settings: Settings
    ) -> ResumePoint | None:
        plan = settings.planner()
        recent: deque[tuple[int, bool, FrameReading]] = deque()
        interval = SamplingInterval()
        tracks = position = keep = 0
        for position, (end, reading) in enumerate(frames):
            detect, _ = plan.at(position, reading.time_s)
            every = interval.add(reading.time_s)
            recent.append((position, detect, reading))
            tracks = max([tracks, *(face.track for face in reading.faces)])
            keep = end
            if detect:  # drop what lies before the newest of them that is old enough to begin at
                old = reading.time_s - settings.memory_s(every)
                starts = [k for k, (_, d, r) in enumerate(recent) if d and r.time_s <= old]
                for _ in range(starts[-1] if starts else 0):
                    recent.popleft()
        if not recent:
            return None
        faces = {reading.frame: reading.faces for _, _, reading in recent}
        begin, _, first = recent[0]
        return cls(keep, first, begin, recent[-1][2].frame, faces, tracks)

    def source(self, source: Source) -> Source:
        """Return a source whose first frame is `first`, numbered as in the whole."""
        return replace(
            source, read=lambda selection: self._frames(source, selection), position=self.position
        )

    def _frames(self, source: Source, selection: Selection) -> Iterator[Frame]:
        found = False
        near = replace(selection, start_s=max(self.first.time_s - 1e-5, 0.0), end_s=None)
        shift = 0
        for frame in source.read(near):
            if not found:
                if frame.time_s > self.first.time_s + 1e-5:
                    break
                found, shift = self._is_first(frame), self.first.frame - frame.index
            if found:
                frame.index += shift
                yield frame
        if not found:  # cannot be sought in to the frame: read all, and pass over
            yield from (f for f in source.read(selection) if f.index >= self.first.frame)

    def _is_first(self, frame: Frame) -> bool:
        if frame.pts is not None and self.first.pts is not None:
            # A clock that starts again gives the same timestamps twice, at other times.
            near = abs(frame.time_s - self.first.time_s) < 0.5
            return frame.pts == self.first.pts and near
        return abs(frame.time_s - self.first.time_s) < 2e-6

    def join(
        self, seen: Iterator[tuple[Frame, FrameReading]]
    ) -> Iterator[tuple[Frame, FrameReading]]:
        """Yield the frames after `last`, with the numbers that people have in the rows."""
        votes: dict[int, Counter[int]] = {}
        names: dict[int, int] | None = None
        tracks = self.tracks
        for frame, reading in seen:
            if frame.index <= self.last:
                for new, old in _pairs(reading.faces, self.faces.get(frame.index, ())):
                    votes.setdefault(new, Counter())[old] += 1
                continue
            if names is None:
                names = _names(votes)
            for face in reading.faces:
                if face.track not in names:
                    tracks += 1
                    names[face.track] = tracks
            faces = (replace(face, track=names[face.track]) for face in reading.faces)
            yield frame, replace(reading, faces=tuple(sorted(faces, key=lambda f: f.track)))


def _pairs(new: Sequence[TrackedFace], old: Sequence[TrackedFace]) -> Iterator[tuple[int, int]]:
    """Yield (number now, number in the rows) of each face that both runs have."""
    if not old:
        return
    boxes = np.array([face.box for face in old], np.float32)
    for face in new:
        shared = overlap(np.array(face.box, np.float32), boxes)
        best = int(shared.argmax())
        if shared[best] >= SAME:
            yield face.track, old[best].track


def _names(votes: dict[int, Counter[int]]) -> dict[int, int]:
    """Give each new number the old one it shares most frames with; none is given twice."""
    ranked = sorted(
        ((count, new, old) for new, c in votes.items() for old, count in c.items()),
        key=lambda item: (-item[0], item[1]),
    )
    names: dict[int, int] = {}
    for _, new, old in ranked:
        if new not in names and old not in names.values():
            names[new] = old
    return names
