from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.imaging.crop import WHOLE, Framing, crop_faces, crop_whole, squares

BOX = st.tuples(*[st.floats(-300, 300, width=32)] * 4)


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_crop_of_the_right_size_is_left_alone_bit_for_bit() -> None:
    grey = image(48, 48)[:, :, 0]
    assert np.array_equal(crop_whole(grey, 48), grey)


def test_an_image_that_is_not_square_is_not_squashed() -> None:
    # A circle in a wide image stays a circle.
    y, x = np.mgrid[:96, :192]
    circle = (((x - 96) ** 2 + (y - 48) ** 2) < 40**2).astype(np.uint8) * 255
    crop = crop_whole(circle, 48) > 127
    assert abs(int(crop.any(axis=0).sum()) - int(crop.any(axis=1).sum())) <= 1


def test_outside_the_image_its_edge_is_repeated() -> None:
    grey = np.full((20, 20), 50, np.uint8)
    grey[:, 10:] = 200
    crop = crop_faces(grey, np.array([[-20, -20, 40, 40]], np.float32), WHOLE, 60)[0]
    assert (crop[:, :29] == 50).all()
    assert (crop[:, 31:] == 200).all()


def test_framing_scales_and_moves_the_square() -> None:
    frames = squares(np.array([[10, 20, 30, 60]], np.float32), Framing(1.5, 0.1, -0.1))
    np.testing.assert_allclose(frames, [[20 + 6 - 30, 40 - 6 - 30, 20 + 6 + 30, 40 - 6 + 30]])


def test_no_boxes_no_crops() -> None:
    assert crop_faces(image(9, 9), np.zeros((0, 4), np.float32), WHOLE, 48).shape == (0, 48, 48)


@given(BOX, st.integers(1, 60), st.integers(1, 60))
def test_any_box_gives_a_crop_of_grey_levels_of_the_image(
    box: tuple[float, float, float, float], height: int, width: int
) -> None:
    crops = crop_faces(image(height, width), np.array([box], np.float32), WHOLE, 16)
    assert crops.shape == (1, 16, 16)
    assert crops.dtype == np.uint8


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
def test_grey_is_the_luma_of_rgb(colour: tuple[int, int, int]) -> None:
    # An image taken for BGR would fail here.
    pixels = np.full((8, 8, 3), colour, np.uint8)
    luma = round(0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2])
    assert abs(int(crop_whole(pixels, 8)[0, 0]) - luma) <= 1
