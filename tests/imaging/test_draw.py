from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mien.imaging.draw import Box, FrameAnnotator, annotate
from mien.intervals import percent
from mien.types import UNSURE, FaceReading, TrackedFace


def face(label: str = "happy", box: tuple[float, ...] = (20, 20, 60, 70)) -> FaceReading:
    return FaceReading(box, 1.0, label, 0.8, {"happy": 0.8, "sad": 0.2})  # type: ignore[arg-type]


def test_the_image_itself_is_left_alone() -> None:
    image = np.full((120, 200, 3), 90, np.uint8)
    drawn = annotate(image, [face()])
    assert (image == 90).all()
    assert drawn.shape == image.shape
    assert (drawn[45, 20] != 90).any()  # the box's edge
    assert (drawn[45, 40] == 90).all()  # the face itself stays visible


def test_unsure_is_drawn_grey() -> None:
    image = np.zeros((120, 200, 3), np.uint8)
    edge = annotate(image, [face(UNSURE)])[45, 20]
    assert edge.max() - edge.min() == 0
    edge = annotate(image, [face("happy")])[45, 20]
    assert edge.max() - edge.min() > 50


def test_in_a_group_no_panel_covers_another_face() -> None:
    image = np.full((160, 420, 3), 90, np.uint8)
    boxes = [(20 + 70 * i, 40, 60 + 70 * i, 90) for i in range(5)]
    drawn = annotate(image, [face(box=box) for box in boxes])
    for x0, y0, x1, y1 in boxes:
        assert (drawn[y0 + 5 : y1 - 5, x0 + 5 : x1 - 5] == 90).all()


@pytest.mark.parametrize("box", [(-50, -50, 400, 400), (0, 0, 1, 1), (190, 110, 260, 190)])
def test_boxes_beyond_the_image_and_tiny_ones(box: tuple[float, ...]) -> None:
    assert annotate(np.zeros((120, 200, 3), np.uint8), [face(box=box)]).shape == (120, 200, 3)


def test_a_probability_is_never_shown_as_certain() -> None:
    assert [percent(p) for p in (1.0, 0.994, 0.5, 0.004)] == [">99%", ">99%", "50%", "<1%"]


def tracked(box: Box, track: int = 1) -> TrackedFace:
    shares = {"happy": 0.8, "sad": 0.2}
    return TrackedFace(
        track, box, "detected", 1.0, probabilities=shares, label="happy", confidence=0.8
    )


def panel_side(drawn: np.ndarray, box: Box) -> str:
    """Where the dark panel lies: left or right of the face."""
    columns = np.nonzero((drawn < 60).all(axis=2).any(axis=0))[0]
    return "left" if columns.mean() < (box[0] + box[2]) / 2 else "right"


def test_in_a_video_a_panel_stays_on_its_side() -> None:
    """A face sways where the panel has just room to its right, and just none."""
    image = np.full((160, 420, 3), 90, np.uint8)
    boxes = [(x, 40, x + 60, 110) for x in (200 + np.tile([0, 55, 110, 55], 6)).tolist()]
    one = FrameAnnotator()
    kept = [panel_side(one.draw(image, [tracked(box)], k / 30), box) for k, box in enumerate(boxes)]
    fresh = [panel_side(FrameAnnotator().draw(image, [tracked(box)], 0), box) for box in boxes]
    changes = [sum(a != b for a, b in pairwise(sides)) for sides in (kept, fresh)]
    assert changes[1] > 6, "the scene is one where panels would hop"
    assert changes[0] == 1


def test_a_panel_that_shrank_grows_again_after_a_while() -> None:
    """Two people stand so close, for a moment, that there is room for their titles only."""
    image = np.full((110, 200, 3), 90, np.uint8)
    one = FrameAnnotator()
    dark = []
    for k in range(90):
        near = 20 <= k < 25
        people = [tracked((20, 20, 80, 90)), tracked((84, 20, 144, 90), 2)] if near else []
        drawn = one.draw(image, people or [tracked((20, 20, 80, 90))], k / 30)
        dark.append(int((drawn < 60).all(axis=2).sum()))
    assert dark[0] == dark[19] == dark[-1]
    assert dark[26] == dark[40] < 0.7 * dark[0], "it does not flicker"
    changes = sum(a != b for a, b in pairwise(dark[25:]))
    assert changes == 1
