"""What a video shows in numbers: each person, and all together; added up as frames come."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import ConfigError
from mien.predict.video.smoothing import Viterbi
from mien.types import UNSURE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mien.types import FrameReading, TrackedFace

GAP_S = 0.5
"""Without a sight of the person for longer than this, an episode ends."""
UNREAD = "unread"
"""Where a face was seen but not fit to be read."""
SEGMENTS = ("labels", "viterbi")


@dataclass(slots=True)
class Episode:
    """One person showing one expression for a while."""

    track: int
    label: str
    start_s: float
    end_s: float


@dataclass(slots=True)
class _Tally:
    """Of one person."""

    first_s: float
    last_s: float
    shown_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    valence_s: float = 0.0
    read_s: float = 0.0
    frames: int = 0
    current: Episode | None = None
    viterbi: Viterbi | None = None


class Summary:
    """Adds up the frames of one source.

    A frame counts for the time to the one before it, at most GAP_S: uneven frame rates weigh
    nothing.

    Args:
        labels: of the model.
        segments: 'labels' takes episodes from the named labels; 'viterbi' from the likeliest
            sequence behind the raw probabilities.
    """

    def __init__(self, labels: Sequence[str], segments: str = "labels") -> None:
        if segments not in SEGMENTS:
            raise ConfigError(
                f"no way to make segments is called {segments!r}",
                hint=f"known: {', '.join(SEGMENTS)}",
            )
        self._labels, self._segments = tuple(labels), segments
        self._tallies: dict[int, _Tally] = {}
        self._frames = self._faceless = 0
        self._begin_s: float | None = None
        self._end_s = 0.0
        self.source = ""
        self.episodes: list[Episode] = []

    def add(self, reading: FrameReading) -> None:
        """Take a frame in."""
        now = reading.time_s
        step = 0.0 if self._begin_s is None else min(max(now - self._end_s, 0.0), GAP_S)
        if self._begin_s is None:
            self._begin_s, self.source = now, reading.source
        self._end_s = now
        self._frames += 1
        self._faceless += not reading.faces
        for face in reading.faces:
            tally = self._tallies.get(face.track)
            if tally is None:
                tally = self._tallies[face.track] = _Tally(now, now)
                if self._segments == "viterbi":
                    tally.viterbi = Viterbi(len(self._labels))
            self._add_face(tally, face, now, step)

    def _add_face(self, tally: _Tally, face: TrackedFace, now: float, step: float) -> None:
        tally.frames += 1
        tally.last_s = now
        label = face.label or UNREAD
        tally.shown_s[label] += step
        shares = face.probabilities
        if shares is not None:
            tally.read_s += step
            tally.valence_s += step * (shares.get("happy", 0.0) - shares.get("sad", 0.0))
        if tally.viterbi is None:
            self._extend(tally, face.track, label, now)
        elif face.raw is not None:
            raw = np.array([face.raw[name] for name in self._labels], np.float32)
            for time_s, number in tally.viterbi.add(now, raw):
                self._extend(tally, face.track, self._labels[number], time_s)

    def _extend(self, tally: _Tally, track: int, label: str, time_s: float) -> None:
        current = tally.current
        if current is not None and time_s - current.end_s <= GAP_S:
            if label == current.label:
                current.end_s = time_s
                return
            current.end_s = time_s  # one expression lasts until the next begins
        tally.current = Episode(track, label, time_s, time_s)
        self.episodes.append(tally.current)

    def finish(self) -> dict[str, Any]:
        """Return the summary as JSON types, times in seconds."""
        for track, tally in self._tallies.items():
            if tally.viterbi is not None:
                for time_s, number in tally.viterbi.finish():
                    self._extend(tally, track, self._labels[number], time_s)
        begin = self._begin_s or 0.0
        people = [self._person(track, tally) for track, tally in sorted(self._tallies.items())]
        shown: dict[str, float] = defaultdict(float)
        for tally in self._tallies.values():
            for label, seconds in tally.shown_s.items():
                shown[label] += seconds
        read = sum(t.read_s for t in self._tallies.values())
        return {
            "source": self.source,
            "frames": self._frames,
            "frames_without_a_face": self._faceless,
            "start_s": round(begin, 3),
            "end_s": round(self._end_s, 3),
            "segments": self._segments,
            "share_of_face_time": _portions(shown),
            "mean_valence": _mean(sum(t.valence_s for t in self._tallies.values()), read),
            "people": people,
        }

    def _person(self, track: int, tally: _Tally) -> dict[str, Any]:
        own = [e for e in self.episodes if e.track == track]
        lengths: dict[str, list[float]] = defaultdict(list)
        for episode in own:
            lengths[episode.label].append(episode.end_s - episode.start_s)
        moves = Counter(
            f"{a.label} to {b.label}"
            for a, b in pairwise(own)
            if a.label != b.label and b.start_s - a.end_s <= GAP_S
        )
        return {
            "track": track,
            "first_s": round(tally.first_s, 3),
            "last_s": round(tally.last_s, 3),
            "frames": tally.frames,
            "seen_s": round(sum(tally.shown_s.values()), 3),
            "share_of_time": _portions(tally.shown_s),
            "mean_valence": _mean(tally.valence_s, tally.read_s),
            "episodes": {
                label: {"count": len(v), "mean_s": round(sum(v) / len(v), 3)}
                for label, v in sorted(lengths.items())
            },
            "transitions": dict(moves),
            "timeline": [
                {"label": e.label, "start_s": round(e.start_s, 3), "end_s": round(e.end_s, 3)}
                for e in own
            ],
        }


def order(labels: Sequence[str]) -> list[str]:
    """Return all that a summary may say of a face's time: the labels, unsure, unread."""
    return [*labels, UNSURE, UNREAD]


def _portions(shown_s: Mapping[str, float]) -> dict[str, float]:
    total = sum(shown_s.values())
    return {k: round(v / total, 4) for k, v in sorted(shown_s.items())} if total else {}


def _mean(total: float, seconds: float) -> float | None:
    return round(total / seconds, 4) if seconds else None
