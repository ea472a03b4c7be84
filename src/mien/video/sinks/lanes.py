"""Tracks as levels of detail, collected from frame to frame: the timeline of a video's page.

Memory and page are bounded: where all tracks together have more than MAX_BINS bins, the bins become
twice as wide.
"""

from __future__ import annotations

import base64
import math
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.types import UNSURE
from mien.video.bins import Bins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.types import TrackedFace
    from mien.video.pace import Standing

MAX_BINS = 24_576
"""Of the finest level, over all tracks: two hours of two faces have bins of 0.64 s, 600 kB."""
COARSEST_BINS = 256
"""The coarsest level has no more, over the whole video: a phone's timeline has as many pixels."""
USUAL_STEP_S = 0.04
TINY = 0.02
"""Fraction of a frame's time in a neighbouring bin that is rounding, not overlap."""


@dataclass(slots=True)
class _Track:
    rows: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    first_s: float = math.inf
    last_s: float = 0.0
    seen_s: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)


class Lanes:
    """Collects bins of each track.

    Args:
        labels: of the model.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = tuple(labels)
        self._names = (*labels, UNSURE, "unread")
        self._tracks: dict[int, _Track] = {}
        self._bins = 0
        self.width_s = 0.0
        self.step_s = 0.0

    def add(self, standing: Standing[tuple[TrackedFace, ...]]) -> None:
        """Take in a frame with the time that it counts for."""
        if not self.width_s:
            self.step_s = self.width_s = standing.interval_s or standing.seconds or USUAL_STEP_S
        for face in standing.item:
            track = self._tracks.setdefault(face.track, _Track())
            label = "unread" if face.probabilities is None else face.label or UNSURE
            track.first_s = min(track.first_s, standing.start_s)
            track.last_s = standing.start_s
            track.seen_s += standing.seconds
            track.seconds[label] = track.seconds.get(label, 0.0) + standing.seconds
            self._fill(track, standing, self._row(face, label))
        while self._bins > max(MAX_BINS, len(self._tracks)):
            self._widen()

    def _row(self, face: TrackedFace, label: str) -> NDArray[np.float32]:
        """Return sum, minimum and maximum [k], weight, and the counts of labels [k + 2]."""
        k = len(self._labels)
        row = np.zeros(4 * k + 3, np.float32)
        if face.probabilities is None:
            row[k : 2 * k], row[2 * k : 3 * k] = np.inf, -np.inf
        else:
            values = [face.probabilities[name] for name in self._labels]
            row[:k] = row[k : 2 * k] = row[2 * k : 3 * k] = values
            row[3 * k] = 1
        row[3 * k + 1 + self._names.index(label)] = 1
        return row

    def _fill(
        self,
        track: _Track,
        standing: Standing[tuple[TrackedFace, ...]],
        row: NDArray[np.float32],
    ) -> None:
        """Add a row to the bins that its time lies in, weighted by the seconds in each."""
        k, width = len(self._labels), self.width_s
        start, end = standing.start_s / width, max(standing.end_s, standing.start_s) / width
        for place in range(int(start + TINY), max(math.ceil(end - TINY), int(start + TINY) + 1)):
            overlap = max(min(end, place + 1) - max(start, place), 1e-3) * width
            own = row.copy()
            own[:k] *= overlap
            own[3 * k :] *= overlap
            self._bins += self._join(track.rows, place, own)

    def _join(
        self, rows: dict[int, NDArray[np.float32]], place: int, row: NDArray[np.float32]
    ) -> bool:
        """Add a row to a bin; return whether the bin is new."""
        k, had = len(self._labels), rows.get(place)
        if had is None:
            rows[place] = row
            return True
        had[:k] += row[:k]
        np.minimum(had[k : 2 * k], row[k : 2 * k], out=had[k : 2 * k])
        np.maximum(had[2 * k : 3 * k], row[2 * k : 3 * k], out=had[2 * k : 3 * k])
        had[3 * k :] += row[3 * k :]
        return False

    def _widen(self) -> None:
        self.width_s *= 2
        self._bins = 0
        for track in self._tracks.values():
            rows: dict[int, NDArray[np.float32]] = {}
            for place, row in track.rows.items():
                self._bins += self._join(rows, place // 2, row)
            track.rows = rows

    def tracks(self) -> dict[int, dict[str, Any]]:
        """Return when each track was seen, and the fraction of its time with each label."""
        return {
            number: {
                "first_s": round(track.first_s, 3),
                "last_s": round(track.last_s, 3),
                "seen_s": round(track.seen_s, 2),
                "fractions": {
                    name: round(track.seconds.get(name, 0.0) / (track.seen_s or 1.0), 4)
                    for name in self._names
                },
            }
            for number, track in sorted(self._tracks.items())
        }

    def levels(self, end_s: float) -> dict[str, Any]:
        """Return the levels of detail, JSON types.

        Args:
            end_s: end of the video, in seconds.

        Returns:
            `levels`, from the finest on: `width` in seconds, and of each track [first bin, number
            of bins, offset in the data]; `data`: base64 of the bytes of all of them, compressed by
            zlib: uint8 [bins, k, 3] and uint8 [bins] as in `Level`.
        """
        width = self.width_s or USUAL_STEP_S
        depth = max(0, math.ceil(math.log2(max(end_s / width / COARSEST_BINS, 1.0))))
        tracks = {number: self._dense(track, depth) for number, track in self._tracks.items()}
        levels, parts, offset = [], [], 0
        for number in range(depth + 1):
            places: dict[str, list[int]] = {}
            for name, (first, bins) in tracks.items():
                level = bins.level(len(self._labels))
                places[str(name)] = [first >> number, len(level.code_b), offset]
                parts += [level.probs_bk3.tobytes(), level.code_b.tobytes()]
                offset += len(parts[-1]) + len(parts[-2])
            levels.append({"width": width * 2**number, "tracks": places})
            tracks = {name: (first, bins.halved()) for name, (first, bins) in tracks.items()}
        data = base64.b64encode(zlib.compress(b"".join(parts), 9)).decode("ascii")
        return {"levels": levels, "data": data}

    def _dense(self, track: _Track, depth: int) -> tuple[int, Bins]:
        """Return the number of a track's first bin, even at all levels, and its bins."""
        k = len(self._labels)
        first = min(track.rows) >> depth << depth
        rows = np.zeros((max(track.rows) + 1 - first, 4 * k + 3), np.float32)
        rows[:, k : 2 * k], rows[:, 2 * k : 3 * k] = np.inf, -np.inf
        for place, row in track.rows.items():
            rows[place - first] = row
        return first, Bins(
            rows[:, :k], rows[:, k : 2 * k], rows[:, 2 * k : 3 * k], rows[:, 3 * k],
            rows[:, 3 * k + 1 :],
        )  # fmt: skip
