"""Composed scenes with exact boxes, and images without a face, for bench/detectors.py.

Faces are cut out with soft elliptical edges and pasted on textures: the two public-domain portraits
of `examples`, scikit-image's lfw_subset (25 x 25 pixels) and, where named, FER2013's PublicTest.
Yaw is synthetic: the cut-out is mapped on a cylinder that turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from scenes import Head, texture

Pixels = NDArray[np.uint8]
SIDE = 96
"""Longer side of the faces in rows about anything but size."""


@dataclass(frozen=True)
class CutOut:
    """A face with a soft mask.

    Attributes:
        image: RGB.
        mask: opacity, 0 to 255.
        face: left, top, right, bottom of the face as fractions of the image's size.
        true_side: longer side of the face in pixels; it is hardly enlarged beyond that.
    """

    image: Image.Image
    mask: Image.Image
    face: NDArray[np.float64]
    true_side: float


@dataclass(frozen=True)
class Scene:
    """An image and its faces' boxes, float64 [n, 4]."""

    pixels: Pixels
    boxes: NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """What is varied in some scenes.

    Attributes:
        kind: size, yaw, rotation, light, occlusion or crowd.
        value: of that kind.
        size: width and height of the scenes.
        sides: smallest and largest longer side of a face in pixels.
        faces: number of faces in a scene.
        change: what happens to each cut-out.
        light: what happens to the scene.
    """

    kind: str
    value: str
    size: tuple[int, int] = (640, 480)
    sides: tuple[int, int] = (SIDE, SIDE)
    faces: int = 3
    change: Callable[[CutOut], CutOut] = lambda cut: cut
    light: Callable[[Image.Image], Image.Image] = lambda image: image


