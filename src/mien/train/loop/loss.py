"""Cross entropy against soft labels, with weights per image and per class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from mien.train.recipe.settings import LossConfig


def soft_cross_entropy(
    logits_nk: Tensor, targets_nk: Tensor, weights_n: Tensor, config: LossConfig
) -> Tensor:
    """Return the weighted mean cross entropy, a scalar.

    Args:
        logits_nk: float32 [n, k].
        targets_nk: float32 [n, k], each row a distribution (hard labels are one-hot).
        weights_n: weight of each image, float32 [n], at least 0, not all 0.
        config: label smoothing (Szegedy et al. 2016, arXiv:1512.00567).
    """
    if config.label_smoothing:
        classes = targets_nk.shape[1]
        targets_nk = targets_nk * (1 - config.label_smoothing) + config.label_smoothing / classes
    each = -(targets_nk * functional.log_softmax(logits_nk, dim=1)).sum(dim=1)
    return (each * weights_n).sum() / weights_n.sum()


def class_weights(targets_nk: Tensor, weights_n: Tensor) -> Tensor:
    """Return each class's inverse frequency, float32 [k]; 0 for a class that does not occur."""
    counts = (targets_nk * weights_n[:, None]).sum(dim=0)
    present = counts > 0
    frequencies = counts / counts.sum()
    return torch.where(present, 1 / (frequencies.clamp_min(1e-12) * present.sum()), 0.0)
