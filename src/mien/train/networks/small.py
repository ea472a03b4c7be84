"""The small network: a residual network for 48x48 grey faces, at most 1.2M parameters.

Basic residual blocks (He et al. 2016, arXiv:1512.03385) with average-pooled shortcuts
(ResNet-D, He et al. 2019, arXiv:1812.01187) and global average pooling in place of the
large fully connected layers that make small face networks overfit.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from mien.errors import ConfigError
from mien.train.networks.activation import make_activation


@dataclass(frozen=True, slots=True)
class SmallOptions:
    """Size and regularisation of the small network.

    Attributes:
        widths: channels of the stem and then of each stage; each stage halves the picture.
        blocks: residual blocks in each stage.
        activation: a name in ACTIVATIONS.
        dropout: probability before the last layer.
    """

    widths: tuple[int, ...] = (16, 32, 80, 192)
    blocks: tuple[int, ...] = (1, 2, 1)
    activation: str = "relu"
    dropout: float = 0.2


class Small(nn.Module):
    """Normalised crops [n, 1, s, s] → logits [n, classes]."""

    def __init__(self, options: SmallOptions, input_size: int, classes: int) -> None:
        super().__init__()
        if len(options.widths) != len(options.blocks) + 1 or min(options.widths) < 1:
            raise ConfigError(
                f"network.widths {list(options.widths)} must name the stem and one width for each "
                f"of the {len(options.blocks)} stages in network.blocks",
                hint="for example widths = [16, 32, 80, 192] with blocks = [1, 2, 1]",
            )
        if not 0 <= options.dropout < 1:
            raise ConfigError(
                f"network.dropout must be at least 0 and below 1, got {options.dropout}",
                hint="0 switches dropout off",
            )
        if min(options.blocks, default=0) < 1 or input_size >> len(options.blocks) < 1:
            raise ConfigError(
                f"network.blocks {list(options.blocks)} does not fit a crop of {input_size} pixels",
                hint="every stage needs a block, and halves the crop",
            )
        stem, *stages = options.widths
        layers: list[nn.Module] = [
            nn.Conv2d(1, stem, 3, padding=1, bias=False),
            nn.BatchNorm2d(stem),
            make_activation(options.activation),
        ]
        channels, side = stem, input_size
        for width, count in zip(stages, options.blocks, strict=True):
            layers.append(Block(channels, width, options.activation, halved=side))
            layers += [Block(width, width, options.activation) for _ in range(count - 1)]
            channels, side = width, (side + 1) // 2
        self.features = nn.Sequential(*layers)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, float32 [n, classes]."""
        logits: Tensor = self.head(self.dropout(self.pool(self.features(x))))
        return logits


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalisation beside a shortcut.

    `halved` is the side, in pixels, of a picture that the block halves (rounded up), else 0.
    """

    def __init__(self, inputs: int, outputs: int, activation: str, *, halved: int = 0) -> None:
        super().__init__()
        stride = 2 if halved else 1
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.act = make_activation(activation)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, halved)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, [n, outputs, h / stride, w / stride]."""
        branch = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        result: Tensor = self.act(branch + self.shortcut(x))
        return result


def _shortcut(inputs: int, outputs: int, halved: int) -> nn.Module:
    if inputs == outputs and not halved:
        return nn.Identity()
    pool = [nn.AvgPool2d(2, ceil_mode=halved % 2 == 1)] if halved else []
    return nn.Sequential(*pool, nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
