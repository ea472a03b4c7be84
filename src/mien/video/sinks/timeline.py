"""The timeline image, SVG: each track's probabilities, stacked, with thumbnails at the peaks."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mien import palette
from mien.imaging.draw import percent
from mien.video.pace import UNSEEN_INTERVALS, Pace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mien.types import FrameReading, TrackedFace
    from mien.video.frame import Frame
    from mien.video.pace import Standing

MAX_POINTS = 1200
"""Points of a track: above this number every second one is dropped."""
MAX_TRACKS = 12
GAP_S = 0.25
"""After so many seconds without a face, or a sampling interval, the areas are cut: a line across
would be a guess."""
THUMB = 88
WIDTH, LEFT, RIGHT = 1000, 78, 16
LANE, THUMBS, SPACE, TOP, FOOT = 96, 74, 26, 40, 34
STYLE = (
    f"""
.ink{{fill:{palette.INK}}}.soft{{fill:{palette.SOFT}}}.rule{{stroke:{palette.LINE}}}
.bed{{fill:{palette.BED}}}.stem{{stroke:{palette.SOFT}}}.head{{stroke:{palette.ALERT};stroke-width:2}}
@media (prefers-color-scheme:dark){{.ink{{fill:{palette.DARK_INK}}}.soft{{fill:{palette.DARK_SOFT}}}
.rule{{stroke:{palette.DARK_LINE}}}.bed{{fill:{palette.DARK_BED}}}
.stem{{stroke:{palette.DARK_SOFT}}}}}
"""
    + """
text{font:13px system-ui,-apple-system,"Segoe UI",sans-serif}.name{font-weight:600;font-size:14px}
.small{font-size:12px}"""
)


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
    shares: tuple[float, ...] | None


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
    """

    def __init__(self, labels: Sequence[str], images: bool = True) -> None:
        self._labels, self._images = tuple(labels), images
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
        for face in standing.item:
            lane = self._lanes[face.track]
            lane.seen_s += standing.seconds
            values = face.probabilities
            shares = None if values is None else tuple(values[name] for name in self._labels)
            last = lane.points[-1] if lane.points else None
            if last is None or standing.start_s - last.start_s >= lane.step_s:
                lane.points.append(_Point(standing.start_s, standing.end_s, gap_s, shares))
            elif standing.start_s - last.end_s <= gap_s:
                last.end_s = standing.end_s
            if len(lane.points) > MAX_POINTS:
                lane.points = lane.points[::2]
                span = lane.points[-1].start_s - lane.points[0].start_s
                lane.step_s = span / len(lane.points)

    def _keep_peak(self, lane: _Lane, frame: Frame, face: TrackedFace) -> None:
        best = lane.peaks.get(face.label or "")
        confidence = face.confidence or 0.0
        if best is not None and confidence < best.confidence + 0.01:
            return
        x0, y0, x1, y1 = face.box
        centre, half = ((x0 + x1) / 2, (y0 + y1) / 2), max(x1 - x0, y1 - y0) * 0.62
        # At the edge of the image the square moves inwards rather than show nothing.
        left = max(min(centre[0] - half, frame.size[0] - 2 * half), 0.0)
        top = max(min(centre[1] - half, frame.size[1] - 2 * half), 0.0)
        square = (left, top, left + 2 * half, top + 2 * half)
        crop = Image.fromarray(frame.pixels).crop(tuple(round(v) for v in square))  # type: ignore[arg-type]
        buffer = io.BytesIO()
        crop.resize((THUMB, THUMB), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=82)
        lane.peaks[face.label or ""] = _Peak(frame.time_s, confidence, buffer.getvalue())

    def svg(self, title: str, moving: bool = False) -> str:
        """Return the image; with a line to move along it where `moving`."""
        for standing in self._pace.finish(self._until_s):
            self._take(standing)
        begin, end = self.first_s or 0.0, max(self.last_s, (self.first_s or 0.0) + 0.1)
        lanes = sorted(self._lanes.items(), key=lambda kv: -kv[1].seen_s)
        shown = sorted(lanes[:MAX_TRACKS])
        thumbs = THUMBS if any(lane.peaks for _, lane in shown) else 0
        pitch = LANE + thumbs + SPACE
        height = TOP + pitch * max(len(shown), 1) + FOOT
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'aria-label="{escape(title)}" data-begin="{begin:.6f}" data-end="{end:.6f}" '
            f'data-left="{LEFT}" data-right="{WIDTH - RIGHT}"><style>{STYLE}</style>',
            *self._legend(),
        ]
        scale = _Scale(begin, end)
        bottom = height - FOOT
        parts += _axis(scale, TOP, bottom)
        for number, (track, lane) in enumerate(shown):
            top = TOP + number * pitch + thumbs
            parts += [
                f'<text class="ink name" x="0" y="{top + LANE / 2}">track {track}</text>',
                f'<rect class="bed" x="{LEFT}" y="{top}" width="{WIDTH - LEFT - RIGHT}" '
                f'height="{LANE}" rx="3"/>',
                *self._areas(lane, top, scale),
                *_thumbnails(lane, top, scale),
            ]
        if not shown:
            parts.append(f'<text class="soft" x="{LEFT}" y="{TOP + 40}">no face was found</text>')
        if len(lanes) > MAX_TRACKS:
            parts.append(
                f'<text class="soft small" x="{LEFT}" y="{height - 2}">the {MAX_TRACKS} tracks '
                f"seen longest, of {len(lanes)}</text>"
            )
        if moving:
            x = scale.x(begin)
            parts.append(f'<line class="head" x1="{x}" x2="{x}" y1="{TOP - 8}" y2="{bottom}"/>')
        return "".join([*parts, "</svg>"])

    def _legend(self) -> Iterator[str]:
        x = LEFT
        for label in self._labels:
            colour = _colour(label)
            yield f'<rect x="{x}" y="6" width="13" height="13" rx="3" fill="{colour}"/>'
            yield f'<text class="ink" x="{x + 19}" y="17">{escape(label)}</text>'
            x += 42 + 8 * len(label)

    def _areas(self, lane: _Lane, top: float, scale: _Scale) -> Iterator[str]:
        """Stack the labels' probabilities, from bottom to top in the labels' order."""
        for run in _runs(lane.points, 2.5 * lane.step_s):
            times = np.array([scale.x(point.start_s) for point in run])
            shares = np.array([point.shares for point in run])
            edges = np.concatenate([np.zeros((len(run), 1)), shares.cumsum(axis=1)], axis=1)
            # The last moment stands for a while, and a single one would be invisible.
            last = max(scale.x(run[-1].end_s), times[0] + 1.5)
            times, edges = np.append(times, last), np.concatenate([edges, edges[-1:]])
            for number, label in enumerate(self._labels):
                low, high = edges[:, number], edges[:, number + 1]
                points = [
                    *zip(times, top + LANE * (1 - high), strict=True),
                    *zip(times[::-1], top + LANE * (1 - low[::-1]), strict=True),
                ]
                path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
                yield f'<polygon points="{path}" fill="{_colour(label)}"/>'


