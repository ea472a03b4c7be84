"""The residual family, for 48x48 grey faces: tiny, small and base.

Basic residual blocks (He et al. 2016, arXiv:1512.03385) with average-pooled shortcuts
(ResNet-D, He et al. 2019, arXiv:1812.01187) and global average pooling in place of the
large fully connected layers that make small face networks overfit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.train.networks.activation import make_activation


@dataclass(frozen=True, slots=True)
class SmallOptions:
    """Size and regularisation of a residual network; the defaults are small's.

    Attributes:
        widths: channels of the stem and then of each stage; each stage halves the image.
        blocks: residual blocks in each stage.
        stem_kernel: side of the first convolution, odd.
        stem_stride: of the first convolution: 2 quarters what all later layers cost.
        squeeze: channels of each block's squeeze-and-excitation (Hu et al. 2018,
            arXiv:1709.01507) as a share of the block's; 0 leaves it out.
        activation: a name in ACTIVATIONS.
        dropout: probability before the last layer.
        drop_path: probability of skipping the last block's branch for an image; earlier blocks'
            grow towards it (stochastic depth, Huang et al. 2016, arXiv:1603.09382).
    """

    widths: tuple[int, ...] = (16, 32, 80, 192)
    blocks: tuple[int, ...] = (1, 2, 1)
    stem_kernel: int = 3
    stem_stride: int = 1
    squeeze: float = 0.0
    activation: str = "relu"
    dropout: float = 0.2
    drop_path: float = 0.0


@dataclass(frozen=True, slots=True)
class TinyOptions(SmallOptions):
    """The defaults of tiny: at most 150k parameters, and few multiply-adds."""

    widths: tuple[int, ...] = (16, 32, 48, 80)
    blocks: tuple[int, ...] = (1, 1, 1)
    stem_kernel: int = 5
    stem_stride: int = 2
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class BaseOptions(SmallOptions):
    """The defaults of base: at most 12M parameters."""

    widths: tuple[int, ...] = (48, 80, 160, 320)
    blocks: tuple[int, ...] = (1, 2, 2)
    stem_kernel: int = 5
    stem_stride: int = 2
    squeeze: float = 0.25
    dropout: float = 0.3
    drop_path: float = 0.1


class Residual(nn.Module):
    """Normalised crops [n, 1, s, s] → logits [n, classes]."""

    def __init__(self, options: SmallOptions, input_size: int, classes: int) -> None:
        super().__init__()
        _check(options, input_size)
        stem, *stages = options.widths
        kernel, stride = options.stem_kernel, options.stem_stride
        layers: list[nn.Module] = [
            nn.Conv2d(1, stem, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(stem),
            make_activation(options.activation),
        ]
        channels, depth, total = stem, 0, sum(options.blocks)
        for width, count in zip(stages, options.blocks, strict=True):
            for index in range(count):
                depth += 1
                drop = options.drop_path * depth / total
                layers.append(Block(channels, width, 2 if index == 0 else 1, drop, options))
                channels = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, float32 [n, classes]."""
        logits: Tensor = self.head(self.dropout(self.pool(self.features(x))))
        return logits


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
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
            branch = branch * (kept / (1 - self.drop))
        result: Tensor = self.act(branch + self.shortcut(x))
        return result


class Gate(nn.Module):
    """Squeeze-and-excitation: each channel scaled by what the whole image holds."""

    def __init__(self, channels: int, share: float) -> None:
        super().__init__()
        inner = max(8, round(channels * share))
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
    # An odd side is rounded up, as the convolution does.
    pool = [nn.AvgPool2d(2, ceil_mode=True)] if stride == 2 else []
    return nn.Sequential(*pool, nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


def _check(options: SmallOptions, input_size: int) -> None:
    if len(options.widths) != len(options.blocks) + 1 or min(options.widths) < 1:
        raise ConfigError(
            f"network.widths {list(options.widths)} must name the stem and one width for each "
            f"of the {len(options.blocks)} stages in network.blocks",
            hint="for example widths = [16, 32, 80, 192] with blocks = [1, 2, 1]",
        )
    if options.stem_kernel < 1 or options.stem_kernel % 2 == 0 or options.stem_stride not in (1, 2):
        raise ConfigError(
            f"network.stem_kernel {options.stem_kernel} must be odd, and network.stem_stride "
            f"{options.stem_stride} 1 or 2",
            hint="for example stem_kernel = 5 with stem_stride = 2",
        )
    if not 0 <= options.dropout < 1:
        raise ConfigError(
            f"network.dropout must be at least 0 and below 1, got {options.dropout}",
            hint="0 switches dropout off",
        )
    if not 0 <= options.drop_path < 1 or not 0 <= options.squeeze <= 1:
        raise ConfigError(
            f"network.drop_path {options.drop_path} must be at least 0 and below 1, and "
            f"network.squeeze {options.squeeze} between 0 and 1",
            hint="for example drop_path = 0.1 and squeeze = 0.25",
        )
    if min(options.blocks, default=0) < 1 or input_size >> len(options.blocks) < 1:
        raise ConfigError(
            f"network.blocks {list(options.blocks)} does not fit a crop of {input_size} pixels",
            hint="every stage needs a block, and halves the crop",
        )
