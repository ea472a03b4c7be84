"""Drawn faces: cartoons, so that everything can be tried without any data.

They are called drawn wherever they appear, and no metric measured on them is reported as accuracy
on people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mien.data.build import split_dataset
from mien.data.dataset import Dataset
from mien.data.duplicates import Duplicates
from mien.data.sources.fields import check_size
from mien.data.split import Splits, hold_out
from mien.errors import ConfigError
from mien.imaging.crop import crop_whole
from mien.labels import THREE, label_set

if TYPE_CHECKING:
    from numpy.typing import NDArray

OVERSAMPLING = 4
"""Faces are drawn this many times larger and then reduced, for smooth edges."""
IMAGES_PER_PERSON = 6
SOURCE = "drawn#"
"""What the names of drawn faces start with."""
MIN_COUNT = 12
"""Minimum number of faces of a dataset: two people, every label twice for each."""
SKINS = (
    (255, 224, 196),
    (241, 194, 145),
    (224, 172, 125),
    (198, 134, 88),
    (141, 85, 54),
    (92, 56, 38),
)
SKIN_TONES = ("light", "light", "medium", "medium", "dark", "dark")
"""Name of each of SKINS, in the column `skin_tone`."""
DIM, BRIGHT = 0.8, 1.0
"""Brightness factors below and from which the column `lighting` has 'dim' and 'bright'."""
HAIRS = (
    (40, 28, 20),
    (92, 60, 30),
    (176, 128, 60),
    (214, 188, 120),
    (120, 120, 124),
    (150, 60, 30),
)


@dataclass(frozen=True, slots=True)
class Person:
    """Features that all drawings of one person share; lengths in face widths."""

    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    hair_height: float
    length: float
    eye_gap: float
    eye_size: float
    mouth_width: float
    nose: float
    glasses: bool

    @classmethod
    def make(cls, rng: np.random.Generator) -> Person:
        """Return a random person."""
        return cls(
            skin=SKINS[rng.integers(len(SKINS))],
            hair=HAIRS[rng.integers(len(HAIRS))],
            hair_height=rng.uniform(0.0, 0.35),
            length=rng.uniform(1.12, 1.4),
            eye_gap=rng.uniform(0.19, 0.25),
            eye_size=rng.uniform(0.055, 0.085),
            mouth_width=rng.uniform(0.17, 0.26),
            nose=rng.uniform(0.1, 0.2),
            glasses=bool(rng.random() < 0.15),
        )


@dataclass(frozen=True, slots=True)
class Expression:
    """Position of mouth, brows and lids; each is near 0 for neutral, and varies within a label.

    Attributes:
        curve: curve of the mouth, positive for happy, negative for sad.
        open: opening of the mouth, 0 closed.
        brow: height of the brows' inner ends, positive for sad.
        lids: how far the eyes are closed, 0 to 1.
    """

    curve: float
    open: float
    brow: float
    lids: float

    @classmethod
    def make(cls, label: str, rng: np.random.Generator) -> Expression:
        """Return a random expression of `label`, one of happy, neutral and sad."""
        if label == "happy":
            return cls(
                rng.uniform(0.05, 0.13),
                max(0.0, rng.normal(0.03, 0.04)),
                rng.normal(0, 0.1),
                rng.uniform(0.1, 0.5),
            )
        if label == "sad":
            return cls(
                rng.uniform(-0.1, -0.035),
                max(0.0, rng.normal(0, 0.015)),
                rng.uniform(0.1, 0.4),
                rng.uniform(0.2, 0.6),
            )
        return cls(
            rng.normal(0, 0.012),
            max(0.0, rng.normal(0, 0.012)),
            rng.normal(0, 0.06),
            rng.uniform(0, 0.3),
        )


def draw_face(
    label: str, rng: np.random.Generator, size: int = 96, person: Person | None = None
) -> NDArray[np.uint8]:
    """Return one drawn face, uint8 [size, size, 3] RGB.

    Args:
        label: 'happy', 'neutral' or 'sad'.
        rng: random generator of the drawing.
        size: height and width, in pixels.
        person: person to draw; a random one where None.

    Raises:
        ConfigError: unknown label.
    """
    if label not in THREE:
        raise ConfigError(f"label: unknown value {label!r}", hint=f"allowed: {', '.join(THREE)}")
    return _draw_lit(label, rng, size, person or Person.make(rng))[0]


def _draw_lit(
    label: str, rng: np.random.Generator, size: int, person: Person
) -> tuple[NDArray[np.uint8], float]:
    """Return a drawn face, uint8 [size, size, 3] RGB, and its brightness factor, 0.65 to 1.15."""
    side = size * OVERSAMPLING
    background = tuple(int(v) for v in rng.integers(40, 230, 3))
    canvas = Image.new("RGB", (side, side), background)
    _Pen(canvas, person, Expression.make(label, rng), rng).draw()
    angle, zoom = rng.normal(0, 7), rng.uniform(0.9, 1.15)
    shift = rng.normal(0, 0.03, 2) * side
    canvas = _turn(canvas, angle, zoom, shift, background)
    canvas = canvas.resize((size, size), Image.Resampling.LANCZOS)
    return _add_lighting(canvas, rng)


def draw_faces(count: int, seed: int = 0, size: int = 48) -> Dataset:
    """Return drawn faces as an unsplit dataset: the three labels in turn, six images per person.

    Args:
        count: number of faces, at least 12.
        seed: seed of the drawing.
        size: height and width of a crop, 8 to 1024 pixels.

    Raises:
        ConfigError: `count` or `size` is out of range.
    """
    if count < MIN_COUNT:
        raise ConfigError(
            f"count: {count} is out of range, must be at least {MIN_COUNT}",
            hint="for example 3000",
        )
    check_size(size)
    rng = np.random.default_rng(seed)
    images, subjects, skin_tones, lighting = [], [], [], []
    for start in range(0, count, IMAGES_PER_PERSON):
        person = Person.make(rng)
        for i in range(start, min(start + IMAGES_PER_PERSON, count)):
            # Twice the size: `crop_whole` then resamples it, as it does imported photos.
            face, brightness = _draw_lit(THREE[i % len(THREE)], rng, size * 2, person)
            images.append(crop_whole(face, size))
            subjects.append(f"drawn-person-{start // IMAGES_PER_PERSON:05d}")
            skin_tones.append(SKIN_TONES[SKINS.index(person.skin)])
            lighting.append(_lighting_level(brightness))
    return Dataset.unsplit(
        name="drawn",
        images_nhw=np.stack(images),
        label_names=label_set("three"),
        labels_n=np.arange(count, dtype=np.int64) % len(THREE),
        sources_n=np.array([f"{SOURCE}{seed}/{i}" for i in range(count)], np.str_),
        subjects_n=np.array(subjects, np.str_),
        columns={
            "skin_tone": np.array(skin_tones, np.str_), "lighting": np.array(lighting, np.str_),
        },
    )  # fmt: skip


def split_drawn(dataset: Dataset, fraction: float = 0.2, seed: int = 0) -> Dataset:
    """Return drawn faces with a fraction of the people held out; there are no duplicates.

    Each face is drawn by itself, so none is looked for: `find_duplicates` is made for photos and
    takes a fifth of drawn faces for near-duplicates of others, by the lines that all of them share.
    """
    rows = np.arange(len(dataset), dtype=np.int64)
    # By person, as for real data: the same drawn person on both sides would be a leak.
    held = hold_out(dataset.labels_n, rows, dataset.subjects_n, fraction, seed)
    splits = np.full(len(rows), "train", "<U10")
    splits[held] = "validation"
    rule = f"{fraction:.0%} of the drawn people held out, seed {seed}"
    return split_dataset(dataset, Duplicates.none(len(rows)), Splits(splits, 0, True, rule))


def draw_dataset(count: int, seed: int = 0, size: int = 48) -> Dataset:
    """Return drawn faces with a fifth of the drawn people held out for validation.

    The arguments and errors are those of `draw_faces`.
    """
    return split_drawn(draw_faces(count, seed, size), seed=seed)


class _Pen:
    """Draws one face in the middle of a square canvas; lengths are fractions of its side."""

    def __init__(
        self, canvas: Image.Image, person: Person, expression: Expression, rng: np.random.Generator
    ) -> None:
        self.pen = ImageDraw.Draw(canvas)
        self.side = canvas.width
        self.person, self.expression, self.rng = person, expression, rng
        self.dark = tuple(int(v * 0.35) for v in person.skin)
        self.width = 0.66  # of the face

    def draw(self) -> None:
        """Draw hair, skin, fringe, eyes, brows, nose and mouth, from back to front."""
        person = self.person
        height = self.width * person.length
        self._ellipse(0.5, 0.47, self.width * 0.56, height * 0.56, person.hair)
        self._ellipse(0.5, 0.52, self.width / 2, height / 2, person.skin)
        self._fringe(height)
        for sign in (-1, 1):
            self._eye(sign)
            self._brow(sign)
        self._line(
            [(0.5, 0.48), (0.5 - 0.02, 0.48 + person.nose), (0.52, 0.49 + person.nose)], 0.012
        )
        self._mouth()

    def _fringe(self, height: float) -> None:
        top = 0.52 - height / 2
        depth = self.person.hair_height * 0.4
        box = [0.5 - self.width * 0.4, top - 0.04, 0.5 + self.width * 0.4, top + depth]
        self.pen.ellipse([v * self.side for v in box], fill=self.person.hair)

    def _eye(self, sign: int) -> None:
        x, y, size = 0.5 + sign * self.person.eye_gap * 0.75, 0.45, self.person.eye_size
        opening = size * 0.75 * (1 - 0.8 * self.expression.lids)
        self._ellipse(x, y, size, opening, (245, 245, 245))
        self._ellipse(x, y, min(size * 0.5, opening * 1.05), min(size * 0.5, opening), (30, 24, 20))
        lid = [(x + t * size, y - opening * (1 - t * t)) for t in np.linspace(-1, 1, 9)]
        self._line(lid, 0.014)
        if self.person.glasses:
            box = [x - size * 1.7, y - size * 1.4, x + size * 1.7, y + size * 1.4]
            self.pen.ellipse(
                [v * self.side for v in box], outline=(20, 20, 20), width=self.side // 70
            )

    def _brow(self, sign: int) -> None:
        x, size = 0.5 + sign * self.person.eye_gap * 0.75, self.person.eye_size * 1.5
        y = 0.45 - self.person.eye_size * 1.75
        tilt = self.expression.brow * size
        inner, outer = (x - sign * size, y - tilt), (x + sign * size, y + tilt)
        self._line([inner, (x, y - size * 0.2), outer], 0.026, self.person.hair)

    def _mouth(self) -> None:
        expression, half = self.expression, self.person.mouth_width
        y = 0.74 + self.rng.normal(0, 0.008)
        across = np.linspace(-1, 1, 21)
        lower = [
            (0.5 + t * half, y + expression.curve * (1 - t * t) * 1.4 - expression.curve * 0.5)
            for t in across
        ]
        # Redder than the skin, whatever its tone.
        lip = tuple(int(v) for v in np.array(self.person.skin) * (0.75, 0.4, 0.4))
        if expression.open > 0.012:
            upper = [
                (px, py - expression.open * 2.2 * (1 - t * t))
                for (px, py), t in zip(lower, across, strict=True)
            ]
            points = [(px * self.side, py * self.side) for px, py in lower + upper[::-1]]
            self.pen.polygon(points, fill=(60, 16, 20))
            if expression.curve > 0:
                # Just below the upper lip, and not into the corners of the mouth.
                teeth = [(px, py + 0.012) for px, py in upper]
                self._line(teeth[3:-3], 0.02, (250, 248, 240))
            self._line(upper, 0.018, lip)
        self._line(lower, 0.024, lip)

    def _ellipse(
        self, x: float, y: float, rx: float, ry: float, fill: tuple[int, int, int]
    ) -> None:
        box = [
            (x - rx) * self.side,
            (y - ry) * self.side,
            (x + rx) * self.side,
            (y + ry) * self.side,
        ]
        self.pen.ellipse(box, fill=fill)

    def _line(
        self,
        points: list[tuple[float, float]],
        width: float,
        fill: tuple[int, ...] | None = None,
    ) -> None:
        scaled = [(float(x) * self.side, float(y) * self.side) for x, y in points]
        self.pen.line(scaled, fill=fill or self.dark, width=int(width * self.side), joint="curve")


def _turn(
    canvas: Image.Image,
    angle: float,
    zoom: float,
    shift: NDArray[np.float64],
    background: tuple[int, ...],
) -> Image.Image:
    """Return the canvas rotated by `angle` degrees, enlarged by `zoom`, shifted in pixels."""
    side, centre = canvas.width, canvas.width / 2
    cos, sin = np.cos(np.radians(angle)) / zoom, np.sin(np.radians(angle)) / zoom
    # Pillow wants the inverse map: from each output point to its input point.
    coefficients = (
        cos,
        sin,
        centre - cos * (centre + shift[0]) - sin * (centre + shift[1]),
        -sin,
        cos,
        centre + sin * (centre + shift[0]) - cos * (centre + shift[1]),
    )
    return canvas.transform(
        (side, side),
        Image.Transform.AFFINE,
        tuple(float(c) for c in coefficients),
        Image.Resampling.BILINEAR,
        # Corners that turn into view would be black otherwise, and tell the angle.
        fillcolor=background,
    )


def _lighting_level(brightness: float) -> str:
    if brightness < DIM:
        return "dim"
    return "bright" if brightness >= BRIGHT else "normal"


def _add_lighting(canvas: Image.Image, rng: np.random.Generator) -> tuple[NDArray[np.uint8], float]:
    """Return the canvas with a gradient, blur and noise, as a camera adds them, and its brightness.

    The order of the random numbers stays: datasets that were drawn before have the same images.
    """
    side = canvas.width
    if rng.random() < 0.5:
        canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.015) * side))
    direction = rng.uniform(0, 2 * np.pi)
    # An imaginary step is a number of points: `side` of them, both ends included.
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    slope = 1 + rng.uniform(0, 0.35) * (np.cos(direction) * x + np.sin(direction) * y)
    brightness = rng.uniform(0.65, 1.15)
    pixels = np.asarray(canvas, np.float64) * slope[:, :, None] * brightness
    pixels += rng.normal(0, rng.uniform(0, 9), (side, side, 1))
    lit: NDArray[np.uint8] = np.clip(np.round(pixels), 0, 255).astype(np.uint8)
    return lit, brightness
