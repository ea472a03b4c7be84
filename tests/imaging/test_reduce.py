"""Reduced images are Pillow's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mien.imaging.reduce import reduce_by


@pytest.mark.parametrize("size", [(2, 2), (64, 46), (63, 46), (64, 45), (5, 5), (1, 8)])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_as_pillow(size: tuple[int, int], factor: int) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).reduce(factor))
    assert np.array_equal(reduce_by(pixels, factor), expected)


def test_views_are_read_as_they_are() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    turned = pixels[::-1, 10:50]
    expected = np.asarray(Image.fromarray(np.ascontiguousarray(turned)).reduce(2))
    assert np.array_equal(reduce_by(turned, 2), expected)


def test_the_brightest_pixels_do_not_overflow() -> None:
    assert (reduce_by(np.full((8, 8, 3), 255, np.uint8), 2) == 255).all()
