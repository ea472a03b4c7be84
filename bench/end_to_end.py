"""Measures how many faces in composed scenes are found and classified right, by detector.

    python bench/end_to_end.py --data fer2013.npz

Faces of FER2013's PublicTest labelled happy, neutral or sad, 64 to 200 pixels, are pasted on
textures of 640 x 480, two to a scene, and read with mien-small. All detectors see the same scenes.
PublicTest is validation, and its raw labels are graded: they are wrong for about a fifth of faces.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from mien import Reader
from mien.labels import SEVEN
from mien.types import FaceReading
from scenes import texture

WIDTH, HEIGHT = 640, 480
SIDES = (64, 200)
MARGIN = 10
SAME = 0.3
"""A found face is the pasted one if their centres differ by less than this fraction of its side."""
LABELS = ("happy", "neutral", "sad")


@dataclass(frozen=True)
class Pasted:
    """A face of a scene: centre and side in pixels, and its label."""

    x: float
    y: float
    side: int
    label: str

    def is_found(self, face: FaceReading) -> bool:
        left, top, right, bottom = face.box
        near = SAME * self.side
        return abs((left + right) / 2 - self.x) < near and abs((top + bottom) / 2 - self.y) < near


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="fer2013.npz")
    parser.add_argument("--detectors", nargs="+", default=["mtcnn", "yunet"])
    parser.add_argument("--count", type=int, default=400, help="faces, two to a scene")
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    readers = {name: Reader(detector=name, threads=1) for name in args.detectors}
    hits: dict[str, list[tuple[bool, bool]]] = {name: [] for name in readers}
    extra = dict.fromkeys(readers, 0)
    for image, pasted in scenes(args.data, args.count, args.seed):
        for name, reader in readers.items():
            found = list(reader.read(image).faces)
            for one in pasted:
                own = [face for face in found if one.is_found(face)]
                found = [face for face in found if face not in own]
                best = max(own, key=lambda face: face.score, default=None)
                hits[name].append((best is not None, best is not None and label(best) == one.label))
            extra[name] += len(found)
    print(
        "| detector | n | found | found and right | false alarms |\n| --- | --- | --- | --- | --- |"
    )
    for name, rows in hits.items():
        are_found, are_right = np.array(rows).T
        shares = f"{are_found.mean():.3f} | {are_right.mean():.3f}"
        print(f"| {name} | {len(rows)} | {shares} | {extra[name]} |")
    first, *others = readers
    for other in others:
        pairs = np.array(
            [b[1] - a[1] for a, b in zip(hits[first], hits[other], strict=True)], float
        )
        half = 1.96 * pairs.std() / len(pairs) ** 0.5
        print(f"{other} - {first}, found and right: {pairs.mean():+.3f} ± {half:.3f} (pairs, 95%)")


def label(face: FaceReading) -> str:
    return max(face.probabilities, key=lambda name: face.probabilities[name])


def scenes(data: Path, count: int, seed: int) -> list[tuple[NDArray[np.uint8], list[Pasted]]]:
    """Return images, uint8 [HEIGHT, WIDTH, 3], with the faces pasted on each."""
    with np.load(data) as arrays:
        images, usage, emotions = arrays["images"], arrays["usage"], arrays["labels"]
    rng = np.random.default_rng(seed)
    wanted = [SEVEN.index(name) for name in LABELS]
    public = np.flatnonzero((usage == 1) & np.isin(emotions, wanted))
    chosen = rng.permutation(public)[:count]
    mask = Image.new("L", (192, 192), 0)
    ImageDraw.Draw(mask).rectangle((4, 4, 188, 188), fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(3))
    made = []
    for start in range(0, len(chosen), 2):
        canvas, pasted = texture(start, (WIDTH, HEIGHT)), []
        for column, row in enumerate(chosen[start : start + 2]):
            side = int(rng.integers(SIDES[0], SIDES[1] + 1))
            x = int(rng.integers(MARGIN, WIDTH // 2 - MARGIN - side)) + column * WIDTH // 2
            y = int(rng.integers(MARGIN, HEIGHT - MARGIN - side))
            face = Image.fromarray(images[row]).convert("RGB").resize((side, side))
            canvas.paste(face, (x, y), mask.resize((side, side)))
            pasted.append(Pasted(x + side / 2, y + side / 2, side, SEVEN[int(emotions[row])]))
        made.append((np.asarray(canvas), pasted))
    return made


if __name__ == "__main__":
    main()
