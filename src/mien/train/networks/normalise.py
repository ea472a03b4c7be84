"""Normalisation of pixels as a layer, saved with the weights and exported with the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from numpy.typing import NDArray

Mode = Literal["image", "dataset", "none"]


class Normalise(nn.Module):
    """Map float pixels 0 to 255 to roughly zero mean and unit deviation.

    Args:
        mode: 'image' uses each crop's own mean and deviation, which removes brightness and
            contrast; 'dataset' uses those of the training images; 'none' only divides by 255.
        mean: mean of the training images, as a fraction of white ('dataset').
        std: their standard deviation, likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mode: Mode, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__()
        self.mode = mode
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the normalised pixels, same shape, float32."""
        unit = pixels / 255.0
        if self.mode == "image":
            centred = unit - unit.mean(dim=(2, 3), keepdim=True)
            deviation = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
            # The noise of a nearly blank crop must not be amplified to full contrast.
            return centred / deviation.clamp_min(0.02)
        return (unit - self.mean) / self.std

    @classmethod
    def fitted(cls, mode: Mode, images_nhw: NDArray[np.uint8]) -> Normalise:
        """Return the layer for these training images, uint8 [n, h, w]."""
        if mode != "dataset":
            return cls(mode)
        # From the histogram: float copies of all images would take four times their memory.
        counts = np.bincount(np.asarray(images_nhw).ravel(), minlength=256).astype(np.float64)
        levels = np.arange(256) / 255.0
        mean = float((counts * levels).sum() / counts.sum())
        variance = float((counts * (levels - mean) ** 2).sum() / counts.sum())
        # One grey level everywhere must not divide by zero.
        return cls(mode, mean, max(variance**0.5, 1e-3))
