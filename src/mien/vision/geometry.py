"""Boxes: overlap and non-maximum suppression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def overlap(
    box: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    over: Literal["union", "smaller"] = "union",
) -> NDArray[np.float32]:
    """Return the area shared with one box [4], float32 [n], as a share of union or smaller."""
    corner = np.maximum(box[:2], boxes_xyxy[:, :2])
    shared = np.clip(np.minimum(box[2:], boxes_xyxy[:, 2:]) - corner, 0, None).prod(axis=1)
    own = (box[2:] - box[:2]).prod()
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
    left = np.argsort(-scores_n, kind="stable")
    kept: list[int] = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        left = left[overlap(boxes_xyxy[best], boxes_xyxy[left], over) <= limit]
    return np.array(kept, np.int64)
