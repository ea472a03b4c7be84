"""Corruptions of face crops: nine kinds, three strengths each, from one seed.

After Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common
corruptions", arXiv:1903.12261, with strengths that suit crops of 48 pixels. Lengths are in pixels
of such a crop and grow with larger ones, so that every model is given the same.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SIDE = 48
"""Side of the crops, in pixels, that lengths below are meant for."""
PAD = 0.3
"""Padding as a fraction of the side before a crop is rotated or moved: 30 degrees need 0.19."""


@dataclass(frozen=True, slots=True)
class Corruption:
    """One kind of corruption.

    Attributes:
        name: such as 'blur'.
        about: description with the unit of the strengths.
        strengths: strengths from weak to strong.
        apply: changes one crop, uint8 [s, s], by a strength and a generator; returns uint8 [s, s].
    """

    name: str
    about: str
    strengths: tuple[float, ...]
    apply: Callable[[NDArray[np.uint8], float, np.random.Generator], NDArray[np.uint8]]


def corrupt(
    images_nhw: NDArray[np.uint8], corruption: Corruption, strength: float, seed: int = 0
) -> NDArray[np.uint8]:
    """Return corrupted copies of square crops, uint8 [n, s, s].

    Each crop's randomness depends on the seed and its place alone: the same for every model.
    """
    changed = np.empty(images_nhw.shape, np.uint8)
    for row, image in enumerate(images_nhw):
        # By image, so that a subset is corrupted exactly like the whole.
        rng = np.random.default_rng((seed, row))
        changed[row] = corruption.apply(np.asarray(image), strength, rng)
    return changed


def _blur(image: NDArray[np.uint8], sigma: float, _: np.random.Generator) -> NDArray[np.uint8]:
    radius = sigma * len(image) / SIDE
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def _noise(image: NDArray[np.uint8], spread: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    return _pixels(image + rng.normal(0, spread, image.shape))


def _jpeg(image: NDArray[np.uint8], quality: float, _: np.random.Generator) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=int(quality))
    return np.asarray(Image.open(buffer).convert("L"), np.uint8)


def _low_light(
    image: NDArray[np.uint8], light: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Less light: fewer photons, whose number is random, then the sensor's own noise."""
    # Noise grows with the square root of the light, so dark images are noisier relative to it.
    photons = rng.poisson(image * light * PHOTONS) / PHOTONS
    return _pixels(photons + rng.normal(0, 1.5, image.shape))


PHOTONS = 4.0
"""For each grey level, about what a phone's small pixel gathers indoors."""


def _low_resolution(
    image: NDArray[np.uint8], side: float, _: np.random.Generator
) -> NDArray[np.uint8]:
    """What a face of so few pixels gives: scaled down, and up again as every crop is."""
    small = Image.fromarray(image).resize((int(side), int(side)), Image.Resampling.BOX)
    return np.asarray(small.resize(image.shape[::-1], Image.Resampling.BILINEAR))


def _rotation(
    image: NDArray[np.uint8], degrees: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    turned = _padded(image).rotate(degrees * rng.choice([-1, 1]), Image.Resampling.BILINEAR)
    pad = _pad(image)
    return np.asarray(turned)[pad : pad + len(image), pad : pad + len(image)]


def _off_centre(
    image: NDArray[np.uint8], fraction: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A crop that misses the face's middle by a fraction of its side, in any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    side, pad = len(image), _pad(image)
    left, top = pad + fraction * side * np.cos(angle), pad + fraction * side * np.sin(angle)
    box = (left, top, left + side, top + side)
    return np.asarray(_padded(image).resize((side, side), Image.Resampling.BILINEAR, box=box))


def _cover(
    image: NDArray[np.uint8],
    fraction: float,
    rows: tuple[float, float],
    columns: tuple[float, float],
) -> NDArray[np.uint8]:
    """Cover a fraction of the height of a region, from its middle."""
    side = len(image)
    middle, half = sum(rows) / 2, (rows[1] - rows[0]) / 2 * fraction
    top, bottom = round((middle - half) * side), round((middle + half) * side)
    left, right = (round(column * side) for column in columns)
    changed = image.copy()
    # The image's own mean, as in occlusion maps: black would be a second corruption.
    changed[top:bottom, left:right] = round(float(image.mean()))
    return changed


def _mouth(image: NDArray[np.uint8], fraction: float, _: np.random.Generator) -> NDArray[np.uint8]:
    return _cover(image, fraction, (0.62, 0.98), (0.2, 0.8))


def _eyes(image: NDArray[np.uint8], fraction: float, _: np.random.Generator) -> NDArray[np.uint8]:
    return _cover(image, fraction, (0.18, 0.52), (0.08, 0.92))


def _pad(image: NDArray[np.uint8]) -> int:
    return int(np.ceil(PAD * len(image)))


def _padded(image: NDArray[np.uint8]) -> Image.Image:
    # Edge pixels repeated, as the alignment does outside of an image.
    return Image.fromarray(np.pad(image, _pad(image), mode="edge"))


def _pixels(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


CORRUPTIONS: tuple[Corruption, ...] = (
    Corruption("blur", "Gaussian, standard deviation in pixels", (1.0, 1.5, 2.5), _blur),
    Corruption("noise", "Gaussian, standard deviation in grey levels", (10, 20, 40), _noise),
    Corruption("jpeg", "quality of the JPEG file", (40, 20, 10), _jpeg),
    Corruption("low-light", "fraction of the light", (0.3, 0.1, 0.03), _low_light),
    Corruption("low-resolution", "pixels across the face", (32, 24, 16), _low_resolution),
    Corruption("rotation", "degrees to either side", (10, 20, 30), _rotation),
    Corruption("off-centre", "fraction of the side, any direction", (0.05, 0.1, 0.2), _off_centre),
    Corruption("mouth-covered", "fraction of the mouth's height", (0.4, 0.7, 1.0), _mouth),
    Corruption("eyes-covered", "fraction of the eyes' height", (0.4, 0.7, 1.0), _eyes),
)
