from __future__ import annotations

import numpy as np

from mien.vision.geometry import overlap, suppress

BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30]], np.float32)


def test_overlap_by_hand() -> None:
    np.testing.assert_allclose(overlap(BOXES[0], BOXES), [1, 0.5, 0])
    np.testing.assert_allclose(overlap(BOXES[0], BOXES, "smaller"), [1, 1, 0])


def test_the_best_of_overlapping_boxes_stays() -> None:
    scores = np.array([0.6, 0.9, 0.5], np.float32)
    assert suppress(BOXES, scores, 0.4).tolist() == [1, 2]
    assert suppress(BOXES, scores, 0.6).tolist() == [1, 0, 2]
    assert suppress(BOXES, scores, 0.6, "smaller").tolist() == [1, 2]
    assert suppress(BOXES[:0], scores[:0], 0.5).tolist() == []
