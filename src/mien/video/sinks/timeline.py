"""The timeline image, SVG: each track's probabilities, stacked, with thumbnails at the peaks."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mien.intervals import percent
from mien.report.page import render
from mien.report.palette import label_colour
from mien.video.pace import UNSEEN_INTERVALS, Pace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mien.types import FrameReading, TrackedFace
    from mien.video.frame import Frame
    from mien.video.pace import Standing
    from mien.video.sinks.lanes import Lanes

MAX_POINTS = 1200
"""Points kept for each track; beyond them every second one is dropped."""
MAX_TRACKS = 12
GAP_S = 0.25
"""Seconds without a detection after which the areas are cut: a line across would be a guess.
Where frames are sampled further apart, the sampling interval counts instead."""
THUMB = 88
PEAK_GAIN = 0.01
"""A thumbnail is replaced where the confidence rises at least by this."""
PEAK_MARGIN = 1.24
"""Side of a thumbnail's square over the longer side of the face's box."""
WIDTH, LEFT, RIGHT = 1000, 78, 16
LANE, THUMBS, SPACE, TOP, FOOT = 96, 74, 26, 40, 34


@dataclass(slots=True)
class _Peak:
    time_s: float
    confidence: float
    jpeg: bytes


@dataclass(slots=True)
class _Point:
    """A moment of a track; no probabilities where the face could not be classified."""

    start_s: float
    end_s: float
    gap_s: float
    probabilities: tuple[float, ...] | None


@dataclass(slots=True)
class _Lane:
    points: list[_Point] = field(default_factory=list)
    step_s: float = 0.0
    seen_s: float = 0.0
    peaks: dict[str, _Peak] = field(default_factory=dict)


class Timeline:
    """Collects what the image needs; memory is bounded for each track.

    Args:
        labels: of the model.
        images: False keeps no thumbnails.
        levels: collects the same as levels of detail.
    """

    def __init__(
        self, labels: Sequence[str], images: bool = True, levels: Lanes | None = None
    ) -> None:
        self._labels, self._images, self._levels = tuple(labels), images, levels
        self._lanes: dict[int, _Lane] = {}
        self._pace: Pace[tuple[TrackedFace, ...]] = Pace()
        self._until_s: float | None = None
        self.first_s: float | None = None
        self.last_s = 0.0

    def append(self, frame: Frame, reading: FrameReading) -> None:
        """Take a frame in."""
        if self.first_s is None:
            self.first_s = reading.time_s
        self.last_s, self._until_s = reading.time_s, reading.until_s
        for face in reading.faces:
            lane = self._lanes.setdefault(face.track, _Lane())
            if self._images and face.raw is not None and face.label in self._labels:
                self._keep_peak(lane, frame, face)
        for standing in self._pace.add(reading.time_s, reading.faces):
            self._take(standing)

    def _take(self, standing: Standing[tuple[TrackedFace, ...]]) -> None:
        self.last_s = max(self.last_s, standing.end_s)
        gap_s = max(GAP_S, UNSEEN_INTERVALS * standing.interval_s)
        if self._levels is not None:
            self._levels.add(standing)
        for face in standing.item:
            lane = self._lanes[face.track]
            lane.seen_s += standing.seconds
            values = face.probabilities
            probabilities = None if values is None else tuple(values[name] for name in self._labels)
            last = lane.points[-1] if lane.points else None
            if last is None or standing.start_s - last.start_s >= lane.step_s:
                lane.points.append(_Point(standing.start_s, standing.end_s, gap_s, probabilities))
            elif standing.start_s - last.end_s <= gap_s:
                last.end_s = standing.end_s
            if len(lane.points) > MAX_POINTS:
                lane.points = lane.points[::2]
                span = lane.points[-1].start_s - lane.points[0].start_s
                lane.step_s = span / len(lane.points)

    def _keep_peak(self, lane: _Lane, frame: Frame, face: TrackedFace) -> None:
        best = lane.peaks.get(face.label or "")
        confidence = face.confidence or 0.0
        # Not for every slightly surer frame: encoding the image costs more than it gains.
        if best is not None and confidence < best.confidence + PEAK_GAIN:
            return
        x0, y0, x1, y1 = face.box
        centre, half = ((x0 + x1) / 2, (y0 + y1) / 2), max(x1 - x0, y1 - y0) * PEAK_MARGIN / 2
        # At the edge of the image the square moves inwards rather than show nothing.
        left = max(min(centre[0] - half, frame.size[0] - 2 * half), 0.0)
        top = max(min(centre[1] - half, frame.size[1] - 2 * half), 0.0)
        square = (left, top, left + 2 * half, top + 2 * half)
        crop = Image.fromarray(frame.pixels).crop(tuple(round(v) for v in square))  # type: ignore[arg-type]
        buffer = io.BytesIO()
        crop.resize((THUMB, THUMB), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=82)
        lane.peaks[face.label or ""] = _Peak(frame.time_s, confidence, buffer.getvalue())

    def svg(self, title: str) -> str:
        """Return the image."""
        for standing in self._pace.finish(self._until_s):
            self._take(standing)
        begin, end = self.first_s or 0.0, max(self.last_s, (self.first_s or 0.0) + 0.1)
        lanes = sorted(self._lanes.items(), key=lambda kv: -kv[1].seen_s)
        shown = sorted(lanes[:MAX_TRACKS])
        thumbs = THUMBS if any(lane.peaks for _, lane in shown) else 0
        pitch = LANE + thumbs + SPACE
        height = TOP + pitch * max(len(shown), 1) + FOOT
        scale = _Scale(begin, end)
        more = f"the {MAX_TRACKS} tracks seen longest, of {len(lanes)}"
        return render(
            "timeline.svg",
            title=title,
            width=WIDTH,
            height=height,
            left=LEFT,
            right=WIDTH - RIGHT,
            top=TOP,
            bottom=height - FOOT,
            lane_height=LANE,
            begin_s=begin,
            end_s=end,
            # Classes rather than attributes: only a rule of the stylesheet knows the color scheme.
            colours=[
                {"light": label_colour(label), "dark": label_colour(label, dark=True)}
                for label in self._labels
            ],
            legend=list(self._legend()),
            ticks=list(_ticks(scale)),
            lanes=[
                self._lane(track, lane, TOP + number * pitch + thumbs, scale)
                for number, (track, lane) in enumerate(shown)
            ],
            footnote=more if len(lanes) > MAX_TRACKS else "",
        )

    def _legend(self) -> Iterator[dict[str, object]]:
        x = LEFT
        for number, label in enumerate(self._labels):
            yield {"x": x, "kind": number, "label": label}
            x += 42 + 8 * len(label)

    def _lane(self, track: int, lane: _Lane, top: float, scale: _Scale) -> dict[str, object]:
        return {
            "name": f"track {track}",
            "track": track,
            "top": top,
            "areas": list(self._areas(lane, top, scale)),
            "thumbnails": list(_thumbnails(lane, top, scale, self._labels)),
        }

    def _areas(self, lane: _Lane, top: float, scale: _Scale) -> Iterator[dict[str, object]]:
        """Stack the labels' probabilities, from bottom to top in the labels' order."""
        for run in _runs(lane.points, 2.5 * lane.step_s):
            times = np.array([scale.x(point.start_s) for point in run])
            probabilities = np.array([point.probabilities for point in run])
            bottom = np.zeros((len(run), 1))
            edges = np.concatenate([bottom, probabilities.cumsum(axis=1)], axis=1)
            # The last moment lasts a while, and a single one would be invisible.
            last = max(scale.x(run[-1].end_s), times[0] + 1.5)
            times, edges = np.append(times, last), np.concatenate([edges, edges[-1:]])
            for number in range(len(self._labels)):
                low, high = edges[:, number], edges[:, number + 1]
                points = [
                    *zip(times, top + LANE * (1 - high), strict=True),
                    *zip(times[::-1], top + LANE * (1 - low[::-1]), strict=True),
                ]
                path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
                yield {"points": path, "kind": number}


@dataclass(frozen=True, slots=True)
class _Scale:
    begin: float
    end: float

    def x(self, time_s: float) -> float:
        fraction = (time_s - self.begin) / (self.end - self.begin)
        return LEFT + fraction * (WIDTH - LEFT - RIGHT)


def _runs(points: list[_Point], step_s: float) -> Iterator[list[_Point]]:
    """Cut where no face was found, or the face could not be read; points may lie `step_s` apart."""
    run: list[_Point] = []
    for point in points:
        apart = run and point.start_s - run[-1].end_s > max(point.gap_s, step_s)
        if run and (point.probabilities is None or apart):
            yield run
            run = []
        if point.probabilities is not None:
            run.append(point)
    if run:
        yield run


def _ticks(scale: _Scale) -> Iterator[dict[str, object]]:
    """Yield at most eleven round moments; every second hour where a video is longer than that."""
    span = scale.end - scale.begin
    step = next(
        (s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
         if span / s <= 10),
        7200,
    )  # fmt: skip
    # Without the margin rounding would lose a tick that lies on an end.
    first = int(np.ceil(scale.begin / step - 1e-9))
    for tick in range(first, int(scale.end / step + 1e-9) + 1):
        yield {"x": scale.x(tick * step), "text": clock(tick * step)}


def _thumbnails(
    lane: _Lane, top: float, scale: _Scale, labels: Sequence[str]
) -> Iterator[dict[str, object]]:
    side, free = THUMBS - 14, LEFT - 1e-6
    for label, peak in sorted(lane.peaks.items(), key=lambda kv: kv[1].time_s):
        x = scale.x(peak.time_s)
        left = min(max(x - side / 2, free), WIDTH - RIGHT - side)
        if left < free:
            continue  # no room beside the one before
        free = left + side + 6
        yield {
            "x": x,
            "left": left,
            "top": top - THUMBS + 4,
            "side": side,
            "jpeg": peak.jpeg,
            "kind": labels.index(label),
            "time_s": peak.time_s,
            "title": f"{label} {percent(peak.confidence)} at {clock(peak.time_s)}",
        }


def clock(time_s: float) -> str:
    """Return a moment as people read it: 0.5 s, 1:05, 1:02:03."""
    if time_s < 60:
        return f"{time_s:g} s" if time_s % 1 == 0 else f"{time_s:.1f} s"
    minutes, seconds = divmod(round(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
