"""Boxes: overlap and non-maximum suppression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BLOCK = 512
"""Boxes per matrix of overlaps: it is ten times as fast as one row at a time, but takes memory."""


def clip_box(
    box_xyxy: Sequence[float], width: float = np.inf, height: float = np.inf
) -> tuple[int, int, int, int]:
    """Return a box [4] in whole pixels inside an image of that size; at least one pixel remains.

    Slicing with it, `image[top:bottom, left:right]`, never gives an empty crop: edges are
    rounded outwards, and a box that lies outside becomes the nearest row or column of pixels.
    """
    left = int(max(0, min(np.floor(box_xyxy[0]), width - 1)))
    top = int(max(0, min(np.floor(box_xyxy[1]), height - 1)))
    # At least one pixel, because an empty crop has no mean and no resampling.
    right = int(max(left + 1, min(np.ceil(box_xyxy[2]), width)))
    bottom = int(max(top + 1, min(np.ceil(box_xyxy[3]), height)))
    return left, top, right, bottom


def overlap(
    box: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    over: Literal["union", "smaller"] = "union",
) -> NDArray[np.float32]:
    """Return the intersection with one box [4], float32 [n], over the union or the smaller area."""
    ratios: NDArray[np.float32] = overlaps(box[None], boxes_xyxy, over)[0]
    return ratios


def overlaps(
    one_xyxy: NDArray[np.float32],
    other_xyxy: NDArray[np.float32],
    over: Literal["union", "smaller"] = "union",
) -> NDArray[np.float32]:
    """Return the intersections of boxes [n, 4] and [m, 4], float32 [n, m]; see `overlap`."""
    x0, y0, x1, y1 = np.ascontiguousarray(one_xyxy.T, np.float32)[:, :, None]
    u0, v0, u1, v1 = np.ascontiguousarray(other_xyxy.T, np.float32)[:, None]
    shared = np.maximum(np.minimum(x1, u1) - np.maximum(x0, u0), 0)
    shared *= np.maximum(np.minimum(y1, v1) - np.maximum(y0, v0), 0)
    own, others = (x1 - x0) * (y1 - y0), (u1 - u0) * (v1 - v0)
    whole = np.minimum(own, others) if over == "smaller" else own + others - shared
    # Boxes without an area overlap nothing.
    ratio: NDArray[np.float32] = shared / np.maximum(whole, np.float32(1e-9))
    return ratio


def suppress(
    boxes_xyxy: NDArray[np.float32],
    scores_n: NDArray[np.float32],
    limit: float,
    over: Literal["union", "smaller"] = "union",
) -> NDArray[np.int64]:
    """Return the indices of the boxes kept by non-maximum suppression, int64, best first.

    Args:
        boxes_xyxy: float32 [n, 4], pixels.
        scores_n: float32 [n].
        limit: maximum overlap with a better box, 0 to 1.
        over: see `overlap`.
    """
    # Stable: equal scores must not depend on NumPy's sorting.
    order = np.argsort(-scores_n, kind="stable")
    kept: list[int] = []
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        boxes = boxes_xyxy[block]
        taken = overlaps(boxes_xyxy[kept], boxes, over) > limit
        free = np.logical_not(np.logical_or.reduce(taken, axis=0))
        apart = overlaps(boxes, boxes, over) <= limit
        for number, index in enumerate(block):
            if free[number]:
                kept.append(int(index))
                free &= apart[number]
    return np.array(kept, np.int64)