def cut_outs(skimage: Path | None, fer: Path | None, seed: int) -> list[CutOut]:
    """Return all faces: portraits often enough to be a third of them."""
    portraits = []
    for name in ("astronaut", "grace_hopper"):
        for mirror in (False, True):
            head = Head(name, mirror)
            side = float((head.face[2:] - head.face[:2]).max() * head.image.height)
            portraits.append(CutOut(head.image, head.mask, head.face, side))
    crops: list[CutOut] = []
    rng = np.random.default_rng(seed)
    if fer:
        with np.load(fer) as file:
            rows = rng.permutation(np.flatnonzero(file["usage"] == 1))[:400]
            crops += [_of_crop(crop, rng) for crop in file["images"][rows]]
    if skimage:
        subset = np.load(skimage / "lfw_subset.npy")[:100]
        crops += [_of_crop((255 * crop).astype(np.uint8), rng) for crop in subset]
    return crops + portraits * max(1, len(crops) // 8)


def _of_crop(grey: Pixels, rng: np.random.Generator) -> CutOut:
    """Return a square grey crop of a face, tinted."""
    side = len(grey)
    tint = np.array([1.0, rng.uniform(0.75, 1), rng.uniform(0.6, 1)])
    large = Image.fromarray((grey[:, :, None] * tint).astype(np.uint8)).resize((192, 192), 3)
    mask = Image.new("L", large.size, 0)
    ImageDraw.Draw(mask).ellipse((10, 2, 182, 190), fill=255)
    return CutOut(
        large, mask.filter(ImageFilter.GaussianBlur(4)), np.array([0.06, 0, 0.94, 1]), side
    )


def yawed(degrees: float) -> Callable[[CutOut], CutOut]:
    """Turn the head to the side: the cut-out lies on a cylinder."""

    def change(cut: CutOut) -> CutOut:
        width = cut.image.width
        across = (np.arange(width) + 0.5) / width * 2 - 1
        source = np.arcsin(across) - np.radians(degrees)
        seen = np.abs(source) < np.pi / 2
        column = ((np.sin(np.clip(source, -1.57, 1.57)) + 1) / 2 * width).astype(int)
        column = column.clip(0, width - 1)
        pixels = np.asarray(cut.image)[:, column]
        mask = np.asarray(cut.mask)[:, column] * seen[None]
        shown = np.flatnonzero(mask.max(axis=0) > 128)
        centre = (cut.face[0] + cut.face[2]) - 1
        moved = np.sin(np.arcsin(np.clip(centre, -1, 1)) + np.radians(degrees))
        half = (cut.face[2] - cut.face[0]) / 2
        left, right = (moved + 1) / 2 - half, (moved + 1) / 2 + half
        left, right = max(left, shown[0] / width), min(right, (shown[-1] + 1) / width)
        face = np.array([left, cut.face[1], right, cut.face[3]])
        return CutOut(
            Image.fromarray(pixels), Image.fromarray(mask.astype(np.uint8)), face, cut.true_side
        )

    return change


def rotated(degrees: float) -> Callable[[CutOut], CutOut]:
    """Rotate the cut-out in the image plane."""

    def change(cut: CutOut) -> CutOut:
        size = np.array(cut.image.size)
        centre = (cut.face[:2] + cut.face[2:]) / 2 * size - size / 2
        angle = np.radians(-degrees)  # Pillow turns counterclockwise, and y points down
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        half = float(((cut.face[2:] - cut.face[:2]) * size).max()) / 2
        moved = turn @ centre + size / 2
        face = np.concatenate([moved - half, moved + half]) / np.tile(size, 2)
        how = Image.Resampling.BILINEAR
        return CutOut(
            cut.image.rotate(degrees, how), cut.mask.rotate(degrees, how), face, cut.true_side
        )

    return change


def covered(left: float, top: float, right: float, bottom: float) -> Callable[[CutOut], CutOut]:
    """Paint over a part of the face, in fractions of its box."""

    def change(cut: CutOut) -> CutOut:
        image = cut.image.copy()
        corner, size = cut.face[:2], cut.face[2:] - cut.face[:2]
        ends = np.concatenate([corner + size * (left, top), corner + size * (right, bottom)])
        ImageDraw.Draw(image).rectangle(
            [float(v) for v in ends * np.tile(image.size, 2)], fill=(70, 90, 120)
        )
        return CutOut(image, cut.mask, cut.face, cut.true_side)

    return change


def dimmed(fraction: float) -> Callable[[Image.Image], Image.Image]:
    """Return light of that fraction."""
    return lambda image: ImageEnhance.Brightness(image).enhance(fraction)


def from_one_side(image: Image.Image) -> Image.Image:
    """Fall from full light on the left to a tenth on the right of each 200 pixels."""
    ramp = 1 - 0.9 * (np.arange(image.width) % 200) / 200
    return Image.fromarray((np.asarray(image) * ramp[None, :, None]).astype(np.uint8))


def noisy(image: Image.Image) -> Image.Image:
    """Add noise of standard deviation 25 to a third of the light."""
    noise = np.random.default_rng(0).normal(0, 25, (image.height, image.width, 3))
    return Image.fromarray((np.asarray(image) * 0.33 + noise).clip(0, 255).astype(np.uint8))


def rows() -> list[Row]:
    """Return all rows of the table."""
    small = [Row("size", f"{n} px in 320 x 240", (320, 240), (n, n)) for n in (16, 20, 24, 32, 48)]
    sizes = [
        Row("size", f"{n} px in 640 x 480", (640, 480), (n, n), 3 if n < 150 else 1)
        for n in (24, 32, 40, 48, 64, 96, 128, 200, 300, 400)
    ]
    large = [Row("size", f"{n} px in 1920 x 1080", (1920, 1080), (n, n)) for n in (48, 72, 96, 200)]
    return [
        *small, *sizes, *large,
        *(Row("yaw", f"{a} degrees", change=yawed(a)) for a in (-60, -45, -30, 30, 45, 60)),
        *(Row("rotation", f"{a} degrees", change=rotated(a)) for a in (-45, -30, -15, 15, 30, 45)),
        *(Row("light", f"{n:.0%}", light=dimmed(n)) for n in (0.5, 0.2, 0.1)),
        Row("light", "from one side", light=from_one_side),
        Row("light", "33%, noise", light=noisy),
        Row("occlusion", "mouth", change=covered(-0.2, 0.6, 1.2, 1.1)),
        Row("occlusion", "eyes", change=covered(-0.2, 0.22, 1.2, 0.48)),
        Row("occlusion", "left half", change=covered(-0.2, -0.2, 0.5, 1.2)),
        Row("crowd", "20 of 32 to 64 px", (640, 480), (32, 64), 20),
        Row("crowd", "60 of 32 to 96 px", (1280, 720), (32, 96), 60),
    ]  # fmt: skip


def scenes(row: Row, faces: list[CutOut], count: int, seed: int) -> Iterator[Scene]:
    """Yield scenes of a row: the same for the same seed."""
    rng = np.random.default_rng([seed, *row.kind.encode(), *row.value.encode()])
    for number in range(count):
        canvas = texture(int(rng.integers(1 << 30)), row.size)
        boxes: list[NDArray[np.float64]] = []
        for _ in range(row.faces * 30):
            if len(boxes) == row.faces:
                break
            side = float(rng.uniform(*row.sides))
            # Tiny sources would be blurred at large sizes.
            fitting = [f for f in faces if side <= 3.5 * f.true_side] or faces
            _paste(canvas, row.change(fitting[rng.integers(len(fitting))]), side, boxes, rng)
        del number
        yield Scene(np.asarray(row.light(canvas)), np.array(boxes).reshape(-1, 4))


def _paste(
    canvas: Image.Image,
    cut: CutOut,
    side: float,
    boxes: list[NDArray[np.float64]],
    rng: np.random.Generator,
) -> None:
    """Paste a face at a free place, if one is found, and add its box."""
    own = (cut.face[2:] - cut.face[:2]) * cut.image.size
    scale = side / own.max()
    size = tuple(max(1, round(v * scale)) for v in cut.image.size)
    face = cut.face * np.tile(size, 2)
    room = np.array(canvas.size) - (face[2:] - face[:2])
    if (room <= 0).any():
        return
    corner = np.round(rng.uniform(0, 1, 2) * room - face[:2]).astype(int)
    box = face + np.tile(corner, 2)
    gap = 0.3 * side
    for other in boxes:
        if (box[:2] - gap < other[2:]).all() and (other[:2] - gap < box[2:]).all():
            return
    how = Image.Resampling.BILINEAR
    canvas.paste(cut.image.resize(size, how), tuple(corner), cut.mask.resize(size, how))
    boxes.append(box)


FACELESS = (
    "motorcycle_left.png", "motorcycle_right.png", "coffee.png", "rocket.jpg", "chelsea.png",
    "brick.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png",
    "page.png", "coins.png", "clock_motion.png", "retina.jpg", "cell.png", "logo.png", "color.png",
)  # fmt: skip


OTHER_FACELESS = (
    "china.jpg", "flower.jpg", "horse.png", "text.png", "phantom.png", "microaneurysms.png",
    "chessboard_GRAY.png", "chessboard_RGB.png",
)  # fmt: skip
"""Images that no threshold of a detector was chosen on; two are scikit-learn's."""


def faceless(
    skimage: Path | None, sklearn: Path | None = None, count: int = 300, seed: int = 0
) -> list[Pixels]:
    """Return images without a face: packages' images, parts of them, and textures.

    Args:
        skimage: folder skimage/data; its images at seed 0.
        sklearn: folder sklearn/datasets/images; its images and others of skimage at other seeds.
        count: number of images.
        seed: of the parts and textures; seeds other than 0 share their whole images.
    """
    rng = np.random.default_rng(seed)
    folders = [folder for folder in (skimage, sklearn) if folder]
    names = OTHER_FACELESS if seed else FACELESS
    paths = [p for name in names for folder in folders if (p := folder / name).is_file()]
    whole = [Image.open(path).convert("RGB") for path in paths]
    found = [np.asarray(image) for image in whole]
    for number in range((count - len(found)) * 2 // 3 if whole else 0):
        image = whole[number % len(whole)]
        width, height = (int(rng.uniform(0.4, 1) * side) for side in image.size)
        x, y = (
            int(rng.integers(a - b + 1)) for a, b in zip(image.size, (width, height), strict=True)
        )
        part = image.crop((x, y, x + width, y + height))
        size = (480, max(64, 480 * height // width))
        found.append(np.asarray(part.resize(size, Image.Resampling.BILINEAR)))
    while len(found) < count:
        cells = int(rng.choice([4, 8, 16, 32, 64, 128]))
        noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        plain = Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC)
        blotches = texture(1000 * seed + len(found), (640, 480))
        found.append(np.asarray(plain if len(found) % 2 else blotches))
    return found
