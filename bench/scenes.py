"""Synthetic scenes with known ground truth: public-domain portraits that move over textures.

Used by bench/video.py. A person who is out of sight for longer than LOST_S counts as new on return:
mien tracks people and does not identify them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from mien.imaging.codec import read_image
from mien.predict.detectors.mtcnn import Mtcnn

EXAMPLES = Path(__file__).parents[1] / "examples"
SIZE = (1280, 720)
RATE = 30
LOST_S = 1.0
UNCLEAR_S = 0.4
"""Who was out of sight for LOST_S, give or take this, may count as new or as the same: people are
detected every 0.2 s, at an edge slightly earlier or later than in the ground truth."""
Place = Callable[[float], tuple[float, float, float] | None]
"""A second to (centre x, centre y, width) in pixels, or None while away."""


class Head:
    """A head cut out of a portrait with soft edges, and where the face is in it."""

    def __init__(self, name: str, mirror: bool = False) -> None:
        pixels = read_image(EXAMPLES / f"{name}.jpg")
        if mirror:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        box = Mtcnn(threads=1).detect(pixels).boxes_xyxy[0]
        centre, side = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
        reach = np.array([0.95, 1.05]) * side
        frame = np.concatenate([centre - reach, centre + reach])
        x0, y0, x1, y1 = (int(v) for v in frame)
        self.image = Image.fromarray(pixels).crop((x0, y0, x1, y1))
        self.mask = Image.new("L", self.image.size, 0)
        width, height = self.image.size
        ImageDraw.Draw(self.mask).ellipse(
            (width * 0.08, height * 0.02, width * 0.92, height * 0.98), fill=255
        )
        self.mask = self.mask.filter(ImageFilter.GaussianBlur(side * 0.04))
        self.face = (box - np.tile(frame[:2], 2)) / np.tile(self.image.size, 2)
        """Fractions of the cut-out's size: left, top, right, bottom."""


@dataclass
class Actor:
    """A person who moves.

    Attributes:
        heads: which head is shown from which second on; a swap is a change of expression.
        path: where the cut-out is.
    """

    heads: Sequence[tuple[float, Head]]
    path: Place

    def head(self, time_s: float) -> Head:
        """Return the head displayed at a time."""
        return [head for start, head in self.heads if start <= time_s][-1]


@dataclass(frozen=True)
class Scene:
    """Actors for some seconds, before the background of a seed."""

    name: str
    actors: list[Actor]
    seconds: float
    seed: int = 0


@dataclass
class Truth:
    """Ground truth of a frame.

    Attributes:
        faces: (person, box) of every face that can be seen.
        perhaps: (number before, new number, seconds away) of those who came back now and may be
            either.
    """

    faces: list[tuple[int, NDArray[np.float64]]] = field(default_factory=list)
    perhaps: list[tuple[int, int, float]] = field(default_factory=list)


