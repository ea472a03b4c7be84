"""Predictions drawn onto an image: a box, a label and a bar per probability for each face.

The protocols here say what can be drawn. The results of mien.types fit them, which need the code
that draws them for `annotate`, so that neither module may import the other's types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.intervals import percent
from mien.report import palette

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

COLOURS = {label: palette.rgb(colour) for label, colour in palette.LABELS.items()}
OTHER = palette.rgb(palette.OTHER)
SPARED, GROW_S = 0.04, 1.0
"""In videos a panel moves once this fraction of it covers others; it grows again after GROW_S."""
Box = tuple[float, float, float, float]
INK, PAPER = palette.rgb(palette.PANEL_INK), palette.rgb(palette.PANEL)
TRACK = palette.rgb(palette.PANEL_TRACK)
SAME_TEXT = 0.8, 1.25
"""A text keeps its size while the right one is within these factors: else it would flicker."""


class DrawableFace(Protocol):
    """A face with its prediction, such as mien.types.FaceReading."""

    @property
    def box(self) -> Box:
        """Left, top, right, bottom in pixels of the image."""
        ...

    @property
    def label(self) -> str:
        """The predicted label, or 'unsure'."""
        ...

    @property
    def confidence(self) -> float:
        """The largest probability, 0 to 1."""
        ...

    @property
    def probabilities(self) -> Mapping[str, float]:
        """One per label, 0 to 1; empty draws no bars."""
        ...


class DrawableTrack(Protocol):
    """A tracked face in one frame, such as mien.types.TrackedFace."""

    @property
    def track(self) -> int:
        """Number of the track, from 1."""
        ...

    @property
    def box(self) -> Box:
        """Left, top, right, bottom in pixels of the frame."""
        ...

    @property
    def quality(self) -> str:
        """Why the face was not classified; shown where there is no label."""
        ...

    @property
    def label(self) -> str | None:
        """The predicted label or 'unsure'; None where nothing was predicted."""
        ...

    @property
    def confidence(self) -> float | None:
        """The largest smoothed probability, 0 to 1."""
        ...

    @property
    def probabilities(self) -> Mapping[str, float] | None:
        """One per label, 0 to 1."""
        ...


@dataclass(frozen=True, slots=True)
class _Face:
    """What is drawn of a tracked face: a `DrawableFace`."""

    box: Box
    label: str
    confidence: float
    probabilities: Mapping[str, float]


def annotate(image_hwc: NDArray[np.uint8], faces: Sequence[DrawableFace]) -> NDArray[np.uint8]:
    """Return a copy of the image, uint8 [h, w, 3] RGB, with each face's prediction drawn on it."""
    canvas = Image.fromarray(image_hwc)
    overlay = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(overlay)
    taken = [face.box for face in faces]
    for face in faces:
        taken.append(_draw_face(pen, canvas.size, face, taken=taken))
    canvas = Image.alpha_composite(canvas.convert("RGBA"), overlay)
    return np.asarray(canvas.convert("RGB"))


class FrameAnnotator:
    """Draws readings on the frames of one video.

    A panel keeps its side of the face and its text size as long as possible: panels that jump
    from frame to frame cannot be read.
    """

    def __init__(self) -> None:
        self._kept: dict[int, _Layout] = {}

    def draw(
        self, image_hwc: NDArray[np.uint8], faces: Sequence[DrawableTrack], time_s: float
    ) -> NDArray[np.uint8]:
        """Return a copy of a frame, uint8 [h, w, 3] RGB, with each track's prediction drawn on it.

        It draws on the frame directly, without an overlay: videos have many frames.
        """
        canvas = Image.fromarray(image_hwc)
        pen = ImageDraw.Draw(canvas, "RGBA")
        taken = [face.box for face in faces]
        for face in faces:
            probabilities = face.probabilities or {}
            label, confidence = face.label or face.quality, face.confidence or 0.0
            drawn = _Face(face.box, label, confidence, probabilities)
            title = f"{face.track}  {label}"
            if face.label is not None:
                title += f" {percent(confidence)}"
            layout = self._kept.setdefault(face.track, _Layout())
            layout.now_s = time_s
            taken.append(_draw_face(pen, canvas.size, drawn, title, taken, layout))
        # A long video has any number of tracks; the layouts of those that ended are dropped.
        lost = [t for t, layout in self._kept.items() if time_s - layout.now_s > GROW_S]
        for track in lost:
            del self._kept[track]
        return np.asarray(canvas, np.uint8)


@dataclass(slots=True)
class _Layout:
    """How a track's panel was drawn in the previous frames.

    Attributes:
        side: of the face, see `_place`; None at first.
        full: with its bars, not shrunk to the title.
        text: text size in pixels; 0 at first.
        heading: width of the longest title at that size, in pixels.
        now_s: time of this frame.
        shrunk_s: time when it last had no room for its bars.
    """

    side: int | None = None
    full: bool = True
    text: int = 0
    heading: float = 0.0
    now_s: float = 0.0
    shrunk_s: float = float("-inf")

    def words(self, text: int) -> int:
        """Return the text size in pixels: the previous one, unless the face changed a lot."""
        if not SAME_TEXT[0] * self.text <= text <= SAME_TEXT[1] * self.text:
            self.text, self.heading = text, 0.0
        return self.text

    def grows(self, covered: float, area: float) -> bool:
        """Return whether there is room for the bars, and has been for GROW_S if it had shrunk."""
        # Two limits: with one, a panel at the limit would change in each frame.
        if covered > (SPARED * area if self.full else 0):
            self.shrunk_s = self.now_s
        self.full = self.now_s - self.shrunk_s >= GROW_S
        return self.full


