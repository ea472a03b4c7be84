"""Readings drawn onto an image: a box, a name and small bars for each face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.report import palette
from mien.types import FaceReading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.types import TrackedFace

COLOURS = {label: palette.rgb(colour) for label, colour in palette.LABELS.items()}
OTHER = palette.rgb(palette.OTHER)
SPARED, GROW_S = 0.04, 1.0
"""In videos a panel may cover this share of itself before it moves; shrunk, it waits to grow."""
Box = tuple[float, float, float, float]
INK, PAPER, TRACK = (255, 255, 255), (24, 26, 30), (74, 78, 86)


def annotate(image_hwc: NDArray[np.uint8], faces: Sequence[FaceReading]) -> NDArray[np.uint8]:
    """Return a copy of the image, uint8 [h, w, 3] RGB, with each face's reading drawn on it."""
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

    A panel stays on its side of the face, and keeps the size of its words, while it can: panels
    that hop from frame to frame cannot be read.
    """

    def __init__(self) -> None:
        self._kept: dict[int, _Layout] = {}

    def draw(
        self, image_hwc: NDArray[np.uint8], faces: Sequence[TrackedFace], time_s: float
    ) -> NDArray[np.uint8]:
        """Return a copy of a frame, uint8 [h, w, 3] RGB, with each person's reading drawn on it.

        Only the faces' surroundings are composed: videos have many frames.
        """
        canvas = Image.fromarray(image_hwc)
        pen = ImageDraw.Draw(canvas, "RGBA")
        taken = [face.box for face in faces]
        for face in faces:
            shares = face.probabilities or {}
            label, confidence = face.label or face.quality, face.confidence or 0.0
            reading = FaceReading(face.box, face.score, label, confidence, shares)
            title = f"{face.track}  {label}"
            if face.label is not None:
                title += f" {percent(confidence)}"
            layout = self._kept.setdefault(face.track, _Layout())
            layout.now_s = time_s
            taken.append(_draw_face(pen, canvas.size, reading, title, taken, layout))
        gone = [t for t, layout in self._kept.items() if time_s - layout.now_s > GROW_S]
        for track in gone:
            del self._kept[track]
        return np.asarray(canvas, np.uint8)


@dataclass(slots=True)
class _Layout:
    """How a person's panel was drawn in the frames before.

    Attributes:
        side: of the face, see `_place`; None at first.
        full: with its bars, not shrunk to the title.
        text: size of the words in pixels; 0 at first.
        heading: width of the longest title in that size, in pixels.
        now_s: moment of this frame.
        shrunk_s: when it last had no room for its bars.
    """

    side: int | None = None
    full: bool = True
    text: int = 0
    heading: float = 0.0
    now_s: float = 0.0
    shrunk_s: float = float("-inf")

    def words(self, text: int) -> int:
        """Return the size to write in: the one before, unless the face changed a lot."""
        if not 0.8 * self.text <= text <= 1.25 * self.text:
            self.text, self.heading = text, 0.0
        return self.text

    def grows(self, covered: float, area: float) -> bool:
        """Return whether there is room for the bars, and was for a while where it had shrunk."""
        if covered > (SPARED * area if self.full else 0):
            self.shrunk_s = self.now_s
        self.full = self.now_s - self.shrunk_s >= GROW_S
        return self.full


def percent(share: float) -> str:
    """Return a probability as people should read it: never a certainty."""
    return ">99%" if share > 0.99 else "<1%" if share < 0.01 else f"{share:.0%}"


def _draw_face(
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    face: FaceReading,
    title: str | None = None,
    taken: Sequence[Box] = (),
    layout: _Layout | None = None,
) -> Box:
    """Draw a face's box and, beside it, a panel; return the panel's place.

    A panel that would cover another face or panel shrinks to its title, as in a group image.
    """
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
    for number, (name, share) in enumerate(rows, start=1):
        y = top + pad + number * step
        pen.text((left + pad, y), name, fill=(*INK, 235), font=font)
        _draw_bar(pen, (left + 2 * pad + names, y + text * 0.62), bar, text, (name, share))
    return panel


def _draw_bar(
    pen: ImageDraw.ImageDraw,
    start: tuple[float, float],
    length: float,
    text: int,
    row: tuple[str, float],
) -> None:
    """Draw a probability as a bar from the middle of its left end."""
    (x, middle), (name, share) = start, row
    reach = max(round(text * 0.22), 2)
    ends = (x, middle - reach, x + length, middle + reach)
    pen.rounded_rectangle(ends, reach, fill=(*TRACK, 255))
    if share * length >= 2 * reach:
        filled = (x, middle - reach, x + share * length, middle + reach)
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
    """Return the panel's side, its left and top, and how much it covers, in pixels squared.

    Of right of the face, left, below and above, inside the image: the first that covers least,
    the face itself included; the one before as long as it covers hardly more.
    """
    x0, y0, x1, y1 = box
    width, height = panel
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
    if before is not None and costs[before] <= costs[best] + SPARED * width * height:
        best = before
    return best, inside[best], covered(inside[best], others)
