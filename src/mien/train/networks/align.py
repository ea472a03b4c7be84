"""Face alignment inside the network: a spatial transformer predicts a similarity, then resamples.

The spatial transformer (Jaderberg et al. 2015, arXiv:1506.02025) is restricted to rotation, scale
and shift. It is not trained with the classifier but on landmarks, before the first epoch
(`mien.train.loop.align_pretraining`), and then frozen.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

ALIGNMENT = "align."
"""Prefix of the names of its weights and layers in a model."""
GROWTH = (1, 2, 3, 4)
"""Channels of each convolution, as a multiple of the first one's."""
GRID = 3
"""Side of the pooled feature map that the linear layer reads."""
ROTATION, SCALE, SHIFT = 10.0, 0.1, 0.04
"""Maximum random changes after the alignment in training: degrees, and fractions of the side."""
MAX_TURN, MIN_SIZE, MAX_SIZE, MAX_SHIFT = 0.8, 0.5, 1.6, 0.5
"""Bounds of the predicted similarity: |size * sin|, size * cos, and |shift| in half sides."""


class SpatialTransformer(nn.Module):
    """Crops [n, 1, s, s] → the same faces upright, centred and at one scale.

    Args:
        width: channels of its first convolution.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for index, growth in enumerate(GROWTH):
            kernel = 5 if index == 0 else 3
            convolution = nn.Conv2d(channels, width * growth, kernel, 2, padding=kernel // 2)
            nn.init.kaiming_normal_(convolution.weight)
            layers += [convolution, nn.ReLU()]
            channels = width * growth
        layers += [nn.AdaptiveAvgPool2d(GRID), nn.Flatten()]
        self.features = nn.Sequential(*layers)
        self.place = nn.Linear(channels * GRID**2, 4)
        # Starts as the identity (Jaderberg et al. 2015): a random map would show no face to learn
        # from.
        nn.init.zeros_(self.place.weight)
        nn.init.zeros_(self.place.bias)

    def similarity(self, x: Tensor) -> Tensor:
        """Return the similarity of each crop's face, float32 [n, 2, 3].

        It maps coordinates of the aligned crop to those of the given one; both run from -1 to 1.
        """
        size, turn, right, down = self.place(self.features(x)).unbind(1)
        # Four numbers, not affine_grid's six: a face must not be sheared into another expression.
        size = (size + 1).clamp(MIN_SIZE, MAX_SIZE)
        turn = turn.clamp(-MAX_TURN, MAX_TURN)
        right, down = (shift.clamp(-MAX_SHIFT, MAX_SHIFT) for shift in (right, down))
        rows = (torch.stack([size, -turn, right], 1), torch.stack([turn, size, down], 1))
        return torch.stack(rows, 1)

    def forward(self, pixels: Tensor, normalised: Tensor) -> Tensor:
        """Return the aligned pixels, same shape; in training slightly misaligned at random."""
        rows = self.similarity(normalised)
        # Frozen in training, but jittered: the classifier must not rely on perfect alignment.
        if self.training:
            rows = _jittered(rows)
        return resampled(pixels, rows)


def resampled(pixels: Tensor, rows_n23: Tensor) -> Tensor:
    """Return images [n, 1, s, s] resampled bilinearly; outside pixels repeat the edge.

    Args:
        pixels: float32 [n, 1, s, s].
        rows_n23: affine maps from the result's coordinates to the image's, both from -1 to 1,
            float32 [n, 2, 3].
    """
    # "border": black corners would be a feature that only turned faces have.
    grid = sampling_grid(rows_n23, pixels.shape[-1])
    return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def similarities(angle: Tensor, size: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Return maps that rotate (radians), scale and then shift, float32 [n, 2, 3], from [n] each."""
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    return torch.stack([torch.stack([cos, -sin, right], 1), torch.stack([sin, cos, down], 1)], 1)


def sampling_grid(rows_n23: Tensor, side: int) -> Tensor:
    """Return `functional.affine_grid`, [n, side, side, 2], by one product: nine times as fast.

    Args:
        rows_n23: affine maps of coordinates from -1 to 1, float32 [n, 2, 3].
        side: side of the result, pixels.
    """
    centres = (torch.arange(side, device=rows_n23.device) * 2 + 1) / side - 1
    across, down = centres.expand(side, side), centres[:, None].expand(side, side)
    places = torch.stack([across, down, torch.ones_like(across)]).reshape(3, -1)
    return (rows_n23.reshape(-1, 3) @ places).reshape(-1, 2, side, side).permute(0, 2, 3, 1)


def _jittered(rows_n23: Tensor) -> Tensor:
    """Return the maps with small random changes, so that the classifier tolerates misalignment."""
    n, device = len(rows_n23), rows_n23.device

    def uniform(largest: float) -> Tensor:
        return (torch.rand(n, device=device) * 2 - 1) * largest

    # Sizes are drawn on a logarithmic scale: half and double are equally likely.
    angle, size = uniform(math.radians(ROTATION)), torch.exp(uniform(math.log1p(SCALE)))
    moves = similarities(angle, size, uniform(2 * SHIFT), uniform(2 * SHIFT))
    # Homogeneous coordinates, so that two maps are one after the other as a product.
    last = torch.tensor([[[0.0, 0.0, 1.0]]], device=device).expand(n, 1, 3)
    return rows_n23 @ torch.cat([moves, last], 1)
