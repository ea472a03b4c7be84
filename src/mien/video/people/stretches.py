"""Dividing a track where it shows another person: the evidence of its chips' descriptors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.model.descriptor import FaceDescriptor
    from mien.video.people.parts import TrackPart

MIN_CHIPS = 2
"""Chips that show another person before a track is divided: one alone may be half covered."""


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


@dataclass(frozen=True, slots=True)
class TrackFace:
    """What is known of the face of a track, or of a part of it.

    Attributes:
        vector_d: float32 [d], the mean descriptor with norm 1.
        chips: number of chips that it is the mean of.
        worth: of the best chip, see `chips.worth`.
        agreement: least cosine similarity of a chip and the mean of the others, chips of less than
            half the best one's worth left out; low where chips show two people.
        eyes_px: largest distance of the eyes, in pixels of the video.
    """

    vector_d: NDArray[np.float32]
    chips: int
    worth: float
    agreement: float
    eyes_px: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a track in which its face did not change at once.

    Attributes:
        after_s: time of its start in seconds; None for the track's start.
        vectors_nd: float32 [n, d], descriptors of its chips with norm 1, in order of time.
        worth_n: float64 [n], see `chips.worth`.
        eyes_px: largest distance of the eyes, in pixels of the video.
    """

    after_s: float | None
    vectors_nd: NDArray[np.float32]
    worth_n: NDArray[np.float64]
    eyes_px: float

    def joined(self, later: Stretch, same: float = -1.0) -> Stretch:
        """Return this stretch and the one that follows it as one.

        Args:
            later: the stretch that follows.
            same: only the chips of the one with more are kept if none is as similar as this.
        """
        if self.similarity(later) < same:
            kept = max(self, later, key=lambda one: (len(one.worth_n), float(one.worth_n.max())))
            return replace(kept, after_s=self.after_s)
        return replace(
            self,
            vectors_nd=np.concatenate([self.vectors_nd, later.vectors_nd]),
            worth_n=np.concatenate([self.worth_n, later.worth_n]),
            eyes_px=max(self.eyes_px, later.eyes_px),
        )

    def similarity(self, other: Stretch) -> float:
        """Return the largest cosine similarity of two chips: one clear pair is enough."""
        return float((self.vectors_nd @ other.vectors_nd.T).max())


def stretches_of(
    chips: list[Chip], descriptor: FaceDescriptor, after_s: float | None = None
) -> list[Stretch]:
    """Return the stretch that chips show, in parts where one chip is unlike the one before.

    Args:
        chips: chips in order of time.
        descriptor: embeds them.
        after_s: see `Stretch`.
    """
    if not chips:
        return []
    vectors = descriptor.embed(np.stack([chip.pixels_hwc for chip in chips]))
    like = (vectors[1:] * vectors[:-1]).sum(axis=1)
    unlike = (np.flatnonzero(like < descriptor.same_track) + 1).tolist()
    # The frame is not known, only the two chips.
    times = [after_s, *((chips[row - 1].time_s + chips[row].time_s) / 2 for row in unlike)]
    edges = [0, *unlike, len(chips)]
    return [
        Stretch(
            times[n],
            vectors[a:b],
            np.array([chip.worth for chip in chips[a:b]]),
            max(chip.eyes_px for chip in chips[a:b]),
        )
        for n, (a, b) in enumerate(pairwise(edges))
    ]


def divide(
    part: TrackPart, stretches: list[Stretch], descriptor: FaceDescriptor
) -> dict[TrackPart, TrackFace]:
    """Return the faces of a part of a track, divided where two chips or more show another person.

    Neighbouring stretches are one person if any two of their chips are similar enough. A single
    chip that is unlike both neighbours may be a face that is half covered: its time counts for the
    more similar one.

    Args:
        part: the part.
        stretches: its stretches in order of time.
        descriptor: what embedded them; its `same_track` decides.
    """
    joined = _alike_joined(stretches, descriptor.same_track)
    _absorb(joined, descriptor.same_track)
    # What is left of two neighbours may be one person now.
    joined = _alike_joined(joined, descriptor.same_track)
    bounds = [part.start_s, *(one.after_s for one in joined[1:]), part.end_s]
    return {
        replace(part, start_s=bounds[n], end_s=bounds[n + 1]): mean_face(one)
        for n, one in enumerate(joined)
    }


def _alike_joined(stretches: list[Stretch], same: float) -> list[Stretch]:
    """Return the stretches, neighbours that are one person joined."""
    joined: list[Stretch] = []
    for one in stretches:
        if joined and joined[-1].similarity(one) >= same:
            joined[-1] = joined[-1].joined(one)
        else:
            joined.append(one)
    return joined


def _absorb(stretches: list[Stretch], same: float) -> None:
    """Join short stretches with a neighbour."""
    row = 0
    while len(stretches) > 1 and row < len(stretches):
        if len(stretches[row].worth_n) >= MIN_CHIPS:
            row += 1
            continue
        near = [n for n in (row - 1, row + 1) if 0 <= n < len(stretches)]
        best = max(near, key=lambda n: stretches[n].similarity(stretches[row]))
        first = min(row, best)
        stretches[first : first + 2] = [stretches[first].joined(stretches[first + 1], same)]
        row = first


def mean_face(stretch: Stretch) -> TrackFace:
    """Return the face of a stretch: the mean of its descriptors, the best chips counting most."""
    vectors, weights = stretch.vectors_nd.astype(np.float64), stretch.worth_n + 1e-6
    total = (vectors * weights[:, None]).sum(axis=0)
    mean = total / max(float(np.linalg.norm(total)), 1e-9)
    others = total - vectors * weights[:, None]
    others /= np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-9)
    clear = weights > 0.5 * weights.max()
    return TrackFace(
        vector_d=mean.astype(np.float32),
        chips=len(vectors),
        worth=float(stretch.worth_n.max()),
        agreement=1.0 if clear.sum() < 2 else float((vectors * others).sum(axis=1)[clear].min()),
        eyes_px=stretch.eyes_px,
    )
