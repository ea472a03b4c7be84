"""Pretraining of the face alignment: a spatial transformer is trained on facial landmarks.

MTCNN's third network places five landmarks on every crop. The spatial transformer learns the
similarity that maps the average face's landmarks to the crop's, on crops that are moved, darkened,
blurred and partly erased, which makes it more robust than MTCNN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
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
    from mien.train.networks.align import SpatialTransformer
    from mien.train.networks.normalise import Normalise

MIN_SCORE = 0.8
"""Minimum detection score of a face whose landmarks are used, 0 to 1."""
MIN_FACES = 32
"""Minimum number of faces with landmarks to train on."""
STEPS, BATCH, RATE = 4000, 128, 3e-3
ROTATION, SCALE, SHIFT = 35.0, 0.3, 0.2
"""Maximum random moves in training: degrees, and fractions of the size and of the side."""
CHANGES = AugmentConfig(
    low_res=0.15, blur=0.15, blur_sigma=1.5, gamma=0.4, brightness=0.1, contrast=0.3, noise=0.05,
    erase=0.4, erase_size=0.5,
)  # fmt: skip
MIRRORED = (1, 0, 2, 4, 3)
"""The landmarks' order on a mirror image."""


@dataclass(frozen=True, slots=True)
class LandmarkTeacher:
    """Where the landmarks come from that an alignment is trained on.

    Attributes:
        find: images, uint8 [n, 1, s, s], to those of them on which it finds a face, and their
            landmarks, float32 [m, p, 2], -1 to 1.
        mirrored: the landmarks' order on a mirror image, [p].
        target_p2: landmarks of an aligned face, float32 [p, 2], -1 to 1; None takes the average of
            all faces. Give it to keep the frame that a trained classifier is used to.
    """

    find: Callable[[Tensor], tuple[Tensor, Tensor]]
    mirrored: tuple[int, ...]
    target_p2: Tensor | None = None


def fit_alignment(
    align: SpatialTransformer,
    normalise: Normalise,
    pixels: Tensor,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    teacher: LandmarkTeacher | None = None,
    steps: int | None = None,
) -> float:
    """Train `align` on landmarks; return its mean landmark error, as a fraction of the side.

    Args:
        align: spatial transformer; trained in place, then frozen.
        normalise: normalisation layer of the same model.
        pixels: training images, uint8 [n, 1, s, s] on the CPU.
        seed: seed of the batches and their augmentation.
        progress: called with (steps done, all steps).
        teacher: source of the landmarks; None is MTCNN's third network.
        steps: batches of BATCH images to train on; None takes STEPS.

    Raises:
        DataError: landmarks are found on fewer than MIN_FACES images.
        ModelFileError: MTCNN's weights are missing.
    """
    steps = steps or STEPS
    teacher = teacher or LandmarkTeacher(mtcnn_landmarks, MIRRORED)
    faces, points = teacher.find(pixels)
    target = points.mean(0) if teacher.target_p2 is None else teacher.target_p2
    target = (target + _mirrored(target, teacher)) / 2  # symmetric: flips must not shift it
    # A generator of its own: TrainingState's own have the seeds seed * 2 + 1 and seed * 2 + 2, and
    # torch's global one decides the weights that are still to be initialised.
    random = torch.Generator().manual_seed(seed * 2 + 3)
    # One-cycle (Smith and Topin 2018): a rate that rises and falls takes fewer steps.
    optimizer = torch.optim.Adam(align.parameters(), RATE, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.1)
    distances: list[float] = []
    plain, align.features = align.features, _with_norms(align.features)
    align.requires_grad_(requires_grad=True)
    for step in range(steps):
        chosen = torch.randint(len(faces), (BATCH,), generator=random)
        moved, targets = _moved(faces[chosen].float(), points[chosen], teacher, random)
        with torch.no_grad():
            crops = normalise(augment(moved, CHANGES, random))
        crops = crops.contiguous(memory_format=torch.channels_last)
        off = _placed(target, align.similarity(crops)) - targets
        loss = functional.smooth_l1_loss(off, torch.zeros_like(off), beta=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        distances.append(float(off.detach().norm(dim=2).mean()) / 2)
        progress(step + 1, steps)
    align.features = _without_norms(align.features, plain)
    align.requires_grad_(requires_grad=False)
    align.zero_grad(set_to_none=True)
    return float(np.mean(distances[-100:]))


def mtcnn_landmarks(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the images on which MTCNN is sure of a face, and its landmarks [n, 5, 2], -1 to 1.

    Raises:
        DataError: there are fewer than MIN_FACES.
    """
    found, scores = Mtcnn().face_landmarks(pixels[:, 0].numpy())
    rows = np.flatnonzero(scores > MIN_SCORE)
    if len(rows) < MIN_FACES:
        raise DataError(
            f"network.align: landmarks are found on {len(rows)} of {len(pixels)} training "
            f"images; at least {MIN_FACES} are needed",
            hint="train without alignment: network.align=0",
        )
    return pixels[torch.from_numpy(rows)], torch.from_numpy(found[rows] * 2 - 1)


def _placed(target_p2: Tensor, similarity_n23: Tensor) -> Tensor:
    """Return where each similarity puts the aligned face's landmarks, float32 [n, p, 2]."""
    return target_p2 @ similarity_n23[:, :, :2].mT + similarity_n23[:, None, :, 2]


def _mirrored(points_p2: Tensor, teacher: LandmarkTeacher) -> Tensor:
    """Return the landmarks [..., p, 2] of the mirror image; x runs from -1 to 1."""
    return points_p2[..., teacher.mirrored, :] * torch.tensor([-1.0, 1.0])


def _with_norms(plain: nn.Sequential) -> nn.Sequential:
    """Return the layers with batch normalisation after each convolution, for faster training."""
    layers: list[nn.Module] = []
    for layer in plain:
        layers.append(layer)
        if isinstance(layer, nn.Conv2d):
            layers.append(nn.BatchNorm2d(layer.out_channels))
    return nn.Sequential(*layers)


def _without_norms(normed: nn.Sequential, plain: nn.Sequential) -> nn.Sequential:
    """Return `plain` with the normalisations of `normed` folded into its convolutions."""
    for convolution, norm in pairwise(normed):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            fused = fuse_conv_bn_eval(convolution.eval(), norm.eval())
            convolution.load_state_dict(fused.state_dict())
    return plain


def _moved(
    pixels: Tensor, points_np2: Tensor, teacher: LandmarkTeacher, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return randomly moved crops, and their landmarks moved with them."""
    n = len(pixels)

    def uniform(largest: float) -> Tensor:
        return (torch.rand(n, generator=random) * 2 - 1) * largest

    angle, size = uniform(math.radians(ROTATION)), torch.exp(uniform(math.log1p(SCALE)))
    rows = similarities(angle, size, uniform(2 * SHIFT), uniform(2 * SHIFT))
    mirrored = torch.rand(n, generator=random) < 0.5
    pixels = torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels)
    points = torch.where(mirrored[:, None, None], _mirrored(points_np2, teacher), points_np2)
    # The map goes from the result's coordinates to the source's; landmarks need its inverse.
    turn, shift = rows[:, :, :2], rows[:, None, :, 2]
    return resampled(pixels, rows), (points - shift) @ torch.linalg.inv(turn).mT
