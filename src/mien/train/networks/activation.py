"""The registry of activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import nn

from mien.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

ActivationName = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    # torch's default slope, written down because a change would change trained networks.
    "leaky_relu": lambda: nn.LeakyReLU(0.01, inplace=True),
    "elu": lambda: nn.ELU(inplace=True),
    "gelu": nn.GELU,
    "silu": lambda: nn.SiLU(inplace=True),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def make_activation(name: str) -> nn.Module:
    """Return a new activation layer.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(
            f"no activation is called {name!r}",
            hint=did_you_mean(name, ACTIVATIONS) + f"known: {', '.join(ACTIVATIONS)}",
        )
    return ACTIVATIONS[name]()
