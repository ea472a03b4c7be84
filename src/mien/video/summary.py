"""Statistics of a video, per track and in all, updated with each frame."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import ConfigError
from mien.types import UNSURE
from mien.video.pace import Pace
from mien.video.smooth import Viterbi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.errors import SourceError
    from mien.types import FrameReading, TrackedFace
    from mien.video.pace import Standing

UNREAD = "unread"
"""A face was detected, but its quality was too low to classify it."""
SEGMENTS = ("labels", "viterbi")


@dataclass(slots=True)
class Episode:
    """A stretch of time in which a track shows one label."""

    track: int
    label: str
    start_s: float
    end_s: float


@dataclass(slots=True)
class _Tally:
    """What is added up of one track; times in seconds."""

    first_s: float
    last_s: float
    shown_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    shown_frames: Counter[str] = field(default_factory=Counter)
    valence_s: float = 0.0
    read_s: float = 0.0
    valence: float = 0.0
    read: int = 0
    frames: int = 0
    current: Episode | None = None
    moves: Counter[str] = field(default_factory=Counter)
    viterbi: Viterbi | None = None
    undecided: deque[_Span] = field(default_factory=deque)
    """The moments that `viterbi` has not decided yet."""


@dataclass(slots=True)
class _Span:
    start_s: float
    end_s: float
    gap_s: float


class Summary:
    """Adds up the frames of one source.

    A frame counts until the next one that is read, or the end of the source, as `Pace` says: so
    neither uneven nor low frame rates change the result beyond its precision. An image has no
    duration: there frames are counted instead of seconds.

    Args:
        labels: of the model.
        segments: 'labels' takes episodes from the predicted labels; 'viterbi' from the most
            likely sequence of labels behind the raw probabilities.

    Attributes:
        source: name of the source.
        frames: number of frames.
        error: why the source broke off after some frames, else None.
        episodes: of all tracks, by start.

    Raises:
        ConfigError: another value of `segments`.
    """

    def __init__(self, labels: Sequence[str], segments: str = "labels") -> None:
        if segments not in SEGMENTS:
            raise ConfigError(
                f"segments: {segments!r} is not a method",
                hint=f"known: {', '.join(SEGMENTS)}",
            )
        self._labels, self._segments = tuple(labels), segments
        self._tallies: dict[int, _Tally] = {}
        self.frames = self._faceless = 0
        self._start_s: float | None = None
        self._end_s = 0.0
        self._until_s: float | None = None
        self._pace: Pace[FrameReading] = Pace()
        self.source = ""
        self.error: SourceError | None = None
        self.episodes: list[Episode] = []

    @property
    def has_faces(self) -> bool:
        """Whether some frame shows a face."""
        return self.frames > self._faceless

    def add(self, reading: FrameReading) -> None:
        """Take a frame in."""
        if self._start_s is None:
            self._start_s, self.source = reading.time_s, reading.source
        # Counted at once, not when `Pace` decides: the session asks for it while it runs.
        self.frames += 1
        self._faceless += not reading.faces
        self._until_s = reading.until_s
        for standing in self._pace.add(reading.time_s, reading):
            self._take(standing)

    def _take(self, standing: Standing[FrameReading]) -> None:
        self._end_s = standing.end_s
        span = _Span(standing.start_s, standing.end_s, standing.gap_s)
        for face in standing.item.faces:
            tally = self._tallies.get(face.track)
            if tally is None:
                tally = self._tallies[face.track] = _Tally(span.start_s, span.end_s)
                if self._segments == "viterbi":
                    tally.viterbi = Viterbi(len(self._labels))
            self._add_face(tally, face, span)

    def _add_face(self, tally: _Tally, face: TrackedFace, span: _Span) -> None:
        seconds = span.end_s - span.start_s
        tally.frames += 1
        tally.last_s = span.end_s
        label = face.label or UNREAD
        tally.shown_s[label] += seconds
        tally.shown_frames[label] += 1
        probabilities = face.probabilities
        if probabilities is not None:
            # A model of other labels has neither, and a valence of 0.
            valence = probabilities.get("happy", 0.0) - probabilities.get("sad", 0.0)
            tally.read, tally.valence = tally.read + 1, tally.valence + valence
            tally.read_s += seconds
            tally.valence_s += seconds * valence
        if tally.viterbi is None:
            self._extend(tally, face.track, label, span)
        elif face.raw is not None:
            raw = np.array([face.raw[name] for name in self._labels], np.float32)
            # A copy: its end moves on below, and the caller's span must not.
            tally.undecided.append(replace(span))
            self._decide(tally, face.track, tally.viterbi.add(span.start_s, raw))
        elif probabilities is not None and tally.undecided:
            last = tally.undecided[-1]
            if span.start_s - last.end_s <= span.gap_s:
                last.end_s = span.end_s  # tracked, but not classified again, until here

    def _decide(self, tally: _Tally, track: int, decided: Sequence[tuple[float, int]]) -> None:
        for _, number in decided:
            self._extend(tally, track, self._labels[number], tally.undecided.popleft())

    def _extend(self, tally: _Tally, track: int, label: str, span: _Span) -> None:
        current = tally.current
        if current is not None and span.start_s - current.end_s <= span.gap_s:
            if label == current.label:
                current.end_s = span.end_s
                return
            current.end_s = span.start_s  # an episode lasts until the next one starts
            tally.moves[f"{current.label} to {label}"] += 1
        tally.current = Episode(track, label, span.start_s, span.end_s)
        self.episodes.append(tally.current)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON types, times in seconds; add no frames afterwards."""
        # Both are empty after the first call, so that several sinks may ask for the summary.
        for standing in self._pace.finish(self._until_s):
            self._take(standing)
        for track, tally in self._tallies.items():
            if tally.viterbi is not None:
                self._decide(tally, track, tally.viterbi.finish())
        start_s = self._start_s or 0.0
        tracks = [self._track(track, tally) for track, tally in sorted(self._tallies.items())]
        return {
            "source": self.source,
            "frames": self.frames,
            "frames_without_a_face": self._faceless,
            "start_s": round(start_s, 3),
            "end_s": round(self._end_s, 3),
            "segments": self._segments,
            **_fractions("fraction_of_face_time", list(self._tallies.values())),
            "tracks": tracks,
            "error": None if self.error is None else self.error.message,
        }

    def _track(self, track: int, tally: _Tally) -> dict[str, Any]:
        own = [e for e in self.episodes if e.track == track]
        lengths: dict[str, list[float]] = defaultdict(list)
        for episode in own:
            lengths[episode.label].append(episode.end_s - episode.start_s)
        return {
            "track": track,
            "first_s": round(tally.first_s, 3),
            "last_s": round(tally.last_s, 3),
            "frames": tally.frames,
            "seen_s": round(sum(tally.shown_s.values()), 3),
            **_fractions("fraction_of_time", [tally]),
            "episodes": {
                label: {"count": len(v), "mean_s": round(sum(v) / len(v), 3)}
                for label, v in sorted(lengths.items())
            },
            "transitions": dict(tally.moves),
            "timeline": [
                {"label": e.label, "start_s": round(e.start_s, 3), "end_s": round(e.end_s, 3)}
                for e in own
            ],
        }


def order(labels: Sequence[str]) -> list[str]:
    """Return everything that a face's time may count for: the labels, unsure, unread."""
    return [*labels, UNSURE, UNREAD]


def _fractions(name: str, tallies: Sequence[_Tally]) -> dict[str, Any]:
    """Return each label's fraction of the time, under `name`, and the mean valence."""
    # Frames stand in for seconds where nothing has a duration.
    has_duration = any(sum(t.shown_s.values()) for t in tallies)
    shown: Counter[str] = Counter()
    for tally in tallies:
        shown.update(tally.shown_s if has_duration else tally.shown_frames)
    total = sum(shown.values())
    read = sum(t.read_s if has_duration else t.read for t in tallies)
    valence = sum(t.valence_s if has_duration else t.valence for t in tallies)
    return {
        name: {label: round(v / total, 4) for label, v in sorted(shown.items())},
        "mean_valence": round(valence / read, 4) if read else None,
    }
