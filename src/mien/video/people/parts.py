"""What `people.json` is made of: parts of tracks, people, and what tracks were compared by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.video.people.seen import Seen, TrackKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Embedding:
    """What tracks were compared by.

    Attributes:
        name: 'dlib-face', or 'mien-small-colours' for features and colours.
        threshold: cosine similarity, -1 to 1, from which on two groups of tracks are one person;
            raised where faces are too alike.
    """

    name: str
    threshold: float


@dataclass(frozen=True, slots=True)
class TrackPart:
    """A track, or its part from `start_s` up to, not including, `end_s`.

    Attributes:
        source: name of the video, as in the rows.
        track: its number in that video, from 1.
        start_s: seconds; None is the track's start.
        end_s: seconds; None is the track's end.
    """

    source: str
    track: int
    start_s: float | None = None
    end_s: float | None = None

    @property
    def key(self) -> TrackKey:
        """The track."""
        return TrackKey(self.source, self.track)

    @property
    def is_whole(self) -> bool:
        """Whether this is the whole track."""
        return self.start_s is None and self.end_s is None

    def is_within(self, outer: TrackPart) -> bool:
        """Return whether this part lies in another one of the same track."""
        if self.key != outer.key:
            return False
        (start, end), (first, last) = self._bounds, outer._bounds
        return first <= start and end <= last

    @property
    def _bounds(self) -> tuple[float, float]:
        start = -np.inf if self.start_s is None else self.start_s
        return start, np.inf if self.end_s is None else self.end_s

    def holds(self, time_s: float) -> bool:
        """Return whether a moment lies in this part of the track."""
        return bool(self.mask(np.array([time_s]))[0])

    def mask(self, times_n: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which moments, float64 [n] in seconds, lie in this part: bool [n]."""
        start, end = self._bounds
        inside: NDArray[np.bool_] = (times_n >= start) & (times_n < end)
        return inside

    def order(self) -> tuple[str, int, float]:
        """Return what parts are sorted by."""
        return self.source, self.track, -np.inf if self.start_s is None else self.start_s

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types; without the times that are None."""
        values = {"source": self.source, "track": self.track}
        times = {"start_s": self.start_s, "end_s": self.end_s}
        return {**values, **{name: time for name, time in times.items() if time is not None}}


@dataclass(frozen=True, slots=True)
class Person:
    """A person.

    Attributes:
        id: 'P1' and so on; never used for another person.
        name: given by a user, or None.
        tracks: parts of tracks, by source and track.
    """

    id: str
    name: str | None
    tracks: tuple[TrackPart, ...]

    @property
    def label(self) -> str:
        """The name, or the id where there is none."""
        return self.name or self.id


def frames_of(
    parts: Iterable[TrackPart], seen: Mapping[TrackKey, Seen]
) -> dict[TrackKey, list[NDArray[np.int64]]]:
    """Return the frames of parts of tracks, by track; those that the rows lack have none."""
    frames: dict[TrackKey, list[NDArray[np.int64]]] = {}
    for part in parts:
        if part.key in seen:
            found = seen[part.key].between(part.start_s, part.end_s)
            frames.setdefault(part.key, []).append(found)
    return frames


def tidy(parts: Iterable[TrackPart]) -> tuple[TrackPart, ...]:
    """Return parts in order; neighbors of one track become one part."""
    joined: list[TrackPart] = []
    for part in sorted(parts, key=TrackPart.order):
        last = joined[-1] if joined else None
        if last is not None and last.key == part.key and last.end_s == part.start_s:
            joined[-1] = replace(last, end_s=part.end_s)
        else:
            joined.append(part)
    return tuple(joined)
