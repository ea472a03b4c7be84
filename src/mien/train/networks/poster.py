"""The poster's network: convolution blocks, then fully connected layers.

Chang, "Facial expression recognition", student poster, Cal Poly Pomona: Conv2d + LeakyReLU +
MaxPool2d, then fully connected layers with batch normalisation, LeakyReLU and dropout. The
poster gives no widths; the defaults below are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from mien.errors import ConfigError
from mien.train.networks.activation import ActivationName, make_activation
from mien.train.networks.body import Body
from mien.train.recipe.ranges import Count, Dropout, Range

Width = Annotated[int, Range(1, 4096)]
"""Channels or units of a layer; more would not fit into memory."""


@dataclass(frozen=True, slots=True)
class PosterOptions:
    """Options of the poster's network.

    Attributes:
        activation: activation after each layer.
        dropout: dropout probability in the fully connected layers; 0 is off.
        batch_norm: batch normalisation in the fully connected layers.
        conv_batch_norm: batch normalisation after each convolution, too.
        width: channels of the first block; each further block doubles them.
        depth: number of convolution blocks; each halves the image.
        hidden: units of each fully connected layer.
        hidden_layers: number of fully connected layers before the last one.
    """

    activation: ActivationName = "leaky_relu"
    dropout: Dropout = 0.5
    batch_norm: bool = True
    conv_batch_norm: bool = False
    width: Width = 32
    depth: Width = 3
    hidden: Width = 128
    hidden_layers: Count = 2


class Poster(Body):
    """Normalised crops [n, 1, s, s] → logits [n, classes]."""

    def __init__(self, options: PosterOptions, input_size: int, classes: int) -> None:
        super().__init__()
        _check(options, input_size)
        layers: list[nn.Module] = []
        channels, side = 1, input_size
        # Channels double while the sides halve: each block has about the cost of the one before.
        for block in range(options.depth):
            layers += _block(options, channels, options.width << block)
            channels, side = options.width << block, side // 2
        layers.append(nn.Flatten())
        features = channels * side * side
        for _ in range(options.hidden_layers):
            layers += _hidden(options, features)
            features = options.hidden
        layers.append(nn.Linear(features, classes))
        self.layers = nn.Sequential(*layers)
        self.flatten = next(i for i, layer in enumerate(layers) if isinstance(layer, nn.Flatten))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, float32 [n, classes]."""
        logits: Tensor = self.layers(x)
        return logits

    def classifier(self) -> nn.Module:
        """Return the last layer."""
        return self.layers[-1]

    def last_stage(self) -> list[nn.Module]:
        """Return the fully connected layers."""
        return list(self.layers)[self.flatten :]


def _block(options: PosterOptions, inputs: int, outputs: int) -> list[nn.Module]:
    norm = [nn.BatchNorm2d(outputs)] if options.conv_batch_norm else []
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1),
        *norm,
        make_activation(options.activation),
        nn.MaxPool2d(2),
    ]


def _hidden(options: PosterOptions, inputs: int) -> list[nn.Module]:
    norm = [nn.BatchNorm1d(options.hidden)] if options.batch_norm else []
    drop = [nn.Dropout(options.dropout)] if options.dropout > 0 else []
    return [
        nn.Linear(inputs, options.hidden),
        *norm,
        make_activation(options.activation),
        *drop,
    ]


def _check(options: PosterOptions, input_size: int) -> None:
    if input_size >> options.depth < 1:
        raise ConfigError(
            f"network.depth: {options.depth} blocks do not fit a crop of {input_size} pixels",
            hint=f"each block halves the crop: at most {input_size.bit_length() - 1} blocks",
        )
