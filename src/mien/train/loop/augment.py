"""Random augmentation of training images, in batches, on the device, from one generator.

Flip, rotation, scale and shift share one resampling of the pixels. Random numbers come from a CPU
generator whatever the device, so that a resumed training sees exactly the same images.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from mien.train.networks.align import resampled, similarities

if TYPE_CHECKING:
    from mien.train.recipe.settings import AugmentConfig, FitConfig

BLUR_RADIUS = 3


def augment(pixels: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Return augmented images.

    Args:
        pixels: uint8 or float [n, 1, s, s], 0 to 255.
        config: strengths and probabilities.
        generator: a CPU generator; the same settings always advance it by the same amount.

    Returns:
        float32 [n, 1, s, s], 0 to 255 (clipped after noise, brightness and contrast).
    """
    # A copy in any case, because the methods below work in place.
    x = pixels.float() if pixels.dtype != torch.float32 else pixels.clone()
    random = _Random(len(x), generator, x.device)
    # Roughly in the order of a camera: where the face is, optics, exposure, noise.
    if config.flip or config.rotation or config.scale or config.shift:
        x = _affine(x, config, random)
    if config.blur:
        x = _blur(x, config, random)
    if config.low_res:
        x = _low_resolution(x, config, random)
    if config.gamma:
        x = _gamma(x, config, random)
    if config.brightness or config.contrast:
        x = _brightness_contrast(x, config, random)
    if config.noise:
        amount = random.uniform(0, config.noise * 255)
        x = x.add_(amount[:, None, None, None] * random.normal(x.shape))
    if config.brightness or config.contrast or config.noise:
        x = x.clamp_(0, 255)
    if config.erase:
        x = _erase(x, config, random)
    return x


