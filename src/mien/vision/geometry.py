"""Boxes: overlap and non-maximum suppression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


AT_ONCE = 256
"""Boxes compared pair by pair in one go: a quarter of a megabyte."""


def overlap(
    box: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    over: Literal["union", "smaller"] = "union",
) -> NDArray[np.float32]:
    """Return the area shared with a box, as a share of union or smaller.

    float32 [n] for one box [4]; [m, n] for boxes [m, 1, 4].
    """
    corner = np.maximum(box[..., :2], boxes_xyxy[:, :2])
    shared = np.clip(np.minimum(box[..., 2:], boxes_xyxy[:, 2:]) - corner, 0, None).prod(axis=-1)
    own = (box[..., 2:] - box[..., :2]).prod(axis=-1)
    areas = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1)
    whole = np.minimum(own, areas) if over == "smaller" else own + areas - shared
    share: NDArray[np.float32] = (shared / np.maximum(whole, 1e-9)).astype(np.float32)
    return share


def suppress(
    boxes_xyxy: NDArray[np.float32],
    scores_n: NDArray[np.float32],
    limit: float,
    over: Literal["union", "smaller"] = "union",
) -> NDArray[np.int64]:
    """Return the boxes to keep, best first, so that none overlaps a better one beyond `limit`."""
    order = np.argsort(-scores_n, kind="stable")
    kept: list[int] = []
    while len(order):
        # All pairs of some boxes at once: a call for each box would cost more than its work.
        some, order = order[:AT_ONCE], order[AT_ONCE:]
        boxes = boxes_xyxy[some]
        free = overlap(boxes[:, None], boxes, over) <= limit
        alive = np.ones(len(some), bool)
        for row in range(len(some)):
            if alive[row]:
                kept.append(int(some[row]))
                alive[row + 1 :] &= free[row, row + 1 :]
                if len(order):
                    order = order[overlap(boxes[row], boxes_xyxy[order], over) <= limit]
    return np.array(kept, np.int64)
