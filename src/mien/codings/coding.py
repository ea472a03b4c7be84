"""What a coding is: tiers of labelled segments, as in ELAN and Praat."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

TOUCHING_S = 1e-3
"""Seconds by which neighbors may overlap: ELAN counts milliseconds, so ends are rounded."""
MAX_GAP = 5.0
"""Usual steps after which the next sample is no continuation of the one before."""
MISSING = -1
"""Label number of a time that is not coded."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A label from `start_s` up to, not including, `end_s`; seconds from the video's start."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True, slots=True)
class Tier:
    """Segments of one person or one kind, by time; they do not overlap."""

    name: str
    segments: tuple[Segment, ...]

    @property
    def span_s(self) -> tuple[float, float]:
        """Start of the first and end of the last segment, in seconds; (0, 0) without any."""
        return (self.segments[0].start_s, self.segments[-1].end_s) if self.segments else (0.0, 0.0)

    def numbers_at(
        self, times_n: NDArray[np.float64], labels: tuple[str, ...]
    ) -> NDArray[np.int64]:
        """Return the label at each time as its index in `labels`, int64 [n]; MISSING for none.

        Args:
            times_n: float64 [n], seconds.
            labels: labels; those of the tier that are not among them count as not coded.
        """
        index = {label: number for number, label in enumerate(labels)}
        starts = np.array([segment.start_s for segment in self.segments])
        ends = np.array([segment.end_s for segment in self.segments])
        numbers = np.array([index.get(one.label, MISSING) for one in self.segments], np.int64)
        place = np.searchsorted(starts, times_n, side="right") - 1
        inside = place >= 0
        inside[inside] = times_n[inside] < ends[place[inside]]
        return np.where(inside, numbers[place] if len(numbers) else MISSING, MISSING)


@dataclass(frozen=True, slots=True)
class Coding:
    """The tiers of one file.

    Attributes:
        source: the file.
        tiers: those that have a segment, in the file's order; their names differ.
        is_sampled: made from frames, so that time between segments was not read. Otherwise
            people set the segments, and may have coded only what they looked for.
    """

    source: Path
    tiers: tuple[Tier, ...]
    is_sampled: bool = False


def make_tier(name: str, segments: Iterable[Segment], where: str) -> Tier:
    """Return a tier of these segments in order of time, without those that have no label.

    Args:
        name: of the tier.
        segments: in any order.
        where: the file and tier, for the message.

    Raises:
        DataError: a segment ends before it starts, or two segments overlap.
    """
    kept = sorted((one for one in segments if one.label), key=lambda one: one.start_s)
    for one in kept:
        if not 0 <= one.end_s - one.start_s < np.inf:
            raise DataError(
                f"{where}: {one.label!r} starts at {one.start_s:g} s and ends at {one.end_s:g} s",
                hint="correct the segment; times are seconds from the start of the video",
            )
    for first, second in pairwise(kept):
        if second.start_s < first.end_s - TOUCHING_S:
            raise DataError(
                f"{where}: {first.label!r} ({first.start_s:g} to {first.end_s:g} s) overlaps "
                f"{second.label!r} ({second.start_s:g} to {second.end_s:g} s)",
                hint="code people who are seen at the same time in tiers of their own",
            )
    return Tier(name, tuple(kept))


def fill_gaps(tier: Tier, label: str, span_s: tuple[float, float]) -> Tier:
    """Return a tier with `label` wherever nothing is coded between the two times, in seconds."""
    filled: list[Segment] = []
    at = span_s[0]
    for one in tier.segments:
        if one.start_s > at:
            filled.append(Segment(at, one.start_s, label))
        filled.append(one)
        at = max(at, one.end_s)
    if at < span_s[1]:
        filled.append(Segment(at, span_s[1], label))
    return Tier(tier.name, tuple(filled))


def join_runs(segments: Iterable[Segment]) -> list[Segment]:
    """Return segments with neighbors of one label joined where no time lies between them."""
    joined: list[Segment] = []
    for one in segments:
        last = joined[-1] if joined else None
        if last and last.label == one.label and one.start_s - last.end_s <= TOUCHING_S:
            joined[-1] = Segment(last.start_s, max(last.end_s, one.end_s), last.label)
        else:
            joined.append(one)
    return joined


def join_samples(samples: Sequence[tuple[float, str]], step_s: float) -> list[Segment]:
    """Return labelled moments as segments, each up to the next one, neighbors of a label joined.

    Args:
        samples: seconds and label, '' where there is none; in order of time.
        step_s: usual time between two samples. A sample lasts as long where the next one comes
            later than MAX_GAP of them, or never.
    """
    segments = []
    for place, (time_s, label) in enumerate(samples):
        after = samples[place + 1][0] if place + 1 < len(samples) else math.inf
        is_last = after - time_s > MAX_GAP * step_s
        if label:
            segments.append(Segment(time_s, time_s + step_s if is_last else after, label))
    return join_runs(segments)


def track_tiers(
    samples: Mapping[tuple[str, str], Sequence[tuple[float, str]]],
    times_s: Mapping[str, Iterable[float]],
) -> list[Tier]:
    """Return a tier for each track: 'track 1', or 'clip.mp4, track 1' of several sources.

    Args:
        samples: seconds and label of each row, '' where there is none, by source and track.
        times_s: seconds of all frames of each source, those without a face included.
    """
    steps = {source: usual_step(times) for source, times in times_s.items()}
    # A file of rows may hold several videos, and tracks are numbered from 1 in each.
    single = len({source for source, _ in samples}) < 2
    return [
        Tier(
            f"track {track}" if single else f"{source}, track {track}",
            tuple(join_samples(sorted(some), steps[source])),
        )
        for (source, track), some in samples.items()
    ]


def usual_step(times_s: Iterable[float]) -> float:
    """Return the median time between two frames, in seconds; 0.04 with fewer than two."""
    times = np.unique(np.fromiter(times_s, np.float64))
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.04