def mix(
    pixels: Tensor, targets_nk: Tensor, config: AugmentConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return images mixed with others of their batch by mixup or cutmix, and their targets.

    Args:
        pixels: float32 [n, 1, s, s].
        targets_nk: float32 [n, k], each row a distribution.
        config: the settings `mixup` and `cutmix`.
        generator: a CPU generator.
    """
    if not config.mixup and not config.cutmix:
        return pixels, targets_nk
    n, side = len(pixels), pixels.shape[-1]
    random = _Random(n, generator, pixels.device)
    # An image may be paired with itself, which leaves it as it is.
    others = torch.randperm(n, generator=generator).to(pixels.device)
    if config.cutmix and float(torch.rand(1, generator=generator)) < config.cutmix:
        half = random.uniform(0, 1).sqrt() * side / 2  # the square root makes areas uniform
        inside = torch.ones(n, side, side, dtype=torch.bool, device=pixels.device)
        positions = torch.arange(side, device=pixels.device) + 0.5
        for axis in ((n, 1, side), (n, side, 1)):
            centre = random.uniform(0, side)
            inside &= ((positions[None] - centre[:, None]).abs() < half[:, None]).view(axis)
        # The real area: a rectangle that reaches over the edge covers less than it was drawn for.
        kept = 1 - inside.float().mean(dim=(1, 2))
        pixels = torch.where(inside[:, None], pixels[others], pixels)
    elif config.mixup:
        # Of two Gamma(a) deviates, the first over their sum has the distribution Beta(a, a).
        shape = torch.full((2, n), config.mixup, dtype=torch.float64)
        first, second = torch._standard_gamma(shape, generator=generator)
        kept = (first / (first + second).clamp_min(1e-300)).float().to(pixels.device)
        fraction = kept[:, None, None, None]
        pixels = pixels * fraction + pixels[others] * (1 - fraction)
    else:
        return pixels, targets_nk
    return pixels, targets_nk * kept[:, None] + targets_nk[others] * (1 - kept[:, None])


def resize_fraction(config: FitConfig, epoch: int) -> float:
    """Return the image side in an epoch, counted from 0, as a fraction of the crop's."""
    growing = config.epochs * config.full_size_at
    if config.initial_size >= 1 or epoch >= growing:
        return 1.0
    return config.initial_size + (1 - config.initial_size) * epoch / growing


def shrink(pixels: Tensor, fraction: float) -> Tensor:
    """Return the images [n, 1, s, s] with the side `fraction` times s, a multiple of 8 pixels."""
    side = pixels.shape[-1]
    # A multiple of 8, so that halving it three times leaves whole numbers.
    small = max(8, round(side * fraction / 8) * 8)
    if fraction >= 1 or small >= side:
        return pixels
    return functional.interpolate(pixels, size=small, mode="area")


class _Random:
    """Random numbers for a batch of n, generated on the CPU and moved to the device."""

    def __init__(self, n: int, generator: torch.Generator, device: torch.device) -> None:
        self.n, self.generator, self.device = n, generator, device

    def uniform(self, low: float, high: float) -> Tensor:
        """Return n numbers, float32 [n]."""
        # On the CPU: generators of devices give other numbers, and a resumed run may move.
        values = torch.rand(self.n, generator=self.generator) * (high - low) + low
        return values.to(self.device)

    def chance(self, probability: float) -> Tensor:
        """Return n booleans, [n]."""
        return self.uniform(0, 1) < probability

    def normal(self, shape: torch.Size) -> Tensor:
        """Return normal deviates of `shape`."""
        return torch.randn(shape, generator=self.generator).to(self.device)


# Each method below takes float pixels [n, 1, s, s], 0 to 255, may work in place, and returns the
# augmented ones.


def _affine(x: Tensor, config: AugmentConfig, random: _Random) -> Tensor:
    angle = random.uniform(-1, 1) * math.radians(config.rotation)
    size = torch.exp(random.uniform(-1, 1) * math.log1p(config.scale))
    mirror = torch.where(random.chance(config.flip), -1.0, 1.0)
    # Coordinates run from -1 to 1: a fraction of the side is twice as much in them.
    shift_x, shift_y = (random.uniform(-2, 2) * config.shift for _ in range(2))
    rows = similarities(angle, size, shift_x, shift_y)
    rows[:, :, 0] *= mirror[:, None]
    return resampled(x, rows)


def _blur(x: Tensor, config: AugmentConfig, random: _Random) -> Tensor:
    sigma = random.uniform(0.2, max(config.blur_sigma, 0.2))
    blurred = random.chance(config.blur)
    chosen, sigma = x[blurred], sigma[blurred]
    # A blur along one axis is a matrix product; its rows sum to 1, so edges are not darkened.
    position = torch.arange(x.shape[-1], device=x.device)
    distance = (position[:, None] - position).abs().clamp_max_(BLUR_RADIUS + 1)
    reach = torch.arange(BLUR_RADIUS + 2, device=x.device)
    kernel = torch.exp(-0.5 * (reach / sigma[:, None]).square()) * (reach <= BLUR_RADIUS)
    weights = kernel[:, distance]
    weights = (weights / weights.sum(dim=2, keepdim=True))[:, None]
    x[blurred] = weights @ chosen @ weights.mT
    return x


def _low_resolution(x: Tensor, config: AugmentConfig, random: _Random) -> Tensor:
    """Reduce some of the images to one random size per batch, and enlarge them again."""
    side = x.shape[-1]
    lost = random.chance(config.low_res)
    # One size per batch: images of different sizes do not fit one tensor.
    growth = float(torch.rand(1, generator=random.generator))
    small = max(4, round(side * (config.low_res_size + growth * (1 - config.low_res_size))))
    reduced = functional.interpolate(x[lost], size=small, mode="area")
    x[lost] = functional.interpolate(reduced, size=side, mode="bilinear", align_corners=False)
    return x


def _gamma(x: Tensor, config: AugmentConfig, random: _Random) -> Tensor:
    power = torch.exp(random.uniform(-1, 1) * math.log1p(config.gamma))[:, None, None, None]
    # Between the image's own extremes, so that gamma changes the curve and not the range.
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    reach = (high - low).clamp_min(1)
    return x.sub_(low).div_(reach).pow_(power).mul_(reach).add_(low)


def _brightness_contrast(x: Tensor, config: AugmentConfig, random: _Random) -> Tensor:
    gain = torch.exp(random.uniform(-1, 1) * math.log1p(config.contrast))[:, None, None, None]
    offset = (random.uniform(-1, 1) * config.brightness * 255)[:, None, None, None]
    # Around the mean: contrast then does not change the brightness.
    mean = x.mean(dim=(2, 3), keepdim=True)
    return x.mul_(gain).add_(mean - mean * gain + offset)


def _erase(x: Tensor, config: AugmentConfig, random: _Random) -> Tensor:
    side = x.shape[-1]
    positions = torch.arange(side, device=x.device) + 0.5

    def band() -> Tensor:
        centre = random.uniform(0, side)[:, None]
        half = random.uniform(0.2, 1)[:, None] * config.erase_size * side / 2
        return (positions[None] - centre).abs() < half

    down, across, erased = band(), band(), random.chance(config.erase)
    chosen = x[erased]
    # Filled with the image's mean: black would be an edge that no face has.
    hole = (down[erased, :, None] & across[erased, None, :])[:, None]
    x[erased] = torch.where(hole, chosen.mean(dim=(2, 3), keepdim=True), chosen)
    return x
