"""Random synthetic scenes that nothing was tuned on; used by bench/video.py.

Seeds below FIRST were seen while the tracker was developed; seeds from FIRST on only evaluate it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from scenes import SIZE, Actor, Head, Place, Scene, absent

FIRST = 100
SECONDS = 15.0


class Disguise(Head):
    """A portrait in another light and colour, perhaps mirrored and a little tilted."""

    def __init__(self, name: str, rng: np.random.Generator) -> None:
        super().__init__(name, mirror=bool(rng.integers(2)))
        pixels = np.asarray(self.image, np.float32) / 255
        tint = rng.uniform(0.8, 1.15, 3).astype(np.float32)
        pixels = (pixels ** rng.uniform(0.75, 1.35) * tint).clip(0, 1) * 255
        turn = float(rng.uniform(-8, 8))
        self.image = Image.fromarray(pixels.astype(np.uint8)).rotate(turn, Image.Resampling.BICUBIC)
        self.mask = self.mask.rotate(turn, Image.Resampling.BICUBIC)


def wander(rng: np.random.Generator, side: float, seconds: float) -> Place:
    """Walk from place to place, now and then beyond an edge, now and then standing still.

    A leg takes as long as 0.4 to 1.2 widths of the cut-out a second need.
    """
    points = [(0.0, *_somewhere(rng, side))]
    while points[-1][0] < seconds:
        begin, x, y = points[-1]
        to_x, to_y = _somewhere(rng, side)
        walk = float(np.hypot(to_x - x, to_y - y)) / (side * rng.uniform(0.4, 1.2))
        points.append((begin + max(walk, 0.5), to_x, to_y))
        if rng.random() < 0.3:
            points.append((points[-1][0] + rng.uniform(0.5, 2), to_x, to_y))
    grows, phase = rng.uniform(0.05, 0.2), rng.uniform(0, 6)

    def path(time_s: float) -> tuple[float, float, float]:
        number = max(k for k, (begin, _, _) in enumerate(points) if begin <= time_s)
        begin, x, y = points[number]
        end, to_x, to_y = points[min(number + 1, len(points) - 1)]
        fraction = 0.5 - 0.5 * np.cos(np.pi * (time_s - begin) / max(end - begin, 1e-6))
        width = side * (1 + grows * np.sin(time_s * 0.7 + phase))
        return float(x + fraction * (to_x - x)), float(y + fraction * (to_y - y)), float(width)

    return path


def _somewhere(rng: np.random.Generator, side: float) -> tuple[float, float]:
    margin = side * 0.5
    x = float(rng.uniform(margin, SIZE[0] - margin))
    if rng.random() < 0.15:
        x = float(rng.choice([-side, SIZE[0] + side]))
    return x, float(rng.uniform(side * 0.6, SIZE[1] - side * 0.6))


def people(seed: int) -> Scene:
    """Return two or three people who wander, and vanish now and then."""
    rng = np.random.default_rng(seed)
    actors = []
    names = ["astronaut", "grace_hopper"]
    for number in range(int(rng.integers(2, 4))):
        path = wander(rng, float(rng.uniform(170, 300)), SECONDS + 1)
        if rng.random() < 0.5:
            begin = float(rng.uniform(3, 15))
            path = absent(path, (begin, begin + float(rng.choice([0.4, 0.6, 2.0, 3.0]))))
        actors.append(Actor([(0, Disguise(names[(seed + number) % 2], rng))], path))
    return Scene(f"people {seed}", actors, SECONDS, seed)


def changes(seed: int) -> Scene:
    """Return one person whose expression changes every 1.2 to 3 seconds."""
    rng = np.random.default_rng(seed)
    heads = [Disguise(name, rng) for name in ("astronaut", "grace_hopper")]
    times = [0.0]
    while times[-1] < SECONDS - 2:
        times.append(times[-1] + float(rng.uniform(1.2, 3)))
    shown = [(time_s, heads[k % 2]) for k, time_s in enumerate(times)]
    x, y = rng.uniform(400, 880), rng.uniform(300, 420)

    def path(time_s: float) -> tuple[float, float, float]:
        return x + 90 * np.sin(time_s * 0.8), y + 25 * np.sin(time_s * 1.7), 270.0

    return Scene(f"changes {seed}", [Actor(shown, path)], SECONDS, seed)
