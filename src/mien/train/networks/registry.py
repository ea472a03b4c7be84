"""The registry of networks: name → options and builder, and the cost of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from mien.errors import ConfigError, did_you_mean
from mien.train.networks.align import SpatialTransformer
from mien.train.networks.face_resnet import FaceResnet, FaceResnetOptions
from mien.train.networks.normalise import Normalise
from mien.train.networks.poster import Poster, PosterOptions
from mien.train.networks.residual import (
    BaseOptions,
    LargeOptions,
    Residual,
    SmallOptions,
    TinyOptions,
)
from mien.train.recipe.convert import from_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mien.train.networks.body import Body
    from mien.train.recipe.settings import NetworkConfig


class Builder(Protocol):
    """Builds the network body: float pixels, normalised, [n, 1, s, s] → logits [n, k]."""

    def __call__(self, options: Any, input_size: int, classes: int) -> Body:
        """Return the network for grey crops of `input_size` pixels and `classes` logits."""
        ...


@dataclass(frozen=True, slots=True)
class NetworkEntry:
    """One network of the registry.

    Attributes:
        options: dataclass of its options, with defaults and ranges.
        build: builds the network body.
        about: one line of description.
    """

    options: type
    build: Builder
    about: str


NETWORKS: dict[str, NetworkEntry] = {
    "poster": NetworkEntry(
        PosterOptions,
        Poster,
        "Conv2d + LeakyReLU + MaxPool2d blocks, then fully connected layers (Chang's poster)",
    ),
    "tiny": NetworkEntry(TinyOptions, Residual, "residual network, at most 150k parameters"),
    "small": NetworkEntry(
        SmallOptions,
        Residual,
        "residual network with global average pooling, at most 1.2M parameters",
    ),
    "base": NetworkEntry(
        BaseOptions, Residual, "residual network at full resolution, twice the cost of small"
    ),
    "large": NetworkEntry(
        LargeOptions,
        Residual,
        "residual network with squeeze-and-excitation, at most 12M parameters",
    ),
    "face-resnet": NetworkEntry(
        FaceResnetOptions,
        FaceResnet,
        "dlib's face-recognition ResNet, 4.4M parameters; fit.pretrained has weights for it",
    ),
}


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """The cost of a network: its parameters, and the multiply-adds for one face."""

    parameters: int
    multiply_adds: int


def network_options(name: str, values: Mapping[str, Any]) -> Any:
    """Return the typed options of network `name`.

    Raises:
        ConfigError: an unknown network or option, or a value out of its range.
    """
    entry = NETWORKS.get(name)
    if entry is None:
        raise ConfigError(
            f"no network is called {name!r}",
            hint=did_you_mean(name, NETWORKS) + f"known networks: {', '.join(NETWORKS)}",
        )
    return from_mapping(entry.options, values, where="network")


class Model(nn.Module):
    """Normalisation followed by a network: float pixels 0 to 255 [n, 1, s, s] → logits [n, k].

    With `align`, a spatial transformer aligns the face first; its weights are frozen. With
    `mirror`, evaluation (but not training) returns the mean over a face and its mirror image.
    """

    def __init__(
        self,
        normalise: Normalise,
        body: Body,
        *,
        align: SpatialTransformer | None = None,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.align = align.requires_grad_(requires_grad=False) if align is not None else None
        self.body = body
        self.mirror = mirror

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits, float32 [n, k]."""
        # Channels last is the faster layout for convolutions on CPUs and GPUs alike.
        x = self.normalise(pixels).contiguous(memory_format=torch.channels_last)
        if self.align is not None:
            with torch.autocast(x.device.type, enabled=False):  # sampling positions need float32
                x = self.normalise(self.align(pixels, x))
            x = x.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.body(x)
        # Averages logits, which is what the exported graph must return.
        if self.mirror and not self.training:
            logits = (logits + self.body(x.flip(3))) / 2
        return logits


def build_model(
    config: NetworkConfig, *, normalise: Normalise, input_size: int, classes: int
) -> Model:
    """Return the model of a recipe, with random weights from torch's global generator.

    Args:
        config: name, options and preprocessing of the network.
        normalise: the first layer.
        input_size: side of the crops, pixels.
        classes: number of logits.

    Raises:
        ConfigError: an unknown network or option, or a value that does not fit.
    """
    options = network_options(config.name, config.options)
    if config.align < 0:
        raise ConfigError(
            f"network.align: {config.align} is out of range, must be at least 0", hint="0 is off"
        )
    body = NETWORKS[config.name].build(options, input_size, classes)
    align = SpatialTransformer(config.align) if config.align else None
    model = Model(normalise, body, align=align, mirror=config.mirror)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@torch.no_grad()
def measure_cost(model: nn.Module, input_size: int) -> NetworkCost:
    """Count parameters, and the multiply-adds of convolutions and linear layers for one face."""
    # Normalisation, activations and pooling cost little beside these and are left out.
    total = 0

    def count(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += module.weight.numel() * output.shape[2] * output.shape[3]
        elif isinstance(module, nn.Linear):
            total += module.weight.numel()

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    was_training = model.training
    try:
        device = next(model.parameters()).device
        # In evaluation mode: a batch of one has no variance that batch normalisation could use.
        model.eval()(torch.zeros(1, 1, input_size, input_size, device=device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return NetworkCost(sum(p.numel() for p in model.parameters()), total)
