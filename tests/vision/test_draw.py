from __future__ import annotations

import numpy as np
import pytest

from mien.types import UNSURE, FaceReading
from mien.vision.draw import annotate, percent


def face(label: str = "happy", box: tuple[float, ...] = (20, 20, 60, 70)) -> FaceReading:
    return FaceReading(box, 1.0, label, 0.8, {"happy": 0.8, "sad": 0.2})  # type: ignore[arg-type]


def test_the_picture_itself_is_left_alone() -> None:
    picture = np.full((120, 200, 3), 90, np.uint8)
    drawn = annotate(picture, [face()])
    assert (picture == 90).all()
    assert drawn.shape == picture.shape
    assert (drawn[45, 20] != 90).any()  # the box's edge
    assert (drawn[45, 40] == 90).all()  # the face itself stays visible


def test_unsure_is_drawn_grey() -> None:
    picture = np.zeros((120, 200, 3), np.uint8)
    edge = annotate(picture, [face(UNSURE)])[45, 20]
    assert edge.max() - edge.min() == 0
    edge = annotate(picture, [face("happy")])[45, 20]
    assert edge.max() - edge.min() > 50


def test_in_a_group_no_panel_covers_another_face() -> None:
    picture = np.full((160, 420, 3), 90, np.uint8)
    boxes = [(20 + 70 * i, 40, 60 + 70 * i, 90) for i in range(5)]
    drawn = annotate(picture, [face(box=box) for box in boxes])
    for x0, y0, x1, y1 in boxes:
        assert (drawn[y0 + 5 : y1 - 5, x0 + 5 : x1 - 5] == 90).all()


@pytest.mark.parametrize("box", [(-50, -50, 400, 400), (0, 0, 1, 1), (190, 110, 260, 190)])
def test_boxes_beyond_the_picture_and_tiny_ones(box: tuple[float, ...]) -> None:
    assert annotate(np.zeros((120, 200, 3), np.uint8), [face(box=box)]).shape == (120, 200, 3)


def test_a_probability_is_never_shown_as_certain() -> None:
    assert [percent(p) for p in (1.0, 0.994, 0.5, 0.004)] == [">99%", ">99%", "50%", "<1%"]
