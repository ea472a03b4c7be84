"""An ensemble of trained networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.train.networks.registry import Model


class Ensemble(nn.Module):
    """The mean of the members' logits: float pixels 0 to 255 [n, 1, s, s] → [n, k].

    The result is the geometric mean of the members' probabilities, scaled to sum to 1. Networks
    that differ only in the seed already err on different faces (Lakshminarayanan et al. 2017,
    arXiv:1612.01474).
    """

    def __init__(self, members: Sequence[Model]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits, float32 [n, k]."""
        return torch.stack([member(pixels) for member in self.members]).mean(0)
