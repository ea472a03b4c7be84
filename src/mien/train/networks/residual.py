"""The residual networks for 48x48 grey faces: tiny, small, base and large.

Basic residual blocks (He et al. 2016, arXiv:1512.03385) with average-pooled shortcuts
(ResNet-D, He et al. 2019, arXiv:1812.01187) and global average pooling in place of the
large fully connected layers that make small face networks overfit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.train.networks.activation import ActivationName, make_activation
from mien.train.networks.body import Body
from mien.train.recipe.ranges import Dropout, Fraction, PositiveCount


@dataclass(frozen=True, slots=True)
class SmallOptions:
    """Size and regularisation of the residual network `small`, at most 1.2M parameters.

    Attributes:
        widths: channels of the stem and then of each stage; each stage halves the image.
        blocks: residual blocks of each stage.
        stem_kernel: side of the first convolution, odd.
        stem_stride: stride of the first convolution; 2 makes all later layers four times cheaper.
        squeeze: channels of each block's squeeze-and-excitation gate (Hu et al. 2018,
            arXiv:1709.01507), as a fraction of the block's; 0 is off.
        activation: activation after each normalisation.
        dropout: dropout probability before the last layer.
        drop_path: probability of skipping the last block's branch for an image (stochastic depth,
            Huang et al. 2016, arXiv:1603.09382); it grows linearly from the first block to there.
    """

    widths: tuple[PositiveCount, ...] = (32, 64, 112, 208)
    blocks: tuple[PositiveCount, ...] = (1, 2, 1)
    stem_kernel: PositiveCount = 5
    stem_stride: Literal[1, 2] = 2
    squeeze: Fraction = 0.0
    activation: ActivationName = "relu"
    dropout: Dropout = 0.2
    drop_path: Dropout = 0.0


@dataclass(frozen=True, slots=True)
class TinyOptions(SmallOptions):
    """The defaults of tiny: at most 150k parameters and few multiply-adds."""

    widths: tuple[PositiveCount, ...] = (16, 32, 48, 80)
    blocks: tuple[PositiveCount, ...] = (1, 1, 1)
    dropout: Dropout = 0.0


@dataclass(frozen=True, slots=True)
class BaseOptions(SmallOptions):
    """The defaults of base: its first layers keep the full resolution, at twice small's cost."""

    widths: tuple[PositiveCount, ...] = (16, 32, 80, 192)
    stem_kernel: PositiveCount = 3
    stem_stride: Literal[1, 2] = 1


@dataclass(frozen=True, slots=True)
class LargeOptions(SmallOptions):
    """The defaults of large: wider stages with squeeze-and-excitation, at most 12M parameters."""

    widths: tuple[PositiveCount, ...] = (48, 80, 160, 320)
    blocks: tuple[PositiveCount, ...] = (1, 2, 2)
    squeeze: Fraction = 0.25
    dropout: Dropout = 0.3
    drop_path: Dropout = 0.1


class Residual(Body):
    """Normalised crops [n, 1, s, s] → logits [n, classes]."""

    def __init__(self, options: SmallOptions, input_size: int, classes: int) -> None:
        super().__init__()
        _check(options, input_size)
        stem, *stages = options.widths
        kernel, stride = options.stem_kernel, options.stem_stride
        layers: list[nn.Module] = [
            # Without biases: batch normalisation would subtract them again.
            nn.Conv2d(1, stem, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(stem),
            make_activation(options.activation),
        ]
        channels, depth, total = stem, 0, sum(options.blocks)
        for width, count in zip(stages, options.blocks, strict=True):
            for index in range(count):
                depth += 1
                # Stochastic depth: later blocks are dropped more often (Huang et al. 2016).
                drop = options.drop_path * depth / total
                layers.append(Block(channels, width, 2 if index == 0 else 1, drop, options))
                channels = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(channels, classes)
        self.last_blocks = options.blocks[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, float32 [n, classes]."""
        logits: Tensor = self.head(self.dropout(self.pool(self.features(x))))
        return logits

    def classifier(self) -> nn.Module:
        """Return the last layer."""
        return self.head

    def last_stage(self) -> list[nn.Module]:
        """Return the blocks of the last resolution, and what follows them."""
        blocks = list(self.features)[-self.last_blocks :]
        return [*blocks, self.dropout, self.head]


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalisation beside a shortcut."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, drop: float, options: SmallOptions
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.act = make_activation(options.activation)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.gate = Gate(outputs, options.squeeze) if options.squeeze else nn.Identity()
        self.shortcut = _shortcut(inputs, outputs, stride)
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, [n, outputs, h / stride, w / stride]."""
        branch = self.gate(self.norm2(self.conv2(self.act(self.norm1(self.conv1(x))))))
        if self.training and self.drop:
            # One number per image, not per batch: each image takes a network of its own depth.
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
            # Scaled, so that the expected output is that of evaluation.
            branch = branch * (kept / (1 - self.drop))
        result: Tensor = self.act(branch + self.shortcut(x))
        return result


class Gate(nn.Module):
    """Squeeze-and-excitation: scales each channel by a gate computed from all channels' means."""

    def __init__(self, channels: int, fraction: float) -> None:
        super().__init__()
        # At least 8: the fraction of a narrow layer would leave one or two units.
        inner = max(8, round(channels * fraction))
        self.squeeze = nn.Conv2d(channels, inner, 1)
        self.excite = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled channels, same shape."""
        pooled = x.mean(dim=(2, 3), keepdim=True)
        scale: Tensor = torch.sigmoid(self.excite(torch.relu(self.squeeze(pooled))))
        return x * scale


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if inputs == outputs and stride == 1:
        return nn.Identity()
    # Round an odd side up, as the convolution does.
    pool = [nn.AvgPool2d(2, ceil_mode=True)] if stride == 2 else []
    return nn.Sequential(*pool, nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


def _check(options: SmallOptions, input_size: int) -> None:
    stages = len(options.blocks)
    if len(options.widths) != stages + 1:
        raise ConfigError(
            f"network.widths: {list(options.widths)} has {len(options.widths)} values, must have "
            f"{stages + 1}: the stem's and one for each of the {stages} stages in network.blocks",
            hint="for example widths = [16, 32, 80, 192] with blocks = [1, 2, 1]",
        )
    if options.stem_kernel % 2 == 0:
        raise ConfigError(
            f"network.stem_kernel: {options.stem_kernel} is not odd", hint="for example 3 or 5"
        )
    if not stages or input_size >> stages < 1:
        raise ConfigError(
            f"network.blocks: {stages} stages do not fit a crop of {input_size} pixels",
            hint="each stage halves the crop; give at least one",
        )