@dataclass(frozen=True, slots=True)
class _Scale:
    begin: float
    end: float

    def x(self, time_s: float) -> float:
        share = (time_s - self.begin) / (self.end - self.begin)
        return LEFT + share * (WIDTH - LEFT - RIGHT)


def _runs(points: list[_Point], step_s: float) -> Iterator[list[_Point]]:
    """Cut where there is no face or no probabilities; points may be `step_s` apart."""
    run: list[_Point] = []
    for point in points:
        apart = run and point.start_s - run[-1].end_s > max(point.gap_s, step_s)
        if run and (point.shares is None or apart):
            yield run
            run = []
        if point.shares is not None:
            run.append(point)
    if run:
        yield run


def _axis(scale: _Scale, top: float, bottom: float) -> Iterator[str]:
    span = scale.end - scale.begin
    step = next(
        (s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
         if span / s <= 10),
        7200,
    )  # fmt: skip
    first = int(np.ceil(scale.begin / step - 1e-9))
    for tick in range(first, int(scale.end / step + 1e-9) + 1):
        x = scale.x(tick * step)
        yield f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{bottom}"/>'
        yield (
            f'<text class="soft small" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">'
            f"{clock(tick * step)}</text>"
        )


def _thumbnails(lane: _Lane, top: float, scale: _Scale) -> Iterator[str]:
    side, free = THUMBS - 14, LEFT - 1e-6
    for label, peak in sorted(lane.peaks.items(), key=lambda kv: kv[1].time_s):
        x = scale.x(peak.time_s)
        left = min(max(x - side / 2, free), WIDTH - RIGHT - side)
        if left < free:
            continue  # no room beside the one before
        free = left + side + 6
        data = base64.b64encode(peak.jpeg).decode()
        yield (
            f'<line class="stem" x1="{left + side / 2:.1f}" y1="{top - 8}" x2="{x:.1f}" '
            f'y2="{top}"/>'
            f'<image x="{left:.1f}" y="{top - THUMBS + 4}" width="{side}" height="{side}" '
            f'href="data:image/jpeg;base64,{data}"><title>{escape(label)} '
            f"{percent(peak.confidence)} at {clock(peak.time_s)}</title></image>"
            f'<rect x="{left:.1f}" y="{top - THUMBS + 4}" width="{side}" height="{side}" '
            f'fill="none" stroke="{_colour(label)}" stroke-width="3" rx="2"/>'
        )


def clock(time_s: float) -> str:
    """Return a moment as people read it: 0.5 s, 1:05, 1:02:03."""
    if time_s < 60:
        return f"{time_s:g} s" if time_s % 1 == 0 else f"{time_s:.1f} s"
    minutes, seconds = divmod(round(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _colour(label: str) -> str:
    return palette.label_colour(label)