def texture(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A background of soft blotches and lines, such as walls and shelves."""
    rng = np.random.default_rng(seed)
    layers = np.zeros((size[1], size[0], 3), np.float32)
    for cells, weight in ((6, 70), (24, 40), (90, 18)):
        noise = rng.normal(0, 1, (max(cells * 9 // 16, 2), cells, 3)).clip(-2, 2)
        image = Image.fromarray((127 + 60 * noise).astype(np.uint8))
        layers += (np.asarray(image.resize(size, 3), np.float32) - 127) * weight / 60
    layers = 0.3 * layers + 0.7 * layers.mean(axis=2, keepdims=True)
    return Image.fromarray((layers + 110).clip(0, 255).astype(np.uint8))


def render(scene: Scene, rate: int = RATE) -> Iterator[tuple[NDArray[np.uint8], Truth]]:
    """Yield frames, uint8 [h, w, 3], and their truth; later actors stand in front."""
    actors = scene.actors
    background = texture(scene.seed)
    last_seen = [float("-inf")] * len(actors)
    numbers = [0] * len(actors)
    count = 0
    rng = np.random.default_rng(scene.seed)
    for k in range(round(scene.seconds * rate)):
        time_s = k / rate
        canvas = background.copy()
        placed: list[tuple[int, NDArray[np.float64]]] = []
        for number, actor in enumerate(actors):
            place = actor.path(time_s)
            if place is None:
                continue
            head = actor.head(time_s)
            width = round(place[2])
            height = round(width * head.image.height / head.image.width)
            corner = (round(place[0] - width / 2), round(place[1] - height / 2))
            small = head.image.resize((width, height), Image.Resampling.BILINEAR)
            canvas.paste(small, corner, head.mask.resize((width, height)))
            box = np.tile(corner, 2) + head.face * np.tile((width, height), 2)
            placed.append((number, box))
        truth = Truth()
        for number, box in _visible(placed):
            # Away, beyond the edge or hidden: who cannot be seen for long comes back as new.
            away = time_s - last_seen[number]
            if away > LOST_S - UNCLEAR_S:
                count += 1
                if away < LOST_S + UNCLEAR_S:
                    truth.perhaps.append((numbers[number], count, away))
                numbers[number] = count
            last_seen[number] = time_s
            truth.faces.append((numbers[number], box))
        pixels = np.minimum(np.asarray(canvas), np.uint8(249))
        pixels += rng.integers(0, 7, (1, SIZE[0], 1), np.uint8)
        yield pixels, truth


def _visible(
    placed: list[tuple[int, NDArray[np.float64]]],
) -> list[tuple[int, NDArray[np.float64]]]:
    """Drop faces that are half covered by another person or outside the image."""
    kept = []
    for number, (person, box) in enumerate(placed):
        area = np.prod(box[2:] - box[:2])
        inside = np.clip(box, 0, np.tile(SIZE, 2))
        if np.prod(inside[2:] - inside[:2]) < 0.75 * area:
            continue
        covered = 0.0
        for _, other in placed[number + 1 :]:
            grown = other + np.array([-0.25, -0.35, 0.25, 0.35]) * np.tile(other[2:] - other[:2], 2)
            shared = np.minimum(box[2:], grown[2:]) - np.maximum(box[:2], grown[:2])
            covered = max(covered, float(np.clip(shared, 0, None).prod() / area))
        if covered < 0.4:
            kept.append((person, box))
    return kept


def across(
    start: tuple[float, float], end: tuple[float, float], seconds: float, width: float
) -> Place:
    """Walk back and forth between two points, `seconds` each way, swaying slightly."""

    def path(time_s: float) -> tuple[float, float, float]:
        fraction = 0.5 - 0.5 * np.cos(np.pi * time_s / seconds)
        sway = 6 * np.sin(time_s * 5)
        x = start[0] + fraction * (end[0] - start[0])
        y = start[1] + fraction * (end[1] - start[1]) + sway
        return float(x), float(y), width * (1 + 0.05 * np.sin(time_s * 1.3))

    return path


def absent(path: Place, *spans: tuple[float, float]) -> Place:
    """Walk the path, but be away in some spans of seconds."""
    return lambda t: None if any(a <= t < b for a, b in spans) else path(t)


def scenes() -> list[Scene]:
    """Return the scenes that the tracker was tuned on."""
    happy, neutral = Head("astronaut"), Head("grace_hopper")
    other = Head("grace_hopper", mirror=True)
    return [
        Scene("one moves", [Actor([(0, happy)], across((250, 360), (1030, 330), 5, 260))], 10),
        Scene(
            "two cross",
            [
                Actor([(0, happy)], across((220, 330), (1060, 350), 4, 250)),
                Actor([(0, neutral)], across((1060, 390), (220, 360), 4, 270)),
            ],
            16,
        ),
        Scene(
            "three cross",
            [
                Actor([(0, neutral)], across((180, 250), (1100, 300), 5, 220)),
                Actor([(0, happy)], across((1100, 330), (180, 360), 4, 240)),
                Actor([(0, other)], across((640, 440), (300, 500), 6, 260)),
            ],
            18,
        ),
        Scene(
            "leave and return",
            [
                Actor([(0, happy)], absent(across((-200, 350), (900, 350), 4, 250), (11, 13.5))),
                Actor([(0, neutral)], absent(across((1000, 360), (700, 380), 6, 260), (4, 4.5))),
            ],
            16,
        ),
        Scene(
            "change expression",
            [
                Actor(
                    [(t, (happy, neutral)[k % 2]) for k, t in enumerate((0, 2.2, 4.9, 7.05, 9.4))],
                    across((400, 350), (800, 370), 6, 280),
                )
            ],
            12,
        ),
    ]
