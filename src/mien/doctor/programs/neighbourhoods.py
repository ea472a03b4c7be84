"""What lies around a position of an image or a sequence: the inputs of its baseline."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from mien.doctor.programs.trees import is_tokens

RADIUS = {2: 2, 3: 1}
"""Positions to each side, by the number of dimensions."""
BEFORE = 4
"""Positions before one of a sequence. None after it: a model that predicts what comes next does not
see them either, and a baseline that does would be unfair."""
BINS = 64
"""Bins that token ids are counted in."""
MAX_VALUES = 1024
"""Values of a neighbourhood; of more channels every n-th counts."""


def neighbourhoods(
    inputs: Tensor, example_m: Tensor, place_m: Tensor, grid: tuple[int, ...]
) -> Tensor | None:
    """Return the inputs around m positions, float32 [m, d]; None if they have no such form.

    Args:
        inputs: of a batch: tokens [n, l], sequences or images with channels in any place.
        example_m: number of each position's example, int64 [m].
        place_m: number of the position among those of its example, int64 [m].
        grid: form of the positions, such as (height, width); scaled to that of the inputs.
    """
    if is_tokens(inputs):
        return _tokens(inputs, example_m, place_m) if inputs.ndim == 2 else None
    values = None if inputs.is_complex() else _channels_last(inputs, grid)
    if values is None:
        return None
    places = np.unravel_index(place_m.numpy(), grid)
    sizes = values.shape[1:-1]
    # The middle of an output that stands for several inputs.
    middle = [
        torch.from_numpy(((p + 0.5) * size / g).astype(np.int64))
        for p, size, g in zip(places, sizes, grid, strict=True)
    ]
    offsets = torch.tensor(list(_offsets(len(grid))))
    index = [
        (m[:, None] + offsets[:, i]).clamp(0, size - 1)
        for i, (m, size) in enumerate(zip(middle, sizes, strict=True))
    ]
    every = max(1, math.ceil(values.shape[-1] * len(offsets) / MAX_VALUES))
    around = values[..., ::every][(example_m[:, None], *index)].float()
    # Where it is, as well: what a camera sees above is often sky.
    where = torch.stack([m / size for m, size in zip(middle, sizes, strict=True)], dim=1)
    return torch.cat([around.flatten(1), where.float()], dim=1)


def _offsets(dimensions: int) -> itertools.product[tuple[int, ...]]:
    if dimensions == 1:
        return itertools.product(range(-BEFORE, 1))
    radius = RADIUS.get(dimensions, 1)
    return itertools.product(range(-radius, radius + 1), repeat=dimensions)


def _channels_last(inputs: Tensor, grid: tuple[int, ...]) -> Tensor | None:
    """Return inputs as [n, ..., channels]; None if their dimensions are not those of the grid."""
    if inputs.ndim == len(grid) + 1:
        return inputs.unsqueeze(-1)
    if inputs.ndim != len(grid) + 2:
        return None
    if tuple(inputs.shape[1:-1]) == grid:
        return inputs
    # Images are smaller or larger than their outputs where a network has strides.
    fits = tuple(inputs.shape[2:]) == grid or len(grid) > 1
    return inputs.movedim(1, -1) if fits else None


def _tokens(inputs: Tensor, example_m: Tensor, place_m: Tensor) -> Tensor | None:
    if int(place_m.max() if len(place_m) else 0) >= inputs.shape[1]:
        return None
    places = place_m[:, None] - torch.arange(BEFORE)
    ids = inputs.long()[example_m[:, None], places.clamp(min=0)] % BINS
    found = torch.nn.functional.one_hot(ids, BINS).float()
    # Before the first token there is none.
    return (found * (places >= 0)[..., None]).flatten(1)
