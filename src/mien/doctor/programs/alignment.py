"""Do the masks of a segmentation fit their images better when they are turned or mirrored?

Images and masks that are read or augmented by different code may have their axes exchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.evidence import Predictions
from mien.doctor.facts import beside_constant, mean_recall
from mien.doctor.programs.baseline import kernel_baseline
from mien.doctor.programs.measurements import Alignment

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from mien.doctor.programs.split import Split

MIN_SIDE = 4
MAX_FITTED = 300
"""Positions that the baseline is fitted on, for each way of turning."""
MIN_ROWS = 100
TURNS: dict[str, tuple[bool, Callable[[Tensor], Tensor]]] = {
    "mirrored left to right": (False, lambda x: x.flip(2)),
    "mirrored upside down": (False, lambda x: x.flip(1)),
    "turned by 180 degrees": (False, lambda x: x.flip(1, 2)),
    "transposed (rows and columns exchanged)": (True, lambda x: x.transpose(1, 2)),
    "turned by 90 degrees": (True, lambda x: x.rot90(1, (1, 2))),
    "turned by 270 degrees": (True, lambda x: x.rot90(3, (1, 2))),
    "transposed and turned by 180 degrees": (True, lambda x: x.transpose(1, 2).flip(1, 2)),
}
"""Ways to turn masks [n, h, w], and whether they need squares."""


def turned_targets(
    targets_np: Tensor, grid: tuple[int, ...], example_m: Tensor, place_m: Tensor
) -> dict[str, NDArray[np.int64]]:
    """Return the targets at m positions of masks that were turned; empty where they are no images.

    Args:
        targets_np: class indices or masks of n examples, [n, p] or [n, p, 1].
        grid: form of the p positions.
        example_m: number of each position's example.
        place_m: number of the position among the p.
    """
    if len(grid) != 2 or min(grid) < MIN_SIDE:
        return {}
    maps = targets_np.reshape(len(targets_np), *grid)
    return {
        name: turn(maps).reshape(len(maps), -1)[example_m, place_m].long().numpy()
        for name, (square, turn) in TURNS.items()
        if grid[0] == grid[1] or not square
    }


def alignment_of(split: Split, prior_k: NDArray[np.float64]) -> Alignment | None:
    """Return how well the baseline knows masks as they are and as turned; None if not known."""
    if split.rows is None or not split.turned:
        return None
    n, k = min(MAX_FITTED, len(split.rows)), len(prior_k)
    if n < MIN_ROWS:
        return None
    scores = {
        name: _recall(split.rows[:n], labels[:n], prior_k, k)
        for name, labels in {"": split.targets[:, 0].astype(np.int64), **split.turned}.items()
    }
    best = max(scores, key=lambda name: scores[name])
    return Alignment(best, scores[""], scores[best], n) if best else None


def _recall(
    rows: NDArray[np.float64], labels: NDArray[np.int64], prior_k: NDArray[np.float64], k: int
) -> float:
    # A position that the loss ignores may be one that counts elsewhere.
    known = (labels >= 0) & (labels < k)
    if known.sum() < MIN_ROWS // 2 or len(np.unique(labels[known])) < 2:
        return 0.0
    found, _ = kernel_baseline(rows[known], np.eye(k)[labels[known]], rows[:1])
    constant = np.broadcast_to(prior_k, found.shape)
    part = Predictions(labels[known], None, found, constant)
    return mean_recall(part.y_true_n, beside_constant(found, part))
