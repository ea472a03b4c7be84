"""Random changes of training images, in batches, on the device, from one generator.

Flip, rotation, scale and shift are one resampling of the pixels; the poster's three changes
(Gaussian blur, horizontal flip, rotation) are among the settings. Randomness is drawn on the
CPU from the generator given, so that a resumed training sees the very same images.
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
    """Return randomly changed images.

    Args:
        pixels: uint8 or float [n, 1, s, s], 0 to 255.
        config: how much of what.
        generator: a CPU generator; always advanced by the same amount for the same settings.

    Returns:
        float32 [n, 1, s, s], 0 to 255 (noise and light are clipped to it).
    """
    x = pixels.float() if pixels.dtype != torch.float32 else pixels.clone()  # ours to change
    draw = _Draw(len(x), generator, x.device)
    if config.flip or config.rotation or config.scale or config.shift:
        x = _move(x, config, draw)
    if config.blur:
        x = _blur(x, config, draw)
    if config.low_res:
        x = _lose_detail(x, config, draw)
    if config.gamma:
        x = _gamma(x, config, draw)
    if config.brightness or config.contrast:
        x = _light(x, config, draw)
    if config.noise:
        amount = draw.uniform(0, config.noise * 255)
        x = x.add_(amount[:, None, None, None] * draw.normal(x.shape))
    if config.brightness or config.contrast or config.noise:
        x = x.clamp_(0, 255)
    if config.erase:
        x = _erase(x, config, draw)
    return x


def mix(
    pixels: Tensor, targets_nk: Tensor, config: AugmentConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return images mixed with others of their batch, and their targets mixed alike.

    Args:
        pixels: float32 [n, 1, s, s].
        targets_nk: float32 [n, k], each row a distribution.
        config: its mixup and cutmix.
        generator: a CPU generator.
    """
    if not config.mixup and not config.cutmix:
        return pixels, targets_nk
    n, side = len(pixels), pixels.shape[-1]
    draw = _Draw(n, generator, pixels.device)
    others = torch.randperm(n, generator=generator).to(pixels.device)
    if config.cutmix and float(torch.rand(1, generator=generator)) < config.cutmix:
        half = draw.uniform(0, 1).sqrt() * side / 2  # areas are uniform then
        inside = torch.ones(n, side, side, dtype=torch.bool, device=pixels.device)
        positions = torch.arange(side, device=pixels.device) + 0.5
        for axis in ((n, 1, side), (n, side, 1)):
            centre = draw.uniform(0, side)
            inside &= ((positions[None] - centre[:, None]).abs() < half[:, None]).view(axis)
        kept = 1 - inside.float().mean(dim=(1, 2))
        pixels = torch.where(inside[:, None], pixels[others], pixels)
    elif config.mixup:
        # A Beta(a, a) is the share of one of two Gamma(a) deviates in both.
        shape = torch.full((2, n), config.mixup, dtype=torch.float64)
        first, second = torch._standard_gamma(shape, generator=generator)
        kept = (first / (first + second).clamp_min(1e-300)).float().to(pixels.device)
        share = kept[:, None, None, None]
        pixels = pixels * share + pixels[others] * (1 - share)
    else:
        return pixels, targets_nk
    return pixels, targets_nk * kept[:, None] + targets_nk[others] * (1 - kept[:, None])


def resize_fraction(config: FitConfig, epoch: int) -> float:
    """Return the share of the crop's side that images have in an epoch, counted from 0."""
    growing = config.epochs * config.full_size_at
    if config.initial_size >= 1 or epoch >= growing:
        return 1.0
    return config.initial_size + (1 - config.initial_size) * epoch / growing


def shrink(pixels: Tensor, share: float) -> Tensor:
    """Return the images [n, 1, s, s] with sides of `share` times s, a multiple of 8 pixels."""
    side = pixels.shape[-1]
    small = max(8, round(side * share / 8) * 8)
    if share >= 1 or small >= side:
        return pixels
    return functional.interpolate(pixels, size=small, mode="area")


