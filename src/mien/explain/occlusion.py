"""Occlusion: how much a label's log-odds fall when a part of the face is covered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mien.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS = 16
"""Positions of the patch along each side: enough for a smooth map, 256 crops a face."""


class LogitModel(Protocol):
    """The part of a model that occlusion needs."""

    def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits, float32 [n, k], for grey crops, uint8 [n, size, size]."""
        ...


@dataclass(frozen=True, slots=True)
class Occlusion:
    """One face under a sliding patch.

    Attributes:
        drop_hw: float32 [s, s], loss of log-odds of the target, averaged over the patches that
            cover a pixel; negative where covering raises them.
        before: probability of the target, uncovered.
        after: its probability under the patch with the largest drop.
        patch_xyxy: that patch, in pixels of the crop.
    """

    drop_hw: NDArray[np.float32]
    before: float
    after: float
    patch_xyxy: tuple[int, int, int, int]


def default_patch(size: int) -> int:
    """Return the patch's side for a crop of `size` pixels: a fifth, about a mouth's height."""
    return max(1, round(size / 5))


def occlude(
    model: LogitModel, crop_hw: NDArray[np.uint8], target: int, patch: int | None = None
) -> Occlusion:
    """Slide a patch of the crop's mean grey over a face (Zeiler & Fergus 2014, arXiv:1311.2901).

    They map the probability; we map its log-odds, natural logarithm. The order is the same, but
    a probability close to 1 hardly moves, and a map of it would be rounding.

    Args:
        model: the model.
        crop_hw: uint8 [s, s], grey.
        target: index of the label that is explained.
        patch: side of the patch in pixels; a fifth of the crop where None.

    Raises:
        ConfigError: a patch smaller than a pixel, or as large as the crop.
    """
    size = crop_hw.shape[0]
    patch = default_patch(size) if patch is None else patch
    if not 1 <= patch < size:
        raise ConfigError(
            f"patch: {patch} is out of range, 1 to {size - 1} pixels",
            hint=f"{default_patch(size)} is the default for crops of {size} pixels",
        )
    masks = _masks(size, patch)
    # The crop's own mean grey adds the weakest edge; black would be a feature of its own.
    covered = np.where(masks, np.uint8(round(float(crop_hw.mean()))), crop_hw)
    odds = log_odds(model.logits(np.concatenate([crop_hw[None], covered])), target)
    # Log-odds, since probabilities near 1 hardly move whatever is covered.
    drops = odds[0] - odds[1:]
    # A pixel's value is the mean over the patches that cover it.
    total = np.tensordot(drops, masks.astype(np.float64), 1)
    worst = int(drops.argmax())
    rows, columns = np.flatnonzero(masks[worst].any(axis=1)), np.flatnonzero(masks[worst].any(0))
    return Occlusion(
        drop_hw=(total / masks.sum(axis=0)).astype(np.float32),
        before=_probability(odds[0]),
        after=_probability(odds[1 + worst]),
        patch_xyxy=(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1),
    )


def log_odds(logits_nk: NDArray[np.float32], target: int) -> NDArray[np.float64]:
    """Return log(p / (1 - p)) of a label, float64 [n], from logits, without rounding p to 1."""
    logits = logits_nk.astype(np.float64)
    # p / (1 - p) is exp(logit) over the sum of the others' exp. Its logarithm is computed with the
    # maximum taken out, so that exp cannot overflow.
    others = np.delete(logits, target, axis=1)
    top = others.max(axis=1)
    rest = np.log(np.exp(others - top[:, None]).sum(axis=1)) + top
    odds: NDArray[np.float64] = logits[:, target] - rest
    return odds


def _masks(size: int, patch: int) -> NDArray[np.bool_]:
    """Return which pixels each patch covers, [positions, size, size]; every pixel is covered."""
    steps = max(STEPS, -(-(size - patch) // patch) + 1)  # patches may never leave a gap
    # Whole patches only: one cut by the edge would cover less and seem to matter less.
    starts = np.unique(np.round(np.linspace(0, size - patch, steps)).astype(int))
    pixels = np.arange(size)
    along = (pixels >= starts[:, None]) & (pixels < starts[:, None] + patch)
    return (along[:, None, :, None] & along[None, :, None, :]).reshape(-1, size, size)


def _probability(odds: float) -> float:
    return float(1 / (1 + np.exp(-odds)))
