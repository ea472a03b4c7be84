"""The best few chips of each track, spread over its time, and what they become: descriptors."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

from mien.video.people.chips import EYES_PX, cut_chip, place, worth
from mien.video.people.parts import TrackPart
from mien.video.plan import DETECTED
from mien.video.quality import GOOD
from mien.video.sinks.base import Sink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.model.descriptor import FaceDescriptor
    from mien.types import TrackedFace
    from mien.video.frame import FrameResult
    from mien.video.people.chips import Placement
    from mien.video.summary import Summary

CHIPS = 5
"""Chips of a track that are embedded."""
SPAN_S = 0.4
"""Seconds of which at first one chip is kept; doubled whenever a track has too many."""
BETTER = 1.1
"""A chip is replaced by one that is worth this many times as much: cutting takes time."""
FINISHED_S = 10.0
"""Seconds after which a track that is not seen is embedded: trackers end it much earlier."""


SAME_FACE = 0.5
"""Correlation of a track's face with the one 0.2 s before, below which a cut may have replaced it:
the tracker continues a track where another person sits at the same place after a cut."""
STEADY = 0.9
"""Correlations above it are no change worth noting."""
SIGNATURE = 24
"""Side in pixels of the grey chips that are compared for this."""


@dataclass(frozen=True, slots=True)
class TrackFace:
    """What is known of the face of a track, or of a part of it.

    Attributes:
        vector_d: float32 [d], the mean descriptor with norm 1.
        chips: number of chips that it is the mean of.
        worth: of the best chip, see `chips.worth`.
        agreement: least cosine similarity of two chips; low where a track changes from one
            person to another.
        eyes_px: largest distance of the eyes, in pixels of the video.
    """

    vector_d: NDArray[np.float32]
    chips: int
    worth: float
    agreement: float
    eyes_px: float


class Worthy(Protocol):
    """Something with a worth: a chip, or where one could be cut."""

    @property
    def worth(self) -> float:
        """0 to 1, see `chips.worth`."""


W = TypeVar("W", bound=Worthy)


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip.

    Attributes:
        worth: see `chips.worth`.
        eyes_px: distance of the eyes in the video, in pixels.
        pixels_hwc: uint8 [150, 150, 3] RGB.
        time_s: of its frame, in seconds.
    """

    worth: float
    eyes_px: float
    pixels_hwc: NDArray[np.uint8]
    time_s: float


def cut(image_hwc: NDArray[np.uint8], placement: Placement, value: float, time_s: float) -> Chip:
    """Return the chip at a placement of an image, uint8 [h, w, 3] RGB, with its worth and time."""
    return Chip(value, abs(placement.scale) * EYES_PX, cut_chip(image_hwc, placement), time_s)