class _Draw:
    """Random numbers for a batch of n, drawn on the CPU and moved to the device."""

    def __init__(self, n: int, generator: torch.Generator, device: torch.device) -> None:
        self.n, self.generator, self.device = n, generator, device

    def uniform(self, low: float, high: float) -> Tensor:
        """Return n numbers, float32 [n]."""
        values = torch.rand(self.n, generator=self.generator) * (high - low) + low
        return values.to(self.device)

    def chance(self, probability: float) -> Tensor:
        """Return n booleans, [n]."""
        return self.uniform(0, 1) < probability

    def normal(self, shape: torch.Size) -> Tensor:
        """Return normal deviates of `shape`."""
        return torch.randn(shape, generator=self.generator).to(self.device)


# Each of the changes below takes float pixels [n, 1, s, s], may change them in place, and returns
# the changed ones.


def _move(x: Tensor, config: AugmentConfig, draw: _Draw) -> Tensor:
    angle = draw.uniform(-1, 1) * math.radians(config.rotation)
    size = torch.exp(draw.uniform(-1, 1) * math.log1p(config.scale))
    mirror = torch.where(draw.chance(config.flip), -1.0, 1.0)
    # Coordinates run from -1 to 1, so a share of the side is twice as much.
    shift_x, shift_y = (draw.uniform(-2, 2) * config.shift for _ in range(2))
    rows = similarities(angle, size, shift_x, shift_y)
    rows[:, :, 0] *= mirror[:, None]
    return resampled(x, rows)


def _blur(x: Tensor, config: AugmentConfig, draw: _Draw) -> Tensor:
    sigma = draw.uniform(0.2, max(config.blur_sigma, 0.2))
    blurred = draw.chance(config.blur)
    chosen, sigma = x[blurred], sigma[blurred]
    # A blur along one axis is a matrix over it; its rows sum to 1, so edges are not darkened.
    position = torch.arange(x.shape[-1], device=x.device)
    distance = (position[:, None] - position).abs().clamp_max_(BLUR_RADIUS + 1)
    reach = torch.arange(BLUR_RADIUS + 2, device=x.device)
    kernel = torch.exp(-0.5 * (reach / sigma[:, None]).square()) * (reach <= BLUR_RADIUS)
    weights = kernel[:, distance]
    weights = (weights / weights.sum(dim=2, keepdim=True))[:, None]
    x[blurred] = weights @ chosen @ weights.mT
    return x


def _lose_detail(x: Tensor, config: AugmentConfig, draw: _Draw) -> Tensor:
    """Reduce some of the images to one smaller size, drawn for the batch, and enlarge them."""
    side = x.shape[-1]
    lost = draw.chance(config.low_res)
    share = float(torch.rand(1, generator=draw.generator))
    small = max(4, round(side * (config.low_res_size + share * (1 - config.low_res_size))))
    reduced = functional.interpolate(x[lost], size=small, mode="area")
    x[lost] = functional.interpolate(reduced, size=side, mode="bilinear", align_corners=False)
    return x


def _gamma(x: Tensor, config: AugmentConfig, draw: _Draw) -> Tensor:
    power = torch.exp(draw.uniform(-1, 1) * math.log1p(config.gamma))[:, None, None, None]
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    reach = (high - low).clamp_min(1)
    return x.sub_(low).div_(reach).pow_(power).mul_(reach).add_(low)


def _light(x: Tensor, config: AugmentConfig, draw: _Draw) -> Tensor:
    gain = torch.exp(draw.uniform(-1, 1) * math.log1p(config.contrast))[:, None, None, None]
    offset = (draw.uniform(-1, 1) * config.brightness * 255)[:, None, None, None]
    mean = x.mean(dim=(2, 3), keepdim=True)
    return x.mul_(gain).add_(mean - mean * gain + offset)


def _erase(x: Tensor, config: AugmentConfig, draw: _Draw) -> Tensor:
    side = x.shape[-1]
    positions = torch.arange(side, device=x.device) + 0.5

    def band() -> Tensor:
        centre = draw.uniform(0, side)[:, None]
        half = draw.uniform(0.2, 1)[:, None] * config.erase_size * side / 2
        return (positions[None] - centre).abs() < half

    down, across, erased = band(), band(), draw.chance(config.erase)
    chosen = x[erased]
    hole = (down[erased, :, None] & across[erased, None, :])[:, None]
    x[erased] = torch.where(hole, chosen.mean(dim=(2, 3), keepdim=True), chosen)
    return x
