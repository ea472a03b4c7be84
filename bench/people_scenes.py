"""Synthetic sessions of known people, for bench/people.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.data.drawn import Person, draw_face
from mien.predict.detectors.mtcnn import Mtcnn
from scenes import texture

SIZE, RATE, SECONDS = (960, 540), 15, 16.0
Place = tuple[float, float, float]
"""Centre x, centre y and width of a face, in pixels."""
Script = Callable[[float], dict[int, Place]]
"""Seconds to where each person is; people who are away are absent; later ones are in front."""


@dataclass
class Head:
    """A head with soft edges; `face` is its box in fractions of the cut-out."""

    image: Image.Image
    mask: Image.Image
    face: NDArray[np.float64]


def soft_mask(size: tuple[int, int]) -> Image.Image:
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    inside = np.clip((0.96 - np.hypot(x / 0.92, y)) / 0.08, 0, 1)
    return Image.fromarray((inside * 255).astype(np.uint8))


def portrait(path: Path) -> Head:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    box = Mtcnn(threads=1).detect(pixels).boxes_xyxy[0]
    centre, side = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
    reach = np.array([0.95, 1.05]) * side
    frame = np.round(np.concatenate([centre - reach, centre + reach]))
    image = Image.fromarray(pixels).crop(
        (int(frame[0]), int(frame[1]), int(frame[2]), int(frame[3]))
    )
    face = (box - np.tile(frame[:2], 2)) / np.tile(image.size, 2)
    return Head(image, soft_mask(image.size), face)


def drawing(seed: int, number: int) -> Head:
    rng = np.random.default_rng(seed)
    person = Person.make(rng)
    labels = ("neutral", "happy", "sad")
    rng = np.random.default_rng(seed * 100 + number)
    image = Image.fromarray(draw_face(labels[number % 3], rng, size=240, person=person))
    return Head(image, soft_mask(image.size), np.array([0.2, 0.15, 0.8, 0.92]))


def lit(head: Head, rng: np.random.Generator) -> Head:
    """Return a head in another light, tilted a little."""
    pixels = np.asarray(head.image, np.float32) / 255
    tint = rng.uniform(0.85, 1.1, 3).astype(np.float32)
    slope = np.linspace(1 - rng.uniform(0, 0.3), 1, pixels.shape[1], dtype=np.float32)
    pixels = (pixels ** rng.uniform(0.75, 1.35) * tint * slope[None, :, None]).clip(0, 1) * 255
    turn = float(rng.uniform(-8, 8))
    image = Image.fromarray(pixels.astype(np.uint8)).rotate(turn, Image.Resampling.BICUBIC)
    return Head(image, head.mask.rotate(turn, Image.Resampling.BICUBIC), head.face)


def seat(number: int, time_s: float, width: float = 105.0) -> Place:
    sway = 12 * np.sin(time_s * (1.1 + 0.2 * number) + number)
    return 150 + 220 * number + sway, 270 + 8 * np.sin(time_s * 1.7 + number), width


def with_gap(time_s: float) -> dict[int, Place]:
    """Four seats; each person leaves for 3 s in turn."""
    return {n: seat(n, time_s) for n in range(4) if not 2 + 3 * n <= time_s < 5 + 3 * n}


def crossing(people: Sequence[int]) -> Script:
    """Two people walk across each other, back and forth."""

    def script(time_s: float) -> dict[int, Place]:
        along = 0.5 - 0.5 * np.cos(time_s * np.pi / 5)
        left, right = 150 + 650 * along, 800 - 650 * along
        return {people[0]: (left, 240, 120.0), people[1]: (right, 290, 150.0)}

    return script


def cuts(people: Sequence[int], width: float) -> Script:
    """Every 3 s another two or three people, in other seats."""

    def script(time_s: float) -> dict[int, Place]:
        shot = int(time_s // 3)
        rng = np.random.default_rng(shot + 17)
        order = rng.permutation(people)[: 2 + shot % 2]
        seats = rng.permutation(4)
        return {int(who): seat(int(seats[k]), time_s, width) for k, who in enumerate(order)}

    return script


def alone(time_s: float) -> dict[int, Place]:
    """One person after the other, 4 s each, in the same seat."""
    return {int(time_s // 4) % 4: seat(1, time_s, 190.0)}


def scripts() -> list[Script]:
    return [with_gap, crossing((0, 1)), cuts(range(4), 110.0), alone, crossing((2, 3)),
            cuts(range(4), 62.0)]  # fmt: skip


@dataclass
class Session:
    """Videos of one session, with the faces that each frame shows."""

    paths: list[Path]
    truth: dict[str, list[dict[int, NDArray[np.float64]]]] = field(default_factory=dict)


def make_session(folder: Path, people: list[list[Head]], seed: int, seconds: float) -> Session:
    session = Session([folder / f"session{seed}_{n}.mp4" for n in range(6)])
    for number, (path, script) in enumerate(zip(session.paths, scripts(), strict=True)):
        rng = np.random.default_rng(seed * 10 + number)
        heads = [lit(some[(seed + number) % len(some)], rng) for some in people]
        session.truth[str(path)] = write_video(path, script, heads, seed * 10 + number, seconds)
    return session


def write_video(
    path: Path, script: Script, heads: list[Head], seed: int, seconds: float
) -> list[dict[int, NDArray[np.float64]]]:
    background = texture(seed, SIZE)
    truth = []
    small: dict[tuple[int, int], tuple[Image.Image, Image.Image]] = {}
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(
            "libx264", rate=RATE, options={"crf": "20", "preset": "veryfast"}
        )
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for index in range(round(seconds * RATE)):
            canvas, boxes = background.copy(), {}
            for who, (x, y, width) in script(index / RATE).items():
                head = heads[who]
                full = round(width / (head.face[2] - head.face[0]))
                size = (full, round(full * head.image.height / head.image.width))
                corner = (round(x - size[0] / 2), round(y - size[1] / 2))
                if (who, full) not in small:
                    small[who, full] = (
                        head.image.resize(size, Image.Resampling.LANCZOS), head.mask.resize(size)
                    )  # fmt: skip
                canvas.paste(small[who, full][0], corner, small[who, full][1])
                boxes[who] = np.tile(corner, 2) + head.face * np.tile(size, 2)
            truth.append(boxes)
            frame = av.VideoFrame.from_ndarray(np.asarray(canvas), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return truth
