"""The features and colours that faces are compared by without dlib's network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tests.conftest import ROOT

from mien.model.descriptor import AppearanceDescriptor

BOXES = {"astronaut": (165, 45, 285, 165), "grace_hopper": (144, 108, 384, 348)}


def chip(name: str, light: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Return a portrait as a chip in another light."""
    image = Image.open(ROOT / "examples" / f"{name}.jpg").convert("RGB").crop(BOXES[name])
    pixels = np.asarray(image.resize((150, 150)), np.float64) * np.array(light)
    return pixels.clip(0, 255).astype(np.uint8)


def test_the_colour_of_the_light_matters_less_than_the_person() -> None:
    descriptor = AppearanceDescriptor.load(threads=1)
    lights = ((1, 1, 1), (0.6, 0.6, 0.6), (0.95, 0.75, 0.55), (0.55, 0.7, 0.95))
    chips = np.stack([chip(name, light) for name in BOXES for light in lights])
    vectors = descriptor.embed(chips)
    similarity = vectors @ vectors.T
    one = np.repeat([0, 1], len(lights))
    same = one[:, None] == one
    assert similarity[same].min() > descriptor.threshold + descriptor.margin
    assert similarity[~same].max() < descriptor.threshold - descriptor.margin