class TrackChips(Generic[W]):
    """The best of one track, at most one for each span of time.

    Args:
        start_s: time of the first, in seconds.
    """

    def __init__(self, start_s: float) -> None:
        self._start_s = self.last_s = start_s
        self._span_s = SPAN_S
        self._held: dict[int, W] = {}

    def wants(self, time_s: float, value: float) -> bool:
        """Return whether something of this worth would be kept."""
        held = self._held.get(int((time_s - self._start_s) / self._span_s))
        return held is None or value > BETTER * held.worth

    def add(self, time_s: float, one: W) -> None:
        """Keep one; join spans of time two by two where there are too many."""
        self._held[int((time_s - self._start_s) / self._span_s)] = one
        while len(self._held) > 2 * CHIPS:
            joined: dict[int, W] = {}
            for number, held in self._held.items():
                other = joined.get(number // 2)
                if other is None or held.worth > other.worth:
                    joined[number // 2] = held
            self._held, self._span_s = joined, 2 * self._span_s

    def best(self) -> list[W]:
        """Return at most CHIPS, each the best of its part of the track, in order of time."""
        ordered = [self._held[number] for number in sorted(self._held)]
        edges = np.linspace(0, len(ordered), min(CHIPS, len(ordered)) + 1).astype(int)
        parts = [ordered[a:b] for a, b in pairwise(edges.tolist())]
        return [max(part, key=lambda one: one.worth) for part in parts]


@dataclass(slots=True)
class _Track:
    """The newest part of a track: since its start, or since its face changed at once."""

    chips: TrackChips[Chip]
    start_s: float | None = None
    signature: NDArray[np.float32] | None = None
    changes: list[tuple[float, float]] = field(default_factory=list)

    def part(self, source: str, number: int, end_s: float | None) -> TrackPart:
        """Return the part of the track up to, not including, `end_s`."""
        return TrackPart(source, number, self.start_s, end_s)


class FaceCollector(Sink):
    """Collects chips of the tracks of one source and embeds them; `faces` is whole after `close`.

    Args:
        source: name of the source.
        descriptor: embeds the chips.

    Attributes:
        source: name of the source.
        faces: of each track that showed a face well enough, in parts where its face changed.
    """

    def __init__(self, source: str, descriptor: FaceDescriptor) -> None:
        self.source, self._descriptor = source, descriptor
        self._tracks: dict[int, _Track] = {}
        self._checked_s = 0.0
        self.faces: dict[TrackPart, TrackFace] = {}

    @property
    def resumable(self) -> bool:
        """True: tracks of earlier frames are looked up in the video again, see `reread.py`."""
        return True

    def write(self, result: FrameResult) -> None:
        """Take in the faces of a frame that the detector ran on."""
        time_s = result.reading.time_s
        for face in result.reading.faces:
            # The other boxes are interpolated: their landmarks are not known.
            if face.origin == DETECTED and face.quality == GOOD:
                self._take(result, face, time_s)
        if time_s - self._checked_s > FINISHED_S:
            self._checked_s = time_s
            for number, track in list(self._tracks.items()):
                if time_s - track.chips.last_s > FINISHED_S:
                    self._finish(number)

    def close(self, summary: Summary) -> None:
        """Embed what is left."""
        for number in list(self._tracks):
            self._finish(number)

    def abort(self) -> None:
        """Drop the chips."""
        self._tracks.clear()

    def _take(self, result: FrameResult, face: TrackedFace, time_s: float) -> None:
        track = self._tracks.setdefault(face.track, _Track(TrackChips(time_s)))
        marks = None if face.landmarks is None else np.array(face.landmarks, np.float32)
        placement = place(np.array(face.box, np.float32), marks)
        value = worth(placement, face.score, marks)
        pixels = result.frame.pixels
        signature = _signature(cut_chip(pixels, placement, SIGNATURE))
        if track.signature is not None:
            like = float(signature @ track.signature)
            # Between the two detections; which frame it was is not known.
            between_s = (track.chips.last_s + time_s) / 2
            if like < SAME_FACE:
                track = self._finish(face.track, between_s, time_s)
            elif like < STEADY:
                track.changes.append((between_s, like))
        track.chips.last_s = time_s
        track.signature = signature
        if track.chips.wants(time_s, value):
            track.chips.add(time_s, cut(pixels, placement, value, time_s))

    def _finish(self, number: int, end_s: float | None = None, next_s: float = 0.0) -> _Track:
        """Embed the newest part of a track, up to `end_s`; return the part that follows."""
        track = self._tracks.pop(number)
        part = track.part(self.source, number, end_s)
        self.faces |= faces_of(part, track.chips.best(), self._descriptor, track.changes)
        following = _Track(TrackChips(next_s), end_s)
        if end_s is not None:
            self._tracks[number] = following
        return following


def _signature(chip_hwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a chip's grey pixels, standardised: the product of two is their correlation."""
    grey = chip_hwc.astype(np.float32).mean(axis=2).ravel()
    grey -= grey.mean()
    unit: NDArray[np.float32] = grey / max(float(np.linalg.norm(grey)), 1e-6)
    return unit


def faces_of(
    part: TrackPart,
    chips: list[Chip],
    descriptor: FaceDescriptor,
    changes: Sequence[tuple[float, float]] = (),
) -> dict[TrackPart, TrackFace]:
    """Return the faces of a part of a track, divided where one chip is unlike the one before.

    Args:
        part: the part.
        chips: its chips in order of time, at least one.
        descriptor: embeds them.
        changes: (seconds, correlation) where the face changed: the largest change between two
            unlike chips divides the part; without one the middle between them.
    """
    vectors = descriptor.embed(np.stack([chip.pixels_hwc for chip in chips]))
    like = (vectors[1:] * vectors[:-1]).sum(axis=1)
    unlike = np.flatnonzero(like < descriptor.threshold - 2 * descriptor.margin) + 1
    times = []
    for row in unlike.tolist():
        before_s, after_s = chips[row - 1].time_s, chips[row].time_s
        inside = [(value, at) for at, value in changes if before_s < at < after_s]
        times.append(min(inside)[1] if inside else (before_s + after_s) / 2)
    edges, bounds = [0, *unlike.tolist(), len(chips)], [part.start_s, *times, part.end_s]
    return {
        replace(part, start_s=bounds[n], end_s=bounds[n + 1]): mean_face(chips[a:b], vectors[a:b])
        for n, (a, b) in enumerate(pairwise(edges))
    }


def mean_face(chips: list[Chip], vectors_nd: NDArray[np.float32]) -> TrackFace:
    """Return the face that chips with these descriptors show, float32 [n, d]."""
    weights = np.array([chip.worth for chip in chips]) + 1e-6
    mean = (vectors_nd * weights[:, None]).sum(axis=0)
    mean /= max(float(np.linalg.norm(mean)), 1e-9)
    return TrackFace(
        vector_d=mean.astype(np.float32),
        chips=len(chips),
        worth=max(chip.worth for chip in chips),
        agreement=float((vectors_nd @ vectors_nd.T).min()),
        eyes_px=max(chip.eyes_px for chip in chips),
    )
