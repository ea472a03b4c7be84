"""The best few chips of each track, spread over its time, and what they become: descriptors."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

from mien.video.people.chips import EYES_PX, cut_chip, place, worth
from mien.video.people.parts import TrackPart
from mien.video.people.stretches import Chip, divide, stretches_of
from mien.video.plan import DETECTED
from mien.video.quality import COVERED, CUT, GOOD
from mien.video.sinks.base import Sink

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.model.descriptor import FaceDescriptor
    from mien.types import TrackedFace
    from mien.video.frame import FrameResult
    from mien.video.people.chips import Placement
    from mien.video.people.stretches import Stretch, TrackFace
    from mien.video.summary import Summary

CHIPS = 5
"""Most chips of a stretch of a track that are embedded; embedding is what finding people costs."""
CHIP_S = 5.0
"""Seconds of a stretch for which another chip is embedded, beside two."""
SPAN_S = 0.4
"""Seconds of which at first one chip is kept; doubled whenever a track has too many."""
BETTER = 1.1
"""A chip is replaced by one that is worth this many times as much: cutting takes time."""
FINISHED_S = 10.0
"""Seconds after which a track that is not seen is embedded: trackers end it much earlier."""
CHANGED = 0.9
"""Correlation of a track's face with the one 0.2 s before, below which another person may be there:
the tracker continues a track where somebody else sits at the same place after a cut. The chips from
before and after decide, see `stretches.divide`."""
HALF_SEEN = (CUT, COVERED)
"""Qualities of faces that would say whose face is in front of them."""
POOR = 0.25
"""Factor of the worth of a chip whose face is turned, blurred or small: it shows where a track
changes to another person, and counts little for who that is."""
SIGNATURE = 24
"""Side in pixels of the grey chips that are compared for this."""


class Worthy(Protocol):
    """Something with a worth: a chip, or where one could be cut."""

    @property
    def worth(self) -> float:
        """0 to 1, see `chips.worth`."""


W = TypeVar("W", bound=Worthy)


def cut(image_hwc: NDArray[np.uint8], placement: Placement, value: float, time_s: float) -> Chip:
    """Return the chip at a placement of an image, uint8 [h, w, 3] RGB, with its worth and time."""
    return Chip(value, abs(placement.scale) * EYES_PX, cut_chip(image_hwc, placement), time_s)


class TrackChips(Generic[W]):
    """The best of one track, at most one for each span of time.

    Args:
        start_s: time of the first, in seconds.
        after_s: see the attribute.

    Attributes:
        last_s: time of the newest detection, in seconds.
        after_s: time at which the track may have changed to them, in seconds; None for its start.
    """

    def __init__(self, start_s: float, after_s: float | None = None) -> None:
        self._start_s = self.last_s = start_s
        self.after_s = after_s
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
        """Return the best of each part of the track, in order of time: two to CHIPS, by length."""
        ordered = [self._held[number] for number in sorted(self._held)]
        count = min(2 + int(len(ordered) * self._span_s / CHIP_S), CHIPS, len(ordered))
        edges = np.linspace(0, len(ordered), count + 1).astype(int)
        parts = [ordered[a:b] for a, b in pairwise(edges.tolist())]
        return [max(part, key=lambda one: one.worth) for part in parts]


@dataclass(slots=True)
class _Track:
    """A track: the stretches that are over, and the newest one."""

    chips: TrackChips[Chip]
    signature: NDArray[np.float32] | None = None
    stretches: list[Stretch] = field(default_factory=list)


class FaceCollector(Sink):
    """Collects chips of the tracks of one source and embeds them; `faces` is whole after `close`.

    Args:
        source: name of the source.
        descriptor: embeds the chips.

    Attributes:
        source: name of the source.
        faces: of each track that showed a face well enough, in parts where its face changed.
    """

    needs_pixels = False
    """Only those of frames in which faces were detected, which are decoded in any case."""

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
            if face.origin == DETECTED and face.quality not in HALF_SEEN:
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
        value = worth(placement, face.score, marks) * (1.0 if face.quality == GOOD else POOR)
        pixels = result.frame.pixels
        signature = _signature(cut_chip(pixels, placement, SIGNATURE))
        if track.signature is not None and float(signature @ track.signature) < CHANGED:
            track.stretches += self._embed(track)
            # Between the two detections; which frame it was is not known.
            track.chips = TrackChips(time_s, (track.chips.last_s + time_s) / 2)
        track.chips.last_s = time_s
        track.signature = signature
        if track.chips.wants(time_s, value):
            track.chips.add(time_s, cut(pixels, placement, value, time_s))

    def _embed(self, track: _Track) -> list[Stretch]:
        """Return the newest stretch of a track, in parts where its face changes slowly."""
        return stretches_of(track.chips.best(), self._descriptor, track.chips.after_s)

    def _finish(self, number: int) -> None:
        """Embed what is left of a track, and divide it where its face changed."""
        track = self._tracks.pop(number)
        part = TrackPart(self.source, number)
        self.faces |= divide(part, [*track.stretches, *self._embed(track)], self._descriptor)


def _signature(chip_hwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a chip's grey pixels, standardised: the product of two is their correlation."""
    grey = chip_hwc.astype(np.float32).mean(axis=2).ravel()
    grey -= grey.mean()
    unit: NDArray[np.float32] = grey / max(float(np.linalg.norm(grey)), 1e-6)
    return unit
