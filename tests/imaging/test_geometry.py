from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from mien.imaging.boxes import BLOCK, overlap, suppress

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


@pytest.mark.parametrize("over", ["union", "smaller"])
@pytest.mark.parametrize("count", [1, 30, BLOCK + 300])
def test_suppression_is_that_of_one_box_after_another(
    count: int, over: Literal["union", "smaller"], rng: np.random.Generator
) -> None:
    """Many boxes are compared in blocks; the plain method says what must come out."""
    corner = rng.uniform(0, 400, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 60, (count, 2))], axis=1)
    boxes = boxes.astype(np.float32)
    scores = (rng.integers(0, 40, count) / 40).astype(np.float32)
    left, plain = np.argsort(-scores, kind="stable").tolist(), []
    while left:
        best = left.pop(0)
        plain.append(best)
        shares = overlap(boxes[best], boxes[left], over)
        left = [k for k, share in zip(left, shares, strict=True) if share <= 0.3]
    assert suppress(boxes, scores, 0.3, over).tolist() == plain