def _draw_face(
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    face: DrawableFace,
    title: str | None = None,
    taken: Sequence[Box] = (),
    layout: _Layout | None = None,
) -> Box:
    """Draw a face's box and, beside it, a panel; return the panel's box.

    A panel that would cover another face or panel shrinks to its title, as in a group image.
    """
    # Not full: a still image gets bars only where they cover no other face.
    layout = layout or _Layout(full=False)
    colour = COLOURS.get(face.label, OTHER)
    x0, y0, x1, y1 = face.box
    # Text follows the face's size, but stays readable on any image.
    low, high = max(11, min(size) * 0.022), max(13, min(size) * 0.06)
    text = layout.words(int(np.clip((x1 - x0) * 0.13, low, high)))
    line = max(2, round(text / 7))
    corner = max(3, round((x1 - x0) * 0.06))
    pen.rounded_rectangle((x0, y0, x1, y1), corner, outline=(*colour, 255), width=line)
    font = ImageFont.load_default(text)
    rows = list(face.probabilities.items())
    title = title or f"{face.label} {percent(face.confidence)}"
    bar, pad, step = text * 3, round(text * 0.45), round(text * 1.25)
    names = max((pen.textlength(name, font=font) for name, _ in rows), default=0)
    # The widest so far: a panel that changes its width with the digits would tremble.
    heading = layout.heading = max(layout.heading, pen.textlength(title, font=font))
    others = [box for box in taken if box != face.box]
    full = (max(names + pad + bar, heading) + 2 * pad, step * (len(rows) + 1) + 2 * pad)
    side, (left, top), covered = _place(face.box, full, size, line * 2, others, layout.side)
    if rows and not layout.grows(covered, full[0] * full[1]):
        full, rows = (heading + 2 * pad, step + 2 * pad), []
        side, (left, top), _ = _place(face.box, full, size, line * 2, others, layout.side)
    layout.side = side
    panel = (left, top, left + full[0], top + full[1])
    pen.rounded_rectangle(panel, pad, fill=(*PAPER, 205))
    title_colour = palette.rgb(palette.label_colour(face.label, dark=True))
    pen.text((left + pad, top + pad), title, fill=(*title_colour, 255), font=font)
    for number, (name, probability) in enumerate(rows, start=1):
        y = top + pad + number * step
        pen.text((left + pad, y), name, fill=(*INK, 235), font=font)
        _draw_bar(pen, (left + 2 * pad + names, y + text * 0.62), bar, text, (name, probability))
    return panel


def _draw_bar(
    pen: ImageDraw.ImageDraw,
    start: tuple[float, float],
    length: float,
    text: int,
    row: tuple[str, float],
) -> None:
    """Draw a probability as a bar from the middle of its left end."""
    (x, middle), (name, probability) = start, row
    reach = max(round(text * 0.22), 2)
    ends = (x, middle - reach, x + length, middle + reach)
    pen.rounded_rectangle(ends, reach, fill=(*TRACK, 255))
    # A shorter bar than its own round ends cannot be drawn, and would look larger than it is.
    if probability * length >= 2 * reach:
        filled = (x, middle - reach, x + probability * length, middle + reach)
        colour = palette.rgb(palette.label_colour(name, dark=True))
        pen.rounded_rectangle(filled, reach, fill=(*colour, 255))


def _place(
    box: Box,
    panel: tuple[float, float],
    size: tuple[int, int],
    gap: float,
    others: Sequence[Box],
    before: int | None = None,
) -> tuple[int, tuple[float, float], float]:
    """Return the panel's side, its left and top, and the area that it covers, in pixels squared.

    The candidates are right of the face, left, below and above, moved into the image. The first
    with the minimum covered area is taken, the face itself included; the previous side is kept
    as long as it covers hardly more.
    """
    x0, y0, x1, y1 = box
    width, height = panel
    # Right, left, below, above: the first of equal cost wins.
    places = ((x1 + gap, y0), (x0 - gap - width, y0), (x0, y1 + gap), (x0, y0 - gap - height))
    inside = [
        (
            float(np.clip(left, 0, max(0, size[0] - width))),
            float(np.clip(top, 0, max(0, size[1] - height))),
        )
        for left, top in places
    ]

    def covered(place: tuple[float, float], boxes: Sequence[Box]) -> float:
        left, top = place
        return sum(
            max(0.0, min(left + width, b[2]) - max(left, b[0]))
            * max(0.0, min(top + height, b[3]) - max(top, b[1]))
            for b in boxes
        )

    costs = [covered(place, [box, *others]) for place in inside]
    best = costs.index(min(costs))
    # A panel keeps its side for a small cost: one that jumps cannot be read.
    if before is not None and costs[before] <= costs[best] + SPARED * width * height:
        best = before
    return best, inside[best], covered(inside[best], others)
