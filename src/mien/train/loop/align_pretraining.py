"""Teach a network where faces lie, from landmarks: what its alignment knows before it trains.

The teacher is MTCNN's third network, which places five landmarks on every crop. The student is
asked for the similarity that brings the average face's landmarks nearest to a crop's, on crops
that are moved, darkened, blurred and partly hidden; so it ends up surer than its teacher.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mien.errors import DataError
from mien.predict.detectors.mtcnn import Mtcnn
from mien.train.loop.augment import augment
from mien.train.networks.align import resampled, similarities
from mien.train.recipe.settings import AugmentConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from mien.train.networks.align import SpatialTransformer
    from mien.train.networks.normalise import Normalise

SURE = 0.8
"""Least probability of a face for its landmarks to be believed, as the detector has it."""
LEAST = 32
"""Faces with landmarks below which nothing can be learnt."""
STEPS, BATCH, RATE = 4000, 128, 3e-3
ROTATION, SCALE, SHIFT = 35.0, 0.3, 0.2
"""Largest changes of place in training: degrees, and shares of the size and of the side."""
CHANGES = AugmentConfig(
    low_res=0.15, blur=0.15, blur_sigma=1.5, gamma=0.4, brightness=0.1, contrast=0.3, noise=0.05,
    erase=0.4, erase_size=0.5,
)  # fmt: skip
MIRRORED = (1, 0, 2, 4, 3)
"""The landmarks' order on a mirror image."""


def fit_alignment(
    align: SpatialTransformer,
    normalise: Normalise,
    pixels: Tensor,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> float:
    """Teach `align` where the faces lie; return its mean distance, in shares of the side.

    Args:
        align: in place; ready to answer afterwards.
        normalise: of the same model.
        pixels: the training images, uint8 [n, 1, s, s] on the CPU.
        seed: of everything random.
        progress: hears of steps done, and of all.

    Raises:
        DataError: too few of the images show a face whose landmarks are found.
        ModelFileError: the landmarks' network is missing.
    """
    found, scores = Mtcnn().face_landmarks(pixels[:, 0].numpy())
    rows = np.flatnonzero(scores > SURE)
    if len(rows) < LEAST:
        raise DataError(
            f"network.align: landmarks are found on {len(rows)} of {len(pixels)} training "
            f"images; at least {LEAST} are needed",
            hint="leave the faces where they are: --set network.align=0",
        )
    points = torch.from_numpy(found[rows] * 2 - 1)
    faces = pixels[torch.from_numpy(rows)]
    average = points.mean(0)
    average = (average + _mirrored(average)) / 2  # the same face, seen in a mirror
    random = torch.Generator().manual_seed(seed * 2 + 3)
    optimizer = torch.optim.Adam(align.parameters(), RATE, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS, pct_start=0.1)
    distances: list[float] = []
    plain, align.features = align.features, _with_norms(align.features)
    align.requires_grad_(requires_grad=True)
    for step in range(STEPS):
        chosen = torch.randint(len(faces), (BATCH,), generator=random)
        moved, targets = _moved(faces[chosen].float(), points[chosen], random)
        with torch.no_grad():
            crops = normalise(augment(moved, CHANGES, random))
        crops = crops.contiguous(memory_format=torch.channels_last)
        similarity = align.similarity(crops)
        placed = average @ similarity[:, :, :2].mT + similarity[:, None, :, 2]
        off = placed - targets
        loss = functional.smooth_l1_loss(off, torch.zeros_like(off), beta=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        distances.append(float(off.detach().norm(dim=2).mean()) / 2)
        progress(step + 1, STEPS)
    align.features = _without_norms(align.features, plain)
    align.requires_grad_(requires_grad=False)
    align.zero_grad(set_to_none=True)
    return float(np.mean(distances[-100:]))


def _mirrored(points_p2: Tensor) -> Tensor:
    """Return landmarks [..., 5, 2] as they lie on the mirror image; x runs from -1 to 1."""
    return points_p2[..., MIRRORED, :] * torch.tensor([-1.0, 1.0])


def _with_norms(plain: nn.Sequential) -> nn.Sequential:
    """Return the layers with batch normalisation after each convolution: they learn faster so."""
    layers: list[nn.Module] = []
    for layer in plain:
        layers.append(layer)
        if isinstance(layer, nn.Conv2d):
            layers.append(nn.BatchNorm2d(layer.out_channels))
    return nn.Sequential(*layers)


def _without_norms(normed: nn.Sequential, plain: nn.Sequential) -> nn.Sequential:
    """Return `plain`, whose convolutions now do what those and their normalisation did."""
    for convolution, norm in pairwise(normed):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            fused = fuse_conv_bn_eval(convolution.eval(), norm.eval())
            convolution.load_state_dict(fused.state_dict())
    return plain


def _moved(pixels: Tensor, points_n52: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return crops, moved at random, and their landmarks, moved alike."""
    n = len(pixels)

    def uniform(largest: float) -> Tensor:
        return (torch.rand(n, generator=random) * 2 - 1) * largest

    angle, size = uniform(math.radians(ROTATION)), torch.exp(uniform(math.log1p(SCALE)))
    rows = similarities(angle, size, uniform(2 * SHIFT), uniform(2 * SHIFT))
    mirrored = torch.rand(n, generator=random) < 0.5
    pixels = torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels)
    points = torch.where(mirrored[:, None, None], _mirrored(points_n52), points_n52)
    # A pixel of the result comes from where its place is mapped to; a landmark goes the other way.
    turn, shift = rows[:, :, :2], rows[:, None, :, 2]
    return resampled(pixels, rows), (points - shift) @ torch.linalg.inv(turn).mT
